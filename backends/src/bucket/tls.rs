//! TLS to a store: which certificates are trusted, and what is said of one that is not.
//!
//! Invariant: a store that cannot show a trusted certificate for its name gets no request, and so no signature.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::bucket::fault::Fault;
use crate::error::{Error, Result};

/// What keeps a file of certificates from being used.
#[derive(Debug, thiserror::Error)]
#[error("the certificates in {} cannot be used: {reason}", .path.display())]
struct CertificatesUnusable {
    path: PathBuf,
    reason: String,
}

/// Trusts what the system trusts, and what is in the file.
///
/// # Errors
/// When the file cannot be read, or holds no certificate.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // What the system's folder holds and cannot be read trusts nobody; what is missing shows as an untrusted store.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unusable =
            |reason: String| Error::Backend(Box::new(CertificatesUnusable { path: path.to_owned(), reason }));
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
        let mut found = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(unusable("there is none".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Backend(Box::new(error)))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a request failed because the store is not who it should be.
pub(super) fn distrust(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = cause.downcast_ref() {
            return Some(Fault::Untrusted(reason.to_string()));
        }
        // An I/O error names the source of what it holds, and passes over what it holds; some hold another one.
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = held.map(|held| held as &(dyn StdError + 'static)).or_else(|| cause.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{config, distrust};
    use crate::bucket::fault::Fault;

    #[test]
    fn a_file_without_a_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        for path in [empty, folder.path().join("missing.pem")] {
            let refused = config(Some(&path)).unwrap_err();
            let said = std::error::Error::source(&refused).unwrap().to_string();
            assert!(said.contains(path.to_str().unwrap()), "{said}");
        }
        config(None).unwrap();
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_from_a_connection_that_failed() {
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(untrusted));
        assert!(matches!(distrust(&wrapped), Some(Fault::Untrusted(reason)) if reason == "UnknownIssuer"));
        assert!(distrust(&io::Error::other("reset")).is_none());
    }
}
