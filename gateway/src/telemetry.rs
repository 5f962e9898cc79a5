//! The log of the program, on the standard error, and the counts that `/metrics` shows.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Begins to log. A second call changes nothing, so that tests may each make one.
pub fn init(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter(level)).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if begun.is_err() {
        tracing::debug!("the log was begun already");
    }
}

/// s3s calls every refusal an error, and names no request; what it says is in the access log and the answer already. It
/// speaks when it is asked by name.
fn filter(level: &str) -> String {
    if level.contains("s3s") { level.to_owned() } else { format!("{level},s3s=off") }
}

/// An error and its causes, in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers that only pass an error on say the same words again.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace(['\n', '\r'], " ")
}

/// How many requests one listener answered, by the first digit of the status.
#[derive(Debug, Default)]
pub struct RequestCounts([AtomicU64; 5]);

impl RequestCounts {
    /// Counts an answer.
    pub fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }

    /// The classes, `1xx` to `5xx`, each with its count.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_causes_is_one_line_without_echoes() {
        let inner = std::io::Error::other("the disk\nis gone");
        let outer = crate::compose::StartError::FolderUnusable { path: "/x".into(), source: inner };
        assert_eq!(chain(&outer), "cannot use the folder /x: the disk is gone");
    }

    #[test]
    fn the_library_below_speaks_when_it_is_asked_by_name() {
        assert_eq!(filter("info"), "info,s3s=off");
        assert_eq!(filter("info,s3s=debug"), "info,s3s=debug");
    }

    #[test]
    fn answers_are_counted_by_class() {
        let counts = RequestCounts::default();
        counts.count(StatusCode::OK);
        counts.count(StatusCode::NOT_FOUND);
        counts.count(StatusCode::CONFLICT);
        let read: Vec<_> = counts.read().filter(|(_, count)| *count > 0).collect();
        assert_eq!(read, [("2xx", 1), ("4xx", 2)]);
    }
}
