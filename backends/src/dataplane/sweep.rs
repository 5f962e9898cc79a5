//! Deletes objects by name, and finds those that nothing committed names.
//!
//! What may go is decided above, in the log: nothing here judges. A deletion is confirmed or it is not; what is not
//! confirmed is asked for again.
//!
//! Invariant: an object that was written within the given age is never taken for an orphan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use crate::backend::ObjectStat;
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{Deletion, DeletionResult, Orphan};
use crate::digest::ObjectKey;
use crate::error::Result;
use crate::failpoint::{Point, reach};

/// Objects that the catalog is asked about at a time.
const ASK_AT_ONCE: usize = 256;
/// How many deletions are under way at once, each of objects that share a lock.
const DELETE_AT_ONCE: usize = 8;

pub(super) async fn delete(shelf: &Arc<Shelf>, deletion: Deletion) -> Result<DeletionResult> {
    match deletion {
        Deletion::Objects { backend, objects } => delete_objects(shelf, &backend, objects).await,
        Deletion::Orphans { after, limit, older_than_seconds } => {
            find_orphans(shelf, after, limit as usize, Duration::from_secs(older_than_seconds)).await
        }
    }
}

async fn delete_objects(shelf: &Shelf, backend: &str, objects: Vec<ObjectKey>) -> Result<DeletionResult> {
    let backend = shelf.reader(backend)?;
    let examined = objects.len() as u64;
    let mut groups: BTreeMap<usize, Vec<ObjectKey>> = BTreeMap::new();
    for key in objects {
        groups.entry(Shelf::lock_of(&key)).or_default().push(key);
    }
    let together = async |(lock, keys): (usize, Vec<ObjectKey>)| {
        let _no_write = shelf.deleting(lock).await;
        let outcomes = backend.delete_all(&keys).await;
        let gone = keys.into_iter().zip(outcomes).filter_map(|(key, outcome)| match outcome {
            Ok(()) => {
                reach(Point::ObjectDeleted);
                Some(key)
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, object = %key.to_hex(), "an object cannot be deleted now");
                None
            }
        });
        gone.collect::<Vec<_>>()
    };
    let deleted = stream::iter(groups).map(together).buffer_unordered(DELETE_AT_ONCE).concat().await;
    Ok(DeletionResult { deleted, examined, ..DeletionResult::default() })
}

async fn find_orphans(shelf: &Shelf, after: Option<ObjectKey>, limit: usize, age: Duration) -> Result<DeletionResult> {
    // Taken once, before the walk: an object written later than this has no age yet.
    let backend = shelf.writer().await?;
    let clock = backend.probe().await?.clock;
    let old = |stat: &ObjectStat| clock.duration_since(stat.modified).is_ok_and(|since| since >= age);
    let mut result = DeletionResult { next: after, ..DeletionResult::default() };
    let mut objects = backend.list(after).fuse();
    let mut left = limit.max(1);
    while left > 0 {
        let batch: Vec<_> = objects.by_ref().take(ASK_AT_ONCE.min(left)).try_collect().await?;
        let Some(last) = batch.last() else {
            result.next = None;
            break;
        };
        left -= batch.len();
        result.examined += batch.len() as u64;
        result.next = Some(last.key);
        let old: Vec<ObjectStat> = batch.into_iter().filter(&old).collect();
        let name = |stat: ObjectStat| Orphan {
            object: stat.key,
            backend: backend.name().to_owned(),
            size_bytes: stat.size_bytes,
        };
        result.orphans.extend(unknown(shelf, old).await?.into_iter().map(name));
    }
    Ok(result)
}

/// Those that no committed location names.
async fn unknown(shelf: &Shelf, stats: Vec<ObjectStat>) -> Result<Vec<ObjectStat>> {
    if stats.is_empty() {
        return Ok(stats);
    }
    let keys: Vec<ObjectKey> = stats.iter().map(|stat| stat.key).collect();
    let mut known = shelf.catalog.objects_known(&keys).await?.into_iter();
    // An answer that is too short speaks for keeping.
    Ok(stats.into_iter().filter(|_| !known.next().unwrap_or(true)).collect())
}
