//! Digests of whole multipart uploads, made while the parts arrive, so that completing one need not read it all again.
//!
//! Per upload a running BLAKE3 and SHA-256 follow the parts in order, in a task of their own. A part that comes early
//! waits for those before it. Its bytes are kept as long as there is room for them, and read back when there was none.
//! All of this is a short cut: whoever has no state here, after a restart or through another gateway, reads back.
//!
//! Invariant: what was followed is only used when it is exactly a prefix of the parts that are joined.
//! Invariant: the uploads followed, and what is kept for each, are bounded; bytes are kept within the budget only.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::dataplane::budget::Room;
use crate::dataplane::join::feed;
use crate::dataplane::serve::{extents, read};
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{ByteStream, PartOf};
use crate::hasher::BodyHasher;
use crate::recipe::{LocatedChunk, Recipe};

/// Uploads that are followed; the one that was longest without a part makes room for a new one.
const UPLOADS_FOLLOWED: usize = 256;
/// Chunks of early parts that wait, over all uploads; for one more, uploads are given up that were quiet for longest. A
/// part whose turn it is takes no place: an upload has one such part at most.
const CHUNKS_WAITING: usize = 64 * 1024;
/// Bytes of early parts are kept until their upload was without a part for so long: it may have been forsaken, and
/// others have use for the room.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// After so long without a part, nothing of an upload waits any more.
const WAITING_FOR: Duration = Duration::from_secs(3600);
/// Parts that are followed at once, over all uploads, so that uploads themselves keep their share of the machine.
const READERS: usize = 2;
/// How long a sender waits for the parts before its own to be followed: what came out of order may take long to read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The uploads that are followed.
#[derive(Debug)]
pub(super) struct Follower {
    uploads: Mutex<Uploads>,
    readers: Semaphore,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Uploads {
    followed: HashMap<String, Entry>,
    /// Counts parts.
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    upload: Arc<Upload>,
    /// The count of parts at its last one, and when that was.
    turn: u64,
    last_part: Instant,
}

#[derive(Debug, Default)]
struct Upload {
    waiting: Mutex<Waiting>,
    run: AsyncMutex<Run>,
}

/// Parts that are stored and not followed yet.
#[derive(Debug, Default)]
struct Waiting {
    parts: BTreeMap<u32, Part>,
    /// The last part that was taken in its turn.
    taken: u32,
    given_up: bool,
}

#[derive(Debug)]
struct Part {
    mark: blake3::Hash,
    chunks: Vec<Followed>,
    /// One for each chunk of a part that came early.
    places: OwnedSemaphorePermit,
}

/// A stored chunk of a part, and its bytes when there was room to keep them.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) located: LocatedChunk,
    pub(super) kept: Option<(Bytes, Room)>,
}

/// What the running digests have seen so far.
#[derive(Debug)]
struct Run {
    hasher: Box<BodyHasher>,
    /// The mark of part n's recipe at index n-1.
    parts: Vec<blake3::Hash>,
}

/// The digests that a joined blob needs, before its first byte.
pub(super) fn whole() -> Box<BodyHasher> {
    Box::new(BodyHasher::new().with_sha256())
}

/// Stands for a recipe, so that a followed part keeps 32 bytes however many chunks it has.
fn mark(recipe: &Recipe) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for chunk in &recipe.chunks {
        hasher.update(&chunk.size_bytes.to_be_bytes()).update(&chunk.address.0);
    }
    hasher.finalize()
}

impl Default for Run {
    fn default() -> Self {
        Self { hasher: whole(), parts: Vec::new() }
    }
}

