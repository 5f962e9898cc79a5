//! Small chunks that are on their way together share an object; nobody's bytes depend on who else was there.

use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};
use tokio::time::{Instant, timeout};

use super::{Bench, body, noise};
use crate::backend::Backend;
use crate::dataplane::spi::{ByteRange, DataPlane, IngestHints, IngestResult, Verification};
use crate::digest::ObjectKey;
use crate::error::{Error, Result};
use crate::testing::faulty::Fault;

/// Chunks of up to 100 bytes are small here, and packs have up to 3,200.
const CHUNK: usize = 3_200;

/// Ingests these at once: all of them wait before the first pack is made.
async fn together(bench: &Bench, bodies: &[Vec<u8>]) -> Vec<Result<IngestResult>> {
    join_all(bodies.iter().map(|bytes| bench.ingest(body(bytes), IngestHints::default()))).await
}

async fn objects_of(bench: &Bench, results: &[Result<IngestResult>]) -> Vec<ObjectKey> {
    let mut objects = Vec::new();
    for result in results {
        let result = result.as_ref().unwrap();
        bench.catalog.commit(result);
        objects.extend(result.written.iter().map(|chunk| chunk.location.object));
    }
    objects.dedup();
    objects
}

#[tokio::test]
async fn a_lone_small_chunk_is_an_object_of_its_own() {
    let bench = Bench::new(CHUNK);
    let stored = bench.store(b"alone").await;
    let location = &stored.written[0].location;
    assert_eq!((location.object.0, location.offset_bytes), (stored.content_address.0, 0));
    assert_eq!(bench.puts(), 1);
}

#[tokio::test]
async fn small_chunks_that_come_together_share_one_object_with_the_bytes_of_its_name() {
    let bench = Bench::new(CHUNK);
    let bodies: Vec<_> = (0..20).map(|n| noise(50 + n, n as u64)).collect();
    let results = together(&bench, &bodies).await;
    let objects = objects_of(&bench, &results).await;
    assert_eq!((objects.len(), bench.puts()), (1, 1), "one sync for twenty bodies");
    let pack = bench.memory.stat(&objects[0]).await.unwrap().unwrap();
    assert_eq!(pack.size_bytes, bodies.iter().map(|bytes| bytes.len() as u64).sum::<u64>());
    bench.faulty.fail_nth(0);
    for (bytes, result) in bodies.iter().zip(&results) {
        let address = result.as_ref().unwrap().content_address;
        assert_eq!(bench.serve(&address, ByteRange::Full).await.unwrap(), *bytes);
        assert_eq!(bench.serve(&address, ByteRange::Span(7, 9)).await.unwrap(), bytes[7..9]);
        assert_eq!(bench.plane.verify_object(&Verification::Blob(address)).await.unwrap().damages, []);
    }
}

#[tokio::test]
async fn a_large_chunk_is_never_packed_and_a_pack_does_not_outgrow_a_chunk() {
    let bench = Bench::new(CHUNK);
    let bodies: Vec<_> = (0..80).map(|n| noise(100, n)).chain([noise(101, 1000)]).collect();
    let results = together(&bench, &bodies).await;
    let objects = objects_of(&bench, &results).await;
    let (alone, packs) = objects.split_last().unwrap();
    assert_eq!(alone.0, results[80].as_ref().unwrap().content_address.0);
    assert!((3..=7).contains(&packs.len()), "8,000 bytes in {} packs of up to 3,200", packs.len());
    for pack in packs {
        assert!(bench.memory.stat(pack).await.unwrap().unwrap().size_bytes <= CHUNK as u64);
    }
}

#[tokio::test]
async fn what_is_known_is_not_written_and_what_comes_twice_is_written_once() {
    let bench = Bench::new(CHUNK);
    let known = bench.store(b"known").await;
    bench.faulty.fail_nth(0);
    let bodies = [b"known".to_vec(), b"fresh".to_vec(), b"fresh".to_vec(), b"other".to_vec()];
    let results = together(&bench, &bodies).await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results[0].content_address, known.content_address);
    assert_eq!(results[0].written, []);
    assert_eq!(results[1].written, results[2].written);
    assert_eq!(results[3].written[0].location.offset_bytes, 5);
    assert_eq!(bench.puts(), 1);
    // All of it is known: nothing is written at all.
    results.iter().for_each(|result| bench.catalog.commit(result));
    bench.faulty.fail_nth(0);
    assert!(together(&bench, &bodies).await.iter().all(|result| result.as_ref().unwrap().written.is_empty()));
    assert_eq!(bench.puts(), 0);
}

