//! Scrubbing: every object is read again and compared with the digests of what lies in it, slowly and for good.
//!
//! A pass goes through the objects in the order of their names. How far it came is an event, told rarely, so that whoever goes
//! on with it behind a restart reads a little again and not everything. What is damaged is an event for each object, and so
//! is that it ceased to be. Nothing is repaired here: whoever sends the bytes again has them written elsewhere.
//!
//! Invariant: what is called damaged was read twice, the second time behind a fresh look at where it lies.
//! Invariant: a page of objects is all that is in memory, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use artifactstore_backends::dataplane::spi::{Damage, Verification};
use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::Chunk;
use tokio::time::Instant;

use super::producer::unexpected;
use crate::error::{Error, Refusal, Result};
use crate::log::replay::decode;
use crate::model::command::{Command, Examined, Reply, ScrubStep};
use crate::model::event::{Actor, Event, PackageFinalized};
use crate::model::row::{ChunkPlace, File, Package, Sequence};
use crate::model::scrub::{DamagedObject, ScrubPass, ScrubTally, SpoiltChunk};
use crate::model::storage::Storage;
use crate::store::lease::{Lease, Work};
use crate::store::scrubbing::FileCursor;
use crate::{Inner, Registry};

/// How many objects are looked up in one go.
const PAGE: usize = 64;
/// How much may be read twice because a process ended, unless told otherwise.
pub const TELL_BYTES: u64 = 16 << 30;
/// How long a pass goes on without saying how far it came.
const TELL_AFTER: Duration = Duration::from_mins(15);
/// How long it sleeps at once, so that it keeps its lease and hears when it is to stop.
const NAP: Duration = Duration::from_millis(500);

/// How to read everything again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrub {
    /// How many bytes a second, at most.
    pub bytes_per_second: u64,
    /// How many bytes are read between two events that say how far it came, at most.
    pub tell_bytes: u64,
    /// Only while this process has the lease of this work.
    pub under_lease: bool,
}

/// What was read since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubTotals {
    /// Objects.
    pub objects: u64,
    /// Bytes of the chunks that lie in them.
    pub bytes: u64,
}

/// How the store is, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubReport {
    /// The newest pass.
    pub newest: Option<ScrubPass>,
    /// The newest pass that ended.
    pub ended: Option<ScrubPass>,
    /// How many objects are known to be damaged.
    pub damaged: u64,
}

impl ScrubReport {
    /// The pass that is under way, if one is.
    #[must_use]
    pub fn under_way(&self) -> Option<&ScrubPass> {
        self.newest.as_ref().filter(|pass| pass.ended_sequence.is_none())
    }
}

/// Asked now and then: whether to stop.
type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

struct Scrubbing<'a> {
    inner: &'a Inner,
    actor: &'a Actor,
    how: &'a Scrub,
    stop: Stop<'a>,
    begun: Sequence,
    cursor: Option<ObjectKey>,
    tally: ScrubTally,
    /// What was read when it was last said how far it came, and when.
    told: (u64, Instant),
    /// Before then nothing more is read.
    next: Instant,
}

impl Registry {
    /// Goes on with the pass that is under way, or begins one, and reads to its end; gives the pass as it was left. Stops
    /// between two objects when it is told to, and says how far it came.
    ///
    /// # Errors
    /// When the store or the backend cannot be read, or the log cannot be written. [`Refusal::LeaseOver`] when it is to be
    /// done under the lease, and another process has it. What was found until then stays found.
    pub async fn scrub(
        &self,
        actor: &Actor,
        how: &Scrub,
        stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Option<ScrubPass>> {
        let (newest, _) = self.inner.store.scrubbing().passes().await?;
        let pass = match newest.filter(|pass| pass.ended_sequence.is_none()) {
            Some(pass) => Some(pass),
            None => self.inner.scrub_step(actor, how.under_lease, ScrubStep::Begin).await?,
        };
        let Some(pass) = pass else { return Ok(None) };
        let now = Instant::now();
        let mut work = Scrubbing {
            inner: &self.inner,
            actor,
            how,
            stop,
            begun: pass.sequence,
            cursor: pass.cursor,
            tally: pass.tally,
            told: (pass.tally.bytes, now),
            next: now,
        };
        let outcome = work.run().await;
        if let Ok(true) = outcome {
            let step = ScrubStep::End { begun: work.begun, tally: work.tally };
            return self.inner.scrub_step(actor, how.under_lease, step).await;
        }
        // What was read counts, also when the next object could not be.
        let left = work.tell().await;
        outcome?;
        left
    }

    /// Whether a pass is under way, or so much time has gone by since the last one, or since the first event where there was
    /// none. Without an interval a pass is begun only by whoever asks for it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn scrub_due(&self, interval: Option<Duration>) -> Result<bool> {
        let (newest, _) = self.inner.store.scrubbing().passes().await?;
        let since = match newest {
            Some(pass) => match pass.ended_at {
                Some(ended) => ended,
                None => return Ok(true),
            },
            None => match self.inner.store.events(0, 1).await?.first() {
                Some(first) => first.occurred_at,
                None => return Ok(false),
            },
        };
        let Some(interval) = interval else { return Ok(false) };
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        Ok(self.inner.now().await?.0.saturating_sub(since.0) >= interval)
    }

