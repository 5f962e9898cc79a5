//! Long pages, whose rows are read where they lie: what the connections of the pool hand over, value by value, to another
//! thread costs several times as much.
//!
//! Invariant: nobody's page is read once nobody waits for it, unless its reading has begun.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::threads::Threads;
use crate::error::{Error, Result};

/// How many pages are read at once.
const AT_ONCE: usize = 4;

type Reading = Box<dyn FnOnce(&Connection) + Send>;

/// Those who read them.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    threads: Arc<Threads<Reading>>,
}

impl Pages {
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        Ok(Self { threads: Arc::new(Threads::start(path, ("pages", AT_ONCE), read_all)?) })
    }

    /// Reads by one of the connections. Whoever goes away before that begins is passed over; later, it is not stopped.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let reading = move |connection: &Connection| {
            if !answer.is_closed() {
                // Whoever went away meanwhile wants no answer. One that panics does so where it was asked for.
                let _ = answer.send(catch_unwind(AssertUnwindSafe(|| read(connection))));
            }
        };
        self.threads.ask(Box::new(reading))?;
        answered.await.map_err(|_| Error::Stopping)?.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Waits for those who read, and closes every connection.
    pub(super) async fn stop(&self) {
        self.threads.stop().await;
    }
}

fn read_all(connection: &Connection, readings: &Receiver<Reading>) {
    for read in readings {
        read(connection);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn whoever_goes_away_before_it_is_read_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let pages = Pages::start(&path).unwrap();
        let mut held = Vec::new();
        let mut all_busy = Vec::new();
        for _ in 0..AT_ONCE {
            let (go_on, going_on) = mpsc::channel::<()>();
            let pages = pages.clone();
            all_busy.push(tokio::spawn(async move { pages.read(move |_| Ok(going_on.recv().is_ok())).await }));
            held.push(go_on);
        }
        // Every question is asked when its future is polled first.
        tokio::task::yield_now().await;
        let (read, was_read) = mpsc::channel::<()>();
        let mut gone = Box::pin(pages.read(move |_| Ok(read.send(()).is_ok())));
        assert!(futures::poll!(&mut gone).is_pending());
        drop(gone);
        held.iter().for_each(|go_on| go_on.send(()).unwrap());
        for busy in all_busy {
            assert!(busy.await.unwrap().unwrap());
        }
        assert!(pages.read(|_| Ok(true)).await.unwrap());
        pages.stop().await;
        assert!(was_read.recv().is_err(), "nobody waited for it");
        assert!(matches!(pages.read(|_| Ok(())).await, Err(Error::Stopping)));
    }
}
