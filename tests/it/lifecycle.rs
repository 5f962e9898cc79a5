//! Lifecycle rules are carried out beside a gateway that serves, and never let go what anything keeps.

use std::time::{Duration, Instant};

use artifactstore_tests::{Harness, Refused, Reply};
use serde_json::{Value, json};

/// How long what is to go by itself may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

async fn set(gateway: &Harness, bucket: &str, rules: &[&str]) -> Result<Reply, Refused> {
    let rules: String = rules.iter().map(|rule| format!("<Rule>{rule}</Rule>")).collect();
    let body = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    gateway.s3.request("PUT", bucket).query("lifecycle", "").body(body.as_bytes()).send().await
}

const RULES: [&str; 2] = [
    "<ID>old runs</ID><Status>Enabled</Status><Filter><Prefix>run/</Prefix></Filter><Expiration><Days>1</Days></Expiration>\
     <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>",
    "<ID>uploads</ID><Status>Enabled</Status><Filter/><AbortIncompleteMultipartUpload>\
     <DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
];

async fn versions(gateway: &Harness, bucket: &str) -> String {
    gateway.s3.request("GET", bucket).query("versions", "").send().await.unwrap().text()
}

/// Waits until something is so.
async fn until(what: &str, gateway: &Harness, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}; the log ends:\n{}", gateway.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_gateway_carries_out_what_rules_say_and_nothing_that_is_kept_goes() {
    let days = [("ARTIFACTSTORE_LIFECYCLE_DAY_SECONDS", "1"), ("ARTIFACTSTORE_LIFECYCLE_INTERVAL_SECONDS", "1")];
    let gateway = Harness::start_with(&days).await;
    let s3 = &gateway.s3;
    gateway.producer("plain").await;
    s3.request("PUT", "locked").header("x-amz-bucket-object-lock-enabled", "true").send().await.unwrap();
    for key in ["plain/run/free", "plain/other/free", "locked/run/free", "locked/run/compliance", "locked/run/held"] {
        s3.put(key, key.as_bytes()).await.unwrap();
    }
    let lock = "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>";
    s3.request("PUT", "locked/run/compliance").query("retention", "").body(lock.as_bytes()).send().await.unwrap();
    let on = "<LegalHold><Status>ON</Status></LegalHold>";
    s3.request("PUT", "locked/run/held").query("legal-hold", "").body(on.as_bytes()).send().await.unwrap();
    s3.put("plain/sealed/x", b"sealed").await.unwrap();
    gateway.finalize("plain", "sealed").await.unwrap();
    s3.upload_create("plain/other/never").await.unwrap();
    let expires_all = RULES[0].replace("<Prefix>run/</Prefix>", "").replace("old runs", "all of it");
    let only_old = RULES[0].replace("<Days>1</Days>", "<Days>9</Days>").replace("run/", "other/").replace("old", "x");
    for bucket in ["plain", "locked"] {
        set(&gateway, bucket, &[RULES[0], RULES[1]]).await.unwrap();
    }
    until("the names go", &gateway, async || {
        gateway.list("plain", "run/").await.is_empty() && gateway.list("locked", "").await.is_empty()
    })
    .await;
    until("the upload is given up", &gateway, async || {
        let uploads = s3.request("GET", "plain").query("uploads", "").send().await.unwrap().text();
        !uploads.contains("<UploadId>")
    })
    .await;
    // What was free goes from behind its delete marker; what is locked or held stays there.
    until("older versions go", &gateway, async || !versions(&gateway, "locked").await.contains("run/free")).await;
    let left = versions(&gateway, "locked").await;
    assert_eq!(left.matches("<Version>").count(), 2, "{left}");
    set(&gateway, "plain", &[&expires_all, &only_old]).await.unwrap();
    until("all but the seal goes", &gateway, async || gateway.list("plain", "").await == ["sealed/x"]).await;
    assert!(gateway.log().contains("lifecycle_day_seconds"), "it is warned of: {}", gateway.log_tail());
    let metrics = gateway.admin.get("/metrics").await.text();
    assert!(metrics.contains("artifactstore_lifecycle_aborted_uploads_total 1\n"), "{metrics}");
    assert!(metrics.contains("artifactstore_lifecycle_last_run_timestamp_seconds "), "{metrics}");
    let events = gateway.admin.events(0).await;
    let removed = events.iter().find(|event| event["kind"] == "v1.file.removed").unwrap();
    assert_eq!(removed["actor"], "lifecycle:old runs");
    gateway.finish().await;
}

