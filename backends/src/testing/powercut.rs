//! A backend before a power cut: what was put and not synced can be read, as it can from a page cache, and is lost when
//! the power goes; what was deleted and not synced cannot be read, and is there again.
//!
//! A `put` or a `delete` stands still until the test syncs it, fails it or cuts the power, one object at a time and in any
//! order; so the test decides what is durable at the moment when somebody says that it is.
//!
//! Invariant: the backend behind holds what was synced, and nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, future};
use tokio::sync::{Notify, oneshot};

use crate::backend::{Backend, ObjectStat, Probe, SealedObject};
use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::ObjectKey;
use crate::error::{Error, Result};

/// Why a call failed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum PowerCut {
    /// The power is gone.
    #[error("the power is gone")]
    Gone,
    /// The sync was told to fail.
    #[error("the sync of {0:?} was told to fail")]
    Failed(ObjectKey),
}

/// Stands before the backend that is durable.
#[derive(Debug)]
pub struct PowerCutBackend {
    durable: Arc<dyn Backend>,
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    unsynced: Vec<Unsynced>,
    removed: Vec<Removed>,
    cut: bool,
}

#[derive(Debug)]
struct Unsynced {
    object: SealedObject,
    answer: oneshot::Sender<Result<()>>,
}

/// An object without a name, which the disk does not know yet.
#[derive(Debug)]
struct Removed {
    key: ObjectKey,
    answer: oneshot::Sender<Result<()>>,
}

impl PowerCutBackend {
    /// The power is on, and everything behind is durable.
    #[must_use]
    pub fn new(durable: Arc<dyn Backend>) -> Self {
        Self { durable, state: Mutex::default(), came: Notify::new() }
    }

    /// How many puts wait to be synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// Waits until so many puts wait to be synced.
    pub async fn until_unsynced(&self, count: usize) {
        loop {
            let came = self.came.notified();
            if self.unsynced() >= count {
                return;
            }
            came.await;
        }
    }

    /// Waits until so many deletions wait to be synced.
    pub async fn until_removed(&self, count: usize) {
        loop {
            let came = self.came.notified();
            if self.state().removed.len() >= count {
                return;
            }
            came.await;
        }
    }

    /// Makes the deletion that came first durable, and only then lets it answer. Says of which object; `None` when none waits.
    ///
    /// # Errors
    /// As the backend behind.
    pub async fn sync_removal(&self) -> Result<Option<ObjectKey>> {
        let first = {
            let mut state = self.state();
            if state.removed.is_empty() { None } else { Some(state.removed.remove(0)) }
        };
        let Some(Removed { key, answer }) = first else { return Ok(None) };
        self.durable.delete(&key).await?;
        // Whoever asked may be gone; so is the object.
        let _ = answer.send(Ok(()));
        Ok(Some(key))
    }

    /// Makes the n-th of the waiting objects durable, counted from 0 and from the start again behind the last, and only
    /// then lets its `put` answer. Says which it was; `None` when none waits.
    ///
    /// # Errors
    /// As the backend behind.
    pub async fn sync(&self, n: usize) -> Result<Option<ObjectKey>> {
        let Some(Unsynced { object, answer }) = self.take(n) else { return Ok(None) };
        let key = self.durable.put(object).await?;
        // Whoever asked may be gone; the object is durable all the same.
        let _ = answer.send(Ok(()));
        Ok(Some(key))
    }

    /// Fails the n-th of the waiting objects, which is lost. Says which it was.
    pub fn fail(&self, n: usize) -> Option<ObjectKey> {
        let Unsynced { object, answer } = self.take(n)?;
        let _ = answer.send(Err(Error::Unavailable(Box::new(PowerCut::Failed(object.key())))));
        Some(object.key())
    }

    /// Cuts the power: what is not synced is lost, or there again, and every call from now on fails.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        for Unsynced { answer, .. } in state.unsynced.drain(..) {
            let _ = answer.send(Err(gone()));
        }
        for Removed { answer, .. } in state.removed.drain(..) {
            let _ = answer.send(Err(gone()));
        }
    }

    fn take(&self, n: usize) -> Option<Unsynced> {
        let mut state = self.state();
        let n = n.checked_rem(state.unsynced.len())?;
        Some(state.unsynced.remove(n))
    }

    fn cached(&self, key: &ObjectKey) -> Option<SealedObject> {
        self.state().unsynced.iter().find(|unsynced| unsynced.object.key() == *key).map(|it| it.object.clone())
    }

    fn is_removed(&self, key: &ObjectKey) -> bool {
        self.state().removed.iter().any(|removed| removed.key == *key)
    }

    fn powered(&self) -> Result<()> {
        if self.state().cut { Err(gone()) } else { Ok(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> Error {
    Error::Unavailable(Box::new(PowerCut::Gone))
}

#[async_trait]
impl Backend for PowerCutBackend {
    fn name(&self) -> &str {
        self.durable.name()
    }

    async fn put(&self, object: SealedObject) -> Result<ObjectKey> {
        self.powered()?;
        let key = object.key();
        let (answer, answered) = oneshot::channel();
        self.state().unsynced.push(Unsynced { object, answer });
        self.came.notify_waiters();
        answered.await.map_err(|_| gone())??;
        Ok(key)
    }

    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream> {
        self.powered()?;
        if self.is_removed(key) {
            return Err(Error::ObjectMissing(*key));
        }
        let Some(object) = self.cached(key) else { return self.durable.read(key, range).await };
        let range = range.resolve(object.bytes().len() as u64)?;
        // Within the length of a slice, so within usize.
        let bytes = object.bytes().slice(range.start as usize..range.end as usize);
        Ok(stream::iter([Ok(bytes)]).boxed())
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        self.powered()?;
        if self.is_removed(key) {
            return Ok(None);
        }
        let Some(object) = self.cached(key) else { return self.durable.stat(key).await };
        let modified = self.durable.probe().await?.clock;
        Ok(Some(ObjectStat { key: *key, size_bytes: object.bytes().len() as u64, modified }))
    }

    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>> {
        match self.powered() {
            Ok(()) => {
                let there = |stat: &Result<ObjectStat>| stat.as_ref().map_or(true, |stat| !self.is_removed(&stat.key));
                self.durable.list(after).filter(move |stat| future::ready(there(stat))).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.powered()?;
        let (answer, answered) = oneshot::channel();
        self.state().removed.push(Removed { key: *key, answer });
        self.came.notify_waiters();
        answered.await.map_err(|_| gone())?
    }

    async fn probe(&self) -> Result<Probe> {
        self.powered()?;
        self.durable.probe().await
    }
}
