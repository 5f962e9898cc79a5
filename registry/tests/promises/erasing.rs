//! Erasing bytes: what may be, what goes with it, and what is left to be seen.

use std::sync::Mutex;

use artifactstore_registry::actions::erase::ErasureOutcome;
use artifactstore_registry::actions::request::Finding;
use artifactstore_registry::actions::retention::RetentionOrder;
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::digest::{ContentAddress, ObjectKey};
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::cbor;
use artifactstore_registry::model::command::{Erase, RetentionChange, SubjectChoice};
use artifactstore_registry::model::name::HoldName;
use artifactstore_registry::model::retention::{LockTerms, Mode};
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};
use futures::future::join_all;

use crate::collecting::{collect, noise, recounted};
use crate::harness::{CHUNK_SIZE_BYTES, Harness, name, producer, quiet};

pub(crate) fn of(path: &str) -> Erase {
    Erase {
        name: name(path),
        version: None,
        reason: "article 17".to_owned(),
        requested_by: "the data subject".to_owned(),
        all_copies: false,
        bypass: false,
    }
}

pub(crate) async fn erase(harness: &Harness, order: Erase) -> Result<ErasureOutcome, Error> {
    harness.registry.file_erase(&harness.actor, order, false).await
}

async fn is_stored(harness: &Harness, bytes: &[u8]) -> bool {
    harness.backend.stat(&ObjectKey(ContentAddress::of(bytes).0)).await.unwrap().is_some()
}

/// Small files that came together, and those of them that share an object.
struct Neighbours {
    harness: Harness,
    names: Vec<String>,
    pack: ObjectKey,
    inside: Vec<usize>,
}

/// So many files, so many of them in one object. How many share one is a matter of who comes while another is on its way:
/// a machine that is busy may have to try again.
async fn neighbours(count: usize, least: usize) -> Neighbours {
    for _ in 0..30 {
        let harness = Harness::start().await;
        let names: Vec<String> = (0..count).map(|number| format!("board/p/{number}")).collect();
        let put = names.iter().enumerate().map(|(number, path)| harness.put(path, noise(500, number as u64)));
        let files: Vec<_> = join_all(put).await.into_iter().map(|receipt| receipt.unwrap().file).collect();
        let mut packs = std::collections::BTreeMap::<ObjectKey, Vec<usize>>::new();
        for (at, file) in files.iter().enumerate() {
            let place = harness.store.locations(&[file.content_address]).await.unwrap().remove(0).unwrap();
            packs.entry(place.location.object).or_default().push(at);
        }
        let (pack, inside) = packs.into_iter().max_by_key(|(_, files)| files.len()).unwrap();
        if inside.len() >= least {
            return Neighbours { harness, names, pack, inside };
        }
        finish(harness).await;
    }
    panic!("small files that come together share an object");
}

pub(crate) fn erased_by(error: &Error) -> u64 {
    match error {
        Error::Refused(Refusal::FileErased { event, reason, .. }) if reason == "article 17" => *event,
        other => panic!("{other}"),
    }
}

async fn gaps(harness: &Harness) -> Vec<Finding> {
    let found = Mutex::new(Vec::new());
    let summary = harness.registry.verify(&quiet(), &|finding| found.lock().unwrap().push(finding)).await.unwrap();
    assert_eq!(summary.damaged, 0);
    found.into_inner().unwrap()
}

/// As [`Harness::finish`], where gaps are in order.
pub(crate) async fn finish(harness: Harness) {
    recounted(&harness).await;
    assert_eq!(harness.replay(true).await.unwrap().differences, [], "the live views equal the replayed ones");
    gaps(&harness).await;
    harness.registry.stop().await;
}

