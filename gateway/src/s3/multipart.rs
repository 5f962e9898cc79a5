//! Multipart uploads: create, part, complete, abort.

use std::time::Duration;

use artifactstore_registry::actions::request::{CompletedPart, FileReceipt, UploadCompletion};
use artifactstore_registry::backends::digest::{Checksum, ChecksumAlgorithm};
use artifactstore_registry::model::attributes::{ChecksumKind, UploadAttributes};
use artifactstore_registry::model::name::{FileName, PartNumber, UploadId};
use http::HeaderMap;
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Response};

use super::body::{self, Incoming};
use super::checksum::{self, named_checksum, set_checksum, set_file_checksum};
use super::{Answer, Gateway, attributes, conditions, encoding, faces, header, lifecycle, lock, refuse, request_id};
use crate::error::Failure;

/// How long a completion may take before the answer begins without its outcome and is kept alive. Shorter than any
/// client's read timeout; long enough that nearly every completion is answered with its true status.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn create(
    gateway: &Gateway,
    mut req: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let actor = gateway.actor(&req)?;
    let name = FileName::parse(&req.input.bucket, &req.input.key)?;
    attributes::refuse_unkept_promises(&req.headers)?;
    let algorithm = checksum::asked(req.input.checksum_algorithm.as_ref())?;
    let asked = req.input.checksum_type.as_ref().map(|kind| checksum::parse_kind(kind.as_str())).transpose()?;
    let checksum_kind = kind_of_whole(algorithm, asked)?;
    let file = attributes::of_request(&req.headers, req.input.metadata.take())?;
    let retention = lock::of_request(&req.headers)?;
    lock::permit(gateway, &req, &name, &retention, Some(&file.tags))?;
    let wanted = UploadAttributes { file, algorithm, retention, checksum_kind };
    let upload = gateway.registry.upload_create(&actor, &name, wanted).await?;
    let (abort_date, abort_rule_id) = lifecycle::abortion(gateway, &upload).await.unzip();
    Ok(S3Response::new(CreateMultipartUploadOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(req.input.bucket),
        checksum_algorithm: algorithm.map(checksum::said),
        checksum_type: checksum_kind.map(checksum::kind),
        key: Some(encoding::xml_text(&req.input.key).into_owned()),
        upload_id: Some(upload.id.to_string()),
        ..CreateMultipartUploadOutput::default()
    }))
}

/// CRC-64 exists only for the whole, and what cannot be combined only for the parts; the other CRCs can be either, and
/// are composite unless the client says otherwise.
fn kind_of_whole(
    algorithm: Option<ChecksumAlgorithm>,
    asked: Option<ChecksumKind>,
) -> Result<Option<ChecksumKind>, Failure> {
    let refused = |message: String| Err(Failure::request(400, "InvalidRequest", message));
    let Some(algorithm) = algorithm else {
        return match asked {
            None => Ok(None),
            Some(_) => refused("The x-amz-checksum-type header goes with x-amz-checksum-algorithm.".to_owned()),
        };
    };
    let name = algorithm.name();
    match (algorithm, asked) {
        (ChecksumAlgorithm::Crc64Nvme, Some(ChecksumKind::Composite)) => {
            refused(format!("The COMPOSITE checksum type cannot be used with the {name} checksum algorithm."))
        }
        (whole, Some(ChecksumKind::FullObject)) if !whole.combines() => {
            refused(format!("The FULL_OBJECT checksum type cannot be used with the {name} checksum algorithm."))
        }
        (ChecksumAlgorithm::Crc64Nvme, None) => Ok(Some(ChecksumKind::FullObject)),
        (_, None) => Ok(Some(ChecksumKind::Composite)),
        (_, asked) => Ok(asked),
    }
}

pub(super) async fn part(gateway: &Gateway, mut req: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
    let actor = gateway.actor(&req)?;
    let name = FileName::parse(&req.input.bucket, &req.input.key)?;
    let upload_id = UploadId::parse(&req.input.upload_id)?;
    let number = PartNumber::new(req.input.part_number.into())?;
    attributes::refuse_encryption(&req.headers)?;
    let blob = req.input.body.take();
    let declared = Incoming {
        blob,
        content_length: req.input.content_length,
        content_md5: req.input.content_md5.as_deref(),
        algorithm: req.input.checksum_algorithm.as_ref(),
    };
    let (body, hints) = body::incoming(&req, declared)?;
    let part = gateway.registry.part_ingest(&actor, &name, &upload_id, number, body, hints).await?;
    let mut output = UploadPartOutput { e_tag: Some(faces::etag(&part.md5.to_hex())), ..UploadPartOutput::default() };
    if let Some(checksum) = &part.checksum {
        set_checksum!(output, checksum.algorithm, checksum::text(checksum));
    }
    Ok(S3Response::new(output))
}

