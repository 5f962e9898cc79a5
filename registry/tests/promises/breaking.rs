//! Every call that a collection or an erasure makes of its backend fails in turn: it is refused, or done without an answer,
//! or nothing answers from then on and the process begins anew.
//!
//! Whatever came of it, what is kept is whole, nothing went but what an event says, and the next run ends the work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use artifactstore_registry::actions::request::Collection;
use artifactstore_registry::backends::backend::{Backend, ObjectStat, SealedObject};
use artifactstore_registry::backends::dataplane::spi::{ByteRange, IngestHints};
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::backends::testing::faulty::{Call, Fault, FaultyBackend};
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::command::Erase;
use artifactstore_registry::model::event::Event;
use artifactstore_registry::model::name::PartNumber;
use artifactstore_registry::model::row::ProducerSettings;
use artifactstore_registry::{Error, Refusal};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;

use crate::collecting::{collect, noise, recounted};
use crate::dialect;
use crate::harness::{CHUNK_SIZE_BYTES, Harness, body, name};

const FAULTS: [Fault; 3] = [Fault::Refused, Fault::Unanswered, Fault::Gone];

/// The calls that are tried: all of them, or some, and others for each fault, where each run has a database of its own.
fn turns(fault: usize) -> impl Iterator<Item = usize> {
    let step = if dialect::cases(4) == 4 { 1 } else { 6 };
    (1 + 2 * fault % step..).step_by(step)
}

/// A registry over a backend that fails when told, and what it has to keep.
struct Ground {
    harness: Harness,
    faulty: Arc<FaultyBackend>,
    kept: BTreeMap<String, Vec<u8>>,
    /// Bytes that have to go.
    gone: Vec<Vec<u8>>,
}

impl Ground {
    async fn start() -> Self {
        let disk = Arc::new(MemoryBackend::new());
        let faulty = Arc::new(FaultyBackend::new(Arc::clone(&disk) as Arc<dyn Backend>));
        let backend = Arc::clone(&faulty) as Arc<dyn Backend>;
        let harness = Harness::start_over(disk, backend, ProducerSettings::default(), 1 << 20).await;
        Self { harness, faulty, kept: BTreeMap::new(), gone: Vec::new() }
    }

    async fn keep(&mut self, path: &str, bytes: Vec<u8>) {
        self.harness.put(path, bytes.clone()).await.unwrap();
        self.kept.insert(path.to_owned(), bytes);
    }

    /// As a process goes on after a failure: a new one when nothing answered any more.
    async fn recover(self, fault: Fault) -> Self {
        if fault != Fault::Gone {
            self.faulty.fail_nth(0);
            return self;
        }
        let Self { harness, faulty, kept, gone } = self;
        let disk = Arc::clone(&harness.backend) as Arc<dyn Backend>;
        let harness = harness.restart_without(faulty).await;
        Self { harness, faulty: Arc::new(FaultyBackend::new(disk)), kept, gone }
    }

    async fn objects(&self) -> BTreeSet<ObjectKey> {
        self.harness.backend.list(None).map_ok(|stat| stat.key).try_collect().await.unwrap()
    }

    /// What is kept is whole, and nothing went that no event named before.
    async fn is_kept(&self, before: &BTreeSet<ObjectKey>) {
        for (path, bytes) in &self.kept {
            assert!(self.harness.read(path).await.unwrap() == *bytes, "{path}");
        }
        let mut named = BTreeSet::new();
        for record in self.harness.events().await {
            if let Some(Event::SweepBegun(begun)) = Event::decode(&record.kind, &record.payload).unwrap() {
                named.extend(begun.objects.iter().map(|at| at.object));
            }
        }
        let now = self.objects().await;
        let unnamed: Vec<_> = before.difference(&now).filter(|object| !named.contains(object)).collect();
        assert!(unnamed.is_empty(), "objects that went without an event: {unnamed:?}");
    }

    /// The same, and the views are those of the log.
    async fn is_sound(&self, before: &BTreeSet<ObjectKey>) {
        self.is_kept(before).await;
        recounted(&self.harness).await;
        assert_eq!(self.harness.replay(true).await.unwrap().differences, []);
    }

    /// Whether these bytes lie anywhere, known or not.
    async fn lies_somewhere(&self, bytes: &[u8]) -> bool {
        let objects: Vec<ObjectStat> = self.harness.backend.list(None).try_collect().await.unwrap();
        // A whole chunk has an object for itself, which has its name.
        for object in objects.iter().filter(|object| object.size_bytes < CHUNK_SIZE_BYTES as u64) {
            let pieces = self.harness.backend.read(&object.key, ByteRange::Full).await.unwrap();
            let whole = pieces.try_collect::<Vec<Bytes>>().await.unwrap().concat();
            if whole.windows(16).any(|window| *window == bytes[..16]) {
                return true;
            }
        }
        false
    }

