//! Multipart uploads: parts are committed as they arrive, and completing joins their recipes.

use artifactstore_backends::dataplane::spi::{
    ByteRange, IngestFrame, IngestHints, IngestResult, IngestStream, Join, PartOf,
};
use artifactstore_backends::digest::Checksum;
use artifactstore_backends::error::Source;
use artifactstore_backends::failpoint::{Point, reach};
use artifactstore_backends::hasher::{BodyHasher, crc_combine};
use futures::{StreamExt, TryStreamExt, stream};

use super::ingest::content;
use super::list::{range, rolled};
use super::producer::unexpected;
use super::request::{
    CompletedPart, FileReceipt, FoundFile, PartPage, UploadCompletion, UploadListPage, UploadListRequest,
};
use crate::error::{Refusal, Result};
use crate::model::attributes::{Attributes, ChecksumKind, FileChecksum, FilePart, UploadAttributes};
use crate::model::command::{Command, FileIngest, Reply};
use crate::model::event::{Actor, CopySource};
use crate::model::name::{FileName, KeyMeaning, PartNumber, UploadId};
use crate::model::row::{Part, Upload, UploadState};
use crate::{Error, Inner, Registry};

/// The least size of every part but the last, in bytes: S3's own.
const PART_SIZE_MINIMUM_BYTES: u64 = 5 << 20;
/// The most parts there are.
const PARTS_LIMIT: usize = 10_000;
/// How often an upload that changed under its completion is joined anew.
const ATTEMPTS: u32 = 3;

impl Inner {
    /// The upload, whatever its state, if it was created for this name.
    async fn upload_of(&self, actor: &Actor, name: &FileName, id: &UploadId) -> Result<Upload> {
        self.producer_owned(actor, &name.producer).await?;
        let upload = self.store.upload(id).await?.filter(|upload| upload.name == *name);
        upload.ok_or_else(|| Refusal::UploadMissing(id.clone()).into())
    }

    async fn upload_open(&self, actor: &Actor, name: &FileName, id: &UploadId) -> Result<Upload> {
        let upload = self.upload_of(actor, name, id).await?;
        if upload.state == UploadState::Open { Ok(upload) } else { Err(Refusal::UploadMissing(id.clone()).into()) }
    }

    /// Refuses early what the commit of the whole would refuse.
    async fn check_name_writable(&self, actor: &Actor, name: &FileName) -> Result<()> {
        match self.name_writable(actor, name).await? {
            KeyMeaning::File { .. } => Ok(()),
            KeyMeaning::Reserved { .. } => Err(Refusal::KeyReserved("nothing is stored under .artifact/").into()),
        }
    }
}

/// Compares what the client names with what is stored, in S3's order: parts ascend, exist, are large enough.
fn check_parts(named: &[CompletedPart], stored: &[Part]) -> std::result::Result<Vec<Part>, Refusal> {
    if named.is_empty() {
        return Err(Refusal::PartsMissing);
    }
    if named.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(Refusal::PartOrderInvalid);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for (at, named_part) in named.iter().enumerate() {
        let number = named_part.number.get();
        let part = stored.binary_search_by_key(&named_part.number, |part| part.number).ok().map(|at| &stored[at]);
        let part = part.filter(|part| part.md5.to_hex() == named_part.etag).ok_or(Refusal::PartInvalid(number))?;
        if let Some(declared) = &named_part.checksum
            && part.checksum.as_ref() != Some(declared)
        {
            return Err(Refusal::PartInvalid(number));
        }
        if at + 1 < named.len() && part.size_bytes < PART_SIZE_MINIMUM_BYTES {
            let minimum_bytes = PART_SIZE_MINIMUM_BYTES;
            return Err(Refusal::PartTooSmall { number, size_bytes: part.size_bytes, minimum_bytes });
        }
        chosen.push(part.clone());
    }
    Ok(chosen)
}

/// S3's ETag of a multipart file: the MD5 of its parts' MD5s, and how many there are.
fn etag(parts: &[Part]) -> Option<String> {
    let mut hasher = BodyHasher::new().with_md5();
    parts.iter().for_each(|part| hasher.update(part.md5.as_bytes()));
    Some(format!("{}-{}", hasher.finish().md5?.to_hex(), parts.len()))
}

