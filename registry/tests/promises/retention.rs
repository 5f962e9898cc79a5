//! Retention: what keeps a version keeps it, by every road; and every change leaves an event.

use artifactstore_registry::actions::request::{FileUpload, Removal};
use artifactstore_registry::actions::retention::RetentionOrder;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice, WriteCondition};
use artifactstore_registry::model::manifest::Manifest;
use artifactstore_registry::model::name::{ClassName, HoldName, PackageId};
use artifactstore_registry::model::retention::{
    Afterwards, LockTerms, Mode, Period, Reason, Retention, RetentionClass, RetentionRule, Start,
};
use artifactstore_registry::model::row::{OnFinalized, ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal, Result};

use crate::collecting::collect;
use crate::harness::{Harness, name, producer, upload};

/// The moment at which every harness begins, in seconds.
const BEGIN: i64 = 1_000_000;
const DAY: i64 = 86_400;

fn class(name: &str) -> ClassName {
    ClassName::parse(name).unwrap()
}

fn hold(name: &str) -> HoldName {
    HoldName::parse(name).unwrap()
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn rule(mode: Mode, period: Period) -> RetentionClass {
    RetentionClass {
        mode,
        then: Afterwards::Eligible,
        start: Start::Ingest,
        period,
        description: String::new(),
        may_shorten: mode == Mode::Governance,
    }
}

fn of_class(settings: ProducerSettings, name: &str) -> ProducerSettings {
    ProducerSettings { retention_class: Some(class(name)), ..settings }
}

fn current(path: &str) -> SubjectChoice {
    SubjectChoice::File(name(path), None)
}

impl Harness {
    pub(crate) async fn delete(&self, key: &str, version: Option<u64>, bypass: bool) -> Result<Option<u64>> {
        let removal = Removal {
            key: name(&format!("board/{key}")).key,
            version: version.map(VersionChoice::Numbered),
            condition: WriteCondition::default(),
            bypass,
        };
        Ok(self.registry.file_remove(&self.actor, &producer("board"), removal).await?.sequence)
    }

    pub(crate) async fn change(&self, subject: SubjectChoice, change: RetentionChange, bypass: bool) -> Result<()> {
        let order = RetentionOrder { subject, change, bypass, reason: String::new() };
        self.registry.retention_set(&self.actor, order).await.map(drop)
    }

    async fn lock(&self, path: &str, mode: Mode, until: i64, bypass: bool) -> Result<()> {
        let terms = LockTerms { mode, retain_until: seconds(until) };
        self.change(current(path), RetentionChange::Lock(Some(terms)), bypass).await
    }

    /// Lets time go by that nobody doubts.
    pub(crate) async fn pass(&self, to: i64) {
        self.clock.set_seconds(to);
        self.registry.versioning_set(&self.actor, &producer("other"), Versioning::Enabled).await.ok();
        for jump in self.registry.clock_report().await.unwrap().jumps {
            let reason = "the test says so".to_owned();
            self.registry.clock_settle(&self.actor, jump.sequence, true, reason).await.unwrap();
        }
    }
}

fn numbered(path: &str, version: u64) -> SubjectChoice {
    SubjectChoice::File(name(path), Some(VersionChoice::Numbered(version)))
}

fn kept<T: std::fmt::Debug>(outcome: Result<T>) -> Vec<Reason> {
    match outcome {
        Err(Error::Refused(Refusal::Kept(reasons))) => reasons,
        other => panic!("it is to be kept: {other:?}"),
    }
}

async fn versioned() -> Harness {
    let harness = Harness::start().await;
    harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Enabled).await.unwrap();
    harness.registry.lock_configure(&harness.actor, &producer("board"), None).await.unwrap();
    harness
}

