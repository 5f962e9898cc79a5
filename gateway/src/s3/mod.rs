//! The S3 side: each operation is one call inward, said in S3's words.
//!
//! The table below is the whole list of what is spoken; an operation that is not in it is answered `NotImplemented` by
//! s3s. One file per family of operations does the work.
//!
//! Invariant: nothing here decides; what is allowed, and what happened, the registry says.

mod absent;
mod acl;
mod anonymous;
mod attributes;
mod body;
mod bucket;
mod checksum;
mod conditions;
mod configuration;
mod copy;
mod cors;
mod delete;
mod encoding;
mod faces;
mod form;
mod inventory;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod object;
mod range;
mod tagging;
mod uploads;
mod versions;

use std::sync::Arc;

use artifactstore_registry::model::access::Permission;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::TenantName;
use artifactstore_registry::model::retention::Reason;
use artifactstore_registry::model::row::VersionChoice;
use artifactstore_registry::{Error, Refusal, Registry};
use http::{Extensions, HeaderMap};
use s3s::dto;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::edge::auth::Caller;
use crate::edge::forwarded::Client;
use crate::edge::request_id::RequestId;
use crate::error::{Face, Failure, chain};
use crate::policy::{Asking, Facts, Policies, Principal, Verdict};

/// How every operation ends here, before it is put in s3s's terms.
type Answer<T> = Result<S3Response<T>, Failure>;

/// The S3 operations over a registry.
#[derive(Debug, Clone)]
pub struct Gateway {
    registry: Registry,
    region: String,
    checksum_sha256: bool,
    lifecycles: Arc<lifecycle::Remembered>,
    policies: Arc<Policies>,
}

/// What one key is to be used for, within a request that names several, or names it late.
struct Use<'a> {
    operation: &'a str,
    permission: Permission,
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
}

/// The longest `User-Agent` that is kept, in bytes.
const CLIENT_MAX_BYTES: usize = 256;

impl Gateway {
    /// Speaks S3 for this registry, and says that its producers are in this region. Whoever asks for checksums is told the
    /// SHA-256 of the whole too, if that is wanted.
    #[must_use]
    pub fn new(registry: Registry, region: impl Into<String>, checksum_sha256: bool) -> Self {
        let policies = Arc::new(Policies::new(registry.clone()));
        Self { registry, region: region.into(), checksum_sha256, lifecycles: Arc::default(), policies }
    }

    /// What the policies of buckets say.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    /// On whose behalf whoever signed may do this, with its own rights or by the policy of the bucket.
    async fn admit(&self, of: &Extensions, headers: &HeaderMap, wanted: &Use<'_>) -> Result<TenantName, Failure> {
        let caller = of.get::<Caller>().ok_or_else(unsigned)?.itself();
        let client = of.get::<Client>();
        let Use { operation, permission, bucket, key, version } = *wanted;
        let pairs = version.map(|id| ("versionId", id));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let facts = Facts { headers, query: &query, client, tags: None, of_upload: false };
        let asking = Asking { operation, bucket, key: Some(key), version, facts };
        let who = Principal(Some((&caller.tenant, &caller.access_key_id)));
        match self.policies.judge(who, &asking).await? {
            Some((_, Verdict::Denied)) => {
                Err(Failure::request(403, "AccessDenied", "The policy of the bucket denies this."))
            }
            Some((owner, Verdict::Allowed)) => Ok(owner),
            _ if caller.may(permission, bucket, key) => Ok(caller.tenant.clone()),
            _ => Err(not_permitted()),
        }
    }

    /// As [`Self::admit`], of what is done on behalf of the tenant that the whole request is on behalf of.
    async fn admit_here(&self, of: &Extensions, headers: &HeaderMap, wanted: &Use<'_>) -> Result<(), Failure> {
        let tenant = self.admit(of, headers, wanted).await?;
        let here = of.get::<Caller>().is_some_and(|caller| caller.tenant == tenant);
        if here { Ok(()) } else { Err(not_permitted()) }
    }

    /// Refuses what the request's key may not do to this key.
    fn permit<T>(&self, req: &S3Request<T>, permission: Permission, bucket: &str, key: &str) -> Result<(), Failure> {
        let caller = req.extensions.get::<Caller>().ok_or_else(unsigned)?;
        if caller.may(permission, bucket, key) { Ok(()) } else { Err(not_permitted()) }
    }

