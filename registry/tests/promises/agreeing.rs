//! What is told of a version is what its deletion meets, and what a collection then does with its bytes.

use artifactstore_registry::actions::eligibility::Eligibility;
use artifactstore_registry::actions::request::Removal;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::{PackageChoice, Removed, RetentionChange, SubjectChoice, WriteCondition};
use artifactstore_registry::model::name::{ClassName, HoldName, ProducerName};
use artifactstore_registry::model::retention::{Afterwards, LockTerms, Mode, Period, Reason, RetentionClass, Start};
use artifactstore_registry::model::row::{File, OnFinalized, Package, ProducerSettings, VersionChoice, Versioning};
use artifactstore_registry::{Error, Refusal};

use crate::collecting::collect;
use crate::harness::{Harness, producer};

/// The moment at which every harness begins, in seconds.
const BEGIN: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// How a version comes to be kept, or not to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Nothing,
    /// One of [`CLASSES`].
    Class(usize),
    /// A lock until so many days from the beginning.
    Lock(Mode, i64),
    Hold(&'static str),
    HeldPackage,
    Sealed,
    Released,
    /// A later revision is open.
    Reopened,
    /// And sealed.
    LaterSealed,
    /// And the earlier one is held.
    EarlierHeld,
    /// The later revision has another version of the key.
    Superseded,
    /// Released, and a later revision, which has it too, is sealed.
    ReleasedSealedAgain,
    /// Released, and a later revision is open.
    ReleasedReopened,
    /// Released with the later revision, and a third is open.
    LaterReleased,
    /// And it was removed before.
    LetGo,
}

const SCENES: [Scene; 23] = [
    Scene::Nothing,
    Scene::Class(0),
    Scene::Class(1),
    Scene::Class(2),
    Scene::Class(3),
    Scene::Class(4),
    Scene::Lock(Mode::Governance, 30),
    Scene::Lock(Mode::Compliance, 30),
    Scene::Lock(Mode::Governance, 1),
    Scene::Lock(Mode::Compliance, 1),
    Scene::Hold("s3-legal-hold"),
    Scene::Hold("case-7"),
    Scene::HeldPackage,
    Scene::Sealed,
    Scene::Released,
    Scene::Reopened,
    Scene::LaterSealed,
    Scene::EarlierHeld,
    Scene::Superseded,
    Scene::ReleasedSealedAgain,
    Scene::ReleasedReopened,
    Scene::LaterReleased,
    Scene::LetGo,
];

/// Of these modes, for so many days, and what follows.
const CLASSES: [(Mode, u32, Afterwards); 5] = [
    (Mode::None, 30, Afterwards::Eligible),
    (Mode::Governance, 30, Afterwards::Eligible),
    (Mode::Compliance, 30, Afterwards::Eligible),
    (Mode::Compliance, 1, Afterwards::Eligible),
    (Mode::Compliance, 1, Afterwards::Keep),
];

impl Scene {
    fn takes_a_second_revision(self) -> bool {
        matches!(
            self,
            Self::Reopened
                | Self::LaterSealed
                | Self::EarlierHeld
                | Self::Superseded
                | Self::ReleasedSealedAgain
                | Self::ReleasedReopened
                | Self::LaterReleased
                | Self::LetGo
        )
    }
}

fn class(which: usize) -> ClassName {
    ClassName::parse(&format!("class-{which}")).unwrap()
}

/// A version in a scene of its own, in a package of its own; and what that is.
struct Case {
    label: String,
    file: File,
}

impl Harness {
    async fn owner(&self, versioning: Versioning, on_finalized: OnFinalized) -> ProducerName {
        let owner = producer(&format!("{versioning:?}-{on_finalized:?}").to_lowercase());
        let settings = ProducerSettings { on_finalized, ..ProducerSettings::default() };
        self.registry.producer_create(&self.actor, &owner, settings).await.unwrap();
        for step in [Versioning::Enabled, Versioning::Suspended] {
            if versioning != Versioning::Off && (step == Versioning::Enabled || versioning == step) {
                self.registry.versioning_set(&self.actor, &owner, step).await.unwrap();
            }
        }
        owner
    }

    async fn seal(&self, file: &File) -> Package {
        let choice = PackageChoice::Name(file.name.producer.clone(), file.package.clone());
        self.registry.package_finalize(&self.actor, choice).await.unwrap()
    }

