//! What goes by itself: by lifecycle rules, and because retention classes say so; and what never does.

use artifactstore_registry::actions::request::{LifecycleRun, LifecycleSummary, Removal, VersionListRequest};
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::attributes::UploadAttributes;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice, WriteCondition};
use artifactstore_registry::model::lifecycle::{
    DayLength, Expiration, LifecycleRule, NoncurrentExpiration, RuleFilter,
};
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{ClassName, HoldName, PackageId};
use artifactstore_registry::model::retention::{Afterwards, LockTerms, Mode, Period, RetentionClass, Start};
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, Subresource, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};

use crate::collecting::collect;
use crate::harness::{Harness, name, producer, upload};

/// The moment at which every harness begins, in seconds: some hours behind a midnight.
const BEGIN: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// The midnight before it.
const MIDNIGHT: i64 = BEGIN / DAY * DAY;

fn rule(id: &str) -> LifecycleRule {
    let filter = RuleFilter::default();
    LifecycleRule { id: id.to_owned(), filter, expiration: None, noncurrent: None, abort_days: None }
}

fn days(days: u32) -> LifecycleRule {
    LifecycleRule { expiration: Some(Expiration::Days(days)), ..rule("old") }
}

fn noncurrent(days: u32, newer: usize) -> LifecycleRule {
    LifecycleRule { noncurrent: Some(NoncurrentExpiration { days, newer }), ..rule("former") }
}

/// A rule that takes whatever it may.
fn tidy() -> LifecycleRule {
    LifecycleRule { noncurrent: Some(NoncurrentExpiration { days: 1, newer: 0 }), ..days(1) }
}

async fn versioned() -> Harness {
    let harness = Harness::start().await;
    harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
    harness.registry.lock_configure(&harness.actor, &producer("board"), None).await.unwrap();
    harness
}

impl Harness {
    async fn run(&self, rules: &[LifecycleRule], dry: bool) -> LifecycleSummary {
        let document = Some(format!("{} rules", rules.len()));
        let (board, lifecycle) = (producer("board"), Subresource::Lifecycle);
        self.registry.subresource_set(&self.actor, &board, lifecycle, document).await.unwrap();
        let how = LifecycleRun { day: DayLength::REAL, dry };
        let read = |_: &str| Some(rules.to_vec());
        self.registry.lifecycle_run(&self.actor, &how, &read, &|_| {}).await.unwrap()
    }

    /// Whether a version is shown once everything went that a rule may take.
    pub(crate) async fn stays(&self, path: &str, version: u64) -> bool {
        self.run(&[tidy()], false).await;
        let numbered = Some(VersionChoice::Numbered(version));
        self.registry.file_stat(&self.actor, &name(path), numbered).await.is_ok()
    }

    /// The kinds and actors of the events behind one.
    async fn told_since(&self, since: u64) -> Vec<(String, String)> {
        let events = self.registry.event_list(since, usize::MAX).await.unwrap();
        let told = events.into_iter().filter(|record| !record.kind.starts_with("v1.subresource"));
        told.map(|record| (record.kind, record.actor)).collect()
    }

    async fn head(&self) -> u64 {
        self.events().await.len() as u64
    }

    async fn class(&self, name: &str, class: RetentionClass) -> ClassName {
        let name = ClassName::parse(name).unwrap();
        self.registry.class_set(&self.actor, &name, class, (false, String::new())).await.unwrap();
        name
    }

    async fn give(&self, subject: SubjectChoice, class: &ClassName) {
        let change = RetentionChange::Class(class.clone());
        self.change(subject, change, false).await.unwrap();
    }

    /// What S3 shows: key, number, whether it is a delete marker.
    async fn shown(&self) -> Vec<(String, u64, bool)> {
        let request = VersionListRequest {
            producer: producer("board"),
            prefix: String::new(),
            delimiter: None,
            key_marker: None,
            version_marker: None,
            limit: 1000,
        };
        let page = self.registry.version_list(&self.actor, &request).await.unwrap();
        page.versions.into_iter().map(|(it, _)| (it.listed.key.to_string(), it.sequence, it.marker)).collect()
    }

