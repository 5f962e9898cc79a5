//! Waiting for a quiet machine: on a virtual one the host gives the cores to others whenever it likes, and a server that is
//! measured in such a minute is compared with one that is not.
//!
//! What is measured begins when the cores are there, and is measured again when they were taken away meanwhile; the
//! attempt from which least was taken counts.

use std::time::{Duration, Instant};

use crate::measure::{cores, stolen};

/// How often what was disturbed is measured again.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Patience {
    /// How often at most something is measured while the machine's host takes its cores away
    #[arg(long, env = "BENCH_TRIES", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub tries: u32,
}

/// The share of the cores' time that may be taken from what is measured.
pub const LIMIT: f64 = 0.05;
/// How long the cores are tried before something is measured: an idle machine has nothing taken away.
const PROBE: Duration = Duration::from_millis(250);
/// How long cores are waited for, before each attempt.
const WAIT: Duration = Duration::from_secs(20);
/// How long until they are tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Measures something as often as is needed: [`Attempts::begin`] before each attempt, [`Attempts::took`] behind it.
#[derive(Debug)]
pub struct Attempts<T> {
    tries: u32,
    made: u32,
    begun: (Instant, Duration),
    best: Option<(T, f64)>,
}

impl<T> Attempts<T> {
    /// With so much patience.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self { tries: patience.tries.max(1), made: 0, begun: (Instant::now(), stolen()), best: None }
    }

    /// The number of the next attempt, from 0, as soon as the cores are there or were waited for long enough; `None` when
    /// no other is needed.
    pub fn begin(&mut self) -> Option<u32> {
        let number = self.due()?;
        if self.tries > 1 {
            wait();
        }
        self.begun = (Instant::now(), stolen());
        Some(number)
    }

    /// What the attempt found.
    pub fn took(&mut self, found: T) {
        let (begun, before) = self.begun;
        self.weigh(found, share(begun.elapsed(), stolen().saturating_sub(before)));
    }

    /// What was found with the least taken away, and how much that was: a share of the cores' time.
    #[must_use]
    pub fn best(self) -> Option<(T, f64)> {
        self.best
    }

    fn due(&self) -> Option<u32> {
        let disturbed = self.best.as_ref().is_none_or(|(_, share)| *share > LIMIT);
        (disturbed && self.made < self.tries).then_some(self.made)
    }

    fn weigh(&mut self, found: T, share: f64) {
        self.made += 1;
        if self.best.as_ref().is_none_or(|(_, least)| share < *least) {
            self.best = Some((found, share));
        }
    }
}

fn share(time: Duration, stolen: Duration) -> f64 {
    stolen.as_secs_f64() / (time.as_secs_f64() * cores() as f64).max(f64::EPSILON)
}

/// Waits until cores that are wanted are there.
fn wait() {
    let begun = Instant::now();
    while begun.elapsed() < WAIT {
        let (probed, before) = (Instant::now(), stolen());
        std::thread::scope(|scope| {
            for _ in 0..cores() {
                scope.spawn(|| while probed.elapsed() < PROBE {});
            }
        });
        if share(probed.elapsed(), stolen().saturating_sub(before)) <= LIMIT {
            break;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempts, LIMIT, Patience};

    #[test]
    fn what_was_disturbed_is_measured_again_and_the_quietest_counts() {
        let mut attempts = Attempts::new(Patience { tries: 3 });
        for (number, (found, share)) in [("first", 0.4), ("second", 0.1), ("third", 0.2)].into_iter().enumerate() {
            assert_eq!(attempts.due(), u32::try_from(number).ok());
            attempts.weigh(found, share);
        }
        assert_eq!(attempts.due(), None, "patience has an end");
        assert_eq!(attempts.best(), Some(("second", 0.1)));
    }

    #[test]
    fn what_was_quiet_is_measured_once() {
        let mut attempts = Attempts::new(Patience { tries: 3 });
        assert_eq!(attempts.begin(), Some(0));
        attempts.weigh("quiet", LIMIT);
        assert_eq!(attempts.begin(), None);
        assert_eq!(attempts.best().map(|(found, _)| found), Some("quiet"));
    }
}
