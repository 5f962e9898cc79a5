//! Watching whether the clock goes further than time does.
//!
//! Within a process the monotonic clock tells; across a stop, only the log: a gateway that was stopped for longer than the
//! limit cannot know what time it is, and an operator has to say so before anything expires.
//!
//! Invariant: a jump is forgotten only once its event is committed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::model::event::ClockJumped;
use crate::model::state::Head;

/// How far ahead the clock may be of what is known of the time.
pub const CLOCK_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of the time.
#[derive(Debug)]
pub struct ClockWatch {
    /// What the clock showed; nothing before it was compared with the log.
    shown: Option<Timestamp>,
    /// When it did, or when this process began.
    at: Instant,
}

fn plus(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}

impl ClockWatch {
    /// Begins with a process, which knows of the time only what the log says.
    #[must_use]
    pub fn begin() -> Self {
        Self { shown: None, at: Instant::now() }
    }

    /// The jump that is to be recorded, when the clock shows this and the log ends there.
    #[must_use]
    pub fn jump(&self, shown: Timestamp, head: Head) -> Option<ClockJumped> {
        let known = match self.shown {
            Some(shown) => shown,
            None if head.sequence == 0 => return None,
            None => head.occurred_at,
        };
        let known = plus(known, self.at.elapsed());
        (shown > plus(known, CLOCK_LIMIT)).then_some(ClockJumped { to: shown, from: known })
    }

    /// Goes on from a committed batch, which recorded a jump or found none.
    pub fn compared(&mut self, shown: Timestamp, jumped: bool) {
        if jumped || self.shown.is_none() {
            (self.shown, self.at) = (Some(shown), Instant::now());
        }
    }
}

/// What is known of the time, for the writer, which records jumps, and for those who only ask.
#[derive(Debug, Clone)]
pub struct SharedWatch(Arc<Mutex<ClockWatch>>);

impl SharedWatch {
    /// As [`ClockWatch::begin`].
    #[must_use]
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(ClockWatch::begin())))
    }

    /// As [`ClockWatch::jump`]. Whoever asks reads the jumps that are recorded afterwards, so that none is missed in
    /// between.
    #[must_use]
    pub fn jump(&self, shown: Timestamp, head: Head) -> Option<ClockJumped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).jump(shown, head)
    }

    /// As [`ClockWatch::compared`].
    pub fn compared(&self, shown: Timestamp, jumped: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).compared(shown, jumped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn head(occurred_at: i64) -> Head {
        Head { sequence: 7, occurred_at: Timestamp(occurred_at), hash: [0; 32] }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_with_time_never_jumps() {
        let mut watch = ClockWatch::begin();
        assert_eq!(watch.jump(Timestamp(100 * DAY), head(99 * DAY)), None, "stopped for a day");
        watch.compared(Timestamp(100 * DAY), false);
        tokio::time::advance(Duration::from_secs(30 * 86_400)).await;
        assert_eq!(watch.jump(Timestamp(130 * DAY), head(99 * DAY)), None, "nobody wrote for a month");
        assert_eq!(watch.jump(Timestamp(90 * DAY), head(99 * DAY)), None, "set back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_forward_jumps_once_and_in_steps_too() {
        let mut watch = ClockWatch::begin();
        watch.compared(Timestamp(100 * DAY), false);
        assert_eq!(watch.jump(Timestamp(101 * DAY), head(100 * DAY)), None);
        // A second small step adds up with the first, whatever was written in between.
        let jump = watch.jump(Timestamp(101 * DAY + 1), head(101 * DAY)).unwrap();
        assert_eq!(jump, ClockJumped { to: Timestamp(101 * DAY + 1), from: Timestamp(100 * DAY) });
        watch.compared(jump.to, true);
        assert_eq!(watch.jump(Timestamp(101 * DAY + 2), head(101 * DAY)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_stop_is_a_jump_and_the_first_event_is_none() {
        let watch = ClockWatch::begin();
        let jump = watch.jump(Timestamp(100 * DAY), head(98 * DAY)).unwrap();
        assert_eq!(jump.from, Timestamp(98 * DAY));
        let empty = Head { sequence: 0, occurred_at: Timestamp(0), hash: [0; 32] };
        assert_eq!(watch.jump(Timestamp(100 * DAY), empty), None);
    }
}
