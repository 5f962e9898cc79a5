//! Reading everything again: what is found damaged, what it is named by, and what becomes of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use artifactstore_registry::actions::scrub::Scrub;
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::model::cbor;
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_registry::model::scrub::ScrubPass;
use bytes::Bytes;
use futures::future::join_all;

use crate::collecting::{collect, noise, recounted};
use crate::harness::{CHUNK_SIZE_BYTES, Harness, name};

const AT_ONCE: Scrub = Scrub { bytes_per_second: u64::MAX, tell_bytes: u64::MAX, under_lease: false };

async fn scrub(harness: &Harness) -> ScrubPass {
    let pass = harness.registry.scrub(&harness.actor, &AT_ONCE, &|| false).await.unwrap().unwrap();
    assert!(pass.ended_sequence.is_some());
    pass
}

fn object_of(bytes: &[u8]) -> ObjectKey {
    ObjectKey(ContentAddress::of(bytes).0)
}

/// The files that a damaged object is named by, as `key@version`.
async fn named(harness: &Harness, object: &ObjectKey) -> Vec<String> {
    let mut named = Vec::new();
    let mut after = None;
    loop {
        let page = harness.registry.damage_files(object, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.content_address, last.sequence));
        named.extend(page.iter().map(|file| format!("{}@{}", file.name.key, file.sequence)));
    }
    named.sort();
    named
}

