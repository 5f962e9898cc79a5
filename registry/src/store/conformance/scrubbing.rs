//! The promises of what is asked by whoever reads everything again.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};

use super::sample::{blob_chunk, damaged, file, package, place, put_file, record, scrub_pass};
use super::write;
use crate::model::row::{ChunkPlace, File, Package, Seal};
use crate::model::state::{State, Touched};
use crate::store::Store;

fn address(text: &str) -> ContentAddress {
    ContentAddress::of(text.as_bytes())
}

fn alone(text: &str) -> ChunkPlace {
    ChunkPlace { damaged_sequence: None, ..place(text, ObjectKey(address(text).0)) }
}

fn packed(text: &str, object: u8) -> ChunkPlace {
    ChunkPlace { damaged_sequence: None, ..place(text, ObjectKey([object; 32])) }
}

/// Those of lone chunks and those of packs, in one order, each once, in pages of any size.
pub(super) async fn objects_are_paged_and_say_what_lies_in_them(store: &dyn Store) {
    let mut state = State::default();
    let lone: Vec<String> = (0..40).map(|number| format!("alone {number}")).collect();
    let packs = (0..30).map(|number| packed(&format!("packed {number}"), 3 + 16 * (number % 10)));
    let mut places: Vec<ChunkPlace> = lone.iter().map(|text| alone(text)).chain(packs).collect();
    places.push(packed("far behind", 0xff));
    for row in &places {
        state.chunks.put(row.chunk.address, row.clone());
    }
    write(store, &[record(1)], &state).await;
    let mut expected: Vec<ObjectKey> = places.iter().map(|row| row.location.object).collect();
    expected.sort_unstable();
    expected.dedup();
    for limit in [1, 2, 7, 100] {
        let mut found = Vec::new();
        loop {
            let page = store.scrubbing().objects(found.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    let wanted = [ObjectKey([3; 32]), ObjectKey(address("alone 7").0)];
    let mut residents = store.scrubbing().residents(&wanted).await.unwrap();
    residents.sort_by_key(|row| row.chunk.address);
    let mut expected: Vec<ChunkPlace> =
        places.into_iter().filter(|row| wanted.contains(&row.location.object)).collect();
    expected.sort_by_key(|row| row.chunk.address);
    assert_eq!(residents, expected);
}

/// The newest pass, and the newest that ended.
pub(super) async fn passes_and_damage_are_told(store: &dyn Store) {
    let scrubbing = store.scrubbing();
    assert_eq!(scrubbing.passes().await.unwrap(), (None, None));
    let mut state = State::default();
    for row in [scrub_pass(3, Some(4)), scrub_pass(5, Some(6)), scrub_pass(7, None)] {
        state.scrubs.put(row.sequence, row);
    }
    for row in [damaged(1), damaged(2), damaged(3)] {
        state.damaged.put(row.object, row);
    }
    let spoilt = ChunkPlace { damaged_sequence: Some(6), ..packed("spoilt", 2) };
    for row in [spoilt.clone(), packed("healed", 3), alone("sound")] {
        state.chunks.put(row.chunk.address, row);
    }
    write(store, &[record(1)], &state).await;
    assert_eq!(scrubbing.passes().await.unwrap(), (Some(scrub_pass(7, None)), Some(scrub_pass(5, Some(6)))));
    assert_eq!(scrubbing.damaged(None, 2).await.unwrap(), [damaged(1), damaged(2)]);
    assert_eq!(scrubbing.damaged(Some(&damaged(2).object), 2).await.unwrap(), [damaged(3)]);
    assert_eq!(scrubbing.damaged_object(&damaged(2).object).await.unwrap(), Some(damaged(2)));
    assert_eq!(scrubbing.damaged_object(&ObjectKey([9; 32])).await.unwrap(), None);
    assert_eq!(scrubbing.damaged_count().await.unwrap(), 3);
    assert_eq!(scrubbing.damaged_left(9).await.unwrap(), [damaged(1), damaged(3)]);
    assert_eq!(scrubbing.damaged_chunks(&damaged(2).object).await.unwrap(), [spoilt.chunk.address]);

    let mut state = State::default();
    let mut batch = store.begin().await.unwrap();
    let wanted = [damaged(2).object, ObjectKey([9; 32])].into();
    batch.load(Touched { scrubs: true, damaged: wanted, ..Touched::default() }, &mut state).await.unwrap();
    assert_eq!(state.scrub_newest(), Some(&scrub_pass(7, None)));
    assert_eq!(state.damaged.get(&damaged(2).object), Some(&damaged(2)));
    assert_eq!(state.damaged.get(&ObjectKey([9; 32])), None);
    drop(batch);
    state.damaged.remove(damaged(2).object);
    write(store, &[], &state).await;
    assert_eq!(scrubbing.damaged_count().await.unwrap(), 2);
}

/// From chunks to the files of blobs that are one of them, or that use one, and to manifests.
pub(super) async fn the_files_and_manifests_of_chunks_are_told(store: &dyn Store) {
    let mut state = State::default();
    for (sequence, content) in [(3, "small"), (4, "large"), (5, "small"), (6, "other"), (7, "large")] {
        let row = File {
            content_address: address(content),
            released_sequence: (sequence == 7).then_some(8),
            ..file(&format!("run/{sequence}"), "run", sequence)
        };
        put_file(&mut state, row);
    }
    let row = blob_chunk("piece", "large");
    state.blob_chunks.put(row, row);
    for (revision, manifest) in [(1, "large"), (2, "another")] {
        let row = package("run", revision, true);
        let seal = row.seal.clone().map(|seal| Seal { manifest_digest: address(manifest), ..seal });
        state.packages.put(row.id.clone(), Package { seal, ..row });
    }
    write(store, &[record(1)], &state).await;
    let scrubbing = store.scrubbing();
    let chunks = [address("small"), address("piece"), address("unused")];
    let mut expected = vec![(address("small"), 3), (address("small"), 5), (address("large"), 4)];
    expected.sort_unstable();
    let mut found: Vec<(ContentAddress, u64)> = Vec::new();
    loop {
        let page = scrubbing.files_of_chunks(&chunks, found.last(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|file| (file.content_address, file.sequence)));
    }
    assert_eq!(found, expected);
    let manifests = scrubbing.manifests_of_chunks(&chunks, 9).await.unwrap();
    assert_eq!(manifests.iter().map(|package| package.revision).collect::<Vec<_>>(), [1]);
    let of_blob = |after| store.files_of_blob(&chunks[0], after, 9);
    let numbers = |files: Vec<File>| files.iter().map(|file| file.sequence).collect::<Vec<_>>();
    assert_eq!(numbers(of_blob(0).await.unwrap()), [3, 5]);
    assert_eq!(numbers(of_blob(3).await.unwrap()), [5]);
    let sharers = async |limit| {
        let found = store.sweeping().sharers(&[address("large"), address("small"), address("none")], limit).await;
        found.unwrap().iter().map(|file| (file.content_address, file.sequence)).collect::<Vec<_>>()
    };
    assert_eq!((sharers(9).await, sharers(2).await), (expected.clone(), expected[..2].to_vec()));
}
