//! Erasing the bytes of a version where somebody has a right to that, and nothing keeps them.
//!
//! The event comes first: from then on nobody is given the bytes. Then they go. What lies in an object beside bytes that stay is
//! made room for: those are written elsewhere, their locations follow by an event, and the object goes as every other one
//! does, by a sweep. Should it break off anywhere, the same call goes on, and so does the next collection.
//!
//! Invariant: a blob whose erasure is recorded is forgotten only together with every object in which bytes of it lie that
//! nothing else uses.

use std::collections::BTreeSet;
use std::time::Duration;

use artifactstore_backends::dataplane::spi::IngestHints;
use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::failpoint::{Point, reach};
use artifactstore_backends::recipe::LocatedChunk;
use futures::{StreamExt, stream};

use super::collect::Collecting;
use super::producer::unexpected;
use super::request::{CollectSummary, Collection};
use crate::error::{Error, Refusal, Result};
use crate::log::plan::collect::Asked;
use crate::model::command::{CollectStep, Command, Erase, Reply};
use crate::model::erasure::Erasure;
use crate::model::event::{Actor, Event};
use crate::model::name::{FileName, PackageId};
use crate::model::row::{Blob, File, Sequence, VersionChoice};
use crate::model::storage::Storage;
use crate::{Inner, Registry};

/// How often it is begun anew when uploads came in between.
const ATTEMPTS: usize = 8;

/// A version that was erased, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedVersion {
    /// Its name.
    pub name: FileName,
    /// The version.
    pub version: Sequence,
    /// The event that erased it; nothing when it is only said what would be done.
    pub event: Option<Sequence>,
}

/// What became of an erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasureOutcome {
    /// The versions that lost their bytes.
    pub versions: Vec<ErasedVersion>,
    /// Whether that had been recorded before.
    pub recorded_before: bool,
    /// Objects that are gone.
    pub deleted_objects: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Objects whose storage did not say that they are gone; the next collection asks again.
    pub left_objects: u64,
    /// Bytes that stay because they are part of other content, too.
    pub shared_bytes: u64,
    /// Whether the same content was stored again meanwhile, and so is there.
    pub stored_again: bool,
}

impl Registry {
    /// Erases the bytes of a version, and, where that is said, of every other one that has the same. Doing it again goes on
    /// where it broke off, and else answers the same.
    ///
    /// # Errors
    /// When there is no such version; [`Refusal::Kept`] when compliance, a hold or governance keeps it or one that has the
    /// same bytes; [`Refusal::ErasureShared`] when there are such that were not meant; [`Refusal::ErasureImpossible`].
    /// When the bytes cannot be deleted now, it is recorded all the same, and nobody is given them.
    pub async fn file_erase(&self, actor: &Actor, order: Erase, dry: bool) -> Result<ErasureOutcome> {
        let (name, version) = (order.name.clone(), order.version);
        let events = match self.inner.log.record(actor, Command::Erase { erase: Box::new(order), dry }).await? {
            Reply::Collected(events) => events,
            reply => return Err(unexpected(&reply)),
        };
        let mut outcome = ErasureOutcome::default();
        let mut address = None;
        for event in events {
            if let Event::FileErased(fact) = event {
                let name = FileName { producer: fact.producer, key: fact.key };
                outcome.versions.push(ErasedVersion { name, version: fact.version, event: None });
                address = Some(fact.content_address);
            }
        }
        if address.is_none() {
            let file = self.inner.version_meant(&name, version).await?.ok_or(Refusal::VersionMissing)?;
            outcome.recorded_before = true;
            outcome.versions.push(ErasedVersion { name, version: file.sequence, event: None });
            address = Some(file.content_address);
        }
        if dry {
            return Ok(outcome);
        }
        reach(Point::FileErased);
        let versions: Vec<Sequence> = outcome.versions.iter().map(|erased| erased.version).collect();
        for row in self.inner.store.sweeping().erasures(&versions).await? {
            let of = outcome.versions.iter_mut().find(|erased| erased.version == row.version);
            of.into_iter().for_each(|erased| erased.event = Some(row.sequence));
        }
        if let Some(address) = address {
            self.inner.expunge(actor, &address, &mut outcome).await?;
        }
        Ok(outcome)
    }

    /// Which files of a sealed package were erased, by their paths.
    ///
    /// # Errors
    /// When there is no such package, or it is open.
    pub async fn package_erasures(&self, actor: &Actor, id: &PackageId) -> Result<Vec<(String, Erasure)>> {
        let package = self.package_stat(actor, id).await?;
        let manifest = self.manifest_decoded(&package).await?;
        let versions: Vec<Sequence> = manifest.files.iter().map(|file| file.sequence).collect();
        let erased = self.inner.store.sweeping().erasures(&versions).await?;
        let path = |row: &Erasure| manifest.files.iter().find(|file| file.sequence == row.version);
        Ok(erased.into_iter().filter_map(|row| Some((path(&row)?.relative_path.clone(), row))).collect())
    }
}

