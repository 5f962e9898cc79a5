//! What is measured on the wire: each operation with its load, its name, and who it is asked of.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::peer::Peer;

/// One kibibyte.
pub const KIB: u64 = 1 << 10;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// The size of a part of a multipart upload.
pub const PART_BYTES: u64 = 16 * MIB;
/// The same, where there are as many parts as there may be.
pub const SMALL_PART_BYTES: u64 = 5 * MIB;
/// How many files there are in the package that is sealed.
pub const SEALED_FILES: u64 = 50_000;
/// The bodies that differ, of those of 1 GiB: the disk need not hold all of them.
pub const LARGE_BODIES: u64 = 12;
/// How much a ranged GET asks for.
pub const RANGE_BYTES: u64 = 64 * KIB;
/// How many keys there are to list.
pub const LIST_KEYS: u64 = 20_000;
/// The keys of one page of a list.
pub const PAGE_KEYS: u64 = 1000;

/// An operation that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum Op {
    /// PUT of 4 KiB over one connection.
    PutSmallAlone,
    /// PUT of 4 KiB over 32 connections.
    PutSmall,
    /// PUT of 64 MiB over 4 connections.
    PutLarge,
    /// PUT of 64 MiB over 4 connections, of content that is stored already.
    PutStored,
    /// Multipart upload of 256 MiB.
    Multipart,
    /// Multipart upload of 1 GiB, parts in order.
    MultipartInOrder,
    /// Multipart upload of 1 GiB, last part first.
    MultipartReversed,
    /// GET of 4 KiB over 32 connections.
    GetSmall,
    /// GET of 64 MiB over 4 connections.
    GetLarge,
    /// GET of 64 KiB out of 64 MiB over 32 connections.
    GetRange,
    /// HEAD over 32 connections.
    Head,
    /// LIST of 1,000 keys over 4 connections.
    List,
    /// 64 PUTs of 64 MiB at once, for the memory that they take.
    Crowd,
    /// 64 PUTs of 1 GiB at once, for the same; only when asked for, as those that follow.
    CrowdLarge,
    /// One PUT of 5 GiB.
    PutHuge,
    /// An upload of 10,000 parts of 5 MiB.
    ManyParts,
    /// Finalizing a package of 50,000 files.
    Seal,
}

/// How an operation works on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// New objects.
    Put,
    /// The same bytes under new keys.
    PutStored,
    /// Whole uploads in parts.
    Multipart(Parting),
    /// Whole prepared objects.
    Get,
    /// Pieces of prepared objects.
    Range,
    /// The heads of prepared objects.
    Head,
    /// Pages of prepared keys.
    List,
    /// The seal of prepared files.
    Seal,
}

/// How uploads are cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// The size of a part.
    pub part_bytes: u64,
    /// Whether the last part goes first.
    pub reversed: bool,
    /// Whether all parts have the same bytes.
    pub same: bool,
}

const PARTED: Parting = Parting { part_bytes: PART_BYTES, reversed: false, same: false };

/// The load of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How it works.
    pub kind: Kind,
    /// The size of an object.
    pub size_bytes: u64,
    /// Connections with one request in flight each; for uploads, parts in flight.
    pub connections: usize,
    /// Exactly so many operations, and not as many as fit the time.
    pub times: Option<u64>,
}

impl Op {
    /// What it is called in tables.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::PutSmallAlone => "PUT 4 KiB, 1 connection",
            Self::PutSmall => "PUT 4 KiB, 32 connections",
            Self::PutLarge => "PUT 64 MiB, 4 connections",
            Self::PutStored => "PUT of stored content, 64 MiB, 4 connections",
            Self::Multipart => "multipart 256 MiB, parts of 16 MiB, 4 in flight",
            Self::MultipartInOrder => "multipart 1 GiB, in order",
            Self::MultipartReversed => "multipart 1 GiB, last part first",
            Self::GetSmall => "GET 4 KiB, 32 connections",
            Self::GetLarge => "GET 64 MiB, 4 connections",
            Self::GetRange => "GET 64 KiB of 64 MiB, 32 connections",
            Self::Head => "HEAD, 32 connections",
            Self::List => "LIST 1,000 of 20,000 keys, 4 connections",
            Self::Crowd => "64 PUTs of 64 MiB at once",
            Self::CrowdLarge => "64 PUTs of 1 GiB at once",
            Self::PutHuge => "PUT of 5 GiB",
            Self::ManyParts => "multipart, 10,000 parts of 5 MiB, 4 in flight",
            Self::Seal => "finalize of 50,000 files",
        }
    }

    /// Its load.
    #[must_use]
    pub const fn shape(self) -> Shape {
        let (kind, size_bytes, connections, times) = match self {
            Self::PutSmallAlone => (Kind::Put, 4 * KIB, 1, None),
            Self::PutSmall => (Kind::Put, 4 * KIB, 32, None),
            Self::PutLarge => (Kind::Put, 64 * MIB, 4, None),
            Self::PutStored => (Kind::PutStored, 64 * MIB, 4, None),
            Self::Multipart => (Kind::Multipart(PARTED), 256 * MIB, 4, None),
            Self::MultipartInOrder => (Kind::Multipart(PARTED), 1024 * MIB, 4, Some(1)),
            Self::MultipartReversed => (Kind::Multipart(Parting { reversed: true, ..PARTED }), 1024 * MIB, 4, Some(1)),
            Self::GetSmall => (Kind::Get, 4 * KIB, 32, None),
            Self::GetLarge => (Kind::Get, 64 * MIB, 4, None),
            Self::GetRange => (Kind::Range, 64 * MIB, 32, None),
            Self::Head => (Kind::Head, 4 * KIB, 32, None),
            Self::List => (Kind::List, 16, 4, None),
            Self::Crowd => (Kind::Put, 64 * MIB, 64, Some(64)),
            Self::CrowdLarge => (Kind::Put, 1024 * MIB, 64, Some(64)),
            Self::PutHuge => (Kind::Put, 5120 * MIB, 1, Some(1)),
            Self::ManyParts => {
                let parting = Parting { part_bytes: SMALL_PART_BYTES, reversed: false, same: true };
                (Kind::Multipart(parting), 10_000 * SMALL_PART_BYTES, 4, Some(1))
            }
            Self::Seal => (Kind::Seal, 16, 1, Some(1)),
        };
        Shape { kind, size_bytes, connections, times }
    }

    /// Whether it writes so much, for so long, that it is only done when asked for.
    #[must_use]
    pub const fn is_heavy(self) -> bool {
        matches!(self, Self::CrowdLarge | Self::PutHuge | Self::ManyParts | Self::Seal)
    }

    /// Whether a peer is asked for it unless told otherwise: what it cannot do is left out, and what says nothing new.
    #[must_use]
    pub const fn is_asked_of(self, peer: Peer) -> bool {
        match (peer, self) {
            (Peer::Artifactstore, _) => true,
            (Peer::Nginx, op) => matches!(op, Self::GetSmall | Self::GetLarge | Self::GetRange | Self::Head),
            (_, op) if op.is_heavy() => false,
            (_, Self::PutStored | Self::MultipartInOrder | Self::MultipartReversed | Self::Crowd) => false,
            // How it reads does not depend on how it syncs.
            (Peer::GarageSynced, op) => {
                matches!(op, Self::PutSmallAlone | Self::PutSmall | Self::PutLarge | Self::Multipart)
            }
            _ => true,
        }
    }
}

impl Shape {
    /// Whether what moves is bytes rather than requests.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.size_bytes >= MIB && !matches!(self.kind, Kind::Range)
    }
}
