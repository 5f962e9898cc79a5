//! The run: every server in turn, started, loaded, stopped and forgotten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::client::Call;
use super::http::Connection;
use super::load::{Load, Tally, Until, run};
use super::op::{Kind, LARGE_BODIES, LIST_KEYS, MIB, Op, SEALED_FILES, Shape};
use super::payload::Pool;
use super::peer::{Peer, Programs, Running};
use super::work::{Pages, Prepared, Put, Seal, Uploads, key};
use crate::measure::{self, Latency, cores, cpu, forget_peak, machine_cpu, peak_bytes, resident_bytes};
use crate::progress::Progress;
use crate::quiet::{Attempts, LIMIT, Patience};

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct WireOptions {
    /// Which servers; those that are absent are skipped with a line
    #[arg(long, value_enum, value_delimiter = ',', env = "BENCH_PEERS")]
    pub peers: Vec<Peer>,
    /// Which operations
    #[arg(long, value_enum, value_delimiter = ',', env = "BENCH_OPS")]
    pub ops: Vec<Op>,
    /// How long new requests are begun, for each operation
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5.0)]
    pub seconds: f64,
    /// Also do what takes minutes and writes tens of GiB, for the memory that it takes
    #[arg(long)]
    pub heavy: bool,
    /// Keep what the last run measured undisturbed, and measure only the rest
    #[arg(long)]
    pub again: bool,
    /// Sign bodies with their SHA-256 and not as UNSIGNED-PAYLOAD; the client then computes it
    #[arg(long)]
    pub signed_payload: bool,
    /// The folder whose disk is measured; each server has a fresh folder in it
    #[arg(long, env = "BENCH_FOLDER", default_value = "target/bench")]
    pub folder: PathBuf,
    /// How often what was disturbed is measured again
    #[command(flatten)]
    pub patience: Patience,
    /// Where the servers are
    #[command(flatten)]
    pub programs: Programs,
}

/// One operation on one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// The server.
    pub peer: Peer,
    /// The operation.
    pub op: Op,
    /// How often it was done.
    pub operations: u64,
    /// The bytes of its bodies.
    pub bytes: u64,
    /// How long it took in all.
    pub seconds: f64,
    /// How long one took.
    pub latency: Latency,
    /// How many failed.
    pub errors: u64,
    /// What the first of those said.
    pub first_error: Option<String>,
    /// The CPU time of the server.
    pub server_cpu_seconds: f64,
    /// The CPU time of the load generator.
    pub client_cpu_seconds: f64,
    /// The CPU time that neither of them took: of the kernel on their behalf, and of whoever else is busy here.
    pub other_cpu_seconds: f64,
    /// The share of the cores' time that the machine's host took for itself.
    pub stolen_share: f64,
    /// The most memory that the server had resident meanwhile.
    pub server_peak_bytes: u64,
    /// For uploads in parts: how long Complete took.
    pub complete: Option<Latency>,
}

/// The replay of the log that the run made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replayed {
    /// What it said.
    pub said: String,
    /// How long it took.
    pub seconds: f64,
    /// The CPU time that it took.
    pub cpu_seconds: f64,
    /// The most memory that it had resident.
    pub peak_bytes: u64,
}

/// All that was measured on the wire.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WireReport {
    /// How long each operation was begun anew.
    pub seconds: f64,
    /// Whether bodies were signed with their SHA-256.
    pub signed_payload: bool,
    /// Operation by operation.
    pub measured: Vec<Measured>,
    /// The memory of each server that has done nothing yet, in bytes.
    pub idle_bytes: BTreeMap<Peer, u64>,
    /// Servers that were not measured, and why.
    pub skipped: Vec<(Peer, String)>,
    /// The replay of this gateway's log.
    pub replayed: Option<Replayed>,
}

