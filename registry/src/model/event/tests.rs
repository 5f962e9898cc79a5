//! Every kind of event decodes to what it was, and the chain covers all of it.

use artifactstore_backends::digest::{ChecksumAlgorithm, ObjectKey};
use artifactstore_backends::recipe::{Chunk, Codec, Location, RetrievalTier};

use super::record::Envelope;
use super::*;
use crate::model::access::Grant;
use crate::model::attributes::{Attributes, ChecksumKind, FileChecksum, FilePart};
use crate::model::name::{AccessKeyId, ClassName, HoldName};
use crate::model::retention::{Afterwards, LockTerms, Mode, Period, Retention, RetentionClass, RetentionRule, Start};
use crate::model::row::{AnonymousRead, OnFinalized};
use crate::model::scrub::SpoiltChunk;

fn producer() -> ProducerName {
    ProducerName::parse("guide-board").unwrap()
}

fn key() -> Key {
    Key::parse("run-42/logs/é.txt").unwrap()
}

fn package() -> PackageName {
    PackageName::parse("run-42").unwrap()
}

fn key_id() -> AccessKeyId {
    AccessKeyId::parse("AKEXAMPLE").unwrap()
}

fn package_id(seed: u8) -> PackageId {
    PackageId::from_random([seed; 16])
}

fn upload() -> UploadId {
    UploadId::fresh(Timestamp(3), [3; 16])
}

fn checksum() -> Checksum {
    Checksum { value: vec![1, 2, 3, 4], algorithm: ChecksumAlgorithm::Crc64Nvme }
}

fn chunk() -> Chunk {
    Chunk { size_bytes: 300, address: ContentAddress([4; 32]) }
}

fn recipe() -> Recipe {
    Recipe { chunks: vec![chunk(), chunk()] }
}

fn written() -> Vec<LocatedChunk> {
    let location = Location {
        tier: RetrievalTier::Online,
        codec: Codec::None,
        object: artifactstore_backends::digest::ObjectKey([5; 32]),
        offset_bytes: 70_000,
        backend: "local".to_owned(),
        stored_length_bytes: 300,
    };
    vec![LocatedChunk { chunk: chunk(), location }]
}

