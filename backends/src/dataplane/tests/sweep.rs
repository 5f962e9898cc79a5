//! Deletion: by name, and by age of what nobody names.

use std::sync::Arc;
use std::time::Duration;

use super::Bench;
use crate::backend::{Backend, SealedObject};
use crate::dataplane::spi::{ByteRange, DataPlane, Deletion, IngestHints};
use crate::digest::ObjectKey;
use crate::testing::faulty::Call;

const DAY_SECONDS: u64 = 86_400;

fn orphans(after: Option<ObjectKey>, limit: u32) -> Deletion {
    Deletion::Orphans { after, limit, older_than_seconds: DAY_SECONDS }
}

async fn leave_behind(bench: &Bench, text: &str, age_seconds: u64) -> ObjectKey {
    let key = bench.memory.put(SealedObject::seal(text.to_owned().into())).await.unwrap();
    bench.memory.age(&key, Duration::from_secs(age_seconds));
    key
}

#[tokio::test]
async fn deleting_one_object_twice_succeeds_twice() {
    let bench = Bench::new(10);
    let key = leave_behind(&bench, "gone", 0).await;
    for _ in 0..2 {
        assert_eq!(bench.plane.delete_object(Deletion::Object(key)).await.unwrap().deleted, [key]);
    }
    assert_eq!(bench.object_count().await, 0);
}

#[tokio::test]
async fn old_orphans_go_and_young_ones_and_known_ones_stay() {
    let bench = Bench::new(10);
    let known = bench.store(b"known").await;
    bench.memory.age(&ObjectKey(known.content_address.0), Duration::from_secs(9 * DAY_SECONDS));
    let old = leave_behind(&bench, "old", DAY_SECONDS + 1).await;
    leave_behind(&bench, "young", DAY_SECONDS - 60).await;
    let result = bench.plane.delete_object(orphans(None, 1000)).await.unwrap();
    assert_eq!((result.deleted, result.examined, result.next), (vec![old], 3, None));
    assert_eq!(bench.object_count().await, 2);
    assert_eq!(bench.serve(&known.content_address, ByteRange::Full).await.unwrap(), b"known");
}

#[tokio::test]
async fn a_walk_in_steps_finds_what_one_walk_finds() {
    let bench = Bench::new(10);
    let mut left = Vec::new();
    for number in 0..600 {
        left.push(leave_behind(&bench, &number.to_string(), 2 * DAY_SECONDS).await);
    }
    left.sort_unstable();
    let (mut deleted, mut after) = (Vec::new(), None);
    loop {
        let step = bench.plane.delete_object(orphans(after, 7)).await.unwrap();
        assert!(step.examined <= 7);
        deleted.extend(step.deleted);
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(deleted, left);
}

#[tokio::test]
async fn an_object_that_is_written_again_while_it_is_looked_at_is_kept() {
    let bench = Arc::new(Bench::new(10));
    let key = leave_behind(&bench, "again", 2 * DAY_SECONDS).await;
    // An upload of the same bytes holds the object while the sweep has already judged it old and unknown.
    let writing = bench.plane.shelf.writing(&key).await;
    let sweeping = {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move { bench.plane.delete_object(orphans(None, 10)).await.unwrap() })
    };
    while !bench.faulty.calls().contains(&Call::List) {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    bench.memory.put(SealedObject::seal("again".into())).await.unwrap();
    drop(writing);
    assert_eq!(sweeping.await.unwrap().deleted, []);
    assert_eq!(bench.object_count().await, 1);
}

#[tokio::test]
async fn what_a_refused_body_left_is_swept_and_can_be_stored_again() {
    let bench = Bench::new(4);
    let hints = IngestHints { size_bytes: Some(11), ..IngestHints::default() };
    bench.ingest(super::body(b"0123456789"), hints).await.unwrap_err();
    assert!(bench.object_count().await <= 2, "the last chunk was never written");
    let all = Deletion::Orphans { after: None, limit: 10, older_than_seconds: 0 };
    bench.plane.delete_object(all).await.unwrap();
    assert_eq!(bench.object_count().await, 0);
    let stored = bench.store(b"0123456789").await;
    assert_eq!(bench.serve(&stored.content_address, ByteRange::Full).await.unwrap(), b"0123456789");
}