#[tokio::test]
async fn a_class_of_the_producer_keeps_new_files_until_its_period_is_over() {
    let harness = Harness::start_with(of_class(ProducerSettings::default(), "permanent")).await;
    harness.put("board/run/forever", "x").await.unwrap();
    let set = rule(Mode::Compliance, Period::Days(3));
    harness.registry.class_set(&harness.actor, &class("three-days"), set, (false, String::new())).await.unwrap();
    let settings = of_class(ProducerSettings::default(), "three-days");
    harness.registry.producer_configure(&harness.actor, &producer("board"), settings).await.unwrap();
    let put = harness.put("board/run/x", "one").await.unwrap();
    let reasons = kept(harness.delete("run/x", None, true).await);
    let until = Some(seconds(BEGIN + 3 * DAY));
    assert!(matches!(&reasons[..], [Reason::Class { class: of, mode: Mode::Compliance, until: to, event, .. }]
        if *of == class("three-days") && *to == until && *event == put.file.sequence));
    // Where versions are not kept, a replacement would take it from sight.
    kept(harness.put("board/run/x", "two").await);
    // What it carries may change: the bytes and what keeps them stay.
    let found = harness.stat("board/run/x").await.unwrap();
    let described = harness
        .registry
        .file_copy(
            &harness.actor,
            &found,
            &name("board/run/x"),
            Some(Default::default()),
            Retention::default(),
            WriteCondition::default(),
        )
        .await
        .unwrap();
    assert_eq!(described.file.keeping, found.file.keeping);
    harness.pass(BEGIN + 3 * DAY - 1).await;
    kept(harness.delete("run/x", None, true).await);
    harness.pass(BEGIN + 3 * DAY).await;
    harness.delete("run/x", None, false).await.unwrap();
    let reasons = kept(harness.delete("run/forever", None, true).await);
    assert!(matches!(&reasons[..], [Reason::Class { until: None, .. }]));
    harness.finish().await;
}

#[tokio::test]
async fn the_longest_of_all_that_a_file_is_given_wins() {
    let rules = vec![
        RetentionRule { class: class("one-day"), prefix: "run/".to_owned() },
        RetentionRule { class: class("permanent"), prefix: "other/".to_owned() },
    ];
    let harness = Harness::start().await;
    for (name, days) in [("one-day", 1), ("two-days", 2), ("three-days", 3), ("four-days", 4)] {
        let set = rule(Mode::Governance, Period::Days(days));
        harness.registry.class_set(&harness.actor, &class(name), set, (false, String::new())).await.unwrap();
    }
    let settings = ProducerSettings { retention_rules: rules, ..of_class(ProducerSettings::default(), "two-days") };
    harness.registry.producer_configure(&harness.actor, &producer("board"), settings).await.unwrap();
    let mut asked = upload("board/run/x", "one");
    asked.retention.classes = vec![class("three-days")];
    asked.attributes.tags = [("artifact-retention-class".to_owned(), "four-days".to_owned())].into_iter().collect();
    let file = harness.registry.file_ingest(&harness.actor, asked).await.unwrap().file;
    let given: Vec<&str> = file.keeping.classes.iter().map(|chosen| chosen.name.as_str()).collect();
    assert_eq!(given, ["two-days", "one-day", "three-days", "four-days"]);
    let terms = harness.registry.file_retention(&file).await.unwrap().unwrap();
    assert_eq!(terms, LockTerms { mode: Mode::Governance, retain_until: seconds(BEGIN + 4 * DAY) });
    assert_eq!(kept(harness.delete("run/x", None, false).await).len(), 4);
    let unknown = FileUpload {
        retention: Retention { classes: vec![class("unknown")], ..Retention::default() },
        ..upload("board/run/y", "y")
    };
    let refused = harness.registry.file_ingest(&harness.actor, unknown).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::ClassMissing(_)))), "{refused:?}");
    harness.delete("run/x", None, true).await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn a_class_is_only_shortened_where_it_says_so_and_by_who_says_so() {
    let harness = Harness::start().await;
    let set = async |name: &str, to: RetentionClass, bypass| {
        harness.registry.class_set(&harness.actor, &class(name), to, (bypass, "why".to_owned())).await
    };
    let firm = |outcome: Result<_>| assert!(matches!(outcome, Err(Error::Refused(Refusal::ClassFirm { .. }))));
    let compliance = rule(Mode::Compliance, Period::Days(9));
    set("c", compliance.clone(), false).await.unwrap();
    set("c", RetentionClass { period: Period::Years(1), ..compliance.clone() }, false).await.unwrap();
    for to in [
        compliance.clone(),
        RetentionClass { mode: Mode::Governance, period: Period::Forever, ..compliance.clone() },
        RetentionClass { start: Start::Finalize, period: Period::Forever, ..compliance.clone() },
        RetentionClass { may_shorten: true, period: Period::Years(2), ..compliance.clone() },
    ] {
        firm(set("c", to, true).await.map(drop));
    }
    let governance = rule(Mode::Governance, Period::Days(9));
    set("g", governance.clone(), false).await.unwrap();
    let shorter = RetentionClass { period: Period::Days(1), ..governance.clone() };
    firm(set("g", shorter.clone(), false).await.map(drop));
    set("g", shorter, true).await.unwrap();
    set("h", RetentionClass { may_shorten: false, ..governance.clone() }, false).await.unwrap();
    firm(
        set("h", RetentionClass { period: Period::Days(1), may_shorten: false, ..governance.clone() }, true)
            .await
            .map(drop),
    );
    firm(set("permanent", rule(Mode::Compliance, Period::Years(100)), true).await.map(drop));
    firm(set("s3-mine", governance, true).await.map(drop));
    harness.finish().await;
}

