//! Rows of objects: of what was swept, noted, read again and found damaged.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use sqlx::Row;

use super::{Cells, Shape};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::model::erasure::Erasure;
use crate::model::scrub::{DamagedObject, ScrubPass, ScrubTally};
use crate::model::sweep::{OrphanObject, SweptObject};

pub(in crate::store::postgres) const SWEPT: Shape = Shape {
    tag: 18,
    table: "swept_objects",
    key: &["object"],
    texts: &["backend"],
    numbers: &["begun_sequence", "ended_sequence"],
    bytes: &["object"],
};
pub(in crate::store::postgres) const ORPHAN: Shape = Shape {
    tag: 19,
    table: "orphan_objects",
    key: &["object"],
    texts: &["backend"],
    numbers: &["size_bytes", "sequence", "seen_at"],
    bytes: &["object"],
};
pub(in crate::store::postgres) const SCRUB: Shape = Shape {
    tag: 24,
    table: "scrub_passes",
    key: &["sequence"],
    texts: &[],
    numbers: &["sequence", "begun_at", "objects", "bytes", "damaged", "ended_sequence", "ended_at"],
    bytes: &["cursor"],
};
pub(in crate::store::postgres) const DAMAGED: Shape = Shape {
    tag: 25,
    table: "damaged_objects",
    key: &["object"],
    texts: &["backend", "finding"],
    numbers: &["sequence", "seen_at"],
    bytes: &["object"],
};

pub(in crate::store::postgres) const ERASURE: Shape = Shape {
    tag: 26,
    table: "erasures",
    key: &["version"],
    texts: &["actor", "reason"],
    numbers: &["version", "sequence", "erased_at"],
    bytes: &["content_address"],
};

pub(in crate::store::postgres) fn erasure(cells: &Cells<'_>) -> Result<Erasure> {
    Ok(Erasure {
        version: cells.count(0)?,
        sequence: cells.count(1)?,
        erased_at: cells.time(2)?,
        content_address: cells.digest(0, ContentAddress::from_slice)?,
        actor: cells.text(0)?,
        reason: cells.text(1)?,
    })
}

pub(in crate::store::postgres) fn scrub_pass(cells: &Cells<'_>) -> Result<ScrubPass> {
    let cursor: Option<&[u8]> = cells.row.try_get(cells.bytes)?;
    Ok(ScrubPass {
        sequence: cells.count(0)?,
        begun_at: cells.time(1)?,
        cursor: cursor.map(|_| cells.digest(0, ObjectKey::from_slice)).transpose()?,
        tally: ScrubTally { objects: cells.count(2)?, bytes: cells.count(3)?, damaged: cells.count(4)? },
        ended_sequence: cells.count_maybe(5)?,
        ended_at: cells.row.try_get::<Option<i64>, _>(cells.numbers + 6)?.map(Timestamp),
    })
}

pub(in crate::store::postgres) fn damaged(cells: &Cells<'_>) -> Result<DamagedObject> {
    Ok(DamagedObject {
        object: cells.digest(0, ObjectKey::from_slice)?,
        backend: cells.text(0)?,
        finding: cells.text(1)?,
        sequence: cells.count(0)?,
        seen_at: cells.time(1)?,
    })
}

pub(in crate::store::postgres) fn swept(cells: &Cells<'_>) -> Result<SweptObject> {
    Ok(SweptObject {
        object: cells.digest(0, ObjectKey::from_slice)?,
        backend: cells.text(0)?,
        begun_sequence: cells.count(0)?,
        ended_sequence: cells.count_maybe(1)?,
    })
}

pub(in crate::store::postgres) fn orphan(cells: &Cells<'_>) -> Result<OrphanObject> {
    Ok(OrphanObject {
        object: cells.digest(0, ObjectKey::from_slice)?,
        backend: cells.text(0)?,
        size_bytes: cells.count(0)?,
        sequence: cells.count(1)?,
        seen_at: cells.time(2)?,
    })
}
