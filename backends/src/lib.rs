//! Floor 0 of artifact-store: bytes at rest.
//!
//! Digests, chunks, objects, and the data plane over a backend. Knows nothing of packages, producers or HTTP.

pub mod dataplane;
pub mod digest;
pub mod error;
pub mod recipe;

pub use error::{Error, Result};
