//! Moving the bytes to another backend while gateways serve them: copy, direct writes there, copy the rest, switch.
//!
//! Each step is found done by whoever comes again: what is copied by looking, what was decided in the log. So a move
//! that broke off anywhere serves everything, from the one place or from both, and goes on when it is asked for again.
//!
//! Invariant: a store is served from its new place only once every object that the log names in the old one is there.

use std::time::Duration;

use artifactstore_backends::backend::Backend;
use artifactstore_backends::digest::ObjectKey;
use artifactstore_backends::failpoint::{Point, reach};
use artifactstore_backends::recipe::LocatedChunk;
use artifactstore_backends::transfer::{Mismatch, TransferOptions, TransferProgress, bring, transfer};

use crate::error::{Error, Refusal, Result};
use crate::log::replay::decode;
use crate::model::command::{Command, Reply};
use crate::model::event::{Actor, Event, PackageFinalized};
use crate::model::row::Sequence;
use crate::model::storage::{Storage, StorageMove};
use crate::{Inner, Registry};

/// Events that are looked at in one go.
const PAGE: usize = 512;

/// How to move.
#[derive(Debug, Clone)]
pub struct Relocation {
    /// How to copy.
    pub transfer: TransferOptions,
    /// How long uploads that began before writes went to the new place have until the old one takes no more; those
    /// that take longer are told to come again. At least as long as gateways remember where writes go.
    pub settle: Duration,
}

/// What a move came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Relocated {
    /// What was copied, and what is damaged.
    pub objects: TransferProgress,
    /// The move, when writes were directed.
    #[serde(rename = "move")]
    pub row: Option<StorageMove>,
}

/// What is told on the way.
#[derive(Clone, Copy)]
pub struct Telling<'a> {
    /// How far the copying is.
    pub progress: &'a (dyn Fn(TransferProgress) + Sync),
    /// An object that is not what its name says.
    pub mismatch: &'a (dyn Fn(Mismatch) + Sync),
    /// A step that was taken, in a few words.
    pub step: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Telling<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telling").finish_non_exhaustive()
    }
}

impl Inner {
    async fn storage_record(&self, actor: &Actor, command: Command) -> Result<StorageMove> {
        match self.log.record(actor, command).await? {
            Reply::Storage(row) => Ok(*row),
            reply => Err(super::producer::unexpected(&reply)),
        }
    }

    /// The objects that events behind `since`, up to `until`, named in a backend.
    async fn objects_recorded(&self, backend: &str, since: Sequence, until: Sequence) -> Result<(Vec<ObjectKey>, u64)> {
        let records = self.store.events(since, PAGE).await?;
        let mut objects = Vec::new();
        let mut last = since;
        for record in records.iter().take_while(|record| record.sequence <= until) {
            let event = decode(record)?;
            let here = written(&event).iter().filter(|located| located.location.backend == backend);
            objects.extend(here.map(|located| located.location.object));
            last = record.sequence;
        }
        objects.sort_unstable();
        objects.dedup();
        Ok((objects, last))
    }

    /// Brings what was recorded in the backend that is left, up to an event.
    async fn follow(
        &self,
        (from, to): (&dyn Backend, &dyn Backend),
        since: &mut Sequence,
        until: Sequence,
        options: &TransferOptions,
        tell: Telling<'_>,
    ) -> Result<TransferProgress> {
        let mut done = TransferProgress::default();
        while *since < until {
            let (objects, last) = self.objects_recorded(from.name(), *since, until).await?;
            if last == *since {
                break;
            }
            done = done.and(bring(from, to, &objects, options, tell.mismatch).await?);
            *since = last;
        }
        Ok(done)
    }
}

