//! The fault run: three gateways under load from many clients, while gateways are killed and put to sleep, the database
//! and the storage crash, a network is cut and the room for bytes ends. Afterwards nothing that was acknowledged is
//! lost, in whatever way it could be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use artifactstore_tests::Harness;
use artifactstore_tests::harness::PATIENCE;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clients::{Client, Kept, PRODUCER, Sealed, Told};
use super::fleet::{Fleet, Site};
use super::registers;
use crate::body;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A gateway is ended with no warning, and started again.
    Killed,
    /// A gateway stands still, and goes on later as if nothing had been.
    Asleep,
    /// The database crashes, and is started again.
    DatabaseCrashed,
    /// The last gateway is cut off.
    NetworkCut,
    #[allow(dead_code, reason = "a folder does not crash")]
    /// The storage crashes, and is started again.
    StorageCrashed,
    /// There is no room for bytes.
    StorageFull,
}

/// How long things go well between two faults.
const CALM: Duration = Duration::from_secs(2);
/// How many clients of each kind there are, besides those of the registers.
const CLIENTS: usize = 3;

/// How long a fault run is to take: as the environment says, or so many seconds.
pub(crate) fn time(seconds: u64) -> Duration {
    let asked = std::env::var_os("ARTIFACTSTORE_FAULT_SECONDS").and_then(|text| text.into_string().ok());
    Duration::from_secs(asked.map_or(seconds, |text| text.parse().expect("ARTIFACTSTORE_FAULT_SECONDS is a number")))
}

/// Runs the load for so long, and makes these faults one after the other, again and again. `storage` does to the storage
/// what only its owner can.
pub(crate) async fn run(site: &Site, time: Duration, faults: &[Fault], storage: impl AsyncFn(Fault)) {
    let mut fleet = Fleet::start(site).await;
    fleet.gateways[0].producer(PRODUCER).await;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    let client = |number| Client::new(number, fleet.doors.clone(), stopped.clone());
    for number in 0..CLIENTS {
        clients.spawn(client(number).files());
        clients.spawn(client(CLIENTS + number).packages());
    }
    clients.spawn(client(2 * CLIENTS).parts());
    let clock = Instant::now();
    let mut sharers = JoinSet::new();
    for number in 0..registers::CLIENTS {
        sharers.spawn(registers::client(number, fleet.doors.clone(), clock, stopped.clone()));
    }

    let mut made: BTreeMap<Fault, usize> = BTreeMap::new();
    for (round, fault) in faults.iter().copied().cycle().enumerate() {
        tokio::time::sleep(CALM).await;
        if clock.elapsed() > time {
            break;
        }
        strike(&mut fleet, fault, round, &storage).await;
        *made.entry(fault).or_default() += 1;
    }
    ready(&fleet.gateways).await;
    let recovered = clock.elapsed();
    tokio::time::sleep(CALM).await;
    stop.send_replace(true);
    let mut told = Told::default();
    clients.join_all().await.into_iter().for_each(|one| told.add(one));
    let (keys, operations, unknown) = registers::judge(sharers.join_all().await);

    let losses = losses(&fleet, &told.files).await;
    for sealed in &told.packages {
        is_whole(&fleet.gateways[2], sealed).await;
    }
    println!(
        "FIGURE fault run of {} s: {} requests acknowledged, {} to come again, {} without an answer; faults {made:?}",
        recovered.as_secs(),
        told.acknowledged,
        told.later,
        told.unknown,
    );
    println!(
        "FIGURE fault run: {} files and {} sealed packages looked for, {} lost",
        told.files.len(),
        told.packages.len(),
        losses.len()
    );
    println!(
        "FIGURE fault run: {operations} operations on {keys} registers are linearizable, {unknown} of them unanswered"
    );
    assert_eq!(losses, Vec::<String>::new());
    assert!(
        told.files.len() > 50 && told.packages.len() > 5 && operations > 100,
        "too little was done to say anything"
    );
    // The log is gapless, or reading it fails.
    let events = fleet.gateways[1].event_count().await;
    println!("FIGURE fault run: {events} events without a gap, chained; the views equal their replay");
    fleet.finish().await;
}

async fn strike(fleet: &mut Fleet, fault: Fault, round: usize, storage: &impl AsyncFn(Fault)) {
    let victim = round % fleet.gateways.len();
    match fault {
        Fault::Killed => {
            fleet.kill(victim).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            fleet.resume(victim).await;
        }
        Fault::Asleep => {
            fleet.gateways[victim].pause();
            tokio::time::sleep(Duration::from_secs(3)).await;
            fleet.gateways[victim].wake();
        }
        Fault::DatabaseCrashed => {
            fleet.database.crash();
            tokio::time::sleep(Duration::from_secs(1)).await;
            fleet.database.resume();
        }
        Fault::NetworkCut => {
            fleet.set_connected(false);
            tokio::time::sleep(Duration::from_secs(4)).await;
            fleet.set_connected(true);
        }
        Fault::StorageCrashed | Fault::StorageFull => storage(fault).await,
    }
}

/// Waits until every gateway says that it is well.
async fn ready(gateways: &[Harness]) {
    let begun = Instant::now();
    for gateway in gateways {
        while gateway.admin.get("/health/ready").await.status != 200 {
            assert!(begun.elapsed() < PATIENCE, "a gateway does not recover; its log ends:\n{}", gateway.log_tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The files that were acknowledged and are not there as they were, each looked for at one gateway or another.
async fn losses(fleet: &Fleet, files: &[Kept]) -> Vec<String> {
    let mut lost = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let bytes = file.bytes();
        match fleet.doors.of(at).get(&file.name).await {
            Ok(found)
                if found.body == bytes && found.header_or_empty("x-artifact-sha256") == body::sha256_hex(&bytes) => {}
            Ok(found) => lost.push(format!("{}: {} other bytes", file.name, found.body.len())),
            Err(refused) => lost.push(format!("{}: {} {}", file.name, refused.status(), refused.code())),
        }
    }
    lost
}

/// A package whose seal was acknowledged is sealed once, with exactly the files that were acknowledged before.
async fn is_whole(gateway: &Harness, sealed: &Sealed) {
    let packages = gateway.admin.packages(PRODUCER, Some(&sealed.name)).await;
    assert_eq!(packages.len(), 1, "{packages:?}");
    let manifest = gateway.get(&format!("{PRODUCER}/{}/.artifact/manifest.json", sealed.name)).await;
    let manifest = manifest.unwrap_or_else(|refused| panic!("{} has no manifest: {refused:?}", sealed.name)).json();
    let named = |file: &serde_json::Value, member: &str| file[member].as_str().unwrap_or_default().to_owned();
    let found: Vec<(String, String)> = manifest["files"]
        .as_array()
        .expect("a list of files")
        .iter()
        .map(|file| (named(file, "relative_path"), named(file, "digest_sha256")))
        .collect();
    let prefix = format!("{PRODUCER}/{}/", sealed.name);
    let expected: Vec<(String, String)> = sealed
        .files
        .iter()
        .map(|file| (file.name.trim_start_matches(&prefix).to_owned(), body::sha256_hex(&file.bytes())))
        .collect();
    assert_eq!(found, expected, "{}", sealed.name);
}
