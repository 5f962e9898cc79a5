//! The service that stands before s3s: a name for every request, early refusals, whole error documents, one log line.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use artifactstore_registry::Registry;
use artifactstore_registry::backends::error::Source;
use artifactstore_registry::backends::failpoint::{Point, reach};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, HOST, ORIGIN, SERVER,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::region::Region;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::time::Instant;

use super::auth::{Door, KeyRing};
use super::host::Domain;
use super::inflow::{Gauge, Inflow};
use super::outflow::{AccessLine, Outflow};
use super::request_id::RequestId;
use super::{fault, xml};
use crate::error::{Face, Failure};
use crate::s3::{Cors, Gateway};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
const XML: HeaderValue = HeaderValue::from_static("application/xml");
const NAME: HeaderValue = HeaderValue::from_static("artifactstore");

/// How the S3 side is to behave.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The region that requests must be signed for.
    pub region: String,
    /// The domain under which buckets are hosts (`<bucket>.<domain>`); without it, all is path style.
    pub domain: Option<String>,
    /// Whether a client that asks for checksums is also told the SHA-256 of the whole.
    pub checksum_sha256: bool,
    /// How long a client may send nothing in the midst of a body.
    pub body_idle_timeout: Duration,
    /// The largest body of one PUT, in bytes.
    pub object_max_bytes: u64,
    /// The largest XML document that is read, in bytes. Ten thousand parts need about 3 MB.
    pub xml_max_bytes: usize,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            domain: None,
            checksum_sha256: true,
            body_idle_timeout: Duration::from_secs(60),
            object_max_bytes: 5 * 1024 * 1024 * 1024,
            xml_max_bytes: 8 * 1024 * 1024,
        }
    }
}

/// A region that is no name of a region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a region: it takes lower-case letters, digits and hyphens")]
pub struct InvalidRegion(pub String);

/// The S3 service over a registry, for [`serve`](super::serve::serve).
///
/// # Errors
/// When the region is none.
pub fn s3_service(registry: Registry, settings: S3Settings, keys: Arc<dyn KeyRing>) -> Result<Edge, InvalidRegion> {
    let cors = Cors::new(registry.clone());
    let gateway = Gateway::new(registry, settings.region.clone(), settings.checksum_sha256);
    over(gateway, settings, keys, Some(cors))
}

fn over(
    s3: impl s3s::S3,
    settings: S3Settings,
    keys: Arc<dyn KeyRing>,
    cors: Option<Cors>,
) -> Result<Edge, InvalidRegion> {
    let region = Region::new(settings.region.clone().into()).map_err(|_| InvalidRegion(settings.region.clone()))?;
    let mut config = S3Config::default();
    config.xml_max_body_size = settings.xml_max_bytes;
    config.put_object_max_size = Some(settings.object_max_bytes);
    config.expected_region = Some(region);
    // Forms are refused before s3s sees them; should one come through, it finds no room.
    config.post_object_max_file_size = 0;
    config.enable_sig_v2 = false;
    let mut builder = S3ServiceBuilder::new(s3);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    let door = Door::new(keys);
    builder.set_auth(door.clone());
    builder.set_access(door);
    let domain = settings.domain.as_deref().map(Domain::new);
    if let Some(domain) = &domain {
        builder.set_host(domain.clone());
    }
    let idle = settings.body_idle_timeout;
    let inner = Inner { s3: builder.build(), region: settings.region, idle, domain, cors };
    Ok(Edge { inner: Arc::new(inner) })
}

/// The S3 service. Cheap to clone; it never fails, because every failure has an answer.
#[derive(Debug, Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    s3: S3Service,
    region: String,
    idle: Duration,
    domain: Option<Domain>,
    /// What is told to browsers of other origins; nothing where there is no registry to ask.
    cors: Option<Cors>,
}

