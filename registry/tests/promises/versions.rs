//! Versions as S3 has them: what a model in memory says of any order of writes, deletes and changes of mind, the registry
//! says too, page by page; and a replay makes the same of it.

use std::collections::BTreeMap;

use artifactstore_registry::actions::request::{Removal, VersionListRequest};
use artifactstore_registry::model::cbor::TextMap;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, Subresource, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_oneof, proptest};

use crate::dialect;
use crate::harness::{Harness, name, producer};

const KEYS: [&str; 3] = ["run/a", "run/b", "run/c/d"];

#[derive(Debug, Clone)]
enum Deed {
    Put(usize),
    Delete(usize),
    /// Versions to delete at once: of which key, and which of its versions, counted from the newest.
    DeleteVersions(Vec<(usize, usize)>),
    DeleteNull(usize),
    Set(Versioning),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        5 => (0..KEYS.len()).prop_map(Deed::Put),
        3 => (0..KEYS.len()).prop_map(Deed::Delete),
        3 => prop::collection::vec((0..KEYS.len(), 0_usize..5), 1..6).prop_map(Deed::DeleteVersions),
        1 => (0..KEYS.len()).prop_map(Deed::DeleteNull),
        1 => prop_oneof![Just(Versioning::Enabled), Just(Versioning::Suspended)].prop_map(Deed::Set),
    ];
    prop::collection::vec(deed, 1..40)
}

/// A version or a marker: its number, whether it has an id of its own, whether it is a marker.
type Entry = (u64, bool, bool);

#[derive(Default)]
struct Model {
    versioning: Versioning,
    /// Of each key, newest first.
    keys: BTreeMap<&'static str, Vec<Entry>>,
}

impl Model {
    fn put(&mut self, key: &'static str, sequence: u64, marker: bool) {
        let versioned = self.versioning == Versioning::Enabled;
        let entries = self.keys.entry(key).or_default();
        if !versioned {
            entries.retain(|entry| entry.1);
        }
        entries.insert(0, (sequence, versioned, marker));
    }

    fn listed(&self) -> Vec<(&'static str, Entry, bool)> {
        let of_key = |(key, entries): (&&'static str, &Vec<Entry>)| {
            let key = *key;
            entries.iter().enumerate().map(move |(at, entry)| (key, *entry, at == 0)).collect::<Vec<_>>()
        };
        self.keys.iter().flat_map(of_key).collect()
    }
}

fn removal(key: &str, version: Option<VersionChoice>) -> Removal {
    Removal { key: name(&format!("board/{key}")).key, version, condition: WriteCondition::default(), bypass: false }
}

async fn listed(harness: &Harness, limit: usize) -> Vec<(String, Entry, bool)> {
    let mut request = VersionListRequest {
        producer: producer("board"),
        prefix: String::new(),
        delimiter: None,
        key_marker: None,
        version_marker: None,
        limit,
    };
    let mut all = Vec::new();
    loop {
        let page = harness.registry.version_list(&harness.actor, &request).await.unwrap();
        assert!(page.versions.len() <= limit);
        all.extend(
            page.versions
                .into_iter()
                .map(|(it, latest)| (it.listed.key.to_string(), (it.sequence, it.versioned, it.marker), latest)),
        );
        let Some((key, version)) = page.next else { return all };
        request.key_marker = Some(key);
        request.version_marker = version.map(VersionChoice::Numbered);
    }
}

async fn delete(harness: &Harness, model: &mut Model, key: &'static str) {
    let board = producer("board");
    let removed = harness.registry.file_remove(&harness.actor, &board, removal(key, None)).await.unwrap();
    if model.versioning == Versioning::Off {
        model.keys.entry(key).or_default().clear();
    } else {
        model.put(key, removed.marker.unwrap(), true);
    }
}

async fn delete_versions(harness: &Harness, model: &mut Model, wanted: &[(usize, usize)]) {
    let mut removals = Vec::new();
    for (key, at) in wanted {
        let Some(entry) = model.keys.get(KEYS[*key]).and_then(|entries| entries.get(*at)) else { continue };
        removals.push((KEYS[*key], entry.0));
    }
    let asked = removals.iter().map(|(key, at)| removal(key, Some(VersionChoice::Numbered(*at)))).collect();
    let outcomes = harness.registry.files_remove(&harness.actor, &producer("board"), asked).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for (key, at) in removals {
        model.keys.entry(key).or_default().retain(|entry| entry.0 != at);
    }
}

