//! Whether the listeners speak TLS, as the settings say it.

use super::{ConfigError, SettingArgs, invalid};
use crate::edge::tls::{TlsSource, trial_names};
use std::net::IpAddr;
use std::path::Path;

/// The file in the data folder that holds the authority of a trial's certificate.
pub const AUTHORITY_FILE_NAME: &str = "tls-authority.pem";

/// Where the certificate comes from; `None` for plain HTTP.
pub(super) fn settle(
    given: &SettingArgs,
    listen: &[IpAddr],
    data_dir: &Path,
) -> Result<Option<TlsSource>, ConfigError> {
    let self_signed = given.tls_self_signed.unwrap_or(false);
    match (given.tls_certificate_file.clone(), given.tls_key_file.clone()) {
        (None, None) if self_signed => Ok(Some(TlsSource::SelfSigned {
            names: trial_names(listen, given.s3_domain.as_deref().filter(|domain| !domain.is_empty())),
            authority: data_dir.join(AUTHORITY_FILE_NAME),
        })),
        (None, None) => Ok(None),
        (Some(_), Some(_)) if self_signed => {
            Err(invalid("tls_self_signed", "tls_certificate_file is set, too: set one of them"))
        }
        (Some(certificate), Some(key)) => Ok(Some(TlsSource::Files { certificate, key })),
        _ => Err(invalid("tls_certificate_file", "it and tls_key_file belong together: set both, or neither")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_two_files_or_a_trial_or_nothing() {
        let settle = |certificate: Option<&str>, key: Option<&str>, trial: Option<bool>| {
            let given = SettingArgs {
                tls_certificate_file: certificate.map(Into::into),
                tls_key_file: key.map(Into::into),
                tls_self_signed: trial,
                ..SettingArgs::default()
            };
            super::settle(&given, &[], Path::new("/data")).map_err(|error| error.to_string())
        };
        assert_eq!(settle(None, None, None).unwrap(), None);
        assert_eq!(settle(None, None, Some(false)).unwrap(), None);
        assert!(matches!(settle(Some("c"), Some("k"), None).unwrap(), Some(TlsSource::Files { .. })));
        assert!(matches!(settle(None, None, Some(true)).unwrap(), Some(TlsSource::SelfSigned { .. })));
        assert!(settle(Some("c"), None, None).unwrap_err().contains("belong together"));
        assert!(settle(None, Some("k"), Some(true)).unwrap_err().contains("belong together"));
        assert!(settle(Some("c"), Some("k"), Some(true)).unwrap_err().contains("set one of them"));
    }
}
