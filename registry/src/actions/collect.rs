//! Collecting what nothing keeps: versions are released, what nothing refers to is condemned, and swept after a while;
//! objects that no event names are found, noted, and swept after a while, too.
//!
//! All of it goes on while gateways serve. Whatever is decided is decided in the log, where uploads are committed as well:
//! from the event on that begins a sweep nothing can lean on what is swept, and the names of its objects are never given
//! again, so that a deletion which hangs, or is made twice, takes nothing that was promised to anybody.
//!
//! Invariant: an object is deleted only behind the event that says so, and that event is ended only when its backend
//! said that the object is gone.

use std::time::Duration;

use artifactstore_backends::dataplane::spi::Deletion;
use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::failpoint::{Point, reach};

use super::producer::unexpected;
use super::request::{CollectPhase, CollectSummary, CollectTotals, Collection};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal, Result};
use crate::model::command::{CollectStep, Command, Reply};
use crate::model::event::{Actor, Event, ObjectAt, SweepBegun};
use crate::store::lease::Work;
use crate::{Inner, Registry};

/// How many candidates are looked at by one step, which has its batch for itself.
const PAGE: usize = 256;
/// How many chunks are looked at in one go, and how many objects of a backend.
const LOOK: usize = 1024;

type OnProgress<'a> = &'a (dyn Fn(CollectPhase, &CollectSummary) + Send + Sync);

pub(super) struct Collecting<'a> {
    inner: &'a Inner,
    actor: &'a Actor,
    how: &'a Collection,
    tell: OnProgress<'a>,
    summary: CollectSummary,
}

impl Registry {
    /// Collects what nothing keeps, from beginning to end; done again, it goes on where it broke off. Safe beside
    /// gateways that serve, and beside others that collect.
    ///
    /// # Errors
    /// When the store or the backend cannot be read, or the log cannot be written. [`Refusal::LeaseOver`] when it is to
    /// be done under the lease, and another process has it. What was done until then stays done.
    pub async fn collect(
        &self,
        actor: &Actor,
        how: &Collection,
        tell: &(dyn Fn(CollectPhase, &CollectSummary) + Send + Sync),
    ) -> Result<CollectSummary> {
        let mut work = Collecting::new(&self.inner, actor, how, tell);
        work.finish().await?;
        work.release().await?;
        work.condemn_blobs().await?;
        work.condemn_chunks().await?;
        let swept = async {
            if !how.dry {
                self.inner.expunge_pending(actor, LOOK).await?;
            }
            work.sweep_blobs().await?;
            work.sweep_chunks().await?;
            work.note_orphans().await?;
            work.sweep_orphans().await
        };
        match swept.await {
            // Everything but that is done; what was condemned stays so until the move has ended.
            Err(Error::Refused(Refusal::StorageMoving)) => work.summary.waits_for_move = true,
            outcome => outcome?,
        }
        if !how.dry {
            self.inner.collected(&work.summary);
        }
        Ok(work.summary)
    }
}

impl<'a> Collecting<'a> {
    pub(super) fn new(inner: &'a Inner, actor: &'a Actor, how: &'a Collection, tell: OnProgress<'a>) -> Self {
        Self { inner, actor, how, tell, summary: CollectSummary::default() }
    }

    pub(super) fn into_summary(self) -> CollectSummary {
        self.summary
    }

    /// Sweeps a condemned blob at once with all that nothing else uses of it; whether that could be.
    pub(super) async fn expunge(&mut self, blob: ContentAddress) -> Result<bool> {
        let events = self.step(CollectStep::Expunge { blob }).await?;
        let begun = !events.is_empty();
        for event in events {
            let Event::SweepBegun(sweep) = event else { return Err(strange(&event)) };
            reach(Point::SweepBegun);
            self.delete(sweep.objects).await?;
        }
        Ok(begun)
    }
}

