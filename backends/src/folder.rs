//! How an object gets into a folder so that it survives a power cut once it is acknowledged.
//!
//! A temporary file is written and synced, renamed into place, and its folder synced: a renamed file lasts once its
//! folder is synced, and a new folder once the folder above it is. Large objects go around the page cache, because
//! their bytes are wanted on the disk at once and copying them costs more CPU than hashing them (`docs/adr/0012`).
//! Temporary files of a process that died are swept from here, too.
//!
//! Invariant: after [`Folder::write`], the object's bytes and every entry from the root down to it are on the disk.
//! Invariant: what [`Folder::forget`] says is gone does not come back when the power goes.
//! Invariant: a write that fails leaves no temporary file behind, and never a part of an object under its name.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::digest::ObjectKey;
use crate::failpoint::{Point, reach};
use crate::layout::{FOLDER, OBJECTS};

const TEMPORARIES: &str = "tmp";
/// From this size on, an object goes around the page cache: what is smaller may well be asked for again at once.
const DIRECT_BYTES: usize = 1024 * 1024;
/// What direct writes are aligned to, in memory and in the file; no disk has larger blocks.
pub(crate) const DIRECT_ALIGNMENT: usize = 4096;

/// What is done when a folder is opened that an earlier version laid out otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upkeep {
    /// Its objects are brought to where this version looks.
    Raise,
    /// It is refused.
    AsIs,
}

/// There are objects that would have to be brought up.
#[derive(Debug, thiserror::Error)]
#[error("objects lie where an earlier version put them")]
pub(crate) struct Unraised;

/// The folder of a local backend. Every method blocks.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Fan-out folders whose own entries are known to be on the disk.
    durable: Mutex<HashSet<u8>>,
    /// What tells its temporary names from those of every other process that has this folder.
    tag: u64,
    serial: AtomicU64,
    /// Not every file system writes around the page cache.
    direct: AtomicBool,
}

