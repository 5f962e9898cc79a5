//! Gives chunks a place: none is written that the catalog knows, small ones share an object, large ones have their own.
//!
//! Small chunks are packed by natural batching: what comes while a pack is being written makes the next one, and a chunk
//! that finds nothing on its way is written at once, alone if it is alone. So that a backend with a long way is not
//! waited for one pack at a time, a pack that is worth its own way does not wait for the one before; and none waits for
//! one that takes unusually long.
//!
//! An object that was swept leaves its name behind for good: a deletion that nobody waits for any more could otherwise take
//! an object that was written since. Its chunks, should they come again, get an object with a mark behind them. So do
//! chunks whose bytes are known to be damaged where they lie.
//!
//! Invariant: whoever is told a location may rely on it: the object is stored and synced.
//! Invariant: a chunk keeps its room in the budget until it is written, also when its body's future is dropped, and
//! when the backend gave up a write that hangs and still has its bytes.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::backend::SealedObject;
use crate::dataplane::budget::Room;
use crate::dataplane::buffer::aligned_buffer;
use crate::dataplane::shelf::{Shelf, compute};
use crate::dataplane::spi::Whereabouts;
use crate::digest::{ContentAddress, Md5Digest, ObjectKey};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::recipe::{Chunk, Codec, LocatedChunk, Location, RetrievalTier};

/// What stands behind the chunks of an object whose name might be that of one that was swept: the number of sweeps.
const MARK_BYTES: usize = 8;
/// A chunk of up to this part of the chunk size is small.
const SMALL_PART: usize = 32;
/// The most chunks in one pack.
const PACK_CHUNKS: usize = 1024;
/// What waits is worth a way of its own from this part of the chunk size on.
const WORTH_PART: usize = 8;
/// Packs that are on their way at once.
const PACKS_AT_ONCE: usize = 4;
/// A pack that is on its way for longer is late: nobody waits for it who is not in it.
const LATE: Duration = Duration::from_secs(2);

/// A chunk that is hashed and waits for its place.
#[derive(Debug)]
pub(super) struct FinishedChunk {
    pub(super) address: ContentAddress,
    pub(super) bytes: Bytes,
    /// The MD5 of the bytes, where it was made for the body already.
    pub(super) md5: Option<Md5Digest>,
    pub(super) room: Option<Arc<Room>>,
    /// Whether it is to be written although it lies somewhere.
    pub(super) afresh: bool,
}

/// A chunk that has its place.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) chunk: LocatedChunk,
    /// Whether it was written for this body.
    pub(super) written: bool,
}

/// Small chunks on their way.
#[derive(Debug, Default)]
pub(super) struct Packs {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: Vec<Small>,
    size_bytes: usize,
    packs_running: usize,
    /// How many of those are late.
    packs_late: usize,
}

#[derive(Debug)]
struct Small {
    chunk: FinishedChunk,
    answer: oneshot::Sender<Result<Stored>>,
}

/// Begins to store a chunk; the work goes on when the future is dropped, and the future waits for it.
pub(super) fn store(shelf: &Arc<Shelf>, chunk: FinishedChunk) -> BoxFuture<'static, Result<Stored>> {
    if chunk.bytes.len() <= shelf.chunk_size_bytes / SMALL_PART {
        let (answer, answered) = oneshot::channel();
        add(shelf, Small { chunk, answer });
        return async move { answered.await.map_err(|error| Error::Backend(error.into()))? }.boxed();
    }
    let shelf = Arc::clone(shelf);
    let writing = tokio::spawn(async move { store_alone(&shelf, chunk).await });
    async move { writing.await.map_err(|error| Error::Backend(error.into()))? }.boxed()
}

async fn store_alone(shelf: &Shelf, finished: FinishedChunk) -> Result<Stored> {
    let FinishedChunk { address, bytes, md5, room, afresh } = finished;
    let chunk = Chunk { size_bytes: bytes.len() as u64, address };
    let known = shelf.locate(&[chunk]).await?.pop();
    let object = match known.map(|known| if afresh { not_here(known) } else { known }) {
        Some(Whereabouts::At(location)) => {
            return Ok(Stored { chunk: LocatedChunk { chunk, location }, written: false });
        }
        Some(whereabouts @ (Whereabouts::Swept | Whereabouts::Damaged(..))) => {
            let mut marked = aligned_buffer(bytes.len() + MARK_BYTES);
            marked.extend_from_slice(&bytes);
            drop(bytes);
            let mark = shelf.catalog.sweeps(true).await?.max(damaged_since(&whereabouts));
            marked.extend_from_slice(&mark.to_be_bytes());
            compute(marked.len(), move || SealedObject::seal(marked.freeze())).await?
        }
        Some(Whereabouts::Nowhere) | None => SealedObject::hashed_already(bytes, ObjectKey(address.0)).with_md5(md5),
    };
    let place = put(shelf, object, room).await?;
    Ok(Stored { chunk: placed(&place, chunk, 0), written: true })
}

