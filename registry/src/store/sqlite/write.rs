//! Writing a batch on SQLite: events, head, and every changed row.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::{Codec, RetrievalTier};

use super::rows;
use super::values::Values;
use super::writer::Writer;
use crate::error::Result;
use crate::model::access::AccessKey;
use crate::model::cbor;
use crate::model::erasure::Erasure;
use crate::model::event::{Head, Record};
use crate::model::name::{PackageName, ProducerName, UploadId};
use crate::model::retention::{ClassRow, ClockJump, Keeping};
use crate::model::row::{
    Blob, ChunkPlace, File, HistoryRow, Package, Part, Producer, SubresourceRow, Upload, UploadState,
};
use crate::model::scrub::{DamagedObject, ScrubPass};
use crate::model::state::{NameRow, State};
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

/// Counts and numbers as SQLite has them; none comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes events, the new head and every changed row.
pub(super) fn batch(writer: &Writer, records: &[Record], head: Head, state: &State) -> Result<()> {
    let writing = Writing { writer };
    writing.rows("INSERT", "events", rows::EVENT, records, record)?;
    writer.execute(HEAD, |values| {
        values.bind(signed(head.sequence)).bind(head.occurred_at.0).bind(head.hash.as_slice());
    })?;
    writing.views(state)
}

const HEAD: &str = "UPDATE log_head SET sequence = ?, occurred_at = ?, hash = ? WHERE one = 1";

struct Writing<'a> {
    writer: &'a Writer,
}

impl Writing<'_> {
    fn rows<R>(
        &self,
        verb: &str,
        table: &str,
        columns: &str,
        rows: &[R],
        bind: impl Fn(&mut dyn Values, &R),
    ) -> Result<()> {
        let text = |given: &str| format!("{verb} INTO {table} ({columns}) {given}");
        self.writer.rows(rows, columns.split(',').count(), text, bind)
    }

    /// Writes rows, in the place of those that have their keys.
    fn replace<R>(&self, table: &str, columns: &str, rows: &[&R], bind: impl Fn(&mut dyn Values, &R)) -> Result<()> {
        self.rows("INSERT OR REPLACE", table, columns, rows, |values, row| bind(values, row))
    }

    /// Deletes rows by key.
    fn delete<K>(&self, table: &str, key: &str, keys: &[&K], bind: impl Fn(&mut dyn Values, &K)) -> Result<()> {
        let text = |given: &str| format!("DELETE FROM {table} WHERE ({key}) IN ({given})");
        self.writer.rows(keys, key.split(',').count(), text, |values, key| bind(values, key))
    }

    fn views(&self, state: &State) -> Result<()> {
        let (written, deleted) = state.producers.changes();
        self.replace("producers", rows::PRODUCER, &written, producer)?;
        self.delete("producers", "name", &deleted, producer_name)?;

        let cleared: Vec<_> = state.packages_cleared.iter().collect();
        self.delete("packages", "producer", &cleared, producer_name)?;
        let (written, _) = state.packages.changes();
        self.replace("packages", rows::PACKAGE, &written, package)?;

        let (written, deleted) = state.names.changes();
        self.replace("names", rows::NAME, &written, name)?;
        self.delete("names", "producer, key", &deleted, |values, key| {
            values.bind(key.producer.as_str()).bind(key.key.as_str());
        })?;

        let (written, _) = state.files.changes();
        self.replace("files", &rows::FILE.replace("f.", ""), &written, file)?;
        let (written, deleted) = state.history.changes();
        self.replace("history", &rows::HISTORY.replace("h.", ""), &written, history)?;
        self.delete("history", "producer, key, sequence", &deleted, |values, key| {
            values.bind(key.0.producer.as_str()).bind(key.0.key.as_str()).bind(signed(key.1));
        })?;
        let (written, deleted) = state.subresources.changes();
        self.replace("subresources", rows::SUBRESOURCE, &written, subresource)?;
        self.delete("subresources", "producer, name", &deleted, |values, key| {
            values.bind(key.0.as_str()).bind(key.1.as_str());
        })?;
        let (written, deleted) = state.blobs.changes();
        self.replace("blobs", rows::BLOB, &written, blob)?;
        self.delete("blobs", "content_address", &deleted, address)?;
        let (written, deleted) = state.chunks.changes();
        self.replace("chunks", rows::CHUNK, &written, chunk)?;
        self.delete("chunks", "address", &deleted, address)?;
        self.references(state)?;
        self.sweeps(state)?;

        let (written, deleted) = state.uploads.changes();
        self.replace("uploads", rows::UPLOAD, &written, upload)?;
        self.delete("uploads", "id", &deleted, upload_id)?;
        let (written, _) = state.parts.changes();
        self.replace("parts", rows::PART, &written, part)?;
        let cleared: Vec<_> = state.parts_cleared.iter().collect();
        self.delete("parts", "upload", &cleared, upload_id)?;
        self.delete("part_chunks", "upload", &cleared, upload_id)?;
        let (written, deleted) = state.access_keys.changes();
        self.replace("access_keys", rows::ACCESS_KEY, &written, access_key)?;
        self.delete("access_keys", "id", &deleted, |values, id| {
            values.bind(id.as_str());
        })?;
        let (written, _) = state.moves.changes();
        self.replace("storage_moves", rows::MOVE, &written, storage_move)?;
        let (written, _) = state.classes.changes();
        self.replace("retention_classes", rows::CLASS, &written, class)?;
        let (written, deleted) = state.jumps.changes();
        self.replace("clock_jumps", rows::JUMP, &written, clock_jump)?;
        self.delete("clock_jumps", "sequence", &deleted, |values, sequence| {
            values.bind(signed(*sequence));
        })
    }
}

