//! The clock and the source of fresh identifiers, both passed in, so that tests decide what time it is.
//!
//! Gateways that share a database go by its clock: their own ones differ, and a wrong one would make what another wrote
//! look old. [`Clock::agreed`] is where a gateway gives way.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment: microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The last second of the last year that has four digits.
    pub const LAST: Self = Self(253_402_300_799_000_000);

    /// This moment and so many seconds less; never before 1970.
    #[must_use]
    pub fn minus_seconds(self, seconds: u64) -> Self {
        let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Self(self.0.saturating_sub(micros).max(0))
    }

    /// This moment so many years later by the calendar; 29 February becomes 1 March where the year has none.
    #[must_use]
    pub fn plus_years(self, years: u32) -> Self {
        let Ok(moment) = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000) else {
            return Self(i64::MAX);
        };
        let year = moment.year().saturating_add_unsigned(years);
        let later = moment.replace_year(year).or_else(|_| {
            moment
                .replace_day(28)
                .and_then(|moment| moment.replace_year(year))
                .map(|moment| moment + time::Duration::DAY)
        });
        later.map_or(Self(i64::MAX), |later| {
            Self(i64::try_from(later.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
        })
    }

    /// Seconds since 1970, and the nanoseconds within the second.
    #[must_use]
    pub fn to_parts(self) -> (i64, u32) {
        (self.0.div_euclid(1_000_000), u32::try_from(self.0.rem_euclid(1_000_000)).unwrap_or(0) * 1_000)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the microsecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("out of range"))
    }
}

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time to go by, where the registry's database has a clock, and it says this. A clock that a test sets is not
    /// set right.
    fn agreed(&self, shared: Option<Timestamp>) -> Timestamp {
        shared.unwrap_or_else(|| self.now())
    }

    /// How long it has been since some moment in the life of this process, by a clock that nobody sets.
    fn monotonic(&self) -> Duration {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGUN.elapsed()
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Makes identifiers that nobody can guess and that never repeat.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Sixteen fresh random bytes.
    fn fresh(&self) -> [u8; 16];
}
