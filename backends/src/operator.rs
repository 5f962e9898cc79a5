//! The backend over a local folder.
//!
//! OpenDAL lists and tells what objects are. `Folder` writes and deletes, because OpenDAL syncs no folder and knows no
//! direct writes, and reads, because OpenDAL fills memory with zeros before it reads into it.
//!
//! Invariant: when `put` has answered, the object is on the disk; whatever becomes of the caller, the object is there
//! whole or not at all.
//! Invariant: when `delete` has answered, the object is off the disk.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use opendal::layers::TimeoutLayer;
use opendal::services::Fs;
use opendal::{ErrorKind, Metadata, Operator};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::backend::{Backend, ObjectStat, Probe, SealedObject};
use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::ObjectKey;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::folder::{self, Folder, Memory, Unraised, Upkeep};
use crate::layout::{FOLDER, OBJECTS};

/// How much is read at a time.
const PIECE_BYTES: usize = 512 * 1024;
/// Pieces of one stream that are asked for at once: the next while the last is on its way out.
const PIECES_AHEAD: usize = 2;
/// Each running write holds one thread for blocking calls; runtimes have hundreds.
const WRITES_AT_ONCE: usize = 64;
/// A call to the file system that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Objects as files under a folder.
#[derive(Clone)]
pub struct OperatorBackend {
    operator: Operator,
    folder: Arc<Folder>,
    writes: Arc<Semaphore>,
}

/// A folder that cannot hold objects.
#[derive(Debug, thiserror::Error)]
#[error("the storage folder {} cannot be used", root.display())]
struct FolderUnusable {
    root: PathBuf,
    #[source]
    source: Box<dyn StdError + Send + Sync>,
}

impl OperatorBackend {
    /// Opens a folder, making it when there is none; its objects are found under the backend name `local`. What an earlier
    /// version laid out otherwise is brought to where this one looks: for whoever serves the folder, or has it alone.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written; the message names it.
    pub async fn local(root: &Path) -> Result<Self> {
        Self::open(root, Upkeep::Raise).await
    }

    /// The same, for whoever comes beside others: no object is moved.
    ///
    /// # Errors
    /// As for [`OperatorBackend::local`]; [`Error::LayoutOlder`] when objects would have to be.
    pub async fn local_as_is(root: &Path) -> Result<Self> {
        Self::open(root, Upkeep::AsIs).await
    }

    async fn open(root: &Path, upkeep: Upkeep) -> Result<Self> {
        let asked = root.to_owned();
        let folder = blocking(move || {
            Folder::open(&asked, upkeep).map_err(|error| match error.get_ref() {
                Some(source) if source.is::<Unraised>() => Error::LayoutOlder(asked.clone()),
                _ => Error::Backend(Box::new(FolderUnusable { root: asked.clone(), source: Box::new(error) })),
            })
        })
        .await?;
        let utf8 = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                let source = Box::from("its path is not UTF-8");
                Error::Backend(Box::new(FolderUnusable { root: path.to_owned(), source }))
            })
        };
        let service = Fs::default().root(&utf8(folder.root())?);
        let patience = TimeoutLayer::new().with_timeout(PATIENCE).with_io_timeout(PATIENCE);
        let operator = Operator::new(service).map_err(storage_error)?.layer(patience);
        Ok(Self { operator, folder: Arc::new(folder), writes: Arc::new(Semaphore::new(WRITES_AT_ONCE)) })
    }

    /// Removes temporary files last written at least `older_than` ago, which no running write can still need: what a
    /// process that died left behind. For the start of a process; says how many there were.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub async fn sweep_temporaries(&self, older_than: Duration) -> Result<u64> {
        let folder = Arc::clone(&self.folder);
        blocking(move || folder.sweep(older_than).map_err(folder_error)).await
    }

    /// Opens and reads in one go what is one piece.
    async fn read_piece(&self, key: ObjectKey, offset_bytes: u64, length_bytes: usize) -> Result<ByteStream> {
        let folder = Arc::clone(&self.folder);
        let memory = Memory::new(length_bytes);
        let read = move || folder::read(&folder.object(&key)?, offset_bytes, memory);
        let read = move || read().map_err(|error| read_error(key, error));
        let piece = blocking(read).await?;
        if piece.is_empty() {
            let size_bytes = self.stat(&key).await?.map_or(0, |stat| stat.size_bytes);
            return Err(Error::RangeNotSatisfiable { size_bytes });
        }
        Ok(stream::iter([Ok(piece)]).boxed())
    }

    /// The fan-out folders in order, without those that lie before `after`.
    async fn branches(&self, after: Option<ObjectKey>) -> Result<Vec<String>> {
        let passed = after.map(|key| FOLDER.path(&key)).unwrap_or_default();
        let folder = format!("{OBJECTS}/");
        let entries = self.operator.list(&folder).await.map_err(storage_error)?;
        let mut branches: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.path().to_owned())
            .filter(|path| path.len() == folder.len() + 3 && path.ends_with('/'))
            .filter(|path| passed.get(..path.len()).is_none_or(|passed| path.as_str() >= passed))
            .collect();
        branches.sort_unstable();
        Ok(branches)
    }

    async fn objects_in(&self, folder: &str, after: Option<ObjectKey>) -> Result<Vec<ObjectStat>> {
        let entries = self.operator.list(folder).await.map_err(storage_error)?;
        let mut stats = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(key) = FOLDER.object_at(entry.path()).filter(|key| after.is_none_or(|passed| *key > passed)) {
                stats.push(object_stat(key, entry.metadata())?);
            }
        }
        stats.sort_unstable_by_key(|stat| stat.key);
        Ok(stats)
    }
}

