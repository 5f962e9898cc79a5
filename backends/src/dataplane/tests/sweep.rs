//! Deletion by name, finding what nobody names, and names that are never given again.

use std::time::Duration;

use super::Bench;
use crate::backend::{Backend, SealedObject};
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{ByteRange, DataPlane, Deletion, DeletionResult, IngestHints, Verification};
use crate::digest::{ContentAddress, ObjectKey};
use crate::error::Error;

const DAY_SECONDS: u64 = 86_400;

fn orphans(after: Option<ObjectKey>, limit: u32) -> Deletion {
    Deletion::Orphans { after, limit, older_than_seconds: DAY_SECONDS }
}

fn objects(bench: &Bench, objects: Vec<ObjectKey>) -> Deletion {
    Deletion::Objects { backend: bench.memory.name().to_owned(), objects }
}

fn named(result: &DeletionResult) -> Vec<ObjectKey> {
    result.orphans.iter().map(|orphan| orphan.object).collect()
}

async fn leave_behind(bench: &Bench, text: &str, age_seconds: u64) -> ObjectKey {
    let key = bench.memory.put(SealedObject::seal(text.to_owned().into())).await.unwrap();
    bench.memory.age(&key, Duration::from_secs(age_seconds));
    key
}

#[tokio::test]
async fn deleting_objects_twice_succeeds_twice() {
    let bench = Bench::new(10);
    let keys = vec![leave_behind(&bench, "gone", 0).await, leave_behind(&bench, "too", 0).await];
    for _ in 0..2 {
        let mut deleted = bench.plane.delete_object(objects(&bench, keys.clone())).await.unwrap().deleted;
        deleted.sort_unstable_by_key(|key| *key != keys[0]);
        assert_eq!(deleted, keys);
    }
    assert_eq!(bench.object_count().await, 0);
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_is_not_said_to_be_gone_and_keeps_no_other() {
    let bench = Bench::new(10);
    let keys = vec![leave_behind(&bench, "one", 0).await, leave_behind(&bench, "two", 0).await];
    bench.faulty.fail_nth(1);
    let deleted = bench.plane.delete_object(objects(&bench, keys.clone())).await.unwrap().deleted;
    assert_eq!((deleted.len(), bench.object_count().await), (1, 1));
    assert_eq!(bench.plane.delete_object(objects(&bench, keys)).await.unwrap().deleted.len(), 2);
    assert_eq!(bench.object_count().await, 0);
}

#[tokio::test]
async fn old_orphans_are_found_and_nothing_goes() {
    let bench = Bench::new(10);
    let known = bench.store(b"known").await;
    bench.memory.age(&ObjectKey(known.content_address.0), Duration::from_secs(9 * DAY_SECONDS));
    let old = leave_behind(&bench, "old", DAY_SECONDS + 1).await;
    leave_behind(&bench, "young", DAY_SECONDS - 60).await;
    let result = bench.plane.delete_object(orphans(None, 1000)).await.unwrap();
    assert_eq!((named(&result), result.examined, result.next), (vec![old], 3, None));
    assert_eq!((result.orphans[0].size_bytes, result.orphans[0].backend.as_str()), (3, bench.memory.name()));
    assert_eq!(bench.object_count().await, 3);
}

#[tokio::test]
async fn a_walk_in_steps_finds_what_one_walk_finds() {
    let bench = Bench::new(10);
    let mut left = Vec::new();
    for number in 0..600 {
        left.push(leave_behind(&bench, &number.to_string(), 2 * DAY_SECONDS).await);
    }
    left.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let step = bench.plane.delete_object(orphans(after, 7)).await.unwrap();
        assert!(step.examined <= 7);
        found.extend(named(&step));
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, left);
}

#[tokio::test]
async fn what_was_swept_is_stored_again_under_another_name() {
    for size_bytes in [3, 600] {
        let bench = Bench::new(640);
        let body = super::noise(size_bytes, 7);
        let mut names = Vec::new();
        for _ in 0..3 {
            let stored = bench.store(&body).await;
            let [located] = &*stored.written else { panic!("{stored:?}") };
            assert!(!names.contains(&located.location.object), "a name that was swept is given again");
            assert_eq!(bench.serve(&stored.content_address, ByteRange::Full).await.unwrap(), body);
            assert_eq!(
                bench.plane.verify_object(&Verification::Blob(stored.content_address)).await.unwrap().damages,
                []
            );
            names.push(located.location.object);
            bench.catalog.sweep(located.location.object);
        }
    }
}

#[tokio::test]
async fn chunks_that_were_together_before_get_another_object() {
    let bench = Bench::new(64_000);
    let pack = async || {
        let (a, b) = (super::noise(30, 1), super::noise(30, 2));
        let (a, b) = futures::join!(
            bench.ingest(super::body(&a), IngestHints::default()),
            bench.ingest(super::body(&b), IngestHints::default())
        );
        let (a, b) = (a.unwrap().written.remove(0), b.unwrap().written.remove(0));
        assert_eq!(a.location.object, b.location.object, "they share an object");
        a.location.object
    };
    let first = pack().await;
    assert_eq!(pack().await, first, "named by the same bytes");
    bench.catalog.sweep(first);
    assert_ne!(pack().await, first);
}

#[tokio::test]
async fn what_a_refused_body_left_is_found_and_can_be_stored_again() {
    let bench = Bench::new(4);
    let hints = IngestHints { size_bytes: Some(11), ..IngestHints::default() };
    bench.ingest(super::body(b"0123456789"), hints).await.unwrap_err();
    assert!(bench.object_count().await <= 2, "the last chunk was never written");
    let all = Deletion::Orphans { after: None, limit: 10, older_than_seconds: 0 };
    let found = named(&bench.plane.delete_object(all).await.unwrap());
    assert_eq!(found.len(), bench.object_count().await);
    found.iter().for_each(|object| bench.catalog.sweep(*object));
    bench.plane.delete_object(objects(&bench, found)).await.unwrap();
    assert_eq!(bench.object_count().await, 0);
    let stored = bench.store(b"0123456789").await;
    assert_eq!(bench.serve(&stored.content_address, ByteRange::Full).await.unwrap(), b"0123456789");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_deletion_holds_off_is_let_go_in_the_end() {
    // One chunk that is an object alone, and one that goes into a pack.
    for chunk_size_bytes in [10, 640] {
        let bench = Bench::new(chunk_size_bytes);
        let lock = Shelf::lock_of(&ObjectKey(ContentAddress::of(b"late").0));
        let deletion = bench.plane.shelf.deleting(lock).await;
        let refusal = bench.ingest(super::body(b"late"), IngestHints::default()).await.unwrap_err();
        assert!(matches!(refusal, Error::Unavailable(_)), "{refusal:?}");
        assert_eq!(bench.puts(), 0);
        drop(deletion);
        assert_eq!(bench.store(b"late").await.written.len(), 1);
    }
}
