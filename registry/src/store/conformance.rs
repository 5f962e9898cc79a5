//! The promises of [`Store`], as a suite that every dialect passes.
//!
//! A broken promise is a panic that names it, as tests do. Each promise gets a store of its own, empty.

#![allow(clippy::unwrap_used, reason = "a suite speaks by panicking")]

mod leases;
mod sample;
mod scrubbing;
mod sweeping;

use std::collections::BTreeSet;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use futures::TryStreamExt;

use self::sample::{
    access_key, blob, class, clock_jump, file, head_at, history, name, one_of_everything, package, part, place,
    producer, put_file, record, storage_move, subresource, upload,
};
use super::{Batch, KeyRange, Snapshot, Store, VersionRange, View, ViewRow};
use crate::actions::request::{PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::model::event::{GENESIS_HASH, Head, Record};
use crate::model::name::{
    AccessKeyId, ClassName, Key, PackageId, PackageName, PartNumber, ProducerName, TenantName, UploadId,
};
use crate::model::retention::Period;
use crate::model::row::{Sequence, Subresource, UploadState, VersionChoice};
use crate::model::state::{PackageKey, State, Touched};

/// Every promise.
pub async fn all<S: Store, F: Future<Output = S>>(fresh: impl Fn() -> F) {
    an_empty_store_has_nothing(&fresh().await).await;
    what_was_written_reads_back(&fresh().await).await;
    a_batch_loads_what_was_written_and_knows_what_is_absent(&fresh().await).await;
    a_dropped_batch_is_undone(&fresh().await).await;
    names_are_listed_bytewise_and_by_range(&fresh().await).await;
    versions_are_listed_newest_first(&fresh().await).await;
    packages_are_paged_by_name_and_revision(&fresh().await).await;
    uploads_and_parts_are_paged_and_done_with(&fresh().await).await;
    many_rows_at_once_are_all_there(&fresh().await).await;
    a_page_of_large_events_is_a_short_one(&fresh().await).await;
    a_snapshot_sees_nothing_later(&fresh().await).await;
    views_stream_in_the_order_of_their_keys(&fresh().await).await;
    a_scratch_store_keeps_what_a_live_one_keeps(&fresh().await).await;
    a_scratch_store_is_adopted_only_at_the_same_event(&fresh().await).await;
    sweeping::versions_that_may_be_released_are_found(&fresh().await).await;
    sweeping::what_nothing_uses_and_what_is_condemned_is_found(&fresh().await).await;
    sweeping::sweeps_and_orphans_are_found(&fresh().await).await;
    sweeping::the_uses_of_chunks_and_the_chunks_of_objects_are_told(&fresh().await).await;
    sweeping::references_are_counted_blindly_and_what_is_swept_is_gone(&fresh().await).await;
    scrubbing::objects_are_paged_and_say_what_lies_in_them(&fresh().await).await;
    scrubbing::passes_and_damage_are_told(&fresh().await).await;
    scrubbing::the_files_and_manifests_of_chunks_are_told(&fresh().await).await;
    leases::a_lease_is_one_holders_until_it_is_over(&fresh().await).await;
    leases::a_lease_that_is_over_holds_in_no_batch(&fresh().await).await;
}

async fn write(store: &dyn Store, records: &[Record], state: &State) -> Head {
    let mut batch = store.begin().await.unwrap();
    let head = records.last().map_or(batch.head(), |last| head_at(last.sequence));
    batch.write(records, head, state).await.unwrap();
    batch.commit().await.unwrap();
    head
}

/// Absence is an answer, everywhere.
pub async fn an_empty_store_has_nothing(store: &dyn Store) {
    let head = store.head().await.unwrap();
    assert_eq!(head, Head { sequence: 0, occurred_at: Timestamp(0), hash: GENESIS_HASH });
    let (board, run) = (ProducerName::trusted("board"), PackageName::trusted("run"));
    assert!(store.events(0, 10).await.unwrap().is_empty());
    assert!(store.producer(&board).await.unwrap().is_none());
    assert!(store.producers(None, None, 10).await.unwrap().is_empty());
    assert!(store.file(&name("run/x")).await.unwrap().is_none());
    assert!(store.versions(&[1, 2]).await.unwrap().is_empty());
    assert!(store.versions(&[]).await.unwrap().is_empty());
    assert!(store.members(&board, &run, None, 10).await.unwrap().is_empty());
    assert!(store.package(&PackageId::trusted("none")).await.unwrap().is_none());
    assert!(store.package_latest(&board, &run).await.unwrap().is_none());
    assert!(store.blob(&ContentAddress::of(b"x")).await.unwrap().is_none());
    assert_eq!(store.blobs_total().await.unwrap(), (0, 0));
    assert_eq!(store.locations(&[ContentAddress::of(b"x")]).await.unwrap(), [None]);
    assert!(store.moves().await.unwrap().is_empty());
    assert_eq!(store.objects_known(&[ObjectKey([1; 32])]).await.unwrap(), [false]);
    assert!(store.upload(&UploadId::trusted("none")).await.unwrap().is_none());
}

/// Every field of every row.
pub async fn what_was_written_reads_back(store: &dyn Store) {
    let head = write(store, &[record(1), record(2)], &one_of_everything()).await;
    let (board, run) = (ProducerName::trusted("board"), PackageName::trusted("run"));
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.events(0, 10).await.unwrap(), [record(1), record(2)]);
    assert_eq!(store.events(1, 10).await.unwrap(), [record(2)]);
    assert_eq!(store.events(0, 1).await.unwrap(), [record(1)]);
    assert_eq!(store.producer(&board).await.unwrap(), Some(producer("board")));
    assert!(store.producers(Some(&TenantName::trusted("other")), None, 9).await.unwrap().is_empty());
    assert_eq!(store.producers(None, None, 9).await.unwrap().len(), 1);
    assert!(store.producers(None, Some(&board), 9).await.unwrap().is_empty());
    assert_eq!(store.file(&name("run/x")).await.unwrap(), Some(file("run/x", "run", 3)));
    assert_eq!(store.versions(&[4, 99]).await.unwrap(), [file("alone", "", 4)]);
    assert_eq!(store.members(&board, &run, None, 9).await.unwrap(), [file("run/x", "run", 3)]);
    let root = store.members(&board, &PackageName::root(), None, 9).await.unwrap();
    assert_eq!(root, [file("alone", "", 4)]);
    assert_eq!(store.package(&PackageId::trusted("run-1")).await.unwrap(), Some(package("run", 1, true)));
    assert_eq!(store.package_latest(&board, &run).await.unwrap(), Some(package("run", 2, false)));
    assert_eq!(store.packages_idle(&board, Timestamp(2), 9).await.unwrap(), [package("run", 2, false)]);
    assert!(store.packages_idle(&board, Timestamp(1), 9).await.unwrap().is_empty());
    let address = ContentAddress::of(b"x");
    assert_eq!(store.blob(&address).await.unwrap(), Some(blob("x", 3)));
    assert_eq!(store.blobs(None, 9).await.unwrap(), [blob("x", 3)]);
    assert!(store.blobs(Some(&address), 9).await.unwrap().is_empty());
    assert_eq!(store.blobs_total().await.unwrap(), (1, 1));
    assert_eq!(store.files_of_blob(&address, 0, 9).await.unwrap().len(), 3);
    let located = store.locations(&[ContentAddress::of(b"no"), address, address]).await.unwrap();
    let found = Some(place("x", ObjectKey(address.0)));
    assert_eq!(located, [None, found.clone(), found], "in the order asked for");
    assert_eq!(store.moves().await.unwrap(), [storage_move(5), storage_move(9)]);
    let known = store.objects_known(&[ObjectKey([9; 32]), ObjectKey([8; 32]), ObjectKey(address.0)]).await.unwrap();
    assert_eq!(known, [true, false, true], "alone or in a pack");
    assert_eq!(store.upload(&UploadId::trusted("up")).await.unwrap(), Some(upload("up", "run/u", UploadState::Open)));
    assert_eq!(store.parts(&UploadId::trusted("up"), 0, 9).await.unwrap(), [part("up", 1)]);
    assert_eq!(store.access_key(&AccessKeyId::trusted("AKA")).await.unwrap(), Some(access_key("AKA")));
    assert_eq!(store.access_key(&AccessKeyId::trusted("none")).await.unwrap(), None);
    assert_eq!(store.access_keys(None, 9).await.unwrap(), [access_key("AKA")]);
    assert!(store.access_keys(Some(&AccessKeyId::trusted("AKA")), 9).await.unwrap().is_empty());
    let (classes, jumps) = store.retention().await.unwrap();
    let names: Vec<&str> = classes.iter().map(|row| row.name.as_str()).collect();
    let beginning = ["permanent", "project-record", "regulated-record", "transient", "working"];
    assert_eq!(
        names,
        [&["all", "exam", "exam-results"][..], &beginning].concat(),
        "ours, and those from the beginning"
    );
    assert_eq!(classes[1], class("exam", Period::Days(3)));
    assert!(classes.iter().filter(|row| beginning.contains(&row.name.as_str())).all(|row| row.sequence == 0));
    assert_eq!(jumps, [clock_jump(13)]);
}

