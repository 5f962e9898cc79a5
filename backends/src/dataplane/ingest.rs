//! Takes a body in: one pass over its bytes, cut into chunks, hashed and written while the rest is still coming.
//!
//! The last chunk waits until the whole body is judged, so a refused body of one chunk leaves nothing behind at all.
//!
//! Invariant: a result means that every byte is stored and synced, and that the body had every digest declared for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::dataplane::budget::Room;
use crate::dataplane::buffer::BUFFER_SLACK_BYTES;
use crate::dataplane::follower::Followed;
use crate::dataplane::intake::{Intake, STEPS_WAITING, Step};
use crate::dataplane::lanes::LargeBody;
use crate::dataplane::shelf::{Shelf, compute};
use crate::dataplane::spi::{IngestHints, IngestResult, IngestStream};
use crate::dataplane::store::{FinishedChunk, Stored, store};
use crate::digest::{Checksum, ChecksumAlgorithm, ContentAddress};
use crate::error::{Declared, Error, Result};
use crate::failpoint::{Point, reach};
use crate::hasher::{BodyDigests, BodyHasher, is_worth_sharing};
use crate::md5::Md5;
use crate::recipe::{Chunk, LocatedChunk, Location, Recipe};

/// Chunks of one body that are written at once: the next one need not wait for a slow backend.
const WRITES_AT_ONCE: usize = 2;

pub(super) async fn ingest(shelf: &Arc<Shelf>, stream: IngestStream, hints: &IngestHints) -> Result<IngestResult> {
    let (sender, steps) = mpsc::channel(STEPS_WAITING);
    let intake = Intake::new(shelf, hints.size_bytes, sender);
    let mut digestion = Digestion::new(shelf, hints);
    let (trailers, ()) = tokio::try_join!(intake.receive(stream), digestion.run(steps))?;
    let md5 = digestion.md5().await?.finalize();
    let mut digests = std::mem::take(&mut digestion.hashers.body).finish_with_md5(md5);
    judge(&digests, hints, &trailers)?;
    if let ([_], Some(chunk)) = (&*digestion.chunks, &mut digestion.finished) {
        // The one chunk is the body.
        chunk.md5 = digests.md5;
    }
    digests.sha256 = digests.sha256.or(hints.sha256);
    digestion.write_finished().await?;
    while let Some(writing) = digestion.writing.pop_front() {
        digestion.note(writing.await?);
    }

    let Digestion { chunks, locations, written, mut kept, .. } = digestion;
    let recipe = Recipe { chunks };
    if let Some(part) = &hints.part_of {
        kept.resize_with(recipe.chunks.len(), || None);
        let followed = recipe.chunks.iter().zip(kept).filter_map(|(chunk, kept)| {
            let location = locations.get(&chunk.address)?.clone()?;
            Some(Followed { located: LocatedChunk { chunk: *chunk, location }, kept })
        });
        shelf.follower.follow(shelf, part, &recipe, followed.collect()).await;
    }
    Ok(IngestResult {
        content_address: digests.content_address,
        sha256: digests.sha256.filter(|_| hints.part_of.is_none()),
        md5: digests.md5,
        size_bytes: digests.size_bytes,
        checksums: digests.checksums,
        recipe,
        written,
    })
}

/// Compares a body with everything that was declared for it.
pub(super) fn judge(digests: &BodyDigests, hints: &IngestHints, trailers: &[Checksum]) -> Result<()> {
    if let Some(algorithm) = hints.trailer
        && !trailers.iter().any(|trailer| trailer.algorithm == algorithm)
    {
        return Err(Error::TrailerMissing(algorithm));
    }
    if hints.md5.is_some() && hints.md5 != digests.md5 {
        return Err(Error::DigestMismatch(Declared::Md5));
    }
    if hints.sha256.is_some() && digests.sha256.is_some() && hints.sha256 != digests.sha256 {
        return Err(Error::DigestMismatch(Declared::Checksum(ChecksumAlgorithm::Sha256)));
    }
    for declared in hints.checksum.iter().chain(trailers) {
        // A trailer that nobody announced was not computed, and what was not compared must not look as if it were.
        if !digests.checksums.contains(declared) {
            return Err(Error::DigestMismatch(Declared::Checksum(declared.algorithm)));
        }
    }
    Ok(())
}