impl Inner {
    /// The version that is meant, whoever's it is; also one that nobody can read any more.
    pub(crate) async fn version_meant(&self, name: &FileName, version: Option<VersionChoice>) -> Result<Option<File>> {
        let current = self.store.file(name).await?;
        let sequence = match version {
            None => current.as_ref().map(|file| file.sequence),
            Some(VersionChoice::Numbered(sequence)) => Some(sequence),
            Some(VersionChoice::Null) => match current.filter(|file| !file.versioned) {
                Some(file) => Some(file.sequence),
                None => self.store.history(name, version).await?.map(|row| row.sequence),
            },
        };
        Ok(self.store.versions(&sequence.into_iter().collect::<Vec<_>>()).await?.pop())
    }

    /// Why a version that let go of its bytes cannot be read.
    pub(crate) async fn why_released(&self, file: &File, by_number: bool) -> Result<Refusal> {
        let erased = self.store.sweeping().erasures(&[file.sequence]).await?.pop();
        Ok(match erased {
            Some(row) => Refusal::FileErased { event: row.sequence, at: row.erased_at, reason: row.reason, by_number },
            None if by_number => Refusal::VersionMissing,
            None => Refusal::FileMissing,
        })
    }

    /// Has every object deleted in which bytes of an erased blob lie that nothing else uses.
    pub(crate) async fn expunge(
        &self,
        actor: &Actor,
        address: &ContentAddress,
        outcome: &mut ErasureOutcome,
    ) -> Result<()> {
        let how = Collection { grace: Duration::ZERO, dry: false, under_lease: false };
        let tell = |_, _: &CollectSummary| {};
        let mut work = Collecting::new(self, actor, &how, &tell);
        for _ in 0..ATTEMPTS {
            let Some(blob) = self.store.blob(address).await? else { break };
            if blob.reference_count > 0 {
                outcome.stored_again = true;
                break;
            }
            if blob.condemned.is_none() {
                work.condemn(vec![*address], Vec::new()).await?;
            }
            outcome.shared_bytes = self.make_room(&work, &blob).await?;
            if work.expunge(*address).await? {
                break;
            }
        }
        let summary = work.into_summary();
        outcome.deleted_objects += summary.deleted_objects;
        outcome.deleted_bytes += summary.deleted_bytes;
        outcome.left_objects += summary.left_objects;
        Ok(())
    }

    /// Writes elsewhere what lies beside bytes of this blob that are to go; says how many bytes of it are to stay, because
    /// something else uses them.
    async fn make_room(&self, work: &Collecting<'_>, blob: &Blob) -> Result<u64> {
        let chunks: BTreeSet<ContentAddress> = blob.recipe.chunks.iter().map(|chunk| chunk.address).collect();
        let chunks: Vec<ContentAddress> = chunks.into_iter().collect();
        let places: Vec<_> = self.store.locations(&chunks).await?.into_iter().flatten().collect();
        let objects: BTreeSet<ObjectKey> = places.iter().map(|place| place.location.object).collect();
        let asked = Asked {
            chunks: chunks.clone(),
            but: [blob.content_address].into(),
            objects: objects.into_iter().collect(),
            copies_of: None,
        };
        let uses = self.store.sweeping().uses_now(&asked).await?;
        let dying: BTreeSet<ContentAddress> = chunks.into_iter().filter(|chunk| !uses.used.contains(chunk)).collect();
        for (object, residents) in &uses.residents {
            let living: Vec<ContentAddress> = residents.difference(&dying).copied().collect();
            if !living.is_empty() && living.len() < residents.len() {
                self.move_out(work, object, &living).await?;
            }
        }
        let stays = places.iter().filter(|place| uses.used.contains(&place.chunk.address));
        Ok(stays.map(|place| place.chunk.size_bytes).sum())
    }

    async fn move_out(&self, work: &Collecting<'_>, object: &ObjectKey, chunks: &[ContentAddress]) -> Result<()> {
        let storage = Storage::new(self.store.moves().await?);
        let places = self.store.locations(chunks).await?.into_iter().flatten();
        let here = places.filter(|place| place.location.object == *object);
        let located = here.map(|place| {
            let mut location = place.location;
            location.backend = storage.serves(&location.backend, place.sequence).to_owned();
            LocatedChunk { chunk: place.chunk, location }
        });
        let hints = IngestHints { rewrite: Some(located.collect()), ..IngestHints::default() };
        let moved = self.plane.ingest_stream(stream::empty().boxed(), hints).await?;
        reach(Point::NeighboursWritten);
        work.step(CollectStep::Relocate { from: *object, chunks: moved.written }).await?;
        reach(Point::NeighboursMoved);
        Ok(())
    }

    /// Goes on with erasures that broke off. What cannot be moved out of the way keeps no other from going.
    pub(crate) async fn expunge_pending(&self, actor: &Actor, limit: usize) -> Result<()> {
        for address in self.store.sweeping().erasures_pending(limit).await? {
            match self.expunge(actor, &address, &mut ErasureOutcome::default()).await {
                Err(Error::Bytes(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, blob = %address, "bytes that were erased cannot be deleted now");
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }
}
