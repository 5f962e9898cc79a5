//! Long pages, whose rows are read where they lie: what the connections of the pool hand over, value by value, to another
//! thread costs several times as much.

use std::io;
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

    /// Reads by one of the connections. Whoever goes away does not stop it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let reading = move |connection: &Connection| {
            // Whoever went away wants no answer.
            let _ = answer.send(read(connection));
        };
        self.threads.ask(Box::new(reading)).ok_or(Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
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
