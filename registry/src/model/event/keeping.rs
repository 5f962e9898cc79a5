//! Facts about what the store is kept by: access keys, and the backends that hold its bytes.

use serde::{Deserialize, Serialize};

use crate::model::access::Grant;
use crate::model::name::{AccessKeyId, TenantName};
use crate::model::row::Sequence;

/// An access key was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCreated {
    /// The key.
    pub id: AccessKeyId,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// Its secret, sealed.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
    /// Whose it is.
    pub tenant: TenantName,
}

/// An access key got another secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// The key.
    pub id: AccessKeyId,
    /// Its secret from now on, sealed.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
}

/// An access key was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// The key.
    pub id: AccessKeyId,
}

/// New bytes are written to another backend from now on; what lies in the one before is still read there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageDirected {
    /// The backend that is written to from now on.
    pub to: String,
    /// The backend that was written to.
    pub from: String,
}

/// Nothing new is recorded in a backend that is being left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageClosed {
    /// The backend.
    pub from: String,
    /// The event that directed writes elsewhere.
    pub begun: Sequence,
}

/// Everything that was recorded in one backend, up to its close, is served from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageMoved {
    /// The backend that serves it.
    pub to: String,
    /// The backend that needs to be read no longer.
    pub from: String,
    /// The event that directed writes there.
    pub begun: Sequence,
}