#[tokio::test]
async fn the_bytes_go_at_once_and_the_manifest_stays_and_shows_the_gap() {
    let harness = Harness::start().await;
    let large = noise(CHUNK_SIZE_BYTES + 90_000, 1);
    let file = harness.put("board/run/secret", large.clone()).await.unwrap().file;
    harness.put("board/run/other", "of no concern").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    let manifest = harness.registry.package_manifest(&harness.actor, &package.id).await.unwrap();
    let before = harness.events().await.len() as u64;

    let would = harness.registry.file_erase(&harness.actor, of("board/run/secret"), true).await.unwrap();
    assert_eq!((would.versions.len(), would.deleted_objects), (1, 0));
    assert_eq!(harness.events().await.len() as u64, before, "a dry run records nothing");
    let outcome = erase(&harness, of("board/run/secret")).await.unwrap();
    assert_eq!((outcome.deleted_objects, outcome.deleted_bytes, outcome.shared_bytes), (2, large.len() as u64, 0));
    let events = harness.registry.event_list(before, 99).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["v1.file.erased", "v1.blob.condemned", "v1.sweep.begun", "v1.sweep.ended"]);
    let told = cbor::to_json(&events[0].payload).unwrap();
    assert_eq!((&told["version"], &told["size"]), (&file.sequence.into(), &(large.len() as u64).into()));
    assert_eq!((&told["reason"], &told["requested_by"]), (&"article 17".into(), &"the data subject".into()));
    assert!(
        !is_stored(&harness, &large[..CHUNK_SIZE_BYTES]).await
            && !is_stored(&harness, &large[CHUNK_SIZE_BYTES..]).await
    );

    let event = events[0].sequence;
    assert_eq!(erased_by(&harness.stat("board/run/secret").await.unwrap_err()), event);
    let numbered = Some(VersionChoice::Numbered(file.sequence));
    let refused = harness.registry.file_stat(&harness.actor, &name("board/run/secret"), numbered).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::FileErased { by_number: true, .. })), "{refused}");
    assert_eq!(harness.read("board/run/other").await.unwrap(), b"of no concern");
    assert_eq!(harness.registry.package_manifest(&harness.actor, &package.id).await.unwrap(), manifest);
    let reason = "article 17".to_owned();
    let gap = Finding::FileErased {
        package: package.id.clone(),
        relative_path: "secret".to_owned(),
        version: file.sequence,
        event,
        reason,
    };
    assert_eq!(gaps(&harness).await, [gap]);
    let erasures = harness.registry.package_erasures(&harness.actor, &package.id).await.unwrap();
    assert_eq!(
        erasures.iter().map(|(path, row)| (path.as_str(), row.sequence)).collect::<Vec<_>>(),
        [("secret", event)]
    );

    let again = erase(&harness, of("board/run/secret")).await.unwrap();
    assert!(again.recorded_before && again.versions[0].event == Some(event));
    let back = harness.put("board/later/back", large.clone()).await.unwrap();
    assert!(!back.deduplicated, "the same content is a new artifact");
    assert_eq!(harness.read("board/later/back").await.unwrap(), large);
    assert_eq!(erased_by(&harness.stat("board/run/secret").await.unwrap_err()), event, "and that one stays erased");
    collect(&harness, 0).await;
    assert_eq!(harness.read("board/later/back").await.unwrap(), large);
    finish(harness).await;
}

#[tokio::test]
async fn what_others_share_is_erased_only_where_all_of_them_are_meant_and_none_is_kept() {
    let harness = Harness::start().await;
    let one = harness.put("board/a/one", "the same").await.unwrap().file;
    let two = harness.put("board/b/two", "the same").await.unwrap().file;
    let refused = erase(&harness, of("board/a/one")).await.unwrap_err();
    let Error::Refused(Refusal::ErasureShared { copies, count: 1 }) = &refused else { panic!("{refused}") };
    assert_eq!(*copies, [format!("board/b/two (version {})", two.sequence)]);
    let hold = HoldName::parse("case-7").unwrap();
    let subject = || SubjectChoice::File(name("board/b/two"), None);
    harness.registry.hold_place(&harness.actor, subject(), &hold, "a case".to_owned()).await.unwrap();
    let all = Erase { all_copies: true, ..of("board/a/one") };
    let refused = erase(&harness, all.clone()).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(Refusal::Kept(reasons)) if reasons.len() == 1), "{refused}");
    assert_eq!(harness.read("board/a/one").await.unwrap(), b"the same");
    harness.registry.hold_release(&harness.actor, subject(), &hold, String::new()).await.unwrap();
    let outcome = erase(&harness, all).await.unwrap();
    let versions: Vec<u64> = outcome.versions.iter().map(|erased| erased.version).collect();
    assert_eq!((versions, outcome.deleted_objects), (vec![one.sequence, two.sequence], 1));
    for path in ["board/a/one", "board/b/two"] {
        erased_by(&harness.stat(path).await.unwrap_err());
    }
    finish(harness).await;
}

