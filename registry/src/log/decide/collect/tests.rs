//! What is swept and what is not, on states made by hand.

use artifactstore_backends::digest::{ContentAddress, ObjectKey, Sha256Digest};
use artifactstore_backends::recipe::{Chunk, Codec, Location, Recipe, RetrievalTier};

use super::{collect, sweepable};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::model::command::CollectStep;
use crate::model::event::{Event, ObjectAt, SweepBegun};
use crate::model::retention::ClockJump;
use crate::model::row::{Blob, ChunkPlace, Condemned};
use crate::model::state::{State, Table};
use crate::model::storage::StorageMove;
use crate::model::sweep::{OrphanObject, SweptObject};

const NOW: i64 = 1_000;

fn address(number: u8) -> ContentAddress {
    ContentAddress([number; 32])
}

fn since(at: i64) -> Option<Condemned> {
    Some(Condemned { sequence: 5, at: Timestamp(at) })
}

fn state() -> State {
    State { now: Timestamp(NOW), clock: Timestamp(NOW), moves_loaded: true, retention_loaded: true, ..State::default() }
}

/// A blob of these chunks; of one chunk, it has that chunk's address.
fn put_blob(state: &mut State, number: u8, chunks: &[u8], reference_count: u64, condemned: Option<Condemned>) {
    let recipe = chunks.iter().map(|chunk| Chunk { size_bytes: 7, address: address(*chunk) }).collect();
    let blob = Blob {
        content_address: address(number),
        sha256: Sha256Digest([number; 32]),
        size_bytes: 7 * chunks.len() as u64,
        recipe: Recipe { chunks: recipe },
        sequence: 1,
        reference_count,
        released_sequence: Some(4),
        condemned,
    };
    state.blobs.put(blob.content_address, blob);
}

fn put_chunk(state: &mut State, number: u8, object: u8, condemned: Option<Condemned>) {
    let location = Location {
        tier: RetrievalTier::Online,
        codec: Codec::None,
        object: ObjectKey([object; 32]),
        offset_bytes: 0,
        backend: "local".to_owned(),
        stored_length_bytes: 7,
    };
    let chunk = Chunk { size_bytes: 7, address: address(number) };
    state.chunks.put(chunk.address, ChunkPlace { chunk, location, sequence: 1, condemned, damaged_sequence: None });
    state.uses.residents.entry(ObjectKey([object; 32])).or_default().insert(address(number));
}

fn sweep(blobs: &[u8], chunks: &[u8], grace_micros: i64) -> CollectStep {
    let all = |numbers: &[u8]| numbers.iter().map(|number| address(*number)).collect();
    CollectStep::Sweep { blobs: all(blobs), chunks: all(chunks), orphans: Vec::new(), grace_micros }
}

fn begun(state: &State, step: &CollectStep) -> Option<SweepBegun> {
    match collect(state, step).unwrap().events.pop() {
        Some(Event::SweepBegun(begun)) => Some(*begun),
        Some(event) => panic!("{event:?}"),
        None => None,
    }
}

#[test]
fn only_what_is_condemned_for_long_enough_and_referred_to_by_nothing_is_swept() {
    let mut state = state();
    put_blob(&mut state, 1, &[1], 0, since(NOW - 10));
    put_blob(&mut state, 2, &[2], 0, since(NOW - 9));
    put_blob(&mut state, 3, &[3], 1, since(NOW - 10));
    put_blob(&mut state, 4, &[4], 0, None);
    state.blobs.load(address(5), None);
    (1..=4).for_each(|number| put_chunk(&mut state, number, number, None));
    let begun = begun(&state, &sweep(&[1, 2, 3, 4, 5], &[], 10)).unwrap();
    assert_eq!(begun.chunks, [address(1)]);
    assert_eq!(begun.blobs.len(), 1);
    assert_eq!((begun.blobs[0].released, begun.blobs[0].condemned), (Some(4), 5));
    assert_eq!(begun.objects, [ObjectAt { size_bytes: 7, object: ObjectKey([1; 32]), backend: "local".to_owned() }]);
}

#[test]
fn what_the_clock_jumped_since_is_no_part_of_a_grace_and_what_it_jumped_before_is_none_of_its_business() {
    let mut state = state();
    put_blob(&mut state, 1, &[1], 0, since(NOW - 10));
    put_chunk(&mut state, 1, 1, None);
    let mut jump = |sequence: u64, settled: Option<(u64, bool)>, grace_micros: i64| {
        let (settled_sequence, genuine) = settled.map_or((None, false), |(event, genuine)| (Some(event), genuine));
        let (from, to) = (Timestamp(NOW - 9), Timestamp(NOW - 1));
        state.jumps = Table::default();
        state.jumps.put(sequence, ClockJump { sequence, from, to, settled_sequence, genuine });
        begun(&state, &sweep(&[1], &[], grace_micros)).is_some()
    };
    let condemned = since(0).unwrap().sequence;
    let (before, behind) = (condemned - 1, condemned + 1);
    assert!(jump(before, None, 10));
    assert!(!jump(behind, None, 10) && !jump(behind, None, 3), "eight of ten went by in no time");
    assert!(jump(behind, None, 2));
    assert!(jump(behind, Some((9, true)), 10) && jump(behind, Some((behind, true)), 10));
    assert!(jump(behind, None, 0), "whoever wants no grace asks no clock");
}

