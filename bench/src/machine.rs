//! What this machine can do at most: the disk's syncs and the digests of a core. A bar that is a share of the machine is
//! a share of these.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use artifactstore_backends::hasher::BodyHasher;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::measure::cores;
use crate::quiet::{Attempts, Patience};

/// The limits of this machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub processor: String,
    /// How many of its cores there are to use.
    pub cores: usize,
    /// One file written in pieces of 1 MiB and synced (`fdatasync`) after every 64 MiB: megabytes a second.
    pub sequential_megabytes: f64,
    /// Files of 4 KiB created, written and synced, with the folder, by one thread: files a second.
    pub files_alone: f64,
    /// The same by 32 threads.
    pub files_crowd: f64,
    /// A file of 4 KiB created, written and synced, then 4 KiB behind a log, synced: times a second, by one thread.
    pub file_then_log: f64,
    /// The same with a sync of the file's folder between the two.
    pub file_folder_then_log: f64,
    /// MD5, SHA-256 and BLAKE3 of one body in one pass: megabytes a second on one core.
    pub digests_megabytes: f64,
    /// MD5 alone.
    pub md5_megabytes: f64,
    /// SHA-256 alone.
    pub sha256_megabytes: f64,
    /// BLAKE3 alone.
    pub blake3_megabytes: f64,
}

const FILE_BYTES: usize = 4 << 10;
const PIECE_BYTES: usize = 1 << 20;
const SYNC_BYTES: usize = 64 << 20;
const DIGEST_PIECE_BYTES: usize = 64 << 10;

/// How often each limit is measured. A disk is not the same from one second to the next: the median of rounds that each
/// touch every limit says more than one long look at each.
const ROUNDS: u32 = 3;

/// Measures them, each for so long in all.
///
/// # Errors
/// When the folder cannot be written.
pub fn machine(below: &Path, time: Duration, patience: Patience) -> anyhow::Result<Machine> {
    std::fs::create_dir_all(below)?;
    let folder = Folder::fresh(below)?;
    let quiet_round = |_| {
        let mut attempts = Attempts::new(patience);
        while attempts.begin().is_some() {
            attempts.took(round(folder.path(), time / ROUNDS)?);
        }
        Ok(attempts.best().context("nothing was measured")?.0)
    };
    let rounds = (0..ROUNDS).map(quiet_round).collect::<anyhow::Result<Vec<Machine>>>()?;
    let median = |limit: fn(&Machine) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(limit).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    Ok(Machine {
        processor: processor(),
        cores: cores(),
        sequential_megabytes: median(|round| round.sequential_megabytes),
        files_alone: median(|round| round.files_alone),
        files_crowd: median(|round| round.files_crowd),
        file_then_log: median(|round| round.file_then_log),
        file_folder_then_log: median(|round| round.file_folder_then_log),
        digests_megabytes: median(|round| round.digests_megabytes),
        md5_megabytes: median(|round| round.md5_megabytes),
        sha256_megabytes: median(|round| round.sha256_megabytes),
        blake3_megabytes: median(|round| round.blake3_megabytes),
    })
}

fn round(path: &Path, time: Duration) -> anyhow::Result<Machine> {
    Ok(Machine {
        sequential_megabytes: sequential(path, time)?,
        files_alone: files(path, time, 1, Then::Folder)?,
        files_crowd: files(path, time, 32, Then::Folder)?,
        file_then_log: files(path, time, 1, Then::Log)?,
        file_folder_then_log: files(path, time, 1, Then::FolderAndLog)?,
        digests_megabytes: digest(time, |bytes| {
            let mut hasher = BodyHasher::new().with_md5().with_sha256();
            // In pieces that stay in the caches, as bodies come.
            bytes.chunks(DIGEST_PIECE_BYTES).for_each(|piece| hasher.update(piece));
            std::hint::black_box(hasher.finish());
        }),
        md5_megabytes: digest(time, |bytes| {
            std::hint::black_box(<md5::Md5 as md5::Digest>::digest(bytes));
        }),
        sha256_megabytes: digest(time, |bytes| {
            std::hint::black_box(<sha2::Sha256 as sha2::Digest>::digest(bytes));
        }),
        blake3_megabytes: digest(time, |bytes| {
            std::hint::black_box(blake3::hash(bytes));
        }),
        ..Machine::default()
    })
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn random(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(b"limits").finalize_xof().fill(&mut bytes);
    bytes
}

fn sequential(folder: &Path, time: Duration) -> anyhow::Result<f64> {
    let piece = random(PIECE_BYTES);
    let mut file = File::create(folder.join("sequential"))?;
    let (started, mut written) = (Instant::now(), 0_usize);
    while started.elapsed() < time {
        for _ in 0..SYNC_BYTES / PIECE_BYTES {
            file.write_all(&piece)?;
        }
        file.sync_data()?;
        written += SYNC_BYTES;
    }
    let rate = written as f64 / 1e6 / started.elapsed().as_secs_f64();
    std::fs::remove_file(folder.join("sequential"))?;
    Ok(rate)
}

/// What follows the sync of a small file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Folder,
    Log,
    FolderAndLog,
}

fn files(below: &Path, time: Duration, threads: usize, then: Then) -> anyhow::Result<f64> {
    let folder = Folder::fresh(below)?;
    let bytes = random(FILE_BYTES);
    let done = AtomicU64::new(0);
    let started = Instant::now();
    let one_thread = &|thread: usize| -> anyhow::Result<()> {
        // As the layout of objects does, so that not all of them wait for one folder.
        let own = folder.path().join(format!("{thread:02x}"));
        std::fs::create_dir(&own)?;
        let mut log = OpenOptions::new().create(true).append(true).open(own.join("log"))?;
        for number in 0.. {
            if started.elapsed() >= time {
                break;
            }
            let mut file = File::create(own.join(number.to_string()))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            if then != Then::Log {
                File::open(&own)?.sync_all()?;
            }
            if then != Then::Folder {
                log.write_all(&bytes)?;
                log.sync_data()?;
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one_thread(thread))).collect();
        running.into_iter().try_for_each(|thread| thread.join().ok().context("a thread ended")?)
    })?;
    Ok(done.into_inner() as f64 / started.elapsed().as_secs_f64())
}

/// Megabytes a second, over a body that does not fit the caches.
fn digest(time: Duration, of: impl Fn(&[u8])) -> f64 {
    let bytes = random(SYNC_BYTES);
    let (started, mut passes) = (Instant::now(), 0_usize);
    while started.elapsed() < time {
        of(&bytes);
        passes += 1;
    }
    (passes * bytes.len()) as f64 / 1e6 / started.elapsed().as_secs_f64()
}
