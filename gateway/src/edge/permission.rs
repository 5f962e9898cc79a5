//! What each operation of S3 asks of the key that signed it; asked before a byte of the body is read.
//!
//! Invariant: an operation that is not named here takes a key that may administer.

use artifactstore_registry::model::access::{Grant, Grants, Permission};
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;
use s3s::path::S3Path;

/// The key that finalizes a package when it is written.
const FINALIZE: &str = ".artifact/finalize";

/// What an operation asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing but a tenant.
    Nothing,
    /// Any permission in the producer; what else is needed is asked where it is known.
    Anything,
    /// One of these for the key of the path.
    Key(Permission),
    /// One of these for all keys with the prefix of the query.
    Prefix(&'static [Permission]),
    /// This for the whole producer.
    Producer(Permission),
}

/// Whether a write to this key finalizes a package.
pub(crate) fn finalizes(key: &str) -> bool {
    key == FINALIZE || key.ends_with("/.artifact/finalize")
}

fn need(operation: &str, path: &S3Path) -> Need {
    use Permission::{Administer, Delete, Finalize, Read, Retain, Write};
    let on_key = matches!(path, S3Path::Object { .. });
    match operation {
        "ListBuckets" => Need::Nothing,
        // Creating, deleting many and forms are asked again by their handlers, which know what they are about.
        "CreateBucket" | "DeleteObjects" | "PostObject" | "HeadBucket" => Need::Anything,
        "PutObject" => match path {
            S3Path::Object { key, .. } if finalizes(key) => Need::Key(Finalize),
            _ => Need::Key(Write),
        },
        "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "ListParts"
        | "PutObjectTagging"
        | "DeleteObjectTagging" => Need::Key(Write),
        "DeleteObject" => Need::Key(Delete),
        "PutObjectRetention" | "PutObjectLegalHold" => Need::Key(Retain),
        "ListObjects" | "ListObjectsV2" | "ListObjectVersions" => Need::Prefix(&[Read]),
        "ListMultipartUploads" => Need::Prefix(&[Read, Write]),
        "HeadObject" => Need::Key(Read),
        other if other.starts_with("GetObject") && on_key => Need::Key(Read),
        other if other.starts_with("Get") && !on_key => Need::Anything,
        _ => Need::Producer(Administer),
    }
}

/// What an operation needs that a policy can give to whoever has no right of its own: reading, listing, writing and
/// deleting. Administration, retention and finalizing stay with the keys of the tenant. `None` for these.
pub(super) fn by_policy(operation: &str, path: &S3Path, headers: &HeaderMap) -> Option<Grants> {
    use Permission::{Delete, Read, Write};
    let (bucket, key) = match path {
        S3Path::Root => return None,
        S3Path::Bucket { bucket } => (&**bucket, ""),
        S3Path::Object { bucket, key } => (&**bucket, &**key),
    };
    if bypasses(headers) {
        return None;
    }
    let permission = match (operation, need(operation, path)) {
        ("CreateBucket", _) => return None,
        // Their handlers ask for each key, once they know it.
        ("DeleteObjects" | "PostObject", _) => return Some(Grants(Vec::new())),
        (_, Need::Key(permission @ (Read | Write | Delete))) => permission,
        (_, Need::Prefix(_) | Need::Anything) => Read,
        (_, Need::Nothing | Need::Key(_) | Need::Producer(_)) => return None,
    };
    let (producer, prefix) = (bucket.to_owned(), key.to_owned());
    Some(Grants(vec![Grant { prefix, producer, permissions: [permission].into() }]))
}

fn bypasses(headers: &HeaderMap) -> bool {
    headers.get("x-amz-bypass-governance-retention").is_some_and(|value| value != "false")
}

