//! Listing: any page of any size says what a sorted map says, and costs what it shows.

use std::collections::BTreeSet;

use artifactstore_registry::actions::request::{ListRequest, UploadListRequest};
use artifactstore_registry::model::attributes::UploadAttributes;
use futures::future::join_all;
use proptest::prelude::{Strategy, prop_oneof};

use crate::harness::{Harness, name, producer};

/// What a producer's names look like: files and common prefixes, in one order.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>, after: Option<&str>) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rolled = delimiter.and_then(|delimiter| {
            let at = key[prefix.len()..].find(delimiter)?;
            Some(key[..prefix.len() + at + delimiter.len()].to_owned())
        });
        let skipped = match (after, &rolled) {
            (Some(after), Some(rolled)) if after == rolled => true,
            (Some(after), _) => key.as_str() <= after,
            (None, _) => false,
        };
        let entry = rolled.unwrap_or_else(|| key.clone());
        if !skipped && entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

async fn page(harness: &Harness, request: &ListRequest) -> (Vec<String>, Option<String>) {
    let page = harness.registry.file_list(&harness.actor, request).await.unwrap();
    let keys = page.files.iter().map(|file| file.key.to_string());
    assert!(page.files.windows(2).all(|pair| pair[0].key < pair[1].key));
    let mut entries: Vec<String> = keys.chain(page.prefixes.iter().cloned()).collect();
    entries.sort_unstable();
    (entries, page.next)
}

/// Pages until the end.
async fn walk(harness: &Harness, mut request: ListRequest) -> Vec<String> {
    let mut all = Vec::new();
    // What the walk begins behind may lie within a common prefix, which is then listed, and sorts before it.
    let mut last: Option<String> = None;
    loop {
        let (entries, next) = page(harness, &request).await;
        assert!(entries.len() <= request.limit);
        all.extend(entries);
        let Some(next) = next else { return all };
        assert!(last.is_none_or(|last| last < next), "a walk goes forward");
        last = Some(next.clone());
        request.after = Some(next);
    }
}

fn key() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ab/\u{e9}\u{10ffff}~0]{1,6}").unwrap()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: crate::dialect::cases(24), failure_persistence: None, ..Default::default() })]
    #[test]
    fn pages_of_any_size_say_what_a_sorted_map_says(
        keys in proptest::collection::btree_set(key(), 0..60),
        asked in proptest::collection::vec(
            (
                prop_oneof![proptest::prelude::Just(String::new()), key()],
                proptest::option::of(prop_oneof!["/".prop_map(String::from), "b".prop_map(String::from), "a/".prop_map(String::from)]),
                proptest::option::of(key()),
                1..8_usize,
            ),
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let harness = Harness::start().await;
            let paths: Vec<String> = keys.iter().map(|key| format!("board/{key}")).collect();
            join_all(paths.iter().map(|path| async { harness.put(path, "x").await.unwrap() })).await;
            for (prefix, delimiter, after, limit) in asked {
                let expected = model(&keys, &prefix, delimiter.as_deref(), after.as_deref());
                let request = ListRequest { producer: producer("board"), prefix, delimiter, after, limit };
                assert_eq!(walk(&harness, request.clone()).await, expected, "{request:?}");
            }
            harness.registry.stop().await;
        });
    }
}

#[tokio::test]
async fn a_page_costs_what_it_shows_not_what_lies_under_its_prefixes() {
    let harness = Harness::start().await;
    harness.put("board/a/first", "x").await.unwrap();
    harness.put("board/z", "x").await.unwrap();
    // Rows, not uploads: 20,000 names under forty prefixes.
    let filled = harness
        .tamper(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999) \
             INSERT INTO files (sequence, producer, key, package_id, package, relative_path, size_bytes, \
             content_address, sha256, etag, attributes, ingested_at, client, ended_sequence) SELECT i + 1000, 'board', 'p' || substr(CAST(100 + i / 500 AS TEXT), 2) || '/' || \
             substr(CAST(100000 + i AS TEXT), 2), \
             package_id, 'p', relative_path, size_bytes, content_address, sha256, etag, attributes, ingested_at, client, \
             NULL FROM n CROSS JOIN files WHERE sequence = 3",
        )
        .await;
    assert_eq!(filled, 20_000);
    let filled = harness
        .tamper("INSERT INTO names SELECT producer, key, package, sequence FROM files WHERE sequence >= 1000")
        .await;
    assert_eq!(filled, 20_000);
    let request = ListRequest {
        producer: producer("board"),
        prefix: String::new(),
        delimiter: Some("/".to_owned()),
        after: None,
        limit: 100,
    };
    let counting = std::sync::Arc::new(crate::counting::Counting::over(harness.store.clone()));
    let registry = counting.registry(&harness);
    let page = registry.file_list(&harness.actor, &request).await.unwrap();
    assert_eq!((page.files.len(), page.prefixes.len(), page.next), (1, 41, None));
    let (queries, rows) = counting.counts();
    assert!(queries <= 60, "{queries} queries for 42 entries");
    assert!(rows <= 42 * 32, "{rows} rows for 42 entries");
    harness.registry.stop().await;
}

#[tokio::test]
async fn documents_are_listed_only_when_the_prefix_asks_for_them() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "x").await.unwrap();
    harness.finalize("run").await.unwrap();
    let request = |prefix: &str, limit| ListRequest {
        producer: producer("board"),
        prefix: prefix.to_owned(),
        delimiter: None,
        after: None,
        limit,
    };
    assert_eq!(walk(&harness, request("", 10)).await, ["run/x"]);
    let documents = ["run/.artifact/manifest.cbor", "run/.artifact/manifest.json"];
    for limit in [1, 2, 10] {
        assert_eq!(walk(&harness, request("run/.artifact/", limit)).await, documents);
    }
    assert!(page(&harness, &request("", 0)).await.0.is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn open_uploads_are_paged_by_key_and_then_by_upload() {
    let harness = Harness::start().await;
    let keys = ["a/1", "a/1", "a/1", "a/2", "b", "c/1", "c/2", "d"];
    for key in keys {
        let target = name(&format!("board/{key}"));
        harness.registry.upload_create(&harness.actor, &target, UploadAttributes::default()).await.unwrap();
    }
    for (delimiter, expected) in [(None, keys.len()), (Some("/"), 4)] {
        for limit in 1..10 {
            let mut request = UploadListRequest {
                producer: producer("board"),
                prefix: String::new(),
                delimiter: delimiter.map(str::to_owned),
                key_marker: None,
                upload_marker: None,
                limit,
            };
            let (mut seen, mut uploads) = (0, BTreeSet::new());
            loop {
                let page = harness.registry.upload_list(&harness.actor, &request).await.unwrap();
                seen += page.uploads.len() + page.prefixes.len();
                for upload in page.uploads {
                    assert!(uploads.insert(upload.id), "each once");
                }
                let Some((key, upload)) = page.next else { break };
                (request.key_marker, request.upload_marker) = (Some(key), upload);
            }
            assert_eq!(seen, expected, "{delimiter:?} {limit}");
        }
    }
    harness.finish().await;
}
