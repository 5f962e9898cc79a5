//! What is written while its bytes are being erased: what came before is covered by its name only, what comes behind is a
//! file like any other, and a copy of what is no more is refused.

use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::spi::{ByteRange, IngestFrame, IngestHints, IngestStream};
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::cbor;
use artifactstore_registry::model::command::Erase;
use artifactstore_registry::model::name::{PartNumber, UploadId};
use artifactstore_registry::model::row::{Part, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal, Result};
use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};

use crate::collecting::{collect, noise};
use crate::erasing::{erase, erased_by, finish, of};
use crate::harness::{CHUNK_SIZE_BYTES, Harness, name, producer, upload};

/// Records an erasure, and leaves it at that: the bytes are there.
async fn record(harness: &Harness, order: Erase) {
    let before = harness.store.head().await.unwrap().sequence;
    assert!(harness.registry.file_erase(&harness.actor, order, false).now_or_never().is_none());
    while harness.store.head().await.unwrap().sequence == before {
        tokio::task::yield_now().await;
    }
}

async fn is_stored(harness: &Harness, bytes: &[u8]) -> bool {
    harness.backend.stat(&ObjectKey(ContentAddress::of(bytes).0)).await.unwrap().is_some()
}

type Sender = UnboundedSender<std::result::Result<IngestFrame, artifactstore_registry::backends::error::Source>>;

/// A body that comes as the test sends it.
fn slow() -> (Sender, IngestStream) {
    let (sender, body) = unbounded();
    (sender, body.boxed())
}

/// When the same bytes come, by what becomes of the erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// All of it came before.
    Before,
    /// It began before it was recorded, and ended before the sweep.
    IntoTheRecord,
    /// It began before, and ended behind the sweep.
    AroundIt,
    /// It was recorded, and not swept.
    BetweenRecordAndSweep,
    /// It began in between, and ended behind the sweep.
    IntoTheSweep,
    /// All was over.
    Behind,
}

const ORDERS: [Order; 6] = [
    Order::Before,
    Order::IntoTheRecord,
    Order::AroundIt,
    Order::BetweenRecordAndSweep,
    Order::IntoTheSweep,
    Order::Behind,
];

/// Sends this while what is at `board/run/secret` is erased: what became of it.
async fn send(harness: &Harness, order: Order, bytes: &[u8]) -> Result<()> {
    let secret = || of("board/run/secret");
    let (sender, body) = slow();
    let (registry, actor) = (harness.registry.clone(), harness.actor.clone());
    let mut file = upload("board/other/x", Bytes::new());
    file.body = body;
    let begin = || tokio::spawn(async move { registry.file_ingest(&actor, file).await });
    let piece = |bytes: &[u8]| {
        sender.unbounded_send(Ok(IngestFrame::Data(Bytes::copy_from_slice(bytes)))).unwrap();
    };
    // With a byte more than a chunk, the first has found its place, which is that of the secret's.
    let (first, rest) = bytes.split_at(CHUNK_SIZE_BYTES + 1);
    let begun = async || {
        piece(first);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    };
    let running = match order {
        Order::Before => {
            begun().await;
            begin()
        }
        Order::IntoTheRecord => {
            let running = begin();
            begun().await;
            record(harness, secret()).await;
            running
        }
        Order::AroundIt => {
            let running = begin();
            begun().await;
            erase(harness, secret()).await.unwrap();
            running
        }
        Order::BetweenRecordAndSweep => {
            record(harness, secret()).await;
            piece(first);
            begin()
        }
        Order::IntoTheSweep => {
            record(harness, secret()).await;
            let running = begin();
            begun().await;
            assert!(erase(harness, secret()).await.unwrap().recorded_before);
            running
        }
        Order::Behind => {
            erase(harness, secret()).await.unwrap();
            piece(first);
            begin()
        }
    };
    piece(rest);
    drop(sender);
    running.await.unwrap().map(drop)
}

#[tokio::test]
async fn bytes_that_are_sent_while_they_are_erased_are_a_file_like_any_other() {
    let (chunk, tail) = (noise(CHUNK_SIZE_BYTES, 1), noise(50_000, 2));
    let secret = [&*chunk, &*tail].concat();
    // The very same, and other content that begins with the same chunk.
    let sent = [secret.clone(), [&*chunk, &noise(60_000, 3)].concat()];
    let mut refusals = 0;
    for (order, (is_other, bytes)) in
        ORDERS.into_iter().flat_map(|order| sent.iter().enumerate().map(move |it| (order, it)))
    {
        let harness = Harness::start().await;
        let erased = harness.put("board/run/secret", secret.clone()).await.unwrap().file;
        match send(&harness, order, bytes).await {
            Ok(()) => {}
            // It leaned on bytes that went. Whoever has them sends them again, and they are written anew.
            Err(Error::Refused(Refusal::ContentMissing)) => {
                assert!(matches!(order, Order::AroundIt | Order::IntoTheSweep), "{order:?}");
                refusals += 1;
                assert!(matches!(harness.stat("board/other/x").await, Err(Error::Refused(Refusal::FileMissing))));
                harness.put("board/other/x", bytes.clone()).await.unwrap();
            }
            Err(error) => panic!("{order:?}: {error}"),
        }
        if order == Order::Before && is_other == 0 {
            // The erasure covers the file that it names, and no other unasked.
            let refused = erase(&harness, of("board/run/secret")).await.unwrap_err();
            assert!(matches!(refused, Error::Refused(Refusal::ErasureShared { count: 1, .. })), "{refused}");
            finish(harness).await;
            continue;
        }
        let again = erase(&harness, of("board/run/secret")).await.unwrap();
        assert_eq!((again.recorded_before, again.stored_again), (order != Order::Before, is_other == 0), "{order:?}");
        for _ in 0..2 {
            collect(&harness, 0).await;
            assert!(harness.read("board/other/x").await.unwrap() == *bytes, "{order:?}");
        }
        let version = Some(VersionChoice::Numbered(erased.sequence));
        let gone = harness.registry.file_stat(&harness.actor, &name("board/run/secret"), version).await.unwrap_err();
        erased_by(&gone);
        assert!(is_other == 0 || !is_stored(&harness, &tail).await, "{order:?}: what was the secret's alone");
        // As of any other file, its bytes go with it, and then none of the secret's are left.
        harness.remove("board/other/x").await.unwrap();
        collect(&harness, 0).await;
        assert_eq!(harness.objects().await, 0, "{order:?}");
        finish(harness).await;
    }
    assert!(refusals > 0, "some leaned on what went");
}

