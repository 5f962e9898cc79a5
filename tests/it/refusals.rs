//! What is refused before anything is done: who may not, what is malformed, and what the gateway does not do.

use artifactstore_tests::sign::date_of;
use artifactstore_tests::{Harness, Refused};
use time::{Duration, OffsetDateTime};

use crate::body;

fn expect(refused: &Refused, status: u16, code: &str) {
    assert_eq!((refused.status(), refused.code()), (status, code), "{}", refused.reply.text());
}

#[tokio::test]
async fn requests_of_strangers_are_refused_and_record_nothing() {
    let gateway = Harness::start().await;
    gateway.put("private/run-1/a.txt", b"secret").await.unwrap();
    let events = gateway.event_count().await;
    let get = || gateway.s3.request("GET", "private/run-1/a.txt");
    expect(&get().anonymous().send().await.unwrap_err(), 403, "AccessDenied");
    expect(&get().spoil_signature().send().await.unwrap_err(), 403, "SignatureDoesNotMatch");
    let mut stranger = gateway.s3.clone();
    stranger.keys.access_key = "NOBODYKNOWSTHISKEY".to_owned();
    expect(&stranger.get("private/run-1/a.txt").await.unwrap_err(), 403, "InvalidAccessKeyId");
    let mut thief = gateway.s3.clone();
    thief.keys.secret_key = "guessed".to_owned();
    expect(&thief.put("private/run-1/b.txt", b"x").await.unwrap_err(), 403, "SignatureDoesNotMatch");
    expect(&thief.delete("private/run-1/a.txt").await.unwrap_err(), 403, "SignatureDoesNotMatch");
    expect(&thief.put("their-own", b"").await.unwrap_err(), 403, "SignatureDoesNotMatch");
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn a_signature_is_good_for_minutes_only() {
    let gateway = Harness::start().await;
    gateway.put("skewed/run-1/a.txt", b"a").await.unwrap();
    for hours in [-1, 1] {
        let date = date_of(OffsetDateTime::now_utc() + Duration::hours(hours));
        let refused = gateway.s3.request("GET", "skewed/run-1/a.txt").date(&date).send().await.unwrap_err();
        expect(&refused, 403, "RequestTimeTooSkewed");
    }
    gateway.finish().await;
}

#[tokio::test]
async fn ones_own_bucket_is_created_again_where_aws_does_so_and_nothing_of_it_changes() {
    let gateway = Harness::start().await;
    gateway.put("mine/run-1/a.txt", b"a").await.unwrap();
    let events = gateway.event_count().await;
    let again = gateway.s3.put("mine", b"").await.unwrap();
    assert_eq!((again.status, again.header("location")), (200, Some("/mine")));
    assert_eq!(gateway.get("mine/run-1/a.txt").await.unwrap().body, b"a");
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;

    let mut elsewhere = Harness::start_with(&[("ARTIFACTSTORE_REGION", "eu-central-1")]).await;
    elsewhere.s3.keys.region = "eu-central-1".to_owned();
    elsewhere.s3.put("mine", b"").await.unwrap();
    expect(&elsewhere.s3.put("mine", b"").await.unwrap_err(), 409, "BucketAlreadyOwnedByYou");
    elsewhere.finish().await;
}

#[tokio::test]
async fn a_header_that_the_signature_does_not_cover_changes_nothing() {
    let gateway = Harness::start().await;
    gateway.put("headers/run-1/a.txt", b"a").await.unwrap();
    let events = gateway.event_count().await;
    let smuggled = [
        ("x-amz-copy-source", "headers/run-1/a.txt"),
        ("x-amz-meta-forged", "1"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-acl", "public-read"),
        ("x-artifact-retention-class", "permanent"),
    ];
    for (name, value) in smuggled {
        let request = gateway.s3.request("PUT", "headers/run-1/b.txt").header_unsigned(name, value).body(b"b");
        let refused = request.send().await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"), "{name}");
    }
    // Also what this gateway has in addition to S3: whoever holds a link does not say for how long its bytes are kept.
    for (name, value) in [("x-amz-copy-source", "headers/run-1/a.txt"), ("x-artifact-retention-class", "permanent")] {
        let link = gateway.s3.request("PUT", "headers/run-1/b.txt").presigned(60).body(b"b");
        let refused = link.header_unsigned(name, value).send().await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"), "{name}");
    }
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn a_document_that_is_not_what_was_signed_and_a_name_that_none_can_have_are_the_clients_fault() {
    let gateway = Harness::start().await;
    gateway.producer("mine").await;
    let events = gateway.event_count().await;
    let document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let another = body::sha256_hex(b"another");
    let put = gateway.s3.request("PUT", "mine").query("versioning", "").payload_declared(&another);
    expect(&put.body(document).send().await.unwrap_err(), 400, "XAmzContentSHA256Mismatch");
    for name in ["prefix", "marker", "delimiter"] {
        let list = gateway.s3.request("GET", "mine").query(name, "a\0b");
        expect(&list.send().await.unwrap_err(), 400, "InvalidArgument");
    }
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn buckets_answer_in_the_codes_that_clients_parse() {
    let gateway = Harness::start().await;
    gateway.put("mine/run-1/a.txt", b"a").await.unwrap();
    let locked = gateway.s3.request("PUT", "mine").header("x-amz-bucket-object-lock-enabled", "true");
    expect(&locked.send().await.unwrap_err(), 409, "BucketAlreadyOwnedByYou");
    expect(&gateway.s3.put("Not_A_Name", b"").await.unwrap_err(), 400, "InvalidBucketName");
    expect(&gateway.s3.delete("mine").await.unwrap_err(), 409, "BucketNotEmpty");
    expect(&gateway.s3.put("nowhere/run-1/a.txt", b"a").await.unwrap_err(), 404, "NoSuchBucket");
    expect(&gateway.s3.put(&format!("mine/{}", "k".repeat(1025)), b"a").await.unwrap_err(), 400, "KeyTooLongError");
    assert_eq!(gateway.s3.get("").await.unwrap().elements("Name"), ["mine"]);
    gateway.s3.head("mine").await.unwrap();
    let location = gateway.s3.request("GET", "mine").query("location", "").send().await.unwrap();
    assert!(location.text().contains("LocationConstraint"), "{}", location.text());
    let versioning = gateway.s3.request("GET", "mine").query("versioning", "").send().await.unwrap();
    assert!(!versioning.text().contains("Enabled"), "{}", versioning.text());
    gateway.finish().await;
}

#[tokio::test]
async fn what_the_gateway_does_not_do_is_said_plainly_and_never_a_500() {
    let gateway = Harness::start().await;
    gateway.put("plain/run-1/a.txt", b"a").await.unwrap();
    let subresources = [
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "lifecycle",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "tagging",
        "website",
        "versions",
    ];
    // Removing a configuration that is not there succeeds, as everything that is removed in S3.
    let removable = ["cors", "lifecycle", "ownershipControls", "policy", "publicAccessBlock", "tagging"];
    for subresource in subresources {
        for (method, body) in [("GET", ""), ("PUT", "<Some><Thing>1</Thing></Some>"), ("DELETE", "")] {
            let request = gateway.s3.request(method, "plain").query(subresource, "").body(body.as_bytes());
            match request.send().await {
                Ok(reply) => {
                    let known = method == "GET" || (method == "DELETE" && removable.contains(&subresource));
                    assert!(known, "{method} ?{subresource}: {} {}", reply.status, reply.text());
                }
                Err(refused) => {
                    let fits = refused.status() == 501 || (400..500).contains(&refused.status());
                    assert!(fits && !refused.code().is_empty(), "{method} ?{subresource}: {}", refused.reply.text());
                }
            }
        }
    }
    for subresource in ["acl", "tagging", "retention", "legal-hold", "torrent", "attributes", "restore", "select"] {
        for method in ["GET", "PUT", "POST"] {
            let request = gateway.s3.request(method, "plain/run-1/a.txt").query(subresource, "").body(b"<Some/>");
            if let Err(refused) = request.send().await {
                assert_ne!(refused.status(), 500, "{method} ?{subresource}");
            }
        }
    }
    assert_eq!(gateway.list("plain", "").await, ["run-1/a.txt"], "the bucket is still there, and its file");
    assert_eq!(gateway.get("plain/run-1/a.txt").await.unwrap().body, b"a", "none of it was taken for something else");
    gateway.finish().await;
}

#[tokio::test]
async fn a_malformed_request_is_the_clients_fault() {
    let gateway = Harness::start().await;
    gateway.put("malformed/run-1/a.txt", b"a").await.unwrap();
    let post = |query: &str, body: &str| gateway.s3.request("POST", "malformed").query(query, "").body(body.as_bytes());
    for body in ["", "not xml", "<Delete>", "<Delete><Object></Object></Delete>", "<Other/>"] {
        let refused = post("delete", body).header("content-md5", &crate::body::md5_base64(body.as_bytes()));
        let refused = refused.send().await.unwrap_err();
        assert!((400..500).contains(&refused.status()), "{body:?}: {}", refused.reply.text());
    }
    for (name, value) in [("max-keys", "many"), ("max-keys", "-1"), ("continuation-token", "made up")] {
        let request = gateway.s3.request("GET", "malformed").query("list-type", "2").query(name, value);
        if let Err(refused) = request.send().await {
            assert_eq!((refused.status(), refused.code()), (400, "InvalidArgument"), "{name}={value}");
        } else {
            assert_eq!(name, "continuation-token", "{value} is no number of keys");
        }
    }
    for number in ["0", "10001", "x"] {
        let request =
            gateway.s3.request("PUT", "malformed/run-1/b").query("partNumber", number).query("uploadId", "0f");
        let refused = request.body(b"x").send().await.unwrap_err();
        assert!((400..500).contains(&refused.status()), "{number}: {}", refused.reply.text());
    }
    gateway.finish().await;
}
