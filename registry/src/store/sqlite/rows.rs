//! Rows of SQLite to rows of the model. Integers are signed there: counts and numbers never come near the limit.

use artifactstore_backends::digest::{ContentAddress, Md5Digest, ObjectKey, Sha256Digest};
use artifactstore_backends::recipe::{Chunk, Codec, Location, RetrievalTier};
use serde::de::DeserializeOwned;

use super::values::Cells;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::model::access::AccessKey;
use crate::model::attributes::Attributes;
use crate::model::cbor;
use crate::model::erasure::Erasure;
use crate::model::event::{Head, Record};
use crate::model::name::{
    AccessKeyId, ClassName, FileName, Key, PackageId, PackageName, PartNumber, ProducerName, TenantName, UploadId,
};
use crate::model::retention::{ClassRow, ClockJump, Keeping, RetentionClass};
use crate::model::row::{
    Blob, ChunkPlace, Condemned, File, HistoryRow, Listed, ListedVersion, Package, Part, Producer, Seal, Subresource,
    SubresourceRow, Upload, UploadState, Versioning,
};
use crate::model::scrub::{DamagedObject, ScrubPass, ScrubTally};
use crate::model::state::NameRow;
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

pub(super) const PRODUCER: &str = "name, tenant, settings, created_at, created_sequence, file_count, size_bytes, \
     upload_count, package_count, finalized_count, versioning, history_count, object_lock, keeping";
pub(super) const PACKAGE: &str = "id, producer, name, revision, opened_at, opened_sequence, changed_at, \
     last_sequence, file_count, size_bytes, finalized_at, finalized_sequence, manifest_digest, manifest_size, keeping, \
     released_sequence";
pub(super) const NAME: &str = "producer, key, package, sequence";
pub(super) const FILE: &str = "f.sequence, f.producer, f.key, f.package_id, f.package, f.relative_path, \
     f.size_bytes, f.content_address, f.sha256, f.etag, f.attributes, f.ingested_at, f.client, f.ended_sequence, \
     f.versioned, f.deleted_sequence, f.keeping, f.released_sequence";
pub(super) const HISTORY: &str = "h.producer, h.key, h.sequence, h.marker, h.versioned, h.occurred_at";
pub(super) const SUBRESOURCE: &str = "producer, name, document, sequence";
pub(super) const LISTED: &str = "n.key, f.size_bytes, f.etag, f.attributes, f.ingested_at";
pub(super) const BLOB: &str = "content_address, sha256, size_bytes, recipe, sequence, reference_count, \
     released_sequence, condemned_sequence, condemned_at";
pub(super) const CHUNK: &str = "address, size_bytes, backend, object, offset_bytes, stored_length, codec, tier, sequence, condemned_sequence, \
     condemned_at, damaged_sequence";
pub(super) const UPLOAD: &str =
    "id, producer, key, attributes, created_at, sequence, parts_sequence, completed_sequence";
pub(super) const PART: &str = "upload, number, size_bytes, md5, checksum, recipe, ingested_at, sequence";
pub(super) const ACCESS_KEY: &str = "id, tenant, grants, sealed, created_at, created_sequence, changed_sequence";
pub(super) const MOVE: &str = "sequence, from_backend, to_backend, closed_sequence, ended_sequence";
pub(super) const CLASS: &str =
    "name, mode, period_unit, period_count, starts, afterwards, may_shorten, description, sequence";
pub(super) const JUMP: &str = "sequence, from_time, to_time, settled_sequence, genuine";
pub(super) const BLOB_CHUNK: &str = "chunk, blob";
pub(super) const PART_CHUNK: &str = "upload, number, chunk";
pub(super) const SWEPT: &str = "object, backend, begun_sequence, ended_sequence";
pub(super) const ORPHAN: &str = "object, backend, size_bytes, sequence, seen_at";
pub(super) const SCRUB: &str = "sequence, begun_at, cursor, objects, bytes, damaged, ended_sequence, ended_at";
pub(super) const DAMAGED: &str = "object, backend, finding, sequence, seen_at";
pub(super) const ERASURE: &str = "version, sequence, erased_at, content_address, actor, reason";
pub(super) const EVENT: &str =
    "sequence, occurred_at, kind, tenant, producer, package, actor, request_id, payload, hash";

