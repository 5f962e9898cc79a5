//! What facts about reading everything again do to the views.

use super::Fact;
use crate::model::event::{ChunkRelocated, ObjectDamaged, ObjectRecovered, ScrubAdvanced, ScrubEnded};
use crate::model::scrub::{DamagedObject, ScrubPass, ScrubTally};
use crate::model::state::State;

pub(super) fn begun(state: &mut State, fact: Fact<'_>) {
    let pass = ScrubPass {
        sequence: fact.sequence,
        begun_at: fact.occurred_at,
        cursor: None,
        tally: ScrubTally::default(),
        ended_sequence: None,
        ended_at: None,
    };
    state.scrubs.put(fact.sequence, pass);
}

pub(super) fn advanced(state: &mut State, advanced: &ScrubAdvanced) {
    let tally = ScrubTally { objects: advanced.objects, bytes: advanced.bytes, damaged: advanced.damaged };
    state.scrubs.change(&advanced.begun, |row| (row.cursor, row.tally) = (Some(advanced.cursor), tally));
}

pub(super) fn ended(state: &mut State, fact: Fact<'_>, ended: &ScrubEnded) {
    let tally = ScrubTally { objects: ended.objects, bytes: ended.bytes, damaged: ended.damaged };
    state.scrubs.change(&ended.begun, |row| {
        row.tally = tally;
        row.ended_sequence = Some(fact.sequence);
        row.ended_at = Some(fact.occurred_at);
    });
}

pub(super) fn damaged(state: &mut State, fact: Fact<'_>, damaged: &ObjectDamaged) {
    for chunk in &damaged.chunks {
        state.chunks.change(&chunk.address, |row| row.damaged_sequence = Some(fact.sequence));
    }
    let row = DamagedObject {
        object: damaged.object,
        backend: damaged.backend.clone(),
        finding: damaged.finding.clone(),
        sequence: fact.sequence,
        seen_at: fact.occurred_at,
    };
    state.damaged.put(damaged.object, row);
}

pub(super) fn recovered(state: &mut State, recovered: &ObjectRecovered) {
    for chunk in &recovered.chunks {
        state.chunks.change(chunk, |row| row.damaged_sequence = None);
    }
    state.damaged.remove(recovered.object);
}

/// What a location means depends on when it was recorded, as bytes move from one backend to another: from here on anew.
pub(super) fn relocated(state: &mut State, fact: Fact<'_>, relocated: &ChunkRelocated) {
    for located in &relocated.chunks {
        state.chunks.change(&located.chunk.address, |row| {
            row.location = located.location.clone();
            row.sequence = fact.sequence;
            row.damaged_sequence = None;
        });
    }
}
