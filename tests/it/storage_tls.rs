//! A store that speaks TLS: trusted by a private authority's certificate, and by nothing less.

use std::time::Duration;

use artifactstore_tests::{Harness, Store, command};

use crate::body;

const S3: &str = "ARTIFACTSTORE_STORAGE_S3";

/// The settings of a gateway that reaches the store over TLS, with these besides.
fn over_tls(store: &Store, address: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut settings = store.settings();
    settings.retain(|(name, _)| *name != format!("{S3}_ENDPOINT"));
    settings.push((format!("{S3}_ENDPOINT"), format!("https://{address}")));
    settings.extend(more.iter().map(|(name, value)| (format!("{S3}_{name}"), (*value).to_owned())));
    settings
}

fn prepared(settings: &[(String, String)]) -> Harness {
    let all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    Harness::prepare_in(&std::env::temp_dir(), command::binary(), &all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_to_a_store_over_tls_that_a_private_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, address) = Store::moto_with_tls(folder.path()).await;
    let ca_file = folder.path().join("ca.pem").display().to_string();
    let mut gateway = prepared(&over_tls(&store, &address, &[("CA_FILE", &ca_file)]));
    gateway.resume().await;
    let files = [(1_u64, 100), (2, 300_000), (3, 20 << 20)];
    for (seed, size) in files {
        gateway.put(&format!("tls/run/{seed}"), &body::bytes(seed, size)).await.unwrap();
    }
    gateway.restart().await;
    for (seed, size) in files {
        assert!(gateway.get(&format!("tls/run/{seed}")).await.unwrap().body == body::bytes(seed, size), "{seed}");
    }
    assert!(!store.objects().await.is_empty(), "the bucket has them");
    gateway.finish().await;
}

#[tokio::test]
async fn a_store_whose_certificate_is_not_trusted_gets_no_request_and_the_start_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let (store, address) = Store::moto_with_tls(folder.path()).await;
    let port = address.rsplit(':').next().unwrap();
    let ca_file = folder.path().join("ca.pem").display().to_string();
    let (empty, missing) = (folder.path().join("empty.pem"), folder.path().join("missing.pem"));
    std::fs::write(&empty, "nothing").unwrap();
    let (empty, missing) = (empty.display().to_string(), missing.display().to_string());
    let renamed = format!("localhost:{port}");
    let cases = [
        (&address, Vec::<(&str, &str)>::new(), "its certificate is not trusted (UnknownIssuer)"),
        (&renamed, vec![("CA_FILE", &ca_file)], "its certificate is not trusted (certificate not valid for name"),
        (&address, vec![("CA_FILE", &empty)], "empty.pem cannot be used"),
        (&address, vec![("CA_FILE", &missing)], "missing.pem cannot be used"),
    ];
    for (endpoint, more, words) in cases {
        let gateway = prepared(&over_tls(&store, endpoint, &more));
        let mut serve = gateway.command(&["serve"]);
        serve.env("ARTIFACTSTORE_LOG_LEVEL", "error");
        let begun = std::time::Instant::now();
        command::run(serve).await.failed_with_one_line(words);
        assert!(begun.elapsed() < Duration::from_secs(20), "what lasts is told at once: {:?}", begun.elapsed());
    }
    assert_eq!(store.objects().await, [""; 0]);
}
