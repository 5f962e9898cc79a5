//! How the listeners treat what comes, as the settings say it.

use std::time::Duration;

use super::{ConfigError, SettingArgs, invalid};
use crate::edge::forwarded::Network;

/// How the listeners treat what comes.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// How long a request's head may take, and a connection be idle between requests.
    pub header_timeout: Duration,
    /// How long nothing of a body may come, and nothing of an answer be taken.
    pub body_idle_timeout: Duration,
    /// How many connections each listener holds at once.
    pub connections_limit: usize,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether links and forms that are signed with Signature Version 2 are taken.
    pub sigv2_presigned: bool,
    /// Whether those are taken, and requests that are signed with it in their headers.
    pub sigv2_headers: bool,
}

pub(super) fn settle(given: &SettingArgs) -> Result<EdgeSettings, ConfigError> {
    let connections_limit = given.connections_limit.unwrap_or(4_096);
    if connections_limit == 0 {
        return Err(invalid("connections_limit", "it takes 1 or more"));
    }
    let networks = given.trusted_proxies.as_deref().unwrap_or_default();
    let networks = networks.split(',').map(str::trim).filter(|network| !network.is_empty());
    let trusted_proxies: Result<_, _> = networks.map(str::parse).collect();
    Ok(EdgeSettings {
        header_timeout: seconds("header_timeout_seconds", given.header_timeout_seconds)?,
        body_idle_timeout: seconds("body_idle_timeout_seconds", given.body_idle_timeout_seconds)?,
        connections_limit,
        trusted_proxies: trusted_proxies
            .map_err(|error: crate::edge::forwarded::InvalidNetwork| invalid("trusted_proxies", error.to_string()))?,
        sigv2_presigned: given.sigv2_presigned.unwrap_or(false),
        sigv2_headers: given.sigv2_headers.unwrap_or(false),
    })
}

fn seconds(setting: &'static str, given: Option<u64>) -> Result<Duration, ConfigError> {
    match given.unwrap_or(60) {
        0 => Err(invalid(setting, "it takes 1 or more")),
        some => Ok(Duration::from_secs(some)),
    }
}