/// The chunks that an event names in a place.
fn written(event: &Event) -> &[LocatedChunk] {
    match event {
        Event::FileIngested(fact) => &fact.written,
        Event::PartIngested(fact) => &fact.written,
        Event::ChunkRelocated(fact) => &fact.chunks,
        Event::PackageFinalized(fact) => match &**fact {
            PackageFinalized::Stored(stored) => &stored.written,
            PackageFinalized::Inline(_) => &[],
        },
        Event::ProducerCreated(_)
        | Event::ProducerConfigured(_)
        | Event::ProducerDeleted(_)
        | Event::PackageOpened(_)
        | Event::FileDescribed(_)
        | Event::FileRemoved(_)
        | Event::UploadCreated(_)
        | Event::UploadAborted(_)
        | Event::FileMarked(_)
        | Event::FileTagged(_)
        | Event::VersionRemoved(_)
        | Event::VersioningSet(_)
        | Event::SubresourceSet(_)
        | Event::SubresourceRemoved(_)
        | Event::KeyCreated(_)
        | Event::KeyRotated(_)
        | Event::KeyRevoked(_)
        | Event::StorageDirected(_)
        | Event::StorageClosed(_)
        | Event::StorageMoved(_)
        | Event::ClassSet(_)
        | Event::RetentionSet(_)
        | Event::HoldPlaced(_)
        | Event::HoldReleased(_)
        | Event::LockEnabled(_)
        | Event::PackageReleased(_)
        | Event::ClockJumped(_)
        | Event::ClockNoted(_)
        | Event::ClockSettled(_)
        | Event::VersionReleased(_)
        | Event::BlobCondemned(_)
        | Event::ChunkCondemned(_)
        | Event::SweepBegun(_)
        | Event::SweepEnded(_)
        | Event::ObjectOrphaned(_)
        | Event::ScrubBegun(_)
        | Event::ScrubAdvanced(_)
        | Event::ScrubEnded(_)
        | Event::ObjectDamaged(_)
        | Event::ObjectRecovered(_)
        | Event::FileErased(_) => &[],
    }
}

impl Registry {
    /// Where bytes lie, as the log has it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn storage(&self) -> Result<Storage> {
        Ok(Storage::new(self.inner.store.moves().await?))
    }

    /// Moves the bytes from one backend to another, while this and other processes serve them. Both must be open in all
    /// of these. Stops before anything is switched when an object is damaged; the answer counts it. Done again, it goes
    /// on where it stopped.
    ///
    /// # Errors
    /// When either cannot be read or written, or bytes are written to neither of them now.
    pub async fn storage_move(
        &self,
        actor: &Actor,
        (from, to): (&dyn Backend, &dyn Backend),
        how: &Relocation,
        tell: Telling<'_>,
    ) -> Result<Relocated> {
        let inner = &self.inner;
        let storage = self.storage().await?;
        let now = storage.written_to().unwrap_or(from.name());
        if now != from.name() && now != to.name() {
            return Err(Refusal::StorageElsewhere(now.to_owned()).into());
        }
        let ended = |row: &StorageMove| row.to == to.name() && row.ended_sequence.is_some();
        if let Some(row) = storage.last().filter(|row| ended(row)) {
            return Ok(Relocated { objects: TransferProgress::default(), row: Some(row.clone()) });
        }
        let copy =
            || async { transfer(from, to, &how.transfer, tell.progress, tell.mismatch).await.map_err(Error::Bytes) };
        // Most of it while nothing is changed: a place that is too small, or damage, shows before writes go there.
        let mut objects = copy().await?;
        if objects.damaged > 0 {
            return Ok(Relocated { objects, row: storage.last().cloned() });
        }
        reach(Point::StoreCopied);
        let direct = Command::StorageDirect { from: from.name().to_owned(), to: to.name().to_owned() };
        let row = inner.storage_record(actor, direct).await?;
        (tell.step)("new bytes are written to the new storage");
        reach(Point::StoreDirected);
        // What came between the first look and the event; then what uploads bring that began before it.
        objects = objects.and(copy().await?);
        let mut since = row.sequence;
        tokio::time::sleep(how.settle.max(crate::store::FRESH * 2)).await;
        let head = inner.store.head().await?.sequence;
        objects = objects.and(inner.follow((from, to), &mut since, head, &how.transfer, tell).await?);
        reach(Point::StoreFollowed);
        if objects.damaged > 0 {
            return Ok(Relocated { objects, row: Some(row) });
        }
        let row = inner.storage_record(actor, Command::StorageClose { begun: row.sequence }).await?;
        (tell.step)("the old storage takes no more");
        reach(Point::StoreClosed);
        let closed = row.closed_sequence.unwrap_or(since);
        objects = objects.and(inner.follow((from, to), &mut since, closed, &how.transfer, tell).await?);
        reach(Point::StoreWhole);
        if objects.damaged > 0 {
            return Ok(Relocated { objects, row: Some(row) });
        }
        let row = inner.storage_record(actor, Command::StorageEnd { begun: row.sequence }).await?;
        (tell.step)("everything is served from the new storage");
        reach(Point::StoreMoved);
        // Until everybody has noticed, somebody may still read from the old one.
        tokio::time::sleep(crate::store::FRESH * 2).await;
        Ok(Relocated { objects, row: Some(row) })
    }
}
