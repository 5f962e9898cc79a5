//! What the admin REST answers about retention, where a registry without files is enough.

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{admin, ask, assert_problem, with_token};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn give(method: &str, path: &str) -> http::request::Builder {
    with_token(method, path).header(CONTENT_TYPE, "application/json")
}

#[tokio::test]
async fn five_classes_are_there_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let (status, _, told) = ask(&admin, with_token("GET", "/v1/retention-classes"), "").await;
    assert_eq!(status, StatusCode::OK);
    let classes = told["retention_classes"].as_array().unwrap();
    let names: Vec<&str> = classes.iter().filter_map(|class| class["name"].as_str()).collect();
    assert_eq!(names, ["permanent", "project-record", "regulated-record", "transient", "working"]);
    let (_, _, permanent) = ask(&admin, with_token("GET", "/v1/retention-classes/permanent"), "").await;
    assert_eq!(permanent, classes[0]);
    assert_eq!((&permanent["mode"], &permanent["period"]), (&json!("compliance"), &json!("forever")));
    assert_eq!((&permanent["then"], &permanent["event"]), (&json!("keep"), &json!(0)));
    let missing = ask(&admin, with_token("GET", "/v1/retention-classes/gold"), "").await;
    assert_problem(&missing, 404, "no-such-retention-class");
    assert_problem(&ask(&admin, with_token("GET", "/v1/retention-classes/Gold"), "").await, 400, "invalid-argument");
}

#[tokio::test]
async fn a_class_is_made_extended_and_shortened_only_with_the_right_to() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let put = async |body: Value| ask(&admin, give("PUT", "/v1/retention-classes/bench"), &body.to_string()).await;
    let class = |days: u32| json!({ "mode": "governance", "period": { "days": days }, "may_shorten": true });
    let (status, _, made) = put(class(30)).await;
    assert_eq!((status, &made["period"], &made["start"]), (StatusCode::OK, &json!({ "days": 30 }), &json!("ingest")));
    let first = made["event"].as_u64().unwrap();
    assert_eq!(put(class(30)).await.2["event"], first, "the same again records nothing");
    assert_eq!(put(class(60)).await.0, StatusCode::OK);
    assert_problem(&put(class(10)).await, 403, "access-denied");
    let mut shorter = class(10);
    shorter["bypass_governance"] = json!(true);
    shorter["reason"] = json!("a mistake");
    assert_eq!(put(shorter).await.2["period"], json!({ "days": 10 }));
    assert_problem(&put(json!({ "mode": "governance", "period": { "days": 0 } })).await, 400, "invalid-argument");
    for wrong in [
        json!({ "mode": "governance" }),
        json!({ "mode": "strict", "period": "forever" }),
        json!({ "mode": "none", "period": { "weeks": 3 } }),
        json!({ "mode": "none", "period": "forever", "perod": 1 }),
    ] {
        assert_problem(&put(wrong).await, 422, "invalid-body");
    }
    let regulated = json!({ "mode": "compliance", "period": { "years": 9 }, "start": "finalize" }).to_string();
    let refused = ask(&admin, give("PUT", "/v1/retention-classes/regulated-record"), &regulated).await;
    assert_problem(&refused, 403, "access-denied");
    let simulated = ask(&admin, give("POST", "/v1/retention-classes/bench/simulate"), &class(1).to_string()).await;
    assert_eq!((simulated.0, &simulated.2["versions_released"]), (StatusCode::OK, &json!(0)));
    assert_eq!(
        ask(&admin, with_token("GET", "/v1/retention-classes/bench"), "").await.2["period"],
        json!({ "days": 10 })
    );
    let nothing = ask(&admin, give("POST", "/v1/retention-classes/gold/simulate"), &class(1).to_string()).await;
    assert_problem(&nothing, 404, "no-such-retention-class");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let package = |rest: &str| format!("/v1/packages/{NOBODY}/{rest}");
    for path in [package("holds"), package("holds/court"), package("eligibility")] {
        assert_problem(&ask(&admin, with_token("GET", &path), "").await, 404, "no-such-package");
    }
    let reason = json!({ "reason": "court" }).to_string();
    let held = ask(&admin, give("PUT", &package("holds/court")), &reason).await;
    assert_problem(&held, 404, "no-such-package");
    let released = ask(&admin, give("POST", &package("release")), &reason).await;
    assert_problem(&released, 404, "no-such-package");
    let kept = ask(&admin, give("PUT", &package("retention")), &json!({ "class": "permanent" }).to_string()).await;
    assert_problem(&kept, 404, "no-such-package");
    let unheld = ask(&admin, with_token("DELETE", "/v1/producers/nobody/holds/court"), "").await;
    assert_problem(&unheld, 404, "no-such-bucket");
    let settled = ask(&admin, give("POST", "/v1/clock/7/settle"), &json!({ "genuine": true }).to_string()).await;
    assert_problem(&settled, 404, "no-such-clock-jump");
}