    /// Everything was done that there was to do: the bytes that had to go are nowhere, and a run more does nothing.
    async fn end(self) {
        let last = collect(&self.harness, 0).await;
        let swept = (last.swept_blobs, last.swept_chunks, last.swept_orphans, last.deleted_objects, last.left_objects);
        assert_eq!((last.released, last.condemned_blobs, last.noted_orphans), (0, 0, 0), "{last:?}");
        assert_eq!(swept, (0, 0, 0, 0, 0), "{last:?}");
        assert_eq!(self.harness.store.sweeping().sweeps_open(None, 9).await.unwrap(), []);
        for (at, bytes) in self.gone.iter().enumerate() {
            assert!(!self.lies_somewhere(bytes).await, "bytes {at} that were to go");
        }
        recounted(&self.harness).await;
        self.harness.finish().await;
    }
}

/// Something of each kind that a collection takes, beside what it must leave.
async fn littered() -> Ground {
    let mut ground = Ground::start().await;
    let shared = noise(CHUNK_SIZE_BYTES, 1);
    ground.keep("board/kept/large", [shared.clone(), noise(50_009, 2)].concat()).await;
    ground.keep("board/sealed/x", noise(60_000, 3)).await;
    let (tail, before, part, orphan) = (noise(200_000, 4), noise(50_000, 5), noise(70_000, 6), noise(40_000, 7));
    let harness = &ground.harness;
    harness.finalize("sealed").await.unwrap();
    harness.put("board/gone/large", [shared, tail.clone()].concat()).await.unwrap();
    harness.remove("board/gone/large").await.unwrap();
    harness.put("board/kept/x", before.clone()).await.unwrap();
    let target = name("board/gone/parts");
    let upload = harness.registry.upload_create(&harness.actor, &target, UploadAttributes::default()).await.unwrap();
    let number = PartNumber::new(1).unwrap();
    let sent = body(part.clone());
    let sent = harness.registry.part_ingest(&harness.actor, &target, &upload.id, number, sent, IngestHints::default());
    sent.await.unwrap();
    harness.registry.upload_abort(&harness.actor, &target, &upload.id).await.unwrap();
    let left = harness.backend.put(SealedObject::seal(Bytes::from(orphan.clone()))).await.unwrap();
    harness.backend.age(&left, Duration::from_secs(1000));
    ground.keep("board/kept/x", noise(700, 8)).await;
    ground.gone = vec![tail, before, part, orphan];
    ground
}

#[tokio::test]
async fn whatever_a_backend_does_not_do_for_a_collection_the_next_one_does() {
    for (at, fault) in FAULTS.into_iter().enumerate() {
        for n in turns(at) {
            let ground = littered().await;
            let before = ground.objects().await;
            ground.faulty.nth(n, fault);
            let how = Collection { grace: Duration::ZERO, dry: false, under_lease: false };
            let outcome = ground.harness.registry.collect(&ground.harness.actor, &how, &|_, _| {}).await;
            let (failed, calls) = (ground.faulty.has_failed(), ground.faulty.calls());
            assert!(matches!(outcome, Ok(_) | Err(Error::Bytes(_))), "{outcome:?}");
            let ground = ground.recover(fault).await;
            ground.is_sound(&before).await;
            if !failed {
                let deletions = calls.iter().filter(|call| matches!(call, Call::Delete(_))).count();
                assert!(deletions == 4 && calls.contains(&Call::List) && calls.contains(&Call::Probe), "{calls:?}");
                ground.end().await;
                break;
            }
            let next = collect(&ground.harness, 0).await;
            assert_eq!(next.left_objects, 0, "{next:?}");
            ground.is_kept(&before).await;
            ground.end().await;
        }
    }
}

fn order(path: &str) -> Erase {
    Erase {
        name: name(path),
        version: None,
        reason: "article 17".to_owned(),
        requested_by: String::new(),
        all_copies: false,
        bypass: false,
    }
}

/// Two files that are to be erased: one lies in an object with others, of one a part is another file's as well.
const VICTIMS: [&str; 2] = ["board/packed/victim", "board/large/victim"];

