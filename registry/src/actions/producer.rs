//! Producers: create, configure, delete, look at.

use crate::error::{Error, Refusal, Result};
use crate::model::command::{Command, Reply};
use crate::model::event::Actor;
use crate::model::name::{ProducerName, TenantName};
use crate::model::row::{AnonymousRead, Producer, ProducerSettings};
use crate::store::KeyRange;
use crate::{Inner, Registry};
use futures::future::join_all;

/// How many uploads are given up in one go.
const UPLOADS_AT_ONCE: usize = 256;

impl Inner {
    /// The producer, if it is there and the actor's.
    pub(crate) async fn producer_owned(&self, actor: &Actor, name: &ProducerName) -> Result<Producer> {
        let producer = self.store.producer(name).await?.ok_or_else(|| Refusal::ProducerMissing(name.clone()))?;
        Ok(owned(actor, producer)?)
    }
}

/// The producer, if it is the actor's.
pub(crate) fn owned(actor: &Actor, producer: Producer) -> std::result::Result<Producer, Refusal> {
    if producer.tenant == actor.tenant { Ok(producer) } else { Err(Refusal::ProducerForeign(producer.name)) }
}

/// A command's reply of another kind than the command has: a mistake in this crate, told and not panicked on.
pub(crate) fn unexpected(reply: &Reply) -> Error {
    let reason = format!("the log writer answered {reply:?} to another command");
    Error::RowUnreadable { view: "reply", reason: reason.chars().take(200).collect() }
}

impl Registry {
    /// Creates a producer. Creating one's own again is refused with [`Refusal::ProducerOwned`].
    ///
    /// # Errors
    /// Also when a setting cannot be so, or the name is another tenant's.
    pub async fn producer_create(
        &self,
        actor: &Actor,
        name: &ProducerName,
        settings: ProducerSettings,
    ) -> Result<Producer> {
        let command = Command::ProducerCreate { producer: name.clone(), settings, object_lock: false };
        self.producer_command(actor, command).await
    }

    /// Creates a producer that keeps versions, with S3's Object Lock enabled.
    ///
    /// # Errors
    /// As [`Registry::producer_create`].
    pub async fn producer_create_locked(
        &self,
        actor: &Actor,
        name: &ProducerName,
        settings: ProducerSettings,
    ) -> Result<Producer> {
        let command = Command::ProducerCreate { producer: name.clone(), settings, object_lock: true };
        self.producer_command(actor, command).await
    }

    /// Replaces a producer's settings; the same settings again record nothing.
    ///
    /// # Errors
    /// When there is no such producer, or a setting cannot be so.
    pub async fn producer_configure(
        &self,
        actor: &Actor,
        name: &ProducerName,
        settings: ProducerSettings,
    ) -> Result<Producer> {
        self.producer_command(actor, Command::ProducerConfigure { producer: name.clone(), settings }).await
    }

    pub(crate) async fn producer_command(&self, actor: &Actor, command: Command) -> Result<Producer> {
        match self.inner.log.record(actor, command).await? {
            Reply::Producer(producer) => Ok(*producer),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Deletes a producer that has no names, no open uploads, and no finalized packages but such as were released.
    ///
    /// # Errors
    /// [`Refusal::ProducerNotEmpty`], or when there is no such producer.
    pub async fn producer_delete(&self, actor: &Actor, name: &ProducerName) -> Result<()> {
        self.inner.log.record(actor, Command::ProducerDelete { producer: name.clone() }).await.map(|_| ())
    }

    /// Deletes a producer as S3 deletes a bucket: uploads that are still open do not keep it, and are given up first. Where
    /// anything else keeps it, nothing is given up.
    ///
    /// # Errors
    /// As [`Registry::producer_delete`].
    pub async fn producer_delete_with_uploads(&self, actor: &Actor, name: &ProducerName) -> Result<()> {
        let there = self.inner.producer_owned(actor, name).await?;
        let has_files = there.file_count > 0 || there.history_count > 0;
        let kept = has_files || there.package_count > 0 && self.inner.store.sweeping().still_keeps(name).await?;
        let mut left = if kept { 0 } else { there.upload_count };
        while left > 0 {
            let uploads = self.inner.store.uploads(name, &KeyRange::default(), None, UPLOADS_AT_ONCE).await?;
            if uploads.is_empty() {
                break;
            }
            // One that its client completed or gave up meanwhile is no matter: the deletion itself looks again.
            join_all(uploads.iter().map(|upload| self.upload_abort(actor, &upload.name, &upload.id))).await;
            left = left.saturating_sub(u64::try_from(uploads.len()).unwrap_or(u64::MAX));
        }
        self.producer_delete(actor, name).await
    }

    /// The producer.
    ///
    /// # Errors
    /// When there is none of that name, or it is another tenant's.
    pub async fn producer_stat(&self, actor: &Actor, name: &ProducerName) -> Result<Producer> {
        self.inner.producer_owned(actor, name).await
    }

    /// Whose a producer is and what anyone may read of it, whoever asks; `None` where nobody may read without a key, and
    /// where there is no such producer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn producer_open(&self, name: &ProducerName) -> Result<Option<(TenantName, AnonymousRead)>> {
        let producer = self.inner.store.producer(name).await?;
        let open = producer.map(|producer| (producer.tenant, producer.settings.anonymous_read));
        Ok(open.filter(|(_, read)| !read.is_off()))
    }

    /// Whose a producer is, whoever asks; `None` when there is no such producer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn producer_owner(&self, name: &ProducerName) -> Result<Option<TenantName>> {
        Ok(self.inner.store.producer(name).await?.map(|producer| producer.tenant))
    }

    /// The tenant's producers behind `after`, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn producer_list(
        &self,
        actor: &Actor,
        after: Option<&ProducerName>,
        limit: usize,
    ) -> Result<Vec<Producer>> {
        self.inner.store.producers(Some(&actor.tenant), after, limit).await
    }
}
