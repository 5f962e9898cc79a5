//! Ingesting a body under a name.

use std::sync::Arc;

use artifactstore_backends::dataplane::spi::{DataPlane, IngestFrame, IngestHints, IngestResult, IngestStream};
use artifactstore_backends::error::Error as BytesError;
use artifactstore_backends::failpoint::{Point, reach};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::producer::{owned, unexpected};
use super::request::{FileReceipt, FileUpload};
use crate::error::{Error, Refusal, Result};
use crate::log::writer::{Kept, Vault};
use crate::model::attributes::{ChecksumKind, FileChecksum};
use crate::model::command::{Command, Content, FileIngest, PackageChoice, Reply};
use crate::model::event::Actor;
use crate::model::name::{FileName, KeyMeaning, PackageId, PackageName};
use crate::model::row::{OnFinalized, Package};
use crate::{Inner, Registry};

/// The most bytes of a body that is sent to a reserved key and not kept.
const IGNORED_BODY_LIMIT_BYTES: usize = 1 << 20;

/// Keeps large payloads in the data plane.
#[derive(Debug)]
pub(crate) struct PlaneVault {
    plane: Arc<dyn DataPlane>,
}

impl PlaneVault {
    pub(crate) fn new(plane: Arc<dyn DataPlane>) -> Self {
        Self { plane }
    }
}

#[async_trait]
impl Vault for PlaneVault {
    async fn keep(&self, bytes: Bytes) -> Result<Kept> {
        let hints = IngestHints { size_bytes: u64::try_from(bytes.len()).ok(), ..IngestHints::default() };
        let stored = self.plane.ingest_stream(once(bytes), hints).await?;
        let sha256 = stored.sha256.ok_or(Refusal::ContentMissing)?;
        Ok(Kept { sha256, recipe: stored.recipe, written: stored.written })
    }
}

/// A body that is in hand.
pub(crate) fn once(bytes: Bytes) -> IngestStream {
    stream::iter([Ok(IngestFrame::Data(bytes))]).boxed()
}

/// What the data plane stored, as content to be named.
pub(crate) fn content(stored: IngestResult) -> Result<Content> {
    Ok(Content {
        content_address: stored.content_address,
        sha256: stored.sha256.ok_or(Refusal::ContentMissing)?,
        size_bytes: stored.size_bytes,
        recipe: Some(stored.recipe),
        written: stored.written,
    })
}

impl Inner {
    /// A fresh identifier for a package's revision.
    pub(crate) fn fresh_package(&self) -> PackageId {
        PackageId::from_random(self.entropy.fresh())
    }

    /// What a key means, of a name that the commit would let be written now. Refuses early, and without a lock, what
    /// the commit would refuse: before a byte of the body is read.
    pub(crate) async fn name_writable(&self, actor: &Actor, name: &FileName) -> Result<KeyMeaning> {
        let found = self.store.writing(name).await?;
        let (producer, latest) = found.ok_or_else(|| Refusal::ProducerMissing(name.producer.clone()))?;
        let producer = owned(actor, producer)?;
        let refusal = latest.as_ref().and_then(Package::refusal);
        match refusal.filter(|_| producer.settings.on_finalized != OnFinalized::NewRevision) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(name.key.meaning(producer.settings.package_depth)),
        }
    }

    pub(crate) async fn file_record(&self, actor: &Actor, command: Command) -> Result<FileReceipt> {
        match self.log.record(actor, command).await? {
            Reply::File { file, deduplicated, versioning, finalized, to_finalize } => {
                let mut finalized = finalized.map(|package| *package);
                if let Some(package) = to_finalize {
                    // Should this be refused, because somebody else was quicker, the marker is a file like any other.
                    let sealed = self.package_seal(actor, &PackageChoice::Id(package), None).await?;
                    finalized = Some(sealed).filter(|package| package.seal.is_some());
                }
                Ok(FileReceipt { file: *file, deduplicated, versioning, finalized })
            }
            reply => Err(unexpected(&reply)),
        }
    }
}

impl Registry {
    /// Ingests a body under a name. A write to `<package>/.artifact/finalize` finalizes the package instead: the receipt
    /// then describes the manifest, and `finalized` is set. Any other reserved key is refused.
    ///
    /// # Errors
    /// When the state refuses it (nothing of the body is then read, where that is known beforehand), when the body is not
    /// what was declared, or when it cannot be stored. Nothing has then been named.
    pub async fn file_ingest(&self, actor: &Actor, upload: FileUpload) -> Result<FileReceipt> {
        let FileUpload { name, body, hints, mut attributes, retention, condition } = upload;
        if let KeyMeaning::Reserved { package, item } = self.inner.name_writable(actor, &name).await? {
            return self.reserved(actor, &name, package, &item, body).await;
        }
        let stored = self.inner.plane.ingest_stream(body, hints).await?;
        reach(Point::FileStored);
        let md5 = stored.md5.ok_or(Refusal::ContentMissing)?;
        attributes.checksum = stored
            .checksums
            .first()
            .map(|checksum| FileChecksum { kind: ChecksumKind::FullObject, checksum: checksum.clone() });
        let ingest = FileIngest {
            name,
            content: content(stored)?,
            etag: md5.to_hex(),
            attributes,
            retention,
            condition,
            upload: None,
            copied_from: None,
            fresh_package: self.inner.fresh_package(),
            finalize: self.inner.facts.clone(),
        };
        self.inner.file_record(actor, Command::FileIngest(Box::new(ingest))).await
    }

    async fn reserved(
        &self,
        actor: &Actor,
        name: &FileName,
        package: PackageName,
        item: &str,
        body: IngestStream,
    ) -> Result<FileReceipt> {
        if item != "finalize" {
            return Err(Refusal::KeyReserved("only `finalize` can be written under .artifact/").into());
        }
        // The body says nothing, but its signature and checksums count: it is read to its end.
        let read = body.map_err(|source| Error::Bytes(BytesError::Body(source)));
        let length = read.try_fold(0_usize, async |length, frame| match frame {
            IngestFrame::Data(bytes) if length + bytes.len() > IGNORED_BODY_LIMIT_BYTES => {
                Err(Refusal::KeyReserved("the body of a finalize takes up to 1 MiB, and is not kept").into())
            }
            IngestFrame::Data(bytes) => Ok(length + bytes.len()),
            IngestFrame::Trailer(_) => Ok(length),
        });
        length.await?;
        let choice = PackageChoice::Name(name.producer.clone(), package);
        let package = self.package_finalize(actor, choice).await?;
        let document = self.inner.document(&package, super::read::Document::Cbor).await?;
        let versioning = document.versioning;
        Ok(FileReceipt { file: document.file, deduplicated: false, versioning, finalized: Some(package) })
    }
}
