//! Finding and reading files, and the documents that the registry shows under `.artifact/`.

use artifactstore_backends::dataplane::spi::{ByteRange, ByteStream};
use artifactstore_backends::digest::ContentAddress;
use artifactstore_backends::hasher::BodyHasher;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::producer::owned;
use super::request::{FoundFile, PackageCursor, PackageFilter};
use crate::error::{Error, Refusal, Result};
use crate::log::replay::decode;
use crate::model::attributes::Attributes;
use crate::model::event::{Actor, Event, PackageFinalized};
use crate::model::manifest::Manifest;
use crate::model::name::{FileName, Key, KeyMeaning, PackageId, PackageName, ProducerName};
use crate::model::retention::Keeping;
use crate::model::row::{File, Package, Producer, Seal, Sequence, VersionChoice, Versioning};
use crate::{Inner, Registry};

/// A document of a finalized package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// The manifest.
    Cbor,
    /// Its projection.
    Json,
}

impl Document {
    pub(crate) const ALL: [Self; 2] = [Self::Cbor, Self::Json];

    pub(crate) const fn item(self) -> &'static str {
        match self {
            Self::Cbor => "manifest.cbor",
            Self::Json => "manifest.json",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Cbor => "application/cbor",
            Self::Json => "application/json",
        }
    }
}

impl Inner {
    /// The latest finalized revision of a package.
    pub(crate) async fn package_sealed(&self, producer: &ProducerName, name: &PackageName) -> Result<Option<Package>> {
        let Some(latest) = self.store.package_latest(producer, name).await? else { return Ok(None) };
        if latest.seal.is_some() || latest.revision == 1 {
            return Ok(latest.seal.is_some().then_some(latest));
        }
        // Every revision but the last is finalized: the one before the open one is meant.
        let filter = PackageFilter { name: Some(name.clone()), finalized: Some(true) };
        let before = PackageCursor { name: name.clone(), revision: latest.revision.saturating_sub(2) };
        Ok(self.store.packages(producer, &filter, Some(&before), 1).await?.pop())
    }

    /// The manifest's canonical CBOR, from the event that *is* it or from the blob it names.
    pub(crate) async fn manifest_bytes(&self, seal: &Seal) -> Result<Vec<u8>> {
        let unreadable = |reason: &str| Error::EventUnreadable { sequence: seal.sequence, reason: reason.to_owned() };
        let record = self.store.events(seal.sequence.saturating_sub(1), 1).await?.pop();
        let record =
            record.filter(|record| record.sequence == seal.sequence).ok_or_else(|| unreadable("it is gone"))?;
        let Event::PackageFinalized(fact) = decode(&record)? else {
            return Err(unreadable("it finalizes no package"));
        };
        match *fact {
            PackageFinalized::Inline(_) => Ok(record.payload),
            PackageFinalized::Stored(stored) => {
                let bytes = self.plane.serve_object(&stored.manifest_address, ByteRange::Full).await?;
                let bytes = bytes.try_fold(Vec::new(), async |mut whole, piece| {
                    whole.extend_from_slice(&piece);
                    Ok(whole)
                });
                Ok(bytes.await?)
            }
        }
    }

    /// A document of a finalized package, with the facts that a file has.
    pub(crate) async fn document(&self, package: &Package, document: Document) -> Result<FoundFile> {
        let seal = package.seal.as_ref().ok_or(Refusal::PackageOpen)?;
        let cbor = self.manifest_bytes(seal).await?;
        let bytes = match document {
            Document::Cbor => cbor,
            Document::Json => Manifest::decode(&cbor)
                .map_err(|error| Error::EventUnreadable { sequence: seal.sequence, reason: error.to_string() })?
                .to_json(),
        };
        let mut hasher = BodyHasher::new().with_md5().with_sha256();
        hasher.update(&bytes);
        let digests = hasher.finish();
        let (Some(md5), Some(sha256)) = (digests.md5, digests.sha256) else {
            return Err(Refusal::ContentMissing.into());
        };
        let relative_path = format!(".artifact/{}", document.item());
        let key = format!("{}{}", package.name.reserved_prefix(), document.item());
        let file = File {
            sequence: seal.sequence,
            name: FileName { producer: package.producer.clone(), key: Key::trusted(key) },
            package_id: package.id.clone(),
            package: package.name.clone(),
            relative_path,
            size_bytes: digests.size_bytes,
            content_address: digests.content_address,
            sha256,
            etag: md5.to_hex(),
            attributes: Attributes { media_type: document.media_type().to_owned(), ..Attributes::default() },
            ingested_at: seal.finalized_at,
            client: None,
            ended_sequence: None,
            versioned: false,
            deleted_sequence: None,
            keeping: Keeping::default(),
            released_sequence: None,
        };
        Ok(FoundFile { file, versioning: Versioning::Off, document: Some(Bytes::from(bytes)) })
    }

