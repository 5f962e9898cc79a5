//! What can go wrong in the registry, by what the caller can do about it.

use artifactstore_backends as backends;

use crate::clock::Timestamp;
use crate::model::name::{AccessKeyId, ClassName, InvalidName, ProducerName, UploadId};
use crate::model::retention::Reason;

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// One enum for the crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name is not one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The command was understood, and the state of things refuses it. Nothing was recorded.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The bytes: a bad body, a full disk, a damaged object.
    #[error(transparent)]
    Bytes(#[from] backends::Error),
    /// The database failed.
    #[error("the registry's database failed")]
    Database(#[source] sqlx::Error),
    /// SQLite failed where it is written, or a replay reads the log.
    #[error("the registry's database failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The database does not answer, or is too busy to; trying again later helps. Nothing was recorded.
    #[error("the registry's database does not answer")]
    DatabaseUnavailable(#[source] sqlx::Error),
    /// A batch was lost before it was committed; nothing of it was recorded.
    #[error("the connection to the registry's database was lost before the commit")]
    BatchUndone,
    /// The database was lost while it committed, and stayed away: what became of the batch is not known.
    #[error("whether the registry's database committed cannot be found out")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// A batch of which a statement failed cannot be committed; nothing of it was recorded.
    #[error("a batch that failed cannot be committed")]
    BatchSpoiled,
    /// A log cannot be brought to where another one is.
    #[error(
        "the target has event {sequence}, which the source does not have: only an empty registry, or one that was \
         copied from this source, can take it"
    )]
    TargetDiffers {
        /// The target's last event.
        sequence: u64,
    },
    /// There is no registry in the database, and the caller may not make one.
    #[error("there is no registry at {url} (`artifactstore serve` or `artifactstore migrate` makes one)")]
    RegistryMissing {
        /// Where it was looked for, without secrets.
        url: String,
    },
    /// The database's schema is newer than this program.
    #[error("the registry was written by a newer version (schema {found}, this program knows {known})")]
    SchemaNewer {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration that this program has.
        known: i64,
    },
    /// The database's schema is older than this program, and the caller may not change it.
    #[error("the registry's schema is out of date (run `artifactstore migrate`)")]
    SchemaOlder,
    /// The database cannot be opened.
    #[error("cannot open the registry at {url}: {reason}")]
    DatabaseUnusable {
        /// Where it was looked for, without secrets.
        url: String,
        /// Why not, in one line.
        reason: String,
    },
    /// An event was written by a newer version; reading on would build wrong views.
    #[error("event {sequence} is of kind {kind:?}, which this version does not know: use the version that wrote it")]
    UnknownEvent {
        /// The event's number.
        sequence: u64,
        /// Its kind.
        kind: String,
    },
    /// Stored bytes are not what this program writes.
    #[error("event {sequence} cannot be read: {reason}")]
    EventUnreadable {
        /// The event's number.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A view's row cannot be read.
    #[error("a row of {view} cannot be read: {reason}")]
    RowUnreadable {
        /// The view.
        view: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry is stopping and takes no more commands.
    #[error("the registry is stopping")]
    Stopping,
    /// More commands wait than may; trying again later helps.
    #[error("too many commands are waiting")]
    Busy,
    /// The log writer failed under the command; nothing of it was recorded.
    #[error("the log could not be written")]
    LogUnwritable(#[source] std::sync::Arc<Error>),
}

impl Error {
    /// Whether there is no room left, for bytes or for the log.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Bytes(backends::Error::StorageFull(_)) => true,
            // What SQLite and PostgreSQL say of a full disk.
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code == "13" || code == "53100")
            }
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::LogUnwritable(source) => source.is_storage_full(),
            _ => false,
        }
    }

    /// Whether the database cannot be had now. Nothing was recorded; trying again later helps.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::DatabaseUnavailable(_) | Self::BatchUndone => true,
            // Another process wrote all the time.
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy),
            Self::LogUnwritable(source) => source.is_unavailable(),
            Self::Bytes(backends::Error::Catalog(source)) => asked_in_vain(source.as_ref(), Self::is_unavailable),
            _ => false,
        }
    }

    /// Whether SQLite could not read or write its files: a disk's or a network's bad moment, or the end of one. Trying
    /// again later may help.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure),
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| is_sqlite_io(&code)),
            Self::LogUnwritable(source) => source.is_disturbed(),
            Self::Bytes(backends::Error::Catalog(source)) => asked_in_vain(source.as_ref(), Self::is_disturbed),
            _ => false,
        }
    }
}