/// Every digest that the hints want of a body, aside from SHA-256 and MD5 where they are no checksums.
pub(super) fn hasher_for(hints: &IngestHints) -> BodyHasher {
    let declared = hints.checksum.iter().map(|checksum| checksum.algorithm);
    BodyHasher::new().with_checksums(declared.chain(hints.trailer).chain(hints.compute.iter().copied()))
}

/// Keeps a chunk that lies in a buffer of this capacity, when there is room for the memory that it holds. One that
/// fills little of its buffer, because it was cut off or its body ended, is copied and lets the buffer go.
pub(super) fn keep(shelf: &Shelf, bytes: &Bytes, capacity_bytes: usize) -> Option<(Bytes, Room)> {
    let is_little = bytes.len() < capacity_bytes / 2;
    let buffer_bytes = capacity_bytes.saturating_sub(BUFFER_SLACK_BYTES).max(bytes.len());
    let held_bytes = if is_little { bytes.len() } else { buffer_bytes };
    let room = shelf.budget.room_to_keep(held_bytes).or_else(|| {
        // Perhaps an upload has it that nobody goes on with.
        shelf.follower.tidy();
        shelf.budget.room_to_keep(held_bytes)
    })?;
    Some((if is_little { Bytes::copy_from_slice(bytes) } else { bytes.clone() }, room))
}

/// The half of an ingest that hashes and stores what the other half received.
struct Digestion<'a> {
    shelf: &'a Arc<Shelf>,
    hashers: Box<Hashers>,
    /// What is hashed of the open chunk.
    hashed: BytesMut,
    /// A whole chunk that is not written before it is known whether the body goes on behind it.
    finished: Option<FinishedChunk>,
    writing: VecDeque<BoxFuture<'static, Result<Stored>>>,
    chunks: Vec<Chunk>,
    /// Where each distinct chunk of the body lies; `None` while it is on its way there.
    locations: HashMap<ContentAddress, Option<Location>>,
    written: Vec<LocatedChunk>,
    /// For a part: the bytes of its chunks, as far as there was room to keep them.
    kept: Vec<Option<(Bytes, Room)>>,
    keep: bool,
    /// Counts this body once it is large.
    large: Option<LargeBody>,
    /// Whether the open chunk leaves the MD5 for when it is whole, because many bodies come in.
    defers_md5: bool,
    /// The MD5 of the chunks before, while the open one leaves its own for later.
    md5_held: Option<Md5>,
    /// The same while it is still being made in the lanes.
    md5_away: Option<oneshot::Receiver<Md5>>,
}

#[derive(Default)]
struct Hashers {
    /// Absent while it is left for later.
    md5: Option<Md5>,
    body: BodyHasher,
    /// The open chunk's own; absent for the first chunk, whose digest is the body's so far.
    chunk: Option<blake3::Hasher>,
}

impl Hashers {
    fn update(&mut self, bytes: &[u8]) {
        let Self { md5, body, chunk } = self;
        match md5 {
            Some(md5) if is_worth_sharing(bytes) => {
                rayon::join(|| md5.update(bytes), || update(body, chunk, bytes));
            }
            Some(md5) => {
                md5.update(bytes);
                update(body, chunk, bytes);
            }
            None => update(body, chunk, bytes),
        }
    }

    /// The address of the chunk that ends here; the next one begins.
    fn cut(&mut self) -> ContentAddress {
        let next = blake3::Hasher::new();
        match self.chunk.replace(next) {
            Some(chunk) => ContentAddress(*chunk.finalize().as_bytes()),
            None => self.body.address_so_far(),
        }
    }
}

fn update(body: &mut BodyHasher, chunk: &mut Option<blake3::Hasher>, bytes: &[u8]) {
    match chunk {
        Some(chunk) if is_worth_sharing(bytes) => {
            rayon::join(|| body.update(bytes), || chunk.update(bytes));
        }
        Some(chunk) => {
            body.update(bytes);
            chunk.update(bytes);
        }
        None => body.update(bytes),
    }
}

