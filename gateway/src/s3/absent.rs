//! Subresources that have no configuration here. Clients probe them, and take the right "there is none" for an answer;
//! a 501 or a 500 makes some of them give up.

use artifactstore_registry::model::name::ProducerName;
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, GetBucketLoggingInput, GetBucketLoggingOutput, GetBucketReplicationInput,
    GetBucketReplicationOutput, GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, GetBucketWebsiteInput,
    GetBucketWebsiteOutput, Owner, Payer,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, faces};
use crate::error::Failure;

/// Finds the bucket first: a missing one is said before anything of it is.
pub(super) async fn bucket<T>(gateway: &Gateway, req: &S3Request<T>, name: &str) -> Result<Owner, Failure> {
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
    encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput,
        "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found.";
    replication: GetBucketReplicationInput => GetBucketReplicationOutput,
        "ReplicationConfigurationNotFoundError", "The replication configuration was not found.";
    website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
        "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration.";
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
}

pub(super) async fn request_payment(
    gateway: &Gateway,
    req: S3Request<GetBucketRequestPaymentInput>,
) -> Answer<GetBucketRequestPaymentOutput> {
    bucket(gateway, &req, &req.input.bucket).await?;
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) }))
}
