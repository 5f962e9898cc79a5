//! Access keys: make, rotate, revoke, look at. Whoever may do so is decided above: no S3 request comes here.

use super::producer::unexpected;
use crate::Registry;
use crate::error::{Refusal, Result};
use crate::model::access::{AccessKey, Grant};
use crate::model::command::{Command, Reply};
use crate::model::event::Actor;
use crate::model::name::{AccessKeyId, TenantName};

impl Registry {
    /// Makes a key of a tenant, which is thereby known.
    ///
    /// # Errors
    /// When there is such a key, or its grants cannot be so.
    pub async fn key_create(
        &self,
        actor: &Actor,
        id: &AccessKeyId,
        tenant: &TenantName,
        grants: Vec<Grant>,
        sealed: Vec<u8>,
    ) -> Result<AccessKey> {
        let command = Command::KeyCreate { id: id.clone(), tenant: tenant.clone(), grants, sealed };
        self.key_command(actor, command).await
    }

    /// Gives a key another secret; the one before is not taken any more.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn key_rotate(&self, actor: &Actor, id: &AccessKeyId, sealed: Vec<u8>) -> Result<AccessKey> {
        self.key_command(actor, Command::KeyRotate { id: id.clone(), sealed }).await
    }

    async fn key_command(&self, actor: &Actor, command: Command) -> Result<AccessKey> {
        match self.inner.log.record(actor, command).await? {
            Reply::Key(key) => Ok(*key),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Revokes a key: nothing that is signed with it is taken any more. The log keeps that there was one.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn key_revoke(&self, actor: &Actor, id: &AccessKeyId) -> Result<()> {
        self.inner.log.record(actor, Command::KeyRevoke { id: id.clone() }).await.map(|_| ())
    }

    /// The key, whosever it is; `None` when there is none, or it was revoked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn key_find(&self, id: &AccessKeyId) -> Result<Option<AccessKey>> {
        self.inner.store.access_key(id).await
    }

    /// The key, whosever it is.
    ///
    /// # Errors
    /// When there is none, or it was revoked.
    pub async fn key_stat(&self, id: &AccessKeyId) -> Result<AccessKey> {
        Ok(self.key_find(id).await?.ok_or_else(|| Refusal::KeyMissing(id.clone()))?)
    }

    /// Keys of all tenants behind `after`, by identifier.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn key_list(&self, after: Option<&AccessKeyId>, limit: usize) -> Result<Vec<AccessKey>> {
        self.inner.store.access_keys(after, limit).await
    }
}
