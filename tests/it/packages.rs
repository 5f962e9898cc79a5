//! Keys map to packages by the producer's depth, and every way to finalize ends in the same seal.

use std::time::{Duration, Instant};

use artifactstore_tests::Harness;
use serde_json::json;

/// The manifest's digest of the newest revision of a package, `None` while it is open.
async fn seal(gateway: &Harness, producer: &str, package: &str) -> Option<String> {
    let packages = gateway.admin.packages(producer, Some(package)).await;
    let newest = packages.iter().max_by_key(|package| package["revision"].as_u64())?;
    newest["manifest_digest"].as_str().map(str::to_owned)
}

/// The digest of the manifest that a plain S3 client downloads.
async fn manifest_digest(gateway: &Harness, prefix: &str) -> String {
    crate::body::address(&gateway.get(&format!("{prefix}.artifact/manifest.cbor")).await.unwrap().body)
}

#[tokio::test]
async fn the_depth_of_a_producer_says_which_segments_name_the_package() {
    let gateway = Harness::start().await;
    let cases = [
        (0, "top.txt", ""),
        (0, "run-1/a/b.txt", ""),
        (1, "top.txt", ""),
        (1, "run-1/a/b.txt", "run-1"),
        (2, "run-1/a.txt", ""),
        (2, "run-1/linux/b.txt", "run-1/linux"),
        (2, "run-1/linux/deep/c.txt", "run-1/linux"),
    ];
    for depth in 0..=2 {
        gateway.configure(&format!("depth-{depth}"), json!({ "package_depth": depth })).await;
    }
    for (depth, key, package) in cases {
        let stored = gateway.put(&format!("depth-{depth}/{key}"), key.as_bytes()).await.unwrap();
        assert_eq!(stored.header("x-artifact-package"), Some(package), "{key} at depth {depth}");
    }
    let names: Vec<String> =
        gateway.admin.packages("depth-2", None).await.iter().map(|p| p["name"].to_string()).collect();
    assert_eq!(names, ["\"\"", "\"run-1/linux\""]);
    gateway.finish().await;
}

#[tokio::test]
async fn finalizing_by_rest_seals_the_package_and_doing_it_again_answers_the_same() {
    let gateway = Harness::start().await;
    gateway.put("guide-board/run-42/report.xml", b"<ok/>").await.unwrap();
    let first = gateway.finalize("guide-board", "run-42").await.unwrap();
    let events = gateway.event_count().await;
    let second = gateway.finalize("guide-board", "run-42").await.unwrap();
    assert_eq!(first, second);
    assert_eq!(gateway.event_count().await, events);
    assert_eq!(first["revision"], 1);
    let digest = first["manifest_digest"].as_str().unwrap();
    assert_eq!(digest, manifest_digest(&gateway, "guide-board/run-42/").await);
    let by_id = format!("/v1/packages/{}/finalize", first["id"].as_str().unwrap());
    let third = gateway.admin.give("POST", &by_id, &json!({})).await.json();
    assert_eq!(third["manifest_digest"], digest);
    assert_eq!(seal(&gateway, "guide-board", "run-42").await.as_deref(), Some(digest));
    gateway.finish().await;
}

