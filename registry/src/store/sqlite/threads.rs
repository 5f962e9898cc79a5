//! Threads that read, each by a connection of its own: whoever asks them waits without a thread, and what they find lies in
//! the memory of few threads rather than of all that the runtime has for whatever may block.
//!
//! Invariant: what was asked before the end is answered, unless answering it panics.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::{Connection, OpenFlags};

use super::{BUSY_TIMEOUT, READER_CACHE, STATEMENTS_KEPT, elsewhere};
use crate::error::{Error, Result};

/// The most questions that wait; who finds no place is told so.
const WAITING_LIMIT: usize = 1024;

/// Some threads that do the same kind of work.
pub(super) struct Threads<Q> {
    running: Mutex<Option<Running<Q>>>,
}

struct Running<Q> {
    questions: Sender<Q>,
    threads: Vec<JoinHandle<()>>,
}

impl<Q> fmt::Debug for Threads<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

impl<Q: Send + 'static> Threads<Q> {
    /// Starts so many. Each does its work until nothing is asked any more; should it panic, it begins anew.
    pub(super) fn start(
        path: &Path,
        (name, count): (&str, usize),
        work: fn(&Connection, &Receiver<Q>),
    ) -> io::Result<Self> {
        let (questions, receiver) = bounded(WAITING_LIMIT);
        let start = |_| {
            let (connection, receiver) = (open(path).map_err(io::Error::other)?, receiver.clone());
            let work = move || while catch_unwind(AssertUnwindSafe(|| work(&connection, &receiver))).is_err() {};
            Builder::new().name(name.to_owned()).spawn(work)
        };
        let threads = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { running: Mutex::new(Some(Running { questions, threads })) })
    }

    /// Asks one of them. [`Error::Stopping`] when they have ended, [`Error::Busy`] when too many wait.
    pub(super) fn ask(&self, question: Q) -> Result<()> {
        let running = self.running();
        let Running { questions, .. } = running.as_ref().ok_or(Error::Stopping)?;
        questions.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Stopping,
        })
    }

    /// Waits until all is answered that was asked, and closes the connections.
    pub(super) async fn stop(&self) {
        let Some(Running { questions, threads }) = self.running().take() else { return };
        drop(questions);
        let ended = elsewhere(move || {
            for thread in threads {
                // None of them panics.
                let _ = thread.join();
            }
        });
        // Should the runtime end first, so does the process.
        let _ = ended.await;
    }

    fn running(&self) -> MutexGuard<'_, Option<Running<Q>>> {
        // Nothing panics while it is held.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "cache_size", READER_CACHE)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn answer(connection: &Connection, questions: &Receiver<(i64, oneshot::Sender<i64>)>) {
        for (question, answer) in questions {
            let found = connection.query_row("SELECT 12 / ?", [question], |row| row.get(0)).unwrap();
            answer.send(found).unwrap();
        }
    }

    fn wait(_: &Connection, questions: &Receiver<std::sync::mpsc::Receiver<()>>) {
        for question in questions {
            // Until its sender is gone.
            let _ = question.recv();
        }
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let threads = Threads::start(&path, ("asked", 1), wait).unwrap();
        let mut held = Vec::new();
        let refused = loop {
            let (go_on, question) = std::sync::mpsc::channel();
            held.push(go_on);
            if let Err(error) = threads.ask(question) {
                break error;
            }
        };
        assert!(matches!(refused, Error::Busy), "{refused}");
        assert!((WAITING_LIMIT..=WAITING_LIMIT + 2).contains(&held.len()), "{}", held.len());
        drop(held);
        threads.stop().await;
    }

    #[tokio::test]
    async fn a_question_whose_answer_panics_is_not_answered_and_the_next_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let threads = Threads::start(&path, ("asked", 2), answer).unwrap();
        let ask = |question| {
            let (answer, answered) = oneshot::channel();
            threads.ask((question, answer)).map(|()| answered)
        };
        for _ in 0..5 {
            // There is no number for it, which the row is asked for.
            assert!(ask(0).unwrap().await.is_err());
            assert_eq!(ask(4).unwrap().await.unwrap(), 3);
        }
        let last = ask(3).unwrap();
        threads.stop().await;
        assert_eq!(last.await.unwrap(), 4, "it was asked before the end");
        assert!(matches!(ask(4), Err(Error::Stopping)));
    }
}