#[tokio::test]
async fn what_a_changed_class_would_let_go_is_told_and_not_done() {
    let harness = Harness::start().await;
    let governance = rule(Mode::Governance, Period::Days(9));
    harness.registry.class_set(&harness.actor, &class("g"), governance.clone(), (false, String::new())).await.unwrap();
    let settings = of_class(ProducerSettings::default(), "g");
    harness.registry.producer_configure(&harness.actor, &producer("board"), settings).await.unwrap();
    let x = harness.put("board/run/x", "one").await.unwrap().file;
    harness.put("board/run/y", "four").await.unwrap();
    harness.registry.hold_place(&harness.actor, current("board/run/y"), &hold("case"), "why".to_owned()).await.unwrap();
    harness.pass(BEGIN + 2 * DAY).await;
    let simulate = async |days| {
        let changed = RetentionClass { period: Period::Days(days), ..governance.clone() };
        harness.registry.class_simulate(&class("g"), changed).await.unwrap()
    };
    let simulation = simulate(1).await;
    assert_eq!((simulation.versions_kept, simulation.versions_released, simulation.bytes_released), (2, 1, 3));
    assert_eq!(simulation.versions[0].event, x.sequence);
    assert_eq!(simulate(3).await.versions_released, 0);
    kept(harness.delete("run/x", None, false).await);
    harness.finish().await;
}

#[tokio::test]
async fn what_a_revision_in_between_keeps_is_not_told_to_go_with_a_changed_class() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    let governance = rule(Mode::Governance, Period::Days(9));
    harness.registry.class_set(&harness.actor, &class("g"), governance.clone(), (false, String::new())).await.unwrap();
    harness.put("board/run/x", "one").await.unwrap();
    harness.change(current("board/run/x"), RetentionChange::Class(class("g")), false).await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = SubjectChoice::Package(harness.finalize("run").await.unwrap().id);
    harness.put("board/run/z", "three").await.unwrap();
    let case = hold("case");
    harness.registry.hold_place(&harness.actor, second.clone(), &case, "why".to_owned()).await.unwrap();
    harness.pass(BEGIN + 2 * DAY).await;
    let simulate = async || {
        let changed = RetentionClass { period: Period::Days(1), ..governance.clone() };
        let simulation = harness.registry.class_simulate(&class("g"), changed).await.unwrap();
        (simulation.versions_kept, simulation.versions_released)
    };
    assert_eq!(simulate().await, (1, 0));
    harness.registry.hold_release(&harness.actor, second, &case, String::new()).await.unwrap();
    assert_eq!(simulate().await, (1, 1));
    harness.finish().await;
}