#[tokio::test]
async fn the_root_package_is_finalized_like_any_other() {
    let gateway = Harness::start().await;
    gateway.put("rooted/top.txt", b"top").await.unwrap();
    gateway.put("rooted/run-1/a.txt", b"a").await.unwrap();
    let sealed = gateway.finalize("rooted", "").await.unwrap();
    assert_eq!(sealed["manifest_digest"], manifest_digest(&gateway, "rooted/").await);
    assert_eq!(gateway.put("rooted/second.txt", b"x").await.unwrap_err().code(), "AccessDenied");
    gateway.put("rooted/run-1/b.txt", b"still open").await.unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn finalizing_by_command_works_beside_a_gateway_that_runs() {
    let gateway = Harness::start().await;
    gateway.put("by-command/run-1/a.txt", b"a").await.unwrap();
    let said = gateway.cli(&["finalize", "by-command", "run-1"]).await.succeeded();
    let digest = seal(&gateway, "by-command", "run-1").await.expect("sealed");
    assert!(said.contains(&digest), "{said}");
    assert_eq!(gateway.put("by-command/run-1/b.txt", b"b").await.unwrap_err().code(), "AccessDenied");
    gateway.finish().await;
}

#[tokio::test]
async fn a_marker_key_finalizes_with_itself_in_the_manifest() {
    let gateway = Harness::start().await;
    gateway.configure("marked", json!({ "package_depth": 1, "finalize_marker": "_SUCCESS" })).await;
    gateway.put("marked/run-1/a.txt", b"a").await.unwrap();
    gateway.put("marked/run-1/deep/_SUCCESS", b"not at the top").await.unwrap();
    assert_eq!(seal(&gateway, "marked", "run-1").await, None);
    gateway.put("marked/run-1/_SUCCESS", b"").await.unwrap();
    assert!(seal(&gateway, "marked", "run-1").await.is_some());
    let manifest = gateway.get("marked/run-1/.artifact/manifest.json").await.unwrap().json();
    let paths: Vec<&str> =
        manifest["files"].as_array().unwrap().iter().filter_map(|f| f["relative_path"].as_str()).collect();
    assert_eq!(paths, ["_SUCCESS", "a.txt", "deep/_SUCCESS"]);

    let set = ["producer", "set", "marked", "--finalize-marker", "*.done"];
    let _ = gateway.cli(&set).await.succeeded();
    gateway.put("marked/run-2/_SUCCESS", b"").await.unwrap();
    assert_eq!(seal(&gateway, "marked", "run-2").await, None, "the marker changed");
    gateway.put("marked/run-2/run.done", b"").await.unwrap();
    assert!(seal(&gateway, "marked", "run-2").await.is_some());
    gateway.finish().await;
}

#[tokio::test]
async fn a_quiet_period_finalizes_what_nobody_writes_to_any_more() {
    let gateway = Harness::start().await;
    gateway.configure("quiet", json!({ "finalize_after_idle_seconds": 2 })).await;
    let begun = Instant::now();
    for number in 0..6 {
        gateway.put(&format!("quiet/run-1/{number}.txt"), b"busy").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "longer than the quiet period in all");
    assert_eq!(seal(&gateway, "quiet", "run-1").await, None, "it was never quiet that long");
    while seal(&gateway, "quiet", "run-1").await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(40), "the quiet period has long passed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(gateway.put("quiet/run-1/late.txt", b"x").await.unwrap_err().code(), "AccessDenied");
    gateway.finish().await;
}

#[tokio::test]
async fn a_plain_s3_client_finalizes_by_writing_the_reserved_key() {
    let gateway = Harness::start().await;
    gateway.put("plain/run-1/a.txt", b"a").await.unwrap();
    gateway.put("plain/run-1/.artifact/finalize", b"").await.unwrap();
    let digest = seal(&gateway, "plain", "run-1").await.expect("sealed");
    assert_eq!(digest, manifest_digest(&gateway, "plain/run-1/").await);
    let events = gateway.event_count().await;
    gateway.put("plain/run-1/.artifact/finalize", b"").await.unwrap();
    assert_eq!(gateway.event_count().await, events, "again is fine and records nothing");
    gateway.finish().await;
}

#[tokio::test]
async fn nothing_else_can_be_written_under_the_reserved_segment() {
    let gateway = Harness::start().await;
    gateway.put("reserved/run-1/a.txt", b"a").await.unwrap();
    let events = gateway.event_count().await;
    for item in ["manifest.cbor", "manifest.json", "notes.txt", "deep/finalize"] {
        let name = format!("reserved/run-1/.artifact/{item}");
        assert_eq!(gateway.put(&name, b"forged").await.unwrap_err().code(), "AccessDenied", "{item}");
    }
    let open = gateway.get("reserved/run-1/.artifact/manifest.cbor").await.unwrap_err();
    assert_eq!(open.code(), "NoSuchKey", "an open package has no manifest");
    assert_eq!(gateway.event_count().await, events);
    assert_eq!(gateway.list("reserved", "").await, ["run-1/a.txt"], "the documents are not listed");
    gateway.finish().await;
}

#[tokio::test]
async fn finalizing_what_is_not_there_is_refused() {
    let gateway = Harness::start().await;
    gateway.producer("empty").await;
    assert_eq!(gateway.finalize("empty", "run-1").await.unwrap_err().status, 404);
    assert_eq!(gateway.finalize("nobody", "run-1").await.unwrap_err().status, 404);
    gateway.finish().await;
}