/// The prefix of a listing; `None` when there are several, so that it is not certain which one counts.
fn prefix(uri: &Uri) -> Option<String> {
    let mut found = uri.query().unwrap_or_default().split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name)? == "prefix").then(|| decoded(value))
    });
    match (found.next(), found.next()) {
        (None, _) => Some(String::new()),
        (Some(prefix), None) => prefix,
        (Some(_), Some(_)) => None,
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Whether a request may go on with what these grants allow.
pub(super) fn permitted(grants: &Grants, operation: &str, path: &S3Path, uri: &Uri, headers: &HeaderMap) -> bool {
    let (bucket, key) = match path {
        S3Path::Root => ("", ""),
        S3Path::Bucket { bucket } => (&**bucket, ""),
        S3Path::Object { bucket, key } => (&**bucket, &**key),
    };
    if bypasses(headers) && !grants.allow(Permission::BypassGovernance, bucket, key) {
        return false;
    }
    match need(operation, path) {
        Need::Nothing => true,
        Need::Anything => grants.allow_anything(bucket),
        Need::Key(permission) | Need::Producer(permission) => grants.allow(permission, bucket, key),
        Need::Prefix(any) => {
            prefix(uri).is_some_and(|prefix| any.iter().any(|permission| grants.allow(*permission, bucket, &prefix)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifactstore_registry::model::access::Grant;

    fn writer() -> Grants {
        Grants(vec![Grant {
            prefix: "run-1/".to_owned(),
            producer: "lab".to_owned(),
            permissions: [Permission::Write].into(),
        }])
    }

    fn may(grants: &Grants, operation: &str, target: &str, query: &str) -> bool {
        let path = match target.split_once('/') {
            Some((bucket, key)) => S3Path::object(bucket, key),
            None if target.is_empty() => S3Path::root(),
            None => S3Path::bucket(target),
        };
        let uri: Uri = format!("/{target}?{query}").parse().unwrap();
        permitted(grants, operation, &path, &uri, &HeaderMap::new())
    }

    #[test]
    fn a_writer_writes_where_it_may_and_does_nothing_else() {
        let grants = writer();
        for operation in ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListParts"] {
            assert!(may(&grants, operation, "lab/run-1/a", ""), "{operation}");
            assert!(!may(&grants, operation, "lab/run-2/a", ""), "{operation}");
            assert!(!may(&grants, operation, "other/run-1/a", ""), "{operation}");
        }
        assert!(may(&grants, "CreateBucket", "lab", "") && may(&grants, "HeadBucket", "lab", ""));
        for (operation, target) in [
            ("GetObject", "lab/run-1/a"),
            ("HeadObject", "lab/run-1/a"),
            ("DeleteObject", "lab/run-1/a"),
            ("PutObject", "lab/run-1/.artifact/finalize"),
            ("ListObjectsV2", "lab"),
            ("DeleteBucket", "lab"),
            ("PutBucketVersioning", "lab"),
            ("PutObjectRetention", "lab/run-1/a"),
            ("SomethingNew", "lab/run-1/a"),
            ("HeadBucket", "other"),
        ] {
            assert!(!may(&grants, operation, target, "prefix=run-1/"), "{operation} {target}");
        }
    }

    #[test]
    fn a_listing_is_of_what_may_be_read() {
        let mut grants = writer();
        grants.0[0].permissions = [Permission::Read].into();
        assert!(may(&grants, "ListObjectsV2", "lab", "list-type=2&prefix=run-1%2Fa"));
        for query in ["", "prefix=run-", "prefix=run-2/", "prefix=run-1/&prefix=", "pre%66ix=&prefix=run-1/", "prefix"]
        {
            assert!(!may(&grants, "ListObjectsV2", "lab", query), "{query}");
        }
    }

    #[test]
    fn a_policy_gives_reading_writing_and_deleting_and_nothing_else() {
        let given = |operation: &str, key: &str| {
            let path = if key.is_empty() { S3Path::bucket("lab") } else { S3Path::object("lab", key) };
            by_policy(operation, &path, &HeaderMap::new())
        };
        let writing = given("UploadPart", "run-1/a").unwrap();
        assert!(writing.allow(Permission::Write, "lab", "run-1/a"));
        assert!(
            !writing.allow(Permission::Write, "lab", "run-1/b") && !writing.allow(Permission::Read, "lab", "run-1/a")
        );
        assert!(given("ListObjectsV2", "").unwrap().allow(Permission::Read, "lab", "x"));
        assert_eq!(given("DeleteObjects", ""), Some(Grants(Vec::new())));
        for (operation, key) in [
            ("PutObject", "run-1/.artifact/finalize"),
            ("PutObjectRetention", "run-1/a"),
            ("PutObjectLegalHold", "run-1/a"),
            ("PutBucketPolicy", ""),
            ("DeleteBucket", ""),
            ("CreateBucket", ""),
            ("SomethingNew", "run-1/a"),
        ] {
            assert_eq!(given(operation, key), None, "{operation}");
        }
        let bypass = [("x-amz-bypass-governance-retention", "true")]
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
        let bypass: HeaderMap = bypass.into_iter().collect();
        assert_eq!(by_policy("DeleteObject", &S3Path::object("lab", "a"), &bypass), None);
    }

    #[test]
    fn whoever_may_do_everything_may() {
        let grants = Grants(vec![Grant::everything()]);
        for operation in ["PutObject", "GetObject", "DeleteObject", "PutObjectRetention", "SomethingNew"] {
            assert!(may(&grants, operation, "lab/run-1/a", ""), "{operation}");
        }
        assert!(may(&Grants(Vec::new()), "ListBuckets", "", ""));
        assert!(!may(&Grants(Vec::new()), "HeadBucket", "lab", ""));
    }
}
