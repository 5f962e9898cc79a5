//! Rows of PostgreSQL to rows of the model. Integers are signed there: counts and numbers never come near the limit.

mod sweeps;

pub(super) use sweeps::{DAMAGED, ERASURE, ORPHAN, SCRUB, SWEPT, damaged, erasure, orphan, scrub_pass, swept};

use artifactstore_backends::digest::{ContentAddress, Md5Digest, ObjectKey, Sha256Digest};
use artifactstore_backends::recipe::{Chunk, Codec, Location, RetrievalTier};
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::statement::{Shape, WIDE_NUMBERS, WIDE_TEXTS};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::model::access::AccessKey;
use crate::model::attributes::Attributes;
use crate::model::cbor;
use crate::model::event::{Head, Record};
use crate::model::name::{
    AccessKeyId, ClassName, FileName, Key, PackageId, PackageName, PartNumber, ProducerName, TenantName, UploadId,
};
use crate::model::retention::{ClassRow, ClockJump, Keeping, RetentionClass};
use crate::model::row::{
    Blob, ChunkPlace, Condemned, File, HistoryRow, Listed, ListedVersion, Package, Part, Producer, Seal, Subresource,
    SubresourceRow, Upload, UploadState, Versioning,
};
use crate::model::state::NameRow;
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, PartChunk};

pub(super) const PRODUCER: Shape = Shape {
    tag: 1,
    table: "producers",
    key: &["name"],
    texts: &["name", "tenant", "versioning"],
    numbers: &[
        "created_at",
        "created_sequence",
        "file_count",
        "size_bytes",
        "upload_count",
        "package_count",
        "finalized_count",
        "history_count",
        "object_lock",
    ],
    bytes: &["settings", "keeping"],
};
pub(super) const PACKAGE: Shape = Shape {
    tag: 2,
    table: "packages",
    key: &["id"],
    texts: &["id", "producer", "name"],
    numbers: &[
        "revision",
        "opened_at",
        "opened_sequence",
        "changed_at",
        "last_sequence",
        "file_count",
        "size_bytes",
        "finalized_at",
        "finalized_sequence",
        "manifest_size",
        "released_sequence",
    ],
    bytes: &["manifest_digest", "keeping"],
};
pub(super) const NAME: Shape = Shape {
    tag: 3,
    table: "names",
    key: &["producer", "key"],
    texts: &["producer", "key", "package"],
    numbers: &["sequence"],
    bytes: &[],
};
pub(super) const FILE: Shape = Shape {
    tag: 4,
    table: "files",
    key: &["sequence"],
    texts: &["producer", "key", "package_id", "package", "relative_path", "etag", "client"],
    numbers: &[
        "sequence",
        "size_bytes",
        "ingested_at",
        "ended_sequence",
        "versioned",
        "deleted_sequence",
        "released_sequence",
    ],
    bytes: &["content_address", "sha256", "attributes", "keeping"],
};
/// Of a version, what a listing tells.
pub(super) const LISTED: Shape = Shape {
    tag: 4,
    table: "files",
    key: &["sequence"],
    texts: &["key", "etag"],
    numbers: &["size_bytes", "ingested_at"],
    bytes: &["attributes"],
};
pub(super) const ACCESS_KEY: Shape = Shape {
    tag: 14,
    table: "access_keys",
    key: &["id"],
    texts: &["id", "tenant"],
    numbers: &["created_at", "created_sequence", "changed_sequence"],
    bytes: &["grants", "sealed"],
};
pub(super) const BLOB: Shape = Shape {
    tag: 5,
    table: "blobs",
    key: &["content_address"],
    texts: &[],
    numbers: &["size_bytes", "sequence", "reference_count", "released_sequence", "condemned_sequence", "condemned_at"],
    bytes: &["content_address", "sha256", "recipe"],
};
pub(super) const CHUNK: Shape = Shape {
    tag: 6,
    table: "chunks",
    key: &["address"],
    texts: &["backend", "codec", "tier"],
    numbers: &[
        "size_bytes",
        "offset_bytes",
        "stored_length",
        "sequence",
        "condemned_sequence",
        "condemned_at",
        "damaged_sequence",
    ],
    bytes: &["address", "object"],
};
pub(super) const UPLOAD: Shape = Shape {
    tag: 7,
    table: "uploads",
    key: &["id"],
    texts: &["id", "producer", "key"],
    numbers: &["created_at", "sequence", "parts_sequence", "completed_sequence"],
    bytes: &["attributes"],
};
pub(super) const PART: Shape = Shape {
    tag: 8,
    table: "parts",
    key: &["upload", "number"],
    texts: &["upload"],
    numbers: &["number", "size_bytes", "ingested_at", "sequence"],
    bytes: &["md5", "checksum", "recipe"],
};
pub(super) const MOVE: Shape = Shape {
    tag: 15,
    table: "storage_moves",
    key: &["sequence"],
    texts: &["from_backend", "to_backend"],
    numbers: &["sequence", "closed_sequence", "ended_sequence"],
    bytes: &[],
};
pub(super) const CLASS: Shape = Shape {
    tag: 20,
    table: "retention_classes",
    key: &["name"],
    texts: &["name", "mode", "period_unit", "starts", "afterwards", "description"],
    numbers: &["period_count", "may_shorten", "sequence"],
    bytes: &[],
};
pub(super) const JUMP: Shape = Shape {
    tag: 21,
    table: "clock_jumps",
    key: &["sequence"],
    texts: &[],
    numbers: &["sequence", "from_time", "to_time", "settled_sequence", "genuine"],
    bytes: &[],
};
pub(super) const BLOB_CHUNK: Shape = Shape {
    tag: 16,
    table: "blob_chunks",
    key: &["chunk", "blob"],
    texts: &[],
    numbers: &[],
    bytes: &["chunk", "blob"],
};
pub(super) const PART_CHUNK: Shape = Shape {
    tag: 17,
    table: "part_chunks",
    key: &["upload", "number", "chunk"],
    texts: &["upload"],
    numbers: &["number"],
    bytes: &["chunk"],
};
pub(super) const EVENT: Shape = Shape {
    tag: 9,
    table: "events",
    key: &["sequence"],
    texts: &["kind", "tenant", "producer", "package", "actor", "request_id"],
    numbers: &["sequence", "occurred_at"],
    bytes: &["payload", "hash"],
};

