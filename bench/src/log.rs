//! The log: how fast the writer commits through the real SQLite store, and how fast it is replayed.
//!
//! Both run for seconds and are about CPU time, syncs and memory as much as about time, so they are no micro benches.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use artifactstore_registry::Error;
use artifactstore_registry::clock::{SystemClock, Timestamp};
use artifactstore_registry::log::replay::rebuild;
use artifactstore_registry::log::writer::{Kept, LogWriter, Vault, WriterParts};
use artifactstore_registry::model::event::Record;
use artifactstore_registry::model::state::State;
use artifactstore_registry::store::Store;
use artifactstore_registry::store::sqlite::{OpenMode, SqliteStore};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::measure::{Latency, cpu, forget_peak, peak_bytes};
use crate::progress::Progress;
use crate::quiet::{Attempts, Patience};
use crate::sample;

/// How many commands wait at the writer at once; natural batching makes batches of about as many.
pub const WAITING: [usize; 3] = [1, 32, 256];

/// How many files' events are written in one batch of the log that is replayed.
const FILLED_AT_ONCE: usize = 4096;

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct LogOptions {
    /// How long the writer is measured, for each number of waiting commands
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5.0)]
    pub seconds: f64,
    /// How many files the log has that is replayed, with an event each
    #[arg(long, default_value_t = 200_000)]
    pub replay_events: u64,
    /// How often what was disturbed is measured again
    #[command(flatten)]
    pub patience: Patience,
}

/// The writer under one load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    /// Commands that wait at once.
    pub waiting: usize,
    /// Events committed.
    pub events: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// With how much CPU time, that of making the commands included.
    pub cpu_seconds: f64,
    /// How long a command waited for its commit.
    pub latency: Latency,
}

/// A replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Events replayed.
    pub events: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// With how much CPU time.
    pub cpu_seconds: f64,
    /// The most memory that this process had resident meanwhile.
    pub peak_bytes: u64,
}

/// All that was measured of the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogReport {
    /// The writer, under each load.
    pub written: Vec<Written>,
    /// Replays of a part of the log, then of all of it: memory that grows between the two is not bounded.
    pub rebuilt: Vec<Rebuilt>,
}

#[derive(Debug)]
struct NoVault;

#[async_trait]
impl Vault for NoVault {
    async fn keep(&self, _bytes: Bytes) -> artifactstore_registry::Result<Kept> {
        // Nothing here is too large for an event.
        Err(Error::Stopping)
    }
}

/// Measures writer and replay in a fresh folder.
///
/// # Errors
/// When the store fails.
pub fn log(options: &LogOptions, below: &Path, progress: &Progress) -> anyhow::Result<LogReport> {
    std::fs::create_dir_all(below)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut report = LogReport::default();
        for waiting in WAITING {
            progress.step(&format!("log writer, {waiting} commands waiting"));
            let mut attempts = Attempts::new(options.patience);
            while attempts.begin().is_some() {
                attempts.took(write_fresh(below, waiting, options.seconds).await?);
            }
            let (written, _) = attempts.best().context("nothing was measured")?;
            progress.line(&crate::report::written_line(&written));
            report.written.push(written);
        }
        let (_folder, store) = open(below).await?;
        start(&store).await?.stop().await;
        let mut filled = 0;
        for share in [4, 1] {
            let wanted = options.replay_events / share;
            fill(&*store, filled..wanted, progress).await?;
            filled = wanted;
            progress.step(&format!("replaying {wanted} files"));
            let mut attempts = Attempts::new(options.patience);
            while attempts.begin().is_some() {
                attempts.took(replay(&store).await?);
            }
            let (rebuilt, _) = attempts.best().context("nothing was measured")?;
            progress.line(&crate::report::rebuilt_line(&rebuilt));
            report.rebuilt.push(rebuilt);
        }
        store.close().await;
        Ok(report)
    })
}

