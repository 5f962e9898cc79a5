//! What goes by itself: by the lifecycle rules of buckets, and because retention classes are over and say so.
//!
//! A walk over the names and versions of the producers that have rules, page by page, finds what is over. Each of it is
//! a command like a client's delete, which looks again at the commit. What was done stays done; a walk that breaks off
//! begins anew the next time, when less is left of it.
//!
//! Invariant: what goes leaves the event that a client's delete leaves, with the rule, or the class, for its actor.

mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use self::walk::{Found, Walk};
use super::list::range;
use super::producer::unexpected;
use super::request::{LifecycleRun, LifecycleSummary, LifecycleTotals};
use super::retention::TimeSeen;
use crate::clock::Timestamp;
use crate::error::{Error, Refusal, Result};
use crate::model::command::{Command, Reply};
use crate::model::event::{Actor, Event};
use crate::model::lifecycle::{Expiry, LifecycleRule, Outdated, first, prefixes};
use crate::model::name::{ClassName, FileName, PackageId, PackageName, ProducerName, TenantName};
use crate::model::retention::{Afterwards, ClassRow, Keeping, Reckoning, Sources, outlived, reasons};
use crate::model::row::{File, Package, Producer, Sequence, Subresource, Versioning};
use crate::store::lease::Work;
use crate::store::{KeyRange, VersionRange};
use crate::{Inner, Registry};

/// How many rows are looked at in one go.
const PAGE: usize = 256;

/// Understands the document of a bucket's lifecycle: the rules that are in force. `None` when it cannot be understood.
pub type ReadRules<'a> = &'a (dyn Fn(&str) -> Option<Vec<LifecycleRule>> + Send + Sync);

type OnProgress<'a> = &'a (dyn Fn(&LifecycleSummary) + Send + Sync);

/// Something that is to go, and by what.
struct Going {
    tenant: TenantName,
    name: FileName,
    expiry: Expiry,
    /// Whether it is a delete marker.
    marker: bool,
    cause: String,
}

/// A producer and the rules that were found in force.
struct Bucket<'a> {
    producer: &'a Producer,
    rules: &'a [Arc<LifecycleRule>],
    document: Arc<str>,
}

impl Bucket<'_> {
    fn expiry(&self, rule: Arc<LifecycleRule>, how: &LifecycleRun, what: Outdated) -> Expiry {
        Expiry::Rule { rule, document: Arc::clone(&self.document), day: how.day, what }
    }
}

/// What one page of versions needs to know of packages and producers, read once.
#[derive(Default)]
struct Known {
    producers: BTreeMap<ProducerName, Option<Producer>>,
    packages: BTreeMap<PackageId, Option<Package>>,
    latest: BTreeMap<(ProducerName, PackageName), Option<Package>>,
    /// Whether the last revision that was sealed was released.
    released: BTreeMap<(ProducerName, PackageName), bool>,
}

struct Expiring<'a> {
    inner: &'a Inner,
    actor: &'a Actor,
    how: &'a LifecycleRun,
    tell: OnProgress<'a>,
    summary: LifecycleSummary,
    classes: BTreeMap<ClassName, ClassRow>,
    expiry: Timestamp,
}

impl Registry {
    /// Lets go what goes by itself now, in all producers. Done again, it goes on with what is left. Safe beside gateways
    /// that serve, and beside others that do the same.
    ///
    /// # Errors
    /// When the store cannot be read, or the log cannot be written. What was done until then stays done.
    pub async fn lifecycle_run(
        &self,
        actor: &Actor,
        how: &LifecycleRun,
        read: ReadRules<'_>,
        tell: &(dyn Fn(&LifecycleSummary) + Send + Sync),
    ) -> Result<LifecycleSummary> {
        let (classes, clock) = self.inner.classes_and_clock().await?;
        let classes = classes.into_iter().map(|row| (row.name.clone(), row)).collect();
        let (summary, expiry) = (LifecycleSummary::default(), clock.expiry);
        let mut work = Expiring { inner: &self.inner, actor, how, tell, summary, classes, expiry };
        work.producers(read).await?;
        if work.classes.values().any(|row| row.class.then == Afterwards::Delete) {
            work.files_of_classes().await?;
            work.packages_of_classes().await?;
        }
        if !how.dry {
            self.inner.expired(&work.summary);
        }
        Ok(work.summary)
    }

