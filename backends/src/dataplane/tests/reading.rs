//! Serving and verifying: exactly the bytes, or an error that says why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};
use sha2::{Digest as _, Sha256};

use super::{Bench, body, noise};
use crate::backend::{Backend, SealedObject};
use crate::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use crate::dataplane::spi::{
    ByteRange, Catalog, DataPlane, IngestHints, IngestResult, LocatedBlob, Verification, Whereabouts,
};
use crate::digest::{ContentAddress, ObjectKey};
use crate::error::{Error, Result};
use crate::recipe::Location;
use crate::testing::catalog::MemoryCatalog;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_range_is_that_slice_or_not_satisfiable(
        bytes in prop::collection::vec(0_u8..3, 0..100),
        chunk_size in 1_usize..30,
        start in 0_u64..110,
        length in 0_u64..110,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new(chunk_size);
            let address = bench.store(&bytes).await.content_address;
            let size = bytes.len() as u64;
            let cases = [
                (ByteRange::Full, Some(0..size)),
                (ByteRange::From(start), (start < size).then_some(start..size)),
                (
                    ByteRange::Span(start, start + length),
                    (start < size && length > 0).then(|| start..size.min(start + length)),
                ),
                (ByteRange::Last(length), (length > 0).then(|| size.saturating_sub(length)..size)),
            ];
            for (range, expected) in cases {
                match (bench.serve(&address, range).await, expected) {
                    (Ok(got), Some(expected)) => {
                        prop_assert_eq!(&got, &bytes[expected.start as usize..expected.end as usize]);
                    }
                    (Err(Error::RangeNotSatisfiable { size_bytes }), None) => prop_assert_eq!(size_bytes, size),
                    (got, expected) => prop_assert!(false, "{range:?} of {size}: {got:?}, not {expected:?}"),
                }
            }
            Ok(())
        })?;
    }
}

/// Tells once that a chunk lies where it lies no more.
#[derive(Debug)]
struct Late {
    catalog: Arc<MemoryCatalog>,
    chunk: usize,
    told: AtomicBool,
}

#[async_trait::async_trait]
impl Catalog for Late {
    async fn blob_locate(&self, content_address: &ContentAddress) -> Result<Option<LocatedBlob>> {
        let mut blob = self.catalog.blob_locate(content_address).await?;
        if !self.told.swap(true, Ordering::SeqCst)
            && let Some(blob) = &mut blob
        {
            blob.chunks[self.chunk].location.object = ObjectKey([9; 32]);
        }
        Ok(blob)
    }

    async fn chunks_locate(&self, chunks: &[ContentAddress]) -> Result<Vec<Whereabouts>> {
        self.catalog.chunks_locate(chunks).await
    }

    async fn sweeps(&self, as_of_now: bool) -> Result<u64> {
        self.catalog.sweeps(as_of_now).await
    }

    async fn backend_to_write(&self) -> Result<Option<String>> {
        self.catalog.backend_to_write().await
    }

    async fn objects_known(&self, objects: &[ObjectKey]) -> Result<Vec<bool>> {
        self.catalog.objects_known(objects).await
    }
}

#[tokio::test]
async fn what_was_moved_since_it_was_looked_up_is_looked_up_once_more() {
    let bench = Bench::new(10);
    let bytes = noise(35, 1);
    let address = bench.store(&bytes).await.content_address;
    let read = async |chunk: usize, range: ByteRange| -> Result<Vec<u8>> {
        let catalog = Late { catalog: Arc::clone(&bench.catalog), chunk, told: AtomicBool::new(false) };
        let plane = InProcessDataPlane::new(bench.faulty.clone(), Arc::new(catalog), &bench.options);
        let pieces: Vec<Bytes> = plane.serve_object(&address, range).await?.try_collect().await?;
        Ok(pieces.concat())
    };
    for chunk in 0..4 {
        assert_eq!(read(chunk, ByteRange::Full).await.unwrap(), bytes, "{chunk}");
        assert_eq!(read(chunk, ByteRange::Span(3, 33)).await.unwrap(), bytes[3..33], "{chunk}");
    }
    // What is really gone is missing all the same.
    let gone = bench.catalog.blob_locate(&address).await.unwrap().unwrap().chunks[1].location.object;
    bench.memory.delete(&gone).await.unwrap();
    assert!(matches!(read(3, ByteRange::Full).await, Err(Error::ObjectMissing(object)) if object == gone));
}

#[tokio::test]
async fn an_unknown_blob_is_missing_to_every_reader() {
    let bench = Bench::new(10);
    let unknown = ContentAddress::of(b"unknown");
    assert!(matches!(bench.serve(&unknown, ByteRange::Full).await, Err(Error::BlobMissing(_))));
    assert!(matches!(bench.plane.verify_object(&Verification::Blob(unknown)).await, Err(Error::BlobMissing(_))));
}

