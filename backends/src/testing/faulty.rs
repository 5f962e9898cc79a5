//! A backend that fails when told, and remembers what it was asked.
//!
//! For fault sweeps: fail the first call, then the second, and so on, until a run meets no failure; whatever a run
//! acknowledged must be there.
//!
//! Invariant: a call that fails here never reaches the backend behind.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::backend::{Backend, ObjectStat, Probe, SealedObject};
use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::ObjectKey;
use crate::error::{Error, Result};

/// One call of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `put` of this object.
    Put(ObjectKey),
    /// `read` of this object.
    Read(ObjectKey),
    /// `stat` of this object.
    Stat(ObjectKey),
    /// `list`.
    List,
    /// `delete` of this object.
    Delete(ObjectKey),
    /// `probe`.
    Probe,
}

/// The failure that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} was told to fail")]
pub struct Injected(pub Call);

/// Stands before another backend.
#[derive(Debug)]
pub struct FaultyBackend {
    behind: Arc<dyn Backend>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: Vec<Call>,
    failing: Option<usize>,
    /// Whether the write that fails keeps its object, as one does that was given up and hangs.
    hangs: bool,
    hung: Vec<SealedObject>,
}

impl FaultyBackend {
    /// Passes every call on, until told otherwise.
    #[must_use]
    pub fn new(behind: Arc<dyn Backend>) -> Self {
        Self { behind, seen: Mutex::default() }
    }

    /// Forgets the calls so far, and lets the n-th from now on fail, counted from 1; zero lets all pass.
    pub fn fail_nth(&self, n: usize) {
        *self.seen() = Seen { failing: n.checked_sub(1), ..Seen::default() };
    }

    /// The same, and if that call is a write, it keeps its object until this or [`FaultyBackend::fail_nth`] is called.
    pub fn hang_nth(&self, n: usize) {
        *self.seen() = Seen { failing: n.checked_sub(1), hangs: true, ..Seen::default() };
    }

    /// The calls since the last [`FaultyBackend::fail_nth`].
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.seen().calls.clone()
    }

    /// Whether the call that was to fail has come.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let seen = self.seen();
        seen.failing.is_some_and(|failing| seen.calls.len() > failing)
    }

    fn pass(&self, call: Call) -> Result<()> {
        let mut seen = self.seen();
        seen.calls.push(call);
        if seen.failing == Some(seen.calls.len() - 1) {
            return Err(Error::Unavailable(Box::new(Injected(call))));
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for FaultyBackend {
    fn name(&self) -> &str {
        self.behind.name()
    }

    async fn put(&self, object: SealedObject) -> Result<ObjectKey> {
        if let Err(error) = self.pass(Call::Put(object.key())) {
            let mut seen = self.seen();
            if seen.hangs {
                seen.hung.push(object);
            }
            return Err(error);
        }
        self.behind.put(object).await
    }

    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream> {
        self.pass(Call::Read(*key))?;
        self.behind.read(key, range).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        self.pass(Call::Stat(*key))?;
        self.behind.stat(key).await
    }

    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>> {
        match self.pass(Call::List) {
            Ok(()) => self.behind.list(after),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.pass(Call::Delete(*key))?;
        self.behind.delete(key).await
    }

    async fn probe(&self) -> Result<Probe> {
        self.pass(Call::Probe)?;
        self.behind.probe().await
    }
}
