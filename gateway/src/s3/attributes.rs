//! What a request says of a file besides its bytes; and the refusal of what would promise more than is kept.
//!
//! A header that asks for protection (encryption, a grant) is refused rather than dropped: a client that is
//! told "200" would believe in it.

use std::collections::HashMap;

use artifactstore_registry::model::attributes::{Attributes, MEDIA_TYPE_UNKNOWN};
use artifactstore_registry::model::cbor::TextMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::{header, tagging};
use crate::error::Failure;

/// Headers that are given back as they came. `content-encoding` is, too, but for `aws-chunked`.
const KEPT: [&str; 5] =
    ["cache-control", "content-disposition", "content-language", "expires", "x-amz-website-redirect-location"];

/// The classes that change nothing about how a file can be read. The others would make clients ask for a restore first.
const STORAGE_CLASSES: [&str; 6] =
    ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "GLACIER_IR"];

/// The header of the storage class, which is kept under this name, too.
pub(super) const STORAGE_CLASS: &str = "x-amz-storage-class";

/// AWS allows 2 KB; tools that keep file attributes in one header (s3cmd) need more.
const METADATA_MAX_BYTES: usize = 8 * 1024;

/// What the file of this request will carry.
pub(super) fn of_request(
    headers: &HeaderMap,
    metadata: Option<HashMap<String, String>>,
) -> Result<Attributes, Failure> {
    let mut kept: Vec<(String, String)> = KEPT
        .iter()
        .filter_map(|name| header(headers, name).map(|value| ((*name).to_owned(), value.to_owned())))
        .collect();
    if let Some(encoding) = header(headers, "content-encoding").and_then(without_aws_chunked) {
        kept.push(("content-encoding".to_owned(), encoding));
    }
    if let Some(class) = storage_class(headers)? {
        kept.push((STORAGE_CLASS.to_owned(), class));
    }
    let media_type = header(headers, "content-type").filter(|text| !text.is_empty()).unwrap_or(MEDIA_TYPE_UNKNOWN);
    Ok(Attributes {
        headers: kept.into_iter().collect(),
        metadata: user_metadata(metadata.unwrap_or_default())?,
        tags: tagging::of_request(headers)?,
        media_type: media_type.to_owned(),
        ..Attributes::default()
    })
}

fn user_metadata(metadata: HashMap<String, String>) -> Result<TextMap, Failure> {
    let size: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > METADATA_MAX_BYTES {
        let message =
            format!("Your metadata headers have {size} bytes, and exceed the maximum of {METADATA_MAX_BYTES}.");
        return Err(Failure::request(400, "MetadataTooLarge", message));
    }
    Ok(metadata.into_iter().collect())
}

/// `aws-chunked` is how the body travelled, not how the file is encoded.
fn without_aws_chunked(encoding: &str) -> Option<String> {
    let rest: Vec<&str> = encoding
        .split(',')
        .filter(|coding| !coding.trim().is_empty() && !coding.trim().eq_ignore_ascii_case("aws-chunked"))
        .collect();
    let rest = rest.join(",");
    (!rest.is_empty()).then(|| rest.trim().to_owned())
}

/// The storage class that a request names, if it is one that files can be read from at once.
pub(super) fn storage_class(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    match header(headers, STORAGE_CLASS) {
        None | Some("") => Ok(None),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(_) => {
            Err(Failure::request(400, "InvalidStorageClass", "The storage class you specified is not valid here."))
        }
    }
}

fn not_implemented(message: &str) -> Failure {
    Failure::request(501, "NotImplemented", message)
}

/// Refuses what a write asks for and would not get.
pub(super) fn refuse_unkept_promises(headers: &HeaderMap) -> Result<(), Failure> {
    refuse_encryption(headers)?;
    refuse_grants(headers)?;
    if headers.contains_key("x-amz-write-offset-bytes") {
        return Err(not_implemented("Objects cannot be appended to."));
    }
    Ok(())
}

