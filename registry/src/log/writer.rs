//! The log writer: one task, which takes all commands that wait and commits them as one batch.
//!
//! Batching is natural: a batch is what arrived while the one before was being committed. There is no timer, and a lone
//! command waits for nothing. Commands are messages, so that a client that hangs up cancels nothing.
//!
//! Invariant: a command is answered with success only after its events are committed.

use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends::digest::Sha256Digest;
use artifactstore_backends::failpoint::{Point, reach};
use artifactstore_backends::recipe::{LocatedChunk, Recipe};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::apply::{Fact, apply};
use super::decide::{decide, package_chosen};
use super::plan;
use super::seal::store_manifest;
use super::storage::check_places;
use crate::clock::Clock;
use crate::error::{Error, Refusal, Result};
use crate::model::command::{Command, PackageChoice, Reply};
use crate::model::event::{Actor, Event, PackageFinalized, Record, StoredManifest};
use crate::model::manifest::Manifest;
use crate::model::name::FileName;
use crate::model::row::{Package, Sequence};
use crate::model::state::{Head, State, Touched};
use crate::store::{Batch, Store};

/// The most commands in one batch.
const BATCH_LIMIT: usize = 256;
/// The most commands that wait; more are held back at their senders.
const WAITING_LIMIT: usize = 1024;

/// How long commands wait for a database that is away: as long as most clients wait for an answer.
const AWAY_LIMIT: Duration = Duration::from_secs(20);
/// How long until it is tried again.
const AWAY_PAUSE: Duration = Duration::from_millis(250);

/// Keeps payloads that are too large for an event.
#[async_trait]
pub trait Vault: std::fmt::Debug + Send + Sync + 'static {
    /// Stores and syncs these bytes.
    async fn keep(&self, bytes: Bytes) -> Result<Kept>;
}

/// A payload that was kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its chunks.
    pub recipe: Recipe,
    /// The chunks that were written for it.
    pub written: Vec<LocatedChunk>,
}

struct Message {
    actor: Actor,
    command: Command,
    answer: oneshot::Sender<Result<Reply>>,
}

/// The sending end of the log writer.
#[derive(Debug)]
pub struct LogWriter {
    commands: mpsc::Sender<Message>,
    stop: watch::Sender<bool>,
    committed: watch::Receiver<Sequence>,
    task: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What the writer stands on.
#[derive(Debug)]
pub struct WriterParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where payloads go that are too large.
    pub vault: Arc<dyn Vault>,
    /// From how many bytes a manifest is too large for an event.
    pub inline_limit_bytes: usize,
}

impl LogWriter {
    /// Starts the writer's task.
    #[must_use]
    pub fn start(parts: WriterParts) -> Self {
        let (commands, receiver) = mpsc::channel(WAITING_LIMIT);
        let (stop, stopped) = watch::channel(false);
        let (sender, committed) = watch::channel(0);
        let task = tokio::spawn(run(parts, receiver, stopped, sender));
        Self { commands, stop, committed, task: tokio::sync::Mutex::new(Some(task)) }
    }

    /// Has a command recorded. Dropping this future does not undo a command that was sent.
    ///
    /// # Errors
    /// [`Error::Refused`] when the state refuses it; anything else when the log could not be written, and then nothing
    /// of the command was recorded.
    pub async fn record(&self, actor: &Actor, command: Command) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        let message = Message { actor: actor.clone(), command, answer };
        reach(Point::CommandReady);
        self.commands.send(message).await.map_err(|_| Error::Stopping)?;
        answered.await.map_err(|_| Error::Stopping)?
    }

    /// The last event that this writer committed; changes when it commits another. 0 before the first.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Sequence> {
        self.committed.clone()
    }

    /// Takes no more commands, commits those that wait, and ends.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take() {
            // A writer that panicked has ended too; its senders were told.
            let _ = task.await;
        }
    }
}

