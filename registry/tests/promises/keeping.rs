//! No sequence of commands lets go what a class, a lock, a hold or a seal keeps.
//!
//! Whatever is asked, in whatever order, is compared with a model that knows what was promised and is not made of the rules that
//! decide: each answer, what is told when somebody asks why, and what is left behind every step.

use std::sync::Mutex;

use artifactstore_registry::Result;
use artifactstore_registry::actions::request::Finding;
use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::{Erase, RetentionChange, SubjectChoice};
use artifactstore_registry::model::name::{ClassName, HoldName};
use artifactstore_registry::model::retention::{LockTerms, Mode};
use artifactstore_registry::model::row::{ProducerSettings, VersionChoice, Versioning};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use crate::collecting::{collect, recounted};
use crate::harness::{Harness, name, producer, quiet};

#[path = "keeping/model.rs"]
mod model;

use model::{DAY, Given, Is, Model, RULES, Rule, Version, Whose};

/// The moment at which every harness begins, in seconds.
const BEGIN: i64 = 1_000_000;
const KEYS: [&str; 3] = ["run/x", "run/y", "other/z"];
const PACKAGES: [&str; 2] = ["run", "other"];
const HOLDS: [&str; 2] = ["first", "second"];

/// What somebody does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Put {
        key: usize,
        content: u8,
    },
    Mark {
        key: usize,
    },
    Lock {
        whose: Whose,
        firm: bool,
        days: u8,
        bypass: bool,
    },
    Unlock {
        whose: Whose,
        bypass: bool,
    },
    Give {
        whose: Whose,
        class: usize,
    },
    Change {
        class: usize,
        days: u8,
        bypass: bool,
    },
    Default {
        class: Option<usize>,
    },
    Hold {
        whose: Whose,
        hold: u8,
    },
    Release {
        whose: Whose,
        hold: u8,
    },
    Seal {
        package: usize,
    },
    Unseal {
        package: usize,
    },
    Pass {
        days: u8,
    },
    Delete {
        version: usize,
        bypass: bool,
    },
    Erase {
        version: usize,
        all: bool,
        bypass: bool,
    },
    Collect,
    /// Whatever goes by lifecycle rules, after a day.
    Expire,
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![
        4 => (0_usize..12).prop_map(Whose::Version),
        2 => (0..PACKAGES.len()).prop_map(Whose::Package),
        1 => Just(Whose::Producer),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (key, package, version) = (0..KEYS.len(), 0..PACKAGES.len(), 0_usize..12);
    let (class, hold, days) = (0_usize..4, 0_u8..2, 1_u8..25);
    prop_oneof![
        6 => (key.clone(), 0_u8..3).prop_map(|(key, content)| Step::Put { key, content }),
        1 => key.prop_map(|key| Step::Mark { key }),
        3 => (whose(), any::<bool>(), days.clone(), any::<bool>())
            .prop_map(|(whose, firm, days, bypass)| Step::Lock { whose, firm, days, bypass }),
        1 => (whose(), any::<bool>()).prop_map(|(whose, bypass)| Step::Unlock { whose, bypass }),
        3 => (whose(), class.clone()).prop_map(|(whose, class)| Step::Give { whose, class }),
        1 => (class.clone(), days.clone(), any::<bool>())
            .prop_map(|(class, days, bypass)| Step::Change { class, days, bypass }),
        1 => prop::option::of(class).prop_map(|class| Step::Default { class }),
        2 => (whose(), hold.clone()).prop_map(|(whose, hold)| Step::Hold { whose, hold }),
        2 => (whose(), hold).prop_map(|(whose, hold)| Step::Release { whose, hold }),
        1 => package.clone().prop_map(|package| Step::Seal { package }),
        2 => package.prop_map(|package| Step::Unseal { package }),
        3 => days.prop_map(|days| Step::Pass { days }),
        6 => (version.clone(), any::<bool>()).prop_map(|(version, bypass)| Step::Delete { version, bypass }),
        3 => (version, any::<bool>(), any::<bool>())
            .prop_map(|(version, all, bypass)| Step::Erase { version, all, bypass }),
        3 => Just(Step::Collect),
        1 => Just(Step::Expire),
    ]
}

struct World {
    harness: Harness,
    model: Model,
}

