//! Rows to write and to compare with: one maker for each view.

use artifactstore_backends::digest::{ContentAddress, Md5Digest, ObjectKey, Sha256Digest};
use artifactstore_backends::recipe::{Chunk, Codec, Location, Recipe, RetrievalTier};

use crate::clock::Timestamp;
use crate::model::access::{AccessKey, Grant};
use crate::model::attributes::{Attributes, UploadAttributes};
use crate::model::erasure::Erasure;
use crate::model::event::{Head, Record};
use crate::model::name::{
    AccessKeyId, ClassName, FileName, HoldName, Key, PackageId, PackageName, PartNumber, ProducerName, TenantName,
    UploadId,
};
use crate::model::retention::{
    Afterwards, Chosen, ClassRow, ClockJump, Hold, Keeping, Lock, LockTerms, Mode, Period, RetentionClass, Start,
};
use crate::model::row::{
    Blob, ChunkPlace, Condemned, File, HistoryRow, Package, Part, Producer, ProducerSettings, Seal, Sequence,
    Subresource, SubresourceRow, Upload, UploadState, Versioning,
};
use crate::model::scrub::{DamagedObject, ScrubPass, ScrubTally};
use crate::model::state::{NameRow, State};
use crate::model::storage::StorageMove;
use crate::model::sweep::{BlobChunk, OrphanObject, PartChunk, SweptObject};

pub(super) fn keeping(sequence: Sequence) -> Keeping {
    let terms = LockTerms { mode: Mode::Governance, retain_until: Timestamp(77) };
    Keeping {
        lock: Some(Lock { terms, sequence }),
        holds: vec![Hold {
            name: HoldName::legal(),
            actor: "tester".to_owned(),
            reason: "a reason".to_owned(),
            sequence,
            placed_at: Timestamp(6),
        }],
        classes: vec![Chosen { name: ClassName::trusted("permanent"), sequence }],
    }
}

pub(super) fn class(name: &str, period: Period) -> ClassRow {
    ClassRow {
        name: ClassName::trusted(name),
        class: RetentionClass {
            mode: Mode::Compliance,
            then: Afterwards::Delete,
            start: Start::Finalize,
            period,
            description: "for people".to_owned(),
            may_shorten: true,
        },
        sequence: 5,
    }
}

pub(super) fn clock_jump(sequence: Sequence) -> ClockJump {
    ClockJump { sequence, from: Timestamp(1), to: Timestamp(2), settled_sequence: Some(3), genuine: true }
}

pub(super) fn producer(name: &str) -> Producer {
    Producer {
        name: ProducerName::trusted(name),
        tenant: TenantName::trusted("default"),
        settings: ProducerSettings { finalize_marker: Some("*.done".to_owned()), ..ProducerSettings::default() },
        created_at: Timestamp(5),
        created_sequence: 1,
        file_count: 2,
        size_bytes: 3,
        upload_count: 4,
        package_count: 5,
        finalized_count: 6,
        versioning: Versioning::Suspended,
        history_count: 7,
        object_lock: true,
        keeping: keeping(8),
    }
}

pub(super) fn package(name: &str, revision: u32, sealed: bool) -> Package {
    Package {
        id: PackageId::trusted(format!("{name}-{revision}")),
        producer: ProducerName::trusted("board"),
        name: PackageName::trusted(name),
        revision,
        opened_at: Timestamp(1),
        opened_sequence: 2,
        changed_at: Timestamp(i64::from(revision)),
        last_sequence: 3,
        file_count: 4,
        size_bytes: 5,
        seal: sealed.then(|| Seal {
            finalized_at: Timestamp(9),
            sequence: 7,
            manifest_digest: ContentAddress::of(name.as_bytes()),
            manifest_size_bytes: 8,
        }),
        keeping: if sealed { keeping(9) } else { Keeping::default() },
        released_sequence: sealed.then_some(12),
    }
}

pub(super) fn name(key: &str) -> FileName {
    FileName { producer: ProducerName::trusted("board"), key: Key::trusted(key) }
}

pub(super) fn file(key: &str, package: &str, sequence: Sequence) -> File {
    File {
        sequence,
        name: name(key),
        package_id: PackageId::trusted("id"),
        package: PackageName::trusted(package),
        relative_path: key.to_owned(),
        size_bytes: 1,
        content_address: ContentAddress::of(b"x"),
        sha256: Sha256Digest([7; 32]),
        etag: "etag".to_owned(),
        attributes: Attributes::default(),
        ingested_at: Timestamp(4),
        client: Some("client".to_owned()),
        ended_sequence: None,
        versioned: true,
        deleted_sequence: Some(11),
        keeping: if sequence == 3 { keeping(3) } else { Keeping::default() },
        released_sequence: Some(12),
    }
}

