//! A backend in memory: what every other backend is compared with, and a quick place for tests to store to.
//!
//! Invariant: it keeps the whole promise of [`Backend`] except that its objects die with it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;

use crate::backend::{Backend, ObjectStat, Probe, SealedObject};
use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::ObjectKey;
use crate::error::{Error, Result};

const PIECE_BYTES: usize = 512 * 1024;

/// Objects in a sorted map. Its clock starts at the epoch, and follows tokio's, so that tests can turn it.
#[derive(Debug)]
pub struct MemoryBackend {
    started: Instant,
    objects: Mutex<BTreeMap<ObjectKey, (Bytes, SystemTime)>>,
}

impl MemoryBackend {
    /// An empty backend.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), objects: Mutex::new(BTreeMap::new()) }
    }

    fn clock(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.started.elapsed()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, (Bytes, SystemTime)>> {
        // A panic elsewhere leaves the map whole: every change to it is one insertion or removal.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the bytes of an object behind everybody's back, as a failing disk would; for tests.
    pub fn damage(&self, key: &ObjectKey, bytes: Bytes) {
        let modified = self.clock();
        self.objects().insert(*key, (bytes, modified));
    }

    /// Makes an object look as if it had been written this much earlier; for tests.
    pub fn age(&self, key: &ObjectKey, by: Duration) {
        if let Some((_, modified)) = self.objects().get_mut(key) {
            *modified -= by;
        }
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn put(&self, object: SealedObject) -> Result<ObjectKey> {
        let entry = (object.bytes().clone(), self.clock());
        self.objects().insert(object.key(), entry);
        Ok(object.key())
    }

    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream> {
        let bytes = self.objects().get(key).map(|(bytes, _)| bytes.clone()).ok_or(Error::ObjectMissing(*key))?;
        let range = range.resolve(bytes.len() as u64)?;
        // Within the length of a slice, so within usize.
        let mut rest = bytes.slice(range.start as usize..range.end as usize);
        let mut pieces = Vec::with_capacity(rest.len().div_ceil(PIECE_BYTES));
        while !rest.is_empty() {
            pieces.push(Ok(rest.split_to(rest.len().min(PIECE_BYTES))));
        }
        Ok(stream::iter(pieces).boxed())
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        Ok(self.objects().get(key).map(|(bytes, modified)| ObjectStat {
            key: *key,
            size_bytes: bytes.len() as u64,
            modified: *modified,
        }))
    }

    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        stream::unfold(from, move |from| async move {
            let objects = self.objects();
            let (key, (bytes, modified)) = objects.range((from, Bound::Unbounded)).next()?;
            let stat = ObjectStat { key: *key, size_bytes: bytes.len() as u64, modified: *modified };
            Some((Ok(stat), Bound::Excluded(*key)))
        })
        .boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }

    async fn probe(&self) -> Result<Probe> {
        Ok(Probe { clock: self.clock(), free_bytes: None })
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryBackend;
    use crate::testing::conformance;

    #[tokio::test]
    async fn the_memory_backend_keeps_the_promises_of_a_backend() {
        conformance::all(|| async { MemoryBackend::new() }).await;
    }
}
