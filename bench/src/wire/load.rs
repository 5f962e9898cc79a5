//! The load: so many connections, each with one request in flight, for so long or so often.
//!
//! Each thread drives its share of the connections by itself, so that nothing hops between threads.
//!
//! Invariant: what was begun is waited for, and the time is that until the last of it ended.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::http::Connection;
use crate::measure::Latency;

/// When to begin no more operations.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After so many operations.
    Turns(u64),
}

/// How much load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// Threads of the client.
    pub threads: usize,
    /// When to begin no more.
    pub until: Until,
}

/// An operation that is done again and again.
pub trait Work: Sync {
    /// Does it once; turns are numbered from 0, each number is given once. Answers with the bytes of the body.
    fn once(&self, connection: &mut Connection, turn: u64) -> impl Future<Output = anyhow::Result<u64>>;
}

/// What the load came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Operations done.
    pub operations: u64,
    /// Their bodies' bytes.
    pub bytes: u64,
    /// Until the last of them ended.
    pub seconds: f64,
    /// How long each took, in microseconds.
    pub micros: Vec<u64>,
    /// How many failed.
    pub errors: u64,
    /// What the first of those said.
    pub first_error: Option<String>,
}

impl Tally {
    /// The spread of the latencies.
    #[must_use]
    pub fn latency(&self) -> Latency {
        Latency::of(self.micros.clone())
    }

    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.micros.extend(other.micros);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// A server that fails this often is not measured any longer.
const ERRORS_LIMIT: u64 = 50;

struct Course<'a, W> {
    work: &'a W,
    load: Load,
    to: std::net::SocketAddr,
    turn: AtomicU64,
    given_up: AtomicBool,
    started: Instant,
}

impl<W: Work> Course<'_, W> {
    fn next(&self) -> Option<u64> {
        if self.given_up.load(Ordering::Relaxed) {
            return None;
        }
        match self.load.until {
            Until::Time(time) if self.started.elapsed() >= time => None,
            Until::Time(_) => Some(self.turn.fetch_add(1, Ordering::Relaxed)),
            Until::Turns(turns) => Some(self.turn.fetch_add(1, Ordering::Relaxed)).filter(|turn| *turn < turns),
        }
    }

    async fn connection(&self) -> Tally {
        let mut connection = Connection::new(self.to);
        let mut tally = Tally::default();
        while let Some(turn) = self.next() {
            let begun = Instant::now();
            match self.work.once(&mut connection, turn).await {
                Ok(bytes) => {
                    tally.operations += 1;
                    tally.bytes += bytes;
                    tally.micros.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
                Err(error) => {
                    connection = Connection::new(self.to);
                    tally.errors += 1;
                    tally.first_error.get_or_insert_with(|| format!("{error:#}"));
                    if tally.errors >= ERRORS_LIMIT {
                        self.given_up.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        tally
    }

    fn thread(&self, connections: usize) -> anyhow::Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let share: Vec<_> = (0..connections).map(|_| self.connection()).collect();
            let tallies = futures::future::join_all(share).await;
            Ok(tallies.into_iter().fold(Tally::default(), |mut sum, tally| {
                sum.add(tally);
                sum
            }))
        })
    }
}

/// Runs the load to its end.
///
/// # Errors
/// When the client itself fails; what the server refuses is counted.
pub fn run<W: Work>(to: std::net::SocketAddr, load: Load, work: &W) -> anyhow::Result<Tally> {
    let course =
        Course { work, load, to, turn: AtomicU64::new(0), given_up: AtomicBool::new(false), started: Instant::now() };
    let threads = load.threads.clamp(1, load.connections.max(1));
    let tallies = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let share = load.connections / threads + usize::from(thread < load.connections % threads);
                let course = &course;
                scope.spawn(move || course.thread(share))
            })
            .collect();
        running.into_iter().map(|thread| thread.join().ok().context("a thread of the client ended")?).collect()
    });
    let tallies: anyhow::Result<Vec<Tally>> = tallies;
    let mut sum = Tally::default();
    tallies?.into_iter().for_each(|tally| sum.add(tally));
    sum.seconds = course.started.elapsed().as_secs_f64();
    Ok(sum)
}