fn unreadable(view: &'static str, reason: impl ToString) -> Error {
    Error::RowUnreadable { view, reason: reason.to_string() }
}

fn there<T>(value: Option<T>, at: usize) -> Result<T> {
    value.ok_or_else(|| unreadable("a row", format!("its column {at} is empty")))
}

fn integer(row: &(impl Cells + ?Sized), at: usize) -> Result<i64> {
    there(row.integer(at)?, at)
}

fn flag(row: &(impl Cells + ?Sized), at: usize) -> Result<bool> {
    Ok(integer(row, at)? != 0)
}

fn text(row: &(impl Cells + ?Sized), at: usize) -> Result<String> {
    there(row.text(at)?, at).map(str::to_owned)
}

fn bytes(row: &(impl Cells + ?Sized), at: usize) -> Result<&[u8]> {
    there(row.bytes(at)?, at)
}

fn count(view: &'static str, row: &(impl Cells + ?Sized), at: usize) -> Result<u64> {
    u64::try_from(integer(row, at)?).map_err(|error| unreadable(view, error))
}

fn count_maybe(view: &'static str, row: &(impl Cells + ?Sized), at: usize) -> Result<Option<u64>> {
    row.integer(at)?.map(|n| u64::try_from(n).map_err(|error| unreadable(view, error))).transpose()
}

fn small(view: &'static str, row: &(impl Cells + ?Sized), at: usize) -> Result<u32> {
    u32::try_from(integer(row, at)?).map_err(|error| unreadable(view, error))
}

fn packed<T: DeserializeOwned>(view: &'static str, row: &(impl Cells + ?Sized), at: usize) -> Result<T> {
    cbor::decode(bytes(row, at)?).map_err(|error| unreadable(view, error))
}

/// What keeps something by itself; mostly nothing.
fn keeping(view: &'static str, row: &(impl Cells + ?Sized), at: usize) -> Result<Keeping> {
    match row.bytes(at)? {
        None => Ok(Keeping::default()),
        Some(bytes) => cbor::decode(bytes).map_err(|error| unreadable(view, error)),
    }
}

pub(super) fn class(row: &(impl Cells + ?Sized)) -> Result<ClassRow> {
    const VIEW: &str = "retention_classes";
    let texts = (text(row, 1)?, text(row, 2)?, text(row, 4)?, text(row, 5)?);
    let (mode, unit, start, then) = (&*texts.0, &*texts.1, &*texts.2, &*texts.3);
    Ok(ClassRow {
        name: ClassName::trusted(text(row, 0)?),
        class: RetentionClass::from_words((mode, start, then), (unit, small(VIEW, row, 3)?))
            .ok_or_else(|| unreadable(VIEW, "a word of it is not known"))?
            .with(text(row, 7)?, flag(row, 6)?),
        sequence: count(VIEW, row, 8)?,
    })
}

pub(super) fn clock_jump(row: &(impl Cells + ?Sized)) -> Result<ClockJump> {
    const VIEW: &str = "clock_jumps";
    Ok(ClockJump {
        sequence: count(VIEW, row, 0)?,
        from: Timestamp(integer(row, 1)?),
        to: Timestamp(integer(row, 2)?),
        settled_sequence: count_maybe(VIEW, row, 3)?,
        genuine: flag(row, 4)?,
    })
}

fn digest<T>(
    view: &'static str,
    row: &(impl Cells + ?Sized),
    at: usize,
    make: impl Fn(&[u8]) -> Option<T>,
) -> Result<T> {
    make(bytes(row, at)?).ok_or_else(|| unreadable(view, "a digest has the wrong length"))
}

