//! Bucket policies: what they allow others, what they deny anybody, and what they can never give.

use artifactstore_tests::{Harness, Refused, Reply, Request, S3};
use serde_json::{Value, json};

/// A client that signs with a fresh key of a tenant.
async fn key(gateway: &Harness, tenant: &str, permissions: &[&str]) -> S3 {
    let grants = json!([{ "producer": "*", "permissions": permissions }]);
    let reply = gateway.admin.give("POST", "/v1/keys", &json!({ "tenant": tenant, "grants": grants })).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    let mut client = gateway.s3.clone();
    client.keys.access_key = made["access_key"].as_str().unwrap().to_owned();
    client.keys.secret_key = made["secret_key"].as_str().unwrap().to_owned();
    client
}

const VERSIONED: &[u8] = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const ALL: [&str; 5] = ["read", "write", "delete", "retain", "administer"];

async fn set(gateway: &Harness, bucket: &str, statements: Value) -> Result<Reply, Refused> {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    gateway.s3.request("PUT", bucket).query("policy", "").body(policy.as_bytes()).send().await
}

fn allow(actions: Value, resources: Value) -> Value {
    json!({ "Effect": "Allow", "Principal": "*", "Action": actions, "Resource": resources })
}

/// The status of an answer, and the code of its error if it has one.
async fn outcome(request: Request) -> (u16, String) {
    match request.send().await {
        Ok(reply) => (reply.status, String::new()),
        Err(refused) => (refused.status(), refused.code().to_owned()),
    }
}

fn denied() -> (u16, String) {
    (403, "AccessDenied".to_owned())
}

fn done() -> (u16, String) {
    (200, String::new())
}

