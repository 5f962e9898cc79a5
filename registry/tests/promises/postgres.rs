//! The store on PostgreSQL keeps the promises of a store, and gives the same views as any other.

use artifactstore_registry::store::postgres::PostgresStore;
use artifactstore_registry::store::{OpenMode, conformance};
use artifactstore_tests::postgres::Cluster;

#[tokio::test]
async fn the_store_on_postgresql_keeps_the_promises_of_a_store() {
    let cluster = Cluster::shared();
    conformance::all(|| async { PostgresStore::open(&cluster.database(), OpenMode::Create).await.unwrap() }).await;
}