pub(super) const HISTORY: Shape = Shape {
    tag: 12,
    table: "history",
    key: &["producer", "key", "sequence"],
    texts: &["producer", "key"],
    numbers: &["sequence", "marker", "versioned", "occurred_at"],
    bytes: &[],
};
pub(super) const SUBRESOURCE: Shape = Shape {
    tag: 13,
    table: "subresources",
    key: &["producer", "name"],
    texts: &["producer", "name", "document"],
    numbers: &["sequence"],
    bytes: &[],
};
/// Of a version, what a listing of versions tells: columns of a question of its own.
pub(super) const LISTED_VERSION: Shape = Shape {
    tag: 12,
    table: "history",
    key: &["producer", "key", "sequence"],
    texts: &["key", "etag"],
    numbers: &["sequence", "marker", "versioned", "occurred_at", "size_bytes"],
    bytes: &["attributes"],
};

/// A row and where its columns of each kind begin.
pub(super) struct Cells<'r> {
    row: &'r PgRow,
    view: &'static str,
    texts: usize,
    numbers: usize,
    bytes: usize,
}

impl<'r> Cells<'r> {
    /// A row of this table alone.
    pub(super) const fn narrow(shape: &Shape, row: &'r PgRow) -> Self {
        let numbers = shape.texts.len();
        Self { row, view: shape.table, texts: 0, numbers, bytes: numbers + shape.numbers.len() }
    }

    /// A row of this table among others'.
    pub(super) const fn wide(shape: &Shape, row: &'r PgRow) -> Self {
        let numbers = 1 + WIDE_TEXTS;
        Self { row, view: shape.table, texts: 1, numbers, bytes: numbers + WIDE_NUMBERS }
    }

    fn unreadable(&self, reason: impl ToString) -> Error {
        Error::RowUnreadable { view: self.view, reason: reason.to_string() }
    }

    fn text(&self, at: usize) -> Result<String> {
        Ok(self.row.try_get(self.texts + at)?)
    }

    fn text_maybe(&self, at: usize) -> Result<Option<String>> {
        Ok(self.row.try_get(self.texts + at)?)
    }

    fn signed(&self, at: usize) -> Result<i64> {
        Ok(self.row.try_get(self.numbers + at)?)
    }

    fn time(&self, at: usize) -> Result<Timestamp> {
        self.signed(at).map(Timestamp)
    }

