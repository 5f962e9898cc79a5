//! The log as the truth: gapless, chained, replayed to the same views; damage is found and named.

use std::sync::Mutex;
use std::time::Duration;

use artifactstore_registry::Error;
use artifactstore_registry::actions::request::{Finding, VerifySummary};
use artifactstore_registry::backends::digest::ObjectKey;
use artifactstore_registry::log::replay::{follows, genesis};
use artifactstore_registry::model::attributes::Attributes;
use artifactstore_registry::model::command::WriteCondition;
use artifactstore_registry::model::event::Head;
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings};
use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use crate::harness::{Harness, name, quiet};

#[tokio::test]
async fn the_log_is_gapless_chained_and_time_never_runs_back() {
    let harness = Harness::start().await;
    harness.clock.set_seconds(5_000_000);
    join_all((0..50).map(|n| {
        let harness = &harness;
        async move { harness.put(&format!("board/a/{n}"), format!("{n}")).await.unwrap() }
    }))
    .await;
    harness.clock.set_seconds(4_000_000);
    let early = harness.put("board/a/early", "early").await.unwrap().file;
    assert_eq!(early.ingested_at.0, 5_000_000_000_000, "a clock set back does not set the log back");
    let records = harness.events().await;
    let mut head = genesis();
    for record in &records {
        follows(&head, record).unwrap();
        assert!(record.occurred_at >= head.occurred_at);
        head = Head { sequence: record.sequence, occurred_at: record.occurred_at, hash: record.hash };
    }
    assert_eq!(harness.store.head().await.unwrap(), head);
    harness.finish().await;
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    Describe(u8, u8),
    Copy(u8, u8),
    Finalize(u8),
    Together(Vec<(u8, u8)>),
    Clock(i8),
}

fn path(n: u8) -> String {
    ["board/a/x", "board/a/y/z", "board/b/x", "board/root", "board/b/done"][usize::from(n) % 5].to_owned()
}

fn step() -> impl Strategy<Value = Step> {
    let (file, content) = (any::<u8>(), 0..6_u8);
    prop_oneof![
        5 => (file, content.clone()).prop_map(|(file, content)| Step::Put(file, content)),
        2 => file.prop_map(Step::Remove),
        1 => (file, content.clone()).prop_map(|(file, content)| Step::Describe(file, content)),
        1 => (file, file).prop_map(|(from, to)| Step::Copy(from, to)),
        1 => (0..3_u8).prop_map(Step::Finalize),
        1 => proptest::collection::vec((file, content), 2..8).prop_map(Step::Together),
        1 => any::<i8>().prop_map(Step::Clock),
        1 => Just(Step::Finalize(0)),
    ]
}

