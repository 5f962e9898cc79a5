//! Whether the bytes may be moved to another backend, step by step, and where new ones may be recorded meanwhile.
//!
//! A move has three facts. Writes are directed to the new backend; the old one is closed, so that what lies there is a
//! set that does not grow; and once all of it is in the new one, it is served from there. Between the first and the
//! second, uploads that began before may still record what they wrote to the old backend; behind the second they are
//! told to come again. No fact is about one chunk.
//!
//! Invariant: behind a close, no event records a location in the backend that was closed.

use artifactstore_backends::recipe::LocatedChunk;

use super::decide::Decision;
use crate::error::Refusal;
use crate::model::event::{Event, StorageClosed, StorageDirected, StorageMoved};
use crate::model::row::Sequence;
use crate::model::state::State;
use crate::model::storage::StorageMove;

/// Refuses locations in a backend that takes no more.
pub(super) fn check_places(state: &State, written: &[LocatedChunk]) -> Result<(), Refusal> {
    if written.is_empty() {
        return Ok(());
    }
    let storage = state.storage();
    match written.iter().find(|located| !storage.takes(&located.location.backend)) {
        Some(located) => Err(Refusal::StorageClosed(located.location.backend.clone())),
        None => Ok(()),
    }
}

pub(super) fn storage_direct(state: &State, from: &str, to: &str) -> Result<Decision, Refusal> {
    let storage = state.storage();
    // Where writes go already: the same move, which goes on.
    if storage.written_to() == Some(to) {
        return Ok(Decision::default());
    }
    let now = storage.written_to().unwrap_or(from);
    if now != from || from == to {
        return Err(Refusal::StorageElsewhere(now.to_owned()));
    }
    // What is about to be copied must not be about to be deleted.
    if state.sweeping != Some(false) {
        return Err(Refusal::StorageSweeping);
    }
    Ok(Event::StorageDirected(Box::new(StorageDirected { to: to.to_owned(), from: from.to_owned() })).into())
}

pub(super) fn storage_close(state: &State, begun: Sequence) -> Result<Decision, Refusal> {
    let row = under_way(state, begun)?;
    if row.closed_sequence.is_some() {
        return Ok(Decision::default());
    }
    Ok(Event::StorageClosed(Box::new(StorageClosed { from: row.from, begun })).into())
}

pub(super) fn storage_end(state: &State, begun: Sequence) -> Result<Decision, Refusal> {
    let row = under_way(state, begun)?;
    if row.ended_sequence.is_some() {
        return Ok(Decision::default());
    }
    if row.closed_sequence.is_none() {
        return Err(Refusal::StorageOpen(row.from));
    }
    Ok(Event::StorageMoved(Box::new(StorageMoved { to: row.to, from: row.from, begun })).into())
}

/// The move that this event began, unless another one began since.
fn under_way(state: &State, begun: Sequence) -> Result<StorageMove, Refusal> {
    let storage = state.storage();
    let last = storage.last().filter(|row| row.sequence == begun);
    last.cloned().ok_or_else(|| Refusal::StorageElsewhere(storage.written_to().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{storage_close, storage_direct, storage_end};
    use crate::error::Refusal;
    use crate::log::apply::{Fact, apply};
    use crate::model::event::Event;
    use crate::model::name::TenantName;
    use crate::model::state::State;

    /// A state and how far its log is.
    struct Log(State, u64);

    impl Log {
        fn take(&mut self, events: Vec<Event>) -> usize {
            let tenant = TenantName::trusted("root");
            for event in &events {
                self.1 += 1;
                let (sequence, payload) = (self.1, event.encode());
                let fact = Fact {
                    sequence,
                    occurred_at: Default::default(),
                    tenant: &tenant,
                    actor: "tester",
                    event,
                    payload: &payload,
                };
                apply(&mut self.0, fact);
            }
            events.len()
        }
    }

    #[test]
    fn a_move_does_not_begin_while_objects_are_being_deleted() {
        let mut state = State { moves_loaded: true, sweeping: Some(true), ..State::default() };
        assert_eq!(storage_direct(&state, "local", "s3"), Err(Refusal::StorageSweeping));
        state.sweeping = Some(false);
        assert!(storage_direct(&state, "local", "s3").is_ok());
    }

    #[test]
    fn a_move_goes_step_by_step_and_each_step_is_taken_once() {
        let mut log = Log(State { moves_loaded: true, sweeping: Some(false), ..State::default() }, 0);
        assert_eq!(storage_direct(&log.0, "s3", "s3"), Err(Refusal::StorageElsewhere("s3".to_owned())));
        for expected in [1, 0] {
            let events = storage_direct(&log.0, "local", "s3").unwrap().events;
            assert_eq!(log.take(events), expected);
        }
        assert_eq!(storage_end(&log.0, 1), Err(Refusal::StorageOpen("local".to_owned())));
        assert_eq!(storage_close(&log.0, 7), Err(Refusal::StorageElsewhere("s3".to_owned())));
        for expected in [1, 0] {
            let events = storage_close(&log.0, 1).unwrap().events;
            assert_eq!(log.take(events), expected);
        }
        for expected in [1, 0] {
            let events = storage_end(&log.0, 1).unwrap().events;
            assert_eq!(log.take(events), expected);
        }
        // Whoever believes that the folder is still written to is told.
        assert_eq!(storage_direct(&log.0, "local", "tape"), Err(Refusal::StorageElsewhere("s3".to_owned())));
        let events = storage_direct(&log.0, "s3", "local").unwrap().events;
        log.take(events);
        assert_eq!(storage_close(&log.0, 1), Err(Refusal::StorageElsewhere("local".to_owned())));
        assert_eq!(log.0.storage().written_to(), Some("local"));
    }
}