    fn count(&self, at: usize) -> Result<u64> {
        u64::try_from(self.signed(at)?).map_err(|error| self.unreadable(error))
    }

    fn count_maybe(&self, at: usize) -> Result<Option<u64>> {
        let number: Option<i64> = self.row.try_get(self.numbers + at)?;
        number.map(|n| u64::try_from(n).map_err(|error| self.unreadable(error))).transpose()
    }

    /// Since when something is condemned: an event and its time, side by side.
    fn condemned(&self, at: usize) -> Result<Option<Condemned>> {
        let Some(sequence) = self.count_maybe(at)? else { return Ok(None) };
        Ok(Some(Condemned { sequence, at: self.time(at + 1)? }))
    }

    fn small(&self, at: usize) -> Result<u32> {
        u32::try_from(self.signed(at)?).map_err(|error| self.unreadable(error))
    }

    fn bytes(&self, at: usize) -> Result<&'r [u8]> {
        Ok(self.row.try_get(self.bytes + at)?)
    }

    fn packed<T: DeserializeOwned>(&self, at: usize) -> Result<T> {
        cbor::decode(self.bytes(at)?).map_err(|error| self.unreadable(error))
    }

    /// What keeps something by itself; mostly nothing.
    fn keeping(&self, at: usize) -> Result<Keeping> {
        match self.row.try_get::<Option<&[u8]>, _>(self.bytes + at)? {
            None => Ok(Keeping::default()),
            Some(bytes) => cbor::decode(bytes).map_err(|error| self.unreadable(error)),
        }
    }

    fn digest<T>(&self, at: usize, make: impl Fn(&[u8]) -> Option<T>) -> Result<T> {
        make(self.bytes(at)?).ok_or_else(|| self.unreadable("a digest has the wrong length"))
    }

    fn file_name(&self, at: usize) -> Result<FileName> {
        Ok(FileName { producer: ProducerName::trusted(self.text(at)?), key: Key::trusted(self.text(at + 1)?) })
    }
}

pub(super) fn access_key(cells: &Cells<'_>) -> Result<AccessKey> {
    Ok(AccessKey {
        id: AccessKeyId::trusted(cells.text(0)?),
        tenant: TenantName::trusted(cells.text(1)?),
        grants: cells.packed(0)?,
        sealed: cells.row.try_get(cells.bytes + 1)?,
        created_at: cells.time(0)?,
        created_sequence: cells.count(1)?,
        changed_sequence: cells.count(2)?,
    })
}

pub(super) fn producer(cells: &Cells<'_>) -> Result<Producer> {
    Ok(Producer {
        name: ProducerName::trusted(cells.text(0)?),
        tenant: TenantName::trusted(cells.text(1)?),
        settings: cells.packed(0)?,
        created_at: cells.time(0)?,
        created_sequence: cells.count(1)?,
        file_count: cells.count(2)?,
        size_bytes: cells.count(3)?,
        upload_count: cells.count(4)?,
        package_count: cells.count(5)?,
        finalized_count: cells.count(6)?,
        versioning: Versioning::parse(&cells.text(2)?)
            .ok_or_else(|| cells.unreadable("its versioning is not known"))?,
        history_count: cells.count(7)?,
        object_lock: cells.signed(8)? != 0,
        keeping: cells.keeping(1)?,
    })
}

pub(super) fn package(cells: &Cells<'_>) -> Result<Package> {
    let finalized_at: Option<i64> = cells.row.try_get(cells.numbers + 7)?;
    let seal = match finalized_at {
        None => None,
        Some(finalized_at) => Some(Seal {
            finalized_at: Timestamp(finalized_at),
            sequence: cells.count(8)?,
            manifest_digest: cells.digest(0, ContentAddress::from_slice)?,
            manifest_size_bytes: cells.count(9)?,
        }),
    };
    Ok(Package {
        id: PackageId::trusted(cells.text(0)?),
        producer: ProducerName::trusted(cells.text(1)?),
        name: PackageName::trusted(cells.text(2)?),
        revision: cells.small(0)?,
        opened_at: cells.time(1)?,
        opened_sequence: cells.count(2)?,
        changed_at: cells.time(3)?,
        last_sequence: cells.count(4)?,
        file_count: cells.count(5)?,
        size_bytes: cells.count(6)?,
        seal,
        keeping: cells.keeping(1)?,
        released_sequence: cells.count_maybe(10)?,
    })
}

