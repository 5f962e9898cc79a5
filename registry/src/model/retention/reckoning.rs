//! How far the time can be answered for, and what the log is told of it.
//!
//! Invariant: by the moment of each row of the clock, all time is either known to somebody who watched, or believed and
//! told by a row, or a jump: whoever begins later counts from the last of those moments.

use super::{ClockJump, limit_micros};
use crate::clock::Timestamp;
use crate::model::event::ClockNoted;
use crate::model::row::Sequence;

const MINUTE_MICROS: i64 = 60_000_000;
/// How long the log may go on behind the last account of the time.
const MOVED_MICROS: i64 = 30 * MINUTE_MICROS;
/// How old that may grow where nothing is recorded: with half of what is believed in all, whoever begins within the
/// next day knows what time it is.
pub const QUIET_MICROS: i64 = 12 * 60 * MINUTE_MICROS;
/// How old it is left by a process that ends.
const ENDING_MICROS: i64 = 10 * MINUTE_MICROS;

/// The row that accounts for the time last: the newest that nobody said to be wrong. Jumps come in the order of their
/// events.
pub fn accounting<'j>(jumps: &[&'j ClockJump]) -> Option<&'j ClockJump> {
    jumps.iter().rev().find(|jump| !jump.is_wrong()).copied()
}

/// How much is believed in all, in microseconds.
pub fn believed_micros<'j>(jumps: impl IntoIterator<Item = &'j ClockJump>) -> i64 {
    let believed = jumps.into_iter().filter(|jump| jump.is_believed());
    believed.map(ClockJump::length_micros).fold(0, i64::saturating_add)
}

/// The jumps that were settled as wrong behind that event. Whatever the log accounted for until then, it may have done
/// by the wrong clock.
pub fn wrong_since<'j>(jumps: &[&'j ClockJump], event: Sequence) -> impl Iterator<Item = &'j ClockJump> {
    let since =
        move |jump: &&ClockJump| jump.is_wrong() && jump.settled_sequence.is_some_and(|settled| settled > event);
    jumps.iter().copied().filter(since)
}

/// What a process that watches the clock can say of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reckoning {
    /// What the clock shows.
    pub shown: Timestamp,
    /// How much of that is believed, and known to nobody, in microseconds.
    pub owed_micros: i64,
    /// Until when the log accounts for the time.
    pub accounted: Timestamp,
    /// By which event.
    pub sequence: Sequence,
}

impl Reckoning {
    /// Whether this is worth an event, in a log that has these jumps and ends with that event; for a process that ends
    /// now, too.
    #[must_use]
    pub fn is_news(&self, (head, at): (Sequence, Timestamp), jumps: &[&ClockJump], ends: bool) -> bool {
        let until = self.until();
        let age = until.0.saturating_sub(self.accounted.0);
        let went_on = until.min(at).0.saturating_sub(self.accounted.0);
        let moved = head > self.sequence && went_on >= MOVED_MICROS;
        let old = moved || age >= QUIET_MICROS || ends && age >= ENDING_MICROS;
        let others_believed = believed_micros(self.shows(jumps, true)) > self.owed_micros;
        head > 0 && (old || others_believed || wrong_since(jumps, self.sequence).next().is_some())
    }

    /// What is noted of it. One account takes the place of all that was believed; but for a time that is not yet,
    /// nobody answers.
    #[must_use]
    pub fn noted(&self, jumps: &[&ClockJump]) -> ClockNoted {
        let left = believed_micros(self.shows(jumps, false));
        let owed = self.owed_micros.saturating_sub(left).max(0);
        let proves = self.shows(jumps, true).map(|jump| jump.sequence).collect();
        let certain = Timestamp(self.shown.0.saturating_sub(owed));
        ClockNoted { shown: self.until().max(certain), proves, certain: Some(certain) }
    }

    /// Until when it can be accounted for. More than may be believed is left to whoever begins next, who counts it
    /// again.
    fn until(&self) -> Timestamp {
        let too_much = self.owed_micros.saturating_sub(limit_micros()).max(0);
        Timestamp(self.shown.0.saturating_sub(too_much))
    }

