//! What commands write: lines on the standard output, and a bar on the standard error where someone watches.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use artifactstore_registry::actions::request::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::CliError;

/// Writes a line.
pub(super) fn line(text: impl Display) -> Result<(), CliError> {
    writeln!(io::stdout().lock(), "{text}").map_err(CliError::Output)
}

/// Writes a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(|error| CliError::Output(error.into()))?;
    line(text)
}

/// Makes text from outside safe to show: names may hold anything, a terminal's own commands included.
pub(super) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Pieces.
    Pieces(&'static str),
    /// Bytes.
    Bytes,
    /// Steps of which nobody knows how many there will be: what was done is said in words.
    Steps,
}

/// A bar for long work; not there at all unless the standard error is a terminal.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    counted: Counted,
}

impl Bar {
    pub(super) fn new(counted: Counted) -> Self {
        if !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), counted };
        }
        let template = match counted {
            Counted::Bytes => "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left".to_owned(),
            Counted::Pieces(what) => format!("{{wide_bar}} {{pos}} of {{len}} {what}, {{eta}} left"),
            Counted::Steps => "{spinner} {wide_msg} {elapsed}".to_owned(),
        };
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style), counted }
    }

    /// Moves the bar.
    pub(super) fn show(&self, progress: Progress) {
        let (done, total) = match self.counted {
            Counted::Bytes => (progress.bytes, progress.total_bytes),
            Counted::Pieces(_) | Counted::Steps => (progress.done, progress.total),
        };
        self.bar.set_length(total.max(done));
        self.bar.set_position(done);
    }

    /// Says what was done so far.
    pub(super) fn say(&self, words: String) {
        self.bar.set_message(words);
        self.bar.tick();
    }

    /// Writes a line on the standard output without tearing the bar.
    pub(super) fn line(&self, text: impl Display) {
        // A reader that is gone is noticed by the summary, which can fail.
        let _ = self.bar.suspend(|| writeln!(io::stdout().lock(), "{text}"));
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_the_rest_is_kept() {
        assert_eq!(shown("a\u{1b}[2J\nü"), "a\\u{1b}[2J\\nü");
    }
}