pub(super) fn name(cells: &Cells<'_>) -> Result<NameRow> {
    Ok(NameRow { name: cells.file_name(0)?, package: PackageName::trusted(cells.text(2)?), sequence: cells.count(0)? })
}

pub(super) fn file(cells: &Cells<'_>) -> Result<File> {
    Ok(File {
        sequence: cells.count(0)?,
        name: cells.file_name(0)?,
        package_id: PackageId::trusted(cells.text(2)?),
        package: PackageName::trusted(cells.text(3)?),
        relative_path: cells.text(4)?,
        size_bytes: cells.count(1)?,
        content_address: cells.digest(0, ContentAddress::from_slice)?,
        sha256: cells.digest(1, Sha256Digest::from_slice)?,
        etag: cells.text(5)?,
        attributes: cells.packed(2)?,
        ingested_at: cells.time(2)?,
        client: cells.text_maybe(6)?,
        ended_sequence: cells.count_maybe(3)?,
        versioned: cells.signed(4)? != 0,
        deleted_sequence: cells.count_maybe(5)?,
        keeping: cells.keeping(3)?,
        released_sequence: cells.count_maybe(6)?,
    })
}

pub(super) fn history(cells: &Cells<'_>) -> Result<HistoryRow> {
    Ok(HistoryRow {
        name: cells.file_name(0)?,
        sequence: cells.count(0)?,
        marker: cells.signed(1)? != 0,
        versioned: cells.signed(2)? != 0,
        occurred_at: cells.time(3)?,
    })
}

pub(super) fn subresource(cells: &Cells<'_>) -> Result<SubresourceRow> {
    Ok(SubresourceRow {
        producer: ProducerName::trusted(cells.text(0)?),
        name: Subresource::parse(&cells.text(1)?).ok_or_else(|| cells.unreadable("its name is not known"))?,
        document: cells.text(2)?,
        sequence: cells.count(0)?,
    })
}

pub(super) fn listed_version(cells: &Cells<'_>) -> Result<ListedVersion> {
    let marker = cells.signed(1)? != 0;
    Ok(ListedVersion {
        sequence: cells.count(0)?,
        marker,
        versioned: cells.signed(2)? != 0,
        listed: Listed {
            key: Key::trusted(cells.text(0)?),
            size_bytes: cells.count_maybe(4)?.unwrap_or(0),
            etag: cells.text_maybe(1)?.unwrap_or_default(),
            // A marker has no file.
            attributes: if marker { Attributes::default() } else { cells.packed(0)? },
            ingested_at: cells.time(3)?,
        },
    })
}

pub(super) fn listed(cells: &Cells<'_>) -> Result<Listed> {
    Ok(Listed {
        key: Key::trusted(cells.text(0)?),
        size_bytes: cells.count(0)?,
        etag: cells.text(1)?,
        attributes: cells.packed(0)?,
        ingested_at: cells.time(1)?,
    })
}

pub(super) fn blob(cells: &Cells<'_>) -> Result<Blob> {
    Ok(Blob {
        content_address: cells.digest(0, ContentAddress::from_slice)?,
        sha256: cells.digest(1, Sha256Digest::from_slice)?,
        size_bytes: cells.count(0)?,
        recipe: cells.packed(2)?,
        sequence: cells.count(1)?,
        reference_count: cells.count(2)?,
        released_sequence: cells.count_maybe(3)?,
        condemned: cells.condemned(4)?,
    })
}

pub(super) fn chunk(cells: &Cells<'_>) -> Result<ChunkPlace> {
    let codec = match cells.text(1)?.as_str() {
        "none" => Codec::None,
        other => return Err(cells.unreadable(format!("the codec {other:?} is not known"))),
    };
    let tier = match cells.text(2)?.as_str() {
        "online" => RetrievalTier::Online,
        other => return Err(cells.unreadable(format!("the tier {other:?} is not known"))),
    };
    Ok(ChunkPlace {
        chunk: Chunk { address: cells.digest(0, ContentAddress::from_slice)?, size_bytes: cells.count(0)? },
        location: Location {
            backend: cells.text(0)?,
            object: cells.digest(1, ObjectKey::from_slice)?,
            offset_bytes: cells.count(1)?,
            stored_length_bytes: cells.count(2)?,
            codec,
            tier,
        },
        sequence: cells.count(3)?,
        condemned: cells.condemned(4)?,
        damaged_sequence: cells.count_maybe(6)?,
    })
}

