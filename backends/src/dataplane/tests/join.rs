//! Multipart: whatever the order, the digests are those of the concatenated bytes.

use std::time::Duration;

use futures::{StreamExt, stream};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use sha2::{Digest as _, Sha256};

use super::{Bench, noise};
use crate::dataplane::inproc::PlaneOptions;
use crate::dataplane::spi::{ByteRange, IngestHints, Join};
use crate::digest::{Checksum, ChecksumAlgorithm, ContentAddress, Md5Digest};
use crate::error::{Declared, Error};
use crate::recipe::Recipe;

/// Waits until the follower has come so far.
async fn followed(bench: &Bench, upload: &str, parts: usize) {
    let until = async {
        while bench.plane.shelf.follower.covers(upload).await < parts {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until).await.expect("the follower stands still");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_interleaving_of_parts_gives_the_digests_of_the_concatenation(
        sizes in prop::collection::vec(0_usize..60, 1..8),
        arrivals in prop::collection::vec((0_usize..8, any::<bool>()), 0..16),
        chunk_size in 1_usize..32,
        stride in 1_u32..3,
        left_out in prop::option::of(0_usize..8),
        restart in any::<bool>(),
        patient in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new(chunk_size);
            let mut parts: Vec<(Vec<u8>, Recipe)> = vec![Default::default(); sizes.len()];
            // Some parts come early or more than once, with the same or other bytes; then each comes that did not yet.
            let rest = (0..sizes.len()).map(|index| (index, true));
            for (index, (part, same)) in arrivals.into_iter().chain(rest).enumerate() {
                let part = part % sizes.len();
                let seed = if same { part } else { index + 100 };
                let bytes = noise(sizes[part], seed as u64);
                let recipe = bench.store_part("upload", 1 + part as u32 * stride, &bytes).await;
                parts[part] = (bytes, recipe);
                if patient {
                    tokio::task::yield_now().await;
                }
            }
            if restart {
                bench.restart();
            }
            if let Some(index) = left_out.filter(|index| *index < parts.len()) {
                parts[index] = Default::default();
            }
            let given = (1..).step_by(stride as usize).zip(parts.iter().map(|(_, recipe)| recipe.clone()));
            let joined = bench.join("upload", given.collect()).await.unwrap();
            let whole = parts.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect::<Vec<_>>();
            prop_assert_eq!(joined.content_address, ContentAddress::of(&whole));
            prop_assert_eq!(joined.sha256.unwrap().0, <[u8; 32]>::from(Sha256::digest(&whole)));
            prop_assert_eq!((joined.size_bytes, joined.md5), (whole.len() as u64, None));
            prop_assert_eq!(joined.written.len(), 0);
            bench.catalog.commit(&joined);
            prop_assert_eq!(bench.serve(&joined.content_address, ByteRange::Full).await.unwrap(), whole);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn parts_that_were_followed_are_not_read_again_and_completing_twice_gives_the_same() {
    let bench = Bench::new(1000);
    let mut parts = Vec::new();
    for number in [2, 1, 3] {
        parts.push((number, bench.store_part("u", number, &noise(2500, number.into())).await));
    }
    parts.sort_by_key(|(number, _)| *number);
    followed(&bench, "u", 3).await;
    bench.faulty.fail_nth(0);
    let first = bench.join("u", parts.clone()).await.unwrap();
    assert_eq!(bench.join("u", parts).await.unwrap(), first);
    assert_eq!(bench.reads(), 0);
}

#[tokio::test]
async fn a_gap_in_the_numbers_is_read_from_the_gap_on() {
    let bench = Bench::new(1000);
    let mut parts = Vec::new();
    for number in [1, 2, 5] {
        parts.push((number, bench.store_part("u", number, &noise(500, number.into())).await));
    }
    followed(&bench, "u", 2).await;
    bench.faulty.fail_nth(0);
    let joined = bench.join("u", parts).await.unwrap();
    assert_eq!(bench.reads(), 1);
    let whole = [1, 2, 5].map(|seed| noise(500, seed)).concat();
    assert_eq!(joined.content_address, ContentAddress::of(&whole));
}

#[tokio::test]
async fn a_join_may_leave_out_the_last_parts_that_were_followed() {
    let bench = Bench::new(1000);
    let mut parts = Vec::new();
    for number in 1..=3 {
        parts.push((number, bench.store_part("u", number, &noise(500, number.into())).await));
    }
    followed(&bench, "u", 3).await;
    parts.truncate(2);
    let joined = bench.join("u", parts).await.unwrap();
    assert_eq!(joined.content_address, ContentAddress::of(&[1, 2].map(|seed| noise(500, seed)).concat()));
}

#[tokio::test]
async fn a_part_is_followed_before_the_catalog_knows_it() {
    let bench = Bench::new(1000);
    let part_of = Some(crate::dataplane::spi::PartOf { upload: "u".to_owned(), number: 1 });
    bench.ingest(super::body(b"part"), IngestHints { part_of, ..IngestHints::default() }).await.unwrap();
    followed(&bench, "u", 1).await;
}

#[tokio::test]
async fn a_join_of_parts_that_nobody_knows_is_refused() {
    let bench = Bench::new(1000);
    let recipe = bench.store_part("u", 1, b"part").await;
    bench.catalog.clear();
    bench.restart_and_join_fails(recipe).await;
}

impl Bench {
    async fn restart_and_join_fails(mut self, recipe: Recipe) {
        self.restart();
        let missing = recipe.chunks[0].address;
        let refusal = self.join("u", vec![(1, recipe)]).await.unwrap_err();
        assert!(matches!(refusal, Error::BlobMissing(address) if address == missing));
    }
}

#[tokio::test]
async fn a_join_computes_and_compares_what_is_asked_of_it() {
    let bench = Bench::new(4);
    let parts = vec![(1, bench.store_part("u", 1, b"01234").await), (2, bench.store_part("u", 2, b"56789").await)];
    let hints = |hints: IngestHints| IngestHints {
        join: Some(Join { upload: "u".to_owned(), parts: parts.clone() }),
        compute: vec![ChecksumAlgorithm::Crc32],
        ..hints
    };
    let crc32 = Checksum {
        value: crc_fast::crc32_iso_hdlc(b"0123456789").to_be_bytes().to_vec(),
        algorithm: ChecksumAlgorithm::Crc32,
    };
    let nothing = || stream::empty().boxed();
    let right = IngestHints { checksum: Some(crc32.clone()), size_bytes: Some(10), ..IngestHints::default() };
    assert_eq!(bench.ingest(nothing(), hints(right)).await.unwrap().checksums, std::slice::from_ref(&crc32));

    let wrong = Checksum { value: vec![1, 2, 3, 4], ..crc32 };
    let wrong = IngestHints { checksum: Some(wrong), ..IngestHints::default() };
    let refusal = bench.ingest(nothing(), hints(wrong)).await.unwrap_err();
    assert!(matches!(refusal, Error::DigestMismatch(Declared::Checksum(ChecksumAlgorithm::Crc32))));

    let wrong = IngestHints { md5: Some(Md5Digest([0; 16])), ..IngestHints::default() };
    let refusal = bench.ingest(nothing(), hints(wrong)).await.unwrap_err();
    assert!(matches!(refusal, Error::DigestMismatch(Declared::Md5)));

    let wrong = IngestHints { size_bytes: Some(11), ..IngestHints::default() };
    let refusal = bench.ingest(nothing(), hints(wrong)).await.unwrap_err();
    assert!(matches!(refusal, Error::LengthMismatch { declared: 11, received: 10 }));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_forsaken_keeps_no_bytes_from_others() {
    let bench = Bench::with(PlaneOptions { chunk_size_bytes: 1000, buffer_budget_bytes: 64 * 1024 });
    for number in 2..18 {
        bench.store_part("forsaken", number, &noise(1000, number.into())).await;
    }
    let budget = &bench.plane.shelf.budget;
    assert!(budget.room_to_keep(1000).is_none(), "all of it is taken");
    tokio::time::sleep(Duration::from_secs(61)).await;
    // The first of two parts that come early finds the room, and leaves some.
    bench.store_part("another", 2, &noise(1000, 100)).await;
    assert!(budget.room_to_keep(8000).is_some());
}

#[tokio::test]
async fn uploads_that_were_forsaken_keep_no_other_from_being_followed() {
    // Every byte is a chunk: these have all the places there are, and no first part.
    let bench = Bench::new(1);
    let forsaken = async |name: &str| bench.store_part(name, 2, &[7; 8192]).await;
    for number in 0..8 {
        forsaken(&number.to_string()).await;
    }
    // What comes in its turn needs none, and takes nobody's.
    for number in 1..=3 {
        bench.store_part("orderly", number, &noise(100, number.into())).await;
        followed(&bench, "orderly", number as usize).await;
    }
    bench.store_part("0", 1, b"first").await;
    followed(&bench, "0", 2).await;
    forsaken("8").await;
    // What comes early takes those of whoever was quiet for longest, and of no other.
    for number in [3, 2, 1] {
        bench.store_part("early", number, &noise(100, number.into())).await;
    }
    followed(&bench, "early", 3).await;
    for number in 1..=8 {
        bench.store_part(&number.to_string(), 1, b"first").await;
    }
    for number in 2..=8 {
        followed(&bench, &number.to_string(), 2).await;
    }
    assert_eq!(bench.plane.shelf.follower.covers("1").await, 0);
}

#[tokio::test]
async fn many_uploads_at_once_are_all_right_although_only_some_are_followed() {
    let bench = Bench::new(64);
    let mut uploads = Vec::new();
    for number in 0..400_u32 {
        let name = number.to_string();
        uploads.push((bench.store_part(&name, 1, &noise(100, number.into())).await, name, number));
    }
    for (recipe, name, number) in uploads {
        let joined = bench.join(&name, vec![(1, recipe)]).await.unwrap();
        assert_eq!(joined.content_address, ContentAddress::of(&noise(100, number.into())));
    }
}