    async fn set(&self, scene: Scene, file: &File) {
        let itself = || SubjectChoice::File(file.name.clone(), Some(VersionChoice::Numbered(file.sequence)));
        let hold = async |subject, hold: &str| {
            let hold = HoldName::parse(hold).unwrap();
            self.registry.hold_place(&self.actor, subject, &hold, "a case".to_owned()).await.unwrap();
        };
        let beside = |key: &str| format!("{}/{}/{key}", file.name.producer, file.package);
        match scene {
            Scene::Nothing => {}
            Scene::Class(which) => self.change(itself(), RetentionChange::Class(class(which)), false).await.unwrap(),
            Scene::Lock(mode, days) => {
                let terms = LockTerms { mode, retain_until: Timestamp((BEGIN + days * DAY) * 1_000_000) };
                self.change(itself(), RetentionChange::Lock(Some(terms)), false).await.unwrap();
            }
            Scene::Hold(name) => hold(itself(), name).await,
            Scene::HeldPackage => hold(SubjectChoice::Package(file.package_id.clone()), "case-7").await,
            Scene::Sealed => drop(self.seal(file).await),
            Scene::Released => {
                let sealed = self.seal(file).await;
                self.registry.package_release(&self.actor, &sealed.id, "over".to_owned()).await.unwrap();
            }
            Scene::Reopened | Scene::LaterSealed | Scene::EarlierHeld => {
                let first = self.seal(file).await;
                self.put(&beside("later"), beside("later")).await.unwrap();
                match scene {
                    Scene::LaterSealed => drop(self.seal(file).await),
                    Scene::EarlierHeld => hold(SubjectChoice::Package(first.id), "case-7").await,
                    _ => {}
                }
            }
            Scene::ReleasedSealedAgain | Scene::ReleasedReopened | Scene::LaterReleased | Scene::LetGo => {
                let mut last = self.seal(file).await;
                if matches!(scene, Scene::LaterReleased | Scene::LetGo) {
                    self.put(&beside("later"), beside("later")).await.unwrap();
                    last = self.seal(file).await;
                }
                self.registry.package_release(&self.actor, &last.id, "over".to_owned()).await.unwrap();
                if scene == Scene::LetGo {
                    self.try_removal(file).await.unwrap();
                }
                self.put(&beside("last"), beside("last")).await.unwrap();
                if scene == Scene::ReleasedSealedAgain {
                    drop(self.seal(file).await);
                }
            }
            Scene::Superseded => {
                self.seal(file).await;
                self.put(&beside("x"), format!("{} again", beside("x"))).await.unwrap();
            }
        }
    }

    /// Removes a version by its number.
    async fn try_removal(&self, file: &File) -> Result<Removed, Error> {
        let removal = Removal {
            key: file.name.key.clone(),
            version: Some(VersionChoice::Numbered(file.sequence)),
            condition: WriteCondition::default(),
            bypass: false,
        };
        self.registry.file_remove(&self.actor, &file.name.producer, removal).await
    }

    async fn told(&self, file: &File) -> Eligibility {
        let version = Some(VersionChoice::Numbered(file.sequence));
        self.registry.file_eligibility(&self.actor, &file.name, version).await.unwrap()
    }
}

fn forbids_beyond_seals(reason: &Reason) -> bool {
    reason.forbids(false) && !matches!(reason, Reason::Sealed { .. })
}

async fn with_classes() -> Harness {
    let harness = Harness::start().await;
    for (which, (mode, days, then)) in CLASSES.into_iter().enumerate() {
        let (period, start, description) = (Period::Days(days), Start::Ingest, String::new());
        let rule = RetentionClass { mode, then, start, period, description, may_shorten: false };
        harness.registry.class_set(&harness.actor, &class(which), rule, (false, String::new())).await.unwrap();
    }
    harness
}

async fn cases(harness: &Harness) -> Vec<Case> {
    let mut cases = Vec::new();
    for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
        for on_finalized in [OnFinalized::Refuse, OnFinalized::NewRevision] {
            let owner = harness.owner(versioning, on_finalized).await;
            for (number, scene) in SCENES.into_iter().enumerate() {
                if scene.takes_a_second_revision() && on_finalized == OnFinalized::Refuse {
                    continue;
                }
                // Behind another version, which was written before anything else.
                for behind in [false, true] {
                    let path = format!("{owner}/{number}-{behind}/x");
                    let file = harness.put(&path, format!("{path} first")).await.unwrap().file;
                    if behind {
                        harness.put(&path, format!("{path} second")).await.unwrap();
                    }
                    harness.set(scene, &file).await;
                    cases.push(Case { label: format!("{scene:?} in {path}"), file });
                }
            }
        }
    }
    cases
}

