//! Takes a body in: one pass over its bytes, cut into chunks, written while the rest is still coming.
//!
//! The last chunk waits until the whole body is judged, so a refused body of one chunk leaves nothing behind at all.
//!
//! Invariant: a result means that every byte is stored and synced, and that the body had every digest declared for it.
//! Invariant: a stream holds at most two chunks, and waits for room only while it holds no unfinished one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::backend::SealedObject;
use crate::chunk::{Cutter, FixedCutter};
use crate::dataplane::shelf::{Shelf, compute};
use crate::dataplane::spi::{IngestFrame, IngestHints, IngestResult, IngestStream};
use crate::digest::{Checksum, ContentAddress, ObjectKey};
use crate::error::{Declared, Error, Result};
use crate::failpoint::{Point, reach};
use crate::hasher::{BodyDigests, BodyHasher};
use crate::recipe::{Chunk, Codec, LocatedChunk, Location, Recipe, RetrievalTier};

/// Bytes are hashed when this many have come together: enough to be worth a hop to another thread.
const HASH_STEP_BYTES: usize = 1024 * 1024;
/// More trailers than there are algorithms are no trailers.
const MOST_TRAILERS: usize = 8;

pub(super) async fn ingest(shelf: &Arc<Shelf>, stream: IngestStream, hints: &IngestHints) -> Result<IngestResult> {
    let mut intake = Intake::new(shelf, hints);
    let trailers = intake.receive(stream).await?;
    if hints.size_bytes.is_some_and(|declared| declared != intake.received_bytes) {
        return Err(intake.wrong_length());
    }
    intake.finish_chunk().await?;
    let digests = std::mem::take(&mut intake.hashers.body).finish();
    judge(&digests, hints, &trailers)?;
    if let Some(last) = intake.finished.take() {
        intake.begin_store(last).await?;
    }
    intake.settle().await?;

    let recipe = Recipe { chunks: intake.chunks };
    if let Some(part) = &hints.part_of {
        let located = recipe.chunks.iter().filter_map(|chunk| {
            Some(LocatedChunk { chunk: *chunk, location: intake.locations.get(&chunk.address)?.clone() })
        });
        shelf.follower.follow(shelf, part, &recipe, located.collect());
    }
    Ok(IngestResult {
        content_address: digests.content_address,
        sha256: digests.sha256.filter(|_| hints.part_of.is_none()),
        md5: digests.md5,
        size_bytes: digests.size_bytes,
        checksums: digests.checksums,
        recipe,
        written: intake.written,
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
    for declared in hints.checksum.iter().chain(trailers) {
        // A trailer that nobody announced was not computed, and what was not compared must not look as if it were.
        if !digests.checksums.contains(declared) {
            return Err(Error::DigestMismatch(Declared::Checksum(declared.algorithm)));
        }
    }
    Ok(())
}

/// Every digest that the hints want of a body, SHA-256 and MD5 aside.
pub(super) fn hasher_for(hints: &IngestHints) -> BodyHasher {
    let declared = hints.checksum.iter().map(|checksum| checksum.algorithm);
    BodyHasher::new().with_checksums(declared.chain(hints.trailer).chain(hints.compute.iter().copied()))
}

/// A body on its way in.
struct Intake<'a> {
    shelf: &'a Arc<Shelf>,
    declared_bytes: Option<u64>,
    received_bytes: u64,
    cutter: FixedCutter,
    hashers: Box<Hashers>,
    open: Option<OpenChunk>,
    /// A whole chunk that is not written before it is known whether the body goes on behind it.
    finished: Option<FinishedChunk>,
    writing: Option<JoinHandle<Result<Stored>>>,
    chunks: Vec<Chunk>,
    /// Where each distinct chunk of the body lies; one that is only on its way there is in `writing`.
    locations: HashMap<ContentAddress, Location>,
    written: Vec<LocatedChunk>,
}

#[derive(Default)]
struct Hashers {
    body: BodyHasher,
    /// The open chunk's own; absent for the first chunk, whose digest is the body's so far.
    chunk: Option<blake3::Hasher>,
}

impl Hashers {
    fn update(&mut self, bytes: &[u8]) {
        self.body.update(bytes);
        if let Some(chunk) = &mut self.chunk {
            chunk.update(bytes);
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

struct OpenChunk {
    hashed: BytesMut,
    /// Lies behind `hashed` in the same buffer.
    unhashed: BytesMut,
    room: OwnedSemaphorePermit,
}

struct FinishedChunk {
    address: ContentAddress,
    bytes: Bytes,
    room: OwnedSemaphorePermit,
}

struct Stored {
    chunk: LocatedChunk,
    written: bool,
}

impl<'a> Intake<'a> {
    fn new(shelf: &'a Arc<Shelf>, hints: &IngestHints) -> Self {
        let body = hasher_for(hints).with_md5();
        let body = if hints.part_of.is_some() { body } else { body.with_sha256() };
        Self {
            shelf,
            declared_bytes: hints.size_bytes,
            received_bytes: 0,
            cutter: FixedCutter::new(shelf.chunk_size_bytes),
            hashers: Box::new(Hashers { body, chunk: None }),
            open: None,
            finished: None,
            writing: None,
            chunks: Vec::new(),
            locations: HashMap::new(),
            written: Vec::new(),
        }
    }

    async fn receive(&mut self, mut stream: IngestStream) -> Result<Vec<Checksum>> {
        let mut trailers = Vec::new();
        while let Some(frame) = stream.next().await {
            match frame.map_err(Error::Body)? {
                IngestFrame::Data(bytes) => self.absorb(bytes).await?,
                IngestFrame::Trailer(trailer) if trailers.len() < MOST_TRAILERS => trailers.push(trailer),
                IngestFrame::Trailer(trailer) => {
                    return Err(Error::DigestMismatch(Declared::Checksum(trailer.algorithm)));
                }
            }
        }
        Ok(trailers)
    }

    async fn absorb(&mut self, mut bytes: Bytes) -> Result<()> {
        reach(Point::BodyCame);
        self.received_bytes += bytes.len() as u64;
        if self.declared_bytes.is_some_and(|declared| self.received_bytes > declared) {
            return Err(self.wrong_length());
        }
        while !bytes.is_empty() {
            if let Some(chunk) = self.finished.take() {
                self.begin_store(chunk).await?;
            }
            let cut = self.cutter.next_cut(&bytes);
            let piece = bytes.split_to(cut.unwrap_or(bytes.len()));
            let unread = bytes.len() as u64;
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    // What is declared, less what earlier chunks took.
                    let before = self.received_bytes - unread - piece.len() as u64;
                    let left = self.declared_bytes.map_or(u64::MAX, |declared| declared - before);
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(self.cutter.longest_bytes());
                    let room = self.shelf.budget.room_for(size).await?;
                    let unhashed = BytesMut::with_capacity(size);
                    self.open.insert(OpenChunk { hashed: BytesMut::new(), unhashed, room })
                }
            };
            open.unhashed.extend_from_slice(&piece);
            if cut.is_some() {
                self.finish_chunk().await?;
            } else if open.unhashed.len() >= HASH_STEP_BYTES {
                self.hash().await?;
            }
        }
        Ok(())
    }

    /// Feeds what has come together to the hashers, without copying it.
    async fn hash(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let fresh = open.unhashed.split();
        let mut hashers = std::mem::take(&mut self.hashers);
        let (hashers, fresh) = compute(fresh.len(), move || {
            hashers.update(&fresh);
            (hashers, fresh)
        })
        .await?;
        self.hashers = hashers;
        open.hashed.unsplit(fresh);
        Ok(())
    }

    /// Ends the open chunk, if there is one.
    async fn finish_chunk(&mut self) -> Result<()> {
        self.hash().await?;
        if let Some(OpenChunk { hashed, room, .. }) = self.open.take() {
            let address = self.hashers.cut();
            reach(Point::ChunkHashed);
            self.chunks.push(Chunk { size_bytes: hashed.len() as u64, address });
            self.finished = Some(FinishedChunk { address, bytes: hashed.freeze(), room });
        }
        Ok(())
    }

    /// Writes a chunk while the next one comes in; in a task that keeps its room and its lock until the write is over,
    /// also when the body's own future is dropped.
    async fn begin_store(&mut self, chunk: FinishedChunk) -> Result<()> {
        self.settle().await?;
        if !self.locations.contains_key(&chunk.address) {
            let shelf = Arc::clone(self.shelf);
            self.writing = Some(tokio::spawn(async move { store(&shelf, chunk).await }));
        }
        Ok(())
    }

    /// Waits for the chunk that is being written.
    async fn settle(&mut self) -> Result<()> {
        if let Some(writing) = self.writing.take() {
            let stored = writing.await.map_err(|error| Error::Backend(error.into()))??;
            self.note(stored);
        }
        Ok(())
    }

    fn note(&mut self, stored: Stored) {
        self.locations.insert(stored.chunk.chunk.address, stored.chunk.location.clone());
        if stored.written {
            self.written.push(stored.chunk);
        }
    }

    fn wrong_length(&self) -> Error {
        let declared = self.declared_bytes.unwrap_or_default();
        Error::LengthMismatch { declared, received: self.received_bytes }
    }
}

/// Writes a chunk as an object of its own, unless the catalog knows where it lies already.
async fn store(shelf: &Shelf, FinishedChunk { address, bytes, room }: FinishedChunk) -> Result<Stored> {
    let chunk = Chunk { size_bytes: bytes.len() as u64, address };
    let known = shelf.locate(&[chunk]).await?.pop().flatten();
    if let Some(location) = known {
        return Ok(Stored { chunk: LocatedChunk { chunk, location }, written: false });
    }
    let object = SealedObject::hashed_already(bytes, ObjectKey(address.0));
    let _no_sweep = shelf.writing(&object.key()).await;
    let object = shelf.backend.put(object).await?;
    drop(room);
    let location = Location {
        tier: RetrievalTier::Online,
        codec: Codec::None,
        object,
        offset_bytes: 0,
        backend: shelf.backend.name().to_owned(),
        stored_length_bytes: chunk.size_bytes,
    };
    Ok(Stored { chunk: LocatedChunk { chunk, location }, written: true })
}
