//! Whether a package may go, page by page of its files: what is said of the package is the same on each.
//!
//! Invariant: however large a package is, and however many share its bytes, a page reads so many rows and no more.

use std::collections::{BTreeMap, BTreeSet};

use super::super::list::range;
use super::{Eligibility, FILES_TOLD, Kept, PAGE, Rules, UploadTold, VersionTold, seal_of, told, upload_told};
use crate::error::Result;
use crate::model::command::Command;
use crate::model::event::Actor;
use crate::model::name::{Key, KeyMeaning, PackageId, PackageName};
use crate::model::retention::{Reason, latest_reasons, package_reasons};
use crate::model::row::{File, Package, Producer, Upload};
use crate::{Inner, Registry};

impl Inner {
    /// Whether a package may be released, or, where there is nothing to release, whether nothing forbids that its files go;
    /// and every reason.
    async fn package_decided(
        &self,
        actor: &Actor,
        (package, owner, released): (&Package, &Producer, bool),
        rules: &Rules,
    ) -> Result<(bool, Vec<Reason>)> {
        let mut reasons = self.package_kept(package, owner, rules).await?;
        if released {
            reasons.extend(self.kept_for_later(package, rules).await?);
        }
        if package.seal.is_some() && !released {
            let command = Command::PackageRelease { package: package.id.clone(), reason: String::new(), dry: true };
            if let Err(refusal) = self.asked(actor, command).await? {
                let of = (package.producer.clone(), package.name.clone());
                self.tell_refusal(refusal, &of, &mut reasons).await?;
                return Ok((false, reasons));
            }
        }
        Ok((!reasons.iter().any(|reason| reason.forbids(false)), reasons))
    }

    /// Those of these files of a package that are kept one by one, and whether anything of their own keeps the bytes of
    /// any: also what forbids no removal does. What keeps the package or the producer is told of those.
    async fn files_kept_of(&self, files: &[File], rules: &Rules) -> Result<(Vec<VersionTold>, bool)> {
        let (mut kept_files, mut keep_bytes) = (Vec::new(), false);
        let mut packages: BTreeMap<PackageId, Option<Package>> = BTreeMap::new();
        for file in files.iter().filter(|file| !file.keeping.is_empty()) {
            if !packages.contains_key(&file.package_id) {
                packages.insert(file.package_id.clone(), self.store.package(&file.package_id).await?);
            }
            let written_into = packages.get(&file.package_id).cloned().flatten();
            let kept = Kept { file: file.clone(), producer: None, written_into, latest: None, unreleased: None };
            let mut by_itself = kept.reasons(&rules.classes, rules.expiry);
            by_itself.retain(Reason::is_of_file);
            keep_bytes |= !by_itself.is_empty();
            if by_itself.iter().any(|reason| reason.forbids(false)) {
                kept_files.push(told(file, by_itself));
            }
        }
        Ok((kept_files, keep_bytes))
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

    /// What keeps the files of a released revision besides, which are removed one by one: a later revision may have
    /// them, and the latest keeps them all.
    async fn kept_for_later(&self, package: &Package, rules: &Rules) -> Result<Vec<Reason>> {
        let latest = self.store.package_latest(&package.producer, &package.name).await?;
        let Some(latest) = latest.filter(|latest| latest.revision > package.revision) else { return Ok(Vec::new()) };
        let between = |revision: &Package| revision.id != latest.id;
        let mut reasons = self.revisions_kept(package, package.revision, rules, between).await?;
        reasons.extend(latest_reasons(&latest, package, rules.expiry, &|name| rules.classes.get(name)));
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
}

impl Registry {
    /// Whether a package may go, with those of its files that are on this page: so many of them behind a key, in key order.
    /// The next page begins behind [`Eligibility::next`].
    ///
    /// # Errors
    /// When there is no such package.
    pub async fn package_eligibility(
        &self,
        actor: &Actor,
        id: &PackageId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Eligibility> {
        let inner = &self.inner;
        let package = self.package_stat(actor, id).await?;
        let owner = inner.producer_owned(actor, &package.producer).await?;
        let rules = inner.rules().await?;
        let released = inner.is_released(&package).await?;
        let (may_go, reasons) = inner.package_decided(actor, (&package, &owner, released), &rules).await?;
        let page = self.package_files(actor, id, after, limit).await?;
        let (files, keep_bytes) = inner.files_kept_of(&page, &rules).await?;
        let with_bytes: Vec<&File> = page.iter().filter(|file| file.released_sequence.is_none()).collect();
        let blobs: BTreeSet<_> = with_bytes.iter().map(|file| file.content_address).collect();
        let is_own = |other: &File| {
            let of_package = other.name.producer == package.producer && other.package == package.name;
            of_package && other.sequence > owner.created_sequence && package.has(other)
        };
        let (references, references_more) = inner.sharers(actor, &blobs, (is_own, with_bytes.len())).await?;
        let frees_bytes =
            reasons.is_empty() && !keep_bytes && package.seal.is_some() && references.is_empty() && !references_more;
        Ok(Eligibility {
            eligible: may_go && files.is_empty(),
            frees_bytes,
            as_of: rules.expiry,
            reasons,
            seal: seal_of(&package).filter(|_| !released),
            files_kept: Some(files.len() as u64),
            files,
            references,
            references_more,
            uploads: inner.uploads_into(&owner, &package.name).await?,
            clock_jumps: rules.jumps,
            next: page.last().filter(|_| page.len() == limit).map(|last| last.name.key.clone()),
        })
    }
}
