//! Copies a store into another: every object, each compared with its name on the way out and again where it arrived.
//!
//! The two are walked side by side in key order, so that what is there already costs no request of its own, and a copy
//! that broke off goes on where it stopped without a note of where that was.
//!
//! Invariant: an object that is counted as copied was read back from its new place with the bytes of its name.
//! Invariant: at most [`TransferOptions::at_once`] objects are in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, Peekable};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::backend::{Backend, ObjectStat, SealedObject};
use crate::dataplane::compute;
use crate::dataplane::spi::ByteRange;
use crate::digest::ObjectKey;
use crate::error::{Error, Result};

/// How to copy.
#[derive(Debug, Clone)]
pub struct TransferOptions {
    /// Objects on their way at once; at least one.
    pub at_once: usize,
    /// Whether what is there already is read back and compared, too, and copied again when it is damaged.
    pub compare_present: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TransferProgress {
    /// Objects looked at.
    pub examined: u64,
    /// Objects copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that were there already.
    pub present: u64,
    /// Objects that are not what their name says, in either place; they were not copied.
    pub damaged: u64,
}

impl TransferProgress {
    /// This, and what a later look at the same stores found to do.
    #[must_use]
    pub const fn and(self, later: Self) -> Self {
        Self {
            examined: self.examined + later.copied + later.damaged,
            copied: self.copied + later.copied,
            copied_bytes: self.copied_bytes + later.copied_bytes,
            present: self.present,
            damaged: self.damaged + later.damaged,
        }
    }
}

/// An object that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The object's name, as hex.
    pub object: String,
    /// Which of the two has it so.
    pub backend: String,
}

#[derive(Debug, Default)]
struct Counts {
    examined: AtomicU64,
    copied: AtomicU64,
    copied_bytes: AtomicU64,
    present: AtomicU64,
    damaged: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    fn progress(&self) -> TransferProgress {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TransferProgress {
            examined: read(&self.examined),
            copied: read(&self.copied),
            copied_bytes: read(&self.copied_bytes),
            present: read(&self.present),
            damaged: read(&self.damaged),
        }
    }
}

/// Copies what is not there yet. Objects that are written meanwhile may be copied or not: another run copies those.
///
/// # Errors
/// When either side cannot be read or written. What was copied stays, and the next run goes on from there.
pub async fn transfer(
    from: &dyn Backend,
    to: &dyn Backend,
    options: &TransferOptions,
    progress: &(dyn Fn(TransferProgress) + Sync),
    tell: &(dyn Fn(Mismatch) + Sync),
) -> Result<TransferProgress> {
    let counts = Counts::default();
    let counts_ref = &counts;
    let there = to.list(None).peekable();
    let side_by_side = stream::try_unfold((from.list(None), there), |(mut here, mut there)| async move {
        let Some(stat) = here.try_next().await? else { return Ok(None) };
        let present = is_there(&mut there, &stat).await?;
        Ok::<_, Error>(Some(((stat, present), (here, there))))
    });
    let run = side_by_side
        .map_ok(|(stat, present)| async move {
            let outcome = one(from, to, &stat, present, options, counts_ref).await?;
            Counts::add(&counts_ref.examined, 1);
            if let Some(backend) = outcome {
                Counts::add(&counts_ref.damaged, 1);
                tell(Mismatch { object: stat.key.to_hex(), backend: backend.to_owned() });
            }
            progress(counts_ref.progress());
            Ok(())
        })
        .try_buffer_unordered(options.at_once.max(1));
    run.try_for_each(|()| async { Ok(()) }).await?;
    Ok(counts.progress())
}

