//! Watching whether the clock goes further than time does.
//!
//! Within a process the monotonic clock tells: what the clock goes ahead of that is a jump, however small it is beyond what two
//! clocks may differ by. Across a stop only the log tells, and what lies between its last event and the beginning of a process
//! cannot be proved: up to a limit, in all, it is believed, and that it was is recorded.
//!
//! Invariant: a jump is forgotten only once its event is committed.
//! Invariant: what is believed is recorded, but for a minute at each beginning.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::event::ClockJumped;
use crate::model::retention::{ClockJump, Watched, limit_micros};
use crate::model::row::Sequence;
use crate::model::state::Head;

/// How far behind the last event a process may begin without a word.
const BEGIN_ALLOWANCE: Duration = Duration::from_mins(1);
/// How far the clock may go ahead of the monotonic one while a process runs.
const RUN_ALLOWANCE: Duration = Duration::from_mins(10);
/// How much of the time that went by is added to that, as one part in so many: no two clocks run alike.
const DRIFT_PARTS: u32 = 10_000;

/// What is known of the time.
#[derive(Debug, Clone)]
pub struct ClockWatch {
    /// The monotonic clock when this process began.
    begun: Duration,
    /// What was seen when the clock was first compared with the log.
    anchor: Option<Anchor>,
}

/// From where on the monotonic clock tells what time it is.
#[derive(Debug, Clone)]
struct Anchor {
    /// What the clock showed.
    shown: Timestamp,
    /// The monotonic clock then.
    at: Duration,
    /// The last event then.
    sequence: Sequence,
    /// What lies between that event and this moment, as long as it is not recorded.
    gap: Option<(Timestamp, Timestamp)>,
    /// How much of what the clock is ahead by is known to be recorded.
    recorded_micros: i64,
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn plus(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(micros(by)))
}

impl Anchor {
    /// How far the clock is ahead of the monotonic one, in microseconds.
    fn ahead(&self, shown: Timestamp, at: Duration) -> i64 {
        shown.0.saturating_sub(plus(self.shown, at.saturating_sub(self.at)).0)
    }

    fn allowance(&self, at: Duration) -> i64 {
        micros(RUN_ALLOWANCE + at.saturating_sub(self.at) / DRIFT_PARTS)
    }

    /// How much of what the clock may be ahead by is in the log: jumps that were recorded since. What another process believed
    /// when it began is none of them, and neither is what an operator said to be wrong, and is there all the same.
    fn recorded<'j>(&self, jumps: impl IntoIterator<Item = &'j ClockJump>) -> i64 {
        let wrong = |jump: &ClockJump| jump.settled_sequence.is_some() && !jump.genuine;
        let counts = |jump: &&ClockJump| jump.sequence > self.sequence && !jump.is_believed() && !wrong(jump);
        jumps.into_iter().filter(counts).map(ClockJump::length_micros).fold(0, i64::saturating_add)
    }
}

impl ClockWatch {
    /// Begins with a process, which knows of the time only what the log says.
    #[must_use]
    pub const fn begin(at: Duration) -> Self {
        Self { begun: at, anchor: None }
    }

    /// Compares the clock with the log, if that was not done yet.
    pub fn observe(&mut self, shown: Timestamp, at: Duration, head: Head) {
        if self.anchor.is_some() {
            return;
        }
        let known = plus(head.occurred_at, at.saturating_sub(self.begun));
        let is_gap = head.sequence > 0 && shown > plus(known, BEGIN_ALLOWANCE);
        let gap = is_gap.then_some((known, shown));
        self.anchor = Some(Anchor { shown, at, sequence: head.sequence, gap, recorded_micros: 0 });
    }

    /// Whether there may be something to be recorded: to be known, it takes the jumps that are in the log.
    #[must_use]
    pub fn suspects(&self, shown: Timestamp, at: Duration) -> bool {
        self.anchor.as_ref().is_some_and(|anchor| {
            let ahead = anchor.ahead(shown, at).saturating_sub(anchor.recorded_micros);
            anchor.gap.is_some() || ahead > anchor.allowance(at)
        })
    }