    /// Begins a pass, unless one is under way; whichever gateway has the lease of this work reads. Gives that pass.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn scrub_begin(&self, actor: &Actor) -> Result<Option<ScrubPass>> {
        self.inner.scrub_step(actor, false, ScrubStep::Begin).await
    }

    /// Whether this process has the lease of scrubbing, or gets it now.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn scrub_leads(&self) -> Result<bool> {
        Ok(self.inner.leases.of(&*self.inner.store, Work::Scrub).await?.is_some())
    }

    /// Notes of objects that were damaged that nothing damaged lies in them any more, because it was written elsewhere or
    /// swept. To be called every few seconds: as a rule it finds nothing.
    ///
    /// # Errors
    /// When the store cannot be read, or the log cannot be written.
    pub async fn scrub_settle(&self, actor: &Actor) -> Result<()> {
        let left = self.inner.store.scrubbing().damaged_left(PAGE).await?;
        if left.is_empty() {
            return Ok(());
        }
        let nothing = |row: DamagedObject| Examined {
            object: row.object,
            backend: row.backend,
            spoilt: Vec::new(),
            whole: Vec::new(),
            since: Some(row.sequence),
            finding: String::new(),
        };
        let step = ScrubStep::Report(left.into_iter().map(nothing).collect());
        self.inner.scrub_step(actor, false, step).await?;
        Ok(())
    }

    /// How the store is, as far as it was read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn scrub_report(&self) -> Result<ScrubReport> {
        let scrubbing = self.inner.store.scrubbing();
        let (newest, ended) = scrubbing.passes().await?;
        Ok(ScrubReport { newest, ended, damaged: scrubbing.damaged_count().await? })
    }

    /// What was read since this process began.
    #[must_use]
    pub fn scrub_totals(&self) -> ScrubTotals {
        *self.inner.scrubbed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Objects that are known to be damaged, behind one, in the order of their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn damage_list(&self, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<DamagedObject>> {
        self.inner.store.scrubbing().damaged(after, limit).await
    }

    /// An object, if it is known to be damaged.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn damage_stat(&self, object: &ObjectKey) -> Result<Option<DamagedObject>> {
        self.inner.store.scrubbing().damaged_object(object).await
    }

    /// The versions whose bytes lie, in part or whole, in the damaged chunks of an object; behind a place, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn damage_files(
        &self,
        object: &ObjectKey,
        after: Option<&FileCursor>,
        limit: usize,
    ) -> Result<Vec<File>> {
        let chunks = self.inner.store.scrubbing().damaged_chunks(object).await?;
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.store.scrubbing().files_of_chunks(&chunks, after, limit).await
    }

    /// The revisions whose stored manifests lie, in part or whole, in the damaged chunks of an object.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn damage_manifests(&self, object: &ObjectKey, limit: usize) -> Result<Vec<Package>> {
        let chunks = self.inner.store.scrubbing().damaged_chunks(object).await?;
        self.inner.manifests_stored_in(&chunks, limit).await
    }
}