/// A batch's own reading, by sets of keys.
pub async fn a_batch_loads_what_was_written_and_knows_what_is_absent(store: &dyn Store) {
    write(store, &[record(1)], &one_of_everything()).await;
    let (board, run) = (ProducerName::trusted("board"), PackageName::trusted("run"));
    let key = (board.clone(), run);
    let none = (board.clone(), PackageName::trusted("none"));
    let touched = Touched {
        producers: [board.clone(), ProducerName::trusted("none")].into(),
        packages: [PackageId::trusted("run-1"), PackageId::trusted("none")].into(),
        latest: [key.clone(), none.clone()].into(),
        keepers: BTreeSet::new(),
        names: [name("run/x"), name("none")].into(),
        files: [4, 99].into(),
        histories: [(name("run/x"), 1), (name("none"), 1)].into(),
        history: [(name("run/x"), 1), (name("run/x"), 98)].into(),
        subresources: [(board.clone(), Subresource::Cors), (board.clone(), Subresource::Policy)].into(),
        members: [key.clone()].into(),
        blobs: [ContentAddress::of(b"x"), ContentAddress::of(b"none")].into(),
        chunks: [ContentAddress::of(b"packed"), ContentAddress::of(b"none")].into(),
        uploads: [UploadId::trusted("up"), UploadId::trusted("none")].into(),
        parts: [(UploadId::trusted("up"), PartNumber::new(1).unwrap())].into(),
        access_keys: [AccessKeyId::trusted("AKA"), AccessKeyId::trusted("none")].into(),
        moves: true,
        retention: true,
        swept: [ObjectKey([8; 32]), ObjectKey([9; 32])].into(),
        orphans: [ObjectKey([6; 32]), ObjectKey([9; 32])].into(),
        scrubs: true,
        damaged: [ObjectKey([4; 32]), ObjectKey([5; 32])].into(),
        erasures: [30, 31].into(),
    };
    let mut state = State::default();
    let mut batch = store.begin().await.unwrap();
    assert_eq!(batch.head(), head_at(1));
    batch.load(touched, &mut state).await.unwrap();
    assert_eq!(state.producers.get(&board), Some(&producer("board")));
    assert_eq!(state.storage().last(), Some(&storage_move(9)));
    assert_eq!(state.producers.get(&ProducerName::trusted("none")), None);
    assert_eq!(state.packages.get(&PackageId::trusted("run-1")), Some(&package("run", 1, true)));
    assert_eq!(state.package_latest(&key), Some(&package("run", 2, false)));
    assert_eq!(state.package_latest(&none), None);
    assert_eq!(state.file_current(&name("run/x")), Some(&file("run/x", "run", 3)));
    assert_eq!(state.file_current(&name("none")), None);
    assert_eq!(state.files.get(&4), Some(&file("alone", "", 4)));
    assert_eq!(state.files.get(&99), None);
    assert_eq!(state.history_newest(&name("run/x"), 99), Some(&history("run/x", 2)), "the newest");
    assert_eq!(state.history_null(&name("run/x")), Some(&history("run/x", 1)), "the null version, however old");
    assert_eq!(state.history_newest(&name("none"), 99), None);
    assert_eq!(state.history.get(&(name("run/x"), 98)), None);
    assert_eq!(state.files.get(&1), Some(&file("run/x", "run", 1)), "with the file of a version");
    assert_eq!(state.files.get(&2), None, "and none of a marker");
    assert_eq!(state.subresources.get(&(board.clone(), Subresource::Cors)), Some(&subresource("<cors/>")));
    assert_eq!(state.subresources.get(&(board.clone(), Subresource::Policy)), None);
    assert_eq!(state.members[&key], [(Key::trusted("run/x"), 3)].into());
    assert_eq!(state.blobs.get(&ContentAddress::of(b"x")), Some(&blob("x", 3)));
    assert_eq!(state.chunks.get(&ContentAddress::of(b"packed")), Some(&place("packed", ObjectKey([9; 32]))));
    assert!(state.uploads.get(&UploadId::trusted("up")).is_some());
    assert!(state.uploads.get(&UploadId::trusted("none")).is_none());
    assert!(state.parts.get(&(UploadId::trusted("up"), PartNumber::new(1).unwrap())).is_some());
    assert_eq!(state.access_keys.get(&AccessKeyId::trusted("AKA")), Some(&access_key("AKA")));
    assert_eq!(state.access_keys.get(&AccessKeyId::trusted("none")), None);
    let both = [("exam-results", Period::Years(2)), ("all", Period::Forever)];
    for (name, period) in both {
        assert_eq!(state.class(&ClassName::trusted(name)), Some(&class(name, period)));
    }
    assert_eq!(state.class(&ClassName::trusted("none")), None);
    assert_eq!(state.jumps.find(&13), Some(&clock_jump(13)));
    forgets_a_jump_and_finds_what_keeps_a_package(store, batch, (&key, &none)).await;
}