fn bytes(content: u8) -> Vec<u8> {
    format!("content {content}").into_bytes()
}

fn path(key: usize) -> String {
    format!("board/{}", KEYS[key])
}

fn hold(which: u8) -> HoldName {
    HoldName::parse(HOLDS[usize::from(which)]).unwrap()
}

fn class(which: usize) -> ClassName {
    ClassName::parse(RULES[which].name).unwrap()
}

impl World {
    async fn begin() -> Self {
        let harness = Harness::start().await;
        let (registry, actor, board) = (&harness.registry, &harness.actor, producer("board"));
        registry.versioning_set(actor, &board, Versioning::Enabled).await.unwrap();
        registry.lock_configure(actor, &board, None).await.unwrap();
        for (which, rule) in RULES.into_iter().enumerate() {
            registry.class_set(actor, &class(which), rule.class(), (false, String::new())).await.unwrap();
        }
        Self { harness, model: Model::begin(BEGIN) }
    }

    /// How the registry is told whose it is; nothing when there is none such.
    fn subject(&self, whose: Whose) -> Option<SubjectChoice> {
        Some(match whose {
            Whose::Version(number) => {
                let version = &self.model.versions[self.model.chosen(number)?];
                SubjectChoice::File(name(&path(version.key)), Some(VersionChoice::Numbered(version.number)))
            }
            Whose::Package(package) => SubjectChoice::Package(self.model.packages[package].id.clone()?),
            Whose::Producer => SubjectChoice::Producer(producer("board")),
        })
    }

    async fn change(&self, subject: SubjectChoice, change: RetentionChange, bypass: bool) -> bool {
        self.harness.change(subject, change, bypass).await.is_ok()
    }

    async fn lock(&mut self, whose: Whose, lock: Option<(bool, i64)>, bypass: bool) {
        let Some(subject) = self.subject(whose) else { return };
        let may = if self.model.is_there(whose) { self.model.may_lock(whose, lock, bypass) } else { None };
        let terms = lock.map(|(firm, until)| LockTerms {
            mode: if firm { Mode::Compliance } else { Mode::Governance },
            retain_until: Timestamp(until * 1_000_000),
        });
        let done = self.change(subject, RetentionChange::Lock(terms), bypass).await;
        assert_eq!(done, may.is_some(), "{whose:?} {lock:?} at {}", self.model.now);
        if let Some(dropped) = may {
            let given = self.model.given(whose);
            given.lock = lock;
            given.classes.retain(|class| !dropped.contains(class));
        }
    }

    async fn hold(&mut self, whose: Whose, which: u8, placed: bool) {
        let Some(subject) = self.subject(whose) else { return };
        let (registry, actor) = (&self.harness.registry, &self.harness.actor);
        let done = if placed {
            registry.hold_place(actor, subject, &hold(which), "a case".to_owned()).await.is_ok()
        } else {
            registry.hold_release(actor, subject, &hold(which), String::new()).await.is_ok()
        };
        assert_eq!(done, self.model.is_there(whose), "{whose:?}");
        let holds = if done { &mut self.model.given(whose).holds } else { return };
        if placed {
            holds.insert(which)
        } else {
            holds.remove(&which)
        };
    }

    async fn put(&mut self, key: usize, content: u8) {
        let outcome = self.harness.put(&path(key), bytes(content)).await;
        let given = Given { classes: self.model.default.into_iter().collect(), ..Given::default() };
        let (born, is) = (self.model.now, Is::Shown);
        let mut version = Version { number: 0, key, content, born, given, is };
        let package = &mut self.model.packages[version.package()];
        assert_eq!(outcome.is_ok(), package.sealed_at.is_none(), "{outcome:?}");
        if let Ok(receipt) = outcome {
            version.number = receipt.file.sequence;
            package.id = Some(receipt.file.package_id);
            self.model.versions.push(version);
        }
    }

    async fn delete(&mut self, number: usize, bypass: bool) {
        let Some(at) = self.model.chosen(number) else { return };
        let version = self.model.versions[at].clone();
        let done = self.harness.delete(KEYS[version.key], Some(version.number), bypass).await;
        if version.is != Is::Shown {
            return;
        }
        let keeps = self.model.keeps(&version);
        let kept = keeps.forbids(bypass) || self.model.packages[version.package()].is_shut();
        assert_eq!(done.is_err(), kept, "{done:?}: {version:?} {keeps:?} at {}", self.model.now);
        if done.is_ok() {
            self.model.versions[at].is = Is::Removed;
        }
    }

