//! The promises of what is asked by whoever collects what nothing keeps.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};

use super::sample::{
    blob, blob_chunk, file, history, one_of_everything, orphan, package, part_chunk, place, record, swept,
};
use super::write;
use crate::clock::Timestamp;
use crate::log::plan::collect::Asked;
use crate::model::name::PackageId;
use crate::model::row::{Blob, ChunkPlace, Condemned, File, Package, Sequence};
use crate::model::state::{State, Touched};
use crate::store::Store;

fn address(text: &str) -> ContentAddress {
    ContentAddress::of(text.as_bytes())
}

fn since(at: i64) -> Option<Condemned> {
    Some(Condemned { sequence: 3, at: Timestamp(at) })
}

fn put_blob(state: &mut State, text: &str, reference_count: u64, condemned: Option<Condemned>) {
    let row = Blob { reference_count, condemned, released_sequence: None, ..blob(text, 1) };
    state.blobs.put(row.content_address, row);
}

fn put_chunk(state: &mut State, text: &str, object: ObjectKey, condemned: Option<Condemned>) {
    let row = ChunkPlace { condemned, ..place(text, object) };
    state.chunks.put(row.chunk.address, row);
}

/// Of files, only those that are ended, not released, in no history and in no seal, but for that of a released package.
pub(super) async fn versions_that_may_be_released_are_found(store: &dyn Store) {
    let mut state = State::default();
    let sealed = Package { released_sequence: None, ..package("run", 1, true) };
    let released = package("let-go", 1, true);
    state.packages.put(released.id.clone(), released.clone());
    let seal = sealed.seal.as_ref().map_or(0, |seal| seal.sequence);
    state.packages.put(sealed.id.clone(), sealed.clone());
    let mut put = |sequence: Sequence, ended: Option<Sequence>, released: Option<Sequence>, package: &PackageId| {
        let row = File {
            ended_sequence: ended,
            released_sequence: released,
            package_id: package.clone(),
            ..file("run/x", "run", sequence)
        };
        state.files.put(sequence, row);
    };
    let other = PackageId::trusted("other");
    put(1, Some(20), None, &other);
    put(2, None, None, &other);
    put(3, Some(20), Some(21), &other);
    put(4, Some(seal - 1), None, &sealed.id);
    put(5, Some(seal + 1), None, &sealed.id);
    put(6, Some(seal + 1), None, &released.id);
    put(7, Some(20), None, &other);
    put(9, Some(20), None, &other);
    let row = history("run/x", 7);
    state.history.put((row.name.clone(), row.sequence), row);
    write(store, &[record(1)], &state).await;
    let sweeping = store.sweeping();
    assert_eq!(sweeping.versions_releasable(0, 9).await.unwrap(), [1, 4, 6, 9]);
    assert_eq!(sweeping.versions_releasable(1, 1).await.unwrap(), [4]);
}