#[test]
fn a_chunk_that_is_used_stays_and_so_does_its_object() {
    let mut state = state();
    put_blob(&mut state, 9, &[1, 2], 0, since(0));
    put_chunk(&mut state, 1, 1, None);
    put_chunk(&mut state, 2, 2, None);
    put_chunk(&mut state, 3, 3, since(0));
    put_chunk(&mut state, 4, 4, None);
    state.uses.used.extend([address(2), address(3)]);
    let begun = begun(&state, &sweep(&[9], &[3, 4], 0)).unwrap();
    assert_eq!(begun.chunks, [address(1)], "used, used though condemned, and not condemned");
    assert_eq!(begun.objects.len(), 1);
}

#[test]
fn an_object_that_holds_another_chunk_or_that_nobody_asked_about_stays() {
    let mut state = state();
    for number in [1, 2] {
        put_blob(&mut state, number, &[number], 0, since(0));
        put_chunk(&mut state, number, 8, None);
    }
    let one = begun(&state, &sweep(&[1], &[], 0)).unwrap();
    assert_eq!((one.chunks.len(), one.objects.len()), (1, 0));
    let both = begun(&state, &sweep(&[1, 2], &[], 0)).unwrap();
    assert_eq!((both.chunks.len(), both.objects[0].size_bytes), (2, 14));
    state.uses.residents.clear();
    assert_eq!(begun(&state, &sweep(&[1, 2], &[], 0)).unwrap().objects, []);
}

#[test]
fn of_blobs_of_several_chunks_one_is_taken_at_a_time() {
    let mut state = state();
    put_blob(&mut state, 7, &[1, 2], 0, since(0));
    put_blob(&mut state, 8, &[2, 3], 0, since(0));
    put_blob(&mut state, 1, &[1], 0, since(0));
    let taken = sweepable(&state, &[address(7), address(8), address(1)], 0);
    let taken: Vec<_> = taken.iter().map(|blob| blob.content_address).collect();
    assert_eq!(taken, [address(7), address(1)]);
}

#[test]
fn nothing_is_swept_while_the_bytes_move() {
    let mut state = state();
    put_blob(&mut state, 1, &[1], 0, since(0));
    put_chunk(&mut state, 1, 1, None);
    let mut row = StorageMove {
        sequence: 3,
        from: "local".to_owned(),
        to: "s3".to_owned(),
        closed_sequence: Some(4),
        ended_sequence: None,
    };
    state.moves.put(3, row.clone());
    assert_eq!(collect(&state, &sweep(&[1], &[], 0)), Err(Refusal::StorageMoving));
    row.ended_sequence = Some(5);
    state.moves.put(3, row);
    let begun = begun(&state, &sweep(&[1], &[], 0)).unwrap();
    assert_eq!(begun.objects[0].backend, "s3", "it is deleted where it lies today");
}

#[test]
fn an_orphan_goes_when_it_is_old_enough_and_of_no_event_still() {
    let mut state = state();
    for (number, seen_at) in [(1, 0), (2, 0), (3, NOW)] {
        let object = ObjectKey([number; 32]);
        let backend = "local".to_owned();
        let row = OrphanObject { object, backend, size_bytes: 5, sequence: 2, seen_at: Timestamp(seen_at) };
        state.orphans.put(object, row);
        state.uses.residents.insert(object, [address(9)].into_iter().filter(|_| number == 2).collect());
    }
    let orphans = [1, 2, 3].map(|number| ObjectKey([number; 32])).to_vec();
    let step = CollectStep::Sweep { blobs: Vec::new(), chunks: Vec::new(), orphans, grace_micros: 1 };
    let begun = begun(&state, &step).unwrap();
    assert_eq!(begun.objects.iter().map(|at| at.object).collect::<Vec<_>>(), [ObjectKey([1; 32])]);
    assert_eq!(begun.spared, [ObjectKey([2; 32])]);
    let (from, to) = ("local".to_owned(), "s3".to_owned());
    let row = StorageMove { sequence: 3, from, to, closed_sequence: Some(4), ended_sequence: Some(5) };
    state.moves.put(3, row);
    let left = self::begun(&state, &step).unwrap();
    assert_eq!((left.objects.len(), left.spared.len()), (0, 2), "their storage was left");
}

#[test]
fn only_what_is_under_way_is_ended_and_only_what_is_unknown_is_noted() {
    let mut state = state();
    for (number, ended_sequence) in [(1, None), (2, Some(9))] {
        let object = ObjectKey([number; 32]);
        let row = SweptObject { object, backend: "local".to_owned(), begun_sequence: 3, ended_sequence };
        state.swept.put(object, row);
    }
    for number in [3, 4] {
        state.swept.load(ObjectKey([number; 32]), None);
    }
    for number in 1..=4 {
        state.orphans.load(ObjectKey([number; 32]), None);
        let residents = [address(9)].into_iter().filter(|_| number == 4).collect();
        state.uses.residents.insert(ObjectKey([number; 32]), residents);
    }
    let objects: Vec<ObjectKey> = (1..=3).map(|number| ObjectKey([number; 32])).collect();
    let events = collect(&state, &CollectStep::End { objects }).unwrap().events;
    assert!(matches!(&*events, [Event::SweepEnded(ended)] if ended.objects == [ObjectKey([1; 32])]), "{events:?}");
    let at = |number: u8| ObjectAt { size_bytes: 1, object: ObjectKey([number; 32]), backend: "local".to_owned() };
    let events = collect(&state, &CollectStep::Note { objects: (1..=4).map(at).collect() }).unwrap().events;
    let [Event::ObjectOrphaned(noted)] = &*events else { panic!("{events:?}") };
    assert_eq!(noted.objects, [at(2), at(3)], "a name that was swept may have been written again by who hung");
}
