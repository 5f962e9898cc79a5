//! The data plane: whatever handles file bytes.
//!
//! [`spi`] says what there is to ask; [`inproc`] answers inside this process, one room for each operation.

pub mod backends;
mod budget;
mod buffer;
mod follower;
mod ingest;
pub mod inproc;
mod intake;
mod join;
mod lanes;
mod rewrite;
mod serve;
mod shelf;
pub mod spi;
mod store;
mod sweep;
mod verify;

pub(crate) use lanes::Md5Lanes;
pub(crate) use shelf::compute;

#[cfg(test)]
pub(crate) use buffer::aligned_buffer;

#[cfg(test)]
mod tests;
