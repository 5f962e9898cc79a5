//! Taking a log to another database: its events as they are, with their hashes, and views that are built from them
//! there.
//!
//! Invariant: the target's log is at every moment the beginning of the source's, so that a transfer that was broken off
//! goes on where it ended, and one that is done again brings what came since.

use super::replay::{BATCH, Held, fold};
use crate::actions::request::Progress;
use crate::error::{Error, Result};
use crate::model::event::Head;
use crate::store::{Snapshot, Store};

/// What a transfer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transferred {
    /// How many events it brought.
    pub events: u64,
    /// How many the target has now.
    pub total: u64,
}

/// Brings the source's events behind the target's head.
///
/// # Errors
/// [`Error::TargetDiffers`] when the target has events that the source does not have, also when someone else writes
/// there meanwhile; else when either cannot be read or written, or the source's chain is broken. What was brought
/// stays.
pub async fn transfer(
    source: &mut dyn Snapshot,
    target: &dyn Store,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Transferred> {
    let total = source.head().await?.sequence;
    let begin = target.head().await?;
    if !begins_with(source, begin, total).await? {
        return Err(Error::TargetDiffers { sequence: begin.sequence });
    }
    let mut head = begin;
    while head.sequence < total {
        let records = source.events(head.sequence, BATCH).await?;
        if records.is_empty() {
            return Err(Error::EventUnreadable { sequence: head.sequence + 1, reason: "it is missing".to_owned() });
        }
        let mut batch = target.begin().await?;
        if batch.head() != head {
            return Err(Error::TargetDiffers { sequence: batch.head().sequence });
        }
        let state = fold(&mut *batch, &mut head, &records, &mut Held::default()).await?;
        batch.write(&records, head, &state).await?;
        batch.commit().await?;
        on_progress(Progress { done: head.sequence, total, ..Progress::default() });
    }
    Ok(Transferred { events: total - begin.sequence, total })
}

/// Whether the source has this event, too.
async fn begins_with(source: &mut dyn Snapshot, head: Head, total: u64) -> Result<bool> {
    match head.sequence.checked_sub(1) {
        None => Ok(true),
        Some(_) if head.sequence > total => Ok(false),
        Some(before) => {
            let records = source.events(before, 1).await?;
            Ok(records.first().is_some_and(|record| record.sequence == head.sequence && record.hash == head.hash))
        }
    }
}
