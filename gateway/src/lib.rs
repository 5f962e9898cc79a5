//! Floor 2 of artifact-store: words on the wire.
//!
//! S3, the admin REST, the command line, configuration and telemetry. Decides nothing: every answer comes from the
//! registry, and every face of a failure from one table.

pub mod admin;
pub mod cli;
pub mod compose;
pub mod config;
pub mod edge;
pub mod error;
mod policy;
pub mod s3;
pub mod secrets;
pub mod telemetry;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
