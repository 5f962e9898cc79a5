//! PUT, GET and HEAD of objects, which are files.

use artifactstore_registry::actions::request::{FileUpload, FoundFile};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::FileName;
use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
    HeaderValue,
};
use s3s::dto::{
    ChecksumMode, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput, PutObjectOutput,
    Timestamp, TimestampFormat,
};
use s3s::{S3Request, S3Response};

use super::body::{self, Incoming};
use super::checksum::{add_sha256, set_file_checksum};
use super::conditions::{self, ReadCondition};
use super::faces::{self, described};
use super::{Answer, Gateway, anonymous, attributes, lifecycle, lock, range, request_id, version};
use crate::error::Failure;

pub(super) async fn put(gateway: &Gateway, mut req: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
    let actor = gateway.actor(&req)?;
    let name = FileName::parse(&req.input.bucket, &req.input.key)?;
    attributes::refuse_unkept_promises(&req.headers)?;
    let attributes = attributes::of_request(&req.headers, req.input.metadata.take())?;
    let retention = lock::of_request(&req.headers)?;
    lock::permit(gateway, &req, &name, &retention, Some(&attributes.tags))?;
    lock::check_declared(&retention, &req.headers)?;
    let condition = conditions::of_ingest(&req, &name);
    let blob = req.input.body.take();
    let declared = Incoming {
        blob,
        content_length: req.input.content_length,
        content_md5: req.input.content_md5.as_deref(),
        algorithm: req.input.checksum_algorithm.as_ref(),
    };
    let (body, hints) = body::incoming(&req, declared)?;
    let upload = FileUpload { name, body, hints, attributes, retention, condition };
    let receipt = gateway.registry.file_ingest(&actor, upload).await?;
    let mut output = PutObjectOutput { e_tag: Some(faces::etag(&receipt.file.etag)), ..PutObjectOutput::default() };
    set_file_checksum!(output, receipt.file.attributes);
    output.version_id = faces::receipt_version(&receipt);
    output.expiration = lifecycle::expiration(gateway, &receipt.file).await;
    Ok(S3Response::with_headers(output, faces::receipt_headers(&receipt)))
}

async fn find(
    gateway: &Gateway,
    actor: &Actor,
    (bucket, key): (&str, &str),
    version_id: Option<&str>,
) -> Result<FoundFile, Failure> {
    let name = FileName::parse(bucket, key)?;
    let found = gateway.registry.file_stat(actor, &name, version(version_id)?).await;
    found.map_err(|error| anonymous::not_found(actor, error))
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str().eq_ignore_ascii_case(ChecksumMode::ENABLED))
}

macro_rules! show_lock {
    ($output:ident, $shown:expr) => {{
        let shown = $shown;
        $output.object_lock_mode = shown.mode;
        $output.object_lock_retain_until_date = shown.retain_until;
        $output.object_lock_legal_hold_status = shown.legal_hold;
    }};
}

pub(super) async fn get(gateway: &Gateway, req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
    let actor = gateway.actor(&req)?;
    attributes::refuse_decryption(&req.headers)?;
    let input = &req.input;
    let found = find(gateway, &actor, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    let file = &found.file;
    let (modified, unmodified) = (input.if_modified_since.as_ref(), input.if_unmodified_since.as_ref());
    ReadCondition::of_read(&req.headers, modified, unmodified).check_read(file)?;
    let selection = range::select(input.range.as_ref(), input.part_number, file.size_bytes, &file.attributes.parts)?;
    let with_checksum = wants_checksum(input.checksum_mode.as_ref());
    let mut output = described!(GetObjectOutput, file, &selection, with_checksum);
    if with_checksum && gateway.checksum_sha256 {
        add_sha256!(output, file, &selection);
    }
    output.version_id = faces::found_version(&found);
    output.expiration = lifecycle::expiration(gateway, file).await;
    show_lock!(output, lock::shown(gateway, &found).await?);
    let bytes = gateway.registry.file_read(&found, selection.byte_range()).await;
    let bytes = bytes.map_err(|error| anonymous::not_found(&actor, error))?;
    output.body = Some(body::outgoing(bytes, request_id(&req).to_owned()));
    Ok(S3Response::with_headers(output, faces::file_headers(file)))
}

/// As GET, without the body. s3s answers 200 whatever the output says; the edge makes it 206 when there is a range.
pub(super) async fn head(gateway: &Gateway, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
    let actor = gateway.actor(&req)?;
    attributes::refuse_decryption(&req.headers)?;
    let input = &req.input;
    let found = find(gateway, &actor, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    let file = &found.file;
    let (modified, unmodified) = (input.if_modified_since.as_ref(), input.if_unmodified_since.as_ref());
    ReadCondition::of_read(&req.headers, modified, unmodified).check_read(file)?;
    let selection = range::select(input.range.as_ref(), input.part_number, file.size_bytes, &file.attributes.parts)?;
    let with_checksum = wants_checksum(input.checksum_mode.as_ref());
    let mut output = described!(HeadObjectOutput, file, &selection, with_checksum);
    if with_checksum && gateway.checksum_sha256 {
        add_sha256!(output, file, &selection);
    }
    output.version_id = faces::found_version(&found);
    output.expiration = lifecycle::expiration(gateway, file).await;
    show_lock!(output, lock::shown(gateway, &found).await?);
    let mut headers = faces::file_headers(file);
    headers.extend(overrides(input)?);
    Ok(S3Response::with_headers(output, headers))
}

/// The `response-*` parameters of a HEAD; those of a GET s3s applies itself.
fn overrides(input: &HeadObjectInput) -> Result<HeaderMap, Failure> {
    let expires = input.response_expires.as_ref().map(http_date);
    let wanted: [(HeaderName, Option<&str>); 6] = [
        (CONTENT_TYPE, input.response_content_type.as_deref()),
        (CONTENT_LANGUAGE, input.response_content_language.as_deref()),
        (EXPIRES, expires.as_deref()),
        (CACHE_CONTROL, input.response_cache_control.as_deref()),
        (CONTENT_DISPOSITION, input.response_content_disposition.as_deref()),
        (CONTENT_ENCODING, input.response_content_encoding.as_deref()),
    ];
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let Some(value) = value else { continue };
        let invalid =
            |_| Failure::request(400, "InvalidRequest", format!("The override of {name} is not a header value."));
        let value = HeaderValue::try_from(value).map_err(invalid)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn http_date(time: &Timestamp) -> String {
    let mut text = Vec::new();
    match time.format(TimestampFormat::HttpDate, &mut text) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_shows_what_the_url_asks_for() {
        let input = HeadObjectInput {
            response_content_type: Some("text/plain".to_owned()),
            response_expires: Some(Timestamp::parse(TimestampFormat::EpochSeconds, "784111777").unwrap()),
            ..HeadObjectInput::default()
        };
        let headers = overrides(&input).unwrap();
        assert_eq!(headers[CONTENT_TYPE], "text/plain");
        assert_eq!(headers[EXPIRES], "Sun, 06 Nov 1994 08:49:37 GMT");
        let bad = HeadObjectInput { response_content_type: Some("a\r\nb".to_owned()), ..HeadObjectInput::default() };
        assert!(overrides(&bad).is_err());
    }
}