/// Copies these objects, those that are not there yet; what is in neither place is told as damaged.
///
/// # Errors
/// As [`transfer`].
pub async fn bring(
    from: &dyn Backend,
    to: &dyn Backend,
    keys: &[ObjectKey],
    options: &TransferOptions,
    tell: &(dyn Fn(Mismatch) + Sync),
) -> Result<TransferProgress> {
    let counts = Counts::default();
    let counts_ref = &counts;
    let run = stream::iter(keys.iter().copied().map(Ok::<_, Error>))
        .map_ok(|key| async move {
            Counts::add(&counts_ref.examined, 1);
            let there = to.stat(&key).await?;
            let damaged = match from.stat(&key).await? {
                Some(stat) => {
                    let present = there.is_some_and(|there| there.size_bytes == stat.size_bytes);
                    one(from, to, &stat, present, options, counts_ref).await?
                }
                None if there.is_some() => None,
                None => Some(from.name()),
            };
            if let Some(backend) = damaged {
                Counts::add(&counts_ref.damaged, 1);
                tell(Mismatch { object: key.to_hex(), backend: backend.to_owned() });
            }
            Ok(())
        })
        .try_buffer_unordered(options.at_once.max(1));
    run.try_for_each(|()| async { Ok(()) }).await?;
    Ok(counts.progress())
}

/// Whether the other side has an object of this name and size; it is walked up to there.
async fn is_there(there: &mut Peekable<BoxStream<'_, Result<ObjectStat>>>, wanted: &ObjectStat) -> Result<bool> {
    use std::pin::Pin;
    loop {
        match Pin::new(&mut *there).peek().await {
            Some(Ok(stat)) if stat.key == wanted.key => return Ok(stat.size_bytes == wanted.size_bytes),
            Some(Ok(stat)) if stat.key > wanted.key => return Ok(false),
            None => return Ok(false),
            // Behind it there is one that may be the one, or there is an error to be told.
            Some(_) => {
                there.try_next().await?;
            }
        }
    }
}

/// Takes care of one object; the name of the backend that has it damaged, when one does.
async fn one<'a>(
    from: &'a dyn Backend,
    to: &'a dyn Backend,
    stat: &ObjectStat,
    present: bool,
    options: &TransferOptions,
    counts: &Counts,
) -> Result<Option<&'a str>> {
    if present && (!options.compare_present || is_right(to, stat).await?) {
        Counts::add(&counts.present, 1);
        return Ok(None);
    }
    // Swept since it was listed: nothing is missing.
    let Some(original) = object(from, stat).await? else { return Ok(None) };
    if original.key() != stat.key {
        return Ok(Some(from.name()));
    }
    to.put(original).await?;
    if !is_right(to, stat).await? {
        return Ok(Some(to.name()));
    }
    Counts::add(&counts.copied, 1);
    Counts::add(&counts.copied_bytes, stat.size_bytes);
    Ok(None)
}

/// Whether an object is there with the bytes of its name.
async fn is_right(backend: &dyn Backend, stat: &ObjectStat) -> Result<bool> {
    Ok(object(backend, stat).await?.is_some_and(|object| object.key() == stat.key))
}

