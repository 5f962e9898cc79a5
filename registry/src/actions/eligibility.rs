//! Whether something may go, and every reason why not. Nothing is changed by asking.

mod simulation;

pub use simulation::Simulation;

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::ContentAddress;
use serde::Serialize;

use super::list::range;
use super::request::{FILES_TOLD, PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal, Result};
use crate::model::event::Actor;
use crate::model::manifest::Manifest;
use crate::model::name::{ClassName, FileName, KeyMeaning, PackageId, PackageName, ProducerName};
use crate::model::retention::{ClassRow, ClockJump, LockTerms, Mode, Reason, Sources, package_reasons, reasons};
use crate::model::row::{File, Package, Producer, Sequence, Upload, VersionChoice};
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
    /// Of a package that is finalized and was not released: its seal. Nothing of it can be removed before it is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<Reason>,
    /// Of a package: the files that are kept one by one, the first hundred of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<VersionTold>,
    /// Of a package: how many of its files are kept one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_kept: Option<u64>,
    /// Other versions that have the same bytes, or some of a package's, the first hundred of them: the bytes stay for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<VersionTold>,
    /// Uploads to the key, or under the package, that have not come to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uploads: Vec<UploadTold>,
    /// Jumps of the clock that nobody has settled: expiry does not go along with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock_jumps: Vec<ClockJump>,
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