#[tokio::test]
async fn compliance_and_holds_forbid_it_and_governance_unless_it_is_bypassed() {
    let harness = Harness::start().await;
    let mut expected = Vec::new();
    for (key, mode) in [("governance", Mode::Governance), ("compliance", Mode::Compliance)] {
        let path = format!("board/{key}/x");
        harness.put(&path, key).await.unwrap();
        let terms = LockTerms { mode, retain_until: Timestamp(i64::MAX / 2) };
        let order = RetentionOrder {
            subject: SubjectChoice::File(name(&path), None),
            change: RetentionChange::Lock(Some(terms)),
            bypass: false,
            reason: String::new(),
        };
        harness.registry.retention_set(&harness.actor, order).await.unwrap();
        expected.push((path, mode == Mode::Governance));
    }
    harness.put("board/held/x", "held").await.unwrap();
    let subject = SubjectChoice::Producer(producer("board"));
    let hold = HoldName::parse("case-7").unwrap();
    harness.registry.hold_place(&harness.actor, subject.clone(), &hold, "a case".to_owned()).await.unwrap();
    for path in ["board/governance/x", "board/compliance/x", "board/held/x"] {
        let refused = erase(&harness, Erase { bypass: true, ..of(path) }).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::Kept(_))), "{path}: {refused}");
    }
    harness.registry.hold_release(&harness.actor, subject, &hold, String::new()).await.unwrap();
    let before = harness.events().await.len();
    for (path, bypassable) in &expected {
        let refused = erase(&harness, of(path)).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::Kept(_))), "{path}: {refused}");
        if !bypassable {
            let refused = erase(&harness, Erase { bypass: true, ..of(path) }).await.unwrap_err();
            assert!(matches!(refused, Error::Refused(Refusal::Kept(_))), "{path}: {refused}");
        }
    }
    for reason in ["", "  "] {
        let refused = erase(&harness, Erase { reason: reason.to_owned(), ..of("board/held/x") }).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::SettingInvalid { .. })), "{refused}");
    }
    assert_eq!(harness.events().await.len(), before, "a refusal records nothing");
    let outcome = erase(&harness, Erase { bypass: true, ..of("board/governance/x") }).await.unwrap();
    assert_eq!(outcome.deleted_objects, 1);
    assert_eq!(harness.read("board/compliance/x").await.unwrap(), b"compliance");
    finish(harness).await;
}

#[tokio::test]
async fn the_same_content_sent_again_is_a_file_like_any_other() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    erase(&harness, of("board/run/x")).await.unwrap();
    harness.put("board/run/again", "one").await.unwrap();
    harness.delete("run/again", None, false).await.unwrap();
    collect(&harness, 86_400).await;
    assert_eq!(collect(&harness, 86_400).await.swept_blobs, 0, "its grace has only begun");
    assert_eq!(collect(&harness, 0).await.swept_blobs, 1);
    finish(harness).await;
}

