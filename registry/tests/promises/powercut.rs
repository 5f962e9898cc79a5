//! Power cuts under the whole registry: no event names what was not synced, and nobody is told that it did.

use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::actions::request::Collection;
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::spi::IngestHints;
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::backends::testing::powercut::PowerCutBackend;
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::command::Erase;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::PartNumber;
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_registry::{Error, Refusal, Registry};

use crate::collecting::{collect, noise};
use crate::harness::{CHUNK_SIZE_BYTES, Harness, body, name, upload};

/// A registry whose bytes are durable when the test says so.
async fn start() -> (Harness, Arc<PowerCutBackend>) {
    let disk = Arc::new(MemoryBackend::new());
    let power = Arc::new(PowerCutBackend::new(disk.clone()));
    let backend = Arc::clone(&power) as Arc<dyn Backend>;
    (Harness::start_over(disk, backend, ProducerSettings::default(), 1 << 20).await, power)
}

/// Lets everything run that can.
async fn quiet() {
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
}

#[tokio::test]
async fn no_event_is_committed_before_its_bytes_are_synced() {
    let (harness, power) = start().await;
    let before = harness.events().await.len();
    let put = |bytes: Vec<u8>| {
        let (registry, actor): (Registry, Actor) = (harness.registry.clone(), harness.actor.clone());
        tokio::spawn(async move { registry.file_ingest(&actor, upload("board/run/a", bytes)).await })
    };
    let bytes = vec![7; CHUNK_SIZE_BYTES + 9];
    // Two of the same bytes at once: neither may lean on what the other has on its way.
    let (first, second) = (put(bytes.clone()), put(bytes.clone()));
    let mut synced = 0;
    while !(first.is_finished() && second.is_finished()) {
        quiet().await;
        if power.unsynced() > 0 {
            // Each body has two chunks, and so at least two objects.
            assert!(synced >= 2 || harness.events().await.len() == before, "events come when bytes are synced");
            synced += usize::from(power.sync(synced).await.unwrap().is_some());
        }
    }
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert!(first.file.sequence != second.file.sequence && synced >= 2, "{synced}");
    assert_eq!(harness.events().await.iter().filter(|event| event.kind == "v1.file.ingested").count(), 2);

    let before = harness.events().await.len();
    let third = put(vec![8; 5000]);
    power.until_unsynced(1).await;
    quiet().await;
    assert!(!third.is_finished());
    power.cut();
    assert!(third.await.unwrap().is_err(), "what is lost is not acknowledged");
    assert_eq!(harness.events().await.len(), before, "and no event names it");
    harness.restart_without(power).await.finish().await;
}

#[tokio::test]
async fn no_part_is_recorded_before_its_bytes_are_synced() {
    let (harness, power) = start().await;
    let path = name("board/run/parts");
    let begun = harness.registry.upload_create(&harness.actor, &path, UploadAttributes::default()).await.unwrap();
    let before = harness.events().await.len();
    let (registry, actor, upload) = (harness.registry.clone(), harness.actor.clone(), begun.id.clone());
    let part = tokio::spawn(async move {
        let number = PartNumber::new(1).unwrap();
        registry.part_ingest(&actor, &path, &upload, number, body(vec![1; 3000]), IngestHints::default()).await
    });
    power.until_unsynced(1).await;
    quiet().await;
    assert!(!part.is_finished() && harness.events().await.len() == before);
    power.cut();
    assert!(part.await.unwrap().is_err());
    assert!(harness.store.parts(&begun.id, 0, 10).await.unwrap().is_empty());
    harness.restart_without(power).await.finish().await;
}

/// Small files, of which all but the first to come share an object: one of those, and the object.
async fn together(harness: &Harness, power: &Arc<PowerCutBackend>) -> (u64, ObjectKey) {
    let puts: Vec<_> = (0..6)
        .map(|number| {
            let (registry, actor): (Registry, Actor) = (harness.registry.clone(), harness.actor.clone());
            let file = upload(&format!("board/p/{number}"), noise(500, number));
            tokio::spawn(async move { registry.file_ingest(&actor, file).await })
        })
        .collect();
    while !puts.iter().all(tokio::task::JoinHandle::is_finished) {
        quiet().await;
        power.sync(0).await.unwrap();
    }
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let chunks: Vec<ContentAddress> = (0..6).map(|number| ContentAddress::of(&noise(500, number))).collect();
    let places = harness.store.locations(&chunks).await.unwrap();
    let objects: Vec<ObjectKey> = places.into_iter().map(|place| place.unwrap().location.object).collect();
    let shared = |object: &&ObjectKey| objects.iter().filter(|other| other == object).count() > 1;
    let pack = *objects.iter().find(shared).expect("small files that come together share an object");
    (objects.iter().zip(0..).find(|(object, _)| **object == pack).unwrap().1, pack)
}

