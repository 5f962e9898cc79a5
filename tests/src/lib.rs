//! The harness: starts the real program on a folder and ports of its own, speaks to it in plain and in broken HTTP, and
//! closes every test with an audit.
//!
//! Nothing here is shared with the program under test: the signer, the HTTP and the checks are written a second time, so
//! that a mistake has to be made twice to go unseen.
//!
//! Invariant: a test that ends with [`Harness::finish`] has proven that the views equal their replay and that every blob
//! matches its digests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness that cannot go on fails its test on the spot")]

pub mod admin;
pub mod clients;
pub mod clock;
pub mod command;
pub mod golden;
pub mod ground;
pub mod harness;
pub mod linear;
pub mod link;
pub mod postgres;
pub mod proxy;
pub mod request;
pub mod sign;
pub mod store;
pub mod trace;
pub mod wire;

pub use admin::Admin;
pub use harness::Harness;
pub use proxy::{Mode, Proxy};
pub use request::{Refused, Request, S3};
pub use store::Store;
pub use wire::Reply;