    async fn remove_version(&self, path: &str, version: u64) {
        let removal = Removal {
            key: name(path).key,
            version: Some(VersionChoice::Numbered(version)),
            condition: WriteCondition::default(),
            bypass: false,
        };
        self.registry.file_remove(&self.actor, &producer("board"), removal).await.unwrap();
    }
}

fn current(path: &str) -> SubjectChoice {
    SubjectChoice::File(name(path), None)
}

fn goes(mode: Mode, days: u32) -> RetentionClass {
    RetentionClass {
        mode,
        then: Afterwards::Delete,
        start: Start::Ingest,
        period: Period::Days(days),
        description: String::new(),
        may_shorten: false,
    }
}

#[tokio::test]
async fn a_name_goes_at_the_midnight_behind_its_days_and_the_log_names_the_rule() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let mut tagged = upload("board/run/tagged", "two");
    tagged.attributes.tags = [("keep".to_owned(), "no".to_owned())].into_iter().collect();
    harness.registry.file_ingest(&harness.actor, tagged).await.unwrap();
    harness.put("board/other/large", vec![b'x'; 100]).await.unwrap();
    let rules = [
        LifecycleRule { filter: RuleFilter { prefix: "run/x".to_owned(), ..RuleFilter::default() }, ..days(3) },
        LifecycleRule {
            id: "tagged".to_owned(),
            filter: RuleFilter { tags: vec![("keep".to_owned(), "no".to_owned())], ..RuleFilter::default() },
            ..days(3)
        },
        LifecycleRule {
            id: "large".to_owned(),
            filter: RuleFilter { larger_than_bytes: Some(100), ..RuleFilter::default() },
            ..days(1)
        },
    ];
    harness.pass(MIDNIGHT + 4 * DAY - 1).await;
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.removed_names, summary.kept, summary.producers_with_rules), (0, 0, 1), "{summary:?}");
    harness.pass(MIDNIGHT + 4 * DAY).await;
    assert_eq!(harness.run(&rules, true).await.removed_names, 2);
    assert!(harness.stat("board/run/x").await.is_ok(), "that was a dry run");
    let since = harness.head().await;
    assert_eq!(harness.run(&rules, false).await.removed_names, 2);
    let mut told = harness.told_since(since).await;
    told.sort();
    let removed = |actor: &str| ("v1.file.removed".to_owned(), format!("lifecycle:{actor}"));
    assert_eq!(told, [removed("old"), removed("tagged")]);
    assert!(harness.stat("board/run/x").await.is_err() && harness.stat("board/other/large").await.is_ok());
    assert_eq!(harness.run(&rules, false).await.removed_names, 0, "it is done once");
    let totals = harness.registry.lifecycle_totals();
    assert_eq!((totals.runs, totals.expired_names), (3, 2), "a dry run is none");
    assert_eq!(collect(&harness, 0).await.released, 2);
    harness.finish().await;
}

#[tokio::test]
async fn where_versions_are_kept_a_marker_comes_in_front_and_what_is_behind_goes_by_its_own_days() {
    let harness = versioned().await;
    let first = harness.put("board/run/x", "one").await.unwrap().file.sequence;
    let second = harness.put("board/run/x", "two").await.unwrap().file.sequence;
    let rules = [LifecycleRule { noncurrent: Some(NoncurrentExpiration { days: 2, newer: 0 }), ..days(4) }];
    harness.pass(MIDNIGHT + 3 * DAY).await;
    let since = harness.head().await;
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.removed_versions, summary.marked_names), (1, 0), "{summary:?}");
    assert_eq!(harness.told_since(since).await, [("v1.version.removed".to_owned(), "lifecycle:old".to_owned())]);
    assert_eq!(harness.shown().await, [("run/x".to_owned(), second, false)], "and not {first}");
    harness.pass(MIDNIGHT + 5 * DAY).await;
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.marked_names, summary.removed_versions), (1, 0), "{summary:?}");
    let marker = harness.head().await;
    assert_eq!(harness.shown().await, [("run/x".to_owned(), marker, true), ("run/x".to_owned(), second, false)]);
    assert!(harness.stat("board/run/x").await.is_err());
    // The version went behind the marker now; the marker is alone two days later, and four days old then.
    harness.pass(MIDNIGHT + 8 * DAY).await;
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.removed_versions, summary.removed_markers), (1, 0), "{summary:?}");
    harness.pass(MIDNIGHT + 10 * DAY).await;
    assert_eq!(harness.run(&rules, false).await.removed_markers, 1);
    assert_eq!(harness.shown().await, []);
    harness.finish().await;
}

