//! When what goes by itself is let go, as the settings say it.

use std::time::Duration;

use artifactstore_registry::model::lifecycle::DayLength;

use super::{ConfigError, SettingArgs, invalid};

/// When what goes by itself is let go.
#[derive(Debug, Clone, Copy)]
pub struct LifecycleSettings {
    /// How often it is looked for; `None` for only when somebody asks.
    pub interval: Option<Duration>,
    /// How long the days of lifecycle rules are.
    pub day: DayLength,
}

/// An hour: S3's rules speak of days.
const INTERVAL_SECONDS: u64 = 60 * 60;
/// A year: whoever wants it more rarely asks for it.
const INTERVAL_SECONDS_LIMIT: u64 = 366 * 86_400;
const DAY_SECONDS: u32 = 86_400;

pub(super) fn settle(given: &SettingArgs) -> Result<LifecycleSettings, ConfigError> {
    let seconds = given.lifecycle_interval_seconds.unwrap_or(INTERVAL_SECONDS);
    if seconds > INTERVAL_SECONDS_LIMIT {
        return Err(invalid("lifecycle_interval_seconds", format!("it takes up to {INTERVAL_SECONDS_LIMIT}")));
    }
    let day = given.lifecycle_day_seconds.unwrap_or(DAY_SECONDS);
    if !(1..=DAY_SECONDS).contains(&day) {
        return Err(invalid("lifecycle_day_seconds", format!("it takes 1 to {DAY_SECONDS}")));
    }
    let interval = (seconds > 0).then(|| Duration::from_secs(seconds));
    Ok(LifecycleSettings { interval, day: DayLength::of_seconds(day) })
}
