//! The gateway on PostgreSQL: everything as on SQLite, several gateways on one registry, and a server that goes away.

use std::time::Duration;

use artifactstore_tests::Harness;
use artifactstore_tests::harness::PATIENCE;
use artifactstore_tests::postgres::{Cluster, name_of};
use serde_json::json;

use crate::body;

const DATABASE: &str = "ARTIFACTSTORE_DATABASE_URL";
const ROOT: &str = "ARTIFACTSTORE_STORAGE_LOCAL_ROOT";

/// Something of every kind, a package that is finalized among it.
async fn history(gateway: &Harness) {
    for key in ["b", "B", "a-b", "a/é", "a/z", "a/Z"] {
        gateway.put(&format!("board/{key}"), key.as_bytes()).await.unwrap();
    }
    gateway.put("board/run-1/report.xml", b"<ok/>").await.unwrap();
    gateway.put("board/run-1/report.xml", b"<better/>").await.unwrap();
    gateway.put("board/run-1/large.bin", &body::bytes(3, 9 << 20)).await.unwrap();
    gateway.delete("board/a/z").await.unwrap();
    let upload = gateway.s3.upload_create("board/run-1/parts.bin").await.unwrap();
    let pieces = [body::bytes(1, 5 << 20), body::bytes(2, 77)];
    let mut parts = Vec::new();
    for (number, piece) in [(2, &pieces[1]), (1, &pieces[0])] {
        parts.push((number, gateway.s3.upload_part("board/run-1/parts.bin", &upload, number, piece).await.unwrap()));
    }
    parts.reverse();
    gateway.s3.upload_complete("board/run-1/parts.bin", &upload, &parts).await.unwrap();
    gateway.finalize("board", "run-1").await.unwrap();
}

async fn expect_history(gateway: &Harness) {
    let keys = ["B", "a-b", "a/Z", "a/é", "b", "run-1/large.bin", "run-1/parts.bin", "run-1/report.xml"];
    assert_eq!(gateway.list("board", "").await, keys, "bytewise, whatever the database's own order is");
    assert_eq!(gateway.get("board/run-1/report.xml").await.unwrap().body, &b"<better/>"[..]);
    assert!(gateway.get("board/run-1/large.bin").await.unwrap().body == body::bytes(3, 9 << 20));
    let parts = [body::bytes(1, 5 << 20), body::bytes(2, 77)].concat();
    assert!(gateway.get("board/run-1/parts.bin").await.unwrap().body == parts);
    assert_eq!(gateway.s3.put("board/run-1/late", b"x").await.unwrap_err().code(), "AccessDenied");
}

#[tokio::test]
async fn a_gateway_on_postgresql_keeps_what_it_acknowledged_through_a_kill() {
    let url = Cluster::shared().database();
    let mut gateway = Harness::start_with(&[(DATABASE, &url)]).await;
    history(&gateway).await;
    expect_history(&gateway).await;
    let events = gateway.admin.events(0).await;
    gateway.kill().await;
    gateway.resume().await;
    expect_history(&gateway).await;
    assert_eq!(gateway.admin.events(0).await, events);
    let sequences: Vec<u64> = events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    assert!(!gateway.data().join("registry.db").exists(), "nothing of the registry is in the folder");
    let replayed = gateway.cli(&["replay"]).await.succeeded();
    assert!(replayed.contains("views are rebuilt"), "{replayed}");
    expect_history(&gateway).await;
    gateway.finish().await;
}

#[tokio::test]
async fn gateways_on_one_registry_are_one_store_to_their_clients() {
    let url = Cluster::shared().database();
    let objects = tempfile::TempDir::new().unwrap();
    let root = objects.path().display().to_string();
    let settings = [(DATABASE, url.as_str()), (ROOT, root.as_str())];
    let one = Harness::start_with(&settings).await;
    let two = Harness::start_with(&settings).await;
    one.put("board/run/a", b"by one").await.unwrap();
    assert_eq!(two.get("board/run/a").await.unwrap().body, &b"by one"[..]);
    two.s3.put("board/run/a", b"by two").await.unwrap();
    assert_eq!(one.get("board/run/a").await.unwrap().body, &b"by two"[..]);

    // Begun on one, parts to both, completed on the other.
    let name = "board/run/parts";
    let upload = one.s3.upload_create(name).await.unwrap();
    let first = two.s3.upload_part(name, &upload, 1, &body::bytes(1, 5 << 20)).await.unwrap();
    let second = one.s3.upload_part(name, &upload, 2, b"end").await.unwrap();
    two.s3.upload_complete(name, &upload, &[(1, first), (2, second)]).await.unwrap();
    assert!(one.get(name).await.unwrap().body == [body::bytes(1, 5 << 20), b"end".to_vec()].concat());

    // A stream at one tells what is done at the other.
    let last = two.event_count().await;
    let mut stream = one.admin.stream(&format!("/v1/events?since={last}"), "text/event-stream").await;
    assert_eq!(stream.head().await.unwrap().status, 200);
    two.finalize("board", "run").await.unwrap();
    let told = async {
        loop {
            let line = stream.line().await.unwrap();
            if let Some(data) = line.strip_prefix("data:") {
                return data.to_owned();
            }
        }
    };
    assert!(told.await.contains("v1.package.finalized"));
    assert_eq!(one.s3.put("board/run/late", b"x").await.unwrap_err().code(), "AccessDenied");
    one.finish().await;
    // One of them collects while the other may be about to name an object.
    let _ = two.cli(&["gc", "--grace", "0"]).await.succeeded();
    assert!(two.get("board/run/a").await.is_ok());
    two.finish().await;
}

