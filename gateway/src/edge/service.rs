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
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::region::Region;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::time::Instant;

use super::auth::{Door, KeyRing};
use super::form_head::{FORM_UNSIGNED, FormHead};
use super::forwarded::{self, Client, Network};
use super::host::Domain;
use super::inflow::{Gauge, Inflow};
use super::outflow::{AccessLine, Outflow};
use super::request_id::RequestId;
use super::serve::Peer;
use super::{doubt, fault, xml};
use crate::error::{Face, Failure};
use crate::s3::{Anonymous, Cors, Gateway};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
const XML: HeaderValue = HeaderValue::from_static("application/xml");
const NAME: HeaderValue = HeaderValue::from_static("artifactstore");

/// The most bytes of a request's headers, and of its query. Metadata may have 8 KiB of them.
const HEADERS_MAX_BYTES: usize = 32 * 1024;

/// The longest that a presigned URL may hold: seven days, as in S3.
pub(super) const LINK_MAX_SECONDS: u32 = 7 * 24 * 60 * 60;

/// The bounds of a form's fields, which are held in memory; its file is not.
const FORM_FIELD_MAX_BYTES: usize = 20 * 1024;
const FORM_FIELDS_MAX_BYTES: usize = 20 * 1024;
const FORM_PARTS_MAX: usize = 100;

/// The largest chunk of a body whose chunks are signed. s3s holds such a chunk until it has seen its signature, and the
/// buffer budget does not count it. Clients sign chunks of 64 or 128 KiB. A chunk without a signature is not held, so
/// that it may be as large as the body.
const SIGNED_CHUNK_MAX_BYTES: usize = 1024 * 1024;

/// How the S3 side is to behave.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The region that requests must be signed for.
    pub region: String,
    /// The domain under which buckets are hosts (`<bucket>.<domain>`); without it, all is path style.
    pub domain: Option<String>,
    /// Whether a client that asks for checksums is also told the SHA-256 of the whole.
    pub checksum_sha256: bool,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether links and forms that are signed with Signature Version 2 are taken.
    pub sigv2_presigned: bool,
    /// Whether those are taken, and requests that are signed with it in their headers.
    pub sigv2_headers: bool,
    /// How long the fields of a form may take, up to its file.
    pub form_head_timeout: Duration,
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
            trusted_proxies: Vec::new(),
            sigv2_presigned: false,
            sigv2_headers: false,
            form_head_timeout: Duration::from_secs(60),
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
    let (cors, anonymous) = (Cors::new(registry.clone()), Anonymous::new(registry.clone()));
    let gateway = Gateway::new(registry, settings.region.clone(), settings.checksum_sha256);
    let door = Door::new(keys, Some(anonymous), Some(gateway.policies()));
    over(gateway, settings, door, Some(cors))
}

fn over(s3: impl s3s::S3, settings: S3Settings, door: Door, cors: Option<Cors>) -> Result<Edge, InvalidRegion> {
    let region = Region::new(settings.region.clone().into()).map_err(|_| InvalidRegion(settings.region.clone()))?;
    let mut config = S3Config::default();
    config.xml_max_body_size = settings.xml_max_bytes;
    config.put_object_max_size = Some(settings.object_max_bytes);
    config.aws_chunked_stream_max_chunk_size = SIGNED_CHUNK_MAX_BYTES;
    config.expected_region = Some(region);
    config.post_object_max_file_size = settings.object_max_bytes;
    config.form_max_field_size = FORM_FIELD_MAX_BYTES;
    config.form_max_fields_size = FORM_FIELDS_MAX_BYTES;
    config.form_max_parts = FORM_PARTS_MAX;
    config.presigned_url_max_expires_secs = LINK_MAX_SECONDS;
    // The policy of a form says how long it holds; dates of anything else are looked at before s3s sees them.
    config.presigned_url_max_skew_time_secs = LINK_MAX_SECONDS;
    config.sig_v4_allowed_services = vec!["s3".to_owned()];
    let old = Old { links: settings.sigv2_presigned || settings.sigv2_headers, headers: settings.sigv2_headers };
    // What is not taken is refused before s3s sees it.
    config.enable_sig_v2 = old.links;
    let mut builder = S3ServiceBuilder::new(s3);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(door.clone());
    builder.set_access(door);
    let domain = settings.domain.as_deref().map(Domain::new);
    if let Some(domain) = &domain {
        builder.set_host(domain.clone());
    }
    let inner = Inner {
        s3: builder.build(),
        region: settings.region,
        idle: settings.body_idle_timeout,
        proxies: settings.trusted_proxies,
        form_head_timeout: settings.form_head_timeout,
        old,
        host_id: RequestId::fresh(),
        domain,
        cors,
    };
    Ok(Edge { inner: Arc::new(inner) })
}

