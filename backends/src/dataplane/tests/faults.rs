//! Fault sweeps: every call of the backend fails once, and whatever was acknowledged is there.

use super::{Bench, body, noise};
use crate::dataplane::spi::{ByteRange, DataPlane, IngestHints, Verification};
use crate::error::Error;

#[tokio::test]
async fn whichever_call_fails_an_ingest_ends_clean_and_can_be_tried_again() {
    let bytes = noise(95, 5);
    for n in 1.. {
        let bench = Bench::new(10);
        bench.faulty.fail_nth(n);
        let outcome = bench.ingest(body(&bytes), IngestHints::default()).await;
        let failed = bench.faulty.has_failed();
        assert_eq!(outcome.is_err(), failed, "a failed write is never an acknowledged one");
        if let Err(error) = outcome {
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        }
        bench.faulty.fail_nth(0);
        let stored = bench.store(&bytes).await;
        assert_eq!(bench.serve(&stored.content_address, ByteRange::Full).await.unwrap(), bytes);
        assert_eq!(bench.plane.verify_object(&Verification::Blob(stored.content_address)).await.unwrap().damages, []);
        if !failed {
            assert_eq!(n, 11, "ten writes can fail");
            break;
        }
    }
}

#[tokio::test]
async fn whichever_read_fails_a_join_ends_clean_and_can_be_tried_again() {
    let parts = [noise(25, 1), noise(30, 2), noise(5, 3)];
    for n in 1.. {
        let mut bench = Bench::new(10);
        let mut given = Vec::new();
        for (number, bytes) in (1..).zip(&parts) {
            given.push((number, bench.store_part("u", number, bytes).await));
        }
        bench.restart();
        // What followed in the process before may still read.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        bench.faulty.fail_nth(n);
        let outcome = bench.join("u", given.clone()).await;
        let failed = bench.faulty.has_failed();
        assert!(outcome.is_err() == failed);
        bench.faulty.fail_nth(0);
        let joined = bench.join("u", given).await.unwrap();
        bench.catalog.commit(&joined);
        assert_eq!(bench.serve(&joined.content_address, ByteRange::Full).await.unwrap(), parts.concat());
        if !failed {
            break;
        }
    }
}

#[tokio::test]
async fn a_read_that_fails_breaks_the_stream_and_never_shortens_it() {
    let bytes = noise(95, 5);
    let bench = Bench::new(10);
    let stored = bench.store(&bytes).await;
    for n in 1.. {
        bench.faulty.fail_nth(n);
        match bench.serve(&stored.content_address, ByteRange::Full).await {
            Ok(served) => {
                assert_eq!(served, bytes);
                break;
            }
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_part_whose_following_failed_is_read_at_the_join() {
    let bench = Bench::that_keeps_nothing(100);
    bench.faulty.fail_nth(2);
    let recipe = bench.store_part("u", 1, b"part one").await;
    while !bench.faulty.has_failed() {
        tokio::task::yield_now().await;
    }
    let joined = bench.join("u", vec![(1, recipe)]).await.unwrap();
    assert_eq!(joined.content_address, crate::digest::ContentAddress::of(b"part one"));
}