impl Inner {
    /// The revisions whose manifests are stored in blobs that use these chunks. A manifest that is its event's payload may
    /// be a file besides, and is not meant.
    pub(crate) async fn manifests_stored_in(&self, chunks: &[ContentAddress], limit: usize) -> Result<Vec<Package>> {
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let mut stored = Vec::new();
        for package in self.store.scrubbing().manifests_of_chunks(chunks, limit).await? {
            let Some(seal) = package.seal.as_ref().map(|seal| seal.sequence) else { continue };
            let record = self.store.events(seal.saturating_sub(1), 1).await?.pop();
            let Some(record) = record.filter(|record| record.sequence == seal) else { continue };
            if let Event::PackageFinalized(fact) = decode(&record)?
                && matches!(*fact, PackageFinalized::Stored(_))
            {
                stored.push(package);
            }
        }
        Ok(stored)
    }

    async fn scrub_lease(&self, under_lease: bool) -> Result<Option<Lease>> {
        if !under_lease {
            return Ok(None);
        }
        let lease = self.leases.of(&*self.store, Work::Scrub).await?;
        lease.map(Some).ok_or_else(|| Refusal::LeaseOver.into())
    }

    async fn scrub_step(&self, actor: &Actor, under_lease: bool, step: ScrubStep) -> Result<Option<ScrubPass>> {
        let command = Command::Scrub(Box::new(step));
        let recorded = match self.scrub_lease(under_lease).await? {
            None => self.log.record(actor, command).await,
            Some(lease) => {
                let recorded = self.log.record_under(&lease, actor, command).await;
                if let Err(Error::Refused(Refusal::LeaseOver)) = recorded {
                    self.leases.forget(&lease).await;
                }
                recorded
            }
        };
        match recorded? {
            Reply::Scrubbed(pass) => Ok(pass.map(|pass| *pass)),
            reply => Err(unexpected(&reply)),
        }
    }

    fn scrubbed(&self, bytes: u64) {
        let mut totals = self.scrubbed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.objects += 1;
        totals.bytes += bytes;
    }
}

/// What was found in an object.
struct Looked {
    examined: Vec<Examined>,
    bytes: u64,
}

