//! POST of an HTML form: a PUT whose headers are the fields of the form.
//!
//! s3s reads the fields, checks the policy and its signature, and hands the file on as it comes: nothing of it is held
//! in memory. The edge refuses forms of unknown length, because s3s would gather those first.

use artifactstore_registry::model::access::Permission;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{PostObjectInput, PostObjectOutput, PutObjectInput, Timestamp, TimestampFormat};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, object};
use crate::error::Failure;

/// What of the request's own headers is about the request, and not about the form as a body.
const KEPT: [HeaderName; 3] =
    [header::HOST, header::USER_AGENT, HeaderName::from_static("x-amz-expected-bucket-owner")];

pub(super) async fn post(gateway: &Gateway, req: S3Request<PostObjectInput>) -> Answer<PostObjectOutput> {
    gateway.permit(&req, Permission::Write, &req.input.bucket, &req.input.key)?;
    let headers = headers(&req)?;
    let mut put = req.map_input(|form| PutObjectInput {
        bucket: form.bucket,
        key: form.key,
        body: form.body,
        // An empty file has no length for s3s; here it has.
        content_length: Some(form.content_length.unwrap_or(0)),
        content_md5: form.content_md5,
        checksum_algorithm: form.checksum_algorithm,
        metadata: form.metadata,
        ..PutObjectInput::default()
    });
    put.headers = headers;
    let S3Response { output, headers, .. } = object::put(gateway, put).await?;
    Ok(S3Response::with_headers(PostObjectOutput { e_tag: output.e_tag, ..PostObjectOutput::default() }, headers))
}

fn date(at: &Timestamp) -> String {
    let mut text = Vec::new();
    match at.format(TimestampFormat::DateTime, &mut text) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// The headers that a PUT would have had.
fn headers(req: &S3Request<PostObjectInput>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for name in KEPT {
        if let Some(value) = req.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let form = &req.input;
    let retain_until = form.object_lock_retain_until_date.as_ref().map(date);
    let fields: [(&'static str, Option<&str>); 22] = [
        ("cache-control", form.cache_control.as_deref()),
        ("content-disposition", form.content_disposition.as_deref()),
        ("content-encoding", form.content_encoding.as_deref()),
        ("content-language", form.content_language.as_deref()),
        ("content-type", form.content_type.as_deref()),
        ("expires", form.expires.as_deref()),
        ("x-amz-acl", form.acl.as_ref().map(|it| it.as_str())),
        ("x-amz-checksum-crc32", form.checksum_crc32.as_deref()),
        ("x-amz-checksum-crc32c", form.checksum_crc32c.as_deref()),
        ("x-amz-checksum-crc64nvme", form.checksum_crc64nvme.as_deref()),
        ("x-amz-checksum-sha1", form.checksum_sha1.as_deref()),
        ("x-amz-checksum-sha256", form.checksum_sha256.as_deref()),
        ("x-amz-grant-full-control", form.grant_full_control.as_deref()),
        ("x-amz-grant-read", form.grant_read.as_deref()),
        ("x-amz-object-lock-legal-hold", form.object_lock_legal_hold_status.as_ref().map(|it| it.as_str())),
        ("x-amz-object-lock-mode", form.object_lock_mode.as_ref().map(|it| it.as_str())),
        ("x-amz-object-lock-retain-until-date", retain_until.as_deref()),
        ("x-amz-server-side-encryption", form.server_side_encryption.as_ref().map(|it| it.as_str())),
        ("x-amz-server-side-encryption-customer-algorithm", form.sse_customer_algorithm.as_deref()),
        ("x-amz-storage-class", form.storage_class.as_ref().map(|it| it.as_str())),
        ("x-amz-tagging", form.tagging.as_deref()),
        ("x-amz-website-redirect-location", form.website_redirect_location.as_deref()),
    ];
    for (name, value) in fields {
        let Some(value) = value else { continue };
        let invalid =
            |_| Failure::request(400, "InvalidArgument", format!("The field {name} is not a header's value."));
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(invalid)?);
    }
    Ok(headers)
}