/// How the checksum of the whole is made; `None` when the upload was created without one.
fn whole_kind(upload: &Upload) -> Option<ChecksumKind> {
    upload.attributes.algorithm.map(|_| upload.attributes.checksum_kind.unwrap_or(ChecksumKind::Composite))
}

/// The checksum of the whole, made of those of the parts; `None` when a part has none.
fn whole_checksum(upload: &Upload, parts: &[Part]) -> Option<FileChecksum> {
    let (algorithm, kind) = (upload.attributes.algorithm?, whole_kind(upload)?);
    let of_parts: Vec<(&Checksum, u64)> = parts
        .iter()
        .map(|part| part.checksum.as_ref().filter(|it| it.algorithm == algorithm).map(|it| (it, part.size_bytes)))
        .collect::<Option<_>>()?;
    let checksum = match kind {
        ChecksumKind::FullObject => crc_combine(of_parts)?,
        ChecksumKind::Composite => {
            let mut hasher = BodyHasher::new().with_checksums([algorithm]);
            of_parts.iter().for_each(|(checksum, _)| hasher.update(&checksum.value));
            hasher.finish().checksums.pop()?
        }
    };
    Some(FileChecksum { kind, checksum })
}

impl Registry {
    /// Begins a multipart upload.
    ///
    /// # Errors
    /// When the state would refuse the file as it is now.
    pub async fn upload_create(&self, actor: &Actor, name: &FileName, attributes: UploadAttributes) -> Result<Upload> {
        let upload = UploadId::fresh(self.inner.clock.now(), self.inner.entropy.fresh());
        let command = Command::UploadCreate { upload, name: name.clone(), attributes: Box::new(attributes) };
        match self.inner.log.record(actor, command).await? {
            Reply::Upload(upload) => Ok(*upload),
            reply => Err(unexpected(&reply)),
        }
    }

    /// An open upload, if it was created for this name.
    ///
    /// # Errors
    /// [`Refusal::UploadMissing`] when there is none, or it is completed.
    pub async fn upload_stat(&self, actor: &Actor, name: &FileName, upload: &UploadId) -> Result<Upload> {
        self.inner.upload_open(actor, name, upload).await
    }

    /// Gives up an upload; its parts are gone.
    ///
    /// # Errors
    /// [`Refusal::UploadMissing`] when there is none, or it is completed or aborted already.
    pub async fn upload_abort(&self, actor: &Actor, name: &FileName, upload: &UploadId) -> Result<()> {
        let command = Command::UploadAbort { upload: upload.clone(), name: name.clone() };
        self.inner.log.record(actor, command).await.map(|_| ())
    }

    /// Ingests and commits a part; it takes the place of an earlier part of that number.
    ///
    /// # Errors
    /// As for [`Registry::file_ingest`], and when there is no such upload.
    pub async fn part_ingest(
        &self,
        actor: &Actor,
        name: &FileName,
        upload: &UploadId,
        number: PartNumber,
        body: IngestStream,
        hints: IngestHints,
    ) -> Result<Part> {
        self.part_record(actor, (name, upload, number), (body, hints), None).await
    }

    /// Copies bytes of a version into a part, which is ingested and committed as any other.
    ///
    /// # Errors
    /// As for [`Registry::part_ingest`] and [`Registry::file_read`]; [`Refusal::ContentMissing`] when the source let go of
    /// its bytes while they were copied.
    pub async fn part_copy(
        &self,
        actor: &Actor,
        (source, range): (&FoundFile, ByteRange),
        name: &FileName,
        upload: &UploadId,
        number: PartNumber,
        hints: IngestHints,
    ) -> Result<Part> {
        let from = source.copy_source();
        let bytes = self.file_read(source, range).await?;
        let bytes = bytes.map_ok(IngestFrame::Data).map_err(|error| Box::new(error) as Source).boxed();
        self.part_record(actor, (name, upload, number), (bytes, hints), from).await
    }

