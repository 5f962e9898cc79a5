//! Rows of the model to rows of views: the one form that compares byte for byte, whatever the dialect.

use serde::Serialize;

use super::ViewRow;
use crate::model::access::AccessKey;
use crate::model::cbor;
use crate::model::erasure::Erasure;
use crate::model::retention::{ClassRow, ClockJump};
use crate::model::row::{Blob, ChunkPlace, File, HistoryRow, Package, Part, Producer, SubresourceRow, Upload};
use crate::model::scrub::{DamagedObject, ScrubPass};
use crate::model::state::NameRow;
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

/// Names hold no NUL, so that joining them with one keeps their order.
fn text_row<R: Serialize>(key: &[&str], row: &R) -> ViewRow {
    ViewRow { key: key.join("\0").into_bytes(), label: key.join("/"), row: cbor::encode(row) }
}

pub(super) fn producer(row: &Producer) -> ViewRow {
    text_row(&[row.name.as_str()], row)
}

pub(super) fn package(row: &Package) -> ViewRow {
    text_row(&[row.id.as_str()], row)
}

pub(super) fn name(row: &NameRow) -> ViewRow {
    let fields = (&row.name, &row.package, row.sequence);
    text_row(&[row.name.producer.as_str(), row.name.key.as_str()], &fields)
}

pub(super) fn file(row: &File) -> ViewRow {
    ViewRow { key: row.sequence.to_be_bytes().to_vec(), label: row.sequence.to_string(), row: cbor::encode(row) }
}

/// Newest first, as the view is ordered: the key counts down.
pub(super) fn history(row: &HistoryRow) -> ViewRow {
    let name = [row.name.producer.as_str(), row.name.key.as_str()];
    let mut key = name.join("\0").into_bytes();
    key.push(0);
    key.extend((!row.sequence).to_be_bytes());
    ViewRow { key, label: format!("{} version {}", name.join("/"), row.sequence), row: cbor::encode(row) }
}

pub(super) fn subresource(row: &SubresourceRow) -> ViewRow {
    text_row(&[row.producer.as_str(), row.name.as_str()], row)
}

pub(super) fn blob(row: &Blob) -> ViewRow {
    let key = row.content_address.0.to_vec();
    ViewRow { key, label: row.content_address.to_string(), row: cbor::encode(row) }
}

pub(super) fn chunk(row: &ChunkPlace) -> ViewRow {
    let key = row.chunk.address.0.to_vec();
    ViewRow { key, label: row.chunk.address.to_string(), row: cbor::encode(row) }
}

pub(super) fn upload(row: &Upload) -> ViewRow {
    text_row(&[row.id.as_str()], row)
}

pub(super) fn access_key(row: &AccessKey) -> ViewRow {
    text_row(&[row.id.as_str()], row)
}

pub(super) fn storage_move(row: &StorageMove) -> ViewRow {
    ViewRow { key: row.sequence.to_be_bytes().to_vec(), label: row.sequence.to_string(), row: cbor::encode(row) }
}

pub(super) fn class(row: &ClassRow) -> ViewRow {
    text_row(&[row.name.as_str()], row)
}

pub(super) fn clock_jump(row: &ClockJump) -> ViewRow {
    ViewRow { key: row.sequence.to_be_bytes().to_vec(), label: row.sequence.to_string(), row: cbor::encode(row) }
}

pub(super) fn blob_chunk(row: &BlobChunk) -> ViewRow {
    let key = [row.chunk.0, row.blob.0].concat();
    ViewRow { key, label: format!("{} in {}", row.chunk, row.blob), row: cbor::encode(row) }
}

pub(super) fn part_chunk(row: &PartChunk) -> ViewRow {
    let mut key = [row.upload.as_str().as_bytes(), &[0]].concat();
    key.extend(row.number.get().to_be_bytes());
    key.extend(row.chunk.0);
    let label = format!("{} in {} part {}", row.chunk, row.upload, row.number.get());
    ViewRow { key, label, row: cbor::encode(row) }
}

pub(super) fn swept(row: &SweptObject) -> ViewRow {
    ViewRow { key: row.object.0.to_vec(), label: row.object.to_hex(), row: cbor::encode(row) }
}

pub(super) fn orphan(row: &OrphanObject) -> ViewRow {
    ViewRow { key: row.object.0.to_vec(), label: row.object.to_hex(), row: cbor::encode(row) }
}

pub(super) fn scrub_pass(row: &ScrubPass) -> ViewRow {
    ViewRow { key: row.sequence.to_be_bytes().to_vec(), label: row.sequence.to_string(), row: cbor::encode(row) }
}

pub(super) fn damaged(row: &DamagedObject) -> ViewRow {
    ViewRow { key: row.object.0.to_vec(), label: row.object.to_hex(), row: cbor::encode(row) }
}

pub(super) fn erasure(row: &Erasure) -> ViewRow {
    ViewRow { key: row.version.to_be_bytes().to_vec(), label: row.version.to_string(), row: cbor::encode(row) }
}

pub(super) fn part(row: &Part) -> ViewRow {
    let mut key = [row.upload.as_str().as_bytes(), &[0]].concat();
    key.extend(row.number.get().to_be_bytes());
    ViewRow { key, label: format!("{} part {}", row.upload, row.number.get()), row: cbor::encode(row) }
}
