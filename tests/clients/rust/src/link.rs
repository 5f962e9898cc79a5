//! Follows a presigned link as anyone would who was given it: with an HTTP client that knows nothing of S3.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_s3::presigning::PresignedRequest;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Sends the request that the link is for; gives the status and the body of the answer.
pub(crate) async fn send(link: &PresignedRequest, body: Vec<u8>) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = super::authority()? {
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.context("the authority is no certificate")?)?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = Request::builder().method(link.method()).uri(link.uri());
    for (name, value) in link.headers() {
        request = request.header(name, value);
    }
    let answer = client.request(request.body(Full::from(body))?).await?;
    let status = answer.status().as_u16();
    Ok((status, answer.into_body().collect().await?.to_bytes().to_vec()))
}