    /// Who asks; refuses a request that nobody signed, and one that means another owner's bucket.
    fn actor<T>(&self, req: &S3Request<T>) -> Result<Actor, Failure> {
        let caller = req.extensions.get::<Caller>().ok_or_else(unsigned)?;
        let owner = header(&req.headers, "x-amz-expected-bucket-owner");
        if owner.is_some_and(|owner| owner != caller.tenant.as_str()) {
            return Err(Failure::request(403, "AccessDenied", "The bucket's owner is not the expected one."));
        }
        Ok(Actor {
            tenant: caller.tenant.clone(),
            name: caller.access_key_id.clone(),
            request_id: request_id(req).to_owned(),
            client: header(&req.headers, "user-agent").map(|agent| cut(agent, CLIENT_MAX_BYTES).to_owned()),
        })
    }
}

fn not_permitted() -> Failure {
    Failure::request(403, "AccessDenied", "The access key is not allowed to do this here.")
}

fn unsigned() -> Failure {
    Failure::request(403, "AccessDenied", "Anonymous requests are not accepted: sign the request.")
}

fn request_id<T>(req: &S3Request<T>) -> &str {
    req.extensions.get::<RequestId>().map_or("", RequestId::as_str)
}

/// Whether the client spoke TLS, with the gateway or with a proxy that is believed.
fn over_tls<T>(req: &S3Request<T>) -> bool {
    req.extensions.get::<Client>().is_some_and(|client| client.tls)
}

/// A header's value as text; nothing when it is absent or not UTF-8.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

fn cut(text: &str, max_bytes: usize) -> &str {
    let end = (0..=text.len().min(max_bytes)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The version that a request names: none, `null`, or an event's number.
pub(crate) fn version(text: Option<&str>) -> Result<Option<VersionChoice>, Failure> {
    match text {
        None => Ok(None),
        Some("null") => Ok(Some(VersionChoice::Null)),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map(|number| Some(VersionChoice::Numbered(number))).map_err(|_| invalid_version())
        }
        Some(_) => Err(invalid_version()),
    }
}

fn invalid_version() -> Failure {
    Failure::request(400, "InvalidArgument", "Invalid version id specified: it is a decimal number, or `null`.")
}

/// What a client gets to see of a failure; what is the gateway's own fault is logged here, once, with its causes.
fn face(failure: &Failure, request_id: &str) -> Face {
    let face = failure.face();
    if let Failure::Registry(Error::Refused(Refusal::Kept(reasons))) = failure {
        let events: Vec<u64> = reasons.iter().map(Reason::event).collect();
        tracing::warn!(request_id, ?events, reason = %failure, "something that is kept was not let go");
    }
    if face.status.is_server_error() && face.code != "NotImplemented" {
        tracing::error!(request_id, code = face.code, cause = %chain(failure), "an S3 request failed");
    }
    face
}

/// Says a failure in S3's words.
pub(crate) fn refuse(failure: &Failure, request_id: &str) -> S3Error {
    let face = face(failure, request_id);
    let code = S3ErrorCode::from_bytes(face.code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, encoding::xml_text(&face.message).into_owned());
    error.set_status_code(face.status);
    error.set_request_id(request_id);
    if let Some(headers) = faces::refusal_headers(failure) {
        error.set_headers(headers);
    }
    error
}

pub(crate) use anonymous::Anonymous;
pub(crate) use anonymous::forbids as blocks_policies;
pub(crate) use checksum::{declared as declared_checksum, md5 as content_md5};
pub(crate) use configuration::read as read_configuration;
pub(crate) use cors::{Cors, not_enabled as cors_not_enabled};
pub(crate) use encoding::xml_text;
pub(crate) use lifecycle::lifecycle_rules;

macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident, $handler:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Gateway {
            $(async fn $name(&self, req: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                let request_id = req.extensions.get::<RequestId>().cloned();
                let said = |failure: Failure| refuse(&failure, request_id.as_ref().map_or("", RequestId::as_str));
                $handler(self, req).await.map_err(said)
            })*
        }
    };
}