#[tokio::test]
async fn a_hold_keeps_whatever_else_lets_go_and_says_who_and_why() {
    let harness = Harness::start().await;
    let receipt = harness.put("board/run/x", "one").await.unwrap();
    let package = harness.registry.package_list(&harness.actor, &producer("board"), &Default::default(), None, 9).await;
    let package = package.unwrap()[0].id.clone();
    let subjects =
        [current("board/run/x"), SubjectChoice::Package(package), SubjectChoice::Producer(producer("board"))];
    for subject in subjects {
        let (registry, who) = (&harness.registry, &harness.actor);
        let empty = registry.hold_place(who, subject.clone(), &hold("case-7"), " ".to_owned()).await;
        assert!(matches!(empty, Err(Error::Refused(Refusal::SettingInvalid { setting: "reason", .. }))));
        registry.hold_place(who, subject.clone(), &hold("case-7"), "a lawsuit".to_owned()).await.unwrap();
        let before = harness.events().await.len();
        registry.hold_place(who, subject.clone(), &hold("case-7"), "again".to_owned()).await.unwrap();
        assert_eq!(harness.events().await.len(), before, "it is there already");
        let reasons = kept(harness.delete("run/x", None, true).await);
        assert!(
            matches!(&reasons[..], [Reason::Hold { hold: name, reason, actor, .. }]
            if *name == hold("case-7") && reason == "a lawsuit" && actor == "tester"),
            "{reasons:?}"
        );
        let told = registry.file_eligibility(who, &name("board/run/x"), None).await.unwrap();
        assert!(!told.eligible && told.reasons == reasons);
        registry.hold_release(who, subject.clone(), &hold("case-7"), "settled".to_owned()).await.unwrap();
        registry.hold_release(who, subject, &hold("case-7"), String::new()).await.unwrap();
    }
    let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), None).await.unwrap();
    assert!(told.eligible && told.frees_bytes && told.reasons.is_empty());
    harness.put("board/run/same", "one").await.unwrap();
    let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), None).await.unwrap();
    assert!(told.eligible && !told.frees_bytes, "another file has the same bytes");
    assert_eq!(told.references[0].key, "run/same");
    assert_eq!(harness.delete("run/x", None, false).await.unwrap(), Some(harness.events().await.len() as u64));
    assert!(receipt.file.keeping.is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn a_lock_is_extended_by_anyone_and_shortened_in_governance_with_the_right_to() {
    let harness = versioned().await;
    let version = harness.put("board/run/x", "one").await.unwrap().file.sequence;
    let past = harness.lock("board/run/x", Mode::Governance, BEGIN, false).await;
    assert!(matches!(past, Err(Error::Refused(Refusal::RetainUntilPast))));
    harness.lock("board/run/x", Mode::Governance, BEGIN + 5, false).await.unwrap();
    harness.lock("board/run/x", Mode::Governance, BEGIN + 9, false).await.unwrap();
    kept(harness.lock("board/run/x", Mode::Governance, BEGIN + 5, false).await);
    kept(harness.lock("board/run/x", Mode::Compliance, BEGIN + 9, false).await);
    kept(harness.change(current("board/run/x"), RetentionChange::Lock(None), false).await);
    harness.lock("board/run/x", Mode::Governance, BEGIN + 4, true).await.unwrap();
    kept(harness.delete("run/x", Some(version), false).await);
    // A marker in front takes nothing from anybody.
    let marker = harness.delete("run/x", None, false).await.unwrap().unwrap();
    harness.delete("run/x", Some(marker), false).await.unwrap();
    harness.lock("board/run/x", Mode::Compliance, BEGIN + 9, true).await.unwrap();
    for bypass in [false, true] {
        kept(harness.lock("board/run/x", Mode::Compliance, BEGIN + 8, bypass).await);
        kept(harness.lock("board/run/x", Mode::Governance, BEGIN + 99, bypass).await);
        kept(harness.change(current("board/run/x"), RetentionChange::Lock(None), bypass).await);
        kept(harness.delete("run/x", Some(version), bypass).await);
    }
    harness.lock("board/run/x", Mode::Compliance, BEGIN + 10, false).await.unwrap();
    let suspended = harness.registry.versioning_set(&harness.actor, &producer("board"), Versioning::Suspended).await;
    assert!(matches!(suspended, Err(Error::Refused(Refusal::LockNeedsVersioning))));
    harness.put("board/run/x", "two").await.unwrap();
    kept(harness.delete("run/x", Some(version), true).await);
    harness.pass(BEGIN + 10).await;
    harness.delete("run/x", Some(version), false).await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn s3s_default_is_the_producers_class() {
    let harness = versioned().await;
    let configure =
        async |default| harness.registry.lock_configure(&harness.actor, &producer("board"), default).await.unwrap();
    let row = configure(Some((Mode::Governance, Period::Days(2)))).await;
    assert_eq!(row.settings.retention_class, Some(class("s3-governance-2d")));
    let version = harness.put("board/run/x", "one").await.unwrap().file.sequence;
    assert_eq!(configure(None).await.settings.retention_class, None);
    kept(harness.delete("run/x", Some(version), false).await);
    // A lock that is shorter takes the place of the class, where governance may be bypassed.
    kept(harness.lock("board/run/x", Mode::Governance, BEGIN + DAY, false).await);
    harness.lock("board/run/x", Mode::Governance, BEGIN + DAY, true).await.unwrap();
    let file = harness.stat("board/run/x").await.unwrap().file;
    let terms = harness.registry.file_retention(&file).await.unwrap().unwrap();
    assert_eq!(terms.retain_until, seconds(BEGIN + DAY));
    configure(Some((Mode::Compliance, Period::Years(1)))).await;
    harness.put("board/run/y", "one").await.unwrap();
    kept(harness.lock("board/run/y", Mode::Compliance, BEGIN + DAY, true).await);
    harness.finish().await;
}

#[tokio::test]
async fn a_sealed_package_is_released_once_nothing_keeps_it() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    let to = SubjectChoice::Package(package.id.clone());
    harness.change(to.clone(), RetentionChange::Class(class("project-record")), false).await.unwrap();
    let release = async || harness.registry.package_release(&harness.actor, &package.id, "over".to_owned()).await;
    let reasons = kept(release().await);
    assert!(matches!(&reasons[..], [Reason::Class { mode: Mode::Governance, .. }]));
    let told = harness.explained(&package.id).await;
    assert!(!told.eligible && told.reasons == reasons);
    assert!(harness.delete("run/x", None, true).await.is_err(), "the seal keeps it, too");
    harness.pass(BEGIN + 3 * 366 * DAY).await;
    assert!(harness.explained(&package.id).await.eligible);
    assert!(harness.delete("run/x", None, true).await.is_err(), "nobody released it yet");
    let first = release().await.unwrap();
    assert_eq!(release().await.unwrap(), first);
    let kept_no_more = harness.change(to, RetentionChange::Class(class("permanent")), false).await;
    assert!(matches!(kept_no_more, Err(Error::Refused(Refusal::PackageWasReleased(_)))));
    assert!(harness.put("board/run/y", "two").await.is_err(), "it stays sealed");
    harness.delete("run/x", None, false).await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn a_hold_on_an_earlier_revision_keeps_the_later_ones_from_being_released() {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    harness.put("board/run/x", "one").await.unwrap();
    let first = harness.finalize("run").await.unwrap();
    let to = SubjectChoice::Package(first.id.clone());
    harness.put("board/run/x", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    harness.registry.hold_place(&harness.actor, to.clone(), &hold("case"), "why".to_owned()).await.unwrap();
    let release = async || harness.registry.package_release(&harness.actor, &second.id, "over".to_owned()).await;
    assert!(matches!(&kept(release().await)[..], [Reason::Hold { .. }]));
    // Alone, the first cannot be released: files of its may be in the second.
    let alone = harness.registry.package_release(&harness.actor, &first.id, "over".to_owned()).await;
    assert!(matches!(alone, Err(Error::Refused(Refusal::PackageSuperseded(2)))), "{alone:?}");
    harness.registry.hold_release(&harness.actor, to.clone(), &hold("case"), String::new()).await.unwrap();
    release().await.unwrap();
    let late = harness.registry.hold_place(&harness.actor, to, &hold("late"), "why".to_owned()).await;
    assert!(matches!(late, Err(Error::Refused(Refusal::PackageWasReleased(_)))), "{late:?}");
    assert_eq!(collect(&harness, 0).await.released, 1, "the version that only the first revision has");
    harness.finish().await;
}

#[tokio::test]
async fn nothing_expires_on_a_clock_that_jumped_until_somebody_vouches_for_it() {
    let harness = Harness::start_with(of_class(ProducerSettings::default(), "regulated-record")).await;
    let permanent = rule(Mode::Compliance, Period::Days(30));
    harness.registry.class_set(&harness.actor, &class("month"), permanent, (false, String::new())).await.unwrap();
    let settings = of_class(ProducerSettings::default(), "month");
    harness.registry.producer_configure(&harness.actor, &producer("board"), settings).await.unwrap();
    harness.put("board/run/x", "one").await.unwrap();
    harness.clock.set_seconds(BEGIN + 400 * DAY);
    kept(harness.delete("run/x", None, true).await);
    assert_eq!(harness.kinds().await.last().unwrap(), "v1.clock.jumped");
    let jump = harness.registry.clock_report().await.unwrap().jumps[0].clone();
    assert!((seconds(BEGIN)..seconds(BEGIN + 60)).contains(&jump.from), "{jump:?}");
    assert_eq!(jump.settled_sequence, None);
    let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), None).await.unwrap();
    assert_eq!((told.eligible, told.as_of, told.clock_jumps.len()), (false, jump.from, 1));
    harness.put("board/run/y", "ingest goes on").await.unwrap();
    // The clock was wrong, and is right again: the log's own time stays ahead, and is not what expiry goes by.
    harness.clock.set_seconds(BEGIN);
    harness.clock.pass_seconds(BEGIN + DAY);
    let settle = async |genuine| {
        let reason = "looked at the wall".to_owned();
        harness.registry.clock_settle(&harness.actor, jump.sequence, genuine, reason).await.unwrap()
    };
    assert!(!settle(false).await.genuine);
    let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), None).await.unwrap();
    assert_eq!((told.as_of, told.clock_jumps.len()), (seconds(BEGIN + DAY), 0));
    kept(harness.delete("run/x", None, true).await);
    settle(true).await;
    harness.delete("run/x", None, false).await.unwrap();
    harness.finish().await;
}

