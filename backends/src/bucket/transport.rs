//! The HTTP under OpenDAL's S3 service: a pool of connections, a limit on every wait, and `Content-MD5` on every body.
//!
//! OpenDAL can send `Content-MD5` by itself, and hashes on the thread that serves requests; here many bodies are hashed
//! at once beside it. The header is not among those that are signed, and need not be: what is damaged on the way, the
//! header or the body, no longer fits the other, and the store keeps nothing. For stores that do not look, the ETag of
//! the answer is compared, too (`docs/adr/0016`).
//!
//! What the data plane has hashed with MD5 already, for an ETag, is not hashed again.
//!
//! Invariant: no wait for the store is longer than the patience; what takes longer is a [`Fault`].
//! Invariant: a body whose MD5 the store does not confirm was not stored, as far as anybody above is told.

use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opendal::{Buffer, HttpBody, HttpTransport};
use tokio::time::timeout;

use crate::bucket::fault::Fault;
use crate::bucket::tls;
use crate::dataplane::Md5Lanes;
use crate::digest::Md5Digest;
use crate::md5::Md5;

/// A body of so few bytes is hashed on the spot.
const INLINE_BYTES: usize = 64 * 1024;
/// The longest that making a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Stores close connections that were idle for about a minute.
const IDLE: Duration = Duration::from_secs(20);
/// How much of a refusal is read.
const REFUSAL_BYTES: usize = 64 * 1024;
/// How much of a store's own words is kept.
const MESSAGE_CHARS: usize = 200;
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const ENCRYPTION: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const CUSTOMER_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");

tokio::task_local! {
    /// The MD5 of the one body that is sent within: OpenDAL, between here and who knows it, has no place for it.
    static KNOWN: Option<Md5Digest>;
}

/// Sends within this what has this MD5, if it is known.
pub(super) async fn knowing<F: Future>(md5: Option<Md5Digest>, sending: F) -> F::Output {
    KNOWN.scope(md5, sending).await
}

/// Connections to one store.
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    md5: Md5Lanes,
    patience: Duration,
}

impl Transport {
    /// Keeps up to so many idle connections, and waits so long for each step.
    ///
    /// # Errors
    /// When the certificates in the file cannot be used.
    pub(super) fn new(idle_connections: usize, patience: Duration, ca_file: Option<&Path>) -> crate::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_PATIENCE.min(patience)));
        connector.set_keepalive(Some(IDLE));
        // The address says whether TLS is spoken.
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_connections)
            .build(connector);
        Ok(Self { client, md5: Md5Lanes::default(), patience })
    }

    async fn md5(&self, bytes: &Bytes) -> Result<Md5Digest, Fault> {
        let md5 = if bytes.len() <= INLINE_BYTES {
            let mut md5 = Md5::new();
            md5.update(bytes);
            md5
        } else {
            self.md5.update(Md5::new(), bytes.clone(), None).await.map_err(connection)?
        };
        Ok(md5.finalize())
    }

    async fn send(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Fault> {
        let (mut parts, body) = request.into_parts();
        let body = body.to_bytes();
        let mut sent = None;
        if parts.method == Method::PUT {
            let md5 = match KNOWN.try_with(|known| *known).ok().flatten() {
                Some(known) => known,
                None => self.md5(&body).await?,
            };
            let value = HeaderValue::from_str(&BASE64_STANDARD.encode(md5.0)).map_err(connection)?;
            parts.headers.insert(CONTENT_MD5, value);
            sent = Some(md5);
        }
        let empty = parts.method == Method::HEAD;
        let request = Request::from_parts(parts, Full::new(body));
        let response = within(self.patience, self.client.request(request)).await?;
        let response = response.map_err(|error| tls::distrust(&error).unwrap_or_else(|| connection(error)))?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            let text = within(self.patience, beginning(body)).await?;
            let element = |name: &str| element(&text, name).unwrap_or_default().to_owned();
            let message = element("Message").chars().take(MESSAGE_CHARS).collect();
            return Err(Fault::Refused { status: parts.status.as_u16(), code: element("Code"), message });
        }
        if sent.is_some_and(|sent| !confirms(&parts.headers, sent)) {
            return Err(Fault::Damaged);
        }
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = if empty { Some(0) } else { length.or_else(|| body.size_hint().exact()) };
        Ok(Response::from_parts(parts, HttpBody::new(Box::pin(pieces(body, self.patience)), length)))
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        Ok(self.send(request).await?)
    }
}

/// Whether the ETag of an answer is this MD5; also when it is no MD5, because the store encrypts with a key of its own.
fn confirms(headers: &HeaderMap, md5: Md5Digest) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let encrypted = text(ENCRYPTION).is_some_and(|how| how != "AES256") || headers.contains_key(CUSTOMER_KEY);
    let etag = text(header::ETAG).unwrap_or_default().trim_matches('"');
    encrypted || etag.eq_ignore_ascii_case(&hex::encode(md5.0))
}

async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(patience, work).await.map_err(|_| Fault::Silent(patience))
}

fn connection(error: impl StdError + Send + Sync + 'static) -> Fault {
    Fault::Connection(Arc::new(error))
}

/// The body's pieces, none of which may be late.
fn pieces(body: Incoming, patience: Duration) -> impl Stream<Item = opendal::Result<Buffer>> + Send + Sync {
    stream::try_unfold(body, move |mut body| async move {
        loop {
            match within(patience, body.frame()).await?.transpose().map_err(connection)? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some((Buffer::from(bytes), body)));
                    }
                }
            }
        }
    })
}

/// As much of a refusal as is worth reading; a connection that breaks meanwhile has said enough by its status.
async fn beginning(mut body: Incoming) -> String {
    let mut text = BytesMut::new();
    while text.len() < REFUSAL_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(bytes) = frame.into_data() {
            text.extend_from_slice(&bytes);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What stands in the first element of this name. S3's refusals are flat, so no parser is needed to read them.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, behind) = xml.split_once(&format!("<{name}>"))?;
    Some(behind.split_once("</")?.0)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{confirms, element};
    use crate::digest::Md5Digest;

    #[test]
    fn an_answer_confirms_the_body_by_its_etag_unless_the_store_encrypts() {
        let md5 = Md5Digest([0xab; 16]);
        let answer = |headers: &[(&'static str, &str)]| {
            let mut all = HeaderMap::new();
            headers.iter().for_each(|(name, value)| drop(all.insert(*name, value.parse().unwrap())));
            confirms(&all, md5)
        };
        let (right, wrong) = (format!("\"{}\"", "ab".repeat(16)), format!("\"{}\"", "ac".repeat(16)));
        let how = "x-amz-server-side-encryption";
        assert!(answer(&[("etag", &right)]) && answer(&[("etag", &right), (how, "AES256")]));
        assert!(!answer(&[("etag", &wrong)]) && !answer(&[]) && !answer(&[("etag", &wrong), (how, "AES256")]));
        assert!(answer(&[("etag", &wrong), (how, "aws:kms")]));
    }

    #[test]
    fn the_code_of_a_refusal_is_found_where_there_is_one() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message></Message></Error>";
        assert_eq!(element(xml, "Code"), Some("NoSuchBucket"));
        assert_eq!(element(xml, "Message"), Some(""));
        assert_eq!(element("<html>502</html>", "Code"), None);
        assert_eq!(element("<Code>cut", "Code"), None);
    }
}
