//! Whether something may go, and every reason why not. Nothing is changed by asking.
//!
//! Invariant: the answer is that of the commit: whoever explains asks what would be recorded, by the command that would do it.

mod package;
mod simulation;

pub use simulation::Simulation;

use std::collections::{BTreeMap, BTreeSet};

use artifactstore_backends::digest::ContentAddress;
use serde::Serialize;

use super::producer::unexpected;
use super::request::{FILES_TOLD, PackageCursor, PackageFilter};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal, Result};
use crate::model::command::{Command, Reply, WriteCondition};
use crate::model::event::{Actor, Event};
use crate::model::name::{ClassName, FileName, Key, ProducerName};
use crate::model::retention::{ClassRow, ClockJump, LockTerms, Mode, Reason, Sources, package_reasons, reasons};
use crate::model::row::{File, Package, Producer, Sequence, Upload, VersionChoice};
use crate::model::state::PackageKey;
use crate::store::KeyRange;
use crate::{Inner, Registry};

/// How many rows are looked at in one go.
const PAGE: usize = 256;
/// How many versions that share bytes are looked at, besides those that are meant.
const SHARERS_LOOKED_AT: usize = 4 * FILES_TOLD;

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
    /// Whether nothing keeps its bytes then, as far as is known.
    pub frees_bytes: bool,
    /// The time that expiry goes by, in microseconds since 1970.
    pub as_of: Timestamp,
    /// Why it is kept.
    pub reasons: Vec<Reason>,
    /// Of a package that is finalized and was not released: its seal. Nothing of it can be removed before it is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<Reason>,
    /// Of a package: those of the page's files that are kept one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<VersionTold>,
    /// Of a package: how many those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_kept: Option<u64>,
    /// Other versions that have the same bytes, or some of those of a page, the first hundred of them: the bytes stay for these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<VersionTold>,
    /// Whether there may be more of them.
    pub references_more: bool,
    /// Uploads to the key, or under the package, that have not come to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uploads: Vec<UploadTold>,
    /// Jumps of the clock that nobody has settled: expiry does not go along with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock_jumps: Vec<ClockJump>,
    /// Of a package: the key behind which the next page begins; nothing at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Key>,
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
    /// The first revision that has it, or would have it if it were sealed now, and was not released with a later one.
    unreleased: Option<Package>,
}

impl Kept {
    fn reasons(&self, classes: &BTreeMap<ClassName, ClassRow>, expiry: Timestamp) -> Vec<Reason> {
        let packages = [self.written_into.as_ref(), self.latest.as_ref()];
        let sources = Sources { file: &self.file, producer: self.producer.as_ref(), packages, expiry };
        reasons(&sources, &|name| classes.get(name))
    }

    /// The seal that keeps it, if there is one that was not released.
    fn seal(&self) -> Option<Reason> {
        // What was ended before the seal is not in the manifest.
        self.unreleased.as_ref().filter(|package| package.has(&self.file)).and_then(seal_of)
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
        let unreleased = match &written_into {
            Some(first) => self.unreleased(first).await?,
            None => None,
        };
        Ok(Kept { file, producer, written_into, latest, unreleased })
    }

    /// The first uploads to a key that have not come to their end.
    async fn uploads_to(&self, name: &FileName) -> Result<Vec<UploadTold>> {
        let range = KeyRange { from: Some(name.key.to_string()), ..KeyRange::default() };
        let uploads = self.store.uploads(&name.producer, &range, None, FILES_TOLD).await?;
        Ok(uploads.iter().filter(|upload| upload.name.key == name.key).map(upload_told).collect())
    }

