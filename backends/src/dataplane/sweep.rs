//! Deletes objects from the backend that is written to: one by name, or those that nothing committed names.
//!
//! Invariant: an object that was written within the given age is never taken for an orphan, also when it is written
//! again at the very moment it is looked at.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use crate::backend::ObjectStat;
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{Deletion, DeletionResult};
use crate::digest::ObjectKey;
use crate::error::Result;
use crate::failpoint::{Point, reach};

/// Objects that the catalog is asked about at a time.
const ASK_AT_ONCE: usize = 256;

pub(super) async fn delete(shelf: &Arc<Shelf>, deletion: Deletion) -> Result<DeletionResult> {
    match deletion {
        Deletion::Object(key) => {
            let _no_write = shelf.deleting(&key).await;
            shelf.writer().await?.delete(&key).await?;
            Ok(DeletionResult { deleted: vec![key], examined: 1, next: None })
        }
        Deletion::Orphans { after, limit, older_than_seconds } => {
            let age = Duration::from_secs(older_than_seconds);
            delete_orphans(shelf, after, limit as usize, age).await
        }
    }
}

async fn delete_orphans(
    shelf: &Shelf,
    after: Option<ObjectKey>,
    limit: usize,
    age: Duration,
) -> Result<DeletionResult> {
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
        for key in unknown(shelf, batch.into_iter().filter(&old).map(|stat| stat.key).collect()).await? {
            let _no_write = shelf.deleting(&key).await;
            // Looked at again, now that nobody can write it: an upload may just have given it a new age.
            if backend.stat(&key).await?.as_ref().is_some_and(old) {
                reach(Point::OrphanFound);
                backend.delete(&key).await?;
                reach(Point::OrphanDeleted);
                result.deleted.push(key);
            }
        }
    }
    Ok(result)
}

/// Those that no committed location names.
async fn unknown(shelf: &Shelf, keys: Vec<ObjectKey>) -> Result<Vec<ObjectKey>> {
    if keys.is_empty() {
        return Ok(keys);
    }
    let mut known = shelf.catalog.objects_known(&keys).await?.into_iter();
    // An answer that is too short speaks for keeping.
    Ok(keys.into_iter().filter(|_| !known.next().unwrap_or(true)).collect())
}