async fn open(below: &Path) -> anyhow::Result<(tempfile::TempDir, Arc<dyn Store>)> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(below)?;
    let store = SqliteStore::open(&folder.path().join("registry.db"), OpenMode::Create).await?;
    Ok((folder, Arc::new(store)))
}

async fn start(store: &Arc<dyn Store>) -> anyhow::Result<Arc<LogWriter>> {
    let writer = LogWriter::start(WriterParts {
        store: Arc::clone(store),
        clock: Arc::new(SystemClock),
        vault: Arc::new(NoVault),
        inline_limit_bytes: usize::MAX,
    });
    writer.record(&sample::actor()?, sample::create()?).await?;
    Ok(Arc::new(writer))
}

async fn write_fresh(below: &Path, waiting: usize, seconds: f64) -> anyhow::Result<Written> {
    let (_folder, store) = open(below).await?;
    let writer = start(&store).await?;
    let written = write(&writer, waiting, Duration::from_secs_f64(seconds)).await?;
    writer.stop().await;
    store.close().await;
    Ok(written)
}

/// Puts the events of files behind the log, as the writer does, and no rows: a replay reads nothing but the log.
async fn fill(store: &dyn Store, files: Range<u64>, progress: &Progress) -> anyhow::Result<()> {
    let (actor, end) = (sample::actor()?, files.end);
    for first in files.step_by(FILLED_AT_ONCE) {
        progress.step(&format!("writing the events of {end} files to replay: {first} so far"));
        let mut batch = store.begin().await?;
        let mut head = batch.head();
        let mut records = Vec::with_capacity(FILLED_AT_ONCE);
        for number in first..end.min(first + FILLED_AT_ONCE as u64) {
            for event in sample::events(number)? {
                let at = Timestamp(head.occurred_at.0 + 1);
                let record = Record::behind(&head, at, &actor, &event, event.encode());
                head = record.head();
                records.push(record);
            }
        }
        batch.write(&records, head, &State::default()).await?;
        batch.commit().await?;
    }
    Ok(())
}

async fn write(writer: &Arc<LogWriter>, waiting: usize, time: Duration) -> anyhow::Result<Written> {
    let pids = [std::process::id()];
    let next = Arc::new(AtomicU64::new(0));
    let (begun, before) = (Instant::now(), cpu(&pids));
    let head = *writer.committed().borrow();
    let senders: Vec<_> = (0..waiting)
        .map(|_| {
            let (writer, next) = (Arc::clone(writer), Arc::clone(&next));
            tokio::spawn(async move {
                let (actor, mut micros) = (sample::actor()?, Vec::new());
                while begun.elapsed() < time {
                    let command = sample::ingest(next.fetch_add(1, Ordering::Relaxed))?;
                    let sent = Instant::now();
                    writer.record(&actor, command).await?;
                    micros.push(u64::try_from(sent.elapsed().as_micros())?);
                }
                anyhow::Ok(micros)
            })
        })
        .collect();
    let mut micros = Vec::new();
    for sender in senders {
        micros.extend(sender.await??);
    }
    let events = *writer.committed().borrow() - head;
    ensure!(events >= micros.len() as u64, "{events} events of {} commands", micros.len());
    Ok(Written {
        waiting,
        events,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: cpu(&pids).saturating_sub(before).as_secs_f64(),
        latency: Latency::of(micros),
    })
}

async fn replay(store: &Arc<dyn Store>) -> anyhow::Result<Rebuilt> {
    let pids = [std::process::id()];
    let scratch = store.scratch().await?;
    let mut snapshot = store.snapshot().await?;
    forget_peak(&pids);
    let (begun, before) = (Instant::now(), cpu(&pids));
    let events = rebuild(&mut *snapshot, &*scratch, &|_| ()).await?;
    Ok(Rebuilt {
        events,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: cpu(&pids).saturating_sub(before).as_secs_f64(),
        peak_bytes: peak_bytes(&pids),
    })
}
