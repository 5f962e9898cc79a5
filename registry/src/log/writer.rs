//! The log writer: one task, on a thread of its own where the store works on the thread that asks it, which takes all
//! commands that wait and commits them as one batch.
//!
//! Batching is natural: a batch is what arrived while the one before was being committed. There is no timer, and a lone
//! command waits for nothing. Commands are messages, so that a client that hangs up cancels nothing.
//!
//! Invariant: a command is answered with success only after its events are committed.
//! Invariant: what was sent under a lease is recorded only while that lease runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends::digest::Sha256Digest;
use artifactstore_backends::failpoint::{Point, reach};
use artifactstore_backends::recipe::{LocatedChunk, Recipe};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::apply::{Fact, apply};
use super::clockwatch::{ClockWatch, Found, SharedWatch};
use super::decide::{check_stored, decide, package_chosen};
use super::plan;
use super::seal::store_manifest;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Refusal, Result};
use crate::model::command::{Command, Reply};
use crate::model::event::{Actor, Event, Head, PackageFinalized, Record};
use crate::model::name::TenantName;
use crate::model::retention::ClockJump;
use crate::model::row::{Package, Sequence};
use crate::model::state::{State, Touched};
use crate::store::lease::Lease;
use crate::store::{Batch, Store};

/// The most commands in one batch.
const BATCH_LIMIT: usize = 256;
/// The most commands that wait; more are held back at their senders.
const WAITING_LIMIT: usize = 1024;
/// How long commands wait for a database that is away: as long as most clients wait for an answer.
const AWAY_LIMIT: Duration = Duration::from_secs(20);
/// How long a command waits for a place among those that wait.
const PLACE_LIMIT: Duration = Duration::from_secs(30);
/// From how long on a batch is said to hang.
const HANGS_LIMIT: Duration = Duration::from_secs(30);
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
    /// The lease that has to run when this is committed.
    lease: Option<Lease>,
    answer: oneshot::Sender<Result<Reply>>,
}

/// The sending end of the log writer.
#[derive(Debug)]
pub struct LogWriter {
    commands: mpsc::Sender<Message>,
    stop: watch::Sender<bool>,
    committed: watch::Receiver<Sequence>,
    /// When the batch that is on its way was begun.
    under_way: watch::Receiver<Option<Instant>>,
    watched: SharedWatch,
    ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
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
    ///
    /// # Panics
    /// Outside of a tokio runtime, or when the system has no thread to give.
    #[must_use]
    pub fn start(parts: WriterParts) -> Self {
        let (commands, receiver) = mpsc::channel(WAITING_LIMIT);
        let (stop, stopped) = watch::channel(false);
        let (told, committed) = watch::channel(0);
        let (begun, under_way) = watch::channel(None);
        let watched = SharedWatch::default();
        let signs = Signs { committed: told, under_way: begun, watched: watched.clone() };
        let blocks = parts.store.blocks();
        let (end, ended) = oneshot::channel::<()>();
        let work = async move {
            run(parts, receiver, stopped, signs).await;
            drop(end);
        };
        if blocks {
            // Not one of the runtime's, which would wait for it when it is dropped before whoever has this.
            let runtime = Handle::current();
            drop(std::thread::spawn(move || runtime.block_on(work)));
        } else {
            drop(tokio::spawn(work));
        }
        Self { commands, stop, committed, under_way, watched, ended: tokio::sync::Mutex::new(Some(ended)) }
    }

    /// Has a command recorded. Dropping this future does not undo a command that was sent.
    ///
    /// # Errors
    /// [`Error::Refused`] when the state refuses it; anything else when the log could not be written, and then nothing
    /// of the command was recorded. [`Error::Busy`] when there was no place for it for half a minute.
    pub async fn record(&self, actor: &Actor, command: Command) -> Result<Reply> {
        self.send(actor, command, None).await
    }

    /// As [`LogWriter::record`], and only if this lease still runs when it is committed.
    ///
    /// # Errors
    /// Besides those, [`Refusal::LeaseOver`] when it does not.
    pub async fn record_under(&self, lease: &Lease, actor: &Actor, command: Command) -> Result<Reply> {
        self.send(actor, command, Some(lease.clone())).await
    }

