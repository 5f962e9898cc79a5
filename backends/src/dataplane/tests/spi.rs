//! Every request and answer of the seam survives CBOR.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dataplane::spi::{
    BackendStatus, ByteRange, Damage, Deletion, DeletionResult, IngestFrame, IngestHints, IngestResult, Join,
    LocatedBlob, Orphan, PartOf, Verification, VerifyResult, Whereabouts,
};
use crate::digest::{Checksum, ChecksumAlgorithm, ContentAddress, Md5Digest, ObjectKey, Sha256Digest};
use crate::recipe::{Chunk, Codec, LocatedChunk, Location, Recipe, RetrievalTier};

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let mut encoded = Vec::new();
    ciborium::into_writer(value, &mut encoded).unwrap();
    let decoded: T = ciborium::from_reader(encoded.as_slice()).unwrap();
    assert_eq!(&decoded, value);
}

fn recipe() -> Recipe {
    Recipe { chunks: vec![Chunk { size_bytes: 7, address: ContentAddress([1; 32]) }] }
}

fn located() -> LocatedChunk {
    let location = Location {
        tier: RetrievalTier::Online,
        codec: Codec::None,
        object: ObjectKey([2; 32]),
        offset_bytes: 3,
        backend: "local".to_owned(),
        stored_length_bytes: 7,
    };
    LocatedChunk { chunk: recipe().chunks[0], location }
}

#[test]
fn every_request_survives_cbor() {
    let checksum = Checksum { value: vec![0, 255], algorithm: ChecksumAlgorithm::Crc64Nvme };
    survives(&IngestFrame::Data(Bytes::from_static(b"\x00bytes\xff")));
    survives(&IngestFrame::Trailer(checksum.clone()));
    survives(&IngestHints::default());
    survives(&IngestHints {
        size_bytes: Some(u64::MAX),
        md5: Some(Md5Digest([4; 16])),
        sha256: Some(Sha256Digest([7; 32])),
        checksum: Some(checksum),
        trailer: Some(ChecksumAlgorithm::Sha256),
        compute: ChecksumAlgorithm::ALL.to_vec(),
        part_of: Some(PartOf { upload: "upload".to_owned(), number: 10_000 }),
        join: Some(Join { upload: "upload".to_owned(), parts: vec![(1, recipe()), (3, Recipe::default())] }),
        rewrite: Some(vec![located()]),
    });
    for range in [ByteRange::Full, ByteRange::From(1), ByteRange::Span(1, 2), ByteRange::Last(3)] {
        survives(&range);
    }
    survives(&Deletion::Objects { backend: "local".to_owned(), objects: vec![ObjectKey([5; 32])] });
    survives(&Deletion::Orphans { after: Some(ObjectKey([6; 32])), limit: 9, older_than_seconds: 60 });
    survives(&Deletion::Orphans { after: None, limit: 0, older_than_seconds: 0 });
    survives(&Verification::Blob(ContentAddress([8; 32])));
    let (backend, chunks) = ("local".to_owned(), vec![(recipe().chunks[0], 3)]);
    survives(&Verification::Object { backend, object: ObjectKey([9; 32]), chunks });
}

#[test]
fn every_answer_survives_cbor() {
    survives(&IngestResult {
        content_address: ContentAddress([7; 32]),
        sha256: Some(Sha256Digest([8; 32])),
        md5: None,
        size_bytes: 7,
        checksums: vec![Checksum { value: vec![9; 20], algorithm: ChecksumAlgorithm::Sha1 }],
        recipe: recipe(),
        written: vec![located()],
    });
    survives(&LocatedBlob { size_bytes: 7, chunks: vec![located()] });
    let (chunk, found) = (Some(ContentAddress([1; 32])), Some(ContentAddress([2; 32])));
    let damage = Damage { object: None, chunk, found, finding: "found".to_owned() };
    survives(&VerifyResult {
        content_address: ContentAddress([7; 32]),
        size_bytes: 0,
        sha256: None,
        damages: vec![damage],
    });
    survives(&DeletionResult {
        deleted: vec![ObjectKey([1; 32])],
        orphans: vec![Orphan { object: ObjectKey([2; 32]), backend: "local".to_owned(), size_bytes: 4 }],
        examined: 2,
        next: Some(ObjectKey([3; 32])),
    });
    let located = located().location;
    let damaged = Whereabouts::Damaged(located.clone(), 7);
    survives(&[Whereabouts::At(located), damaged, Whereabouts::Nowhere, Whereabouts::Swept]);
    survives(&BackendStatus {
        backend: "local".to_owned(),
        ready: false,
        latency_micros: 12,
        free_bytes: Some(1),
        problem: Some("down".to_owned()),
    });
}