pub(super) fn blob_chunk(cells: &Cells<'_>) -> Result<BlobChunk> {
    let address = |at| cells.digest(at, ContentAddress::from_slice);
    Ok(BlobChunk { chunk: address(0)?, blob: address(1)? })
}

pub(super) fn part_chunk(cells: &Cells<'_>) -> Result<PartChunk> {
    Ok(PartChunk {
        upload: UploadId::trusted(cells.text(0)?),
        number: PartNumber::new(cells.signed(0)?)?,
        chunk: cells.digest(0, ContentAddress::from_slice)?,
    })
}

pub(super) fn class(cells: &Cells<'_>) -> Result<ClassRow> {
    let texts = (cells.text(1)?, cells.text(2)?, cells.text(3)?, cells.text(4)?);
    let (mode, unit, start, then) = (&*texts.0, &*texts.1, &*texts.2, &*texts.3);
    Ok(ClassRow {
        name: ClassName::trusted(cells.text(0)?),
        class: RetentionClass::from_words((mode, start, then), (unit, cells.small(0)?))
            .ok_or_else(|| cells.unreadable("a word of it is not known"))?
            .with(cells.text(5)?, cells.signed(1)? != 0),
        sequence: cells.count(2)?,
    })
}

pub(super) fn clock_jump(cells: &Cells<'_>) -> Result<ClockJump> {
    Ok(ClockJump {
        sequence: cells.count(0)?,
        from: cells.time(1)?,
        to: cells.time(2)?,
        settled_sequence: cells.count_maybe(3)?,
        genuine: cells.signed(4)? != 0,
    })
}

pub(super) fn storage_move(cells: &Cells<'_>) -> Result<StorageMove> {
    Ok(StorageMove {
        sequence: cells.count(0)?,
        from: cells.text(0)?,
        to: cells.text(1)?,
        closed_sequence: cells.count_maybe(1)?,
        ended_sequence: cells.count_maybe(2)?,
    })
}

pub(super) fn upload(cells: &Cells<'_>) -> Result<Upload> {
    Ok(Upload {
        id: UploadId::trusted(cells.text(0)?),
        name: cells.file_name(1)?,
        attributes: cells.packed(0)?,
        created_at: cells.time(0)?,
        sequence: cells.count(1)?,
        parts_sequence: cells.count(2)?,
        state: cells.count_maybe(3)?.map_or(UploadState::Open, UploadState::Completed),
    })
}

pub(super) fn part(cells: &Cells<'_>) -> Result<Part> {
    let checksum: Option<&[u8]> = cells.row.try_get(cells.bytes + 1)?;
    Ok(Part {
        upload: UploadId::trusted(cells.text(0)?),
        number: PartNumber::new(cells.signed(0)?)?,
        size_bytes: cells.count(1)?,
        md5: cells.digest(0, Md5Digest::from_slice)?,
        checksum: checksum.map(|_| cells.packed(1)).transpose()?,
        recipe: cells.packed(2)?,
        ingested_at: cells.time(2)?,
        sequence: cells.count(3)?,
    })
}

pub(super) fn record(row: &PgRow) -> Result<Record> {
    let cells = Cells::narrow(&EVENT, row);
    Ok(Record {
        sequence: cells.count(0)?,
        occurred_at: cells.time(1)?,
        kind: cells.text(0)?,
        tenant: TenantName::trusted(cells.text(1)?),
        producer: cells.text_maybe(2)?.map(ProducerName::trusted),
        package: cells.text_maybe(3)?.map(PackageName::trusted),
        actor: cells.text(4)?,
        request_id: cells.text(5)?,
        payload: cells.bytes(0)?.to_vec(),
        hash: cells.digest(1, |bytes| bytes.try_into().ok())?,
    })
}

/// What is asked for where the log ends.
pub(super) const HEAD: &str = "SELECT sequence, occurred_at, hash FROM log_head";

pub(super) fn head(row: &PgRow) -> Result<Head> {
    let cells = Cells { row, view: "log_head", texts: 0, numbers: 0, bytes: 2 };
    // Beside a BEGIN the row comes as text, out of which only whole vectors are made.
    let hash: Vec<u8> = row.try_get(2)?;
    let hash = hash.try_into().map_err(|_| cells.unreadable("a digest has the wrong length"))?;
    Ok(Head { sequence: cells.count(0)?, occurred_at: cells.time(1)?, hash })
}