/// An object that is stored, and in which backend.
struct Place {
    backend: String,
    object: ObjectKey,
}

/// Writes an object. What holds its bytes also holds their room, and holds off a deletion.
async fn put(shelf: &Shelf, object: SealedObject, room: impl Send + Sync + 'static) -> Result<Place> {
    let no_deletion = shelf.writing(&object.key()).await?;
    let backend = shelf.writer().await?;
    let object = backend.put(object.holding((room, no_deletion))).await?;
    Ok(Place { backend: backend.name().to_owned(), object })
}

/// What is to be written elsewhere is as good as damaged where it lies.
fn not_here(whereabouts: Whereabouts) -> Whereabouts {
    match whereabouts {
        Whereabouts::At(location) => Whereabouts::Damaged(location, 0),
        other => other,
    }
}

/// The event that found a chunk damaged where it lies: a mark of its number, or of a later sweep, makes a name that was
/// never given.
const fn damaged_since(whereabouts: &Whereabouts) -> u64 {
    match whereabouts {
        Whereabouts::Damaged(_, since) => *since,
        Whereabouts::At(_) | Whereabouts::Nowhere | Whereabouts::Swept => 0,
    }
}

fn placed(Place { backend, object }: &Place, chunk: Chunk, offset_bytes: u64) -> LocatedChunk {
    let location = Location {
        tier: RetrievalTier::Online,
        codec: Codec::None,
        object: *object,
        offset_bytes,
        backend: backend.clone(),
        stored_length_bytes: chunk.size_bytes,
    };
    LocatedChunk { chunk, location }
}

fn add(shelf: &Arc<Shelf>, small: Small) {
    let mut waiting = shelf.packs.waiting();
    waiting.size_bytes += small.chunk.bytes.len();
    waiting.chunks.push(small);
    begin(shelf, waiting);
}

/// Begins to write what waits, if it need not wait any longer.
fn begin(shelf: &Arc<Shelf>, mut waiting: MutexGuard<'_, Waiting>) {
    let worth = waiting.size_bytes >= shelf.chunk_size_bytes / WORTH_PART || waiting.chunks.len() >= PACK_CHUNKS;
    let due = waiting.packs_running == waiting.packs_late || worth;
    if due && !waiting.chunks.is_empty() && waiting.packs_running < PACKS_AT_ONCE {
        waiting.packs_running += 1;
        drop(waiting);
        let shelf = Arc::clone(shelf);
        tokio::spawn(run(shelf));
    }
}

/// Writes packs until nothing waits. Boxed, since a late one begins another.
fn run(shelf: Arc<Shelf>) -> BoxFuture<'static, ()> {
    async move {
        let mut running = Running { packs: &shelf.packs, late: false, ended: false };
        while let Some(pack) = running.next(shelf.chunk_size_bytes) {
            let mut storing = pin!(store_pack(&shelf, pack));
            if timeout(LATE, &mut storing).await.is_err() {
                running.set_late(true);
                begin(&shelf, shelf.packs.waiting());
                storing.await;
                running.set_late(false);
            }
        }
    }
    .boxed()
}

/// Should a pack's task end early, the next chunk starts another.
struct Running<'a> {
    packs: &'a Packs,
    late: bool,
    ended: bool,
}

impl Running<'_> {
    /// What is written next. To see that nothing waits and to end is one step: what comes then begins another.
    fn next(&mut self, most_bytes: usize) -> Option<Vec<Small>> {
        let mut waiting = self.packs.waiting();
        if waiting.chunks.is_empty() {
            waiting.packs_running -= 1;
            self.ended = true;
            return None;
        }
        Some(waiting.take(most_bytes))
    }

    fn set_late(&mut self, late: bool) {
        self.late = late;
        let packs_late = &mut self.packs.waiting().packs_late;
        if late {
            *packs_late += 1;
        } else {
            *packs_late -= 1;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.late {
            self.set_late(false);
        }
        if !self.ended {
            self.packs.waiting().packs_running -= 1;
        }
    }
}