async fn run(
    parts: WriterParts,
    mut commands: mpsc::Receiver<Message>,
    mut stop: watch::Receiver<bool>,
    committed: watch::Sender<Sequence>,
) {
    loop {
        let first = tokio::select! {
            message = commands.recv() => message,
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                commands.close();
                commands.recv().await
            }
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        // A producer's settings say which rows the commands behind are about: those are loaded once it is committed.
        while batch.len() < BATCH_LIMIT
            && batch.last().is_none_or(|last| !last.command.is_about_a_producer())
            && let Ok(next) = commands.try_recv()
        {
            batch.push(next);
        }
        match commit_patiently(&parts, &batch).await {
            Ok((answers, head)) => {
                committed.send_if_modified(|last| std::mem::replace(last, head) != head);
                for (message, answer) in batch.into_iter().zip(answers) {
                    // Whoever went away does not want the answer; the event stands.
                    let _ = message.answer.send(answer.map_err(Error::Refused));
                    reach(Point::CommandAnswered);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for message in batch {
                    let _ = message.answer.send(Err(Error::LogUnwritable(Arc::clone(&error))));
                }
            }
        }
    }
}

type Answer = std::result::Result<Reply, Refusal>;

/// Commits, and tries again while the database is away: nothing of these commands was recorded yet, and they would only
/// come again.
async fn commit_patiently(parts: &WriterParts, messages: &[Message]) -> Result<(Vec<Answer>, Sequence)> {
    let deadline = tokio::time::Instant::now() + AWAY_LIMIT;
    loop {
        match commit(parts, messages).await {
            Err(error) if error.is_unavailable() && tokio::time::Instant::now() < deadline => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a batch is tried again");
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn commit(parts: &WriterParts, messages: &[Message]) -> Result<(Vec<Answer>, Sequence)> {
    let mut batch = parts.store.begin().await?;
    reach(Point::BatchOpened);
    let head = batch.head();
    // Time never runs back in the log, whatever the clock does.
    let mut state = State { now: parts.clock.now().max(head.occurred_at), ..State::default() };
    load(&mut *batch, messages, &mut state).await?;
    reach(Point::BatchLoaded);
    let mut work = Work { parts, batch, state, head, records: Vec::new() };
    let mut answers = Vec::with_capacity(messages.len());
    for message in messages {
        answers.push(work.execute(&message.actor, &message.command).await?);
    }
    reach(Point::BatchDecided);
    let Work { mut batch, state, head, records, .. } = work;
    if !records.is_empty() {
        batch.write(&records, head, &state).await?;
        reach(Point::ViewsWritten);
        batch.commit().await?;
        reach(Point::BatchCommitted);
    }
    Ok((answers, head.sequence))
}

async fn load(batch: &mut dyn Batch, messages: &[Message], state: &mut State) -> Result<()> {
    let mut touched = Touched::default();
    messages.iter().for_each(|message| plan::first_round(&message.command, &mut touched));
    batch.load(touched, state).await?;
    let mut touched = Touched::default();
    messages.iter().for_each(|message| plan::second_round(&message.command, state, &mut touched));
    batch.load(touched, state).await
}

/// Stores a manifest. Should the backend that took it have been closed since, the batch is to be made again.
async fn keep_manifest(
    vault: &dyn Vault,
    state: &State,
    manifest: &Manifest,
    payload: Vec<u8>,
) -> Result<StoredManifest> {
    let stored = store_manifest(vault, manifest, payload).await?;
    check_places(state, &stored.written).map_err(|_| Error::BatchUndone)?;
    Ok(stored)
}

/// A batch in the making.
struct Work<'a> {
    parts: &'a WriterParts,
    batch: Box<dyn Batch>,
    state: State,
    head: Head,
    records: Vec<Record>,
}

impl Work<'_> {
    async fn execute(&mut self, actor: &Actor, command: &Command) -> Result<Answer> {
        let decision = match decide(&self.state, actor, command) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let before = self.records.len();
        let mut deduplicated = false;
        for event in decision.events {
            deduplicated = matches!(&event, Event::FileIngested(fact) if fact.chunks.is_none());
            self.append(actor, event).await?;
        }
        let mut finalized = None;
        if let Some(then) = decision.then {
            let mut touched = Touched::default();
            plan::second_round(&then, &self.state, &mut touched);
            self.batch.load(touched, &mut self.state).await?;
            self.state.refresh_members();
            // What follows from a command is decided on the state that the command made. Should it be refused, the
            // command itself stands: a marker is a file like any other.
            if let Ok(decision) = decide(&self.state, actor, &then) {
                for event in decision.events {
                    self.append(actor, event).await?;
                }
                finalized = self.package(actor, &then);
            }
        }
        let own = self.records.get(before..).and_then(<[Record]>::last).map(|record| record.sequence);
        let mut answer = self.reply(actor, command, own, deduplicated, finalized);
        if let Ok(Reply::File { to_finalize, .. }) = &mut answer {
            *to_finalize = decision.to_finalize;
        }
        Ok(answer)
    }

    fn package(&self, actor: &Actor, command: &Command) -> Option<Box<Package>> {
        let Command::PackageFinalize { package, .. } = command else { return None };
        package_chosen(&self.state, actor, package).ok().flatten().cloned().map(Box::new)
    }

    async fn append(&mut self, actor: &Actor, event: Event) -> Result<()> {
        let mut event = event;
        let mut payload = event.encode();
        if payload.len() > self.parts.inline_limit_bytes
            && let Event::PackageFinalized(fact) = &event
            && let PackageFinalized::Inline(manifest) = &**fact
        {
            event = Event::PackageFinalized(Box::new(PackageFinalized::Stored(
                keep_manifest(&*self.parts.vault, &self.state, manifest, payload).await?,
            )));
            payload = event.encode();
        }
        let mut touched = Touched::default();
        plan::event(&event, &mut touched);
        self.state.retain_unloaded(&mut touched);
        self.batch.load(touched, &mut self.state).await?;
        let mut record = Record {
            sequence: self.head.sequence + 1,
            occurred_at: self.state.now,
            tenant: actor.tenant.clone(),
            producer: event.producer(),
            package: event.package(),
            actor: actor.name.clone(),
            request_id: actor.request_id.clone(),
            kind: event.kind().to_owned(),
            payload,
            hash: [0; 32],
        };
        record.hash = record.chained(&self.head.hash);
        let fact = Fact {
            sequence: record.sequence,
            occurred_at: record.occurred_at,
            tenant: &record.tenant,
            event: &event,
            payload: &record.payload,
        };
        apply(&mut self.state, fact);
        self.head = Head { sequence: record.sequence, occurred_at: record.occurred_at, hash: record.hash };
        self.records.push(record);
        Ok(())
    }

    fn reply(
        &self,
        actor: &Actor,
        command: &Command,
        own: Option<Sequence>,
        deduplicated: bool,
        finalized: Option<Box<Package>>,
    ) -> Answer {
        let file = |name: &FileName| {
            let file = self.state.file_current(name).cloned().ok_or(Refusal::FileMissing)?;
            let (file, finalized) = (Box::new(file), finalized.clone());
            Ok(Reply::File { file, deduplicated, finalized, to_finalize: None })
        };
        match command {
            Command::ProducerCreate { producer, .. } | Command::ProducerConfigure { producer, .. } => {
                let row = self.state.producers.get(producer).cloned();
                row.map(|row| Reply::Producer(Box::new(row))).ok_or_else(|| Refusal::ProducerMissing(producer.clone()))
            }
            Command::ProducerDelete { .. } | Command::UploadAbort { .. } => Ok(Reply::Deleted),
            Command::FileIngest(ingest) => file(&ingest.name),
            Command::FileDescribe { name, .. } => file(name),
            Command::FileRemove { .. } => Ok(Reply::Removed(own)),
            Command::UploadCreate { upload, .. } => {
                let row = self.state.uploads.get(upload).cloned();
                row.map(|row| Reply::Upload(Box::new(row))).ok_or_else(|| Refusal::UploadMissing(upload.clone()))
            }
            Command::PartIngest { upload, number, .. } => {
                let row = self.state.parts.get(&(upload.clone(), *number)).cloned();
                row.map(|row| Reply::Part(Box::new(row))).ok_or_else(|| Refusal::UploadMissing(upload.clone()))
            }
            Command::PackageFinalize { package, .. } => self.package_reply(actor, package),
            Command::StorageDirect { .. } | Command::StorageClose { .. } | Command::StorageEnd { .. } => {
                let last = self.state.storage().last().cloned();
                let missing = || Refusal::StorageElsewhere(String::new());
                last.map(|row| Reply::Storage(Box::new(row))).ok_or_else(missing)
            }
        }
    }

    fn package_reply(&self, actor: &Actor, choice: &PackageChoice) -> Answer {
        let package = package_chosen(&self.state, actor, choice)?.cloned().ok_or(Refusal::PackageMissing)?;
        Ok(Reply::Package(Box::new(package)))
    }
}