async fn play(deeds: &[Deed]) {
    let harness = Harness::start().await;
    let mut model = Model::default();
    for (at, deed) in deeds.iter().enumerate() {
        match deed {
            Deed::Put(key) => {
                let file = harness.put(&format!("board/{}", KEYS[*key]), format!("{at}")).await.unwrap().file;
                model.put(KEYS[*key], file.sequence, false);
            }
            Deed::Delete(key) => delete(&harness, &mut model, KEYS[*key]).await,
            Deed::DeleteVersions(wanted) => delete_versions(&harness, &mut model, wanted).await,
            Deed::DeleteNull(key) => {
                let asked = removal(KEYS[*key], Some(VersionChoice::Null));
                harness.registry.file_remove(&harness.actor, &producer("board"), asked).await.unwrap();
                model.keys.entry(KEYS[*key]).or_default().retain(|entry| entry.1);
            }
            Deed::Set(versioning) => {
                harness.registry.versioning_set(&harness.actor, &producer("board"), *versioning).await.unwrap();
                model.versioning = *versioning;
            }
        }
    }
    let wanted = model.listed();
    for limit in [1, 3, 1000] {
        let found = listed(&harness, limit).await;
        let found: Vec<_> = found.iter().map(|(key, entry, latest)| (key.as_str(), *entry, *latest)).collect();
        assert_eq!(found, wanted, "in pages of {limit}");
    }
    for key in KEYS {
        let current = model.keys.get(key).and_then(|entries| entries.first()).filter(|entry| !entry.2);
        let found = harness.stat(&format!("board/{key}")).await.ok().map(|found| found.file.sequence);
        assert_eq!(found, current.map(|entry| entry.0), "{key}");
    }
    let stat = harness.registry.producer_stat(&harness.actor, &producer("board")).await.unwrap();
    let named = wanted.iter().filter(|(_, entry, latest)| *latest && !entry.2).count() as u64;
    assert_eq!((stat.file_count, stat.history_count), (named, wanted.len() as u64 - named));
    harness.finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: dialect::cases(24), ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_and_deleted_the_versions_are_those_that_s3_has(deeds in deeds()) {
        tokio::runtime::Runtime::new().unwrap().block_on(play(&deeds));
    }
}

#[tokio::test]
async fn a_deleted_version_is_out_of_sight_and_stays_in_the_log() {
    let harness = Harness::start().await;
    let board = producer("board");
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Enabled).await.unwrap();
    let first = harness.put("board/run/x", "one").await.unwrap().file;
    harness.put("board/run/x", "two").await.unwrap();
    let version = Some(VersionChoice::Numbered(first.sequence));
    let found = harness.registry.file_stat(&harness.actor, &name("board/run/x"), version).await.unwrap();
    assert_eq!(harness.read_found(&found).await.unwrap(), b"one");
    harness.registry.file_remove(&harness.actor, &board, removal("run/x", version)).await.unwrap();
    let gone = harness.registry.file_stat(&harness.actor, &name("board/run/x"), version).await;
    assert!(matches!(gone, Err(Error::Refused(Refusal::VersionMissing))), "{gone:?}");
    let events = harness.events().await.len();
    let again = harness.registry.file_remove(&harness.actor, &board, removal("run/x", version)).await.unwrap();
    assert_eq!((again.sequence, harness.events().await.len()), (None, events), "again is nothing new");
    assert_eq!(harness.store.versions(&[first.sequence]).await.unwrap()[0].content_address, first.content_address);
    harness.finish().await;
}

#[tokio::test]
async fn what_a_finalized_revision_holds_cannot_be_deleted_by_its_version() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let board = producer("board");
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Enabled).await.unwrap();
    let sealed = harness.put("board/run/x", "sealed").await.unwrap().file;
    harness.finalize("run").await.unwrap();
    let version = Some(VersionChoice::Numbered(sealed.sequence));
    let refused = harness.registry.file_remove(&harness.actor, &board, removal("run/x", version)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::PackageFinalized { .. }))), "{refused:?}");
    let open = harness.put("board/run/x", "open").await.unwrap().file;
    let refused = harness.registry.file_remove(&harness.actor, &board, removal("run/x", version)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::VersionSealed { revision: 1, .. }))), "{refused:?}");
    let tags: TextMap = [("a".to_owned(), "b".to_owned())].into_iter().collect();
    let refused = harness.registry.file_tag(&harness.actor, &name("board/run/x"), version, tags).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::VersionSealed { .. }))), "{refused:?}");
    let version = Some(VersionChoice::Numbered(open.sequence));
    harness.registry.file_remove(&harness.actor, &board, removal("run/x", version)).await.unwrap();
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"sealed", "what is behind comes forward");
    harness.finish().await;
}