#[tokio::test]
async fn so_many_newer_versions_are_spared_over_many_pages() {
    let harness = versioned().await;
    for at in 0..300 {
        harness.put("board/run/x", format!("version {at}")).await.unwrap();
    }
    harness.put("board/run/y", "another key").await.unwrap();
    let lone = harness.remove("board/run/lone").await.unwrap().unwrap();
    harness.pass(MIDNIGHT + 2 * DAY).await;
    let markers = LifecycleRule { expiration: Some(Expiration::LoneMarkers), ..rule("markers") };
    let rules = [noncurrent(1, 5), markers];
    assert_eq!(harness.run(&rules, true).await.removed_versions, 294);
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.removed_versions, summary.removed_markers), (294, 1), "{summary:?}");
    let shown = harness.shown().await;
    assert_eq!(shown.len(), 7, "{shown:?}");
    assert!(shown.iter().all(|(_, sequence, _)| *sequence != lone));
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"version 299");
    harness.finish().await;
}

#[tokio::test]
async fn an_upload_that_nobody_completes_is_given_up() {
    let harness = Harness::start().await;
    let begin = async |path: &str| {
        harness.registry.upload_create(&harness.actor, &name(path), UploadAttributes::default()).await.unwrap()
    };
    let old = begin("board/run/old").await;
    begin("board/other/old").await;
    harness.pass(BEGIN + 2 * DAY).await;
    begin("board/run/young").await;
    let filter = RuleFilter { prefix: "run/".to_owned(), ..RuleFilter::default() };
    let rules = [LifecycleRule { filter, abort_days: Some(2), ..rule("uploads") }];
    assert_eq!(harness.run(&rules, false).await.aborted_uploads, 0);
    harness.pass(MIDNIGHT + 3 * DAY).await;
    let since = harness.head().await;
    assert_eq!(harness.run(&rules, false).await.aborted_uploads, 1);
    assert_eq!(harness.told_since(since).await, [("v1.upload.aborted".to_owned(), "lifecycle:uploads".to_owned())]);
    assert!(harness.registry.upload_stat(&harness.actor, &name("board/run/old"), &old.id).await.is_err());
    assert_eq!(harness.registry.producer_stat(&harness.actor, &producer("board")).await.unwrap().upload_count, 2);
    harness.finish().await;
}

#[tokio::test]
async fn what_anything_keeps_is_counted_and_left_alone_by_every_rule() {
    let harness = versioned().await;
    let hold = HoldName::parse("case-7").unwrap();
    let locked =
        |mode, until| RetentionChange::Lock(Some(LockTerms { mode, retain_until: Timestamp(until * 1_000_000) }));
    for (key, until) in [("governance", 20), ("compliance", 30)] {
        let mode = Mode::parse(key).unwrap();
        harness.put(&format!("board/run/{key}"), key).await.unwrap();
        let subject = current(&format!("board/run/{key}"));
        harness.change(subject, locked(mode, BEGIN + until * DAY), false).await.unwrap();
    }
    harness.put("board/run/held", "held").await.unwrap();
    let placed = harness.registry.hold_place(&harness.actor, current("board/run/held"), &hold, "why".to_owned());
    placed.await.unwrap();
    harness.put("board/run/free", "free").await.unwrap();
    harness.put("board/sealed/x", "sealed").await.unwrap();
    for key in ["governance", "compliance", "held", "free"] {
        harness.put(&format!("board/run/{key}"), "newer").await.unwrap();
    }
    harness.put("board/sealed/x", "newer").await.unwrap();
    let sealed = harness.finalize("sealed").await.unwrap();
    harness.pass(BEGIN + 10 * DAY).await;
    let rules = [LifecycleRule { noncurrent: Some(NoncurrentExpiration { days: 1, newer: 0 }), ..days(1) }];
    let summary = harness.run(&rules, false).await;
    // Delete markers came in front of four; of what was behind them one went.
    assert_eq!((summary.marked_names, summary.removed_versions, summary.kept), (4, 1, 5), "{summary:?}");
    harness.pass(BEGIN + 25 * DAY).await;
    let summary = harness.run(&rules, false).await;
    // Governance is over; and what went behind the markers goes. No rule opens a revision of what is sealed.
    assert_eq!((summary.removed_versions, summary.kept), (5, 4), "{summary:?}");
    harness.pass(BEGIN + 40 * DAY).await;
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.removed_versions, summary.kept), (1, 3), "{summary:?}");
    let board = producer("board");
    let packages = harness.registry.package_list(&harness.actor, &board, &Default::default(), None, 9).await.unwrap();
    assert!(packages.iter().all(|package| package.revision == 1));
    harness.registry.package_release(&harness.actor, &sealed.id, "over".to_owned()).await.unwrap();
    let summary = harness.run(&rules, false).await;
    assert_eq!((summary.marked_names, summary.removed_versions, summary.kept), (1, 1, 1), "the hold has no end");
    assert_eq!(collect(&harness, 0).await.released, 8);
    harness.finish().await;
}

