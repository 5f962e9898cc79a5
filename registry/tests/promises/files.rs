//! One file at a time: ingest, read, supersede, remove, copy, conditions.

use artifactstore_registry::actions::request::FileUpload;
use artifactstore_registry::backends::dataplane::spi::{ByteRange, IngestHints};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::row::{ProducerSettings, VersionChoice};
use artifactstore_registry::{Error, Refusal};
use futures::TryStreamExt;
use futures::future::join_all;

use crate::harness::{CHUNK_SIZE_BYTES, Harness, actor, name, producer, upload};

#[tokio::test]
async fn what_was_ingested_reads_back_with_its_digests_and_attributes() {
    let harness = Harness::start().await;
    for size in [0, 1, CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES * 2 + 7] {
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let attributes = Attributes {
            media_type: "text/x-test".to_owned(),
            metadata: [("colour".to_owned(), "grün".to_owned())].into_iter().collect(),
            ..Attributes::default()
        };
        let path = format!("board/run-1/size-{size}");
        let sent = FileUpload { attributes: attributes.clone(), ..upload(&path, bytes.clone()) };
        let receipt = harness.registry.file_ingest(&harness.actor, sent).await.unwrap();
        let found = harness.stat(&path).await.unwrap();
        assert_eq!(found.file, receipt.file);
        assert_eq!(found.file.attributes, attributes);
        assert_eq!(found.file.size_bytes, size as u64);
        assert_eq!(found.file.content_address.0, *blake3::hash(&bytes).as_bytes());
        assert_eq!(found.file.package.as_str(), "run-1");
        assert_eq!(found.file.relative_path, format!("size-{size}"));
        assert!(harness.read_found(&found).await.unwrap() == bytes);
        if size > 1 {
            let range = ByteRange::Span(1, size as u64 - 1);
            let pieces: Vec<_> = harness.registry.file_read(&found, range).await.unwrap().try_collect().await.unwrap();
            assert!(pieces.concat() == bytes[1..size - 1]);
        }
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_superseded_version_stays_readable_by_its_number_and_a_removed_name_is_gone() {
    let harness = Harness::start().await;
    let first = harness.put("board/a/x", "one").await.unwrap().file;
    let second = harness.put("board/a/x", "two!").await.unwrap().file;
    assert_eq!(harness.read("board/a/x").await.unwrap(), b"two!");
    let old = harness
        .registry
        .file_stat(&harness.actor, &name("board/a/x"), Some(VersionChoice::Numbered(first.sequence)))
        .await
        .unwrap();
    assert_eq!(harness.read_found(&old).await.unwrap(), b"one");
    assert_eq!(old.file.ended_sequence, Some(second.sequence));
    let stat = harness.registry.producer_stat(&harness.actor, &producer("board")).await.unwrap();
    assert_eq!((stat.file_count, stat.size_bytes), (1, 4));

    assert!(harness.remove("board/a/x").await.unwrap().is_some());
    let before = harness.events().await.len();
    assert_eq!(harness.remove("board/a/x").await.unwrap(), None, "removing nothing succeeds");
    assert_eq!(harness.events().await.len(), before, "and records nothing");
    assert!(matches!(harness.read("board/a/x").await, Err(Error::Refused(Refusal::FileMissing))));
    let other = harness
        .registry
        .file_stat(&harness.actor, &name("board/a/y"), Some(VersionChoice::Numbered(first.sequence)))
        .await;
    assert!(matches!(other, Err(Error::Refused(Refusal::VersionMissing))), "a version is a version of its own key");
    let stat = harness.registry.producer_stat(&harness.actor, &producer("board")).await.unwrap();
    assert_eq!((stat.file_count, stat.size_bytes), (0, 0));
    harness.finish().await;
}

#[tokio::test]
async fn the_same_content_is_stored_once_and_said_to_be_so() {
    let harness = Harness::start().await;
    assert!(!harness.put("board/a/x", "same").await.unwrap().deduplicated);
    assert!(harness.put("board/b/y", "same").await.unwrap().deduplicated);
    assert_eq!(harness.store.blobs_total().await.unwrap(), (1, 4));
    // All at once: whoever commits first brings the blob.
    let receipts = join_all((0..16).map(|n| {
        let harness = &harness;
        async move { harness.put(&format!("board/c/{n}"), "again").await.unwrap() }
    }))
    .await;
    assert_eq!(receipts.iter().filter(|receipt| !receipt.deduplicated).count(), 1);
    assert_eq!(harness.store.blobs_total().await.unwrap().0, 2);
    harness.finish().await;
}

#[tokio::test]
async fn a_body_that_is_not_what_was_declared_names_nothing() {
    let harness = Harness::start().await;
    let before = harness.events().await;
    let hints = IngestHints { size_bytes: Some(9), ..IngestHints::default() };
    let short = FileUpload { hints, ..upload("board/a/x", "short") };
    assert!(matches!(harness.registry.file_ingest(&harness.actor, short).await, Err(Error::Bytes(_))));
    assert_eq!(harness.events().await, before);
    assert!(matches!(harness.stat("board/a/x").await, Err(Error::Refused(Refusal::FileMissing))));
    harness.finish().await;
}

#[tokio::test]
async fn of_many_writers_that_want_the_name_to_be_free_one_wins() {
    let harness = Harness::start().await;
    let free = WriteCondition { absent: true, ..WriteCondition::default() };
    let outcomes = join_all((0..24).map(|n| harness.put_if("board/a/lock", format!("writer {n}"), free.clone()))).await;
    let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(refused, Error::Refused(Refusal::PreconditionFailed("If-None-Match"))), "{refused:?}");
    }
    assert_eq!(harness.stat("board/a/lock").await.unwrap().file, won[0].file);

    let etag = won[0].file.etag.clone();
    let matching = |etag: &str| WriteCondition { if_match: Some(vec![etag.to_owned()]), ..WriteCondition::default() };
    let outcomes = join_all((0..8).map(|n| harness.put_if("board/a/lock", format!("next {n}"), matching(&etag)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "the ETag fits only once");
    let missing = harness.put_if("board/a/none", "x", matching("*")).await;
    assert!(matches!(missing, Err(Error::Refused(Refusal::FileMissing))));
    harness.finish().await;
}

#[tokio::test]
async fn a_copy_moves_no_byte_and_a_copy_onto_itself_records_metadata_only() {
    let harness = Harness::start().await;
    let first = harness.put("board/a/x", "bytes").await.unwrap().file;
    let source = harness.stat("board/a/x").await.unwrap();
    let free = WriteCondition::default();
    let copy = harness
        .registry
        .file_copy(&harness.actor, &source, &name("board/b/y"), None, Default::default(), free.clone())
        .await
        .unwrap();
    assert!(copy.deduplicated);
    assert_eq!((copy.file.content_address, &copy.file.etag), (first.content_address, &first.etag));
    assert_eq!(harness.read("board/b/y").await.unwrap(), b"bytes");

    let attributes = Attributes { media_type: "text/plain".to_owned(), ..Attributes::default() };
    let described = harness
        .registry
        .file_copy(&harness.actor, &source, &name("board/a/x"), Some(attributes), Default::default(), free)
        .await
        .unwrap()
        .file;
    assert_eq!(described.attributes.media_type, "text/plain");
    assert_eq!((described.content_address, described.sha256), (first.content_address, first.sha256));
    let last = harness.events().await.pop().unwrap();
    assert_eq!(last.kind, "v1.file.described");
    let payload = String::from_utf8_lossy(&last.payload).into_owned();
    assert!(!payload.contains("chunks") && !payload.contains("content_address"), "it says nothing of bytes");
    assert_eq!(harness.store.blobs_total().await.unwrap(), (1, 5));
    harness.finish().await;
}

#[tokio::test]
async fn only_an_empty_producer_can_be_deleted_and_what_it_had_does_not_come_back() {
    let harness = Harness::start().await;
    let (registry, who, board) = (&harness.registry, &harness.actor, producer("board"));
    let again = registry.producer_create(who, &board, ProducerSettings::default()).await;
    assert!(matches!(again, Err(Error::Refused(Refusal::ProducerOwned(_)))));
    let foreign = registry.producer_create(&actor("other"), &board, ProducerSettings::default()).await;
    assert!(matches!(foreign, Err(Error::Refused(Refusal::ProducerForeign(_)))));

    let file = harness.put("board/a/x", "x").await.unwrap().file;
    let refused = registry.producer_delete(who, &board).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::ProducerNotEmpty(_)))));
    harness.remove("board/a/x").await.unwrap();
    registry.producer_delete(who, &board).await.unwrap();
    let gone = harness.put("board/a/x", "x").await;
    assert!(matches!(gone, Err(Error::Refused(Refusal::ProducerMissing(_)))));

    // Another tenant takes the name, and must not read what was there before.
    registry.producer_create(&actor("other"), &board, ProducerSettings::default()).await.unwrap();
    let old =
        registry.file_stat(&actor("other"), &name("board/a/x"), Some(VersionChoice::Numbered(file.sequence))).await;
    assert!(matches!(old, Err(Error::Refused(Refusal::VersionMissing))));
    assert!(matches!(harness.stat("board/a/x").await, Err(Error::Refused(Refusal::ProducerForeign(_)))));
    let theirs = registry.file_ingest(&actor("other"), upload("board/a/x", "y")).await.unwrap().file;
    assert_ne!(theirs.package_id, file.package_id, "nothing of the former owner's goes on");
    harness.finish().await;
}

