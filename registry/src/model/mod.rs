//! The model: names, packages, files, events and the state they make. Pure: no IO, no clock.

pub mod access;
pub mod attributes;
pub mod cbor;
pub mod command;
pub mod erasure;
pub mod event;
pub mod glob;
pub mod lifecycle;
pub mod manifest;
pub mod name;
pub mod retention;
pub mod row;
pub mod scrub;
pub mod state;
pub mod storage;
pub mod sweep;
