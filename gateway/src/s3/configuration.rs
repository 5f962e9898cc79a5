//! Configurations of buckets that are kept and given back: CORS, policy, public access block, ownership, notifications;
//! lifecycle has a file of its own. They are kept as the document that S3 has for them.
//!
//! Invariant: what would restrict access and is not enforced is refused, never kept: its owner would believe in it.

use artifactstore_registry::model::name::ProducerName;
use artifactstore_registry::model::row::Subresource;
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway};
use crate::error::Failure;
use crate::policy::Policy;

/// The largest document that is kept, in bytes.
const DOCUMENT_MAX_BYTES: usize = 256 * 1024;
/// The largest policy, as AWS has it.
const POLICY_MAX_BYTES: usize = 20 * 1024;

fn internal() -> Failure {
    Failure::request(500, "InternalError", "We met an internal error. Please try again.")
}

/// A configuration as the document that is kept.
pub(super) fn write<T: Serialize>(value: &T) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::new(&mut bytes)).map_err(|_| internal())?;
    if bytes.len() > DOCUMENT_MAX_BYTES {
        let message = format!("A configuration takes up to {DOCUMENT_MAX_BYTES} bytes.");
        return Err(Failure::request(400, "MalformedXML", message));
    }
    String::from_utf8(bytes).map_err(|_| internal())
}

/// A document that was kept, as a configuration.
pub(crate) fn read<T: for<'xml> Deserialize<'xml>>(document: &str) -> Result<T, Failure> {
    let mut deserializer = Deserializer::new(document.as_bytes());
    T::deserialize(&mut deserializer).map_err(|_| internal())
}

/// A bucket's configuration, if it has one.
pub(super) async fn find<I, T: for<'xml> Deserialize<'xml>>(
    gateway: &Gateway,
    req: &S3Request<I>,
    bucket: &str,
    name: Subresource,
) -> Result<Option<T>, Failure> {
    let actor = gateway.actor(req)?;
    let document = gateway.registry.subresource(&actor, &ProducerName::parse(bucket)?, name).await?;
    document.as_deref().map(read).transpose()
}

/// Sets a bucket's configuration, or removes it.
pub(super) async fn set<I>(
    gateway: &Gateway,
    req: &S3Request<I>,
    bucket: &str,
    name: Subresource,
    document: Option<String>,
) -> Result<(), Failure> {
    let actor = gateway.actor(req)?;
    let producer = ProducerName::parse(bucket)?;
    gateway.registry.subresource_set(&actor, &producer, name, document).await?;
    // Both say who may do what.
    if matches!(name, Subresource::Policy | Subresource::PublicAccessBlock) {
        gateway.policies.forget(&producer);
    }
    Ok(())
}

macro_rules! removals {
    ($($name:ident: $input:ident => $output:ident, $subresource:ident;)*) => {
        $(pub(super) async fn $name(gateway: &Gateway, req: S3Request<dto::$input>) -> Answer<dto::$output> {
            set(gateway, &req, &req.input.bucket, Subresource::$subresource, None).await?;
            Ok(S3Response::new(dto::$output::default()))
        })*
    };
}

removals! {
    remove_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, Cors;
    remove_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, Policy;
    remove_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, PublicAccessBlock;
    remove_ownership: DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput, Ownership;
}

pub(super) async fn cors(
    gateway: &Gateway,
    req: S3Request<dto::GetBucketCorsInput>,
) -> Answer<dto::GetBucketCorsOutput> {
    let found: Option<dto::CORSConfiguration> = find(gateway, &req, &req.input.bucket, Subresource::Cors).await?;
    let message = "The CORS configuration does not exist.";
    let found = found.ok_or_else(|| Failure::request(404, "NoSuchCORSConfiguration", message))?;
    Ok(S3Response::new(dto::GetBucketCorsOutput { cors_rules: Some(found.cors_rules) }))
}

pub(super) async fn set_cors(
    gateway: &Gateway,
    req: S3Request<dto::PutBucketCorsInput>,
) -> Answer<dto::PutBucketCorsOutput> {
    let rules = &req.input.cors_configuration.cors_rules;
    if rules.is_empty() || rules.len() > 100 {
        return Err(Failure::request(400, "MalformedXML", "A CORS configuration has 1 to 100 rules."));
    }
    for method in rules.iter().flat_map(|rule| &rule.allowed_methods) {
        if !["GET", "PUT", "HEAD", "POST", "DELETE"].contains(&method.as_str()) {
            let message = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}.");
            return Err(Failure::request(400, "InvalidRequest", message));
        }
    }
    let several = |text: &String| text.matches('*').count() > 1;
    if rules.iter().any(|rule| rule.allowed_origins.iter().any(several)) {
        let message = "AllowedOrigin can not have more than one wildcard.";
        return Err(Failure::request(400, "InvalidRequest", message));
    }
    let document = write(&req.input.cors_configuration)?;
    set(gateway, &req, &req.input.bucket, Subresource::Cors, Some(document)).await?;
    Ok(S3Response::new(dto::PutBucketCorsOutput::default()))
}

pub(super) async fn policy(
    gateway: &Gateway,
    req: S3Request<dto::GetBucketPolicyInput>,
) -> Answer<dto::GetBucketPolicyOutput> {
    let actor = gateway.actor(&req)?;
    let producer = ProducerName::parse(&req.input.bucket)?;
    let found = gateway.registry.subresource(&actor, &producer, Subresource::Policy).await?;
    let message = "The bucket policy does not exist.";
    let policy = found.ok_or_else(|| Failure::request(404, "NoSuchBucketPolicy", message))?;
    Ok(S3Response::new(dto::GetBucketPolicyOutput { policy: Some(policy) }))
}

