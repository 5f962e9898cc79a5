//! The program is killed in the midst of uploads: whatever it had acknowledged is there, whole, and the log holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use artifactstore_tests::{Harness, S3};
use tokio::task::JoinSet;

use crate::body;

const ROUNDS: u64 = 5;
const WRITERS: u64 = 8;

/// What one writer was told is stored: the name, the seed of its bytes and their number.
type Acknowledged = Vec<(String, u64, usize)>;

/// Uploads small files until the gateway is gone.
async fn write_small(s3: S3, round: u64, writer: u64, over: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let seed = round << 32 | writer << 16 | number;
        let size = usize::try_from(seed * 7919 % 40_000).unwrap();
        let name = format!("crash/run-{}/{round}-{writer}-{number}", writer % 3);
        if s3.put(&name, &body::bytes(seed, size)).await.is_ok() {
            acknowledged.push((name, seed, size));
        } else if over.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

/// Uploads files of two parts until the gateway is gone.
async fn write_parts(s3: S3, round: u64, writer: u64, over: Arc<AtomicBool>) -> Acknowledged {
    const FIRST: usize = 5 << 20;
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let seed = 1 << 60 | round << 32 | writer << 16 | number;
        let size = FIRST + 1000;
        let bytes = body::bytes(seed, size);
        let name = format!("crash/parts/{round}-{writer}-{number}");
        let attempt = async {
            let upload = s3.upload_create(&name).await?;
            let first = s3.upload_part(&name, &upload, 1, &bytes[..FIRST]).await?;
            let second = s3.upload_part(&name, &upload, 2, &bytes[FIRST..]).await?;
            s3.upload_complete(&name, &upload, &[(1, first), (2, second)]).await
        };
        if attempt.await.is_ok() {
            acknowledged.push((name, seed, size));
        } else if over.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_before_a_kill_is_whole_after_it() {
    let mut gateway = Harness::start().await;
    gateway.producer("crash").await;
    let mut all: Acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn(write_small(gateway.s3.clone(), round, writer, over.clone()));
        }
        for writer in 0..2 {
            tasks.spawn(write_parts(gateway.s3.clone(), round, writer, over.clone()));
        }
        tokio::time::sleep(Duration::from_millis(700 + 350 * round)).await;
        over.store(true, Ordering::Relaxed);
        gateway.kill().await;
        let acknowledged = tasks.join_all().await.concat();
        assert!(!acknowledged.is_empty(), "round {round} was killed before anything happened");
        all.extend(acknowledged);
        gateway.audit().await;
        gateway.resume().await;
    }
    println!("{} uploads were acknowledged over {ROUNDS} kills", all.len());
    for (name, seed, size) in &all {
        let found = gateway.get(name).await.unwrap_or_else(|refused| panic!("{name} is lost: {}", refused.code()));
        assert!(found.body == body::bytes(*seed, *size), "{name} is not whole");
    }
    gateway.sweep().await;
    for (name, seed, size) in all.iter().step_by(7) {
        assert!(gateway.get(name).await.unwrap().body == body::bytes(*seed, *size), "{name} did not outlive the sweep");
    }
    gateway.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_is_in_flight() {
    let mut gateway = Harness::start().await;
    gateway.producer("stopped").await;
    let mut tasks = JoinSet::new();
    for number in 0..4_u64 {
        let s3 = gateway.s3.clone();
        tasks.spawn(async move { s3.put(&format!("stopped/run/{number}"), &body::bytes(number, 12 << 20)).await });
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    gateway.terminate();
    let mut stored = Vec::new();
    while let Some(done) = tasks.join_next().await {
        stored.extend(done.unwrap().ok().map(|reply| reply.etag()));
    }
    gateway.stop().await;
    gateway.resume().await;
    let names = gateway.list("stopped", "").await;
    assert_eq!(names.len(), stored.len(), "exactly what was acknowledged is there");
    gateway.finish().await;
}
