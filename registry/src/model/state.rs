//! What one batch touches: loaded by a few set-based reads, changed by `apply`, written back by multi-row statements.
//!
//! Invariant: a row is asked for only after it was loaded, present or absent; what was changed is known as changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};

use super::access::AccessKey;
use super::erasure::Erasure;
use super::name::{
    AccessKeyId, ClassName, FileName, Key, KeyMeaning, PackageId, PackageName, PartNumber, ProducerName, UploadId,
};
use super::retention::{ClassRow, ClockJump, Reckoning, expiry_time};
use super::row::{
    Blob, ChunkPlace, File, HistoryRow, Package, Part, Producer, Seal, Sequence, Subresource, SubresourceRow, Upload,
};
use super::scrub::{DamagedObject, ScrubPass};
use super::storage::{Storage, StorageMove};
use super::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject, Uses};
use crate::clock::Timestamp;

/// A package by name: its latest revision is meant.
pub type PackageKey = (ProducerName, PackageName);

/// The loaded rows of one view.
#[derive(Debug, Clone)]
pub struct Table<K, R> {
    rows: BTreeMap<K, Loaded<R>>,
}

/// A row, or that there is none, and whether this is news to the store.
#[derive(Debug, Clone)]
struct Loaded<R> {
    row: Option<R>,
    changed: bool,
}

impl<K, R> Default for Table<K, R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<K: Ord + Clone + Debug, R> Table<K, R> {
    /// The row, if there is one.
    ///
    /// # Panics
    /// When it was not loaded: a command or event that does not say what it touches is a mistake in this crate.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&R> {
        let loaded = self.rows.get(key);
        assert!(loaded.is_some(), "{key:?} is asked for and was not loaded");
        loaded.and_then(|loaded| loaded.row.as_ref())
    }

    /// The row, if it is known and there is one: of views that are loaded whole.
    #[must_use]
    pub fn find(&self, key: &K) -> Option<&R> {
        self.rows.get(key)?.row.as_ref()
    }

    /// Changes the row, if there is one.
    pub fn change(&mut self, key: &K, change: impl FnOnce(&mut R)) {
        if let Some(loaded) = self.rows.get_mut(key)
            && let Some(row) = &mut loaded.row
        {
            change(row);
            loaded.changed = true;
        }
    }

    /// Sets the row.
    pub fn put(&mut self, key: K, row: R) {
        self.set(key, Some(row));
    }

    /// Removes the row.
    pub fn remove(&mut self, key: K) {
        self.set(key, None);
    }

    /// Takes in what the store holds; a row that is loaded already is left as it is.
    pub fn load(&mut self, key: K, row: Option<R>) {
        self.rows.entry(key).or_insert(Loaded { row, changed: false });
    }

    /// Sets the row, or that there is none.
    pub fn set(&mut self, key: K, row: Option<R>) {
        self.rows.insert(key, Loaded { row, changed: true });
    }

    /// Forgets everything; gives what was changed, each key with its row if it has one now.
    pub fn take_changes(&mut self) -> impl Iterator<Item = (K, Option<R>)> {
        let rows = std::mem::take(&mut self.rows).into_iter();
        rows.filter(|(_, loaded)| loaded.changed).map(|(key, loaded)| (key, loaded.row))
    }

    /// Whether the row, or its absence, is known.
    #[must_use]
    pub fn is_loaded(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// Forgets keys that fit: what is known of them, and that they were changed.
    pub fn forget(&mut self, fits: impl Fn(&K) -> bool) {
        self.rows.retain(|key, _| !fits(key));
    }

    /// Forgets rows that fit, as if they had never been loaded.
    pub fn forget_rows(&mut self, fits: impl Fn(&R) -> bool) {
        self.rows.retain(|_, loaded| !loaded.row.as_ref().is_some_and(&fits));
    }

    /// The rows that there are, of those that were loaded, in the order of their keys.
    pub fn present(&self, keys: impl std::ops::RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &R)> {
        self.rows.range(keys).filter_map(|(key, loaded)| Some((key, loaded.row.as_ref()?)))
    }

    /// Every key that was changed, in order, with its row if it has one now.
    pub fn changed(&self) -> impl Iterator<Item = (&K, Option<&R>)> {
        self.rows.iter().filter(|(_, loaded)| loaded.changed).map(|(key, loaded)| (key, loaded.row.as_ref()))
    }

    /// What was changed: rows to write, and keys to delete.
    #[must_use]
    pub fn changes(&self) -> (Vec<&R>, Vec<&K>) {
        let (mut written, mut deleted) = (Vec::new(), Vec::new());
        for (key, row) in self.changed() {
            match row {
                Some(row) => written.push(row),
                None => deleted.push(key),
            }
        }
        (written, deleted)
    }
}

