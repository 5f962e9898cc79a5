//! A store that goes away, stalls or comes and goes: clients are told to come again, nothing is acknowledged that is not
//! stored, and the gateway goes on by itself when the store is back.

use std::time::{Duration, Instant};

use artifactstore_tests::proxy::MARKER;
use artifactstore_tests::{Harness, Mode, Proxy, S3};
use tokio::task::JoinSet;

use crate::body;
use crate::bucket::gateway_behind;
use crate::store;

async fn refused_for_now(gateway: &Harness, events: usize) {
    let begun = Instant::now();
    for size in [4096, 300_000, 9 << 20] {
        let refused = gateway.put("away/run/new", &body::bytes(size as u64, size)).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (503, "SlowDown"), "{}", refused.reply.text());
    }
    let refused = gateway.get("away/run/kept").await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (503, "SlowDown"), "{}", refused.reply.text());
    assert!(begun.elapsed() < Duration::from_secs(40), "nobody is held for long: {:?}", begun.elapsed());
    assert_eq!(gateway.event_count().await, events, "what was refused is not in the log");
    assert_eq!(gateway.admin.get("/health/live").await.status, 200);
    assert_eq!(gateway.admin.get("/health/ready").await.status, 503);
    assert_eq!(gateway.list("away", "").await, ["run/kept"], "what needs no bytes goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_or_stands_still_is_a_503_and_all_is_well_once_it_is_back() {
    let store = store().await;
    let proxy = Proxy::before(store.s3.address).await;
    let gateway = gateway_behind(&store, &proxy).await;
    let kept = body::bytes(1, 2 << 20);
    gateway.put("away/run/kept", &kept).await.unwrap();
    let events = gateway.event_count().await;
    for mode in [Mode::Cut, Mode::Stall] {
        proxy.set(mode);
        refused_for_now(&gateway, events).await;
        proxy.set(Mode::Pass);
        assert!(gateway.get("away/run/kept").await.unwrap().body == kept);
        assert_eq!(gateway.admin.get("/health/ready").await.status, 200);
    }
    gateway.put("away/run/new", &kept[1..]).await.unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn an_upload_that_the_way_to_the_store_damages_is_refused_and_the_next_one_is_whole() {
    let store = store().await;
    let proxy = Proxy::before(store.s3.address).await;
    let gateway = gateway_behind(&store, &proxy).await;
    gateway.producer("damage").await;
    let mut bytes = body::bytes(1, 500_000);
    bytes[77_777..77_777 + MARKER.len()].copy_from_slice(MARKER);
    proxy.set(Mode::Damage);
    for length in [500_000, 100_000] {
        let refused = gateway.put("damage/run/file", &bytes[..length]).await.unwrap_err();
        assert_eq!((refused.status(), refused.code()), (503, "SlowDown"), "{}", refused.reply.text());
    }
    assert_eq!(gateway.list("damage", "").await, [""; 0]);
    proxy.set(Mode::Pass);
    gateway.put("damage/run/file", &bytes).await.unwrap();
    assert!(gateway.get("damage/run/file").await.unwrap().body == bytes);
    gateway.finish().await;
}

/// How long a client waits between two uploads.
const PACE: Duration = Duration::from_millis(50);

/// Uploads without end, each under a name of its own, until it is told to stop; the seeds of those that were
/// acknowledged, and how many were not.
pub(crate) async fn upload_until(s3: S3, first: u64, stop: tokio::sync::watch::Receiver<bool>) -> (Vec<u64>, usize) {
    let (mut acknowledged, mut refusals) = (Vec::new(), 0);
    for seed in first.. {
        if *stop.borrow() {
            break;
        }
        match s3.put(&format!("flap/run/{seed}"), &body::bytes(seed, size_of_seed(seed))).await {
            Ok(_) => acknowledged.push(seed),
            Err(refused) => {
                assert_eq!((refused.status(), refused.code()), (503, "SlowDown"), "{}", refused.reply.text());
                refusals += 1;
            }
        }
        // What is read back one by one at the end must not be as much as a quiet machine can take.
        tokio::time::sleep(PACE).await;
    }
    (acknowledged, refusals)
}

/// Small ones, and now and then one of several chunks.
pub(crate) fn size_of_seed(seed: u64) -> usize {
    if seed % 20 == 7 { 9 << 20 } else { 100 + (seed as usize * 37) % 20_000 }
}

/// Runs uploads while `trouble` makes trouble; then everything that was acknowledged is there, whole.
pub(crate) async fn nothing_acknowledged_is_lost(gateway: Harness, trouble: impl Future<Output = ()>) {
    gateway.producer("flap").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for client in 0..8 {
        clients.spawn(upload_until(gateway.s3.clone(), client * 1_000_000, stopped.clone()));
    }
    trouble.await;
    stop.send(true).unwrap();
    let (mut acknowledged, mut refusals) = (Vec::new(), 0);
    for (some, refused) in clients.join_all().await {
        acknowledged.extend(some);
        refusals += refused;
    }
    assert!(refusals > 0 && acknowledged.len() > 50, "{refusals} refusals, {} acknowledged", acknowledged.len());
    for seed in &acknowledged {
        let found = gateway.s3.get_in_the_end(&format!("flap/run/{seed}")).await.unwrap();
        assert!(found.body == body::bytes(*seed, size_of_seed(*seed)), "{seed}");
    }
    println!(
        "FIGURE {} uploads acknowledged, {refusals} refused, 0 lost while the store came and went",
        acknowledged.len()
    );
    gateway.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_the_store_comes_and_goes() {
    let store = store().await;
    let proxy = Proxy::before(store.s3.address).await;
    let gateway = gateway_behind(&store, &proxy).await;
    nothing_acknowledged_is_lost(gateway, async {
        for round in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            proxy.set(if round % 2 == 0 { Mode::Cut } else { Mode::Stall });
            tokio::time::sleep(Duration::from_secs(5)).await;
            proxy.set(Mode::Pass);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    })
    .await;
}
