//! Settings: a flag, else an environment variable, else a key of the TOML file, else the default.
//!
//! One struct lists them all, and clap and serde both read it, so that no setting has a flag and no key, or the reverse.
//!
//! Invariant: no secret is ever printed by `Debug`.

mod args;
mod collect;
pub mod credentials;
mod edge;
mod lifecycle;
mod scrub;
mod storage;
mod tls;

pub use args::{LogFormat, SettingArgs};
pub use collect::CollectSettings;
pub use edge::EdgeSettings;
pub use lifecycle::LifecycleSettings;
pub use scrub::ScrubSettings;
pub use storage::{S3Storage, StorageKind};
pub use tls::AUTHORITY_FILE_NAME;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::edge::tls::TlsSource;

/// A text that nobody may read over a shoulder or in a log.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself; for comparing and signing, never for printing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where a registry is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// In a file, for one machine.
    Sqlite(PathBuf),
    /// In PostgreSQL, for any number of gateways: the URL, with its password.
    Postgres(Secret),
}

impl Database {
    /// Understands a URL; `None` for one of another kind.
    #[must_use]
    pub fn parse(url: &Secret) -> Option<Self> {
        let text = url.expose();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Some(Self::Postgres(url.clone()));
        }
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        path.filter(|path| !path.is_empty() && !path.contains('?')).map(|path| Self::Sqlite(PathBuf::from(path)))
    }
}

/// Why there are no settings to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of settings cannot be read.
    #[error("cannot read the settings in {}", .path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file of settings is not TOML, or names a setting that there is not.
    #[error("the settings in {}, line {line}: {reason}", .path.display())]
    FileInvalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A setting cannot have this value.
    #[error("the setting {setting} cannot be so: {reason}")]
    SettingInvalid {
        /// The setting, by its key in the file.
        setting: &'static str,
        /// Why not.
        reason: String,
    },
}

fn invalid(setting: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::SettingInvalid { setting, reason: reason.into() }
}

/// The settings, each with the value that holds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of everything that this gateway keeps.
    pub data_dir: PathBuf,
    /// Where S3 clients are listened for.
    pub s3_listen: SocketAddr,
    /// Where the admin REST is listened for.
    pub admin_listen: SocketAddr,
    /// The registry's database.
    pub database: Database,
    /// Where bytes are kept, at least one: a registry begins with the first, and its log says where it went since.
    pub storage: Vec<StorageKind>,
    /// The folder of the objects, for local storage.
    pub storage_local_root: PathBuf,
    /// The bucket of the objects, when the settings describe one; always there for S3 storage.
    pub storage_s3: Option<S3Storage>,
    /// The root's access key, when it was set; comes with `root_secret_key` or not at all.
    pub root_access_key: Option<String>,
    /// The root's secret key, when it was set.
    pub root_secret_key: Option<Secret>,
    /// The admin REST's token, when it was set.
    pub admin_token: Option<Secret>,
    /// What access keys' secrets are sealed with, when it was set.
    pub secrets_key: Option<Secret>,
    /// Where the listeners' certificate comes from; `None` for plain HTTP.
    pub tls: Option<TlsSource>,
    /// The region that signatures name.
    pub region: String,
    /// The domain whose subdomains are buckets; path style only without.
    pub s3_domain: Option<String>,
    /// Whether a client that asks for checksums is also told the SHA-256 of the whole.
    pub checksum_sha256: bool,
    /// What is logged, when it was set.
    pub log_level: Option<String>,
    /// How it is logged.
    pub log_format: LogFormat,
    /// How many bytes of bodies may be in memory at once, over all requests.
    pub buffer_budget_bytes: u64,
    /// How the listeners treat what comes.
    pub edge: EdgeSettings,
    /// When what nothing keeps is collected.
    pub collect: CollectSettings,
    /// When what goes by itself is let go.
    pub lifecycle: LifecycleSettings,
    /// How everything is read again.
    pub scrub: ScrubSettings,
    /// How long a stopping gateway waits for what is in flight.
    pub shutdown_grace: Duration,
}

impl Settings {
    /// Settles what the flags, the environment and the file say.
    ///
    /// # Errors
    /// When the file cannot be read or holds something unknown, or a value is one that this version cannot work with.
    pub fn resolve(args: SettingArgs) -> Result<Self, ConfigError> {
        let given = match args.config.clone() {
            Some(path) => args.over(read_file(&path)?),
            None => args,
        };
        Self::settle(given)
    }