/// A name and the version that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRow {
    /// The name.
    pub name: FileName,
    /// The package's name.
    pub package: PackageName,
    /// The version.
    pub sequence: Sequence,
}

/// What one batch touches.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The time of this batch: never before the last event.
    pub now: Timestamp,
    /// What the clock showed, wherever the log is.
    pub clock: Timestamp,
    /// The last event before this batch, and when it was recorded.
    pub logged: (Sequence, Timestamp),
    /// What this process can say of the time, if nothing is to be recorded of it.
    pub reckoning: Option<Reckoning>,
    /// Producers.
    pub producers: Table<ProducerName, Producer>,
    /// Packages' revisions.
    pub packages: Table<PackageId, Package>,
    /// The latest revision of each package; `None` when there is none.
    pub latest: BTreeMap<PackageKey, Option<PackageId>>,
    /// Packages of which every revision is loaded that is kept by something of its own, or was released.
    pub keepers: BTreeSet<PackageKey>,
    /// Names.
    pub names: Table<FileName, NameRow>,
    /// Versions.
    pub files: Table<Sequence, File>,
    /// All names of those packages that are to be finalized.
    pub members: BTreeMap<PackageKey, BTreeMap<Key, Sequence>>,
    /// Blobs.
    pub blobs: Table<ContentAddress, Blob>,
    /// Chunks.
    pub chunks: Table<ContentAddress, ChunkPlace>,
    /// What S3 shows of keys besides the files that have their names.
    pub history: Table<(FileName, Sequence), HistoryRow>,
    /// The keys of whose history enough is loaded: see [`Touched::histories`].
    pub histories: BTreeSet<FileName>,
    /// Configurations of buckets.
    pub subresources: Table<(ProducerName, Subresource), SubresourceRow>,
    /// Uploads.
    pub uploads: Table<UploadId, Upload>,
    /// Parts.
    pub parts: Table<(UploadId, PartNumber), Part>,
    /// Access keys.
    pub access_keys: Table<AccessKeyId, AccessKey>,
    /// Moves of the bytes between backends.
    pub moves: Table<Sequence, StorageMove>,
    /// Whether all of them are loaded.
    pub moves_loaded: bool,
    /// Retention classes.
    pub classes: Table<ClassName, ClassRow>,
    /// Jumps of the clock.
    pub jumps: Table<Sequence, ClockJump>,
    /// Whether all classes and jumps are loaded.
    pub retention_loaded: bool,
    /// References to blobs that were made or taken away while the blobs' rows were not loaded.
    pub references: BTreeMap<ContentAddress, i64>,
    /// Which blobs of several chunks use a chunk. Only written, never asked for by key.
    pub blob_chunks: Table<BlobChunk, BlobChunk>,
    /// Which parts of open uploads use a chunk. Only written, never asked for by key.
    pub part_chunks: Table<PartChunk, PartChunk>,
    /// Objects that were swept.
    pub swept: Table<ObjectKey, SweptObject>,
    /// Objects that no event named when they were found.
    pub orphans: Table<ObjectKey, OrphanObject>,
    /// Passes over all objects: the newest, once it is loaded.
    pub scrubs: Table<Sequence, ScrubPass>,
    /// Whether that is.
    pub scrubs_loaded: bool,
    /// Objects that were found damaged.
    pub damaged: Table<ObjectKey, DamagedObject>,
    /// Versions that were erased.
    pub erasures: Table<Sequence, Erasure>,
    /// What one command of a sweep, of a scrub or of an erasure is decided by.
    pub uses: Uses,
    /// Whether an object of a sweep is not known to be gone; `None` while nobody looked.
    pub sweeping: Option<bool>,
    /// Whether something keeps the producer that is to be deleted besides its names; `None` while nobody looked.
    pub still_keeps: Option<bool>,
    /// Producers whose packages are all to be deleted, before any is written.
    pub packages_cleared: BTreeSet<ProducerName>,
    /// Uploads whose parts are all to be deleted.
    pub parts_cleared: BTreeSet<UploadId>,
}

