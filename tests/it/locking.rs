//! Object Lock on the wire: the headers by which a write is locked, what has to be said of its body, who may bypass, and what a
//! refusal says to the client and to the operator.

use artifactstore_tests::{Harness, Refused, Reply, Request, S3};
use serde_json::json;

use crate::body;

const UNTIL: &str = "2099-01-01T00:00:00Z";
const MODE: &str = "x-amz-object-lock-mode";
const RETAIN_UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// A gateway with a bucket in which things can be locked.
async fn gateway() -> Harness {
    let gateway = Harness::start().await;
    gateway.s3.request("PUT", "locks").header("x-amz-bucket-object-lock-enabled", "true").send().await.unwrap();
    gateway
}

fn locked(request: Request, mode: &str) -> Request {
    request.header(MODE, mode).header(RETAIN_UNTIL, UNTIL)
}

/// A PUT that says that its body is whole.
fn put(s3: &S3, name: &str, body: &[u8]) -> Request {
    s3.request("PUT", name).body(body).header("content-md5", &body::md5_base64(body))
}

async fn delete(s3: &S3, name: &str, version: &str) -> Result<Reply, Refused> {
    s3.request("DELETE", name).query("versionId", version).send().await
}

fn version(reply: &Reply) -> String {
    reply.header("x-amz-version-id").expect("the bucket keeps versions").to_owned()
}

/// Whoever looks is told of the lock, and nobody deletes the version.
async fn is_locked(gateway: &Harness, name: &str, mode: &str) {
    let head = gateway.s3.head(name).await.unwrap();
    assert_eq!(head.header(MODE), Some(mode), "{name}");
    assert!(head.header(RETAIN_UNTIL).unwrap().starts_with("2099-01-01T00:00:00"), "{name}");
    let shown = gateway.s3.request("GET", name).query("retention", "").send().await.unwrap();
    assert_eq!(shown.element("Mode").as_deref(), Some(mode), "{name}");
    let refused = delete(&gateway.s3, name, &version(&head)).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"), "{name}");
    let reason = format!("the lock ({}) keeps it until {UNTIL}", mode.to_lowercase());
    assert!(refused.message().contains(&reason), "{}", refused.message());
}

async fn is_held(gateway: &Harness, name: &str) {
    let head = gateway.s3.head(name).await.unwrap();
    assert_eq!((head.header(LEGAL_HOLD), head.header(MODE)), (Some("ON"), None), "{name}");
    let shown = gateway.s3.request("GET", name).query("legal-hold", "").send().await.unwrap();
    assert_eq!(shown.element("Status").as_deref(), Some("ON"), "{name}");
    let refused = delete(&gateway.s3, name, &version(&head)).await.unwrap_err();
    assert_eq!(refused.code(), "AccessDenied", "{name}");
    assert!(refused.message().contains("the hold s3-legal-hold"), "{}", refused.message());
}

