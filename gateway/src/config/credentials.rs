//! The root's keys and the admin token: made at first start, kept in `<data dir>/credentials`, overridden by settings.
//!
//! Invariant: the file is never readable by others from the moment it exists, and never half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Secret, Settings};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "credentials";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the credentials in {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what this program writes. What stands in it is not repeated: it may be a secret.
    #[error("the credentials in {} need access_key, secret_key and admin_token, perhaps secrets_key, and nothing else", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write the credentials to {}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoEntropy,
}

/// What was found or made, and whether it was made just now.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The root's access key.
    pub access_key: String,
    /// The root's secret key.
    pub secret_key: Secret,
    /// The admin REST's bearer token.
    pub admin_token: Secret,
    /// What access keys' secrets are sealed with; `None` when the settings give all the others and not this one.
    pub secrets_key: Option<Secret>,
    /// Where the root's keys come from.
    pub origin: Origin,
}

/// Where the root's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The settings.
    Settings,
    /// This file, as it was.
    Kept(PathBuf),
    /// This file, which was written just now.
    Made(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    access_key: String,
    secret_key: Secret,
    admin_token: Secret,
    /// Not there in files of before there were access keys.
    #[serde(default)]
    secrets_key: Option<Secret>,
}

impl Credentials {
    /// Takes what the settings give, and the rest from the file, which is made when it is not there. When the settings
    /// give all, the file is neither read nor written.
    ///
    /// # Errors
    /// When the file cannot be read, understood or written.
    pub fn settle(settings: &Settings) -> Result<Self, CredentialsError> {
        let keys = settings.root_access_key.clone().zip(settings.root_secret_key.clone());
        if let (Some((access_key, secret_key)), Some(admin_token)) = (keys.clone(), settings.admin_token.clone()) {
            let secrets_key = settings.secrets_key.clone();
            return Ok(Self { access_key, secret_key, admin_token, secrets_key, origin: Origin::Settings });
        }
        let path = settings.data_dir.join(FILE_NAME);
        let (kept, origin) = match read(&path)? {
            Some(kept) => (completed(&path, kept, settings)?, Origin::Kept(path)),
            None => (make(&path)?, Origin::Made(path)),
        };
        let admin_token = settings.admin_token.clone().unwrap_or(kept.admin_token);
        let secrets_key = settings.secrets_key.clone().or(kept.secrets_key);
        let ((access_key, secret_key), origin) = match keys {
            Some(keys) => (keys, Origin::Settings),
            None => ((kept.access_key, kept.secret_key), origin),
        };
        Ok(Self { access_key, secret_key, admin_token, secrets_key, origin })
    }
}

fn read(path: &Path) -> Result<Option<Kept>, CredentialsError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CredentialsError::Unreadable { path: path.to_owned(), source }),
    };
    if fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others can read the credentials: run chmod 600 on them");
    }
    let kept: Kept = toml::from_str(&text).map_err(|_| CredentialsError::Invalid { path: path.to_owned() })?;
    let empty =
        kept.access_key.is_empty() || kept.secret_key.expose().is_empty() || kept.admin_token.expose().is_empty();
    // An empty token would let everyone in.
    if empty { Err(CredentialsError::Invalid { path: path.to_owned() }) } else { Ok(Some(kept)) }
}

/// What was kept, with what files of before lack.
fn completed(path: &Path, mut kept: Kept, settings: &Settings) -> Result<Kept, CredentialsError> {
    if kept.secrets_key.is_none() && settings.secrets_key.is_none() {
        kept.secrets_key = Some(random_text(MIXED, 43)?.into());
        write(path, &kept).map_err(|source| CredentialsError::Unwritable { path: path.to_owned(), source })?;
    }
    Ok(kept)
}

const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A fresh access key and its secret.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn fresh_pair() -> Result<(String, Secret), CredentialsError> {
    Ok((format!("AK{}", random_text(UPPER, 18)?), fresh_secret()?))
}

/// A fresh secret of an access key.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn fresh_secret() -> Result<Secret, CredentialsError> {
    Ok(random_text(MIXED, 40)?.into())
}

