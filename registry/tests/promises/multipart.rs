//! Multipart uploads: parts in any order, of any size, joined without copying a byte.

use artifactstore_registry::actions::request::{CompletedPart, FileReceipt, UploadCompletion};
use artifactstore_registry::backends::dataplane::spi::IngestHints;
use artifactstore_registry::backends::digest::ContentAddress;
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::name::{PartNumber, UploadId};
use artifactstore_registry::model::row::Part;
use artifactstore_registry::{Error, Refusal, Result};

use crate::harness::{Harness, body, name, producer};

const PATH: &str = "board/run/large.bin";
/// The least size of every part but the last.
const MINIMUM: usize = 5 << 20;

fn bytes(seed: u8, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

async fn begin(harness: &Harness) -> UploadId {
    let attributes = UploadAttributes::default();
    harness.registry.upload_create(&harness.actor, &name(PATH), attributes).await.unwrap().id
}

async fn part(harness: &Harness, upload: &UploadId, number: i64, bytes: &[u8]) -> Result<Part> {
    let (number, hints) = (PartNumber::new(number).unwrap(), IngestHints::default());
    harness.registry.part_ingest(&harness.actor, &name(PATH), upload, number, body(bytes.to_vec()), hints).await
}

fn completion(upload: &UploadId, parts: &[&Part]) -> UploadCompletion {
    UploadCompletion {
        name: name(PATH),
        upload: upload.clone(),
        parts: parts
            .iter()
            .map(|part| CompletedPart { number: part.number, etag: part.md5.to_hex(), checksum: None })
            .collect(),
        condition: WriteCondition::default(),
        checksum: None,
        checksum_kind: None,
        size_bytes: None,
    }
}

async fn complete(harness: &Harness, upload: &UploadId, parts: &[&Part]) -> Result<FileReceipt> {
    harness.registry.upload_complete(&harness.actor, completion(upload, parts)).await
}

#[tokio::test]
async fn parts_of_any_size_in_any_order_make_the_file_they_spell() {
    let harness = Harness::start().await;
    let upload = begin(&harness).await;
    let (one, two, three) = (bytes(1, MINIMUM + 3), bytes(2, MINIMUM + 1_000_001), bytes(3, 17));
    let last = part(&harness, &upload, 30, &three).await.unwrap();
    part(&harness, &upload, 4, b"to be replaced").await.unwrap();
    let middle = part(&harness, &upload, 4, &two).await.unwrap();
    let first = part(&harness, &upload, 2, &one).await.unwrap();
    part(&harness, &upload, 40, b"named by nobody at completion").await.unwrap();
    let listed = harness.registry.part_list(&harness.actor, &name(PATH), &upload, 2, 2).await.unwrap();
    assert_eq!(listed.parts, [middle.clone(), last.clone()]);
    assert!(listed.more);

    let receipt = complete(&harness, &upload, &[&first, &middle, &last]).await.unwrap();
    let whole = [one, two, three].concat();
    assert_eq!(receipt.file.content_address, ContentAddress::of(&whole));
    assert_eq!(receipt.file.size_bytes, whole.len() as u64);
    assert!(receipt.file.etag.ends_with("-3"));
    assert_eq!(receipt.file.attributes.parts.len(), 3);
    assert!(harness.read(PATH).await.unwrap() == whole);
    // The same bytes in one piece have the same name and digests.
    let single = harness.put("board/run/single.bin", whole).await.unwrap();
    assert!(single.deduplicated);
    assert_eq!(single.file.sha256, receipt.file.sha256);

    let events = harness.events().await.len();
    assert_eq!(complete(&harness, &upload, &[&first, &middle, &last]).await.unwrap().file, receipt.file);
    assert_eq!(harness.events().await.len(), events, "completing again records nothing");
    let late = part(&harness, &upload, 5, b"late").await;
    assert!(matches!(late, Err(Error::Refused(Refusal::UploadMissing(_)))));
    assert!(harness.store.parts(&upload, 0, 10).await.unwrap().is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn a_completion_that_names_parts_wrongly_is_refused_and_the_upload_stays_open() {
    let harness = Harness::start().await;
    let upload = begin(&harness).await;
    let small = part(&harness, &upload, 1, b"small").await.unwrap();
    let large = part(&harness, &upload, 2, &bytes(2, MINIMUM)).await.unwrap();
    let refused = |outcome: Result<FileReceipt>| match outcome {
        Err(Error::Refused(refusal)) => refusal,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(refused(complete(&harness, &upload, &[]).await), Refusal::PartsMissing);
    assert_eq!(refused(complete(&harness, &upload, &[&large, &small]).await), Refusal::PartOrderInvalid);
    let tiny = refused(complete(&harness, &upload, &[&small, &large]).await);
    assert!(matches!(tiny, Refusal::PartTooSmall { number: 1, .. }), "{tiny:?}");
    let absent = Part { number: PartNumber::new(3).unwrap(), ..small.clone() };
    assert_eq!(refused(complete(&harness, &upload, &[&large, &absent]).await), Refusal::PartInvalid(3));
    let other = Part { md5: large.md5, ..small.clone() };
    assert_eq!(refused(complete(&harness, &upload, &[&other]).await), Refusal::PartInvalid(1));
    let mut wrong = completion(&upload, &[&large]);
    wrong.size_bytes = Some(4);
    let wrong = harness.registry.upload_complete(&harness.actor, wrong).await;
    assert!(matches!(refused(wrong), Refusal::SizeMismatch { declared: 4, .. }));
    assert!(matches!(harness.stat(PATH).await, Err(Error::Refused(Refusal::FileMissing))));
    complete(&harness, &upload, &[&large]).await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn an_aborted_upload_leaves_no_part_and_no_name() {
    let harness = Harness::start().await;
    let upload = begin(&harness).await;
    let one = part(&harness, &upload, 1, b"one").await.unwrap();
    let refused = harness.registry.producer_delete(&harness.actor, &producer("board")).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::ProducerNotEmpty(_)))), "an open upload counts");
    harness.registry.upload_abort(&harness.actor, &name(PATH), &upload).await.unwrap();
    let again = harness.registry.upload_abort(&harness.actor, &name(PATH), &upload).await;
    assert!(matches!(again, Err(Error::Refused(Refusal::UploadMissing(_)))));
    let late = complete(&harness, &upload, &[&one]).await;
    assert!(matches!(late, Err(Error::Refused(Refusal::UploadMissing(_)))));
    assert!(harness.store.parts(&upload, 0, 10).await.unwrap().is_empty());
    assert_eq!(harness.registry.producer_stat(&harness.actor, &producer("board")).await.unwrap().upload_count, 0);
    harness.finish().await;
}

#[tokio::test]
async fn of_two_completions_at_once_both_answer_the_one_file() {
    let harness = Harness::start().await;
    let upload = begin(&harness).await;
    let one = part(&harness, &upload, 1, b"one").await.unwrap();
    let parts = [&one];
    let (left, right) = futures::join!(complete(&harness, &upload, &parts), complete(&harness, &upload, &parts));
    assert_eq!(left.unwrap().file, right.unwrap().file);
    assert_eq!(harness.kinds().await.iter().filter(|kind| *kind == "v1.file.ingested").count(), 1);
    harness.finish().await;
}

#[tokio::test]
async fn parts_that_arrive_at_once_are_all_recorded() {
    let harness = Harness::start().await;
    let upload = begin(&harness).await;
    let bodies: Vec<Vec<u8>> = (0..6).map(|n| bytes(n, MINIMUM)).collect();
    let sent =
        bodies.iter().zip([1, 2, 3, 4, 5, 6]).rev().map(|(bytes, number)| part(&harness, &upload, number, bytes));
    let mut parts: Vec<Part> = futures::future::try_join_all(sent).await.unwrap();
    parts.sort_by_key(|part| part.number);
    let receipt = complete(&harness, &upload, &parts.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(receipt.file.content_address, ContentAddress::of(&bodies.concat()));
    harness.finish().await;
}
