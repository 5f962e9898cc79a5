//! Where the bytes are kept, as the settings say it.
//!
//! Invariant: a setting of S3 storage that is missing or wrong is named, and its value never shown when it is a secret.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::{ConfigError, Secret, SettingArgs, invalid};

/// The kinds of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKind {
    /// A folder of this machine.
    Local,
    /// A bucket of an S3 store.
    S3,
}

impl StorageKind {
    /// The kind that a setting names.
    ///
    /// # Errors
    /// With what is wrong, when it names none.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "local" => Ok(Self::Local),
            "s3" => Ok(Self::S3),
            other => Err(format!("{other:?} is no kind of storage: say `local` or `s3`")),
        }
    }
}

/// A bucket that bytes can be kept in.
#[derive(Debug, Clone)]
pub struct S3Storage {
    /// The store's URL.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// What stands before the name of every object; empty, or it ends with a slash.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key.
    pub access_key: Secret,
    /// The secret key.
    pub secret_key: Secret,
    /// A file of certificates that are trusted besides the system's, for an endpoint with TLS.
    pub ca_file: Option<PathBuf>,
    /// How many requests are on their way at once, at most.
    pub concurrency: usize,
    /// How long one attempt of a request may take.
    pub timeout: Duration,
}

impl StorageKind {
    /// The name that locations in the log give this kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
        }
    }
}

/// The kinds of storage that are open, the one where a registry begins first.
pub(super) fn settle_kinds(given: Option<&str>) -> Result<Vec<StorageKind>, ConfigError> {
    let mut kinds = Vec::new();
    for name in given.unwrap_or("local").split(',') {
        let kind = StorageKind::parse(name.trim()).map_err(|reason| invalid("storage", reason))?;
        if kinds.contains(&kind) {
            return Err(invalid("storage", format!("it names `{}` twice", kind.name())));
        }
        kinds.push(kind);
    }
    Ok(kinds)
}

/// The bucket that the settings describe; `None` when they describe none, and none is needed.
pub(super) fn settle_s3(given: &SettingArgs, kinds: &[StorageKind]) -> Result<Option<S3Storage>, ConfigError> {
    if !kinds.contains(&StorageKind::S3) && given.storage_s3_endpoint.is_none() {
        return Ok(None);
    }
    let concurrency = given.storage_s3_concurrency.unwrap_or(64);
    if !(1..=4096).contains(&concurrency) {
        return Err(invalid("storage_s3_concurrency", "it takes 1 to 4096"));
    }
    let timeout = given.storage_s3_timeout_seconds.unwrap_or(30);
    if !(1..=3600).contains(&timeout) {
        return Err(invalid("storage_s3_timeout_seconds", "it takes 1 to 3600"));
    }
    let endpoint = endpoint(needed("storage_s3_endpoint", given.storage_s3_endpoint.clone())?)?;
    let ca_file = given.storage_s3_ca_file.clone();
    if ca_file.is_some() && !endpoint.starts_with("https://") {
        return Err(invalid("storage_s3_ca_file", "it is for an endpoint that begins with https://"));
    }
    Ok(Some(S3Storage {
        endpoint,
        ca_file,
        bucket: bucket(needed("storage_s3_bucket", given.storage_s3_bucket.clone())?)?,
        prefix: prefix(given.storage_s3_prefix.as_deref().unwrap_or_default())?,
        region: given.storage_s3_region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        access_key: needed("storage_s3_access_key", given.storage_s3_access_key.clone())?,
        secret_key: secret_key(given.storage_s3_secret_key.clone(), given.storage_s3_secret_key_file.clone())?,
        concurrency,
        timeout: Duration::from_secs(timeout),
    }))
}

fn needed<T>(setting: &'static str, value: Option<T>) -> Result<T, ConfigError> {
    value.ok_or_else(|| invalid(setting, "S3 storage needs it, and it is not set"))
}

fn endpoint(text: String) -> Result<String, ConfigError> {
    const SETTING: &str = "storage_s3_endpoint";
    let say = |reason| Err(invalid(SETTING, reason));
    let Ok(uri) = text.parse::<Uri>() else { return say("say `http://host:port` or `https://host:port`") };
    match (uri.scheme_str(), uri.authority(), uri.path_and_query().map(|rest| rest.as_str())) {
        // A password would be in every error that names the store.
        (_, Some(authority), _) if authority.as_str().contains('@') => say("it takes no user and no password"),
        (Some("http" | "https"), Some(_), None | Some("/")) => Ok(text.trim_end_matches('/').to_owned()),
        _ => say("say `http://host:port` or `https://host:port`, without a path"),
    }
}

fn bucket(name: String) -> Result<String, ConfigError> {
    let fits = (1..=255).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits { Ok(name) } else { Err(invalid("storage_s3_bucket", "it takes letters, digits, hyphens, dots and _")) }
}

fn prefix(text: &str) -> Result<String, ConfigError> {
    let text = text.trim_matches('/');
    let fits = text.len() <= 512
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && text.split('/').all(|part| !matches!(part, "." | ".."))
        && !text.contains("//");
    match (text.is_empty(), fits) {
        (true, _) => Ok(String::new()),
        (false, true) => Ok(format!("{text}/")),
        (false, false) => Err(invalid("storage_s3_prefix", "it takes letters, digits, hyphens, dots, _ and single /")),
    }
}

fn secret_key(given: Option<Secret>, file: Option<PathBuf>) -> Result<Secret, ConfigError> {
    const FILE: &str = "storage_s3_secret_key_file";
    match (given, file) {
        (Some(_), Some(_)) => Err(invalid(FILE, "storage_s3_secret_key is set, too: set one of them")),
        (Some(secret), None) => Ok(secret),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| invalid(FILE, format!("{} cannot be read: {error}", path.display())))?;
            match text.trim() {
                "" => Err(invalid(FILE, format!("{} is empty", path.display()))),
                secret => Ok(Secret::from(secret)),
            }
        }
        (None, None) => Err(invalid("storage_s3_secret_key", "S3 storage needs it or storage_s3_secret_key_file")),
    }
}
