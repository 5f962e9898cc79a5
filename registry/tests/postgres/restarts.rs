//! The server crashes under load and comes back: what was acknowledged is there once, and nobody has to be restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_tests::postgres::Cluster;
use tokio::task::JoinSet;

use crate::harness::{actor, producer, quiet, upload};
use crate::sharing::{chained, gateway};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_under_load_loses_and_doubles_nothing() {
    // What it commits is on disk: this one is about crashes.
    let cluster = Arc::new(Cluster::start(&["fsync=on", "synchronous_commit=on"]));
    let url = cluster.database();
    let disk = Arc::new(MemoryBackend::new());
    let gateways = [gateway(1, &url, &disk).await, gateway(2, &url, &disk).await];
    let owner = actor("default");
    gateways[0].producer_create(&owner, &producer("board"), ProducerSettings::default()).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..8_usize {
        let (gateway, over) = (gateways[writer % 2].clone(), Arc::clone(&over));
        writers.spawn(async move {
            let owner = actor("default");
            let (mut told, mut failed) = (Vec::new(), 0_usize);
            for put in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("board/run/{writer}-{put}");
                match gateway.file_ingest(&owner, upload(&key, key.clone())).await {
                    Ok(receipt) => told.push((key, receipt.file.sequence)),
                    Err(error) => {
                        assert!(error.is_unavailable(), "{error:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        failed += 1;
                    }
                }
            }
            (told, failed)
        });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let cluster = Arc::clone(&cluster);
        let crashed = tokio::task::spawn_blocking(move || {
            cluster.crash();
            cluster.resume();
        });
        crashed.await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    over.store(true, Ordering::Relaxed);
    let outcomes = writers.join_all().await;
    let failed: usize = outcomes.iter().map(|(_, failed)| failed).sum();
    let told: BTreeMap<String, u64> = outcomes.into_iter().flat_map(|(told, _)| told).collect();
    assert!(told.len() > 50, "it went on: {} were acknowledged and {failed} failed", told.len());

    let records = chained(&gateways[0]).await;
    let mut recorded = BTreeMap::new();
    for record in records.iter().filter(|record| record.kind == "v1.file.ingested") {
        let fact = artifactstore_registry::model::cbor::to_json(&record.payload).unwrap();
        let key = format!("board/{}", fact["key"].as_str().unwrap());
        assert_eq!(recorded.insert(key.clone(), record.sequence), None, "{key} is recorded once");
    }
    for (key, sequence) in &told {
        assert_eq!(recorded.get(key), Some(sequence), "{key} was acknowledged");
    }
    println!("FIGURE server crashes under load: 3, acknowledged {}, failed {failed}, lost 0, doubled 0", told.len());
    for gateway in &gateways {
        assert_eq!(gateway.replay(true, &quiet()).await.unwrap().differences, []);
        gateway.stop().await;
    }
}
