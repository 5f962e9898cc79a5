//! The listings of open uploads and of their parts.

use artifactstore_registry::actions::request::{PartPage, UploadListPage, UploadListRequest};
use artifactstore_registry::model::name::{FileName, ProducerName, UploadId};
use artifactstore_registry::model::row::{Part as StoredPart, Upload};
use s3s::dto::{
    ChecksumAlgorithm, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Owner, Part, StorageClass,
};
use s3s::{S3Request, S3Response};

use super::checksum::set_checksum;
use super::encoding::{self, Spelling};
use super::{Answer, Gateway, attributes, checksum, faces, list};
use crate::error::Failure;

fn initiator(owner: &Owner) -> Initiator {
    Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }
}

fn storage_class(upload: &Upload) -> StorageClass {
    let class = upload.attributes.file.headers.get(attributes::STORAGE_CLASS).unwrap_or(StorageClass::STANDARD);
    StorageClass::from(class.to_owned())
}

fn algorithm(upload: &Upload) -> Option<ChecksumAlgorithm> {
    upload.attributes.algorithm.map(checksum::said)
}

pub(super) async fn parts(gateway: &Gateway, req: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
    let actor = gateway.actor(&req)?;
    let input = req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    let upload_id = UploadId::parse(&input.upload_id)?;
    let max_parts = list::page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after = u32::try_from(marker)
        .map_err(|_| Failure::request(400, "InvalidArgument", "Argument part-number-marker must not be negative."))?;
    let page = match usize::try_from(max_parts) {
        Ok(limit) if limit > 0 => gateway.registry.part_list(&actor, &name, &upload_id, after, limit).await?,
        _ => {
            let upload = gateway.registry.upload_stat(&actor, &name, &upload_id).await?;
            PartPage { upload, parts: Vec::new(), more: false }
        }
    };
    let owner = faces::owner(&actor.tenant);
    let next = page.parts.last().and_then(|part| i32::try_from(part.number.get()).ok());
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: algorithm(&page.upload),
        checksum_type: page.upload.attributes.checksum_kind.map(checksum::kind),
        initiator: Some(initiator(&owner)),
        is_truncated: Some(page.more),
        key: Some(encoding::xml_text(&input.key).into_owned()),
        max_parts: Some(max_parts),
        next_part_number_marker: Some(next.unwrap_or(marker)),
        owner: Some(owner),
        part_number_marker: Some(marker),
        parts: Some(page.parts.iter().map(part).collect()),
        storage_class: Some(storage_class(&page.upload)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    }))
}

fn part(stored: &StoredPart) -> Part {
    let mut part = Part {
        e_tag: Some(faces::etag(&stored.md5.to_hex())),
        last_modified: Some(faces::time(stored.ingested_at)),
        part_number: i32::try_from(stored.number.get()).ok(),
        size: i64::try_from(stored.size_bytes).ok(),
        ..Part::default()
    };
    if let Some(known) = &stored.checksum {
        set_checksum!(part, known.algorithm, checksum::text(known));
    }
    part
}

pub(super) async fn list(
    gateway: &Gateway,
    req: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let actor = gateway.actor(&req)?;
    let input = req.input;
    let max_uploads = list::page_size(input.max_uploads, "max-uploads")?;
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    // Without a key marker, S3 ignores the other one.
    let upload_marker = input.upload_id_marker.as_deref().filter(|marker| key_marker.is_some() && !marker.is_empty());
    let request = UploadListRequest {
        producer: ProducerName::parse(&input.bucket)?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: list::delimiter(input.delimiter.as_ref()),
        upload_marker: upload_marker.map(UploadId::parse).transpose()?,
        key_marker,
        limit: usize::try_from(max_uploads).unwrap_or(0),
    };
    let page = if request.limit == 0 {
        gateway.registry.producer_stat(&actor, &request.producer).await?;
        UploadListPage::default()
    } else {
        gateway.registry.upload_list(&actor, &request).await?
    };
    let (next_key, next_upload) = page.next.clone().unzip();
    let given =
        [&input.prefix, &input.key_marker, &input.delimiter, &next_key].into_iter().flatten().map(String::as_str);
    let keys = page.uploads.iter().map(|upload| upload.name.key.as_str());
    let names = given.chain(keys).chain(page.prefixes.iter().map(String::as_str));
    let spelling = Spelling::choose(input.encoding_type.as_ref(), names)?;
    let say = |text: Option<String>| text.map(|text| spelling.say(&text));
    let owner = faces::owner(&actor.tenant);
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(list::prefixes(&page.prefixes, spelling)),
        delimiter: say(input.delimiter),
        encoding_type: spelling.declared(),
        is_truncated: Some(page.next.is_some()),
        key_marker: say(Some(input.key_marker.unwrap_or_default())),
        max_uploads: Some(max_uploads),
        next_upload_id_marker: next_upload.flatten().map(|upload| upload.to_string()),
        next_key_marker: say(next_key),
        prefix: say(Some(input.prefix.unwrap_or_default())),
        request_charged: None,
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(page.uploads.iter().map(|upload| entry(upload, spelling, &owner)).collect()),
    }))
}

fn entry(upload: &Upload, spelling: Spelling, owner: &Owner) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: algorithm(upload),
        checksum_type: upload.attributes.checksum_kind.map(checksum::kind),
        initiated: Some(faces::time(upload.created_at)),
        initiator: Some(initiator(owner)),
        key: Some(spelling.say(upload.name.key.as_str())),
        owner: Some(owner.clone()),
        storage_class: Some(storage_class(upload)),
        upload_id: Some(upload.id.to_string()),
    }
}
