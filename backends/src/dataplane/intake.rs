//! The receiving half of an ingest: frames are brought together in large buffers, for which there is room, and cut.
//!
//! It goes on while the other half hashes and stores what came before. When its sender is slow and others wait for
//! room, it gives its own back: what there is of the open chunk becomes a chunk of its own, or, when that is little, is
//! set aside until there is more of it. The next cut is where it would have been, so that all other chunks of the body
//! stay what they are.
//!
//! Invariant: a stream waits for room only while it holds no unfinished chunk and none that waits to be written.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::chunk::{Cutter, FixedCutter};
use crate::dataplane::budget::Room;
use crate::dataplane::buffer::aligned_buffer;
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{IngestFrame, IngestStream};
use crate::digest::{Checksum, ChecksumAlgorithm};
use crate::error::{Declared, Error, Result};
use crate::failpoint::{Point, reach};

/// Bytes are passed on when this many have come together: enough to be worth a hop to another thread.
const STEP_BYTES: usize = 1024 * 1024;
/// Steps that wait to be hashed.
pub(super) const STEPS_WAITING: usize = 4;
/// More trailers than there are algorithms are no trailers.
const MOST_TRAILERS: usize = ChecksumAlgorithm::ALL.len();
/// How long a sender may let one chunk wait before its room is given to others who want it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Less than this part of a chunk is set aside rather than cut off. What is set aside is not counted in the budget: the
/// number of connections bounds it.
const ASIDE_PART: usize = 128;

/// What the receiving half tells the other one.
pub(super) enum Step {
    /// The next bytes of the open chunk. With the last of them comes the room that the chunk holds.
    Bytes { bytes: BytesMut, ends_chunk: bool, room: Option<Room> },
    /// The chunk that ended need not wait any longer for the body to be judged.
    Write,
}

/// A body on its way in.
pub(super) struct Intake<'a> {
    shelf: &'a Arc<Shelf>,
    declared_bytes: Option<u64>,
    received_bytes: u64,
    cutter: FixedCutter,
    open: Option<OpenChunk>,
    /// Bytes of the open chunk that hold no room: it is not asked for again before there are enough of them.
    aside: BytesMut,
    /// The capacity of a chunk that has ended and waits.
    ended: Option<usize>,
    /// How long the sender was waited for since the open chunk, or the one that waits, began to hold room.
    waited: Duration,
    steps: mpsc::Sender<Step>,
}

struct OpenChunk {
    fresh: BytesMut,
    passed_on_bytes: usize,
    capacity_bytes: usize,
    room: Room,
}

impl<'a> Intake<'a> {
    pub(super) fn new(shelf: &'a Arc<Shelf>, declared_bytes: Option<u64>, steps: mpsc::Sender<Step>) -> Self {
        Self {
            shelf,
            declared_bytes,
            received_bytes: 0,
            cutter: FixedCutter::new(shelf.chunk_size_bytes),
            open: None,
            aside: BytesMut::new(),
            ended: None,
            waited: Duration::ZERO,
            steps,
        }
    }

    /// Takes the body to its end, and returns the trailers that came behind it.
    pub(super) async fn receive(mut self, mut stream: IngestStream) -> Result<Vec<Checksum>> {
        let mut trailers = Vec::new();
        loop {
            let asked = Instant::now();
            let frame = tokio::select! {
                biased;
                frame = stream.next() => frame,
                () = self.wanted() => {
                    self.give_back().await?;
                    continue;
                }
            };
            self.waited += asked.elapsed();
            match frame.transpose().map_err(Error::Body)? {
                None => break,
                Some(IngestFrame::Data(bytes)) => self.absorb(bytes).await?,
                Some(IngestFrame::Trailer(trailer)) if trailers.len() < MOST_TRAILERS => trailers.push(trailer),
                Some(IngestFrame::Trailer(trailer)) => {
                    return Err(Error::DigestMismatch(Declared::Checksum(trailer.algorithm)));
                }
            }
        }
        if self.declared_bytes.is_some_and(|declared| declared != self.received_bytes) {
            return Err(self.wrong_length());
        }
        if !self.aside.is_empty() {
            let bytes = std::mem::take(&mut self.aside);
            self.pass_on(Step::Bytes { bytes, ends_chunk: true, room: None }).await?;
        }
        self.end_chunk().await?;
        Ok(trailers)
    }

