//! Secrets at rest: sealed with a key that is not in the registry.
//!
//! A signature can only be checked with the secret itself, so that secrets are sealed and not hashed. Whoever reads the
//! log or a backup of the database has none of them.
//!
//! Invariant: what was sealed for one access key opens for no other.

use std::fmt;

use artifactstore_registry::model::name::AccessKeyId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::config::Secret;

/// What separates this use of the key from any other.
const CONTEXT: &str = "artifactstore 2026-11 access key secrets";
/// The first byte of everything sealed: how it was.
const VERSION: u8 = 1;

/// Why something could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct SealError;

/// Seals and opens secrets.
pub struct Sealer {
    key: LessSafeKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer with a key that is made of this text.
    ///
    /// # Panics
    /// Never: a derived key has the length of one.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the length is a constant")]
    pub fn new(key: &Secret) -> Self {
        let bytes = blake3::derive_key(CONTEXT, key.expose().as_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("32 bytes");
        Self { key: LessSafeKey::new(key) }
    }

    /// Seals a key's secret.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub fn seal(&self, id: &AccessKeyId, secret: &Secret) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError)?;
        let mut body = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(id.as_str().as_bytes());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| SealError)?;
        Ok([&[VERSION][..], &nonce, &body].concat())
    }

    /// Opens a key's secret; `None` when it was sealed with another key, or for another access key.
    #[must_use]
    pub fn open(&self, id: &AccessKeyId, sealed: &[u8]) -> Option<Secret> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        if version != VERSION {
            return None;
        }
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(id.as_str().as_bytes()), &mut body).ok()?;
        std::str::from_utf8(opened).ok().map(Secret::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_for_its_access_key_and_not_otherwise() {
        let (a, b) = (AccessKeyId::parse("AKA").unwrap(), AccessKeyId::parse("AKB").unwrap());
        let sealer = Sealer::new(&"one key of many, long enough".into());
        let sealed = sealer.seal(&a, &"hush-hush".into()).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("hush"));
        assert_eq!(sealer.open(&a, &sealed), Some("hush-hush".into()));
        assert_eq!(sealer.open(&b, &sealed), None);
        assert_eq!(Sealer::new(&"another key".into()).open(&a, &sealed), None);
        assert_ne!(sealer.seal(&a, &"hush-hush".into()).unwrap(), sealed);
        for spoiled in 0..sealed.len() {
            let mut other = sealed.clone();
            other[spoiled] ^= 1;
            assert_eq!(sealer.open(&a, &other), None, "{spoiled}");
        }
        assert_eq!(sealer.open(&a, &[]), None);
        assert!(!format!("{sealer:?}").contains("one key"));
    }
}