#[tokio::test]
async fn a_put_a_copy_and_an_upload_in_parts_are_locked_by_their_headers() {
    let gateway = gateway().await;
    let s3 = &gateway.s3;
    s3.put("locks/run-1/plain", b"plain").await.unwrap();
    let begin = |key: &str| s3.request("POST", &format!("locks/run-1/{key}")).query("uploads", "");
    let copy = |key: &str| {
        let request = s3.request("PUT", &format!("locks/run-1/{key}"));
        request.header("x-amz-copy-source", "locks/run-1/plain")
    };
    let complete = async |key: &str, begun: Reply| {
        let (name, upload) = (format!("locks/run-1/{key}"), begun.element("UploadId").unwrap());
        let part = s3.upload_part(&name, &upload, 1, b"in parts").await.unwrap();
        s3.upload_complete(&name, &upload, &[(1, part)]).await.unwrap();
    };
    for mode in ["GOVERNANCE", "COMPLIANCE"] {
        locked(put(s3, &format!("locks/run-1/put-{mode}"), b"put"), mode).send().await.unwrap();
        locked(copy(&format!("copy-{mode}")), mode).send().await.unwrap();
        let key = format!("parts-{mode}");
        complete(&key, locked(begin(&key), mode).send().await.unwrap()).await;
        for road in ["put", "copy", "parts"] {
            is_locked(&gateway, &format!("locks/run-1/{road}-{mode}"), mode).await;
        }
    }
    put(s3, "locks/run-1/put-held", b"put").header(LEGAL_HOLD, "ON").send().await.unwrap();
    copy("copy-held").header(LEGAL_HOLD, "ON").send().await.unwrap();
    complete("parts-held", begin("parts-held").header(LEGAL_HOLD, "ON").send().await.unwrap()).await;
    for road in ["put", "copy", "parts"] {
        is_held(&gateway, &format!("locks/run-1/{road}-held")).await;
    }
    // A copy asks for itself: what keeps its source is not its own.
    let source = "locks/run-1/put-COMPLIANCE";
    s3.request("PUT", "locks/run-1/free").header("x-amz-copy-source", source).send().await.unwrap();
    let free = s3.head("locks/run-1/free").await.unwrap();
    assert_eq!((free.header(MODE), free.header(LEGAL_HOLD)), (None, None));
    delete(s3, "locks/run-1/free", &version(&free)).await.unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn a_body_that_is_locked_is_said_to_be_whole_in_any_of_the_ways_that_there_are() {
    let gateway = gateway().await;
    let (s3, bytes) = (&gateway.s3, b"whole".as_slice());
    let bare = |key: &str| s3.request("PUT", &format!("locks/run-1/{key}")).body(bytes);
    let before = gateway.event_count().await;
    for request in [locked(bare("bare"), "GOVERNANCE"), bare("bare").header(LEGAL_HOLD, "ON")] {
        let refused = request.send().await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (400, "InvalidRequest"), "{}", refused.message());
        assert!(refused.message().contains("Content-MD5"), "{}", refused.message());
    }
    // One without the other, words that there are not, and a time that is over.
    for (name, value, more) in [
        (MODE, "COMPLIANCE", None),
        (RETAIN_UNTIL, UNTIL, None),
        (MODE, "STRICT", Some((RETAIN_UNTIL, UNTIL))),
        (MODE, "GOVERNANCE", Some((RETAIN_UNTIL, "2001-01-01T00:00:00Z"))),
        (LEGAL_HOLD, "MAYBE", None),
    ] {
        let request = put(s3, "locks/run-1/wrong", bytes).header(name, value);
        let request = more.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let refused = request.send().await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (400, "InvalidArgument"), "{name}: {value}");
    }
    assert_eq!(gateway.event_count().await, before, "a refusal records nothing");
    let ways = body::ALGORITHMS.map(|algorithm| {
        let (header, value) = (format!("x-amz-checksum-{algorithm}"), body::checksum(algorithm, bytes));
        (algorithm, bare(algorithm).header(&header, &value))
    });
    let sum = body::checksum("crc32", bytes);
    let trailing = bare("trailer").chunks_unsigned(65_536).trailer("x-amz-checksum-crc32", &sum);
    for (key, request) in
        ways.into_iter().chain([("trailer", trailing), ("md5-header", put(s3, "locks/run-1/md5-header", bytes))])
    {
        locked(request, "GOVERNANCE").send().await.unwrap();
        is_locked(&gateway, &format!("locks/run-1/{key}"), "GOVERNANCE").await;
    }
    gateway.producer("plain").await;
    let refused = locked(put(s3, "plain/run-1/x", bytes), "GOVERNANCE").send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (400, "InvalidRequest"), "the bucket has no Object Lock");
    gateway.finish().await;
}

