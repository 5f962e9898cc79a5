//! What a request declares of its document (`Content-MD5`, `x-amz-checksum-*`), compared with what comes.
//!
//! s3s reads documents whole, and compares them with neither. A body that it streams is compared by the data plane.
//!
//! Invariant: no operation is given a document that is not what was declared of it.

use artifactstore_registry::backends::digest::{Checksum, Md5Digest};
use artifactstore_registry::backends::error::Declared;
use artifactstore_registry::backends::hasher::BodyHasher;
use http::{HeaderMap, Method};

use crate::error::Failure;
use crate::s3::{content_md5, declared_checksum};

/// The operations by PUT and POST that have no document: their body is a file, or there is none.
const WITHOUT: [&str; 6] =
    ["CopyObject", "CreateMultipartUpload", "PostObject", "PutObject", "UploadPart", "UploadPartCopy"];

/// A document on its way, and what was declared of it.
#[derive(Debug)]
pub(super) struct Document {
    md5: Option<Md5Digest>,
    checksum: Option<Checksum>,
    hasher: BodyHasher,
}

impl Document {
    /// The document of an operation of which something is declared; `None` when nothing is, or it has none.
    pub(super) fn declared(operation: &str, method: &Method, headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        if WITHOUT.contains(&operation) || !matches!(*method, Method::PUT | Method::POST) {
            return Ok(None);
        }
        // What is no text is no digest, either.
        let md5 = headers.get("content-md5").map(|value| content_md5(value.to_str().unwrap_or_default()));
        let md5 = md5.transpose()?;
        // A completion declares the checksum of the whole file, and not of its document.
        let checksum = if operation == "CompleteMultipartUpload" { None } else { declared_checksum(headers)? };
        if md5.is_none() && checksum.is_none() {
            return Ok(None);
        }
        let hasher = BodyHasher::new().with_checksums(checksum.iter().map(|checksum| checksum.algorithm));
        let hasher = if md5.is_some() { hasher.with_md5() } else { hasher };
        Ok(Some(Self { md5, checksum, hasher }))
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// What was declared and is not so, now that all bytes came.
    pub(super) fn mismatch(self) -> Option<Declared> {
        let digests = self.hasher.finish();
        if self.md5.is_some() && self.md5 != digests.md5 {
            return Some(Declared::Md5);
        }
        let wrong = self.checksum.filter(|declared| !digests.checksums.contains(declared))?;
        Some(Declared::Checksum(wrong.algorithm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// The digests of no bytes at all.
    const EMPTY: [(&str, &str); 2] =
        [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), ("x-amz-checksum-crc32", "AAAAAA==")];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn declared(operation: &str, pairs: &[(&'static str, &'static str)]) -> Option<Document> {
        Document::declared(operation, &Method::POST, &headers(pairs)).unwrap()
    }

    #[test]
    fn a_document_is_compared_with_each_digest_that_was_declared_of_it() {
        for pairs in [&EMPTY[..], &EMPTY[..1], &EMPTY[1..]] {
            assert_eq!(declared("DeleteObjects", pairs).unwrap().mismatch(), None);
            let mut other = declared("DeleteObjects", pairs).unwrap();
            other.update(b"other");
            assert!(other.mismatch().is_some(), "{pairs:?}");
        }
        for refused in [("content-md5", "AAAA"), ("content-md5", ""), ("x-amz-checksum-crc32", "AAAA")] {
            assert!(Document::declared("DeleteObjects", &Method::POST, &headers(&[refused])).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn what_is_no_document_or_has_nothing_declared_is_not_hashed() {
        assert!(declared("DeleteObjects", &[("x-amz-checksum-type", "COMPOSITE")]).is_none());
        assert!(declared("CompleteMultipartUpload", &EMPTY[1..]).is_none());
        assert!(declared("CompleteMultipartUpload", &EMPTY).is_some());
        assert!(declared("PutObject", &EMPTY).is_none() && declared("PostObject", &EMPTY).is_none());
        assert!(Document::declared("GetObject", &Method::GET, &headers(&EMPTY)).unwrap().is_none());
    }
}