#[tokio::test]
async fn a_hold_on_any_revision_that_has_the_file_forbids_it() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    harness.put("board/run/z", "three").await.unwrap();
    let subject = SubjectChoice::Package(second.id.clone());
    let hold = HoldName::parse("case-7").unwrap();
    harness.registry.hold_place(&harness.actor, subject.clone(), &hold, "a case".to_owned()).await.unwrap();
    // It was written into the first revision, and the third is open: the second is neither.
    let refused = erase(&harness, Erase { bypass: true, ..of("board/run/x") }).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::Kept(_))), "{refused}");
    // The second does not have this one.
    erase(&harness, of("board/run/z")).await.unwrap();
    harness.registry.hold_release(&harness.actor, subject, &hold, String::new()).await.unwrap();
    erase(&harness, of("board/run/x")).await.unwrap();
    finish(harness).await;
}

#[tokio::test]
async fn a_hold_that_comes_a_moment_before_an_erasure_is_seen_by_it() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    harness.put("board/run/z", "three").await.unwrap();
    let (registry, hold) = (&harness.registry, HoldName::parse("case-7").unwrap());
    let (held, erased) = futures::join!(
        registry.hold_place(&harness.actor, SubjectChoice::Package(second.id.clone()), &hold, "a case".to_owned()),
        erase(&harness, Erase { bypass: true, ..of("board/run/x") }),
    );
    held.unwrap();
    assert!(matches!(erased, Err(Error::Refused(Refusal::Kept(_)))), "{erased:?}");
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"one");
    finish(harness).await;
}

#[tokio::test]
async fn a_copy_of_what_was_erased_meanwhile_keeps_none_of_its_bytes() {
    let Neighbours { harness, names, pack, inside } = neighbours(6, 2).await;
    let (source, target) = (harness.stat(&names[inside[0]]).await.unwrap(), name("board/copied/x"));
    let whole = {
        use artifactstore_registry::backends::dataplane::spi::ByteRange;
        use futures::TryStreamExt;
        let pieces = harness.backend.read(&pack, ByteRange::Full).await.unwrap();
        pieces.try_collect::<Vec<bytes::Bytes>>().await.unwrap().concat()
    };
    // It is recorded, and the bytes are there for a moment longer.
    harness.backend.damage(&pack, bytes::Bytes::from_static(b"unreadable"));
    erase(&harness, of(&names[inside[0]])).await.unwrap_err();
    harness.backend.damage(&pack, bytes::Bytes::from(whole));
    let (actor, registry) = (&harness.actor, &harness.registry);
    let copied = registry.file_copy(actor, &source, &target, None, Default::default(), Default::default()).await;
    assert!(matches!(copied, Err(Error::Refused(Refusal::ContentMissing))), "{copied:?}");
    collect(&harness, 0).await;
    assert!(harness.backend.stat(&pack).await.unwrap().is_none());
    finish(harness).await;
}

#[tokio::test]
async fn what_lies_in_the_same_object_is_written_elsewhere_and_the_object_goes() {
    let Neighbours { harness, names, pack, inside } = neighbours(8, 3).await;
    let before = harness.events().await.len() as u64;
    let outcome = erase(&harness, of(&names[inside[0]])).await.unwrap();
    assert_eq!((outcome.deleted_objects, outcome.left_objects), (1, 0));
    assert!(harness.backend.stat(&pack).await.unwrap().is_none(), "the object that had the bytes is gone");
    let events = harness.registry.event_list(before, 99).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = ["v1.file.erased", "v1.blob.condemned", "v1.chunk.relocated", "v1.sweep.begun", "v1.sweep.ended"];
    assert_eq!(kinds, expected);
    for (at, path) in names.iter().enumerate() {
        match harness.read(path).await {
            Ok(bytes) => assert_eq!(bytes, noise(500, at as u64), "{path}"),
            Err(error) => assert_eq!((erased_by(&error), at), (before + 1, inside[0])),
        }
    }
    // The others may go as well, from where they lie now.
    for at in &inside[1..] {
        assert_eq!(erase(&harness, of(&names[*at])).await.unwrap().left_objects, 0);
    }
    let left: Vec<_> = {
        use futures::TryStreamExt;
        harness.backend.list(None).try_collect::<Vec<_>>().await.unwrap()
    };
    let bytes: u64 = left.iter().map(|stat| stat.size_bytes).sum();
    assert!(bytes <= ((8 - inside.len()) * 508) as u64, "nothing of them is left: {left:?}");
    finish(harness).await;
}

