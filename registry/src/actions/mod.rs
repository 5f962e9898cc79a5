//! The use cases, a file each: every one is an `impl` of [`crate::Registry`], and no more than one call from floor 2.

pub mod collect;
mod copy;
pub mod eligibility;
pub mod erase;
mod finalize;
mod ingest;
mod key;
pub mod lease;
pub mod lifecycle;
mod list;
mod producer;
mod read;
mod recount;
pub mod relocate;
mod remove;
pub mod request;
mod retell;
pub mod retention;
pub mod scrub;
mod upload;
mod verify;
mod versions;

pub(crate) use ingest::PlaneVault;