/// Whether this is so of what kept the data plane from asking the database where bytes are.
fn asked_in_vain(source: &(dyn std::error::Error + 'static), is_so: fn(&Error) -> bool) -> bool {
    let mut causes = std::iter::successors(Some(source), |cause| cause.source());
    causes.any(|cause| cause.downcast_ref::<Error>().is_some_and(is_so))
}

/// Whether a database's code is SQLite's for reading or writing files, in any of its kinds: the last eight bits say so.
/// SQLite's codes have four digits at most, and PostgreSQL's five characters.
fn is_sqlite_io(code: &str) -> bool {
    code.len() < 5 && code.parse::<u32>().is_ok_and(|code| code & 0xff == 10)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            // Only `Registry::stop` closes the connections.
            sqlx::Error::PoolClosed => Self::Stopping,
            error if is_passing(&error) => Self::DatabaseUnavailable(error),
            error => Self::Database(error),
        }
    }
}

/// Whether it is the state of the server or of the way there, and not of what was asked: it is away, starts or stops,
/// takes no writes because it follows another one, has no room for a connection, or made this statement give way to
/// another.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("57")
                || matches!(&*code, "25006" | "25P03" | "40001" | "40P01" | "53300" | "55P03")
        }),
        _ => false,
    }
}

/// Why a command was refused. The words are for people; the variants are for the faces of floor 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No such producer.
    #[error("the producer {0} does not exist")]
    ProducerMissing(ProducerName),
    /// The producer exists and is the caller's own.
    #[error("the producer {0} exists already and is yours")]
    ProducerOwned(ProducerName),
    /// The producer exists and is another tenant's.
    #[error("the producer {0} belongs to someone else")]
    ProducerForeign(ProducerName),
    /// The producer still has names, or uploads that are open, or something that is kept.
    #[error("the producer {0} is not empty")]
    ProducerNotEmpty(ProducerName),
    /// A setting cannot have this value, now or ever.
    #[error("the setting {setting} cannot be so: {reason}")]
    SettingInvalid {
        /// The setting's name.
        setting: &'static str,
        /// Why not.
        reason: String,
    },
    /// No such access key, or it was revoked.
    #[error("there is no access key {0}")]
    KeyMissing(AccessKeyId),
    /// There is such an access key already.
    #[error("there is an access key {0} already")]
    KeyTaken(AccessKeyId),
    /// No such file.
    #[error("the key does not exist")]
    FileMissing,
    /// No such version of this key.
    #[error("the version does not exist")]
    VersionMissing,
    /// The key was deleted where versions are kept: a delete marker stands in front of them.
    #[error("the key does not exist")]
    FileMarked {
        /// The event that made the marker.
        marker: u64,
        /// Whether it was made while versioning was on.
        versioned: bool,
    },
    /// What is meant is a delete marker, which has nothing that could be read or changed.
    #[error("the version is a delete marker, which can only be deleted")]
    MarkerMeant {
        /// When it was made.
        made_at: crate::clock::Timestamp,
    },
    /// The version belongs to a finalized revision of its package, and stays.
    #[error("the version was made before revision {revision} of the package {package:?} of {producer} was finalized")]
    VersionSealed {
        /// The producer.
        producer: ProducerName,
        /// The package's name; empty for the root package.
        package: String,
        /// The sealed revision.
        revision: u32,
    },
    /// The bytes of the version were erased.
    #[error("its bytes were erased at {at} by event {event}: {reason}")]
    FileErased {
        /// The event.
        event: u64,
        /// When that was.
        at: crate::clock::Timestamp,
        /// Why.
        reason: String,
        /// Whether the version was asked for by its number.
        by_number: bool,
    },
    /// Other versions have the same bytes, and nobody said that they are meant, too.
    #[error("{}", copies_text(.copies, *.count))]
    ErasureShared {
        /// The first of them: `producer/key` and version.
        copies: Vec<String>,
        /// How many they are.
        count: usize,
    },
    /// The bytes cannot be erased.
    #[error("the bytes cannot be erased: {0}")]
    ErasureImpossible(&'static str),
    /// The key is reserved for what the registry shows under `.artifact/`.
    #[error("the key is reserved: {0}")]
    KeyReserved(&'static str),
    /// The package is finalized; nothing under it can change.
    #[error("the package {package:?} of {producer} is finalized (revision {revision}, manifest {manifest_digest})")]
    PackageFinalized {
        /// The producer.
        producer: ProducerName,
        /// The package's name; empty for the root package.
        package: String,
        /// The sealed revision.
        revision: u32,
        /// The manifest's digest, `blake3:<hex>`.
        manifest_digest: String,
    },
    /// The key is its producer's marker, and whoever writes it may not finalize a package.
    #[error("writing this key finalizes its package, and the access key may not do that")]
    FinalizeForbidden,
    /// No such package.
    #[error("the package does not exist")]
    PackageMissing,
    /// The package is open, so that it has no manifest yet.
    #[error("the package is not finalized, so it has no manifest")]
    PackageOpen,
    /// A later revision is finalized, which may hold the same files.
    #[error("revision {0} of the package is finalized after it, and keeps what both have: release that one")]
    PackageSuperseded(u32),
    /// A condition of the request does not hold.
    #[error("the condition {0} does not hold")]
    PreconditionFailed(&'static str),
    /// No such upload, or it was aborted.
    #[error("the upload {0} does not exist; it may have been aborted or completed")]
    UploadMissing(UploadId),
    /// A part that was named is not there, or has another ETag.
    #[error("part {0} is missing or has another ETag")]
    PartInvalid(u32),
    /// The parts were not named in ascending order.
    #[error("the parts are not in ascending order")]
    PartOrderInvalid,
    /// A part but the last is smaller than it may be.
    #[error("part {number} has {size_bytes} bytes; every part but the last needs {minimum_bytes}")]
    PartTooSmall {
        /// The part's number.
        number: u32,
        /// Its size in bytes.
        size_bytes: u64,
        /// The least size in bytes.
        minimum_bytes: u64,
    },
    /// A request named no part at all.
    #[error("an upload is completed from at least one part")]
    PartsMissing,
    /// A declared checksum of the whole, or of a part, is not what was stored.
    #[error("the checksum of {0} does not match")]
    ChecksumMismatch(String),
    /// The completion names another way to make the checksum of the whole than the upload was created with.
    #[error("the upload was created with another checksum type, and has to be completed with the same")]
    ChecksumKindMismatch,
    /// The size that was declared for the whole is not that of its parts.
    #[error("the parts have {size_bytes} bytes where {declared} were declared")]
    SizeMismatch {
        /// What the client said, in bytes.
        declared: u64,
        /// What the parts have, in bytes.
        size_bytes: u64,
    },
    /// The bytes were written to a backend that takes no more, because the store was moved meanwhile. Sending them
    /// again helps.
    #[error("the bytes are kept elsewhere now, and the storage `{0}` takes no more: send them again")]
    StorageClosed(String),
    /// A move of the bytes begins where they are written to now.
    #[error("bytes are written to the storage `{0}` now")]
    StorageElsewhere(String),
    /// A move cannot end before the backend that it leaves is closed.
    #[error("the storage `{0}` still takes bytes")]
    StorageOpen(String),
    /// What is collected is not swept while the bytes move to another backend.
    #[error("nothing is swept while the bytes are moved to another storage: end that first")]
    StorageMoving,
    /// A move of the bytes cannot begin while objects are being deleted.
    #[error("a sweep is under way: end it first, with `artifactstore gc`")]
    StorageSweeping,
    /// The content this command leans on is no longer stored. Sending it again helps.
    #[error("the content this leans on is no longer stored: send it again")]
    ContentMissing,
    /// Something keeps it: every reason that forbids this, in one line.
    #[error("{}", kept_text(.0))]
    Kept(Vec<Reason>),
    /// Something keeps what the producer has, or will have.
    #[error("the producer {producer} is under the hold {hold}")]
    ProducerHeld {
        /// The producer.
        producer: ProducerName,
        /// The hold.
        hold: String,
    },
    /// A class that was there can only be made to keep more, or its shortening needs a permission that was not given.
    #[error("the class {name} cannot be changed so: {reason}")]
    ClassFirm {
        /// The class.
        name: ClassName,
        /// Why not.
        reason: &'static str,
    },
    /// No such retention class.
    #[error("there is no retention class {0}")]
    ClassMissing(ClassName),
    /// A lock is wanted where S3's Object Lock is not enabled.
    #[error("Object Lock is not enabled for the producer {0}")]
    LockMissing(ProducerName),
    /// Where S3's Object Lock is enabled, versions are kept for good; it is enabled only where they are kept.
    #[error("Object Lock and versioning go together, and Object Lock cannot be taken back")]
    LockNeedsVersioning,
    /// The time until which something is to be kept has passed already.
    #[error("the retain-until date must be in the future")]
    RetainUntilPast,
    /// The files of a package were released; nothing is kept by it any more.
    #[error("the files of this package were released by event {0}: keep them one by one")]
    PackageWasReleased(u64),
    /// No such jump of the clock.
    #[error("event {0} recorded no jump of the clock")]
    JumpMissing(u64),
    /// The clock shows what is to be settled as wrong.
    #[error(
        "the clock still shows the time of the jump of event {jump}, {to}, or a later one: set it right first, or say that \
         it was right"
    )]
    ClockStillAhead {
        /// The event that recorded the jump.
        jump: u64,
        /// The time that it jumped to.
        to: Timestamp,
    },
    /// The command was given under a lease that is over; another gateway may be at this work.
    #[error("the lease of this work is over")]
    LeaseOver,
}