/// A policy is carried out as it stands, each statement of it, or refused (`crate::policy`).
pub(super) async fn set_policy(
    gateway: &Gateway,
    req: S3Request<dto::PutBucketPolicyInput>,
) -> Answer<dto::PutBucketPolicyOutput> {
    let (policy, bucket) = (&req.input.policy, &req.input.bucket);
    if policy.len() > POLICY_MAX_BYTES {
        return Err(Failure::request(400, "PolicyTooLarge", "Policies take up to 20 KB."));
    }
    let block: Option<dto::PublicAccessBlockConfiguration> =
        find(gateway, &req, bucket, Subresource::PublicAccessBlock).await?;
    let barred = block.is_some_and(|block| block.block_public_policy == Some(true));
    let said = Policy::parse(policy, bucket)?;
    said.check_reach(bucket)?;
    if said.is_public() && barred {
        let message = "The bucket blocks public policies (BlockPublicPolicy), and this one is public.";
        return Err(Failure::request(403, "AccessDenied", message));
    }
    set(gateway, &req, bucket, Subresource::Policy, Some(policy.clone())).await?;
    Ok(S3Response::new(dto::PutBucketPolicyOutput::default()))
}

pub(super) async fn access_block(
    gateway: &Gateway,
    req: S3Request<dto::GetPublicAccessBlockInput>,
) -> Answer<dto::GetPublicAccessBlockOutput> {
    let found: Option<dto::PublicAccessBlockConfiguration> =
        find(gateway, &req, &req.input.bucket, Subresource::PublicAccessBlock).await?;
    let message = "The public access block configuration was not found.";
    let found = found.ok_or_else(|| Failure::request(404, "NoSuchPublicAccessBlockConfiguration", message))?;
    Ok(S3Response::new(dto::GetPublicAccessBlockOutput { public_access_block_configuration: Some(found) }))
}

/// A block against public policies, and one that restricts public buckets, holds over the producer's own setting
/// (`anonymous.rs`). Nothing is public by an ACL here, so that the others hold, too.
pub(super) async fn set_access_block(
    gateway: &Gateway,
    req: S3Request<dto::PutPublicAccessBlockInput>,
) -> Answer<dto::PutPublicAccessBlockOutput> {
    let document = write(&req.input.public_access_block_configuration)?;
    set(gateway, &req, &req.input.bucket, Subresource::PublicAccessBlock, Some(document)).await?;
    Ok(S3Response::new(dto::PutPublicAccessBlockOutput::default()))
}

pub(super) async fn ownership(
    gateway: &Gateway,
    req: S3Request<dto::GetBucketOwnershipControlsInput>,
) -> Answer<dto::GetBucketOwnershipControlsOutput> {
    let found: Option<dto::OwnershipControls> = find(gateway, &req, &req.input.bucket, Subresource::Ownership).await?;
    let message = "The bucket ownership controls were not found.";
    let found = found.ok_or_else(|| Failure::request(404, "OwnershipControlsNotFoundError", message))?;
    Ok(S3Response::new(dto::GetBucketOwnershipControlsOutput { ownership_controls: Some(found) }))
}

/// An ownership as it is kept: every file is its bucket's owner's, which is the one rule that holds.
pub(super) fn ownership_document(ownership: &dto::ObjectOwnership) -> Result<String, Failure> {
    if ownership.as_str() != dto::ObjectOwnership::BUCKET_OWNER_ENFORCED {
        let message = "Only BucketOwnerEnforced is available: there are no ACLs, and a bucket's owner owns all of it.";
        return Err(Failure::request(501, "NotImplemented", message));
    }
    let rules = vec![dto::OwnershipControlsRule { object_ownership: ownership.clone() }];
    write(&dto::OwnershipControls { rules })
}

pub(super) async fn set_ownership(
    gateway: &Gateway,
    req: S3Request<dto::PutBucketOwnershipControlsInput>,
) -> Answer<dto::PutBucketOwnershipControlsOutput> {
    let controls = &req.input.ownership_controls;
    let [rule] = controls.rules.as_slice() else {
        return Err(Failure::request(400, "MalformedXML", "Ownership controls have one rule."));
    };
    let document = ownership_document(&rule.object_ownership)?;
    set(gateway, &req, &req.input.bucket, Subresource::Ownership, Some(document)).await?;
    Ok(S3Response::new(dto::PutBucketOwnershipControlsOutput::default()))
}

pub(super) async fn notification(
    gateway: &Gateway,
    req: S3Request<dto::GetBucketNotificationConfigurationInput>,
) -> Answer<dto::GetBucketNotificationConfigurationOutput> {
    let found: Option<dto::NotificationConfiguration> =
        find(gateway, &req, &req.input.bucket, Subresource::Notification).await?;
    let found = found.unwrap_or_default();
    Ok(S3Response::new(dto::GetBucketNotificationConfigurationOutput {
        event_bridge_configuration: found.event_bridge_configuration,
        lambda_function_configurations: found.lambda_function_configurations,
        queue_configurations: found.queue_configurations,
        topic_configurations: found.topic_configurations,
    }))
}

pub(super) async fn set_notification(
    gateway: &Gateway,
    req: S3Request<dto::PutBucketNotificationConfigurationInput>,
) -> Answer<dto::PutBucketNotificationConfigurationOutput> {
    let wanted = &req.input.notification_configuration;
    // An empty one is how S3 says that there is to be none.
    let document = if *wanted == dto::NotificationConfiguration::default() { None } else { Some(write(wanted)?) };
    set(gateway, &req, &req.input.bucket, Subresource::Notification, document).await?;
    Ok(S3Response::new(dto::PutBucketNotificationConfigurationOutput::default()))
}
