//! `GetObjectAttributes`: what is known of a file, without its bytes.

use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::name::FileName;
use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response};

use super::checksum::{self, set_checksum, set_file_checksum};
use super::{Answer, Gateway, anonymous, attributes as carried, faces, version};
use crate::error::Failure;

/// The most parts of one answer.
const PARTS_MAX: i32 = 1_000;

pub(super) async fn attributes(
    gateway: &Gateway,
    req: S3Request<GetObjectAttributesInput>,
) -> Answer<GetObjectAttributesOutput> {
    let actor = gateway.actor(&req)?;
    carried::refuse_decryption(&req.headers)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    if input.object_attributes.is_empty() {
        return Err(Failure::request(400, "InvalidArgument", "No object attributes were asked for."));
    }
    let found = gateway.registry.file_stat(&actor, &name, version(input.version_id.as_deref())?).await;
    let found = found.map_err(|error| anonymous::not_found(&actor, error))?;
    let file = &found.file;
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(faces::time(file.ingested_at)),
        version_id: faces::found_version(&found),
        ..GetObjectAttributesOutput::default()
    };
    // Several come in one header with commas between, or in a header each.
    for wanted in input.object_attributes.iter().flat_map(|named| named.as_str().split(',')) {
        match wanted.trim() {
            "ETag" => output.e_tag = Some(faces::etag(&file.etag)),
            "Checksum" => output.checksum = whole(&file.attributes),
            "ObjectParts" => {
                output.object_parts = parts(&file.attributes, input.part_number_marker, input.max_parts)?;
            }
            "StorageClass" => {
                let class = file.attributes.headers.get(carried::STORAGE_CLASS).unwrap_or(StorageClass::STANDARD);
                output.storage_class = Some(StorageClass::from(class.to_owned()));
            }
            "ObjectSize" => output.object_size = i64::try_from(file.size_bytes).ok(),
            _ => return Err(Failure::request(400, "InvalidArgument", "Invalid attribute name specified.")),
        }
    }
    Ok(S3Response::new(output))
}

fn whole(attributes: &Attributes) -> Option<Checksum> {
    attributes.checksum.as_ref()?;
    let mut checksum = Checksum::default();
    set_file_checksum!(checksum, attributes);
    Some(checksum)
}

/// A page of the parts of a file that came as a multipart upload; each is told with its checksum, if it has one.
fn parts(
    attributes: &Attributes,
    marker: Option<i32>,
    max_parts: Option<i32>,
) -> Result<Option<GetObjectAttributesParts>, Failure> {
    if attributes.parts.is_empty() {
        return Ok(None);
    }
    let refuse = |name: &str| {
        Failure::request(
            400,
            "InvalidArgument",
            format!("Argument {name} must be an integer between 0 and 2147483647."),
        )
    };
    let marker = u32::try_from(marker.unwrap_or(0)).map_err(|_| refuse("part-number-marker"))?;
    let limit = max_parts.unwrap_or(PARTS_MAX).min(PARTS_MAX);
    let most = usize::try_from(limit).map_err(|_| refuse("max-parts"))?;
    let rest: Vec<_> = attributes.parts.iter().filter(|part| part.number > marker).collect();
    let shown: Vec<ObjectPart> = rest
        .iter()
        .take(most)
        .map(|part| {
            let mut shown = ObjectPart {
                part_number: i32::try_from(part.number).ok(),
                size: i64::try_from(part.size_bytes).ok(),
                ..ObjectPart::default()
            };
            if let Some(sum) = &part.checksum {
                set_checksum!(shown, sum.algorithm, checksum::text(sum));
            }
            shown
        })
        .collect();
    let next = shown.last().and_then(|part| part.part_number).or_else(|| i32::try_from(marker).ok());
    // S3 lists parts only where they have checksums; how many there are it always tells.
    let told = attributes.parts.iter().any(|part| part.checksum.is_some());
    Ok(Some(GetObjectAttributesParts {
        is_truncated: Some(rest.len() > most),
        max_parts: Some(limit),
        next_part_number_marker: next,
        part_number_marker: i32::try_from(marker).ok(),
        parts: told.then_some(shown),
        total_parts_count: i32::try_from(attributes.parts.len()).ok(),
    }))
}