/// The keys of what a batch touches.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// Producers.
    pub producers: BTreeSet<ProducerName>,
    /// Packages' revisions by identifier.
    pub packages: BTreeSet<PackageId>,
    /// The latest revisions of packages.
    pub latest: BTreeSet<PackageKey>,
    /// Packages of which those revisions are wanted that are kept by something of their own, or were released.
    pub keepers: BTreeSet<PackageKey>,
    /// Names, each with the version that has it.
    pub names: BTreeSet<FileName>,
    /// Versions.
    pub files: BTreeSet<Sequence>,
    /// Packages whose names are all wanted, each with its version.
    pub members: BTreeSet<PackageKey>,
    /// Blobs.
    pub blobs: BTreeSet<ContentAddress>,
    /// Chunks.
    pub chunks: BTreeSet<ContentAddress>,
    /// Keys whose history is wanted: the null version, and the newest entries, as many as the number beside.
    pub histories: BTreeMap<FileName, usize>,
    /// Single entries of histories.
    pub history: BTreeSet<(FileName, Sequence)>,
    /// Configurations of buckets.
    pub subresources: BTreeSet<(ProducerName, Subresource)>,
    /// Uploads.
    pub uploads: BTreeSet<UploadId>,
    /// Parts.
    pub parts: BTreeSet<(UploadId, PartNumber)>,
    /// Access keys.
    pub access_keys: BTreeSet<AccessKeyId>,
    /// Whether the moves of the bytes are wanted: all of them, since they are few.
    pub moves: bool,
    /// Whether retention classes and jumps of the clock are wanted: all of them, since they are few.
    pub retention: bool,
    /// Objects that may have been swept.
    pub swept: BTreeSet<ObjectKey>,
    /// Objects that may have been noted for orphans.
    pub orphans: BTreeSet<ObjectKey>,
    /// Whether the newest pass over all objects is wanted.
    pub scrubs: bool,
    /// Objects that may have been found damaged.
    pub damaged: BTreeSet<ObjectKey>,
    /// Versions that may have been erased.
    pub erasures: BTreeSet<Sequence>,
}

impl Touched {
    /// Wants so many more of the newest entries of a key's history.
    pub fn history_of(&mut self, name: FileName, newest: usize) {
        *self.histories.entry(name).or_insert(0) += newest;
    }

    /// How many of the newest entries are wanted of the key of which most are.
    #[must_use]
    pub fn history_depth(&self) -> usize {
        self.histories.values().copied().max().unwrap_or(0)
    }

    /// Takes in other keys.
    pub fn merge(&mut self, mut other: Self) {
        self.producers.append(&mut other.producers);
        self.packages.append(&mut other.packages);
        self.latest.append(&mut other.latest);
        self.keepers.append(&mut other.keepers);
        self.names.append(&mut other.names);
        self.files.append(&mut other.files);
        self.members.append(&mut other.members);
        self.blobs.append(&mut other.blobs);
        self.chunks.append(&mut other.chunks);
        for (name, newest) in other.histories {
            self.history_of(name, newest);
        }
        self.history.append(&mut other.history);
        self.subresources.append(&mut other.subresources);
        self.uploads.append(&mut other.uploads);
        self.parts.append(&mut other.parts);
        self.access_keys.append(&mut other.access_keys);
        self.moves |= other.moves;
        self.retention |= other.retention;
        self.swept.append(&mut other.swept);
        self.orphans.append(&mut other.orphans);
        self.scrubs |= other.scrubs;
        self.damaged.append(&mut other.damaged);
        self.erasures.append(&mut other.erasures);
    }
}

impl State {
    /// Notes what needs no look: a version that has its name has no entry in the history.
    pub fn note_history_of_named(&mut self, touched: &Touched) {
        for key in &touched.history {
            let named = || self.names.get(&key.0).is_some_and(|named| named.sequence == key.1);
            if !self.history.is_loaded(key) && self.names.is_loaded(&key.0) && named() {
                self.history.load(key.clone(), None);
            }
        }
    }

