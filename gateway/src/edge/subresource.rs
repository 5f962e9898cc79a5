//! Subresources that nobody speaks: a request that names one must not be taken for one that names none.
//!
//! s3s routes what it has a model of; `PUT key?torrent`, which no model has, would be a plain PUT of the key.
//!
//! Invariant: an operation on an object or a bucket as a whole has no subresource in its query.

/// Everything that S3 puts behind a question mark to mean another thing than the object or bucket itself.
const SUBRESOURCES: [&str; 36] = [
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// The operations on an object or a bucket as a whole.
const WHOLE: [&str; 9] = [
    "CopyObject",
    "CreateBucket",
    "DeleteBucket",
    "DeleteObject",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListObjects",
    "PutObject",
];

/// The subresource that a query names although the operation is on the whole.
pub(super) fn misread<'a>(operation: &str, query: Option<&'a str>) -> Option<&'a str> {
    if !WHOLE.contains(&operation) {
        return None;
    }
    let names = query?.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    names.into_iter().find(|name| SUBRESOURCES.contains(name))
}

#[cfg(test)]
mod tests {
    use super::misread;

    #[test]
    fn a_subresource_is_not_the_whole() {
        assert_eq!(misread("PutObject", Some("torrent=")), Some("torrent"));
        assert_eq!(misread("DeleteBucket", Some("x-id=DeleteBucket&website")), Some("website"));
        assert_eq!(misread("PutObject", Some("x-id=PutObject")), None);
        assert_eq!(misread("PutObjectTagging", Some("tagging")), None);
        assert_eq!(misread("GetObject", Some("response-content-type=acl&partNumber=1")), None);
        assert_eq!(misread("GetObject", None), None);
    }
}
