//! A backend that fails when told, and remembers what it was asked.
//!
//! For fault sweeps: fail the first call, then the second, and so on, until a run meets no failure; whatever a run
//! acknowledged must be there.
//!
//! Invariant: a call that fails here never reaches the backend behind, unless only its answer was to be lost.

use std::future::pending;
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

/// What becomes of the call that is to fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// It does not reach the backend behind.
    #[default]
    Refused,
    /// Neither does it; and a write keeps its object until something else is asked for, as one that was given up and hangs.
    Hung,
    /// The backend behind does it, and the answer is lost.
    Unanswered,
    /// Neither it nor any later call reaches the backend behind.
    Gone,
    /// Neither it nor any call before it does; and writes among them never come back.
    Stuck,
}

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
    fault: Fault,
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
        self.nth(n, Fault::Refused);
    }

    /// The same, with a fault of this kind.
    pub fn nth(&self, n: usize, fault: Fault) {
        *self.seen() = Seen { failing: n.checked_sub(1), fault, ..Seen::default() };
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

    /// Lets a call through or not; one that is through may be without an answer.
    fn pass(&self, call: Call) -> Result<Way> {
        let mut seen = self.seen();
        seen.calls.push(call);
        let number = seen.calls.len() - 1;
        match seen.fault {
            Fault::Unanswered if seen.failing == Some(number) => Ok(Way { lost: Some(call) }),
            Fault::Gone if seen.failing.is_some_and(|failing| failing <= number) => Err(injected(call)),
            Fault::Stuck if seen.failing.is_some_and(|failing| failing >= number) => Err(injected(call)),
            Fault::Refused | Fault::Hung if seen.failing == Some(number) => Err(injected(call)),
            _ => Ok(Way { lost: None }),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way back of a call.
struct Way {
    lost: Option<Call>,
}

impl Way {
    fn back<T>(self, answer: T) -> Result<T> {
        self.lost.map_or(Ok(answer), |call| Err(injected(call)))
    }
}

fn injected(call: Call) -> Error {
    Error::Unavailable(Box::new(Injected(call)))
}

#[async_trait]
impl Backend for FaultyBackend {
    fn name(&self) -> &str {
        self.behind.name()
    }

    async fn put(&self, object: SealedObject) -> Result<ObjectKey> {
        let way = match self.pass(Call::Put(object.key())) {
            Ok(way) => way,
            Err(error) => {
                let fault = self.seen().fault;
                match fault {
                    Fault::Hung => self.seen().hung.push(object),
                    Fault::Stuck => pending().await,
                    Fault::Refused | Fault::Unanswered | Fault::Gone => (),
                }
                return Err(error);
            }
        };
        way.back(self.behind.put(object).await?)
    }

    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream> {
        let way = self.pass(Call::Read(*key))?;
        way.back(self.behind.read(key, range).await?)
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        let way = self.pass(Call::Stat(*key))?;
        way.back(self.behind.stat(key).await?)
    }

    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>> {
        match self.pass(Call::List).and_then(|way| way.back(())) {
            Ok(()) => self.behind.list(after),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let way = self.pass(Call::Delete(*key))?;
        way.back(self.behind.delete(key).await?)
    }

    async fn probe(&self) -> Result<Probe> {
        let way = self.pass(Call::Probe)?;
        way.back(self.behind.probe().await?)
    }
}