#[tokio::test]
async fn where_a_sealed_package_would_open_another_revision_nothing_goes_by_itself() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.pass(BEGIN + 10 * DAY).await;
    let summary = harness.run(&[days(1)], false).await;
    assert_eq!((summary.removed_names, summary.kept), (0, 1), "{summary:?}");
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"one");
    harness.finish().await;
}

#[tokio::test]
async fn what_only_released_revisions_have_goes_by_itself_though_a_later_one_is_open() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
    let class = harness.class("one-day", goes(Mode::None, 1)).await;
    for key in ["x", "x", "over"] {
        harness.put(&format!("board/run/{key}"), key).await.unwrap();
    }
    harness.give(current("board/run/over"), &class).await;
    harness.remove("board/run/lone").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "opens the second").await.unwrap();
    harness.pass(BEGIN + 10 * DAY).await;
    let rules = [LifecycleRule { expiration: Some(Expiration::LoneMarkers), ..noncurrent(1, 0) }];
    let went = |it: &LifecycleSummary| [it.removed_versions, it.outlived_versions, it.removed_markers, it.kept];
    assert_eq!(went(&harness.run(&rules, false).await), [0, 0, 0, 3]);
    harness.registry.package_release(&harness.actor, &first.id, "over".to_owned()).await.unwrap();
    assert_eq!(went(&harness.run(&rules, false).await), [1, 1, 1, 0]);
    harness.finish().await;
}

#[tokio::test]
async fn nothing_goes_by_itself_on_a_clock_that_jumped() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.clock.set_seconds(BEGIN + 400 * DAY);
    assert_eq!(harness.run(&[days(1)], false).await.removed_names, 0);
    let jump = harness.registry.clock_report().await.unwrap().jumps[0].clone();
    assert_eq!(jump.settled_sequence, None);
    assert_eq!(harness.run(&[days(1)], false).await.removed_names, 0);
    let settled = harness.registry.clock_settle(&harness.actor, jump.sequence, true, "it was off".to_owned());
    settled.await.unwrap();
    assert_eq!(harness.run(&[days(1)], false).await.removed_names, 1);
    harness.finish().await;
}

#[tokio::test]
async fn rules_that_cannot_be_understood_let_nothing_go() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.run(&[days(1)], false).await;
    harness.pass(BEGIN + 10 * DAY).await;
    let how = LifecycleRun { day: DayLength::REAL, dry: false };
    let summary = harness.registry.lifecycle_run(&harness.actor, &how, &|_| None, &|_| {}).await.unwrap();
    assert_eq!((summary.unreadable_rules, summary.removed_names), (1, 0));
    harness.finish().await;
}

