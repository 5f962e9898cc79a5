//! One data folder, round after round: start, look at what the last round left, write, die.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifactstore_registry::backends::failpoint::Point;
use artifactstore_tests::Harness;
use artifactstore_tests::trace::traced;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::clients::{self, PRODUCER};
use crate::model::{Model, Package, Upload, is_told_by};

/// Steps of collecting what nothing keeps.
const COLLECTING: [Point; 7] = [
    Point::VersionsReleased,
    Point::GarbageCondemned,
    Point::SweepBegun,
    Point::ObjectDeleted,
    Point::SweepEnded,
    Point::OrphansNoted,
    Point::OrphanSweepBegun,
];
/// Steps of an erasure.
const ERASING: [Point; 3] = [Point::FileErased, Point::NeighboursWritten, Point::NeighboursMoved];
/// Files that are erased in one round, at most.
const ERASURES: usize = 6;
/// Small files share objects with each other.
const SMALL: usize = 8 << 10;
/// How long a gateway may live in a round before the harness ends it.
const ROUND: Duration = Duration::from_millis(1500);
const KILL: i32 = 9;
/// A folder of many rounds takes a few hundred MiB.
const MEMORY_WANTED: u64 = 2 << 30;
const WRITERS: u64 = 3;
/// Names that are looked at at once.
const LOOKS: usize = 8;

/// What a sweep found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    /// How often each step ended the process.
    pub(crate) kills: BTreeMap<&'static str, u64>,
    /// Rounds that the harness ended, because the step was not reached so often.
    pub(crate) by_harness: u64,
    /// Acknowledged changes that were looked at after the end.
    pub(crate) acknowledged: u64,
    /// Changes that nobody acknowledged: those that had happened, and those that had not.
    pub(crate) unacknowledged: [u64; 2],
    pub(crate) events: u64,
    pub(crate) orphans: u64,
    pub(crate) temporaries: u64,
    /// Erasures that were acknowledged.
    pub(crate) erased: u64,
}

/// A gateway, its folder, and what must be in it.
#[derive(Debug)]
pub(crate) struct Sweep {
    gateway: Harness,
    model: Model,
    chance: Chance,
    round: u64,
    patience: Duration,
}

/// What a process is to end at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A named step of the program.
    Step(Point),
    /// A system call, before it is made: also those that libraries make.
    Call(&'static str),
}

impl Place {
    /// Whether only a collection comes there.
    pub(crate) fn is_of_a_collection(self) -> bool {
        matches!(self, Self::Step(point) if COLLECTING.contains(&point))
    }

    /// Whether only an erasure comes there.
    pub(crate) fn is_of_an_erasure(self) -> bool {
        matches!(self, Self::Step(point) if ERASING.contains(&point))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Step(point) => point.name(),
            Self::Call(name) => name,
        }
    }
}

/// Where a process is to end: at the n-th time that it comes to a place; of system calls, that any thread does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) place: Place,
    pub(crate) count: u64,
}

impl Aim {
    /// Steps that are passed all the time are aimed at early and late.
    pub(crate) fn take(place: Place, chance: &mut Chance) -> Self {
        let most = match place {
            Place::Step(Point::FinalizeAsked | Point::ManifestStored | Point::TemporarySwept) => 1,
            Place::Step(Point::UploadJoined | Point::UploadStored | Point::PartStored) => 2,
            Place::Step(point) if ERASING.contains(&point) => 1,
            Place::Step(point) if COLLECTING.contains(&point) => 2,
            Place::Step(_) => *chance.pick(&[1, 4, 12, 30]),
            // Counted for each thread by itself, of which there are many that write a little.
            Place::Call(_) => *chance.pick(&[1, 2, 3]),
        };
        Self { place, count: 1 + chance.below(most) }
    }

