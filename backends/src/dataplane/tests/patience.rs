//! Senders that are slow, or stop, share the budget with those that are not.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{Bench, noise};
use crate::dataplane::inproc::PlaneOptions;
use crate::dataplane::spi::{ByteRange, IngestFrame, IngestHints, IngestResult, IngestStream};
use crate::digest::ContentAddress;
use crate::testing::faulty::Fault;

/// Few enough bytes to be hashed on the spot: a paused clock must not run on while another thread works.
const CHUNK: usize = 64 * 1024;

/// Sends pieces, each after a pause.
fn slowly(pieces: Vec<(Duration, Bytes)>) -> IngestStream {
    let sent = futures::stream::iter(pieces).then(|(pause, bytes)| async move {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        Ok(IngestFrame::Data(bytes))
    });
    sent.boxed()
}

/// Some of it at once, the rest after a pause.
fn paused_at(bytes: &[u8], at: usize, pause: Duration) -> IngestStream {
    let mut rest = Bytes::copy_from_slice(bytes);
    let first = rest.split_to(at);
    slowly(vec![(Duration::ZERO, first), (pause, rest)])
}

fn sizes(result: &IngestResult) -> Vec<u64> {
    result.recipe.chunks.iter().map(|chunk| chunk.size_bytes).collect()
}

/// A plane with room for so many large chunks.
fn bench(chunks: usize) -> Bench {
    let buffer_budget_bytes = CHUNK * chunks * 2 + 1;
    Bench::with(PlaneOptions { chunk_size_bytes: CHUNK, buffer_budget_bytes })
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_sender_that_stops_keeps_its_room_only_until_somebody_wants_it() {
    let bench = bench(1);
    let (slow, fast) = (noise(3 * CHUNK, 1), noise(2 * CHUNK, 2));
    // Stopped with little, with much, and with a whole chunk in hand.
    for (at, cut) in [(100, vec![]), (CHUNK + 30_000, vec![30_000]), (CHUNK, vec![])] {
        let stopped = bench.ingest(paused_at(&slow, at, HOUR), IngestHints::default());
        let hasty = async {
            sleep(Duration::from_millis(1)).await;
            let began = Instant::now();
            let result = bench.ingest(super::body(&fast), IngestHints::default()).await.unwrap();
            (result, began.elapsed())
        };
        let (stopped, (hasty, took)) = tokio::join!(stopped, hasty);
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(hasty.content_address, ContentAddress::of(&fast));
        let stopped = stopped.unwrap();
        assert_eq!(stopped.content_address, ContentAddress::of(&slow));
        // Only the chunk that was interrupted is in two; all the others are where they always are.
        let chunk = CHUNK as u64;
        let expected = match cut.first() {
            Some(first) => vec![chunk, *first, chunk - first, chunk],
            None => vec![chunk; 3],
        };
        assert_eq!(sizes(&stopped), expected, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_stops_and_is_in_nobodys_way_is_left_alone() {
    let bench = bench(4);
    let bytes = noise(2 * CHUNK, 3);
    let stored = bench.ingest(paused_at(&bytes, CHUNK + 30_000, HOUR), IngestHints::default()).await.unwrap();
    assert_eq!(sizes(&stored), [CHUNK as u64; 2]);
}

#[tokio::test(start_paused = true)]
async fn no_set_of_half_filled_uploads_starves_itself_or_others() {
    let bench = bench(3);
    let uploads: Vec<_> = (0..64_u64).map(|n| noise(2 * CHUNK + 1, n)).collect();
    let began = Instant::now();
    let half = |bytes: &Vec<u8>, n: usize| paused_at(bytes, CHUNK / 2 + n, Duration::from_secs(20));
    let ingests = uploads.iter().enumerate().map(|(n, bytes)| bench.ingest(half(bytes, n), IngestHints::default()));
    let results = timeout(Duration::from_secs(600), join_all(ingests)).await.expect("nobody starves");
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    for (bytes, result) in uploads.iter().zip(results) {
        let result = result.unwrap();
        bench.catalog.commit(&result);
        assert_eq!(bench.serve(&result.content_address, ByteRange::Full).await.unwrap(), *bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_taken_whole_while_others_want_its_room() {
    let bench = bench(1);
    let bytes = noise(20_000, 5);
    let pieces = bytes.chunks(700).map(|piece| (Duration::from_millis(700), Bytes::copy_from_slice(piece)));
    let trickle = bench.ingest(slowly(pieces.collect()), IngestHints::default());
    let others = async {
        for n in 0..10 {
            let hasty = noise(CHUNK, 100 + n);
            let result = bench.ingest(super::body(&hasty), IngestHints::default()).await.unwrap();
            assert_eq!(result.content_address, ContentAddress::of(&hasty));
        }
    };
    let (trickle, ()) = tokio::join!(trickle, others);
    assert_eq!(trickle.unwrap().content_address, ContentAddress::of(&bytes));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_and_hangs_keeps_its_room() {
    let bench = bench(1);
    bench.faulty.nth(1, Fault::Hung);
    let bytes = noise(CHUNK, 9);
    bench.ingest(super::body(&bytes), IngestHints::default()).await.expect_err("the write hangs");
    let mut next = Box::pin(bench.ingest(super::body(&bytes), IngestHints::default()));
    timeout(Duration::from_secs(60), &mut next).await.expect_err("there is no room");
    bench.faulty.fail_nth(0);
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_trickles_takes_room_once_and_not_again_for_every_byte() {
    let bench = bench(1);
    let crowd: Vec<_> = (0..40).map(|n| noise(150, n)).collect();
    let trickle = |bytes: &Vec<u8>| {
        let pieces = bytes.chunks(1).map(|byte| (Duration::from_secs(1), Bytes::copy_from_slice(byte)));
        slowly(pieces.collect())
    };
    let trickles = join_all(crowd.iter().map(|bytes| bench.ingest(trickle(bytes), IngestHints::default())));
    let others = async {
        // By now each of the crowd had the room for its second.
        sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        for n in 0..10 {
            bench.ingest(super::body(&noise(CHUNK, 100 + n)), IngestHints::default()).await.unwrap();
        }
        began.elapsed()
    };
    let (results, took) = tokio::join!(trickles, others);
    assert!(took < Duration::from_secs(2), "{took:?}");
    for (bytes, result) in crowd.iter().zip(results) {
        assert_eq!(result.unwrap().content_address, ContentAddress::of(bytes));
    }
}