impl Uploads {
    fn find_or_begin(&mut self, name: &str) -> Arc<Upload> {
        if !self.followed.contains_key(name) && self.followed.len() >= UPLOADS_FOLLOWED {
            let oldest = self.followed.iter().min_by_key(|(_, entry)| entry.turn).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.followed.remove(&name));
        }
        self.turn += 1;
        let (turn, last_part) = (self.turn, Instant::now());
        let begun = || Entry { upload: Arc::default(), turn, last_part };
        let entry = self.followed.entry(name.to_owned()).or_insert_with(begun);
        (entry.turn, entry.last_part) = (turn, last_part);
        Arc::clone(&entry.upload)
    }

    fn find(&self, name: &str) -> Option<Arc<Upload>> {
        self.followed.get(name).map(|entry| Arc::clone(&entry.upload))
    }

    fn tidy(&self) {
        for entry in self.followed.values() {
            let idle = entry.last_part.elapsed();
            if idle >= WAITING_FOR {
                entry.upload.waiting().give_up();
            } else if idle >= KEPT_FOR {
                entry.upload.waiting().let_bytes_go();
            }
        }
    }
}

impl Waiting {
    /// Whether a part of this number may wait for long.
    const fn is_early(&self, number: u32) -> bool {
        !self.given_up && number != self.taken + 1
    }

    fn places(&self) -> usize {
        self.parts.values().map(|part| part.places.num_permits()).sum()
    }

    fn add(&mut self, number: u32, part: Option<Part>) {
        match part {
            Some(part) if !self.given_up => drop(self.parts.insert(number, part)),
            _ => self.give_up(),
        }
    }

    /// The first part, unless its turn is yet to come.
    fn take_up_to(&mut self, number: u32) -> Option<(u32, Part)> {
        let first = self.parts.first_entry().filter(|first| *first.key() <= number)?;
        let (number, part) = first.remove_entry();
        // A part behind its turn replaces one that was taken before.
        self.taken = self.taken.max(number);
        Some((number, part))
    }

    fn let_bytes_go(&mut self) {
        self.parts.values_mut().flat_map(|part| &mut part.chunks).for_each(|chunk| chunk.kept = None);
    }

    fn give_up(&mut self) {
        *self = Self { given_up: true, ..Self::default() };
    }
}

impl Upload {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    pub(super) fn new() -> Self {
        let places = Arc::new(Semaphore::new(CHUNKS_WAITING));
        Self { uploads: Mutex::default(), readers: Semaphore::new(READERS), places }
    }

    /// A part is stored: follows it in the background, now or when those before it are there. The catalog may not know
    /// its chunks yet, so their locations come with it. Ends when those before it that can be followed were, or after
    /// [`PATIENCE`]: senders do not run ahead of the digests, and a completion has one part to wait for as a rule.
    /// Dropping the future changes nothing but that wait.
    pub(super) async fn follow(&self, shelf: &Arc<Shelf>, part: &PartOf, recipe: &Recipe, chunks: Vec<Followed>) {
        let upload = self.uploads().find_or_begin(&part.upload);
        let is_early = upload.waiting().is_early(part.number);
        let places = self.places(if is_early { chunks.len() } else { 0 }, &upload);
        let waits = places.map(|places| Part { mark: mark(recipe), chunks, places });
        upload.waiting().add(part.number, waits);
        let advance = |last| {
            let (shelf, upload) = (Arc::clone(shelf), Arc::clone(&upload));
            tokio::spawn(async move { shelf.follower.advance(&shelf, &upload, last).await })
        };
        // A task that fails has followed nothing, and one that is late goes on: whoever completes reads back, or waits.
        let _ = timeout(PATIENCE, advance(part.number.saturating_sub(1))).await;
        drop(advance(u32::MAX));
    }

