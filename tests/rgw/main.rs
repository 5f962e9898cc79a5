//! The promises that lean on a real Ceph RGW, which `make test-rgw` starts: those of every store, tried on it, and those
//! that only it can break.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

#[path = "../it/body.rs"]
#[allow(dead_code, reason = "the promises of other test programs use the rest")]
mod body;
#[path = "../bucket/mod.rs"]
mod bucket;
mod ceph;
#[path = "../cluster/mod.rs"]
mod cluster;
mod gateways;

use artifactstore_tests::Store;

/// The store that the promises are tried on.
pub(crate) async fn store() -> Store {
    Store::rgw().await
}
