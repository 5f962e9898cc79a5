//! What the gateways of a test run stand on: a file and a folder by default, or the real things that the environment asks
//! for, so that the same promises are tried on both.
//!
//! `ARTIFACTSTORE_TEST_DATABASE=postgres` gives every gateway a database of its own on a private PostgreSQL, and
//! `ARTIFACTSTORE_TEST_STORAGE=rgw` a bucket of its own on the Ceph RGW that the environment describes.
//!
//! Invariant: what a test names itself is left to it.

use crate::postgres::Cluster;
use crate::store::Store;

/// What gateways stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    postgres: bool,
    rgw: bool,
}

const DATABASE: &str = "ARTIFACTSTORE_DATABASE_URL";
const STORAGE: &str = "ARTIFACTSTORE_STORAGE";

impl Ground {
    /// What the environment asks for.
    ///
    /// # Panics
    /// When it asks for something that there is not.
    #[must_use]
    pub fn of_the_environment() -> Self {
        Self {
            postgres: asked("ARTIFACTSTORE_TEST_DATABASE", "sqlite", "postgres"),
            rgw: asked("ARTIFACTSTORE_TEST_STORAGE", "local", "rgw"),
        }
    }

    /// The settings of a new gateway on it, besides those that its test names.
    pub async fn settings(self, named: &[(&str, &str)]) -> Vec<(String, String)> {
        let names = |part: &str| named.iter().any(|(name, _)| name.starts_with(part));
        let mut settings = Vec::new();
        if self.postgres && !names(DATABASE) {
            settings.push((DATABASE.to_owned(), Cluster::shared().database()));
        }
        if self.rgw && !names(STORAGE) {
            settings.extend(Store::rgw().await.settings());
        }
        settings
    }
}

/// Whether the environment asks for the other thing and not for the usual one.
fn asked(variable: &str, usual: &str, other: &str) -> bool {
    match std::env::var_os(variable).and_then(|value| value.into_string().ok()).as_deref() {
        None | Some("") => false,
        Some(value) if value == usual => false,
        Some(value) if value == other => true,
        Some(value) => panic!("{variable} is {usual} or {other}, and not {value:?}"),
    }
}