#[tokio::test]
async fn a_retention_is_one_class_or_one_lock() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let path = format!("/v1/packages/{NOBODY}/retention");
    let put = async |body: Value| ask(&admin, give("PUT", &path), &body.to_string()).await;
    for (body, status, name) in [
        (json!({}), 422, "invalid-body"),
        (json!({ "class": "permanent", "retain_until": "2035-01-01T00:00:00Z" }), 422, "invalid-body"),
        (json!({ "class": "permanent", "retain_until": null }), 422, "invalid-body"),
        (json!({ "class": "permanent", "mode": "compliance" }), 422, "invalid-body"),
        (json!({ "retain_until": "next year" }), 400, "invalid-argument"),
        (json!({ "retain_until": 7 }), 422, "invalid-body"),
        // Understood, and there is no such package.
        (json!({ "retain_until": null, "bypass_governance": true }), 404, "no-such-package"),
        (json!({ "retain_until": "2035-01-01T00:00:00Z", "mode": "compliance" }), 404, "no-such-package"),
    ] {
        assert_problem(&put(body).await, status, name);
    }
    let file = |query: &str| format!("/v1/producers/lab/retention{query}");
    for query in ["", "?version=7", "?key=a&version=new", "?kay=a"] {
        let answer = ask(&admin, give("PUT", &file(query)), &json!({ "class": "permanent" }).to_string()).await;
        assert_problem(&answer, 400, "invalid-argument");
    }
}

#[tokio::test]
async fn a_producer_is_held_by_name_and_its_settings_take_classes() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let rules = json!([{ "prefix": "raw/", "class": "transient" }]);
    let settings = json!({ "retention_class": "working", "retention_rules": rules });
    let (status, _, made) = ask(&admin, give("PUT", "/v1/producers/lab"), &settings.to_string()).await;
    assert_eq!(
        (status, &made["retention_class"], &made["retention_rules"]),
        (StatusCode::CREATED, &json!("working"), &rules)
    );
    let unknown = json!({ "retention_class": "gold" }).to_string();
    assert_problem(&ask(&admin, give("PUT", "/v1/producers/lab"), &unknown).await, 400, "invalid-argument");
    let hold = "/v1/producers/lab/holds/case-42";
    assert_problem(&ask(&admin, give("PUT", hold), "{\"reason\":\" \"}").await, 400, "invalid-argument");
    let (status, _, placed) = ask(&admin, give("PUT", hold), &json!({ "reason": "court" }).to_string()).await;
    assert_eq!((status, &placed["reason"], &placed["actor"]), (StatusCode::OK, &json!("court"), &json!("admin")));
    let (_, _, again) = ask(&admin, give("PUT", hold), &json!({ "reason": "another" }).to_string()).await;
    assert_eq!(again, placed, "it stays as it is");
    assert_eq!(ask(&admin, with_token("GET", hold), "").await.2, placed);
    let (_, _, shown) = ask(&admin, with_token("GET", "/v1/producers/lab"), "").await;
    assert_eq!(shown["kept_by"], json!({ "lock": null, "classes": [], "holds": [placed] }));
    for _ in 0..2 {
        let (status, ..) = ask(&admin, with_token("DELETE", &format!("{hold}?reason=settled")), "").await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    assert_problem(&ask(&admin, with_token("GET", hold), "").await, 404, "no-such-hold");
    let (_, _, list) = ask(&admin, with_token("GET", "/v1/producers/lab/holds"), "").await;
    assert_eq!(list["holds"], json!([]));
}

#[tokio::test]
async fn a_clock_that_goes_right_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin(&folder).await;
    let (status, _, clock) = ask(&admin, with_token("GET", "/v1/clock"), "").await;
    assert_eq!((status, &clock["held_up"], &clock["jumps"]), (StatusCode::OK, &json!(false), &json!([])));
    assert_eq!(clock["shown"], clock["expiry"]);
    let (_, _, health) = ask(&admin, with_token("GET", "/health"), "").await;
    assert_eq!(health["warnings"], json!([]));
}
