//! The storage that the settings name, opened: one, or two while a store moves from one to the other.

use std::sync::Arc;
use std::time::Duration;

use artifactstore_backends::backend::Backend;
use artifactstore_backends::bucket::{BucketBackend, BucketOptions};
use artifactstore_backends::dataplane::backends::Backends;
use artifactstore_backends::operator::OperatorBackend;
use artifactstore_registry::Error;

use super::{OpenMode, StartError};
use crate::config::{S3Storage, Settings, StorageKind};

/// All storage that the settings open.
#[derive(Debug, Clone)]
pub struct Storages(Vec<Storage>);

impl Storages {
    /// Opens what the settings name.
    ///
    /// # Errors
    /// When they do not describe it, it cannot be written, or it cannot be opened in this mode.
    pub async fn open(settings: &Settings, mode: OpenMode) -> Result<Self, StartError> {
        let mut opened = Vec::with_capacity(settings.storage.len());
        for kind in &settings.storage {
            opened.push(Storage::open(settings, *kind, mode).await?);
        }
        Ok(Self(opened))
    }

    /// Those that the data plane reads and writes.
    ///
    /// # Errors
    /// When the settings name none.
    pub fn backends(&self) -> Result<Backends, StartError> {
        let mut all = self.0.iter().map(Storage::backend);
        let first = all.next().ok_or(StartError::StorageUnknown)?;
        Ok(all.fold(Backends::new(first), Backends::with))
    }

    /// Removes what processes that died left half written this long ago.
    ///
    /// # Errors
    /// When one of them cannot be read or written.
    pub(super) async fn sweep_temporaries(&self, older_than: Duration) -> Result<(), StartError> {
        for storage in &self.0 {
            storage.sweep_temporaries(older_than).await?;
        }
        Ok(())
    }
}

/// Where bytes are kept.
#[derive(Debug, Clone)]
pub enum Storage {
    /// A folder of this machine.
    Local(Arc<OperatorBackend>),
    /// A bucket of an S3 store.
    S3(Arc<BucketBackend>),
}

impl Storage {
    /// Opens the storage of this kind that the settings describe. What an earlier version laid out otherwise is changed by
    /// whoever brings the schema up to date as well, and by nobody else: others may be at work there.
    ///
    /// # Errors
    /// When they describe none, it cannot be written, or it would have to be changed and may not be.
    pub async fn open(settings: &Settings, kind: StorageKind, mode: OpenMode) -> Result<Self, StartError> {
        match (kind, &settings.storage_s3) {
            (StorageKind::Local, _) => {
                let root = &settings.storage_local_root;
                let opened = match mode {
                    OpenMode::Create => OperatorBackend::local(root).await,
                    OpenMode::Existing => OperatorBackend::local_as_is(root).await,
                };
                Ok(Self::Local(Arc::new(opened.map_err(Error::Bytes)?)))
            }
            (StorageKind::S3, Some(s3)) => {
                Ok(Self::S3(Arc::new(BucketBackend::open(&options(s3)).await.map_err(Error::Bytes)?)))
            }
            (StorageKind::S3, None) => Err(StartError::StorageUnknown),
        }
    }

    /// The storage as the data plane sees it.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Self::Local(backend) => Arc::clone(backend) as Arc<dyn Backend>,
            Self::S3(backend) => Arc::clone(backend) as Arc<dyn Backend>,
        }
    }

    /// Removes what a process that died left half written this long ago: younger files may be another process's.
    ///
    /// # Errors
    /// When the storage cannot be read or written.
    async fn sweep_temporaries(&self, older_than: Duration) -> Result<(), StartError> {
        match self {
            Self::Local(backend) => {
                backend.sweep_temporaries(older_than).await.map_err(Error::Bytes)?;
            }
            // A store keeps whole objects or nothing.
            Self::S3(_) => {}
        }
        Ok(())
    }
}

fn options(s3: &S3Storage) -> BucketOptions {
    BucketOptions {
        endpoint: s3.endpoint.clone(),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        region: s3.region.clone(),
        access_key: s3.access_key.expose().to_owned(),
        secret_key: s3.secret_key.expose().to_owned(),
        concurrency: s3.concurrency,
        patience: s3.timeout,
        ca_file: s3.ca_file.clone(),
    }
}
