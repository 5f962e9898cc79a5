//! Subresources that have no configuration here. Clients probe them, and take the right "there is none" for an answer;
//! a 501 or a 500 makes some of them give up.

use artifactstore_registry::model::name::{FileName, ProducerName};
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketAclInput,
    GetBucketAclOutput, GetBucketCorsInput, GetBucketCorsOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, GetBucketLoggingInput,
    GetBucketLoggingOutput, GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, GetBucketReplicationInput, GetBucketReplicationOutput,
    GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, GetObjectAclInput, GetObjectAclOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    GetPublicAccessBlockInput, GetPublicAccessBlockOutput, Grant, Grantee, Owner, Payer, Permission, Type,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, faces, version};
use crate::error::Failure;

/// Finds the bucket first: a missing one is said before anything of it is.
async fn bucket<T>(gateway: &Gateway, req: &S3Request<T>, name: &str) -> Result<Owner, Failure> {
    let actor = gateway.actor(req)?;
    gateway.registry.producer_stat(&actor, &ProducerName::parse(name)?).await?;
    Ok(faces::owner(&actor.tenant))
}

macro_rules! without_configuration {
    ($($name:ident: $input:ident => $output:ident, $code:literal, $message:literal;)*) => {
        $(pub(super) async fn $name(gateway: &Gateway, req: S3Request<$input>) -> Answer<$output> {
            bucket(gateway, &req, &req.input.bucket).await?;
            Err(Failure::request(404, $code, $message))
        })*
    };
}

without_configuration! {
    policy: GetBucketPolicyInput => GetBucketPolicyOutput,
        "NoSuchBucketPolicy", "The bucket policy does not exist.";
    policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput,
        "NoSuchBucketPolicy", "The bucket policy does not exist.";
    lifecycle: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput,
        "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist.";
    cors: GetBucketCorsInput => GetBucketCorsOutput,
        "NoSuchCORSConfiguration", "The CORS configuration does not exist.";
    tagging: GetBucketTaggingInput => GetBucketTaggingOutput,
        "NoSuchTagSet", "The TagSet does not exist.";
    encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput,
        "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found.";
    object_lock: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput,
        "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket.";
    replication: GetBucketReplicationInput => GetBucketReplicationOutput,
        "ReplicationConfigurationNotFoundError", "The replication configuration was not found.";
    website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
        "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration.";
    public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput,
        "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found.";
    ownership: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput,
        "OwnershipControlsNotFoundError", "The bucket ownership controls were not found.";
}

macro_rules! with_default {
    ($($name:ident: $input:ident => $output:ident;)*) => {
        $(pub(super) async fn $name(gateway: &Gateway, req: S3Request<$input>) -> Answer<$output> {
            bucket(gateway, &req, &req.input.bucket).await?;
            Ok(S3Response::new($output::default()))
        })*
    };
}

with_default! {
    logging: GetBucketLoggingInput => GetBucketLoggingOutput;
    accelerate: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput;
    notification: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput;
}

pub(super) async fn request_payment(
    gateway: &Gateway,
    req: S3Request<GetBucketRequestPaymentInput>,
) -> Answer<GetBucketRequestPaymentOutput> {
    bucket(gateway, &req, &req.input.bucket).await?;
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) }))
}

/// The owner may do everything, and nobody else anything.
fn full_control(owner: &Owner) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }]
}

pub(super) async fn bucket_acl(gateway: &Gateway, req: S3Request<GetBucketAclInput>) -> Answer<GetBucketAclOutput> {
    let owner = bucket(gateway, &req, &req.input.bucket).await?;
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(full_control(&owner)), owner: Some(owner) }))
}

/// Finds the file first: a missing bucket or key is said before anything of it is.
async fn file<T>(
    gateway: &Gateway,
    req: &S3Request<T>,
    (bucket, key): (&str, &str),
    version_id: Option<&str>,
) -> Result<Owner, Failure> {
    let actor = gateway.actor(req)?;
    gateway.registry.file_stat(&actor, &FileName::parse(bucket, key)?, version(version_id)?).await?;
    Ok(faces::owner(&actor.tenant))
}

pub(super) async fn object_acl(gateway: &Gateway, req: S3Request<GetObjectAclInput>) -> Answer<GetObjectAclOutput> {
    let input = &req.input;
    let owner = file(gateway, &req, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    let grants = Some(full_control(&owner));
    Ok(S3Response::new(GetObjectAclOutput { grants, owner: Some(owner), request_charged: None }))
}

pub(super) async fn object_tagging(
    gateway: &Gateway,
    req: S3Request<GetObjectTaggingInput>,
) -> Answer<GetObjectTaggingOutput> {
    let input = &req.input;
    file(gateway, &req, (&input.bucket, &input.key), input.version_id.as_deref()).await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: input.version_id.clone() }))
}