    /// Leaves out of the keys what is loaded already.
    pub fn retain_unloaded(&self, touched: &mut Touched) {
        touched.producers.retain(|key| !self.producers.is_loaded(key));
        touched.packages.retain(|key| !self.packages.is_loaded(key));
        touched.latest.retain(|key| !self.latest.contains_key(key));
        touched.keepers.retain(|key| !self.keepers.contains(key));
        touched.names.retain(|key| !self.names.is_loaded(key));
        touched.files.retain(|key| !self.files.is_loaded(key));
        touched.members.retain(|key| !self.members.contains_key(key));
        touched.blobs.retain(|key| !self.blobs.is_loaded(key));
        touched.chunks.retain(|key| !self.chunks.is_loaded(key));
        touched.histories.retain(|key, _| !self.histories.contains(key));
        touched.history.retain(|key| !self.history.is_loaded(key));
        touched.subresources.retain(|key| !self.subresources.is_loaded(key));
        touched.uploads.retain(|key| !self.uploads.is_loaded(key));
        touched.parts.retain(|key| !self.parts.is_loaded(key));
        touched.access_keys.retain(|key| !self.access_keys.is_loaded(key));
        touched.moves &= !self.moves_loaded;
        touched.retention &= !self.retention_loaded;
        touched.swept.retain(|key| !self.swept.is_loaded(key));
        touched.orphans.retain(|key| !self.orphans.is_loaded(key));
        touched.scrubs &= !self.scrubs_loaded;
        touched.damaged.retain(|key| !self.damaged.is_loaded(key));
        touched.erasures.retain(|key| !self.erasures.is_loaded(key));
    }

    /// Notes that one reference more, or one less, is made to a blob; without its row where that is not loaded, so that
    /// nothing needs to be loaded for it.
    pub fn refer(&mut self, blob: ContentAddress, count: i64) {
        if self.blobs.is_loaded(&blob) {
            self.blobs.change(&blob, |row| row.reference_count = row.reference_count.saturating_add_signed(count));
        } else {
            *self.references.entry(blob).or_insert(0) += count;
        }
    }

    /// Brings the rows of blobs up to the references that were noted without them. To be called whenever rows were
    /// loaded: a blob's row and a note about it are never both written.
    pub fn settle_references(&mut self) {
        let blobs = &mut self.blobs;
        self.references.retain(|blob, count| {
            let loaded = blobs.is_loaded(blob);
            if loaded && *count != 0 {
                blobs.change(blob, |row| row.reference_count = row.reference_count.saturating_add_signed(*count));
            }
            !loaded && *count != 0
        });
    }

    /// The newest pass over all objects.
    ///
    /// # Panics
    /// When it was not loaded.
    #[must_use]
    pub fn scrub_newest(&self) -> Option<&ScrubPass> {
        assert!(self.scrubs_loaded, "the newest scrub is asked for and was not loaded");
        self.scrubs.present(..).next_back().map(|(_, row)| row)
    }

    /// Where bytes lie.
    ///
    /// # Panics
    /// When the moves were not loaded.
    #[must_use]
    pub fn storage(&self) -> Storage {
        assert!(self.moves_loaded, "the moves are asked for and were not loaded");
        Storage::new(self.moves.present(..).map(|(_, row)| row.clone()))
    }

    /// A class by its name.
    ///
    /// # Panics
    /// When the classes were not loaded.
    #[must_use]
    pub fn class(&self, name: &ClassName) -> Option<&ClassRow> {
        assert!(self.retention_loaded, "the class {name} is asked for and was not loaded");
        self.classes.find(name)
    }