impl Collecting<'_> {
    pub(super) async fn step(&self, step: CollectStep) -> Result<Vec<Event>> {
        if self.how.under_lease && self.inner.leases.of(&*self.inner.store, Work::Collect).await?.is_none() {
            return Err(Refusal::LeaseOver.into());
        }
        let command = Command::Collect { step: Box::new(step), dry: self.how.dry };
        match self.inner.log.record(self.actor, command).await? {
            Reply::Collected(events) => Ok(events),
            reply => Err(unexpected(&reply)),
        }
    }

    fn told(&self, phase: CollectPhase) {
        (self.tell)(phase, &self.summary);
    }

    /// What may be over for long enough to be swept, by the log's own time. The commit looks at what of that time went by.
    async fn before(&self) -> Result<Timestamp> {
        let (now, head) = (self.inner.now().await?, self.inner.store.head().await?);
        Ok(Timestamp(now.max(head.occurred_at).0.saturating_sub(self.grace_micros())))
    }

    fn grace_micros(&self) -> i64 {
        i64::try_from(self.how.grace.as_micros()).unwrap_or(i64::MAX)
    }

    /// Deletes what earlier sweeps left, because they broke off or a backend did not say what became of it.
    async fn finish(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let open = self.inner.store.sweeping().sweeps_open(after.as_ref(), LOOK).await?;
            let Some(last) = open.last() else { return Ok(()) };
            after = Some(last.object);
            let at = |row: &crate::model::sweep::SweptObject| ObjectAt {
                size_bytes: 0,
                object: row.object,
                backend: row.backend.clone(),
            };
            let objects = open.iter().map(at).collect();
            self.delete(objects).await?;
            self.told(CollectPhase::Finishing);
        }
    }

    async fn release(&mut self) -> Result<()> {
        let mut after = 0;
        loop {
            let versions = self.inner.store.sweeping().versions_releasable(after, PAGE).await?;
            let Some(last) = versions.last() else { return Ok(()) };
            after = *last;
            let events = self.step(CollectStep::Release { versions }).await?;
            reach(Point::VersionsReleased);
            self.summary.released += count(events.len());
            self.told(CollectPhase::Releasing);
        }
    }

    pub(super) async fn condemn(&mut self, blobs: Vec<ContentAddress>, chunks: Vec<ContentAddress>) -> Result<()> {
        for event in self.step(CollectStep::Condemn { blobs, chunks }).await? {
            match event {
                Event::BlobCondemned(_) => self.summary.condemned_blobs += 1,
                Event::ChunkCondemned(fact) => self.summary.condemned_chunks += count(fact.chunks.len()),
                event => return Err(strange(&event)),
            }
        }
        reach(Point::GarbageCondemned);
        self.told(CollectPhase::Condemning);
        Ok(())
    }

    async fn condemn_blobs(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let blobs = self.inner.store.sweeping().blobs_unreferenced(after.as_ref(), PAGE).await?;
            let Some(last) = blobs.last() else { return Ok(()) };
            after = Some(*last);
            self.condemn(blobs, Vec::new()).await?;
        }
    }

    async fn condemn_chunks(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let (unused, next) = self.inner.store.sweeping().chunks_unused(after.as_ref(), LOOK).await?;
            for chunks in unused.chunks(PAGE) {
                self.condemn(Vec::new(), chunks.to_vec()).await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn sweep_blobs(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let blobs = self.inner.store.sweeping().blobs_condemned(self.before().await?, after.as_ref(), PAGE).await?;
            let Some(last) = blobs.last() else { return Ok(()) };
            after = Some(last.content_address);
            let (large, small): (Vec<_>, Vec<_>) = blobs.into_iter().partition(|blob| blob.recipe.chunks.len() > 1);
            let small: Vec<_> = small.into_iter().map(|blob| blob.content_address).collect();
            // Each blob of several chunks by itself: what else uses its chunks is found out for one at a time.
            let steps = large.into_iter().map(|blob| vec![blob.content_address]);
            for blobs in std::iter::once(small).chain(steps).filter(|blobs| !blobs.is_empty()) {
                self.sweep((blobs, Vec::new(), Vec::new())).await?;
            }
        }
    }

    async fn sweep_chunks(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let chunks =
                self.inner.store.sweeping().chunks_condemned(self.before().await?, after.as_ref(), PAGE).await?;
            let Some(last) = chunks.last() else { return Ok(()) };
            after = Some(*last);
            self.sweep((Vec::new(), chunks, Vec::new())).await?;
        }
    }

    async fn sweep(
        &mut self,
        (blobs, chunks, orphans): (Vec<ContentAddress>, Vec<ContentAddress>, Vec<ObjectKey>),
    ) -> Result<()> {
        let are_orphans = !orphans.is_empty();
        let step = CollectStep::Sweep { blobs, chunks, orphans, grace_micros: self.grace_micros() };
        for event in self.step(step).await? {
            let Event::SweepBegun(begun) = event else { return Err(strange(&event)) };
            reach(Point::SweepBegun);
            let SweepBegun { blobs, chunks, objects, .. } = *begun;
            self.summary.swept_blobs += count(blobs.len());
            self.summary.swept_chunks += count(chunks.len());
            if are_orphans {
                reach(Point::OrphanSweepBegun);
                self.summary.swept_orphans += count(objects.len());
            }
            if self.how.dry {
                self.summary.deleted_objects += count(objects.len());
                self.summary.deleted_bytes += objects.iter().map(|at| at.size_bytes).sum::<u64>();
            } else {
                self.delete(objects).await?;
            }
        }
        self.told(CollectPhase::Sweeping);
        Ok(())
    }

    /// Deletes the objects of a sweep, and records which are gone. What a backend does not confirm stays open.
    async fn delete(&mut self, objects: Vec<ObjectAt>) -> Result<()> {
        if self.how.dry {
            return Ok(());
        }
        let mut backends: Vec<&str> = objects.iter().map(|at| at.backend.as_str()).collect();
        backends.sort_unstable();
        backends.dedup();
        for backend in backends {
            let here: Vec<&ObjectAt> = objects.iter().filter(|at| at.backend == backend).collect();
            for group in here.chunks(LOOK) {
                let keys = group.iter().map(|at| at.object).collect();
                let deletion = Deletion::Objects { backend: backend.to_owned(), objects: keys };
                let gone = self.inner.plane.delete_object(deletion).await?.deleted;
                let sizes = group.iter().filter(|at| gone.contains(&at.object)).map(|at| at.size_bytes);
                self.summary.deleted_bytes += sizes.sum::<u64>();
                self.summary.deleted_objects += count(gone.len());
                self.summary.left_objects += count(group.len() - gone.len());
                self.step(CollectStep::End { objects: gone }).await?;
                reach(Point::SweepEnded);
            }
        }
        Ok(())
    }

    async fn note_orphans(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let limit = u32::try_from(LOOK).unwrap_or(u32::MAX);
            let older_than_seconds = self.how.grace.as_secs();
            let looked = Deletion::Orphans { after, limit, older_than_seconds };
            let looked = self.inner.plane.delete_object(looked).await?;
            self.summary.examined_objects += looked.examined;
            let objects: Vec<ObjectAt> = looked
                .orphans
                .into_iter()
                .map(|found| ObjectAt { size_bytes: found.size_bytes, object: found.object, backend: found.backend })
                .collect();
            for objects in objects.chunks(PAGE) {
                for event in self.step(CollectStep::Note { objects: objects.to_vec() }).await? {
                    let Event::ObjectOrphaned(noted) = event else { return Err(strange(&event)) };
                    self.summary.noted_orphans += count(noted.objects.len());
                }
                reach(Point::OrphansNoted);
            }
            self.told(CollectPhase::Walking);
            match looked.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn sweep_orphans(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let orphans = self.inner.store.sweeping().orphans_noted(self.before().await?, after.as_ref(), PAGE).await?;
            let Some(last) = orphans.last() else { return Ok(()) };
            after = Some(*last);
            self.sweep((Vec::new(), Vec::new(), orphans)).await?;
        }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A step records nothing but its own kind.
fn strange(event: &Event) -> Error {
    Error::EventUnreadable { sequence: 0, reason: format!("a collection recorded {}", event.kind()) }
}

/// How long what is condemned, or was left behind, is kept, when nobody says otherwise.
pub const GRACE: Duration = Duration::from_hours(24);

impl Inner {
    fn collected(&self, summary: &CollectSummary) {
        // Nothing panics while it is held.
        let mut totals = self.collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.runs += 1;
        totals.last_run = Some(self.clock.now());
        totals.released += summary.released;
        totals.swept_blobs += summary.swept_blobs;
        totals.deleted_objects += summary.deleted_objects;
        totals.deleted_bytes += summary.deleted_bytes;
        totals.swept_orphans += summary.swept_orphans;
    }
}

impl Registry {
    /// Whether this process has the lease of collecting, or gets it now.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn collect_leads(&self) -> Result<bool> {
        Ok(self.inner.leases.of(&*self.inner.store, Work::Collect).await?.is_some())
    }

    /// What was collected since this process began.
    #[must_use]
    pub fn collect_totals(&self) -> CollectTotals {
        *self.inner.collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
