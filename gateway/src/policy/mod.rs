//! Bucket policies: what a bucket's owner allows others to do in it, and denies anybody, by the language of AWS.
//!
//! ```text
//! document ── a policy as it is read, and what it says to a request; reach: whether a statement can be about anything
//!   condition: what else has to be so; action: the actions that an operation asks for; pattern: `*` and `?`
//! ring ── the policies of all buckets, as they were a moment ago; asked by the door and by the operations
//! ```
//!
//! Invariant: a policy is carried out as it stands. What would not be is refused when it is set: whoever writes that
//! something is denied believes it.

mod action;
mod condition;
mod document;
mod pattern;
mod ring;

pub(crate) use condition::Facts;
pub(crate) use document::{Policy, Verdict};
pub(crate) use ring::{Asking, Policies};

use artifactstore_registry::model::name::TenantName;

use crate::error::Failure;

/// Who asks: a key of a tenant; nobody in particular, when there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Principal<'a>(pub(crate) Option<(&'a TenantName, &'a str)>);

fn malformed(message: impl Into<String>) -> Failure {
    Failure::request(400, "MalformedPolicy", message)
}

fn not_carried_out(what: impl std::fmt::Display) -> Failure {
    let message = format!("A policy with {what} is not carried out here, and therefore not kept.");
    Failure::request(501, "NotImplemented", message)
}