#[tokio::test]
async fn what_is_told_of_a_version_is_what_its_deletion_meets_and_what_becomes_of_its_bytes() {
    let harness = with_classes().await;
    let cases = cases(&harness).await;
    harness.clock.pass_seconds(BEGIN + 2 * DAY);
    let (mut answers, mut tally) = (Vec::new(), [0, 0]);
    for Case { label, file } in &cases {
        let before = harness.store.head().await.unwrap().sequence;
        let told = harness.told(file).await;
        assert_eq!(harness.store.head().await.unwrap().sequence, before, "asking records nothing");
        let done = harness.try_removal(file).await;
        let forbids = told.reasons.iter().any(|reason| reason.forbids(false));
        match &done {
            // What S3 does not show any more is deleted without an event; what keeps its bytes is told all the same.
            Ok(removed) if removed.sequence.is_none() => assert_eq!(told.eligible, !forbids, "{label}: {told:?}"),
            // What is sealed is removed in a new revision where that may be.
            Ok(_) => assert!(told.eligible && !told.reasons.iter().any(forbids_beyond_seals), "{label}: {told:?}"),
            Err(Error::Refused(refusal)) => {
                assert!(!told.eligible && forbids, "{label}: {told:?} and {refusal}");
                if let Refusal::Kept(reasons) = refusal {
                    assert!(reasons.iter().all(|reason| told.reasons.contains(reason)), "{label}: {told:?}");
                }
            }
            Err(error) => panic!("{label}: {error}"),
        }
        if label.starts_with("ReleasedReopened") || label.starts_with("LaterReleased") {
            assert!(done.is_ok(), "{label}: nothing that is sealed has it any more, and {done:?}");
        }
        tally[usize::from(done.is_ok())] += 1;
        answers.push(told.frees_bytes && done.is_ok());
    }
    assert!(tally.into_iter().all(|count| count > cases.len() / 4), "{tally:?}");
    collect(&harness, 0).await;
    for (Case { label, file }, freed) in cases.iter().zip(answers) {
        let row = harness.store.versions(&[file.sequence]).await.unwrap().remove(0);
        assert_eq!(row.released_sequence.is_some(), freed, "{label}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn what_is_told_of_a_package_is_what_its_release_and_deletion_meet_and_what_becomes_of_its_bytes() {
    let harness = with_classes().await;
    let mut cases = Vec::new();
    for versioning in [Versioning::Off, Versioning::Enabled] {
        let owner = harness.owner(versioning, OnFinalized::Refuse).await;
        for (number, scene) in SCENES.into_iter().take_while(|scene| *scene != Scene::Sealed).enumerate() {
            let path = format!("{owner}/{number}/x");
            let file = harness.put(&path, path.clone()).await.unwrap().file;
            harness.set(scene, &file).await;
            let package = harness.seal(&file).await;
            cases.push((format!("{scene:?} in {path}"), versioning, file, package));
        }
    }
    harness.clock.pass_seconds(BEGIN + 2 * DAY);
    let mut answers = Vec::new();
    for (label, _, file, package) in &cases {
        let told = harness.explained(&package.id).await;
        let released = harness.registry.package_release(&harness.actor, &package.id, "over".to_owned()).await;
        let gone = released.is_ok() && harness.try_removal(file).await.is_ok();
        assert_eq!(told.eligible, gone, "{label}: {told:?}");
        answers.push((told.frees_bytes, gone));
    }
    collect(&harness, 0).await;
    let mut tally = [0, 0];
    for ((label, versioning, file, _), (frees, gone)) in cases.iter().zip(answers) {
        let row = harness.store.versions(&[file.sequence]).await.unwrap().remove(0);
        let freed = row.released_sequence.is_some();
        tally[usize::from(freed)] += 1;
        // Who removes a version by its very number overrides what only lets nothing go by itself.
        let by_number = *versioning == Versioning::Enabled && label.starts_with("Class(4)");
        assert_eq!(frees || (by_number && gone), freed, "{label}");
    }
    assert!(tally.into_iter().all(|count| count > cases.len() / 4), "{tally:?}");
    harness.finish().await;
}

#[tokio::test]
async fn a_version_of_a_producer_that_is_held_is_told_to_be() {
    let harness = Harness::start().await;
    let file = harness.put("board/run/x", "one").await.unwrap().file;
    let (subject, hold) = (SubjectChoice::Producer(producer("board")), HoldName::parse("case-7").unwrap());
    harness.registry.hold_place(&harness.actor, subject, &hold, "a case".to_owned()).await.unwrap();
    let told = harness.told(&file).await;
    let Err(Error::Refused(Refusal::Kept(reasons))) = harness.delete("run/x", None, true).await else { panic!() };
    assert_eq!((told.eligible, told.reasons), (false, reasons));
    harness.finish().await;
}
