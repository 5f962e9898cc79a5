//! Requests that nobody signed: what a producer's setting `anonymous_read` lets anyone have, unless its public access
//! block is against it, or what its bucket policy allows everybody; and what `GetBucketPolicyStatus` says of that.
//!
//! Invariant: without a signature nothing is changed, no version is read that has no name any more unless a policy says so,
//! and nothing at all is answered for a producer that is neither set so nor has such a policy.

use std::sync::Arc;

use artifactstore_registry::model::access::{Grant, Grants, Permission};
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{ProducerName, TenantName};
use artifactstore_registry::model::row::{AnonymousRead, Subresource};
use artifactstore_registry::{Error, Refusal, Registry};
use http::Uri;
use s3s::dto::{GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus, PublicAccessBlockConfiguration};
use s3s::path::S3Path;
use s3s::{S3Request, S3Response, S3Result};

use super::{Answer, Gateway, configuration, refuse};
use crate::edge::auth::Caller;
use crate::edge::request_id::RequestId;
use crate::error::Failure;

/// What stands in events and logs where an access key's id would.
const NAME: &str = "anonymous";

/// Answers for what anyone may read of all buckets.
#[derive(Debug, Clone)]
pub(crate) struct Anonymous {
    registry: Registry,
}

/// What an operation asks of a producer, and of which; `None` for all that needs a key.
fn asked<'a>(operation: &str, path: &'a S3Path) -> Option<(&'a str, AnonymousRead)> {
    match (operation, path) {
        ("GetObject" | "HeadObject", S3Path::Object { bucket, .. }) => Some((&**bucket, AnonymousRead::Objects)),
        ("ListObjects" | "ListObjectsV2" | "HeadBucket", S3Path::Bucket { bucket }) => {
            Some((&**bucket, AnonymousRead::List))
        }
        _ => None,
    }
}

/// What somebody is told whose file is not found: that it was erased, and why, is for those who signed.
pub(super) fn not_found(actor: &Actor, error: Error) -> Failure {
    match error {
        Error::Refused(Refusal::FileErased { by_number, .. }) if actor.name == NAME => {
            if by_number {
                Refusal::VersionMissing.into()
            } else {
                Refusal::FileMissing.into()
            }
        }
        error => error.into(),
    }
}

const fn allows(set: AnonymousRead, asked: AnonymousRead) -> bool {
    match set {
        AnonymousRead::Off => false,
        AnonymousRead::Objects => matches!(asked, AnonymousRead::Objects),
        AnonymousRead::List => true,
    }
}

/// What a policy can allow to whoever has no key.
const READING: [&str; 9] = [
    "GetBucketLocation",
    "GetObject",
    "GetObjectAttributes",
    "GetObjectTagging",
    "HeadBucket",
    "HeadObject",
    "ListObjects",
    "ListObjectsV2",
    "ListObjectVersions",
];

/// Refuses what would show more than the producer's files are now, or let a link make something else of them.
fn check_query(uri: &Uri, versions: bool) -> Result<(), Failure> {
    for (name, _) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name == "versionId" && !versions {
            let message = "Versions are not read without a signature: sign the request.";
            return Err(Failure::request(403, "AccessDenied", message));
        }
        if name.starts_with("response-") {
            let message = "Request specific response headers cannot be used for anonymous GET requests.";
            return Err(Failure::request(400, "InvalidRequest", message));
        }
    }
    Ok(())
}

/// Whether a block is against a bucket that anyone may read. The blocks of ACLs are not: no ACL lets anyone do so.
pub(crate) fn forbids(block: &PublicAccessBlockConfiguration) -> bool {
    block.restrict_public_buckets == Some(true) || block.block_public_policy == Some(true)
}

async fn is_blocked(registry: &Registry, producer: &ProducerName) -> Result<bool, Failure> {
    let document = registry.subresource_told(producer, Subresource::PublicAccessBlock).await?;
    let block = document.as_deref().map(configuration::read::<PublicAccessBlockConfiguration>).transpose()?;
    Ok(block.as_ref().is_some_and(forbids))
}

impl Anonymous {
    pub(crate) const fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Whom an unsigned request is taken for: somebody of the producer's tenant who may read that producer and do nothing
    /// else; `None` when it needs a key. If a policy allows it, its bucket's owner is `allowed_by`.
    pub(crate) async fn caller(
        &self,
        operation: &str,
        path: &S3Path,
        uri: &Uri,
        allowed_by: Option<TenantName>,
        request_id: Option<&RequestId>,
    ) -> S3Result<Option<Caller>> {
        let found = match (allowed_by, path) {
            (Some(owner), S3Path::Bucket { bucket } | S3Path::Object { bucket, .. })
                if READING.contains(&operation) =>
            {
                check_query(uri, true).map(|()| Some(reader(owner, bucket.to_string())))
            }
            _ => self.find(operation, path, uri).await,
        };
        found.map_err(|failure| refuse(&failure, request_id.map_or("", RequestId::as_str)))
    }

