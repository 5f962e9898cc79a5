//! Making the manifest of a package, of its files as they are at the cut.

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::ContentAddress;
use artifactstore_backends::failpoint::{Point, reach};
use bytes::Bytes;

use super::writer::Vault;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::command::FinalizeFacts;
use crate::model::event::{Actor, StoredManifest};
use crate::model::manifest::{
    CLIENTS_LIMIT, MANIFEST_VERSION, Manifest, ManifestFile, ManifestPackage, Provenance, RetentionSummary,
    StorageReceipt,
};
use crate::model::name::{PackageId, PackageName, ProducerName};
use crate::model::row::{File, Package};
use crate::model::state::State;

/// The files of a package, in key order, and what a manifest says of all of them.
#[derive(Debug, Default)]
pub struct Contents {
    files: Vec<ManifestFile>,
    blobs: BTreeMap<ContentAddress, u64>,
    clients: BTreeSet<String>,
}

impl Contents {
    /// Takes the next file.
    pub fn add(&mut self, file: &File) {
        self.files.push(entry(file));
        self.blobs.insert(file.content_address, file.size_bytes);
        if let Some(client) = &file.client {
            self.clients.insert(client.clone());
        }
    }

    /// The manifest of the package that has these files.
    #[must_use]
    pub fn manifest(
        self,
        actor: &Actor,
        package: &Package,
        finalized_at: Timestamp,
        facts: &FinalizeFacts,
    ) -> Manifest {
        Manifest {
            files: self.files,
            package: ManifestPackage {
                id: package.id.to_string(),
                name: package.name.to_string(),
                producer: package.producer.to_string(),
                revision: package.revision,
                opened_at: package.opened_at.0,
                finalized_at: finalized_at.0,
            },
            provenance: Provenance {
                actor: actor.name.clone(),
                client: actor.client.clone(),
                tenant: actor.tenant.to_string(),
                clients: self.clients.into_iter().take(CLIENTS_LIMIT).collect(),
                last_sequence: package.last_sequence,
                first_sequence: package.opened_sequence,
                gateway_version: facts.gateway_version.clone(),
            },
            manifest_version: MANIFEST_VERSION,
            storage_receipts: vec![StorageReceipt {
                blobs: u64::try_from(self.blobs.len()).unwrap_or(u64::MAX),
                backend: facts.backend.clone(),
                size_bytes: self.blobs.values().sum(),
            }],
            retention_summary: RetentionSummary {
                mode: "none".to_owned(),
                class: "none".to_owned(),
                holds: Vec::new(),
            },
        }
    }
}

/// The manifest of a package as the state has it.
#[must_use]
pub fn manifest(state: &State, actor: &Actor, package: &Package, facts: &FinalizeFacts) -> Manifest {
    let key = (package.producer.clone(), package.name.clone());
    let members = state.members.get(&key).into_iter().flat_map(BTreeMap::values);
    let mut contents = Contents::default();
    members.filter_map(|at| state.files.get(at)).for_each(|file| contents.add(file));
    contents.manifest(actor, package, state.now, facts)
}

/// Stores a manifest that is too large for its event. A package is sealed by one event, and the manifest must be durable
/// before it.
///
/// # Errors
/// When it cannot be stored.
pub async fn store_manifest(vault: &dyn Vault, manifest: &Manifest, bytes: Vec<u8>) -> Result<StoredManifest> {
    let manifest_address = Manifest::digest(&bytes);
    let manifest_size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let kept = vault.keep(Bytes::from(bytes)).await?;
    reach(Point::ManifestStored);
    Ok(StoredManifest {
        chunks: kept.recipe,
        sha256: kept.sha256,
        package: PackageName::trusted(&manifest.package.name),
        written: kept.written,
        producer: ProducerName::trusted(&manifest.package.producer),
        package_id: PackageId::trusted(&manifest.package.id),
        finalized_at: Timestamp(manifest.package.finalized_at),
        manifest_size,
        manifest_address,
    })
}

fn entry(file: &File) -> ManifestFile {
    ManifestFile {
        etag: file.etag.clone(),
        size: file.size_bytes,
        metadata: file.attributes.metadata.clone(),
        sequence: file.sequence,
        media_type: file.attributes.media_type.clone(),
        digest_sha256: file.sha256.to_hex(),
        relative_path: file.relative_path.clone(),
        digest_primary: file.content_address.to_hex(),
        content_address: file.content_address.to_string(),
        digest_algorithm: "blake3".to_owned(),
    }
}
