//! Power cuts: whatever an ingest acknowledged was durable at that moment, also when others store the same bytes.

use std::sync::Arc;

use futures::TryStreamExt;
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use tokio::task::JoinSet;

use super::{body, noise};
use crate::backend::Backend;
use crate::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use crate::dataplane::spi::{ByteRange, Catalog, DataPlane, IngestHints, IngestResult};
use crate::digest::ContentAddress;
use crate::error::Result;
use crate::memory::MemoryBackend;
use crate::testing::catalog::MemoryCatalog;
use crate::testing::powercut::PowerCutBackend;

struct Machine {
    disk: Arc<MemoryBackend>,
    power: Arc<PowerCutBackend>,
    catalog: Arc<MemoryCatalog>,
    plane: Arc<InProcessDataPlane>,
}

impl Machine {
    fn new(chunk_size_bytes: usize) -> Self {
        let disk = Arc::new(MemoryBackend::new());
        let power = Arc::new(PowerCutBackend::new(disk.clone()));
        let catalog = Arc::new(MemoryCatalog::new());
        let options = PlaneOptions { chunk_size_bytes, ..PlaneOptions::default() };
        let plane = Arc::new(InProcessDataPlane::new(power.clone(), catalog.clone(), &options));
        Self { disk, power, catalog, plane }
    }

    fn begin(&self, uploads: &mut JoinSet<(Vec<u8>, Result<IngestResult>)>, bytes: Vec<u8>) {
        let plane = Arc::clone(&self.plane);
        uploads.spawn(async move {
            let outcome = plane.ingest_stream(body(&bytes), IngestHints::default()).await;
            (bytes, outcome)
        });
    }

    /// Every chunk of an acknowledged body is on the disk now, where the outcome or the catalog says; then, and not
    /// before, it is committed.
    async fn acknowledged(&self, bytes: &[u8], result: &IngestResult) {
        assert_eq!(result.content_address, ContentAddress::of(bytes));
        let mut found = Vec::new();
        for chunk in &result.recipe.chunks {
            let written = result.written.iter().find(|located| located.chunk == *chunk);
            let location = match written {
                Some(located) => located.location.clone(),
                None => self
                    .catalog
                    .chunks_locate(&[chunk.address])
                    .await
                    .unwrap()
                    .remove(0)
                    .location()
                    .expect("a known chunk"),
            };
            let (begin, length) = (location.offset_bytes, location.stored_length_bytes);
            let read = self.disk.read(&location.object, ByteRange::Span(begin, begin + length)).await;
            let pieces: Vec<_> = read.expect("an acknowledged chunk is on the disk").try_collect().await.unwrap();
            found.extend(pieces.concat());
        }
        assert!(found == bytes, "what is on the disk is what was acknowledged");
        self.catalog.commit(result);
    }
}

/// Lets everything run that can.
async fn quiet() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_ingest_waits_for_the_sync_of_its_bytes_and_fails_when_the_power_goes() {
    let machine = Machine::new(1 << 20);
    let mut uploads = JoinSet::new();
    machine.begin(&mut uploads, noise(100, 1));
    machine.power.until_unsynced(1).await;
    quiet().await;
    assert!(uploads.try_join_next().is_none(), "written is not synced");
    machine.power.cut();
    let (_, outcome) = uploads.join_next().await.unwrap().unwrap();
    assert!(outcome.is_err());
    assert_eq!(machine.disk.list(None).try_collect::<Vec<_>>().await.unwrap(), []);
}

#[tokio::test]
async fn a_second_upload_does_not_lean_on_bytes_that_the_first_has_not_synced() {
    let machine = Machine::new(1 << 20);
    let (bytes, mut uploads) = (noise(100, 1), JoinSet::new());
    machine.begin(&mut uploads, bytes.clone());
    machine.power.until_unsynced(1).await;
    machine.begin(&mut uploads, bytes.clone());
    quiet().await;
    assert!(uploads.try_join_next().is_none(), "nothing is synced, whoever wrote it");
    machine.power.fail(0).expect("a put that waits");
    quiet().await;
    // What the second has of its own, or tries again, is synced; what failed for the first is nobody's.
    while machine.power.sync(0).await.unwrap().is_some() {
        quiet().await;
    }
    while let Some(upload) = uploads.join_next().await {
        if let (bytes, Ok(result)) = upload.unwrap() {
            machine.acknowledged(&bytes, &result).await;
        }
    }
    machine.power.cut();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn at_every_power_cut_whatever_was_acknowledged_is_on_the_disk(
        // Few seeds and sizes: most uploads share chunks with others that are on their way.
        bodies in prop::collection::vec((0_u64..4, 0_usize..4), 1..12),
        turns in prop::collection::vec((0_u8..8, any::<usize>()), 0..60),
        chunk_size in 8_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let machine = Machine::new(chunk_size);
            let mut bodies = bodies.into_iter();
            let mut uploads = JoinSet::new();
            for (turn, n) in turns {
                match (turn, bodies.len()) {
                    (0..=2, 1..) => {
                        let (seed, size) = bodies.next().unwrap();
                        machine.begin(&mut uploads, noise(size * 30, seed));
                    }
                    (7, _) => drop(machine.power.fail(n)),
                    _ => drop(machine.power.sync(n).await.unwrap()),
                }
                quiet().await;
                while let Some(upload) = uploads.try_join_next() {
                    if let (bytes, Ok(result)) = upload.unwrap() {
                        machine.acknowledged(&bytes, &result).await;
                    }
                }
            }
            machine.power.cut();
            while let Some(upload) = uploads.join_next().await {
                if let (bytes, Ok(result)) = upload.unwrap() {
                    machine.acknowledged(&bytes, &result).await;
                }
            }
        });
    }
}