fn attributes() -> Attributes {
    let map = |entries: &[(&str, &str)]| {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Attributes {
        tags: map(&[("team", "evidence"), ("é", "")]),
        parts: vec![
            FilePart { size_bytes: 1, number: 1, checksum: Some(checksum()) },
            FilePart { size_bytes: 2, number: 2, checksum: None },
        ],
        headers: map(&[("expires", "0"), ("cache-control", "no-store")]),
        checksum: Some(FileChecksum { kind: ChecksumKind::Composite, checksum: checksum() }),
        metadata: map(&[("zz", "1"), ("a", "2"), ("mtime", "3")]),
        media_type: "text/plain".to_owned(),
    }
}

fn class_name() -> ClassName {
    ClassName::parse("regulated-record").unwrap()
}

fn terms() -> LockTerms {
    LockTerms { mode: Mode::Compliance, retain_until: Timestamp(9) }
}

fn retention() -> Retention {
    Retention { lock: Some(terms()), classes: vec![class_name()], legal_hold: true }
}

fn kinds_of_retention() -> Vec<Event> {
    let class = |period, description: &str| RetentionClass {
        mode: Mode::Governance,
        then: Afterwards::Keep,
        start: Start::Finalize,
        period,
        description: description.to_owned(),
        may_shorten: true,
    };
    let set =
        |period, reason: &str| ClassSet { name: class_name(), class: class(period, reason), reason: reason.to_owned() };
    let file = Subject::File { key: key(), package: package(), version: 3, producer: producer() };
    let of_package = Subject::Package { package: package(), producer: producer(), package_id: package_id(1) };
    let (name, reason) = (HoldName::legal(), "a case".to_owned());
    let whole = RetentionSet {
        adds: vec![class_name()],
        lock: Some(terms()),
        drops: vec![class_name()],
        reason: reason.clone(),
        subject: file.clone(),
        bypassed: true,
    };
    let bare = RetentionSet {
        adds: Vec::new(),
        lock: None,
        drops: Vec::new(),
        reason: String::new(),
        subject: of_package.clone(),
        bypassed: false,
    };
    vec![
        Event::ClassSet(Box::new(set(Period::Days(3), ""))),
        Event::ClassSet(Box::new(set(Period::Years(3), "for people"))),
        Event::ClassSet(Box::new(set(Period::Forever, "x"))),
        Event::RetentionSet(Box::new(whole)),
        Event::RetentionSet(Box::new(bare)),
        Event::HoldPlaced(Box::new(HoldPlaced { name: name.clone(), reason: reason.clone(), subject: file })),
        Event::HoldReleased(Box::new(HoldReleased {
            name,
            reason: reason.clone(),
            subject: Subject::Producer(producer()),
        })),
        Event::LockEnabled(Box::new(LockEnabled { producer: producer() })),
        Event::PackageReleased(Box::new(PackageReleased {
            reason: reason.clone(),
            package: package(),
            producer: producer(),
            package_id: package_id(1),
        })),
        Event::ClockJumped(Box::new(ClockJumped { to: Timestamp(9), from: Timestamp(1), believed: false })),
        Event::ClockJumped(Box::new(ClockJumped { to: Timestamp(9), from: Timestamp(1), believed: true })),
        Event::ClockSettled(Box::new(ClockSettled { jump: 3, reason, genuine: true })),
        Event::ClockNoted(Box::new(ClockNoted { shown: Timestamp(7), proves: Vec::new(), certain: None })),
        Event::ClockNoted(Box::new(ClockNoted {
            shown: Timestamp(7),
            proves: vec![4, 5],
            certain: Some(Timestamp(6)),
        })),
    ]
}

fn settings() -> ProducerSettings {
    ProducerSettings {
        on_finalized: OnFinalized::NewRevision,
        package_depth: 2,
        anonymous_read: AnonymousRead::List,
        finalize_marker: Some("*.done".to_owned()),
        retention_class: Some(class_name()),
        retention_rules: vec![RetentionRule { class: class_name(), prefix: "run-".to_owned() }],
        finalize_after_idle_seconds: Some(60),
    }
}

fn manifest() -> Manifest {
    crate::model::manifest::tests::sample()
}

fn ingested() -> FileIngested {
    FileIngested {
        key: key(),
        etag: "abc-2".to_owned(),
        size_bytes: u64::MAX,
        chunks: Some(recipe()),
        client: Some("aws-cli/2".to_owned()),
        sha256: Sha256Digest([6; 32]),
        upload: Some(upload()),
        package: package(),
        written: written(),
        producer: producer(),
        retention: retention(),
        attributes: attributes(),
        package_id: package_id(1),
        supersedes: Some(17),
        copied_from: Some(CopySource { key: key(), producer: producer(), sequence: 9 }),
        relative_path: "logs/é.txt".to_owned(),
        content_address: ContentAddress([7; 32]),
    }
}

fn part() -> PartIngested {
    PartIngested {
        md5: Md5Digest([8; 16]),
        size_bytes: 5,
        chunks: recipe(),
        number: PartNumber::new(10_000).unwrap(),
        upload: upload(),
        written: written(),
        checksum: Some(checksum()),
        producer: producer(),
        copied_from: Some(CopySource { key: key(), producer: producer(), sequence: 9 }),
    }
}

fn stored() -> StoredManifest {
    StoredManifest {
        chunks: recipe(),
        sha256: Sha256Digest([6; 32]),
        package: package(),
        written: written(),
        producer: producer(),
        package_id: package_id(1),
        finalized_at: Timestamp(12),
        manifest_size: 1 << 33,
        manifest_address: ContentAddress([9; 32]),
    }
}

/// One of every kind about the store as a whole.
fn kinds_of_storage() -> Vec<Event> {
    vec![
        Event::StorageDirected(Box::new(StorageDirected { to: "s3".to_owned(), from: "local".to_owned() })),
        Event::StorageClosed(Box::new(StorageClosed { from: "local".to_owned(), begun: 7 })),
        Event::StorageMoved(Box::new(StorageMoved { to: "s3".to_owned(), from: "local".to_owned(), begun: 7 })),
    ]
}

/// One of every kind about uploads.
fn uploads() -> Vec<Event> {
    let upload_attributes = UploadAttributes {
        file: attributes(),
        algorithm: Some(ChecksumAlgorithm::Sha256),
        retention: retention(),
        checksum_kind: Some(ChecksumKind::FullObject),
    };
    vec![
        Event::UploadCreated(Box::new(UploadCreated {
            key: key(),
            upload: upload(),
            producer: producer(),
            attributes: upload_attributes,
        })),
        Event::PartIngested(Box::new(PartIngested {
            written: Vec::new(),
            checksum: None,
            copied_from: None,
            ..part()
        })),
        Event::PartIngested(Box::new(part())),
        Event::UploadAborted(Box::new(UploadAborted { upload: upload(), producer: producer() })),
    ]
}

/// One of every kind about access keys.
fn keys() -> Vec<Event> {
    vec![
        Event::KeyCreated(Box::new(KeyCreated {
            id: key_id(),
            grants: vec![Grant::everything()],
            sealed: vec![1; 60],
            tenant: TenantName::parse("default").unwrap(),
        })),
        Event::KeyRotated(Box::new(KeyRotated { id: key_id(), sealed: vec![2; 60] })),
        Event::KeyRevoked(Box::new(KeyRevoked { id: key_id() })),
    ]
}

/// One of every other kind, with every optional field; and those that have any, without.
fn every_other_kind() -> Vec<Event> {
    let opened = PackageOpened {
        package: package(),
        producer: producer(),
        revision: 2,
        package_id: package_id(1),
        previous_id: Some(package_id(2)),
    };
    let created =
        ProducerCreated { tenant: TenantName::parse("default").unwrap(), producer: producer(), settings: settings() };
    let bare = FileIngested {
        chunks: None,
        client: None,
        upload: None,
        written: Vec::new(),
        attributes: Attributes::default(),
        supersedes: None,
        copied_from: None,
        ..ingested()
    };
    vec![
        Event::ProducerCreated(Box::new(ProducerCreated { settings: ProducerSettings::default(), ..created.clone() })),
        Event::ProducerCreated(Box::new(created)),
        Event::ProducerConfigured(Box::new(ProducerConfigured { producer: producer(), settings: settings() })),
        Event::ProducerDeleted(Box::new(ProducerDeleted { producer: producer() })),
        Event::PackageOpened(Box::new(PackageOpened { previous_id: None, ..opened.clone() })),
        Event::PackageOpened(Box::new(opened)),
        Event::PackageFinalized(Box::new(PackageFinalized::Inline(Box::new(manifest())))),
        Event::PackageFinalized(Box::new(PackageFinalized::Stored(stored()))),
        Event::FileIngested(Box::new(ingested())),
        Event::FileIngested(Box::new(bare)),
        Event::FileDescribed(Box::new(FileDescribed {
            key: key(),
            package: package(),
            producer: producer(),
            retention: retention(),
            attributes: attributes(),
            package_id: package_id(1),
            supersedes: 3,
        })),
        Event::FileRemoved(Box::new(FileRemoved {
            key: key(),
            package: package(),
            removes: 3,
            producer: producer(),
            package_id: package_id(1),
        })),
        Event::FileMarked(Box::new(FileMarked {
            key: key(),
            hides: Some(3),
            package: package(),
            producer: producer(),
            package_id: package_id(1),
        })),
        Event::FileTagged(Box::new(FileTagged {
            key: key(),
            tags: attributes().tags,
            package: package(),
            version: 3,
            producer: producer(),
        })),
        Event::VersionRemoved(Box::new(VersionRemoved {
            key: key(),
            package: package(),
            removes: 3,
            reveals: Some(2),
            producer: producer(),
            package_id: package_id(1),
            superseded: true,
        })),
        Event::VersioningSet(Box::new(VersioningSet { producer: producer(), versioning: Versioning::Suspended })),
        Event::SubresourceSet(Box::new(SubresourceSet {
            name: Subresource::PublicAccessBlock,
            document: "<x/>".to_owned(),
            producer: producer(),
        })),
        Event::SubresourceRemoved(Box::new(SubresourceRemoved { name: Subresource::Cors, producer: producer() })),
    ]
}

/// One of every kind about what is kept no longer.
fn kinds_of_sweeps() -> Vec<Event> {
    let object = ObjectAt { size_bytes: 7, object: ObjectKey([4; 32]), backend: "local".to_owned() };
    let blob = SweptBlob {
        size_bytes: 7,
        sha256: Sha256Digest([5; 32]),
        released: Some(8),
        condemned: 9,
        content_address: ContentAddress([6; 32]),
    };
    let condemned = BlobCondemned {
        size_bytes: 7,
        sha256: Sha256Digest([5; 32]),
        released: Some(8),
        content_address: ContentAddress([6; 32]),
    };
    let orphans = SweepBegun { objects: vec![object.clone()], ..SweepBegun::default() };
    vec![
        Event::VersionReleased(Box::new(VersionReleased {
            key: key(),
            ended: 5,
            package: package(),
            version: 3,
            producer: producer(),
            content_address: ContentAddress([6; 32]),
        })),
        Event::BlobCondemned(Box::new(BlobCondemned { released: None, ..condemned.clone() })),
        Event::BlobCondemned(Box::new(condemned)),
        Event::ChunkCondemned(Box::new(ChunkCondemned { chunks: vec![ContentAddress([6; 32])] })),
        Event::SweepBegun(Box::new(SweepBegun {
            blobs: vec![blob],
            chunks: vec![ContentAddress([6; 32])],
            spared: vec![ObjectKey([3; 32])],
            objects: vec![object.clone()],
        })),
        Event::SweepBegun(Box::new(orphans)),
        Event::SweepEnded(Box::new(SweepEnded { objects: vec![object.object] })),
        Event::ObjectOrphaned(Box::new(ObjectOrphaned { objects: vec![object] })),
    ]
}

fn erased(bypassed: bool, requested_by: &str) -> FileErased {
    FileErased {
        key: key(),
        size_bytes: 7,
        reason: "article 17".to_owned(),
        sha256: Sha256Digest([5; 32]),
        package: package(),
        version: 3,
        bypassed,
        producer: producer(),
        requested_by: requested_by.to_owned(),
        content_address: ContentAddress([6; 32]),
    }
}

/// One of every kind about reading everything again, and about erasing.
fn kinds_of_scrubs() -> Vec<Event> {
    let (object, backend) = (ObjectKey([4; 32]), "local".to_owned());
    let chunks = vec![
        SpoiltChunk { found: Some(ContentAddress([5; 32])), address: ContentAddress([6; 32]) },
        SpoiltChunk { found: None, address: ContentAddress([7; 32]) },
    ];
    let recovered = |how, chunks| ObjectRecovered { how, since: 7, chunks, object, backend: backend.clone() };
    vec![
        Event::ScrubBegun(Box::default()),
        Event::ScrubBegun(Box::new(ScrubBegun { previous: Some(3) })),
        Event::ScrubAdvanced(Box::new(ScrubAdvanced { begun: 3, bytes: 9, cursor: object, damaged: 1, objects: 2 })),
        Event::ScrubEnded(Box::new(ScrubEnded { begun: 3, bytes: 9, damaged: 1, objects: 2 })),
        Event::ObjectDamaged(Box::new(ObjectDamaged {
            chunks,
            object,
            backend: backend.clone(),
            finding: "the bytes are others".to_owned(),
        })),
        Event::ObjectRecovered(Box::new(recovered(Recovery::Whole, vec![ContentAddress([6; 32])]))),
        Event::ObjectRecovered(Box::new(recovered(Recovery::Replaced, Vec::new()))),
        Event::ChunkRelocated(Box::new(ChunkRelocated { chunks: written(), reason: RelocationReason::Damaged })),
        Event::FileErased(Box::new(erased(false, ""))),
        Event::FileErased(Box::new(erased(true, "the data subject"))),
    ]
}

fn every_kind() -> Vec<Event> {
    [
        every_other_kind(),
        uploads(),
        keys(),
        kinds_of_storage(),
        kinds_of_retention(),
        kinds_of_sweeps(),
        kinds_of_scrubs(),
    ]
    .concat()
}

fn direct<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn every_kind_decodes_to_what_it_was_and_to_the_same_bytes() {
    let mut kinds = std::collections::BTreeSet::new();
    for event in every_kind() {
        let payload = event.encode();
        cbor::check(&payload).unwrap();
        let decoded = Event::decode(event.kind(), &payload).unwrap().unwrap();
        assert_eq!(decoded, event);
        assert_eq!(decoded.encode(), payload);
        kinds.insert(event.kind());
    }
    assert_eq!(kinds.len(), 45, "a kind that was added belongs in here");
}

#[test]
fn fields_stand_in_canonical_order_so_that_nothing_is_sorted() {
    for event in every_kind() {
        let written = match &event {
            Event::ProducerCreated(fact) => direct(fact),
            Event::ProducerConfigured(fact) => direct(fact),
            Event::ProducerDeleted(fact) => direct(fact),
            Event::PackageOpened(fact) => direct(fact),
            Event::PackageFinalized(fact) => direct(fact),
            Event::FileIngested(fact) => direct(fact),
            Event::FileDescribed(fact) => direct(fact),
            Event::FileRemoved(fact) => direct(fact),
            Event::FileMarked(fact) => direct(fact),
            Event::FileTagged(fact) => direct(fact),
            Event::VersionRemoved(fact) => direct(fact),
            Event::VersioningSet(fact) => direct(fact),
            Event::SubresourceSet(fact) => direct(fact),
            Event::SubresourceRemoved(fact) => direct(fact),
            Event::UploadCreated(fact) => direct(fact),
            Event::PartIngested(fact) => direct(fact),
            Event::UploadAborted(fact) => direct(fact),
            Event::KeyCreated(fact) => direct(fact),
            Event::KeyRotated(fact) => direct(fact),
            Event::KeyRevoked(fact) => direct(fact),
            Event::StorageDirected(fact) => direct(fact),
            Event::StorageClosed(fact) => direct(fact),
            Event::StorageMoved(fact) => direct(fact),
            Event::ClassSet(fact) => direct(fact),
            Event::RetentionSet(fact) => direct(fact),
            Event::HoldPlaced(fact) => direct(fact),
            Event::HoldReleased(fact) => direct(fact),
            Event::LockEnabled(fact) => direct(fact),
            Event::PackageReleased(fact) => direct(fact),
            Event::ClockJumped(fact) => direct(fact),
            Event::ClockSettled(fact) => direct(fact),
            Event::ClockNoted(fact) => direct(fact),
            Event::VersionReleased(fact) => direct(fact),
            Event::BlobCondemned(fact) => direct(fact),
            Event::ChunkCondemned(fact) => direct(fact),
            Event::SweepBegun(fact) => direct(fact),
            Event::SweepEnded(fact) => direct(fact),
            Event::ObjectOrphaned(fact) => direct(fact),
            Event::ScrubBegun(fact) => direct(fact),
            Event::ScrubAdvanced(fact) => direct(fact),
            Event::ScrubEnded(fact) => direct(fact),
            Event::ObjectDamaged(fact) => direct(fact),
            Event::ObjectRecovered(fact) => direct(fact),
            Event::ChunkRelocated(fact) => direct(fact),
            Event::FileErased(fact) => direct(fact),
        };
        assert_eq!(cbor::check(&written), Ok(()), "{}", event.kind());
        assert_eq!(written, event.encode());
    }
    let record = record();
    let envelope = Envelope {
        kind: &record.kind,
        actor: &record.actor,
        tenant: record.tenant.as_str(),
        package: None,
        payload: &record.payload,
        producer: None,
        sequence: record.sequence,
        request_id: &record.request_id,
        occurred_at: record.occurred_at,
    };
    assert_eq!(cbor::check(&direct(&envelope)), Ok(()));
}

#[test]
fn a_payload_with_more_or_less_than_its_kind_has_is_refused() {
    let event = Event::ProducerDeleted(Box::new(ProducerDeleted { producer: producer() }));
    assert_eq!(Event::decode("v2.producer.deleted", &event.encode()), Ok(None), "a kind of a newer version");

    #[derive(Serialize)]
    struct Later {
        producer: ProducerName,
        because: String,
    }
    let later = cbor::encode(&Later { producer: producer(), because: "of it".to_owned() });
    assert!(matches!(Event::decode(event.kind(), &later), Err(CborError::Shape(_))), "it would be lost");
    assert!(Event::decode(event.kind(), &cbor::encode(&settings())).is_err());
    let mut long = event.encode();
    long.push(0);
    assert!(matches!(Event::decode(event.kind(), &long), Err(CborError::NotCanonical { .. })));
}

fn record() -> Record {
    Record {
        sequence: 7,
        occurred_at: Timestamp(8),
        tenant: TenantName::parse("default").unwrap(),
        producer: Some(producer()),
        package: Some(package()),
        actor: "tester".to_owned(),
        request_id: "r-1".to_owned(),
        kind: "v1.producer.deleted".to_owned(),
        payload: vec![0xa0],
        hash: GENESIS_HASH,
    }
}

#[test]
fn the_chain_covers_every_field_and_the_hash_before() {
    let whole = record();
    let hash = whole.chained(&GENESIS_HASH);
    assert_ne!(whole.chained(&[1; 32]), hash);
    let changes: [fn(&mut Record); 9] = [
        |record| record.sequence += 1,
        |record| record.occurred_at.0 += 1,
        |record| record.tenant = TenantName::parse("other").unwrap(),
        |record| record.producer = None,
        |record| record.package = Some(PackageName::root()),
        |record| record.actor.push('x'),
        |record| record.request_id.push('x'),
        |record| record.kind.push('x'),
        |record| record.payload.push(0),
    ];
    for change in changes {
        let mut record = whole.clone();
        change(&mut record);
        assert_ne!(record.chained(&GENESIS_HASH), hash, "{record:?}");
    }
    assert_eq!(Record { hash: [9; 32], ..whole }.chained(&GENESIS_HASH), hash, "the hash does not cover itself");
}
