//! Whether a statement can ever be about anything. One that cannot is refused when it is set: it would protect nothing,
//! and whoever wrote it believes that it does. What was set before is not asked.
//!
//! Invariant: every action that an operation asks for is known here, with what it is done to.

use super::{ARN, Statement};
use crate::error::Failure;
use crate::policy::action::of_operation;
use crate::policy::condition::Subject;
use crate::policy::malformed;
use crate::policy::pattern::fits;

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Bucket,
    Objects,
}

/// The actions on a bucket, of which S3 has more than are carried out here.
const OF_BUCKETS: &[&str] = &[
    "CreateBucket",
    "CreateBucketMetadataTableConfiguration",
    "DeleteBucket",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAbac",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetadataTableConfiguration",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetReplicationConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListTagsForResource",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAbac",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutReplicationConfiguration",
    "TagResource",
    "UntagResource",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
];

/// The actions on objects.
const OF_OBJECTS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "InitiateReplication",
    "ListMultipartUploadParts",
    "ObjectOwnerOverrideToBucketOwner",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
];

/// The actions that list a bucket, and are asked for with a prefix.
const LISTING: [&str; 3] = ["s3:listbucket", "s3:listbucketmultipartuploads", "s3:listbucketversions"];

/// Every action, as patterns are compared with it, and what it is done to.
fn known() -> Vec<(String, Level)> {
    let named = |level| move |name: &&str| (format!("s3:{}", name.to_ascii_lowercase()), level);
    OF_BUCKETS.iter().map(named(Level::Bucket)).chain(OF_OBJECTS.iter().map(named(Level::Objects))).collect()
}

impl Statement {
    /// Refuses it unless each of its actions can be done to something that it names, and each condition be asked then.
    pub(super) fn check_reach(&self, bucket: &str) -> Result<(), Failure> {
        let known = known();
        let arn = format!("{ARN}{bucket}");
        let (of_bucket, of_objects) = (self.resources.fit(&arn), self.resources.fit_behind(&format!("{arn}/")));
        let is_named = |level: Level| match level {
            Level::Bucket => of_bucket,
            Level::Objects => of_objects,
        };
        for (pattern, written) in self.actions.patterns.iter().zip(&self.actions_as_written) {
            let meant: Vec<Level> =
                known.iter().filter(|(action, _)| fits(pattern, action)).map(|(_, level)| *level).collect();
            if meant.is_empty() {
                return Err(self.unknown(written));
            }
            if !self.actions.left_out && !meant.iter().any(|level| is_named(*level)) {
                return Err(self.out_of_reach(written, &meant, &arn));
            }
        }
        let done: Vec<&(String, Level)> = known.iter().filter(|(action, _)| self.actions.fit(action)).collect();
        if !done.iter().any(|(_, level)| is_named(*level)) {
            let meant: Vec<Level> = done.iter().map(|(_, level)| *level).collect();
            return Err(self.out_of_reach("what NotAction leaves", &meant, &arn));
        }
        for condition in &self.conditions {
            let Some((subject, key)) = condition.subject() else { continue };
            let is_asked = done.iter().filter(|(_, level)| is_named(*level)).any(|(action, level)| match subject {
                Subject::Listing => LISTING.contains(&action.as_str()),
                Subject::Objects => *level == Level::Objects,
            });
            if !is_asked {
                return Err(self.never_asked(subject, &key));
            }
        }
        Ok(())
    }

    fn unknown(&self, written: &str) -> Failure {
        let hint =
            written.get(3..).and_then(of_operation).map(|action| format!("; what it does is called s3:{action}"));
        let hint = hint.unwrap_or_default();
        malformed(format!(
            "Policy has invalid action: {} names {written}, and there is no such action{hint}.",
            self.place
        ))
    }

    fn out_of_reach(&self, written: &str, meant: &[Level], arn: &str) -> Failure {
        let instead = match (meant.contains(&Level::Bucket), meant.contains(&Level::Objects)) {
            (true, false) => format!("is done to the bucket, which is named {arn}"),
            (false, true) => format!("is done to objects, which are named {arn}/*"),
            (true, true) => format!("is done to the bucket, which is named {arn}, or to objects, named {arn}/*"),
            (false, false) => "is nothing".to_owned(),
        };
        malformed(format!(
            "Action does not apply to any resource(s) in statement: in {}, {written} {instead}.",
            self.place
        ))
    }

