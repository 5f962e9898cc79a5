//! Collecting what nothing keeps: what goes, when, and what may never go.

use std::time::Duration;

use artifactstore_registry::actions::request::{CollectSummary, Collection, Removal};
use artifactstore_registry::backends::backend::{Backend, SealedObject};
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::name::{FileName, PartNumber};
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};
use bytes::Bytes;

use crate::dialect;
use crate::harness::{CHUNK_SIZE_BYTES, Harness, body, name, producer};

const GRACE: i64 = 100;
const BEGIN: i64 = 1_000_000;

pub(crate) async fn collect(harness: &Harness, grace: i64) -> CollectSummary {
    let grace = Duration::from_secs(u64::try_from(grace).unwrap());
    let how = Collection { grace, dry: false, under_lease: false };
    harness.registry.collect(&harness.actor, &how, &|_, _| {}).await.unwrap()
}

pub(crate) async fn recounted(harness: &Harness) {
    let found = std::sync::Mutex::new(Vec::new());
    let miscounted = |miscount| found.lock().unwrap().push(miscount);
    let summary = harness.registry.references_recount(&|_| {}, &miscounted).await.unwrap();
    assert_eq!(found.into_inner().unwrap(), []);
    assert_eq!(summary.wrong, 0);
}

async fn by_number(harness: &Harness, path: &str, version: u64) -> Result<Vec<u8>, Error> {
    let version = Some(VersionChoice::Numbered(version));
    let found = harness.registry.file_stat(&harness.actor, &name(path), version).await?;
    harness.read_found(&found).await
}

async fn is_stored(harness: &Harness, bytes: &[u8]) -> bool {
    let key = ObjectKey(ContentAddress::of(bytes).0);
    harness.backend.stat(&key).await.unwrap().is_some()
}

pub(crate) fn noise(size_bytes: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

async fn remove_version(harness: &Harness, path: &str, version: VersionChoice) {
    let removal =
        Removal { key: name(path).key, version: Some(version), condition: WriteCondition::default(), bypass: false };
    harness.registry.file_remove(&harness.actor, &producer("board"), removal).await.unwrap();
}

#[tokio::test]
async fn what_was_superseded_goes_in_steps_and_each_says_why() {
    let harness = Harness::start().await;
    harness.clock.pass_seconds(BEGIN);
    let first = harness.put("board/a/x", "one").await.unwrap().file;
    let second = harness.put("board/a/x", "two").await.unwrap().file;
    assert_eq!(by_number(&harness, "board/a/x", first.sequence).await.unwrap(), b"one");

    let summary = collect(&harness, GRACE).await;
    assert_eq!((summary.released, summary.condemned_blobs, summary.swept_blobs), (1, 1, 0));
    let missing = by_number(&harness, "board/a/x", first.sequence).await.unwrap_err();
    assert!(matches!(missing, Error::Refused(Refusal::VersionMissing)), "{missing}");
    assert!(is_stored(&harness, b"one").await, "the grace is not over");
    assert_eq!(collect(&harness, GRACE).await.released, 0, "it is done once");

    harness.clock.pass_seconds(BEGIN + GRACE);
    let summary = collect(&harness, GRACE).await;
    assert_eq!((summary.swept_blobs, summary.deleted_objects, summary.deleted_bytes), (1, 1, 3));
    assert!(!is_stored(&harness, b"one").await);
    assert_eq!(harness.read("board/a/x").await.unwrap(), b"two");
    let events = harness.registry.event_list(second.sequence, 99).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["v1.version.released", "v1.blob.condemned", "v1.sweep.begun", "v1.sweep.ended"]);
    let told: Vec<serde_json::Value> =
        events.iter().map(|event| artifactstore_registry::model::cbor::to_json(&event.payload).unwrap()).collect();
    assert_eq!((&told[0]["version"], &told[0]["ended"]), (&first.sequence.into(), &second.sequence.into()));
    assert_eq!(told[1]["released"], events[0].sequence);
    let swept = &told[2]["blobs"][0];
    assert_eq!((&swept["size"], &swept["condemned"]), (&3.into(), &events[1].sequence.into()));
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "one").await.unwrap();
    harness.put("board/a/x", "two").await.unwrap();
    let before = harness.events().await.len();
    let how = Collection { grace: Duration::ZERO, dry: true, under_lease: false };
    let summary = harness.registry.collect(&harness.actor, &how, &|_, _| {}).await.unwrap();
    assert_eq!((summary.released, summary.swept_blobs, harness.events().await.len()), (1, 0, before));
    assert!(is_stored(&harness, b"one").await);
    harness.finish().await;
}

