//! Opening a registry: what is wrong is told apart, and no password is shown.

use artifactstore_registry::Error;
use artifactstore_registry::model::event::Head;
use artifactstore_registry::model::state::State;
use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::{OpenMode, Store};
use artifactstore_tests::postgres::{Cluster, name_of};

/// What opening says, in one line and without secrets.
async fn refusal(url: &str) -> String {
    let refused = PostgresStore::open(url, OpenMode::Create).await.unwrap_err().to_string();
    assert!(!refused.contains('\n') && !refused.contains("hush"), "{refused}");
    refused
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_one_clear_line() {
    let cluster = Cluster::shared();
    let there = cluster.url("postgres");
    let wrong = there.replace("hush-hush", "hush-wrong");
    assert!(refusal(&wrong).await.contains("password authentication failed"), "{}", refusal(&wrong).await);
    let missing = refusal(&cluster.url("nowhere")).await;
    assert!(missing.contains("\"nowhere\" does not exist") && missing.contains("/nowhere:"), "{missing}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let down = refusal(&there.replace(&format!(":{}/", cluster.port()), &format!(":{free}/"))).await;
    assert!(down.to_lowercase().contains("connection refused") && down.contains(&free.to_string()), "{down}");
    assert!(refusal("postgres://u:hush@:bad/x").await.contains("not understood"));
    cluster.sql("postgres", "CREATE DATABASE old_letters ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    assert!(refusal(&cluster.url("old_letters")).await.contains("LATIN1"));
}

/// The number of the newest migration that there is.
fn newest_migration() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/postgres");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.split('_').next().unwrap().parse().unwrap()).max().unwrap()
}

#[tokio::test]
async fn a_registry_that_is_missing_older_or_newer_is_told_apart() {
    let url = Cluster::shared().database();
    let missing = PostgresStore::open(&url, OpenMode::Existing).await;
    assert!(matches!(missing, Err(Error::RegistryMissing { .. })), "{missing:?}");
    let first = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    let newest = newest_migration();
    assert_eq!((first.schema().found, first.schema().now), (None, newest));
    first.close().await;
    let second = PostgresStore::open(&url, OpenMode::Existing).await.unwrap();
    assert_eq!((second.schema().found, second.schema().now), (Some(newest), newest));
    second.close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', true, '', 0)";
    Cluster::shared().sql(&url, newer);
    let newer = PostgresStore::open(&url, OpenMode::Create).await;
    assert!(matches!(newer, Err(Error::SchemaNewer { found: 9999, .. })), "{newer:?}");
    Cluster::shared().sql(&url, "DELETE FROM _sqlx_migrations");
    let older = PostgresStore::open(&url, OpenMode::Existing).await;
    assert!(matches!(older, Err(Error::RegistryMissing { .. } | Error::SchemaOlder)), "{older:?}");
}

#[tokio::test]
async fn many_that_open_a_new_registry_at_once_all_do() {
    let url = Cluster::shared().database();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { PostgresStore::open(&url, OpenMode::Create).await.unwrap().close().await })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap();
    }
    assert_eq!(Cluster::shared().sql(&url, "SELECT count(*) FROM log_head"), "1");
}

#[tokio::test]
async fn a_commit_is_on_disk_whatever_the_server_defaults_to() {
    let url = Cluster::shared().database();
    let name = name_of(&url);
    let store = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    // The database itself notes how a batch is about to be committed.
    let spy = "CREATE TABLE noted (setting text); \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$; \
         CREATE TRIGGER note BEFORE UPDATE ON log_head FOR EACH ROW EXECUTE FUNCTION note()";
    Cluster::shared().sql(&url, spy);
    let commit = async |store: &PostgresStore| {
        let mut batch = store.begin().await.unwrap();
        let head = Head { sequence: batch.head().sequence + 1, ..batch.head() };
        batch.write(&[], head, &State::default()).await.unwrap();
        batch.commit().await.unwrap();
    };
    commit(&store).await;
    let set = |value: &str| {
        Cluster::shared().sql("postgres", &format!("ALTER DATABASE {name} SET synchronous_commit = {value}"));
        Cluster::shared().terminate(&url, "true");
    };
    // Set after it was opened, when new connections are made; and before.
    set("off");
    commit(&store).await;
    store.close().await;
    let store = PostgresStore::open(&url, OpenMode::Create).await.unwrap();
    commit(&store).await;
    // What is stronger stays as it is.
    set("remote_apply");
    commit(&store).await;
    assert_eq!(Cluster::shared().sql(&url, "SELECT string_agg(setting, ' ') FROM noted"), "on on on remote_apply");
    store.close().await;
}
