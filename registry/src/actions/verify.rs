//! Verifying: every blob is re-read and re-digested, every manifest compared, the chain followed.

use std::collections::BTreeMap;

use artifactstore_backends::dataplane::spi::Verification;

use super::request::{Finding, PackageFilter, Progress, VerifySummary};
use crate::error::{Error, Result};
use crate::log::replay::{follows, genesis};
use crate::model::name::ProducerName;
use crate::model::row::{Blob, File, Package, Sequence};
use crate::{Inner, Registry};

/// How many rows are looked at in one go.
const PAGE: usize = 256;
/// How many files one finding names at most.
const FILES_NAMED: usize = 100;

type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
type OnFinding<'a> = &'a (dyn Fn(Finding) + Send + Sync);

struct Verifying<'a> {
    inner: &'a Inner,
    on_progress: OnProgress<'a>,
    on_finding: OnFinding<'a>,
    progress: Progress,
    summary: VerifySummary,
}

impl Registry {
    /// Re-reads and re-digests every blob, compares every manifest with its digest and its files, and follows the log's
    /// chain. Findings and progress are told as they come; damage is a finding, not an error.
    ///
    /// # Errors
    /// When the store cannot be read, or the backend is not available.
    pub async fn verify(
        &self,
        on_progress: &(dyn Fn(Progress) + Send + Sync),
        on_finding: &(dyn Fn(Finding) + Send + Sync),
    ) -> Result<VerifySummary> {
        let (total, total_bytes) = self.inner.store.blobs_total().await?;
        let mut work = Verifying {
            inner: &self.inner,
            on_progress,
            on_finding,
            progress: Progress { total, total_bytes, ..Progress::default() },
            summary: VerifySummary::default(),
        };
        work.chain().await?;
        work.manifests(self).await?;
        work.blobs().await?;
        Ok(work.summary)
    }
}