impl<'a> Digestion<'a> {
    fn new(shelf: &'a Arc<Shelf>, hints: &IngestHints) -> Self {
        let body = hasher_for(hints).md5_elsewhere();
        // A part's own is of no use, and one that was verified on the way is not computed again.
        let body = if hints.part_of.is_some() || hints.sha256.is_some() { body } else { body.with_sha256() };
        Self {
            shelf,
            hashers: Box::new(Hashers { md5: Some(Md5::new()), body, chunk: None }),
            hashed: BytesMut::new(),
            finished: None,
            writing: VecDeque::new(),
            chunks: Vec::new(),
            locations: HashMap::new(),
            written: Vec::new(),
            kept: Vec::new(),
            keep: hints.part_of.is_some(),
            large: None,
            defers_md5: false,
            md5_held: None,
            md5_away: None,
        }
    }

    async fn run(&mut self, mut steps: mpsc::Receiver<Step>) -> Result<()> {
        while let Some(step) = steps.recv().await {
            self.share_md5().await?;
            self.write_finished().await?;
            if let Step::Bytes { bytes, ends_chunk, room } = step {
                if self.large.is_none() && !ends_chunk {
                    self.large = Some(self.shelf.md5.enter());
                }
                self.hash(bytes).await?;
                if ends_chunk {
                    self.finish_chunk(room).await?;
                }
            }
        }
        Ok(())
    }

    /// Feeds the next bytes of the open chunk to the hashers, without copying them.
    async fn hash(&mut self, bytes: BytesMut) -> Result<()> {
        if self.hashed.is_empty() {
            self.defers_md5 = self.large.is_some() && self.shelf.md5.many();
            if !self.defers_md5 {
                self.hashers.md5 = Some(self.md5().await?);
            } else if let Some(md5) = self.hashers.md5.take() {
                self.md5_held = Some(md5);
            }
        }
        let mut hashers = std::mem::take(&mut self.hashers);
        let (hashers, bytes) = compute(bytes.len(), move || {
            hashers.update(&bytes);
            (hashers, bytes)
        })
        .await?;
        self.hashers = hashers;
        self.hashed.unsplit(bytes);
        Ok(())
    }

    async fn finish_chunk(&mut self, room: Option<Room>) -> Result<()> {
        let capacity_bytes = self.hashed.capacity();
        let bytes = std::mem::take(&mut self.hashed).freeze();
        let room = room.map(Arc::new);
        if std::mem::take(&mut self.defers_md5) {
            let md5 = self.md5().await?;
            self.md5_away = Some(self.shelf.md5.update(md5, bytes.clone(), room.clone()));
        }
        let address = self.hashers.cut();
        reach(Point::ChunkHashed);
        self.chunks.push(Chunk { size_bytes: bytes.len() as u64, address });
        if self.keep {
            self.kept.push(keep(self.shelf, &bytes, capacity_bytes));
        }
        self.finished = Some(FinishedChunk { address, bytes, md5: None, room, afresh: false });
        Ok(())
    }

    /// Gives the first chunk, when it waits to be written, the MD5 of the body so far, which is its own.
    async fn share_md5(&mut self) -> Result<()> {
        if self.chunks.len() == 1 && self.finished.is_some() && self.shelf.backends.want_md5() {
            let md5 = self.md5().await?;
            if let Some(chunk) = &mut self.finished {
                chunk.md5 = Some(md5.clone().finalize());
            }
            self.md5_held = Some(md5);
        }
        Ok(())
    }

    /// The MD5 so far, wherever it is.
    async fn md5(&mut self) -> Result<Md5> {
        match self.md5_away.take() {
            Some(away) => away.await.map_err(|error| Error::Backend(error.into())),
            None => Ok(self.md5_held.take().or_else(|| self.hashers.md5.take()).unwrap_or_else(Md5::new)),
        }
    }

    /// Begins to write the chunk that waited, if one did; ends one that was begun before, when there are too many.
    async fn write_finished(&mut self) -> Result<()> {
        let Some(chunk) = self.finished.take() else { return Ok(()) };
        if self.locations.contains_key(&chunk.address) {
            return Ok(());
        }
        if self.writing.len() >= WRITES_AT_ONCE
            && let Some(oldest) = self.writing.pop_front()
        {
            let stored = oldest.await?;
            self.note(stored);
        }
        self.locations.insert(chunk.address, None);
        self.writing.push_back(store(self.shelf, chunk));
        Ok(())
    }

    fn note(&mut self, stored: Stored) {
        self.locations.insert(stored.chunk.chunk.address, Some(stored.chunk.location.clone()));
        if stored.written {
            self.written.push(stored.chunk);
        }
    }
}