#[tokio::test]
async fn what_is_out_of_sight_is_collected_when_retention_lets_it_go_and_not_before() {
    let harness = Harness::start_with(of_class(ProducerSettings::default(), "working")).await;
    let first = harness.put("board/run/x", "one").await.unwrap().file.sequence;
    harness.put("board/run/x", "two").await.unwrap();
    let removed = harness.put("board/run/y", "three").await.unwrap().file.sequence;
    harness.delete("run/y", None, false).await.unwrap();
    harness
        .registry
        .hold_place(&harness.actor, numbered("board/run/y", removed), &hold("case"), "why".to_owned())
        .await
        .unwrap();
    assert_eq!(collect(&harness, 0).await.released, 0, "the class keeps what is out of sight for a year");
    assert!(
        harness
            .registry
            .file_stat(&harness.actor, &name("board/run/x"), Some(VersionChoice::Numbered(first)))
            .await
            .is_ok()
    );
    harness.pass(BEGIN + 365 * DAY).await;
    let summary = collect(&harness, 0).await;
    assert_eq!((summary.released, summary.swept_blobs), (1, 1), "the hold keeps the other");
    let (path, version) = (name("board/run/y"), Some(VersionChoice::Numbered(removed)));
    let told = harness.registry.file_eligibility(&harness.actor, &path, version).await.unwrap();
    assert!(matches!(&told.reasons[..], [Reason::Hold { .. }]));
    harness
        .registry
        .hold_release(&harness.actor, numbered("board/run/y", removed), &hold("case"), String::new())
        .await
        .unwrap();
    assert_eq!(collect(&harness, 0).await.released, 1);
    assert!(harness.read("board/run/x").await.is_ok());
    harness.finish().await;
}

