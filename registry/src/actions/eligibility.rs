//! Whether something may go, and every reason why not. Nothing is changed by asking.

use std::collections::BTreeMap;

use serde::Serialize;

use super::request::{FILES_TOLD, PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal, Result};
use crate::model::event::Actor;
use crate::model::manifest::Manifest;
use crate::model::name::{ClassName, FileName, PackageId, ProducerName};
use crate::model::retention::{
    ClassRow, ClockJump, LockTerms, Mode, Reason, RetentionClass, Sources, package_reasons, reasons,
};
use crate::model::row::{File, Package, Producer, Sequence, VersionChoice};
use crate::store::KeyRange;
use crate::{Inner, Registry};

/// How many rows are looked at in one go.
const PAGE: usize = 256;

/// A version that somebody leans on besides, or that keeps something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionTold {
    /// Its producer.
    pub producer: ProducerName,
    /// Its key.
    pub key: String,
    /// Its number, which is that of the event that made it.
    pub event: Sequence,
    /// Why it is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// An upload that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UploadTold {
    /// Its key.
    pub key: String,
    /// Its identifier.
    pub upload: String,
    /// The event that began it.
    pub event: Sequence,
}

/// Whether something may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Eligibility {
    /// Whether nothing forbids that it is removed.
    pub eligible: bool,
    /// Whether its bytes go then, too.
    pub frees_bytes: bool,
    /// The time that expiry goes by, in microseconds since 1970.
    pub as_of: Timestamp,
    /// Why it is kept.
    pub reasons: Vec<Reason>,
    /// Of a package: the files that are kept one by one, the first hundred of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<VersionTold>,
    /// Of a package: how many of its files are kept one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_kept: Option<u64>,
    /// Other versions that have the same bytes, the first hundred of them: the bytes stay for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<VersionTold>,
    /// Uploads to the key, or under the package, that have not come to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uploads: Vec<UploadTold>,
    /// Jumps of the clock that nobody has settled: nothing expires behind the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock_jumps: Vec<ClockJump>,
}

/// What a changed class would let go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// How many versions are kept by the class now.
    pub versions_kept: u64,
    /// How many of those no class, lock or hold would keep any more. A seal does all the same, until it is released.
    pub versions_released: u64,
    /// Their bytes, those that others have as well among them.
    pub bytes_released: u64,
    /// The first hundred of them.
    pub versions: Vec<VersionTold>,
    /// How many packages would be kept no more by the class, or by anything else of their own.
    pub packages_released: u64,
    /// The first hundred of them.
    pub packages: Vec<PackageId>,
}

/// The classes and the time that reasons are found by.
struct Rules {
    classes: BTreeMap<ClassName, ClassRow>,
    jumps: Vec<ClockJump>,
    expiry: Timestamp,
}

/// A version with what keeps it besides itself.
struct Kept {
    file: File,
    producer: Option<Producer>,
    written_into: Option<Package>,
    latest: Option<Package>,
}

impl Kept {
    fn reasons(&self, classes: &BTreeMap<ClassName, ClassRow>, expiry: Timestamp) -> Vec<Reason> {
        let packages = [self.written_into.as_ref(), self.latest.as_ref()];
        let sources = Sources { file: &self.file, producer: self.producer.as_ref(), packages, expiry };
        reasons(&sources, &|name| classes.get(name))
    }

    /// The seal that keeps it, if there is one that was not released.
    fn seal(&self) -> Option<Reason> {
        let released = self.latest.as_ref().is_some_and(|package| package.released_sequence.is_some());
        let sealed = [self.written_into.as_ref(), self.latest.as_ref()].into_iter().flatten().find(|package| {
            // What was ended before the seal is not in the manifest.
            let seal = package.seal.as_ref().map(|seal| seal.sequence);
            let had = |seal| self.file.sequence < seal && self.file.ended_sequence.is_none_or(|ended| ended > seal);
            seal.is_some_and(had)
        })?;
        let event = sealed.seal.as_ref()?.sequence;
        let (package, revision) = (sealed.name.to_string(), sealed.revision);
        (!released).then_some(Reason::Sealed { package, revision, event })
    }
}