    /// What is to be recorded when the clock shows this and the log has these jumps.
    #[must_use]
    pub fn findings(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> Vec<ClockJumped> {
        let Some(anchor) = &self.anchor else { return Vec::new() };
        let mut found = Vec::new();
        if let Some((from, to)) = anchor.gap {
            let before = jumps.iter().filter(|jump| jump.is_believed()).map(|jump| jump.length_micros());
            let in_all = before.fold(to.0.saturating_sub(from.0), i64::saturating_add);
            found.push(ClockJumped { to, from, believed: in_all <= limit_micros() });
        }
        let news = anchor.ahead(shown, at).saturating_sub(anchor.recorded(jumps.iter().copied()));
        if news > anchor.allowance(at) {
            found.push(ClockJumped { to: shown, from: Timestamp(shown.0.saturating_sub(news)), believed: false });
        }
        found
    }

    /// Since when the clock was watched, if nothing is to be recorded.
    #[must_use]
    pub fn watched(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> Option<Watched> {
        let anchor = self.anchor.as_ref().filter(|_| self.findings(shown, at, jumps).is_empty())?;
        Some(Watched { sequence: anchor.sequence, shown: anchor.shown, until: shown })
    }

    /// Goes on from a committed batch that recorded what was found, by these events; the log has these jumps now.
    pub fn recorded(&mut self, events: &[Sequence], jumps: &[&ClockJump]) {
        let Some(anchor) = &mut self.anchor else { return };
        if let Some(event) = events.first().filter(|_| anchor.gap.is_some()) {
            // What was not believed at the beginning says nothing of how the clock has gone since.
            anchor.sequence = *event;
            anchor.gap = None;
        }
        anchor.recorded_micros = anchor.recorded(jumps.iter().copied());
    }
}

/// What is known of the time, for the writer, which records jumps, and for those who only ask.
#[derive(Debug, Clone)]
pub struct SharedWatch(Arc<Mutex<ClockWatch>>);

impl SharedWatch {
    /// Begins with a process.
    #[must_use]
    pub fn begin(at: Duration) -> Self {
        Self(Arc::new(Mutex::new(ClockWatch::begin(at))))
    }

    /// What is known when the clock shows this and the log ends there. Whoever asks reads the jumps that are recorded
    /// afterwards, so that none is missed in between.
    #[must_use]
    pub fn observe(&self, shown: Timestamp, at: Duration, head: Head) -> ClockWatch {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.observe(shown, at, head);
        watch.clone()
    }

    /// As [`ClockWatch::recorded`].
    pub fn recorded(&self, events: &[Sequence], jumps: &[&ClockJump]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recorded(events, jumps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn head(sequence: Sequence, hours: i64) -> Head {
        Head { sequence, occurred_at: at(hours), hash: [0; 32] }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp(hours * HOUR)
    }

    fn ran(hours: u64) -> Duration {
        Duration::from_hours(hours)
    }

    fn jump(sequence: Sequence, fact: &ClockJumped) -> ClockJump {
        ClockJump {
            sequence,
            from: fact.from,
            to: fact.to,
            settled_sequence: fact.believed.then_some(sequence),
            genuine: fact.believed,
        }
    }

    /// A process that began when the clock showed this, and compared it with the log at once.
    fn begun(hours: i64, log: Head) -> ClockWatch {
        let mut watch = ClockWatch::begin(ran(5));
        watch.observe(at(hours), ran(5), log);
        watch
    }

    #[test]
    fn a_clock_that_goes_with_time_never_jumps() {
        let watch = begun(100, head(7, 100));
        for (shown, elapsed) in [(100, 0), (820, 720), (700, 720)] {
            assert!(!watch.suspects(at(shown), ran(5 + elapsed)), "{shown}");
            assert_eq!(watch.findings(at(shown), ran(5 + elapsed), &[]), []);
        }
        let empty = begun(100, Head { sequence: 0, occurred_at: Timestamp(0), hash: [0; 32] });
        assert_eq!(empty.findings(at(100), ran(5), &[]), [], "before the first event there is nothing to compare with");
    }

    #[test]
    fn what_the_clock_goes_ahead_of_the_monotonic_one_is_a_jump_of_whatever_length() {
        let mut watch = begun(100, head(7, 100));
        let minutes = |minutes: i64| Timestamp(at(101).0 + minutes * 60_000_000);
        assert_eq!(watch.findings(minutes(9), ran(6), &[]), [], "clocks differ a little");
        let found = watch.findings(at(124), ran(6), &[]);
        assert_eq!(found, [ClockJumped { to: at(124), from: at(101), believed: false }]);
        let first = jump(8, &found[0]);
        watch.recorded(&[8], &[&first]);
        assert!(!watch.suspects(at(125), ran(7)));
        // The next step is another jump, and no more than that.
        let found = watch.findings(at(135), ran(7), &[&first]);
        assert_eq!(found, [ClockJumped { to: at(135), from: at(125), believed: false }]);
        assert_eq!(watch.watched(at(135), ran(7), &[&first]), None);
        // Whoever says that the clock was wrong did not mend it by that.
        let wrong = ClockJump { settled_sequence: Some(9), ..first.clone() };
        let found = watch.findings(at(125), ran(7), &[&wrong]);
        assert_eq!(found, [ClockJumped { to: at(125), from: at(102), believed: false }]);
        let genuine = ClockJump { genuine: true, ..wrong };
        assert_eq!(watch.findings(at(125), ran(7), &[&genuine]), []);
    }

    #[test]
    fn what_another_process_recorded_is_not_recorded_twice_and_what_it_believed_does_not_count() {
        let watch = begun(100, head(7, 100));
        let recorded = jump(8, &ClockJumped { to: at(124), from: at(101), believed: false });
        assert_eq!(watch.findings(at(124), ran(6), &[&recorded]), []);
        let believed = jump(8, &ClockJumped { to: at(124), from: at(101), believed: true });
        assert_eq!(watch.findings(at(124), ran(6), &[&believed]).len(), 1);
        // It knows better than whoever began meanwhile.
        let gap = jump(9, &ClockJumped { to: at(110), from: at(101), believed: true });
        let before = jump(6, &ClockJumped { to: at(90), from: at(85), believed: true });
        let watched = watch.watched(at(111), ran(16), &[&before, &gap]).unwrap();
        assert_eq!(watched.proves([&before, &gap]), [9]);
    }

    #[test]
    fn beginnings_are_believed_up_to_a_day_in_all() {
        assert_eq!(begun(100, head(7, 100)).findings(at(100), ran(5), &[]), []);
        let found = begun(123, head(7, 100)).findings(at(123), ran(5), &[]);
        assert_eq!(found, [ClockJumped { to: at(123), from: at(100), believed: true }]);
        let first = jump(8, &found[0]);
        let found = begun(124, head(9, 123)).findings(at(124), ran(5), &[&first]);
        assert!(found[0].believed, "a day in all");
        let found = begun(125, head(9, 123)).findings(at(125), ran(5), &[&first]);
        assert_eq!(found, [ClockJumped { to: at(125), from: at(123), believed: false }]);
        // Once somebody vouches for it, it counts no longer.
        let vouched = ClockJump { settled_sequence: Some(9), ..first };
        assert!(begun(125, head(9, 123)).findings(at(125), ran(5), &[&vouched])[0].believed);
        assert!(!begun(125, head(9, 100)).findings(at(125), ran(5), &[])[0].believed);
    }

    #[test]
    fn a_beginning_that_was_not_believed_hides_no_jump_behind_it() {
        let mut watch = begun(500, head(7, 100));
        let found = watch.findings(at(500), ran(5), &[]);
        let gap = jump(8, &found[0]);
        assert!(!gap.is_believed() && watch.suspects(at(500), ran(5)));
        watch.recorded(&[8], &[&gap]);
        assert!(!watch.suspects(at(500), ran(5)));
        assert_eq!(watch.findings(at(510), ran(5), &[&gap]).len(), 1);
    }
}