#[tokio::test]
async fn a_pack_that_fails_is_nobodys_and_the_next_one_is_not_harmed() {
    let bench = Bench::new(CHUNK);
    let bodies: Vec<_> = (0..5).map(|n| noise(60, n)).collect();
    bench.faulty.fail_nth(1);
    for result in together(&bench, &bodies).await {
        assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    }
    assert_eq!(bench.object_count().await, 0);
    bench.faulty.fail_nth(0);
    assert_eq!(objects_of(&bench, &together(&bench, &bodies).await).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pack_that_hangs_holds_up_nobody_who_is_not_in_it() {
    for hanging in 1..=3 {
        let bench = Bench::new(CHUNK);
        bench.faulty.nth(hanging, Fault::Stuck);
        let ingest = |n: usize| bench.ingest(body(&noise(50, n as u64)), IngestHints::default());
        let mut stuck: Vec<_> = (0..hanging).map(|n| Box::pin(ingest(n))).collect();
        for (n, one) in stuck.iter_mut().enumerate() {
            // The last is not late yet.
            let time = if n + 1 < hanging { 2_500 } else { 100 };
            assert!(timeout(Duration::from_millis(time), one).await.is_err());
        }
        let begun = Instant::now();
        ingest(hanging).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(1_890), "it may go with others while none is late");
        assert!(begun.elapsed() < Duration::from_millis(2_000));
        let begun = Instant::now();
        for n in 1..5 {
            ingest(hanging + n).await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_millis(1), "all that hang are late");
    }
}

#[tokio::test]
async fn a_body_that_goes_away_takes_nobody_with_it() {
    let bench = Bench::new(CHUNK);
    let stays = bench.ingest(body(b"stays"), IngestHints::default());
    let mut leaves = Box::pin(bench.ingest(body(b"leaves"), IngestHints::default()));
    let stays = async {
        // Both wait for the same pack when one of them is dropped.
        assert!(futures::poll!(&mut leaves).is_pending());
        drop(leaves);
        stays.await
    };
    let stored = stays.await.unwrap();
    bench.catalog.commit(&stored);
    assert_eq!(bench.serve(&stored.content_address, ByteRange::Full).await.unwrap(), b"stays");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whoever_comes_together_everybody_reads_his_own_bytes(
        sizes in prop::collection::vec((0_usize..160, 0_u64..6), 1..60),
        rounds in 1_usize..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new(CHUNK);
            let bodies: Vec<_> = sizes.iter().map(|(size, seed)| noise(*size, *seed)).collect();
            for _ in 0..rounds {
                let results = together(&bench, &bodies).await;
                objects_of(&bench, &results).await;
                for (bytes, result) in bodies.iter().zip(&results) {
                    let address = result.as_ref().unwrap().content_address;
                    prop_assert_eq!(&bench.serve(&address, ByteRange::Full).await.unwrap(), bytes);
                    prop_assert!(bench.plane.verify_object(&Verification::Blob(address)).await.unwrap().damages.is_empty());
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_damaged_where_it_lies_is_written_again_under_another_name() {
    for size_bytes in [100, 3000] {
        let bench = super::Bench::new(3200);
        let bytes = vec![7; size_bytes];
        let first = bench.store(&bytes).await;
        let here = first.written[0].location.object;
        bench.memory.damage(&here, bytes::Bytes::from_static(b"spoilt"));
        assert_eq!(bench.store(&bytes).await.written, [], "nobody knows yet");
        bench.catalog.damage(first.content_address, 12);
        let again = bench.store(&bytes).await;
        assert_ne!(again.written[0].location.object, here);
        assert_eq!(bench.serve(&first.content_address, ByteRange::Full).await.unwrap(), bytes);
        let next = again.written[0].location.object;
        bench.catalog.damage(first.content_address, 13);
        assert_ne!(bench.store(&bytes).await.written[0].location.object, next, "a name is given once");
    }
}

#[tokio::test]
async fn chunks_of_a_pack_are_written_elsewhere_and_only_when_they_are_whole() {
    let bench = Bench::new(CHUNK);
    let bodies: Vec<_> = (0..5).map(|n| noise(60, n)).collect();
    let results = together(&bench, &bodies).await;
    let [pack] = *objects_of(&bench, &results).await else { panic!("one pack") };
    let living: Vec<_> = results.iter().skip(2).map(|result| result.as_ref().unwrap().written[0].clone()).collect();
    let rewrite = || IngestHints { rewrite: Some(living.clone()), ..IngestHints::default() };
    let moved = bench.ingest(body(b""), rewrite()).await.unwrap();
    assert_eq!((moved.written.len(), moved.size_bytes), (3, 180));
    assert!(moved.written.iter().all(|located| located.location.object != pack));
    moved.written.iter().for_each(|one| bench.catalog.locate(one.chunk.address, one.location.clone()));
    bench.memory.damage(&pack, bytes::Bytes::from_static(b"gone"));
    for (bytes, result) in bodies.iter().zip(&results).skip(2) {
        let address = result.as_ref().unwrap().content_address;
        assert_eq!(bench.serve(&address, ByteRange::Full).await.unwrap(), *bytes);
    }
    let refused = bench.ingest(body(b""), rewrite()).await.unwrap_err();
    assert!(matches!(refused, Error::ObjectDamaged(..)), "{refused}");
}