#[tokio::test]
async fn what_makes_room_for_an_erasure_is_said_to_lie_elsewhere_when_it_is_synced_there() {
    let (harness, power) = start().await;
    let (victim, pack) = together(&harness, &power).await;
    let path = format!("board/p/{victim}");
    let before = harness.events().await.len() as u64;
    let (registry, actor) = (harness.registry.clone(), harness.actor.clone());
    let order = Erase {
        name: name(&path),
        version: None,
        reason: "article 17".to_owned(),
        requested_by: String::new(),
        all_copies: false,
        bypass: false,
    };
    let erasure = tokio::spawn(async move { registry.file_erase(&actor, order, false).await });
    power.until_unsynced(1).await;
    quiet().await;
    let kinds: Vec<String> =
        harness.registry.event_list(before, 9).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["v1.file.erased", "v1.blob.condemned"], "nothing was said to lie elsewhere, or to go");
    power.cut();
    assert!(matches!(erasure.await.unwrap(), Err(Error::Bytes(_))));
    assert!(harness.backend.stat(&pack).await.unwrap().is_some());
    let harness = harness.restart_without(power).await;
    for _ in 0..2 {
        for number in (0..6).filter(|number| *number != victim) {
            assert_eq!(harness.read(&format!("board/p/{number}")).await.unwrap(), noise(500, number));
        }
        assert!(matches!(harness.stat(&path).await, Err(Error::Refused(Refusal::FileErased { .. }))));
        collect(&harness, 86_400).await;
        assert!(harness.backend.stat(&pack).await.unwrap().is_none());
    }
    harness.finish().await;
}

#[tokio::test]
async fn an_object_of_a_sweep_is_said_to_be_gone_when_it_does_not_come_back_with_the_power() {
    let (harness, power) = start().await;
    let objects = [1, 2].map(|seed| ObjectKey(ContentAddress::of(&noise(50_000, seed)).0));
    for (seed, path) in [(1, "board/run/1"), (2, "board/run/2")] {
        let (registry, actor) = (harness.registry.clone(), harness.actor.clone());
        let file = upload(path, noise(50_000, seed));
        let put = tokio::spawn(async move { registry.file_ingest(&actor, file).await });
        power.until_unsynced(1).await;
        power.sync(0).await.unwrap();
        put.await.unwrap().unwrap();
        harness.remove(path).await.unwrap();
    }
    let (registry, actor) = (harness.registry.clone(), harness.actor.clone());
    let how = Collection { grace: Duration::ZERO, dry: false, under_lease: false };
    let collection = tokio::spawn(async move { registry.collect(&actor, &how, &|_, _| {}).await });
    power.until_removed(2).await;
    for object in &objects {
        assert!(power.stat(object).await.unwrap().is_none(), "nobody finds it any more");
    }
    let synced = power.sync_removal().await.unwrap().unwrap();
    quiet().await;
    assert_eq!(harness.kinds().await.last().unwrap(), "v1.sweep.begun", "nobody said that they stay away");
    power.cut();
    assert!(collection.await.unwrap().is_err());
    let back = *objects.iter().find(|object| **object != synced).unwrap();
    assert!(harness.backend.stat(&synced).await.unwrap().is_none());
    assert!(harness.backend.stat(&back).await.unwrap().is_some(), "it is there again");
    let harness = harness.restart_without(power).await;
    let open = harness.store.sweeping().sweeps_open(None, 9).await.unwrap();
    assert_eq!(open.into_iter().map(|row| row.object).collect::<Vec<_>>(), [back]);
    assert_eq!(collect(&harness, 86_400).await.deleted_objects, 1);
    assert_eq!(harness.objects().await, 0);
    harness.finish().await;
}
