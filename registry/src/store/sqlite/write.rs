//! Writing a batch on SQLite: events, head, and every changed row, by scripts of multi-row statements.

use artifactstore_backends::digest::{ContentAddress, ObjectKey};
use artifactstore_backends::recipe::{Codec, RetrievalTier};
use sqlx::SqliteConnection;

use super::rows;
use super::statement::{ROWS_LIMIT, Script};
use crate::error::Result;
use crate::model::access::AccessKey;
use crate::model::cbor;
use crate::model::erasure::Erasure;
use crate::model::event::Record;
use crate::model::name::{PackageName, ProducerName, UploadId};
use crate::model::retention::{ClassRow, ClockJump, Keeping};
use crate::model::row::{
    Blob, ChunkPlace, File, HistoryRow, Package, Part, Producer, SubresourceRow, Upload, UploadState,
};
use crate::model::scrub::{DamagedObject, ScrubPass};
use crate::model::state::{Head, NameRow, State};
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

/// Counts and numbers as SQLite has them; none comes near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes events, the new head and every changed row.
pub(super) async fn batch(
    connection: &mut SqliteConnection,
    records: &[Record],
    head: Head,
    state: &State,
) -> Result<()> {
    let mut writing = Writing { connection, script: Script::default() };
    writing.rows("INSERT", "events", rows::EVENT, records, record).await?;
    writing.head(head);
    writing.views(state).await?;
    writing.script.run(writing.connection).await
}

struct Writing<'a> {
    connection: &'a mut SqliteConnection,
    script: Script,
}

impl Writing<'_> {
    async fn rows<R: Sync>(
        &mut self,
        verb: &str,
        table: &str,
        columns: &str,
        rows: &[R],
        bind: impl Fn(&mut Script, &R) + Send + Sync,
    ) -> Result<()> {
        let text = |given: &str| format!("{verb} INTO {table} ({columns}) {given}");
        for group in rows.chunks(ROWS_LIMIT) {
            self.script.rows(group, columns.split(',').count(), text, &bind);
            self.script.run_if_long(self.connection).await?;
        }
        Ok(())
    }

    /// Writes rows, in the place of those that have their keys.
    async fn replace<R: Sync>(
        &mut self,
        table: &str,
        columns: &str,
        rows: &[&R],
        bind: impl Fn(&mut Script, &R) + Send + Sync,
    ) -> Result<()> {
        self.rows("INSERT OR REPLACE", table, columns, rows, |script, row| bind(script, row)).await
    }

    /// Deletes rows by key.
    async fn delete<K: Sync>(
        &mut self,
        table: &str,
        key: &str,
        keys: &[&K],
        bind: impl Fn(&mut Script, &K) + Send + Sync,
    ) -> Result<()> {
        let text = |given: &str| format!("DELETE FROM {table} WHERE ({key}) IN ({given})");
        for group in keys.chunks(ROWS_LIMIT) {
            self.script.rows(group, key.split(',').count(), text, |script, key| bind(script, key));
            self.script.run_if_long(self.connection).await?;
        }
        Ok(())
    }

    fn head(&mut self, head: Head) {
        self.script.statement("UPDATE log_head SET sequence = ?, occurred_at = ?, hash = ? WHERE one = 1");
        self.script.bind(signed(head.sequence)).bind(head.occurred_at.0).bind(head.hash.to_vec());
    }

    async fn views(&mut self, state: &State) -> Result<()> {
        let (written, deleted) = state.producers.changes();
        self.replace("producers", rows::PRODUCER, &written, producer).await?;
        self.delete("producers", "name", &deleted, producer_name).await?;

        let cleared: Vec<_> = state.packages_cleared.iter().collect();
        self.delete("packages", "producer", &cleared, producer_name).await?;
        let (written, _) = state.packages.changes();
        self.replace("packages", rows::PACKAGE, &written, package).await?;

        let (written, deleted) = state.names.changes();
        self.replace("names", rows::NAME, &written, name).await?;
        self.delete("names", "producer, key", &deleted, |script, key| {
            script.bind(key.producer.to_string()).bind(key.key.to_string());
        })
        .await?;

        let (written, _) = state.files.changes();
        self.replace("files", &rows::FILE.replace("f.", ""), &written, file).await?;
        let (written, deleted) = state.history.changes();
        self.replace("history", &rows::HISTORY.replace("h.", ""), &written, history).await?;
        self.delete("history", "producer, key, sequence", &deleted, |script, key| {
            script.bind(key.0.producer.to_string()).bind(key.0.key.to_string()).bind(signed(key.1));
        })
        .await?;
        let (written, deleted) = state.subresources.changes();
        self.replace("subresources", rows::SUBRESOURCE, &written, subresource).await?;
        self.delete("subresources", "producer, name", &deleted, |script, key| {
            script.bind(key.0.to_string()).bind(key.1.as_str());
        })
        .await?;
        let (written, deleted) = state.blobs.changes();
        self.replace("blobs", rows::BLOB, &written, blob).await?;
        self.delete("blobs", "content_address", &deleted, address).await?;
        let (written, deleted) = state.chunks.changes();
        self.replace("chunks", rows::CHUNK, &written, chunk).await?;
        self.delete("chunks", "address", &deleted, address).await?;
        self.references(state).await?;
        self.sweeps(state).await?;

        let (written, deleted) = state.uploads.changes();
        self.replace("uploads", rows::UPLOAD, &written, upload).await?;
        self.delete("uploads", "id", &deleted, upload_id).await?;
        let (written, _) = state.parts.changes();
        self.replace("parts", rows::PART, &written, part).await?;
        let cleared: Vec<_> = state.parts_cleared.iter().collect();
        self.delete("parts", "upload", &cleared, upload_id).await?;
        self.delete("part_chunks", "upload", &cleared, upload_id).await?;
        let (written, deleted) = state.access_keys.changes();
        self.replace("access_keys", rows::ACCESS_KEY, &written, access_key).await?;
        self.delete("access_keys", "id", &deleted, |script, id| {
            script.bind(id.to_string());
        })
        .await?;
        let (written, _) = state.moves.changes();
        self.replace("storage_moves", rows::MOVE, &written, storage_move).await?;
        let (written, _) = state.classes.changes();
        self.replace("retention_classes", rows::CLASS, &written, class).await?;
        let (written, deleted) = state.jumps.changes();
        self.replace("clock_jumps", rows::JUMP, &written, clock_jump).await?;
        self.delete("clock_jumps", "sequence", &deleted, |script, sequence| {
            script.bind(signed(*sequence));
        })
        .await
    }
}

