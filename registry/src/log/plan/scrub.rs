//! Which rows the steps of a scrub touch, and what else they are decided by.

use super::collect::Asked;
use crate::model::command::ScrubStep;
use crate::model::event::{ChunkRelocated, ObjectDamaged, ObjectRecovered};
use crate::model::state::Touched;

/// What a step names itself.
pub(super) fn step(step: &ScrubStep, touched: &mut Touched) {
    touched.scrubs = true;
    if let ScrubStep::Report(examined) = step {
        for one in examined {
            touched.damaged.insert(one.object);
            touched.chunks.extend(one.spoilt.iter().map(|chunk| chunk.address).chain(one.whole.iter().copied()));
        }
    }
}

/// What is asked once the rows are loaded: what lies in the objects now.
#[must_use]
pub fn asked(step: &ScrubStep) -> Asked {
    match step {
        ScrubStep::Report(examined) => {
            Asked { objects: examined.iter().map(|one| one.object).collect(), ..Asked::default() }
        }
        ScrubStep::Begin | ScrubStep::Advance { .. } | ScrubStep::End { .. } => Asked::default(),
    }
}

/// What applying that something is damaged touches.
pub(super) fn damaged(fact: &ObjectDamaged, touched: &mut Touched) {
    touched.chunks.extend(fact.chunks.iter().map(|chunk| chunk.address));
}

/// What applying that something is damaged no more touches.
pub(super) fn recovered(fact: &ObjectRecovered, touched: &mut Touched) {
    touched.chunks.extend(&fact.chunks);
}

/// What applying that chunks lie elsewhere touches.
pub(super) fn relocated(fact: &ChunkRelocated, touched: &mut Touched) {
    touched.chunks.extend(fact.chunks.iter().map(|located| located.chunk.address));
}