#[tokio::test]
async fn another_tenant_does_what_a_policy_allows_and_nothing_more() {
    let gateway = Harness::start().await;
    gateway.put("lab/open/a", b"a").await.unwrap();
    gateway.put("lab/secret/b", b"b").await.unwrap();
    let other = key(&gateway, "other", &ALL).await;
    other.put("of-other", b"").await.unwrap();
    let get = |name: &str| outcome(other.request("GET", name));
    assert_eq!(get("lab/open/a").await, denied());
    let named = json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::other:root" },
        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::lab/open/*" });
    set(&gateway, "lab", json!([named])).await.unwrap();

    // What was set through this gateway is so at once.
    assert_eq!(get("lab/open/a").await, done());
    assert_eq!((get("lab/secret/b").await, get("lab").await), (denied(), denied()));
    let put = other.request("PUT", "lab/open/theirs").body(b"theirs").send().await.unwrap();
    let event = gateway.admin.events(put.header_or_empty("x-artifact-sequence").parse::<u64>().unwrap() - 1).await;
    assert_eq!(event[0]["actor"], other.keys.access_key, "{}", event[0]);
    let upload = other.upload_create("lab/open/parts").await.unwrap();
    let etag = other.upload_part("lab/open/parts", &upload, 1, b"part").await.unwrap();
    other.upload_complete("lab/open/parts", &upload, &[(1, etag)]).await.unwrap();

    // Copies ask for both ends.
    let copy = |from: &str, to: &str| outcome(other.request("PUT", to).header("x-amz-copy-source", from));
    assert_eq!(copy("lab/open/a", "of-other/a").await, done());
    assert_eq!(copy("lab/secret/b", "of-other/b").await, denied());
    assert_eq!(copy("of-other/a", "lab/open/copied").await, done());
    assert_eq!(copy("of-other/a", "lab/secret/copied").await, denied());

    // Of many names each is asked for, and what only the tenant's own keys can do stays theirs.
    let many = b"<Delete><Object><Key>open/theirs</Key></Object><Object><Key>secret/b</Key></Object></Delete>";
    let many = other.request("POST", "lab").query("delete", "").body(many).send().await.unwrap();
    assert_eq!(many.elements("Code"), ["AccessDenied"], "{}", many.text());
    assert_eq!(gateway.list("lab", "").await, ["open/a", "open/copied", "open/parts", "secret/b"]);
    let everything = json!({ "Effect": "Allow", "Principal": { "AWS": "other" }, "Action": "s3:*", "Resource": "*" });
    set(&gateway, "lab", json!(everything)).await.unwrap();
    assert_eq!((get("lab/secret/b").await, get("lab").await), (done(), done()));
    for request in [
        other.request("PUT", "lab/run-1/.artifact/finalize"),
        other.request("PUT", "lab/open/a").query("legal-hold", "").body(b"<LegalHold><Status>ON</Status></LegalHold>"),
        other.request("PUT", "lab/open/held").header("x-amz-object-lock-legal-hold", "ON").body(b"held"),
        other.request("DELETE", "lab").query("policy", ""),
        other.request("PUT", "lab").query("versioning", "").body(VERSIONED),
        other.request("DELETE", "lab"),
    ] {
        assert_eq!(outcome(request).await, denied());
    }
    gateway.s3.request("DELETE", "lab").query("policy", "").send().await.unwrap();
    assert_eq!(get("lab/open/a").await, denied());
    gateway.finish().await;
}

#[tokio::test]
async fn a_denial_holds_for_the_owner_too_who_can_always_take_it_back() {
    let gateway = Harness::start().await;
    gateway.put("lab/run-1/a", b"a").await.unwrap();
    gateway.configure("lab", json!({ "anonymous_read": "objects" })).await;
    let deny = |action: &str, resource: &str| json!({ "Effect": "Deny", "Principal": "*", "Action": action, "Resource": format!("arn:aws:s3:::{resource}") });
    set(&gateway, "lab", json!([deny("s3:GetObject", "lab/run-1/*"), deny("s3:DeleteObject", "lab/*")])).await.unwrap();
    let own = |method: &str, name: &str| gateway.s3.request(method, name);
    assert_eq!(outcome(own("GET", "lab/run-1/a")).await, denied());
    assert_eq!(outcome(own("GET", "lab/run-1/a").presigned(60)).await, denied());
    assert_eq!(outcome(own("GET", "lab/run-1/a").anonymous()).await, denied());
    let copy = own("PUT", "lab/run-2/a").header("x-amz-copy-source", "lab/run-1/a");
    assert_eq!(outcome(copy).await, denied());
    assert_eq!(outcome(own("DELETE", "lab/run-1/a")).await, denied());
    let many = b"<Delete><Object><Key>run-1/a</Key></Object></Delete>";
    let many = own("POST", "lab").query("delete", "").body(many).send().await.unwrap();
    assert_eq!(many.elements("Code"), ["AccessDenied"]);
    assert_eq!(outcome(own("PUT", "lab/run-1/b").body(b"b")).await, done());

    let everything = json!({ "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*" });
    set(&gateway, "lab", json!([everything])).await.unwrap();
    assert_eq!(outcome(own("PUT", "lab/run-1/c").body(b"c")).await, denied());
    assert_eq!(outcome(own("HEAD", "lab")).await.0, 403);
    assert!(own("GET", "lab").query("policy", "").send().await.unwrap().text().contains("Deny"));
    own("DELETE", "lab").query("policy", "").send().await.unwrap();
    assert_eq!(gateway.get("lab/run-1/a").await.unwrap().body, b"a");
    gateway.finish().await;
}

#[tokio::test]
async fn conditions_are_about_the_request_and_the_tags_of_the_file() {
    let gateway = Harness::start().await;
    gateway.producer("lab").await;
    for (name, tag) in [("lab/red", "red"), ("lab/blue", "blue"), ("lab/plain", "")] {
        let tags = if tag.is_empty() { String::new() } else { format!("team={tag}") };
        gateway.s3.request("PUT", name).header("x-amz-tagging", &tags).body(b"x").send().await.unwrap();
    }
    let reading = json!({ "Effect": "Allow", "Principal": { "AWS": "other" }, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::lab/*", "Condition": { "StringEquals": { "s3:ExistingObjectTag/team": "red" } } });
    let listing = json!({ "Effect": "Allow", "Principal": { "AWS": "other" }, "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::lab", "Condition": { "StringLike": { "s3:prefix": "r*" } } });
    let writing = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::lab/*",
        "Condition": { "StringNotEquals": { "s3:x-amz-storage-class": "STANDARD_IA" } } });
    set(&gateway, "lab", json!([reading, listing, writing])).await.unwrap();
    let other = key(&gateway, "other", &ALL).await;
    let get = |name: &str| outcome(other.request("GET", name));
    assert_eq!((get("lab/red").await, get("lab/blue").await, get("lab/plain").await), (done(), denied(), denied()));
    let list = |prefix: &str| outcome(other.request("GET", "lab").query("list-type", "2").query("prefix", prefix));
    assert_eq!((list("red").await, list("b").await), (done(), denied()));
    let put =
        |class: &str| outcome(gateway.s3.request("PUT", "lab/new").header("x-amz-storage-class", class).body(b"new"));
    assert_eq!((put("STANDARD_IA").await, put("STANDARD").await), (done(), denied()));

    // What would not be carried out is refused, and the policy stays as it was.
    let late = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::lab/*",
        "Condition": { "DateGreaterThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } } });
    assert_eq!(set(&gateway, "lab", json!([late])).await.unwrap_err().code(), "NotImplemented");
    for bad in [allow(json!("s3:GetObject"), json!("arn:aws:s3:::elsewhere/*")), json!({ "Effect": "Allow" })] {
        assert_eq!(set(&gateway, "lab", json!([bad])).await.unwrap_err().code(), "MalformedPolicy");
    }
    assert_eq!(get("lab/red").await, done());
    gateway.finish().await;
}

#[tokio::test]
async fn a_statement_that_can_never_fit_is_refused_and_told_what_to_write_instead() {
    let gateway = Harness::start().await;
    gateway.put("lab/run-1/a", b"a").await.unwrap();
    let (bucket, objects) = ("arn:aws:s3:::lab", "arn:aws:s3:::lab/*");
    let deny = |actions: Value, resources: Value| json!({ "Sid": "fence", "Effect": "Deny", "Principal": "*", "Action": actions, "Resource": resources });
    let good = deny(json!("s3:DeleteObject"), json!(objects));
    set(&gateway, "lab", json!([good])).await.unwrap();
    for (bad, said) in [
        (deny(json!("s3:ListObjects"), json!([bucket, objects])), "s3:ListBucket"),
        (
            deny(json!(["s3:GetObject", "s3:ListBucket"]), json!(objects)),
            "the bucket, which is named arn:aws:s3:::lab.",
        ),
        (deny(json!("s3:GetObject"), json!(bucket)), "objects, which are named arn:aws:s3:::lab/*."),
    ] {
        let refused = set(&gateway, "lab", json!([good, bad])).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (400, "MalformedPolicy"), "{bad}");
        let message = refused.message();
        assert!(message.contains("statement 2 (fence)") && message.contains(said), "{message}");
    }
    // The policy from before holds, and what fits somewhere is taken.
    assert_eq!(outcome(gateway.s3.request("DELETE", "lab/run-1/a")).await, denied());
    set(&gateway, "lab", json!([deny(json!("s3:List*"), json!(objects))])).await.unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn the_public_reads_what_a_policy_opens_unless_the_bucket_blocks_it() {
    let gateway = Harness::start().await;
    let first = gateway.put("lab/open/a", b"first").await.unwrap();
    gateway.put("lab/open/a", b"second").await.unwrap();
    let old = first.header_or_empty("x-artifact-sequence").to_owned();
    let anyone = |method: &str, name: &str| gateway.s3.request(method, name).anonymous();
    let public = json!([allow(json!(["s3:GetObject", "s3:PutObject"]), json!("arn:aws:s3:::lab/open/*"))]);
    set(&gateway, "lab", public.clone()).await.unwrap();
    assert_eq!(anyone("GET", "lab/open/a").send().await.unwrap().body, b"second");
    assert_eq!(outcome(anyone("GET", "lab/open/none")).await.0, 404);
    for request in [
        anyone("GET", "lab/closed"),
        anyone("GET", "lab"),
        anyone("GET", "lab/open/a").query("versionId", &old),
        // Without a signature nothing is changed, whatever a policy says.
        anyone("PUT", "lab/open/b").body(b"b"),
        anyone("DELETE", "lab/open/a"),
    ] {
        assert_eq!(outcome(request).await, denied());
    }
    let html = anyone("GET", "lab/open/a").query("response-content-type", "text/html");
    assert_eq!(outcome(html).await, (400, "InvalidRequest".to_owned()));
    let is_public = async || {
        let status = gateway.s3.request("GET", "lab").query("policyStatus", "").send().await.unwrap();
        status.element("IsPublic").unwrap()
    };
    assert_eq!(is_public().await, "true");

    let block = |name: &str| {
        let document =
            format!("<PublicAccessBlockConfiguration><{name}>true</{name}></PublicAccessBlockConfiguration>");
        gateway.s3.request("PUT", "lab").query("publicAccessBlock", "").body(document.as_bytes())
    };
    block("RestrictPublicBuckets").send().await.unwrap();
    assert_eq!((outcome(anyone("GET", "lab/open/a")).await, is_public().await), (denied(), "false".to_owned()));
    // A policy that was there before the block lets nobody in, either.
    block("BlockPublicPolicy").send().await.unwrap();
    assert_eq!(outcome(anyone("GET", "lab/open/a")).await, denied());
    assert_eq!(set(&gateway, "lab", public).await.unwrap_err().code(), "AccessDenied");
    gateway.finish().await;
}

#[tokio::test]
async fn a_key_without_rights_of_its_own_has_those_of_a_policy() {
    let gateway = Harness::start().await;
    gateway.put("lab/open/a", b"a").await.unwrap();
    let writer = key(&gateway, "root", &["write"]).await;
    assert_eq!(outcome(writer.request("GET", "lab/open/a")).await, denied());
    let own = json!({ "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::root:user/{}", writer.keys.access_key) },
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lab/*" });
    set(&gateway, "lab", json!([own])).await.unwrap();
    assert_eq!(outcome(writer.request("GET", "lab/open/a")).await, done());
    let second = key(&gateway, "root", &["write"]).await;
    assert_eq!(outcome(second.request("GET", "lab/open/a")).await, denied());
    gateway.finish().await;
}

#[tokio::test]
async fn a_guest_that_copies_brings_neither_tags_nor_retention_that_it_may_not_give() {
    let gateway = Harness::start().await;
    gateway.put("lab/a", b"a").await.unwrap();
    let other = key(&gateway, "other", &ALL).await;
    other.put("of-other", b"").await.unwrap();
    for (name, tags) in [("plain", ""), ("red", "team=red"), ("kept", "artifact-retention-class=permanent")] {
        let put = other.request("PUT", &format!("of-other/{name}")).header("x-amz-tagging", tags).body(b"x");
        assert_eq!(outcome(put).await, done(), "{name}");
    }
    let copy = |name: &str| {
        let request = other.request("PUT", &format!("lab/{name}"));
        outcome(request.header("x-amz-copy-source", &format!("of-other/{name}")))
    };
    let to_all = |actions: Value| json!([allow(actions, json!("arn:aws:s3:::lab/*"))]);
    set(&gateway, "lab", to_all(json!("s3:PutObject"))).await.unwrap();
    assert_eq!((copy("plain").await, copy("red").await, copy("kept").await), (done(), denied(), denied()));
    set(&gateway, "lab", to_all(json!(["s3:PutObject", "s3:PutObjectTagging"]))).await.unwrap();
    assert_eq!((copy("red").await, copy("kept").await), (done(), denied()));
    gateway.finish().await;
}

#[tokio::test]
async fn a_guest_that_may_write_finalizes_nothing() {
    const MARKER: &str = "lab/run-1/DONE";
    let gateway = Harness::start().await;
    gateway.configure("lab", json!({ "package_depth": 1, "finalize_marker": "DONE" })).await;
    gateway.put("lab/run-1/a", b"a").await.unwrap();
    let guest = key(&gateway, "other", &ALL).await;
    guest.put("of-other", b"").await.unwrap();
    guest.put("of-other/a", b"a").await.unwrap();
    // A key of the tenant that has the right to write by the policy alone is a guest, too.
    let reader = key(&gateway, "root", &["read"]).await;
    let everything = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": { "AWS": [
        "other", format!("arn:aws:iam::root:user/{}", reader.keys.access_key)] } });
    set(&gateway, "lab", json!([everything])).await.unwrap();
    for key in [&guest, &reader] {
        assert_eq!(outcome(key.request("PUT", "lab/run-1/b").body(b"b")).await, done());
        assert_eq!(outcome(key.request("PUT", MARKER).body(b"")).await, denied());
        let copy = key.request("PUT", MARKER).header("x-amz-copy-source", "lab/run-1/a");
        assert_eq!(outcome(copy).await, denied());
        let upload = key.upload_create(MARKER).await.unwrap();
        let etag = key.upload_part(MARKER, &upload, 1, b"part").await.unwrap();
        let refused = key.upload_complete(MARKER, &upload, &[(1, etag)]).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"));
        let abort = key.request("DELETE", MARKER).query("uploadId", &upload);
        assert_eq!(outcome(abort).await, (204, String::new()));
    }
    gateway.put("lab/run-1/c", b"the package is open").await.unwrap();

    let writer = key(&gateway, "root", &["write"]).await;
    assert_eq!(outcome(writer.request("PUT", MARKER).body(b"")).await, done());
    assert_eq!(outcome(gateway.s3.request("PUT", "lab/run-1/d").body(b"d")).await, denied());
    gateway.finish().await;
}
