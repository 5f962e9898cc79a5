//! Making the manifest of a package from the state: pure, within the batch that seals it, so that the cut is clean.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::command::FinalizeFacts;
use crate::model::event::Actor;
use crate::model::manifest::{
    CLIENTS_LIMIT, MANIFEST_VERSION, Manifest, ManifestFile, ManifestPackage, Provenance, RetentionSummary,
    StorageReceipt,
};
use crate::model::row::{File, Package};
use crate::model::state::State;

/// The manifest of a package as the state has it.
#[must_use]
pub fn manifest(state: &State, actor: &Actor, package: &Package, facts: &FinalizeFacts) -> Manifest {
    let key = (package.producer.clone(), package.name.clone());
    let members: Vec<&File> =
        state.members.get(&key).into_iter().flat_map(BTreeMap::values).filter_map(|at| state.files.get(at)).collect();
    let blobs: BTreeMap<_, _> = members.iter().map(|file| (file.content_address, file.size_bytes)).collect();
    let clients: BTreeSet<&str> = members.iter().filter_map(|file| file.client.as_deref()).collect();
    Manifest {
        files: members.iter().map(|file| entry(file)).collect(),
        package: ManifestPackage {
            id: package.id.to_string(),
            name: package.name.to_string(),
            producer: package.producer.to_string(),
            revision: package.revision,
            opened_at: package.opened_at.0,
            finalized_at: state.now.0,
        },
        provenance: Provenance {
            actor: actor.name.clone(),
            client: actor.client.clone(),
            tenant: actor.tenant.to_string(),
            clients: clients.into_iter().take(CLIENTS_LIMIT).map(str::to_owned).collect(),
            last_sequence: package.last_sequence,
            first_sequence: package.opened_sequence,
            gateway_version: facts.gateway_version.clone(),
        },
        manifest_version: MANIFEST_VERSION,
        storage_receipts: vec![StorageReceipt {
            blobs: u64::try_from(blobs.len()).unwrap_or(u64::MAX),
            backend: facts.backend.clone(),
            size_bytes: blobs.values().sum(),
        }],
        retention_summary: RetentionSummary { mode: "none".to_owned(), class: "none".to_owned(), holds: Vec::new() },
    }
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