pub(super) async fn complete(
    gateway: &Gateway,
    req: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let actor = gateway.actor(&req)?;
    let input = &req.input;
    let name = FileName::parse(&input.bucket, &input.key)?;
    let named = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
    let (checksum, checksum_kind) = checksum::declared_whole(&req.headers, named.len())?;
    let completion = UploadCompletion {
        condition: conditions::of_ingest(&req, &name),
        name,
        upload: UploadId::parse(&input.upload_id)?,
        parts: named.iter().map(completed_part).collect::<Result<_, _>>()?,
        checksum,
        checksum_kind,
        size_bytes: input.mpu_object_size.map(size_bytes).transpose()?,
    };
    let location = location(&req.headers, super::over_tls(&req), &input.bucket, &input.key);
    let request_id = request_id(&req).to_owned();
    let registry = gateway.registry.clone();
    let mut work = Box::pin(async move { registry.upload_complete(&actor, completion).await });
    match tokio::time::timeout(COMPLETION_PATIENCE, &mut work).await {
        Ok(receipt) => {
            let receipt = receipt?;
            let mut output = completed(&receipt, location);
            output.expiration = lifecycle::expiration(gateway, &receipt.file).await;
            Ok(S3Response::with_headers(output, faces::receipt_headers(&receipt)))
        }
        Err(_) => {
            // From here on the status is 200 whatever comes, and an error is in the document: S3's own rule for this
            // operation, which its clients know.
            let rest = async move {
                let receipt = work.await.map_err(|error| refuse(&error.into(), &request_id))?;
                Ok(completed(&receipt, location))
            };
            let future = Some(Box::pin(rest) as _);
            Ok(S3Response::new(CompleteMultipartUploadOutput { future, ..CompleteMultipartUploadOutput::default() }))
        }
    }
}

fn completed(receipt: &FileReceipt, location: String) -> CompleteMultipartUploadOutput {
    let file = &receipt.file;
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(file.name.producer.to_string()),
        e_tag: Some(faces::etag(&file.etag)),
        key: Some(encoding::xml_text(file.name.key.as_str()).into_owned()),
        location: Some(location),
        version_id: faces::receipt_version(receipt),
        ..CompleteMultipartUploadOutput::default()
    };
    set_file_checksum!(output, file.attributes);
    output
}

fn size_bytes(declared: i64) -> Result<u64, Failure> {
    let invalid = |_| Failure::request(400, "InvalidRequest", "Value for x-amz-mp-object-size header is invalid.");
    u64::try_from(declared).map_err(invalid)
}

fn malformed(message: &str) -> Failure {
    Failure::request(400, "MalformedXML", message)
}

fn completed_part(part: &dto::CompletedPart) -> Result<CompletedPart, Failure> {
    let number = part.part_number.ok_or_else(|| malformed("A part without a PartNumber."))?;
    let etag = part.e_tag.as_ref().ok_or_else(|| malformed("A part without an ETag."))?;
    Ok(CompletedPart {
        number: PartNumber::new(number.into())?,
        etag: etag.value().to_owned(),
        checksum: part_checksum(part)?,
    })
}

fn part_checksum(part: &dto::CompletedPart) -> Result<Option<Checksum>, Failure> {
    let found = named_checksum!(part).next();
    found.map(|(algorithm, text)| checksum::parse(algorithm, text)).transpose()
}

/// Where the file can be found, as the client reached the gateway.
fn location(headers: &HeaderMap, tls: bool, bucket: &str, key: &str) -> String {
    let scheme = if tls { "https" } else { "http" };
    let host = header(headers, "host").unwrap_or_default();
    let key = encoding::url(key);
    if host.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.')) {
        format!("{scheme}://{host}/{key}")
    } else {
        format!("{scheme}://{host}/{bucket}/{key}")
    }
}

pub(super) async fn abort(
    gateway: &Gateway,
    req: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let actor = gateway.actor(&req)?;
    let name = FileName::parse(&req.input.bucket, &req.input.key)?;
    if req.input.if_match_initiated_time.is_some() {
        let message = "An abort cannot be conditional on when the upload was initiated.";
        return Err(Failure::request(501, "NotImplemented", message));
    }
    gateway.registry.upload_abort(&actor, &name, &UploadId::parse(&req.input.upload_id)?).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_has_its_kinds_of_whole() {
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Md5, Sha256, XxHash3};
        use ChecksumKind::{Composite, FullObject};
        for (algorithm, asked, expected) in [
            (None, None, Some(None)),
            (None, Some(FullObject), None),
            (Some(Crc32), None, Some(Some(Composite))),
            (Some(Crc32), Some(FullObject), Some(Some(FullObject))),
            (Some(Crc64Nvme), None, Some(Some(FullObject))),
            (Some(Crc64Nvme), Some(Composite), None),
            (Some(Sha256), None, Some(Some(Composite))),
            (Some(Sha256), Some(FullObject), None),
            (Some(Md5), Some(FullObject), None),
            (Some(XxHash3), None, Some(Some(Composite))),
            (Some(XxHash3), Some(FullObject), None),
        ] {
            assert_eq!(kind_of_whole(algorithm, asked).ok(), expected, "{algorithm:?} {asked:?}");
        }
    }

    #[test]
    fn a_named_part_needs_its_number_and_its_etag() {
        let part = dto::CompletedPart {
            e_tag: Some(dto::ETag::Strong("abc".to_owned())),
            part_number: Some(2),
            checksum_crc32: Some("AAAAAQ==".to_owned()),
            ..dto::CompletedPart::default()
        };
        let got = completed_part(&part).unwrap();
        assert_eq!((got.number.get(), got.etag.as_str(), got.checksum.is_some()), (2, "abc", true));
        let without = dto::CompletedPart { e_tag: None, ..part };
        assert_eq!(completed_part(&without).unwrap_err().face().code, "MalformedXML");
    }

    #[test]
    fn a_location_is_where_the_client_can_read() {
        let host = |host: &str| -> HeaderMap { [(http::header::HOST, host.parse().unwrap())].into_iter().collect() };
        assert_eq!(location(&host("localhost:9000"), false, "abc", "a b"), "http://localhost:9000/abc/a%20b");
        assert_eq!(location(&host("abc.s3.local"), true, "abc", "k"), "https://abc.s3.local/k");
    }
}