#[tokio::test]
async fn a_default_of_the_bucket_locks_what_is_written_without_a_header() {
    let gateway = gateway().await;
    let s3 = &gateway.s3;
    let default = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                   <Mode>COMPLIANCE</Mode><Years>50</Years></DefaultRetention></Rule></ObjectLockConfiguration>";
    s3.request("PUT", "locks").query("object-lock", "").body(default.as_bytes()).send().await.unwrap();
    // Neither a lock nor a checksum is said of any of these.
    s3.put("locks/run-1/put", b"put").await.unwrap();
    s3.request("PUT", "locks/run-1/copy").header("x-amz-copy-source", "locks/run-1/put").send().await.unwrap();
    let upload = s3.upload_create("locks/run-1/parts").await.unwrap();
    let part = s3.upload_part("locks/run-1/parts", &upload, 1, b"part").await.unwrap();
    s3.upload_complete("locks/run-1/parts", &upload, &[(1, part)]).await.unwrap();
    for key in ["put", "copy", "parts"] {
        let name = format!("locks/run-1/{key}");
        let head = s3.head(&name).await.unwrap();
        assert_eq!(head.header(MODE), Some("COMPLIANCE"), "{key}");
        let refused = s3.request("DELETE", &name).query("versionId", &version(&head)).header(BYPASS, "true");
        let refused = refused.send().await.unwrap_err();
        assert_eq!(refused.code(), "AccessDenied", "{key}");
        assert!(refused.message().contains("the class s3-compliance-50y (compliance)"), "{}", refused.message());
    }
    // A lock of its own that ends earlier does not shorten the default; one that ends later counts.
    locked(put(s3, "locks/run-1/own", b"own"), "GOVERNANCE").send().await.unwrap();
    let refused =
        delete(s3, "locks/run-1/own", &version(&s3.head("locks/run-1/own").await.unwrap())).await.unwrap_err();
    assert!(refused.message().contains("the class s3-compliance-50y"), "{}", refused.message());
    assert!(refused.message().contains("the lock (governance)"), "{}", refused.message());
    gateway.finish().await;
}

#[tokio::test]
async fn governance_gives_way_to_who_may_bypass_it_and_says_so_and_to_nobody_else() {
    let gateway = gateway().await;
    let key = async |permissions: &[&str]| {
        let grants = json!([{ "producer": "locks", "permissions": permissions }]);
        let made = gateway.admin.give("POST", "/v1/keys", &json!({ "tenant": "root", "grants": grants })).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let mut client = gateway.s3.clone();
        client.keys.access_key = made.json()["access_key"].as_str().unwrap().to_owned();
        client.keys.secret_key = made.json()["secret_key"].as_str().unwrap().to_owned();
        client
    };
    let without = key(&["read", "write", "delete", "retain"]).await;
    let with = key(&["read", "write", "delete", "retain", "bypass-governance"]).await;
    let reply = locked(put(&without, "locks/run-1/x", b"x"), "GOVERNANCE").send().await.unwrap();
    let (version, events) = (version(&reply), gateway.event_count().await);
    let removal = |s3: &S3| s3.request("DELETE", "locks/run-1/x").query("versionId", &version);
    let unlock = |s3: &S3| s3.request("PUT", "locks/run-1/x").query("retention", "").body(b"<Retention/>");
    let delete_many = format!("<Delete><Object><Key>run-1/x</Key><VersionId>{version}</VersionId></Object></Delete>");
    let many = |s3: &S3| s3.request("POST", "locks").query("delete", "").body(delete_many.as_bytes());
    for s3 in [&without, &with] {
        // Who may, and does not say so, does not.
        assert_eq!(removal(s3).send().await.unwrap_err().code(), "AccessDenied");
        assert_eq!(unlock(s3).send().await.unwrap_err().code(), "AccessDenied");
        assert_eq!(many(s3).send().await.unwrap().elements("Code"), ["AccessDenied"]);
    }
    for request in [removal(&without), unlock(&without), many(&without)] {
        let outcome = request.header(BYPASS, "true").send().await;
        let code = outcome.map_or_else(|refused| refused.code().to_owned(), |reply| reply.elements("Code").concat());
        assert_eq!(code, "AccessDenied", "who says so, and may not, does not either");
    }
    assert_eq!(gateway.event_count().await, events, "a refusal records nothing");
    assert_eq!(removal(&with).header(BYPASS, "false").send().await.unwrap_err().code(), "AccessDenied");
    removal(&with).header(BYPASS, "true").send().await.unwrap();
    let reply = locked(put(&with, "locks/run-1/y", b"y"), "COMPLIANCE").send().await.unwrap();
    let firm = with.request("DELETE", "locks/run-1/y").query("versionId", reply.header("x-amz-version-id").unwrap());
    assert_eq!(firm.header(BYPASS, "true").send().await.unwrap_err().code(), "AccessDenied");
    gateway.finish().await;
}