#[tokio::test]
async fn what_a_seal_or_s3_s_own_sight_keeps_stays() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let before = harness.put("board/a/x", "before the seal").await.unwrap().file;
    let sealed = harness.put("board/a/x", "in the seal").await.unwrap().file;
    let revision = harness.finalize("a").await.unwrap();
    harness.put("board/a/x", "behind the seal").await.unwrap();
    harness.remove("board/a/x").await.unwrap();
    let summary = collect(&harness, 0).await;
    assert_eq!((summary.released, summary.swept_blobs), (2, 2), "what was superseded before, and behind");
    assert_eq!(by_number(&harness, "board/a/x", sealed.sequence).await.unwrap(), b"in the seal");
    assert!(by_number(&harness, "board/a/x", before.sequence).await.is_err());
    let files = harness.registry.package_files(&harness.actor, &revision.id, None, 9).await.unwrap();
    assert_eq!(files[0].content_address, ContentAddress::of(b"in the seal"));

    harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
    let first = harness.put("board/b/x", "shown").await.unwrap().file;
    harness.put("board/b/x", "named").await.unwrap();
    harness.remove("board/b/x").await.unwrap();
    assert_eq!(collect(&harness, 0).await.released, 0);
    assert_eq!(by_number(&harness, "board/b/x", first.sequence).await.unwrap(), b"shown");
    remove_version(&harness, "board/b/x", VersionChoice::Numbered(first.sequence)).await;
    assert_eq!(collect(&harness, 0).await.swept_blobs, 1);
    assert!(!is_stored(&harness, b"shown").await);
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn whoever_wants_condemned_bytes_again_revives_them() {
    let harness = Harness::start().await;
    harness.clock.pass_seconds(BEGIN);
    let first = harness.put("board/a/x", "wanted").await.unwrap().file;
    harness.put("board/a/y", "described").await.unwrap();
    let found = harness.stat("board/a/y").await.unwrap();
    let replace = Some(artifactstore_registry::model::attributes::Attributes::default());
    let condition = WriteCondition::default();
    harness
        .registry
        .file_copy(&harness.actor, &found, &name("board/a/y"), replace, Default::default(), condition)
        .await
        .unwrap();
    assert_eq!(collect(&harness, GRACE).await.released, 1, "the version before other metadata");
    harness.remove("board/a/x").await.unwrap();
    assert_eq!(collect(&harness, GRACE).await.condemned_blobs, 1);
    harness.clock.pass_seconds(BEGIN + GRACE);
    let again = harness.put("board/a/z", "wanted").await.unwrap();
    assert!(again.deduplicated && again.file.content_address == first.content_address);
    assert_eq!(collect(&harness, GRACE).await.swept_blobs, 0);
    assert_eq!(harness.read("board/a/z").await.unwrap(), b"wanted");
    // Condemned anew, its grace begins anew.
    harness.remove("board/a/z").await.unwrap();
    let summary = collect(&harness, GRACE).await;
    assert_eq!((summary.condemned_blobs, summary.swept_blobs), (1, 0));
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn what_was_swept_comes_back_under_another_name_and_goes_again() {
    let harness = Harness::start().await;
    for size_bytes in [5, CHUNK_SIZE_BYTES - 1, 2 * CHUNK_SIZE_BYTES + 5] {
        let bytes = noise(size_bytes, 1);
        for _ in 0..3 {
            let file = harness.put("board/a/x", bytes.clone()).await.unwrap().file;
            assert_eq!(harness.read("board/a/x").await.unwrap(), bytes);
            harness.remove("board/a/x").await.unwrap();
            assert_eq!(collect(&harness, 0).await.swept_blobs, 1);
            assert!(harness.store.blob(&file.content_address).await.unwrap().is_none());
        }
    }
    assert_eq!(harness.objects().await, 0);
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn a_chunk_goes_with_the_last_that_uses_it() {
    let harness = Harness::start().await;
    let (a, b, c) = (noise(CHUNK_SIZE_BYTES, 1), noise(CHUNK_SIZE_BYTES, 2), noise(CHUNK_SIZE_BYTES, 3));
    harness.put("board/a/ab", [a.clone(), b.clone()].concat()).await.unwrap();
    harness.put("board/a/bc", [b.clone(), c.clone()].concat()).await.unwrap();
    harness.put("board/a/c", c.clone()).await.unwrap();
    harness.remove("board/a/ab").await.unwrap();
    assert_eq!(collect(&harness, 0).await.swept_chunks, 1);
    assert_eq!([is_stored(&harness, &a).await, is_stored(&harness, &b).await], [false, true]);
    harness.remove("board/a/bc").await.unwrap();
    assert_eq!(collect(&harness, 0).await.swept_chunks, 1);
    assert_eq!([is_stored(&harness, &b).await, is_stored(&harness, &c).await], [false, true]);
    assert_eq!(harness.read("board/a/c").await.unwrap(), c);
    // Both at once: neither keeps what they share.
    harness.put("board/a/ab", [a.clone(), b.clone()].concat()).await.unwrap();
    harness.put("board/a/ba", [b.clone(), a.clone()].concat()).await.unwrap();
    harness.remove("board/a/ab").await.unwrap();
    harness.remove("board/a/ba").await.unwrap();
    let summary = collect(&harness, 0).await;
    assert_eq!((summary.swept_blobs, summary.swept_chunks), (2, 2));
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn an_object_goes_with_the_last_chunk_that_lies_in_it() {
    let harness = Harness::start().await;
    let puts = (0..8).map(|n| harness.put(PACKED[n], noise(50, n as u64)));
    futures::future::join_all(puts).await.into_iter().for_each(|put| drop(put.unwrap()));
    assert!(harness.objects().await < 8, "some of them share an object");
    for path in &PACKED[1..] {
        harness.remove(path).await.unwrap();
    }
    assert_eq!(collect(&harness, 0).await.swept_chunks, 7);
    assert_eq!(harness.objects().await, 1);
    assert_eq!(harness.read(PACKED[0]).await.unwrap(), noise(50, 0));
    harness.remove(PACKED[0]).await.unwrap();
    let summary = collect(&harness, 0).await;
    assert_eq!((summary.swept_chunks, summary.deleted_objects, harness.objects().await), (1, 1, 0));
    recounted(&harness).await;
    harness.finish().await;
}

/// One of each that waits for a grace, and the run that lets it begin.
async fn condemned(harness: &Harness, seed: u64, grace: i64) {
    harness.put("board/a/x", noise(99, seed)).await.unwrap();
    harness.remove("board/a/x").await.unwrap();
    let target = name("board/a/part");
    let upload = harness.registry.upload_create(&harness.actor, &target, UploadAttributes::default()).await.unwrap().id;
    let (number, part) = (PartNumber::new(1).unwrap(), body(noise(98, seed)));
    let sent = harness.registry.part_ingest(&harness.actor, &target, &upload, number, part, Default::default());
    sent.await.unwrap();
    harness.registry.upload_abort(&harness.actor, &target, &upload).await.unwrap();
    let orphan = harness.backend.put(SealedObject::seal(Bytes::from(noise(97, seed)))).await.unwrap();
    harness.backend.age(&orphan, Duration::from_secs(1_000_000));
    let summary = collect(harness, grace).await;
    assert_eq!((summary.condemned_blobs, summary.condemned_chunks, summary.noted_orphans), (1, 1, 1));
}

#[tokio::test]
async fn a_grace_ends_when_its_time_has_gone_by_and_not_when_a_clock_says_so() {
    const HOUR: i64 = 3_600;
    let harness = Harness::start().await;
    let swept = async || {
        let summary = collect(&harness, 6 * HOUR).await;
        (summary.swept_blobs, summary.swept_chunks - summary.swept_blobs, summary.swept_orphans)
    };
    let settle = async |genuine| {
        let jump = harness.unsettled().await.pop().unwrap().sequence;
        harness.registry.clock_settle(&harness.actor, jump, genuine, "looked".to_owned()).await.unwrap();
    };
    // Set forward by a few hours: it goes behind by those.
    condemned(&harness, 1, 6 * HOUR).await;
    harness.clock.set_seconds(BEGIN + 7 * HOUR);
    assert_eq!(swept().await, (0, 0, 0));
    harness.clock.pass_seconds(BEGIN + 12 * HOUR);
    assert_eq!(swept().await, (0, 0, 0), "five hours");
    harness.clock.pass_seconds(BEGIN + 14 * HOUR);
    assert_eq!(swept().await, (1, 1, 1), "seven, and what is behind stays behind for nothing that came later");
    // By weeks: it stands still until somebody says that the time did pass.
    condemned(&harness, 2, 6 * HOUR).await;
    harness.clock.set_seconds(BEGIN + 1_000 * HOUR);
    assert_eq!(swept().await, (0, 0, 0));
    harness.clock.pass_seconds(BEGIN + 1_010 * HOUR);
    assert_eq!(swept().await, (0, 0, 0));
    settle(true).await;
    assert_eq!(swept().await, (1, 1, 1));
    // And where it did not, it goes on by the clock that was mended, far behind the log's own time.
    condemned(&harness, 3, 6 * HOUR).await;
    harness.clock.set_seconds(BEGIN + 5_000 * HOUR);
    assert_eq!(swept().await, (0, 0, 0));
    harness.clock.set_seconds(BEGIN + 1_010 * HOUR);
    settle(false).await;
    harness.clock.pass_seconds(BEGIN + 1_015 * HOUR);
    assert_eq!(swept().await, (0, 0, 0));
    harness.clock.pass_seconds(BEGIN + 1_017 * HOUR);
    assert_eq!(swept().await, (1, 1, 1));
    recounted(&harness).await;
    harness.finish().await;
}

const PACKED: [&str; 8] =
    ["board/a/0", "board/a/1", "board/a/2", "board/a/3", "board/a/4", "board/a/5", "board/a/6", "board/a/7"];

#[tokio::test]
async fn parts_are_kept_as_long_as_their_upload_is_open() {
    let harness = Harness::start().await;
    harness.clock.pass_seconds(BEGIN);
    let target: FileName = name("board/a/large");
    let begin = || harness.registry.upload_create(&harness.actor, &target, UploadAttributes::default());
    let part = async |upload: &artifactstore_registry::model::name::UploadId, number: i64, bytes: Vec<u8>| {
        let number = PartNumber::new(number).unwrap();
        let hints = Default::default();
        harness.registry.part_ingest(&harness.actor, &target, upload, number, body(bytes), hints).await.unwrap()
    };
    let (kept, given_up) = (begin().await.unwrap().id, begin().await.unwrap().id);
    part(&kept, 1, noise(100, 1)).await;
    part(&kept, 2, noise(100, 2)).await;
    part(&kept, 2, noise(100, 3)).await;
    part(&given_up, 1, noise(100, 1)).await;
    part(&given_up, 2, noise(100, 4)).await;
    harness.registry.upload_abort(&harness.actor, &target, &given_up).await.unwrap();
    assert_eq!(collect(&harness, GRACE).await.condemned_chunks, 2, "of the part that was replaced, and given up");
    harness.clock.pass_seconds(BEGIN + GRACE);
    // One of them is wanted again meanwhile.
    part(&kept, 3, noise(100, 4)).await;
    let summary = collect(&harness, GRACE).await;
    assert_eq!((summary.swept_chunks, summary.deleted_objects), (1, 1));
    for (seed, there) in [(1, true), (2, false), (3, true), (4, true)] {
        assert_eq!(is_stored(&harness, &noise(100, seed)).await, there, "{seed}");
    }
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn an_object_of_no_event_is_noted_and_goes_a_grace_later_unless_it_is_named() {
    let harness = Harness::start().await;
    harness.clock.pass_seconds(BEGIN);
    let orphan = harness.backend.put(SealedObject::seal(Bytes::from_static(b"orphan"))).await.unwrap();
    let named = harness.backend.put(SealedObject::seal(Bytes::from_static(b"named later"))).await.unwrap();
    for key in [orphan, named] {
        harness.backend.age(&key, Duration::from_secs(1000));
    }
    harness.backend.put(SealedObject::seal(Bytes::from_static(b"young"))).await.unwrap();
    let summary = collect(&harness, GRACE).await;
    assert_eq!((summary.examined_objects, summary.noted_orphans, summary.swept_orphans), (3, 2, 0));
    assert_eq!(collect(&harness, GRACE).await.noted_orphans, 0, "they are noted once");
    harness.put("board/a/x", "named later").await.unwrap();
    harness.clock.pass_seconds(BEGIN + GRACE);
    let summary = collect(&harness, GRACE).await;
    assert_eq!((summary.swept_orphans, summary.deleted_bytes), (1, 6));
    assert_eq!(harness.backend.stat(&orphan).await.unwrap(), None);
    assert_eq!(harness.read("board/a/x").await.unwrap(), b"named later");
    harness.finish().await;
}

#[tokio::test]
async fn a_count_that_is_wrong_is_found_by_counting_and_by_the_replay() {
    let harness = Harness::start_limited(ProducerSettings::default(), 64).await;
    harness.put("board/a/x", "one").await.unwrap();
    harness.put("board/a/y", "one").await.unwrap();
    harness.put("board/b/z", "two").await.unwrap();
    let manifest = harness.finalize("a").await.unwrap().seal.unwrap().manifest_digest;
    let blob = harness.store.blob(&manifest).await.unwrap().unwrap();
    assert_eq!(blob.reference_count, 1, "a manifest that is stored is referred to by its package");
    assert_eq!(harness.store.blob(&ContentAddress::of(b"one")).await.unwrap().unwrap().reference_count, 2);
    recounted(&harness).await;
    assert_eq!(harness.tamper("UPDATE blobs SET reference_count = 1 WHERE reference_count = 2").await, 1);
    let found = std::sync::Mutex::new(Vec::new());
    let miscounted = |miscount| found.lock().unwrap().push(miscount);
    assert_eq!(harness.registry.references_recount(&|_| {}, &miscounted).await.unwrap().wrong, 1);
    let found = found.into_inner().unwrap();
    assert_eq!((found[0].recorded, found[0].counted), (Some(1), 2));
    assert_eq!(harness.replay(true).await.unwrap().differences.len(), 1);
    let _ = harness.replay(false).await.unwrap();
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn a_registry_from_before_gets_the_counts_and_uses_that_a_replay_makes() {
    let harness = Harness::start_limited(ProducerSettings::default(), 64).await;
    let large = noise(2 * CHUNK_SIZE_BYTES + 7, 1);
    harness.put("board/a/x", large.clone()).await.unwrap();
    harness.put("board/a/y", large.clone()).await.unwrap();
    harness.put("board/a/z", "small").await.unwrap();
    harness.put("board/b/gone", "small").await.unwrap();
    harness.remove("board/b/gone").await.unwrap();
    let manifest = harness.finalize("a").await.unwrap().seal.unwrap().manifest_digest;
    let manifest_bytes = {
        let found = harness.stat("board/a/.artifact/manifest.cbor").await.unwrap();
        harness.read_found(&found).await.unwrap()
    };
    // A file that is the manifest of a package as well.
    harness.put("board/b/copy", manifest_bytes).await.unwrap();
    let target: FileName = name("board/b/parts");
    let upload = harness.registry.upload_create(&harness.actor, &target, UploadAttributes::default()).await.unwrap();
    let number = PartNumber::new(3).unwrap();
    let part = body(noise(CHUNK_SIZE_BYTES + 1, 2));
    let ingested = harness.registry.part_ingest(&harness.actor, &target, &upload.id, number, part, Default::default());
    ingested.await.unwrap();

    let statement = dialect::SWEEPS.split("UPDATE blobs").nth(1).unwrap().split(';').next().unwrap();
    let counts: &'static str = Box::leak(format!("UPDATE blobs{statement}").into_boxed_str());
    assert!(harness.tamper("UPDATE blobs SET reference_count = 0").await > 0);
    assert!(harness.tamper("DELETE FROM blob_chunks").await > 0);
    assert!(harness.tamper("DELETE FROM part_chunks").await > 0);
    assert!(harness.tamper(counts).await > 0);
    harness.tamper("CREATE TABLE uses_unread (one BIGINT PRIMARY KEY)").await;
    let backend = std::sync::Arc::clone(&harness.backend);
    let harness = harness.restart_without(backend).await;
    assert_eq!(harness.store.blob(&manifest).await.unwrap().unwrap().reference_count, 2);
    recounted(&harness).await;
    harness.finish().await;
}