pub(super) fn access_key(row: &(impl Cells + ?Sized)) -> Result<AccessKey> {
    const VIEW: &str = "access_keys";
    Ok(AccessKey {
        id: AccessKeyId::trusted(text(row, 0)?),
        tenant: TenantName::trusted(text(row, 1)?),
        grants: packed(VIEW, row, 2)?,
        sealed: bytes(row, 3)?.to_vec(),
        created_at: Timestamp(integer(row, 4)?),
        created_sequence: count(VIEW, row, 5)?,
        changed_sequence: count(VIEW, row, 6)?,
    })
}

pub(super) fn producer(row: &(impl Cells + ?Sized)) -> Result<Producer> {
    const VIEW: &str = "producers";
    Ok(Producer {
        name: ProducerName::trusted(text(row, 0)?),
        tenant: TenantName::trusted(text(row, 1)?),
        settings: packed(VIEW, row, 2)?,
        created_at: Timestamp(integer(row, 3)?),
        created_sequence: count(VIEW, row, 4)?,
        file_count: count(VIEW, row, 5)?,
        size_bytes: count(VIEW, row, 6)?,
        upload_count: count(VIEW, row, 7)?,
        package_count: count(VIEW, row, 8)?,
        finalized_count: count(VIEW, row, 9)?,
        versioning: Versioning::parse(&text(row, 10)?)
            .ok_or_else(|| unreadable(VIEW, "its versioning is not known"))?,
        history_count: count(VIEW, row, 11)?,
        object_lock: flag(row, 12)?,
        keeping: keeping(VIEW, row, 13)?,
    })
}

pub(super) fn package(row: &(impl Cells + ?Sized)) -> Result<Package> {
    const VIEW: &str = "packages";
    let seal = match row.integer(10)? {
        None => None,
        Some(finalized_at) => Some(Seal {
            finalized_at: Timestamp(finalized_at),
            sequence: count(VIEW, row, 11)?,
            manifest_digest: digest(VIEW, row, 12, ContentAddress::from_slice)?,
            manifest_size_bytes: count(VIEW, row, 13)?,
        }),
    };
    Ok(Package {
        id: PackageId::trusted(text(row, 0)?),
        producer: ProducerName::trusted(text(row, 1)?),
        name: PackageName::trusted(text(row, 2)?),
        revision: small(VIEW, row, 3)?,
        opened_at: Timestamp(integer(row, 4)?),
        opened_sequence: count(VIEW, row, 5)?,
        changed_at: Timestamp(integer(row, 6)?),
        last_sequence: count(VIEW, row, 7)?,
        file_count: count(VIEW, row, 8)?,
        size_bytes: count(VIEW, row, 9)?,
        seal,
        keeping: keeping(VIEW, row, 14)?,
        released_sequence: count_maybe(VIEW, row, 15)?,
    })
}

fn file_name(row: &(impl Cells + ?Sized), at: usize) -> Result<FileName> {
    Ok(FileName { producer: ProducerName::trusted(text(row, at)?), key: Key::trusted(text(row, at + 1)?) })
}

pub(super) fn name(row: &(impl Cells + ?Sized)) -> Result<NameRow> {
    Ok(NameRow {
        name: file_name(row, 0)?,
        package: PackageName::trusted(text(row, 2)?),
        sequence: count("names", row, 3)?,
    })
}

pub(super) fn file(row: &(impl Cells + ?Sized)) -> Result<File> {
    const VIEW: &str = "files";
    Ok(File {
        sequence: count(VIEW, row, 0)?,
        name: file_name(row, 1)?,
        package_id: PackageId::trusted(text(row, 3)?),
        package: PackageName::trusted(text(row, 4)?),
        relative_path: text(row, 5)?,
        size_bytes: count(VIEW, row, 6)?,
        content_address: digest(VIEW, row, 7, ContentAddress::from_slice)?,
        sha256: digest(VIEW, row, 8, Sha256Digest::from_slice)?,
        etag: text(row, 9)?,
        attributes: packed(VIEW, row, 10)?,
        ingested_at: Timestamp(integer(row, 11)?),
        client: row.text(12)?.map(str::to_owned),
        ended_sequence: count_maybe(VIEW, row, 13)?,
        versioned: flag(row, 14)?,
        deleted_sequence: count_maybe(VIEW, row, 15)?,
        keeping: keeping(VIEW, row, 16)?,
        released_sequence: count_maybe(VIEW, row, 17)?,
    })
}

