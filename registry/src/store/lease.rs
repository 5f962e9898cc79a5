//! Leases: which gateway does the work that is done once for all of them, until when, and what its commits show for it.
//!
//! A lease runs by the clock of the database, which all gateways share, and never by a gateway's own. It is a hint as
//! long as it is only held: a gateway may be stopped at any moment, and wake up when another has its work. What makes
//! it safe is its token. A batch that records something under a lease asks in its own transaction whether the lease
//! with that token still runs, and keeps it from being taken over until the transaction has ended.
//!
//! Invariant: of two leases of the same work, the later one has the larger token, and from the moment it was taken
//! nothing more is recorded under the earlier one.

/// Work that one gateway does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// Finalizing packages whose quiet period has passed.
    FinalizeIdle,
    /// Collecting what nothing keeps.
    Collect,
    /// Letting go what lifecycle rules and retention classes say goes by itself.
    Expire,
    /// Noting the time in a log that nobody writes to.
    NoteTime,
    /// Reading everything again.
    Scrub,
}

impl Work {
    /// All of it.
    pub const ALL: [Self; 5] = [Self::FinalizeIdle, Self::Collect, Self::Expire, Self::NoteTime, Self::Scrub];

    /// What the database calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FinalizeIdle => "finalize-idle",
            Self::Collect => "collect",
            Self::Expire => "expire",
            Self::NoteTime => "note-time",
            Self::Scrub => "scrub",
        }
    }
}

/// A lease that was taken. Whether it still runs, only the database knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// The work.
    pub work: Work,
    /// Whose it is: a name that no other process has.
    pub holder: String,
    /// Grows with each lease of this work.
    pub token: u64,
}
