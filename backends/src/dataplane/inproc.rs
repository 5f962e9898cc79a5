//! The data plane inside this process.
//!
//! Each operation lives in a file of its own; here they become a [`DataPlane`].
//!
//! Invariant: memory is bounded, per stream by a few chunks and per process by a budget that makes uploads wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::chunk::DEFAULT_CHUNK_SIZE_BYTES;
use crate::dataplane::backends::Backends;
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{
    BackendStatus, ByteRange, ByteStream, Catalog, DataPlane, Deletion, DeletionResult, IngestHints, IngestResult,
    IngestStream, Verification, VerifyResult,
};
use crate::dataplane::{ingest, join, rewrite, serve, sweep, verify};
use crate::digest::ContentAddress;
use crate::error::{Error, Result};

/// A backend that has not answered its probe by then is down.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// The sizes that an operator may want to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneOptions {
    /// Where blobs are cut, in bytes. Changing it costs only deduplication between what was cut differently.
    pub chunk_size_bytes: usize,
    /// How many bytes all uploads, and what is read ahead of downloads, may hold in memory together; at least one chunk.
    pub buffer_budget_bytes: usize,
}

impl Default for PlaneOptions {
    fn default() -> Self {
        Self { chunk_size_bytes: DEFAULT_CHUNK_SIZE_BYTES, buffer_budget_bytes: 256 * 1024 * 1024 }
    }
}

/// The data plane over one backend, or a few.
#[derive(Debug)]
pub struct InProcessDataPlane {
    pub(super) shelf: Arc<Shelf>,
}

impl InProcessDataPlane {
    /// A plane that stores in the backend and asks the catalog what is stored already.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, catalog: Arc<dyn Catalog>, options: &PlaneOptions) -> Self {
        Self::over(Backends::new(backend), catalog, options)
    }

    /// The same over a few: read from all, written to where the catalog says.
    #[must_use]
    pub fn over(backends: Backends, catalog: Arc<dyn Catalog>, options: &PlaneOptions) -> Self {
        Self { shelf: Arc::new(Shelf::new(backends, catalog, options)) }
    }
}

#[async_trait]
impl DataPlane for InProcessDataPlane {
    async fn ingest_stream(&self, stream: IngestStream, hints: IngestHints) -> Result<IngestResult> {
        match (&hints.join, &hints.rewrite) {
            (Some(parts), _) => join::join(&self.shelf, parts, &hints).await,
            (None, Some(chunks)) => rewrite::rewrite(&self.shelf, chunks).await,
            (None, None) => ingest::ingest(&self.shelf, stream, &hints).await,
        }
    }

    async fn serve_object(&self, content_address: &ContentAddress, range: ByteRange) -> Result<ByteStream> {
        serve::serve(&self.shelf, content_address, range).await
    }

    async fn verify_object(&self, what: &Verification) -> Result<VerifyResult> {
        match what {
            Verification::Blob(address) => verify::verify(&self.shelf, address).await,
            Verification::Object { backend, object, chunks } => {
                verify::verify_object(&self.shelf, backend, *object, chunks).await
            }
        }
    }

    async fn delete_object(&self, deletion: Deletion) -> Result<DeletionResult> {
        sweep::delete(&self.shelf, deletion).await
    }

    async fn backend_health(&self) -> Result<BackendStatus> {
        let begun = Instant::now();
        let (backend, probe) = match self.shelf.writer().await {
            Ok(writer) => {
                let probe = timeout(PROBE_PATIENCE, writer.probe()).await;
                let probe = probe.unwrap_or_else(|elapsed| Err(Error::Unavailable(elapsed.into())));
                (writer.name().to_owned(), probe)
            }
            Err(error) => (self.shelf.backends.first().name().to_owned(), Err(error)),
        };
        let latency_micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(match probe {
            Ok(probe) => {
                BackendStatus { backend, ready: true, latency_micros, free_bytes: probe.free_bytes, problem: None }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the backend does not answer its probe");
                let problem = Some(error.to_string());
                BackendStatus { backend, ready: false, latency_micros, free_bytes: None, problem }
            }
        })
    }
}