    /// The time that expiry goes by.
    ///
    /// # Panics
    /// When the jumps of the clock were not loaded.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.expiry_since(0)
    }

    /// The same, as far as what the clock did since an event goes: for what began with that event, by the log's time then.
    ///
    /// # Panics
    /// When the jumps of the clock were not loaded.
    #[must_use]
    pub fn expiry_since(&self, begun: Sequence) -> Timestamp {
        assert!(self.retention_loaded, "the jumps of the clock are asked for and were not loaded");
        expiry_time(self.now, self.clock, self.jumps.present(begun..).map(|(_, row)| row))
    }

    /// The jumps of the clock that are loaded, in the order in which they were recorded.
    #[must_use]
    pub fn clock_jumps(&self) -> Vec<&ClockJump> {
        self.jumps.present(..).map(|(_, row)| row).collect()
    }

    /// The latest revision of a package, if there is one.
    #[must_use]
    pub fn package_latest(&self, key: &PackageKey) -> Option<&Package> {
        let id = self.latest.get(key);
        assert!(id.is_some(), "{key:?} is asked for and was not loaded");
        self.packages.get(id?.as_ref()?)
    }

    /// The revisions of a package that are kept by something of their own.
    ///
    /// # Panics
    /// When they were not loaded.
    pub fn keepers<'a>(&'a self, key: &PackageKey) -> impl Iterator<Item = &'a Package> {
        self.telling(key).filter(|revision| !revision.keeping.is_empty())
    }

    /// Whether a package was released at this revision or a later one.
    ///
    /// # Panics
    /// When what keeps the package was not loaded.
    #[must_use]
    pub fn is_released_from(&self, key: &PackageKey, revision: u32) -> bool {
        self.telling(key).any(|it| it.revision >= revision && it.released_sequence.is_some())
    }

    /// The seal that keeps a version which was written into this revision, if it had not ended before: that of the first
    /// revision that was not released with a later one. Those behind it were sealed later.
    ///
    /// # Panics
    /// When what keeps the package was not loaded.
    #[must_use]
    pub fn seal_kept(&self, written_into: &Package) -> Option<&Seal> {
        let key = (written_into.producer.clone(), written_into.name.clone());
        let released = self.telling(&key).filter(|it| it.released_sequence.is_some()).map(|it| it.revision).max();
        let first = released.map_or(0, |revision| revision.saturating_add(1)).max(written_into.revision);
        self.telling(&key).find(|it| it.revision == first)?.seal.as_ref()
    }

    /// The revisions of a package that are loaded: among them all that keep something, all that were released, and the one
    /// behind each of these.
    fn telling<'a>(&'a self, key: &PackageKey) -> impl Iterator<Item = &'a Package> {
        assert!(self.keepers.contains(key), "what keeps {key:?} is asked for and was not loaded");
        let packages = self.packages.present(..).map(|(_, package)| package);
        packages.filter(|it| (&it.producer, &it.name) == (&key.0, &key.1))
    }

    /// The package of a name and its path there, by its producer's settings; `None` for reserved keys and unknown
    /// producers.
    #[must_use]
    pub fn package_of(&self, name: &FileName) -> Option<(PackageKey, String)> {
        let producer = self.producers.get(&name.producer)?;
        match name.key.meaning(producer.settings.package_depth) {
            KeyMeaning::File { package, relative_path } => Some(((name.producer.clone(), package), relative_path)),
            KeyMeaning::Reserved { .. } => None,
        }
    }

    /// Brings packages' names up to what this batch changed before they were loaded.
    pub fn refresh_members(&mut self) {
        for ((producer, package), members) in &mut self.members {
            for (name, row) in self.names.changed().filter(|(name, _)| name.producer == *producer) {
                match row.filter(|row| row.package == *package) {
                    Some(row) => members.insert(name.key.clone(), row.sequence),
                    None => members.remove(&name.key),
                };
            }
        }
    }

    /// The null version of a key among its history, if it has one there.
    #[must_use]
    pub fn history_null(&self, name: &FileName) -> Option<&HistoryRow> {
        assert!(self.histories.contains(name), "the history of {name:?} is asked for and was not loaded");
        self.history_of(name).find(|row| !row.versioned)
    }

    /// The newest entry of a key's history but this one.
    #[must_use]
    pub fn history_newest(&self, name: &FileName, but: Sequence) -> Option<&HistoryRow> {
        assert!(self.histories.contains(name), "the history of {name:?} is asked for and was not loaded");
        self.history_of(name).rev().find(|row| row.sequence != but)
    }

    /// What is known of a key's history that is newer than an entry.
    pub fn history_behind(&self, name: &FileName, version: Sequence) -> impl Iterator<Item = &HistoryRow> {
        self.history_of(name).filter(move |row| row.sequence > version)
    }

    fn history_of(&self, name: &FileName) -> impl DoubleEndedIterator<Item = &HistoryRow> {
        let keys = (name.clone(), Sequence::MIN)..=(name.clone(), Sequence::MAX);
        self.history.present(keys).map(|(_, row)| row)
    }

    /// The current version of a name, if it has one.
    #[must_use]
    pub fn file_current(&self, name: &FileName) -> Option<&File> {
        self.files.get(&self.names.get(name)?.sequence)
    }
}