#[tokio::test]
async fn missing_and_short_objects_are_errors_and_findings() {
    for (replacement, finding) in [(None, "missing"), (Some("01234"), "ends before"), (Some(""), "ends before")] {
        for blob_bytes in [&b"0123456789"[..], b"0123456789abc"] {
            let bench = Bench::new(10);
            let blob = bench.store(blob_bytes).await;
            let key = ObjectKey(blob.recipe.chunks[0].address.0);
            match replacement {
                None => bench.memory.delete(&key).await.unwrap(),
                Some(text) => bench.memory.damage(&key, Bytes::from(text)),
            }
            let outcome = bench.serve(&blob.content_address, ByteRange::Full).await;
            assert!(matches!(outcome, Err(Error::ObjectMissing(_) | Error::ObjectDamaged(..))), "{outcome:?}");
            let verified = bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap();
            assert_eq!(verified.sha256, None);
            assert_eq!(verified.damages[0].object, Some(key));
            assert!(verified.damages[0].finding.contains(finding), "{verified:?}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_the_chunk_named() {
    let bench = Bench::new(10);
    let blob = bench.store(b"0123456789abcdefghij").await;
    let sound = bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap();
    assert_eq!((sound.size_bytes, sound.sha256, sound.damages), (20, blob.sha256, Vec::new()));

    let spoilt = blob.recipe.chunks[1].address;
    bench.memory.damage(&ObjectKey(spoilt.0), Bytes::from_static(b"abcdeFghij"));
    let verified = bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap();
    assert_eq!(verified.damages[0].chunk, Some(spoilt));
    assert_eq!(verified.damages.len(), 2, "the chunk, and the whole");
    assert_eq!(verified.sha256.unwrap().0.to_vec(), Sha256::digest(b"0123456789abcdeFghij").to_vec());
}

#[tokio::test]
async fn an_object_with_bytes_behind_its_own_is_damaged_although_its_blob_still_reads() {
    let bench = Bench::new(10);
    let blob = bench.store(b"01234").await;
    bench.memory.damage(&ObjectKey(blob.content_address.0), Bytes::from_static(b"01234 and more"));
    assert_eq!(bench.serve(&blob.content_address, ByteRange::Full).await.unwrap(), b"01234");
    let verified = bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap();
    assert_eq!(verified.damages.len(), 1);
    assert_eq!(verified.sha256, blob.sha256);
}

#[tokio::test]
async fn chunks_that_share_an_object_are_served_and_verified() {
    let bench = Bench::new(5);
    let blob = bench.store(b"0123456789").await;
    let pack = SealedObject::seal(Bytes::from_static(b"0123456789>"));
    bench.memory.put(pack.clone()).await.unwrap();
    for (index, chunk) in blob.written.iter().enumerate() {
        let mut location = chunk.location.clone();
        location.object = pack.key();
        location.offset_bytes = 5 * index as u64;
        bench.catalog.locate(chunk.chunk.address, location);
    }
    bench.faulty.fail_nth(0);
    assert_eq!(bench.serve(&blob.content_address, ByteRange::Span(3, 8)).await.unwrap(), b"34567");
    assert_eq!(bench.reads(), 1, "neighbours are read at once");
    assert_eq!(bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap().damages, []);

    bench.memory.damage(&pack.key(), Bytes::from_static(b"0123456789]"));
    let verified = bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap();
    assert_eq!(verified.damages.len(), 1, "the pack alone");
}

#[tokio::test]
async fn a_pack_is_compared_as_a_whole_by_the_blob_that_comes_first_in_it() {
    let bench = Bench::new(5);
    let (first, second) = (bench.store(b"01234").await, bench.store(b"56789").await);
    let pack = SealedObject::seal(Bytes::from_static(b"0123456789"));
    bench.memory.put(pack.clone()).await.unwrap();
    for (blob, offset_bytes) in [(&first, 0), (&second, 5)] {
        let located = &blob.written[0];
        let location = Location { object: pack.key(), offset_bytes, ..located.location.clone() };
        bench.catalog.locate(located.chunk.address, location);
    }
    let damages = async |blob: &IngestResult| {
        bench.plane.verify_object(&Verification::Blob(blob.content_address)).await.unwrap().damages.len()
    };
    bench.faulty.fail_nth(0);
    assert_eq!((damages(&first).await, damages(&second).await), (0, 0));
    assert_eq!(bench.reads(), 3, "two chunks and one pack");
    bench.memory.damage(&pack.key(), Bytes::from_static(b"0123456_89"));
    assert!(damages(&first).await > 0, "its pack");
    assert!(damages(&second).await > 0, "its own bytes and its blob's");
}

#[tokio::test]
async fn a_backend_that_is_down_is_no_damage() {
    let bench = Bench::new(10);
    let blob = bench.store(b"01234").await;
    bench.faulty.fail_nth(1);
    let outcome = bench.plane.verify_object(&Verification::Blob(blob.content_address)).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn health_is_an_answer_also_when_the_backend_is_down() {
    let bench = Bench::new(10);
    let well = bench.plane.backend_health().await.unwrap();
    assert_eq!((well.ready, well.backend.as_str(), well.problem), (true, "memory", None));
    bench.faulty.fail_nth(1);
    let ill = bench.plane.backend_health().await.unwrap();
    assert!(!ill.ready && ill.problem.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_early_harms_nobody() {
    let bench = Bench::new(1 << 20);
    let result = bench.ingest(body(&noise(5 << 20, 9)), IngestHints::default()).await.unwrap();
    bench.catalog.commit(&result);
    let mut stream = bench.plane.serve_object(&result.content_address, ByteRange::Full).await.unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    drop(stream);
    assert_eq!(bench.serve(&result.content_address, ByteRange::Full).await.unwrap().len(), 5 << 20);
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded_and_whoever_finds_no_room_reads_all_the_same() {
    const SIZE: usize = 3 << 20;
    // Room to read ahead for one reader of the whole.
    let bench = Bench::with(PlaneOptions { chunk_size_bytes: 1 << 20, buffer_budget_bytes: 8 * 5 * 512 * 1024 });
    let bytes = noise(SIZE, 3);
    let address = bench.store(&bytes).await.content_address;
    let begin = async || bench.plane.serve_object(&address, ByteRange::Full).await.unwrap();
    let reads = |since: usize| bench.reads() - since;

    let at = bench.reads();
    let ahead = begin().await;
    assert_eq!(reads(at), 2, "two chunks are open");
    let at = bench.reads();
    let mut without = begin().await;
    assert_eq!(reads(at), 1);
    let first = without.try_next().await.unwrap().unwrap();
    tokio::task::yield_now().await;
    assert_eq!((reads(at), first.len()), (1, 256 * 1024), "nothing is read before it is asked for");
    let rest: Vec<Bytes> = without.try_collect().await.unwrap();
    assert_eq!([vec![first], rest].concat().concat(), bytes);
    assert_eq!(reads(at), SIZE / (256 * 1024));

    // What is small takes no room, and room that was given back is taken again.
    let at = bench.reads();
    assert_eq!(bench.serve(&address, ByteRange::Span(10, 1000)).await.unwrap(), bytes[10..1000]);
    assert_eq!(reads(at), 1);
    drop(ahead);
    let at = bench.reads();
    assert_eq!(bench.serve(&address, ByteRange::Full).await.unwrap(), bytes);
    assert_eq!(reads(at), 3, "one for each chunk");
}

fn lying_in(object: ObjectKey, chunks: &[(&IngestResult, u64)]) -> Verification {
    let chunks = chunks.iter().map(|(blob, offset_bytes)| (blob.recipe.chunks[0], *offset_bytes)).collect();
    Verification::Object { backend: "memory".to_owned(), object, chunks }
}

#[tokio::test]
async fn an_object_is_compared_by_what_lies_in_it_and_each_damaged_chunk_is_named() {
    let bench = Bench::new(5);
    let (first, second) = (bench.store(b"01234").await, bench.store(b"56789").await);
    let pack = SealedObject::seal(Bytes::from_static(b"01234-56789"));
    bench.memory.put(pack.clone()).await.unwrap();
    let both = lying_in(pack.key(), &[(&second, 6), (&first, 0)]);
    let sound = bench.plane.verify_object(&both).await.unwrap();
    assert_eq!((sound.size_bytes, sound.damages), (10, Vec::new()));

    bench.memory.damage(&pack.key(), Bytes::from_static(b"01234+56789"));
    assert_eq!(bench.plane.verify_object(&both).await.unwrap().damages, [], "what nothing refers to");

    bench.memory.damage(&pack.key(), Bytes::from_static(b"01234-5678X"));
    let [damage] = &*bench.plane.verify_object(&both).await.unwrap().damages else { panic!("one is damaged") };
    assert_eq!(damage.chunk, Some(second.content_address));
    assert_eq!(damage.found, Some(crate::digest::ContentAddress::of(b"5678X")));

    bench.memory.damage(&pack.key(), Bytes::from_static(b"01234-567"));
    let [damage] = &*bench.plane.verify_object(&both).await.unwrap().damages else { panic!("one is short") };
    assert_eq!((damage.chunk, damage.found), (Some(second.content_address), None));

    bench.memory.delete(&pack.key()).await.unwrap();
    assert_eq!(bench.plane.verify_object(&both).await.unwrap().damages.len(), 2, "all that lay in it");
}