fn copies_text(copies: &[String], count: usize) -> String {
    let more = if count > copies.len() { format!(" and {} more", count - copies.len()) } else { String::new() };
    format!(
        "other files have the same bytes, and would lose them: {}{more}; say that all copies are meant",
        copies.join(", ")
    )
}

fn kept_text(reasons: &[Reason]) -> String {
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    format!("it is kept: {}", reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error as StdError;
    use std::sync::Arc;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::{Error, backends};

    /// What a driver tells of a database: its code.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str);

    impl DatabaseError for Told {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn told(code: &'static str) -> Error {
        Error::from(sqlx::Error::Database(Box::new(Told(code))))
    }

    fn native(code: i32) -> Error {
        Error::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    }

    #[test]
    fn files_that_sqlite_cannot_read_or_write_are_a_disturbance_and_nothing_else_is() {
        // On its own, and of a read, a write and a sync.
        for error in [10, 266, 778, 1034].map(native).into_iter().chain(["10", "266", "778", "1034"].map(told)) {
            assert!(error.is_disturbed(), "{error:?}");
            assert!(!error.is_unavailable() && !error.is_storage_full(), "{error:?}");
        }
        // The last eight bits of 22026 are those of 10, and it is PostgreSQL's.
        let others = ["1", "11", "13", "53100", "22026"].map(told);
        for error in [1, 5, 11, 13].map(native).into_iter().chain(others).chain([Error::BatchUndone]) {
            assert!(!error.is_disturbed(), "{error:?}");
        }
        assert!(Error::LogUnwritable(Arc::new(native(778))).is_disturbed());
        let asked = || backends::Error::Catalog(Box::new(native(266)));
        assert!(Error::Bytes(asked()).is_disturbed());
        assert!(Error::LogUnwritable(Arc::new(Error::Bytes(asked()))).is_disturbed());
    }
}