async fn copy(harness: &Harness, path: &str, upload: &UploadId, range: ByteRange) -> Result<Part> {
    let found = harness.stat(path).await.unwrap();
    let (number, hints) = (PartNumber::new(1).unwrap(), IngestHints::default());
    let source = (&found, range);
    harness.registry.part_copy(&harness.actor, source, &name("board/copied/x"), upload, number, hints).await
}

#[tokio::test]
async fn a_part_that_is_copied_from_what_is_erased_meanwhile_is_refused() {
    let harness = Harness::start().await;
    let secret = noise(CHUNK_SIZE_BYTES + 50_000, 1);
    let file = harness.put("board/run/secret", secret.clone()).await.unwrap().file;
    harness.put("board/run/other", "of no concern").await.unwrap();
    harness.finalize("run").await.unwrap();
    let target = name("board/copied/x");
    let upload = harness.registry.upload_create(&harness.actor, &target, UploadAttributes::default()).await.unwrap().id;
    let found = harness.stat("board/run/secret").await.unwrap();
    record(&harness, of("board/run/secret")).await;
    let before = harness.store.head().await.unwrap().sequence;
    for range in [ByteRange::Full, ByteRange::Span(0, CHUNK_SIZE_BYTES as u64), ByteRange::Last(7)] {
        // The bytes are there for a moment longer.
        let (number, hints, source) = (PartNumber::new(1).unwrap(), IngestHints::default(), (&found, range));
        let copied = harness.registry.part_copy(&harness.actor, source, &target, &upload, number, hints).await;
        assert!(matches!(copied, Err(Error::Refused(Refusal::ContentMissing))), "{copied:?}");
    }
    assert_eq!(harness.store.head().await.unwrap().sequence, before);
    assert_eq!(harness.store.parts(&upload, 0, 9).await.unwrap(), []);
    let outcome = erase(&harness, of("board/run/secret")).await.unwrap();
    assert_eq!((outcome.deleted_bytes, outcome.shared_bytes), (secret.len() as u64, 0));
    erased_by(&harness.stat("board/run/secret").await.unwrap_err());

    // Of what is there a part is copied, and the log says from where; the documents of a package have no version.
    for (path, from) in [("board/run/other", Some(file.sequence + 1)), ("board/run/.artifact/manifest.cbor", None)] {
        copy(&harness, path, &upload, ByteRange::Full).await.unwrap();
        let event = harness.events().await.pop().unwrap();
        let told = cbor::to_json(&event.payload).unwrap();
        assert_eq!(
            (event.kind.as_str(), told["copied_from"]["sequence"].as_u64()),
            ("v1.part.ingested", from),
            "{told}"
        );
    }
    finish(harness).await;
}

#[tokio::test]
async fn the_place_of_an_erased_version_among_the_others_can_be_given_up() {
    let harness = Harness::start().await;
    let (registry, actor) = (&harness.registry, &harness.actor);
    registry.versioning_set(actor, &producer("board"), Versioning::Enabled).await.unwrap();
    let old = harness.put("board/a/x", "old").await.unwrap().file.sequence;
    let new = harness.put("board/a/x", "new").await.unwrap().file.sequence;
    for version in [old, new] {
        let version = Some(VersionChoice::Numbered(version));
        erase(&harness, Erase { version, ..of("board/a/x") }).await.unwrap();
        let told = registry.file_eligibility(actor, &name("board/a/x"), version).await.unwrap();
        assert!(told.eligible, "{told:?}");
    }
    let kept = registry.producer_delete(actor, &producer("board")).await;
    assert!(matches!(kept, Err(Error::Refused(Refusal::ProducerNotEmpty(_)))), "{kept:?}");
    for version in [old, new] {
        assert!(harness.delete("a/x", Some(version), false).await.unwrap().is_some());
        assert_eq!(harness.delete("a/x", Some(version), false).await.unwrap(), None, "it is done once");
    }
    registry.producer_delete(actor, &producer("board")).await.unwrap();
    let rows = harness.store.versions(&[old, new]).await.unwrap();
    assert!(rows.iter().all(|row| row.deleted_sequence.is_some() && row.released_sequence.is_some()));
    finish(harness).await;
}