impl Folder {
    /// Makes the folder when there is none, and proves that it can be written.
    pub(crate) fn open(root: &Path, upkeep: Upkeep) -> io::Result<Self> {
        let missing: Vec<_> = root.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(root.join(OBJECTS))?;
        fs::create_dir_all(root.join(TEMPORARIES))?;
        sync(root)?;
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        let root = root.canonicalize()?;
        let durable = Mutex::new(settled(&root, upkeep)?);
        // At random, and not the number of the process: in containers that share a folder, all have the same one.
        let tag = RandomState::new().hash_one(());
        let folder = Self { durable, root, tag, serial: AtomicU64::new(0), direct: AtomicBool::new(true) };
        folder.clock()?;
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn temporaries(&self) -> PathBuf {
        self.root.join(TEMPORARIES)
    }

    /// Stores and syncs an object, in the place of one that has its name.
    ///
    /// Nothing is tried twice: after a failed sync the kernel may have dropped the dirty pages, and a second sync would
    /// succeed over lost bytes. The caller is told, and whoever tries again brings the bytes again.
    pub(crate) fn write(&self, key: &ObjectKey, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.temporaries().join(self.unique(&key.to_hex()));
        let object = self.root.join(FOLDER.path(key));
        let placed = self.write_temporary(&temporary, bytes).and_then(|()| place(&temporary, &object));
        if placed.is_err()
            && let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(object = %key, %error, "a temporary file is left for the next sweep");
        }
        placed?;
        reach(Point::ObjectRenamed);
        self.settle(key, &object)
    }

    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aligned = bytes.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT);
        let direct = bytes.len() >= DIRECT_BYTES && aligned && self.direct.load(Ordering::Relaxed);
        let mut file = if direct { self.open_direct(path)? } else { create(path, OFlags::empty())? };
        reach(Point::TemporaryOpened);
        let rest = if rustix::fs::fcntl_getfl(&file)?.contains(OFlags::DIRECT) {
            let (blocks, rest) = bytes.split_at(bytes.len() - bytes.len() % DIRECT_ALIGNMENT);
            file.write_all(blocks)?;
            // What is less than a block takes the common road.
            rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
            rest
        } else {
            bytes
        };
        file.write_all(rest)?;
        reach(Point::TemporaryWritten);
        file.sync_all()?;
        reach(Point::TemporarySynced);
        Ok(())
    }

    fn open_direct(&self, path: &Path) -> io::Result<File> {
        match create(path, OFlags::DIRECT) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.direct.store(false, Ordering::Relaxed);
                // Linux may have made the file before it refused the flag.
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => create(path, OFlags::empty()),
                }
            }
            outcome => outcome,
        }
    }

    /// An object, to read from.
    pub(crate) fn object(&self, key: &ObjectKey) -> io::Result<File> {
        File::open(self.root.join(FOLDER.path(key)))
    }

    /// Forgets objects, and syncs each folder that they were in, once for all of them: until then a name that was removed
    /// may be there again when the power goes. So may one that somebody else removed. What became of each, in their order.
    pub(crate) fn forget(&self, keys: &[ObjectKey]) -> Vec<io::Result<()>> {
        let objects: Vec<PathBuf> = keys.iter().map(|key| self.root.join(FOLDER.path(key))).collect();
        let mut outcomes: Vec<_> = objects.iter().map(|object| gone(fs::remove_file(object))).collect();
        let mut synced: HashMap<&Path, io::Result<()>> = HashMap::new();
        for (object, outcome) in objects.iter().zip(&mut outcomes).filter(|(_, outcome)| outcome.is_ok()) {
            let Some(folder) = object.parent() else { continue };
            if let Err(error) = synced.entry(folder).or_insert_with(|| gone(sync(folder))) {
                *outcome = Err(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error));
            }
        }
        outcomes
    }

    fn unique(&self, name: &str) -> String {
        format!("{name}-{:016x}-{}", self.tag, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// Syncs whatever leads to an object that was just renamed into place: in the long run one folder.
    fn settle(&self, key: &ObjectKey, object: &Path) -> io::Result<()> {
        let [first, ..] = key.0;
        let mut folders = object.ancestors().skip(1);
        let mut sync_next = || folders.next().map_or(Ok(()), sync);
        sync_next()?;
        reach(Point::LeafSynced);
        if !self.durable().contains(&first) {
            sync_next()?;
            self.durable().insert(first);
        }
        Ok(())
    }

    /// The time by the clock that stamps files here, taken from a file that is made for it: also a proof that files
    /// can be written.
    pub(crate) fn clock(&self) -> io::Result<SystemTime> {
        let path = self.temporaries().join(self.unique("probe"));
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(b"?")?;
            file.metadata()?.modified()
        });
        let removed = fs::remove_file(&path);
        let clock = written?;
        removed?;
        Ok(clock)
    }

    /// Bytes that may still be written.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.root)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// Removes temporary files last written at least this long ago; says how many.
    pub(crate) fn sweep(&self, older_than: Duration) -> io::Result<u64> {
        let clock = self.clock()?;
        let mut swept = 0;
        for entry in fs::read_dir(self.temporaries())? {
            let entry = entry?;
            // A file that is renamed or removed meanwhile is no concern of the sweep.
            let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            let age = clock.duration_since(modified).unwrap_or_default();
            if age >= older_than && fs::remove_file(entry.path()).is_ok() {
                swept += 1;
                reach(Point::TemporarySwept);
            }
        }
        Ok(swept)
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<u8>> {
        // The set only grows, by folders that are synced already: a panic elsewhere leaves nothing half done.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory to read into, with nothing in it: to fill it with zeros first costs as much as half of the reading. It is to be
/// had before a thread that may block is: there are many of those, and allocators keep memory for each thread apart.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: Vec<u8>,
    length_bytes: usize,
}

impl Memory {
    pub(crate) fn new(length_bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(length_bytes), length_bytes }
    }
}

/// As many bytes of a file as the memory is for; fewer when it ends before.
pub(crate) fn read(file: &File, offset_bytes: u64, memory: Memory) -> io::Result<Bytes> {
    let Memory { mut bytes, length_bytes } = memory;
    while bytes.len() < length_bytes {
        let offset_bytes = offset_bytes + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), offset_bytes) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The memory may be larger than what was asked for.
    bytes.truncate(length_bytes);
    Ok(bytes.into())
}

/// Makes what an earlier process left durable once, so that a grown store starts with its long-run cost.
fn settled(root: &Path, upkeep: Upkeep) -> io::Result<HashSet<u8>> {
    let objects = root.join(OBJECTS);
    sync(&objects)?;
    let mut raised = 0;
    let mut durable = HashSet::new();
    for (first, branch) in fan_out(&objects)? {
        for (second, leaf) in fan_out(&branch)? {
            let below = below(&leaf, &branch, &hex::encode([first, second]))?;
            match upkeep {
                Upkeep::AsIs if !below.is_empty() => return Err(io::Error::other(Unraised)),
                Upkeep::AsIs => {}
                Upkeep::Raise => raise(&below, &leaf, &branch)?,
            }
            raised += below.len();
        }
        sync(&branch)?;
        durable.insert(first);
    }
    if raised > 0 {
        tracing::info!(objects = raised, "objects that lay one folder deeper were brought up");
    }
    Ok(durable)
}

/// An object of a second level of folders, as earlier versions had it: where it is, and where it belongs.
struct Below {
    key: ObjectKey,
    old: PathBuf,
    new: PathBuf,
}