    /// Whether it is this process's turn to let go what goes by itself: of all that ask, one gets it, once in so long.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn lifecycle_turn(&self, every: Duration) -> Result<bool> {
        self.inner.leases.turn(&*self.inner.store, Work::Expire, every).await
    }

    /// What went by itself since this process began.
    #[must_use]
    pub fn lifecycle_totals(&self) -> LifecycleTotals {
        *self.inner.expired.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes what is known of the time, so that a process that begins later knows what time it is: when the log went on
    /// since it was told, when it was told long ago, and whenever another process had to believe what this one has
    /// watched; records a jump of the clock. Says whether anything was recorded. Meant to be called now and then by
    /// every gateway, of which one does it, and once more when one `ends`.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn clock_note(&self, actor: &Actor, ends: bool) -> Result<bool> {
        let TimeSeen { shown, at, head, watch, jumps, .. } = self.inner.time_seen().await?;
        let jumps: Vec<_> = jumps.iter().collect();
        let is_news = |reckoning: Reckoning| reckoning.is_news((head.sequence, head.occurred_at), &jumps, ends);
        // The commit looks again; this only spares it the trouble.
        if head.sequence == 0 || !watch.reckoning(shown, at, &jumps).is_none_or(is_news) {
            return Ok(false);
        }
        let Some(lease) = self.inner.leases.of(&*self.inner.store, Work::NoteTime).await? else { return Ok(false) };
        match self.inner.log.record_under(&lease, actor, Command::ClockNote { ends }).await {
            Ok(Reply::Noted) => Ok(self.inner.store.head().await?.sequence > head.sequence),
            Ok(reply) => Err(unexpected(&reply)),
            Err(Error::Refused(Refusal::LeaseOver)) => {
                self.inner.leases.forget(&lease).await;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    fn expired(&self, summary: &LifecycleSummary) {
        // Nothing panics while it is held.
        let mut totals = self.expired.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.runs += 1;
        totals.last_run = Some(self.clock.now());
        totals.expired_names += summary.removed_names + summary.marked_names;
        totals.removed_versions += summary.removed_versions + summary.removed_markers;
        totals.aborted_uploads += summary.aborted_uploads;
        totals.outlived_versions += summary.outlived_versions;
        totals.kept_last = summary.kept;
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Expiring<'_> {
    async fn producers(&mut self, read: ReadRules<'_>) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.inner.store.producers(None, after.as_ref(), PAGE).await?;
            for producer in &page {
                if let Some(document) = self.inner.store.subresource(&producer.name, Subresource::Lifecycle).await? {
                    self.by_document(producer, (read(&document), Arc::from(document))).await?;
                }
                if self.goes_by_class(&producer.keeping) {
                    self.under(&producer.name, "", |_| true).await?;
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
                _ => return Ok(()),
            }
        }
    }

    async fn by_document(
        &mut self,
        producer: &Producer,
        (rules, document): (Option<Vec<LifecycleRule>>, Arc<str>),
    ) -> Result<()> {
        let Some(rules) = rules else {
            tracing::error!(producer = %producer.name, "its lifecycle rules cannot be understood; nothing goes by them");
            self.summary.unreadable_rules += 1;
            return Ok(());
        };
        let rules: Vec<Arc<LifecycleRule>> = rules.into_iter().map(Arc::new).collect();
        self.summary.producers_with_rules += u64::from(!rules.is_empty());
        let bucket = Bucket { producer, rules: &rules, document };
        let about_versions = rules.iter().map(|rule| &**rule).filter(|rule| rule.is_about_versions());
        for prefix in prefixes(about_versions) {
            self.versions(&bucket, prefix).await?;
        }
        let about_uploads = rules.iter().map(|rule| &**rule).filter(|rule| rule.abort_days.is_some());
        for prefix in prefixes(about_uploads) {
            self.uploads(&bucket, prefix).await?;
        }
        Ok(())
    }

    async fn versions(&mut self, bucket: &Bucket<'_>, prefix: &str) -> Result<()> {
        let mut at = VersionRange { keys: range(prefix, None, None), older: None };
        let mut walk = Walk::new(bucket.rules, self.how.day, self.expiry);
        loop {
            let page = self.inner.store.names_and_history(&bucket.producer.name, &at, PAGE).await?;
            let mut found = Vec::new();
            page.iter().for_each(|entry| walk.take(entry, &mut found));
            self.summary.examined += count(page.len());
            let last = page.last().filter(|_| page.len() == PAGE);
            match last {
                Some(last) => {
                    let key = last.listed.key.to_string();
                    at.keys = KeyRange { from: Some(key.clone()), after: None, before: at.keys.before };
                    at.older = Some((key, last.sequence));
                }
                None => walk.end(&mut found),
            }
            let ended = last.is_none();
            self.let_go_found(bucket, found).await?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Lets go of what was found, less what is seen to be kept without asking the log for it.
    async fn let_go_found(&mut self, bucket: &Bucket<'_>, found: Vec<Found>) -> Result<()> {
        let producer = bucket.producer;
        let numbered = found.iter().filter(|found| !found.marker).filter_map(|found| match &found.what {
            Outdated::Current(version) | Outdated::Noncurrent { version, .. } => Some(*version),
            Outdated::LoneMarker(_) | Outdated::Upload(_) => None,
        });
        let numbered: Vec<Sequence> = numbered.collect();
        let files = if numbered.is_empty() { Vec::new() } else { self.inner.store.versions(&numbered).await? };
        let files: BTreeMap<Sequence, File> = files.into_iter().map(|file| (file.sequence, file)).collect();
        let mut known = Known::default();
        let mut going = Vec::new();
        for Found { key, rule, what, marker } in found {
            let kept = match &what {
                Outdated::Current(version) => match files.get(version) {
                    Some(file) => self.is_kept(&mut known, producer, file, true).await?,
                    None => continue,
                },
                Outdated::Noncurrent { version, .. } if !marker => match files.get(version) {
                    Some(file) => self.is_kept(&mut known, producer, file, false).await?,
                    None => continue,
                },
                Outdated::Noncurrent { .. } | Outdated::LoneMarker(_) | Outdated::Upload(_) => false,
            };
            if kept {
                self.summary.kept += 1;
                continue;
            }
            going.push(Going {
                tenant: producer.tenant.clone(),
                name: FileName { producer: producer.name.clone(), key },
                cause: format!("lifecycle:{}", rule.id),
                expiry: bucket.expiry(rule, self.how, what),
                marker,
            });
        }
        self.let_go(going).await
    }

    async fn uploads(&mut self, bucket: &Bucket<'_>, prefix: &str) -> Result<()> {
        let Bucket { producer, rules, .. } = bucket;
        let keys = range(prefix, None, None);
        let mut after: Option<(String, String)> = None;
        loop {
            let behind = after.as_ref().map(|(key, id)| (key.as_str(), id.as_str()));
            let page = self.inner.store.uploads(&producer.name, &keys, behind, PAGE).await?;
            self.summary.examined += count(page.len());
            let mut going = Vec::new();
            for upload in &page {
                let over = first(rules, |rule| rule.upload_until(&upload.name.key, upload.created_at, self.how.day));
                let Some((_, rule)) = over.filter(|(at, _)| *at <= self.expiry) else { continue };
                let what = Outdated::Upload(upload.id.clone());
                going.push(Going {
                    tenant: producer.tenant.clone(),
                    name: upload.name.clone(),
                    expiry: bucket.expiry(Arc::clone(rule), self.how, what),
                    marker: false,
                    cause: format!("lifecycle:{}", rule.id),
                });
            }
            after = page.last().map(|last| (last.name.key.to_string(), last.id.to_string()));
            let ended = page.len() < PAGE;
            self.let_go(going).await?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Whether a class that was given here lets names go when it is over.
    fn goes_by_class(&self, keeping: &Keeping) -> bool {
        let mut classes = keeping.classes.iter().filter_map(|chosen| self.classes.get(&chosen.name));
        classes.any(|row| row.class.then == Afterwards::Delete)
    }

    /// Versions that have a class of their own.
    async fn files_of_classes(&mut self) -> Result<()> {
        let mut after = 0;
        loop {
            let page = self.inner.store.files_kept(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.sequence;
            let files = page.into_iter().filter(|file| self.goes_by_class(&file.keeping)).collect();
            self.outlived(files).await?;
        }
    }

    /// Versions of packages that have a class of their own.
    async fn packages_of_classes(&mut self) -> Result<()> {
        let mut after: Option<PackageId> = None;
        loop {
            let page = self.inner.store.packages_kept(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for package in &page {
                if !self.goes_by_class(&package.keeping) {
                    continue;
                }
                let prefix = if package.name.is_root() { String::new() } else { format!("{}/", package.name) };
                self.under(&package.producer, &prefix, |file| file.package == package.name).await?;
            }
        }
    }

    /// Versions under a prefix that fit.
    async fn under(
        &mut self,
        producer: &ProducerName,
        prefix: &str,
        fits: impl Fn(&File) -> bool + Send + Sync,
    ) -> Result<()> {
        let mut at = VersionRange { keys: range(prefix, None, None), older: None };
        loop {
            let page = self.inner.store.names_and_history(producer, &at, PAGE).await?;
            let numbers: Vec<Sequence> = page.iter().filter(|it| !it.marker).map(|it| it.sequence).collect();
            let files = self.inner.store.versions(&numbers).await?.into_iter().filter(&fits).collect();
            self.outlived(files).await?;
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else { return Ok(()) };
            let key = last.listed.key.to_string();
            at.keys = KeyRange { from: Some(key.clone()), after: None, before: at.keys.before };
            at.older = Some((key, last.sequence));
        }
    }

    /// Lets versions go whose classes are over and say so.
    async fn outlived(&mut self, files: Vec<File>) -> Result<()> {
        self.summary.examined += count(files.len());
        let mut known = Known::default();
        let mut going = Vec::new();
        for file in files {
            if file.deleted_sequence.is_some() || file.released_sequence.is_some() {
                continue;
            }
            let Some(producer) = self.producer_of(&mut known, &file).await? else { continue };
            // What is out of sight where versions are not kept is collected when nothing keeps it.
            if file.ended_sequence.is_some() && producer.versioning == Versioning::Off {
                continue;
            }
            let class = {
                let packages = self.packages_of(&mut known, &file).await?;
                let sources = Sources { file: &file, producer: Some(&producer), packages, expiry: self.expiry };
                outlived(&sources, &[], &|name| self.classes.get(name))
            };
            let Some(class) = class else { continue };
            if self.is_kept(&mut known, &producer, &file, false).await? {
                self.summary.kept += 1;
                continue;
            }
            going.push(Going {
                tenant: producer.tenant.clone(),
                name: file.name.clone(),
                expiry: Expiry::Class(file.sequence),
                marker: false,
                cause: format!("retention:{class}"),
            });
        }
        self.let_go(going).await
    }

    /// The producer of a version, unless that was deleted since.
    async fn producer_of(&self, known: &mut Known, file: &File) -> Result<Option<Producer>> {
        let name = &file.name.producer;
        if !known.producers.contains_key(name) {
            known.producers.insert(name.clone(), self.inner.store.producer(name).await?);
        }
        let producer = known.producers.get(name).and_then(Option::as_ref);
        Ok(producer.filter(|producer| producer.created_sequence < file.sequence).cloned())
    }

    /// The revisions that count for a version: that it was written into, and the latest.
    async fn packages_of<'k>(&self, known: &'k mut Known, file: &File) -> Result<[Option<&'k Package>; 2]> {
        if !known.packages.contains_key(&file.package_id) {
            let package = self.inner.store.package(&file.package_id).await?;
            known.packages.insert(file.package_id.clone(), package);
        }
        let key = (file.name.producer.clone(), file.package.clone());
        if !known.latest.contains_key(&key) {
            let latest = self.inner.store.package_latest(&key.0, &key.1).await?;
            known.latest.insert(key.clone(), latest);
        }
        let written_into = known.packages.get(&file.package_id).and_then(Option::as_ref);
        Ok([written_into, known.latest.get(&key).and_then(Option::as_ref)])
    }

    /// Whether the last revision of a version's package that was sealed was released, and with it all before.
    async fn is_released(&self, known: &mut Known, file: &File) -> Result<bool> {
        let key = (file.name.producer.clone(), file.package.clone());
        if let Some(released) = known.released.get(&key) {
            return Ok(*released);
        }
        let sealed = self.inner.package_sealed(&key.0, &key.1).await?;
        let released = sealed.is_some_and(|sealed| sealed.released_sequence.is_some());
        known.released.insert(key, released);
        Ok(released)
    }

    /// Whether a version is seen to be kept from going by itself: the commit would refuse it.
    async fn is_kept(&self, known: &mut Known, producer: &Producer, file: &File, current: bool) -> Result<bool> {
        let [_, latest] = self.packages_of(known, file).await?;
        if latest.is_some_and(|latest| latest.removal_refusal().is_some()) {
            return Ok(true);
        }
        let sealed_before =
            |latest: &Package| latest.released_sequence.is_none() && file.sequence < latest.opened_sequence;
        if !current && latest.is_some_and(sealed_before) && !self.is_released(known, file).await? {
            return Ok(true);
        }
        // A delete marker in front takes nothing from anybody.
        if current && producer.versioning == Versioning::Enabled {
            return Ok(false);
        }
        let packages = self.packages_of(known, file).await?;
        let sources = Sources { file, producer: Some(producer), packages, expiry: self.expiry };
        Ok(reasons(&sources, &|name| self.classes.get(name)).iter().any(|reason| reason.forbids(false)))
    }

    /// Has it recorded, in the batches that it gets, and counts what became of it.
    async fn let_go(&mut self, going: Vec<Going>) -> Result<()> {
        let this = &*self;
        let outcomes = join_all(going.iter().map(|going| async move {
            let actor = Actor { tenant: going.tenant.clone(), name: going.cause.clone(), ..this.actor.clone() };
            let (name, expiry) = (going.name.clone(), Box::new(going.expiry.clone()));
            this.inner.log.record(&actor, Command::Expire { name, expiry, dry: this.how.dry }).await
        }))
        .await;
        for (going, outcome) in going.iter().zip(outcomes) {
            match outcome {
                Ok(Reply::Collected(events)) => self.counted(going, &events),
                Ok(reply) => return Err(unexpected(&reply)),
                Err(Error::Refused(
                    Refusal::Kept(_) | Refusal::PackageFinalized { .. } | Refusal::VersionSealed { .. },
                )) => self.summary.kept += 1,
                // Somebody deleted it, or its producer, meanwhile.
                Err(Error::Refused(refusal)) => tracing::debug!(%refusal, "something did not go by itself"),
                Err(error) => return Err(error),
            }
        }
        (self.tell)(&self.summary);
        Ok(())
    }

    fn counted(&mut self, going: &Going, events: &[Event]) {
        if matches!(going.expiry, Expiry::Class(_)) {
            self.summary.outlived_versions += u64::from(!events.is_empty());
            return;
        }
        for event in events {
            match event {
                Event::FileRemoved(_) => self.summary.removed_names += 1,
                Event::FileMarked(_) => self.summary.marked_names += 1,
                Event::UploadAborted(_) => self.summary.aborted_uploads += 1,
                // A null version that gave way to the marker.
                Event::VersionRemoved(fact) if fact.superseded => {}
                Event::VersionRemoved(_) if going.marker => self.summary.removed_markers += 1,
                Event::VersionRemoved(_) => self.summary.removed_versions += 1,
                event => tracing::error!(kind = event.kind(), "nothing that goes by itself is recorded so"),
            }
        }
    }
}
