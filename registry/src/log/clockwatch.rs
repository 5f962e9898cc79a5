//! Watching whether the clock goes further than time does.
//!
//! Within a process the monotonic clock tells: what the clock goes ahead of that is a jump, however small it is beyond what two
//! clocks may differ by. Between two processes nothing tells, and what lies there is believed, up to a limit in all.
//!
//! The log keeps account of it ([`Reckoning`]). A process that begins counts from the last account, and not from the
//! last event: what those before it let pass without a word is counted again, and does not add up.
//!
//! A clock that is found behind where it ought to be was wrong, or is. Nothing that was counted for it then goes on
//! counting, or the clock could be set forward once more by as much, and nobody would see it.
//!
//! Invariant: a jump is forgotten only once its event is committed.
//! Invariant: what is neither known nor recorded is no more than the allowances of one beginning and of one run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::event::{ClockJumped, Head};
use crate::model::retention::{ClockJump, Reckoning, accounting, believed_micros, limit_micros, wrong_since};
use crate::model::row::Sequence;

/// How far behind the last account of the time a process may begin without a word: beside a gateway, which accounts
/// for it more often than that, commands begin and end and record nothing.
const BEGIN_ALLOWANCE: Duration = Duration::from_hours(1);
/// How far the clock may go ahead of the monotonic one while a process runs.
const RUN_ALLOWANCE: Duration = Duration::from_mins(10);
/// How much of the time that went by is added to that, as one part in so many: no two clocks run alike.
const DRIFT_PARTS: u32 = 10_000;

/// What a process finds in the log when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Where the log ends.
    pub head: Head,
    /// When its first event was recorded.
    pub first: Option<Timestamp>,
    /// The jumps of the clock.
    pub jumps: &'a [&'a ClockJump],
}

/// What is known of the time.
#[derive(Debug, Clone, Default)]
pub struct ClockWatch {
    /// What was seen when the clock was first compared with the log.
    anchor: Option<Anchor>,
    /// The jumps as they were when the log was last looked at.
    seen: Arc<[ClockJump]>,
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
    /// When that was recorded.
    logged: Timestamp,
    /// Until when the log accounted for the time.
    accounted: Timestamp,
    /// How much was believed in all.
    believed_micros: i64,
    /// Whether the log, though it is old, has no account at all: that of an older version.
    is_first: bool,
    /// The last of the jumps that the clock has come back from: up to there none is counted.
    mended: Sequence,
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn plus(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp(time.0.saturating_add(micros))
}

/// How long it is from one moment to another; nothing when that is before it.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    to.0.saturating_sub(from.0).max(0)
}

impl Anchor {
    fn new(shown: Timestamp, at: Duration, found: &Found<'_>) -> Self {
        let Found { head, first, jumps } = *found;
        let last = accounting(jumps);
        let (accounted, is_first) = match (last, first) {
            _ if head.sequence == 0 => (shown, false),
            (Some(row), _) => (row.to, false),
            (None, Some(first)) if between(first, head.occurred_at) <= limit_micros() => (first, false),
            (None, _) => (head.occurred_at, true),
        };
        // What was recorded by a clock that was wrong accounts for nothing.
        let wrong = wrong_since(jumps, last.map_or(0, |row| row.sequence)).map(|jump| jump.from);
        let accounted = wrong.fold(accounted, Timestamp::min);
        let known = jumps.iter().map(|jump| jump.sequence.max(jump.settled_sequence.unwrap_or(0)));
        Self {
            shown,
            at,
            sequence: known.fold(head.sequence, Sequence::max),
            logged: head.occurred_at,
            accounted,
            believed_micros: believed_micros(jumps.iter().copied()),
            is_first,
            mended: 0,
        }
    }