#[tokio::test]
async fn a_marker_comes_in_front_of_what_is_locked_and_goes_again_and_nothing_is_lost() {
    let gateway = gateway().await;
    let s3 = &gateway.s3;
    let reply = locked(put(s3, "locks/run-1/x", b"locked"), "COMPLIANCE").send().await.unwrap();
    let version = version(&reply);
    let marked = s3.delete("locks/run-1/x").await.unwrap();
    assert_eq!(marked.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(s3.get("locks/run-1/x").await.unwrap_err().code(), "NoSuchKey");
    let by_number = s3.request("GET", "locks/run-1/x").query("versionId", &version).send().await.unwrap();
    assert_eq!((by_number.body.as_slice(), by_number.header(MODE)), (b"locked".as_slice(), Some("COMPLIANCE")));
    assert_eq!(delete(s3, "locks/run-1/x", &version).await.unwrap_err().code(), "AccessDenied");
    // A marker itself cannot be locked, and goes.
    let marker = marked.header("x-amz-version-id").unwrap();
    let lock = format!("<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{UNTIL}</RetainUntilDate></Retention>");
    let request = s3.request("PUT", "locks/run-1/x").query("retention", "").query("versionId", marker);
    assert_eq!(request.body(lock.as_bytes()).send().await.unwrap_err().code(), "MethodNotAllowed");
    delete(s3, "locks/run-1/x", marker).await.unwrap();
    assert_eq!(s3.get("locks/run-1/x").await.unwrap().body, b"locked");
    gateway.finish().await;
}

#[tokio::test]
async fn a_refused_delete_says_why_to_the_client_and_in_the_log() {
    let gateway = gateway().await;
    let s3 = &gateway.s3;
    let reply = locked(put(s3, "locks/run-1/x", b"x"), "COMPLIANCE").send().await.unwrap();
    let version = version(&reply);
    let hold = json!({ "reason": "the case of 2026" });
    let held = gateway.admin.give("PUT", "/v1/producers/locks/holds/case-7?key=run-1/x", &hold).await.json();
    let (lock, hold) = (reply.header("x-artifact-sequence").unwrap(), held["event"].as_u64().unwrap());
    let because = [
        format!("the lock (compliance) keeps it until {UNTIL} (event {lock})"),
        format!("the hold case-7 by admin keeps it: the case of 2026 (event {hold})"),
    ];
    let refused = delete(s3, "locks/run-1/x", &version).await.unwrap_err();
    let request = refused.reply.header("x-amz-request-id").unwrap().to_owned();
    let one = format!("<Delete><Object><Key>run-1/x</Key><VersionId>{version}</VersionId></Object></Delete>");
    let many = s3.request("POST", "locks").query("delete", "").body(one.as_bytes()).send().await.unwrap();
    for message in [refused.message(), many.element("Message").unwrap()] {
        assert!(because.iter().all(|reason| message.contains(reason)), "{message}");
    }
    let request_of_many = many.header("x-amz-request-id").unwrap().to_owned();
    let log = gateway.log();
    for request in [request, request_of_many] {
        let line = log.lines().find(|line| line.contains(&request) && line.contains("not let go"));
        let line = line.unwrap_or_else(|| panic!("no line of {request}:\n{}", gateway.log_tail()));
        assert!(line.contains(&format!("events=[{lock}, {hold}]")), "{line}");
        assert!(because.iter().all(|reason| line.contains(reason)), "{line}");
    }
    // The admin side says the same.
    let erase = json!({ "reason": "article 17", "bypass_governance": true });
    let path = format!("/v1/producers/locks/erase?key=run-1/x&version={version}");
    let refused = gateway.admin.give("POST", &path, &erase).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let (request, log) = (refused.header("x-request-id").unwrap(), gateway.log());
    let line = log.lines().find(|line| line.contains(request) && line.contains("not let go"));
    let line = line.unwrap_or_else(|| panic!("no line of {request}:\n{}", gateway.log_tail()));
    assert!(because.iter().all(|reason| line.contains(reason)), "{line}");
    gateway.finish().await;
}
