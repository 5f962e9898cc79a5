//! Rebuilding every view from the log, by the same `apply` that live writes use, and comparing the result.

mod held;

use futures::{StreamExt, TryStreamExt};

pub(super) use self::held::Held;
use super::apply::{Fact, apply};
use super::plan;
use crate::actions::request::{DIFFERENCES_LIMIT, Difference, Progress};
use crate::error::{Error, Result};
use crate::model::cbor;
use crate::model::event::{Event, GENESIS_HASH, Head, Record};
use crate::model::state::{State, Touched};
use crate::store::{Batch, Snapshot, Store, View, ViewRow};

/// How many events are folded into one batch.
pub(super) const BATCH: usize = 4096;
/// How many rows whose keys are digests wait to be written together, a blob counted as often as it has chunks besides:
/// they lie anywhere, and a page of the scratch store is read and written once for all that go onto it. About 64 MiB.
const HELD: usize = 1 << 18;

/// Reads an event back; refuses kinds that a newer version wrote.
///
/// # Errors
/// [`Error::UnknownEvent`], or [`Error::EventUnreadable`] when the payload is not what this kind has.
pub fn decode(record: &Record) -> Result<Event> {
    Event::decode(&record.kind, &record.payload)
        .map_err(|error| Error::EventUnreadable { sequence: record.sequence, reason: error.to_string() })?
        .ok_or_else(|| Error::UnknownEvent { sequence: record.sequence, kind: record.kind.clone() })
}

/// Whether an event follows from the one before: its number and its hash.
///
/// # Errors
/// With what is wrong, in one line.
pub fn follows(head: &Head, record: &Record) -> std::result::Result<(), String> {
    if record.sequence != head.sequence + 1 {
        return Err(format!("event {} stands where {} is due", record.sequence, head.sequence + 1));
    }
    if record.chained(&head.hash) != record.hash {
        return Err("its hash does not follow from its content and the hash before it".to_owned());
    }
    Ok(())
}

/// Where a log begins.
#[must_use]
pub const fn genesis() -> Head {
    Head { sequence: 0, occurred_at: crate::clock::Timestamp(0), hash: GENESIS_HASH }
}

/// Folds the snapshot's events, from the scratch store's head on, into the scratch store's views.
///
/// # Errors
/// When an event cannot be read or does not follow from the one before; the scratch store is then of no use.
pub async fn rebuild(
    snapshot: &mut dyn Snapshot,
    scratch: &dyn Store,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<u64> {
    rebuild_by((BATCH, HELD), snapshot, scratch, on_progress).await
}

/// Does what [`rebuild`] does by so many events a batch, holding so many rows back, which makes no difference to the
/// views.
///
/// # Errors
/// As [`rebuild`].
pub async fn rebuild_by(
    (batch_size, held_limit): (usize, usize),
    snapshot: &mut dyn Snapshot,
    scratch: &dyn Store,
    on_progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<u64> {
    let total = snapshot.head().await?.sequence;
    let mut head = scratch.head().await?;
    let mut held = Held::default();
    let mut records = snapshot.events(head.sequence, batch_size).await?;
    while head.sequence < total {
        let Some(last) = records.last() else {
            return Err(Error::EventUnreadable { sequence: head.sequence + 1, reason: "it is missing".to_owned() });
        };
        let step = async {
            let mut batch = scratch.begin().await?;
            let mut state = fold(&mut *batch, &mut head, &records, &mut held).await?;
            held.take(&mut state);
            batch.write(&[], head, &state).await?;
            if held.size() > held_limit || head.sequence >= total {
                held.write(&mut *batch, head).await?;
            }
            batch.commit().await
        };
        // The next events are read meanwhile.
        let (next, done) = futures::join!(snapshot.events(last.sequence, batch_size), step);
        done?;
        records = next?;
        on_progress(Progress { done: head.sequence, total, ..Progress::default() });
        // A store that works on this thread lets nobody else have it.
        tokio::task::yield_now().await;
    }
    Ok(head.sequence)
}

/// Applies events that follow from this head, and moves it on: the rows that they change. What is held back of them is
/// taken from there.
pub(super) async fn fold(batch: &mut dyn Batch, head: &mut Head, records: &[Record], held: &mut Held) -> Result<State> {
    let events = records.iter().map(decode).collect::<Result<Vec<_>>>()?;
    let (mut touched, mut state) = (Touched::default(), State::default());
    events.iter().for_each(|event| plan::replayed(event, &mut state, &mut touched));
    held.give(&touched, &mut state);
    batch.load(touched, &mut state).await?;
    for (record, event) in records.iter().zip(&events) {
        follows(head, record).map_err(|reason| Error::EventUnreadable { sequence: record.sequence, reason })?;
        apply(
            &mut state,
            Fact {
                sequence: record.sequence,
                occurred_at: record.occurred_at,
                tenant: &record.tenant,
                actor: &record.actor,
                event,
                payload: &record.payload,
            },
        );
        *head = record.head();
    }
    Ok(state)
}

/// How many rows all views of a snapshot have.
///
/// # Errors
/// When it cannot be read.
pub async fn rows(snapshot: &mut dyn Snapshot) -> Result<u64> {
    let mut rows = 0;
    for view in View::ALL {
        let counted = snapshot.view(view).try_fold(0, async |count: u64, _| Ok(count + 1));
        rows += counted.await?;
    }
    Ok(rows)
}

/// Compares every view of two snapshots byte for byte: how many rows the second has, and where they differ.
///
/// # Errors
/// When either cannot be read.
pub async fn compare(live: &mut dyn Snapshot, replayed: &mut dyn Snapshot) -> Result<(u64, Vec<Difference>)> {
    let mut rows = 0;
    let mut differences = Vec::new();
    for view in View::ALL {
        let mut left = live.view(view);
        let mut right = replayed.view(view);
        let (mut a, mut b) = (left.next().await.transpose()?, right.next().await.transpose()?);
        while a.is_some() || b.is_some() {
            // A row that only one side has is compared with nothing; the other side waits.
            let (take_a, take_b) = match (&a, &b) {
                (Some(a), Some(b)) => (a.key <= b.key, b.key <= a.key),
                (a, b) => (a.is_some(), b.is_some()),
            };
            let ours = if take_a { std::mem::replace(&mut a, left.next().await.transpose()?) } else { None };
            let theirs = if take_b { std::mem::replace(&mut b, right.next().await.transpose()?) } else { None };
            rows += u64::from(theirs.is_some());
            if ours != theirs {
                differences.push(difference(view, ours.as_ref(), theirs.as_ref()));
            }
            if differences.len() >= DIFFERENCES_LIMIT {
                return Ok((rows, differences));
            }
        }
    }
    Ok((rows, differences))
}

fn difference(view: View, live: Option<&ViewRow>, replayed: Option<&ViewRow>) -> Difference {
    let json = |row: &ViewRow| cbor::to_json(&row.row).unwrap_or(serde_json::Value::Null);
    Difference {
        view: view.table().to_owned(),
        key: live.or(replayed).map(|row| row.label.clone()).unwrap_or_default(),
        live: live.map(json),
        replayed: replayed.map(json),
    }
}
