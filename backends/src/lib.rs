//! Floor 0 of artifact-store: bytes at rest.
//!
//! Digests, chunks, objects, and the data plane over a backend. Knows nothing of packages, producers or HTTP.

pub mod backend;
pub mod bucket;
pub mod chunk;
pub mod dataplane;
pub mod digest;
pub mod error;
pub mod failpoint;
mod folder;
pub mod hasher;
pub mod layout;
mod md5;
pub mod memory;
pub mod operator;
pub mod recipe;
pub mod testing;
pub mod transfer;

pub use error::{Error, Result};
