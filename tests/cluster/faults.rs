//! The fault run: three gateways under load from many clients, while gateways are killed and put to sleep, the database
//! and the storage crash, a network is cut and the room for bytes ends. Afterwards nothing that was acknowledged is
//! lost, in whatever way it could be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use artifactstore_tests::Harness;
use artifactstore_tests::harness::PATIENCE;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clients::{Answer, Client, Kept, PRODUCER, QUIET, QUIET_SECONDS, Sealed, Told, ask};
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
/// How long the last gateway is cut off: longer than a lease runs, so that it finds out what it has lost.
const CUT: Duration = Duration::from_secs(12);
/// How many clients of each kind there are, besides those of the registers.
const CLIENTS: usize = 3;

/// How long a fault run is to take: as the environment says, or so many seconds.
pub(crate) fn time(seconds: u64) -> Duration {
    let asked = std::env::var_os("ARTIFACTSTORE_FAULT_SECONDS").and_then(|text| text.into_string().ok());
    Duration::from_secs(asked.map_or(seconds, |text| text.parse().expect("ARTIFACTSTORE_FAULT_SECONDS is a number")))
}

/// Runs the load for so long, and makes these faults one after the other, each at least once. `storage` does to the
/// storage what only its owner can, and says whether that could be seen.
pub(crate) async fn run(site: &Site, time: Duration, faults: &[Fault], storage: impl AsyncFn(Fault) -> bool) {
    let mut fleet = Fleet::start(site).await;
    fleet.gateways[0].producer(PRODUCER).await;
    fleet.gateways[0].configure(QUIET, json!({ "finalize_after_idle_seconds": QUIET_SECONDS })).await;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    let client = |number| Client::new(number, fleet.doors.clone(), stopped.clone());
    for number in 0..CLIENTS {
        clients.spawn(client(number).files());
        clients.spawn(client(CLIENTS + number).packages());
        clients.spawn(client(2 * CLIENTS + number).quiet_packages());
    }
    clients.spawn(client(3 * CLIENTS).parts());
    let clock = Instant::now();
    let mut sharers = JoinSet::new();
    for number in 0..registers::CLIENTS {
        sharers.spawn(registers::client(number, fleet.doors.clone(), clock, stopped.clone()));
    }

    let mut made: BTreeMap<Fault, usize> = BTreeMap::new();
    for (round, fault) in faults.iter().copied().cycle().enumerate() {
        tokio::time::sleep(CALM).await;
        if round >= faults.len() && clock.elapsed() > time {
            break;
        }
        // Shown when it fails: what had been made by then, and how long that took.
        let begun = clock.elapsed();
        println!("{fault:?} at {:.1} s", begun.as_secs_f64());
        assert!(strike(&mut fleet, fault, round, &storage).await, "{fault:?} was made, and nothing of it was seen");
        println!("{fault:?} was mended in {:.1} s", (clock.elapsed() - begun).as_secs_f64());
        *made.entry(fault).or_default() += 1;
    }
    ready(&fleet.gateways).await;
    let recovered = clock.elapsed();
    tokio::time::sleep(CALM).await;
    stop.send_replace(true);
    let mut told = Told::default();
    clients.join_all().await.into_iter().for_each(|one| told.add(one));
    let registers = registers::joined(sharers.join_all().await, &fleet.doors, clock).await;
    let (operations, unknown) = registers::judge(&registers);

    let losses = losses(&fleet, &told.files).await;
    for sealed in &told.packages {
        is_whole(&fleet.gateways[2], sealed).await;
    }
    let by_itself = told.packages.iter().filter(|sealed| sealed.producer == QUIET).count();
    println!(
        "FIGURE fault run of {} s: {} requests acknowledged, {} to come again, {} without an answer; faults {made:?}",
        recovered.as_secs(),
        told.acknowledged,
        told.later,
        told.unknown,
    );
    println!(
        "FIGURE fault run: {} files and {} sealed packages looked for, {by_itself} of them sealed by themselves, {} lost",
        told.files.len(),
        told.packages.len(),
        losses.len()
    );
    println!(
        "FIGURE fault run: {operations} operations on {} registers are linearizable, {unknown} of them unanswered",
        registers.len()
    );
    assert_eq!(losses, Vec::<String>::new());
    assert!(faults.iter().all(|fault| made.contains_key(fault)), "not every fault was made: {made:?}");
    assert!(
        told.files.len() > 50 && told.packages.len() - by_itself > 5 && by_itself > 5 && operations > 100,
        "too little was done to say anything"
    );
    // The log is gapless, or reading it fails.
    let events = fleet.gateways[1].event_count().await;
    println!("FIGURE fault run: {events} events without a gap, chained; the views equal their replay");
    fleet.finish().await;
}