    /// What was believed of a time that the clock has come to, or has not.
    fn shows<'j>(&self, jumps: &[&'j ClockJump], come: bool) -> impl Iterator<Item = &'j ClockJump> {
        let shown = self.shown;
        jumps.iter().copied().filter(move |jump| jump.is_believed() && (jump.to <= shown) == come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE_MICROS;

    fn believed(sequence: Sequence, from: i64, to: i64) -> ClockJump {
        let (from, to) = (Timestamp(from * HOUR), Timestamp(to * HOUR));
        ClockJump { sequence, from, to, settled_sequence: Some(sequence), genuine: true }
    }

    fn reckoning(shown: i64, owed: i64, accounted: i64) -> Reckoning {
        let (shown, accounted) = (Timestamp(shown * HOUR), Timestamp(accounted * HOUR));
        Reckoning { shown, owed_micros: owed * HOUR, accounted, sequence: 8 }
    }

    #[test]
    fn the_time_is_noted_when_the_log_went_on_or_half_a_day_went_by() {
        let now = |accounted| reckoning(112, 0, accounted);
        let log = |sequence, at| (sequence, Timestamp(at * HOUR));
        assert!(!now(112).is_news(log(9, 112), &[], false) && now(111).is_news(log(9, 112), &[], false), "it went on");
        assert!(!now(101).is_news(log(9, 101), &[], false) && now(100).is_news(log(8, 100), &[], false), "it is quiet");
        assert!(!now(112).is_news(log(8, 100), &[], true) && now(111).is_news(log(8, 100), &[], true), "it ends");
        assert!(!Reckoning { sequence: 0, ..now(12) }.is_news(log(0, 0), &[], true), "there is no event to be behind");
        assert!(!reckoning(100, 0, 500).is_news(log(9, 500), &[], true), "the log is ahead");
    }

    #[test]
    fn one_account_takes_the_place_of_all_that_was_believed_until_now() {
        let (first, second, ahead) = (believed(6, 80, 90), believed(7, 95, 98), believed(8, 100, 120));
        let jumps = [&first, &second, &ahead];
        let knows = reckoning(100, 0, 100);
        assert!(knows.is_news((8, Timestamp(0)), &jumps, false));
        let noted = knows.noted(&jumps);
        assert_eq!((noted.proves, noted.certain), (vec![6, 7], Some(Timestamp(100 * HOUR))));
        // What it believes itself stays believed; what is not yet is told by its own row.
        let believes = reckoning(100, 23, 100);
        assert!(!believes.is_news((8, Timestamp(0)), &jumps, false));
        let noted = believes.noted(&jumps);
        assert_eq!((noted.shown, noted.certain), (Timestamp(100 * HOUR), Some(Timestamp(97 * HOUR))));
    }

    #[test]
    fn no_account_makes_believed_what_is_more_than_a_day_in_all() {
        let (booked, ahead) = (believed(7, 76, 80), believed(8, 100, 120));
        let noted = reckoning(100, 25, 90).noted(&[&booked, &ahead]);
        assert_eq!((noted.shown, noted.certain), (Timestamp(99 * HOUR), Some(Timestamp(95 * HOUR))));
        let more = reckoning(112, 25, 99);
        assert!(more.is_news((8, Timestamp(0)), &[], false), "half a day is behind what was accounted for");
        assert!(!reckoning(111, 25, 99).is_news((8, Timestamp(0)), &[], false));
        // Nothing is left that may be.
        let ahead = believed(8, 100, 140);
        let noted = reckoning(100, 45, 90).noted(&[&ahead]);
        assert_eq!((noted.shown, noted.certain), (Timestamp(95 * HOUR), Some(Timestamp(95 * HOUR))));
    }

    #[test]
    fn a_jump_that_was_said_to_be_wrong_leaves_the_account_to_be_made_anew() {
        let wrong = ClockJump { settled_sequence: Some(9), genuine: false, ..believed(7, 100, 500) };
        assert!(reckoning(101, 0, 101).is_news((9, Timestamp(0)), &[&wrong], false));
        let since = Reckoning { sequence: 10, ..reckoning(101, 0, 101) };
        assert!(!since.is_news((10, Timestamp(0)), &[&wrong], false));
        let (before, after) = (believed(6, 99, 100), believed(10, 101, 101));
        assert_eq!(accounting(&[&before, &wrong]).map(|row| row.sequence), Some(6));
        assert_eq!(accounting(&[&before, &wrong, &after]).map(|row| row.sequence), Some(10));
    }
}