#[tokio::test]
async fn answers_tell_when_a_file_goes_and_when_an_upload_is_given_up() {
    let gateway = Harness::start().await;
    gateway.producer("told").await;
    let before = gateway.s3.put("told/run/x", b"x").await.unwrap();
    assert_eq!(before.header("x-amz-expiration"), None);
    set(&gateway, "told", &RULES).await.unwrap();
    let put = gateway.s3.put("told/run/x", b"x").await.unwrap();
    let said = put.header("x-amz-expiration").unwrap().to_owned();
    assert!(said.starts_with("expiry-date=\"") && said.ends_with(" 00:00:00 GMT\", rule-id=\"old%20runs\""), "{said}");
    for method in ["GET", "HEAD"] {
        let reply = gateway.s3.request(method, "told/run/x").send().await.unwrap();
        assert_eq!(reply.header("x-amz-expiration"), Some(&*said), "{method}");
    }
    assert_eq!(gateway.s3.put("told/other/x", b"x").await.unwrap().header("x-amz-expiration"), None);
    let created = gateway.s3.request("POST", "told/run/y").query("uploads", "").send().await.unwrap();
    assert_eq!(created.header("x-amz-abort-rule-id"), Some("uploads"));
    assert!(created.header("x-amz-abort-date").unwrap().ends_with(" 00:00:00 GMT"));
    gateway.s3.request("DELETE", "told").query("lifecycle", "").send().await.unwrap();
    assert_eq!(gateway.s3.head("told/run/x").await.unwrap().header("x-amz-expiration"), None);
    gateway.finish().await;
}

#[tokio::test]
async fn whoever_asks_is_told_what_would_go_and_what_went() {
    let gateway = Harness::start().await;
    gateway.put("asked/run/x", b"x").await.unwrap();
    gateway.put("asked/other/y", b"y").await.unwrap();
    let due = RULES[0].replace("<Days>1</Days>", "<Date>2020-01-01T00:00:00Z</Date>");
    set(&gateway, "asked", &[&due]).await.unwrap();
    let said = gateway.cli(&["lifecycle", "--dry-run"]).await.succeeded();
    assert!(said.contains("would have removed 1 names"), "{said}");
    let reply = gateway.admin.give("POST", "/v1/lifecycle", &json!({ "dry_run": true })).await;
    assert_eq!(reply.json()["removed_names"], 1, "{}", reply.text());
    assert_eq!(gateway.list("asked", "").await.len(), 2, "nothing went by asking");
    let reply: Value = gateway.admin.give("POST", "/v1/lifecycle", &json!({})).await.json();
    assert_eq!((&reply["removed_names"], &reply["kept"]), (&1.into(), &0.into()), "{reply}");
    assert_eq!(gateway.list("asked", "").await, ["other/y"]);
    let said: Value = serde_json::from_str(&gateway.cli(&["lifecycle", "--json"]).await.succeeded()).unwrap();
    assert_eq!((&said["removed_names"], &said["producers_with_rules"]), (&0.into(), &1.into()), "{said}");
    gateway.finish().await;
}

#[tokio::test]
async fn what_cannot_be_carried_out_or_understood_is_refused() {
    let gateway = Harness::start().await;
    gateway.producer("refused").await;
    let on = "<Status>Enabled</Status><Filter/>";
    for (rule, status, code) in [
        (format!("{on}<Expiration><Days>0</Days></Expiration>"), 400, "InvalidArgument"),
        (format!("{on}<Expiration><Days>soon</Days></Expiration>"), 400, "MalformedXML"),
        (format!("{on}<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>"), 400, "InvalidArgument"),
        (on.to_owned(), 400, "InvalidRequest"),
        (
            format!("{on}<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
            501,
            "NotImplemented",
        ),
    ] {
        let refused = set(&gateway, "refused", &[&rule]).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (status, code), "{rule}: {}", refused.message());
    }
    let none = gateway.s3.request("GET", "refused").query("lifecycle", "").send().await.unwrap_err();
    assert_eq!(none.code(), "NoSuchLifecycleConfiguration", "nothing was kept");
    for body in [json!({ "dry": true }), json!({ "dry_run": 1 })] {
        let refused = gateway.admin.give("POST", "/v1/lifecycle", &body).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text());
    }
    gateway.cli(&["--lifecycle-day-seconds", "0", "lifecycle"]).await.failed_with_one_line("lifecycle_day_seconds");
    gateway.finish().await;
}