operations! {
    list_buckets: ListBucketsInput => ListBucketsOutput, bucket::list;
    create_bucket: CreateBucketInput => CreateBucketOutput, bucket::create;
    head_bucket: HeadBucketInput => HeadBucketOutput, bucket::head;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket::delete;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, versions::get;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, versions::set;

    put_object: PutObjectInput => PutObjectOutput, object::put;
    post_object: PostObjectInput => PostObjectOutput, form::post;
    get_object: GetObjectInput => GetObjectOutput, object::get;
    head_object: HeadObjectInput => HeadObjectOutput, object::head;
    copy_object: CopyObjectInput => CopyObjectOutput, copy::object;
    delete_object: DeleteObjectInput => DeleteObjectOutput, delete::one;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, delete::many;
    list_objects: ListObjectsInput => ListObjectsOutput, list::v1;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list::v2;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, versions::list;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, inventory::attributes;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, tagging::get;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, tagging::set;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, tagging::remove;
    get_object_acl: GetObjectAclInput => GetObjectAclOutput, acl::object;
    put_object_acl: PutObjectAclInput => PutObjectAclOutput, acl::set_object;

    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, multipart::create;
    upload_part: UploadPartInput => UploadPartOutput, multipart::part;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, copy::part;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, multipart::complete;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, multipart::abort;
    list_parts: ListPartsInput => ListPartsOutput, uploads::parts;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, uploads::list;

    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput, acl::bucket;
    put_bucket_acl: PutBucketAclInput => PutBucketAclOutput, acl::set_bucket;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput, tagging::get_bucket;
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput, tagging::set_bucket;
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput, tagging::remove_bucket;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput, configuration::cors;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput, configuration::set_cors;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, configuration::remove_cors;
    get_bucket_lifecycle_configuration:
        GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput, lifecycle::get;
    put_bucket_lifecycle_configuration:
        PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput, lifecycle::put;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, lifecycle::remove;
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput, configuration::policy;
    put_bucket_policy: PutBucketPolicyInput => PutBucketPolicyOutput, configuration::set_policy;
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, configuration::remove_policy;
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput, configuration::access_block;
    put_public_access_block: PutPublicAccessBlockInput => PutPublicAccessBlockOutput, configuration::set_access_block;
    delete_public_access_block:
        DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, configuration::remove_access_block;
    get_bucket_ownership_controls:
        GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, configuration::ownership;
    put_bucket_ownership_controls:
        PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput, configuration::set_ownership;
    delete_bucket_ownership_controls:
        DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput, configuration::remove_ownership;
    get_bucket_notification_configuration:
        GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput,
        configuration::notification;
    put_bucket_notification_configuration:
        PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput,
        configuration::set_notification;

    get_object_lock_configuration:
        GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, lock::configuration;
    put_object_lock_configuration:
        PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput, lock::set_configuration;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput, lock::retention;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput, lock::set_retention;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, lock::legal_hold;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput, lock::set_legal_hold;

    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, anonymous::policy_status;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput, absent::encryption;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput, absent::replication;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput, absent::website;
    get_bucket_request_payment:
        GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput, absent::request_payment;
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput, absent::logging;
    get_bucket_accelerate_configuration:
        GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, absent::accelerate;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_decimal_number_or_null() {
        assert_eq!(version(None).unwrap(), None);
        assert_eq!(version(Some("null")).unwrap(), Some(VersionChoice::Null));
        assert_eq!(version(Some("42")).unwrap(), Some(VersionChoice::Numbered(42)));
        for bad in ["+42", "-1", "abc", "99999999999999999999999", ""] {
            assert_eq!(version(Some(bad)).unwrap_err().face().code, "InvalidArgument", "{bad}");
        }
    }

    #[test]
    fn a_client_name_is_cut_between_characters() {
        assert_eq!(cut("aws-cli", 256), "aws-cli");
        assert_eq!(cut("aé", 2), "a");
    }

    #[test]
    fn a_refusal_has_the_face_of_its_failure_and_the_request_id() {
        let error = refuse(&Failure::request(404, "NoSuchPublicAccessBlockConfiguration", "None.\u{1}"), "abc");
        assert_eq!(error.code().as_str(), "NoSuchPublicAccessBlockConfiguration");
        assert_eq!(error.status_code(), Some(http::StatusCode::NOT_FOUND));
        assert_eq!(error.request_id(), Some("abc"));
        assert_eq!(error.message(), Some("None.\u{fffd}."));
    }
}