/// Makes a fault, and mends it; says whether it could be seen from outside.
async fn strike(fleet: &mut Fleet, fault: Fault, round: usize, storage: &impl AsyncFn(Fault) -> bool) -> bool {
    let victim = round % fleet.gateways.len();
    match fault {
        Fault::Killed => {
            fleet.kill(victim).await;
            let seen = TcpStream::connect(fleet.doors.of(victim).address).await.is_err();
            tokio::time::sleep(Duration::from_millis(500)).await;
            fleet.resume(victim).await;
            seen
        }
        Fault::Asleep => is_relieved_while_asleep(fleet, round).await,
        Fault::DatabaseCrashed => {
            fleet.database.crash();
            let seen = TcpStream::connect(("127.0.0.1", fleet.database.port())).await.is_err();
            tokio::time::sleep(Duration::from_secs(1)).await;
            fleet.database.resume();
            seen
        }
        Fault::NetworkCut => {
            let (last, begun) = (fleet.gateways.len() - 1, Instant::now());
            fleet.set_connected(false);
            // A read that needs the database, asked of the gateway itself.
            let (door, name) = (fleet.doors.of(last), format!("{PRODUCER}/registers/0/0"));
            let reading = ask(door.get(&name));
            let answer = tokio::time::timeout(CUT, reading).await;
            tokio::time::sleep(CUT.saturating_sub(begun.elapsed())).await;
            fleet.set_connected(true);
            !matches!(answer, Ok(Answer::Done(_) | Answer::Refused(_)))
        }
        Fault::StorageCrashed | Fault::StorageFull => storage(fault).await,
    }
}

/// Puts the gateway that does what is done once for all to sleep, until another one has taken that over.
async fn is_relieved_while_asleep(fleet: &Fleet, round: usize) -> bool {
    is_sealed_by_itself(fleet, 0, &format!("before-{round}")).await;
    let victim = fleet.leader().expect("somebody sealed it");
    fleet.gateways[victim].pause();
    is_sealed_by_itself(fleet, (victim + 1) % fleet.gateways.len(), &format!("asleep-{round}")).await;
    let leader = fleet.leader();
    fleet.gateways[victim].wake();
    leader.is_some_and(|leader| leader != victim)
}

/// Writes a package through this gateway, and waits until it is sealed.
async fn is_sealed_by_itself(fleet: &Fleet, number: usize, package: &str) {
    let begun = Instant::now();
    let wait = async || {
        // Who fell asleep with the head locked is waited for until the server ends its session, and only then for its
        // lease.
        assert!(begun.elapsed() < 2 * PATIENCE, "{package} is not sealed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let name = format!("{QUIET}/{package}/x");
    while !matches!(ask(fleet.doors.of(number).put(&name, b"x")).await, Answer::Done(_) | Answer::Refused(_)) {
        wait().await;
    }
    while fleet.gateways[number].admin.packages(QUIET, Some(package)).await[0]["state"] != "finalized" {
        wait().await;
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
        match fleet.doors.of(at).get_in_the_end(&file.name).await {
            Ok(found)
                if found.body == bytes && found.header_or_empty("x-artifact-sha256") == body::sha256_hex(&bytes) => {}
            Ok(found) => lost.push(format!("{}: {} other bytes", file.name, found.body.len())),
            Err(refused) => lost.push(format!("{}: {} {}", file.name, refused.status(), refused.code())),
        }
    }
    lost
}

/// A package is sealed once, with all files that were acknowledged before and none that was not sent.
async fn is_whole(gateway: &Harness, sealed: &Sealed) {
    let begun = Instant::now();
    let packages = loop {
        let packages = gateway.admin.packages(sealed.producer, Some(&sealed.name)).await;
        if packages.first().is_some_and(|package| package["state"] == "finalized") {
            break packages;
        }
        // One whose seal was acknowledged is sealed; one that is left alone soon will be.
        assert!(sealed.producer == QUIET && begun.elapsed() < PATIENCE, "{} is not sealed: {packages:?}", sealed.name);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(packages.len(), 1, "{packages:?}");
    let prefix = format!("{}/{}/", sealed.producer, sealed.name);
    let manifest = gateway.s3.get_in_the_end(&format!("{prefix}.artifact/manifest.json")).await;
    let manifest = manifest.unwrap_or_else(|refused| panic!("{} has no manifest: {refused:?}", sealed.name)).json();
    let named = |file: &serde_json::Value, member: &str| file[member].as_str().unwrap_or_default().to_owned();
    let listed = manifest["files"].as_array().expect("a list of files");
    let found: BTreeMap<String, String> =
        listed.iter().map(|file| (named(file, "relative_path"), named(file, "digest_sha256"))).collect();
    assert_eq!(found.len(), listed.len(), "{}: each file once", sealed.name);
    let expected = |files: &[Kept]| -> BTreeMap<String, String> {
        let path = |file: &Kept| file.name.trim_start_matches(&prefix).to_owned();
        files.iter().map(|file| (path(file), body::sha256_hex(&file.bytes()))).collect()
    };
    let (kept, sent) = (expected(&sealed.files), expected(&sealed.sent));
    assert!(kept.iter().all(|(path, digest)| found.get(path) == Some(digest)), "{}: {found:?}", sealed.name);
    assert!(found.iter().all(|(path, digest)| sent.get(path) == Some(digest)), "{}: {found:?}", sealed.name);
}