#[tokio::test]
async fn a_marker_of_a_released_revision_can_be_deleted_though_a_later_one_is_open() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let (registry, who, board) = (&harness.registry, &harness.actor, producer("board"));
    registry.versioning_set(who, &board, Versioning::Enabled).await.unwrap();
    let keys = ["run/numbered", "run/null"];
    for key in ["run/stays", keys[0], keys[1]] {
        harness.put(&format!("board/{key}"), key).await.unwrap();
    }
    let numbered = registry.file_remove(who, &board, removal(keys[0], None)).await.unwrap().marker.unwrap();
    registry.versioning_set(who, &board, Versioning::Suspended).await.unwrap();
    let null = registry.file_remove(who, &board, removal(keys[1], None)).await.unwrap().marker.unwrap();
    let first = harness.finalize("run").await.unwrap();
    harness.put("board/run/later", "opens the second revision").await.unwrap();
    let markers = || {
        let versions = [VersionChoice::Numbered(numbered), VersionChoice::Null];
        keys.into_iter().zip(versions).map(|(key, version)| removal(key, Some(version))).collect::<Vec<_>>()
    };
    for refused in registry.files_remove(who, &board, markers()).await.unwrap() {
        assert!(matches!(refused, Err(Error::Refused(Refusal::VersionSealed { revision: 1, .. }))), "{refused:?}");
    }
    registry.package_release(who, &first.id, "over".to_owned()).await.unwrap();
    let removed = registry.files_remove(who, &board, markers()).await.unwrap();
    let gone: Vec<_> = removed.into_iter().map(|removed| removed.unwrap().marker.unwrap()).collect();
    assert_eq!(gone, [numbered, null]);
    for key in keys {
        assert_eq!(harness.read(&format!("board/{key}")).await.unwrap(), key.as_bytes(), "it comes forward");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_null_version_that_is_sealed_gives_way_and_can_be_read_by_its_number() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let board = producer("board");
    let sealed = harness.put("board/run/x", "null").await.unwrap().file;
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Enabled).await.unwrap();
    harness.put("board/run/x", "numbered").await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Suspended).await.unwrap();
    let again = harness.put("board/run/x", "null again").await.unwrap().file;
    harness.registry.file_remove(&harness.actor, &board, removal("run/x", None)).await.unwrap();
    harness.registry.file_remove(&harness.actor, &board, removal("run/x", None)).await.unwrap();
    for (file, bytes) in [(sealed, "null"), (again, "null again")] {
        let version = Some(VersionChoice::Numbered(file.sequence));
        let found = harness.registry.file_stat(&harness.actor, &name("board/run/x"), version).await.unwrap();
        assert_eq!(harness.read_found(&found).await.unwrap(), bytes.as_bytes());
    }
    harness.finish().await;
}

#[tokio::test]
async fn what_s3_never_showed_cannot_be_hidden_by_its_number() {
    let harness = Harness::start().await;
    let first = harness.put("board/run/x", "one").await.unwrap().file;
    harness.put("board/run/x", "two").await.unwrap();
    let version = Some(VersionChoice::Numbered(first.sequence));
    let events = harness.events().await.len();
    let removed = harness.registry.file_remove(&harness.actor, &producer("board"), removal("run/x", version)).await;
    assert_eq!((removed.unwrap().sequence, harness.events().await.len()), (None, events));
    let found = harness.registry.file_stat(&harness.actor, &name("board/run/x"), version).await.unwrap();
    assert_eq!(harness.read_found(&found).await.unwrap(), b"one");
    harness.finish().await;
}

#[tokio::test]
async fn a_condition_on_a_version_is_judged_on_that_version() {
    let harness = Harness::start().await;
    let board = producer("board");
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Enabled).await.unwrap();
    let first = harness.put("board/run/x", "one").await.unwrap().file;
    let second = harness.put("board/run/x", "two").await.unwrap().file;
    let version = Some(VersionChoice::Numbered(first.sequence));
    let on = |etag: &str| {
        let condition = WriteCondition { if_match: Some(vec![etag.to_owned()]), ..WriteCondition::default() };
        Removal { condition, ..removal("run/x", version) }
    };
    let refused = harness.registry.file_remove(&harness.actor, &board, on(&second.etag)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::PreconditionFailed(_)))), "{refused:?}");
    harness.registry.file_remove(&harness.actor, &board, on(&first.etag)).await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn tags_change_without_a_new_version_and_configurations_without_a_trace_of_the_old() {
    let harness = Harness::start().await;
    let board = producer("board");
    let file = harness.put("board/run/x", "one").await.unwrap().file;
    let tags: TextMap = [("colour".to_owned(), "grün".to_owned())].into_iter().collect();
    for _ in 0..2 {
        let tagged = harness.registry.file_tag(&harness.actor, &name("board/run/x"), None, tags.clone()).await.unwrap();
        assert_eq!((tagged.sequence, &tagged.attributes.tags), (file.sequence, &tags));
    }
    let document = async |harness: &Harness| {
        harness.registry.subresource(&harness.actor, &producer("board"), Subresource::Cors).await.unwrap()
    };
    for text in [Some("<a/>"), Some("<a/>"), Some("<b/>"), None, None] {
        let text = text.map(str::to_owned);
        harness.registry.subresource_set(&harness.actor, &board, Subresource::Cors, text.clone()).await.unwrap();
        assert_eq!(document(&harness).await, text);
    }
    let kinds = harness.kinds().await;
    let of = |kind: &str| kinds.iter().filter(|it| *it == kind).count();
    assert_eq!((of("v1.file.tagged"), of("v1.subresource.set"), of("v1.subresource.removed")), (1, 2, 1));
    harness.registry.subresource_set(&harness.actor, &board, Subresource::Cors, Some("<c/>".to_owned())).await.unwrap();
    harness.remove("board/run/x").await.unwrap();
    harness.registry.producer_delete(&harness.actor, &board).await.unwrap();
    harness.registry.producer_create(&harness.actor, &board, ProducerSettings::default()).await.unwrap();
    assert_eq!(document(&harness).await, None, "whoever takes the name next begins without them");
    harness.finish().await;
}