/// Refuses encryption on a read: nothing is encrypted with such keys, and a client that has one must not believe that it was used.
pub(super) fn refuse_decryption(headers: &HeaderMap) -> Result<(), Failure> {
    let names =
        || headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-server-side-encryption"));
    if names().any(|name| !name.contains("-customer-")) {
        let message = "x-amz-server-side-encryption header is not supported for this operation.";
        return Err(Failure::request(400, "InvalidArgument", message));
    }
    if names().next().is_some() {
        let message = "The encryption parameters are not applicable to this object.";
        return Err(Failure::request(400, "InvalidRequest", message));
    }
    Ok(())
}

/// Refuses encryption on a write: a client that has a key must not believe that it was used.
pub(super) fn refuse_encryption(headers: &HeaderMap) -> Result<(), Failure> {
    let asks = |name: &str| {
        name.starts_with("x-amz-server-side-encryption") || name.starts_with("x-amz-copy-source-server-side-encryption")
    };
    if headers.keys().any(|name| asks(name.as_str())) {
        check_encryption(headers)?;
        return Err(not_implemented(
            "Server-side encryption on request (SSE-S3, SSE-KMS, SSE-C) is not available: nothing is encrypted with such keys here.",
        ));
    }
    Ok(())
}

/// Refuses what asks for encryption in a way that means nothing.
fn check_encryption(headers: &HeaderMap) -> Result<(), Failure> {
    let argument = |message: &str| Err(Failure::request(400, "InvalidArgument", message));
    let said = |name: &str| header(headers, &format!("x-amz-server-side-encryption{name}"));
    let own = [said("-customer-algorithm"), said("-customer-key"), said("-customer-key-md5")];
    let by_client = own.iter().any(Option::is_some);
    if by_client && own.iter().any(Option::is_none) {
        return argument("Requests with a customer's key name its algorithm, the key, and the MD5 of the key.");
    }
    if own[0].is_some_and(|algorithm| algorithm != "AES256") {
        let message = "The encryption request you specified is not valid. Supported value: AES256.";
        return Err(Failure::request(400, "InvalidEncryptionAlgorithmError", message));
    }
    let bytes = |text: Option<&str>| text.and_then(|text| STANDARD.decode(text).ok()).map(|bytes| bytes.len());
    if by_client && (bytes(own[1]), bytes(own[2])) != (Some(32), Some(16)) {
        return argument("The customer's key has 32 bytes, and its MD5 16, in base64.");
    }
    let kind = said("");
    if by_client && kind.is_some() {
        return argument("Server side encryption is asked for in one way: with a customer's key, or without.");
    }
    if kind.is_some_and(|kind| !matches!(kind, "AES256" | "aws:kms" | "aws:kms:dsse")) {
        return argument("The encryption method specified is not supported.");
    }
    if said("-aws-kms-key-id").is_some() && !kind.is_some_and(|kind| kind.starts_with("aws:kms")) {
        return argument("A key of KMS goes with the encryption aws:kms.");
    }
    Ok(())
}