/// Blobs and chunks by what refers to them and since when they are condemned, in pages.
pub(super) async fn what_nothing_uses_and_what_is_condemned_is_found(store: &dyn Store) {
    let mut state = State::default();
    put_blob(&mut state, "wanted", 2, None);
    put_blob(&mut state, "free", 0, None);
    put_blob(&mut state, "early", 0, since(10));
    put_blob(&mut state, "late", 0, since(11));
    for text in ["wanted", "free", "early", "late", "of a part", "of a blob", "unused"] {
        put_chunk(&mut state, text, ObjectKey(address(text).0), None);
    }
    put_chunk(&mut state, "condemned", ObjectKey([7; 32]), since(10));
    let row = blob_chunk("of a blob", "large");
    state.blob_chunks.put(row, row);
    let row = part_chunk("up", 1, "of a part");
    state.part_chunks.put(row.clone(), row);
    write(store, &[record(1)], &state).await;
    let sweeping = store.sweeping();
    assert_eq!(sweeping.blobs_unreferenced(None, 9).await.unwrap(), [address("free")]);
    assert!(sweeping.blobs_unreferenced(Some(&address("free")), 9).await.unwrap().is_empty());
    let condemned = sweeping.blobs_condemned(Timestamp(10), None, 9).await.unwrap();
    assert_eq!(condemned.iter().map(|blob| blob.content_address).collect::<Vec<_>>(), [address("early")]);
    assert_eq!(sweeping.blobs_condemned(Timestamp(11), None, 9).await.unwrap().len(), 2);
    assert!(sweeping.blobs_condemned(Timestamp(9), None, 9).await.unwrap().is_empty());
    assert_eq!(sweeping.chunks_condemned(Timestamp(10), None, 9).await.unwrap(), [address("condemned")]);
    assert!(sweeping.chunks_condemned(Timestamp(9), None, 9).await.unwrap().is_empty());
    let (mut unused, mut after) = (Vec::new(), None);
    loop {
        let (found, next) = sweeping.chunks_unused(after.as_ref(), 3).await.unwrap();
        unused.extend(found);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(unused, [address("unused")]);
}

/// Sweeps that are under way, names that were swept, and orphans.
pub(super) async fn sweeps_and_orphans_are_found(store: &dyn Store) {
    assert_eq!(store.sweeping().sweeps_last().await.unwrap(), 0);
    assert!(!store.begin().await.unwrap().sweeping().await.unwrap());
    let mut state = one_of_everything();
    let row = orphan(5);
    state.orphans.put(row.object, row);
    let mut named = swept(1, None);
    named.object = ObjectKey(address("gone").0);
    state.swept.put(named.object, named);
    write(store, &[record(1)], &state).await;
    let sweeping = store.sweeping();
    assert_eq!(sweeping.sweeps_last().await.unwrap(), 3);
    let open = sweeping.sweeps_open(None, 9).await.unwrap();
    assert!(open.len() == 2 && open.contains(&swept(8, None)), "{open:?}");
    assert_eq!(sweeping.sweeps_open(Some(&open[0].object), 9).await.unwrap(), open[1..]);
    let keys = [5, 6].map(|number| ObjectKey([number; 32]));
    assert_eq!(sweeping.orphans_noted(Timestamp(7), None, 9).await.unwrap(), keys);
    assert_eq!(sweeping.orphans_noted(Timestamp(7), Some(&keys[0]), 9).await.unwrap(), keys[1..]);
    assert!(sweeping.orphans_noted(Timestamp(6), None, 9).await.unwrap().is_empty());
    let asked = [address("gone"), address("x"), address("nowhere")];
    let found = sweeping.whereabouts(&asked).await.unwrap();
    let known = Some(place("x", ObjectKey(address("x").0)));
    assert_eq!(found, [(None, true), (known, false), (None, false)]);
    let many: Vec<ContentAddress> = (0..400).map(|number| address(&number.to_string())).chain(asked).collect();
    assert_eq!(sweeping.whereabouts(&many).await.unwrap()[400..], found, "more than is asked together");
    assert!(store.begin().await.unwrap().sweeping().await.unwrap());
}

/// Who uses a chunk, but for the blobs that are to go; and what lies in an object.
pub(super) async fn the_uses_of_chunks_and_the_chunks_of_objects_are_told(store: &dyn Store) {
    let mut state = State::default();
    for text in ["alone", "small", "shared", "part"] {
        put_chunk(&mut state, text, ObjectKey(address(text).0), None);
    }
    for text in ["packed", "packed too"] {
        put_chunk(&mut state, text, ObjectKey([9; 32]), None);
    }
    put_blob(&mut state, "small", 0, since(1));
    for row in ["large", "larger", "largest"].map(|blob| blob_chunk("shared", blob)) {
        state.blob_chunks.put(row, row);
    }
    let row = blob_chunk("alone", "large");
    state.blob_chunks.put(row, row);
    let row = part_chunk("up", 1, "part");
    state.part_chunks.put(row.clone(), row);
    write(store, &[record(1)], &state).await;
    let mut batch = store.begin().await.unwrap();
    let texts = ["alone", "small", "shared", "part", "packed"];
    let objects = vec![ObjectKey([9; 32]), ObjectKey(address("alone").0), ObjectKey([1; 32])];
    let mut asked = Asked { chunks: texts.map(address).to_vec(), objects, ..Asked::default() };
    let uses = batch.uses(&asked).await.unwrap();
    assert_eq!(uses.used, ["alone", "small", "shared", "part"].map(address).into());
    let residents = |object: ObjectKey| uses.residents[&object].iter().copied().collect::<Vec<_>>();
    assert_eq!(residents(ObjectKey([9; 32])).len(), 2);
    assert_eq!(residents(ObjectKey(address("alone").0)), [address("alone")]);
    assert_eq!(residents(ObjectKey([1; 32])), []);
    asked.but = [address("large"), address("small")].into();
    let uses = batch.uses(&asked).await.unwrap();
    assert_eq!(uses.used, ["shared", "part"].map(address).into(), "by others, and by an open upload");
    assert_eq!(batch.uses(&Asked::default()).await.unwrap(), crate::model::sweep::Uses::default());
}

/// What was written is changed and deleted, also without having been loaded.
pub(super) async fn references_are_counted_blindly_and_what_is_swept_is_gone(store: &dyn Store) {
    let mut state = one_of_everything();
    put_blob(&mut state, "counted", 5, None);
    write(store, &[record(1)], &state).await;
    let mut state = State::default();
    state.refer(address("counted"), -2);
    state.refer(address("nowhere"), 1);
    state.blobs.remove(address("x"));
    state.chunks.remove(address("x"));
    state.blob_chunks.remove(blob_chunk("x", "large"));
    state.part_chunks.remove(part_chunk("up", 1, "x"));
    state.orphans.remove(ObjectKey([6; 32]));
    write(store, &[record(2)], &state).await;
    assert_eq!(store.blob(&address("counted")).await.unwrap().unwrap().reference_count, 3);
    assert!(store.blob(&address("x")).await.unwrap().is_none());
    assert_eq!(store.locations(&[address("x")]).await.unwrap(), [None]);
    let asked = Asked { chunks: vec![address("x"), address("packed")], ..Asked::default() };
    let used = store.begin().await.unwrap().uses(&asked).await.unwrap().used;
    assert_eq!(used, ["x", "packed"].map(address).into(), "by the other blob, and by the other chunk's part");
    assert!(store.sweeping().orphans_noted(Timestamp(99), None, 9).await.unwrap().is_empty());

    // A reference that is noted before the row is loaded is in the row.
    let mut state = State::default();
    state.refer(address("counted"), 4);
    let mut batch = store.begin().await.unwrap();
    batch.load(Touched { blobs: [address("counted")].into(), ..Touched::default() }, &mut state).await.unwrap();
    state.settle_references();
    assert_eq!(state.blobs.get(&address("counted")).unwrap().reference_count, 7);
    assert!(state.references.is_empty());
    batch.write(&[], super::head_at(2), &state).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(store.blob(&address("counted")).await.unwrap().unwrap().reference_count, 7);

    let mut state = State::default();
    state.parts_cleared.insert(crate::model::name::UploadId::trusted("up"));
    write(store, &[record(3)], &state).await;
    let asked = Asked { chunks: vec![address("packed")], ..Asked::default() };
    let uses = store.begin().await.unwrap().uses(&asked).await.unwrap();
    assert!(uses.used.is_empty(), "an upload that is over uses nothing");
}
