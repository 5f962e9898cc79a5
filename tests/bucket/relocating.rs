//! Moving a store to the bucket and back while gateways serve it: no write is lost, nothing is unreadable at any moment,
//! and a move that is killed at any step goes on when it is asked for again.

use std::time::Duration;

use artifactstore_registry::backends::failpoint::Point;
use artifactstore_tests::command::{self, failpoints_binary};
use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Harness, Store};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::body;
use crate::bucket::faults::{size_of_seed, upload_until};
use crate::store;

const KIND: &str = "ARTIFACTSTORE_STORAGE";
const KILL: i32 = 9;

/// The settings of a gateway that begins in its folder and has the bucket open, too.
fn both(store: &Store) -> Vec<(String, String)> {
    let mut settings = store.settings();
    settings.retain(|(name, _)| name != KIND);
    settings.push((KIND.to_owned(), "local,s3".to_owned()));
    settings
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (&**name, &**value)).collect()
}

async fn move_to(gateway: &Harness, kind: &str) -> Value {
    let said = gateway.cli(&["storage", "copy", "--to", kind, "--settle-seconds", "1", "--json"]).await.succeeded();
    let answer: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&answer["switched"], &answer["summary"]["damaged"]), (&true.into(), &0.into()), "{answer}");
    answer
}

async fn expect_all(gateways: &[&Harness], seeds: &[u64]) {
    for (at, seed) in seeds.iter().enumerate() {
        let found = gateways[at % gateways.len()].get(&format!("flap/run/{seed}")).await.unwrap();
        assert!(found.body == body::bytes(*seed, size_of_seed(*seed)), "{seed}");
    }
}

