//! What every request asks first, gathered: all that waits is asked by the same few statements.
//!
//! A statement costs two threads a wake-up each, and one that comes from the pool costs two more when it goes back; a
//! request's own share of a gathered one is a fraction of that. There is no timer: a gathering is what arrived while the
//! one before was under way, and a lone request waits for nothing.
//!
//! Invariant: an answer is read after its question was asked; nothing is remembered.

use std::sync::Arc;

use artifactstore_backends::digest::ContentAddress;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, SqliteConnection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use super::load;
use crate::error::Result;
use crate::model::name::FileName;
use crate::model::state::{State, Touched};

/// How many gatherings are under way at once, each on a connection of its own.
pub(super) const GATHERERS: usize = 2;
/// The most questions in one gathering.
const GATHERED_LIMIT: usize = 64;
/// The most keys in one gathering, past its last question; what is larger is asked alone, on the pool.
const KEYS_LIMIT: usize = 256;

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// Rows by key.
    pub(super) touched: Touched,
    /// A name whose package is wanted too; which that is, its producer's settings say.
    pub(super) packaged: Option<FileName>,
    /// A blob that is wanted with the places of its chunks.
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
    questions: std::sync::Mutex<Option<mpsc::Sender<Message>>>,
    gatherers: Mutex<JoinSet<()>>,
}

impl Lookups {
    pub(super) async fn start(readers: &SqlitePool) -> std::result::Result<Self, sqlx::Error> {
        let (questions, receiver) = mpsc::channel(GATHERED_LIMIT);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut gatherers = JoinSet::new();
        for _ in 0..GATHERERS {
            gatherers.spawn(gather(readers.acquire().await?, Arc::clone(&receiver)));
        }
        Ok(Self { questions: std::sync::Mutex::new(Some(questions)), gatherers: Mutex::new(gatherers) })
    }

    /// The rows that were asked for. `None` when they could not be had together with what others asked: whoever asked
    /// then asks alone, and is told by that what is wrong.
    pub(super) async fn ask(&self, question: Question) -> Option<Arc<State>> {
        let keys = &question.touched;
        if keys.chunks.len() > KEYS_LIMIT {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let questions = self.questions.lock().ok()?.clone()?;
        questions.send(Message { question, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Answers what was asked, and gives the connections back.
    pub(super) async fn stop(&self) {
        if let Ok(mut questions) = self.questions.lock() {
            questions.take();
        }
        let mut gatherers = self.gatherers.lock().await;
        while gatherers.join_next().await.is_some() {}
    }
}

async fn gather(mut connection: PoolConnection<Sqlite>, questions: Arc<Mutex<mpsc::Receiver<Message>>>) {
    loop {
        let mut gathered = Vec::new();
        {
            let mut questions = questions.lock().await;
            let Some(first) = questions.recv().await else { return };
            let mut keys = first.question.touched.chunks.len();
            gathered.push(first);
            while gathered.len() < GATHERED_LIMIT
                && keys < KEYS_LIMIT
                && let Ok(next) = questions.try_recv()
            {
                keys += next.question.touched.chunks.len();
                gathered.push(next);
            }
        }
        match answer(&mut connection, &mut gathered).await {
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

async fn answer(connection: &mut SqliteConnection, gathered: &mut [Message]) -> Result<State> {
    let mut state = State::default();
    let mut touched = Touched::default();
    for Message { question, .. } in gathered.iter_mut() {
        touched.merge(std::mem::take(&mut question.touched));
        touched.producers.extend(question.packaged.iter().map(|name| name.producer.clone()));
        touched.blobs.extend(question.located);
        // The one chunk of a small blob has the blob's address, so that asking for both at once mostly suffices.
        touched.chunks.extend(question.located);
    }
    load::gather(connection, touched, &mut state).await?;
    let mut touched = Touched::default();
    for Message { question, .. } in gathered.iter() {
        if let Some((key, _)) = question.packaged.as_ref().and_then(|name| state.package_of(name)) {
            touched.latest.insert(key);
        }
        let blob = question.located.as_ref().and_then(|address| state.blobs.get(address));
        touched.chunks.extend(blob.iter().flat_map(|blob| &blob.recipe.chunks).map(|chunk| chunk.address));
    }
    load::gather(connection, touched, &mut state).await?;
    Ok(state)
}