    /// The environment that makes it so.
    fn environment(self, chance: &mut Chance) -> Vec<(&'static str, String)> {
        let mut plans = Vec::new();
        let mut environment = Vec::new();
        match self.place {
            Place::Step(point) => plans.push(format!("{}=kill@{}", point.name(), self.count)),
            Place::Call(name) => environment.extend([(CALL, name.to_owned()), (WHEN, self.count.to_string())]),
        }
        // Somebody else is slow: windows open that are closed as a rule.
        if chance.one_in(3) {
            plans.push(format!("{}=wait@{}", chance.pick(Point::ALL).name(), 1 + chance.below(8)));
        }
        environment.push(("ARTIFACTSTORE_FAILPOINTS", plans.join(";")));
        environment
    }
}

/// Which system call ends a [`killable`] program, and at which time.
const CALL: &str = "CRASH_CALL";
const WHEN: &str = "CRASH_WHEN";

/// A script in this folder that runs the program, and ends it at a system call when its environment says so.
pub(crate) fn killable(folder: &Path, strace: &Path, program: &Path) -> PathBuf {
    let options =
        format!("-o /dev/null --seccomp-bpf -e trace=\"${CALL}\" -e inject=\"${CALL}:signal=KILL:when=${WHEN}\"");
    traced(folder, strace, &options, Some(CALL), program)
}

/// Where the data folders lie: in memory, where there is room. What a process wrote outlives its own end there as well,
/// and rounds are many times faster; that nothing relies on what was not synced is shown elsewhere.
fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let free = rustix::fs::statvfs(&memory).map_or(0, |status| status.f_bavail.saturating_mul(status.f_frsize));
    if free > MEMORY_WANTED { memory } else { std::env::temp_dir() }
}

impl Sweep {
    /// A new folder for this program; for a traced one see [`killable`].
    pub(crate) async fn begin(program: PathBuf, mut chance: Chance) -> Self {
        let settings = [("ARTIFACTSTORE_LOG_LEVEL", "warn")];
        let mut gateway = Harness::prepare_in(&folder(), program, &settings);
        gateway.resume().await;
        gateway.producer(PRODUCER).await;
        gateway.kill().await;
        Self { gateway, model: Model::default(), chance: chance.branch(), round: 0, patience: ROUND }
    }

    /// Lets a gateway live so many times as long before the harness ends it: on a busy machine some steps take their time.
    pub(crate) fn be_patient(&mut self, times: u32) {
        self.patience = ROUND * times;
    }

    /// One life of the gateway, up to the step that is aimed at. Says whether it ended there.
    pub(crate) async fn round(&mut self, aim: Aim, tally: &mut Tally) -> bool {
        self.round += 1;
        tally.rounds += 1;
        if aim.place == Place::Step(Point::TemporarySwept) && self.temporaries().is_empty() {
            // As a process leaves it that ends before the rename; not every one does.
            std::fs::write(self.gateway.data().join("objects/tmp/left-behind"), b"half an object").unwrap();
        }
        tally.temporaries += self.temporaries().len() as u64;
        let ended = if aim.place.is_of_a_collection() || (aim.place == Place::Call("unlink") && self.chance.one_in(2)) {
            self.collect(aim, tally).await
        } else if aim.place.is_of_an_erasure() {
            self.erase(aim, tally).await
        } else {
            self.live(aim, tally).await
        };
        if ended {
            *tally.kills.entry(aim.place.name()).or_default() += 1;
        } else {
            tally.by_harness += 1;
        }
        ended
    }

    /// Alone, so that it is known what goes; that it goes on beside gateways, the soak shows.
    async fn collect(&mut self, aim: Aim, tally: &mut Tally) -> bool {
        let mut command = self.gateway.command(&["gc", "--grace", "0"]);
        command.envs(aim.environment(&mut self.chance));
        let before = self.objects();
        let status = command.output().await.expect("the command runs").status;
        assert!(status.success() || status.signal() == Some(KILL), "{status}");
        // There may be more than before: a collection that ends early has moved what others keep, and removed nothing yet.
        tally.orphans += before.iter().filter(|object| !object.exists()).count() as u64;
        !status.success()
    }