async fn forgets_a_jump_and_finds_what_keeps_a_package(
    store: &dyn Store,
    mut batch: Box<dyn Batch>,
    (key, none): (&PackageKey, &PackageKey),
) {
    let mut state = State::default();
    batch.load(Touched { retention: true, ..Touched::default() }, &mut state).await.unwrap();
    state.jumps.remove(13);
    batch.write(&[record(2)], head_at(2), &state).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(store.retention().await.unwrap().1, []);
    let mut batch = store.begin().await.unwrap();
    let mut state = State::default();
    let keepers = [key.clone(), none.clone()].into();
    batch.load(Touched { keepers, ..Touched::default() }, &mut state).await.unwrap();
    let kept = store.packages_kept(None, 9).await.unwrap();
    let kept: Vec<_> = kept.iter().filter(|it| it.producer == key.0 && it.name == key.1).collect();
    assert_eq!(state.keepers(key).collect::<Vec<_>>(), kept);
    assert!(!kept.is_empty() && state.keepers(none).next().is_none());
}

/// Whatever was written into it.
pub async fn a_dropped_batch_is_undone(store: &dyn Store) {
    let mut batch = store.begin().await.unwrap();
    batch.write(&[record(1)], head_at(1), &one_of_everything()).await.unwrap();
    assert_eq!(store.head().await.unwrap().sequence, 0, "readers see nothing of a batch that is under way");
    drop(batch);
    assert_eq!(store.head().await.unwrap().sequence, 0);
    assert!(store.file(&name("run/x")).await.unwrap().is_none());
    write(store, &[record(1)], &one_of_everything()).await;
    assert_eq!(store.head().await.unwrap().sequence, 1, "the next batch begins where the dropped one did");
}