#[tokio::test]
async fn a_registry_moves_from_sqlite_to_postgresql_with_its_log_as_it_is() {
    let mut gateway = Harness::start().await;
    history(&gateway).await;
    let events = gateway.admin.events(0).await;
    gateway.stop().await;
    let objects = gateway.data().join("objects").display().to_string();
    let source = format!("sqlite:{}", gateway.data().join("registry.db").display());
    // A server as it is installed: nothing has to be said of it.
    let cluster = Cluster::start(&[]);
    let url = cluster.database();

    let mut moved = Harness::prepare_in(
        &std::env::temp_dir(),
        artifactstore_tests::command::binary(),
        &[(DATABASE, &url), (ROOT, &objects)],
    );
    moved.cli(&["replay", "--check"]).await.failed_with_one_line("no registry");
    let said = moved.cli(&["migrate", "--from", &source]).await.succeeded();
    assert!(said.contains(&format!("copied {} events", events.len())), "{said}");
    let again = moved.cli(&["migrate", "--from", &source, "--json"]).await.succeeded();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&again).unwrap()["copied"], 0);
    let _ = moved.cli(&["replay", "--check"]).await.succeeded();
    moved.resume().await;
    assert_eq!(moved.admin.events(0).await, events, "every event with its hash");
    expect_history(&moved).await;
    moved.s3.put("board/after", b"x").await.unwrap();
    moved.cli(&["migrate", "--from", &source]).await.failed_with_one_line("does not have");
    let already = moved.cli(&["migrate"]).await.succeeded();
    assert!(already.contains("already") && already.contains(name_of(&url)), "{already}");
    moved.finish().await;
    gateway.finish().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_said_to_be_and_the_gateway_goes_on_when_it_is_back() {
    let cluster = Cluster::start(&[]);
    let url = cluster.url(&cluster.database());
    let gateway = Harness::start_with(&[(DATABASE, &url)]).await;
    gateway.put("board/run/a", b"before").await.unwrap();
    assert_eq!(gateway.admin.get("/health/ready").await.status, 200);
    cluster.crash();
    assert_eq!(gateway.admin.get("/health/ready").await.status, 503);
    assert_eq!(gateway.admin.get("/health/live").await.status, 200);
    let health = gateway.admin.get("/health").await;
    assert_eq!((health.status, &health.json()["database"]["ready"]), (503, &json!(false)));
    assert!(!health.text().contains("hush"), "{}", health.text());
    let refused = gateway.get("board/run/a").await.unwrap_err();
    assert_eq!(refused.code(), "SlowDown");
    let refused = gateway.s3.put("board/run/b", b"meanwhile").await.unwrap_err();
    assert_eq!(refused.code(), "SlowDown");
    cluster.resume();
    let mut ready = 503;
    for _ in 0..PATIENCE.as_secs() * 10 {
        ready = gateway.admin.get("/health/ready").await.status;
        if ready == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ready, 200);
    assert_eq!(gateway.get("board/run/a").await.unwrap().body, &b"before"[..]);
    gateway.put("board/run/c", b"after").await.unwrap();
    assert_eq!(gateway.list("board", "").await, ["run/a", "run/c"]);
    assert!(!gateway.log_tail().contains("hush"), "{}", gateway.log_tail());
    gateway.finish().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_one_clear_line() {
    let cluster = Cluster::shared();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (url, words) in [
        (cluster.url("postgres").replace("hush-hush", "hush-wrong"), "password authentication failed"),
        (cluster.url("nowhere"), "\"nowhere\" does not exist"),
        (format!("postgres://someone:hush@127.0.0.1:{free}/x"), "connection refused"),
        ("postgres://someone:hush@:x/y".to_owned(), "not understood"),
    ] {
        let binary = artifactstore_tests::command::binary();
        let gateway = Harness::prepare_in(&std::env::temp_dir(), binary, &[(DATABASE, &url)]);
        for command in [&["serve"][..], &["migrate"], &["replay", "--check"]] {
            let outcome = gateway.cli(command).await;
            assert!(!outcome.stderr.contains("hush"), "{outcome:?}");
            outcome.failed_with_one_line(words);
        }
    }
}
