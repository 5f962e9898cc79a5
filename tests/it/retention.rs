//! Everything that keeps a file keeps it, by whichever road it was given, and says why; asked by the admin REST and by
//! the command line beside a gateway that runs.

use artifactstore_tests::Harness;
use artifactstore_tests::clock::WrongClock;
use artifactstore_tests::wire::Reply;
use serde_json::{Value, json};
use time::Duration;

/// What the admin REST says of a key.
async fn explained(gateway: &Harness, producer: &str, key: &str) -> Value {
    let reply = gateway.admin.get(&format!("/v1/producers/{producer}/eligibility?key={key}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The classes among the reasons, by name.
fn classes(explained: &Value) -> Vec<&str> {
    let reasons = explained["reasons"].as_array().unwrap();
    reasons.iter().filter(|reason| reason["kind"] == "class").filter_map(|reason| reason["name"].as_str()).collect()
}

async fn package_id(gateway: &Harness, producer: &str, package: &str) -> String {
    gateway.admin.packages(producer, Some(package)).await[0]["id"].as_str().unwrap().to_owned()
}

fn problem(reply: &Reply, status: u16, name: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["type"], format!("urn:artifactstore:problem:{name}"), "{body}");
    body
}

#[tokio::test]
async fn a_class_is_made_and_extended_and_never_shortened_without_the_right_to() {
    let gateway = Harness::start().await;
    let path = "/v1/retention-classes/bench-record";
    let class = |years: u32| json!({ "mode": "governance", "period": { "years": years }, "reason": "policy 7" });
    assert_eq!(gateway.admin.give("PUT", path, &class(2)).await.json()["period"], json!({ "years": 2 }));
    assert_eq!(gateway.admin.give("PUT", path, &class(5)).await.json()["period"], json!({ "years": 5 }));
    let events = gateway.event_count().await;
    problem(&gateway.admin.give("PUT", path, &class(3)).await, 403, "access-denied");
    let mut bypassing = class(3);
    bypassing["bypass_governance"] = json!(true);
    let firm = problem(&gateway.admin.give("PUT", path, &bypassing).await, 403, "access-denied");
    assert!(firm["detail"].as_str().unwrap().contains("may not be shortened"), "{firm}");
    let set = ["retention", "set-class", "bench-record", "--period", "1y", "--bypass-governance"];
    gateway.cli(&set).await.failed_with_one_line("bench-record cannot be changed");
    let regulated = ["retention", "set-class", "regulated-record", "--period", "9y", "--bypass-governance"];
    gateway.cli(&regulated).await.failed_with_one_line("can only be extended");
    assert_eq!(gateway.event_count().await, events, "a refusal records nothing");

    let made = ["retention", "set-class", "lab-note", "--mode", "governance", "--period", "90d", "--may-shorten"];
    let said = gateway.cli(&made).await.succeeded();
    assert!(said.starts_with("lab-note: governance, 90 days from ingest, then eligible, may be shortened"), "{said}");
    gateway.put("lab/run-1/note", b"a note").await.unwrap();
    let retain = ["retention", "retain", "lab/run-1/note", "--class", "lab-note", "--reason", "policy 8"];
    let said = gateway.cli(&retain).await.succeeded();
    assert!(said.starts_with("class lab-note (event "), "{said}");
    let simulated = gateway.cli(&["retention", "simulate", "lab-note", "--mode", "none", "--json"]).await.succeeded();
    let simulated: Value = serde_json::from_str(&simulated).unwrap();
    assert_eq!(
        (&simulated["versions_kept"], &simulated["versions_released"]),
        (&json!(1), &json!(0)),
        "the period stays"
    );
    gateway.cli(&["retention", "set-class", "lab-note", "--period", "30d"]).await.failed_with_one_line("bypass");
    let shorter = ["retention", "set-class", "lab-note", "--period", "30d", "--bypass-governance", "--reason", "x"];
    assert!(gateway.cli(&shorter).await.succeeded().contains("30 days"));
    let listed = gateway.cli(&["retention", "classes"]).await.succeeded();
    assert_eq!(listed.lines().count(), 7, "{listed}");
    gateway.finish().await;
}

#[tokio::test]
async fn every_road_to_a_class_keeps_the_file_and_is_explained() {
    let gateway = Harness::start().await;
    let rules = json!([{ "prefix": "run-1/raw/", "class": "permanent" }, { "prefix": "run-2/", "class": "transient" }]);
    gateway.configure("roads", json!({ "retention_class": "working", "retention_rules": rules })).await;
    let put = |key: &str| gateway.s3.request("PUT", &format!("roads/{key}")).body(key.as_bytes());
    put("run-1/default").send().await.unwrap();
    put("run-1/raw/ruled").send().await.unwrap();
    put("run-1/header").header("x-artifact-retention-class", "permanent").send().await.unwrap();
    put("run-1/tag").header("x-amz-tagging", "artifact-retention-class=permanent&a=b").send().await.unwrap();
    let unknown = put("run-1/never").header("x-artifact-retention-class", "gold").send().await.unwrap_err();
    assert_eq!((unknown.status(), unknown.code()), (400, "InvalidArgument"));

    let default = explained(&gateway, "roads", "run-1/default").await;
    assert_eq!((&default["eligible"], &default["frees_bytes"]), (&json!(true), &json!(false)));
    assert_eq!(classes(&default), ["working"]);
    for key in ["run-1/raw/ruled", "run-1/header", "run-1/tag"] {
        let told = explained(&gateway, "roads", key).await;
        assert_eq!((&told["eligible"], classes(&told)), (&json!(false), vec!["working", "permanent"]), "{key}");
        let head = gateway.s3.head(&format!("roads/{key}")).await.unwrap();
        let made_by = head.header("x-artifact-sequence").unwrap().parse::<u64>().unwrap();
        assert!(told["reasons"].as_array().unwrap().iter().all(|reason| reason["event"] == made_by), "{told}");
        let refused = gateway.delete(&format!("roads/{key}")).await.unwrap_err();
        assert_eq!(refused.code(), "AccessDenied", "{key}");
        assert!(refused.message().contains("the class permanent (compliance)"), "{}", refused.message());
        let cli = gateway.cli(&["retention", "explain", &format!("roads/{key}")]).await;
        assert_eq!(cli.code, Some(1), "{cli:?}");
        assert!(cli.stdout.starts_with("no: it is kept\n") && cli.stderr.is_empty(), "{cli:?}");
        let event = format!("(event {made_by})");
        assert_eq!(cli.stdout.lines().filter(|line| line.ends_with(&event)).count(), 2, "{cli:?}");
    }
    let yes = gateway.cli(&["retention", "explain", "roads/run-1/default"]).await.succeeded();
    assert!(yes.starts_with("yes: it may be removed, and its bytes stay\n"), "{yes}");
    gateway.delete("roads/run-1/default").await.unwrap();
    let json = gateway.cli(&["retention", "explain", "roads/run-1/tag", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["eligible"], json!(false), "{json:?}");
    gateway.cli(&["retention", "explain", "roads/run-9/none"]).await.failed_with_one_line("key does not exist");
    let set = ["producer", "set", "roads", "--retention-class", "", "--retention-rule", "run-3/=project-record"];
    let _ = gateway.cli(&set).await.succeeded();
    put("run-3/a").send().await.unwrap();
    assert_eq!(classes(&explained(&gateway, "roads", "run-3/a").await), Vec::<&str>::new(), "its package is open");
    gateway.finalize("roads", "run-3").await.unwrap();
    let sealed = explained(&gateway, "roads", "run-3/a").await;
    assert_eq!(classes(&sealed), ["project-record"]);
    assert_eq!(sealed["reasons"][0]["kind"], "sealed", "{sealed}");
    gateway.finish().await;
}

#[tokio::test]
async fn a_package_is_kept_held_explained_and_released() {
    let gateway = Harness::start().await;
    gateway.put("sealed/run-1/a", b"a").await.unwrap();
    gateway.put("sealed/run-1/b", b"b").await.unwrap();
    let id = package_id(&gateway, "sealed", "run-1").await;
    let path = |rest: &str| format!("/v1/packages/{id}/{rest}");
    let release = json!({ "reason": "the period is over" });
    problem(&gateway.admin.give("POST", &path("release"), &release).await, 409, "package-open");
    gateway.finalize("sealed", "run-1").await.unwrap();

    let lock = json!({ "retain_until": "2099-01-01T00:00:00Z", "reason": "policy" });
    let kept = gateway.admin.give("PUT", &path("retention"), &lock).await.json();
    assert_eq!((&kept["lock"]["mode"], &kept["lock"]["retain_until"]), (&json!("governance"), &lock["retain_until"]));
    let held = gateway.admin.give("PUT", &path("holds/case-42"), &json!({ "reason": "court" })).await.json();
    assert_eq!((&held["name"], &held["reason"], &held["actor"]), (&json!("case-42"), &json!("court"), &json!("admin")));
    let eligibility = gateway.admin.get(&path("eligibility")).await.json();
    assert_eq!((&eligibility["eligible"], &eligibility["files_kept"]), (&json!(false), &json!(0)));
    let kinds: Vec<&str> =
        eligibility["reasons"].as_array().unwrap().iter().filter_map(|reason| reason["kind"].as_str()).collect();
    assert_eq!(kinds, ["lock", "hold"], "{eligibility}");
    let refused = problem(&gateway.admin.give("POST", &path("release"), &release).await, 403, "access-denied");
    assert_eq!(refused["reasons"], eligibility["reasons"]);

    let cli = gateway.cli(&["retention", "explain", "--package", &id]).await;
    assert_eq!(cli.code, Some(1));
    assert!(cli.stdout.contains("the hold case-42 of its package by admin keeps it: court (event "), "{cli:?}");
    let earlier = json!({ "retain_until": "2098-01-01T00:00:00Z" });
    problem(&gateway.admin.give("PUT", &path("retention"), &earlier).await, 403, "access-denied");
    let unlocked = json!({ "retain_until": null, "bypass_governance": true, "reason": "a mistake" });
    assert_eq!(gateway.admin.give("PUT", &path("retention"), &unlocked).await.json()["lock"], Value::Null);
    gateway.cli(&["retention", "release", &id, "--reason", "over"]).await.failed_with_one_line("the hold case-42");
    let unheld = ["retention", "release-hold", "case-42", "--package", &id, "--reason", "the case is closed"];
    assert_eq!(gateway.cli(&unheld).await.succeeded(), "kept by nothing of its own\n");

    assert_eq!(gateway.delete("sealed/run-1/a").await.unwrap_err().code(), "AccessDenied");
    let released = gateway.admin.give("POST", &path("release"), &release).await.json();
    assert!(released["released_sequence"].is_u64() && released["manifest_digest"].is_string(), "{released}");
    assert_eq!(gateway.admin.give("POST", &path("release"), &release).await.json(), released);
    gateway.delete("sealed/run-1/a").await.unwrap();
    assert_eq!(gateway.put("sealed/run-1/c", b"c").await.unwrap_err().code(), "AccessDenied", "the seal stays");
    let manifest = gateway.get("sealed/run-1/.artifact/manifest.json").await.unwrap().json();
    assert_eq!(manifest["files"].as_array().unwrap().len(), 2);
    problem(&gateway.admin.give("PUT", &path("holds/late"), &json!({ "reason": "x" })).await, 409, "package-released");
    gateway.finish().await;
}

#[tokio::test]
async fn a_file_and_a_producer_are_held_by_name() {
    let gateway = Harness::start().await;
    gateway.put("held/run-1/a b", b"same").await.unwrap();
    gateway.put("held/run-2/other", b"same").await.unwrap();
    let hold = "/v1/producers/held/holds/audit?key=run-1/a%20b";
    let placed = gateway.admin.give("PUT", hold, &json!({ "reason": "audit 2026" })).await.json();
    assert_eq!(gateway.admin.get(hold).await.json(), placed);
    let list = gateway.admin.get("/v1/producers/held/holds?key=run-1/a%20b").await.json();
    assert_eq!(list["holds"], json!([placed]));
    assert_eq!(gateway.admin.get("/v1/producers/held/holds").await.json()["holds"], json!([]));
    let told = explained(&gateway, "held", "run-1/a%20b").await;
    assert_eq!((&told["eligible"], &told["reasons"][0]["event"]), (&json!(false), &placed["event"]));
    assert_eq!(told["references"][0]["key"], "run-2/other", "{told}");
    for road in [gateway.delete("held/run-1/a b").await, gateway.put("held/run-1/a b", b"new").await] {
        let refused = road.unwrap_err();
        assert_eq!(refused.code(), "AccessDenied");
        assert!(refused.message().contains("hold audit by admin keeps it: audit 2026"), "{}", refused.message());
    }
    let released = gateway.admin.give("DELETE", &format!("{hold}&reason=done"), &json!({})).await;
    assert_eq!(released.status, 204, "{}", released.text());
    gateway.delete("held/run-1/a b").await.unwrap();

    let cli = ["retention", "hold", "case-7", "--producer", "held", "--reason", "everything is wanted"];
    let said = gateway.cli(&cli).await.succeeded();
    assert!(said.starts_with("hold case-7 by cli: everything is wanted (event "), "{said}");
    let refused = gateway.delete("held/run-2/other").await.unwrap_err();
    assert!(refused.message().contains("of its producer"), "{}", refused.message());
    assert_eq!(gateway.cli(&["retention", "explain", "held/run-2/other"]).await.code, Some(1));
    let _ = gateway.cli(&["retention", "release-hold", "case-7", "--producer", "held"]).await.succeeded();
    assert_eq!(gateway.cli(&["retention", "explain", "held/run-2/other"]).await.code, Some(0));
    let reasons: Vec<Value> = gateway
        .admin
        .events(0)
        .await
        .into_iter()
        .filter(|event| event["kind"].as_str().is_some_and(|kind| kind.starts_with("v1.hold.")))
        .map(|event| event["payload"]["reason"].clone())
        .collect();
    assert_eq!(reasons, [json!("audit 2026"), json!("done"), json!("everything is wanted"), Value::Null]);
    let wrong = gateway.cli(&["retention", "explain"]).await;
    assert_eq!(wrong.code, Some(2), "wrong usage");
    gateway.finish().await;
}

#[tokio::test]
async fn a_lock_by_rest_is_the_lock_that_s3_shows() {
    let gateway = Harness::start().await;
    let locked = gateway.s3.request("PUT", "locked").header("x-amz-bucket-object-lock-enabled", "true");
    locked.send().await.unwrap();
    gateway.s3.put("locked/run-1/a", b"a").await.unwrap();
    let lock = json!({ "retain_until": "2099-06-01T00:00:00Z", "mode": "compliance" });
    let path = "/v1/producers/locked/retention?key=run-1/a";
    assert_eq!(gateway.admin.give("PUT", path, &lock).await.json()["lock"]["mode"], "compliance");
    let shown = gateway.s3.request("GET", "locked/run-1/a").query("retention", "").send().await.unwrap();
    assert_eq!(shown.element("Mode").as_deref(), Some("COMPLIANCE"));
    assert!(shown.element("RetainUntilDate").unwrap().starts_with("2099-06-01T00:00:00"), "{}", shown.text());
    for attack in [
        json!({ "retain_until": "2099-05-01T00:00:00Z", "mode": "compliance", "bypass_governance": true }),
        json!({ "retain_until": "2099-06-01T00:00:00Z", "mode": "governance", "bypass_governance": true }),
        json!({ "retain_until": null, "bypass_governance": true }),
    ] {
        let refused = problem(&gateway.admin.give("PUT", path, &attack).await, 403, "access-denied");
        assert_eq!(refused["reasons"][0]["kind"], "lock", "{refused}");
    }
    let cli = ["retention", "retain", "locked/run-1/a", "--unlock", "--bypass-governance"];
    gateway.cli(&cli).await.failed_with_one_line("the lock (compliance) keeps it until 2099-06-01");
    let longer = ["retention", "retain", "locked/run-1/a", "--until", "2099-07-01T00:00:00Z", "--mode", "compliance"];
    assert!(gateway.cli(&longer).await.succeeded().starts_with("lock (compliance) until 2099-07-01T00:00:00Z"));
    let producer = gateway.admin.get("/v1/producers/locked").await.json();
    assert_eq!(producer["object_lock"], true);
    gateway.finish().await;
}

#[tokio::test]
async fn a_clock_that_jumped_is_told_before_and_after_it_is_recorded_and_settled_by_command() {
    let wrong = WrongClock::make();
    let mut gateway = Harness::start().await;
    gateway.put("clocked/run-1/a", b"a").await.unwrap();
    let soon = ["retention", "retain", "clocked/run-1/a", "--until", "2060-01-01T00:00:00Z"];
    let _ = gateway.cli(&soon).await.succeeded();
    gateway.stop().await;
    let environment = wrong.off_by(Duration::days(70 * 365));
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    gateway.resume_with(&environment).await.unwrap();

    // Nothing was written since, so that nothing is recorded; all the same the clock is not believed.
    let health = gateway.admin.get("/health").await;
    let warning = health.json()["warnings"][0].as_str().unwrap_or_default().to_owned();
    assert!(health.status == 200 && warning.contains("the next event records the jump"), "{}", health.text());
    let told = explained(&gateway, "clocked", "run-1/a").await;
    assert_eq!((&told["eligible"], &told["reasons"][0]["kind"]), (&json!(false), &json!("lock")), "{told}");
    assert_eq!(gateway.admin.get("/v1/clock").await.json()["held_up"], true);

    gateway.configure("written", json!({})).await;
    let clock = gateway.admin.get("/v1/clock").await.json();
    let jump = clock["jumps"][0]["event"].as_u64().unwrap();
    assert!(jump > 0 && clock["jumps"].as_array().unwrap().len() == 1, "{clock}");
    assert!(clock["expiry"].as_str().unwrap() < "2060", "{clock}");
    let health = gateway.admin.get("/health").await;
    let warning = health.json()["warnings"][0].as_str().unwrap_or_default().to_owned();
    assert!(health.status == 200 && warning.contains(&format!("(event {jump}): expiry stands still")), "{warning}");
    assert_eq!(gateway.admin.get("/health/ready").await.status, 200);
    assert!(gateway.admin.get("/metrics").await.text().contains("artifactstore_clock_jumps_unsettled 1\n"));
    let told = explained(&gateway, "clocked", "run-1/a").await;
    assert_eq!((&told["eligible"], &told["clock_jumps"][0]["event"]), (&json!(false), &json!(jump)), "{told}");

    // Whoever began by this clock would take it for the time, so that nobody says that it is wrong before it is right.
    let reply = gateway.admin.give("POST", &format!("/v1/clock/{jump}/settle"), &json!({ "genuine": false })).await;
    let refused = problem(&reply, 409, "clock-still-ahead");
    assert!(refused["detail"].as_str().unwrap().contains("set it right first"), "{refused}");
    gateway.stop().await;
    gateway.resume().await;
    let listed = gateway.cli(&["retention", "clock"]).await.succeeded();
    assert!(listed.contains(&format!("(event {jump}): not settled: expiry stands still")), "{listed}");
    let settle = ["retention", "settle-clock", &jump.to_string(), "--wrong", "--reason", "mended"];
    let settled = gateway.cli(&settle).await.succeeded();
    assert!(settled.contains("): wrong (event "), "{settled}");
    let health = gateway.admin.get("/health").await.json();
    assert_eq!(health["warnings"], json!([]));
    let clock = gateway.admin.get("/v1/clock").await.json();
    assert_eq!((&clock["held_up"], &clock["shown"]), (&json!(false), &clock["expiry"]));
    assert_eq!(gateway.delete("clocked/run-1/a").await.unwrap_err().code(), "AccessDenied");
    gateway.cli(&["retention", "settle-clock", "1", "--genuine"]).await.failed_with_one_line("recorded no jump");
    gateway.finish().await;
}
