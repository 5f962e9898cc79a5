//! Power cuts under the whole registry: no event names what was not synced, and nobody is told that it did.

use std::sync::Arc;

use artifactstore_registry::Registry;
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::spi::IngestHints;
use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::backends::testing::powercut::PowerCutBackend;
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::PartNumber;
use artifactstore_registry::model::row::ProducerSettings;

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