    async fn erase(&mut self, number: usize, all_copies: bool, bypass: bool) {
        let Some(at) = self.model.chosen(number) else { return };
        let version = self.model.versions[at].clone();
        let order = Erase {
            name: name(&path(version.key)),
            version: Some(VersionChoice::Numbered(version.number)),
            reason: "article 17".to_owned(),
            requested_by: String::new(),
            all_copies,
            bypass,
        };
        let done = self.harness.registry.file_erase(&self.harness.actor, order, false).await;
        let same = |other: &&mut Version| other.content == version.content && other.has_bytes();
        let copies: Vec<Version> = self.model.versions.iter_mut().filter(same).map(|copy| copy.clone()).collect();
        let may = match version.is {
            Is::Erased => true,
            Is::Released => false,
            Is::Shown | Is::Removed => {
                let kept = copies.iter().any(|copy| self.model.keeps(copy).forbids(bypass));
                !kept && (copies.len() == 1 || all_copies)
            }
        };
        assert_eq!(done.is_ok(), may, "{done:?}: {copies:?} at {}", self.model.now);
        if may && version.has_bytes() {
            self.model.versions.iter_mut().filter(same).for_each(|copy| copy.is = Is::Erased);
        }
    }

    async fn expire(&mut self) {
        for at in 0..self.model.versions.len() {
            let version = self.model.versions[at].clone();
            if version.is == Is::Shown && !self.harness.stays(&path(version.key), version.number).await {
                let keeps = self.model.keeps(&version);
                assert!(!keeps.forbids(false), "a rule took {version:?}: {keeps:?} at {}", self.model.now);
                assert!(!self.model.packages[version.package()].is_shut(), "a rule opened a seal: {version:?}");
                self.model.versions[at].is = Is::Removed;
            }
        }
    }

    async fn take(&mut self, step: Step) {
        let (registry, actor) = (self.harness.registry.clone(), self.harness.actor.clone());
        match step {
            Step::Put { key, content } => self.put(key, content).await,
            Step::Mark { key } => {
                let done = self.harness.delete(KEYS[key], None, false).await;
                assert_eq!(done.is_err(), self.model.packages[usize::from(key == 2)].is_shut(), "{done:?}");
            }
            Step::Lock { whose, firm, days, bypass } => {
                let until = self.model.now + i64::from(days) * DAY;
                self.lock(whose, Some((firm, until)), bypass).await;
            }
            Step::Unlock { whose, bypass } => self.lock(whose, None, bypass).await,
            Step::Give { whose, class: which } => {
                let Some(subject) = self.subject(whose) else { return };
                let done = self.change(subject, RetentionChange::Class(class(which)), false).await;
                assert_eq!(done, self.model.is_there(whose), "{whose:?}");
                if done && !self.model.given(whose).classes.contains(&which) {
                    self.model.given(whose).classes.push(which);
                }
            }
            Step::Change { class: which, days, bypass } => {
                let (rule, days) = (self.model.rules[which], i64::from(days));
                let changed = Rule { days, ..rule };
                let done = registry.class_set(&actor, &class(which), changed.class(), (bypass, String::new())).await;
                let may = days >= rule.days
                    || match rule.mode {
                        Mode::None => true,
                        Mode::Governance => bypass && rule.may_shorten,
                        Mode::Compliance => false,
                    };
                assert_eq!(done.is_ok(), may, "{rule:?} to {days} days");
                if may {
                    self.model.rules[which] = changed;
                }
            }
            Step::Default { class: which } => {
                let settings = ProducerSettings { retention_class: which.map(class), ..ProducerSettings::default() };
                registry.producer_configure(&actor, &producer("board"), settings).await.unwrap();
                self.model.default = which;
            }
            Step::Hold { whose, hold } => self.hold(whose, hold, true).await,
            Step::Release { whose, hold } => self.hold(whose, hold, false).await,
            Step::Seal { package: which } => {
                let sealed = self.harness.finalize(PACKAGES[which]).await;
                let (now, package) = (self.model.now, &mut self.model.packages[which]);
                if let Ok(sealed) = sealed
                    && package.sealed_at.is_none()
                {
                    (package.id, package.sealed_at) = (Some(sealed.id), Some(now));
                }
            }
            Step::Unseal { package: which } => {
                let package = &self.model.packages[which];
                let Some(id) = package.id.clone() else { return };
                let done = registry.package_release(&actor, &id, "over".to_owned()).await;
                let kept = package.sealed_at.is_none() || self.model.keeps_package(package).forbids(false);
                assert_eq!(done.is_ok(), package.released || !kept, "{done:?}: {package:?} at {}", self.model.now);
                self.model.packages[which].released |= done.is_ok();
            }
            Step::Pass { days } => {
                self.model.now += i64::from(days) * DAY;
                self.harness.pass(self.model.now).await;
            }
            Step::Delete { version, bypass } => self.delete(version, bypass).await,
            Step::Erase { version, all, bypass } => self.erase(version, all, bypass).await,
            Step::Collect => {
                collect(&self.harness, 0).await;
                for at in 0..self.model.versions.len() {
                    if self.model.versions[at].is == Is::Removed
                        && !self.model.keeps(&self.model.versions[at]).anything()
                    {
                        self.model.versions[at].is = Is::Released;
                    }
                }
            }
            Step::Expire => self.expire().await,
        }
    }