#[tokio::test]
async fn it_is_the_turn_of_one_in_so_long() {
    let harness = Harness::start().await;
    let every = std::time::Duration::from_millis(300);
    assert!(harness.registry.lifecycle_turn(every).await.unwrap());
    assert!(!harness.registry.lifecycle_turn(every).await.unwrap());
    let taken = harness.store.lease_take(artifactstore_registry::store::lease::Work::Expire, "another", every).await;
    assert_eq!(taken.unwrap(), None);
    tokio::time::sleep(every + every / 2).await;
    assert!(harness.registry.lifecycle_turn(every).await.unwrap());
    harness.finish().await;
}

#[tokio::test]
async fn a_class_that_says_delete_takes_the_name_when_it_is_over_and_nothing_else_keeps_it() {
    let harness = Harness::start().await;
    let three = harness.class("three-days", goes(Mode::Compliance, 3)).await;
    let five = harness.class("five-days", goes(Mode::None, 5)).await;
    let stays = harness.class("stays", RetentionClass { then: Afterwards::Eligible, ..goes(Mode::None, 1) }).await;
    let seal = harness.class("from-seal", RetentionClass { start: Start::Finalize, ..goes(Mode::None, 1) }).await;
    for (key, classes) in [
        ("one", vec![&three]),
        ("longest", vec![&three, &five]),
        ("stays", vec![&three, &stays]),
        ("not-begun", vec![&three, &seal]),
        ("free", vec![]),
    ] {
        harness.put(&format!("board/run/{key}"), key).await.unwrap();
        for class in classes {
            harness.give(current(&format!("board/run/{key}")), class).await;
        }
    }
    harness.pass(BEGIN + 3 * DAY - 1).await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 0);
    harness.pass(BEGIN + 3 * DAY).await;
    assert_eq!(harness.run(&[], true).await.outlived_versions, 1);
    let since = harness.head().await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 1);
    assert_eq!(harness.told_since(since).await, [("v1.file.removed".to_owned(), "retention:three-days".to_owned())]);
    assert!(harness.stat("board/run/one").await.is_err() && harness.stat("board/run/longest").await.is_ok());
    harness.pass(BEGIN + 5 * DAY).await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 1);
    assert_eq!(collect(&harness, 0).await.released, 2);
    harness.pass(BEGIN + 90 * DAY).await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 0, "one leaves it to somebody, one has yet to begin");
    for key in ["stays", "not-begun", "free"] {
        assert!(harness.stat(&format!("board/run/{key}")).await.is_ok(), "{key}");
    }
    assert_eq!(harness.registry.lifecycle_totals().outlived_versions, 2);
    harness.finish().await;
}

#[tokio::test]
async fn what_was_replaced_does_not_come_back_when_its_successor_goes_by_its_class() {
    let harness = versioned().await;
    let class = harness.class("three-days", goes(Mode::Governance, 3)).await;
    let former = harness.put("board/run/x", "former").await.unwrap().file.sequence;
    let gone = harness.put("board/run/x", "gone").await.unwrap().file.sequence;
    harness.give(current("board/run/x"), &class).await;
    harness.put("board/run/alone", "alone").await.unwrap();
    harness.give(current("board/run/alone"), &class).await;
    harness.pass(BEGIN + 3 * DAY).await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 2);
    let shown = harness.shown().await;
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].2 && shown[1] == ("run/x".to_owned(), former, false), "{shown:?}, and not {gone}");
    assert!(harness.stat("board/run/x").await.is_err());
    harness.remove_version("board/run/x", shown[0].1).await;
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"former", "somebody may want it back");
    assert_eq!(collect(&harness, 0).await.released, 2);
    harness.finish().await;
}

#[tokio::test]
async fn a_null_version_that_no_class_lets_go_of_is_not_taken_by_the_marker_of_another() {
    let harness = Harness::start().await;
    let class = harness.class("three-days", goes(Mode::None, 3)).await;
    let board = producer("board");
    let null = harness.put("board/run/x", "null").await.unwrap().file.sequence;
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Enabled).await.unwrap();
    let over = harness.put("board/run/x", "over").await.unwrap().file.sequence;
    harness.give(current("board/run/x"), &class).await;
    harness.registry.versioning_set(&harness.actor, &board, Versioning::Suspended).await.unwrap();
    harness.pass(BEGIN + 3 * DAY).await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 0, "it waits for somebody");
    let shown: Vec<u64> = harness.shown().await.into_iter().map(|(_, version, _)| version).collect();
    assert_eq!(shown, [over, null]);
    harness.give(SubjectChoice::File(name("board/run/x"), Some(VersionChoice::Null)), &class).await;
    assert!(harness.run(&[], false).await.outlived_versions > 0);
    assert!(harness.stat("board/run/x").await.is_err());
    harness.finish().await;
}