impl Verifying<'_> {
    fn found(&mut self, finding: Finding) {
        self.summary.damaged += 1;
        (self.on_finding)(finding);
    }

    async fn chain(&mut self) -> Result<()> {
        // Asked for first: whatever is committed meanwhile, the log reaches at least to here.
        let stored = self.inner.store.head().await?;
        let mut head = genesis();
        loop {
            let records = self.inner.store.events(head.sequence, PAGE).await?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                if let Err(problem) = follows(&head, record) {
                    self.found(Finding::ChainBroken { sequence: record.sequence, problem });
                }
                self.summary.events += 1;
                head = record.head();
                if head.sequence == stored.sequence && head.hash != stored.hash {
                    let problem = "the log's head does not have its hash".to_owned();
                    self.found(Finding::ChainBroken { sequence: head.sequence, problem });
                }
            }
        }
        if head.sequence < stored.sequence {
            let problem = format!("the log ends here, and its head is event {}", stored.sequence);
            self.found(Finding::ChainBroken { sequence: head.sequence, problem });
        }
        Ok(())
    }

    async fn manifests(&mut self, registry: &Registry) -> Result<()> {
        let mut after: Option<ProducerName> = None;
        loop {
            let producers = self.inner.store.producers(None, after.as_ref(), PAGE).await?;
            let Some(last) = producers.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for producer in &producers {
                let filter = PackageFilter { name: None, finalized: Some(true) };
                let mut cursor = None;
                loop {
                    let packages = self.inner.store.packages(&producer.name, &filter, cursor.as_ref(), PAGE).await?;
                    let Some(last) = packages.last() else { break };
                    cursor = Some(super::request::PackageCursor { name: last.name.clone(), revision: last.revision });
                    for package in &packages {
                        self.manifest(registry, package).await?;
                    }
                }
            }
        }
    }

    async fn manifest(&mut self, registry: &Registry, package: &Package) -> Result<()> {
        self.summary.manifests += 1;
        let problem = match registry.manifest_decoded(package).await {
            Err(error @ Error::EventUnreadable { .. }) => Some(error.to_string()),
            Err(Error::Bytes(error)) => Some(error.to_string()),
            Err(error) => return Err(error),
            Ok(manifest) => {
                let sequences: Vec<Sequence> = manifest.files.iter().map(|file| file.sequence).collect();
                let files: BTreeMap<Sequence, File> = self
                    .inner
                    .store
                    .versions(&sequences)
                    .await?
                    .into_iter()
                    .map(|file| (file.sequence, file))
                    .collect();
                for row in self.inner.store.sweeping().erasures(&sequences).await? {
                    let entry = manifest.files.iter().find(|entry| entry.sequence == row.version);
                    self.summary.erased += 1;
                    (self.on_finding)(Finding::FileErased {
                        package: package.id.clone(),
                        relative_path: entry.map(|entry| entry.relative_path.clone()).unwrap_or_default(),
                        version: row.version,
                        event: row.sequence,
                        reason: row.reason,
                    });
                }
                manifest.files.iter().find_map(|entry| {
                    let same = files.get(&entry.sequence).is_some_and(|file| {
                        file.relative_path == entry.relative_path
                            && file.content_address.to_string() == entry.content_address
                            && file.sha256.to_hex() == entry.digest_sha256
                            && file.size_bytes == entry.size
                    });
                    (!same).then(|| format!("{:?} is not what the views have", entry.relative_path))
                })
            }
        };
        if let Some(problem) = problem {
            self.found(Finding::ManifestDamaged { package: package.id.clone(), problem });
        }
        Ok(())
    }

    async fn blobs(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let blobs = self.inner.store.blobs(after.as_ref(), PAGE).await?;
            let Some(last) = blobs.last() else { return Ok(()) };
            after = Some(last.content_address);
            for blob in &blobs {
                // What was swept while it was read is no damage.
                let problem = match self.blob(blob).await? {
                    Some(problem) => self.inner.store.blob(&blob.content_address).await?.map(|_| problem),
                    None => None,
                };
                if let Some(problem) = problem {
                    self.damaged(blob, problem).await?;
                }
                self.summary.blobs += 1;
                self.summary.bytes += blob.size_bytes;
                self.progress.done += 1;
                self.progress.bytes += blob.size_bytes;
                (self.on_progress)(self.progress);
            }
        }
    }

    /// Names a damaged blob with every file and every manifest that has it, however many they are.
    async fn damaged(&mut self, blob: &Blob, problem: String) -> Result<()> {
        let address = blob.content_address;
        let name = |file: &File| {
            let File { name, sequence, package, .. } = file;
            format!("{}/{} (version {sequence}, package {:?})", name.producer, name.key, package.as_str())
        };
        let mut files = self.inner.store.files_of_blob(&address, 0, FILES_NAMED).await?;
        let manifests = self.inner.manifests_stored_in(&[address], FILES_NAMED).await?;
        let manifests = manifests.into_iter().filter(|package| {
            // One of the chunks of another blob may be this blob.
            package.seal.as_ref().is_some_and(|seal| seal.manifest_digest == address)
        });
        self.found(Finding::BlobDamaged {
            content_address: address.to_string(),
            problem,
            files: files.iter().map(name).collect(),
            manifests: manifests.map(|package| package.id).collect(),
        });
        while let Some(last) = files.last().filter(|_| files.len() == FILES_NAMED) {
            files = self.inner.store.files_of_blob(&address, last.sequence, FILES_NAMED).await?;
            if !files.is_empty() {
                let content_address = address.to_string();
                (self.on_finding)(Finding::FilesDamaged { content_address, files: files.iter().map(name).collect() });
            }
        }
        Ok(())
    }

    /// What is wrong with a blob, if anything is.
    async fn blob(&self, blob: &Blob) -> Result<Option<String>> {
        let found = match self.inner.plane.verify_object(&Verification::Blob(blob.content_address)).await {
            Ok(found) => found,
            Err(error @ artifactstore_backends::Error::BlobMissing(_)) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        if !found.damages.is_empty() {
            let findings: Vec<&str> = found.damages.iter().map(|damage| damage.finding.as_str()).collect();
            return Ok(Some(findings.join("; ")));
        }
        if found.sha256 != Some(blob.sha256) || found.size_bytes != blob.size_bytes {
            return Ok(Some("its SHA-256 or its size is not what was recorded".to_owned()));
        }
        Ok(None)
    }
}