/// Refuses to share: who may read what is decided by tenants, not by ACLs.
pub(super) fn refuse_grants(headers: &HeaderMap) -> Result<(), Failure> {
    let canned =
        header(headers, "x-amz-acl").is_none_or(|acl| matches!(acl, "" | "private" | "bucket-owner-full-control"));
    let grants = headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
    if canned && !grants {
        return Ok(());
    }
    let message = "The bucket does not allow ACLs other than private and bucket-owner-full-control.";
    Err(Failure::request(400, "AccessControlListNotSupported", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(key, value)| (http::HeaderName::from_static(key), value.parse().unwrap())).collect()
    }

    #[test]
    fn aws_chunked_is_not_an_encoding_of_the_file() {
        assert_eq!(without_aws_chunked("aws-chunked"), None);
        assert_eq!(without_aws_chunked("AWS-Chunked , gzip"), Some("gzip".to_owned()));
        assert_eq!(without_aws_chunked("gzip,aws-chunked,br"), Some("gzip,br".to_owned()));
        assert_eq!(without_aws_chunked(""), None);
    }

    #[test]
    fn what_describes_the_file_is_kept_and_the_rest_is_not() {
        let headers = headers(&[
            ("content-encoding", "aws-chunked"),
            ("cache-control", "no-cache"),
            ("content-type", "text/plain"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-date", "20260101T000000Z"),
        ]);
        let got = of_request(&headers, Some(HashMap::from([("mtime".to_owned(), "1.5".to_owned())]))).unwrap();
        assert_eq!(got.headers.get("content-encoding"), None);
        assert_eq!(got.headers.get("cache-control"), Some("no-cache"));
        assert_eq!(got.headers.get(STORAGE_CLASS), Some("STANDARD_IA"));
        assert_eq!(got.headers.0.len(), 2);
        assert_eq!((got.media_type.as_str(), got.metadata.get("mtime")), ("text/plain", Some("1.5")));
        assert_eq!(of_request(&HeaderMap::new(), None).unwrap(), Attributes::default());
    }

    #[test]
    fn promises_that_would_not_be_kept_are_refused() {
        for (name, value, status, code) in [
            ("x-amz-server-side-encryption", "AES256", 501, "NotImplemented"),
            ("x-amz-server-side-encryption", "aes:kms", 400, "InvalidArgument"),
            ("x-amz-server-side-encryption-customer-key", "k", 400, "InvalidArgument"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k", 400, "InvalidArgument"),
            ("x-amz-acl", "public-read", 400, "AccessControlListNotSupported"),
            ("x-amz-grant-read", "id=x", 400, "AccessControlListNotSupported"),
        ] {
            let face = refuse_unkept_promises(&headers(&[(name, value)])).unwrap_err().face();
            assert_eq!((face.status.as_u16(), face.code), (status, code), "{name}");
        }
        for (name, value) in [("x-amz-acl", "private"), ("x-amz-acl", "bucket-owner-full-control")] {
            assert!(refuse_unkept_promises(&headers(&[(name, value)])).is_ok(), "{name}: {value}");
        }
        assert_eq!(
            storage_class(&headers(&[(STORAGE_CLASS, "GLACIER")])).unwrap_err().face().code,
            "InvalidStorageClass"
        );
    }

    #[test]
    fn encryption_that_means_nothing_is_the_fault_of_the_request() {
        const ALGORITHM: (&str, &str) = ("x-amz-server-side-encryption-customer-algorithm", "AES256");
        const MD5: (&str, &str) = ("x-amz-server-side-encryption-customer-key-md5", "DWygnHRtgiJ77HCm+1rvHw==");
        let key = STANDARD.encode([7; 32]);
        let key = ("x-amz-server-side-encryption-customer-key", key.as_str());
        let code = |pairs: &[(&'static str, &str)]| refuse_encryption(&headers(pairs)).unwrap_err().face().code;
        assert_eq!(code(&[ALGORITHM, key, MD5]), "NotImplemented");
        assert_eq!(code(&[ALGORITHM, key, MD5, ("x-amz-server-side-encryption", "AES256")]), "InvalidArgument");
        assert_eq!(code(&[ALGORITHM, (key.0, "c2hvcnQ="), MD5]), "InvalidArgument");
        assert_eq!(code(&[ALGORITHM, key]), "InvalidArgument");
        assert_eq!(code(&[(ALGORITHM.0, "AES128"), key, MD5]), "InvalidEncryptionAlgorithmError");
        let kms = ("x-amz-server-side-encryption-aws-kms-key-id", "k");
        assert_eq!(code(&[("x-amz-server-side-encryption", "AES256"), kms]), "InvalidArgument");
        assert_eq!(code(&[("x-amz-server-side-encryption", "aws:kms"), kms]), "NotImplemented");
        let read =
            |pairs: &[(&'static str, &str)]| refuse_decryption(&headers(pairs)).map_err(|failure| failure.face().code);
        assert_eq!(read(&[ALGORITHM, key, MD5]), Err("InvalidRequest"));
        assert_eq!(read(&[("x-amz-server-side-encryption", "AES256")]), Err("InvalidArgument"));
        assert_eq!(read(&[("x-amz-acl", "private")]), Ok(()));
    }

    #[test]
    fn metadata_has_a_bound() {
        let big = HashMap::from([("a".to_owned(), "x".repeat(METADATA_MAX_BYTES))]);
        assert_eq!(of_request(&HeaderMap::new(), Some(big)).unwrap_err().face().code, "MetadataTooLarge");
    }
}