#[tokio::test]
async fn a_released_package_is_collected_and_a_sealed_one_is_not() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let package = harness.finalize("run").await.unwrap();
    assert!(harness.delete("run/x", None, false).await.is_err());
    assert_eq!(collect(&harness, 0).await.released, 0);
    harness.registry.package_release(&harness.actor, &package.id, "over".to_owned()).await.unwrap();
    harness.delete("run/x", None, false).await.unwrap();
    let summary = collect(&harness, 0).await;
    assert_eq!((summary.released, summary.swept_blobs), (1, 1));
    let manifest = harness.registry.package_manifest(&harness.actor, &package.id).await.unwrap();
    let manifest = Manifest::decode(&manifest).unwrap();
    assert_eq!(manifest.files.len(), 1, "the manifest still says what there was");
    harness.registry.stop().await;
}

/// Two files of two revisions, each sealed behind its file; and the second, which was given a class.
async fn sealed_with_a_class_on_the_second(versioning: Versioning, of_the_second: &str) -> (Harness, PackageId) {
    let settings = ProducerSettings { on_finalized: OnFinalized::NewRevision, ..ProducerSettings::default() };
    let harness = Harness::start_with(settings).await;
    if versioning == Versioning::Enabled {
        harness.registry.versioning_set(&harness.actor, &producer("board"), versioning).await.unwrap();
    }
    harness.set_period(of_the_second, 1).await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.put("board/run/w", "another").await.unwrap();
    harness.finalize("run").await.unwrap();
    harness.put("board/run/y", "two").await.unwrap();
    let second = harness.finalize("run").await.unwrap();
    let given = RetentionChange::Class(class(of_the_second));
    harness.change(SubjectChoice::Package(second.id.clone()), given, false).await.unwrap();
    (harness, second.id)
}