impl Inner {
    async fn rules(&self) -> Result<Rules> {
        let (classes, clock) = self.classes_and_clock().await?;
        let classes = classes.into_iter().map(|row| (row.name.clone(), row)).collect();
        let jumps = clock.jumps.into_iter().filter(|jump| jump.settled_sequence.is_none()).collect();
        Ok(Rules { classes, jumps, expiry: clock.expiry })
    }

    async fn kept(&self, file: File) -> Result<Kept> {
        let producer = self.store.producer(&file.name.producer).await?;
        // Versions from before the producer was created are those of a deleted one.
        let producer = producer.filter(|producer| file.sequence > producer.created_sequence);
        let written_into = self.store.package(&file.package_id).await?;
        let latest = match producer {
            Some(_) => self.store.package_latest(&file.name.producer, &file.package).await?,
            None => None,
        };
        Ok(Kept { file, producer, written_into, latest })
    }

    async fn uploads_under(&self, producer: &ProducerName, from: &str, whole: bool) -> Result<Vec<UploadTold>> {
        let range = KeyRange { from: Some(from.to_owned()), ..KeyRange::default() };
        let uploads = self.store.uploads(producer, &range, None, FILES_TOLD).await?;
        let fits = |key: &str| if whole { key == from } else { key.starts_with(from) };
        let told = uploads.into_iter().filter(|upload| fits(upload.name.key.as_str())).map(|upload| UploadTold {
            key: upload.name.key.to_string(),
            upload: upload.id.to_string(),
            event: upload.sequence,
        });
        Ok(told.collect())
    }

    /// Other versions with the same bytes. Those of other tenants have events, and no names.
    async fn references(&self, actor: &Actor, file: &File) -> Result<Vec<VersionTold>> {
        let same = self.store.files_of_blob(&file.content_address, 0, FILES_TOLD + 1).await?;
        let mut own = BTreeMap::new();
        let mut references = Vec::new();
        for other in same.iter().filter(|other| other.sequence != file.sequence).take(FILES_TOLD) {
            let producer = &other.name.producer;
            if !own.contains_key(producer) {
                let there = self.store.producer(producer).await?;
                own.insert(producer.clone(), there.is_some_and(|there| there.tenant == actor.tenant));
            }
            let mut reference = told(other, Vec::new());
            if own.get(producer) != Some(&true) {
                (reference.producer, reference.key) = (ProducerName::trusted(""), String::new());
            }
            references.push(reference);
        }
        Ok(references)
    }

    /// Why revisions before this one are kept.
    pub(crate) async fn earlier_kept(&self, package: &Package) -> Result<Vec<Reason>> {
        let rules = self.rules().await?;
        let filter = PackageFilter { name: Some(package.name.clone()), ..PackageFilter::default() };
        let mut kept = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.packages(&package.producer, &filter, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(kept) };
            after = Some(PackageCursor { name: last.name.clone(), revision: last.revision });
            for earlier in page.iter().filter(|earlier| earlier.revision < package.revision) {
                let reasons = package_reasons(earlier, None, rules.expiry, &|name| rules.classes.get(name));
                kept.extend(reasons.into_iter().filter(|reason| reason.forbids(false)));
            }
        }
    }

    /// What forbids that a version goes, of the revisions behind the one that it was written into: those that have it too.
    pub(crate) async fn later_kept(&self, file: &File, bypass: bool) -> Result<Vec<Reason>> {
        let rules = self.rules().await?;
        let Some(written) = self.store.package(&file.package_id).await? else { return Ok(Vec::new()) };
        let filter = PackageFilter { name: Some(file.package.clone()), ..PackageFilter::default() };
        let has_it = |later: &Package| {
            let sealed = later.seal.as_ref().map_or(Sequence::MAX, |seal| seal.sequence);
            later.revision > written.revision && file.ended_sequence.is_none_or(|ended| ended > sealed)
        };
        let mut kept = Vec::new();
        let mut after = Some(PackageCursor { name: written.name.clone(), revision: written.revision });
        loop {
            let page = self.store.packages(&written.producer, &filter, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(kept) };
            after = Some(PackageCursor { name: last.name.clone(), revision: last.revision });
            for later in page.iter().filter(|later| has_it(later)) {
                let reasons = package_reasons(later, None, rules.expiry, &|name| rules.classes.get(name));
                kept.extend(reasons.into_iter().filter(|reason| reason.forbids(bypass)));
            }
        }
    }

    /// The versions that a package has: those of its manifest, or those that have names in it now.
    async fn package_versions(&self, package: &Package) -> Result<Vec<Sequence>> {
        if let Some(seal) = &package.seal {
            let bytes = self.manifest_bytes(seal).await?;
            let manifest = Manifest::decode(&bytes)
                .map_err(|error| Error::EventUnreadable { sequence: seal.sequence, reason: error.to_string() })?;
            return Ok(manifest.files.iter().map(|file| file.sequence).collect());
        }
        let mut versions = Vec::new();
        let mut after = None;
        loop {
            let page = self.store.members(&package.producer, &package.name, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(versions) };
            after = Some(last.name.key.clone());
            versions.extend(page.iter().map(|file| file.sequence));
        }
    }
}