/// Refusals are part of the game; anything else is a failure.
fn allowed<T>(outcome: artifactstore_registry::Result<T>) {
    match outcome {
        Ok(_) | Err(Error::Refused(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

async fn take(harness: &Harness, step: Step) {
    let free = WriteCondition::default();
    match step {
        Step::Put(file, content) => allowed(harness.put(&path(file), vec![content; usize::from(content)]).await),
        Step::Remove(file) => allowed(harness.remove(&path(file)).await),
        Step::Describe(file, content) => {
            let Ok(found) = harness.stat(&path(file)).await else { return };
            let attributes = Attributes { media_type: format!("text/{content}"), ..Attributes::default() };
            let target = name(&path(file));
            allowed(
                harness
                    .registry
                    .file_copy(&harness.actor, &found, &target, Some(attributes), Default::default(), free)
                    .await,
            );
        }
        Step::Copy(from, to) => {
            let Ok(found) = harness.stat(&path(from)).await else { return };
            allowed(
                harness
                    .registry
                    .file_copy(&harness.actor, &found, &name(&path(to)), None, Default::default(), free)
                    .await,
            );
        }
        Step::Finalize(package) => allowed(harness.finalize(["a", "b", ""][usize::from(package)]).await),
        Step::Together(puts) => {
            let puts = puts.into_iter().map(|(file, content)| async move {
                allowed(harness.put(&path(file), vec![content; 3]).await);
                if content == 5 {
                    allowed(harness.remove(&path(file)).await);
                }
            });
            join_all(puts).await;
        }
        Step::Clock(seconds) => harness.clock.set_seconds(1_000_000 + i64::from(seconds)),
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: crate::dialect::cases(24), failure_persistence: None, ..Default::default() })]
    #[test]
    fn whatever_was_done_the_views_equal_their_replay(
        steps in proptest::collection::vec(step(), 1..30),
        renews in any::<bool>(),
        limit in prop_oneof![Just(600_usize), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let settings = ProducerSettings {
                on_finalized: if renews { OnFinalized::NewRevision } else { OnFinalized::Refuse },
                finalize_marker: Some("done".to_owned()),
                ..ProducerSettings::default()
            };
            let harness = Harness::start_limited(settings, limit).await;
            for step in steps {
                take(&harness, step).await;
            }
            let before = harness.replay(true).await.unwrap();
            assert_eq!(before.differences, []);
            let replaced = harness.replay(false).await.unwrap();
            assert_eq!((replaced.events, replaced.rows), (before.events, before.rows));
            harness.finish().await;
        });
    }
}

#[tokio::test]
async fn a_row_that_was_tampered_with_is_named_and_healed() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "x").await.unwrap();
    let sequence = harness.put("board/a/y", "y").await.unwrap().file.sequence;
    harness.finalize("a").await.unwrap();
    for (sql, view, key) in [
        ("UPDATE files SET size_bytes = 99 WHERE key = 'a/y'", "files", sequence.to_string()),
        ("DELETE FROM names WHERE key = 'a/x'", "names", "board/a/x".to_owned()),
        ("UPDATE producers SET file_count = 7", "producers", "board".to_owned()),
        (
            "INSERT INTO names (producer, key, package, sequence) VALUES ('board', 'a/z', 'a', 3)",
            "names",
            "board/a/z".to_owned(),
        ),
    ] {
        assert_eq!(harness.tamper(sql).await, 1);
        let differences = harness.replay(true).await.unwrap().differences;
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert_eq!((differences[0].view.as_str(), &differences[0].key), (view, &key));
        assert_ne!(differences[0].live, differences[0].replayed);
        harness.replay(false).await.unwrap();
        assert_eq!(harness.replay(true).await.unwrap().differences, []);
    }
    // A row that cannot even be read is replaced all the same.
    harness.tamper("UPDATE files SET sha256 = substr(sha256, 1, 1)").await;
    assert!(matches!(harness.replay(true).await, Err(Error::RowUnreadable { view: "files", .. })));
    harness.replay(false).await.unwrap();
    harness.put("board/b/after", "writing goes on").await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn an_event_of_a_newer_version_stops_the_replay_and_says_which() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "x").await.unwrap();
    harness.tamper("UPDATE events SET kind = 'v2.file.dreamt' WHERE sequence = 3").await;
    for check in [true, false] {
        let error = harness.replay(check).await.unwrap_err();
        assert!(matches!(&error, Error::UnknownEvent { sequence: 3, kind } if kind == "v2.file.dreamt"), "{error:?}");
        assert!(error.to_string().contains("v2.file.dreamt"));
    }
    assert_eq!(harness.read("board/a/x").await.unwrap(), b"x", "the live views are as they were");
    harness.registry.stop().await;
}

