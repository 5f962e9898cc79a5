//! What it does to the views that bytes were erased.

use super::Fact;
use crate::model::erasure::Erasure;
use crate::model::event::FileErased;
use crate::model::state::State;

/// It lets go of its bytes, as a released version does, and says why for good.
pub(super) fn erased(state: &mut State, fact: Fact<'_>, erased: &FileErased) {
    state.files.change(&erased.version, |row| row.released_sequence = Some(fact.sequence));
    state.refer(erased.content_address, -1);
    state.blobs.change(&erased.content_address, |row| {
        if row.reference_count == 0 {
            row.released_sequence = Some(fact.sequence);
        }
    });
    let row = Erasure {
        version: erased.version,
        sequence: fact.sequence,
        erased_at: fact.occurred_at,
        content_address: erased.content_address,
        actor: fact.actor.to_owned(),
        reason: erased.reason.clone(),
    };
    state.erasures.put(erased.version, row);
}