fn told(file: &File, reasons: Vec<Reason>) -> VersionTold {
    let (producer, key) = (file.name.producer.clone(), file.name.key.to_string());
    VersionTold { producer, key, event: file.sequence, reasons }
}

impl Registry {
    /// Whether a version may go; the one that has the name, when none is said. A version that was superseded or removed
    /// can be asked for by its number.
    ///
    /// # Errors
    /// When there is none.
    pub async fn file_eligibility(
        &self,
        actor: &Actor,
        name: &FileName,
        version: Option<VersionChoice>,
    ) -> Result<Eligibility> {
        let inner = &self.inner;
        let owner = inner.producer_owned(actor, &name.producer).await?;
        let found = match version {
            Some(VersionChoice::Numbered(sequence)) => inner.store.versions(&[sequence]).await?.pop(),
            None | Some(VersionChoice::Null) => inner.store.file(name).await?,
        };
        let missing = if version.is_some() { Refusal::VersionMissing } else { Refusal::FileMissing };
        let own = |file: &File| file.name == *name && file.sequence > owner.created_sequence;
        let file = found.filter(own).ok_or(missing)?;
        let rules = inner.rules().await?;
        let references = inner.references(actor, &file).await?;
        let uploads = inner.uploads_under(&name.producer, name.key.as_str(), true).await?;
        let kept = inner.kept(file).await?;
        let mut reasons: Vec<Reason> = kept.seal().into_iter().collect();
        reasons.extend(kept.reasons(&rules.classes, rules.expiry));
        let eligible = !reasons.iter().any(|reason| reason.forbids(false));
        Ok(Eligibility {
            eligible,
            frees_bytes: reasons.is_empty() && references.is_empty(),
            as_of: rules.expiry,
            reasons,
            files: Vec::new(),
            files_kept: None,
            references,
            uploads,
            clock_jumps: rules.jumps,
        })
    }

