//! Copies: of a whole file, which moves no byte, and of a range into a part, which reads it.

use artifactstore_registry::actions::request::FoundFile;
use artifactstore_registry::backends::dataplane::spi::{ByteRange, IngestHints};
use artifactstore_registry::model::access::Permission;
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{FileName, PartNumber, UploadId};
use artifactstore_registry::{Error, Refusal};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, MetadataDirective,
    TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response};

use super::checksum::{self, set_checksum, set_file_checksum};
use super::conditions::{self, ReadCondition};
use super::{Answer, Gateway, Use, attributes, faces, header, lifecycle, lock, range, tagging, version};
use crate::error::Failure;

const ONTO_ITSELF: &str = "This copy request is illegal because it is trying to copy an object to itself without \
                           changing the object's metadata, storage class, website redirect location or encryption \
                           attributes.";

/// Finds the source of a copy, and refuses one that another owner was expected to have.
async fn find<T>(
    gateway: &Gateway,
    actor: &Actor,
    req: &S3Request<T>,
    source: &CopySource,
) -> Result<(FoundFile, Option<String>), Failure> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        let message = "A copy source is <bucket>/<key>; access points and outposts do not exist here.";
        return Err(Failure::request(501, "NotImplemented", message));
    };
    let (operation, permission, version_id) = ("GetObject", Permission::Read, version_id.as_deref());
    let wanted = Use { operation, permission, bucket, key, version: version_id };
    // The source may be another tenant's than the copy, if its bucket's policy allows that.
    let tenant = gateway.admit(&req.extensions, &req.headers, &wanted).await?;
    let owner = header(&req.headers, "x-amz-source-expected-bucket-owner");
    if owner.is_some_and(|owner| owner != tenant.as_str()) {
        return Err(Failure::request(403, "AccessDenied", "The source bucket's owner is not the expected one."));
    }
    let name = FileName::parse(bucket, key)?;
    let reader = Actor { tenant, ..actor.clone() };
    let found = gateway.registry.file_stat(&reader, &name, version(version_id)?).await.map_err(of_source)?;
    let version_id = faces::found_version(&found);
    Ok((found, version_id))
}

/// A source that is a delete marker is at fault in the request, not in the key.
fn of_source(error: Error) -> Failure {
    match error {
        Error::Refused(Refusal::MarkerMeant { .. }) => {
            let message = "The source of a copy request may not specifically refer to a delete marker by version id.";
            Failure::request(400, "InvalidRequest", message)
        }
        error => error.into(),
    }
}

pub(super) async fn object(gateway: &Gateway, mut req: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
    let actor = gateway.actor(&req)?;
    let target = FileName::parse(&req.input.bucket, &req.input.key)?;
    refuse(&req)?;
    let (source, source_version) = find(gateway, &actor, &req, &req.input.copy_source).await?;
    let (modified, unmodified) =
        (req.input.copy_source_if_modified_since.as_ref(), req.input.copy_source_if_unmodified_since.as_ref());
    ReadCondition::of_copy_source(&req.headers, modified, unmodified).check_copy_source(&source.file)?;
    let replace = replacement(&mut req, &source, &target)?;
    let condition = conditions::of_ingest(&req, &target);
    let retention = lock::of_request(&req.headers)?;
    // Tags that come along from the source say as much as those that the request names.
    let tags = replace.as_ref().map_or(&source.file.attributes.tags, |attributes| &attributes.tags);
    lock::permit(gateway, &req, &target, &retention, Some(tags))?;
    if !tags.0.is_empty() {
        let (bucket, key) = (target.producer.as_str(), target.key.as_str());
        let operation = "PutObjectTagging";
        let wanted = Use { operation, permission: Permission::Write, bucket, key, version: None };
        gateway.admit_here(&req.extensions, &req.headers, &wanted).await?;
    }
    let receipt = gateway.registry.file_copy(&actor, &source, &target, replace, retention, condition).await?;
    let mut result = CopyObjectResult {
        e_tag: Some(faces::etag(&receipt.file.etag)),
        last_modified: Some(faces::time(receipt.file.ingested_at)),
        ..CopyObjectResult::default()
    };
    set_file_checksum!(result, receipt.file.attributes);
    let output = CopyObjectOutput {
        version_id: faces::receipt_version(&receipt),
        expiration: lifecycle::expiration(gateway, &receipt.file).await,
        copy_object_result: Some(result),
        copy_source_version_id: source_version,
        ..CopyObjectOutput::default()
    };
    Ok(S3Response::with_headers(output, faces::receipt_headers(&receipt)))
}

