//! Access keys: whose each is, what it may do, and how soon it may not.

use std::time::{Duration, Instant};

use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Harness, S3};
use serde_json::{Value, json};

/// Makes a key by admin REST and gives a client that signs with it.
async fn key(gateway: &Harness, tenant: &str, grants: Value) -> (String, S3) {
    let reply = gateway.admin.give("POST", "/v1/keys", &json!({"tenant": tenant, "grants": grants})).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    let mut client = gateway.s3.clone();
    client.keys.access_key = made["access_key"].as_str().unwrap().to_owned();
    client.keys.secret_key = made["secret_key"].as_str().unwrap().to_owned();
    (client.keys.access_key.clone(), client)
}

async fn code<T>(answer: impl Future<Output = Result<T, artifactstore_tests::Refused>>) -> String {
    match answer.await {
        Ok(_) => "OK".to_owned(),
        Err(refused) if refused.code().is_empty() => refused.status().to_string(),
        Err(refused) => refused.code().to_owned(),
    }
}

#[tokio::test]
async fn a_key_that_may_write_uploads_in_parts_creates_its_own_bucket_again_and_does_nothing_more() {
    let gateway = Harness::start().await;
    gateway.put("lab/run-1/there", b"there").await.unwrap();
    gateway.producer("other").await;
    let (_, writer) = key(&gateway, "root", json!([{"producer": "lab", "permissions": ["write"]}])).await;
    writer.put("lab/run-1/a", b"a").await.unwrap();
    let upload = writer.upload_create("lab/run-1/parts").await.unwrap();
    let etag = writer.upload_part("lab/run-1/parts", &upload, 1, b"part").await.unwrap();
    writer.upload_complete("lab/run-1/parts", &upload, &[(1, etag)]).await.unwrap();
    assert_eq!(code(writer.put("lab", b"")).await, "OK");
    let events = gateway.event_count().await;
    assert_eq!(code(writer.put("new-one", b"")).await, "AccessDenied");
    assert_eq!(code(writer.get("lab/run-1/a")).await, "AccessDenied");
    assert_eq!(code(writer.head("lab/run-1/a")).await, "403");
    assert_eq!(code(writer.delete("lab/run-1/a")).await, "AccessDenied");
    assert_eq!(code(writer.delete("lab")).await, "AccessDenied");
    assert_eq!(code(writer.put("lab/run-1/.artifact/finalize", b"")).await, "AccessDenied");
    assert_eq!(code(writer.put("other/run-1/a", b"a")).await, "AccessDenied");
    assert_eq!(code(writer.request("GET", "lab").query("list-type", "2").send()).await, "AccessDenied");
    // What is kept, nobody could take back: that takes `retain`, as with PutObjectRetention.
    for (name, value) in [
        ("x-artifact-retention-class", "transient"),
        ("x-amz-tagging", "artifact-retention-class=transient"),
        ("x-amz-object-lock-legal-hold", "ON"),
    ] {
        let kept = writer.request("PUT", "lab/run-1/kept").header(name, value).body(b"kept");
        assert_eq!(code(kept.send()).await, "AccessDenied", "{name}");
    }
    let copy = writer.request("PUT", "lab/run-1/copy").header("x-amz-copy-source", "lab/run-1/there");
    assert_eq!(code(copy.send()).await, "AccessDenied");
    let delete = b"<Delete><Object><Key>run-1/a</Key></Object></Delete>";
    let many = writer.request("POST", "lab").query("delete", "").body(delete).send().await.unwrap();
    assert_eq!((many.elements("Code"), many.elements("Deleted").len()), (vec!["AccessDenied".to_owned()], 0));
    // The body of what is not allowed is never asked for.
    let refused = writer.request("PUT", "other/run-1/a").body(&[1; 100_000]).expect_continue().send().await;
    let reply = refused.unwrap_err().reply;
    assert_eq!((reply.status, reply.interim.len()), (403, 0));
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn each_permission_allows_what_it_names_under_its_prefix() {
    let gateway = Harness::start().await;
    gateway.put("lab/run-1/a", b"a").await.unwrap();
    gateway.put("lab/run-2/b", b"b").await.unwrap();
    let (_, reader) =
        key(&gateway, "root", json!([{"producer": "lab", "prefix": "run-1/", "permissions": ["read"]}])).await;
    assert_eq!(reader.get("lab/run-1/a").await.unwrap().body, b"a");
    assert_eq!(reader.list("lab", "run-1/").await, ["run-1/a"]);
    assert_eq!(code(reader.get("lab/run-2/b")).await, "AccessDenied");
    assert_eq!(code(reader.request("GET", "lab").query("list-type", "2").send()).await, "AccessDenied");
    assert_eq!(code(reader.put("lab/run-1/c", b"c")).await, "AccessDenied");
    let (_, sealer) = key(&gateway, "root", json!([{"producer": "*", "permissions": ["finalize", "delete"]}])).await;
    assert_eq!(code(sealer.put("lab/run-1/c", b"c")).await, "AccessDenied");
    sealer.delete("lab/run-2/b").await.unwrap();
    sealer.put("lab/run-1/.artifact/finalize", b"").await.unwrap();
    let (_, chief) = key(&gateway, "root", json!([{"producer": "*", "permissions": ["administer"]}])).await;
    chief.put("made-by-the-chief", b"").await.unwrap();
    chief.delete("made-by-the-chief").await.unwrap();
    assert_eq!(code(chief.get("lab/run-1/a")).await, "AccessDenied");
    for (grants, status) in [
        (json!([{"producer": "lab", "permissions": ["fly"]}]), 400),
        (json!([{"producer": "No_Name", "permissions": ["read"]}]), 400),
        (json!([]), 400),
    ] {
        let reply = gateway.admin.give("POST", "/v1/keys", &json!({ "grants": grants })).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn a_tenant_sees_its_own_producers_and_no_other() {
    let gateway = Harness::start().await;
    let all = json!([{"producer": "*", "permissions": ["read", "write", "delete", "finalize", "administer"]}]);
    let (_, alice) = key(&gateway, "alice", all.clone()).await;
    let (_, bob) = key(&gateway, "bob", all).await;
    alice.put("of-alice", b"").await.unwrap();
    alice.put("of-alice/run-1/a", b"a").await.unwrap();
    bob.put("of-bob", b"").await.unwrap();
    gateway.producer("of-root").await;
    assert_eq!(alice.get("").await.unwrap().elements("Name"), ["of-alice"]);
    assert_eq!(bob.get("").await.unwrap().elements("Name"), ["of-bob"]);
    assert_eq!(code(bob.get("of-alice/run-1/a")).await, "AccessDenied");
    assert_eq!(code(bob.put("of-alice/run-1/a", b"b")).await, "AccessDenied");
    assert_eq!(code(bob.put("of-alice", b"")).await, "BucketAlreadyExists");
    assert_eq!(code(bob.head("of-alice")).await, "403");
    let copy = bob.request("PUT", "of-bob/run-1/stolen").header("x-amz-copy-source", "of-alice/run-1/a");
    assert_eq!(code(copy.send()).await, "AccessDenied");
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_that_is_rotated_or_revoked_is_not_taken_a_second_later_and_no_secret_is_in_the_clear() {
    let mut gateway = Harness::start().await;
    gateway.put("lab/run-1/a", b"a").await.unwrap();
    let all = json!([{"producer": "lab", "permissions": ["read"]}]);
    let (id, first) = key(&gateway, "root", all).await;
    assert_eq!(code(first.get("lab/run-1/a")).await, "OK");
    // The command line works beside the gateway, as another gateway would.
    let said = gateway.cli(&["key", "rotate", &id, "--json"]).await.succeeded();
    let rotated: Value = serde_json::from_str(&said).unwrap();
    let mut second = first.clone();
    second.keys.secret_key = rotated["secret_key"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(code(first.get("lab/run-1/a")).await, "SignatureDoesNotMatch");
    assert_eq!(code(second.get("lab/run-1/a")).await, "OK");
    gateway.restart().await;
    second.address = gateway.s3.address;
    assert_eq!(code(second.get("lab/run-1/a")).await, "OK");

    let listed = gateway.cli(&["key", "list"]).await.succeeded();
    assert!(listed.contains(&id) && listed.contains("read:lab"), "{listed}");
    assert_eq!(gateway.admin.give("DELETE", &format!("/v1/keys/{id}"), &json!({})).await.status, 204);
    let begun = Instant::now();
    while code(second.get("lab/run-1/a")).await == "OK" {
        assert!(begun.elapsed() < Duration::from_secs(2), "a revoked key is still taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(code(second.get("lab/run-1/a")).await, "InvalidAccessKeyId");
    assert_eq!(gateway.admin.get(&format!("/v1/keys/{id}")).await.status, 404);

    gateway.stop().await;
    for name in ["data/registry.db", "data/registry.db-wal", "gateway.log"] {
        let bytes = std::fs::read(gateway.folder().join(name)).unwrap_or_default();
        for secret in [&first.keys.secret_key, &second.keys.secret_key] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {name}");
        }
    }
    gateway.audit().await;
}

#[tokio::test]
async fn a_revocation_holds_on_every_gateway_of_a_registry_a_second_later() {
    let url = Cluster::shared().database();
    let objects = tempfile::TempDir::new().unwrap();
    let root = objects.path().display().to_string();
    let settings = [("ARTIFACTSTORE_DATABASE_URL", url.as_str()), ("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", root.as_str())];
    let first = Harness::start_with(&settings).await;
    let mut second = Harness::start_with(&settings).await;
    first.put("lab/run-1/a", b"a").await.unwrap();
    let (id, here) = key(&first, "root", json!([{"producer": "lab", "permissions": ["read"]}])).await;
    let mut there = here.clone();
    there.address = second.s3.address;
    assert_eq!((code(here.get("lab/run-1/a")).await, code(there.get("lab/run-1/a")).await), ("OK".into(), "OK".into()));
    assert_eq!(first.admin.give("DELETE", &format!("/v1/keys/{id}"), &json!({})).await.status, 204);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for client in [&here, &there] {
        assert_eq!(code(client.get("lab/run-1/a")).await, "InvalidAccessKeyId");
    }
    second.stop().await;
    first.finish().await;
}