    async fn send(&self, actor: &Actor, command: Command, lease: Option<Lease>) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        let message = Message { actor: actor.clone(), command, lease, answer };
        reach(Point::CommandReady);
        let place = timeout(PLACE_LIMIT, self.commands.reserve()).await.map_err(|_| Error::Busy)?;
        place.map_err(|_| Error::Stopping)?.send(message);
        answered.await.map_err(|_| Error::Stopping)?
    }

    /// The last event that this writer committed; changes when it commits another. 0 before the first.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Sequence> {
        self.committed.clone()
    }

    /// What is known of the time. The jumps that are recorded have to be read after this was asked, but for the first
    /// time.
    #[must_use]
    pub(crate) const fn watched(&self) -> &SharedWatch {
        &self.watched
    }

    /// What keeps commands from being recorded, in one line.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.commands.is_closed() {
            return Some("the log writer has ended".to_owned());
        }
        hangs((*self.under_way.borrow())?)
    }

    /// Takes no more commands, commits those that wait, and ends.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(ended) = self.ended.lock().await.take() {
            // A writer that panicked has ended too; its senders were told.
            let _ = ended.await;
        }
    }
}

fn hangs(begun: Instant) -> Option<String> {
    let elapsed = begun.elapsed();
    let told = || format!("a batch has been on its way to the log for {} s", elapsed.as_secs());
    (elapsed >= HANGS_LIMIT).then(told)
}

/// What the writer's task shows of itself.
struct Signs {
    committed: watch::Sender<Sequence>,
    under_way: watch::Sender<Option<Instant>>,
    watched: SharedWatch,
}

