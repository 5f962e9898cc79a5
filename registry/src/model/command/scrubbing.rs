//! The steps of reading everything again.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};

use crate::model::row::Sequence;
use crate::model::scrub::{ScrubTally, SpoiltChunk};

/// A step of reading everything again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrubStep {
    /// Begin a pass, unless one is under way.
    Begin,
    /// Say how far a pass came.
    Advance {
        /// The event that began it.
        begun: Sequence,
        /// The last object that was read.
        cursor: ObjectKey,
        /// What was read up to there.
        tally: ScrubTally,
    },
    /// End a pass that has read everything.
    End {
        /// The event that began it.
        begun: Sequence,
        /// What was read.
        tally: ScrubTally,
    },
    /// Say how objects were found.
    Report(Vec<Examined>),
}

/// How an object was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The object.
    pub object: ObjectKey,
    /// The backend that holds it.
    pub backend: String,
    /// The chunks that are not there as they were stored.
    pub spoilt: Vec<SpoiltChunk>,
    /// The chunks that were known to be damaged, and are there as they were stored.
    pub whole: Vec<ContentAddress>,
    /// The event that had said last that it is damaged, before any of it was read.
    pub since: Option<Sequence>,
    /// What was found, in one line.
    pub finding: String,
}
