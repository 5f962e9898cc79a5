//! The promises of [`Backend`], as a suite that every implementation passes.
//!
//! A broken promise is a panic that names it, as tests do. Each promise gets a backend of its own, empty.

#![allow(clippy::unwrap_used, reason = "a suite speaks by panicking")]

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future};

use crate::backend::{Backend, SealedObject};
use crate::dataplane::spi::ByteRange;
use crate::digest::ObjectKey;
use crate::error::{Error, Result};

const LARGE_BYTES: usize = 9 * 1024 * 1024 + 17;

/// Every promise.
pub async fn all<B: Backend, F: Future<Output = B>>(fresh: impl Fn() -> F) {
    stored_bytes_read_back(&fresh().await).await;
    absence_is_an_answer(&fresh().await).await;
    ranges_are_cut_at_the_end_and_refused_past_it(&fresh().await).await;
    storing_again_changes_nothing_but_the_age(&fresh().await).await;
    deleting_again_succeeds(&fresh().await).await;
    listing_is_in_order_and_resumes(&fresh().await).await;
    writers_of_one_object_do_not_disturb_each_other(&fresh().await).await;
    large_objects_come_in_pieces(&fresh().await).await;
    the_probe_tells_the_time_of_the_objects(&fresh().await).await;
}

fn sealed(text: &str) -> SealedObject {
    SealedObject::seal(Bytes::from(text.to_owned()))
}

