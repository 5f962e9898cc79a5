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

/// The region whose name `GetBucketLocation` leaves out, and where creating one's own bucket again succeeds.
const FIRST_REGION: &str = "us-east-1";

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
    check_labels(&name)?;
    attributes::refuse_grants(&req.headers)?;
    let configuration = req.input.create_bucket_configuration.as_ref();
    let tags = configuration.and_then(|wanted| wanted.tags.clone()).filter(|tags| !tags.is_empty());
    let tags = tags.map(tagging::bucket_document).transpose()?;
    let ownership = req.input.object_ownership.as_ref().map(configuration::ownership_document).transpose()?;
    let locked = req.input.object_lock_enabled_for_bucket == Some(true);
    // Whoever asks for more than a bucket is told that it is not what was made of one that is there.
    let again = gateway.region == FIRST_REGION && !locked && tags.is_none() && ownership.is_none();
    let there = |name: ProducerName| {
        if again { Ok(created_at(&name)) } else { Err(Failure::from(Refusal::ProducerOwned(name))) }
    };
    if gateway.permit(&req, Permission::Administer, name.as_str(), "").is_err() {
        // Clients that may write create their bucket first, and go on when it is there.
        return match gateway.registry.producer_stat(&actor, &name).await {
            Ok(_) => there(name),
            Err(Error::Refused(Refusal::ProducerMissing(_))) => Err(super::not_permitted()),
            Err(other) => Err(other.into()),
        };
    }
    let settings = ProducerSettings::default();
    let created = if locked {
        gateway.registry.producer_create_locked(&actor, &name, settings).await
    } else {
        gateway.registry.producer_create(&actor, &name, settings).await
    };
    match created {
        Ok(_) => {}
        Err(Error::Refused(Refusal::ProducerOwned(_))) => return there(name),
        Err(Error::Refused(Refusal::ProducerForeign(_))) => {
            let message = "The requested bucket name is not available: it belongs to someone else.";
            return Err(Failure::request(409, "BucketAlreadyExists", message));
        }
        Err(other) => return Err(other.into()),
    }
    for (subresource, document) in [(Subresource::Tagging, tags), (Subresource::Ownership, ownership)] {
        if document.is_some() {
            gateway.registry.subresource_set(&actor, &name, subresource, document).await?;
        }
    }
    Ok(created_at(&name))
}

/// A name that S3 would not give any more: a host's labels neither begin nor end with a hyphen.
fn check_labels(name: &ProducerName) -> Result<(), Failure> {
    if name.as_str().contains(".-") || name.as_str().contains("-.") {
        let message = "The specified bucket is not valid: no part between dots begins or ends with a hyphen.";
        return Err(Failure::request(400, "InvalidBucketName", message));
    }
    Ok(())
}

fn created_at(name: &ProducerName) -> S3Response<CreateBucketOutput> {
    S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")), ..CreateBucketOutput::default() })
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
    let named = (gateway.region != FIRST_REGION).then(|| BucketLocationConstraint::from(gateway.region.clone()));
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
    fn a_new_bucket_could_be_a_host() {
        for (name, good) in [("a.b-c.d", true), ("foo-.bar", false), ("foo.-bar", false)] {
            assert_eq!(check_labels(&ProducerName::parse(name).unwrap()).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn a_continuation_token_is_a_name() {
        assert_eq!(token_name(&URL_SAFE_NO_PAD.encode("abc")).unwrap().as_str(), "abc");
        assert_eq!(token_name("!").unwrap_err().face().code, "InvalidArgument");
    }
}
