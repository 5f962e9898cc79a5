//! An event as the log holds it, and the chain.
//!
//! Invariant: the hash of an event follows from the hash before it and from everything else that the event has.

use serde::Serialize;

use super::{Actor, Event};
use crate::clock::Timestamp;
use crate::model::cbor;
use crate::model::name::{PackageName, ProducerName, TenantName};
use crate::model::row::Sequence;

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The event's number.
    pub sequence: Sequence,
    /// When it was committed, by the registry's clock; never before the event before it.
    pub occurred_at: Timestamp,
    /// The tenant.
    pub tenant: TenantName,
    /// The producer that it is about.
    pub producer: Option<ProducerName>,
    /// The package that it is about, by name.
    pub package: Option<PackageName>,
    /// Who asked.
    pub actor: String,
    /// The request's id.
    pub request_id: String,
    /// The kind.
    pub kind: String,
    /// The payload's canonical CBOR.
    pub payload: Vec<u8>,
    /// The chain up to and with this event: BLAKE3 over the previous hash and this event's canonical bytes.
    pub hash: [u8; 32],
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last event's number; 0 before the first.
    pub sequence: Sequence,
    /// When it was committed.
    pub occurred_at: Timestamp,
    /// The chain up to it.
    pub hash: [u8; 32],
}

/// The hash before the first event.
pub const GENESIS_HASH: [u8; 32] = [0; 32];

#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    pub(super) kind: &'a str,
    pub(super) actor: &'a str,
    pub(super) tenant: &'a str,
    pub(super) package: Option<&'a str>,
    #[serde(with = "serde_bytes")]
    pub(super) payload: &'a [u8],
    pub(super) producer: Option<&'a str>,
    pub(super) sequence: Sequence,
    pub(super) request_id: &'a str,
    pub(super) occurred_at: Timestamp,
}

impl Record {
    /// The event, with its payload, as the log holds it behind that head.
    #[must_use]
    pub fn behind(head: &Head, occurred_at: Timestamp, actor: &Actor, event: &Event, payload: Vec<u8>) -> Self {
        let mut record = Self {
            sequence: head.sequence + 1,
            occurred_at,
            tenant: actor.tenant.clone(),
            producer: event.producer(),
            package: event.package(),
            actor: actor.name.clone(),
            request_id: actor.request_id.clone(),
            kind: event.kind().to_owned(),
            payload,
            hash: GENESIS_HASH,
        };
        record.hash = record.chained(&head.hash);
        record
    }

    /// Where a log ends that ends with this event.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head { sequence: self.sequence, occurred_at: self.occurred_at, hash: self.hash }
    }

    /// The canonical bytes that the chain covers: everything but the hash.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // The payload is most of it.
        cbor::encode_within(
            self.payload.len() + 256,
            &Envelope {
                kind: &self.kind,
                actor: &self.actor,
                tenant: self.tenant.as_str(),
                package: self.package.as_ref().map(PackageName::as_str),
                payload: &self.payload,
                producer: self.producer.as_ref().map(ProducerName::as_str),
                sequence: self.sequence,
                request_id: &self.request_id,
                occurred_at: self.occurred_at,
            },
        )
    }

    /// The hash that this event has behind one with that hash.
    #[must_use]
    pub fn chained(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous).update(&self.canonical());
        *hasher.finalize().as_bytes()
    }
}