    async fn find(&self, operation: &str, path: &S3Path, uri: &Uri) -> Result<Option<Caller>, Failure> {
        let Some((bucket, asked)) = asked(operation, path) else { return Ok(None) };
        let Ok(producer) = ProducerName::parse(bucket) else { return Ok(None) };
        let open = self.registry.producer_open(&producer).await?;
        let Some((tenant, _)) = open.filter(|(_, set)| allows(*set, asked)) else { return Ok(None) };
        if is_blocked(&self.registry, &producer).await? {
            return Ok(None);
        }
        check_query(uri, false)?;
        Ok(Some(reader(tenant, producer.to_string())))
    }
}

/// Somebody of a tenant who may read one producer.
fn reader(tenant: TenantName, producer: String) -> Caller {
    let reading = Grant { prefix: String::new(), producer, permissions: [Permission::Read].into() };
    Caller::new(tenant, NAME.to_owned(), Some(Arc::new(Grants(vec![reading]))))
}

/// Whether anyone may do something in the bucket, by the producer's setting or by its policy.
pub(super) async fn policy_status(
    gateway: &Gateway,
    req: S3Request<GetBucketPolicyStatusInput>,
) -> Answer<GetBucketPolicyStatusOutput> {
    let actor = gateway.actor(&req)?;
    let name = ProducerName::parse(&req.input.bucket)?;
    let producer = gateway.registry.producer_stat(&actor, &name).await?;
    let open = !producer.settings.anonymous_read.is_off();
    let by_policy = gateway.policies.of(name.as_str()).await?.is_some_and(|bucket| bucket.is_public());
    let is_public = by_policy || (open && !is_blocked(&gateway.registry, &name).await?);
    let status = PolicyStatus { is_public: Some(is_public) };
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(status) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_can_be_asked_for_without_a_key() {
        let (object, bucket) = (S3Path::object("lab", "run-1/a"), S3Path::bucket("lab"));
        assert_eq!(asked("GetObject", &object), Some(("lab", AnonymousRead::Objects)));
        assert_eq!(asked("ListObjectsV2", &bucket), Some(("lab", AnonymousRead::List)));
        for operation in
            ["PutObject", "DeleteObject", "GetObjectTagging", "GetObjectAttributes", "CopyObject", "UploadPart"]
        {
            assert_eq!(asked(operation, &object), None, "{operation}");
        }
        for operation in ["ListObjectVersions", "ListMultipartUploads", "GetBucketPolicy", "PostObject", "CreateBucket"]
        {
            assert_eq!(asked(operation, &bucket), None, "{operation}");
        }
        assert_eq!(asked("ListBuckets", &S3Path::root()), None);
    }

    #[test]
    fn why_a_file_was_erased_is_told_to_those_who_signed() {
        let told = |name: &str, by_number| {
            let tenant = artifactstore_registry::model::name::TenantName::parse("default").unwrap();
            let actor = Actor { tenant, name: name.to_owned(), request_id: String::new(), client: None };
            let (event, at) = (7, artifactstore_registry::clock::Timestamp(0));
            let erased = Refusal::FileErased { event, at, reason: "a name in it".to_owned(), by_number };
            not_found(&actor, Error::Refused(erased)).face()
        };
        assert!(told("AKIA1", false).message.contains("a name in it"));
        for by_number in [false, true] {
            let missing = if by_number { Refusal::VersionMissing } else { Refusal::FileMissing };
            assert_eq!(told(NAME, by_number), Failure::from(missing).face());
        }
    }

    #[test]
    fn a_setting_allows_what_it_says() {
        use AnonymousRead::{List, Objects, Off};
        assert!(!allows(Off, Objects) && !allows(Off, List));
        assert!(allows(Objects, Objects) && !allows(Objects, List));
        assert!(allows(List, Objects) && allows(List, List));
    }

    #[test]
    fn a_query_asks_for_no_version_and_no_other_headers() {
        let code = |query: &str| {
            let uri: Uri = format!("/lab/a?{query}").parse().unwrap();
            check_query(&uri, false).err().map(|failure| failure.face().code)
        };
        assert_eq!(code("partNumber=1&x-id=GetObject"), None);
        assert_eq!(code("version%49d=3"), Some("AccessDenied"));
        assert!(check_query(&"/lab/a?versionId=3".parse().unwrap(), true).is_ok());
        assert_eq!(code("response-content-type=text%2Fhtml"), Some("InvalidRequest"));
    }

    #[test]
    fn blocks_of_policies_are_against_it_and_blocks_of_acls_are_not() {
        let none = PublicAccessBlockConfiguration::default();
        assert!(!forbids(&none));
        assert!(!forbids(&PublicAccessBlockConfiguration {
            block_public_acls: Some(true),
            ignore_public_acls: Some(true),
            ..none.clone()
        }));
        assert!(forbids(&PublicAccessBlockConfiguration { block_public_policy: Some(true), ..none.clone() }));
        assert!(forbids(&PublicAccessBlockConfiguration { restrict_public_buckets: Some(true), ..none }));
    }
}
