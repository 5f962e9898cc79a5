//! Listing names, by page.
//!
//! Invariant: the cost of a page follows what it returns, not what the producer holds: behind a common prefix the walk
//! goes on at the first key that does not have it.

use super::read::Document;
use super::request::{FoundFile, ListPage, ListRequest};
use crate::error::Result;
use crate::model::event::Actor;
use crate::model::name::{Key, KeyMeaning, PackageName};
use crate::model::row::{Listed, Producer};
use crate::store::{KeyRange, Store};
use crate::{Inner, Registry};

/// How many rows are read at first when common prefixes may come, and at least.
const STRIDE: usize = 16;
/// How many rows are read at once at most.
const STRIDE_LIMIT: usize = 1024;

/// The least text that sorts behind every text with this prefix; `None` when there is none.
pub(crate) fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = (u32::from(last) + 1..=0x0010_ffff).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// The common prefix that a key is rolled up to, if it is.
pub(crate) fn rolled<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// Where a page begins behind a key or a common prefix.
pub(crate) fn range(prefix: &str, delimiter: Option<&str>, after: Option<&str>) -> KeyRange {
    let mut range = KeyRange { from: None, after: None, before: successor(prefix) };
    range.from = (!prefix.is_empty()).then(|| prefix.to_owned());
    match after {
        // A page that ended with a common prefix goes on behind everything that has it.
        Some(after) if after.starts_with(prefix) && rolled(after, prefix, delimiter) == Some(after) => {
            range.from = successor(after).or(range.from);
            if successor(after).is_none() {
                range.after = Some(after.to_owned());
            }
        }
        Some(after) => range.after = Some(after.to_owned()),
        None => {}
    }
    range
}

/// A page in the making.
struct Page<'a> {
    request: &'a ListRequest,
    page: ListPage,
    last: Option<String>,
}

/// What became of a file that was offered to a page.
enum Taken {
    /// It is on the page.
    File,
    /// Its common prefix is; the walk goes on behind everything that has it.
    Prefix(String),
    /// The page is full.
    NoRoom,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.page.files.len() + self.page.prefixes.len() >= self.request.limit
    }

    /// Ends the page before an entry that has no room on it.
    fn end(mut self) -> ListPage {
        self.page.next = self.last;
        self.page
    }

    /// Takes a file, or the common prefix it stands for.
    fn take(&mut self, file: Listed) -> Taken {
        if self.is_full() {
            return Taken::NoRoom;
        }
        let key = file.key.as_str();
        if let Some(prefix) = rolled(key, &self.request.prefix, self.request.delimiter.as_deref()) {
            let prefix = prefix.to_owned();
            self.last = Some(prefix.clone());
            self.page.prefixes.push(prefix.clone());
            return Taken::Prefix(prefix);
        }
        self.last = Some(key.to_owned());
        self.page.files.push(file);
        Taken::File
    }
}

async fn page(store: &dyn Store, request: &ListRequest) -> Result<ListPage> {
    let whole = request.limit.saturating_add(1).min(STRIDE_LIMIT);
    let mut stride = if request.delimiter.is_some() { whole.min(STRIDE) } else { whole };
    let mut range = range(&request.prefix, request.delimiter.as_deref(), request.after.as_deref());
    let mut page = Page { request, page: ListPage::default(), last: None };
    loop {
        let files = store.names(&request.producer, &range, stride).await?;
        let (read, entries) = (files.len(), page.page.files.len() + page.page.prefixes.len());
        let mut behind: Option<String> = None;
        for file in files {
            let key = file.key.as_str();
            if behind.as_ref().is_some_and(|prefix| key.starts_with(prefix.as_str())) {
                continue;
            }
            range = KeyRange { from: None, after: Some(key.to_owned()), before: range.before };
            match page.take(file) {
                Taken::NoRoom => return Ok(page.end()),
                Taken::Prefix(prefix) => behind = Some(prefix),
                Taken::File => behind = None,
            }
        }
        if read < stride {
            return Ok(page.page);
        }
        if let Some(prefix) = behind {
            let Some(from) = successor(&prefix) else { return Ok(page.page) };
            range = KeyRange { from: Some(from), after: None, before: range.before };
        }
        // Where most rows were rolled up, fewer are read ahead of the next skip; where most were entries, more.
        let fresh = page.page.files.len() + page.page.prefixes.len() - entries;
        stride = if fresh * 2 >= read { (stride * 4).min(whole) } else { (stride / 2).max(STRIDE.min(whole)) };
    }
}

impl Inner {
    /// The documents of the package whose reserved keys the prefix asks for.
    async fn documents(&self, producer: &Producer, request: &ListRequest) -> Result<Option<ListPage>> {
        let Some(package) = reserved(producer, &request.prefix) else { return Ok(None) };
        let mut files = Vec::new();
        if let Some(package) = self.package_sealed(&producer.name, &package).await? {
            for document in Document::ALL {
                let FoundFile { file, .. } = self.document(&package, document).await?;
                files.push(Listed::from(file));
            }
        }
        let after = request.after.as_deref().unwrap_or_default();
        files.retain(|file| {
            let key = file.key.as_str();
            key.starts_with(&request.prefix) && (after.is_empty() || key > after)
        });
        let next = (files.len() > request.limit && request.limit > 0).then(|| files[request.limit - 1].key.to_string());
        files.truncate(request.limit);
        Ok(Some(ListPage { files, prefixes: Vec::new(), next }))
    }
}

/// The package whose `.artifact/` the prefix reaches into, if it does.
fn reserved(producer: &Producer, prefix: &str) -> Option<PackageName> {
    match Key::parse(&format!("{prefix}*")).ok()?.meaning(producer.settings.package_depth) {
        KeyMeaning::Reserved { package, item } if !item.is_empty() => Some(package),
        _ => None,
    }
}

impl Registry {
    /// A page of a producer's names. The documents under a package's `.artifact/` are listed only when the prefix asks
    /// for them.
    ///
    /// # Errors
    /// When there is no such producer.
    pub async fn file_list(&self, actor: &Actor, request: &ListRequest) -> Result<ListPage> {
        let producer = self.inner.producer_owned(actor, &request.producer).await?;
        if request.limit == 0 {
            return Ok(ListPage::default());
        }
        match self.inner.documents(&producer, request).await? {
            Some(documents) => Ok(documents),
            None => page(&*self.inner.store, request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_sorts_behind_everything_with_the_prefix() {
        assert_eq!(successor("a/"), Some("a0".to_owned()));
        assert_eq!(successor("a\u{d7ff}"), Some("a\u{e000}".to_owned()));
        assert_eq!(successor("a\u{10ffff}"), Some("b".to_owned()));
        assert_eq!(successor("\u{10ffff}"), None);
        assert_eq!(successor(""), None);
    }

    #[test]
    fn keys_are_rolled_up_behind_the_prefix_only() {
        assert_eq!(rolled("a/b/c", "", Some("/")), Some("a/"));
        assert_eq!(rolled("a/b/c", "a/", Some("/")), Some("a/b/"));
        assert_eq!(rolled("a/b", "a/", Some("/")), None);
        assert_eq!(rolled("a/b", "", None), None);
        assert_eq!(rolled("a--b", "", Some("--")), Some("a--"));
        assert_eq!(rolled("a/b", "", Some("")), None);
    }
}