    /// Places for so many chunks of an upload. When there are too few, others make room where that helps: those that
    /// were without a part for long, and then whoever is quiet for longest. An upload that was forsaken is among them,
    /// and one that goes on is not the one to be given up for it.
    fn places(&self, count: usize, own: &Arc<Upload>) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(count).ok()?;
        let take = || Arc::clone(&self.places).try_acquire_many_owned(wanted).ok();
        if let Some(places) = take() {
            return Some(places);
        }
        let uploads = self.uploads();
        uploads.tidy();
        let others = uploads.followed.values().filter(|entry| !Arc::ptr_eq(&entry.upload, own));
        let mut holders: Vec<_> = others
            .map(|entry| (entry.turn, entry.upload.waiting().places(), &entry.upload))
            .filter(|(_, held, _)| *held > 0)
            .collect();
        let held: usize = holders.iter().map(|(_, held, _)| held).sum();
        if self.places.available_permits() + held < count {
            return None;
        }
        holders.sort_unstable_by_key(|(turn, ..)| *turn);
        take().or_else(|| {
            holders.into_iter().find_map(|(.., upload)| {
                upload.waiting().give_up();
                take()
            })
        })
    }

    /// Takes back what uploads hold that were without a part for long.
    pub(super) fn tidy(&self) {
        self.uploads().tidy();
    }

    /// The running digests and how many of these parts they cover: none, when what was followed is no prefix of them.
    /// No bytes are kept any longer for what was not followed: who asks reads it.
    pub(super) async fn prefix(&self, upload: &str, parts: &[(u32, Recipe)]) -> (Box<BodyHasher>, usize) {
        let followed = self.uploads().find(upload);
        let Some(upload) = followed else { return (whole(), 0) };
        // What is being read back just now would have to be read by the caller otherwise: worth waiting for.
        let run = upload.run.lock().await;
        upload.waiting().let_bytes_go();
        let mut pairs = (1_u32..).zip(&run.parts).zip(parts);
        let same = pairs.all(|((number, followed), (given, recipe))| number == *given && *followed == mark(recipe));
        if same && run.parts.len() <= parts.len() { (run.hasher.clone(), run.parts.len()) } else { (whole(), 0) }
    }

    /// Follows every waiting part whose turn has come, up to the last that is meant.
    async fn advance(&self, shelf: &Shelf, upload: &Upload, last: u32) {
        let mut run = upload.run.lock().await;
        loop {
            let turn = u32::try_from(run.parts.len() + 1).unwrap_or(u32::MAX);
            let Some((number, part)) = upload.waiting().take_up_to(turn.min(last)) else { return };
            let followed = (number as usize).checked_sub(1).and_then(|index| run.parts.get(index));
            if followed == Some(&part.mark) {
                continue;
            }
            // Behind its turn, a part replaces one that was followed with other bytes: there is no way back.
            let fed = if number == turn { self.feed(shelf, &run.hasher, part.chunks).await } else { None };
            match fed {
                Some(hasher) => {
                    run.hasher = hasher;
                    run.parts.push(part.mark);
                }
                None => {
                    upload.waiting().give_up();
                    *run = Run::default();
                }
            }
        }
    }

    async fn feed(&self, shelf: &Shelf, hasher: &BodyHasher, chunks: Vec<Followed>) -> Option<Box<BodyHasher>> {
        let _turn = self.readers.acquire().await.ok()?;
        let mut fed = Ok(Box::new(hasher.clone()));
        for Followed { located, kept } in chunks {
            let bytes: ByteStream = match &kept {
                Some((bytes, _)) => stream::iter([Ok(bytes.clone())]).boxed(),
                None => read(shelf, extents(std::slice::from_ref(&located), 0..located.chunk.size_bytes)),
            };
            fed = feed(fed.ok()?, bytes).await;
            // Here the room ends of what was kept.
            drop(kept);
        }
        fed.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "a stored part cannot be read back");
        })
        .ok()
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        // A lost entry costs a read-back, and a wrong one is never used: a panic elsewhere does no harm.
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this upload's running digests have come this far; for tests.
    #[cfg(test)]
    pub(super) async fn covers(&self, upload: &str) -> usize {
        let Some(upload) = self.uploads().find(upload) else { return 0 };
        upload.run.lock().await.parts.len()
    }
}
