//! The log: gapless, chained, and told to whoever listens.

use std::time::{Duration, Instant};

use artifactstore_tests::{Harness, clients};
use tokio::task::JoinSet;

use crate::body;

/// Something of every kind of event.
async fn history(gateway: &Harness) {
    gateway.put("history/run-1/a.txt", b"a").await.unwrap();
    gateway.put("history/run-1/a.txt", b"b").await.unwrap();
    gateway.put("history/run-1/c.txt", b"c").await.unwrap();
    gateway.delete("history/run-1/c.txt").await.unwrap();
    let touch = gateway.s3.request("PUT", "history/run-1/a.txt").header("x-amz-copy-source", "history/run-1/a.txt");
    touch.header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-a", "1").send().await.unwrap();
    let upload = gateway.s3.upload_create("history/run-1/d.bin").await.unwrap();
    let etag = gateway.s3.upload_part("history/run-1/d.bin", &upload, 1, b"d").await.unwrap();
    gateway.s3.upload_complete("history/run-1/d.bin", &upload, &[(1, etag)]).await.unwrap();
    let aborted = gateway.s3.upload_create("history/run-1/e.bin").await.unwrap();
    gateway.s3.request("DELETE", "history/run-1/e.bin").query("uploadId", &aborted).send().await.unwrap();
    gateway.configure("history", serde_json::json!({ "package_depth": 1, "finalize_marker": "_SUCCESS" })).await;
    gateway.finalize("history", "run-1").await.unwrap();
    gateway.s3.put("short-lived", b"").await.unwrap();
    gateway.s3.delete("short-lived").await.unwrap();
}

const KINDS: [&str; 16] = [
    "v1.producer.created",
    "v1.package.opened",
    "v1.file.ingested",
    "v1.file.ingested",
    "v1.file.ingested",
    "v1.file.removed",
    "v1.file.described",
    "v1.upload.created",
    "v1.part.ingested",
    "v1.file.ingested",
    "v1.upload.created",
    "v1.upload.aborted",
    "v1.producer.configured",
    "v1.package.finalized",
    "v1.producer.created",
    "v1.producer.deleted",
];

#[tokio::test]
async fn every_mutation_is_an_event_and_reading_is_none() {
    let gateway = Harness::start().await;
    history(&gateway).await;
    assert_eq!(gateway.kinds_since(0).await, KINDS);
    gateway.get("history/run-1/a.txt").await.unwrap();
    gateway.list("history", "").await;
    gateway.admin.packages("history", None).await;
    assert_eq!(gateway.event_count().await, 16);
    let by_command = gateway.cli(&["events", "--json", "--since", "14"]).await.succeeded();
    let lines: Vec<serde_json::Value> = by_command.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [15, 16]);
    assert_eq!(lines[1]["kind"], "v1.producer.deleted");
    gateway.finish().await;
}

#[tokio::test]
async fn an_independent_implementation_follows_the_chain() {
    let gateway = Harness::start().await;
    history(&gateway).await;
    println!("{}", clients::script(&gateway, "chain_check.py", &["16"]).await.succeeded());
    gateway.finish().await;
}

