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
use crate::model::name::{ClassName, HoldName, PackageId, PackageName, ProducerName};
use crate::model::retention::{ClassOf, Keeping, LockTerms, Mode, Start};
use crate::model::row::{File, Package, Producer};
use crate::model::state::State;

/// The files of a package, in key order, and what a manifest says of all of them.
#[derive(Debug, Default)]
pub struct Contents {
    files: Vec<ManifestFile>,
    blobs: BTreeMap<ContentAddress, u64>,
    clients: BTreeSet<String>,
    keepers: Keepers,
}

/// What keeps a package, its files or its producer when it is sealed.
#[derive(Debug, Default)]
struct Keepers {
    /// Classes, each with the last moment at which a period of it began with an ingest.
    classes: BTreeMap<ClassName, Timestamp>,
    /// The latest end of locks, by how firm they are.
    locks: BTreeMap<Mode, Timestamp>,
    holds: BTreeSet<HoldName>,
}

impl Keepers {
    fn add(&mut self, keeping: &Keeping, ingested_at: Timestamp) {
        for chosen in &keeping.classes {
            let begun = self.classes.entry(chosen.name.clone()).or_insert(ingested_at);
            *begun = ingested_at.max(*begun);
        }
        if let Some(LockTerms { mode, retain_until }) = keeping.lock.as_ref().map(|lock| lock.terms) {
            let until = self.locks.entry(mode).or_insert(retain_until);
            *until = retain_until.max(*until);
        }
        self.holds.extend(keeping.holds.iter().map(|hold| hold.name.clone()));
    }

    /// What of it counts at the seal, with which periods begin that do not begin with an ingest.
    fn summary(self, sealed_at: Timestamp, class: ClassOf<'_, '_>) -> RetentionSummary {
        let locks = self.locks.into_iter().filter(|(_, until)| *until > sealed_at).map(|(mode, _)| mode);
        let mut mode = locks.max().unwrap_or(Mode::None);
        let mut names = Vec::new();
        for (name, ingested_at) in self.classes {
            let Some(row) = class(&name) else { continue };
            let begun = match row.class.start {
                Start::Ingest => ingested_at,
                Start::Finalize => sealed_at,
            };
            if row.class.period.after(begun).is_none_or(|until| until > sealed_at) {
                mode = mode.max(row.class.mode);
                names.push(name.to_string());
            }
        }
        let class = if names.is_empty() { "none".to_owned() } else { names.join(",") };
        let holds = self.holds.iter().map(ToString::to_string).collect();
        RetentionSummary { mode: mode.as_str().to_owned(), class, holds }
    }
}

impl Contents {
    /// Takes the next file.
    pub fn add(&mut self, file: &File) {
        self.files.push(entry(file));
        self.blobs.insert(file.content_address, file.size_bytes);
        self.keepers.add(&file.keeping, file.ingested_at);
        if let Some(client) = &file.client {
            self.clients.insert(client.clone());
        }
    }

    /// The manifest of the package that has these files, sealed at this time, when there are these classes.
    #[must_use]
    pub fn manifest(
        mut self,
        actor: &Actor,
        (package, owner): (&Package, Option<&Producer>),
        (finalized_at, class): (Timestamp, ClassOf<'_, '_>),
        facts: &FinalizeFacts,
    ) -> Manifest {
        for keeping in [Some(&package.keeping), owner.map(|owner| &owner.keeping)].into_iter().flatten() {
            self.keepers.add(keeping, finalized_at);
        }
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
            retention_summary: self.keepers.summary(finalized_at, class),
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
    let owner = state.producers.get(&package.producer);
    contents.manifest(actor, (package, owner), (state.now, &|name| state.class(name)), facts)
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
