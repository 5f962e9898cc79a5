//! Several gateways on one PostgreSQL and one shared folder: what only one of them does at a time, and that together
//! they lose nothing, whatever befalls them.

use std::time::{Duration, Instant};

use artifactstore_tests::Harness;
use artifactstore_tests::postgres::Cluster;
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::faults::{self, Fault};
use crate::cluster::{HAS_THE_LEASE, Site, serving};
use crate::full::Tiny;

/// As long as a lease runs, and as long as looking for quiet packages may take on a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(30);

/// How long the fault run takes, by default.
const FAULT_SECONDS: u64 = 40;

fn leases(gateway: &Harness) -> usize {
    gateway.log().matches(HAS_THE_LEASE).count()
}

/// Writes a package that is to be sealed by itself, and says how long that took.
async fn sealed_by_itself(gateway: &Harness, package: &str) -> Duration {
    let begun = Instant::now();
    gateway.s3.put(&format!("quiet/{package}/x"), b"x").await.unwrap();
    loop {
        let packages = gateway.admin.packages("quiet", Some(package)).await;
        if packages[0]["state"] == "finalized" {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < TAKEN_OVER, "nobody seals {package}; the log ends:\n{}", gateway.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_done_once_for_all_gateways_goes_on_when_the_one_that_did_it_is_gone() {
    let url = Cluster::shared().database();
    let objects = TempDir::new().unwrap();
    let root = objects.path().display().to_string();
    let settings = [("ARTIFACTSTORE_DATABASE_URL", url.as_str()), ("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", root.as_str())];
    let mut one = Harness::start_with(&settings).await;
    let mut two = Harness::start_with(&settings).await;
    one.configure("quiet", json!({ "finalize_after_idle_seconds": 1 })).await;
    let at_once = sealed_by_itself(&one, "first").await;
    assert_eq!(leases(&one) + leases(&two), 1, "one of them did it");
    if leases(&two) == 1 {
        std::mem::swap(&mut one, &mut two);
    }

    // The one that has the lease is killed: the other waits until it is over.
    one.kill().await;
    let after_a_kill = sealed_by_itself(&two, "killed").await;
    assert_eq!(leases(&two), 1);
    one.resume().await;

    // It stands still, the first takes over, and it wakes up: it may look, and does nothing any more.
    two.pause();
    let after_a_pause = sealed_by_itself(&one, "paused").await;
    two.wake();
    sealed_by_itself(&one, "woken").await;
    assert_eq!((leases(&one), leases(&two)), (2, 1), "who woke up has no lease");

    // It is stopped as an operator stops it: the lease is given back.
    one.stop().await;
    let after_a_stop = sealed_by_itself(&two, "stopped").await;
    assert_eq!(leases(&two), 2);
    let finalized = two.kinds_since(0).await.iter().filter(|kind| *kind == "v1.package.finalized").count();
    assert_eq!(finalized, 5, "each once");
    println!(
        "FIGURE a package with a quiet period of 1 s was sealed {at_once:.1?} after its write; {after_a_kill:.1?} when the \
         gateway with the lease was killed, {after_a_pause:.1?} when it stood still, {after_a_stop:.1?} when it was stopped"
    );
    two.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_gateway_goes_on_with_what_another_began() {
    let objects = TempDir::new().unwrap();
    let root = objects.path().display().to_string();
    let site = Site { settings: vec![("ARTIFACTSTORE_STORAGE_LOCAL_ROOT".to_owned(), root)], server: None };
    serving::any_gateway_goes_on_with_what_another_began(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_gateways_database_network_and_room_come_and_go() {
    let mut faults = vec![Fault::Killed, Fault::DatabaseCrashed, Fault::Asleep, Fault::NetworkCut];
    let small = Tiny::mount("1g");
    let large = TempDir::new().unwrap();
    if small.is_some() {
        faults.push(Fault::StorageFull);
    }
    let root = small.as_ref().map_or(large.path(), Tiny::path).display().to_string();
    let site = Site { settings: vec![("ARTIFACTSTORE_STORAGE_LOCAL_ROOT".to_owned(), root)], server: None };
    let storage = async |_| {
        let small = small.as_ref().expect("only a folder of its own fills up");
        // Which writes until there is no room.
        let ballast = small.fill();
        tokio::time::sleep(Duration::from_secs(2)).await;
        std::fs::remove_file(ballast).unwrap();
        true
    };
    faults::run(&site, faults::time(FAULT_SECONDS), &faults, storage).await;
}
