//! When what nothing keeps is collected, as the settings say it.

use std::time::Duration;

use artifactstore_registry::actions::collect::GRACE;

use super::{ConfigError, SettingArgs, invalid};

/// When what nothing keeps is collected.
#[derive(Debug, Clone)]
pub struct CollectSettings {
    /// How often; `None` for only when somebody asks.
    pub interval: Option<Duration>,
    /// How long what is condemned, or was left behind, is kept.
    pub grace: Duration,
}

/// A year: whoever wants it more rarely asks for it.
const INTERVAL_HOURS_LIMIT: u64 = 24 * 366;
/// Ten years.
const GRACE_SECONDS_LIMIT: u64 = 10 * 366 * 86_400;

pub(super) fn settle(given: &SettingArgs) -> Result<CollectSettings, ConfigError> {
    let hours = given.gc_interval_hours.unwrap_or(0);
    if hours > INTERVAL_HOURS_LIMIT {
        return Err(invalid("gc_interval_hours", format!("it takes up to {INTERVAL_HOURS_LIMIT}")));
    }
    let grace = given.gc_grace_seconds.unwrap_or(GRACE.as_secs());
    if grace > GRACE_SECONDS_LIMIT {
        return Err(invalid("gc_grace_seconds", format!("it takes up to {GRACE_SECONDS_LIMIT}")));
    }
    let interval = (hours > 0).then(|| Duration::from_hours(hours));
    Ok(CollectSettings { interval, grace: Duration::from_secs(grace) })
}