impl fmt::Debug for OperatorBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorBackend").field("root", &self.folder.root()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for OperatorBackend {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn put(&self, object: SealedObject) -> Result<ObjectKey> {
        // Writes that hang keep their permits: who waits behind them is let go, too.
        let permit = timeout(PATIENCE, Arc::clone(&self.writes).acquire_owned()).await;
        let permit = permit.map_err(|elapsed| Error::Unavailable(elapsed.into()))?;
        let permit = permit.map_err(|error| Error::Backend(error.into()))?;
        let folder = Arc::clone(&self.folder);
        // On a thread of its own, so that a caller that goes away does not stop a write half way.
        blocking(move || {
            let _permit = permit;
            reach(Point::ObjectBegun);
            folder.write(&object.key(), object.bytes()).map_err(folder_error)?;
            reach(Point::ObjectSettled);
            Ok(object.key())
        })
        .await
    }

    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream> {
        let key = *key;
        if let ByteRange::Span(start, end) = range
            && let Some(length) = end.checked_sub(start).filter(|length| (1..=PIECE_BYTES as u64).contains(length))
        {
            return self.read_piece(key, start, length as usize).await;
        }
        let folder = Arc::clone(&self.folder);
        let opened = move || {
            let file = folder.object(&key)?;
            let size_bytes = file.metadata()?.len();
            io::Result::Ok((file, size_bytes))
        };
        let (file, size_bytes) = blocking(move || opened().map_err(|error| read_error(key, error))).await?;
        Ok(pieces(key, file, range.resolve(size_bytes)?))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        match self.operator.stat(&FOLDER.path(key)).await {
            Ok(metadata) => object_stat(*key, &metadata).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage_error(error)),
        }
    }

    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>> {
        // The file system lists in no order; folder by folder, there is little to sort at a time.
        stream::once(self.branches(after))
            .map_ok(|branches| stream::iter(branches.into_iter().map(Ok)))
            .try_flatten()
            .and_then(move |branch| async move {
                Ok(stream::iter(self.objects_in(&branch, after).await?.into_iter().map(Ok)))
            })
            .try_flatten()
            .boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.delete_all(&[*key]).await.pop().unwrap_or(Ok(()))
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Vec<Result<()>> {
        let (folder, forgotten) = (Arc::clone(&self.folder), keys.to_vec());
        match blocking(move || Ok(folder.forget(&forgotten))).await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| outcome.map_err(folder_error)).collect(),
            Err(error) => {
                let error = Arc::new(error);
                keys.iter().map(|_| Err(Error::shared(&error))).collect()
            }
        }
    }

    async fn probe(&self) -> Result<Probe> {
        let folder = Arc::clone(&self.folder);
        blocking(move || {
            let clock = folder.clock().map_err(folder_error)?;
            Ok(Probe { clock, free_bytes: folder.free_bytes().ok() })
        })
        .await
    }
}

