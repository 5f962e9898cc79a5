//! The promises of the data plane, over the memory backend and its faulty wrapper.

mod faults;
mod ingest;
mod join;
mod packs;
mod patience;
mod powercut;
mod reading;
mod spi;
mod sweep;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::backend::Backend;
use crate::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use crate::dataplane::spi::{ByteRange, DataPlane, IngestFrame, IngestHints, IngestResult, IngestStream, Join, PartOf};
use crate::digest::ContentAddress;
use crate::error::Result;
use crate::memory::MemoryBackend;
use crate::recipe::Recipe;
use crate::testing::catalog::MemoryCatalog;
use crate::testing::faulty::{Call, FaultyBackend};

/// A plane and everything behind it.
struct Bench {
    memory: Arc<MemoryBackend>,
    faulty: Arc<FaultyBackend>,
    catalog: Arc<MemoryCatalog>,
    plane: Arc<InProcessDataPlane>,
    options: PlaneOptions,
}

impl Bench {
    fn new(chunk_size_bytes: usize) -> Self {
        Self::with(PlaneOptions { chunk_size_bytes, ..PlaneOptions::default() })
    }

    /// A plane with room for one chunk at a time, and none to keep what is stored.
    fn that_keeps_nothing(chunk_size_bytes: usize) -> Self {
        Self::with(PlaneOptions { chunk_size_bytes, buffer_budget_bytes: 1 })
    }

    fn with(options: PlaneOptions) -> Self {
        let memory = Arc::new(MemoryBackend::new());
        let faulty = Arc::new(FaultyBackend::new(memory.clone()));
        let catalog = Arc::new(MemoryCatalog::new());
        let plane = Arc::new(InProcessDataPlane::new(faulty.clone(), catalog.clone(), &options));
        Self { memory, faulty, catalog, plane, options }
    }

    /// The same store, and a process that remembers nothing.
    fn restart(&mut self) {
        self.plane = Arc::new(InProcessDataPlane::new(self.faulty.clone(), self.catalog.clone(), &self.options));
    }

    async fn ingest(&self, frames: IngestStream, hints: IngestHints) -> Result<IngestResult> {
        self.plane.ingest_stream(frames, hints).await
    }

    /// Ingests and commits.
    async fn store(&self, bytes: &[u8]) -> IngestResult {
        let result = self.ingest(body(bytes), IngestHints::default()).await.unwrap();
        self.catalog.commit(&result);
        result
    }

    async fn store_part(&self, upload: &str, number: u32, bytes: &[u8]) -> Recipe {
        let part_of = Some(PartOf { upload: upload.to_owned(), number });
        let result = self.ingest(body(bytes), IngestHints { part_of, ..IngestHints::default() }).await.unwrap();
        self.catalog.commit(&result);
        result.recipe
    }

    async fn join(&self, upload: &str, parts: Vec<(u32, Recipe)>) -> Result<IngestResult> {
        let join = Some(Join { upload: upload.to_owned(), parts });
        self.ingest(stream::empty().boxed(), IngestHints { join, ..IngestHints::default() }).await
    }

    async fn serve(&self, address: &ContentAddress, range: ByteRange) -> Result<Vec<u8>> {
        let pieces: Vec<Bytes> = self.plane.serve_object(address, range).await?.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn object_count(&self) -> usize {
        self.memory.list(None).count().await
    }

    fn puts(&self) -> usize {
        self.faulty.calls().iter().filter(|call| matches!(call, Call::Put(_))).count()
    }

    fn reads(&self) -> usize {
        self.faulty.calls().iter().filter(|call| matches!(call, Call::Read(_))).count()
    }
}

fn body(bytes: &[u8]) -> IngestStream {
    frames([IngestFrame::Data(Bytes::copy_from_slice(bytes))])
}

fn frames(frames: impl IntoIterator<Item = IngestFrame>) -> IngestStream {
    stream::iter(frames.into_iter().map(Ok).collect::<Vec<_>>()).boxed()
}

/// The bytes in frames of these sizes, the rest in one.
fn framed(bytes: &[u8], sizes: &[usize]) -> IngestStream {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut pieces = Vec::new();
    for size in sizes {
        pieces.push(IngestFrame::Data(rest.split_to((*size).min(rest.len()))));
    }
    pieces.push(IngestFrame::Data(rest));
    frames(pieces)
}

fn noise(size_bytes: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
