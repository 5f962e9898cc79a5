//! What stands before s3s: request ids, limits, signatures, timeouts, and the connections themselves.
//!
//! ```text
//! serve ── connections, their number, header timeout, shutdown      (also used for the admin side)
//!   tls: certificates; writing: a client that reads nothing is cut
//!   service ── request id, early refusals, whole error documents, one log line a request
//!     forwarded: whom a trusted proxy speaks for
//!     inflow ── the body: its idle timeout, its count, what is left of it; form_head: what s3s leaves out of a form;
//!       document: what was declared of the body, when it is one
//!       s3s ── signatures ── auth: keys and tenants; host: buckets in host names
//!         crate::s3 ── the operations
//! ```

pub mod auth;
mod document;
mod doubt;
pub(crate) mod fault;
pub(crate) mod form_head;
pub mod forwarded;
mod host;
mod inflow;
pub mod keys;
mod outflow;
pub(crate) mod permission;
pub(crate) mod request_id;
pub mod serve;
pub mod service;
mod subresource;
pub mod tls;
mod writing;
mod xml;