    /// What the commit would say to a command: the events that it would make, or why it would refuse. Nothing is recorded.
    async fn asked(&self, actor: &Actor, command: Command) -> Result<std::result::Result<Vec<Event>, Refusal>> {
        debug_assert_eq!(command.tells_events(), Some(true), "asking changes nothing");
        match self.log.record(actor, command).await {
            Ok(Reply::Collected(events)) => Ok(Ok(events)),
            Ok(reply) => Err(unexpected(&reply)),
            Err(Error::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that why the commit would refuse is among the reasons.
    async fn tell_refusal(&self, refusal: Refusal, of: &PackageKey, reasons: &mut Vec<Reason>) -> Result<()> {
        match refusal {
            Refusal::Kept(kept) => {
                for reason in kept {
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
            Refusal::PackageFinalized { .. } | Refusal::VersionSealed { .. } | Refusal::PackageSuperseded(_) => {
                let is_told = reasons.iter().any(|reason| matches!(reason, Reason::Sealed { .. }));
                if let Some(sealed) = self.package_sealed(&of.0, &of.1).await?.filter(|_| !is_told)
                    && let Some(seal) = seal_of(&sealed)
                {
                    reasons.insert(0, seal);
                }
            }
            refusal => return Err(refusal.into()),
        }
        Ok(())
    }

    /// The first others that have these blobs, besides those that are meant, of which so many are known to be among them; and
    /// whether there may be more. However many there are, only so many rows are looked at.
    async fn sharers(
        &self,
        actor: &Actor,
        blobs: &BTreeSet<ContentAddress>,
        (own, known): (impl Fn(&File) -> bool + Send + Sync, usize),
    ) -> Result<(Vec<VersionTold>, bool)> {
        let mut told: Vec<VersionTold> = Vec::new();
        let mut tenants_own: BTreeMap<ProducerName, bool> = BTreeMap::new();
        let mut left = known + SHARERS_LOOKED_AT;
        for group in blobs.iter().copied().collect::<Vec<_>>().chunks(PAGE) {
            let found = self.store.sweeping().sharers(group, left).await?;
            left -= found.len().min(left);
            for other in found.into_iter().filter(|other| !own(other)) {
                if told.len() >= FILES_TOLD {
                    return Ok((told, true));
                }
                let producer = &other.name.producer;
                if !tenants_own.contains_key(producer) {
                    let there = self.store.producer(producer).await?;
                    tenants_own.insert(producer.clone(), there.is_some_and(|there| there.tenant == actor.tenant));
                }
                let mut reference = self::told(&other, Vec::new());
                // Those of other tenants have events, and no names.
                if tenants_own.get(producer) != Some(&true) {
                    (reference.producer, reference.key) = (ProducerName::trusted(""), String::new());
                }
                told.push(reference);
            }
            if left == 0 {
                return Ok((told, true));
            }
        }
        Ok((told, false))
    }

    /// What keeps those revisions of a package that fit, behind one of them.
    async fn revisions_kept(
        &self,
        package: &Package,
        behind: u32,
        rules: &Rules,
        fits: impl Fn(&Package) -> bool + Send + Sync,
    ) -> Result<Vec<Reason>> {
        let mut kept = Vec::new();
        let look = |revision: &Package| {
            if fits(revision) {
                kept.extend(package_reasons(revision, None, rules.expiry, &|name| rules.classes.get(name)));
            }
        };
        self.revisions_behind(package, behind, look).await?;
        Ok(kept)
    }

    /// Whether a revision was released: itself, or with a later one.
    async fn is_released(&self, package: &Package) -> Result<bool> {
        Ok(self.unreleased(package).await?.is_none_or(|found| found.id != package.id))
    }

    /// The first revision, of this one and those behind it, that was not released, neither itself nor with a later one.
    async fn unreleased(&self, first: &Package) -> Result<Option<Package>> {
        let mut found = Some(first.clone()).filter(|first| first.released_sequence.is_none());
        let look = |later: &Package| {
            found = if later.released_sequence.is_some() { None } else { found.take().or_else(|| Some(later.clone())) };
        };
        self.revisions_behind(first, first.revision, look).await?;
        Ok(found)
    }

    /// Looks at all revisions of a package behind one of them, page by page.
    async fn revisions_behind(&self, package: &Package, behind: u32, look: impl FnMut(&Package) + Send) -> Result<()> {
        let filter = PackageFilter { name: Some(package.name.clone()), ..PackageFilter::default() };
        let mut after = PackageCursor { name: package.name.clone(), revision: behind };
        let mut look = look;
        loop {
            let page = self.store.packages(&package.producer, &filter, Some(&after), PAGE).await?;
            page.iter().for_each(&mut look);
            match page.last() {
                Some(last) if page.len() == PAGE => after.revision = last.revision,
                _ => return Ok(()),
            }
        }
    }

    /// What keeps a version of the revisions that have it besides: those between the one that it was written into and the
    /// latest.
    async fn kept_between(&self, kept: &Kept, rules: &Rules) -> Result<Vec<Reason>> {
        let (Some(written_into), Some(latest)) = (&kept.written_into, &kept.latest) else { return Ok(Vec::new()) };
        if !written_into.is_apart_from(latest) {
            return Ok(Vec::new());
        }
        let between = |revision: &Package| revision.id != latest.id && revision.has(&kept.file);
        self.revisions_kept(written_into, written_into.revision, rules, between).await
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
        let version = file.sequence;
        let own = |other: &File| other.sequence == version;
        let (references, references_more) = inner.sharers(actor, &[file.content_address].into(), (own, 1)).await?;
        let uploads = inner.uploads_to(name).await?;
        let kept = inner.kept(file).await?;
        let mut reasons: Vec<Reason> = kept.seal().into_iter().collect();
        reasons.extend(kept.reasons(&rules.classes, rules.expiry));
        reasons.extend(inner.kept_between(&kept, &rules).await?);
        let removal = Command::VersionRemove {
            name: name.clone(),
            version: VersionChoice::Numbered(version),
            condition: WriteCondition::default(),
            bypass: false,
            fresh_package: inner.fresh_package(),
            dry: true,
        };
        // What lets nothing go by itself lets go of what is removed by its very number.
        let mut by_number = kept.file.deleted_sequence.is_some();
        let eligible = match inner.asked(actor, removal).await? {
            // S3 does not show it any more: what is left to go is its bytes.
            Ok(events) if events.is_empty() => !reasons.iter().any(|reason| reason.forbids(false)),
            Ok(events) => {
                by_number |= events.iter().any(|event| matches!(event, Event::VersionRemoved(_)));
                true
            }
            Err(refusal) => {
                let of = (name.producer.clone(), kept.file.package.clone());
                inner.tell_refusal(refusal, &of, &mut reasons).await?;
                false
            }
        };
        let is_freed = reasons.iter().all(|reason| by_number && reason.is_over());
        Ok(Eligibility {
            eligible,
            frees_bytes: is_freed && references.is_empty() && !references_more,
            as_of: rules.expiry,
            reasons,
            seal: None,
            files: Vec::new(),
            files_kept: None,
            references,
            references_more,
            uploads,
            clock_jumps: rules.jumps,
            next: None,
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
        let mut reasons = kept.reasons(&rules.classes, rules.expiry);
        reasons.extend(self.inner.kept_between(&kept, &rules).await?);
        let terms = reasons.into_iter().filter_map(|reason| match reason {
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
}
