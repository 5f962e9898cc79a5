//! What every request asks first, gathered: all that waits is asked by the same few statements, by threads of their own
//! that may wait for the disk.
//!
//! A question costs two threads a wake-up each, however many statements answer it; a request's own share of a gathering is
//! a fraction of that. There is no timer: a gathering is what arrived while the ones before were under way, and a lone
//! request waits for nothing.
//!
//! Invariant: an answer is read after its question was asked; nothing is remembered.

use std::io;
use std::path::Path;
use std::sync::Arc;

use artifactstore_backends::digest::ContentAddress;
use crossbeam_channel::Receiver;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::load;
use super::threads::Threads;
use crate::error::Result;
use crate::model::name::FileName;
use crate::model::state::{State, Touched};

/// How many gatherings are under way at once, each on a thread and a connection of its own.
const GATHERERS: usize = 2;
/// The most questions in one gathering.
const GATHERED_LIMIT: usize = 64;
/// The most keys in one gathering, past its last question; what is larger is asked alone, on the pool.
pub(super) const KEYS_LIMIT: usize = 256;

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// Rows by key.
    pub(super) touched: Touched,
    /// A name whose package is wanted too; which that is, its producer's settings say.
    pub(super) packaged: Option<FileName>,
    /// A blob that is wanted with the places of its chunks, if they are no more than [`KEYS_LIMIT`].
    pub(super) located: Option<ContentAddress>,
}

#[derive(Debug)]
struct Message {
    question: Question,
    answer: oneshot::Sender<Arc<State>>,
}

/// The asking end.
#[derive(Debug)]
pub(super) struct Lookups {
    gatherers: Threads<Message>,
}

impl Lookups {
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        Ok(Self { gatherers: Threads::start(path, ("look-ups", GATHERERS), gather)? })
    }

    /// The rows that were asked for. `None` when they could not be had together with what others asked: whoever asked
    /// then asks alone, and is told by that what is wrong.
    pub(super) async fn ask(&self, question: Question) -> Option<Arc<State>> {
        let keys = &question.touched;
        if keys.chunks.len() > KEYS_LIMIT {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.gatherers.ask(Message { question, answer }).ok()?;
        answered.await.ok()
    }

    /// Answers what was asked, and closes the connections.
    pub(super) async fn stop(&self) {
        self.gatherers.stop().await;
    }
}

fn gather(connection: &Connection, questions: &Receiver<Message>) {
    while let Ok(first) = questions.recv() {
        let mut keys = first.question.touched.chunks.len();
        let mut gathered = vec![first];
        while gathered.len() < GATHERED_LIMIT
            && keys < KEYS_LIMIT
            && let Ok(next) = questions.try_recv()
        {
            keys += next.question.touched.chunks.len();
            gathered.push(next);
        }
        gathered.retain(|message| !message.answer.is_closed());
        match answer(connection, &mut gathered) {
            Ok(state) => {
                let state = Arc::new(state);
                for message in gathered {
                    // Whoever went away wants no answer.
                    let _ = message.answer.send(Arc::clone(&state));
                }
            }
            // Whoever is not answered asks alone.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "questions that were gathered have no answer");
            }
        }
    }
}

fn answer(connection: &Connection, gathered: &mut [Message]) -> Result<State> {
    let mut state = State::default();
    let mut touched = Touched::default();
    for Message { question, .. } in gathered.iter_mut() {
        touched.merge(std::mem::take(&mut question.touched));
        touched.producers.extend(question.packaged.iter().map(|name| name.producer.clone()));
        touched.blobs.extend(question.located);
        // The one chunk of a small blob has the blob's address, so that asking for both at once mostly suffices.
        touched.chunks.extend(question.located);
    }
    load::load(connection, touched, &mut state)?;
    let mut touched = Touched::default();
    for Message { question, .. } in gathered.iter() {
        if let Some((key, _)) = question.packaged.as_ref().and_then(|name| state.package_of(name)) {
            touched.latest.insert(key);
        }
        let blob = question.located.as_ref().and_then(|address| state.blobs.get(address));
        let blob = blob.filter(|blob| blob.recipe.chunks.len() <= KEYS_LIMIT);
        touched.chunks.extend(blob.iter().flat_map(|blob| &blob.recipe.chunks).map(|chunk| chunk.address));
    }
    load::load(connection, touched, &mut state)?;
    Ok(state)
}
