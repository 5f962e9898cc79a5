//! What the micro benches came to: criterion leaves an estimate of each beside its benchmark's description.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use super::{figure, table};

#[derive(Deserialize)]
struct Described {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
enum Throughput {
    Bytes(u64),
    Elements(u64),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// The table of all benches whose results lie below this folder; `None` when there are none.
///
/// # Errors
/// When what lies there cannot be read.
pub fn micro_table(folder: &Path) -> anyhow::Result<Option<String>> {
    let mut rows = Vec::new();
    collect(folder, &mut rows)?;
    rows.sort();
    let head = ["bench", "time", "throughput"];
    Ok((!rows.is_empty()).then(|| table(&head, &rows)))
}

fn collect(folder: &Path, rows: &mut Vec<Vec<String>>) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let (described, estimates) = (path.join("new/benchmark.json"), path.join("new/estimates.json"));
        if !described.exists() {
            collect(&path, rows)?;
            continue;
        }
        let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
        let described: Described = serde_json::from_slice(&read(&described)?)?;
        let estimates: Estimates = serde_json::from_slice(&read(&estimates)?)?;
        let nanos = estimates.median.point_estimate;
        let throughput = match described.throughput {
            Some(Throughput::Bytes(bytes)) => format!("{} MB/s", figure(bytes as f64 * 1e3 / nanos)),
            Some(Throughput::Elements(count)) => format!("{}/s", figure(count as f64 * 1e9 / nanos)),
            Some(Throughput::Other) | None => String::new(),
        };
        rows.push(vec![described.full_id, time(nanos), throughput]);
    }
    Ok(())
}

fn time(nanos: f64) -> String {
    match nanos {
        n if n >= 1e6 => format!("{} ms", figure(n / 1e6)),
        n if n >= 1e3 => format!("{} us", figure(n / 1e3)),
        n => format!("{} ns", figure(n)),
    }
}