impl Writing<'_> {
    /// References to blobs whose rows were not loaded.
    fn references(&self, state: &State) -> Result<()> {
        let counted: Vec<(&ContentAddress, &i64)> = state.references.iter().collect();
        let text = |given: &str| {
            format!(
                "UPDATE blobs SET reference_count = reference_count + g.column2 FROM ({given}) AS g \
                 WHERE content_address = g.column1"
            )
        };
        self.writer.rows(&counted, 2, text, |values, (blob, count)| {
            values.bind(blob.0.as_slice()).bind(**count);
        })
    }

    fn sweeps(&self, state: &State) -> Result<()> {
        let (written, deleted) = state.blob_chunks.changes();
        self.replace("blob_chunks", rows::BLOB_CHUNK, &written, blob_chunk)?;
        self.delete("blob_chunks", rows::BLOB_CHUNK, &deleted, blob_chunk)?;
        let (written, deleted) = state.part_chunks.changes();
        self.replace("part_chunks", rows::PART_CHUNK, &written, part_chunk)?;
        self.delete("part_chunks", rows::PART_CHUNK, &deleted, part_chunk)?;
        let (written, _) = state.swept.changes();
        self.replace("swept_objects", rows::SWEPT, &written, swept)?;
        let (written, deleted) = state.orphans.changes();
        self.replace("orphan_objects", rows::ORPHAN, &written, orphan)?;
        self.delete("orphan_objects", "object", &deleted, object_key)?;
        let (written, _) = state.scrubs.changes();
        self.replace("scrub_passes", rows::SCRUB, &written, scrub_pass)?;
        let (written, deleted) = state.damaged.changes();
        self.replace("damaged_objects", rows::DAMAGED, &written, damaged)?;
        self.delete("damaged_objects", "object", &deleted, object_key)?;
        let (written, _) = state.erasures.changes();
        self.replace("erasures", rows::ERASURE, &written, erasure)
    }
}

fn address(values: &mut dyn Values, address: &ContentAddress) {
    values.bind(address.0.as_slice());
}

fn blob_chunk(values: &mut dyn Values, row: &BlobChunk) {
    values.bind(row.chunk.0.as_slice()).bind(row.blob.0.as_slice());
}

fn part_chunk(values: &mut dyn Values, row: &PartChunk) {
    values.bind(row.upload.as_str()).bind(i64::from(row.number.get())).bind(row.chunk.0.as_slice());
}

fn swept(values: &mut dyn Values, row: &SweptObject) {
    values
        .bind(row.object.0.as_slice())
        .bind(row.backend.as_str())
        .bind(signed(row.begun_sequence))
        .bind(row.ended_sequence.map(signed));
}

fn orphan(values: &mut dyn Values, row: &OrphanObject) {
    values
        .bind(row.object.0.as_slice())
        .bind(row.backend.as_str())
        .bind(signed(row.size_bytes))
        .bind(signed(row.sequence))
        .bind(row.seen_at.0);
}

fn object_key(values: &mut dyn Values, object: &ObjectKey) {
    values.bind(object.0.as_slice());
}

