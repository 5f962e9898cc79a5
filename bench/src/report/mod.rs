//! What was measured, as lines for a terminal and as tables for `docs/performance.md`.

pub mod bars;
pub mod micro;
pub mod page;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::listing::Listed;
use crate::log::{LogReport, Rebuilt, Written};
use crate::machine::Machine;
use crate::wire::op::Op;
use crate::wire::run::{Measured, WireReport};

/// Where results wait for being written down.
#[derive(Debug, Clone)]
pub struct Results {
    folder: PathBuf,
}

impl Results {
    /// In this folder.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a result until the next of its kind.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep(&self, name: &str, result: &impl Serialize) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.path(name);
        std::fs::write(&path, serde_json::to_vec_pretty(result)?).with_context(|| path.display().to_string())
    }

    /// The last result of a kind; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let path = self.path(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.folder).join(format!("{name}.json"))
    }
}

/// A figure with three digits that mean something.
#[must_use]
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
            let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| str::from_utf8(g).ok()).collect();
            format!("{sign}{}", groups.join(","))
        }
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// A share as a percentage.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{}%", figure(share * 100.0))
}

/// Bytes as MiB.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    figure(bytes as f64 / (1 << 20) as f64)
}

/// A table in Markdown.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    line(&head) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// One operation on one server, on a line.
#[must_use]
pub fn wire_line(one: &Measured) -> String {
    let error = one.first_error.as_ref().map_or_else(String::new, |error| {
        format!(", {} FAILED: {}", one.errors, error.chars().take(200).collect::<String>())
    });
    let complete = one.complete.map_or_else(String::new, |complete| {
        format!(", Complete {} ms (at most {})", figure(complete.p50_ms), figure(complete.max_ms))
    });
    format!(
        "{}: {}: {}/s, {} MB/s, p50 {} ms, p99 {} ms, server {} ms CPU each, client {} ms, others {} cores, host {}, peak {} MiB{complete}{error}",
        one.peer.title(),
        one.op.title(),
        figure(one.rate()),
        figure(one.megabytes()),
        figure(one.latency.p50_ms),
        figure(one.latency.p99_ms),
        figure(one.cpu_ms()),
        figure(client_ms(one)),
        figure(other_cores(one)),
        percent(one.stolen_share),
        mebibytes(one.server_peak_bytes),
    )
}

fn client_ms(one: &Measured) -> f64 {
    one.client_cpu_seconds * 1000.0 / one.operations.max(1) as f64
}

fn other_cores(one: &Measured) -> f64 {
    one.other_cpu_seconds / one.seconds.max(f64::EPSILON)
}

/// What a page of a listing costs in buckets of every size.
#[must_use]
pub fn listing_table(listed: &[Listed]) -> String {
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|one| {
            vec![
                one.kind.clone(),
                figure(one.keys as f64),
                one.entries.to_string(),
                figure(one.latency.p50_ms),
                figure(one.latency.p99_ms),
            ]
        })
        .collect();
    table(&["page of", "keys in the bucket", "entries", "p50 ms", "p99 ms"], &rows)
}

/// The writer under one load, on a line.
#[must_use]
pub fn written_line(one: &Written) -> String {
    let (rate, cpu) = written_figures(one);
    format!("log writer, {} waiting: {rate} events/s, {cpu} us CPU each, p50 {} ms", one.waiting, one.latency.p50_ms)
}

fn written_figures(one: &Written) -> (String, String) {
    (figure(one.events as f64 / one.seconds), figure(one.cpu_seconds * 1e6 / one.events.max(1) as f64))
}

/// A replay, on a line.
#[must_use]
pub fn rebuilt_line(one: &Rebuilt) -> String {
    format!(
        "replay of {} events: {}/s, {}/s a core, at most {} MiB",
        one.events,
        figure(one.events as f64 / one.seconds),
        figure(one.events as f64 / one.cpu_seconds.max(0.01)),
        mebibytes(one.peak_bytes)
    )
}

/// The limits of the machine.
#[must_use]
pub fn machine_table(machine: &Machine) -> String {
    let row = |what: &str, value: f64, unit: &str| vec![what.to_owned(), format!("{} {unit}", figure(value))];
    let rows = [
        row("one file, `fdatasync` after every 64 MiB", machine.sequential_megabytes, "MB/s"),
        row("4 KiB files with their folder, 1 thread", machine.files_alone, "/s"),
        row("4 KiB files with their folders, 32 threads", machine.files_crowd, "/s"),
        row("4 KiB file, then 4 KiB behind a log, 1 thread", machine.file_then_log, "/s"),
        row("4 KiB file, its folder, then 4 KiB behind a log, 1 thread", machine.file_folder_then_log, "/s"),
        row("MD5 + SHA-256 + BLAKE3 in one pass, 1 core", machine.digests_megabytes, "MB/s"),
        row("MD5, 1 core", machine.md5_megabytes, "MB/s"),
        row("SHA-256, 1 core", machine.sha256_megabytes, "MB/s"),
        row("BLAKE3, 1 core", machine.blake3_megabytes, "MB/s"),
    ];
    format!("{}, {} cores.\n\n{}", machine.processor, machine.cores, table(&["limit", "measured"], &rows))
}

