//! What the project measures of itself: micro benches (`benches/micro.rs`), the log, the machine's limits, and the wire
//! beside other servers.
//!
//! Nothing of the program depends on this crate. It stands beside the floors and may use all of them; the servers that
//! it measures, this gateway among them, are programs that it starts.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people: rates and shares of counts far below what a float holds exactly"
)]

pub mod folder;
pub mod listing;
pub mod log;
pub mod machine;
pub mod measure;
pub mod progress;
pub mod quiet;
pub mod report;
pub mod sample;
pub mod wire;
