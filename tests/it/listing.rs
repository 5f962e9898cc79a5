//! Listings: complete, in order, page by page, whatever the keys look like.

use std::collections::BTreeSet;

use artifactstore_tests::{Harness, Reply, S3};
use tokio::task::JoinSet;

const COUNT: usize = 2500;

/// 2,500 keys under 50 folders, with the bytes of their own names.
async fn many(gateway: &Harness) -> Vec<String> {
    gateway.producer("many").await;
    let mut keys: Vec<String> = (0..COUNT).map(|n| format!("run-{:02}/file-{n:04}.txt", n % 50)).collect();
    let mut tasks = JoinSet::new();
    for part in keys.chunks(COUNT / 20).map(<[String]>::to_vec) {
        let s3 = gateway.s3.clone();
        tasks.spawn(async move {
            for key in part {
                s3.put(&format!("many/{key}"), key.as_bytes()).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    keys.sort();
    keys
}

async fn page(s3: &S3, bucket: &str, query: &[(&str, &str)]) -> Reply {
    let request = s3.request("GET", bucket);
    query.iter().fold(request, |r, (name, value)| r.query(name, value)).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_keys_are_listed_completely_in_order_page_by_page() {
    let gateway = Harness::start().await;
    let keys = many(&gateway).await;
    let s3 = &gateway.s3;
    assert_eq!(gateway.list("many", "").await, keys);
    let first = page(s3, "many", &[("list-type", "2")]).await;
    assert_eq!(first.elements("Key").len(), 1000, "a page holds a thousand");
    assert_eq!(first.element("KeyCount").as_deref(), Some("1000"));
    assert_eq!(first.element("IsTruncated").as_deref(), Some("true"));

    let mut marker = String::new();
    let mut by_marker = Vec::new();
    loop {
        let reply = page(s3, "many", &[("max-keys", "700"), ("marker", &marker)]).await;
        by_marker.extend(reply.elements("Key"));
        if reply.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        marker = by_marker.last().unwrap().clone();
    }
    assert_eq!(by_marker, keys, "the first version of the call lists the same");

    let from = &keys[1234];
    let after = page(s3, "many", &[("list-type", "2"), ("start-after", from), ("max-keys", "3")]).await;
    assert_eq!(after.elements("Key"), keys[1235..1238]);
    let none = page(s3, "many", &[("list-type", "2"), ("max-keys", "0")]).await;
    assert_eq!((none.elements("Key").len(), none.element("IsTruncated").as_deref()), (0, Some("false")));
    gateway.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delimiter_rolls_keys_up_to_their_folders() {
    let gateway = Harness::start().await;
    let keys = many(&gateway).await;
    gateway.put("many/lone.txt", b"x").await.unwrap();
    let s3 = &gateway.s3;
    let folders: BTreeSet<String> = keys.iter().map(|key| format!("{}/", key.split('/').next().unwrap())).collect();
    let rolled = page(s3, "many", &[("list-type", "2"), ("delimiter", "/")]).await;
    let prefixes = |reply: &Reply| -> Vec<String> {
        let blocks = reply.elements("CommonPrefixes");
        blocks.iter().map(|block| block.replace("<Prefix>", "").replace("</Prefix>", "")).collect()
    };
    assert_eq!(prefixes(&rolled), Vec::from_iter(folders.clone()));
    assert_eq!(rolled.elements("Key"), ["lone.txt"]);
    assert_eq!(rolled.element("KeyCount").as_deref(), Some("51"));

    let mut token = None;
    let mut found = Vec::new();
    loop {
        let mut query = vec![("list-type", "2"), ("delimiter", "/"), ("max-keys", "7")];
        query.extend(token.as_deref().map(|token| ("continuation-token", token)));
        let reply = page(s3, "many", &query).await;
        assert!(reply.elements("Key").len() + prefixes(&reply).len() <= 7);
        found.extend(prefixes(&reply));
        token = reply.element("NextContinuationToken");
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, Vec::from_iter(folders), "no folder is told twice, none is missing");
    let inside = page(s3, "many", &[("list-type", "2"), ("delimiter", "/"), ("prefix", "run-07/")]).await;
    assert_eq!(inside.elements("Key").len(), COUNT / 50);
    let partial = page(s3, "many", &[("list-type", "2"), ("delimiter", "-"), ("prefix", "run")]).await;
    assert_eq!(prefixes(&partial), ["run-"]);
    gateway.finish().await;
}

#[tokio::test]
async fn many_versions_of_one_key_are_listed_once_each_newest_first() {
    let gateway = Harness::start().await;
    gateway.producer("old").await;
    let on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    gateway.s3.request("PUT", "old").query("versioning", "").body(on).send().await.unwrap();
    let mut written = Vec::new();
    for round in 0..23 {
        let made = if round % 5 == 4 {
            gateway.delete("old/run/a").await.unwrap()
        } else {
            gateway.put("old/run/a", format!("{round}").as_bytes()).await.unwrap()
        };
        written.insert(0, made.header_or_empty("x-amz-version-id").to_owned());
    }
    let other = gateway.put("old/run/b", b"b").await.unwrap();
    written.push(other.header_or_empty("x-amz-version-id").to_owned());
    for size in ["1", "4", "5", "1000"] {
        let (mut seen, mut marker) = (Vec::new(), None::<(String, Option<String>)>);
        loop {
            let mut request = gateway.s3.request("GET", "old").query("versions", "").query("max-keys", size);
            if let Some((key, version)) = &marker {
                request = request.query("key-marker", key);
                request = version.iter().fold(request, |request, id| request.query("version-id-marker", id));
            }
            let page = request.send().await.unwrap();
            seen.extend(page.elements("VersionId"));
            let next = page.element("NextKeyMarker").filter(|_| page.element("IsTruncated").as_deref() == Some("true"));
            let Some(key) = next else { break };
            marker = Some((key, page.element("NextVersionIdMarker")));
        }
        // A larger page has its versions in one run, and its markers in another.
        if size != "1" {
            seen.sort();
            written.sort();
        }
        assert_eq!(seen, written, "pages of {size}");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn odd_keys_come_back_as_they_were_written() {
    let gateway = Harness::start().await;
    let long = "k".repeat(1020);
    let mut keys = vec![
        "run/a b+c%d&e=f?g#h.txt",
        "run/\u{e4}\u{f6}\u{fc}/\u{6f22}\u{5b57}/\u{1f600}",
        "run//double",
        "run/../up",
        "run/./here",
        "run/trailing/",
        "run/ space first",
        "run/\"quoted\"<tag>'",
        "run/tab\there",
        "run/bell\u{7}",
        "run/~tilde*(star)!",
        "run/%2F%25",
        "run/back\\slash",
        "/leading",
        "run/new\nline",
        &long,
    ];
    for key in &keys {
        gateway
            .put(&format!("odd/{key}"), key.as_bytes())
            .await
            .unwrap_or_else(|r| panic!("{key:?}: {}", r.reply.text()));
    }
    for key in &keys {
        let found = gateway.get(&format!("odd/{key}")).await.unwrap_or_else(|r| panic!("{key:?}: {}", r.reply.text()));
        assert_eq!(found.body, key.as_bytes());
    }
    keys.sort_unstable();
    let encoded = page(&gateway.s3, "odd", &[("list-type", "2"), ("encoding-type", "url")]).await;
    let decode = |text: &String| {
        let bytes = percent_encoding::percent_decode_str(&text.replace('+', " ")).collect();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(encoded.elements("Key").iter().map(decode).collect::<Vec<_>>(), keys);
    assert_eq!(encoded.element("EncodingType").as_deref(), Some("url"));
    let part =
        page(&gateway.s3, "odd", &[("list-type", "2"), ("encoding-type", "url"), ("prefix", "run/a b+c%d")]).await;
    assert_eq!(part.elements("Key").iter().map(decode).collect::<Vec<_>>(), ["run/a b+c%d&e=f?g#h.txt"]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_listing_shows_a_write_at_once_and_a_delete_too() {
    let gateway = Harness::start().await;
    for round in 0..20 {
        gateway.put("fresh/run/a", format!("{round}").as_bytes()).await.unwrap();
        let reply = page(&gateway.s3, "fresh", &[("list-type", "2")]).await;
        let etag = crate::body::md5_hex(format!("{round}").as_bytes());
        assert_eq!(reply.element("ETag").unwrap().trim_matches('"'), etag);
        gateway.delete("fresh/run/a").await.unwrap();
        assert!(gateway.list("fresh", "").await.is_empty());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn many_keys_are_deleted_in_one_call() {
    let gateway = Harness::start().await;
    for number in 0..30 {
        gateway.put(&format!("bulk/run/{number:02}"), b"x").await.unwrap();
    }
    let objects: String = (0..20).map(|n| format!("<Object><Key>run/{n:02}</Key></Object>")).collect();
    let xml = format!("<Delete>{objects}<Object><Key>run/none</Key></Object></Delete>");
    let request = gateway.s3.request("POST", "bulk").query("delete", "").body(xml.as_bytes());
    let request = request.header("x-amz-checksum-crc32", &crate::body::checksum("crc32", xml.as_bytes()));
    let reply = request.send().await.unwrap();
    assert_eq!(reply.elements("Deleted").len(), 21, "a key that is not there counts as deleted: {}", reply.text());
    assert_eq!(gateway.list("bulk", "").await.len(), 10);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>run/25</Key></Object></Delete>";
    let request = gateway.s3.request("POST", "bulk").query("delete", "").body(quiet.as_bytes());
    let reply = request.header("content-md5", &crate::body::md5_base64(quiet.as_bytes())).send().await.unwrap();
    assert!(reply.elements("Deleted").is_empty());
    assert_eq!(gateway.list("bulk", "").await.len(), 9);
    gateway.finish().await;
}