    /// What is left is what the model has; of one version and one package, what is told of them is so, too.
    async fn look(&self, turn: usize) {
        let numbers: Vec<u64> = self.model.versions.iter().map(|version| version.number).collect();
        let rows = self.harness.store.versions(&numbers).await.unwrap();
        for version in &self.model.versions {
            let row = rows.iter().find(|row| row.sequence == version.number).unwrap();
            assert_eq!(row.released_sequence.is_none(), version.has_bytes(), "{version:?} at {}", self.model.now);
        }
        let (registry, actor) = (&self.harness.registry, &self.harness.actor);
        if let Some(version) = self.model.chosen(turn).map(|at| &self.model.versions[at]) {
            let (path, choice) = (name(&path(version.key)), Some(VersionChoice::Numbered(version.number)));
            let found = registry.file_stat(actor, &path, choice).await;
            if version.is == Is::Shown {
                assert_eq!(self.harness.read_found(&found.unwrap()).await.unwrap(), bytes(version.content));
            }
            if version.has_bytes() {
                let told = registry.file_eligibility(actor, &path, choice).await.unwrap();
                let (kept, shut) =
                    (self.model.keeps(version).forbids(false), self.model.packages[version.package()].is_shut());
                assert!(!(told.eligible && kept), "{told:?}: {version:?} at {}", self.model.now);
                assert!(told.eligible || kept || shut, "{told:?}: {version:?} at {}", self.model.now);
            }
        }
        let package = &self.model.packages[turn % 2];
        if let Some(id) = package.id.as_ref().filter(|_| package.sealed_at.is_some()) {
            let told = self.harness.explained(id).await;
            assert!(!(told.eligible && self.model.keeps_package(package).forbids(false)), "{told:?}: {package:?}");
        }
    }

    /// As every audit, where gaps that erasures left are in order.
    async fn end(self) -> Result<()> {
        for turn in 0..self.model.versions.len() {
            self.look(turn).await;
        }
        recounted(&self.harness).await;
        assert_eq!(self.harness.replay(true).await?.differences, []);
        let found = Mutex::new(Vec::new());
        self.harness.registry.verify(&quiet(), &|finding| found.lock().unwrap().push(finding)).await?;
        let found = found.into_inner().unwrap();
        assert!(found.iter().all(|finding| matches!(finding, Finding::FileErased { .. })), "{found:?}");
        self.harness.registry.stop().await;
        Ok(())
    }
}

async fn walk(steps: Vec<Step>) {
    let mut world = World::begin().await;
    for (turn, step) in steps.into_iter().enumerate() {
        world.take(step).await;
        world.look(turn).await;
    }
    world.end().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: crate::dialect::cases(48), max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_commands_lets_go_what_a_class_a_lock_a_hold_or_a_seal_keeps(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(walk(steps));
    }
}