#[tokio::test]
async fn bytes_that_are_part_of_other_content_stay_for_that_and_it_is_said() {
    let harness = Harness::start().await;
    let shared = noise(CHUNK_SIZE_BYTES, 1);
    let (one, two) = ([&*shared, b"one"].concat(), [&*shared, b"two"].concat());
    harness.put("board/a/one", one).await.unwrap();
    harness.put("board/a/two", two.clone()).await.unwrap();
    let outcome = erase(&harness, of("board/a/one")).await.unwrap();
    assert_eq!((outcome.shared_bytes, outcome.deleted_bytes), (CHUNK_SIZE_BYTES as u64, 3));
    assert_eq!(harness.read("board/a/two").await.unwrap(), two);
    assert_eq!(erase(&harness, of("board/a/two")).await.unwrap().deleted_objects, 2);
    assert!(!is_stored(&harness, &shared).await);
    finish(harness).await;
}

#[tokio::test]
async fn an_older_version_is_erased_by_its_number_and_what_is_not_there_cannot_be() {
    let harness = Harness::start().await;
    harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
    let old = harness.put("board/a/x", "old").await.unwrap().file;
    harness.put("board/a/x", "new").await.unwrap();
    let version = Some(VersionChoice::Numbered(old.sequence));
    erase(&harness, Erase { version, ..of("board/a/x") }).await.unwrap();
    assert_eq!(harness.read("board/a/x").await.unwrap(), b"new");
    let refused = harness.registry.file_stat(&harness.actor, &name("board/a/x"), version).await.unwrap_err();
    erased_by(&refused);
    for order in [of("board/a/none"), Erase { version: Some(VersionChoice::Numbered(1)), ..of("board/a/x") }] {
        let refused = erase(&harness, order).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::FileMissing | Refusal::VersionMissing)), "{refused}");
    }
    // A description is a new version with the same bytes: there are none.
    erase(&harness, of("board/a/x")).await.unwrap();
    assert!(harness.stat("board/a/x").await.is_err());
    harness.put("board/a/x", "written over").await.unwrap();
    assert_eq!(harness.read("board/a/x").await.unwrap(), b"written over");
    finish(harness).await;
}

#[tokio::test]
async fn an_erasure_that_broke_off_is_gone_on_with_by_the_next_collection() {
    let Neighbours { harness, names, pack, inside } = neighbours(6, 2).await;
    let whole = {
        use artifactstore_registry::backends::dataplane::spi::ByteRange;
        use futures::TryStreamExt;
        let pieces = harness.backend.read(&pack, ByteRange::Full).await.unwrap();
        pieces.try_collect::<Vec<bytes::Bytes>>().await.unwrap().concat()
    };
    // What lies beside it cannot be read now, and so cannot be moved out of the way.
    harness.backend.damage(&pack, bytes::Bytes::from_static(b"unreadable"));
    let broken = erase(&harness, of(&names[inside[0]])).await.unwrap_err();
    assert!(matches!(broken, Error::Bytes(_)), "{broken}");
    erased_by(&harness.stat(&names[inside[0]]).await.unwrap_err());
    for grace in [86_400, 0] {
        assert_eq!(collect(&harness, grace).await.swept_blobs, 0, "none is forgotten without its bytes");
    }
    harness.backend.damage(&pack, bytes::Bytes::from(whole));
    collect(&harness, 86_400).await;
    assert!(harness.backend.stat(&pack).await.unwrap().is_none(), "whatever the grace is");
    for at in &inside[1..] {
        assert_eq!(harness.read(&names[*at]).await.unwrap(), noise(500, *at as u64));
    }
    finish(harness).await;
}