    /// Erases files that nothing shares, until the process ends at the step: a client deletes what it wrote itself, so that
    /// nobody else is about to.
    async fn erase(&mut self, aim: Aim, tally: &mut Tally) -> bool {
        let objects = self.gateway.object_files();
        let own = |address: &str| objects.iter().any(|path| path.ends_with(address));
        let mut victims: Vec<(String, bool)> = Vec::new();
        for (name, content) in self.model.certain() {
            let [(seed, size)] = content.0[..] else { continue };
            if clients::is_unique(seed) && size > 0 && size <= SMALL {
                victims.push((name.clone(), own(&content.address())));
            }
        }
        self.chance.shuffle(&mut victims);
        // Those that lie beside others first.
        victims.sort_by_key(|(_, own)| *own);
        for (name, _) in victims.into_iter().take(ERASURES) {
            let mut command = self.gateway.command(&["erase", &name, "--reason", "the crash sweep", "--yes"]);
            command.envs(aim.environment(&mut self.chance));
            let output = command.output().await.expect("the command runs");
            let done = output.status.success();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(done || output.status.signal() == Some(KILL), "{name}: {}: {told}", output.status);
            self.model.erase(&name, done);
            tally.erased += u64::from(done);
            if !done {
                return true;
            }
        }
        false
    }

    async fn live(&mut self, aim: Aim, tally: &mut Tally) -> bool {
        if matches!(aim.place, Place::Call(_)) {
            // Answering a look makes system calls as well: this life would end before there is anything to look at.
            self.gateway.resume().await;
            self.look(tally).await;
            self.gateway.kill().await;
        }
        let plan = aim.environment(&mut self.chance);
        let environment: Vec<_> = plan.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if let Err(status) = self.gateway.resume_with(&environment).await {
            assert_eq!(status.signal(), Some(KILL), "{plan:?}: {}", self.gateway.log_tail());
            return true;
        }
        assert_eq!(self.temporaries(), Vec::<PathBuf>::new(), "a start removes what a dead process left");
        self.look(tally).await;
        let left = std::mem::take(&mut self.model.uploads);
        let mut clients = self.clients(left);
        let status = self.gateway.ended(self.patience).await;
        if status.is_none() {
            self.gateway.kill().await;
        }
        while let Some(done) = clients.join_next().await {
            self.model.take(done.expect("a client"));
        }
        assert!(status.is_none_or(|status| status.signal() == Some(KILL)), "{plan:?}: {}", self.gateway.log_tail());
        status.is_some()
    }

    fn clients(&mut self, left: Vec<Upload>) -> JoinSet<crate::model::Done> {
        let mut clients = JoinSet::new();
        let s3 = &self.gateway.s3;
        for writer in 0..WRITERS {
            clients.spawn(clients::small(s3.clone(), format!("small-{writer}"), self.chance.branch()));
        }
        clients.spawn(clients::large(s3.clone(), "large".to_owned(), self.chance.branch()));
        let own = format!("multipart-{}", self.round);
        clients.spawn(clients::multipart(s3.clone(), own, self.chance.branch(), left));
        clients.spawn(clients::packages(s3.clone(), format!("package-{}", self.round), self.chance.branch()));
        clients
    }

    /// Looks at every name that was changed since the last look.
    async fn look(&mut self, tally: &mut Tally) {
        let names: BTreeSet<String> = std::mem::take(&mut self.model.unseen).into_iter().collect();
        let names: Vec<String> = names.into_iter().collect();
        for names in names.chunks(LOOKS) {
            let mut looks = JoinSet::new();
            for name in names.iter().cloned() {
                let s3 = self.gateway.s3.clone();
                looks.spawn(async move {
                    let found = match s3.get(&name).await {
                        Ok(reply) => Some(reply.body),
                        Err(refused) if refused.code() == "NoSuchKey" => None,
                        Err(refused) => panic!("{name}: {refused:?}"),
                    };
                    (name, found)
                });
            }
            while let Some(look) = looks.join_next().await {
                let (name, found) = look.expect("a look");
                let before: Vec<bool> = self.model.files[&name].iter().map(|step| step.settled).collect();
                self.model.settle(&name, found.as_deref());
                if before.last() == Some(&false) {
                    tally.unacknowledged[usize::from(self.model.files[&name].len() < before.len())] += 1;
                } else {
                    tally.acknowledged += 1;
                }
            }
        }
        // What was completed after all is over; anything else is still open, with all its parts.
        let files = &self.model.files;
        let happened = |upload: &Upload| files.get(&upload.name).is_some_and(|steps| !steps.is_empty());
        self.model.uploads.retain(|upload| !(upload.completing && happened(upload)));
        for Package { name, files, acknowledged } in std::mem::take(&mut self.model.packages) {
            let packages = self.gateway.admin.packages(PRODUCER, Some(&name)).await;
            assert_eq!(packages.len(), 1, "{name}");
            let finalized = packages[0]["state"] == "finalized";
            assert!(finalized || !acknowledged, "{}", packages[0]);
            assert_eq!(packages[0]["file_count"].as_u64(), Some(files as u64), "{}", packages[0]);
        }
    }