/// All of an object, under the name that its bytes have; `None` when there is none.
async fn object(backend: &dyn Backend, stat: &ObjectStat) -> Result<Option<SealedObject>> {
    let key: ObjectKey = stat.key;
    let mut pieces = match backend.read(&key, ByteRange::Full).await {
        Err(Error::ObjectMissing(_)) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = BytesMut::with_capacity(usize::try_from(stat.size_bytes).unwrap_or_default());
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    let bytes: Bytes = bytes.freeze();
    compute(bytes.len(), move || Some(SealedObject::seal(bytes))).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures::TryStreamExt;

    use super::{TransferOptions, TransferProgress, transfer};
    use crate::backend::{Backend, SealedObject};
    use crate::digest::ObjectKey;
    use crate::memory::MemoryBackend;
    use crate::testing::faulty::FaultyBackend;

    const OPTIONS: TransferOptions = TransferOptions { at_once: 4, compare_present: false };

    async fn filled(count: u32) -> MemoryBackend {
        let backend = MemoryBackend::new();
        for number in 0..count {
            backend.put(SealedObject::seal(Bytes::from(number.to_string()))).await.unwrap();
        }
        backend
    }

    async fn keys(backend: &dyn Backend) -> Vec<ObjectKey> {
        backend.list(None).map_ok(|stat| stat.key).try_collect().await.unwrap()
    }

    async fn run(from: &dyn Backend, to: &dyn Backend, options: &TransferOptions) -> (TransferProgress, Vec<String>) {
        let told = Mutex::new(Vec::new());
        let tell = |mismatch: super::Mismatch| told.lock().unwrap().push(mismatch.object);
        let progress = transfer(from, to, options, &|_| {}, &tell).await.unwrap();
        (progress, told.into_inner().unwrap())
    }

    #[tokio::test]
    async fn everything_is_copied_once_and_what_was_there_already_stays() {
        let (from, to) = (filled(100).await, filled(30).await);
        to.put(SealedObject::seal(Bytes::from_static(b"its own"))).await.unwrap();
        let (first, _) = run(&from, &to, &OPTIONS).await;
        assert_eq!((first.examined, first.copied, first.present, first.damaged), (100, 70, 30, 0));
        assert_eq!(keys(&to).await.len(), 101);
        let (again, _) = run(&from, &to, &OPTIONS).await;
        assert_eq!((again.copied, again.present), (0, 100));
    }

    #[tokio::test]
    async fn what_is_not_what_its_name_says_is_told_and_not_copied() {
        let (from, to) = (filled(10).await, MemoryBackend::new());
        let all = keys(&from).await;
        from.damage(&all[3], Bytes::from_static(b"rotten"));
        let (progress, told) = run(&from, &to, &OPTIONS).await;
        assert_eq!((progress.copied, progress.damaged), (9, 1));
        assert_eq!(told, [all[3].to_hex()]);
        assert!(!keys(&to).await.contains(&all[3]));
        // One that has the right size shows only when it is read back.
        to.damage(&all[5], Bytes::from_static(b"?"));
        let (progress, _) = run(&from, &to, &OPTIONS).await;
        assert_eq!((progress.present, progress.damaged), (9, 1));
        let (progress, _) = run(&from, &to, &TransferOptions { compare_present: true, ..OPTIONS }).await;
        assert_eq!((progress.present, progress.copied, progress.damaged), (8, 1, 1));
    }

    #[tokio::test]
    async fn objects_that_are_named_are_brought_and_those_that_are_nowhere_are_told() {
        let (from, to) = (filled(10).await, filled(4).await);
        let gone = SealedObject::seal(Bytes::from_static(b"nowhere")).key();
        let wanted: Vec<ObjectKey> = keys(&from).await.into_iter().chain([gone]).collect();
        let told = Mutex::new(Vec::new());
        let tell = |mismatch: super::Mismatch| told.lock().unwrap().push(mismatch.object);
        let brought = super::bring(&from, &to, &wanted, &OPTIONS, &tell).await.unwrap();
        assert_eq!((brought.examined, brought.copied, brought.present, brought.damaged), (11, 6, 4, 1));
        assert_eq!(keys(&to).await, keys(&from).await);
        assert_eq!(told.into_inner().unwrap(), [gone.to_hex()]);
    }

    #[tokio::test]
    async fn a_copy_that_breaks_off_at_any_call_goes_on_where_it_stopped() {
        let from = filled(20).await;
        for n in 1.. {
            let to = FaultyBackend::new(std::sync::Arc::new(MemoryBackend::new()));
            to.fail_nth(n);
            let outcome = transfer(&from, &to, &OPTIONS, &|_| {}, &|_| {}).await;
            if !to.has_failed() {
                outcome.unwrap();
                break;
            }
            outcome.unwrap_err();
            to.fail_nth(0);
            let (progress, _) = run(&from, &to, &OPTIONS).await;
            assert_eq!(progress.copied + progress.present, 20);
            assert_eq!(keys(&to).await, keys(&from).await);
        }
    }
}