impl Measured {
    /// Operations a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds.max(f64::EPSILON)
    }

    /// Megabytes (10^6 bytes) a second.
    #[must_use]
    pub fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds.max(f64::EPSILON)
    }

    /// The server's CPU time for each operation, in milliseconds.
    #[must_use]
    pub fn cpu_ms(&self) -> f64 {
        self.server_cpu_seconds * 1000.0 / (self.operations.max(1)) as f64
    }
}

impl WireReport {
    /// What was measured without errors, and without being disturbed.
    #[must_use]
    pub fn undisturbed(mut self) -> Self {
        self.measured.retain(|one| one.errors == 0 && one.operations > 0 && one.stolen_share <= LIMIT);
        self
    }

    /// What was measured of an operation on a server, without errors.
    #[must_use]
    pub fn find(&self, peer: Peer, op: Op) -> Option<&Measured> {
        let mut found = self.measured.iter().filter(|one| one.errors == 0 && one.operations > 0);
        found.find(|one| one.peer == peer && one.op == op)
    }
}

const SMALL_OBJECTS: u64 = 1000;
const LARGE_OBJECTS: u64 = 4;
/// How long a server is warmed up with an operation before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);
/// The phase of an operation that is before its first attempt.
const WARMING: u32 = 0;

/// Runs it all, beside what is kept of a run before. A server that fails is told and left; the others go on.
///
/// # Errors
/// When this machine fails, not when a server does.
pub fn wire(options: &WireOptions, kept: WireReport, progress: &Progress) -> anyhow::Result<WireReport> {
    std::fs::create_dir_all(&options.folder)?;
    let folder = options.folder.canonicalize()?;
    let pool = Pool::fresh()?;
    let mut report =
        WireReport { seconds: options.seconds, signed_payload: options.signed_payload, skipped: Vec::new(), ..kept };
    for peer in chosen::<Peer>(&options.peers) {
        let usual = |op: &Op| options.heavy || options.ops.contains(op) || !op.is_heavy();
        let ops = chosen::<Op>(&options.ops).into_iter();
        let ops = ops.filter(|op| op.is_asked_of(peer) && usual(op) && report.find(peer, *op).is_none());
        let ops: Vec<Op> = ops.collect();
        let absence = peer.absence(&options.programs);
        if let Some(why) = absence {
            progress.line(&format!("{}: skipped: {why}", peer.title()));
            report.skipped.push((peer, why));
        } else if !ops.is_empty()
            && let Err(error) = one_peer(options, peer, &ops, &pool, &folder, progress, &mut report)
        {
            progress.line(&format!("{}: given up: {error:#}", peer.title()));
            report.skipped.push((peer, format!("{error:#}")));
        }
    }
    report.measured.sort_by_key(|one| (one.peer, one.op));
    Ok(report)
}

fn chosen<T: clap::ValueEnum + Clone>(asked: &[T]) -> Vec<T> {
    if asked.is_empty() { T::value_variants().to_vec() } else { asked.to_vec() }
}

