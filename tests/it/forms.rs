//! Uploads by form and by link: what a browser or a script without keys may do with what somebody signed for it.

use std::time::Duration;

use artifactstore_tests::sign::{date_now, date_of};
use artifactstore_tests::wire::Connection;
use artifactstore_tests::{Harness, Refused, Reply, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use time::OffsetDateTime;

const BOUNDARY: &str = "form-boundary-of-the-test";

/// The fields of a form with a signed policy, good for an hour, that allows what stands in `conditions` beside what
/// signing needs.
fn signed(gateway: &Harness, conditions: &[Value], fields: &[(&str, &str)]) -> Vec<(String, String)> {
    signed_until(gateway, OffsetDateTime::now_utc() + Duration::from_secs(3600), conditions, fields)
}

fn signed_until(
    gateway: &Harness,
    end: OffsetDateTime,
    conditions: &[Value],
    fields: &[(&str, &str)],
) -> Vec<(String, String)> {
    signed_at(gateway, (date_now(), end), conditions, fields)
}

fn signed_at(
    gateway: &Harness,
    (date, end): (String, OffsetDateTime),
    conditions: &[Value],
    fields: &[(&str, &str)],
) -> Vec<(String, String)> {
    let keys = &gateway.s3.keys;
    let credential = format!("{}/{}", keys.access_key, keys.scope(&date));
    let mut all: Vec<Value> = conditions.to_vec();
    all.push(json!({"x-amz-algorithm": "AWS4-HMAC-SHA256"}));
    all.push(json!({"x-amz-credential": credential}));
    all.push(json!({"x-amz-date": date}));
    let end = date_of(end);
    let end =
        format!("{}-{}-{}T{}:{}:{}.000Z", &end[..4], &end[4..6], &end[6..8], &end[9..11], &end[11..13], &end[13..15]);
    let policy = STANDARD.encode(json!({"expiration": end, "conditions": all}).to_string());
    let signature = keys.sign_policy(&policy, &date);
    let mut form: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in [
        ("policy", policy),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential", credential),
        ("x-amz-date", date),
        ("x-amz-signature", signature),
    ] {
        form.push((name.to_owned(), value));
    }
    form
}

/// What stands before the file, and behind it.
fn wrapping(fields: &[(String, String)], file_name: &str) -> (String, String) {
    let fields: String = fields
        .iter()
        .map(|(name, value)| {
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        })
        .collect();
    let head = format!(
        "{fields}--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    (head, format!("\r\n--{BOUNDARY}--\r\n"))
}

fn request(gateway: &Harness, bucket: &str, fields: &[(String, String)], file: &[u8]) -> Request {
    let (head, tail) = wrapping(fields, "local name.bin");
    let body = [head.as_bytes(), file, tail.as_bytes()].concat();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    gateway.s3.request("POST", bucket).anonymous().header("content-type", &kind).body(&body)
}

async fn submit(gateway: &Harness, bucket: &str, fields: &[(String, String)], file: &[u8]) -> Result<Reply, Refused> {
    request(gateway, bucket, fields, file).send().await
}

fn starts(field: &str, with: &str) -> Value {
    json!(["starts-with", format!("${field}"), with])
}

#[tokio::test]
async fn a_form_stores_what_its_policy_allows_with_what_its_fields_say() {
    let gateway = Harness::start().await;
    gateway.producer("forms").await;
    let conditions = [
        json!({"bucket": "forms"}),
        starts("key", "run-1/"),
        starts("Content-Type", "text/"),
        json!({"x-amz-meta-note": "kept"}),
        json!({"success_action_status": "201"}),
        json!(["content-length-range", 1, 100]),
    ];
    let fields = [
        ("key", "run-1/${filename}"),
        ("Content-Type", "text/x-log"),
        ("x-amz-meta-note", "kept"),
        ("success_action_status", "201"),
    ];
    let form = signed(&gateway, &conditions, &fields);
    let stored = submit(&gateway, "forms", &form, b"the log").await.unwrap();
    assert_eq!(stored.status, 201);
    assert_eq!(stored.element("Key").as_deref(), Some("run-1/local name.bin"), "{}", stored.text());
    let got = gateway.get("forms/run-1/local name.bin").await.unwrap();
    assert_eq!((got.body.as_slice(), got.header("content-type")), (&b"the log"[..], Some("text/x-log")));
    assert_eq!(got.header("x-amz-meta-note"), Some("kept"));

    let next = [json!({"bucket": "forms"}), starts("key", ""), starts("success_action_redirect", "https://")];
    let fields = [("key", "run-1/b"), ("success_action_redirect", "https://example.org/done?x=1")];
    let sent = submit(&gateway, "forms", &signed(&gateway, &next, &fields), b"").await.unwrap();
    assert_eq!(sent.status, 303);
    let to = sent.header_or_empty("location");
    assert!(to.starts_with("https://example.org/done?x=1&bucket=forms&key=run-1%2Fb&etag="), "{to}");
    assert_eq!(gateway.get("forms/run-1/b").await.unwrap().body, b"");

    let plain = signed(&gateway, &[json!({"bucket": "forms"}), starts("key", "run-1/")], &[("key", "run-1/c")]);
    assert_eq!(submit(&gateway, "forms", &plain, b"c").await.unwrap().status, 204);
    gateway.finish().await;
}

#[tokio::test]
async fn the_fields_that_no_header_has_a_name_for_are_kept_or_refused() {
    let gateway = Harness::start().await;
    gateway.producer("forms").await;
    let conditions = [json!({"bucket": "forms"}), starts("key", ""), starts("acl", ""), starts("tagging", "")];
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>";
    let form = |acl: &str, tags: &str| {
        signed(&gateway, &conditions, &[("key", "run-1/tagged"), ("acl", acl), ("tagging", tags)])
    };
    assert_eq!(submit(&gateway, "forms", &form("private", tags), b"tagged").await.unwrap().status, 204);
    let got = gateway.s3.request("GET", "forms/run-1/tagged").query("tagging", "").send().await.unwrap();
    assert_eq!((got.elements("Key"), got.elements("Value")), (vec!["a b".to_owned()], vec!["1&2".to_owned()]));
    let events = gateway.event_count().await;
    for (acl, tags, code) in
        [("public-read", tags, "AccessControlListNotSupported"), ("private", "<Tagging><TagSet>", "MalformedXML")]
    {
        let refused = submit(&gateway, "forms", &form(acl, tags), b"tagged").await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (400, code), "{}", refused.reply.text());
    }
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn a_form_that_its_policy_does_not_allow_stores_nothing() {
    let gateway = Harness::start().await;
    gateway.put("forms/done/a", b"a").await.unwrap();
    gateway.finalize("forms", "done").await.unwrap();
    let events = gateway.event_count().await;
    let conditions = [json!({"bucket": "forms"}), starts("key", ""), json!(["content-length-range", 2, 9])];
    let form = |key: &str| signed(&gateway, &conditions, &[("key", key)]);
    let refused = async |fields: Vec<(String, String)>, file: &[u8], status: u16, code: &str| {
        let refused = submit(&gateway, "forms", &fields, file).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (status, code), "{}", refused.reply.text());
        assert!(!refused.message().is_empty());
    };
    refused(vec![("key".to_owned(), "run-1/a".to_owned())], b"anyone", 403, "AccessDenied").await;
    refused(form("run-1/a"), b"much too large", 400, "EntityTooLarge").await;
    refused(form("run-1/a"), b"x", 400, "EntityTooSmall").await;
    refused(form("done/late"), b"late", 403, "AccessDenied").await;
    let mut more = form("run-1/a");
    more.insert(0, ("x-amz-meta-forged".to_owned(), "1".to_owned()));
    refused(more, b"file", 403, "AccessDenied").await;
    let mut forged = form("run-1/a");
    forged.last_mut().unwrap().1.replace_range(..1, "z");
    refused(forged, b"file", 403, "SignatureDoesNotMatch").await;
    let past = OffsetDateTime::now_utc() - Duration::from_secs(60);
    let late = signed_until(&gateway, past, &conditions, &[("key", "run-1/a")]);
    refused(late, b"file", 403, "AccessDenied").await;
    let elsewhere = [json!({"bucket": "another"}), starts("key", "")];
    refused(signed(&gateway, &elsewhere, &[("key", "run-1/a")]), b"file", 403, "AccessDenied").await;
    let everywhere = [starts("key", "")];
    refused(signed(&gateway, &everywhere, &[("key", "run-1/a")]), b"file", 403, "AccessDenied").await;
    let unsized_form = request(&gateway, "forms", &form("run-1/a"), b"file").header("transfer-encoding", "chunked");
    assert!(unsized_form.send().await.is_err());
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

#[tokio::test]
async fn the_file_of_a_form_is_stored_while_it_comes() {
    let gateway = Harness::start().await;
    gateway.producer("forms").await;
    let fields = signed(&gateway, &[json!({"bucket": "forms"}), starts("key", "")], &[("key", "run-1/large")]);
    let (head, tail) = wrapping(&fields, "x");
    let file: Vec<u8> = (0..40_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut connection = Connection::open(gateway.s3.address).await.unwrap();
    let length = head.len() + file.len() + tail.len();
    let lines = format!(
        "POST /forms HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{head}",
        gateway.s3.address
    );
    connection.write(lines.as_bytes()).await.unwrap();
    let (first, second) = file.split_at(30 << 20);
    connection.write(first).await.unwrap();
    for round in 0.. {
        // What is under its final name was stored before the form ended.
        if gateway.object_files().iter().any(|path| !path.to_string_lossy().contains("objects/tmp/")) {
            break;
        }
        assert!(round < 600, "nothing is stored while three quarters of the file are here");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    connection.write(second).await.unwrap();
    connection.write(tail.as_bytes()).await.unwrap();
    assert_eq!(connection.reply("POST").await.unwrap().status, 204);
    assert!(gateway.get("forms/run-1/large").await.unwrap().body == file);
    gateway.finish().await;
}

#[tokio::test]
async fn a_link_reads_writes_and_uploads_parts_for_seven_days_at_most() {
    const WEEK: u32 = 7 * 24 * 3600;
    let gateway = Harness::start().await;
    gateway.producer("links").await;
    let link = |method: &str, name: &str, seconds: u32| gateway.s3.request(method, name).presigned(seconds);
    link("PUT", "links/run-1/a", WEEK).body(b"by link").send().await.unwrap();
    assert_eq!(link("GET", "links/run-1/a", 60).send().await.unwrap().body, b"by link");
    let upload = gateway.s3.upload_create("links/run-1/parts").await.unwrap();
    let part = link("PUT", "links/run-1/parts", 60).query("partNumber", "1").query("uploadId", &upload);
    let etag = part.body(b"a part by link").send().await.unwrap().etag();
    gateway.s3.upload_complete("links/run-1/parts", &upload, &[(1, etag)]).await.unwrap();
    assert_eq!(gateway.get("links/run-1/parts").await.unwrap().body, b"a part by link");

    let events = gateway.event_count().await;
    // What s3s does not compare must not be taken for compared.
    let lie = "00".repeat(32);
    let twice = link("PUT", "links/run-1/b", 60).header("x-amz-content-sha256", &lie);
    let refused = twice.header("x-amz-content-sha256", &lie).body(b"b").send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (400, "InvalidRequest"));
    let refused = link("PUT", "links/run-1/b", WEEK + 1).body(b"b").send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (400, "AuthorizationQueryParametersError"));
    let old = date_of(OffsetDateTime::now_utc() - Duration::from_secs(120));
    let refused = link("PUT", "links/run-1/b", 60).date(&old).body(b"b").send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"), "{}", refused.reply.text());
    assert_eq!(gateway.event_count().await, events);
    gateway.finish().await;
}

/// A link as older tools sign it.
fn old_link(gateway: &Harness, name: &str, expires: i64) -> Request {
    let text = format!("GET\n\n\n{expires}\n/{name}");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(gateway.s3.keys.secret_key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let request = gateway.s3.request("GET", name).anonymous().query("AWSAccessKeyId", &gateway.s3.keys.access_key);
    request.query("Expires", &expires.to_string()).query("Signature", &signature)
}

#[tokio::test]
async fn an_old_link_is_refused_with_what_to_set_unless_the_operator_takes_it() {
    let soon = OffsetDateTime::now_utc().unix_timestamp() + 300;
    let gateway = Harness::start().await;
    gateway.put("old/run-1/a", b"a").await.unwrap();
    let refused = old_link(&gateway, "old/run-1/a", soon).send().await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (400, "InvalidRequest"));
    assert!(refused.message().contains("signature_version='s3v4'"), "{}", refused.message());
    gateway.finish().await;

    let gateway = Harness::start_with(&[("ARTIFACTSTORE_SIGV2_PRESIGNED", "true")]).await;
    gateway.put("old/run-1/a", b"a").await.unwrap();
    assert_eq!(old_link(&gateway, "old/run-1/a", soon).send().await.unwrap().body, b"a");
    let forged = old_link(&gateway, "old/run-1/a", soon).query("response-content-type", "text/html");
    assert_eq!(forged.send().await.unwrap_err().code(), "SignatureDoesNotMatch");
    let week = 7 * 24 * 3600;
    for expires in [soon - 600, soon + week] {
        let refused = old_link(&gateway, "old/run-1/a", expires).send().await.unwrap_err();
        assert_eq!(refused.code(), "AccessDenied", "{expires}");
    }
    let header = gateway.s3.request("GET", "old/run-1/a").anonymous();
    let refused = header.header("authorization", "AWS HARNESSACCESSKEY:c2lnbmF0dXJl").send().await.unwrap_err();
    assert_eq!(refused.code(), "InvalidRequest");
    gateway.finish().await;
}

#[tokio::test]
async fn a_form_holds_as_long_as_its_policy_says() {
    let gateway = Harness::start().await;
    gateway.producer("forms").await;
    let conditions = [json!({"bucket": "forms"}), starts("key", "run-1/")];
    let (made, end) = (OffsetDateTime::now_utc() - Duration::from_secs(7200), OffsetDateTime::now_utc());
    let made = date_of(made);
    let long = (made.clone(), end + Duration::from_secs(3600));
    let old = signed_at(&gateway, long, &conditions, &[("key", "run-1/a")]);
    assert_eq!(submit(&gateway, "forms", &old, b"a").await.unwrap().status, 204);
    let over = (made, end - Duration::from_secs(3600));
    let over = signed_at(&gateway, over, &conditions, &[("key", "run-1/b")]);
    assert_eq!(submit(&gateway, "forms", &over, b"b").await.unwrap_err().code(), "AccessDenied");
    gateway.finish().await;
}

#[tokio::test]
async fn the_fields_of_a_form_are_not_waited_for_again_and_again_and_its_file_is() {
    let gateway = Harness::start_with(&[
        ("ARTIFACTSTORE_HEADER_TIMEOUT_SECONDS", "2"),
        ("ARTIFACTSTORE_BODY_IDLE_TIMEOUT_SECONDS", "30"),
    ])
    .await;
    gateway.producer("forms").await;
    let conditions = [json!({"bucket": "forms"}), starts("key", "")];
    let form = signed(&gateway, &conditions, &[("key", "run-1/slow")]);
    let (head, tail) = wrapping(&form, "a.bin");
    let open = async |length: usize| {
        let mut connection = Connection::open(gateway.s3.address).await.unwrap();
        let request = format!(
            "POST /forms HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\n\
             content-length: {length}\r\n\r\n",
            gateway.s3.address
        );
        connection.write(request.as_bytes()).await.unwrap();
        connection
    };
    let events = gateway.event_count().await;
    // A field that comes a byte at a time: each of them would be in time for a client that is only slow.
    let mut slow = open(100_000).await;
    let begun = std::time::Instant::now();
    for byte in head.as_bytes().iter().take(60) {
        if slow.write(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = slow.reply("POST").await.unwrap();
    assert_eq!((refused.status, refused.element("Code").as_deref()), (400, Some("RequestTimeout")));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());

    // Fields that do not end.
    let mut large = open(100_000).await;
    let field = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n");
    large.write(field.as_bytes()).await.unwrap();
    for _ in 0..24 {
        large.write(&[b'x'; 1024]).await.unwrap();
    }
    let refused = large.reply("POST").await.unwrap();
    assert_eq!(refused.status, 400);
    let code = refused.element("Code").unwrap();
    assert!(["MaxPostPreDataLengthExceededError", "MalformedPOSTRequest"].contains(&code.as_str()), "{code}");
    assert_eq!(gateway.event_count().await, events);

    // The file itself may take longer, once somebody has signed for it.
    let mut good = open(head.len() + 8 + tail.len()).await;
    good.write(head.as_bytes()).await.unwrap();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        good.write(b"a").await.unwrap();
    }
    good.write(tail.as_bytes()).await.unwrap();
    assert_eq!(good.reply("POST").await.unwrap().status, 204);
    assert_eq!(gateway.get("forms/run-1/slow").await.unwrap().body, b"aaaaaaaa");
    gateway.finish().await;
}

#[tokio::test]
async fn a_form_with_a_policy_needs_its_signature() {
    let gateway = Harness::start().await;
    gateway.producer("forms").await;
    // Whether or not the form is what its policy says.
    for key in ["run-1/a", "run-2/a"] {
        let mut form = signed(&gateway, &[json!({"bucket": "forms"}), starts("key", "run-1/")], &[("key", key)]);
        form.retain(|(name, _)| name != "x-amz-signature");
        let refused = submit(&gateway, "forms", &form, b"a").await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (400, "InvalidArgument"), "{}", refused.reply.text());
    }
    gateway.finish().await;
}

#[tokio::test]
async fn headers_of_the_old_version_are_taken_where_the_operator_says_so() {
    let gateway = Harness::start_with(&[("ARTIFACTSTORE_SIGV2_HEADERS", "true")]).await;
    gateway.put("old/run-1/a", b"a").await.unwrap();
    let keys = &gateway.s3.keys;
    let signed = |date: OffsetDateTime, name: &str| {
        let date = date.format(&time::format_description::well_known::Rfc2822).unwrap().replace("+0000", "GMT");
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(keys.secret_key.as_bytes()).unwrap();
        mac.update(format!("GET\n\n\n{date}\n/{name}").as_bytes());
        let proof = format!("AWS {}:{}", keys.access_key, STANDARD.encode(mac.finalize().into_bytes()));
        gateway.s3.request("GET", name).anonymous().header("date", &date).header("authorization", &proof)
    };
    let now = OffsetDateTime::now_utc();
    assert_eq!(signed(now, "old/run-1/a").send().await.unwrap().body, b"a");
    let stale = signed(now - Duration::from_secs(3600), "old/run-1/a").send().await.unwrap_err();
    assert_eq!((stale.status(), stale.code()), (403, "RequestTimeTooSkewed"));
    // What it does not sign must not make another request of it.
    let other = signed(now, "old/run-1/a").query("retention", "").send().await.unwrap_err();
    assert_eq!(other.code(), "AccessDenied");
    let forged = signed(now, "old/run-1/b").query("versionId", "1").send().await.unwrap_err();
    assert_eq!(forged.code(), "SignatureDoesNotMatch");
    let soon = now.unix_timestamp() + 300;
    assert_eq!(old_link(&gateway, "old/run-1/a", soon).send().await.unwrap().body, b"a");
    gateway.finish().await;
}

#[tokio::test]
async fn a_form_finalizes_nothing_for_a_key_that_may_only_write() {
    let mut gateway = Harness::start().await;
    gateway.put("forms/run-1/a", b"a").await.unwrap();
    let grants = json!([{ "producer": "forms", "permissions": ["write"] }]);
    let made = gateway.admin.give("POST", "/v1/keys", &json!({ "tenant": "root", "grants": grants })).await.json();
    let owner = gateway.s3.keys.clone();
    gateway.s3.keys.access_key = made["access_key"].as_str().unwrap().to_owned();
    gateway.s3.keys.secret_key = made["secret_key"].as_str().unwrap().to_owned();
    let form = |gateway: &Harness, key: &str| {
        signed(gateway, &[json!({"bucket": "forms"}), starts("key", "")], &[("key", key)])
    };
    let finalize = "run-1/.artifact/finalize";
    let refused = submit(&gateway, "forms", &form(&gateway, finalize), b"").await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (403, "AccessDenied"));
    assert_eq!(submit(&gateway, "forms", &form(&gateway, "run-1/b"), b"b").await.unwrap().status, 204);
    gateway.s3.keys = owner;
    assert_eq!(submit(&gateway, "forms", &form(&gateway, finalize), b"").await.unwrap().status, 204);
    gateway.finish().await;
}
