//! Deciding what a scrub records. It has read without a lock; here it is looked at what of that still counts.
//!
//! Invariant: what no located chunk lies in is not called damaged, so that an object which is swept meanwhile is no damage.

use std::collections::BTreeSet;

use artifactstore_backends::digest::ContentAddress;
use artifactstore_backends::recipe::LocatedChunk;

use super::Decision;
use crate::error::Refusal;
use crate::log::storage::check_places;
use crate::model::command::{Content, Examined, ScrubStep};
use crate::model::event::{
    ChunkRelocated, Event, ObjectDamaged, ObjectRecovered, Recovery, RelocationReason, ScrubAdvanced, ScrubBegun,
    ScrubEnded,
};
use crate::model::row::Sequence;
use crate::model::scrub::ScrubPass;
use crate::model::state::State;

pub(super) fn scrub(state: &State, step: &ScrubStep) -> Decision {
    let newest = state.scrub_newest();
    let open = |begun: Sequence| newest.is_some_and(|pass| pass.sequence == begun && pass.ended_sequence.is_none());
    let events = match step {
        ScrubStep::Begin => begin(newest).into_iter().collect(),
        ScrubStep::Advance { begun, cursor, tally } if open(*begun) => {
            vec![Event::ScrubAdvanced(Box::new(ScrubAdvanced {
                begun: *begun,
                bytes: tally.bytes,
                cursor: *cursor,
                damaged: tally.damaged,
                objects: tally.objects,
            }))]
        }
        ScrubStep::End { begun, tally } if open(*begun) => vec![Event::ScrubEnded(Box::new(ScrubEnded {
            begun: *begun,
            bytes: tally.bytes,
            damaged: tally.damaged,
            objects: tally.objects,
        }))],
        // Another gateway ended it.
        ScrubStep::Advance { .. } | ScrubStep::End { .. } => Vec::new(),
        ScrubStep::Report(examined) => examined.iter().filter_map(|one| report(state, one)).collect(),
    };
    Decision { events, ..Decision::default() }
}

fn begin(newest: Option<&ScrubPass>) -> Option<Event> {
    match newest {
        Some(pass) => pass.ended_sequence.map(|ended| ScrubBegun { previous: Some(ended) }),
        None => Some(ScrubBegun::default()),
    }
    .map(|begun| Event::ScrubBegun(Box::new(begun)))
}

/// What is new about an object, if anything is.
fn report(state: &State, examined: &Examined) -> Option<Event> {
    let lies_there = |chunk: &ContentAddress| {
        let residents = state.uses.residents.get(&examined.object);
        residents.is_some_and(|residents| residents.contains(chunk))
    };
    let known = |chunk: &ContentAddress| is_damaged(state, chunk);
    let spoilt: Vec<_> = examined.spoilt.iter().filter(|chunk| lies_there(&chunk.address)).copied().collect();
    let row = state.damaged.get(&examined.object);
    let (object, backend) = (examined.object, examined.backend.clone());
    if !spoilt.is_empty() {
        let news = row.is_none() || spoilt.iter().any(|chunk| !known(&chunk.address));
        let finding = examined.finding.clone();
        let damaged = ObjectDamaged { chunks: spoilt, object, backend, finding };
        return news.then(|| Event::ObjectDamaged(Box::new(damaged)));
    }
    let since = row?.sequence;
    let chunks: Vec<_> = examined.whole.iter().filter(|chunk| lies_there(chunk) && known(chunk)).copied().collect();
    let how = if chunks.is_empty() { Recovery::Replaced } else { Recovery::Whole };
    Some(Event::ObjectRecovered(Box::new(ObjectRecovered { how, since, chunks, object, backend })))
}

/// Of chunks that were just written those that are known to be damaged where they lie: they lie where they were written
/// from now on.
///
/// # Errors
/// When they were written where nothing new may be recorded, or under a name that was swept.
pub(super) fn heal(state: &State, written: &[LocatedChunk]) -> Result<Option<Event>, Refusal> {
    let mut seen = BTreeSet::new();
    let damaged = |one: &&LocatedChunk| is_damaged(state, &one.chunk.address) && seen.insert(one.chunk.address);
    let chunks: Vec<LocatedChunk> = written.iter().filter(damaged).cloned().collect();
    if chunks.is_empty() {
        return Ok(None);
    }
    if chunks.iter().any(|located| state.swept.get(&located.location.object).is_some()) {
        return Err(Refusal::ContentMissing);
    }
    check_places(state, &chunks)?;
    Ok(Some(Event::ChunkRelocated(Box::new(ChunkRelocated { chunks, reason: RelocationReason::Damaged }))))
}

/// Whether bytes that were just sent lean on a chunk that is known to be damaged, and did not bring it themselves: it was
/// found damaged after they had been looked at.
pub(super) fn leans_on_damage(state: &State, content: &Content) -> bool {
    let brought = |address: &ContentAddress| content.written.iter().any(|one| one.chunk.address == *address);
    let chunks = content.recipe.iter().flat_map(|recipe| &recipe.chunks).map(|chunk| chunk.address);
    chunks.into_iter().any(|address| is_damaged(state, &address) && !brought(&address))
}

fn is_damaged(state: &State, chunk: &ContentAddress) -> bool {
    state.chunks.get(chunk).is_some_and(|row| row.damaged_sequence.is_some())
}