/// The objects of a folder of the second level; strangers are none of anybody's.
fn below(leaf: &Path, branch: &Path, begin: &str) -> io::Result<Vec<Below>> {
    let entries = match fs::read_dir(leaf) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let mut objects = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let known = name.to_str().filter(|name| name.starts_with(begin)).map(ObjectKey::from_hex);
        if let Some(Ok(key)) = known
            && entry.file_type()?.is_file()
        {
            objects.push(Below { key, old: leaf.join(&name), new: branch.join(&name) });
        }
    }
    Ok(objects)
}

/// Brings objects up to the first level. Strangers stay where they are. Whoever else opens the store at the same time may do
/// the same.
fn raise(objects: &[Below], leaf: &Path, branch: &Path) -> io::Result<()> {
    for Below { key, old, new } in objects {
        // Never without a name: a file that was only renamed could lose both when the power goes.
        match fs::hard_link(old, new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The same file, by whoever did this before; or another, of which at least one is what its name says.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read(old) {
                Ok(bytes) if blake3::hash(&bytes).as_bytes() == &key.0 => gone(fs::rename(old, new))?,
                outcome => gone(outcome.map(drop))?,
            },
            // Not every file system has links.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                gone(fs::rename(old, new))?;
            }
            outcome => outcome?,
        }
    }
    sync(branch)?;
    for Below { old, .. } in objects {
        gone(fs::remove_file(old))?;
    }
    match fs::remove_dir(leaf) {
        // A name that came back would be that of an object which may have been swept since.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => gone(sync(leaf)),
        outcome => gone(outcome),
    }
}

/// That somebody else removed it already is no failure.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The folders in here that are named by one byte. A link in the place of one is refused: what lies behind it would be
/// written and read, and missing from every walk.
fn fan_out(folder: &Path) -> io::Result<Vec<(u8, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let byte = name.to_str().and_then(|name| u8::from_str_radix(name, 16).ok());
        let Some(byte) = byte.filter(|byte| name == *hex::encode([*byte])) else { continue };
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            let reason = "is a symbolic link, and only a folder is walked: put the folder there, or mount it";
            return Err(io::Error::other(format!("{} {reason}", entry.path().display())));
        }
        if kind.is_dir() {
            found.push((byte, entry.path()));
        }
    }
    Ok(found)
}

