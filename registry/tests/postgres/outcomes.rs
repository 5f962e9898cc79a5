//! A commit whose answer never comes is found out: by looking, not by guessing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use artifactstore_registry::Error;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::log::replay::genesis;
use artifactstore_registry::model::event::{Head, Record};
use artifactstore_registry::model::name::TenantName;
use artifactstore_registry::model::state::State;
use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::{OpenMode, Store};
use artifactstore_tests::postgres::{Cluster, name_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the way to the server does with the next commit.
const PASS: u8 = 0;
/// The question is lost.
const LOSE_COMMIT: u8 = 1;
/// The answer is lost.
const LOSE_ANSWER: u8 = 2;

/// A way to the server that can be cut around a commit.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) port: u16,
    /// Where it leads to.
    pub(crate) server: Arc<AtomicU16>,
    next: Arc<AtomicU8>,
}

impl Way {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Self { port, server: Arc::new(AtomicU16::new(server)), next: Arc::new(AtomicU8::new(PASS)) };
        let (server, next) = (Arc::clone(&way.server), Arc::clone(&way.next));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.load(Ordering::SeqCst), Arc::clone(&next)));
            }
        });
        way
    }
}

async fn carry(client: TcpStream, server: u16, next: Arc<AtomicU8>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from_client.read(&mut buffer).await {
        let asked = &buffer[..read];
        let commits = asked.windows(7).any(|bytes| bytes == b"COMMIT\0");
        let fate = if commits { next.swap(PASS, Ordering::SeqCst) } else { PASS };
        if fate == LOSE_ANSWER {
            answers.abort();
        }
        if read == 0 || fate == LOSE_COMMIT || to_server.write_all(asked).await.is_err() {
            break;
        }
        if fate == LOSE_ANSWER {
            // Long enough for the server to commit, which is what the client is not told.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            break;
        }
    }
    answers.abort();
}

fn record(head: &Head, actor: &str) -> (Record, Head) {
    let mut record = Record {
        sequence: head.sequence + 1,
        occurred_at: Timestamp(1),
        tenant: TenantName::parse("default").unwrap(),
        producer: None,
        package: None,
        actor: actor.to_owned(),
        request_id: "r".to_owned(),
        kind: "v1.test".to_owned(),
        payload: vec![0xa0],
        hash: [0; 32],
    };
    record.hash = record.chained(&head.hash);
    let head = Head { sequence: record.sequence, occurred_at: record.occurred_at, hash: record.hash };
    (record, head)
}

/// Appends one event.
pub(crate) async fn append(store: &PostgresStore, actor: &str) -> artifactstore_registry::Result<Head> {
    let mut batch = store.begin().await?;
    let (record, head) = record(&batch.head(), actor);
    batch.write(&[record], head, &State::default()).await?;
    batch.commit().await?;
    Ok(head)
}

async fn open() -> (PostgresStore, PostgresStore, Way) {
    let cluster = Cluster::shared();
    let way = Way::to(cluster.port()).await;
    let direct = cluster.url(name_of(&cluster.database()));
    let url = direct.replace(&format!(":{}/", cluster.port()), &format!(":{}/", way.port)) + "?sslmode=disable";
    let store = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    (store, PostgresStore::open(&direct, OpenMode::Existing).await.unwrap(), way)
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_acknowledged_once_it_is_seen() {
    let (store, other, way) = open().await;
    append(&store, "before").await.unwrap();
    way.next.store(LOSE_ANSWER, Ordering::SeqCst);
    let head = append(&store, "unheard").await.unwrap();
    assert_eq!(way.next.load(Ordering::SeqCst), PASS, "the answer was lost");
    assert_eq!(other.head().await.unwrap(), head);
    append(&store, "after").await.unwrap();
    let events = other.events(0, 9).await.unwrap();
    let actors: Vec<&str> = events.iter().map(|record| record.actor.as_str()).collect();
    assert_eq!(actors, ["before", "unheard", "after"], "each of them once");
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_commit_that_is_lost_on_the_way_is_known_not_to_have_happened() {
    let (store, other, way) = open().await;
    append(&store, "before").await.unwrap();
    way.next.store(LOSE_COMMIT, Ordering::SeqCst);
    let outcome = append(&store, "unsaid").await;
    assert!(matches!(outcome, Err(Error::BatchUndone)), "{outcome:?}");
    assert_eq!(other.head().await.unwrap().sequence, 1);
    append(&store, "after").await.unwrap();
    let actors: Vec<String> = other.events(0, 9).await.unwrap().into_iter().map(|record| record.actor).collect();
    assert_eq!(actors, ["before", "after"]);
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_commit_is_found_although_another_gateway_went_on_behind_it() {
    let (store, other, way) = open().await;
    way.next.store(LOSE_ANSWER, Ordering::SeqCst);
    let waiting = tokio::spawn(async move {
        // Writes as soon as the first event is there, before the one who wrote it has looked.
        loop {
            if other.head().await.unwrap().sequence > 0 {
                append(&other, "another").await.unwrap();
                return other;
            }
        }
    });
    append(&store, "unheard").await.unwrap();
    let other = waiting.await.unwrap();
    let events = other.events(0, 9).await.unwrap();
    let actors: Vec<&str> = events.iter().map(|record| record.actor.as_str()).collect();
    assert_eq!(actors, ["unheard", "another"]);
    assert_eq!(events[0].hash, record(&genesis(), "unheard").0.hash);
    store.close().await;
    other.close().await;
}
