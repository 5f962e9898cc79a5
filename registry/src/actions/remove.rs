//! Removing names. The versions stay in the log, and their bytes until retention lets them go.

use futures::future::join_all;

use super::producer::unexpected;
use super::request::Removal;
use crate::Registry;
use crate::error::Result;
use crate::model::command::{Command, Reply, WriteCondition};
use crate::model::event::Actor;
use crate::model::name::{FileName, Key, ProducerName};
use crate::model::row::Sequence;

impl Registry {
    /// Removes a name: the event that did it, or `None` when there was no such name.
    ///
    /// # Errors
    /// When the package is finalized, the key reserved, or a condition does not hold.
    pub async fn file_remove(
        &self,
        actor: &Actor,
        name: &FileName,
        condition: WriteCondition,
    ) -> Result<Option<Sequence>> {
        let fresh_package = self.inner.fresh_package();
        let command = Command::FileRemove { name: name.clone(), condition, fresh_package };
        match self.inner.log.record(actor, command).await? {
            Reply::Removed(sequence) => Ok(sequence),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Removes many names; each has its own outcome, in the order asked for. They share batches of the log.
    ///
    /// # Errors
    /// When there is no such producer; what befalls one key is in its own outcome.
    pub async fn files_remove(&self, actor: &Actor, producer: &ProducerName, keys: Vec<Key>) -> Result<Vec<Removal>> {
        self.inner.producer_owned(actor, producer).await?;
        let removals = keys.into_iter().map(|key| async move {
            let name = FileName { producer: producer.clone(), key: key.clone() };
            (key, self.file_remove(actor, &name, WriteCondition::default()).await)
        });
        Ok(join_all(removals).await)
    }
}