    /// Until when a version is kept, and how firmly: of all classes and locks the longest. One without an end ends with
    /// the last year that has four digits. A lock that is over is told as well, when nothing else keeps the version.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn file_retention(&self, file: &File) -> Result<Option<LockTerms>> {
        let rules = self.inner.rules().await?;
        let kept = self.inner.kept(file.clone()).await?;
        let terms = kept.reasons(&rules.classes, rules.expiry).into_iter().filter_map(|reason| match reason {
            Reason::Class { over: true, .. } | Reason::Class { mode: Mode::None, .. } => None,
            Reason::Class { mode, until, .. } => {
                Some(LockTerms { mode, retain_until: until.unwrap_or(Timestamp::LAST) })
            }
            Reason::Lock { mode, until, .. } => Some(LockTerms { mode, retain_until: until }),
            Reason::Sealed { .. } | Reason::Hold { .. } => None,
        });
        let longest = terms.max_by_key(|terms| (terms.retain_until, terms.mode));
        Ok(longest.or_else(|| file.keeping.lock.as_ref().map(|lock| lock.terms)))
    }

    /// Whether a package may go, with all its files.
    ///
    /// # Errors
    /// When there is none.
    pub async fn package_eligibility(&self, actor: &Actor, id: &PackageId) -> Result<Eligibility> {
        let inner = &self.inner;
        let package = self.package_stat(actor, id).await?;
        let owner = inner.producer_owned(actor, &package.producer).await?;
        let rules = inner.rules().await?;
        let reasons = package_reasons(&package, Some(&owner), rules.expiry, &|name| rules.classes.get(name));
        let latest = inner.store.package_latest(&package.producer, &package.name).await?;
        let mut files = Vec::new();
        let mut files_kept = 0;
        for page in inner.package_versions(&package).await?.chunks(PAGE) {
            for file in inner.store.versions(page).await? {
                let (producer, written_into) = (None, inner.store.package(&file.package_id).await?);
                // What keeps the package or the producer was told above.
                let kept = Kept { file, producer, written_into, latest: None };
                let by_itself = kept.reasons(&rules.classes, rules.expiry);
                let by_itself: Vec<Reason> = by_itself.into_iter().filter(Reason::is_of_file).collect();
                if by_itself.iter().any(|reason| reason.forbids(false)) {
                    files_kept += 1;
                    if files.len() < FILES_TOLD {
                        files.push(told(&kept.file, by_itself));
                    }
                }
            }
        }
        let prefix = package.name.reserved_prefix();
        let prefix = prefix.strip_suffix(".artifact/").unwrap_or(&prefix);
        let uploads = inner.uploads_under(&package.producer, prefix, false).await?;
        let open = package.seal.is_none() && latest.is_some_and(|latest| latest.id == package.id);
        let forbidden = reasons.iter().any(|reason| reason.forbids(false)) || files_kept > 0;
        Ok(Eligibility {
            eligible: !forbidden,
            frees_bytes: reasons.is_empty() && files_kept == 0 && !open,
            as_of: rules.expiry,
            reasons,
            files,
            files_kept: Some(files_kept),
            references: Vec::new(),
            uploads,
            clock_jumps: rules.jumps,
        })
    }

    /// What a class would let go if it were so, without changing it.
    ///
    /// # Errors
    /// When there is no such class.
    pub async fn class_simulate(&self, name: &ClassName, class: RetentionClass) -> Result<Simulation> {
        let inner = &self.inner;
        let rules = inner.rules().await?;
        let now = rules.classes.get(name).ok_or_else(|| Refusal::ClassMissing(name.clone()))?;
        let mut changed = rules.classes.clone();
        changed.insert(name.clone(), ClassRow { class, ..now.clone() });
        let mut simulation = Simulation::default();
        let mut after = 0;
        loop {
            let page = inner.store.files_kept(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.sequence;
            let of_class = |file: &File| file.keeping.classes.iter().any(|chosen| chosen.name == *name);
            for file in page.into_iter().filter(of_class) {
                let kept = inner.kept(file).await?;
                if kept.reasons(&rules.classes, rules.expiry).is_empty() {
                    continue;
                }
                simulation.versions_kept += 1;
                if kept.reasons(&changed, rules.expiry).is_empty() {
                    simulation.versions_released += 1;
                    simulation.bytes_released += kept.file.size_bytes;
                    if simulation.versions.len() < FILES_TOLD {
                        simulation.versions.push(told(&kept.file, Vec::new()));
                    }
                }
            }
        }
        let mut after: Option<PackageId> = None;
        loop {
            let page = inner.store.packages_kept(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(simulation) };
            after = Some(last.id.clone());
            for package in &page {
                let producer = inner.store.producer(&package.producer).await?;
                let reasons = |classes: &BTreeMap<ClassName, ClassRow>| {
                    package_reasons(package, producer.as_ref(), rules.expiry, &|name| classes.get(name))
                };
                if !reasons(&rules.classes).is_empty() && reasons(&changed).is_empty() {
                    simulation.packages_released += 1;
                    if simulation.packages.len() < FILES_TOLD {
                        simulation.packages.push(package.id.clone());
                    }
                }
            }
        }
    }
}