    /// Why a name has no file: there may be a delete marker in front.
    async fn why_missing(&self, producer: &Producer, name: &FileName) -> Result<Refusal> {
        if producer.versioning == Versioning::Off {
            return Ok(Refusal::FileMissing);
        }
        let newest = self.store.history(name, None).await?.filter(|row| row.marker);
        Ok(newest
            .map_or(Refusal::FileMissing, |row| Refusal::FileMarked { marker: row.sequence, versioned: row.versioned }))
    }

    /// A version that may have no name, and that S3 may still be shown.
    async fn file_version(&self, producer: &Producer, name: &FileName, version: VersionChoice) -> Result<File> {
        let sequence = match version {
            VersionChoice::Numbered(sequence) => sequence,
            VersionChoice::Null => {
                self.store.history(name, Some(version)).await?.ok_or(Refusal::VersionMissing)?.sequence
            }
        };
        let found = self.store.versions(&[sequence]).await?.pop();
        // Versions from before the producer was created are those of a deleted one, perhaps of another tenant.
        let shown = |file: &File| {
            let is_there = file.deleted_sequence.is_none() && file.released_sequence.is_none();
            file.name == *name && file.sequence > producer.created_sequence && is_there
        };
        if let Some(file) = &found
            && file.name == *name
            && file.sequence > producer.created_sequence
            && file.released_sequence.is_some()
        {
            return Err(self.why_released(file, true).await?.into());
        }
        if let Some(file) = found {
            return Some(file).filter(shown).ok_or_else(|| Refusal::VersionMissing.into());
        }
        let marker = self.store.history(name, Some(VersionChoice::Numbered(sequence))).await?;
        Err(marker.map_or(Refusal::VersionMissing, |row| Refusal::MarkerMeant { made_at: row.occurred_at }).into())
    }

    pub(crate) async fn package_owned(&self, actor: &Actor, id: &PackageId) -> Result<Package> {
        let package = self.store.package(id).await?.ok_or(Refusal::PackageMissing)?;
        match self.producer_owned(actor, &package.producer).await {
            Ok(_) => Ok(package),
            // Another tenant's package is not told apart from one that does not exist.
            Err(Error::Refused(_)) => Err(Refusal::PackageMissing.into()),
            Err(error) => Err(error),
        }
    }
}

impl Registry {
    /// The current file of a name, or the version with this number. Also finds the documents under `.artifact/`.
    ///
    /// # Errors
    /// [`Refusal::FileMissing`] or [`Refusal::VersionMissing`] when there is none, or the producer is missing.
    pub async fn file_stat(&self, actor: &Actor, name: &FileName, version: Option<VersionChoice>) -> Result<FoundFile> {
        let found = self.inner.store.reading(name).await?;
        let (producer, current) = found.ok_or_else(|| Refusal::ProducerMissing(name.producer.clone()))?;
        let producer = owned(actor, producer)?;
        if let KeyMeaning::Reserved { package, item } = name.key.meaning(producer.settings.package_depth) {
            let document = Document::ALL.into_iter().find(|document| document.item() == item);
            let document = document.ok_or(Refusal::FileMissing)?;
            let package = self.inner.package_sealed(&name.producer, &package).await?.ok_or(Refusal::FileMissing)?;
            let found = self.inner.document(&package, document).await?;
            return match version {
                Some(VersionChoice::Numbered(version)) if version != found.file.sequence => {
                    Err(Refusal::VersionMissing.into())
                }
                _ => Ok(found),
            };
        }
        let file = match (version, current) {
            (None, Some(file)) => file,
            (None, None) => return Err(self.inner.why_missing(&producer, name).await?.into()),
            (Some(VersionChoice::Null), Some(file)) if !file.versioned => file,
            (Some(version), _) => self.inner.file_version(&producer, name, version).await?,
        };
        if file.released_sequence.is_some() {
            return Err(self.inner.why_released(&file, version.is_some()).await?.into());
        }
        Ok(FoundFile { file, versioning: producer.versioning, document: None })
    }