    /// From where on it tells once the clock was found behind. Back at the time that this process knows, it is mended,
    /// and only the jumps were wrong. Anywhere else nothing of what was known holds any more: as for one that begins.
    fn anew(&self, shown: Timestamp, at: Duration, found: &Found<'_>) -> Self {
        let known = plus(self.begun(found.jumps), self.passed(at));
        if known.0.abs_diff(shown.0) <= self.allowance(at).unsigned_abs() {
            let mended = found.jumps.iter().map(|jump| jump.sequence).fold(self.mended, Sequence::max);
            return Self { mended, ..self.clone() };
        }
        let anew = Self::new(shown, at, found);
        if found.head.sequence == 0 || accounting(found.jumps).is_some() {
            return anew;
        }
        // Nobody accounted for the time since this process looked first.
        let wrong = wrong_since(found.jumps, 0).map(|jump| jump.from);
        Self { accounted: wrong.fold(self.accounted, Timestamp::min), is_first: self.is_first, ..anew }
    }

    /// Jumps that were recorded since. What an operator said to be wrong is none of them: it is there all the same.
    fn later<'j>(&self, jumps: &[&'j ClockJump]) -> impl DoubleEndedIterator<Item = &'j ClockJump> {
        let since = self.sequence;
        jumps.iter().copied().filter(move |jump| jump.sequence > since && !jump.is_wrong())
    }

    /// Until when the log accounted for the time at the beginning, less what was said to be wrong since.
    fn accounted(&self, jumps: &[&ClockJump]) -> Timestamp {
        let before = wrong_since(jumps, self.sequence).filter(|jump| jump.sequence <= self.sequence);
        before.map(|jump| jump.from).fold(self.accounted, Timestamp::min)
    }

    /// The time at the beginning: what the clock showed, or that of the last event, if the clock was behind. One that a
    /// wrong clock took along says nothing.
    fn begun(&self, jumps: &[&ClockJump]) -> Timestamp {
        let misled = |jump: &&ClockJump| jump.is_wrong() && jump.sequence <= self.sequence && jump.to > self.shown;
        if jumps.iter().any(misled) { self.shown } else { self.shown.max(self.logged) }
    }

    /// What lies between the account of the log and the beginning, as long as nobody recorded it.
    fn gap(&self, jumps: &[&ClockJump]) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = (self.accounted(jumps), self.begun(jumps));
        let from = self.later(jumps).next_back().map_or(from, |last| last.to.max(from));
        (from < to).then_some((from, to))
    }

    /// Where the clock ought to be: as much further as time went by, and by the jumps that are recorded. What another
    /// process believed when it began is none of them, and neither is what lies before this one.
    fn due(&self, at: Duration, jumps: &[&ClockJump]) -> Timestamp {
        let begun = self.begun(jumps);
        let recorded = self.later(jumps).filter(|jump| jump.sequence > self.mended && !jump.is_believed());
        let recorded = recorded.map(|jump| between(jump.from.max(begun), jump.to)).fold(0, i64::saturating_add);
        plus(plus(begun, self.passed(at)), recorded)
    }

    /// How much time went by.
    fn passed(&self, at: Duration) -> i64 {
        micros(at.saturating_sub(self.at))
    }

    /// How far the clock may be ahead of that because no two run alike.
    fn drift(&self, at: Duration) -> i64 {
        micros(at.saturating_sub(self.at) / DRIFT_PARTS)
    }

    /// How far the clock may be from where it ought to be without a word.
    fn allowance(&self, at: Duration) -> i64 {
        micros(RUN_ALLOWANCE).saturating_add(self.drift(at))
    }

    fn is_behind(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> bool {
        between(shown, self.due(at, jumps)) > self.allowance(at)
    }

    fn findings(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> Vec<ClockJumped> {
        let due = self.due(at, jumps);
        let jumped = between(due, shown) > self.allowance(at);
        let worth = |&(from, to): &(Timestamp, Timestamp)| between(from, to) > micros(BEGIN_ALLOWANCE);
        // By the moment of a jump all is accounted for, so that none comes without what lies before it.
        let gap = self.gap(jumps).filter(|gap| jumped || self.is_first || worth(gap));
        let believed = believed_micros(jumps.iter().copied());
        let gap = gap.map(|(from, to)| ClockJumped {
            to,
            from,
            believed: believed.saturating_add(between(from, to)) <= limit_micros(),
        });
        let jump = jumped.then_some(ClockJumped { to: shown, from: due, believed: false });
        gap.into_iter().chain(jump).collect()
    }

    fn reckoning(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> Reckoning {
        let gap = between(self.accounted(jumps), self.begun(jumps));
        let own = self.believed_micros.saturating_add(gap);
        // Since an account that this process has seen the making of, it has watched.
        let seen = self.later(jumps).next().map(|_| believed_micros(jumps.iter().copied()));
        let drifted = plus(self.due(at, jumps), self.drift(at));
        let owed_micros = seen.map_or(own, |seen| seen.min(own)).saturating_add(between(drifted, shown));
        let last = accounting(jumps);
        Reckoning {
            shown,
            owed_micros,
            accounted: last.map_or(self.accounted, |row| row.to),
            sequence: last.map_or(0, |row| row.sequence),
        }
    }
}

impl ClockWatch {
    /// Compares the clock with the log, if that was not done yet.
    pub fn begin(&mut self, shown: Timestamp, at: Duration, found: &Found<'_>) {
        if self.anchor.is_none() {
            self.anchor = Some(Anchor::new(shown, at, found));
            self.look(found.jumps);
        }
    }

    /// Begins anew if the clock was behind where it ought to be, in a log that had these jumps before it was looked at.
    /// Whoever looked earlier than the last to do so comes too late.
    pub fn mend(&mut self, shown: Timestamp, at: Duration, found: &Found<'_>) {
        let anchor = self.anchor.as_ref().filter(|anchor| anchor.at <= at);
        let behind = anchor.filter(|anchor| anchor.is_behind(shown, at, found.jumps));
        if let Some(anew) = behind.map(|anchor| anchor.anew(shown, at, found)) {
            tracing::debug!(%shown, "the clock is behind where it ought to be; the time is counted anew");
            self.anchor = Some(anew);
        }
    }

    /// Whether that was done.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.anchor.is_some()
    }

    /// Whether there may be something to be recorded: to be known, it takes the jumps that are in the log.
    #[must_use]
    pub fn suspects(&self, shown: Timestamp, at: Duration) -> bool {
        !self.findings(shown, at, &self.seen.iter().collect::<Vec<_>>()).is_empty()
    }

    /// Whether the clock seems to be behind where it ought to be: [`Self::mend`] takes the jumps that are in the log.
    #[must_use]
    pub fn lags(&self, shown: Timestamp, at: Duration) -> bool {
        let seen: Vec<&ClockJump> = self.seen.iter().collect();
        self.anchor.as_ref().is_some_and(|anchor| anchor.is_behind(shown, at, &seen))
    }

    /// What is to be recorded when the clock shows this and the log has these jumps.
    #[must_use]
    pub fn findings(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> Vec<ClockJumped> {
        self.anchor.as_ref().map(|anchor| anchor.findings(shown, at, jumps)).unwrap_or_default()
    }

    /// What can be said of the time, if nothing is to be recorded.
    #[must_use]
    pub fn reckoning(&self, shown: Timestamp, at: Duration, jumps: &[&ClockJump]) -> Option<Reckoning> {
        let anchor = self.anchor.as_ref().filter(|_| self.findings(shown, at, jumps).is_empty())?;
        Some(anchor.reckoning(shown, at, jumps))
    }

    fn look(&mut self, jumps: &[&ClockJump]) {
        self.seen = jumps.iter().copied().cloned().collect();
    }
}

/// What is known of the time, for the writer, which records jumps, and for those who only ask.
#[derive(Debug, Clone, Default)]
pub struct SharedWatch(Arc<Mutex<ClockWatch>>);

impl SharedWatch {
    /// What is known by now.
    #[must_use]
    pub fn known(&self) -> ClockWatch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known from then on, if nothing was known before, or the clock went back. All events of the log up to the
    /// head that was found were recorded before the clock showed this.
    #[must_use]
    pub fn begun(&self, shown: Timestamp, at: Duration, found: &Found<'_>) -> ClockWatch {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.begin(shown, at, found);
        let before = |jump: &&ClockJump| jump.sequence <= found.head.sequence;
        let jumps: Vec<&ClockJump> = found.jumps.iter().copied().filter(before).collect();
        watch.mend(shown, at, &Found { jumps: &jumps, ..*found });
        watch.clone()
    }

    /// Goes on from a log that has these jumps, all of them committed.
    pub fn look(&self, jumps: &[&ClockJump]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).look(jumps);
    }
}

#[cfg(test)]
mod tests;
