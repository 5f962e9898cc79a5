//! `artifactstore health`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{CliError, Outcome, output};
use crate::admin::HealthShape;
use crate::config::Settings;
use crate::telemetry::chain;

/// Asks the gateway at --admin-listen how it is; exit code 0 when files can be ingested and read
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Answer with JSON
    #[arg(long)]
    json: bool,
    /// How many seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout_seconds: u64,
}

/// How large an answer may be.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

pub(super) async fn run(args: &Args, settings: &Settings) -> Outcome {
    let address = reachable(settings.admin_listen);
    if address.port() == 0 {
        return Err(CliError::Other("port 0 names no gateway: say --admin-listen with the port it took".to_owned()));
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}/health");
    let silent = |why: &str| CliError::Other(format!("no gateway answers at {url}: {why}"));
    let asked =
        tokio::time::timeout(Duration::from_secs(args.timeout_seconds), ask(address, settings.tls.is_some())).await;
    let answer = asked.map_err(|_| silent("it took too long"))?.map_err(|why| silent(&why))?;
    let health: HealthShape = serde_json::from_slice(&answer).map_err(|_| silent("it is something else"))?;
    let ready = health.status == "ready";
    if args.json {
        output::json(&health)?;
    } else {
        let head = health.head_sequence.map_or_else(|| "unknown".to_owned(), |head| head.to_string());
        output::line(format_args!(
            "{}: version {}, {head} events, backend {} in {} us",
            if ready { "ready" } else { "not ready" },
            health.version,
            health.backend.name,
            health.backend.latency_micros,
        ))?;
        let problems = [("database", health.database.problem), ("backend", health.backend.problem)];
        for (what, problem) in problems.into_iter().filter_map(|(what, problem)| Some((what, problem?))) {
            output::line(format_args!("{what}: {problem}"))?;
        }
        for warning in &health.warnings {
            output::line(format_args!("warning: {warning}"))?;
        }
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An address that listens everywhere is reached on this machine's own.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

async fn ask(address: SocketAddr, tls: bool) -> Result<Bytes, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    if !tls {
        return converse(stream, address).await;
    }
    let connector = TlsConnector::from(Arc::new(unverified().map_err(|error| chain(&error))?));
    let stream = connector.connect(ServerName::from(address.ip()), stream).await.map_err(|error| chain(&error))?;
    converse(stream, address).await
}

/// TLS that asks no certificate whose it is. Nothing secret is sent, the address is the gateway's own, and its
/// certificate is for the names that clients use.
fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn converse<T>(stream: T, address: SocketAddr) -> Result<Bytes, String>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| chain(&error))?;
    // It ends with the sender; what broke it is what the request says.
    tokio::spawn(connection);
    let request = Request::get("/health").header(HOST, address.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(|_| "the address is no host".to_owned())?;
    let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
    let body = Limited::new(response.into_body(), ANSWER_LIMIT_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_listens_everywhere_is_asked_here() {
        assert_eq!(reachable("0.0.0.0:9001".parse().unwrap()).to_string(), "127.0.0.1:9001");
        assert_eq!(reachable("[::]:9001".parse().unwrap()).to_string(), "[::1]:9001");
        assert_eq!(reachable("10.0.0.1:9001".parse().unwrap()).to_string(), "10.0.0.1:9001");
    }
}
