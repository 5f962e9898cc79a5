//! The data plane: whatever handles file bytes.
//!
//! [`spi`] says what there is to ask; [`inproc`] answers inside this process, one room for each operation.

mod budget;
mod follower;
mod ingest;
pub mod inproc;
mod join;
mod serve;
mod shelf;
pub mod spi;
mod sweep;
mod verify;

#[cfg(test)]
mod tests;
