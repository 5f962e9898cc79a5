//! Versioning: whether a bucket keeps versions, and the listing of those it kept.

use artifactstore_registry::actions::request::{VersionListPage, VersionListRequest};
use artifactstore_registry::model::name::ProducerName;
use artifactstore_registry::model::row::{ListedVersion, Versioning};
use s3s::dto::{
    BucketVersioningStatus, DeleteMarkerEntry, GetBucketVersioningInput, GetBucketVersioningOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, MFADelete, ObjectVersion, ObjectVersionStorageClass, Owner,
    PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response};

use super::encoding::Spelling;
use super::{Answer, Gateway, attributes, checksum, faces, list, version};
use crate::error::Failure;

/// A bucket that was never versioned has no status.
pub(super) async fn get(
    gateway: &Gateway,
    req: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let actor = gateway.actor(&req)?;
    let producer = gateway.registry.producer_stat(&actor, &ProducerName::parse(&req.input.bucket)?).await?;
    let status = match producer.versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

pub(super) async fn set(
    gateway: &Gateway,
    req: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let actor = gateway.actor(&req)?;
    let producer = ProducerName::parse(&req.input.bucket)?;
    let wanted = &req.input.versioning_configuration;
    if wanted.mfa_delete.as_ref().is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
        return Err(Failure::request(501, "NotImplemented", "MFA Delete is not available."));
    }
    let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            let message = "The Versioning element must say Enabled or Suspended.";
            return Err(Failure::request(400, "IllegalVersioningConfigurationException", message));
        }
    };
    gateway.registry.versioning_set(&actor, &producer, versioning).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub(super) async fn list(
    gateway: &Gateway,
    req: S3Request<ListObjectVersionsInput>,
) -> Answer<ListObjectVersionsOutput> {
    let actor = gateway.actor(&req)?;
    let input = req.input;
    let max_keys = list::page_size(input.max_keys, "max-keys")?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (key_marker, version_marker) = (given(&input.key_marker), given(&input.version_id_marker));
    if version_marker.is_some() && key_marker.is_none() {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(Failure::request(400, "InvalidArgument", message));
    }
    let request = VersionListRequest {
        producer: ProducerName::parse(&input.bucket)?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: list::delimiter(input.delimiter.as_ref()),
        key_marker,
        version_marker: version(version_marker.as_deref())?,
        limit: usize::try_from(max_keys).unwrap_or(0),
    };
    let page = gateway.registry.version_list(&actor, &request).await?;
    let (next_key, next_version) = page.next.clone().unzip();
    let given =
        [&input.prefix, &input.key_marker, &input.delimiter, &next_key].into_iter().flatten().map(String::as_str);
    let spelling = Spelling::choose(input.encoding_type.as_ref(), given.chain(names(&page)))?;
    let say = |text: Option<String>| text.map(|text| spelling.say(&text));
    let owner = faces::owner(&actor.tenant);
    let (markers, versions): (Vec<_>, Vec<_>) = page.versions.iter().partition(|(version, _)| version.marker);
    Ok(S3Response::new(ListObjectVersionsOutput {
        common_prefixes: Some(list::prefixes(&page.prefixes, spelling)),
        delete_markers: Some(markers.into_iter().map(|(it, latest)| marker(it, *latest, spelling, &owner)).collect()),
        delimiter: say(list::delimiter(input.delimiter.as_ref())),
        encoding_type: spelling.declared(),
        is_truncated: Some(page.next.is_some()),
        key_marker: say(Some(input.key_marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        name: Some(input.bucket),
        next_key_marker: say(next_key),
        // Always a number, also for the null version: it can be gone when the next page is asked for.
        next_version_id_marker: next_version.flatten().map(|sequence| sequence.to_string()),
        prefix: say(Some(input.prefix.unwrap_or_default())),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        versions: Some(versions.into_iter().map(|(it, latest)| object(it, *latest, spelling, &owner)).collect()),
    }))
}

fn names(page: &VersionListPage) -> impl Iterator<Item = &str> {
    let keys = page.versions.iter().map(|(version, _)| version.listed.key.as_str());
    keys.chain(page.prefixes.iter().map(String::as_str))
}

fn marker(version: &ListedVersion, latest: bool, spelling: Spelling, owner: &Owner) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(latest),
        key: Some(spelling.say(version.listed.key.as_str())),
        last_modified: Some(faces::time(version.listed.ingested_at)),
        owner: Some(owner.clone()),
        version_id: Some(faces::version_name(version.versioned, version.sequence)),
    }
}

fn object(version: &ListedVersion, latest: bool, spelling: Spelling, owner: &Owner) -> ObjectVersion {
    let listed = &version.listed;
    let known = listed.attributes.checksum.as_ref();
    let class = listed.attributes.headers.get(attributes::STORAGE_CLASS).unwrap_or(ObjectVersionStorageClass::STANDARD);
    ObjectVersion {
        checksum_algorithm: known.map(|known| vec![checksum::said(known.checksum.algorithm)]),
        checksum_type: known.map(|known| checksum::kind(known.kind)),
        e_tag: Some(faces::etag(&listed.etag)),
        is_latest: Some(latest),
        key: Some(spelling.say(listed.key.as_str())),
        last_modified: Some(faces::time(listed.ingested_at)),
        owner: Some(owner.clone()),
        restore_status: None,
        size: i64::try_from(listed.size_bytes).ok(),
        storage_class: Some(ObjectVersionStorageClass::from(class.to_owned())),
        version_id: Some(faces::version_name(version.versioned, version.sequence)),
    }
}