fn refuse(req: &S3Request<CopyObjectInput>) -> Result<(), Failure> {
    let input = &req.input;
    let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
    let tagging = input.tagging_directive.as_ref().map(TaggingDirective::as_str);
    if !matches!(directive, None | Some(MetadataDirective::COPY | MetadataDirective::REPLACE)) {
        return Err(Failure::request(400, "InvalidArgument", "Unknown metadata directive."));
    }
    if !matches!(tagging, None | Some(TaggingDirective::COPY | TaggingDirective::REPLACE)) {
        return Err(Failure::request(400, "InvalidArgument", "Unknown tagging directive."));
    }
    // An algorithm that is asked for is checked, but nothing is computed: no byte of a copy is read, and the copy has
    // the checksum that its source has.
    checksum::asked(input.checksum_algorithm.as_ref())?;
    attributes::refuse_unkept_promises(&req.headers)
}

/// What the copy carries instead of what its source carries; nothing when it carries the same.
fn replacement(
    req: &mut S3Request<CopyObjectInput>,
    source: &FoundFile,
    target: &FileName,
) -> Result<Option<Attributes>, Failure> {
    let tags = match &req.input.tagging_directive {
        Some(directive) if directive.as_str() == TaggingDirective::REPLACE => Some(tagging::of_request(&req.headers)?),
        _ => None,
    };
    if req.input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE) {
        let mut attributes = attributes::of_request(&req.headers, req.input.metadata.take())?;
        attributes.tags = tags.unwrap_or_else(|| source.file.attributes.tags.clone());
        return Ok(Some(attributes));
    }
    // The storage class and the redirect are not metadata in S3's eyes: they are the request's own, whatever the
    // directive says.
    let mut own: Vec<(String, String)> = Vec::new();
    own.extend(attributes::storage_class(&req.headers)?.map(|class| (attributes::STORAGE_CLASS.to_owned(), class)));
    let redirect = "x-amz-website-redirect-location";
    own.extend(header(&req.headers, redirect).map(|to| (redirect.to_owned(), to.to_owned())));
    if own.is_empty() && tags.is_none() {
        let itself = source.file.name == *target && source.file.ended_sequence.is_none();
        return if itself { Err(Failure::request(400, "InvalidRequest", ONTO_ITSELF)) } else { Ok(None) };
    }
    let mut attributes = source.file.attributes.clone();
    attributes.headers.0.extend(own);
    attributes.tags = tags.unwrap_or(attributes.tags);
    Ok(Some(attributes))
}

pub(super) async fn part(gateway: &Gateway, req: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let target = FileName::parse(&input.bucket, &input.key)?;
    let upload_id = UploadId::parse(&input.upload_id)?;
    let number = PartNumber::new(input.part_number.into())?;
    attributes::refuse_encryption(&req.headers)?;
    let upload = gateway.registry.upload_stat(&actor, &target, &upload_id).await?;
    let (source, source_version) = find(gateway, &actor, &req, &input.copy_source).await?;
    let (modified, unmodified) =
        (input.copy_source_if_modified_since.as_ref(), input.copy_source_if_unmodified_since.as_ref());
    ReadCondition::of_copy_source(&req.headers, modified, unmodified).check_copy_source(&source.file)?;
    let size_bytes = source.file.size_bytes;
    let wanted = match input.copy_source_range.as_deref() {
        Some(text) => range::copy_source(text, size_bytes)?,
        None => ByteRange::Full,
    };
    let length = if let ByteRange::Span(first, end) = wanted { end - first } else { size_bytes };
    let hints = IngestHints {
        size_bytes: Some(length),
        compute: upload.attributes.algorithm.into_iter().collect(),
        ..IngestHints::default()
    };
    let source = (&source, wanted);
    let part = gateway.registry.part_copy(&actor, source, &target, &upload_id, number, hints).await?;
    let mut result = CopyPartResult {
        e_tag: Some(faces::etag(&part.md5.to_hex())),
        last_modified: Some(faces::time(part.ingested_at)),
        ..CopyPartResult::default()
    };
    if let Some(checksum) = &part.checksum {
        set_checksum!(result, checksum.algorithm, checksum::text(checksum));
    }
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: source_version,
        ..UploadPartCopyOutput::default()
    }))
}