/// An older version of a key, or a delete marker: the even ones.
pub(super) fn history(key: &str, sequence: Sequence) -> HistoryRow {
    let marker = sequence.is_multiple_of(2);
    HistoryRow { name: name(key), sequence, marker, versioned: marker, occurred_at: Timestamp(6) }
}

pub(super) fn subresource(document: &str) -> SubresourceRow {
    let (producer, name) = (ProducerName::trusted("board"), Subresource::Cors);
    SubresourceRow { producer, name, document: document.to_owned(), sequence: 5 }
}

pub(super) fn blob(text: &str, sequence: Sequence) -> Blob {
    let address = ContentAddress::of(text.as_bytes());
    let size_bytes = text.len() as u64;
    Blob {
        content_address: address,
        sha256: Sha256Digest([1; 32]),
        size_bytes,
        recipe: Recipe { chunks: vec![Chunk { size_bytes, address }] },
        sequence,
        reference_count: 2,
        released_sequence: Some(13),
        condemned: Some(Condemned { sequence: 14, at: Timestamp(15) }),
    }
}

pub(super) fn place(text: &str, object: ObjectKey) -> ChunkPlace {
    ChunkPlace {
        chunk: Chunk { size_bytes: text.len() as u64, address: ContentAddress::of(text.as_bytes()) },
        location: Location {
            tier: RetrievalTier::Online,
            codec: Codec::None,
            object,
            offset_bytes: 3,
            backend: "memory".to_owned(),
            stored_length_bytes: text.len() as u64,
        },
        sequence: 4,
        condemned: Some(Condemned { sequence: 16, at: Timestamp(17) }),
        damaged_sequence: Some(18),
    }
}

/// A pass that ended, or one that is under way.
pub(super) fn scrub_pass(sequence: Sequence, ended_sequence: Option<Sequence>) -> ScrubPass {
    ScrubPass {
        sequence,
        begun_at: Timestamp(8),
        cursor: ended_sequence.map(|_| ObjectKey([3; 32])),
        tally: ScrubTally { objects: 1, bytes: 2, damaged: 3 },
        ended_sequence,
        ended_at: ended_sequence.map(|_| Timestamp(9)),
    }
}

pub(super) fn erasure(version: Sequence, content: &str) -> Erasure {
    Erasure {
        version,
        sequence: version + 100,
        erased_at: Timestamp(7),
        content_address: ContentAddress::of(content.as_bytes()),
        actor: "tester".to_owned(),
        reason: "article 17".to_owned(),
    }
}

pub(super) fn damaged(object: u8) -> DamagedObject {
    DamagedObject {
        object: ObjectKey([object; 32]),
        backend: "memory".to_owned(),
        finding: "the bytes are others".to_owned(),
        sequence: 6,
        seen_at: Timestamp(7),
    }
}

pub(super) fn upload(id: &str, key: &str, state: UploadState) -> Upload {
    Upload {
        id: UploadId::trusted(id),
        name: name(key),
        attributes: UploadAttributes::default(),
        created_at: Timestamp(6),
        sequence: 5,
        state,
        parts_sequence: 5,
    }
}

pub(super) fn access_key(id: &str) -> AccessKey {
    AccessKey {
        id: AccessKeyId::trusted(id),
        tenant: TenantName::trusted("default"),
        grants: vec![Grant::everything()],
        sealed: vec![0, 255, 1],
        created_at: Timestamp(3),
        created_sequence: 6,
        changed_sequence: 7,
    }
}

pub(super) fn part(upload: &str, number: i64) -> Part {
    Part {
        upload: UploadId::trusted(upload),
        number: PartNumber::new(number).unwrap(),
        size_bytes: 7,
        md5: Md5Digest([2; 16]),
        checksum: None,
        recipe: Recipe::default(),
        ingested_at: Timestamp(8),
        sequence: 9,
    }
}

pub(super) fn record(sequence: Sequence) -> Record {
    Record {
        sequence,
        occurred_at: Timestamp(10),
        tenant: TenantName::trusted("default"),
        producer: sequence.is_multiple_of(2).then(|| ProducerName::trusted("board")),
        package: sequence.is_multiple_of(2).then(PackageName::root),
        actor: "tester".to_owned(),
        request_id: "r".to_owned(),
        kind: "v1.test".to_owned(),
        payload: vec![0xa0],
        hash: [u8::try_from(sequence % 251).unwrap(); 32],
    }
}