async fn kinds(harness: &Harness, since: u64) -> Vec<String> {
    let events = harness.registry.event_list(since, 99).await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

async fn told(harness: &Harness, kind: &str) -> serde_json::Value {
    let events = harness.events().await;
    let event = events.iter().rev().find(|event| event.kind == kind).unwrap();
    cbor::to_json(&event.payload).unwrap()
}

#[tokio::test]
async fn a_flipped_byte_is_found_named_with_every_file_and_healed_by_whoever_sends_the_bytes_again() {
    let harness = Harness::start().await;
    let (shared, own) = (noise(CHUNK_SIZE_BYTES, 1), noise(70_000, 2));
    let (one, two) = ([&*shared, &own].concat(), [&*shared, b"another end"].concat());
    let first = harness.put("board/a/one", one.clone()).await.unwrap().file;
    let second = harness.put("board/b/two", two.clone()).await.unwrap().file;
    let alone = harness.put("board/b/chunk", shared.clone()).await.unwrap().file;
    harness.put("board/b/other", "of no concern").await.unwrap();
    let before = harness.events().await.len() as u64;
    let pass = scrub(&harness).await;
    assert_eq!((pass.tally.objects, pass.tally.damaged), (4, 0));
    assert_eq!(pass.tally.bytes, (CHUNK_SIZE_BYTES + 70_000 + 11 + 13) as u64);
    assert_eq!(kinds(&harness, before).await, ["v1.scrub.begun", "v1.scrub.ended"]);

    let object = object_of(&shared);
    let mut flipped = shared.clone();
    flipped[77] ^= 1;
    harness.backend.damage(&object, Bytes::from(flipped.clone()));
    let pass = scrub(&harness).await;
    assert_eq!(pass.tally.damaged, 1);
    let damaged = told(&harness, "v1.object.damaged").await;
    assert_eq!(damaged["object"], object.to_hex());
    let chunk = &damaged["chunks"][0];
    assert_eq!(chunk["address"], ContentAddress::of(&shared).to_hex(), "what was expected");
    assert_eq!(chunk["found"], ContentAddress::of(&flipped).to_hex(), "and what was found");
    let of = |key: &str, version: u64| format!("{key}@{version}");
    let expected = [of("a/one", first.sequence), of("b/chunk", alone.sequence), of("b/two", second.sequence)];
    assert_eq!(named(&harness, &object).await, expected);
    let report = harness.registry.scrub_report().await.unwrap();
    assert_eq!((report.damaged, report.under_way()), (1, None));
    let known = harness.events().await.len() as u64;
    scrub(&harness).await;
    assert_eq!(kinds(&harness, known).await, ["v1.scrub.begun", "v1.scrub.ended"], "it is told once");

    // A copy moves no byte, and heals nothing; whoever brings the bytes again, does, for all.
    let found = harness.stat("board/a/one").await.unwrap();
    let copied = harness
        .registry
        .file_copy(&harness.actor, &found, &name("board/a/copy"), None, Default::default(), Default::default())
        .await;
    copied.unwrap();
    assert_eq!(named(&harness, &object).await.len(), 4);
    let healing = harness.events().await.len() as u64;
    assert!(harness.put("board/c/two", two.clone()).await.unwrap().deduplicated);
    assert_eq!(kinds(&harness, healing).await, ["v1.package.opened", "v1.chunk.relocated", "v1.file.ingested"]);
    for (path, bytes) in
        [("board/a/one", &one), ("board/a/copy", &one), ("board/b/two", &two), ("board/b/chunk", &shared)]
    {
        assert_eq!(harness.read(path).await.unwrap(), *bytes, "{path}");
    }
    assert_eq!(harness.registry.scrub_report().await.unwrap().damaged, 1, "until it is looked");
    harness.registry.scrub_settle(&harness.actor).await.unwrap();
    assert_eq!(told(&harness, "v1.object.recovered").await["how"], "replaced");
    assert_eq!(harness.registry.scrub_report().await.unwrap().damaged, 0);
    assert_eq!(scrub(&harness).await.tally.damaged, 0);

    // What was left behind is an orphan like any other.
    assert_eq!(collect(&harness, 0).await.swept_orphans, 1);
    assert!(harness.backend.stat(&object).await.unwrap().is_none());
    recounted(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn a_missing_pack_is_named_by_the_files_in_it_and_is_whole_when_it_is_back() {
    let harness = Harness::start().await;
    let names: Vec<String> = (0..6).map(|number| format!("board/p/{number}")).collect();
    let put = names.iter().enumerate().map(|(number, path)| harness.put(path, noise(500, number as u64)));
    let files: Vec<_> = join_all(put).await.into_iter().map(|receipt| receipt.unwrap().file).collect();
    let mut packs = std::collections::BTreeMap::<ObjectKey, Vec<String>>::new();
    for file in &files {
        let place = harness.store.locations(&[file.content_address]).await.unwrap().remove(0).unwrap();
        let named = packs.entry(place.location.object).or_default();
        named.push(format!("{}@{}", file.name.key, file.sequence));
    }
    let (pack, mut expected) = packs.into_iter().max_by_key(|(_, files)| files.len()).unwrap();
    assert!(expected.len() > 1, "small files that come together share an object");
    expected.sort();
    let pieces: Vec<Bytes> = {
        use artifactstore_registry::backends::dataplane::spi::ByteRange;
        use futures::TryStreamExt;
        harness.backend.read(&pack, ByteRange::Full).await.unwrap().try_collect().await.unwrap()
    };
    harness.backend.delete(&pack).await.unwrap();
    assert_eq!(scrub(&harness).await.tally.damaged, 1);
    assert_eq!(named(&harness, &pack).await, expected);
    assert!(told(&harness, "v1.object.damaged").await["finding"].as_str().unwrap().contains("missing"));

    harness.backend.damage(&pack, Bytes::from(pieces.concat()));
    assert_eq!(scrub(&harness).await.tally.damaged, 0);
    let recovered = told(&harness, "v1.object.recovered").await;
    assert_eq!((&recovered["how"], recovered["chunks"].as_array().unwrap().len()), (&"whole".into(), expected.len()));
    assert_eq!(harness.registry.damage_list(None, 9).await.unwrap(), []);
    harness.finish().await;
}

#[tokio::test]
async fn the_chunk_of_a_manifest_names_the_package() {
    let harness = Harness::start_limited(ProducerSettings::default(), 200).await;
    harness.put("board/run/x", "one").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    let object = ObjectKey(package.seal.as_ref().unwrap().manifest_digest.0);
    let whole = harness.registry.package_manifest(&harness.actor, &package.id).await.unwrap();
    harness.backend.damage(&object, Bytes::from(whole.to_ascii_uppercase()));
    scrub(&harness).await;
    let named = harness.registry.damage_manifests(&object, 9).await.unwrap();
    assert_eq!(named.iter().map(|package| package.id.clone()).collect::<Vec<_>>(), [package.id]);
    harness.backend.damage(&object, Bytes::from(whole));
    scrub(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn what_is_swept_while_it_is_damaged_is_damage_no_more() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "one").await.unwrap();
    harness.backend.damage(&object_of(b"one"), Bytes::from_static(b"One"));
    scrub(&harness).await;
    assert_eq!(harness.registry.scrub_report().await.unwrap().damaged, 1);
    harness.remove("board/a/x").await.unwrap();
    assert_eq!(collect(&harness, 0).await.swept_blobs, 1);
    assert_eq!(harness.registry.scrub_report().await.unwrap().damaged, 0);
    assert_eq!(scrub(&harness).await.tally.objects, 0);
    harness.finish().await;
}

#[tokio::test]
async fn a_pass_that_was_stopped_goes_on_where_it_was() {
    let harness = Harness::start().await;
    for number in 0..100_u64 {
        harness.put(&format!("board/a/{number}"), noise(100, number)).await.unwrap();
    }
    let read = AtomicUsize::new(0);
    let stop = || read.fetch_add(1, Ordering::SeqCst) >= 40;
    let stopped = harness.registry.scrub(&harness.actor, &AT_ONCE, &stop).await.unwrap().unwrap();
    assert_eq!((stopped.tally.objects, stopped.ended_sequence), (40, None));
    assert!(stopped.cursor.is_some());
    assert_eq!(harness.registry.scrub_report().await.unwrap().under_way().unwrap(), &stopped);
    assert!(harness.registry.scrub_due(None).await.unwrap(), "it is to be gone on with");
    let asked = harness.registry.scrub_begin(&harness.actor).await.unwrap().unwrap();
    assert_eq!(asked, stopped, "one at a time");
    let ended = scrub(&harness).await;
    assert_eq!((ended.sequence, ended.tally.objects, ended.tally.bytes), (stopped.sequence, 100, 10_000));
    assert_eq!(harness.registry.scrub_totals().objects, 100, "none was read twice");

    let often = Scrub { tell_bytes: 1, ..AT_ONCE };
    let before = harness.events().await.len() as u64;
    harness.registry.scrub(&harness.actor, &often, &|| false).await.unwrap();
    let told = kinds(&harness, before).await;
    assert_eq!(told, ["v1.scrub.begun", "v1.scrub.advanced", "v1.scrub.advanced", "v1.scrub.ended"], "page by page");
    harness.finish().await;
}

#[tokio::test]
async fn a_pass_is_due_so_long_behind_the_last_one_and_reads_no_faster_than_it_may() {
    const DAY: Duration = Duration::from_hours(24);
    let harness = Harness::start().await;
    harness.put("board/a/x", noise(300_000, 1)).await.unwrap();
    let begun = harness.registry.event_list(0, 1).await.unwrap()[0].occurred_at.to_parts().0;
    harness.clock.pass_seconds(begun + 86_399);
    assert!(!harness.registry.scrub_due(Some(DAY)).await.unwrap());
    harness.clock.pass_seconds(begun + 86_400);
    assert!(harness.registry.scrub_due(Some(DAY)).await.unwrap());
    assert!(!harness.registry.scrub_due(None).await.unwrap(), "only when somebody asks");
    let slowly = Scrub { bytes_per_second: 600_000, under_lease: true, ..AT_ONCE };
    let since = tokio::time::Instant::now();
    let pass = harness.registry.scrub(&harness.actor, &slowly, &|| false).await.unwrap().unwrap();
    assert!(since.elapsed() >= Duration::from_millis(490), "{:?}", since.elapsed());
    assert!(!harness.registry.scrub_due(Some(DAY)).await.unwrap());
    harness.clock.pass_seconds(pass.ended_at.unwrap().to_parts().0 + 86_400);
    assert!(harness.registry.scrub_due(Some(DAY)).await.unwrap());
    harness.finish().await;
}