/// What is taken that is signed with Signature Version 2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old {
    pub(super) links: bool,
    pub(super) headers: bool,
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
    proxies: Vec<Network>,
    form_head_timeout: Duration,
    old: Old,
    /// Which gateway of many answered: fresh for every start, and in its log.
    host_id: RequestId,
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
    uri: Uri,
    length: Option<u64>,
    request_id: RequestId,
    host_id: RequestId,
    client: Option<Client>,
    gauge: Arc<Gauge>,
    /// The beginning of a form, and the headers that it is read by.
    form: Option<(FormHead, HeaderMap)>,
}

impl Inner {
    async fn answer<B>(&self, request: Request<B>) -> Response<Outflow>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Source>,
    {
        let (mut parts, body) = request.into_parts();
        let held_back = header(&parts.headers, &EXPECT).is_some_and(|it| it.eq_ignore_ascii_case("100-continue"));
        let (mut body, gauge) = Inflow::new(body, self.idle, held_back);
        let mut form = None;
        if parts.method == Method::POST && doubt::is_form(&parts.headers) {
            let head = FormHead::new();
            parts.extensions.insert(head.clone());
            body.note_in(head.clone(), self.form_head_timeout);
            let kind = parts.headers.get(CONTENT_TYPE).map(|kind| (CONTENT_TYPE, kind.clone()));
            form = Some((head, kind.into_iter().collect()));
        }
        // The door says what the body is to be compared with, once it is known what the operation is.
        parts.extensions.insert(Arc::clone(&gauge));
        let request_id = RequestId::fresh();
        parts.extensions.insert(request_id.clone());
        let client = self.client(&mut parts);
        let asked = Asked {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            length: header(&parts.headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            request_id,
            host_id: self.host_id.clone(),
            client,
            gauge,
            form,
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
            Ok(told) => (told, refuse_early(&parts, self.old)),
            Err(failure) => (None, Some(failure)),
        };
        let response = match refused {
            Some(failure) => asked.respond(&failure.face()),
            None if parts.method == Method::OPTIONS => Response::new(s3s::Body::empty()),
            None => self.ask(Request::from_parts(parts, s3s::Body::http_body_unsync(body)), &asked).await,
        };
        let (mut head, body) = response.into_parts();
        if let Ok(id) = HeaderValue::from_str(asked.request_id.as_str()) {
            head.headers.insert(REQUEST_ID, id);
        }
        if let Ok(id) = HeaderValue::from_str(self.host_id.as_str()) {
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

    /// Who asks; a host that the client asked a trusted proxy for takes the place of the one that the proxy asked for,
    /// because it is what the client signed.
    fn client(&self, parts: &mut Parts) -> Option<Client> {
        let peer = *parts.extensions.get::<Peer>()?;
        let client = forwarded::client(peer, &parts.headers, &self.proxies);
        if let Some(host) = client.host.clone() {
            parts.headers.insert(HOST, host);
        }
        parts.extensions.insert(client.clone());
        Some(client)
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
            // s3s says back what it could not read, and XML has no way to write it.
            Err(_) if doubt::has_control_characters(&asked.uri) => {
                let message = "A value in the query has a control character, which it cannot have.";
                asked.respond(&Failure::request(400, "InvalidArgument", message).face())
            }
            Err(error) => {
                tracing::error!(request_id = %asked.request_id, %error, "s3s could not write an answer");
                asked.respond(&internal())
            }
        }
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn internal() -> Face {
    Failure::request(500, "InternalError", "We met an internal error. Please try again.").face()
}

/// What is refused before a signature is looked at, or a byte of the body is read.
fn refuse_early(parts: &Parts, old: Old) -> Option<Failure> {
    let head: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head > HEADERS_MAX_BYTES || parts.uri.query().is_some_and(|query| query.len() > HEADERS_MAX_BYTES) {
        let message = format!("The headers of a request, and its query, have {HEADERS_MAX_BYTES} bytes at most.");
        return Some(Failure::request(400, "RequestHeaderSectionTooLarge", message));
    }

    if let Some(failure) = doubt::refusal(parts, old) {
        return Some(failure);
    }
    let (in_header, in_query) = signed_by_v2(parts);
    if (in_header && !old.headers) || (in_query && !old.links) {
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

/// Whether a request is signed with Signature Version 2, in its headers and in its query.
fn signed_by_v2(parts: &Parts) -> (bool, bool) {
    let in_header = header(&parts.headers, &AUTHORIZATION).is_some_and(|it| it.starts_with("AWS "));
    let query = parts.uri.query().unwrap_or_default();
    let has = |wanted: &str| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == wanted);
    (in_header, has("Signature") && has("AWSAccessKeyId"))
}

impl Asked {
    fn line(&self) -> AccessLine {
        AccessLine {
            method: self.method.clone(),
            path: self.uri.path().to_owned(),
            request_id: self.request_id.clone(),
            host_id: self.host_id.clone(),
            client: self.client.clone(),
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
        let document = xml::document(face, self.uri.path(), self.request_id.as_str(), self.host_id.as_str());
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
        if xml::code(&document) == Some("MalformedPOSTRequest") {
            // s3s calls every form that it cannot read to its file the same.
            if self.gauge.stalled() {
                return self.respond(&fault::stalled_face());
            }
            if self.gauge.form_head_too_large() {
                return self.respond(&fault::form_head_too_large());
            }
        }
        if let Some(unmet) = xml::policy_unmet(&document) {
            // s3s compares a policy with its form also when nobody signed it.
            if let Some((head, headers)) = &self.form
                && head.fields(headers).await.is_some_and(|fields| !fields.signed)
            {
                return self.respond(&Failure::request(400, "InvalidArgument", FORM_UNSIGNED).face());
            }
            let unmet = unmet.replace("&apos;", "'");
            let message = format!("Invalid according to Policy: policy condition {unmet}");
            return self.respond(&Failure::request(403, "AccessDenied", message).face());
        }
        if document.is_empty() {
            return Response::from_parts(head, s3s::Body::empty());
        }
        head.headers.remove(CONTENT_LENGTH);
        let whole =
            xml::complete(&document, self.uri.path(), (self.request_id.as_str(), self.host_id.as_str()), region);
        Response::from_parts(head, s3s::Body::from(whole))
    }

    /// s3s reads XML documents itself, and calls whatever breaks one an internal error. It is the client's: it went
    /// quiet, or hung up, or what came is not what it declared or signed.
    fn broken_document(&self) -> Option<Face> {
        if self.gauge.stalled() {
            return Some(fault::stalled_face());
        }
        if let Some(declared) = self.gauge.mismatch() {
            return Some(fault::digest_mismatch(declared));
        }
        if !matches!(self.method, Method::POST | Method::PUT) || self.gauge.bytes() == 0 {
            return None;
        }
        let whole = self.length.is_none_or(|length| length == self.gauge.bytes());
        Some(if whole { fault::sha256_mismatch() } else { fault::incomplete_face() })
    }
}

#[cfg(test)]
mod tests;