#[tokio::test]
async fn a_class_of_a_package_takes_its_files_and_its_seal_keeps_them_until_it_is_released() {
    let harness = Harness::start().await;
    let class = harness.class("seal-and-a-day", RetentionClass { start: Start::Finalize, ..goes(Mode::None, 1) }).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    harness.put("board/other/z", "three").await.unwrap();
    let package: PackageId = harness.finalize("run").await.unwrap().id;
    harness.give(SubjectChoice::Package(package.clone()), &class).await;
    harness.pass(BEGIN + DAY).await;
    let summary = harness.run(&[], false).await;
    assert_eq!((summary.outlived_versions, summary.kept), (0, 2), "{summary:?}");
    harness.registry.package_release(&harness.actor, &package, "over".to_owned()).await.unwrap();
    assert_eq!(harness.run(&[], false).await.outlived_versions, 2);
    assert!(harness.stat("board/run/x").await.is_err() && harness.stat("board/other/z").await.is_ok());
    harness.finish().await;
}

#[tokio::test]
async fn a_revision_in_between_that_keeps_a_file_again_keeps_its_class_from_taking_it() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let own = harness.class("three-days", goes(Mode::None, 3)).await;
    let between = harness.class("of-the-second", goes(Mode::Compliance, 1)).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.give(current("board/run/x"), &own).await;
    harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    harness.give(SubjectChoice::Package(second.id), &between).await;
    harness.put("board/run/z", "three").await.unwrap();
    let third = harness.finalize("run").await.unwrap();
    harness.pass(BEGIN + 4 * DAY).await;
    harness.registry.package_release(&harness.actor, &third.id, "over".to_owned()).await.unwrap();
    // It was written into the first revision, and the third is the latest: the second is neither.
    harness.class("of-the-second", goes(Mode::Compliance, 10)).await;
    let summary = harness.run(&[], false).await;
    assert!(summary.outlived_versions == 0 && summary.kept > 0, "{summary:?}");
    assert_eq!(harness.read("board/run/x").await.unwrap(), b"one");
    // Over, it leaves it to somebody to remove the name.
    let stays = RetentionClass { then: Afterwards::Eligible, ..goes(Mode::Compliance, 10) };
    harness.class("of-the-second", stays).await;
    harness.pass(BEGIN + 11 * DAY).await;
    assert_eq!(harness.run(&[], false).await.outlived_versions, 0);
    assert!(harness.stat("board/run/x").await.is_ok());
    harness.finish().await;
}

#[tokio::test]
async fn the_time_is_noted_in_a_quiet_log_so_that_whoever_begins_later_knows_it() {
    let hours = |hours: i64| BEGIN + hours * 3600;
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.clock.pass_seconds(hours(11));
    assert!(!harness.registry.clock_note(&harness.actor, false).await.unwrap());
    harness.clock.pass_seconds(hours(12));
    let since = harness.head().await;
    assert!(harness.registry.clock_note(&harness.actor, false).await.unwrap());
    assert!(!harness.registry.clock_note(&harness.actor, false).await.unwrap(), "it is noted once");
    assert_eq!(harness.told_since(since).await, [("v1.clock.noted".to_owned(), "tester".to_owned())]);
    // A process that begins a day and a half behind the last write, and writes.
    let backend = std::sync::Arc::clone(&harness.backend);
    let harness = harness.restart_without(backend).await;
    harness.clock.set_seconds(hours(35));
    harness.put("board/run/y", "two").await.unwrap();
    assert_eq!(harness.unsettled().await, []);
    // Without the note it would not know.
    let backend = std::sync::Arc::clone(&harness.backend);
    let harness = harness.restart_without(backend).await;
    harness.clock.set_seconds(hours(35 + 25));
    harness.put("board/run/z", "three").await.unwrap();
    assert_eq!(harness.unsettled().await.len(), 1);
    harness.finish().await;
}