/// How many small files share an object is a matter of who comes while another is on its way: it may take a few attempts.
async fn packed() -> Ground {
    for _ in 0..30 {
        let mut ground = Ground::start().await;
        let names: Vec<String> = (0..8).map(|number| format!("board/packed/{number}")).collect();
        let harness = &ground.harness;
        let all = names.iter().map(String::as_str).chain([VICTIMS[0]]);
        let put = all.zip(10..).map(|(path, seed)| harness.put(path, noise(500, seed)));
        for put in join_all(put).await {
            put.unwrap();
        }
        let places = (10..19).map(|seed| ContentAddress::of(&noise(500, seed))).collect::<Vec<_>>();
        let places = harness.store.locations(&places).await.unwrap();
        let objects: Vec<ObjectKey> = places.into_iter().map(|place| place.unwrap().location.object).collect();
        if objects[..8].iter().filter(|object| **object == objects[8]).count() < 2 {
            harness.registry.stop().await;
            continue;
        }
        ground.kept = names.into_iter().zip((10..).map(|seed| noise(500, seed))).collect();
        let (shared, tail) = (noise(CHUNK_SIZE_BYTES, 1), noise(200_000, 2));
        ground.harness.put(VICTIMS[1], [shared.clone(), tail.clone()].concat()).await.unwrap();
        ground.keep("board/large/other", [shared, noise(90_000, 3)].concat()).await;
        ground.gone = vec![noise(500, 18), tail];
        return ground;
    }
    panic!("small files that come together share an object");
}

#[tokio::test]
async fn whatever_a_backend_does_not_do_for_an_erasure_is_done_by_the_next_call_or_collection() {
    for (at, fault) in FAULTS.into_iter().enumerate() {
        for n in turns(at) {
            let ground = packed().await;
            let before = ground.objects().await;
            ground.faulty.nth(n, fault);
            for path in VICTIMS {
                let outcome = ground.harness.registry.file_erase(&ground.harness.actor, order(path), false).await;
                assert!(matches!(outcome, Ok(_) | Err(Error::Bytes(_))), "{outcome:?}");
            }
            let (failed, calls) = (ground.faulty.has_failed(), ground.faulty.calls());
            let ground = ground.recover(fault).await;
            ground.is_sound(&before).await;
            for path in VICTIMS {
                let read = ground.harness.stat(path).await;
                assert!(matches!(read, Err(Error::Refused(Refusal::FileErased { .. }))), "{path}: {read:?}");
            }
            if !failed {
                let put = calls.iter().any(|call| matches!(call, Call::Put(_)));
                let deletions = calls.iter().filter(|call| matches!(call, Call::Delete(_))).count();
                assert!(put && deletions == 2, "{calls:?}");
                ground.end().await;
                break;
            }
            if n % 2 == 0 {
                collect(&ground.harness, 86_400).await;
            } else {
                for path in VICTIMS {
                    let again = ground.harness.registry.file_erase(&ground.harness.actor, order(path), false).await;
                    assert!(again.unwrap().recorded_before);
                }
                // What the backend was asked for and did not confirm is asked for again by a collection alone.
                collect(&ground.harness, 86_400).await;
            }
            for bytes in &ground.gone {
                assert!(!ground.lies_somewhere(bytes).await, "whatever the grace is");
            }
            // What was written elsewhere and not recorded is nobody's.
            collect(&ground.harness, 0).await;
            ground.is_kept(&before).await;
            ground.end().await;
        }
    }
}

#[tokio::test]
async fn what_comes_back_behind_its_deletion_goes_again_and_takes_nothing_along() {
    let harness = Harness::start().await;
    let bytes = noise(50_000, 1);
    let own = ObjectKey(ContentAddress::of(&bytes).0);
    harness.put("board/a/x", bytes.clone()).await.unwrap();
    harness.remove("board/a/x").await.unwrap();
    assert_eq!(collect(&harness, 0).await.deleted_objects, 1);
    harness.put("board/a/y", bytes.clone()).await.unwrap();
    // Somebody brought it back from a copy, or a write that hung went through.
    for _ in 0..2 {
        harness.backend.put(SealedObject::seal(Bytes::from(bytes.clone()))).await.unwrap();
        let summary = collect(&harness, 0).await;
        assert_eq!((summary.noted_orphans, summary.swept_orphans, summary.deleted_objects), (1, 1, 1), "{summary:?}");
        assert!(harness.backend.stat(&own).await.unwrap().is_none());
        assert_eq!(harness.read("board/a/y").await.unwrap(), bytes);
    }
    recounted(&harness).await;
    harness.finish().await;
}
