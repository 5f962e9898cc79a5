//! Named steps between the first byte of a request and its answer, at which the crash tests end the process.
//!
//! A new step is a line in the table below and a call of [`reach`] where it happens; the sweep takes its list from here
//! and fails for a step at which no run ever ended. Without the feature `failpoints`, [`reach`] is nothing at all, and a
//! build without debug assertions refuses the feature.
//!
//! What happens is said by the environment: `ARTIFACTSTORE_FAILPOINTS=object-renamed=kill@3;leaf-synced=wait@5` ends
//! the process with SIGKILL when `object-renamed` is reached for the third time, and holds up whoever reaches
//! `leaf-synced` for 5 ms each time.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("failpoints are for tests: they go into no release build");

macro_rules! points {
    ($($(#[$doc:meta])+ $point:ident = $name:literal;)+) => {
        /// A step at which the process can be ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[$doc])+ $point,)+
        }

        impl Point {
            /// Every step.
            pub const ALL: &'static [Self] = &[$(Self::$point),+];

            /// The name that the environment uses.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A piece of a body has come, and nothing was done with it.
    BodyCame = "body-came";
    /// A chunk is whole and has its digest.
    ChunkHashed = "chunk-hashed";
    /// Small chunks were taken to be stored together.
    PackTaken = "pack-taken";
    /// Several of them are one object, which is not written.
    PackSealed = "pack-sealed";
    /// They are stored, and their bodies were not told.
    PackStored = "pack-stored";
    /// An object is about to be written.
    ObjectBegun = "object-begun";
    /// Its temporary file is open.
    TemporaryOpened = "temporary-opened";
    /// The bytes are handed over, and not synced.
    TemporaryWritten = "temporary-written";
    /// The temporary file is synced, and not renamed.
    TemporarySynced = "temporary-synced";
    /// The object has its name, and the folder is not synced.
    ObjectRenamed = "object-renamed";
    /// The object's own folder is synced; those above it perhaps not.
    LeafSynced = "leaf-synced";
    /// The object is durable, and nobody was told.
    ObjectSettled = "object-settled";
    /// The digests of a joined upload are made.
    UploadJoined = "upload-joined";
    /// A whole body is stored, and no command was made of it.
    FileStored = "file-stored";
    /// As [`Point::FileStored`], for a part.
    PartStored = "part-stored";
    /// As [`Point::FileStored`], for a completed upload.
    UploadStored = "upload-stored";
    /// A package is about to be finalized.
    FinalizeAsked = "finalize-asked";
    /// A manifest that is too large for its event is stored.
    ManifestStored = "manifest-stored";
    /// A command is about to be sent to the log writer.
    CommandReady = "command-ready";
    /// A batch has its transaction.
    BatchOpened = "batch-opened";
    /// Its rows are loaded.
    BatchLoaded = "batch-loaded";
    /// All its commands are decided.
    BatchDecided = "batch-decided";
    /// All is written, and the transaction is not committed.
    ViewsWritten = "views-written";
    /// The transaction is committed, and nobody was told.
    BatchCommitted = "batch-committed";
    /// A sender of the batch got its answer; others perhaps not.
    CommandAnswered = "command-answered";
    /// The answer to a request that writes is made, and not sent.
    AnswerReady = "answer-ready";
    /// An object that was swept is deleted, and the log was not told.
    ObjectDeleted = "object-deleted";
    /// Versions that nothing keeps were released.
    VersionsReleased = "versions-released";
    /// Blobs, or chunks, that nothing uses are condemned.
    GarbageCondemned = "garbage-condemned";
    /// It is decided what goes, and all of it is there.
    SweepBegun = "sweep-begun";
    /// All of it is gone, and the log was told.
    SweepEnded = "sweep-ended";
    /// Objects that no event names were noted.
    OrphansNoted = "orphans-noted";
    /// It is decided which of those go, and all of them are there.
    OrphanSweepBegun = "orphan-sweep-begun";
    /// An erasure is recorded, and the bytes are there.
    FileErased = "file-erased";
    /// What lies beside them is written elsewhere, and the log was not told.
    NeighboursWritten = "neighbours-written";
    /// The log was told, and both copies are there.
    NeighboursMoved = "neighbours-moved";
    /// A store that is moved is copied, and writes go where they went.
    StoreCopied = "store-copied";
    /// Writes go to the new place.
    StoreDirected = "store-directed";
    /// All but the last objects are in the new place.
    StoreFollowed = "store-followed";
    /// The old place takes no more.
    StoreClosed = "store-closed";
    /// Everything is in the new place, and served from the old one.
    StoreWhole = "store-whole";
    /// Everything is served from the new place.
    StoreMoved = "store-moved";
    /// A temporary file of a process that died was removed, at the start of the next.
    TemporarySwept = "temporary-swept";
}

/// A step is reached.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn reach(_: Point) {}

#[cfg(feature = "failpoints")]
pub use armed::reach;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::Point;

    /// A step is reached: what the environment says of it happens.
    ///
    /// # Panics
    /// When the environment says nothing that can be done: a test that misspells a step must not pass.
    pub fn reach(point: Point) {
        static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(plans);
        for plan in PLANS.iter().filter(|plan| plan.point == point) {
            match &plan.action {
                Action::Kill(left) if left.fetch_sub(1, Ordering::SeqCst) == 1 => end(),
                Action::Kill(_) => {}
                Action::Wait(time) => std::thread::sleep(*time),
            }
        }
    }

    struct Plan {
        point: Point,
        action: Action,
    }

    enum Action {
        /// At the n-th time.
        Kill(AtomicU64),
        Wait(Duration),
    }

    #[expect(clippy::disallowed_methods, reason = "a test's switch, in no build that anybody configures")]
    fn plans() -> Vec<Plan> {
        let text = std::env::var("ARTIFACTSTORE_FAILPOINTS").unwrap_or_default();
        text.split(';').filter(|plan| !plan.is_empty()).map(plan).collect()
    }

    #[expect(clippy::panic, reason = "see `reach`")]
    fn plan(text: &str) -> Plan {
        let parsed = || {
            let (name, action) = text.split_once('=')?;
            let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
            let action = match action.split_once('@')? {
                ("kill", count) => Action::Kill(AtomicU64::new(count.parse().ok()?)),
                ("wait", millis) => Action::Wait(Duration::from_millis(millis.parse().ok()?)),
                _ => return None,
            };
            Some(Plan { point, action })
        };
        parsed().unwrap_or_else(|| panic!("ARTIFACTSTORE_FAILPOINTS: {text:?} is no step with kill@N or wait@MILLIS"))
    }

    /// Ends the process as a power cut would: no destructor, no flush, no answer.
    fn end() {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way, and nothing may come behind the step meanwhile.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Point;

    #[test]
    fn steps_have_names_of_their_own() {
        let names: HashSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
