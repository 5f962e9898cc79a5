//! TLS for a listener: certificates and keys, how they are read, and how they are exchanged while it serves.
//!
//! Invariant: a certificate that cannot be used never takes the place of one that can, and an exchange touches no
//! connection that is open.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// How long the certificate of a trial holds, from an hour before it is made.
const TRIAL_DAYS: i64 = 30;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use the file {} ({setting})", .path.display())]
    FileUnusable {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what its setting says.
    #[error("the file {} ({setting}) holds no {wanted} in PEM", .path.display())]
    FileEmpty {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The certificate and the key are not for each other, or of a kind that TLS here does not take.
    #[error("the certificate in {} and the key in {} cannot be used together", .certificate.display(), .key.display())]
    PairUnusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// No certificate could be made for a trial.
    #[error("no certificate could be made for a trial")]
    TrialFailed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where a listener's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// From two files in PEM: the certificate with those that lead to its authority, and its key.
    Files {
        /// The certificates.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// From an authority that is made for the occasion, and whose certificate is written to a file for clients to trust.
    SelfSigned {
        /// The names and addresses that the certificate is for.
        names: Vec<String>,
        /// Where the authority's certificate is written.
        authority: PathBuf,
    },
}

/// What connections are accepted with; shared by the listeners.
#[derive(Debug)]
pub struct Tls {
    source: TlsSource,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads or makes the certificate.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(source: TlsSource) -> Result<Self, TlsError> {
        let config = RwLock::new(Arc::new(config(&source)?));
        Ok(Self { source, config })
    }

    /// Reads the files again, for connections from now on. A certificate made for a trial stays.
    ///
    /// # Errors
    /// When what is there now cannot be used: then what there was stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        if let TlsSource::Files { .. } = self.source {
            let config = Arc::new(config(&self.source)?);
            *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        }
        Ok(())
    }

    /// Where clients find the authority of a trial's certificate.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        match &self.source {
            TlsSource::Files { .. } => None,
            TlsSource::SelfSigned { authority, .. } => Some(authority),
        }
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn config(source: &TlsSource) -> Result<ServerConfig, TlsError> {
    match source {
        TlsSource::Files { certificate, key } => {
            let chain = read_chain(certificate)?;
            let pair = read_key(key)?;
            server_config(chain, pair).map_err(|source| TlsError::PairUnusable {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            })
        }
        TlsSource::SelfSigned { names, authority } => {
            let trial = Trial::make(names).map_err(|error| TlsError::TrialFailed(Box::new(error)))?;
            std::fs::write(authority, &trial.authority).map_err(|source| TlsError::FileUnusable {
                path: authority.clone(),
                setting: "tls_self_signed",
                source,
            })?;
            server_config(vec![trial.certificate], trial.key).map_err(|error| TlsError::TrialFailed(Box::new(error)))
        }
    }
}

/// TLS 1.2 and 1.3, no client certificates, HTTP/1.1.
fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read(path: &Path, setting: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::FileUnusable { path: path.to_owned(), setting, source })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const SETTING: &str = "tls_certificate_file";
    let empty = || TlsError::FileEmpty { path: path.to_owned(), setting: SETTING, wanted: "certificate" };
    let text = read(path, SETTING)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| empty())?;
    if chain.is_empty() { Err(empty()) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const SETTING: &str = "tls_key_file";
    let text = read(path, SETTING)?;
    // Why it is none is not repeated: the reason may quote the key.
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::FileEmpty {
        path: path.to_owned(),
        setting: SETTING,
        wanted: "unencrypted private key",
    })?;
    if std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0) {
        tracing::warn!(path = %path.display(), "everybody on this machine can read the TLS key: run chmod o= on it");
    }
    Ok(key)
}

/// A certificate with an authority of its own, whose key nobody keeps.
struct Trial {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    authority: String,
}

impl Trial {
    fn make(names: &[String]) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "artifactstore trial authority");
        dated(&mut authority);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, "artifactstore trial");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        dated(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            authority: authority.pem(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate holds for a span of real time, which nothing passes in")]
fn dated(params: &mut CertificateParams) {
    let now = time::OffsetDateTime::from(std::time::SystemTime::now());
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::days(TRIAL_DAYS);
}

/// The names that a trial's certificate is for: this machine's own, the addresses listened on, and the domain of buckets.
#[must_use]
pub fn trial_names(listen: &[IpAddr], domain: Option<&str>) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(listen.iter().filter(|ip| !ip.is_unspecified()).map(IpAddr::to_string));
    if let Some(domain) = domain {
        let domain = domain.split(':').next().unwrap_or(domain);
        names.extend([domain.to_owned(), format!("*.{domain}")]);
    }
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> TlsSource {
        TlsSource::Files { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    fn write_pair(folder: &Path) {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_pair_that_cannot_be_used_is_named_and_what_there_was_stays() {
        let folder = tempfile::tempdir().unwrap();
        let said = |tls: Result<Tls, TlsError>| crate::telemetry::chain(&tls.unwrap_err());
        assert!(said(Tls::open(files(folder.path()))).contains("cert.pem (tls_certificate_file): No such file"));
        write_pair(folder.path());
        let tls = Tls::open(files(folder.path())).unwrap();
        let before = Arc::clone(&tls.config.read().unwrap());

        let key = std::fs::read(folder.path().join("key.pem")).unwrap();
        std::fs::write(folder.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----\nhush").unwrap();
        let refused = said(Tls::open(files(folder.path())));
        assert!(refused.contains("(tls_key_file) holds no unencrypted private key") && !refused.contains("hush"));
        write_pair(folder.path());
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        assert!(said(Tls::open(files(folder.path()))).contains("cannot be used together"));
        std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
        assert!(said(Tls::open(files(folder.path()))).contains("holds no certificate in PEM"));

        assert!(tls.reload().is_err());
        assert!(Arc::ptr_eq(&before, &tls.config.read().unwrap()));
        write_pair(folder.path());
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.config.read().unwrap()));
    }

    #[test]
    fn a_trial_is_for_this_machine_and_the_domain_and_keeps_no_key_of_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let listen = ["0.0.0.0".parse().unwrap(), "10.0.0.7".parse().unwrap()];
        let names = trial_names(&listen, Some("s3.local:9000"));
        assert_eq!(names, ["*.s3.local", "10.0.0.7", "127.0.0.1", "::1", "localhost", "s3.local"]);
        let authority = folder.path().join("authority.pem");
        let tls = Tls::open(TlsSource::SelfSigned { names, authority: authority.clone() }).unwrap();
        assert_eq!(tls.authority(), Some(authority.as_path()));
        let text = std::fs::read_to_string(authority).unwrap();
        assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE"), "{text}");
    }
}