impl Writing<'_> {
    /// References to blobs whose rows were not loaded.
    async fn references(&mut self, state: &State) -> Result<()> {
        let counted: Vec<(&ContentAddress, &i64)> = state.references.iter().collect();
        let text = |given: &str| {
            format!(
                "UPDATE blobs SET reference_count = reference_count + g.column2 FROM ({given}) AS g \
                 WHERE content_address = g.column1"
            )
        };
        for group in counted.chunks(ROWS_LIMIT) {
            self.script.rows(group, 2, text, |script, (blob, count)| {
                script.bind(blob.0.to_vec()).bind(**count);
            });
            self.script.run_if_long(self.connection).await?;
        }
        Ok(())
    }

    async fn sweeps(&mut self, state: &State) -> Result<()> {
        let (written, deleted) = state.blob_chunks.changes();
        self.replace("blob_chunks", rows::BLOB_CHUNK, &written, blob_chunk).await?;
        self.delete("blob_chunks", rows::BLOB_CHUNK, &deleted, blob_chunk).await?;
        let (written, deleted) = state.part_chunks.changes();
        self.replace("part_chunks", rows::PART_CHUNK, &written, part_chunk).await?;
        self.delete("part_chunks", rows::PART_CHUNK, &deleted, part_chunk).await?;
        let (written, _) = state.swept.changes();
        self.replace("swept_objects", rows::SWEPT, &written, swept).await?;
        let (written, deleted) = state.orphans.changes();
        self.replace("orphan_objects", rows::ORPHAN, &written, orphan).await?;
        self.delete("orphan_objects", "object", &deleted, object_key).await?;
        let (written, _) = state.scrubs.changes();
        self.replace("scrub_passes", rows::SCRUB, &written, scrub_pass).await?;
        let (written, deleted) = state.damaged.changes();
        self.replace("damaged_objects", rows::DAMAGED, &written, damaged).await?;
        self.delete("damaged_objects", "object", &deleted, object_key).await?;
        let (written, _) = state.erasures.changes();
        self.replace("erasures", rows::ERASURE, &written, erasure).await
    }
}

