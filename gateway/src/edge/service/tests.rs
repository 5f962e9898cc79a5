//! What every answer of the S3 side has, whoever wrote it.

use super::*;
use crate::edge::auth::{AccessKey, StaticKeys};
use artifactstore_registry::model::name::TenantName;
use http_body_util::Full;
use tower::ServiceExt as _;

/// An S3 without operations: s3s says `NotImplemented` to all of them.
#[derive(Debug)]
struct Nothing;

impl s3s::S3 for Nothing {}

fn edge() -> Edge {
    let key = AccessKey::new("hush", TenantName::parse("acme").unwrap());
    let keys = StaticKeys::new([("AKIA".to_owned(), key)]);
    over(Nothing, S3Settings::default(), Door::new(Arc::new(keys), None, None), None).unwrap()
}

async fn ask(request: http::request::Builder) -> (StatusCode, HeaderMap, String) {
    let request = request.header("host", "localhost:9000").body(Full::new(Bytes::new())).unwrap();
    let (head, body) = edge().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn is_whole(headers: &HeaderMap, document: &str, code: &str) {
    let id = headers[REQUEST_ID].to_str().unwrap();
    assert_eq!(id.len(), 32);
    assert!(headers[ID_2] != id && headers[ID_2].len() == 32);
    assert_eq!(xml::code(document), Some(code), "{document}");
    assert!(document.contains("<Message>") && document.contains(&format!("<RequestId>{id}</RequestId>")), "{document}");
}

#[tokio::test]
async fn every_refusal_has_a_message_and_the_request_id() {
    let get = |uri: &str| Request::get(uri.to_owned());
    let form = Request::post("/bucket").header("content-type", "multipart/form-data; boundary=x");
    for (request, status, code) in [
        (get("/"), 403, "AccessDenied"),
        (get("/bucket/key"), 403, "AccessDenied"),
        (get("/B/key"), 400, "InvalidBucketName"),
        (Request::options("/bucket"), 403, "AccessForbidden"),
        (form, 411, "MissingContentLength"),
        (get("/bucket").header("authorization", "AWS AKIA:c2lnbmF0dXJl"), 400, "InvalidRequest"),
        (get("/bucket/key?AWSAccessKeyId=AKIA&Signature=x&Expires=1"), 400, "InvalidRequest"),
    ] {
        let said = format!("{:?} {:?}", request.method_ref(), request.uri_ref());
        let (got, headers, document) = ask(request).await;
        assert_eq!(got.as_u16(), status, "{said}: {document}");
        is_whole(&headers, &document, code);
    }
}

#[tokio::test]
async fn an_old_signature_is_told_what_to_use() {
    let (_, _, document) = ask(Request::get("/b?AWSAccessKeyId=A&Signature=x&Expires=1")).await;
    assert!(document.contains("signature_version = s3v4"));
}

fn signed(key: &str, region: &str) -> http::request::Builder {
    let now = time::OffsetDateTime::from_unix_timestamp(now()).unwrap();
    let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    let date = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
    let credential = format!("{key}/{day}/{region}/s3/aws4_request");
    Request::get("/bucket/key").header("x-amz-date", date).header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").header(
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={credential},SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={}",
            "0".repeat(64)
        ),
    )
}

#[expect(clippy::disallowed_methods, reason = "s3s compares signatures with the real time")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test]
async fn a_wrong_signature_is_told_apart_from_an_unknown_key_and_a_wrong_region() {
    let (status, headers, document) = ask(signed("AKIA", "us-east-1")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    is_whole(&headers, &document, "SignatureDoesNotMatch");
    let (status, headers, document) = ask(signed("NOBODY", "us-east-1")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    is_whole(&headers, &document, "InvalidAccessKeyId");
    let (status, headers, document) = ask(signed("AKIA", "eu-west-1")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    is_whole(&headers, &document, "AuthorizationHeaderMalformed");
    assert!(document.contains("<Region>us-east-1</Region>"));
}

#[tokio::test]
async fn a_head_that_is_refused_has_an_id_and_no_body() {
    for method in [Method::HEAD, Method::OPTIONS] {
        let (status, headers, document) = ask(Request::builder().method(method.clone()).uri("/bucket/key")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(document.is_empty(), method == Method::HEAD);
        assert!(headers.contains_key(REQUEST_ID));
    }
}

#[test]
fn a_region_is_a_name() {
    let settings = S3Settings { region: "no region!".to_owned(), ..S3Settings::default() };
    assert!(over(Nothing, settings, Door::new(Arc::new(StaticKeys::default()), None, None), None).is_err());
}
