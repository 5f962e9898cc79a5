//! POST of an HTML form: a PUT whose headers are the fields of the form.
//!
//! s3s reads the fields, checks the policy and its signature, and hands the file on as it comes: nothing of it is held
//! in memory. The edge refuses forms of unknown length, because s3s would gather those first.

use std::fmt::Display;

use artifactstore_registry::model::access::Permission;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{PostObjectInput, PostObjectOutput, PutObjectInput, Timestamp, TimestampFormat};
use s3s::post_policy::{PostPolicy, PostPolicyCondition};
use s3s::{S3Request, S3Response};

use super::checksum::{self, named_checksum};
use super::{Answer, Gateway, Use, object, tagging};
use crate::edge::form_head::{FormHead, Nameless};
use crate::edge::permission::finalizes;
use crate::error::Failure;

/// What of the request's own headers is about the request, and not about the form as a body.
const KEPT: [HeaderName; 4] =
    [header::HOST, header::REFERER, header::USER_AGENT, HeaderName::from_static("x-amz-expected-bucket-owner")];

pub(super) async fn post(gateway: &Gateway, req: S3Request<PostObjectInput>) -> Answer<PostObjectOutput> {
    let mut headers = headers(&req)?;
    if let Some(head) = req.extensions.get::<FormHead>().cloned() {
        let fields = head.fields(&req.headers).await.ok_or_else(|| {
            Failure::request(400, "MalformedPOSTRequest", "The fields of the form could not be read to its file.")
        })?;
        if let Some(policy) = &fields.policy {
            // s3s read it before, and compared the form with it; it does not hand it on.
            check_policy(policy)?;
        }
        add_nameless(&mut headers, &fields)?;
    }
    let (bucket, key) = (req.input.bucket.as_str(), req.input.key.as_str());
    let wanted = Use { operation: "PostObject", permission: Permission::Write, bucket, key, version: None };
    gateway.admit_here(&req.extensions, &headers, &wanted).await?;
    if finalizes(key) {
        // The door did not know the key yet; and no policy gives this away.
        gateway.permit(&req, Permission::Finalize, bucket, key)?;
    }
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

fn check_policy(policy: &str) -> Result<(), Failure> {
    let invalid = |message| Failure::request(400, "InvalidPolicyDocument", message);
    let unreadable = || invalid("Invalid Policy: it cannot be read.");
    check_bucket(&PostPolicy::from_base64(policy).map_err(|_| unreadable())?.conditions)?;
    let bytes = STANDARD.decode(policy).map_err(|_| unreadable())?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let until = document.get("expiration").and_then(serde_json::Value::as_str).unwrap_or_default();
    // s3s takes other ways to write a moment as well.
    if until.as_bytes().get(10) == Some(&b'T') && until.ends_with('Z') {
        return Ok(());
    }
    Err(invalid("Invalid Policy: Invalid 'expiration' value: it is written as in 2026-11-21T12:00:00.000Z."))
}

/// Refuses a policy that is for no bucket in particular: whoever signed it would have opened all of them.
fn check_bucket(conditions: &[PostPolicyCondition]) -> Result<(), Failure> {
    let about_bucket = |condition: &PostPolicyCondition| match condition {
        PostPolicyCondition::Eq { field, .. } | PostPolicyCondition::StartsWith { field, .. } => field == "bucket",
        PostPolicyCondition::ContentLengthRange { .. } => false,
    };
    if conditions.iter().any(about_bucket) {
        return Ok(());
    }
    let message = "Invalid according to Policy: Extra input fields: bucket. The policy has to name the bucket.";
    Err(Failure::request(403, "AccessDenied", message))
}

/// Adds what the fields say that have another name in a form than in a header.
fn add_nameless(headers: &mut HeaderMap, fields: &Nameless) -> Result<(), Failure> {
    let tags = fields.tagging.as_deref().map(tagging::header_of).transpose()?;
    for (name, value) in [("x-amz-acl", fields.acl.as_deref()), ("x-amz-tagging", tags.as_deref())] {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_str(value).map_err(|_| not_a_value(name))?;
        if headers.insert(HeaderName::from_static(name), value).is_some() {
            let message = format!("The form says {name} twice: in a field of that name, and in one of S3's own.");
            return Err(Failure::request(400, "InvalidArgument", message));
        }
    }
    Ok(())
}

fn not_a_value(name: impl Display) -> Failure {
    Failure::request(400, "InvalidArgument", format!("The field {name} is not a header's value."))
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
    let fields: [(&'static str, Option<&str>); 17] = [
        ("cache-control", form.cache_control.as_deref()),
        ("content-disposition", form.content_disposition.as_deref()),
        ("content-encoding", form.content_encoding.as_deref()),
        ("content-language", form.content_language.as_deref()),
        ("content-type", form.content_type.as_deref()),
        ("expires", form.expires.as_deref()),
        ("x-amz-acl", form.acl.as_ref().map(|it| it.as_str())),
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
    let fields = fields.into_iter().filter_map(|(name, value)| Some((HeaderName::from_static(name), value?)));
    let checksums = named_checksum!(form).map(|(algorithm, value)| (checksum::header_name(algorithm), value));
    for (name, value) in fields.chain(checksums) {
        let value = HeaderValue::from_str(value).map_err(|_| not_a_value(&name))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_its_bucket_and_the_moment_of_its_end() {
        let code = |document: &str| check_policy(&STANDARD.encode(document)).err().map(|failure| failure.face().code);
        let policy = |until: &str, condition: &str| {
            format!(r#"{{"expiration": "{until}", "conditions": [{condition}, ["starts-with", "$key", ""]]}}"#)
        };
        let bucket = r#"{"bucket": "forms"}"#;
        assert_eq!(code(&policy("2026-11-21T12:00:00Z", bucket)), None);
        assert_eq!(code(&policy("2026-11-21T12:00:00.000Z", r#"["starts-with", "$bucket", "fo"]"#)), None);
        assert_eq!(code(&policy("2026-11-21T12:00:00Z", r#"["content-length-range", 1, 2]"#)), Some("AccessDenied"));
        assert_eq!(code(&policy("2026-11-21 12:00:00+00:00", bucket)), Some("InvalidPolicyDocument"));
        assert_eq!(code("no policy"), Some("InvalidPolicyDocument"));
    }
}
