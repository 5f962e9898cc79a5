//! Deciding what a scrub records. It has read without a lock; here it is looked at what of that still counts.
//!
//! Invariant: what no located chunk lies in is not called damaged, so that an object which is swept meanwhile is no damage.
//! Invariant: what was read before an object was found damaged does not end that it is.

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
    // Who has read it before it was found damaged once more knows nothing of that.
    let since = row.map(|row| row.sequence).filter(|since| examined.since == Some(*since))?;
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

#[cfg(test)]
mod tests {
    use artifactstore_backends::digest::ObjectKey;
    use artifactstore_backends::recipe::{Chunk, Codec, Location, RetrievalTier};

    use super::*;
    use crate::clock::Timestamp;
    use crate::model::row::ChunkPlace;
    use crate::model::scrub::DamagedObject;

    const OBJECT: ObjectKey = ObjectKey([1; 32]);
    const CHUNK: ContentAddress = ContentAddress([1; 32]);

    /// An object that was found damaged by this event, as is the one chunk in it.
    fn damaged(sequence: Sequence) -> State {
        let mut state = State { scrubs_loaded: true, ..State::default() };
        let location = Location {
            tier: RetrievalTier::Online,
            codec: Codec::None,
            object: OBJECT,
            offset_bytes: 0,
            backend: "local".to_owned(),
            stored_length_bytes: 7,
        };
        let chunk = Chunk { size_bytes: 7, address: CHUNK };
        let place = ChunkPlace { chunk, location, sequence: 1, condemned: None, damaged_sequence: Some(sequence) };
        state.chunks.put(CHUNK, place);
        state.uses.residents.entry(OBJECT).or_default().insert(CHUNK);
        let (backend, finding) = ("local".to_owned(), "it is missing".to_owned());
        let row = DamagedObject { object: OBJECT, backend, finding, sequence, seen_at: Timestamp(0) };
        state.damaged.put(OBJECT, row);
        state
    }

    fn reported(state: &State, whole: &[ContentAddress], since: Option<Sequence>) -> Vec<&'static str> {
        let examined = Examined {
            object: OBJECT,
            backend: "local".to_owned(),
            spoilt: Vec::new(),
            whole: whole.to_vec(),
            since,
            finding: String::new(),
        };
        let events = scrub(state, &ScrubStep::Report(vec![examined])).events;
        events.iter().map(Event::kind).collect()
    }

    #[test]
    fn what_was_read_before_an_object_was_found_damaged_once_more_does_not_make_it_whole() {
        let state = damaged(9);
        for whole in [&[CHUNK][..], &[]] {
            assert_eq!(reported(&state, whole, Some(9)), ["v1.object.recovered"]);
            assert!(reported(&state, whole, Some(5)).is_empty(), "it was found damaged since");
            assert!(reported(&state, whole, None).is_empty(), "it was found damaged only then");
        }
    }
}
