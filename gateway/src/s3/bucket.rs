//! Buckets, which are producers.

use artifactstore_registry::model::access::Permission;
use artifactstore_registry::model::name::ProducerName;
use artifactstore_registry::model::row::{Producer, ProducerSettings, Subresource};
use artifactstore_registry::{Error, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput,
};
use s3s::{S3Request, S3Response};

use super::{Answer, Gateway, attributes, configuration, faces, tagging};
use crate::error::Failure;

/// The most buckets of one answer, and what is taken when the client names no number.
const BUCKETS_MAX: usize = 10_000;
/// How many producers are asked for at a time.
const PAGE: usize = 1_000;

/// The region whose name `GetBucketLocation` leaves out.
const UNNAMED_REGION: &str = "us-east-1";

pub(super) async fn list(gateway: &Gateway, req: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let limit = match input.max_buckets {
        None => BUCKETS_MAX,
        Some(number) => {
            usize::try_from(number).ok().filter(|number| (1..=BUCKETS_MAX).contains(number)).ok_or_else(|| {
                Failure::request(400, "InvalidArgument", "Argument max-buckets must be an integer between 1 and 10000.")
            })?
        }
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let elsewhere = input.bucket_region.as_ref().is_some_and(|region| region.as_str() != gateway.region);
    let mut after = input.continuation_token.as_deref().map(token_name).transpose()?;
    let mut found: Vec<Producer> = Vec::new();
    // One more than is shown tells whether anything follows. The names come in order, so the walk ends behind the prefix.
    while !elsewhere && found.len() <= limit {
        let page = gateway.registry.producer_list(&actor, after.as_ref(), PAGE).await?;
        let last = page.len() < PAGE || page.last().is_some_and(|one| behind(one.name.as_str(), prefix));
        after = page.last().map(|producer| producer.name.clone());
        found.extend(page.into_iter().filter(|producer| producer.name.as_str().starts_with(prefix)));
        if last {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let token = found.last().filter(|_| more).map(|producer| URL_SAFE_NO_PAD.encode(producer.name.as_str()));
    let buckets = found.iter().map(|producer| Bucket {
        bucket_region: Some(gateway.region.clone()),
        creation_date: Some(faces::time(producer.created_at)),
        name: Some(producer.name.to_string()),
        ..Bucket::default()
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: token,
        owner: Some(faces::owner(&actor.tenant)),
        prefix: input.prefix.clone(),
    }))
}

/// Whether a name comes behind all names with this prefix.
fn behind(name: &str, prefix: &str) -> bool {
    name > prefix && !name.starts_with(prefix)
}

fn token_name(token: &str) -> Result<ProducerName, Failure> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| ProducerName::parse(&text).ok())
        .ok_or_else(|| Failure::request(400, "InvalidArgument", "The continuation token provided is incorrect."))
}

pub(super) async fn create(gateway: &Gateway, req: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
    let actor = gateway.actor(&req)?;
    let name = ProducerName::parse(&req.input.bucket)?;
    attributes::refuse_grants(&req.headers)?;
    let configuration = req.input.create_bucket_configuration.as_ref();
    if gateway.permit(&req, Permission::Administer, name.as_str(), "").is_err() {
        // Clients that may write create their bucket first, and go on when it is there.
        return Err(match gateway.registry.producer_stat(&actor, &name).await {
            Ok(_) => Refusal::ProducerOwned(name).into(),
            Err(Error::Refused(Refusal::ProducerMissing(_))) => super::not_permitted(),
            Err(other) => other.into(),
        });
    }
    let tags = configuration.and_then(|wanted| wanted.tags.clone()).filter(|tags| !tags.is_empty());
    let tags = tags.map(tagging::bucket_document).transpose()?;
    let ownership = req.input.object_ownership.as_ref().map(configuration::ownership_document).transpose()?;
    let created = match req.input.object_lock_enabled_for_bucket {
        Some(true) => gateway.registry.producer_create_locked(&actor, &name, ProducerSettings::default()).await,
        _ => gateway.registry.producer_create(&actor, &name, ProducerSettings::default()).await,
    };
    if let Err(Error::Refused(Refusal::ProducerForeign(_))) = created {
        let message = "The requested bucket name is not available: it belongs to someone else.";
        return Err(Failure::request(409, "BucketAlreadyExists", message));
    }
    created?;
    for (subresource, document) in [(Subresource::Tagging, tags), (Subresource::Ownership, ownership)] {
        if document.is_some() {
            gateway.registry.subresource_set(&actor, &name, subresource, document).await?;
        }
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")), ..CreateBucketOutput::default() }))
}

pub(super) async fn head(gateway: &Gateway, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
    let actor = gateway.actor(&req)?;
    gateway.registry.producer_stat(&actor, &ProducerName::parse(&req.input.bucket)?).await?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(gateway.region.clone()), ..HeadBucketOutput::default() }))
}

pub(super) async fn delete(gateway: &Gateway, req: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
    let actor = gateway.actor(&req)?;
    gateway.registry.producer_delete_with_uploads(&actor, &ProducerName::parse(&req.input.bucket)?).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(super) async fn location(
    gateway: &Gateway,
    req: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    let actor = gateway.actor(&req)?;
    gateway.registry.producer_stat(&actor, &ProducerName::parse(&req.input.bucket)?).await?;
    let named = (gateway.region != UNNAMED_REGION).then(|| BucketLocationConstraint::from(gateway.region.clone()));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: named }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_by_prefix_ends_behind_it() {
        assert!(behind("b-1", "a"));
        assert!(!behind("a-1", "a"));
        assert!(!behind("0-1", "a"));
        assert!(!behind("anything", ""));
    }

    #[test]
    fn a_continuation_token_is_a_name() {
        assert_eq!(token_name(&URL_SAFE_NO_PAD.encode("abc")).unwrap().as_str(), "abc");
        assert_eq!(token_name("!").unwrap_err().face().code, "InvalidArgument");
    }
}