async fn read(backend: &dyn Backend, key: &ObjectKey, range: ByteRange) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = backend.read(key, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// What was put reads back, also nothing at all, under the BLAKE3 of the bytes.
pub async fn stored_bytes_read_back(backend: &dyn Backend) {
    for text in ["", "a", "some bytes"] {
        let key = backend.put(sealed(text)).await.unwrap();
        assert_eq!(key.0, *blake3::hash(text.as_bytes()).as_bytes(), "an object is named by its bytes");
        assert_eq!(read(backend, &key, ByteRange::Full).await.unwrap(), text.as_bytes());
        assert_eq!(backend.stat(&key).await.unwrap().unwrap().size_bytes, text.len() as u64);
    }
}

/// `stat` says `None`, and `read` an error that names the object, before any stream.
pub async fn absence_is_an_answer(backend: &dyn Backend) {
    let key = sealed("never stored").key();
    assert_eq!(backend.stat(&key).await.unwrap(), None);
    for range in [ByteRange::Full, ByteRange::Span(0, 1), ByteRange::Last(1)] {
        let outcome = backend.read(&key, range).await.map(drop);
        assert!(matches!(outcome, Err(Error::ObjectMissing(missing)) if missing == key), "{outcome:?}");
    }
    assert_eq!(backend.list(None).count().await, 0);
}

/// Ranges mean what the data plane says they mean.
pub async fn ranges_are_cut_at_the_end_and_refused_past_it(backend: &dyn Backend) {
    let key = backend.put(sealed("0123456789")).await.unwrap();
    let satisfied = [
        (ByteRange::From(7), "789"),
        (ByteRange::Span(2, 5), "234"),
        (ByteRange::Span(8, 100), "89"),
        (ByteRange::Last(3), "789"),
        (ByteRange::Last(100), "0123456789"),
    ];
    for (range, expected) in satisfied {
        assert_eq!(read(backend, &key, range).await.unwrap(), expected.as_bytes(), "{range:?}");
    }
    for range in [ByteRange::From(10), ByteRange::Span(10, 11), ByteRange::Span(5, 5), ByteRange::Last(0)] {
        let outcome = backend.read(&key, range).await.map(drop);
        assert!(matches!(outcome, Err(Error::RangeNotSatisfiable { size_bytes: 10 })), "{range:?}: {outcome:?}");
    }
}

/// A second put of the same bytes succeeds, and the object's age begins again.
pub async fn storing_again_changes_nothing_but_the_age(backend: &dyn Backend) {
    let object = sealed("twice");
    let key = backend.put(object.clone()).await.unwrap();
    let first = backend.stat(&key).await.unwrap().unwrap();
    // A backend's clock may tick once a second only.
    while backend.probe().await.unwrap().clock <= first.modified {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(backend.put(object).await.unwrap(), key);
    let second = backend.stat(&key).await.unwrap().unwrap();
    assert!(second.modified > first.modified, "writing again makes an object young");
    assert_eq!(read(backend, &key, ByteRange::Full).await.unwrap(), b"twice");
    assert_eq!(backend.list(None).count().await, 1);
}

/// Deleting what is there, and what is not.
pub async fn deleting_again_succeeds(backend: &dyn Backend) {
    let key = backend.put(sealed("to be forgotten")).await.unwrap();
    backend.delete(&key).await.unwrap();
    backend.delete(&key).await.unwrap();
    assert_eq!(backend.stat(&key).await.unwrap(), None);
    assert_eq!(backend.put(sealed("to be forgotten")).await.unwrap(), key);
    assert!(backend.stat(&key).await.unwrap().is_some(), "what was deleted can be stored again");
}

/// Key order, and resuming behind any key, stored or not.
pub async fn listing_is_in_order_and_resumes(backend: &dyn Backend) {
    let mut keys = Vec::new();
    for number in 0..40_u32 {
        keys.push(backend.put(sealed(&number.to_string())).await.unwrap());
    }
    keys.sort_unstable();
    let listed = |after| async move {
        let stats: Vec<_> = backend.list(after).try_collect().await.unwrap();
        stats.into_iter().map(|stat| stat.key).collect::<Vec<_>>()
    };
    assert_eq!(listed(None).await, keys);
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(listed(Some(*key)).await, keys[index + 1..]);
    }
    let mut between = keys[20];
    between.0[31] ^= 1;
    let expected: Vec<_> = keys.iter().copied().filter(|key| *key > between).collect();
    assert_eq!(listed(Some(between)).await, expected);
}

/// Many writers of the same bytes at once: all succeed, and readers see the whole object.
pub async fn writers_of_one_object_do_not_disturb_each_other(backend: &dyn Backend) {
    let object = SealedObject::seal(Bytes::from(vec![42; 300_000]));
    backend.put(object.clone()).await.unwrap();
    let writes = future::join_all((0..16).map(|_| backend.put(object.clone())));
    let key = object.key();
    let reads = future::join_all((0..16).map(|_| read(backend, &key, ByteRange::Full)));
    let (written, read_back) = future::join(writes, reads).await;
    assert!(written.into_iter().all(|outcome| outcome.unwrap() == object.key()));
    assert!(read_back.into_iter().all(|outcome| outcome.unwrap() == *object.bytes()));
}

/// A stream holds no more than about a megabyte at a time.
pub async fn large_objects_come_in_pieces(backend: &dyn Backend) {
    let bytes: Vec<u8> = (0..LARGE_BYTES).map(|number| (number % 251) as u8).collect();
    let key = backend.put(SealedObject::seal(Bytes::from(bytes.clone()))).await.unwrap();
    let pieces: Vec<Bytes> = backend.read(&key, ByteRange::Full).await.unwrap().try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 1024 * 1024));
    assert!(pieces.concat() == bytes);
    let middle = read(backend, &key, ByteRange::Span(1_000_001, 7_000_003)).await.unwrap();
    assert!(middle == bytes[1_000_001..7_000_003]);
}

/// Ages are measured by the probe's clock.
pub async fn the_probe_tells_the_time_of_the_objects(backend: &dyn Backend) {
    let before = backend.probe().await.unwrap().clock;
    let key = backend.put(sealed("dated")).await.unwrap();
    let modified = backend.stat(&key).await.unwrap().unwrap().modified;
    let after = backend.probe().await.unwrap().clock;
    assert!(before <= modified && modified <= after, "{before:?} <= {modified:?} <= {after:?}");
    assert_eq!(backend.list(None).count().await, 1, "a probe leaves nothing behind");
}