    async fn part_record(
        &self,
        actor: &Actor,
        (name, upload, number): (&FileName, &UploadId, PartNumber),
        (body, mut hints): (IngestStream, IngestHints),
        copied_from: Option<CopySource>,
    ) -> Result<Part> {
        let wanted = self.inner.upload_open(actor, name, upload).await?.attributes.algorithm;
        self.inner.check_name_writable(actor, name).await?;
        // Whatever the part itself declares: the checksum of the whole is made of these.
        hints.compute.extend(wanted);
        hints.part_of = Some(PartOf { upload: upload.to_string(), number: number.get() });
        let stored = self.inner.plane.ingest_stream(body, hints).await?;
        reach(Point::PartStored);
        let checksum = checksum_wanted(&stored, wanted);
        let command = Command::PartIngest {
            upload: upload.clone(),
            name: name.clone(),
            number,
            stored: Box::new(stored),
            checksum,
            copied_from,
        };
        match self.inner.log.record(actor, command).await? {
            Reply::Part(part) => Ok(*part),
            reply => Err(unexpected(&reply)),
        }
    }

    /// A page of an open upload's parts, behind a number.
    ///
    /// # Errors
    /// [`Refusal::UploadMissing`] when there is no such upload.
    pub async fn part_list(
        &self,
        actor: &Actor,
        name: &FileName,
        upload: &UploadId,
        after: u32,
        limit: usize,
    ) -> Result<PartPage> {
        let row = self.inner.upload_open(actor, name, upload).await?;
        let mut parts = self.inner.store.parts(upload, after, limit.saturating_add(1)).await?;
        let more = parts.len() > limit;
        parts.truncate(limit);
        Ok(PartPage { upload: row, parts, more })
    }

    /// A page of a producer's open uploads, by key and then by identifier.
    ///
    /// # Errors
    /// When there is no such producer.
    pub async fn upload_list(&self, actor: &Actor, request: &UploadListRequest) -> Result<UploadListPage> {
        self.inner.producer_owned(actor, &request.producer).await?;
        let mut page = UploadListPage::default();
        if request.limit == 0 {
            return Ok(page);
        }
        let delimiter = request.delimiter.as_deref();
        let key = request.key_marker.as_deref();
        let mut place = key.zip(request.upload_marker.as_ref()).map(|(key, id)| (key.to_owned(), id.to_string()));
        // With an upload to go on behind, the key itself still counts.
        let mut bounds = range(&request.prefix, delimiter, if place.is_some() { None } else { key });
        let mut last: Option<(String, Option<UploadId>)> = None;
        loop {
            let after = place.as_ref().map(|(key, id)| (key.as_str(), id.as_str()));
            let uploads = self.inner.store.uploads(&request.producer, &bounds, after, request.limit + 1).await?;
            let read = uploads.len();
            for upload in uploads {
                let key = upload.name.key.to_string();
                place = Some((key.clone(), upload.id.to_string()));
                let prefix = rolled(&key, &request.prefix, delimiter).map(str::to_owned);
                if prefix.is_some() && prefix.as_ref() == page.prefixes.last() {
                    continue;
                }
                if page.uploads.len() + page.prefixes.len() >= request.limit {
                    page.next = last;
                    return Ok(page);
                }
                last = Some((prefix.clone().unwrap_or(key), prefix.is_none().then(|| upload.id.clone())));
                match prefix {
                    Some(prefix) => page.prefixes.push(prefix),
                    None => page.uploads.push(upload),
                }
            }
            if read <= request.limit {
                return Ok(page);
            }
            bounds.from = None;
            bounds.after = None;
        }
    }

