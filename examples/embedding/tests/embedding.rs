//! The example works as its README says.

#![allow(clippy::unwrap_used, reason = "tests speak by panicking")]

use artifactstore_example_embedding::{open, seal};
use artifactstore_registry::model::manifest::Manifest;

#[tokio::test]
async fn a_directory_is_sealed_verified_and_replayed_without_a_server() {
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("logs/deep")).unwrap();
    std::fs::write(tree.path().join("report.xml"), "<ok/>").unwrap();
    std::fs::write(tree.path().join("logs/a.log"), vec![b'a'; 700_000]).unwrap();
    std::fs::write(tree.path().join("logs/deep/empty"), "").unwrap();
    let data = tempfile::tempdir().unwrap();

    let registry = open(data.path()).await.unwrap();
    let sealed = seal(&registry, tree.path(), "run-1").await.unwrap();
    assert_eq!((sealed.files, sealed.size_bytes), (3, 700_005));
    let manifest = Manifest::decode(&sealed.manifest).unwrap();
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.relative_path.as_str()).collect();
    assert_eq!(paths, ["logs/a.log", "logs/deep/empty", "report.xml"]);
    let refused = seal(&registry, tree.path(), "run-1").await.unwrap_err();
    assert!(format!("{refused:#}").contains(&sealed.manifest_digest), "a sealed package takes nothing more");
    registry.stop().await;

    let registry = open(data.path()).await.unwrap();
    let again = seal(&registry, tree.path(), "run-2").await.unwrap();
    assert_eq!(again.files, 3, "a registry that was closed opens again, and goes on");
    registry.stop().await;
}