    /// The views of a gateway that was just killed equal their replay.
    pub(crate) async fn replay(&self) {
        let _ = self.gateway.cli(&["replay", "--check"]).await.succeeded();
    }

    /// The end of a folder: everything is looked at once more, the log tells what happened and nothing else, the audit
    /// holds after all orphans are swept, and nothing else is left to sweep.
    pub(crate) async fn end(mut self, tally: &mut Tally) {
        self.gateway.resume().await;
        self.model.unseen.extend(self.model.files.keys().cloned());
        self.look(tally).await;
        self.check_log(tally).await;
        self.gateway.stop().await;
        let swept = self.gateway.cli(&["gc", "--grace", "0", "--json"]).await.succeeded();
        let swept: Value = serde_json::from_str(&swept).expect("a summary");
        tally.orphans += swept["deleted_objects"].as_u64().expect("how many were deleted");
        self.gateway.audit().await;
        let again = self.gateway.cli(&["gc", "--grace", "0", "--json"]).await.succeeded();
        let again: Value = serde_json::from_str(&again).expect("a summary");
        assert_eq!(again["deleted_objects"], 0, "{again}");
        let _ = self.gateway.cli(&["gc", "--recount"]).await.succeeded();
        let files = self.gateway.object_files();
        assert_eq!(
            again["examined_objects"].as_u64(),
            Some(files.len() as u64),
            "objects and nothing else are left: {files:#?}"
        );
    }

    async fn check_log(&self, tally: &mut Tally) {
        let mut told: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
        let mut current: BTreeMap<String, u64> = BTreeMap::new();
        for event in self.gateway.admin.events(0).await {
            tally.events += 1;
            let key = || format!("{PRODUCER}/{}", event["payload"]["key"].as_str().expect("a key"));
            match event["kind"].as_str() {
                Some("v1.file.ingested") => {
                    let address = event["payload"]["content_address"].as_str().expect("an address");
                    told.entry(key()).or_default().push(Some(address.trim_start_matches("blake3:").to_owned()));
                    current.insert(key(), event["sequence"].as_u64().expect("a number"));
                }
                // Its key shows nothing any more, as after a removal.
                Some("v1.file.erased") => {
                    assert_eq!(event["payload"]["version"].as_u64(), current.get(&key()).copied(), "{event}");
                    told.entry(key()).or_default().push(None);
                }
                Some("v1.file.removed") => told.entry(key()).or_default().push(None),
                _ => {}
            }
        }
        for (name, steps) in &self.model.files {
            let events = told.remove(name).unwrap_or_default();
            assert!(is_told_by(steps, &events), "{name}: {steps:#?} and not {events:#?}");
        }
        assert!(told.is_empty(), "events that nobody asked for: {told:#?}");
    }

    fn objects(&self) -> Vec<PathBuf> {
        let temporaries = self.gateway.data().join("objects/tmp");
        let mut files = self.gateway.object_files();
        files.retain(|path| !path.starts_with(&temporaries));
        files
    }

    fn temporaries(&self) -> Vec<PathBuf> {
        let folder = self.gateway.data().join("objects/tmp");
        std::fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path()).collect()
    }
}
