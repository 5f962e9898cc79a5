//! The keys that requests are signed with: the root's, and those of the registry.
//!
//! Invariant: what was revoked or rotated, through whichever gateway, is not taken any more one second later.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifactstore_registry::Registry;
use artifactstore_registry::model::access::Grants;
use artifactstore_registry::model::name::AccessKeyId;
use s3s::{S3Result, s3_error};
use tokio::time::Instant;

use super::auth::{AccessKey, KeyRing};
use crate::secrets::Sealer;
use crate::telemetry::chain;

/// How long a key is believed to be as it was found.
pub const KEY_BELIEVED: Duration = Duration::from_secs(1);
/// How many keys are remembered at once.
const REMEMBERED_MAX: usize = 10_000;

/// The root's key, and those of a registry.
pub struct RegistryKeys {
    registry: Registry,
    /// Without it, no key but the root's can be taken.
    sealer: Option<Arc<Sealer>>,
    root: (String, AccessKey),
    remembered: Mutex<HashMap<String, (Instant, AccessKey)>>,
}

impl fmt::Debug for RegistryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryKeys").field("root", &self.root.1).finish_non_exhaustive()
    }
}

impl RegistryKeys {
    /// These keys.
    #[must_use]
    pub fn new(registry: Registry, sealer: Option<Arc<Sealer>>, root: (String, AccessKey)) -> Self {
        Self { registry, sealer, root, remembered: Mutex::default() }
    }

    fn recall(&self, id: &str) -> Option<AccessKey> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(id).filter(|(found, _)| found.elapsed() < KEY_BELIEVED).map(|(_, key)| key.clone())
    }

    fn remember(&self, id: &str, asked: Instant, key: &AccessKey) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(id.to_owned(), (asked, key.clone()));
    }
}

#[async_trait::async_trait]
impl KeyRing for RegistryKeys {
    async fn find(&self, access_key_id: &str) -> S3Result<Option<AccessKey>> {
        if access_key_id == self.root.0 {
            return Ok(Some(self.root.1.clone()));
        }
        if let Some(key) = self.recall(access_key_id) {
            return Ok(Some(key));
        }
        let (Some(sealer), Ok(id)) = (&self.sealer, AccessKeyId::parse(access_key_id)) else { return Ok(None) };
        // What is read was so at the earliest when it was asked for.
        let asked = Instant::now();
        let found = self.registry.key_find(&id).await.map_err(|error| {
            tracing::error!(error = chain(&error), "an access key could not be looked for");
            s3_error!(SlowDown, "Please reduce your request rate and try again.")
        })?;
        let Some(row) = found else { return Ok(None) };
        let Some(secret) = sealer.open(&id, &row.sealed) else {
            tracing::error!(access_key = %id, "an access key was sealed with another secrets_key than this gateway's");
            return Ok(None);
        };
        let key = AccessKey::limited(secret.expose(), row.tenant, Arc::new(Grants(row.grants)));
        self.remember(access_key_id, asked, &key);
        Ok(Some(key))
    }
}