impl Packs {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held, and what is in it would still be whole chunks.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What came first, up to the size of a pack.
    fn take(&mut self, most_bytes: usize) -> Vec<Small> {
        let (mut count, mut size_bytes) = (0, 0);
        for small in self.chunks.iter().take(PACK_CHUNKS) {
            let with = size_bytes + small.chunk.bytes.len();
            if count > 0 && with > most_bytes {
                break;
            }
            (count, size_bytes) = (count + 1, with);
        }
        self.size_bytes -= size_bytes;
        let rest = self.chunks.split_off(count);
        std::mem::replace(&mut self.chunks, rest)
    }
}

/// Finds or makes a place for each of these, and tells their bodies. An error is told to all of them.
async fn store_pack(shelf: &Shelf, pack: Vec<Small>) {
    let (chunks, answers): (Vec<_>, Vec<_>) = pack.into_iter().map(|small| (small.chunk, small.answer)).unzip();
    match store_together(shelf, chunks).await {
        Ok(stored) => answers.into_iter().zip(stored).for_each(|(answer, stored)| {
            // Whoever went away wants no answer.
            let _ = answer.send(Ok(stored));
        }),
        Err(error) => {
            let error = Arc::new(error);
            answers.into_iter().for_each(|answer| {
                let _ = answer.send(Err(Error::shared(&error)));
            });
        }
    }
}

async fn store_together(shelf: &Shelf, finished: Vec<FinishedChunk>) -> Result<Vec<Stored>> {
    reach(Point::PackTaken);
    let chunk = |one: &FinishedChunk| Chunk { size_bytes: one.bytes.len() as u64, address: one.address };
    let chunks: Vec<Chunk> = finished.iter().map(chunk).collect();
    let known = shelf.locate(&chunks).await?.into_iter().zip(&finished);
    let known: Vec<_> = known.map(|(known, one)| if one.afresh { not_here(known) } else { known }).collect();
    let mut fresh: Vec<(Chunk, Bytes)> = Vec::new();
    let mut offsets: HashMap<ContentAddress, u64> = HashMap::new();
    let mut rooms = Vec::with_capacity(finished.len());
    let mut size_bytes = 0;
    for (one, known) in finished.into_iter().zip(&known) {
        if !matches!(known, Whereabouts::At(_)) && !offsets.contains_key(&one.address) {
            offsets.insert(one.address, size_bytes);
            size_bytes += one.bytes.len() as u64;
            fresh.push((chunk(&one), one.bytes));
        }
        rooms.push(one.room);
    }
    let swept = known.iter().any(|known| matches!(known, Whereabouts::Swept | Whereabouts::Damaged(..)));
    let damaged = known.iter().map(damaged_since).max().unwrap_or(0);
    let object = match &*fresh {
        [] => None,
        [(chunk, bytes)] if !swept => Some(SealedObject::hashed_already(bytes.clone(), ObjectKey(chunk.address.0))),
        _ => {
            let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
            let mut together = aligned_buffer(size_bytes.saturating_add(MARK_BYTES));
            // Each piece is let go when it is copied, so that the pack takes their place in memory.
            fresh.drain(..).for_each(|(_, bytes)| together.extend_from_slice(&bytes));
            let mark = shelf.catalog.sweeps(swept).await?.max(damaged);
            if swept || mark > 0 {
                // The same chunks may have been together before, or one of them alone.
                together.extend_from_slice(&mark.to_be_bytes());
            }
            let pack = compute(together.len(), move || SealedObject::seal(together.freeze())).await?;
            reach(Point::PackSealed);
            Some(pack)
        }
    };
    drop(fresh);
    let place = match object {
        Some(object) => Some(put(shelf, object, rooms).await?),
        None => None,
    };
    reach(Point::PackStored);
    let stored = chunks.into_iter().zip(known).map(|(chunk, known)| match (known, &place) {
        (Whereabouts::At(location), _) => Ok(Stored { chunk: LocatedChunk { chunk, location }, written: false }),
        (Whereabouts::Nowhere | Whereabouts::Swept | Whereabouts::Damaged(..), Some(place)) => {
            let offset_bytes = offsets.get(&chunk.address).copied().unwrap_or_default();
            Ok(Stored { chunk: placed(place, chunk, offset_bytes), written: true })
        }
        (Whereabouts::Nowhere | Whereabouts::Swept | Whereabouts::Damaged(..), None) => {
            Err(Error::Catalog("a chunk is neither known nor written".into()))
        }
    });
    stored.collect()
}
