//! The log as readers have it: events, replay, health, and sweeping what no event names.

use std::time::Duration;

use artifactstore_backends::dataplane::spi::BackendStatus;
use tokio::sync::watch;

use super::request::{Health, Progress, ReplaySummary};
use crate::Registry;
use crate::error::{Error, Result};
use crate::log::replay::{compare, rebuild, rows};
use crate::model::event::Record;
use crate::model::row::Sequence;

/// How often the log is looked at for events that another process wrote.
const POLL: Duration = Duration::from_millis(500);
/// How long a database that is well may take to say where the log ends.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);
/// How often a rebuilt set of views is brought up to a log that moved on, before it is given up.
const ADOPT_ATTEMPTS: u32 = 8;

/// Waits until another process is heard of; for ever where none can be.
async fn heard(changed: &mut Option<watch::Receiver<u64>>) {
    if let Some(changed) = changed
        && changed.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl Registry {
    /// Events behind `since`, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn event_list(&self, since: Sequence, limit: usize) -> Result<Vec<Record>> {
        self.inner.store.events(since, limit).await
    }

    /// Waits until there is an event behind `since`, or the time is over; says whether there is one. At once when there is
    /// one already.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn event_wait(&self, since: Sequence, patience: Duration) -> Result<bool> {
        let mut committed = self.inner.log.committed();
        let mut changed = self.inner.store.changed();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            committed.borrow_and_update();
            changed.as_mut().map(watch::Receiver::borrow_and_update);
            if self.inner.store.head().await?.sequence > since {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            tokio::select! {
                // A writer that has ended never commits again; the poll goes on.
                Ok(()) = committed.changed() => {}
                () = heard(&mut changed) => {}
                () = tokio::time::sleep(left.min(POLL)) => {}
            }
        }
    }

    /// How the database and the backend are. What is not well is an answer, not an error.
    pub async fn health(&self) -> Health {
        let writer_problem = self.inner.log.problem();
        let head = match tokio::time::timeout(HEALTH_PATIENCE, self.inner.store.head()).await {
            Ok(head) => head,
            Err(_) => Err(Error::DatabaseUnavailable(sqlx::Error::PoolTimedOut)),
        };
        let backend = self.inner.plane.backend_health().await.unwrap_or_else(|error| BackendStatus {
            backend: self.inner.facts.backend.clone(),
            ready: false,
            latency_micros: 0,
            free_bytes: None,
            problem: Some(error.to_string()),
        });
        Health {
            head: head.as_ref().ok().map(|head| head.sequence),
            head_at: head.as_ref().ok().map(|head| head.occurred_at),
            database_problem: head.err().map(|error| error.to_string()).or(writer_problem),
            backend,
        }
    }

    /// Rebuilds every view from the log in an empty schema. With `check`, compares them with the live ones; without, puts
    /// them in their place, all at once, while readers and writers go on.
    ///
    /// # Errors
    /// When an event cannot be read, its chain is broken, or (without `check`) the log moves on faster than it is
    /// replayed.
    pub async fn replay(&self, check: bool, on_progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<ReplaySummary> {
        let scratch = self.inner.store.scratch().await?;
        for _ in 0..ADOPT_ATTEMPTS {
            let mut live = self.inner.store.snapshot().await?;
            let events = rebuild(&mut *live, &*scratch, on_progress).await?;
            let mut rebuilt = scratch.snapshot().await?;
            if check {
                let (rows, differences) = compare(&mut *live, &mut *rebuilt).await?;
                drop(rebuilt);
                scratch.close().await;
                return Ok(ReplaySummary { events, rows, differences });
            }
            // The live rows are not even read: what is damaged there must not keep it from being replaced.
            let rows = rows(&mut *rebuilt).await?;
            drop((live, rebuilt));
            if self.inner.store.adopt(&*scratch).await? {
                scratch.close().await;
                return Ok(ReplaySummary { events, rows, differences: Vec::new() });
            }
        }
        Err(Error::Busy)
    }
}
