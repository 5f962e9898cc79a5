//! The bytes of a file are erased on demand: refused where something keeps them, gone everywhere else, and said to be.

use artifactstore_tests::Harness;
use serde_json::{Value, json};

use crate::body;

#[tokio::test]
async fn what_is_erased_is_gone_and_everyone_who_asks_is_told_when_and_why() {
    let gateway = Harness::start().await;
    let (secret, other) = (body::bytes(1, 9_000_000), body::bytes(2, 70_000));
    let put = gateway.put("lab/run-1/people.csv", &secret).await.unwrap();
    let version = put.header("x-artifact-sequence").unwrap().to_owned();
    gateway.put("lab/run-1/result.bin", &other).await.unwrap();
    gateway.put("lab/run-2/copy.csv", &secret).await.unwrap();
    let sealed = gateway.finalize("lab", "run-1").await.unwrap();
    let id = sealed["id"].as_str().unwrap().to_owned();
    let (manifest, files) = (gateway.folder().join("manifest.cbor"), gateway.folder().join("files"));
    let cbor = gateway.admin.get_as(&format!("/v1/packages/{id}/manifest"), "application/cbor").await.body;
    std::fs::write(&manifest, &cbor).unwrap();

    let reason = ["--reason", "article 17, request 4711"];
    let erase = |more: &[&'static str]| [&["erase", "lab/run-1/people.csv"][..], &reason, more].concat();
    gateway.cli(&erase(&[])).await.failed_with_one_line("--yes");
    gateway.cli(&erase(&["--yes"])).await.failed_with_one_line("lab/run-2/copy.csv");
    let said = gateway.cli(&erase(&["--all-copies", "--dry-run"])).await.succeeded();
    assert!(said.contains("would have erased lab/run-1/people.csv"), "{said}");
    assert!(gateway.get("lab/run-1/people.csv").await.unwrap().body == secret);
    let said = gateway.cli(&erase(&["--all-copies", "--yes"])).await.succeeded();
    assert!(said.contains("erased lab/run-2/copy.csv") && said.contains("deleted 2 objects (9000000 bytes)"), "{said}");
    let left = gateway.cli(&["gc", "--dry-run", "--json"]).await.succeeded();
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left["examined_objects"], 1, "of the other file: {left}");

    for name in ["lab/run-1/people.csv", "lab/run-2/copy.csv"] {
        let refused = gateway.get(name).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (404, "NoSuchKey"));
        let message = refused.message();
        assert!(message.contains("erased") && message.contains("request 4711"), "{message}");
        assert_eq!(gateway.s3.head(name).await.unwrap_err().status(), 404);
    }
    let numbered = gateway.s3.request("GET", "lab/run-1/people.csv").query("versionId", &version);
    assert_eq!(numbered.send().await.unwrap_err().code(), "NoSuchVersion");
    let copy = gateway.s3.request("PUT", "lab/run-3/x").header("x-amz-copy-source", "lab/run-1/people.csv");
    assert_eq!(copy.send().await.unwrap_err().code(), "NoSuchKey");
    let listed = gateway.list("lab", "run-1/").await;
    assert_eq!(listed, ["run-1/people.csv", "run-1/result.bin"], "the gap is in sight");
    let now = gateway.admin.get_as(&format!("/v1/packages/{id}/manifest"), "application/cbor").await.body;
    assert!(now == cbor, "the manifest is as it was, byte for byte");

    let verified = gateway.cli(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let said = format!("{}{}", verified.stdout, verified.stderr);
    assert!(said.contains("was erased by event") && said.contains("1 erased"), "{said}");
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join("result.bin"), &other).unwrap();
    let (manifest, files) = (manifest.to_str().unwrap(), files.to_str().unwrap());
    let offline = ["verify", "--manifest", manifest, "--dir", files];
    assert_eq!(gateway.cli(&offline).await.code, Some(1), "nobody said that it was erased");
    let told = gateway.admin.get(&format!("/v1/packages/{id}/erasures")).await.text();
    let erasures = gateway.folder().join("erasures.json");
    std::fs::write(&erasures, &told).unwrap();
    let said = gateway.cli(&[&offline[..], &["--erasures", erasures.to_str().unwrap()]].concat()).await.succeeded();
    assert!(said.contains("1 erased"), "{said}");

    // The same content again is a file like any other.
    gateway.put("lab/run-4/people.csv", &secret).await.unwrap();
    assert!(gateway.get("lab/run-4/people.csv").await.unwrap().body == secret);
    assert_eq!(gateway.get("lab/run-1/people.csv").await.unwrap_err().code(), "NoSuchKey");
    let _ = gateway.cli(&["replay", "--check"]).await.succeeded();
    gateway.finish().await;
}

#[tokio::test]
async fn what_is_kept_is_not_erased_through_the_admin_side_either() {
    let gateway = Harness::start().await;
    gateway.put("lab/run/x", b"kept").await.unwrap();
    let path = "/v1/producers/lab/erase?key=run/x";
    let hold = json!({ "reason": "a case" });
    assert!(gateway.admin.give("PUT", "/v1/producers/lab/holds/case-7", &hold).await.status < 300);
    let order = json!({ "reason": "article 17", "bypass_governance": true });
    let refused = gateway.admin.give("POST", path, &order).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(refused.json()["reasons"][0]["kind"], "hold");
    for (body, status) in [(json!({}), 422), (json!({ "reason": "" }), 400), (json!({ "reason": "x", "why": 1 }), 422)]
    {
        assert_eq!(gateway.admin.give("POST", path, &body).await.status, status, "{body}");
    }
    assert!(gateway.admin.give("DELETE", "/v1/producers/lab/holds/case-7", &json!(null)).await.status < 300);
    let done: Value = gateway.admin.give("POST", path, &order).await.json();
    assert_eq!((&done["deleted_objects"], &done["versions"][0]["key"]), (&1.into(), &"run/x".into()), "{done}");
    let again: Value = gateway.admin.give("POST", path, &order).await.json();
    assert_eq!((&again["recorded_before"], &again["deleted_objects"]), (&true.into(), &0.into()), "{again}");
    gateway.finish().await;
}