fn scrub_pass(values: &mut dyn Values, row: &ScrubPass) {
    values
        .bind(signed(row.sequence))
        .bind(row.begun_at.0)
        .bind(row.cursor.as_ref().map(|object| object.0.as_slice()))
        .bind(signed(row.tally.objects))
        .bind(signed(row.tally.bytes))
        .bind(signed(row.tally.damaged))
        .bind(row.ended_sequence.map(signed))
        .bind(row.ended_at.map(|at| at.0));
}

fn damaged(values: &mut dyn Values, row: &DamagedObject) {
    values
        .bind(row.object.0.as_slice())
        .bind(row.backend.as_str())
        .bind(row.finding.as_str())
        .bind(signed(row.sequence))
        .bind(row.seen_at.0);
}

fn erasure(values: &mut dyn Values, row: &Erasure) {
    values
        .bind(signed(row.version))
        .bind(signed(row.sequence))
        .bind(row.erased_at.0)
        .bind(row.content_address.0.as_slice())
        .bind(row.actor.as_str())
        .bind(row.reason.as_str());
}

fn producer_name(values: &mut dyn Values, name: &ProducerName) {
    values.bind(name.as_str());
}

fn upload_id(values: &mut dyn Values, upload: &UploadId) {
    values.bind(upload.as_str());
}

fn record(values: &mut dyn Values, record: &Record) {
    values
        .bind(signed(record.sequence))
        .bind(record.occurred_at.0)
        .bind(record.kind.as_str())
        .bind(record.tenant.as_str())
        .bind(record.producer.as_ref().map(ProducerName::as_str))
        .bind(record.package.as_ref().map(PackageName::as_str))
        .bind(record.actor.as_str())
        .bind(record.request_id.as_str())
        .bind(record.payload.as_slice())
        .bind(record.hash.as_slice());
}

fn producer(values: &mut dyn Values, row: &Producer) {
    values
        .bind(row.name.as_str())
        .bind(row.tenant.as_str())
        .bind(cbor::encode(&row.settings).as_slice())
        .bind(row.created_at.0)
        .bind(signed(row.created_sequence))
        .bind(signed(row.file_count))
        .bind(signed(row.size_bytes))
        .bind(signed(row.upload_count))
        .bind(signed(row.package_count))
        .bind(signed(row.finalized_count))
        .bind(row.versioning.as_str())
        .bind(signed(row.history_count))
        .bind(row.object_lock)
        .bind(keeping(&row.keeping).as_deref());
}

fn package(values: &mut dyn Values, row: &Package) {
    let seal = row.seal.as_ref();
    values
        .bind(row.id.as_str())
        .bind(row.producer.as_str())
        .bind(row.name.as_str())
        .bind(i64::from(row.revision))
        .bind(row.opened_at.0)
        .bind(signed(row.opened_sequence))
        .bind(row.changed_at.0)
        .bind(signed(row.last_sequence))
        .bind(signed(row.file_count))
        .bind(signed(row.size_bytes))
        .bind(seal.map(|seal| seal.finalized_at.0))
        .bind(seal.map(|seal| signed(seal.sequence)))
        .bind(seal.map(|seal| seal.manifest_digest.0.as_slice()))
        .bind(seal.map(|seal| signed(seal.manifest_size_bytes)))
        .bind(keeping(&row.keeping).as_deref())
        .bind(row.released_sequence.map(signed));
}

fn name(values: &mut dyn Values, row: &NameRow) {
    values
        .bind(row.name.producer.as_str())
        .bind(row.name.key.as_str())
        .bind(row.package.as_str())
        .bind(signed(row.sequence));
}

fn file(values: &mut dyn Values, row: &File) {
    values
        .bind(signed(row.sequence))
        .bind(row.name.producer.as_str())
        .bind(row.name.key.as_str())
        .bind(row.package_id.as_str())
        .bind(row.package.as_str())
        .bind(row.relative_path.as_str())
        .bind(signed(row.size_bytes))
        .bind(row.content_address.0.as_slice())
        .bind(row.sha256.0.as_slice())
        .bind(row.etag.as_str())
        .bind(cbor::encode(&row.attributes).as_slice())
        .bind(row.ingested_at.0)
        .bind(row.client.as_deref())
        .bind(row.ended_sequence.map(signed))
        .bind(row.versioned)
        .bind(row.deleted_sequence.map(signed))
        .bind(keeping(&row.keeping).as_deref())
        .bind(row.released_sequence.map(signed));
}