pub(super) fn history(row: &(impl Cells + ?Sized)) -> Result<HistoryRow> {
    Ok(HistoryRow {
        name: file_name(row, 0)?,
        sequence: count("history", row, 2)?,
        marker: flag(row, 3)?,
        versioned: flag(row, 4)?,
        occurred_at: Timestamp(integer(row, 5)?),
    })
}

pub(super) fn subresource(row: &(impl Cells + ?Sized)) -> Result<SubresourceRow> {
    const VIEW: &str = "subresources";
    Ok(SubresourceRow {
        producer: ProducerName::trusted(text(row, 0)?),
        name: Subresource::parse(&text(row, 1)?).ok_or_else(|| unreadable(VIEW, "its name is not known"))?,
        document: text(row, 2)?,
        sequence: count(VIEW, row, 3)?,
    })
}

/// Of a version, what a listing of versions tells; a marker has no file.
pub(super) const LISTED_VERSION: &str = "v.key, v.sequence, v.marker, coalesce(f.versioned, v.versioned), \
     coalesce(f.ingested_at, v.occurred_at), f.size_bytes, f.etag, f.attributes";

pub(super) fn listed_version(row: &dyn Cells, carried: &mut Carried) -> Result<ListedVersion> {
    const VIEW: &str = "history";
    let marker = flag(row, 2)?;
    Ok(ListedVersion {
        sequence: count(VIEW, row, 1)?,
        marker,
        versioned: flag(row, 3)?,
        listed: Listed {
            key: Key::trusted(text(row, 0)?),
            size_bytes: count_maybe(VIEW, row, 5)?.unwrap_or(0),
            etag: row.text(6)?.unwrap_or_default().to_owned(),
            attributes: if marker { Attributes::default() } else { carried.attributes(VIEW, row, 7)? },
            ingested_at: Timestamp(integer(row, 4)?),
        },
    })
}

pub(super) fn listed(row: &dyn Cells, carried: &mut Carried) -> Result<Listed> {
    const VIEW: &str = "files";
    Ok(Listed {
        key: Key::trusted(text(row, 0)?),
        size_bytes: count(VIEW, row, 1)?,
        etag: text(row, 2)?,
        attributes: carried.attributes(VIEW, row, 3)?,
        ingested_at: Timestamp(integer(row, 4)?),
    })
}

/// What the last file of a page carried. Files that were uploaded alike carry the same, which is then decoded once.
#[derive(Debug, Default)]
pub(super) struct Carried {
    last: Option<(Vec<u8>, Attributes)>,
}

impl Carried {
    fn attributes(&mut self, view: &'static str, row: &dyn Cells, at: usize) -> Result<Attributes> {
        let carried = bytes(row, at)?;
        if let Some((last, attributes)) = &self.last
            && last == carried
        {
            return Ok(attributes.clone());
        }
        let attributes: Attributes = packed(view, row, at)?;
        self.last = Some((carried.to_vec(), attributes.clone()));
        Ok(attributes)
    }
}

pub(super) fn blob(row: &(impl Cells + ?Sized)) -> Result<Blob> {
    const VIEW: &str = "blobs";
    Ok(Blob {
        content_address: digest(VIEW, row, 0, ContentAddress::from_slice)?,
        sha256: digest(VIEW, row, 1, Sha256Digest::from_slice)?,
        size_bytes: count(VIEW, row, 2)?,
        recipe: packed(VIEW, row, 3)?,
        sequence: count(VIEW, row, 4)?,
        reference_count: count(VIEW, row, 5)?,
        released_sequence: count_maybe(VIEW, row, 6)?,
        condemned: condemned(VIEW, row, 7)?,
    })
}