impl Scrubbing<'_> {
    /// Reads on to the end; whether it came there, and was not stopped before.
    async fn run(&mut self) -> Result<bool> {
        loop {
            let page = self.inner.store.scrubbing().objects(self.cursor.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(true);
            }
            let places = self.places(&page).await?;
            let storage = Storage::new(self.inner.store.moves().await?);
            for object in page {
                if (self.stop)() {
                    return Ok(false);
                }
                self.inner.scrub_lease(self.how.under_lease).await?;
                // What is not there any more was swept since the page was read.
                if let Some(places) = places.get(&object) {
                    self.object(object, places, &storage).await?;
                }
                self.cursor = Some(object);
                if !self.wait().await? {
                    return Ok(false);
                }
            }
            let (bytes, since) = self.told;
            if self.tally.bytes - bytes >= self.how.tell_bytes || since.elapsed() >= TELL_AFTER {
                self.tell().await?;
            }
        }
    }

    async fn object(&mut self, object: ObjectKey, places: &[ChunkPlace], storage: &Storage) -> Result<()> {
        let is_known = places.iter().any(|place| place.damaged_sequence.is_some());
        let mut looked =
            if is_known { self.look_anew(object).await? } else { self.look(object, places, (storage, None)).await? };
        if looked.examined.iter().any(|one| !one.spoilt.is_empty()) {
            // Where it lies may have changed since the page was read.
            looked = self.look_anew(object).await?;
        }
        let damaged = looked.examined.iter().any(|one| !one.spoilt.is_empty());
        if !looked.examined.is_empty() {
            let step = ScrubStep::Report(looked.examined);
            self.inner.scrub_step(self.actor, self.how.under_lease, step).await?;
        }
        // The commit looked whether it still counts.
        if damaged && let Some(row) = self.inner.store.scrubbing().damaged_object(&object).await? {
            tracing::error!(object = %object.to_hex(), finding = row.finding, "an object is damaged");
            self.tally.damaged += 1;
        }
        self.tally.objects += 1;
        self.tally.bytes += looked.bytes;
        self.inner.scrubbed(looked.bytes);
        let pause = looked.bytes.saturating_mul(1_000_000) / self.how.bytes_per_second.max(1);
        self.next = self.next.max(Instant::now()) + Duration::from_micros(pause);
        Ok(())
    }

    async fn places(&self, objects: &[ObjectKey]) -> Result<BTreeMap<ObjectKey, Vec<ChunkPlace>>> {
        let mut places: BTreeMap<ObjectKey, Vec<ChunkPlace>> = BTreeMap::new();
        for place in self.inner.store.scrubbing().residents(objects).await? {
            places.entry(place.location.object).or_default().push(place);
        }
        Ok(places)
    }

    /// Reads what lies in an object now. What is known of its damage is asked first: whatever is found later than that, this
    /// says nothing of.
    async fn look_anew(&self, object: ObjectKey) -> Result<Looked> {
        let since = self.inner.store.scrubbing().damaged_object(&object).await?.map(|row| row.sequence);
        let storage = Storage::new(self.inner.store.moves().await?);
        let places = self.places(&[object]).await?.remove(&object).unwrap_or_default();
        self.look(object, &places, (&storage, since)).await
    }

    /// Reads what lies in an object: as a rule in one backend, or in two while bytes move.
    async fn look(
        &self,
        object: ObjectKey,
        places: &[ChunkPlace],
        (storage, since): (&Storage, Option<Sequence>),
    ) -> Result<Looked> {
        let mut backends: BTreeMap<&str, Vec<&ChunkPlace>> = BTreeMap::new();
        for place in places {
            backends.entry(storage.serves(&place.location.backend, place.sequence)).or_default().push(place);
        }
        let mut looked = Looked { examined: Vec::new(), bytes: 0 };
        let (mut spoilt, mut findings): (Vec<SpoiltChunk>, BTreeSet<String>) = Default::default();
        let mut at = String::new();
        for (backend, places) in backends {
            let chunks: Vec<(Chunk, u64)> =
                places.iter().map(|place| (place.chunk, place.location.offset_bytes)).collect();
            let what = Verification::Object { backend: backend.to_owned(), object, chunks };
            let found = self.inner.plane.verify_object(&what).await?;
            looked.bytes += found.size_bytes;
            if at.is_empty() || !found.damages.is_empty() {
                backend.clone_into(&mut at);
            }
            for Damage { chunk, found, finding, .. } in found.damages {
                spoilt.extend(chunk.map(|address| SpoiltChunk { found, address }));
                findings.insert(finding);
            }
        }
        spoilt.sort_by_key(|chunk| chunk.address);
        spoilt.dedup_by_key(|chunk| chunk.address);
        let bad: BTreeSet<ContentAddress> = spoilt.iter().map(|chunk| chunk.address).collect();
        let known = places.iter().filter(|place| place.damaged_sequence.is_some()).map(|place| place.chunk.address);
        let whole: Vec<ContentAddress> = known.filter(|chunk| !bad.contains(chunk)).collect();
        if !spoilt.is_empty() || !whole.is_empty() {
            let finding = summed_up(&findings);
            looked.examined.push(Examined { object, backend: at, spoilt, whole, since, finding });
        }
        Ok(looked)
    }

    /// Waits until more may be read; whether to go on.
    async fn wait(&self) -> Result<bool> {
        loop {
            let now = Instant::now();
            if now >= self.next {
                return Ok(true);
            }
            if (self.stop)() {
                return Ok(false);
            }
            self.inner.scrub_lease(self.how.under_lease).await?;
            tokio::time::sleep_until(self.next.min(now + NAP)).await;
        }
    }

    /// Says how far it came, if that is news.
    async fn tell(&mut self) -> Result<Option<ScrubPass>> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let step = ScrubStep::Advance { begun: self.begun, cursor, tally: self.tally };
        let pass = self.inner.scrub_step(self.actor, self.how.under_lease, step).await?;
        self.told = (self.tally.bytes, Instant::now());
        Ok(pass)
    }
}

/// The findings of an object in one line; of many, the first.
fn summed_up(findings: &BTreeSet<String>) -> String {
    let first = findings.first().cloned().unwrap_or_default();
    match findings.len() {
        0 | 1 => first,
        more => format!("{first} (and {} findings more)", more - 1),
    }
}
