//! What processes cost: CPU time and memory as the kernel counts them, and the spread of latencies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The CPU time that these processes have taken so far, with all their threads, also those that have ended.
#[must_use]
pub fn cpu(pids: &[u32]) -> Duration {
    let ticks_a_second = rustix::param::clock_ticks_per_second().max(1);
    let ticks: u64 = pids.iter().filter_map(|pid| ticks(*pid)).sum();
    Duration::from_micros(ticks * 1_000_000 / ticks_a_second)
}

/// User and system time, in ticks.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; the fields are counted from behind its last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The CPU time that the whole machine has spent so far on anything at all, with what its host took from it.
#[must_use]
pub fn machine_cpu() -> Duration {
    machine_time(|kind| !matches!(kind, 3 | 4))
}

/// The CPU time that the host of this machine took from it so far, while it had work to do.
#[must_use]
pub fn stolen() -> Duration {
    machine_time(|kind| kind == 7)
}

/// The time of all cores, of these kinds: user nice system idle iowait irq softirq steal; guests are part of user and nice.
fn machine_time(kinds: impl Fn(usize) -> bool) -> Duration {
    let ticks_a_second = rustix::param::clock_ticks_per_second().max(1);
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let counted = fields.take(8).enumerate().filter(|(kind, _)| kinds(*kind));
    let ticks: u64 = counted.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum();
    Duration::from_micros(ticks * 1_000_000 / ticks_a_second)
}

fn status_bytes(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The memory that these processes have resident now, in bytes.
#[must_use]
pub fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_bytes(*pid, "VmRSS")).sum()
}

/// The most memory that these processes had resident since [`forget_peak`], in bytes. Several processes may have peaked
/// at different times.
#[must_use]
pub fn peak_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_bytes(*pid, "VmHWM")).sum()
}

/// Lets the peak begin anew. Where the kernel does not allow it, the peak is that of the process's whole life.
pub fn forget_peak(pids: &[u32]) {
    for pid in pids {
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// A process and all that descend from it.
#[must_use]
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let parents: Vec<(u32, u32)> = processes().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        at += 1;
    }
    found
}

/// The processes whose program has one of these names.
#[must_use]
pub fn named(names: &[&str]) -> Vec<u32> {
    processes()
        .filter(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            names.contains(&name.trim())
        })
        .collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// How many cores this process may use.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How long operations took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: f64,
    /// None took longer, in milliseconds.
    pub max_ms: f64,
}

impl Latency {
    /// Of so many microseconds each; all zero of none.
    #[must_use]
    pub fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            let rank = (micros.len() as f64 * share).ceil() as usize;
            micros.get(rank.saturating_sub(1)).map_or(0.0, |micros| *micros as f64 / 1000.0)
        };
        Self { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Latency, cpu, family, machine_cpu, resident_bytes};

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let latency = Latency::of((1..=1000).rev().map(|n| n * 1000).collect());
        assert_eq!(latency, Latency { p50_ms: 500.0, p99_ms: 990.0, max_ms: 1000.0 });
        assert_eq!(Latency::of(vec![7000]), Latency { p50_ms: 7.0, p99_ms: 7.0, max_ms: 7.0 });
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn work_of_this_process_is_counted() {
        let own = [std::process::id()];
        let (before, started) = (cpu(&own), Instant::now());
        let machine = machine_cpu();
        while started.elapsed() < Duration::from_secs(5) && cpu(&own) < before + Duration::from_millis(50) {
            std::hint::black_box(blake3::hash(&[0; 4096]));
        }
        assert!(cpu(&own) >= before + Duration::from_millis(50));
        assert!(machine_cpu() >= machine + Duration::from_millis(30), "the machine's time has this process's in it");
        assert!(resident_bytes(&own) > 1 << 20);
        assert_eq!(family(own[0])[0], own[0]);
    }
}