    /// The file's bytes, in order. An error ends the stream early.
    ///
    /// # Errors
    /// When the range begins past the end, or the bytes are not there.
    pub async fn file_read(&self, found: &FoundFile, range: ByteRange) -> Result<ByteStream> {
        if let Some(document) = &found.document {
            let range = range.resolve(found.file.size_bytes)?;
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(document.len());
            let piece = document.slice(at(range.start)..at(range.end));
            return Ok(stream::iter([Ok(piece)]).boxed());
        }
        let missing = match self.inner.plane.serve_object(&found.file.content_address, range).await {
            Err(error @ artifactstore_backends::Error::BlobMissing(_)) => error,
            read => return Ok(read?),
        };
        // Between the look and the reading it may have been superseded, released and swept.
        let now = self.inner.store.versions(&[found.file.sequence]).await?.pop();
        match now.filter(|file| file.released_sequence.is_some()) {
            Some(file) => Err(self.inner.why_released(&file, true).await?.into()),
            None => Err(missing.into()),
        }
    }

    /// A package's revision.
    ///
    /// # Errors
    /// [`Refusal::PackageMissing`] when there is none, or it is another tenant's.
    pub async fn package_stat(&self, actor: &Actor, id: &PackageId) -> Result<Package> {
        self.inner.package_owned(actor, id).await
    }

    /// The packages of a producer, by name and revision.
    ///
    /// # Errors
    /// When there is no such producer.
    pub async fn package_list(
        &self,
        actor: &Actor,
        producer: &ProducerName,
        filter: &PackageFilter,
        after: Option<&PackageCursor>,
        limit: usize,
    ) -> Result<Vec<Package>> {
        self.inner.producer_owned(actor, producer).await?;
        self.inner.store.packages(producer, filter, after, limit).await
    }

    /// The files of a package's revision behind a key, in key order: of a finalized one those of its manifest, of an open
    /// one those that have a name now.
    ///
    /// # Errors
    /// When there is no such package.
    pub async fn package_files(
        &self,
        actor: &Actor,
        id: &PackageId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<File>> {
        let package = self.inner.package_owned(actor, id).await?;
        let latest = self.inner.store.package_latest(&package.producer, &package.name).await?;
        if latest.is_some_and(|latest| latest.id == package.id && latest.released_sequence.is_none()) {
            // Nothing under a finalized package changes before it is released, so that its names are those of its manifest.
            return self.inner.store.members(&package.producer, &package.name, after, limit).await;
        }
        let manifest = self.manifest_decoded(&package).await?;
        let key = |path: &str| {
            if package.name.is_root() { path.to_owned() } else { format!("{}/{path}", package.name) }
        };
        let wanted: Vec<Sequence> = manifest
            .files
            .iter()
            .filter(|file| after.is_none_or(|after| key(&file.relative_path).as_str() > after.as_str()))
            .take(limit)
            .map(|file| file.sequence)
            .collect();
        let mut files = self.inner.store.versions(&wanted).await?;
        files.sort_by(|a, b| a.name.key.cmp(&b.name.key));
        Ok(files)
    }

    pub(crate) async fn manifest_decoded(&self, package: &Package) -> Result<Manifest> {
        let seal = package.seal.as_ref().ok_or(Refusal::PackageOpen)?;
        let bytes = self.inner.manifest_bytes(seal).await?;
        let unreadable = |reason| Error::EventUnreadable { sequence: seal.sequence, reason };
        if ContentAddress::of(&bytes) != seal.manifest_digest {
            return Err(unreadable("the manifest does not have its digest".to_owned()));
        }
        Manifest::decode(&bytes).map_err(|error| unreadable(error.to_string()))
    }

    /// The manifest's canonical CBOR.
    ///
    /// # Errors
    /// [`Refusal::PackageOpen`] for an open package, [`Refusal::PackageMissing`] for none.
    pub async fn package_manifest(&self, actor: &Actor, id: &PackageId) -> Result<Vec<u8>> {
        let package = self.inner.package_owned(actor, id).await?;
        self.inner.manifest_bytes(package.seal.as_ref().ok_or(Refusal::PackageOpen)?).await
    }
}
