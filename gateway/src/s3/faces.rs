//! How files look in answers: the headers that say what artifact-store knows, and the fields that GET and HEAD share.

use artifactstore_registry::actions::request::{FileReceipt, FoundFile};
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::name::TenantName;
use artifactstore_registry::model::row::{File, Sequence, Versioning};
use artifactstore_registry::{Error, Refusal};
use http::header::{ALLOW, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use s3s::dto;

use crate::error::Failure;

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const CONTENT_ADDRESS: HeaderName = HeaderName::from_static("x-artifact-content-address");
const SHA256: HeaderName = HeaderName::from_static("x-artifact-sha256");
const PACKAGE: HeaderName = HeaderName::from_static("x-artifact-package");
const SEQUENCE: HeaderName = HeaderName::from_static("x-artifact-sequence");
const DEDUPLICATED: HeaderName = HeaderName::from_static("x-artifact-deduplicated");

/// What a header cannot show as it is; the percent sign is among them, so that decoding gives the name back.
const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// What is known of a file, for PUT, GET and HEAD.
pub(super) fn file_headers(file: &File) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let package = utf8_percent_encode(file.package.as_str(), INVISIBLE).to_string();
    for (name, value) in [
        (CONTENT_ADDRESS, file.content_address.to_string()),
        (SHA256, file.sha256.to_hex()),
        (PACKAGE, package),
        (SEQUENCE, file.sequence.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// What is known of a file that was just ingested.
pub(super) fn receipt_headers(receipt: &FileReceipt) -> HeaderMap {
    let mut headers = file_headers(&receipt.file);
    headers.insert(DEDUPLICATED, HeaderValue::from_static(if receipt.deduplicated { "true" } else { "false" }));
    headers
}

/// The number of the event that removed a name.
pub(super) fn removal_headers(sequence: Option<u64>) -> HeaderMap {
    sequence.map(|sequence| (SEQUENCE, HeaderValue::from(sequence))).into_iter().collect()
}

/// A version as S3 names it, where versions are kept.
pub(super) fn version_id(versioning: Versioning, versioned: bool, sequence: Sequence) -> Option<String> {
    match versioning {
        Versioning::Off => None,
        Versioning::Enabled | Versioning::Suspended => Some(version_name(versioned, sequence)),
    }
}

/// A version as S3 names it: by its number, unless it was made while versioning was not on.
pub(super) fn version_name(versioned: bool, sequence: Sequence) -> String {
    if versioned { sequence.to_string() } else { "null".to_owned() }
}

/// The version that was just ingested, as S3 names it: where versioning is suspended, nobody is told of a null version.
pub(super) fn receipt_version(receipt: &FileReceipt) -> Option<String> {
    let told = receipt.versioning == Versioning::Enabled && receipt.file.versioned;
    told.then(|| receipt.file.sequence.to_string())
}

/// The version that was found, as S3 names it.
pub(super) fn found_version(found: &FoundFile) -> Option<String> {
    version_id(found.versioning, found.file.versioned, found.file.sequence)
}

/// The headers that belong to a refusal, not to its text.
pub(super) fn refusal_headers(failure: &Failure) -> Option<HeaderMap> {
    let pairs = match failure {
        Failure::Unchanged { etag, modified } => {
            vec![(ETAG, format!("\"{etag}\"")), (LAST_MODIFIED, http_date(*modified))]
        }
        Failure::Registry(Error::Refused(Refusal::FileMarked { marker, versioned })) => {
            vec![(DELETE_MARKER, "true".to_owned()), (VERSION_ID, version_name(*versioned, *marker))]
        }
        Failure::Registry(Error::Refused(Refusal::MarkerMeant { made_at })) => {
            vec![(DELETE_MARKER, "true".to_owned()), (ALLOW, "DELETE".to_owned()), (LAST_MODIFIED, http_date(*made_at))]
        }
        Failure::RangeUnsatisfiable { size_bytes } => vec![(CONTENT_RANGE, format!("bytes */{size_bytes}"))],
        _ => return None,
    };
    Some(pairs.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect())
}

/// An ETag, which is kept without quotes and sent with them.
pub(super) fn etag(text: &str) -> dto::ETag {
    dto::ETag::Strong(text.to_owned())
}

/// A moment in s3s's terms. One that no calendar has becomes 1970.
pub(super) fn time(at: Timestamp) -> dto::Timestamp {
    let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000);
    dto::Timestamp::from(moment.unwrap_or(time::OffsetDateTime::UNIX_EPOCH))
}

pub(super) fn http_date(at: Timestamp) -> String {
    let mut text = Vec::new();
    match time(at).format(dto::TimestampFormat::HttpDate, &mut text) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// The owner of everything that a tenant sees.
pub(super) fn owner(tenant: &TenantName) -> dto::Owner {
    dto::Owner { display_name: Some(tenant.to_string()), id: Some(tenant.to_string()) }
}

/// The storage class as GET and HEAD show it: AWS leaves the standard one out.
pub(super) fn storage_class(file: &File) -> Option<dto::StorageClass> {
    let class = file.attributes.headers.get(super::attributes::STORAGE_CLASS);
    class.filter(|class| *class != dto::StorageClass::STANDARD).map(|class| dto::StorageClass::from(class.to_owned()))
}

/// The output of GET or HEAD, which share these fields: the file, the bytes that were selected, and their checksum when
/// the client asks for it.
macro_rules! described {
    ($output:ident, $file:expr, $selection:expr, $with_checksum:expr) => {{
        let file: &artifactstore_registry::model::row::File = $file;
        let selection: &$crate::s3::range::Selection = $selection;
        let attributes = &file.attributes;
        let kept = |name: &str| attributes.headers.get(name).map(str::to_owned);
        let mut output = s3s::dto::$output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: kept("cache-control"),
            content_disposition: kept("content-disposition"),
            content_encoding: kept("content-encoding"),
            content_language: kept("content-language"),
            content_length: Some(selection.length()),
            content_range: selection.content_range(),
            content_type: Some(attributes.media_type.clone()),
            e_tag: Some($crate::s3::faces::etag(&file.etag)),
            expires: kept("expires"),
            last_modified: Some($crate::s3::faces::time(file.ingested_at)),
            metadata: Some(attributes.metadata.0.clone().into_iter().collect()),
            parts_count: selection.parts_count,
            storage_class: $crate::s3::faces::storage_class(file),
            tag_count: Some(attributes.tags.0.len())
                .filter(|count| *count > 0)
                .and_then(|count| i32::try_from(count).ok()),
            website_redirect_location: kept("x-amz-website-redirect-location"),
            ..Default::default()
        };
        if $with_checksum {
            match &selection.checksum {
                $crate::s3::range::Fitting::File => {
                    $crate::s3::checksum::set_file_checksum!(output, file.attributes);
                }
                $crate::s3::range::Fitting::Part(checksum) => {
                    let text = $crate::s3::checksum::text(checksum);
                    $crate::s3::checksum::set_checksum!(output, checksum.algorithm, text);
                    output.checksum_type =
                        attributes.checksum.as_ref().map(|whole| $crate::s3::checksum::kind(whole.kind));
                }
                $crate::s3::range::Fitting::None => {}
            }
        }
        output
    }};
}

pub(super) use described;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_name_survives_its_header() {
        for (name, shown) in [("run-42", "run-42"), ("a b", "a%20b"), ("é", "%C3%A9"), ("50%", "50%25"), ("", "")] {
            let text = utf8_percent_encode(name, INVISIBLE).to_string();
            assert_eq!(text, shown);
            assert_eq!(percent_encoding::percent_decode_str(&text).decode_utf8().unwrap(), name);
        }
    }

    #[test]
    fn a_304_names_the_file_that_the_client_has() {
        let at = Timestamp(784_111_777_000_000);
        let headers = refusal_headers(&Failure::Unchanged { etag: "abc".to_owned(), modified: at }).unwrap();
        assert_eq!(headers[ETAG], "\"abc\"");
        assert_eq!(headers[LAST_MODIFIED], "Sun, 06 Nov 1994 08:49:37 GMT");
        let headers = refusal_headers(&Failure::RangeUnsatisfiable { size_bytes: 7 }).unwrap();
        assert_eq!(headers[CONTENT_RANGE], "bytes */7");
    }
}