fn make(path: &Path) -> Result<Kept, CredentialsError> {
    let (access_key, secret_key) = fresh_pair()?;
    let admin_token = random_text(MIXED, 43)?.into();
    let secrets_key = Some(random_text(MIXED, 43)?.into());
    let kept = Kept { access_key, secret_key, admin_token, secrets_key };
    write(path, &kept).map_err(|source| CredentialsError::Unwritable { path: path.to_owned(), source })?;
    Ok(kept)
}

fn random_text(alphabet: &[u8], length: usize) -> Result<String, CredentialsError> {
    // Bytes past the last whole multiple of the alphabet are thrown away, so that every character is as likely.
    let fair = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0_u8; 64];
        getrandom::fill(&mut bytes).map_err(|_| CredentialsError::NoEntropy)?;
        let missing = length - text.len();
        let fitting = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        text.extend(fitting.take(missing).map(|byte| char::from(alphabet[byte % alphabet.len()])));
    }
    Ok(text)
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = path.with_extension("tmp");
    // What a crash left behind might have another mode; the new file begins with the right one.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(
        file,
        "# Made at first start. Whoever reads this file owns the store.\naccess_key = \"{}\"\nsecret_key = \"{}\"\nadmin_token = \"{}\"",
        kept.access_key,
        kept.secret_key.expose(),
        kept.admin_token.expose(),
    )?;
    if let Some(key) = &kept.secrets_key {
        writeln!(file, "secrets_key = \"{}\"", key.expose())?;
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SettingArgs;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn settings(folder: &Path, more: SettingArgs) -> Settings {
        Settings::resolve(SettingArgs { data_dir: Some(folder.to_owned()), ..more }).unwrap()
    }

    #[test]
    fn credentials_are_made_once_for_their_owner_only_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), SettingArgs::default());
        let made = Credentials::settle(&settings).unwrap();
        let path = folder.path().join(FILE_NAME);
        assert_eq!(made.origin, Origin::Made(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!((made.access_key.len(), made.secret_key.expose().len()), (20, 40));
        assert!(made.admin_token.expose().len() >= 43);
        assert!(made.secrets_key.as_ref().unwrap().expose().len() >= 43);
        assert!(!format!("{made:?}").contains(made.secret_key.expose()));

        let found = Credentials::settle(&settings).unwrap();
        assert_eq!(found.origin, Origin::Kept(path));
        assert_eq!((found.access_key, found.secret_key), (made.access_key, made.secret_key));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_before_there_were_access_keys_gets_a_secrets_key_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "access_key = \"AK1\"\nsecret_key = \"old-secret\"\nadmin_token = \"old-token\"\n").unwrap();
        let settings = settings(folder.path(), SettingArgs::default());
        let first = Credentials::settle(&settings).unwrap();
        assert_eq!((first.access_key.as_str(), first.admin_token.expose()), ("AK1", "old-token"));
        assert!(first.secrets_key.is_some());
        assert_eq!(Credentials::settle(&settings).unwrap().secrets_key, first.secrets_key);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_the_settings_give_is_taken_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let given = SettingArgs {
            root_access_key: Some("KEY".into()),
            root_secret_key: Some("secret-secret".into()),
            admin_token: Some("token-token".into()),
            ..SettingArgs::default()
        };
        let all = Credentials::settle(&settings(folder.path(), given.clone())).unwrap();
        assert_eq!((all.access_key.as_str(), all.origin), ("KEY", Origin::Settings));
        assert!(!folder.path().join(FILE_NAME).exists());

        let keys_only = SettingArgs { admin_token: None, ..given };
        let some = Credentials::settle(&settings(folder.path(), keys_only)).unwrap();
        assert_eq!(some.access_key, "KEY");
        assert!(!fs::read_to_string(folder.path().join(FILE_NAME)).unwrap().contains("secret-secret"));
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        for text in ["access_key = \"hush\"", "hush", "access_key=\"hush\"\nsecret_key=\"hush\"\nadmin_token=\"\""] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let refused = Credentials::settle(&settings(folder.path(), SettingArgs::default())).unwrap_err();
            assert!(!refused.to_string().contains("hush"), "{refused}");
        }
    }
}
