//! TLS in the program itself: what it is given, how that is exchanged, and what is said of what is wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use artifactstore_tests::Harness;
use artifactstore_tests::wire::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

type Open = TlsStream<TcpStream>;

/// Writes a fresh certificate for this machine and its key, and gives the certificate.
fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    pair.cert.der().clone()
}

/// Connects to the admin side and trusts this certificate alone.
async fn connect(
    gateway: &Harness,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<Open> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(gateway.admin.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// A request on a connection that stays open.
async fn is_alive(connection: &mut Open) -> bool {
    connection.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    // The rest is short and comes at once: it is read so that the next answer begins where this one ends.
    let mut rest = vec![0; 4096];
    let _ = connection.read(&mut rest).await.unwrap();
    &answer == b"HTTP/1.1 200"
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came: {what}");
}

#[tokio::test]
async fn a_certificate_is_exchanged_without_ending_a_connection_and_a_bad_one_is_not_taken() {
    let folder = tempfile::TempDir::new().unwrap();
    let first = write_pair(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let gateway = Harness::start_with(&[
        ("ARTIFACTSTORE_TLS_CERTIFICATE_FILE", certificate.as_str()),
        ("ARTIFACTSTORE_TLS_KEY_FILE", key.as_str()),
    ])
    .await;
    let mut open = connect(&gateway, &first, &TLS13).await.unwrap();
    assert!(is_alive(&mut open).await);
    assert!(is_alive(&mut connect(&gateway, &first, &TLS12).await.unwrap()).await);

    let second = write_pair(folder.path());
    gateway.hang_up();
    eventually("the second certificate", async || connect(&gateway, &second, &TLS13).await.is_ok()).await;
    assert!(connect(&gateway, &first, &TLS13).await.is_err());
    assert!(is_alive(&mut open).await, "a connection that was open goes on");

    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    gateway.hang_up();
    eventually("a complaint", async || gateway.log_tail().contains("the certificate stays as it was")).await;
    assert!(connect(&gateway, &second, &TLS13).await.is_ok());
    let address = gateway.admin.address.to_string();
    let _ = gateway.cli(&["health", "--admin-listen", &address]).await.succeeded();
    gateway.cli(&["serve", "--data-dir", "other"]).await.failed_with_one_line("tls_key_file");
    gateway.finish().await;
}

#[tokio::test]
async fn who_speaks_plain_http_to_tls_is_told_so() {
    let gateway = Harness::start_with(&[("ARTIFACTSTORE_TLS_SELF_SIGNED", "true")]).await;
    for address in [gateway.s3.address, gateway.admin.address] {
        let mut connection = Connection::open(address).await.unwrap();
        connection.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let reply = connection.reply("GET").await.unwrap();
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains("HTTPS"), "{}", reply.text());
    }
    gateway.finish().await;
}