pub(super) fn head_at(sequence: Sequence) -> Head {
    Head { sequence, occurred_at: Timestamp(10), hash: [u8::try_from(sequence % 251).unwrap(); 32] }
}

pub(super) fn put_file(state: &mut State, file: File) {
    let row = NameRow { name: file.name.clone(), package: file.package.clone(), sequence: file.sequence };
    state.names.put(file.name.clone(), row);
    state.files.put(file.sequence, file);
}

/// One of everything.
pub(super) fn one_of_everything() -> State {
    let mut state = State::default();
    state.producers.put(ProducerName::trusted("board"), producer("board"));
    for row in [package("run", 1, true), package("run", 2, false)] {
        state.packages.put(row.id.clone(), row);
    }
    put_file(&mut state, file("run/x", "run", 3));
    put_file(&mut state, file("alone", "", 4));
    state.files.put(1, file("run/x", "run", 1));
    for row in [history("run/x", 1), history("run/x", 2)] {
        state.history.put((row.name.clone(), row.sequence), row);
    }
    let row = subresource("<cors/>");
    state.subresources.put((row.producer.clone(), row.name), row);
    let blob = blob("x", 3);
    state.blobs.put(blob.content_address, blob);
    for row in [place("x", ObjectKey(ContentAddress::of(b"x").0)), place("packed", ObjectKey([9; 32]))] {
        state.chunks.put(row.chunk.address, row);
    }
    let row = upload("up", "run/u", UploadState::Open);
    state.uploads.put(row.id.clone(), row);
    let row = part("up", 1);
    state.parts.put((row.upload.clone(), row.number), row);
    state.access_keys.put(AccessKeyId::trusted("AKA"), access_key("AKA"));
    for row in [storage_move(5), storage_move(9)] {
        state.moves.put(row.sequence, row);
    }
    for row in [class("exam", Period::Days(3)), class("exam-results", Period::Years(2)), class("all", Period::Forever)]
    {
        state.classes.put(row.name.clone(), row);
    }
    state.jumps.put(13, clock_jump(13));
    for row in [blob_chunk("x", "large"), blob_chunk("x", "larger")] {
        state.blob_chunks.put(row, row);
    }
    for row in [part_chunk("up", 1, "x"), part_chunk("up", 1, "packed")] {
        state.part_chunks.put(row.clone(), row);
    }
    for row in [swept(7, Some(9)), swept(8, None)] {
        state.swept.put(row.object, row);
    }
    let row = orphan(6);
    state.orphans.put(row.object, row);
    for row in [scrub_pass(5, Some(9)), scrub_pass(12, None)] {
        state.scrubs.put(row.sequence, row);
    }
    for row in [erasure(1, "x"), erasure(30, "y")] {
        state.erasures.put(row.version, row);
    }
    for row in [damaged(9), damaged(4)] {
        state.damaged.put(row.object, row);
    }
    state
}

pub(super) fn blob_chunk(chunk: &str, blob: &str) -> BlobChunk {
    BlobChunk { chunk: ContentAddress::of(chunk.as_bytes()), blob: ContentAddress::of(blob.as_bytes()) }
}

pub(super) fn part_chunk(upload: &str, number: i64, chunk: &str) -> PartChunk {
    let (upload, number) = (UploadId::trusted(upload), PartNumber::new(number).unwrap());
    PartChunk { upload, number, chunk: ContentAddress::of(chunk.as_bytes()) }
}

pub(super) fn swept(object: u8, ended_sequence: Option<Sequence>) -> SweptObject {
    SweptObject { object: ObjectKey([object; 32]), backend: "memory".to_owned(), begun_sequence: 3, ended_sequence }
}

pub(super) fn orphan(object: u8) -> OrphanObject {
    OrphanObject {
        object: ObjectKey([object; 32]),
        backend: "memory".to_owned(),
        size_bytes: 5,
        sequence: 6,
        seen_at: Timestamp(7),
    }
}

/// A move that has ended, or one that has only begun.
pub(super) fn storage_move(sequence: Sequence) -> StorageMove {
    let ended = (sequence < 9).then_some(sequence + 2);
    StorageMove {
        sequence,
        from: "local".to_owned(),
        to: "s3".to_owned(),
        closed_sequence: ended.map(|ended| ended - 1),
        ended_sequence: ended,
    }
}