pub(super) fn chunk(row: &(impl Cells + ?Sized)) -> Result<ChunkPlace> {
    const VIEW: &str = "chunks";
    let codec = match text(row, 6)?.as_str() {
        "none" => Codec::None,
        other => return Err(unreadable(VIEW, format!("the codec {other:?} is not known"))),
    };
    let tier = match text(row, 7)?.as_str() {
        "online" => RetrievalTier::Online,
        other => return Err(unreadable(VIEW, format!("the tier {other:?} is not known"))),
    };
    Ok(ChunkPlace {
        chunk: Chunk { address: digest(VIEW, row, 0, ContentAddress::from_slice)?, size_bytes: count(VIEW, row, 1)? },
        location: Location {
            backend: text(row, 2)?,
            object: digest(VIEW, row, 3, ObjectKey::from_slice)?,
            offset_bytes: count(VIEW, row, 4)?,
            stored_length_bytes: count(VIEW, row, 5)?,
            codec,
            tier,
        },
        sequence: count(VIEW, row, 8)?,
        condemned: condemned(VIEW, row, 9)?,
        damaged_sequence: count_maybe(VIEW, row, 11)?,
    })
}

/// Since when something is condemned: an event and its time, side by side.
fn condemned(view: &'static str, row: &(impl Cells + ?Sized), at: usize) -> Result<Option<Condemned>> {
    let Some(sequence) = count_maybe(view, row, at)? else { return Ok(None) };
    Ok(Some(Condemned { sequence, at: Timestamp(integer(row, at + 1)?) }))
}

pub(super) fn address(row: &(impl Cells + ?Sized), at: usize) -> Result<ContentAddress> {
    digest("chunks", row, at, ContentAddress::from_slice)
}

pub(super) fn object(row: &(impl Cells + ?Sized), at: usize) -> Result<ObjectKey> {
    digest("swept_objects", row, at, ObjectKey::from_slice)
}

pub(super) fn blob_chunk(row: &(impl Cells + ?Sized)) -> Result<BlobChunk> {
    Ok(BlobChunk { chunk: address(row, 0)?, blob: address(row, 1)? })
}

pub(super) fn part_chunk(row: &(impl Cells + ?Sized)) -> Result<PartChunk> {
    let (upload, number) = (UploadId::trusted(text(row, 0)?), PartNumber::new(integer(row, 1)?)?);
    Ok(PartChunk { upload, number, chunk: address(row, 2)? })
}

pub(super) fn swept(row: &(impl Cells + ?Sized)) -> Result<SweptObject> {
    const VIEW: &str = "swept_objects";
    Ok(SweptObject {
        object: object(row, 0)?,
        backend: text(row, 1)?,
        begun_sequence: count(VIEW, row, 2)?,
        ended_sequence: count_maybe(VIEW, row, 3)?,
    })
}

pub(super) fn orphan(row: &(impl Cells + ?Sized)) -> Result<OrphanObject> {
    const VIEW: &str = "orphan_objects";
    Ok(OrphanObject {
        object: object(row, 0)?,
        backend: text(row, 1)?,
        size_bytes: count(VIEW, row, 2)?,
        sequence: count(VIEW, row, 3)?,
        seen_at: Timestamp(integer(row, 4)?),
    })
}

pub(super) fn scrub_pass(row: &(impl Cells + ?Sized)) -> Result<ScrubPass> {
    const VIEW: &str = "scrub_passes";
    let cursor = match row.bytes(2)? {
        None => None,
        Some(_) => Some(digest(VIEW, row, 2, ObjectKey::from_slice)?),
    };
    Ok(ScrubPass {
        sequence: count(VIEW, row, 0)?,
        begun_at: Timestamp(integer(row, 1)?),
        cursor,
        tally: ScrubTally { objects: count(VIEW, row, 3)?, bytes: count(VIEW, row, 4)?, damaged: count(VIEW, row, 5)? },
        ended_sequence: count_maybe(VIEW, row, 6)?,
        ended_at: row.integer(7)?.map(Timestamp),
    })
}

