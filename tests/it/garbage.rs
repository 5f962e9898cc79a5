//! What nothing keeps is collected beside a gateway that serves, whoever asks for it.

use artifactstore_tests::Harness;
use serde_json::{Value, json};

use crate::body;

#[tokio::test]
async fn what_was_written_over_goes_when_the_grace_is_over_and_each_step_is_told() {
    let gateway = Harness::start().await;
    let (old, new) = (body::bytes(1, 9_000_000), body::bytes(2, 70_000));
    let first = gateway.put("lab/run/x", &old).await.unwrap();
    let version = first.header("x-artifact-sequence").unwrap().to_owned();
    gateway.put("lab/run/x", &new).await.unwrap();
    let by_number = gateway.s3.request("GET", "lab/run/x").query("versionId", &version);
    assert!(by_number.send().await.unwrap().body == old);

    let said = gateway.cli(&["gc", "--dry-run"]).await.succeeded();
    assert!(said.contains("would have released 1 versions"), "{said}");
    let said = gateway.cli(&["gc"]).await.succeeded();
    assert!(said.contains("released 1 versions") && said.contains("condemned 1 blobs"), "{said}");
    assert!(said.contains("deleted 0 objects"), "the grace is a day: {said}");
    let by_number = gateway.s3.request("GET", "lab/run/x").query("versionId", &version);
    assert_eq!(by_number.send().await.unwrap_err().code(), "NoSuchVersion");

    let reply = gateway.admin.give("POST", "/v1/gc", &json!({ "grace_seconds": 0 })).await;
    let swept: Value = reply.json();
    assert_eq!((&swept["swept_blobs"], &swept["deleted_bytes"]), (&1.into(), &9_000_000.into()), "{swept}");
    assert!(gateway.get("lab/run/x").await.unwrap().body == new);
    let left = gateway.cli(&["gc", "--grace", "0", "--json"]).await.succeeded();
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(
        (&left["examined_objects"], &left["deleted_objects"]),
        (&1.into(), &0.into()),
        "one object is left: {left}"
    );
    let kinds = gateway.kinds_since(0).await;
    for kind in ["v1.version.released", "v1.blob.condemned", "v1.sweep.begun", "v1.sweep.ended"] {
        assert_eq!(kinds.iter().filter(|told| *told == kind).count(), 1, "{kind}: {kinds:?}");
    }
    let metrics = gateway.admin.get("/metrics").await.text();
    for figure in ["gc_runs_total 1", "gc_swept_blobs_total 1", "gc_deleted_bytes_total 9000000"] {
        assert!(metrics.contains(&format!("artifactstore_{figure}\n")), "{figure}: {metrics}");
    }
    // The same bytes again, and everything is as if they had never gone.
    gateway.put("lab/run/y", &old).await.unwrap();
    assert!(gateway.get("lab/run/y").await.unwrap().body == old);
    let said = gateway.cli(&["gc", "--recount", "--json"]).await.succeeded();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["summary"], json!({ "blobs": 2, "references": 2, "wrong": 0 }));
    gateway.finish().await;
}

#[tokio::test]
async fn a_collection_that_is_asked_for_wrongly_is_refused_in_one_line_or_as_a_problem() {
    let gateway = Harness::start().await;
    for body in [json!({ "grace": 1 }), json!({ "grace_seconds": -1 }), json!("now")] {
        let refused = gateway.admin.give("POST", "/v1/gc", &body).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.text());
        assert!(refused.json()["type"].as_str().unwrap().starts_with("urn:artifactstore:problem:"));
    }
    gateway.cli(&["gc", "--grace", "soon"]).await.failed_with_one_line("soon");
    let outcome = gateway.cli(&["--gc-interval-hours", "99999", "gc"]).await;
    outcome.failed_with_one_line("gc_interval_hours");
    gateway.finish().await;
}
