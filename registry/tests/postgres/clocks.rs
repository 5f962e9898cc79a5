//! Gateways whose clocks are wrong: the log has one time, and nothing looks quiet that is not.

use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::clock::{Clock, SystemClock, Timestamp};
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_tests::postgres::Cluster;

use crate::harness::{actor, producer, upload};
use crate::sharing::{chained, gateway_by};

/// A clock that is wrong by so many seconds.
#[derive(Debug)]
struct Wrong(i64);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0 * 1_000_000)
    }
}

fn quiet_after(seconds: u64) -> ProducerSettings {
    ProducerSettings { finalize_after_idle_seconds: Some(seconds), ..ProducerSettings::default() }
}

#[tokio::test]
async fn a_gateway_whose_clock_is_wrong_seals_nothing_early_and_stamps_as_the_others_do() {
    let url = Cluster::shared().database();
    let disk = Arc::new(MemoryBackend::new());
    let owner = actor("default");
    let begun = SystemClock.now();
    let mut gateways = Vec::new();
    for (number, seconds) in [(1, -3_600), (2, 0), (3, 3_600)] {
        gateways.push(gateway_by(number, &url, &disk, Arc::new(Wrong(seconds))).await);
    }
    gateways[1].producer_create(&owner, &producer("slow"), quiet_after(300)).await.unwrap();
    for number in 0..gateways.len() {
        gateways[number].file_ingest(&owner, upload(&format!("slow/run-{number}/x"), "x")).await.unwrap();
        for gateway in &gateways {
            assert_eq!(gateway.packages_finalize_idle().await.unwrap(), 0, "nothing is quiet yet");
        }
    }
    // Nor late: the one whose clock is an hour behind seals what is quiet, as soon as it is.
    gateways[1].producer_create(&owner, &producer("soon"), quiet_after(1)).await.unwrap();
    gateways[2].file_ingest(&owner, upload("soon/run/x", "x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(gateways[0].packages_finalize_idle().await.unwrap(), 1);
    let records = chained(&gateways[0]).await;
    let ended = SystemClock.now();
    let margin = 5_000_000;
    for record in &records {
        let stamped = record.occurred_at.0;
        assert!((begun.0 - margin..ended.0 + margin).contains(&stamped), "{} at {stamped}", record.kind);
    }
    for gateway in gateways {
        gateway.stop().await;
    }
}
