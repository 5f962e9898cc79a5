//! How everything is read again, as the settings say it.

use std::time::Duration;

use super::{ConfigError, SettingArgs, invalid};

/// How everything is read again.
#[derive(Debug, Clone)]
pub struct ScrubSettings {
    /// How long after the end of a pass the next one begins; `None` for only when somebody asks.
    pub interval: Option<Duration>,
    /// How many bytes a second are read, at most.
    pub bytes_per_second: u64,
}

/// A month: disks forget slowly, and what is read costs.
const INTERVAL_DAYS: u64 = 30;
/// Ten years: whoever wants it more rarely asks for it.
const INTERVAL_DAYS_LIMIT: u64 = 10 * 366;
/// Little enough that clients do not notice on any disk, and 1.3 TiB a day.
const MIB_PER_SECOND: u64 = 16;
/// As much as nothing gives.
const MIB_PER_SECOND_LIMIT: u64 = 1 << 20;

pub(super) fn settle(given: &SettingArgs) -> Result<ScrubSettings, ConfigError> {
    let days = given.scrub_interval_days.unwrap_or(INTERVAL_DAYS);
    if days > INTERVAL_DAYS_LIMIT {
        return Err(invalid("scrub_interval_days", format!("it takes up to {INTERVAL_DAYS_LIMIT}")));
    }
    let rate = given.scrub_mib_per_second.unwrap_or(MIB_PER_SECOND);
    if rate == 0 || rate > MIB_PER_SECOND_LIMIT {
        return Err(invalid("scrub_mib_per_second", format!("it takes 1 to {MIB_PER_SECOND_LIMIT}")));
    }
    let interval = (days > 0).then(|| Duration::from_hours(24 * days));
    Ok(ScrubSettings { interval, bytes_per_second: rate << 20 })
}
