//! What may be read without a signature: nothing, but what a producer's setting opens; and never more than reading.

use artifactstore_tests::{Harness, Reply, Request};
use serde_json::{Value, json};

use crate::body;

/// What an answer was: its status, and the code of its error if it has one.
async fn outcome(request: Request) -> (u16, String) {
    match request.send().await {
        Ok(reply) => (reply.status, String::new()),
        Err(refused) => (refused.status(), refused.code().to_owned()),
    }
}

fn denied() -> (u16, String) {
    (403, "AccessDenied".to_owned())
}

/// Whether S3 says that the bucket is public.
async fn is_public(gateway: &Harness, bucket: &str) -> Option<String> {
    let reply = gateway.s3.request("GET", bucket).query("policyStatus", "").send().await.unwrap();
    reply.element("IsPublic")
}

async fn block(gateway: &Harness, name: &str) -> Reply {
    let document = format!("<PublicAccessBlockConfiguration><{name}>true</{name}></PublicAccessBlockConfiguration>");
    let request = gateway.s3.request("PUT", "open").query("publicAccessBlock", "").body(document.as_bytes());
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_producer_that_is_open_is_read_without_a_key_and_no_other_is() {
    let gateway = Harness::start().await;
    let bytes = body::bytes(1, 100_000);
    gateway.put("closed/run-1/a.bin", &bytes).await.unwrap();
    gateway.configure("open", json!({ "anonymous_read": "objects" })).await;
    gateway.put("open/run-1/a.bin", &bytes).await.unwrap();
    let anyone = |method: &str, name: &str| gateway.s3.request(method, name).anonymous();

    let got = anyone("GET", "open/run-1/a.bin").header("x-amz-checksum-mode", "ENABLED").send().await.unwrap();
    assert!(got.body == bytes && got.etag() == body::md5_hex(&bytes));
    assert_eq!(got.header_or_empty("x-amz-checksum-sha256"), body::checksum("sha256", &bytes));
    let part = anyone("GET", "open/run-1/a.bin").header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[10..20]));
    assert_eq!(anyone("HEAD", "open/run-1/a.bin").send().await.unwrap().header_or_empty("content-length"), "100000");
    assert_eq!(outcome(anyone("GET", "open/run-1/none")).await, (404, "NoSuchKey".to_owned()));
    assert_eq!(is_public(&gateway, "open").await.as_deref(), Some("true"));
    assert_eq!(is_public(&gateway, "closed").await.as_deref(), Some("false"));

    let events = gateway.event_count().await;
    for (method, name) in [
        ("GET", "closed/run-1/a.bin"),
        ("GET", "absent/run-1/a.bin"),
        ("PUT", "open/run-1/b.bin"),
        ("DELETE", "open/run-1/a.bin"),
        ("PUT", "open/run-1/.artifact/finalize"),
        ("GET", "open"),
        ("GET", ""),
        ("PUT", "theirs"),
    ] {
        assert_eq!(outcome(anyone(method, name).body(b"")).await, denied(), "{method} {name}");
    }
    for (name, subresource) in [
        ("open/run-1/a.bin", "tagging"),
        ("open/run-1/a.bin", "acl"),
        ("open", "versions"),
        ("open", "policy"),
        ("open", "policyStatus"),
    ] {
        assert_eq!(outcome(anyone("GET", name).query(subresource, "")).await, denied(), "{name}?{subresource}");
    }
    // A copy of what anyone may read is still a write.
    let copy = anyone("PUT", "open/run-1/c.bin").header("x-amz-copy-source", "open/run-1/a.bin");
    assert_eq!(outcome(copy).await, denied());
    let html = anyone("GET", "open/run-1/a.bin").query("response-content-type", "text/html");
    assert_eq!(outcome(html).await, (400, "InvalidRequest".to_owned()));
    // A signature that is wrong is not the same as none.
    let forged = gateway.s3.request("GET", "open/run-1/a.bin").spoil_signature();
    assert_eq!(outcome(forged).await, (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn what_has_no_name_any_more_is_not_read_without_a_key() {
    let gateway = Harness::start().await;
    gateway.configure("open", json!({ "anonymous_read": "list" })).await;
    let first = gateway.put("open/run-1/a", b"first").await.unwrap();
    gateway.put("open/run-1/a", b"second").await.unwrap();
    let old = first.header_or_empty("x-artifact-sequence").to_owned();
    assert_eq!(gateway.s3.request("GET", "open/run-1/a").query("versionId", &old).send().await.unwrap().body, b"first");
    let anyone = gateway.s3.request("GET", "open/run-1/a").anonymous();
    assert_eq!(outcome(anyone.clone().query("versionId", &old)).await, denied());
    assert_eq!(anyone.send().await.unwrap().body, b"second");
    let listed = gateway.s3.request("GET", "open").anonymous().query("list-type", "2").send().await.unwrap();
    assert_eq!(listed.elements("Key"), ["run-1/a"]);
    assert_eq!(gateway.s3.request("HEAD", "open").anonymous().send().await.unwrap().status, 200);
    gateway.finish().await;
}

#[tokio::test]
async fn the_setting_is_an_event_that_any_face_shows_and_a_block_holds_over_it() {
    let gateway = Harness::start().await;
    gateway.put("open/run-1/a", b"a").await.unwrap();
    let get = || gateway.s3.request("GET", "open/run-1/a").anonymous();
    assert_eq!(outcome(get()).await, denied());
    let said = gateway.cli(&["producer", "set", "open", "--anonymous-read", "objects"]).await.succeeded();
    assert_eq!(said.trim(), "changed open");
    assert!(gateway.cli(&["producer", "show", "open"]).await.succeeded().contains("anonymous_read: objects"));
    let shown = gateway.admin.get("/v1/producers/open").await.json();
    assert_eq!(shown["anonymous_read"], "objects");
    let events = gateway.admin.events(0).await;
    let last: &Value = events.last().unwrap();
    assert_eq!(last["kind"], "v1.producer.configured", "{last}");
    assert_eq!(outcome(get()).await, (200, String::new()));

    for name in ["BlockPublicPolicy", "RestrictPublicBuckets"] {
        block(&gateway, name).await;
        assert_eq!((outcome(get()).await, is_public(&gateway, "open").await), (denied(), Some("false".to_owned())));
    }
    block(&gateway, "BlockPublicAcls").await;
    assert_eq!(outcome(get()).await, (200, String::new()));
    gateway.s3.request("DELETE", "open").query("publicAccessBlock", "").send().await.unwrap();
    assert_eq!(is_public(&gateway, "open").await.as_deref(), Some("true"));
    gateway.configure("open", json!({})).await;
    assert_eq!((outcome(get()).await, is_public(&gateway, "open").await), (denied(), Some("false".to_owned())));
    let wrong = gateway.admin.give("PUT", "/v1/producers/open", &json!({ "anonymous_read": "everything" })).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    gateway.finish().await;
}