impl<B> tower::Service<Request<B>> for Edge
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Source>,
{
    type Response = Response<Outflow>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

/// What is kept of a request while s3s has it.
struct Asked {
    method: Method,
    path: String,
    length: Option<u64>,
    request_id: RequestId,
    gauge: Arc<Gauge>,
}

impl Inner {
    async fn answer<B>(&self, request: Request<B>) -> Response<Outflow>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Source>,
    {
        let (mut parts, body) = request.into_parts();
        let held_back = header(&parts.headers, &EXPECT).is_some_and(|it| it.eq_ignore_ascii_case("100-continue"));
        let (body, gauge) = Inflow::new(body, self.idle, held_back);
        let request_id = RequestId::fresh();
        parts.extensions.insert(request_id.clone());
        let asked = Asked {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            length: header(&parts.headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            request_id,
            gauge,
        };
        let mut line = asked.line();
        let told = match &self.cors {
            Some(cors) if parts.headers.contains_key(ORIGIN) || parts.method == Method::OPTIONS => {
                self.tell(cors, &parts).await
            }
            None if parts.method == Method::OPTIONS => Err(crate::s3::cors_not_enabled()),
            _ => Ok(None),
        };
        let (told, refused) = match told {
            Ok(told) => (told, refuse_early(&parts)),
            Err(failure) => (None, Some(failure)),
        };
        let response = match refused {
            Some(failure) => asked.respond(&failure.face()),
            None if parts.method == Method::OPTIONS => Response::new(s3s::Body::empty()),
            None => self.ask(Request::from_parts(parts, s3s::Body::http_body_unsync(body)), &asked).await,
        };
        let (mut head, body) = response.into_parts();
        if let Ok(id) = HeaderValue::from_str(asked.request_id.as_str()) {
            head.headers.insert(REQUEST_ID, id.clone());
            head.headers.insert(ID_2, id);
        }
        head.headers.insert(SERVER, NAME);
        head.headers.extend(told.into_iter().flatten());
        if held_back && asked.gauge.bytes() == 0 {
            // The client was never asked for its body, so that the connection ends here. It must be told, or else it
            // sends its next request into a closing connection.
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        line.status = Some(head.status);
        if matches!(asked.method, Method::PUT | Method::POST | Method::DELETE) {
            reach(Point::AnswerReady);
        }
        Response::from_parts(head, Outflow::new(body, line))
    }

    /// What the bucket's rules tell a browser of another origin; a preflight that no rule fits is refused.
    async fn tell(&self, cors: &Cors, parts: &Parts) -> Result<Option<HeaderMap>, Failure> {
        let hosted = self.domain.as_ref().and_then(|domain| domain.bucket(header(&parts.headers, &HOST)?));
        let bucket = hosted.or_else(|| parts.uri.path().split('/').nth(1).map(str::to_owned));
        if parts.method == Method::OPTIONS {
            return cors.preflight(bucket.as_deref(), &parts.headers).await.map(Some);
        }
        Ok(cors.beside(bucket.as_deref(), &parts.method, &parts.headers).await)
    }

    async fn ask(&self, request: Request<s3s::Body>, asked: &Asked) -> Response<s3s::Body> {
        match self.s3.call(request).await {
            Ok(mut response) if response.status().is_success() => {
                // s3s answers every HEAD with 200, also one for a range.
                if asked.method == Method::HEAD && response.headers().contains_key(CONTENT_RANGE) {
                    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                }
                response
            }
            Ok(response) => asked.complete(response, &self.region).await,
            Err(error) => {
                tracing::error!(request_id = %asked.request_id, %error, "s3s could not write an answer");
                asked.respond(&internal())
            }
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn internal() -> Face {
    Failure::request(500, "InternalError", "We met an internal error. Please try again.").face()
}

/// What is refused before a signature is looked at, or a byte of the body is read.
fn refuse_early(parts: &Parts) -> Option<Failure> {
    let media_type = header(&parts.headers, &CONTENT_TYPE).unwrap_or_default();
    if parts.method == Method::POST && media_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
        let message = "Uploads by HTML form are not available in this version: use PUT, or a presigned URL.";
        return Some(Failure::request(501, "NotImplemented", message));
    }
    if is_signed_by_v2(parts) {
        return Some(Failure::request(
            400,
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256: \
             signature_version = s3v4 (boto3: Config(signature_version='s3v4'); AWS CLI: aws configure set \
             default.s3.signature_version s3v4).",
        ));
    }
    None
}

fn is_signed_by_v2(parts: &Parts) -> bool {
    let in_header = header(&parts.headers, &AUTHORIZATION).is_some_and(|it| it.starts_with("AWS "));
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    in_header || (has("Signature") && has("AWSAccessKeyId"))
}

impl Asked {
    fn line(&self) -> AccessLine {
        AccessLine {
            method: self.method.clone(),
            path: self.path.clone(),
            request_id: self.request_id.clone(),
            began: Instant::now(),
            received: Arc::clone(&self.gauge),
            status: None,
            sent_bytes: 0,
            complete: false,
        }
    }

    /// An answer that s3s had no part in.
    fn respond(&self, face: &Face) -> Response<s3s::Body> {
        let head = self.method == Method::HEAD;
        let document = xml::document(face, &self.path, self.request_id.as_str());
        let body = if head { s3s::Body::empty() } else { s3s::Body::from(document) };
        let mut response = Response::new(body);
        *response.status_mut() = face.status;
        response.headers_mut().insert(CONTENT_TYPE, XML);
        response
    }

    /// Makes an error of s3s whole, and says what it could not know.
    async fn complete(&self, response: Response<s3s::Body>, region: &str) -> Response<s3s::Body> {
        let status = response.status();
        if header(response.headers(), &CONTENT_TYPE) != Some("application/xml") {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let Ok(document) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return self.respond(&internal());
        };
        let document = String::from_utf8_lossy(&document);
        if status.is_server_error() && !xml::has_request_id(&document) && xml::code(&document) == Some("InternalError")
        {
            if let Some(face) = self.broken_document() {
                return self.respond(&face);
            }
            tracing::error!(request_id = %self.request_id, document = %document, "s3s met an internal error");
        }
        if document.is_empty() {
            return Response::from_parts(head, s3s::Body::empty());
        }
        head.headers.remove(CONTENT_LENGTH);
        let whole = xml::complete(&document, &self.path, self.request_id.as_str(), region);
        Response::from_parts(head, s3s::Body::from(whole))
    }

    /// s3s reads XML documents itself, and calls whatever breaks one an internal error. It is the client's: it went
    /// quiet, or hung up, or what came is not what it signed.
    fn broken_document(&self) -> Option<Face> {
        if self.gauge.stalled() {
            return Some(fault::stalled_face());
        }
        if self.method != Method::POST || self.gauge.bytes() == 0 {
            return None;
        }
        let whole = self.length.is_none_or(|length| length == self.gauge.bytes());
        Some(if whole { fault::sha256_mismatch() } else { fault::incomplete_face() })
    }
}

#[cfg(test)]
mod tests;