    fn settle(given: SettingArgs) -> Result<Self, ConfigError> {
        let data_dir = given.data_dir.clone().unwrap_or_else(|| PathBuf::from("data"));
        if data_dir.as_os_str().is_empty() {
            return Err(invalid("data_dir", "it is empty"));
        }
        let storage = storage::settle_kinds(given.storage.as_deref())?;
        let storage_s3 = storage::settle_s3(&given, &storage)?;
        if given.root_access_key.is_some() != given.root_secret_key.is_some() {
            return Err(invalid("root_access_key", "it and root_secret_key belong together: set both, or neither"));
        }
        if let Some(key) = &given.root_access_key {
            check_access_key(key)?;
        }
        check_secret("root_secret_key", given.root_secret_key.as_ref())?;
        check_secret("admin_token", given.admin_token.as_ref())?;
        check_secret("secrets_key", given.secrets_key.as_ref())?;
        if given.secrets_key.as_ref().is_some_and(|key| key.expose().len() < 32) {
            return Err(invalid("secrets_key", "it takes 32 characters or more"));
        }
        if let Some(level) = &given.log_level {
            check_log_level(level)?;
        }
        let region = given.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(invalid("region", "it takes letters, digits and hyphens"));
        }
        let s3_listen = given.s3_listen.unwrap_or_else(|| loopback(9000));
        let admin_listen = given.admin_listen.unwrap_or_else(|| loopback(9001));
        Ok(Self {
            s3_listen,
            admin_listen,
            edge: edge::settle(&given)?,
            collect: collect::settle(&given)?,
            lifecycle: lifecycle::settle(&given)?,
            scrub: scrub::settle(&given)?,
            tls: tls::settle(&given, &[s3_listen.ip(), admin_listen.ip()], &data_dir)?,
            database: database(given.database_url.as_ref(), &data_dir)?,
            storage,
            storage_s3,
            storage_local_root: given.storage_local_root.unwrap_or_else(|| data_dir.join("objects")),
            data_dir,
            root_access_key: given.root_access_key,
            root_secret_key: given.root_secret_key,
            admin_token: given.admin_token,
            secrets_key: given.secrets_key,
            region,
            checksum_sha256: given.checksum_sha256.unwrap_or(true),
            s3_domain: given.s3_domain.filter(|domain| !domain.is_empty()),
            log_level: given.log_level,
            log_format: given.log_format.unwrap_or_default(),
            buffer_budget_bytes: buffer_budget(given.buffer_budget_bytes)?,
            shutdown_grace: Duration::from_secs(given.shutdown_grace_seconds.unwrap_or(30)),
        })
    }
}

/// The least memory with which bodies of one chunk can pass one after another.
const BUFFER_BUDGET_MIN: u64 = 64 << 20;

fn buffer_budget(given: Option<u64>) -> Result<u64, ConfigError> {
    match given.unwrap_or(256 << 20) {
        few if few < BUFFER_BUDGET_MIN => {
            Err(invalid("buffer_budget_bytes", format!("it takes at least {BUFFER_BUDGET_MIN} bytes")))
        }
        enough => Ok(enough),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn database(url: Option<&Secret>, data_dir: &Path) -> Result<Database, ConfigError> {
    let Some(url) = url else { return Ok(Database::Sqlite(data_dir.join("registry.db"))) };
    // The URL may hold a password, so the message does not repeat it.
    Database::parse(url).ok_or_else(|| {
        invalid("database_url", "say `sqlite://<path>`, without parameters, or `postgres://<user>@<host>/<database>`")
    })
}

fn check_access_key(key: &str) -> Result<(), ConfigError> {
    let fits = (3..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    // A slash or a comma would end the key's place in an Authorization header.
    if fits {
        Ok(())
    } else {
        Err(invalid("root_access_key", "it takes 3 to 128 letters, digits, hyphens, dots and _"))
    }
}

fn check_secret(setting: &'static str, secret: Option<&Secret>) -> Result<(), ConfigError> {
    let Some(secret) = secret else { return Ok(()) };
    let fits = (8..=256).contains(&secret.expose().len()) && secret.expose().bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(()) } else { Err(invalid(setting, "it takes 8 to 256 visible ASCII characters")) }
}

/// A word that is no level would be taken for the name of a module, and silence everything else.
fn check_log_level(level: &str) -> Result<(), ConfigError> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let fits = level.split(',').all(|part| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    });
    if fits {
        Ok(())
    } else {
        Err(invalid("log_level", format!("{level:?} is none of {}, nor a list of `module=level`", LEVELS.join(", "))))
    }
}

fn read_file(path: &Path) -> Result<SettingArgs, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::FileUnreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        // Only the message: the error's own text shows the line itself, which may hold a secret.
        let reason = error.message().lines().collect::<Vec<_>>().join(" ");
        ConfigError::FileInvalid { path: path.to_owned(), line, reason }
    })
}

#[cfg(test)]
mod tests;