impl Harness {
    /// Keeps whatever has a class, under compliance, for so many days.
    pub(crate) async fn set_period(&self, name: &str, days: u32) {
        let set = rule(Mode::Compliance, Period::Days(days));
        self.registry.class_set(&self.actor, &class(name), set, (false, String::new())).await.unwrap();
    }
}

#[tokio::test]
async fn a_revision_in_between_that_is_kept_again_keeps_its_files_from_being_deleted() {
    for versioning in [Versioning::Off, Versioning::Enabled] {
        let (harness, _) = sealed_with_a_class_on_the_second(versioning, "again").await;
        harness.put("board/run/z", "three").await.unwrap();
        let third = harness.finalize("run").await.unwrap();
        harness.pass(BEGIN + 2 * DAY).await;
        harness.registry.package_release(&harness.actor, &third.id, "over".to_owned()).await.unwrap();
        // It was written into the first revision, and the third is the latest: the second is neither.
        harness.set_period("again", 10).await;
        let file = harness.stat("board/run/x").await.unwrap().file;
        let told = harness.registry.file_eligibility(&harness.actor, &file.name, None).await.unwrap();
        let refused = kept(harness.delete("run/x", Some(file.sequence), true).await);
        assert!(matches!(&refused[..], [Reason::Class { mode: Mode::Compliance, over: false, .. }]), "{refused:?}");
        assert_eq!((told.eligible, told.frees_bytes, told.reasons), (false, false, refused.clone()));
        let terms = harness.registry.file_retention(&file).await.unwrap().map(|terms| terms.retain_until);
        let Reason::Class { until, .. } = &refused[0] else { panic!("{refused:?}") };
        assert_eq!(terms, *until, "S3 is told the same");
        if versioning == Versioning::Off {
            assert_eq!(kept(harness.put("board/run/x", "other").await), refused, "nor is it replaced");
        }
        assert_eq!(harness.read("board/run/x").await.unwrap(), b"one");
        harness.pass(BEGIN + 11 * DAY).await;
        harness.delete("run/x", Some(file.sequence), false).await.unwrap();
        // Of two at once, the one that keeps comes first.
        let other = harness.stat("board/run/w").await.unwrap().file.sequence;
        let (_, deleted) = futures::join!(harness.set_period("again", 20), harness.delete("run/w", Some(other), false));
        assert!(matches!(&kept(deleted)[..], [Reason::Class { over: false, .. }]));
        harness.finish().await;
    }
}

#[tokio::test]
async fn what_was_released_with_a_later_revision_stays_released_when_another_is_open() {
    let (harness, second) = sealed_with_a_class_on_the_second(Versioning::Off, "short").await;
    harness.pass(BEGIN + 2 * DAY).await;
    harness.registry.package_release(&harness.actor, &second, "over".to_owned()).await.unwrap();
    let file = harness.stat("board/run/x").await.unwrap().file.sequence;
    harness.delete("run/x", None, false).await.unwrap();
    harness.put("board/run/z", "three").await.unwrap();
    let version = Some(VersionChoice::Numbered(file));
    let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), version).await.unwrap();
    assert_eq!((told.eligible, told.frees_bytes, told.reasons), (true, true, vec![]));
    let summary = collect(&harness, 0).await;
    assert_eq!((summary.released, summary.swept_blobs), (1, 1));
    assert_eq!(harness.read("board/run/w").await.unwrap(), b"another");
    harness.registry.stop().await;
}