async fn run(parts: WriterParts, mut commands: mpsc::Receiver<Message>, mut stop: watch::Receiver<bool>, signs: Signs) {
    // Came behind a batch, and has the next one for itself.
    let mut alone = None;
    loop {
        let first = match alone.take() {
            Some(first) => Some(first),
            None => tokio::select! {
                message = commands.recv() => message,
                () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                    commands.close();
                    commands.recv().await
                }
            },
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        // A producer's settings say which rows the commands behind are about: those are loaded once it is committed.
        while batch.len() < BATCH_LIMIT
            && batch.last().is_none_or(|last| !last.command.is_about_a_producer() && !last.command.is_alone())
            && let Ok(next) = commands.try_recv()
        {
            if next.command.is_alone() {
                alone = Some(next);
                break;
            }
            batch.push(next);
        }
        signs.under_way.send_replace(Some(Instant::now()));
        let outcome = commit_patiently(&parts, &batch, &signs.watched).await;
        signs.under_way.send_replace(None);
        match outcome {
            Ok((answers, head)) => {
                signs.committed.send_if_modified(|last| std::mem::replace(last, head) != head);
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

pub(super) type Answer = std::result::Result<Reply, Refusal>;

/// Commits, and tries again while the database is away: nothing of these commands was recorded yet, and they would only
/// come again.
async fn commit_patiently(
    parts: &WriterParts,
    messages: &[Message],
    watched: &SharedWatch,
) -> Result<(Vec<Answer>, Sequence)> {
    let deadline = Instant::now() + AWAY_LIMIT;
    loop {
        match commit(parts, messages, watched).await {
            Err(error) if error.is_unavailable() && Instant::now() < deadline => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a batch is tried again");
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn commit(parts: &WriterParts, messages: &[Message], watched: &SharedWatch) -> Result<(Vec<Answer>, Sequence)> {
    let mut watch = watched.known();
    let first = if watch.has_begun() { None } else { begun_at(&*parts.store).await? };
    let mut batch = parts.store.begin().await?;
    reach(Point::BatchOpened);
    let head = batch.head();
    // Time never runs back in the log, whatever the clock does.
    let (clock, at) = (parts.clock.agreed(batch.time()), parts.clock.monotonic());
    let logged = (head.sequence, head.occurred_at);
    let mut state = State { now: clock.max(head.occurred_at), clock, logged, ..State::default() };
    load(&mut *batch, messages, &mut state).await?;
    if !watch.has_begun() || watch.suspects(clock, at) || watch.lags(clock, at) {
        batch.load(Touched { retention: true, ..Touched::default() }, &mut state).await?;
    }
    if state.retention_loaded {
        watch = watched.begun(clock, at, &Found { head, first, jumps: &state.clock_jumps() });
    }
    let over = leases_over(&mut *batch, messages).await?;
    reach(Point::BatchLoaded);
    let is_dry = messages.iter().all(|message| message.command.tells_events() == Some(true));
    let mut work = Work { parts, batch, state, head, records: Vec::new() };
    work.tell_jumps(&watch, at, is_dry).await?;
    let mut answers = Vec::with_capacity(messages.len());
    for message in messages {
        answers.push(match &message.lease {
            Some(lease) if over.contains(lease) => Err(Refusal::LeaseOver),
            _ => work.execute(&message.actor, &message.command).await?,
        });
    }
    reach(Point::BatchDecided);
    if is_dry {
        // Who only asks records nothing, and not what the clock did either: it is found again.
        return Ok((answers, logged.0));
    }
    let Work { mut batch, state, head, records, .. } = work;
    if !records.is_empty() {
        batch.write(&records, head, &state).await?;
        reach(Point::ViewsWritten);
        batch.commit().await?;
        reach(Point::BatchCommitted);
    }
    if state.retention_loaded {
        watched.look(&state.clock_jumps());
    }
    Ok((answers, head.sequence))
}

fn decided_jump(state: &State, command: &Command) -> Option<ClockJump> {
    if let Command::ClockSettle { jump, .. } = command { state.jumps.find(jump).cloned() } else { None }
}

/// When the first event was recorded.
pub(crate) async fn begun_at(store: &dyn Store) -> Result<Option<Timestamp>> {
    Ok(store.events(0, 1).await?.first().map(|record| record.occurred_at))
}

/// Who records what nobody asked for.
fn gateway() -> Actor {
    let (name, request_id) = ("gateway".to_owned(), "clock".to_owned());
    Actor { tenant: TenantName::trusted("default"), name, request_id, client: None }
}

/// The leases of these commands that are over: asked once for each, which is at most once for each kind of work.
async fn leases_over(batch: &mut dyn Batch, messages: &[Message]) -> Result<BTreeSet<Lease>> {
    let mut over = BTreeSet::new();
    let leases: BTreeSet<&Lease> = messages.iter().filter_map(|message| message.lease.as_ref()).collect();
    for lease in leases {
        if !batch.lease_runs(lease).await? {
            over.insert(lease.clone());
        }
    }
    Ok(over)
}

async fn load(batch: &mut dyn Batch, messages: &[Message], state: &mut State) -> Result<()> {
    let mut touched = Touched::default();
    messages.iter().for_each(|message| plan::first_round(&message.command, &mut touched));
    batch.load(touched, state).await?;
    let mut touched = Touched::default();
    messages.iter().for_each(|message| plan::second_round(&message.command, state, &mut touched));
    batch.load(touched, state).await?;
    let mut touched = Touched::default();
    messages.iter().for_each(|message| plan::third_round(&message.command, state, &mut touched));
    batch.load(touched, state).await?;
    // What is alone in its batch may ask for what no key says.
    match messages {
        [Message { command: Command::Collect { step, .. }, .. }] => {
            let asked = plan::collect::asked(step, state);
            state.uses = batch.uses(&asked).await?;
        }
        [Message { command: Command::Erase { erase, .. }, .. }] => {
            state.uses = batch.uses(&plan::erase::asked(erase, state)).await?;
            for round in [plan::erase::copies, plan::erase::keepers] {
                let mut touched = Touched::default();
                round(state, &mut touched);
                batch.load(touched, state).await?;
            }
        }
        [Message { command: Command::Scrub(step), .. }] => state.uses = batch.uses(&plan::scrub::asked(step)).await?,
        [Message { command: Command::StorageDirect { .. }, .. }] => state.sweeping = Some(batch.sweeping().await?),
        [Message { command: Command::ProducerDelete { producer }, .. }]
            if state.producers.get(producer).is_some_and(|producer| producer.package_count > 0) =>
        {
            state.still_keeps = Some(batch.still_keeps(producer).await?);
        }
        _ => {}
    }
    Ok(())
}

/// What a command itself recorded.
pub(super) struct Own {
    /// The number of its last event.
    pub(super) sequence: Option<Sequence>,
    /// The version that it deleted.
    pub(super) deleted: Option<Sequence>,
    /// The jump that it settled, as it was before.
    pub(super) settled: Option<ClockJump>,
}

/// A batch in the making.
pub(super) struct Work<'a> {
    parts: &'a WriterParts,
    batch: Box<dyn Batch>,
    pub(super) state: State,
    head: Head,
    records: Vec<Record>,
}

impl Work<'_> {
    /// Records that the clock went further than time did, if it did.
    async fn tell_jumps(&mut self, watch: &ClockWatch, at: Duration, is_dry: bool) -> Result<()> {
        if !self.state.retention_loaded {
            return Ok(());
        }
        let clock = self.state.clock;
        for jump in watch.findings(clock, at, &self.state.clock_jumps()) {
            let (from, to) = (jump.from, jump.to);
            if is_dry {
                tracing::debug!(%from, %to, "the clock is ahead of what is known of the time");
            } else if jump.believed {
                tracing::info!(%from, %to, "nothing was recorded for a while, which is believed");
            } else {
                tracing::error!(%from, %to, "the clock went further than time did; expiry does not go along");
            }
            self.append(&gateway(), Event::ClockJumped(Box::new(jump))).await?;
        }
        // With what was just recorded: an account leaves nothing out.
        self.state.reckoning = watch.reckoning(clock, at, &self.state.clock_jumps());
        Ok(())
    }

    async fn execute(&mut self, actor: &Actor, command: &Command) -> Result<Answer> {
        self.load_besides(command).await?;
        let decision = match decide(&self.state, actor, command) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(dry) = command.tells_events() {
            let reply = Reply::Collected(decision.events.clone());
            for event in decision.events.into_iter().filter(|_| !dry) {
                self.append(actor, event).await?;
            }
            return Ok(Ok(reply));
        }
        let settled = decided_jump(&self.state, command);
        let before = self.records.len();
        let (mut deduplicated, mut deleted) = (false, None);
        for event in decision.events {
            if let Event::VersionRemoved(fact) = &event {
                deleted = Some(fact.removes);
            }
            deduplicated = matches!(&event, Event::FileIngested(fact) if fact.chunks.is_none());
            self.append(actor, event).await?;
        }
        let mut finalized = None;
        if let Some(then) = decision.then {
            let mut touched = Touched::default();
            plan::second_round(&then, &self.state, &mut touched);
            self.batch.load(touched, &mut self.state).await?;
            self.state.settle_references();
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
        // Which version went: the last of the command's own events says, also where it was asked for as `null`.
        let own = Own { sequence: own, deleted, settled };
        let mut answer = self.reply(actor, command, &own, deduplicated, finalized);
        if let Ok(Reply::File { to_finalize, .. }) = &mut answer {
            *to_finalize = decision.to_finalize;
        }
        Ok(answer)
    }

    /// Loads what a command needs to know because of those before it in the batch; mostly nothing.
    async fn load_besides(&mut self, command: &Command) -> Result<()> {
        loop {
            let mut touched = Touched::default();
            plan::third_round(command, &self.state, &mut touched);
            self.state.retain_unloaded(&mut touched);
            let Touched { packages, latest, keepers, .. } = &touched;
            if packages.is_empty() && latest.is_empty() && keepers.is_empty() && !touched.retention {
                return Ok(());
            }
            self.batch.load(touched, &mut self.state).await?;
        }
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
            let stored = store_manifest(&*self.parts.vault, manifest, payload).await?;
            event = Event::PackageFinalized(Box::new(PackageFinalized::Stored(stored)));
            payload = event.encode();
        }
        let mut touched = Touched::default();
        plan::event(&event, &mut touched);
        self.state.note_history_of_named(&touched);
        self.state.retain_unloaded(&mut touched);
        self.batch.load(touched, &mut self.state).await?;
        self.state.settle_references();
        if let Event::PackageFinalized(fact) = &event
            && let PackageFinalized::Stored(stored) = &**fact
        {
            // Should what it leans on have been swept, or its backend closed, while it was stored: from the beginning.
            check_stored(&self.state, stored).map_err(|_| Error::BatchUndone)?;
        }
        let record = Record::behind(&self.head, self.state.now, actor, &event, payload);
        let fact = Fact {
            sequence: record.sequence,
            occurred_at: record.occurred_at,
            tenant: &record.tenant,
            actor: &record.actor,
            event: &event,
            payload: &record.payload,
        };
        apply(&mut self.state, fact);
        self.head = record.head();
        self.records.push(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