/// Uploads on all gateways while something is done; the seeds that were acknowledged, and how often they were refused.
async fn while_uploading<T>(gateways: &[&Harness], first: u64, work: impl Future<Output = T>) -> (T, Vec<u64>, usize) {
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for client in 0..4_u64 {
        let s3 = gateways[client as usize % gateways.len()].s3.clone();
        clients.spawn(upload_until(s3, first + client * 1_000_000, stopped.clone()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let done = work.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.send(true).unwrap();
    let (mut acknowledged, mut refusals) = (Vec::new(), 0);
    for (some, refused) in clients.join_all().await {
        acknowledged.extend(some);
        refusals += refused;
    }
    (done, acknowledged, refusals)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_moves_to_the_bucket_and_back_under_uploads_and_two_gateways_follow_without_a_restart() {
    let store = store().await;
    let objects = tempfile::TempDir::new().unwrap();
    let root = objects.path().join("objects");
    let mut settings = both(&store);
    settings.push(("ARTIFACTSTORE_DATABASE_URL".to_owned(), Cluster::shared().database()));
    settings.push(("ARTIFACTSTORE_STORAGE_LOCAL_ROOT".to_owned(), root.display().to_string()));
    let (one, two) = (Harness::start_with(&borrowed(&settings)).await, Harness::start_with(&borrowed(&settings)).await);
    one.producer("flap").await;
    let gateways = [&one, &two];
    let upload = one.s3.upload_create("flap/run/parts").await.unwrap();
    let pieces = [body::bytes(1, 9 << 20), body::bytes(2, 77_777)];
    let first = one.s3.upload_part("flap/run/parts", &upload, 1, &pieces[0]).await.unwrap();

    let (_, mut seeds, refused) = while_uploading(&gateways, 0, move_to(&one, "s3")).await;
    assert!(seeds.len() > 20, "{} uploads", seeds.len());
    println!("FIGURE {} uploads while a store moved to a bucket, {refused} told to come again", seeds.len());
    // The folder is removed, and nobody misses it; an upload that began before the move is completed behind it.
    let away = objects.path().join("away");
    std::fs::rename(&root, &away).unwrap();
    let second = two.s3.upload_part("flap/run/parts", &upload, 2, &pieces[1]).await.unwrap();
    two.s3.upload_complete("flap/run/parts", &upload, &[(1, first), (2, second)]).await.unwrap();
    assert!(one.get("flap/run/parts").await.unwrap().body == pieces.concat());
    expect_all(&gateways, &seeds).await;
    for gateway in gateways {
        assert_eq!(gateway.admin.get("/health").await.json()["backend"]["name"], "s3");
    }
    let _ = one.cli(&["verify"]).await.succeeded();
    // The verification opened the folder anew; it is empty.
    let folders: Vec<_> = std::fs::read_dir(root.join("blake3")).into_iter().flatten().collect();
    assert!(folders.is_empty(), "nothing was written to the storage that was left: {folders:?}");
    one.cli(&["storage", "copy", "--to", "s3"]).await.failed_with_one_line("nothing to move");
    std::fs::remove_dir_all(&root).ok();

    // And back, on top of what is left of the first time, of which half is lost.
    std::fs::rename(&away, &root).unwrap();
    let half: Vec<_> = std::fs::read_dir(root.join("blake3")).unwrap().map(|entry| entry.unwrap().path()).collect();
    half.iter().step_by(2).for_each(|folder| std::fs::remove_dir_all(folder).unwrap());
    let (answer, more, refused) = while_uploading(&gateways, 10_000_000, move_to(&two, "local")).await;
    seeds.extend(more);
    let summary = &answer["summary"];
    assert!(summary["copied"].as_u64() > Some(0) && summary["present"].as_u64() > Some(0), "{answer}");
    println!("FIGURE {} uploads when it had moved back, {refused} told to come again", seeds.len());
    for path in store.objects().await {
        store.s3.delete(&format!("{}/{path}", store.bucket)).await.unwrap();
    }
    expect_all(&gateways, &seeds).await;
    let _ = two.cli(&["verify"]).await.succeeded();
    let status = one.cli(&["storage", "status"]).await.succeeded();
    assert!(status.starts_with("new bytes are written to local\n") && status.lines().count() == 3, "{status}");
    let replayed = one.cli(&["replay", "--check"]).await.succeeded();
    assert!(replayed.contains("equal"), "{replayed}");
    one.finish().await;
    two.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_at_any_step_serves_everything_and_goes_on() {
    let store = store().await;
    let settings = both(&store);
    let mut gateway = Harness::prepare_in(&std::env::temp_dir(), failpoints_binary(), &borrowed(&settings));
    gateway.resume().await;
    gateway.producer("flap").await;
    let steps = [
        (Point::ObjectSettled, 3),
        (Point::StoreCopied, 1),
        (Point::StoreDirected, 1),
        (Point::StoreFollowed, 1),
        (Point::BatchCommitted, 1),
        (Point::StoreClosed, 1),
        (Point::StoreWhole, 1),
        (Point::StoreMoved, 1),
    ];
    let mut seeds = Vec::new();
    for (round, (step, count)) in (0_u64..).zip(steps) {
        for seed in round * 100..round * 100 + 5 {
            gateway.put(&format!("flap/run/{seed}"), &body::bytes(seed, size_of_seed(seed))).await.unwrap();
            seeds.push(seed);
        }
        let mut copy = gateway.command(&["storage", "copy", "--to", "s3", "--settle-seconds", "0"]);
        copy.env("ARTIFACTSTORE_FAILPOINTS", format!("{}=kill@{count}", step.name()));
        let outcome = command::run(copy).await;
        assert_eq!(outcome.code, None, "{step:?} ends it by signal {KILL}: {outcome:?}");
        if round % 2 == 0 {
            gateway.kill().await;
            gateway.resume().await;
        }
        expect_all(&[&gateway], &seeds).await;
        gateway.put("flap/run/latest", &body::bytes(round + 7, 70_000)).await.unwrap();
        assert!(gateway.get("flap/run/latest").await.unwrap().body == body::bytes(round + 7, 70_000), "{step:?}");
    }
    // The last kill was behind the switch.
    gateway
        .cli(&["storage", "copy", "--to", "s3"])
        .await
        .failed_with_one_line("nothing to move; to another bucket, move to a folder first");
    let kinds: Vec<String> = gateway.kinds_since(0).await.into_iter().filter(|kind| kind.contains("storage")).collect();
    assert_eq!(kinds, ["v1.storage.directed", "v1.storage.closed", "v1.storage.moved"], "each step is taken once");
    std::fs::remove_dir_all(gateway.data().join("objects/blake3")).unwrap();
    expect_all(&[&gateway], &seeds).await;
    let _ = gateway.cli(&["verify"]).await.succeeded();
    gateway.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_damage_is_not_switched_and_settings_that_miss_a_storage_are_refused() {
    let store = store().await;
    let settings = both(&store);
    let mut gateway = Harness::start_with(&borrowed(&settings)).await;
    for seed in 0..3 {
        gateway.put(&format!("flap/run/{seed}"), &body::bytes(seed, 5000)).await.unwrap();
    }
    let victim = gateway.object_files().remove(0);
    let intact = std::fs::read(&victim).unwrap();
    std::fs::write(&victim, vec![0; intact.len()]).unwrap();
    let refused = gateway.cli(&["storage", "copy", "--to", "s3"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("nothing was switched"), "{refused:?}");
    assert!(!gateway.kinds_since(0).await.iter().any(|kind| kind.contains("storage")));
    std::fs::write(&victim, intact).unwrap();
    // Whoever has not told the gateways of the other storage is told to.
    let alone = ["--storage", "local", "storage", "copy", "--to", "s3"];
    gateway.cli(&alone).await.failed_with_one_line("storage = \"local,s3\"");
    move_to(&gateway, "s3").await;
    gateway.stop().await;
    gateway.cli(&["--storage", "local", "verify"]).await.failed_with_one_line("name it in the setting storage");
    // The folder may be forgotten now.
    let _ = gateway.cli(&["--storage", "s3", "verify"]).await.succeeded();
    gateway.resume().await;
    gateway.finish().await;
}