fn create(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn place(temporary: &Path, object: &Path) -> io::Result<()> {
    match (fs::rename(temporary, object), object.parent()) {
        // In the long run every folder is there.
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            fs::rename(temporary, object)
        }
        (outcome, _) => outcome,
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::{Bytes, BytesMut};

    use super::{DIRECT_ALIGNMENT, DIRECT_BYTES, Folder, Memory, Unraised, Upkeep};
    use crate::backend::SealedObject;
    use crate::digest::ObjectKey;
    use crate::layout::{BUCKET, FOLDER};

    fn read_of(folder: &Folder, key: &ObjectKey, offset_bytes: u64, length_bytes: usize) -> io::Result<Bytes> {
        super::read(&folder.object(key)?, offset_bytes, Memory::new(length_bytes))
    }

    #[test]
    fn fan_out_folders_are_known_to_be_durable_once_written_and_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), Upkeep::Raise).unwrap();
        let key = ObjectKey([0xab; 32]);
        assert!(!folder.durable().contains(&0xab));
        folder.write(&key, b"x").unwrap();
        assert!(folder.durable().contains(&0xab));
        assert!(Folder::open(root.path(), Upkeep::Raise).unwrap().durable().contains(&0xab));
    }

    #[test]
    fn a_store_of_two_levels_is_brought_up_to_one_and_strangers_stay() {
        let root = tempfile::tempdir().unwrap();
        let objects: Vec<_> = (0_u32..40).map(|n| SealedObject::seal(n.to_be_bytes().to_vec().into())).collect();
        let leaf = |key: &ObjectKey| root.path().join(BUCKET.path(key)).parent().unwrap().to_owned();
        for object in &objects {
            std::fs::create_dir_all(leaf(&object.key())).unwrap();
            std::fs::write(root.path().join(BUCKET.path(&object.key())), object.bytes()).unwrap();
        }
        let (moved, key) = (objects[0].key(), objects[1].key());
        // One was brought up before, by a process that died before it removed the old name.
        std::fs::hard_link(root.path().join(BUCKET.path(&moved)), root.path().join(FOLDER.path(&moved))).unwrap();
        // Another was restored over one that is damaged where objects lie now.
        std::fs::write(root.path().join(FOLDER.path(&objects[2].key())), b"damaged").unwrap();
        // Neither a stranger nor an object in a folder that is not its own is anybody's to move.
        std::fs::write(leaf(&key).join("README"), b"?").unwrap();
        std::fs::write(leaf(&key).join("cd".repeat(32)), b"?").unwrap();
        // Whoever is not to move them leaves all as it was.
        let refused = Folder::open(root.path(), Upkeep::AsIs).unwrap_err();
        assert!(refused.get_ref().unwrap().is::<Unraised>(), "{refused}");
        assert!(leaf(&moved).join(moved.to_hex()).exists() && !root.path().join(FOLDER.path(&key)).exists());
        for _ in 0..2 {
            let folder = Folder::open(root.path(), Upkeep::Raise).unwrap();
            for object in &objects {
                assert_eq!(read_of(&folder, &object.key(), 0, 100).unwrap(), object.bytes());
            }
            assert!(!leaf(&moved).exists());
            assert_eq!(std::fs::read_dir(leaf(&key)).unwrap().count(), 2);
        }
        let folder = Folder::open(root.path(), Upkeep::AsIs).unwrap();
        assert_eq!(read_of(&folder, &key, 0, 100).unwrap(), objects[1].bytes());
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_refused_by_its_name() {
        for link in ["blake3/ab", "blake3/cd/ef"] {
            let root = tempfile::tempdir().unwrap();
            let place = root.path().join(link);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(std::env::temp_dir(), &place).unwrap();
            // Of another name it is a stranger's.
            std::os::unix::fs::symlink(std::env::temp_dir(), root.path().join("blake3/elsewhere")).unwrap();
            for upkeep in [Upkeep::AsIs, Upkeep::Raise] {
                let refused = Folder::open(root.path(), upkeep).unwrap_err().to_string();
                assert!(refused.contains(link) && refused.contains("symbolic link"), "{refused}");
            }
            std::fs::remove_file(place).unwrap();
            Folder::open(root.path(), Upkeep::AsIs).unwrap();
        }
    }

    #[test]
    fn of_several_objects_each_is_forgotten_or_said_to_be_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), Upkeep::Raise).unwrap();
        let keys = [[0xab; 32], [0xac; 32], [0xad; 32], [0xae; 32]].map(ObjectKey);
        folder.write(&keys[0], b"x").unwrap();
        // One is no file, and one was never in a folder.
        std::fs::create_dir_all(root.path().join(FOLDER.path(&keys[1])).join("in the way")).unwrap();
        folder.write(&keys[2], b"x").unwrap();
        for _ in 0..2 {
            let outcomes: Vec<bool> = folder.forget(&keys).iter().map(Result::is_ok).collect();
            assert_eq!(outcomes, [true, false, true, true]);
            assert!(keys.iter().all(|key| read_of(&folder, key, 0, 1).is_err()));
        }
    }

    #[test]
    fn objects_of_all_sizes_and_alignments_are_read_as_they_were_written() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), Upkeep::Raise).unwrap();
        for skew in [0, 1] {
            for size in [0, 1, DIRECT_BYTES - 1, DIRECT_BYTES, DIRECT_BYTES + 1, DIRECT_BYTES + DIRECT_ALIGNMENT] {
                let mut buffer = crate::dataplane::aligned_buffer(size + skew);
                buffer.extend((0..size + skew).map(|n| (n * 31 % 251) as u8));
                let object = SealedObject::seal(BytesMut::freeze(buffer).slice(skew..));
                folder.write(&object.key(), object.bytes()).unwrap();
                assert_eq!(read_of(&folder, &object.key(), 0, size + 10).unwrap(), object.bytes(), "{size} {skew}");
                assert_eq!(
                    read_of(&folder, &object.key(), 1, 2).unwrap(),
                    object.bytes().slice(size.min(1)..size.min(3))
                );
            }
        }
        assert_eq!(std::fs::read_dir(folder.temporaries()).unwrap().count(), 0);
    }

    #[test]
    fn temporary_names_of_whoever_else_has_the_folder_are_others() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) =
            (Folder::open(root.path(), Upkeep::Raise).unwrap(), Folder::open(root.path(), Upkeep::Raise).unwrap());
        assert_ne!(one.unique("x"), other.unique("x"));
        assert_ne!(one.unique("x"), one.unique("x"));
        // With one name for both, the second would remove the file that the first is about to put in place.
        let (key, bytes) = (ObjectKey([0xef; 32]), b"twice at once");
        std::thread::scope(|scope| {
            for folder in [&one, &other] {
                scope.spawn(|| (0..50).for_each(|_| folder.write(&key, bytes).unwrap()));
            }
        });
        assert_eq!(read_of(&one, &key, 0, 99).unwrap(), &bytes[..]);
        assert_eq!(std::fs::read_dir(one.temporaries()).unwrap().count(), 0);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), Upkeep::Raise).unwrap();
        let key = ObjectKey([0xcd; 32]);
        // A file where a folder should be: the object cannot be put in place.
        std::fs::write(root.path().join("blake3/cd"), b"").unwrap();
        folder.write(&key, b"x").unwrap_err();
        assert_eq!(std::fs::read_dir(folder.temporaries()).unwrap().count(), 0);
    }
}