/// By key, and of one key newest first, whatever has the name.
pub async fn versions_are_listed_newest_first(store: &dyn Store) {
    write(store, &[record(1)], &one_of_everything()).await;
    let board = ProducerName::trusted("board");
    let listed = async |range: VersionRange, limit: usize| {
        let found = store.names_and_history(&board, &range, limit).await.unwrap();
        found.into_iter().map(|it| (it.listed.key.to_string(), it.sequence, it.marker)).collect::<Vec<_>>()
    };
    let all = [("alone", 4, false), ("run/x", 3, false), ("run/x", 2, true), ("run/x", 1, false)];
    let all: Vec<(String, Sequence, bool)> = all.into_iter().map(|(key, at, is)| (key.to_owned(), at, is)).collect();
    assert_eq!(listed(VersionRange::default(), 9).await, all);
    assert_eq!(listed(VersionRange::default(), 2).await, all[..2]);
    let keys = KeyRange { from: Some("run/x".to_owned()), ..KeyRange::default() };
    let range = VersionRange { keys: keys.clone(), older: Some(("run/x".to_owned(), 3)) };
    assert_eq!(listed(range, 9).await, all[2..]);
    let range = VersionRange { keys, older: Some(("run/x".to_owned(), 2)) };
    assert_eq!(listed(range, 9).await, all[3..]);
    let found = store.names_and_history(&board, &VersionRange::default(), 9).await.unwrap();
    assert_eq!((found[0].listed.size_bytes, found[0].listed.etag.as_str(), found[0].versioned), (1, "etag", true));
    assert_eq!((found[2].listed.size_bytes, found[2].listed.ingested_at), (0, Timestamp(6)), "of a marker");
    let entry = async |version| store.history(&name("run/x"), version).await.unwrap().map(|row| row.sequence);
    assert_eq!(entry(None).await, Some(2));
    assert_eq!(entry(Some(VersionChoice::Null)).await, Some(1));
    assert_eq!(entry(Some(VersionChoice::Numbered(2))).await, Some(2));
    assert_eq!(entry(Some(VersionChoice::Numbered(3))).await, None);
    assert_eq!(store.subresource(&board, Subresource::Cors).await.unwrap().as_deref(), Some("<cors/>"));
    assert_eq!(store.subresource(&board, Subresource::Policy).await.unwrap(), None);
    let mut state = State::default();
    state.history.remove((name("run/x"), 2));
    state.subresources.remove((board.clone(), Subresource::Cors));
    write(store, &[record(2)], &state).await;
    assert_eq!(listed(VersionRange::default(), 9).await.len(), 3);
    assert_eq!(store.subresource(&board, Subresource::Cors).await.unwrap(), None);
}

