//! What S3 shows of a producer's versions, and the configurations of its bucket.
//!
//! Invariant: a page costs what it returns: behind a common prefix, or at the end of a page, nothing is walked through.

use super::list::{range, rolled, successor};
use super::producer::unexpected;
use super::request::{VersionListPage, VersionListRequest};
use crate::Registry;
use crate::error::{Refusal, Result};
use crate::model::cbor::TextMap;
use crate::model::command::{Command, Reply};
use crate::model::event::Actor;
use crate::model::name::{FileName, Key, ProducerName};
use crate::model::row::{File, ListedVersion, Producer, Sequence, Subresource, VersionChoice, Versioning};
use crate::store::{KeyRange, Store, VersionRange};

/// How many rows are read at once when common prefixes may come.
const STRIDE: usize = 128;

/// A page in the making.
struct Page<'a> {
    request: &'a VersionListRequest,
    page: VersionListPage,
    /// The key whose newest version was seen.
    key: Option<Key>,
    last: Option<(String, Option<Sequence>)>,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.page.versions.len() + self.page.prefixes.len() >= self.request.limit
    }

    /// Takes an entry; says the common prefix that it stands for, if it does.
    fn take(&mut self, version: ListedVersion) -> Option<String> {
        let key = version.listed.key.clone();
        if let Some(prefix) = rolled(key.as_str(), &self.request.prefix, self.request.delimiter.as_deref()) {
            let prefix = prefix.to_owned();
            self.last = Some((prefix.clone(), None));
            self.page.prefixes.push(prefix.clone());
            return Some(prefix);
        }
        self.last = Some((key.to_string(), Some(version.sequence)));
        let newest = self.key.as_ref() != Some(&key);
        self.key = Some(key);
        self.page.versions.push((version, newest));
        None
    }
}

async fn page(store: &dyn Store, request: &VersionListRequest, older: Option<Sequence>) -> Result<VersionListPage> {
    let delimiter = request.delimiter.as_deref();
    let stride = request.limit.saturating_add(1).min(if delimiter.is_some() { STRIDE } else { usize::MAX });
    let marker = request.key_marker.as_deref();
    let mut at = VersionRange { keys: range(&request.prefix, delimiter, marker), older: None };
    debug_assert!(older.is_none() || marker.is_some_and(|marker| marker.starts_with(&request.prefix)));
    let mut page = Page { request, page: VersionListPage::default(), key: None, last: None };
    if let (Some(marker), Some(older)) = (marker, older) {
        // Some of that key's versions are still to come, and the newest of it was on the page before.
        at.keys.from = Some(marker.to_owned());
        at.keys.after = None;
        at.older = Some((marker.to_owned(), older));
        page.key = Key::parse(marker).ok();
    }
    loop {
        let found = store.names_and_history(&request.producer, &at, stride).await?;
        let read = found.len();
        let mut behind: Option<String> = None;
        for version in found {
            let key = version.listed.key.to_string();
            if behind.as_ref().is_some_and(|prefix| key.starts_with(prefix.as_str())) {
                continue;
            }
            if page.is_full() {
                return Ok(VersionListPage { next: page.last, ..page.page });
            }
            at = VersionRange {
                keys: KeyRange { from: Some(key.clone()), after: None, before: at.keys.before },
                older: Some((key, version.sequence)),
            };
            behind = page.take(version);
        }
        if read < stride {
            return Ok(page.page);
        }
        if let Some(prefix) = behind {
            let Some(from) = successor(&prefix) else { return Ok(page.page) };
            at = VersionRange { keys: KeyRange { from: Some(from), after: None, before: at.keys.before }, older: None };
        }
    }
}

impl Registry {
    /// A page of what S3 shows of a producer: by key, of one key newest first. Of a producer that never kept versions
    /// these are its names.
    ///
    /// # Errors
    /// When there is no such producer, or the version to begin behind is none.
    pub async fn version_list(&self, actor: &Actor, request: &VersionListRequest) -> Result<VersionListPage> {
        self.inner.producer_owned(actor, &request.producer).await?;
        if request.limit == 0 {
            return Ok(VersionListPage::default());
        }
        // A marker before the prefix marks no place within it, and who lists a prefix may know of nothing beside it.
        let within = request.key_marker.as_ref().filter(|marker| marker.starts_with(&request.prefix));
        let older = match (within, request.version_marker) {
            (_, None) | (None, _) => None,
            (Some(_), Some(VersionChoice::Numbered(sequence))) => Some(sequence),
            (Some(key), Some(VersionChoice::Null)) => {
                let name = FileName { producer: request.producer.clone(), key: Key::parse(key)? };
                let current = self.inner.store.file(&name).await?.filter(|file| !file.versioned);
                match current {
                    Some(file) => Some(file.sequence),
                    None => {
                        let row = self.inner.store.history(&name, Some(VersionChoice::Null)).await?;
                        Some(row.ok_or(Refusal::VersionMissing)?.sequence)
                    }
                }
            }
        };
        page(&*self.inner.store, request, older).await
    }

    /// Begins, or ceases, to keep versions in S3's sight.
    ///
    /// # Errors
    /// When there is no such producer, or this cannot be taken back.
    pub async fn versioning_set(
        &self,
        actor: &Actor,
        producer: &ProducerName,
        versioning: Versioning,
    ) -> Result<Producer> {
        self.producer_command(actor, Command::VersioningSet { producer: producer.clone(), versioning }).await
    }

    /// Replaces the tags of a version; of the one that has the name, when none is said.
    ///
    /// # Errors
    /// When there is none, it is a delete marker, or its package is finalized.
    pub async fn file_tag(
        &self,
        actor: &Actor,
        name: &FileName,
        version: Option<VersionChoice>,
        tags: TextMap,
    ) -> Result<File> {
        let command = Command::FileTag { name: name.clone(), version, tags };
        match self.inner.log.record(actor, command).await? {
            Reply::Tagged(file) => Ok(*file),
            reply => Err(unexpected(&reply)),
        }
    }

    /// A configuration of a producer's bucket; `None` when there is none.
    ///
    /// # Errors
    /// When there is no such producer.
    pub async fn subresource(
        &self,
        actor: &Actor,
        producer: &ProducerName,
        name: Subresource,
    ) -> Result<Option<String>> {
        self.inner.producer_owned(actor, producer).await?;
        self.inner.store.subresource(producer, name).await
    }

    /// What everybody is told of a configuration, whoever asks: only what is meant for all may be asked for so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn subresource_told(&self, producer: &ProducerName, name: Subresource) -> Result<Option<String>> {
        self.inner.store.subresource(producer, name).await
    }

    /// Sets a configuration of a producer's bucket, or removes it. Removing one that is not there records nothing.
    ///
    /// # Errors
    /// When there is no such producer.
    pub async fn subresource_set(
        &self,
        actor: &Actor,
        producer: &ProducerName,
        name: Subresource,
        document: Option<String>,
    ) -> Result<()> {
        let command = Command::SubresourceSet { producer: producer.clone(), name, document };
        self.producer_command(actor, command).await.map(|_| ())
    }
}