    async fn absorb(&mut self, mut bytes: Bytes) -> Result<()> {
        reach(Point::BodyCame);
        self.received_bytes += bytes.len() as u64;
        if self.declared_bytes.is_some_and(|declared| self.received_bytes > declared) {
            return Err(self.wrong_length());
        }
        while !bytes.is_empty() {
            let cut = self.cutter.next_cut(&bytes);
            let piece = bytes.split_to(cut.unwrap_or(bytes.len()));
            if cut.is_none() && !self.aside.is_empty() && self.is_little(self.aside.len() + piece.len()) {
                self.aside.extend_from_slice(&piece);
                continue;
            }
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open_chunk((bytes.len() + piece.len()) as u64).await?,
            };
            open.fresh.extend_from_slice(&piece);
            let enough = open.fresh.len() >= STEP_BYTES;
            let open = self.open.insert(open);
            if cut.is_some() {
                self.end_chunk().await?;
            } else if enough {
                let bytes = open.fresh.split();
                open.passed_on_bytes += bytes.len();
                self.pass_on(Step::Bytes { bytes, ends_chunk: false, room: None }).await?;
            }
        }
        Ok(())
    }

    /// Waits for room for the next chunk. So many bytes of it and what is behind it were received already.
    async fn open_chunk(&mut self, unread_bytes: u64) -> Result<OpenChunk> {
        if self.ended.take().is_some() {
            self.pass_on(Step::Write).await?;
        }
        let before = self.received_bytes - unread_bytes - self.aside.len() as u64;
        let left = self.declared_bytes.map_or(u64::MAX, |declared| declared - before);
        let capacity_bytes = usize::try_from(left).unwrap_or(usize::MAX).min(self.cutter.longest_bytes());
        let room = self.shelf.budget.room_for(capacity_bytes).await?;
        let mut fresh = aligned_buffer(capacity_bytes);
        fresh.extend_from_slice(&std::mem::take(&mut self.aside));
        self.waited = Duration::ZERO;
        Ok(OpenChunk { fresh, passed_on_bytes: 0, capacity_bytes, room })
    }

    /// Ends the open chunk, if there is one.
    async fn end_chunk(&mut self) -> Result<()> {
        if let Some(OpenChunk { fresh, room, capacity_bytes, .. }) = self.open.take() {
            self.pass_on(Step::Bytes { bytes: fresh, ends_chunk: true, room: Some(room) }).await?;
            self.ended = Some(capacity_bytes);
        }
        Ok(())
    }

    /// Ends when room should be given back: the sender was waited for long enough, and somebody wants it.
    async fn wanted(&self) {
        let held = self.open.as_ref().map(|open| open.capacity_bytes);
        let Some(held) = held.or(self.ended) else { return pending().await };
        tokio::time::sleep(PATIENCE.saturating_sub(self.waited)).await;
        self.shelf.budget.wanted(held).await;
    }

    async fn give_back(&mut self) -> Result<()> {
        match self.open.take() {
            Some(open) if open.passed_on_bytes == 0 && self.is_little(open.fresh.len()) => {
                self.aside = BytesMut::from(&*open.fresh);
            }
            Some(open) => {
                self.open = Some(open);
                self.end_chunk().await?;
            }
            None => {}
        }
        if self.ended.take().is_some() {
            self.pass_on(Step::Write).await?;
        }
        Ok(())
    }

    fn is_little(&self, size_bytes: usize) -> bool {
        size_bytes < self.shelf.chunk_size_bytes / ASIDE_PART
    }

    async fn pass_on(&self, step: Step) -> Result<()> {
        // The other half goes away only with an error of its own, which then is the one that is told.
        self.steps.send(step).await.map_err(|error| Error::Backend(error.to_string().into()))
    }

    fn wrong_length(&self) -> Error {
        let declared = self.declared_bytes.unwrap_or_default();
        Error::LengthMismatch { declared, received: self.received_bytes }
    }
}