/// Who asks, and what was found so far.
struct Asking<'a> {
    actor: &'a Actor,
    /// Whether producers are the actor's.
    own: BTreeMap<ProducerName, bool>,
    references: Vec<VersionTold>,
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

    /// The first uploads to a key that have not come to their end.
    async fn uploads_to(&self, name: &FileName) -> Result<Vec<UploadTold>> {
        let range = KeyRange { from: Some(name.key.to_string()), ..KeyRange::default() };
        let uploads = self.store.uploads(&name.producer, &range, None, FILES_TOLD).await?;
        Ok(uploads.iter().filter(|upload| upload.name.key == name.key).map(upload_told).collect())
    }

    /// Adds versions that have these blobs, each of which so many of those have that are meant, and are none of these; until
    /// there are enough.
    async fn references(
        &self,
        asking: &mut Asking<'_>,
        blobs: &BTreeMap<ContentAddress, usize>,
        own: &BTreeSet<Sequence>,
    ) -> Result<()> {
        let blobs: Vec<(ContentAddress, usize)> = blobs.iter().map(|(blob, count)| (*blob, *count)).collect();
        for page in blobs.chunks(PAGE) {
            // Those that are meant come along with those that are asked for.
            let limit = page.iter().map(|(_, count)| count).sum::<usize>() + FILES_TOLD;
            let page: Vec<ContentAddress> = page.iter().map(|(blob, _)| *blob).collect();
            for other in self.store.sweeping().sharers(&page, limit).await? {
                if asking.references.len() >= FILES_TOLD {
                    return Ok(());
                }
                if own.contains(&other.sequence) {
                    continue;
                }
                let producer = &other.name.producer;
                if !asking.own.contains_key(producer) {
                    let there = self.store.producer(producer).await?;
                    let is_own = there.is_some_and(|there| there.tenant == asking.actor.tenant);
                    asking.own.insert(producer.clone(), is_own);
                }
                let mut reference = told(&other, Vec::new());
                // Those of other tenants have events, and no names.
                if asking.own.get(producer) != Some(&true) {
                    (reference.producer, reference.key) = (ProducerName::trusted(""), String::new());
                }
                asking.references.push(reference);
            }
        }
        Ok(())
    }

    /// What keeps those revisions of a package that fit, behind one of them.
    async fn revisions_kept(
        &self,
        package: &Package,
        behind: u32,
        rules: &Rules,
        fits: impl Fn(&Package) -> bool + Send + Sync,
    ) -> Result<Vec<Reason>> {
        let filter = PackageFilter { name: Some(package.name.clone()), ..PackageFilter::default() };
        let mut kept = Vec::new();
        let mut after = PackageCursor { name: package.name.clone(), revision: behind };
        loop {
            let page = self.store.packages(&package.producer, &filter, Some(&after), PAGE).await?;
            for revision in page.iter().filter(|revision| fits(revision)) {
                kept.extend(package_reasons(revision, None, rules.expiry, &|name| rules.classes.get(name)));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after.revision = last.revision,
                _ => return Ok(kept),
            }
        }
    }

    /// What keeps a version of the revisions that have it besides: those between the one that it was written into and the
    /// latest.
    async fn kept_between(&self, kept: &Kept, rules: &Rules) -> Result<Vec<Reason>> {
        let (Some(written_into), Some(latest)) = (&kept.written_into, &kept.latest) else { return Ok(Vec::new()) };
        let between = |revision: &Package| revision.id != latest.id && revision.has(&kept.file);
        self.revisions_kept(written_into, written_into.revision, rules, between).await
    }

    /// Why a package is kept: for itself, for its producer, for what is released along with it, and for a later revision that
    /// has to be released in its place.
    async fn package_kept(&self, package: &Package, owner: &Producer, rules: &Rules) -> Result<Vec<Reason>> {
        let mut reasons = package_reasons(package, Some(owner), rules.expiry, &|name| rules.classes.get(name));
        if package.seal.is_none() {
            return Ok(reasons);
        }
        let earlier = |revision: &Package| revision.revision < package.revision;
        reasons.extend(self.revisions_kept(package, 0, rules, earlier).await?);
        let last = self.package_sealed(&package.producer, &package.name).await?;
        let later = last.filter(|last| last.revision > package.revision && last.released_sequence.is_none());
        reasons.extend(later.as_ref().and_then(seal_of));
        Ok(reasons)
    }

    /// The first uploads that have not come to their end and would be written into a package.
    async fn uploads_into(&self, owner: &Producer, package: &PackageName) -> Result<Vec<UploadTold>> {
        let prefix = if package.is_root() { String::new() } else { format!("{package}/") };
        let keys = range(&prefix, None, None);
        let is_into = |upload: &&Upload| match upload.name.key.meaning(owner.settings.package_depth) {
            KeyMeaning::File { package: into, .. } => into == *package,
            KeyMeaning::Reserved { .. } => false,
        };
        let mut told = Vec::new();
        let mut after: Option<(String, String)> = None;
        loop {
            let behind = after.as_ref().map(|(key, id)| (key.as_str(), id.as_str()));
            let page = self.store.uploads(&owner.name, &keys, behind, PAGE).await?;
            told.extend(page.iter().filter(is_into).map(upload_told));
            if page.len() < PAGE || told.len() >= FILES_TOLD {
                told.truncate(FILES_TOLD);
                return Ok(told);
            }
            after = page.last().map(|last| (last.name.key.to_string(), last.id.to_string()));
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

fn upload_told(upload: &Upload) -> UploadTold {
    let (key, id) = (upload.name.key.to_string(), upload.id.to_string());
    UploadTold { key, upload: id, event: upload.sequence }
}

fn seal_of(package: &Package) -> Option<Reason> {
    let event = package.seal.as_ref()?.sequence;
    Some(Reason::Sealed { package: package.name.to_string(), revision: package.revision, event })
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
        let found = inner.version_meant(name, version).await?;
        let missing = if version.is_some() { Refusal::VersionMissing } else { Refusal::FileMissing };
        let own = |file: &File| file.name == *name && file.sequence > owner.created_sequence;
        let file = found.filter(own).ok_or(missing)?;
        let rules = inner.rules().await?;
        let mut asking = Asking { actor, own: BTreeMap::new(), references: Vec::new() };
        inner.references(&mut asking, &[(file.content_address, 1)].into(), &[file.sequence].into()).await?;
        let references = asking.references;
        let uploads = inner.uploads_to(name).await?;
        let kept = inner.kept(file).await?;
        let mut reasons: Vec<Reason> = kept.seal().into_iter().collect();
        reasons.extend(kept.reasons(&rules.classes, rules.expiry));
        reasons.extend(inner.kept_between(&kept, &rules).await?);
        let eligible = !reasons.iter().any(|reason| reason.forbids(false));
        Ok(Eligibility {
            eligible,
            frees_bytes: reasons.is_empty() && references.is_empty(),
            as_of: rules.expiry,
            reasons,
            seal: None,
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
        let reasons = inner.package_kept(&package, &owner, &rules).await?;
        let latest = inner.store.package_latest(&package.producer, &package.name).await?;
        let mut asking = Asking { actor, own: BTreeMap::new(), references: Vec::new() };
        let versions: BTreeSet<Sequence> = inner.package_versions(&package).await?.into_iter().collect();
        let (mut files, mut files_kept, mut blobs) = (Vec::new(), 0, BTreeMap::new());
        let mut packages: BTreeMap<PackageId, Option<Package>> = BTreeMap::new();
        for page in versions.iter().copied().collect::<Vec<_>>().chunks(PAGE) {
            for file in inner.store.versions(page).await? {
                if file.released_sequence.is_none() {
                    *blobs.entry(file.content_address).or_insert(0) += 1;
                }
                if file.keeping.is_empty() {
                    continue;
                }
                if !packages.contains_key(&file.package_id) {
                    packages.insert(file.package_id.clone(), inner.store.package(&file.package_id).await?);
                }
                // What keeps the package or the producer was told above.
                let written_into = packages.get(&file.package_id).cloned().flatten();
                let kept = Kept { file, producer: None, written_into, latest: None };
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
        inner.references(&mut asking, &blobs, &versions).await?;
        let references = asking.references;
        let uploads = inner.uploads_into(&owner, &package.name).await?;
        // A revision is released with those before it.
        let released = [Some(&package), latest.as_ref()].into_iter().flatten().any(|it| it.released_sequence.is_some());
        let seal = seal_of(&package).filter(|_| !released);
        let open = package.seal.is_none() && latest.is_some_and(|latest| latest.id == package.id);
        let forbidden = reasons.iter().any(|reason| reason.forbids(false)) || files_kept > 0;
        Ok(Eligibility {
            eligible: !forbidden,
            frees_bytes: reasons.is_empty() && files_kept == 0 && !open && references.is_empty(),
            as_of: rules.expiry,
            reasons,
            seal,
            files,
            files_kept: Some(files_kept),
            references,
            uploads,
            clock_jumps: rules.jumps,
        })
    }
}