    /// Completes an upload: its parts become one file, and no byte is copied. Completing it again answers the same, as
    /// long as that file has its name.
    ///
    /// # Errors
    /// When the parts are not as the client names them, or the state refuses the file.
    pub async fn upload_complete(&self, actor: &Actor, completion: UploadCompletion) -> Result<FileReceipt> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let upload = self.inner.upload_of(actor, &completion.name, &completion.upload).await?;
            if let UploadState::Completed(sequence) = upload.state {
                return self.completed(&completion, sequence).await;
            }
            match self.join(actor, &completion, &upload).await {
                // A part, or another completion, came in between: look again at what the upload is now.
                Err(Error::Refused(_))
                    if attempts < ATTEMPTS && self.inner.store.upload(&upload.id).await?.as_ref() != Some(&upload) => {}
                outcome => return outcome,
            }
        }
    }

    async fn completed(&self, completion: &UploadCompletion, sequence: u64) -> Result<FileReceipt> {
        let missing = || Refusal::UploadMissing(completion.upload.clone());
        let file = self.inner.store.versions(&[sequence]).await?.pop().ok_or_else(missing)?;
        let same = file.attributes.parts.len() == completion.parts.len()
            && file.attributes.parts.iter().zip(&completion.parts).all(|(a, b)| a.number == b.number.get());
        if same && file.ended_sequence.is_none() {
            let producer = self.inner.store.producer(&file.name.producer).await?;
            let versioning = producer.map(|producer| producer.versioning).unwrap_or_default();
            Ok(FileReceipt { file, deduplicated: false, versioning, finalized: None })
        } else {
            Err(missing().into())
        }
    }

    async fn join(&self, actor: &Actor, completion: &UploadCompletion, upload: &Upload) -> Result<FileReceipt> {
        self.inner.check_name_writable(actor, &completion.name).await?;
        if let (Some(asked), Some(kind)) = (completion.checksum_kind, whole_kind(upload))
            && asked != kind
        {
            return Err(Refusal::ChecksumKindMismatch.into());
        }
        let stored = self.inner.store.parts(&completion.upload, 0, PARTS_LIMIT).await?;
        let parts = check_parts(&completion.parts, &stored)?;
        let size_bytes = parts.iter().map(|part| part.size_bytes).sum::<u64>();
        if completion.size_bytes.is_some_and(|declared| declared != size_bytes) {
            return Err(Refusal::SizeMismatch { declared: completion.size_bytes.unwrap_or(0), size_bytes }.into());
        }
        let checksum = whole_checksum(upload, &parts);
        if let Some(declared) = &completion.checksum
            && checksum.as_ref().is_none_or(|made| made.checksum != *declared)
        {
            return Err(Refusal::ChecksumMismatch("the whole".to_owned()).into());
        }
        let joined = Join {
            upload: completion.upload.to_string(),
            parts: parts.iter().map(|part| (part.number.get(), part.recipe.clone())).collect(),
        };
        let hints = IngestHints { size_bytes: Some(size_bytes), join: Some(joined), ..IngestHints::default() };
        let whole = self.inner.plane.ingest_stream(stream::empty().boxed(), hints).await?;
        reach(Point::UploadStored);
        let attributes = Attributes {
            checksum,
            parts: parts
                .iter()
                .map(|part| FilePart {
                    size_bytes: part.size_bytes,
                    number: part.number.get(),
                    checksum: part.checksum.clone(),
                })
                .collect(),
            ..upload.attributes.file.clone()
        };
        let ingest = FileIngest {
            name: completion.name.clone(),
            content: content(whole)?,
            etag: etag(&parts).ok_or(Refusal::PartsMissing)?,
            attributes,
            retention: upload.attributes.retention.clone(),
            condition: completion.condition.clone(),
            upload: Some((completion.upload.clone(), upload.parts_sequence)),
            copied_from: None,
            fresh_package: self.inner.fresh_package(),
            finalize: self.inner.facts.clone(),
        };
        self.inner.file_record(actor, Command::FileIngest(Box::new(ingest))).await
    }
}

/// The checksum that counts for the whole, or else the one that the part declared.
fn checksum_wanted(
    stored: &IngestResult,
    wanted: Option<artifactstore_backends::digest::ChecksumAlgorithm>,
) -> Option<Checksum> {
    let found = stored.checksums.iter().find(|checksum| Some(checksum.algorithm) == wanted);
    found.or_else(|| stored.checksums.first()).cloned()
}
