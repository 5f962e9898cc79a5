//! A thousand clients on one key: the order of the log is the order that everybody sees.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use artifactstore_tests::{Harness, Reply, S3};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::body;

const WRITERS: u64 = 1000;
/// How often each of them writes.
const TURNS: u64 = 3;
/// What is there before them.
const FIRST: u64 = u64::MAX;
const READERS: usize = 16;
const NAME: &str = "crowd/run/key";

fn sequence(reply: &Reply) -> u64 {
    reply.header_or_empty("x-artifact-sequence").parse().expect("the event's number")
}

/// What is written: its number says all about it.
fn content(writer: u64) -> Vec<u8> {
    let mut bytes = writer.to_be_bytes().to_vec();
    bytes.extend(body::bytes(writer, 500 + usize::try_from(writer % 7).unwrap() * 611));
    bytes
}

/// Reads until the writers are done; gives the versions in the order in which it saw them, each with its writer.
async fn read(s3: S3, over: Arc<AtomicBool>) -> Vec<(u64, u64)> {
    let mut seen: Vec<(u64, u64)> = Vec::new();
    loop {
        let last = over.load(Ordering::SeqCst);
        let reply = s3.get(NAME).await.unwrap();
        let writer = u64::from_be_bytes(reply.body[..8].try_into().unwrap());
        assert!(reply.body == content(writer), "bytes of one writer, and all of them");
        assert_eq!(reply.etag(), body::md5_hex(&reply.body), "the ETag is that of the body beside it");
        assert_eq!(reply.header_or_empty("x-artifact-sha256"), body::sha256_hex(&reply.body));
        let version = sequence(&reply);
        assert!(
            seen.last().is_none_or(|(before, _)| *before <= version),
            "no reader is taken back: {seen:?} {version}"
        );
        seen.push((version, writer));
        if last {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_of_one_key_see_one_order() {
    let gateway = Harness::start().await;
    gateway.put(NAME, &content(FIRST)).await.unwrap();
    let (before, over) = (gateway.event_count().await, Arc::new(AtomicBool::new(false)));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(read(gateway.s3.clone(), Arc::clone(&over)));
    }
    let go = Arc::new(Barrier::new(1000));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (s3, go) = (gateway.s3.clone(), Arc::clone(&go));
        writers.spawn(async move {
            go.wait().await;
            let mut written: Vec<(u64, u64)> = Vec::new();
            for turn in 0..TURNS {
                let number = turn * WRITERS + writer;
                let bytes = content(number);
                let reply = s3.put(NAME, &bytes).await.unwrap();
                assert_eq!(reply.etag(), body::md5_hex(&bytes));
                let version = sequence(&reply);
                assert!(written.last().is_none_or(|(before, _)| *before < version), "a later write is a later version");
                written.push((version, number));
            }
            written
        });
    }
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    while let Some(written) = writers.join_next().await {
        for (version, number) in written.unwrap() {
            assert_eq!(acknowledged.insert(version, number), None, "a version of its own for every write");
        }
    }
    over.store(true, Ordering::SeqCst);

    let events = gateway.admin.events(before as u64).await;
    assert_eq!(events.len() as u64, WRITERS * TURNS, "one event for every write");
    let mut log: HashMap<u64, u64> = HashMap::new();
    let mut supersedes = before as u64;
    for event in &events {
        let version = event["sequence"].as_u64().unwrap();
        let writer = acknowledged[&version];
        assert_eq!(event["payload"]["content_address"], blake3_hex(&content(writer)), "{event}");
        assert_eq!(
            event["payload"]["supersedes"].as_u64(),
            Some(supersedes),
            "each takes the name from the one before"
        );
        supersedes = version;
        log.insert(version, writer);
    }
    let last = sequence(&gateway.get(NAME).await.unwrap());
    assert_eq!(last, supersedes, "the last event has the name");
    let mut versions = HashSet::new();
    while let Some(seen) = readers.join_next().await {
        for (version, writer) in seen.unwrap() {
            assert_eq!(log.get(&version).copied().unwrap_or(FIRST), writer, "a version has the bytes of its event");
            versions.insert(version);
        }
    }
    println!(
        "FIGURE crowd: {WRITERS} clients wrote one key {TURNS} times each, {READERS} readers saw {} of its versions",
        versions.len()
    );
    gateway.finish().await;
}

/// As events show byte strings.
fn blake3_hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
