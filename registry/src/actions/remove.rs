//! Removing names, and single versions. All of it stays in the log, and the bytes until retention lets them go.

use futures::future::join_all;

use super::producer::unexpected;
use super::request::{Removal, RemovalOutcome};
use crate::Registry;
use crate::error::Result;
use crate::model::command::{Command, Removed, Reply};
use crate::model::event::Actor;
use crate::model::name::{FileName, ProducerName};

impl Registry {
    /// Removes a name, or one version of it: what became of it. Where the producer keeps versions, removing a name puts a
    /// delete marker in front of them. What is not there is removed without an event.
    ///
    /// # Errors
    /// When the package is finalized, something keeps the version, the key is reserved, or a condition does not hold.
    pub async fn file_remove(&self, actor: &Actor, producer: &ProducerName, removal: Removal) -> Result<Removed> {
        let Removal { key, version, condition, bypass } = removal;
        let (name, fresh_package) = (FileName { producer: producer.clone(), key }, self.inner.fresh_package());
        let command = match version {
            None => Command::FileRemove { name, condition, bypass, fresh_package },
            Some(version) => Command::VersionRemove { name, version, condition, bypass, fresh_package, dry: false },
        };
        match self.inner.log.record(actor, command).await? {
            Reply::Removed(removed) => Ok(removed),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Does many removals; each has its own outcome, in the order asked for. They share batches of the log.
    ///
    /// # Errors
    /// When there is no such producer; what befalls one is in its own outcome.
    pub async fn files_remove(
        &self,
        actor: &Actor,
        producer: &ProducerName,
        removals: Vec<Removal>,
    ) -> Result<Vec<RemovalOutcome>> {
        self.inner.producer_owned(actor, producer).await?;
        Ok(join_all(removals.into_iter().map(|removal| self.file_remove(actor, producer, removal))).await)
    }
}