/// The log's tables.
#[must_use]
pub fn log_table(log: &LogReport) -> String {
    let written: Vec<Vec<String>> = log
        .written
        .iter()
        .map(|one| {
            let (rate, cpu) = written_figures(one);
            vec![one.waiting.to_string(), rate, cpu, figure(one.latency.p50_ms), figure(one.latency.p99_ms)]
        })
        .collect();
    let rebuilt: Vec<Vec<String>> = log
        .rebuilt
        .iter()
        .map(|one| {
            vec![
                figure(one.events as f64),
                figure(one.events as f64 / one.seconds),
                figure(one.events as f64 / one.cpu_seconds.max(0.01)),
                mebibytes(one.peak_bytes),
            ]
        })
        .collect();
    let head = ["commands waiting", "events/s", "CPU us/event", "p50 ms", "p99 ms"];
    let writer = table(&head, &written);
    let head = ["events replayed", "events/s", "events/s a core", "peak MiB"];
    format!("{writer}\n{}", table(&head, &rebuilt))
}

/// Every operation on every server.
#[must_use]
pub fn wire_table(wire: &WireReport) -> String {
    let mut text = format!(
        "Each operation for {} s; bodies signed as {}.\n",
        figure(wire.seconds),
        if wire.signed_payload { "their SHA-256" } else { "`UNSIGNED-PAYLOAD`" }
    );
    let mut ops: Vec<Op> = wire.measured.iter().map(|one| one.op).collect();
    ops.sort_unstable();
    ops.dedup();
    for op in ops {
        let rows: Vec<Vec<String>> =
            wire.measured.iter().filter(|one| one.op == op).map(|one| wire_row(wire, one)).collect();
        let head = [
            "server",
            "per second",
            "MB/s",
            "p50 ms",
            "p99 ms",
            "server CPU ms each",
            "client CPU ms each",
            "others' cores",
            "taken by the host",
            "peak MiB",
            "ours / it",
        ];
        text.push_str(&format!("\n**{}**\n\n{}", op.title(), table(&head, &rows)));
        for one in wire.measured.iter().filter(|one| one.op == op) {
            if let Some(complete) = one.complete {
                let (name, p50, max) = (one.peer.title(), figure(complete.p50_ms), figure(complete.max_ms));
                text.push_str(&format!("\n{name}: Complete took {p50} ms, at most {max} ms.\n"));
            }
        }
    }
    let idle: Vec<Vec<String>> =
        wire.idle_bytes.iter().map(|(peer, bytes)| vec![peer.title().to_owned(), mebibytes(*bytes)]).collect();
    text.push_str(&format!(
        "\n**Memory of a server that has done nothing yet**\n\n{}",
        table(&["server", "MiB"], &idle)
    ));
    if let Some(replayed) = &wire.replayed {
        text.push_str(&format!(
            "\n`artifactstore replay --check` of the log that this run made: {}. It took {} s, {} s of CPU and {} MiB.\n",
            replayed.said,
            figure(replayed.seconds),
            figure(replayed.cpu_seconds),
            mebibytes(replayed.peak_bytes)
        ));
    }
    for (peer, why) in &wire.skipped {
        text.push_str(&format!("\n{} was not measured: {why}.\n", peer.title()));
    }
    text
}

fn wire_row(wire: &WireReport, one: &Measured) -> Vec<String> {
    if one.errors > 0 || one.operations == 0 {
        let error: String = one.first_error.iter().flat_map(|error| error.chars()).take(80).collect();
        let mut row = vec![one.peer.title().to_owned(), format!("{} failed: {}", one.errors, error.replace('|', "/"))];
        row.resize(11, String::new());
        return row;
    }
    let ours = wire.find(crate::wire::peer::Peer::Artifactstore, one.op);
    vec![
        one.peer.title().to_owned(),
        figure(one.rate()),
        if one.bytes == 0 { String::new() } else { figure(one.megabytes()) },
        figure(one.latency.p50_ms),
        figure(one.latency.p99_ms),
        figure(one.cpu_ms()),
        figure(client_ms(one)),
        figure(other_cores(one)),
        percent(one.stolen_share),
        mebibytes(one.server_peak_bytes),
        ours.map_or_else(String::new, |ours| format!("{}x", figure(ours.rate() / one.rate().max(f64::EPSILON)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_three_digits_that_mean_something() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -1234.0].map(figure);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
    }
}