#[tokio::test]
async fn a_log_that_was_changed_is_not_replayed_and_verify_names_the_event() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "x").await.unwrap();
    harness.put("board/a/y", "y").await.unwrap();
    harness.tamper("UPDATE events SET actor = 'mallory' WHERE sequence = 2").await;
    let error = harness.replay(true).await.unwrap_err();
    assert!(matches!(error, Error::EventUnreadable { sequence: 2, .. }), "{error:?}");
    let (summary, findings) = verify(&harness).await;
    assert_eq!(summary.damaged, 1);
    assert!(matches!(findings[..], [Finding::ChainBroken { sequence: 2, .. }]), "{findings:?}");
    harness.tamper("DELETE FROM events WHERE sequence = 2").await;
    let error = harness.replay(true).await.unwrap_err();
    assert!(matches!(error, Error::EventUnreadable { sequence: 3, .. }), "{error:?}");
    harness.registry.stop().await;
}

#[tokio::test]
async fn a_log_that_lost_its_last_events_is_found_out() {
    let harness = Harness::start().await;
    harness.put("board/a/x", "x").await.unwrap();
    harness.put("board/a/y", "y").await.unwrap();
    harness.tamper("DELETE FROM events WHERE sequence = 4").await;
    let (_, findings) = verify(&harness).await;
    assert!(matches!(findings[..], [Finding::ChainBroken { .. }]), "{findings:?}");
    assert!(harness.replay(true).await.is_err());
    harness.registry.stop().await;
}

async fn verify(harness: &Harness) -> (VerifySummary, Vec<Finding>) {
    let findings = Mutex::new(Vec::new());
    let on_finding = |finding| findings.lock().unwrap().push(finding);
    let summary = harness.registry.verify(&quiet(), &on_finding).await.unwrap();
    (summary, findings.into_inner().unwrap())
}

#[tokio::test]
async fn verify_finds_flipped_and_missing_bytes_and_names_the_files() {
    use artifactstore_registry::backends::backend::Backend;

    let harness = Harness::start().await;
    let flipped = harness.put("board/a/flipped", "flipped").await.unwrap().file;
    harness.put("board/b/also", "flipped").await.unwrap();
    let lost = harness.put("board/a/lost", "lost").await.unwrap().file;
    harness.put("board/a/whole", "whole").await.unwrap();
    assert_eq!(verify(&harness).await.0.damaged, 0);

    harness.backend.damage(&ObjectKey(flipped.content_address.0), Bytes::from_static(b"flippEd"));
    harness.backend.delete(&ObjectKey(lost.content_address.0)).await.unwrap();
    let (summary, findings) = verify(&harness).await;
    assert_eq!((summary.blobs, summary.damaged), (3, 2));
    let named = |address: String| {
        findings.iter().find_map(|finding| match finding {
            Finding::BlobDamaged { content_address, files, .. } if *content_address == address => Some(files.clone()),
            _ => None,
        })
    };
    let files = named(flipped.content_address.to_string()).unwrap();
    assert_eq!(files.len(), 2);
    assert!(files[0].starts_with("board/a/flipped") && files[1].starts_with("board/b/also"));
    assert!(named(lost.content_address.to_string()).unwrap()[0].starts_with("board/a/lost"));
    assert!(harness.read("board/a/lost").await.is_err());
    harness.registry.stop().await;
}

#[tokio::test]
async fn whoever_waits_for_an_event_is_woken_by_it() {
    let harness = Harness::start().await;
    let head = harness.store.head().await.unwrap().sequence;
    assert!(harness.registry.event_wait(head - 1, Duration::ZERO).await.unwrap(), "at once when it is there");
    assert!(!harness.registry.event_wait(head, Duration::from_millis(20)).await.unwrap(), "and not for ever");
    // Many rounds that each waited for the poll would take longer than the whole test may.
    let begun = tokio::time::Instant::now();
    for n in 0..10_u64 {
        let since = harness.store.head().await.unwrap().sequence;
        let wait = harness.registry.event_wait(since, Duration::from_secs(20));
        let write = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            harness.put(&format!("board/a/{n}"), "x").await.unwrap()
        };
        let (woken, _) = futures::join!(wait, write);
        assert!(woken.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "ten polls would have taken five seconds");
    harness.finish().await;
}