fn one_peer(
    options: &WireOptions,
    peer: Peer,
    ops: &[Op],
    pool: &Pool,
    folder: &Path,
    progress: &Progress,
    report: &mut WireReport,
) -> anyhow::Result<()> {
    progress.step(&format!("{}: starting", peer.title()));
    let mut running = peer.start(&options.programs, folder)?;
    running.target.signed_payload = options.signed_payload;
    std::thread::sleep(Duration::from_millis(500));
    report.idle_bytes.insert(peer, resident_bytes(&running.pids));
    let bench = Bench { options, peer, running: &running, pool, progress };
    bench.prepare(ops)?;
    for op in ops {
        progress.step(&format!("{}: {}", peer.title(), op.title()));
        let measured = bench.measure(*op)?;
        progress.line(&crate::report::wire_line(&measured));
        report.measured.push(measured);
    }
    running.stop();
    if peer == Peer::Artifactstore {
        progress.step("replaying the log");
        report.replayed = Some(replay(&options.programs, &running.folder.path().join("data"))?);
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a WireOptions,
    peer: Peer,
    running: &'a Running,
    pool: &'a Pool,
    progress: &'a Progress,
}

impl Bench<'_> {
    /// Puts what the reading operations want to find.
    fn prepare(&self, ops: &[Op]) -> anyhow::Result<()> {
        let wanted = |kinds: &[Kind], large: bool| {
            ops.iter().any(|op| kinds.contains(&op.shape().kind) && (op.shape().size_bytes >= MIB) == large)
        };
        let reads = [Kind::Get, Kind::Range, Kind::Head];
        if wanted(&reads, false) {
            self.store("small", 1 << 56, SMALL_OBJECTS, Op::GetSmall.shape().size_bytes)?;
        }
        if wanted(&reads, true) {
            self.store("large", 2 << 56, LARGE_OBJECTS, Op::GetLarge.shape().size_bytes)?;
        }
        if wanted(&[Kind::PutStored], true) {
            self.store("stored", 3 << 56, 1, Op::PutStored.shape().size_bytes)?;
        }
        if ops.contains(&Op::List) {
            self.store("list", 4 << 56, LIST_KEYS, Op::List.shape().size_bytes)?;
        }
        if ops.contains(&Op::Seal) {
            self.store("sealed", 5 << 56, SEALED_FILES, Op::Seal.shape().size_bytes)?;
        }
        Ok(())
    }

    fn store(&self, prefix: &str, first: u64, count: u64, size_bytes: u64) -> anyhow::Result<()> {
        self.progress.step(&format!("{}: storing {count} objects to read", self.peer.title()));
        if self.peer == Peer::Nginx {
            let folder = self.running.files().join(prefix);
            std::fs::create_dir_all(&folder)?;
            for number in 0..count {
                let path = self.running.files().join(key(prefix, number));
                std::fs::write(path, self.pool.body(first + number, size_bytes).to_vec())?;
            }
        } else {
            let target = &self.running.target;
            let put = Put { target, pool: self.pool, prefix, first, size_bytes, bodies: u64::MAX };
            let connections = if size_bytes >= MIB { 4 } else { 32 };
            let load = Load { connections, threads: 1, until: Until::Turns(count) };
            let tally = run(self.running.target.address, load, &put)?;
            let error = tally.first_error.unwrap_or_default();
            ensure!(tally.operations == count, "{} of {count} objects were stored: {error}", tally.operations);
        }
        // Whoever answers fast with the wrong bytes is not measured.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let target = &self.running.target;
        let mut connection = Connection::new(target.address);
        let key = key(prefix, count - 1);
        let answer =
            runtime.block_on(target.ask(&mut connection, Call { method: "GET", key: &key, ..Call::default() }))?;
        ensure!(answer.body == self.pool.body(first + count - 1, size_bytes).to_vec(), "{key} is not what was stored");
        Ok(())
    }

    fn measure(&self, op: Op) -> anyhow::Result<Measured> {
        let shape = op.shape();
        if shape.times.is_none() && !matches!(shape.kind, Kind::Multipart(_)) {
            self.work(op, &shape, Until::Time(WARM_UP), WARMING)?;
        }
        // What takes minutes is asked for its memory, which nobody disturbs.
        let tries = if op.is_heavy() { 1 } else { self.options.patience.tries };
        let mut attempts = Attempts::new(Patience { tries });
        while let Some(attempt) = attempts.begin() {
            attempts.took(self.once(op, attempt)?);
        }
        let (measured, stolen_share) = attempts.best().context("nothing was measured")?;
        Ok(Measured { stolen_share, ..measured })
    }

    fn once(&self, op: Op, attempt: u32) -> anyhow::Result<Measured> {
        let shape = op.shape();
        let (pids, own) = (&self.running.pids, [std::process::id()]);
        forget_peak(pids);
        let (server, client, machine) = (cpu(pids), cpu(&own), machine_cpu());
        let until = shape.times.map_or(Until::Time(Duration::from_secs_f64(self.options.seconds)), Until::Turns);
        let (tally, completes) = self.work(op, &shape, until, attempt + 1)?;
        let server_cpu = cpu(pids).saturating_sub(server);
        let client_cpu = cpu(&own).saturating_sub(client);
        let other_cpu = machine_cpu().saturating_sub(machine).saturating_sub(server_cpu + client_cpu);
        Ok(Measured {
            peer: self.peer,
            op,
            operations: tally.operations,
            bytes: tally.bytes,
            seconds: tally.seconds,
            latency: tally.latency(),
            errors: tally.errors,
            first_error: tally.first_error,
            server_cpu_seconds: server_cpu.as_secs_f64(),
            client_cpu_seconds: client_cpu.as_secs_f64(),
            other_cpu_seconds: other_cpu.as_secs_f64(),
            stolen_share: 0.0,
            server_peak_bytes: peak_bytes(pids),
            complete: (!completes.is_empty()).then(|| Latency::of(completes)),
        })
    }

    fn work(&self, op: Op, shape: &Shape, until: Until, phase: u32) -> anyhow::Result<(Tally, Vec<u64>)> {
        let (target, pool, size_bytes) = (&self.running.target, self.pool, shape.size_bytes);
        let threads = if shape.is_large() { cores() } else { 1 };
        let load = Load { connections: shape.connections, threads, until };
        let prefix = format!("run{phase}-{}", op as u32);
        // Every phase of every operation has bodies of its own.
        let first = (op as u64 + 1) << 40 | u64::from(phase) << 34;
        let prefix = prefix.as_str();
        let tally = match shape.kind {
            Kind::Put => {
                let bodies = if op == Op::CrowdLarge { LARGE_BODIES } else { u64::MAX };
                run(target.address, load, &Put { target, pool, prefix, first, size_bytes, bodies })?
            }
            Kind::PutStored => {
                run(target.address, load, &Put { target, pool, prefix, first: 3 << 56, size_bytes, bodies: 1 })?
            }
            Kind::Multipart(parting) => {
                return Uploads { target, pool, prefix, first, size_bytes, parting }.run(load);
            }
            Kind::Seal => run(target.address, load, &Seal { target, package: "sealed" })?,
            Kind::Get | Kind::Head => {
                let (prefix, count) =
                    if size_bytes >= MIB { ("large", LARGE_OBJECTS) } else { ("small", SMALL_OBJECTS) };
                let method = if shape.kind == Kind::Head { "HEAD" } else { "GET" };
                run(target.address, load, &Prepared::objects(target, method, prefix, count, size_bytes))?
            }
            Kind::Range => run(target.address, load, &Prepared::ranges(target, "large", LARGE_OBJECTS, size_bytes))?,
            Kind::List => run(target.address, load, &Pages { target, prefix: "list", keys: LIST_KEYS })?,
        };
        Ok((tally, Vec::new()))
    }
}

/// Replays the log of a gateway that has ended, with the gateway's own command.
fn replay(programs: &Programs, data: &Path) -> anyhow::Result<Replayed> {
    let started = Instant::now();
    let mut child = Command::new(&programs.artifactstore)
        .args(["replay", "--check", "--data-dir"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pids = [child.id()];
    let (mut cpu_seconds, mut peak) = (0.0_f64, 0);
    // The kernel forgets a process once it is waited for: what was seen last stands for the whole.
    while child.try_wait()?.is_none() {
        cpu_seconds = cpu_seconds.max(cpu(&pids).as_secs_f64());
        peak = peak.max(measure::peak_bytes(&pids));
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let why = told.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "`replay --check` ended with {}: {why}", output.status);
    let said = String::from_utf8(output.stdout).context("what replay said")?.trim().to_owned();
    Ok(Replayed { said, seconds, cpu_seconds, peak_bytes: peak })
}
