//! What a body becomes, and what a refused body leaves.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, future, stream};
use md5::{Digest as _, Md5};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
use sha2::Sha256;

use super::{Bench, body, framed, frames, noise};
use crate::backend::Backend;
use crate::dataplane::ingest::keep;
use crate::dataplane::inproc::PlaneOptions;
use crate::dataplane::spi::{ByteRange, DataPlane, IngestFrame, IngestHints, PartOf};
use crate::digest::{Checksum, ChecksumAlgorithm, ContentAddress, Md5Digest};
use crate::error::{Declared, Error};

fn sha1_of(bytes: &[u8]) -> Checksum {
    Checksum { value: sha1::Sha1::digest(bytes).to_vec(), algorithm: ChecksumAlgorithm::Sha1 }
}

fn wrong_sha1() -> Checksum {
    Checksum { value: vec![0; 20], algorithm: ChecksumAlgorithm::Sha1 }
}

#[tokio::test]
async fn an_empty_body_has_an_empty_recipe_and_writes_nothing() {
    let bench = Bench::new(16);
    let hints = IngestHints { size_bytes: Some(0), ..IngestHints::default() };
    let result = bench.ingest(frames([]), hints).await.unwrap();
    assert_eq!(result.content_address, ContentAddress::of(b""));
    assert_eq!(result.md5.unwrap().to_hex(), "d41d8cd98f00b204e9800998ecf8427e");
    assert!(result.recipe.chunks.is_empty() && result.written.is_empty());
    bench.catalog.commit(&result);
    assert_eq!(bench.serve(&result.content_address, ByteRange::Full).await.unwrap(), b"");
    assert_eq!(bench.object_count().await, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_body_has_its_digests_and_reads_back_however_it_arrives(
        bytes in prop::collection::vec(0_u8..2, 0..200),
        sizes in prop::collection::vec(0_usize..40, 0..12),
        chunk_size in 1_usize..40,
        declared in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new(chunk_size);
            let hints = IngestHints { size_bytes: declared.then_some(bytes.len() as u64), ..IngestHints::default() };
            let result = bench.ingest(framed(&bytes, &sizes), hints).await.unwrap();
            prop_assert_eq!(result.content_address, ContentAddress::of(&bytes));
            prop_assert_eq!(result.sha256.unwrap().0, <[u8; 32]>::from(Sha256::digest(&bytes)));
            prop_assert_eq!(result.md5.unwrap().0, <[u8; 16]>::from(Md5::digest(&bytes)));
            prop_assert_eq!(result.size_bytes, bytes.len() as u64);
            let cut: Vec<_> = bytes.chunks(chunk_size).map(ContentAddress::of).collect();
            prop_assert_eq!(result.recipe.chunks.iter().map(|chunk| chunk.address).collect::<Vec<_>>(), cut);
            // The same chunk is written once, however often it comes.
            prop_assert_eq!(bench.puts(), result.written.len());
            prop_assert_eq!(bench.object_count().await, result.written.len());
            bench.catalog.commit(&result);
            prop_assert!(bench.serve(&result.content_address, ByteRange::Full).await.unwrap() == bytes);
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_is_hashed_and_written_in_chunks_of_the_default_size() {
    let bench = Bench::with(PlaneOptions::default());
    let bytes = noise(20 * 1024 * 1024 + 3, 1);
    let result = bench.ingest(framed(&bytes, &[100_000; 150]), IngestHints::default()).await.unwrap();
    assert_eq!(result.content_address, ContentAddress::of(&bytes));
    assert_eq!(result.recipe.chunks.len(), 3);
    bench.catalog.commit(&result);
    assert!(bench.serve(&result.content_address, ByteRange::Full).await.unwrap() == bytes);
}

#[tokio::test]
async fn what_is_stored_already_is_not_written_again() {
    let bench = Bench::new(10);
    bench.store(b"0123456789abcdefghij").await;
    bench.faulty.fail_nth(0);
    let again = bench.store(b"0123456789abcdefghijNEW").await;
    assert_eq!(bench.puts(), 1);
    assert_eq!(again.written.len(), 1);
    assert_eq!(again.recipe.chunks.len(), 3);
    assert_eq!(again.written[0].chunk, again.recipe.chunks[2]);
}

#[tokio::test]
async fn a_chunk_located_in_another_backend_is_written_here() {
    let bench = Bench::new(100);
    let result = bench.store(b"elsewhere").await;
    let mut location = result.written[0].location.clone();
    location.backend = "another".to_owned();
    bench.catalog.locate(result.recipe.chunks[0].address, location);
    assert_eq!(bench.store(b"elsewhere").await.written, result.written);
}

#[tokio::test]
async fn a_refused_body_of_one_chunk_leaves_nothing_at_all() {
    let bench = Bench::new(100);
    let text = b"the body";
    let data = || IngestFrame::Data(Bytes::from_static(text));
    let hints = IngestHints::default;
    let cases = [
        (vec![data()], IngestHints { size_bytes: Some(9), ..hints() }),
        (vec![data()], IngestHints { size_bytes: Some(7), ..hints() }),
        (vec![data()], IngestHints { md5: Some(Md5Digest([0; 16])), ..hints() }),
        (vec![data()], IngestHints { checksum: Some(wrong_sha1()), ..hints() }),
        (vec![data()], IngestHints { trailer: Some(ChecksumAlgorithm::Sha1), ..hints() }),
        (
            vec![data(), IngestFrame::Trailer(wrong_sha1())],
            IngestHints { trailer: Some(ChecksumAlgorithm::Sha1), ..hints() },
        ),
        (vec![data(), IngestFrame::Trailer(sha1_of(text))], hints()),
    ];
    let mut refusals = Vec::new();
    for (frames_given, hints) in cases {
        refusals.push(bench.ingest(frames(frames_given), hints).await.unwrap_err());
    }
    let sha1 = Declared::Checksum(ChecksumAlgorithm::Sha1);
    assert!(matches!(refusals[0], Error::LengthMismatch { declared: 9, received: 8 }));
    assert!(matches!(refusals[1], Error::LengthMismatch { declared: 7, received: 8 }));
    assert!(matches!(refusals[2], Error::DigestMismatch(Declared::Md5)));
    assert!(matches!(refusals[3], Error::DigestMismatch(declared) if declared == sha1));
    assert!(matches!(refusals[4], Error::TrailerMissing(ChecksumAlgorithm::Sha1)));
    assert!(matches!(refusals[5], Error::DigestMismatch(declared) if declared == sha1));
    assert!(matches!(refusals[6], Error::DigestMismatch(declared) if declared == sha1), "never compared");
    assert!(bench.faulty.calls().is_empty());
}

#[tokio::test]
async fn a_body_with_everything_declared_and_right_is_taken() {
    let bench = Bench::new(3);
    let text = b"the body";
    let hints = IngestHints {
        size_bytes: Some(8),
        md5: Some(Md5Digest(Md5::digest(text).into())),
        sha256: None,
        checksum: Some(Checksum {
            value: crc_fast::crc32_iscsi(text).to_be_bytes().to_vec(),
            algorithm: ChecksumAlgorithm::Crc32c,
        }),
        trailer: Some(ChecksumAlgorithm::Sha1),
        compute: vec![ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1],
        part_of: None,
        join: None,
        rewrite: None,
    };
    let sent = frames([IngestFrame::Data(Bytes::from_static(text)), IngestFrame::Trailer(sha1_of(text))]);
    let result = bench.ingest(sent, hints).await.unwrap();
    let algorithms: Vec<_> = result.checksums.iter().map(|checksum| checksum.algorithm).collect();
    assert_eq!(algorithms, [ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Crc64Nvme]);
    assert_eq!(result.checksums[1], sha1_of(text));
}

#[tokio::test]
async fn a_body_that_runs_past_its_length_is_not_read_further() {
    let bench = Bench::new(100);
    let endless = stream::repeat_with(|| Ok(IngestFrame::Data(Bytes::from_static(b"more")))).boxed();
    let hints = IngestHints { size_bytes: Some(10), ..IngestHints::default() };
    let refusal = bench.ingest(endless, hints).await.unwrap_err();
    assert!(matches!(refusal, Error::LengthMismatch { declared: 10, received: 12 }));
}

#[tokio::test]
async fn a_stream_that_breaks_is_an_error_of_the_body() {
    let bench = Bench::new(100);
    let broken = stream::iter([Ok(IngestFrame::Data(Bytes::from_static(b"half"))), Err("hung up".into())]).boxed();
    let refusal = bench.ingest(broken, IngestHints::default()).await.unwrap_err();
    assert!(matches!(refusal, Error::Body(source) if source.to_string() == "hung up"));
    assert!(bench.faulty.calls().is_empty());
}

#[tokio::test]
async fn a_part_has_an_md5_and_no_sha256_unless_as_its_checksum() {
    let bench = Bench::new(100);
    let hints = IngestHints {
        part_of: Some(PartOf { upload: "u".to_owned(), number: 1 }),
        compute: vec![ChecksumAlgorithm::Sha256],
        ..IngestHints::default()
    };
    let result = bench.ingest(body(b"part"), hints).await.unwrap();
    assert_eq!(result.sha256, None);
    assert_eq!(result.md5.unwrap().0, <[u8; 16]>::from(Md5::digest(b"part")));
    assert_eq!(result.checksums[0].value, Sha256::digest(b"part").to_vec());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_that_want_more_than_the_budget_all_end() {
    let options = PlaneOptions { chunk_size_bytes: 64 * 1024, buffer_budget_bytes: 160 * 1024 };
    let bench = Bench::with(options);
    let ingests = (0..40_u64).map(|seed| {
        let plane = Arc::clone(&bench.plane);
        tokio::spawn(async move {
            let bytes = noise(300_000 + seed as usize, seed);
            let hints =
                IngestHints { size_bytes: (seed % 2 == 0).then_some(bytes.len() as u64), ..IngestHints::default() };
            // Frames come slowly, so that all of the streams are in the middle of a chunk at some time.
            let slow = framed(&bytes, &[10_000; 30]).then(|frame| async {
                tokio::task::yield_now().await;
                frame
            });
            let result = plane.ingest_stream(slow.boxed(), hints).await.unwrap();
            assert_eq!(result.content_address, ContentAddress::of(&bytes));
        })
    });
    let all = future::try_join_all(ingests);
    tokio::time::timeout(std::time::Duration::from_secs(60), all).await.expect("a deadlock").unwrap();
}

#[tokio::test]
async fn a_stream_that_stalls_does_not_keep_small_bodies_out() {
    let bench = Bench::with(PlaneOptions { chunk_size_bytes: 64 * 1024, buffer_budget_bytes: 80 * 1024 });
    let first = stream::iter([Ok(IngestFrame::Data(Bytes::from_static(b"stalls")))]);
    let plane = Arc::clone(&bench.plane);
    let stalled = first.chain(stream::pending()).boxed();
    let task = tokio::spawn(async move { plane.ingest_stream(stalled, IngestHints::default()).await });
    tokio::task::yield_now().await;
    let hints = IngestHints { size_bytes: Some(5), ..IngestHints::default() };
    bench.ingest(body(b"small"), hints).await.unwrap();
    task.abort();
    // What the aborted one held is free again.
    assert!(task.await.unwrap_err().is_cancelled());
    bench.ingest(body(&noise(64 * 1024, 3)), IngestHints::default()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_ingest_names_nothing() {
    let bench = Bench::new(4);
    let sent = stream::iter([Ok(IngestFrame::Data(Bytes::from_static(b"0123456789")))]).chain(stream::pending());
    let ingest = bench.ingest(sent.boxed(), IngestHints::default());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), ingest).await.is_err());
    let left: Vec<_> = bench.memory.list(None).collect().await;
    // Whole chunks may be left for the sweep; nothing else is.
    assert!(left.iter().all(|stat| stat.as_ref().unwrap().size_bytes == 4));
}

#[tokio::test]
async fn what_is_kept_of_a_part_is_counted_with_all_the_memory_that_it_holds() {
    // Room to keep one whole chunk.
    let chunk = 512 * 1024;
    let bench = Bench::with(PlaneOptions { chunk_size_bytes: chunk, buffer_budget_bytes: 4 * chunk });
    let shelf = &bench.plane.shelf;
    let bytes = Bytes::from(noise(chunk, 1));
    for (size_bytes, is_copied) in [(100_000, true), (300_000, false), (chunk, false)] {
        let bytes = bytes.slice(..size_bytes);
        let (kept, room) = keep(shelf, &bytes, chunk + 4000).unwrap();
        assert_eq!(kept, bytes);
        assert_eq!(kept.as_ptr() != bytes.as_ptr(), is_copied, "{size_bytes}");
        // Nobody said how long the body is, so that its buffer was made for a whole chunk.
        assert_eq!(shelf.budget.room_to_keep(400_000).is_some(), is_copied, "{size_bytes}");
        drop(room);
        bench.store_part(&size_bytes.to_string(), 2, &bytes).await;
        assert_eq!(shelf.budget.room_to_keep(400_000).is_some(), is_copied, "{size_bytes}");
        // Its digests are told, so that nothing of it is kept any longer.
        bench.plane.shelf.follower.prefix(&size_bytes.to_string(), &[]).await;
        assert!(shelf.budget.room_to_keep(chunk).is_some(), "{size_bytes}");
    }
}

#[tokio::test]
async fn the_md5_is_right_whoever_makes_it() {
    let bench = Bench::new(2 << 20);
    let bytes = noise((5 << 20) + 77, 9);
    let pieces = [700_001; 20];
    let ingest = async || bench.ingest(framed(&bytes, &pieces), IngestHints::default()).await.unwrap();
    let expected = Some(Md5Digest(Md5::digest(&bytes).into()));
    assert_eq!(ingest().await.md5, expected, "alone");
    let mut others: Vec<_> = (0..3).map(|_| bench.plane.shelf.md5.enter()).collect();
    assert_eq!(ingest().await.md5, expected, "among many");
    others.clear();
    for n in 0..4_u64 {
        let bodies: Vec<_> = (0..7).map(|m| noise((1 << 20) * (m + 1) + n as usize, m as u64 + 100 * n)).collect();
        let many = bodies.iter().map(|bytes| bench.ingest(framed(bytes, &pieces), IngestHints::default()));
        for (bytes, result) in bodies.iter().zip(futures::future::join_all(many).await) {
            assert_eq!(result.unwrap().md5, Some(Md5Digest(Md5::digest(bytes).into())));
        }
    }
}