#[tokio::test]
async fn a_finalized_package_keeps_its_producer_from_being_deleted() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "x").await.unwrap();
    harness.finalize("a").await.unwrap();
    let refused = harness.registry.producer_delete(&harness.actor, &producer("board")).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::ProducerNotEmpty(_)))));
    harness.finish().await;
}

#[tokio::test]
async fn a_refused_command_does_not_spoil_those_beside_it() {
    let harness = Harness::start().await;
    harness.put("board/sealed/x", "x").await.unwrap();
    harness.finalize("sealed").await.unwrap();
    let paths: Vec<String> =
        (0..40).map(|n| if n % 2 == 0 { format!("board/open/{n}") } else { format!("board/sealed/{n}") }).collect();
    let outcomes = join_all(paths.iter().map(|path| harness.put(path, "y"))).await;
    for (path, outcome) in paths.iter().zip(outcomes) {
        assert_eq!(outcome.is_ok(), path.contains("open"), "{path}: {outcome:?}");
    }
    assert_eq!(harness.events().await.iter().filter(|record| record.kind == "v1.file.ingested").count(), 21);
    harness.finish().await;
}

#[tokio::test]
async fn commands_that_arrive_with_a_change_of_their_producer_see_it_whole() {
    // Whatever lands in one batch: a command behind a change of settings needs rows that the old settings do not name.
    for round in 0..8_u32 {
        let harness = Harness::start().await;
        let settings = ProducerSettings {
            package_depth: 2,
            finalize_marker: Some("done".to_owned()),
            ..ProducerSettings::default()
        };
        harness.put("board/early/x", "before").await.unwrap();
        let (registry, who, fresh, target) =
            (&harness.registry, &harness.actor, producer("fresh"), name("fresh/a/b/c"));
        let (created, begun) = futures::join!(
            registry.producer_create(who, &fresh, ProducerSettings::default()),
            registry.upload_create(who, &target, Default::default())
        );
        created.unwrap();
        begun.unwrap();
        let deep = ProducerSettings { package_depth: 3, ..ProducerSettings::default() };
        let (configured, begun) = futures::join!(
            registry.producer_configure(who, &fresh, deep),
            registry.upload_create(who, &target, Default::default())
        );
        configured.unwrap();
        begun.unwrap();
        let configure = harness.registry.producer_configure(&harness.actor, &fresh, settings.clone());
        let file = format!("fresh/a/b/{round}");
        let (configured, written, marked) =
            futures::join!(configure, harness.put(&file, "x"), harness.put("fresh/a/b/done", ""));
        // The marker may have been first.
        assert!(matches!(written, Ok(_) | Err(Error::Refused(Refusal::PackageFinalized { .. }))), "{written:?}");
        let marked = marked.unwrap();
        if configured.is_ok()
            && let Some(package) = marked.finalized
        {
            assert!(package.file_count >= 1);
            let manifest = harness.registry.package_manifest(&harness.actor, &package.id).await.unwrap();
            let manifest = artifactstore_registry::model::manifest::Manifest::decode(&manifest).unwrap();
            assert_eq!(manifest.files.len() as u64, package.file_count, "a marker seals what is there");
        }
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_stopped_registry_says_so_to_whoever_comes() {
    let harness = Harness::start().await;
    let waiting = harness.put("board/a/x", "x");
    let (stopped, outcome) = futures::join!(harness.registry.stop(), waiting);
    let () = stopped;
    assert!(outcome.is_ok() || matches!(outcome, Err(Error::Stopping)) || matches!(outcome, Err(Error::Bytes(_))));
    let late = producer("late");
    let create = harness.registry.producer_create(&harness.actor, &late, ProducerSettings::default());
    assert!(matches!(create.await, Err(Error::Stopping)));
    assert!(matches!(harness.put("board/a/y", "y").await, Err(Error::Stopping)));
    assert!(matches!(harness.remove("board/a/x").await, Err(Error::Stopping)));
    harness.registry.stop().await;
}
