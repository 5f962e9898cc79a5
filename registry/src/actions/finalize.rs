//! Finalizing packages: asked for, or because nobody wrote to them for their producer's quiet period.

use artifactstore_backends::failpoint::{Point, reach};

use super::producer::unexpected;
use crate::clock::Timestamp;
use crate::error::{Error, Refusal, Result};
use crate::log::decide::FILES_IN_BATCH;
use crate::log::seal::{Contents, store_manifest};
use crate::model::command::{Command, PackageChoice, PreparedSeal, Reply};
use crate::model::event::{Actor, PackageFinalized};
use crate::model::name::ClassName;
use crate::model::row::Package;
use crate::model::storage::Storage;
use crate::store::lease::{Lease, Work};
use crate::{Inner, Registry};

/// How many rows are looked at in one go.
const PAGE: usize = 256;
/// How often a seal is made before its batch, when others write to the package meanwhile.
const PREPARED_ATTEMPTS: u32 = 3;

impl Inner {
    /// Finalizes a package: when `idle` says so, only if nobody wrote to it since then and that lease runs. The seal of a large one is made before
    /// the batch that records it, so that nobody waits for it; a write in between makes it worthless, and it is made
    /// anew.
    pub(crate) async fn package_seal(
        &self,
        actor: &Actor,
        package: &PackageChoice,
        idle: Option<(Timestamp, &Lease)>,
    ) -> Result<Package> {
        let idle_since = idle.map(|(since, _)| since);
        let mut prepared = None;
        for attempt in 0..=PREPARED_ATTEMPTS {
            // Somebody writes to it all the time: what is left is to hold everybody up.
            if attempt < PREPARED_ATTEMPTS {
                prepared = self.prepare(actor, package).await?.map(Box::new);
            }
            let whole = prepared.is_none();
            let (package, facts) = (package.clone(), self.facts.clone());
            let command = Command::PackageFinalize { package, idle_since, facts, prepared: prepared.take() };
            reach(Point::FinalizeAsked);
            let reply = match idle {
                Some((_, lease)) => self.log.record_under(lease, actor, command).await,
                None => self.log.record(actor, command).await,
            };
            let reply = match reply {
                // Of what was stored for it before the batch, something was swept meanwhile.
                Err(Error::Refused(Refusal::ContentMissing)) if !whole => continue,
                reply => reply?,
            };
            match reply {
                Reply::Package(package) if whole || idle_since.is_some() || package.seal.is_some() => {
                    return Ok(*package);
                }
                Reply::Package(_) => {}
                reply => return Err(unexpected(&reply)),
            }
        }
        Err(Error::Busy)
    }

    /// The seal of an open package that is too large for one batch; `None` for any other.
    async fn prepare(&self, actor: &Actor, choice: &PackageChoice) -> Result<Option<PreparedSeal>> {
        if self.large_and_open(choice).await?.is_none() {
            return Ok(None);
        }
        let _turn = self.sealing.lock().await;
        // Whoever had the turn before may have sealed it.
        let Some(package) = self.large_and_open(choice).await? else { return Ok(None) };
        // The command is refused for it, in the words that are due.
        let Ok(owner) = self.producer_owned(actor, &package.producer).await else { return Ok(None) };
        let mut contents = Contents::default();
        let mut after = None;
        loop {
            let files = self.store.members(&package.producer, &package.name, after.as_ref(), PAGE).await?;
            files.iter().for_each(|file| contents.add(file));
            match files.last() {
                Some(last) if files.len() == PAGE => after = Some(last.name.key.clone()),
                _ => break,
            }
        }
        let finalized_at = self.now().await?.max(package.changed_at);
        let facts = self.facts.written_to(&Storage::new(self.store.moves().await?));
        let (classes, _) = self.store.retention().await?;
        let class = |name: &ClassName| classes.iter().find(|row| row.name == *name);
        let manifest = contents.manifest(actor, (&package, Some(&owner)), (finalized_at, &class), &facts);
        let bytes = manifest.encode();
        let fact = if bytes.len() > self.manifest_inline_limit_bytes {
            PackageFinalized::Stored(store_manifest(&*self.vault, &manifest, bytes).await?)
        } else {
            PackageFinalized::Inline(Box::new(manifest))
        };
        Ok(Some(PreparedSeal { package_id: package.id, last_sequence: package.last_sequence, fact }))
    }

    async fn large_and_open(&self, choice: &PackageChoice) -> Result<Option<Package>> {
        let package = match choice {
            PackageChoice::Name(producer, name) => self.store.package_latest(producer, name).await?,
            PackageChoice::Id(id) => self.store.package(id).await?,
        };
        Ok(package.filter(|package| package.seal.is_none() && package.file_count > FILES_IN_BATCH))
    }
}

impl Registry {
    /// Finalizes a package. Finalizing it again answers the same and records nothing.
    ///
    /// # Errors
    /// When there is no such package.
    pub async fn package_finalize(&self, actor: &Actor, package: PackageChoice) -> Result<Package> {
        self.inner.package_seal(actor, &package, None).await
    }

    /// Finalizes every package that has files and whose producer's quiet period has passed; says how many. Meant to be
    /// called every second or so by every gateway: the one that has the lease does it. Doing it twice at once is
    /// harmless, because the commit looks again.
    ///
    /// # Errors
    /// When the store cannot be read or written; packages that were finalized before that stay so.
    pub async fn packages_finalize_idle(&self) -> Result<u64> {
        let mut finalized = 0;
        let mut after = None;
        // By the clock that the writes were stamped by: by another one, what is a moment old may look quiet.
        let mut now = None;
        loop {
            let producers = self.inner.store.producers(None, after.as_ref(), PAGE).await?;
            for producer in &producers {
                let Some(seconds) = producer.settings.finalize_after_idle_seconds else { continue };
                let now = match now {
                    Some(now) => now,
                    None => *now.insert(self.inner.now().await?),
                };
                let since = now.minus_seconds(seconds);
                for package in self.inner.store.packages_idle(&producer.name, since, PAGE).await? {
                    let actor = Actor {
                        tenant: producer.tenant.clone(),
                        name: "gateway".to_owned(),
                        request_id: hex::encode(self.inner.entropy.fresh()),
                        client: None,
                    };
                    let Some(lease) = self.inner.leases.of(&*self.inner.store, Work::FinalizeIdle).await? else {
                        return Ok(finalized);
                    };
                    let idle = Some((since, &lease));
                    match self.inner.package_seal(&actor, &PackageChoice::Id(package.id), idle).await {
                        Ok(sealed) => finalized += u64::from(sealed.seal.is_some()),
                        Err(Error::Refused(Refusal::LeaseOver)) => {
                            self.inner.leases.forget(&lease).await;
                            return Ok(finalized);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            match producers.last() {
                Some(last) if producers.len() == PAGE => after = Some(last.name.clone()),
                _ => return Ok(finalized),
            }
        }
    }
}