pub(super) fn damaged(row: &(impl Cells + ?Sized)) -> Result<DamagedObject> {
    const VIEW: &str = "damaged_objects";
    Ok(DamagedObject {
        object: digest(VIEW, row, 0, ObjectKey::from_slice)?,
        backend: text(row, 1)?,
        finding: text(row, 2)?,
        sequence: count(VIEW, row, 3)?,
        seen_at: Timestamp(integer(row, 4)?),
    })
}

pub(super) fn erasure(row: &(impl Cells + ?Sized)) -> Result<Erasure> {
    const VIEW: &str = "erasures";
    Ok(Erasure {
        version: count(VIEW, row, 0)?,
        sequence: count(VIEW, row, 1)?,
        erased_at: Timestamp(integer(row, 2)?),
        content_address: digest(VIEW, row, 3, ContentAddress::from_slice)?,
        actor: text(row, 4)?,
        reason: text(row, 5)?,
    })
}

pub(super) fn upload(row: &(impl Cells + ?Sized)) -> Result<Upload> {
    const VIEW: &str = "uploads";
    Ok(Upload {
        id: UploadId::trusted(text(row, 0)?),
        name: file_name(row, 1)?,
        attributes: packed(VIEW, row, 3)?,
        created_at: Timestamp(integer(row, 4)?),
        sequence: count(VIEW, row, 5)?,
        parts_sequence: count(VIEW, row, 6)?,
        state: count_maybe(VIEW, row, 7)?.map_or(UploadState::Open, UploadState::Completed),
    })
}

pub(super) fn part(row: &(impl Cells + ?Sized)) -> Result<Part> {
    const VIEW: &str = "parts";
    let checksum = match row.bytes(4)? {
        None => None,
        Some(_) => Some(packed(VIEW, row, 4)?),
    };
    Ok(Part {
        upload: UploadId::trusted(text(row, 0)?),
        number: PartNumber::new(integer(row, 1)?)?,
        size_bytes: count(VIEW, row, 2)?,
        md5: digest(VIEW, row, 3, Md5Digest::from_slice)?,
        checksum,
        recipe: packed(VIEW, row, 5)?,
        ingested_at: Timestamp(integer(row, 6)?),
        sequence: count(VIEW, row, 7)?,
    })
}

pub(super) fn storage_move(row: &(impl Cells + ?Sized)) -> Result<StorageMove> {
    const VIEW: &str = "storage_moves";
    Ok(StorageMove {
        sequence: count(VIEW, row, 0)?,
        from: text(row, 1)?,
        to: text(row, 2)?,
        closed_sequence: count_maybe(VIEW, row, 3)?,
        ended_sequence: count_maybe(VIEW, row, 4)?,
    })
}

pub(super) fn record(row: &(impl Cells + ?Sized)) -> Result<Record> {
    Ok(Record {
        sequence: count("events", row, 0)?,
        occurred_at: Timestamp(integer(row, 1)?),
        kind: text(row, 2)?,
        tenant: TenantName::trusted(text(row, 3)?),
        producer: row.text(4)?.map(str::to_owned).map(ProducerName::trusted),
        package: row.text(5)?.map(str::to_owned).map(PackageName::trusted),
        actor: text(row, 6)?,
        request_id: text(row, 7)?,
        payload: bytes(row, 8)?.to_vec(),
        hash: digest("events", row, 9, |bytes| bytes.try_into().ok())?,
    })
}

pub(super) fn token(row: &(impl Cells + ?Sized)) -> Result<u64> {
    count("leases", row, 0)
}

pub(super) fn head(row: &(impl Cells + ?Sized)) -> Result<Head> {
    Ok(Head {
        sequence: count("log_head", row, 0)?,
        occurred_at: Timestamp(integer(row, 1)?),
        hash: digest("log_head", row, 2, |bytes| bytes.try_into().ok())?,
    })
}
