//! Progress for people: what is under way, on a terminal only; what is done, everywhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells what is under way.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows a moving line on the standard error, if that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// What is under way now.
    pub fn step(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    /// What is done; stays, and is printed also where there is no terminal.
    pub fn line(&self, text: &str) {
        self.0.suspend(|| eprintln!("{text}"));
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