fn history(values: &mut dyn Values, row: &HistoryRow) {
    values
        .bind(row.name.producer.as_str())
        .bind(row.name.key.as_str())
        .bind(signed(row.sequence))
        .bind(row.marker)
        .bind(row.versioned)
        .bind(row.occurred_at.0);
}

fn subresource(values: &mut dyn Values, row: &SubresourceRow) {
    values.bind(row.producer.as_str()).bind(row.name.as_str()).bind(row.document.as_str()).bind(signed(row.sequence));
}

fn blob(values: &mut dyn Values, row: &Blob) {
    values
        .bind(row.content_address.0.as_slice())
        .bind(row.sha256.0.as_slice())
        .bind(signed(row.size_bytes))
        .bind(cbor::encode(&row.recipe).as_slice())
        .bind(signed(row.sequence))
        .bind(signed(row.reference_count))
        .bind(row.released_sequence.map(signed))
        .bind(row.condemned.map(|since| signed(since.sequence)))
        .bind(row.condemned.map(|since| since.at.0));
}

fn chunk(values: &mut dyn Values, row: &ChunkPlace) {
    let codec = match row.location.codec {
        Codec::None => "none",
    };
    let tier = match row.location.tier {
        RetrievalTier::Online => "online",
    };
    values
        .bind(row.chunk.address.0.as_slice())
        .bind(signed(row.chunk.size_bytes))
        .bind(row.location.backend.as_str())
        .bind(row.location.object.0.as_slice())
        .bind(signed(row.location.offset_bytes))
        .bind(signed(row.location.stored_length_bytes))
        .bind(codec)
        .bind(tier)
        .bind(signed(row.sequence))
        .bind(row.condemned.map(|since| signed(since.sequence)))
        .bind(row.condemned.map(|since| since.at.0))
        .bind(row.damaged_sequence.map(signed));
}

fn keeping(keeping: &Keeping) -> Option<Vec<u8>> {
    (!keeping.is_empty()).then(|| cbor::encode(keeping))
}

fn class(values: &mut dyn Values, row: &ClassRow) {
    let (unit, count) = row.class.period.to_words();
    values
        .bind(row.name.as_str())
        .bind(row.class.mode.as_str())
        .bind(unit)
        .bind(i64::from(count))
        .bind(row.class.start.as_str())
        .bind(row.class.then.as_str())
        .bind(row.class.may_shorten)
        .bind(row.class.description.as_str())
        .bind(signed(row.sequence));
}

fn clock_jump(values: &mut dyn Values, row: &ClockJump) {
    values
        .bind(signed(row.sequence))
        .bind(row.from.0)
        .bind(row.to.0)
        .bind(row.settled_sequence.map(signed))
        .bind(row.genuine);
}

fn storage_move(values: &mut dyn Values, row: &StorageMove) {
    values
        .bind(signed(row.sequence))
        .bind(row.from.as_str())
        .bind(row.to.as_str())
        .bind(row.closed_sequence.map(signed))
        .bind(row.ended_sequence.map(signed));
}

fn upload(values: &mut dyn Values, row: &Upload) {
    let completed = match row.state {
        UploadState::Open => None,
        UploadState::Completed(sequence) => Some(signed(sequence)),
    };
    values
        .bind(row.id.as_str())
        .bind(row.name.producer.as_str())
        .bind(row.name.key.as_str())
        .bind(cbor::encode(&row.attributes).as_slice())
        .bind(row.created_at.0)
        .bind(signed(row.sequence))
        .bind(signed(row.parts_sequence))
        .bind(completed);
}

fn access_key(values: &mut dyn Values, row: &AccessKey) {
    values
        .bind(row.id.as_str())
        .bind(row.tenant.as_str())
        .bind(cbor::encode(&row.grants).as_slice())
        .bind(row.sealed.as_slice())
        .bind(row.created_at.0)
        .bind(signed(row.created_sequence))
        .bind(signed(row.changed_sequence));
}

fn part(values: &mut dyn Values, row: &Part) {
    values
        .bind(row.upload.as_str())
        .bind(i64::from(row.number.get()))
        .bind(signed(row.size_bytes))
        .bind(row.md5.0.as_slice())
        .bind(row.checksum.as_ref().map(cbor::encode).as_deref())
        .bind(cbor::encode(&row.recipe).as_slice())
        .bind(row.ingested_at.0)
        .bind(signed(row.sequence));
}
