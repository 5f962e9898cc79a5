//! The actions of policies that an operation asks for. Most have the operation's own name.
//!
//! Invariant: an operation that is not named here asks for the action of its name, so that none asks for nothing.

use http::HeaderMap;

/// Operations whose action has another name than they have.
const NAMED: [(&str, &str); 32] = [
    ("CompleteMultipartUpload", "PutObject"),
    ("CopyObject", "PutObject"),
    ("CreateMultipartUpload", "PutObject"),
    ("DeleteBucketCors", "PutBucketCORS"),
    ("DeleteBucketEncryption", "PutEncryptionConfiguration"),
    ("DeleteBucketLifecycle", "PutLifecycleConfiguration"),
    ("DeleteBucketOwnershipControls", "PutBucketOwnershipControls"),
    ("DeleteBucketTagging", "PutBucketTagging"),
    ("DeleteObjects", "DeleteObject"),
    ("DeletePublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration"),
    ("GetBucketEncryption", "GetEncryptionConfiguration"),
    ("GetBucketLifecycleConfiguration", "GetLifecycleConfiguration"),
    ("GetBucketNotificationConfiguration", "GetBucketNotification"),
    ("GetBucketReplication", "GetReplicationConfiguration"),
    ("GetObjectLockConfiguration", "GetBucketObjectLockConfiguration"),
    ("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("HeadBucket", "ListBucket"),
    ("HeadObject", "GetObject"),
    ("ListMultipartUploads", "ListBucketMultipartUploads"),
    ("ListObjectVersions", "ListBucketVersions"),
    ("ListObjects", "ListBucket"),
    ("ListObjectsV2", "ListBucket"),
    ("ListParts", "ListMultipartUploadParts"),
    ("PostObject", "PutObject"),
    ("PutBucketEncryption", "PutEncryptionConfiguration"),
    ("PutBucketLifecycleConfiguration", "PutLifecycleConfiguration"),
    ("PutBucketNotificationConfiguration", "PutBucketNotification"),
    ("PutObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    ("PutPublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("UploadPart", "PutObject"),
    ("UploadPartCopy", "PutObject"),
];

/// Actions that have another name when a version is named.
const OF_VERSIONS: [(&str, &str); 8] = [
    ("DeleteObject", "DeleteObjectVersion"),
    ("DeleteObjectTagging", "DeleteObjectVersionTagging"),
    ("GetObject", "GetObjectVersion"),
    ("GetObjectAcl", "GetObjectVersionAcl"),
    ("GetObjectAttributes", "GetObjectVersionAttributes"),
    ("GetObjectTagging", "GetObjectVersionTagging"),
    ("PutObjectAcl", "PutObjectVersionAcl"),
    ("PutObjectTagging", "PutObjectVersionTagging"),
];

fn named<'a>(table: &[(&'static str, &'static str)], name: &'a str) -> &'a str {
    table.iter().find(|(own, _)| *own == name).map_or(name, |(_, other)| *other)
}

/// The action of an operation, with its `s3:`.
pub(super) fn action(operation: &str, of_version: bool) -> String {
    let action = named(&NAMED, operation);
    format!("s3:{}", if of_version { named(&OF_VERSIONS, action) } else { action })
}

/// The action, without its `s3:`, of what somebody took for an action and is an operation, in whatever case.
pub(super) fn of_operation(name: &str) -> Option<&'static str> {
    NAMED.iter().find(|(operation, _)| operation.eq_ignore_ascii_case(name)).map(|(_, action)| *action)
}

/// Every action that a request asks for.
pub(super) fn actions(operation: &str, of_version: bool, headers: &HeaderMap) -> Vec<String> {
    let mut actions = vec![action(operation, of_version)];
    match operation {
        "GetObjectAttributes" => actions.push(action("GetObject", of_version)),
        "CopyObject" | "CreateMultipartUpload" | "PostObject" | "PutObject"
            if headers.contains_key("x-amz-tagging") =>
        {
            actions.push("s3:PutObjectTagging".to_owned());
        }
        _ => {}
    }
    if matches!(operation, "CopyObject" | "CreateMultipartUpload" | "PostObject" | "PutObject") {
        let locks = [
            ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
            ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
        ];
        let asked = locks.into_iter().filter(|(header, _)| headers.contains_key(*header));
        actions.extend(asked.map(|(_, action)| action.to_owned()));
    }
    if headers.get("x-amz-bypass-governance-retention").is_some_and(|value| value != "false") {
        actions.push("s3:BypassGovernanceRetention".to_owned());
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_ask_for_the_actions_of_aws() {
        for (operation, of_version, expected) in [
            ("HeadObject", false, "s3:GetObject"),
            ("HeadObject", true, "s3:GetObjectVersion"),
            ("UploadPart", false, "s3:PutObject"),
            ("DeleteObject", true, "s3:DeleteObjectVersion"),
            ("ListObjectsV2", false, "s3:ListBucket"),
            ("PutBucketPolicy", false, "s3:PutBucketPolicy"),
            ("DeleteObjects", false, "s3:DeleteObject"),
            ("DeletePublicAccessBlock", false, "s3:PutBucketPublicAccessBlock"),
            ("SomethingNew", true, "s3:SomethingNew"),
        ] {
            assert_eq!(action(operation, of_version), expected);
        }
    }

    #[test]
    fn headers_can_ask_for_more() {
        let headers: HeaderMap = [("x-amz-tagging", "a=b"), ("x-amz-bypass-governance-retention", "true")]
            .into_iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .collect();
        let expected = ["s3:PutObject", "s3:PutObjectTagging", "s3:BypassGovernanceRetention"];
        assert_eq!(actions("PutObject", false, &headers), expected);
        assert_eq!(actions("GetObjectAttributes", true, &HeaderMap::new()).len(), 2);
    }
}