#[tokio::test]
async fn the_log_has_no_gap_however_many_write_at_once() {
    let gateway = Harness::start().await;
    gateway.producer("busy").await;
    let mut tasks = JoinSet::new();
    for writer in 0..16_u64 {
        let s3 = gateway.s3.clone();
        tasks.spawn(async move {
            let mut sequences = Vec::new();
            for number in 0..25_u64 {
                let name = format!("busy/run-{}/{writer}-{number}", number % 3);
                let stored = s3.put(&name, &body::bytes(writer * 100 + number, 300)).await.unwrap();
                sequences.push(stored.header_or_empty("x-artifact-sequence").parse::<u64>().unwrap());
            }
            assert!(sequences.is_sorted(), "one writer sees its own order");
            sequences
        });
    }
    let mut told: Vec<u64> = tasks.join_all().await.concat();
    told.sort_unstable();
    let ingested: Vec<u64> = gateway
        .admin
        .events(0)
        .await
        .iter()
        .filter(|event| event["kind"] == "v1.file.ingested")
        .map(|event| event["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(told, ingested, "each upload was told the number of its own event");
    println!("{}", clients::script(&gateway, "chain_check.py", &[]).await.succeeded());
    gateway.finish().await;
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_something_happens_and_gives_up_when_told() {
    let gateway = Harness::start().await;
    gateway.put("polled/run-1/a", b"a").await.unwrap();
    let last = gateway.event_count().await;
    let begun = Instant::now();
    let empty = gateway.admin.get(&format!("/v1/events?since={last}&limit=10&wait_seconds=1")).await;
    assert_eq!(empty.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(900), "it waited");
    let admin = gateway.admin.clone();
    let begun = Instant::now();
    let poll =
        tokio::spawn(async move { admin.get(&format!("/v1/events?since={last}&limit=10&wait_seconds=30")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    gateway.put("polled/run-1/b", b"b").await.unwrap();
    let reply = poll.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it answered when something happened");
    assert!(reply.text().contains("v1.file.ingested"), "{}", reply.text());
    gateway.finish().await;
}

#[tokio::test]
async fn a_stream_of_events_tells_the_past_and_then_what_happens() {
    let gateway = Harness::start().await;
    gateway.put("streamed/run-1/a", b"a").await.unwrap();
    let mut stream = gateway.admin.stream("/v1/events?since=0", "text/event-stream").await;
    let head = stream.head().await.unwrap();
    assert_eq!(head.status, 200);
    assert!(head.header_or_empty("content-type").starts_with("text/event-stream"));
    let mut ids = async |count: usize| {
        let mut ids = Vec::new();
        while ids.len() < count {
            let line = stream.line().await.unwrap();
            ids.extend(line.strip_prefix("id:").map(|id| id.trim().parse::<u64>().unwrap()));
        }
        ids
    };
    assert_eq!(ids(3).await, [1, 2, 3]);
    gateway.put("streamed/run-1/b", b"b").await.unwrap();
    gateway.put("streamed/run-1/c", b"c").await.unwrap();
    assert_eq!(ids(2).await, [4, 5]);
    gateway.finish().await;
}

#[tokio::test]
async fn a_changed_event_breaks_the_chain_where_it_was_changed() {
    let mut gateway = Harness::start().await;
    history(&gateway).await;
    gateway.stop().await;
    let registry = gateway.data().join("registry.db");
    let kept = std::fs::read(&registry).unwrap();
    let change = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.execute(\"UPDATE events SET actor = 'someone-else' WHERE sequence = 5\"); c.commit(); c.close()";
    let mut python = tokio::process::Command::new(clients::program("python"));
    python.args(["-c", change]).arg(&registry);
    let _ = artifactstore_tests::command::run(python).await.succeeded();
    let outcome = gateway.cli(&["verify", "--json"]).await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("chain") && outcome.stdout.contains('5'), "{outcome:?}");
    std::fs::write(&registry, kept).unwrap();
    gateway.finish().await;
}

#[tokio::test]
async fn a_view_that_was_changed_is_found_by_the_replay_and_mended_by_it() {
    let mut gateway = Harness::start().await;
    history(&gateway).await;
    gateway.stop().await;
    let spoil = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.execute(\"UPDATE packages SET file_count = file_count + 1\"); c.commit(); c.close()";
    let mut python = tokio::process::Command::new(clients::program("python"));
    python.args(["-c", spoil]).arg(gateway.data().join("registry.db"));
    let _ = artifactstore_tests::command::run(python).await.succeeded();
    let outcome = gateway.cli(&["replay", "--check"]).await;
    assert_ne!(outcome.code, Some(0));
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("package"), "it says where: {outcome:?}");
    let _ = gateway.cli(&["replay"]).await.succeeded();
    gateway.finish().await;
}
