//! A sealed package stays as it is: every write is refused, says why, and records nothing; and the seal cuts cleanly.

use artifactstore_tests::{Harness, Refused};
use serde_json::json;
use tokio::task::JoinSet;

use crate::body;

fn expect_sealed(refused: &Refused, package: &str, digest: &str) {
    assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"));
    let message = refused.message();
    assert!(message.contains(package) && message.contains(digest), "{message:?} names neither or one of them");
}

#[tokio::test]
async fn writing_into_a_finalized_package_is_refused_and_records_nothing() {
    let gateway = Harness::start().await;
    gateway.put("guide-board/run-42/report.xml", b"<ok/>").await.unwrap();
    gateway.put("guide-board/run-43/other.xml", b"<ok/>").await.unwrap();
    let begun = gateway.s3.upload_create("guide-board/run-42/begun.bin").await.unwrap();
    let etag = gateway.s3.upload_part("guide-board/run-42/begun.bin", &begun, 1, b"part").await.unwrap();
    let sealed = gateway.finalize("guide-board", "run-42").await.unwrap();
    let digest = sealed["manifest_digest"].as_str().unwrap();
    let events = gateway.event_count().await;

    let refused = gateway.put("guide-board/run-42/late.xml", b"x").await.unwrap_err();
    expect_sealed(&refused, "run-42", digest);
    let refused = gateway.put("guide-board/run-42/report.xml", b"<changed/>").await.unwrap_err();
    expect_sealed(&refused, "run-42", digest);
    expect_sealed(&gateway.delete("guide-board/run-42/report.xml").await.unwrap_err(), "run-42", digest);
    let copy = gateway.s3.request("PUT", "guide-board/run-42/copy.xml");
    let copy = copy.header("x-amz-copy-source", "guide-board/run-43/other.xml").send().await.unwrap_err();
    expect_sealed(&copy, "run-42", digest);
    let touch =
        gateway.s3.request("PUT", "guide-board/run-42/report.xml").header("x-amz-metadata-directive", "REPLACE");
    let touch = touch.header("x-amz-copy-source", "guide-board/run-42/report.xml").send().await.unwrap_err();
    expect_sealed(&touch, "run-42", digest);
    expect_sealed(&gateway.s3.upload_create("guide-board/run-42/big.bin").await.unwrap_err(), "run-42", digest);
    let late = gateway.s3.upload_complete("guide-board/run-42/begun.bin", &begun, &[(1, etag)]).await.unwrap_err();
    expect_sealed(&late, "run-42", digest);

    assert_eq!(gateway.event_count().await, events);
    assert_eq!(gateway.get("guide-board/run-42/report.xml").await.unwrap().body, b"<ok/>");
    gateway.put("guide-board/run-43/late.xml", b"the neighbour is open").await.unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn deleting_many_keys_refuses_each_sealed_one_by_itself() {
    let gateway = Harness::start().await;
    gateway.put("many/sealed/a", b"a").await.unwrap();
    gateway.put("many/open/b", b"b").await.unwrap();
    gateway.finalize("many", "sealed").await.unwrap();
    let xml = "<Delete><Object><Key>sealed/a</Key></Object><Object><Key>open/b</Key></Object></Delete>";
    let request = gateway.s3.request("POST", "many").query("delete", "").body(xml.as_bytes());
    let reply = request.header("content-md5", &body::md5_base64(xml.as_bytes())).send().await.unwrap();
    let text = reply.text();
    assert!(text.contains("<Error>") && text.contains("AccessDenied"), "{text}");
    assert_eq!(gateway.list("many", "").await, ["sealed/a"]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_refusal_costs_no_body() {
    let gateway = Harness::start().await;
    gateway.put("early/run-1/a", b"a").await.unwrap();
    gateway.finalize("early", "run-1").await.unwrap();
    let request = gateway.s3.request("PUT", "early/run-1/late").expect_continue().body(&body::bytes(1, 1 << 20));
    let refused = request.send().await.unwrap_err();
    assert_eq!(refused.code(), "AccessDenied");
    assert!(refused.reply.interim.is_empty(), "the body was never asked for");
    assert_eq!(refused.reply.header("connection"), Some("close"), "and the client is told not to go on with it");
    let request = gateway.s3.request("PUT", "early/run-2/a").expect_continue().body(&body::bytes(1, 1 << 20));
    assert_eq!(request.send().await.unwrap().interim, [100]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_new_revision_opens_where_the_producer_allows_it_and_the_old_one_stays_sealed() {
    let gateway = Harness::start().await;
    gateway.configure("revised", json!({ "on_finalized": "new_revision" })).await;
    gateway.put("revised/run-1/a.txt", b"one").await.unwrap();
    gateway.put("revised/run-1/b.txt", b"two").await.unwrap();
    let first = gateway.finalize("revised", "run-1").await.unwrap();
    gateway.put("revised/run-1/a.txt", b"changed").await.unwrap();
    let second = gateway.finalize("revised", "run-1").await.unwrap();
    assert_eq!((&first["revision"], &second["revision"]), (&json!(1), &json!(2)));
    assert_ne!(first["id"], second["id"]);

    let manifest = async |sealed: &serde_json::Value| {
        let path = format!("/v1/packages/{}/manifest", sealed["id"].as_str().unwrap());
        let cbor = gateway.admin.get_as(&path, "application/cbor").await.body;
        assert_eq!(sealed["manifest_digest"], body::address(&cbor));
        gateway.admin.get_as(&path, "application/json").await.json()
    };
    let (old, new) = (manifest(&first).await, manifest(&second).await);
    let digest = |manifest: &serde_json::Value, at: usize| manifest["files"][at]["digest_sha256"].clone();
    assert_eq!(digest(&old, 0), body::sha256_hex(b"one"));
    assert_eq!(digest(&new, 0), body::sha256_hex(b"changed"));
    assert_eq!(digest(&new, 1), body::sha256_hex(b"two"), "what was not touched is in both");
    gateway.finish().await;
}

#[tokio::test]
async fn of_writes_that_race_the_seal_each_is_in_the_manifest_or_was_refused() {
    let gateway = Harness::start().await;
    gateway.put("race/run-1/first", b"first").await.unwrap();
    let mut tasks = JoinSet::new();
    for writer in 0..12_u64 {
        let s3 = gateway.s3.clone();
        tasks.spawn(async move {
            let mut kept = Vec::new();
            for number in 0..40_u64 {
                let bytes = body::bytes(writer * 1000 + number, 500);
                let path = format!("w{writer:02}-{number:02}");
                match s3.put(&format!("race/run-1/{path}"), &bytes).await {
                    Ok(_) => kept.push((path, body::sha256_hex(&bytes))),
                    Err(refused) => assert_eq!(refused.code(), "AccessDenied", "{}", refused.message()),
                }
            }
            kept
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    gateway.finalize("race", "run-1").await.unwrap();
    let mut kept = vec![("first".to_owned(), body::sha256_hex(b"first"))];
    for mut part in tasks.join_all().await {
        kept.append(&mut part);
    }
    kept.sort();
    let manifest = gateway.get("race/run-1/.artifact/manifest.json").await.unwrap().json();
    let listed: Vec<(String, String)> = manifest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| ["relative_path", "digest_sha256"].map(|field| file[field].as_str().unwrap().to_owned()).into())
        .collect();
    assert_eq!(listed, kept);
    assert!(kept.len() > 1 && kept.len() < 12 * 40 + 1, "the seal fell among the writes: {}", kept.len());
    gateway.finish().await;
}