fn address(script: &mut Script, address: &ContentAddress) {
    script.bind(address.0.to_vec());
}

fn blob_chunk(script: &mut Script, row: &BlobChunk) {
    script.bind(row.chunk.0.to_vec()).bind(row.blob.0.to_vec());
}

fn part_chunk(script: &mut Script, row: &PartChunk) {
    script.bind(row.upload.to_string()).bind(i64::from(row.number.get())).bind(row.chunk.0.to_vec());
}

fn swept(script: &mut Script, row: &SweptObject) {
    script
        .bind(row.object.0.to_vec())
        .bind(row.backend.clone())
        .bind(signed(row.begun_sequence))
        .bind(row.ended_sequence.map(signed));
}

fn orphan(script: &mut Script, row: &OrphanObject) {
    script
        .bind(row.object.0.to_vec())
        .bind(row.backend.clone())
        .bind(signed(row.size_bytes))
        .bind(signed(row.sequence))
        .bind(row.seen_at.0);
}

fn object_key(script: &mut Script, object: &ObjectKey) {
    script.bind(object.0.to_vec());
}

fn scrub_pass(script: &mut Script, row: &ScrubPass) {
    script
        .bind(signed(row.sequence))
        .bind(row.begun_at.0)
        .bind(row.cursor.map(|object| object.0.to_vec()))
        .bind(signed(row.tally.objects))
        .bind(signed(row.tally.bytes))
        .bind(signed(row.tally.damaged))
        .bind(row.ended_sequence.map(signed))
        .bind(row.ended_at.map(|at| at.0));
}

fn damaged(script: &mut Script, row: &DamagedObject) {
    script
        .bind(row.object.0.to_vec())
        .bind(row.backend.clone())
        .bind(row.finding.clone())
        .bind(signed(row.sequence))
        .bind(row.seen_at.0);
}

fn erasure(script: &mut Script, row: &Erasure) {
    script
        .bind(signed(row.version))
        .bind(signed(row.sequence))
        .bind(row.erased_at.0)
        .bind(row.content_address.0.to_vec())
        .bind(row.actor.clone())
        .bind(row.reason.clone());
}

fn producer_name(script: &mut Script, name: &ProducerName) {
    script.bind(name.to_string());
}

fn upload_id(script: &mut Script, upload: &UploadId) {
    script.bind(upload.to_string());
}

fn record(script: &mut Script, record: &Record) {
    script
        .bind(signed(record.sequence))
        .bind(record.occurred_at.0)
        .bind(record.kind.clone())
        .bind(record.tenant.to_string())
        .bind(record.producer.as_ref().map(ProducerName::to_string))
        .bind(record.package.as_ref().map(PackageName::to_string))
        .bind(record.actor.clone())
        .bind(record.request_id.clone())
        .bind(record.payload.clone())
        .bind(record.hash.to_vec());
}

fn producer(script: &mut Script, row: &Producer) {
    script
        .bind(row.name.to_string())
        .bind(row.tenant.to_string())
        .bind(cbor::encode(&row.settings))
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
        .bind(keeping(&row.keeping));
}

fn package(script: &mut Script, row: &Package) {
    let seal = row.seal.as_ref();
    script
        .bind(row.id.to_string())
        .bind(row.producer.to_string())
        .bind(row.name.to_string())
        .bind(i64::from(row.revision))
        .bind(row.opened_at.0)
        .bind(signed(row.opened_sequence))
        .bind(row.changed_at.0)
        .bind(signed(row.last_sequence))
        .bind(signed(row.file_count))
        .bind(signed(row.size_bytes))
        .bind(seal.map(|seal| seal.finalized_at.0))
        .bind(seal.map(|seal| signed(seal.sequence)))
        .bind(seal.map(|seal| seal.manifest_digest.0.to_vec()))
        .bind(seal.map(|seal| signed(seal.manifest_size_bytes)))
        .bind(keeping(&row.keeping))
        .bind(row.released_sequence.map(signed));
}

fn name(script: &mut Script, row: &NameRow) {
    script
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(row.package.to_string())
        .bind(signed(row.sequence));
}