#[tokio::test]
async fn a_producer_whose_finalized_packages_were_all_released_can_be_deleted_once_it_is_empty() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.put("board/run/x", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    harness.put("board/other/y", "three").await.unwrap();
    let other = harness.finalize("other").await.unwrap();
    let (registry, who, board) = (&harness.registry, &harness.actor, producer("board"));
    let refused = async || {
        for outcome in
            [registry.producer_delete(who, &board).await, registry.producer_delete_with_uploads(who, &board).await]
        {
            assert!(matches!(outcome, Err(Error::Refused(Refusal::ProducerNotEmpty(_)))), "{outcome:?}");
        }
    };
    // With the second revision the first is released.
    registry.package_release(who, &second.id, "over".to_owned()).await.unwrap();
    harness.remove("board/run/x").await.unwrap();
    refused().await;
    registry.package_release(who, &other.id, "over".to_owned()).await.unwrap();
    refused().await;
    harness.remove("board/other/y").await.unwrap();
    registry.producer_delete_with_uploads(who, &board).await.unwrap();
    assert_eq!(collect(&harness, 0).await.released, 3);
    crate::collecting::recounted(&harness).await;
    // Whoever takes the name next begins without them.
    registry.producer_create(who, &board, ProducerSettings::default()).await.unwrap();
    assert_eq!(harness.put("board/run/x", "new").await.unwrap().versioning, Versioning::Off);
    assert_eq!(harness.finalize("run").await.unwrap().revision, 1);
    harness.finish().await;
}

#[tokio::test]
async fn a_producer_of_a_stored_manifest_stays_with_it() {
    let harness = Harness::start_limited(ProducerSettings::default(), 64).await;
    harness.put("board/run/x", "one").await.unwrap();
    let sealed = harness.finalize("run").await.unwrap();
    harness.registry.package_release(&harness.actor, &sealed.id, "over".to_owned()).await.unwrap();
    harness.remove("board/run/x").await.unwrap();
    let refused = harness.registry.producer_delete(&harness.actor, &producer("board")).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::ProducerNotEmpty(_)))), "{refused:?}");
    harness.finish().await;
}

#[tokio::test]
async fn a_manifest_says_what_keeps_its_package() {
    let harness = Harness::start().await;
    let summary = async |package: &str| {
        let id = harness.finalize(package).await.unwrap().id;
        let manifest = harness.registry.package_manifest(&harness.actor, &id).await.unwrap();
        Manifest::decode(&manifest).unwrap().retention_summary
    };
    harness.put("board/plain/x", "one").await.unwrap();
    let told = summary("plain").await;
    assert_eq!((told.mode.as_str(), told.class.as_str(), told.holds.len()), ("none", "none", 0));
    let over = harness.class("over", goes(Mode::Compliance, 1)).await;
    for key in ["x", "y", "z"] {
        harness.put(&format!("board/kept/{key}"), key).await.unwrap();
    }
    harness.give(current("board/kept/x"), &over).await;
    harness.give(current("board/kept/y"), &ClassName::parse("working").unwrap()).await;
    harness.give(current("board/kept/z"), &ClassName::parse("project-record").unwrap()).await;
    for (subject, hold) in [
        (current("board/kept/x"), "case-9"),
        (SubjectChoice::Producer(producer("board")), "case-1"),
        (current("board/kept/y"), "case-9"),
    ] {
        let hold = HoldName::parse(hold).unwrap();
        harness.registry.hold_place(&harness.actor, subject, &hold, "why".to_owned()).await.unwrap();
    }
    harness.pass(BEGIN + 2 * DAY).await;
    let told = summary("kept").await;
    assert_eq!((told.mode.as_str(), told.class.as_str()), ("governance", "project-record,working"));
    assert_eq!(told.holds, ["case-1", "case-9"]);
    harness.finish().await;
}