fn object_stat(key: ObjectKey, metadata: &Metadata) -> Result<ObjectStat> {
    let modified = metadata.last_modified().ok_or_else(|| Error::Backend("an object without a date".into()))?;
    Ok(ObjectStat { key, size_bytes: metadata.content_length(), modified: modified.into() })
}

/// On a thread of its own. The caller is let go when it takes too long; what was begun goes on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = timeout(PATIENCE, tokio::task::spawn_blocking(work)).await;
    let done = done.map_err(|elapsed| Error::Unavailable(elapsed.into()))?;
    done.map_err(|error| Error::Backend(error.into()))?
}

/// The bytes of a file in this range, the next piece being read while the last is on its way out.
fn pieces(key: ObjectKey, file: File, range: Range<u64>) -> ByteStream {
    let file = Arc::new(file);
    let read = move |begin: u64| {
        let (file, length) = (Arc::clone(&file), (range.end - begin).min(PIECE_BYTES as u64) as usize);
        let memory = Memory::new(length);
        blocking(move || {
            let piece = folder::read(&file, begin, memory).map_err(folder_error)?;
            if piece.len() < length {
                return Err(Error::ObjectDamaged(key, "it ended while it was read"));
            }
            Ok(piece)
        })
    };
    stream::iter((range.start..range.end).step_by(PIECE_BYTES)).map(read).buffered(PIECES_AHEAD).boxed()
}

/// What a failed read of a known object means.
fn read_error(key: ObjectKey, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound { Error::ObjectMissing(key) } else { folder_error(error) }
}

fn storage_error(error: opendal::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        // OpenDAL counts a full disk as temporary.
        if cause.downcast_ref::<io::Error>().is_some_and(is_full) {
            return Error::StorageFull(error.into());
        }
        source = cause.source();
    }
    if error.is_temporary() { Error::Unavailable(error.into()) } else { Error::Backend(error.into()) }
}

fn folder_error(error: io::Error) -> Error {
    match error.kind() {
        _ if is_full(&error) => Error::StorageFull(error.into()),
        // What an operator must mend where the folder is; anything else may be a disk's or a network's bad moment.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
            Error::Backend(error.into())
        }
        _ => Error::Unavailable(error.into()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod folder_tests;

#[cfg(test)]
mod tests {
    use super::{folder_error, storage_error};
    use crate::error::Error;

    #[test]
    fn a_folder_that_fails_is_away_until_somebody_has_to_mend_it() {
        let failure = |number: i32| folder_error(std::io::Error::from_raw_os_error(number));
        let (no_space, input_output, too_many_files, read_only, not_permitted) = (28, 5, 24, 30, 13);
        assert!(matches!(failure(no_space), Error::StorageFull(_)));
        for passing in [input_output, too_many_files, read_only] {
            assert!(matches!(failure(passing), Error::Unavailable(_)), "{passing}");
        }
        assert!(matches!(failure(not_permitted), Error::Backend(_)));
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let failure = |number: i32| {
            let error = opendal::Error::new(opendal::ErrorKind::Unexpected, "write").set_temporary();
            storage_error(error.set_source(std::io::Error::from_raw_os_error(number)))
        };
        let (no_space, quota, input_output) = (28, 122, 5);
        assert!(matches!(failure(no_space), Error::StorageFull(_)));
        assert!(matches!(failure(quota), Error::StorageFull(_)));
        assert!(matches!(failure(input_output), Error::Unavailable(_)));
        let lasting = storage_error(opendal::Error::new(opendal::ErrorKind::PermissionDenied, "write"));
        assert!(matches!(lasting, Error::Backend(_)));
    }
}
