//! The promises of the gateway, each tried from outside on the real program. One module per promise; each test is named
//! by what it holds the gateway to, and ends with the audit.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

mod admin;
mod anonymous;
mod balancer;
mod body;
#[path = "../bucket/mod.rs"]
mod bucket;
mod clients;
#[path = "../cluster/mod.rs"]
mod cluster;
mod conditions;
mod copying;
mod crash;
mod crowd;
mod docs;
mod durability;
mod edge;
mod erase;
mod evidence;
mod examples;
mod faults;
mod forms;
mod full;
mod garbage;
mod gateways;
mod golden;
mod ingest;
mod keys;
mod lifecycle;
mod listing;
mod locking;
mod log;
mod manifest;
mod multipart;
mod packages;
mod policy;
mod postgres;
mod reading;
mod refusals;
mod retention;
mod retention_matrix;
mod scrub;
mod sealing;
mod soak;
mod start;
mod storage_tls;
mod structure;
mod tls;

/// The store that the promises of [`bucket`] are tried on.
pub(crate) async fn store() -> artifactstore_tests::Store {
    artifactstore_tests::Store::moto().await
}