    fn never_asked(&self, subject: Subject, key: &str) -> Failure {
        let when = match subject {
            Subject::Listing => "a bucket is listed (s3:ListBucket, s3:ListBucketVersions)",
            Subject::Objects => "something is done to objects",
        };
        let message = "Conditions do not apply to combination of actions and resources in statement";
        malformed(format!("{message}: in {}, {key} is asked when {when}.", self.place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use artifactstore_registry::model::name::TenantName;
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::{Level, known};
    use crate::policy::action::action;
    use crate::policy::{Facts, Policy, Principal, Verdict};

    const BUCKET: &str = "arn:aws:s3:::lab";
    const OBJECTS: &str = "arn:aws:s3:::lab/*";

    /// What a statement is refused with, if it is.
    fn refusal(more: Value) -> Option<String> {
        let mut statement = json!({ "Sid": "fence", "Effect": "Deny", "Principal": "*" });
        statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let first = json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": OBJECTS });
        let policy = Policy::parse(&json!({ "Statement": [first, statement] }).to_string(), "lab").unwrap();
        let failure = policy.check_reach("lab").err()?;
        assert_eq!(failure.face().code, "MalformedPolicy");
        Some(failure.to_string())
    }

    fn of(action: Value, resource: Value) -> Option<String> {
        refusal(json!({ "Action": action, "Resource": resource }))
    }

    #[test]
    fn every_action_that_an_operation_asks_for_is_known_with_what_it_is_done_to() {
        let table = include_str!("../../s3/mod.rs").rsplit_once("operations! {").unwrap().1;
        let entries = table.split(';').filter(|entry| entry.contains("=>"));
        let operations = entries.filter_map(|entry| entry.split_once("Input")?.0.rsplit([' ', '\n']).next());
        // That is about no bucket.
        let operations: Vec<&str> = operations.filter(|name| *name != "ListBuckets").collect();
        assert!(operations.len() > 50, "{operations:?}");
        let known: BTreeMap<String, Level> = known().into_iter().collect();
        for operation in operations {
            let of_bucket = operation.contains("Bucket")
                || operation.contains("PublicAccessBlock")
                || operation.contains("LockConfiguration")
                || operation.starts_with("List") && operation != "ListParts";
            let level = if of_bucket { Level::Bucket } else { Level::Objects };
            for of_version in [false, true] {
                let asked = action(operation, of_version).to_ascii_lowercase();
                assert_eq!(known.get(&asked), Some(&level), "{operation} asks for {asked}");
            }
        }
        for asked in ["PutObjectTagging", "PutObjectRetention", "PutObjectLegalHold", "BypassGovernanceRetention"] {
            assert_eq!(known.get(&format!("s3:{}", asked.to_ascii_lowercase())), Some(&Level::Objects), "{asked}");
        }
    }

    #[test]
    fn an_action_that_there_is_not_is_refused_with_the_name_that_was_meant() {
        let said = of(json!(["s3:GetObject", "s3:ListObjects"]), json!([BUCKET, OBJECTS])).unwrap();
        for part in ["invalid action", "statement 2", "fence", "s3:ListObjects", "s3:ListBucket"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(of(json!("s3:UploadPart"), json!(OBJECTS)).unwrap().contains("called s3:PutObject."));
        assert!(of(json!("s3:Frobnicate*"), json!("*")).unwrap().contains("no such action."));
        let left = refusal(json!({ "NotAction": "s3:ListObjects", "Resource": "*" })).unwrap();
        assert!(left.contains("called s3:ListBucket."), "{left}");
    }

    #[test]
    fn an_action_that_is_done_to_nothing_that_is_named_is_refused() {
        for (action, resource, instead) in [
            (
                json!("s3:ListBucket"),
                json!(OBJECTS),
                "s3:ListBucket is done to the bucket, which is named arn:aws:s3:::lab.",
            ),
            (
                json!("S3:getobject"),
                json!(BUCKET),
                "S3:getobject is done to objects, which are named arn:aws:s3:::lab/*.",
            ),
            (json!(["s3:GetObject", "s3:GetBucket*"]), json!(OBJECTS), "s3:GetBucket* is done to the bucket"),
            (json!("s3:DeleteObject"), json!("arn:aws:s3:::lab/"), "is done to objects"),
            (json!("s3:*"), json!("arn:aws:s3:::lab/"), "or to objects"),
        ] {
            let said = of(action.clone(), resource).unwrap_or_else(|| panic!("{action} is taken"));
            assert!(
                said.contains("Action does not apply to any resource(s) in statement") && said.contains(instead),
                "{said}"
            );
        }
        let bucket_only = json!({ "Action": "s3:GetObject", "NotResource": OBJECTS });
        assert!(refusal(bucket_only).unwrap().contains("is done to objects"));
        let nothing = json!({ "NotAction": "s3:*", "Resource": "*" });
        assert!(refusal(nothing).unwrap().contains("what NotAction leaves is nothing"));
    }

    #[test]
    fn what_fits_somewhere_is_taken() {
        for (action, resource) in [
            (json!("*"), json!(BUCKET)),
            (json!("s3:*"), json!(OBJECTS)),
            (json!("s3:Get*"), json!(BUCKET)),
            (json!("s3:List*"), json!(OBJECTS)),
            (json!(["s3:GetObject", "s3:ListBucket"]), json!([BUCKET, OBJECTS])),
            (json!("s3:ListBucket"), json!("arn:aws:s3:::l*")),
            (json!("s3:GetObject"), json!("arn:aws:s3:::l*")),
            (json!("s3:GetObject"), json!([BUCKET, "arn:aws:s3:::lab/one"])),
            (json!("s3:RestoreObject"), json!(OBJECTS)),
        ] {
            assert_eq!(of(action.clone(), resource), None, "{action}");
        }
        for statement in [
            json!({ "NotAction": "s3:GetObject", "Resource": OBJECTS }),
            json!({ "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::lab/free/*" }),
            json!({ "Action": "s3:ListBucket", "NotResource": OBJECTS }),
        ] {
            assert_eq!(refusal(statement.clone()), None, "{statement}");
        }
    }

    #[test]
    fn what_was_kept_before_is_still_carried_out() {
        let useless = json!({ "Effect": "Deny", "Principal": "*", "Action": ["s3:ListObjects", "s3:ListBucket"],
            "Resource": OBJECTS });
        let useful = json!({ "Effect": "Deny", "Principal": "*", "Action": ["s3:ListObjects", "s3:GetObject"],
            "Resource": OBJECTS });
        let policy = Policy::parse(&json!({ "Statement": [useless, useful] }).to_string(), "lab").unwrap();
        assert!(policy.check_reach("lab").is_err());
        let (owner, headers) = (TenantName::parse("owner").unwrap(), HeaderMap::new());
        let facts = Facts { headers: &headers, query: "", client: None, tags: None, of_upload: false };
        let says = |action, key| policy.verdict(&owner, Principal(None), action, ("lab", key), &facts);
        assert_eq!(says("s3:GetObject", Some("a")), Verdict::Denied);
        assert_eq!(says("s3:ListBucket", None), Verdict::Silent);
    }

    #[test]
    fn a_condition_that_nothing_asks_is_refused() {
        let with = |action: &str, resource: &str, condition: Value| {
            refusal(json!({ "Action": action, "Resource": resource, "Condition": condition }))
        };
        let prefix = json!({ "StringLike": { "s3:prefix": "a/*" } });
        let said = with("s3:GetObject", OBJECTS, prefix.clone()).unwrap();
        assert!(said.contains("s3:prefix is asked when a bucket is listed") && said.contains("statement 2"), "{said}");
        assert!(with("s3:*", OBJECTS, prefix.clone()).is_some());
        let tag = json!({ "StringEquals": { "s3:ExistingObjectTag/Team": "red" } });
        assert!(with("s3:ListBucket", BUCKET, tag.clone()).unwrap().contains("s3:ExistingObjectTag/Team is asked"));
        assert!(with("s3:*", BUCKET, json!({ "Null": { "s3:x-amz-storage-class": "true" } })).is_some());
        for (action, resource, condition) in [
            ("s3:ListBucketVersions", BUCKET, prefix.clone()),
            ("s3:*", "*", prefix),
            ("s3:GetObject", OBJECTS, tag),
            ("s3:PutObject", OBJECTS, json!({ "Null": { "s3:x-amz-storage-class": "true" } })),
            ("s3:PutBucketAcl", BUCKET, json!({ "StringEquals": { "s3:x-amz-acl": "private" } })),
            ("s3:ListBucket", BUCKET, json!({ "Bool": { "aws:SecureTransport": "false" } })),
        ] {
            assert_eq!(with(action, resource, condition.clone()), None, "{action} {condition}");
        }
    }
}