fn file(script: &mut Script, row: &File) {
    script
        .bind(signed(row.sequence))
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(row.package_id.to_string())
        .bind(row.package.to_string())
        .bind(row.relative_path.clone())
        .bind(signed(row.size_bytes))
        .bind(row.content_address.0.to_vec())
        .bind(row.sha256.0.to_vec())
        .bind(row.etag.clone())
        .bind(cbor::encode(&row.attributes))
        .bind(row.ingested_at.0)
        .bind(row.client.clone())
        .bind(row.ended_sequence.map(signed))
        .bind(row.versioned)
        .bind(row.deleted_sequence.map(signed))
        .bind(keeping(&row.keeping))
        .bind(row.released_sequence.map(signed));
}

fn history(script: &mut Script, row: &HistoryRow) {
    script
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(signed(row.sequence))
        .bind(row.marker)
        .bind(row.versioned)
        .bind(row.occurred_at.0);
}

fn subresource(script: &mut Script, row: &SubresourceRow) {
    script.bind(row.producer.to_string()).bind(row.name.as_str()).bind(row.document.clone()).bind(signed(row.sequence));
}

fn blob(script: &mut Script, row: &Blob) {
    script
        .bind(row.content_address.0.to_vec())
        .bind(row.sha256.0.to_vec())
        .bind(signed(row.size_bytes))
        .bind(cbor::encode(&row.recipe))
        .bind(signed(row.sequence))
        .bind(signed(row.reference_count))
        .bind(row.released_sequence.map(signed))
        .bind(row.condemned.map(|since| signed(since.sequence)))
        .bind(row.condemned.map(|since| since.at.0));
}

fn chunk(script: &mut Script, row: &ChunkPlace) {
    let codec = match row.location.codec {
        Codec::None => "none",
    };
    let tier = match row.location.tier {
        RetrievalTier::Online => "online",
    };
    script
        .bind(row.chunk.address.0.to_vec())
        .bind(signed(row.chunk.size_bytes))
        .bind(row.location.backend.clone())
        .bind(row.location.object.0.to_vec())
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

fn class(script: &mut Script, row: &ClassRow) {
    let (unit, count) = row.class.period.to_words();
    script
        .bind(row.name.to_string())
        .bind(row.class.mode.as_str())
        .bind(unit)
        .bind(i64::from(count))
        .bind(row.class.start.as_str())
        .bind(row.class.then.as_str())
        .bind(row.class.may_shorten)
        .bind(row.class.description.clone())
        .bind(signed(row.sequence));
}

fn clock_jump(script: &mut Script, row: &ClockJump) {
    script
        .bind(signed(row.sequence))
        .bind(row.from.0)
        .bind(row.to.0)
        .bind(row.settled_sequence.map(signed))
        .bind(row.genuine);
}

fn storage_move(script: &mut Script, row: &StorageMove) {
    script
        .bind(signed(row.sequence))
        .bind(row.from.clone())
        .bind(row.to.clone())
        .bind(row.closed_sequence.map(signed))
        .bind(row.ended_sequence.map(signed));
}

fn upload(script: &mut Script, row: &Upload) {
    let completed = match row.state {
        UploadState::Open => None,
        UploadState::Completed(sequence) => Some(signed(sequence)),
    };
    script
        .bind(row.id.to_string())
        .bind(row.name.producer.to_string())
        .bind(row.name.key.to_string())
        .bind(cbor::encode(&row.attributes))
        .bind(row.created_at.0)
        .bind(signed(row.sequence))
        .bind(signed(row.parts_sequence))
        .bind(completed);
}

fn access_key(script: &mut Script, row: &AccessKey) {
    script
        .bind(row.id.to_string())
        .bind(row.tenant.to_string())
        .bind(cbor::encode(&row.grants))
        .bind(row.sealed.clone())
        .bind(row.created_at.0)
        .bind(signed(row.created_sequence))
        .bind(signed(row.changed_sequence));
}

fn part(script: &mut Script, row: &Part) {
    script
        .bind(row.upload.to_string())
        .bind(i64::from(row.number.get()))
        .bind(signed(row.size_bytes))
        .bind(row.md5.0.to_vec())
        .bind(row.checksum.as_ref().map(cbor::encode))
        .bind(cbor::encode(&row.recipe))
        .bind(row.ingested_at.0)
        .bind(signed(row.sequence));
}
