//! The example producer, run on a real report: that of tests of this project's own, which ran just before.

use std::path::PathBuf;

use artifactstore_tests::command::{self, workspace};
use artifactstore_tests::{Harness, clients};
use tokio::process::Command;

/// The folder with this project's own test report, which `make test` and `make test-rgw` fill first.
fn report() -> PathBuf {
    let folder = std::env::var_os("ARTIFACTSTORE_EVIDENCE").map(PathBuf::from);
    let folder =
        folder.expect("ARTIFACTSTORE_EVIDENCE names the folder with the unit tests' report: `make test` sets it");
    let report = folder.join("junit.xml");
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{}: {error}", report.display()));
    assert!(text.contains("<testcase"), "a report of no test is no evidence");
    folder
}

#[tokio::test]
async fn a_ci_run_is_uploaded_finalized_downloaded_and_verified_with_the_aws_cli() {
    let gateway = Harness::start().await;
    let marked = serde_json::json!({ "package_depth": 1, "finalize_marker": "_SUCCESS" });
    gateway.configure("ci-evidence", marked).await;
    let mut example = Command::new(workspace().join("examples/ci-evidence/run"));
    example.arg(report());
    let mut example = clients::with_environment(&gateway, example);
    example.env("CI_EVIDENCE_RUN", "run-7");
    let said = command::run(example).await.succeeded();
    println!("{said}");
    let package = &gateway.admin.packages("ci-evidence", Some("run-7")).await[0];
    let digest = package["manifest_digest"].as_str().expect("finalized");
    assert!(said.contains(digest), "the example says what it verified:\n{said}");
    let late = gateway.put("ci-evidence/run-7/late.log", b"x").await.unwrap_err();
    assert_eq!(late.code(), "AccessDenied");
    gateway.finish().await;
}