/// The order of keys is S3's: by the bytes of their UTF-8.
pub async fn names_are_listed_bytewise_and_by_range(store: &dyn Store) {
    let keys = ["a", "a/b", "a/c", "a0", "a_", "b", "é", "\u{ffff}", "\u{10000}"];
    let mut state = State::default();
    for (key, sequence) in keys.iter().rev().zip(1..) {
        put_file(&mut state, file(key, "", sequence));
    }
    write(store, &[], &state).await;
    let board = ProducerName::trusted("board");
    let listed = |range: KeyRange, limit: usize| {
        let board = board.clone();
        async move {
            let files = store.names(&board, &range, limit).await.unwrap();
            files.into_iter().map(|file| file.key.to_string()).collect::<Vec<_>>()
        }
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(listed(KeyRange::default(), 99).await, keys);
    assert_eq!(listed(KeyRange::default(), 2).await, ["a", "a/b"]);
    assert_eq!(listed(KeyRange { from: text("a/b"), ..KeyRange::default() }, 2).await, ["a/b", "a/c"]);
    assert_eq!(listed(KeyRange { after: text("a/b"), ..KeyRange::default() }, 1).await, ["a/c"]);
    let range = KeyRange { from: text("a/"), after: text("a/b"), before: text("a0") };
    assert_eq!(listed(range, 99).await, ["a/c"]);
    let range = KeyRange { before: text("a/b"), ..KeyRange::default() };
    assert_eq!(listed(range, 99).await, ["a"]);

    let mut state = State::default();
    state.names.remove(name("a/b"));
    write(store, &[], &state).await;
    assert_eq!(listed(KeyRange::default(), 2).await, ["a", "a/c"], "a name that was removed is gone");
    assert_eq!(store.versions(&[8]).await.unwrap().len(), 1, "its version stays");
}

/// By name bytewise, then by revision as a number.
pub async fn packages_are_paged_by_name_and_revision(store: &dyn Store) {
    let mut state = State::default();
    let rows = [
        package("", 1, false),
        package("a", 1, true),
        package("a", 2, true),
        package("a", 10, false),
        package("b", 1, true),
    ];
    for row in &rows {
        state.packages.put(row.id.clone(), row.clone());
    }
    write(store, &[], &state).await;
    let board = ProducerName::trusted("board");
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.packages(&board, &PackageFilter::default(), cursor.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(PackageCursor { name: last.name.clone(), revision: last.revision });
        seen.extend(page);
    }
    assert_eq!(seen, rows);
    let filter = PackageFilter { name: Some(PackageName::trusted("a")), finalized: Some(true) };
    assert_eq!(store.packages(&board, &filter, None, 9).await.unwrap(), rows[1..3]);
    let filter = PackageFilter { name: None, finalized: Some(false) };
    assert_eq!(store.packages(&board, &filter, None, 9).await.unwrap(), [rows[0].clone(), rows[3].clone()]);
    let latest = store.package_latest(&board, &PackageName::trusted("a")).await.unwrap();
    assert_eq!(latest, Some(rows[3].clone()));
    assert!(
        store.packages(&ProducerName::trusted("other"), &PackageFilter::default(), None, 9).await.unwrap().is_empty()
    );
}

/// Only open uploads are listed, and parts go with their upload.
pub async fn uploads_and_parts_are_paged_and_done_with(store: &dyn Store) {
    let mut state = State::default();
    for row in [
        upload("u1", "a", UploadState::Open),
        upload("u2", "a", UploadState::Open),
        upload("u0", "b", UploadState::Open),
        upload("u3", "a", UploadState::Completed(7)),
    ] {
        state.uploads.put(row.id.clone(), row);
    }
    for number in [10_000, 1, 2, 10] {
        let row = part("u1", number);
        state.parts.put((row.upload.clone(), row.number), row);
    }
    write(store, &[], &state).await;
    let board = ProducerName::trusted("board");
    let ids = |range: KeyRange, after: Option<(&'static str, &'static str)>, limit: usize| {
        let board = board.clone();
        async move {
            let uploads = store.uploads(&board, &range, after, limit).await.unwrap();
            uploads.into_iter().map(|upload| upload.id.to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(ids(KeyRange::default(), None, 9).await, ["u1", "u2", "u0"]);
    assert_eq!(ids(KeyRange::default(), Some(("a", "u1")), 9).await, ["u2", "u0"]);
    assert_eq!(ids(KeyRange { after: Some("a".to_owned()), ..KeyRange::default() }, None, 9).await, ["u0"]);
    assert_eq!(ids(KeyRange::default(), None, 1).await, ["u1"]);
    let completed = store.upload(&UploadId::trusted("u3")).await.unwrap().unwrap();
    assert_eq!(completed.state, UploadState::Completed(7));
    let of_one = UploadId::trusted("u1");
    let numbers: Vec<u32> = store.parts(&of_one, 1, 2).await.unwrap().iter().map(|part| part.number.get()).collect();
    assert_eq!(numbers, [2, 10]);

    let mut state = State::default();
    state.parts_cleared.insert(of_one.clone());
    state.uploads.remove(of_one.clone());
    write(store, &[], &state).await;
    assert!(store.parts(&of_one, 0, 9).await.unwrap().is_empty());
    assert!(store.upload(&of_one).await.unwrap().is_none());
}

/// So that whoever reads the log in pages holds little, whatever is in it.
pub async fn a_page_of_large_events_is_a_short_one(store: &dyn Store) {
    let large = |sequence| Record { payload: vec![7; 15 << 20], ..record(sequence) };
    let records: Vec<Record> = [large(1), record(2), large(3), large(4), record(5), large(6)].into();
    write(store, &records, &State::default()).await;
    let (mut read, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = store.events(read.len() as u64, 5).await.unwrap();
        if page.is_empty() {
            break;
        }
        pages.push(page.len());
        read.extend(page);
    }
    assert!(read == records, "every event comes once, in order");
    assert_eq!(pages, [4, 2]);
    let mut snapshot = store.snapshot().await.unwrap();
    assert!(snapshot.events(0, 5).await.unwrap() == records[..4], "as of a snapshot, too");
    assert!(snapshot.events(4, 5).await.unwrap() == records[4..]);
}

/// More rows than one statement takes.
pub async fn many_rows_at_once_are_all_there(store: &dyn Store) {
    const MANY: u64 = 1_237;
    let mut state = State::default();
    for sequence in 1..=MANY {
        put_file(&mut state, file(&format!("run/{sequence:05}"), "run", sequence));
    }
    let records: Vec<Record> = (1..=MANY).map(record).collect();
    write(store, &records, &state).await;
    assert_eq!(store.events(0, 10_000).await.unwrap(), records);
    let every: Vec<Sequence> = (1..=MANY).collect();
    assert_eq!(store.versions(&every).await.unwrap().len(), 1_237);
    let mut state = State::default();
    let names = (1..=MANY).map(|sequence| name(&format!("run/{sequence:05}"))).collect();
    let mut batch = store.begin().await.unwrap();
    batch.load(Touched { names, ..Touched::default() }, &mut state).await.unwrap();
    for sequence in 1..=MANY {
        assert_eq!(state.file_current(&name(&format!("run/{sequence:05}"))).unwrap().sequence, sequence);
    }
    drop(batch);
    let page = store
        .members(&ProducerName::trusted("board"), &PackageName::trusted("run"), Some(&Key::trusted("run/01235")), 9)
        .await
        .unwrap();
    assert_eq!(page.len(), 2);
}

async fn rows(snapshot: &mut dyn Snapshot, view: View) -> Vec<ViewRow> {
    snapshot.view(view).try_collect().await.unwrap()
}

/// Whatever is committed while it is read.
pub async fn a_snapshot_sees_nothing_later(store: &dyn Store) {
    write(store, &[record(1)], &one_of_everything()).await;
    let mut snapshot = store.snapshot().await.unwrap();
    let mut state = State::default();
    put_file(&mut state, file("run/later", "run", 9));
    write(store, &[record(2)], &state).await;
    assert_eq!(snapshot.head().await.unwrap(), head_at(1));
    assert_eq!(snapshot.events(0, 9).await.unwrap(), [record(1)]);
    assert_eq!(rows(&mut *snapshot, View::Names).await.len(), 2);
    assert_eq!(store.head().await.unwrap().sequence, 2);
    assert_eq!(rows(&mut *store.snapshot().await.unwrap(), View::Names).await.len(), 3);
}

/// Sorted by key, so that two stores are compared in one pass.
pub async fn views_stream_in_the_order_of_their_keys(store: &dyn Store) {
    let mut state = one_of_everything();
    for (key, sequence) in ["é", "a", "a/b", "a0", "\u{10000}", "\u{ffff}"].iter().zip(300..) {
        put_file(&mut state, file(key, "", sequence));
    }
    for id in ["up", "up0", "u"] {
        for number in [1, 300, 2] {
            let row = part(id, number);
            state.parts.put((row.upload.clone(), row.number), row);
        }
    }
    for text in ["q", "r", "s"] {
        let row = blob(text, 5);
        state.blobs.put(row.content_address, row);
    }
    for (name, sequence) in ["board-2", "board.1", "boar"].iter().zip(1..) {
        let mut row = producer(name);
        row.created_sequence = sequence;
        state.producers.put(row.name.clone(), row);
    }
    write(store, &[record(1)], &state).await;
    let mut snapshot = store.snapshot().await.unwrap();
    for view in View::ALL {
        let rows = rows(&mut *snapshot, view).await;
        assert!(!rows.is_empty(), "{view:?}");
        assert!(rows.windows(2).all(|pair| pair[0].key < pair[1].key), "{view:?} comes in the order of its keys");
        assert!(rows.iter().all(|row| crate::model::cbor::check(&row.row).is_ok()));
    }
}

/// Whichever way rows take to it.
pub async fn a_scratch_store_keeps_what_a_live_one_keeps(store: &dyn Store) {
    let mut state = one_of_everything();
    for sequence in 300..337 {
        put_file(&mut state, file(&format!("run/{sequence}"), "run", sequence));
    }
    let mut later = State::default();
    let referred = blob("later", 9);
    state.blobs.put(referred.content_address, referred.clone());
    later.refer(referred.content_address, 2);
    for sequence in 300..320 {
        later.names.remove(name(&format!("run/{sequence}")));
    }
    let scratch = store.scratch().await.unwrap();
    for (number, state) in [(1, &state), (2, &later)] {
        write(store, &[record(number)], state).await;
        let mut batch = scratch.begin().await.unwrap();
        batch.write(&[], head_at(number), state).await.unwrap();
        batch.commit().await.unwrap();
    }
    assert_eq!(scratch.head().await.unwrap(), head_at(2));
    let (mut live, mut built) = (store.snapshot().await.unwrap(), scratch.snapshot().await.unwrap());
    for view in View::ALL {
        assert_eq!(rows(&mut *built, view).await, rows(&mut *live, view).await, "{view:?}");
    }
    let counted = scratch.blob(&referred.content_address).await.unwrap().unwrap();
    assert_eq!(counted.reference_count, referred.reference_count + 2);
    drop((live, built));
    scratch.close().await;
}

/// All views at once, or nothing.
pub async fn a_scratch_store_is_adopted_only_at_the_same_event(store: &dyn Store) {
    write(store, &[record(1)], &one_of_everything()).await;
    let scratch = store.scratch().await.unwrap();
    assert_eq!(scratch.head().await.unwrap().sequence, 0, "a scratch store is empty");
    let mut state = State::default();
    put_file(&mut state, file("run/rebuilt", "run", 7));
    assert!(!store.adopt(&*scratch).await.unwrap(), "it ends at another event");
    assert!(store.file(&name("run/x")).await.unwrap().is_some());

    let mut batch = scratch.begin().await.unwrap();
    batch.write(&[], head_at(1), &state).await.unwrap();
    batch.commit().await.unwrap();
    assert!(store.adopt(&*scratch).await.unwrap());
    assert!(store.file(&name("run/x")).await.unwrap().is_none());
    assert_eq!(store.file(&name("run/rebuilt")).await.unwrap(), Some(file("run/rebuilt", "run", 7)));
    assert_eq!(store.events(0, 9).await.unwrap(), [record(1)], "the log stays as it was");
    scratch.close().await;
    write(store, &[record(2)], &State::default()).await;
    assert_eq!(store.head().await.unwrap(), head_at(2));
}
