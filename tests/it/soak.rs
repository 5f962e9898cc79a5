//! The soak: uploads small and large and in parts, overwrites, deletes, finalizes, erasures and the same content again and
//! again, a lifecycle rule that takes names away, and what nothing keeps being collected all the time beside them at no grace,
//! with everybody killed at random.
//!
//! Whatever was acknowledged is readable, at any time and in the end; the audit holds; the counts of references are those
//! that are counted; and nothing is left in the folder that no event names. `make test` soaks for a while on each
//! database, `make soak` for as long as SOAK_SECONDS says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use artifactstore_tests::ground::Ground;
use artifactstore_tests::postgres::Cluster;
use artifactstore_tests::{Admin, Harness, Refused, Reply, S3, command};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::body;

const PRODUCER: &str = "soak";
/// Contents that all clients write, on both sides of the size that is small, and of several chunks.
const SHARED: [usize; 8] = [0, 1, 900, 40_000, 262_144, 262_145, 3 << 20, 17 << 20];
/// The seeds of contents that nobody else writes begin here.
const OWN: u64 = 1000;
const NAMES: u64 = 6;
/// What keys begin with that a rule takes away.
const EXPIRING: &str = "expiring/";
const RULE: &str = "<LifecycleConfiguration><Rule><ID>soak</ID><Status>Enabled</Status><Filter><Prefix>expiring/</Prefix>\
                    </Filter><Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>";
const PART_MINIMUM: usize = 5 << 20;

fn seconds() -> u64 {
    std::env::var_os("SOAK_SECONDS").map_or(12, |text| text.into_string().unwrap().parse().expect("a number"))
}

/// Numbers that look random; the same seed gives the same ones.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A body that can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    seed: u64,
    size: usize,
}

impl Content {
    fn bytes(self) -> Vec<u8> {
        body::bytes(self.seed, self.size)
    }
}

/// What clients and the rest know of each other.
#[derive(Debug)]
struct Shared {
    doors: RwLock<Vec<(S3, Admin)>>,
    over: AtomicBool,
    operations: AtomicU64,
    asked_again: AtomicU64,
    unanswered: AtomicU64,
    erased: AtomicU64,
}

impl Shared {
    fn door(&self, number: u64) -> (S3, Admin) {
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner);
        doors[usize::try_from(number).unwrap() % doors.len()].clone()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What became of a request that asks for nothing wrong.
enum Told<T> {
    Done(T),
    /// Nobody answered: it may have happened.
    Unknown,
}

/// What a name may stand for: what was acknowledged last, and what nobody answered since.
#[derive(Debug, Clone, Default)]
struct Known {
    certain: Option<Content>,
    doubtful: Vec<Option<Content>>,
}

impl Known {
    fn note(&mut self, content: Option<Content>, told: &Told<Reply>) {
        match told {
            Told::Done(_) => *self = Self { certain: content, doubtful: Vec::new() },
            Told::Unknown => self.doubtful.push(content),
        }
    }

    fn may_be(&self, found: Option<&[u8]>) -> bool {
        let same = |content: &Option<Content>| match (content, found) {
            (None, None) => true,
            (Some(content), Some(found)) => content.size == found.len() && content.bytes() == found,
            _ => false,
        };
        same(&self.certain) || self.doubtful.iter().any(same)
    }
}

/// Sends a request until somebody answers; who is told to come again comes again.
macro_rules! ask {
    ($client:expr, $s3:ident => $request:expr) => {
        loop {
            let $s3 = $client.door();
            let told = $client.told($request.await);
            tokio::time::sleep(match told {
                Some(Told::Done(_)) => Duration::ZERO,
                Some(Told::Unknown) => Duration::from_millis(100),
                None => Duration::from_millis(20),
            })
            .await;
            if let Some(told) = told {
                break told;
            }
        }
    };
}

/// A client with names of its own, which it writes one after the other.
struct Client {
    shared: Arc<Shared>,
    own: String,
    chance: Chance,
    names: BTreeMap<String, Known>,
    /// Packages that were finalized, and the files of each.
    sealed: Vec<(String, Vec<(String, Content)>)>,
}

impl Client {
    fn door(&mut self) -> S3 {
        self.shared.door(self.chance.below(1 << 20)).0
    }

    /// What an answer says; nothing when the client is told to come again.
    fn told<T>(&self, outcome: Result<T, Refused>) -> Option<Told<T>> {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(reply) => {
                count(&self.shared.operations);
                Some(Told::Done(reply))
            }
            Err(refused) if refused.status() == 503 => {
                count(&self.shared.asked_again);
                None
            }
            Err(refused) => {
                assert_eq!(refused.status(), 0, "nothing but its end keeps a gateway from this: {refused:?}");
                count(&self.shared.unanswered);
                Some(Told::Unknown)
            }
        }
    }

    fn content(&mut self) -> Content {
        if self.chance.below(3) > 0 {
            // Large ones more rarely: they take longest.
            let most = if self.chance.below(8) == 0 { SHARED.len() } else { SHARED.len() - 2 };
            let which = usize::try_from(self.chance.below(most as u64)).unwrap();
            return Content { seed: which as u64, size: SHARED[which] };
        }
        let size = usize::try_from(self.chance.below(300_000)).unwrap();
        Content { seed: OWN + self.chance.below(1 << 30), size }
    }

    async fn put(&mut self, name: &str, content: Content) -> bool {
        let bytes = content.bytes();
        let told = ask!(self, s3 => s3.put(name, &bytes));
        self.names.entry(name.to_owned()).or_default().note(Some(content), &told);
        matches!(told, Told::Done(_))
    }

    async fn delete(&mut self, name: &str) {
        let told = ask!(self, s3 => s3.delete(name));
        self.names.entry(name.to_owned()).or_default().note(None, &told);
    }

    /// Has what a name has erased, if nobody else has the same.
    async fn erase(&mut self, name: &str) {
        let known = self.names.get(name).filter(|known| known.doubtful.is_empty());
        if known.and_then(|known| known.certain).is_none_or(|content| content.seed < OWN) {
            return;
        }
        let (_, key) = name.split_once('/').expect("a key");
        let (path, order) =
            (format!("/v1/producers/{PRODUCER}/erase?key={key}"), json!({ "reason": "the soak", "all_copies": true }));
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let told = loop {
            let (_, admin) = self.shared.door(self.chance.below(1 << 20));
            match admin.ask("POST", &path, &order).await {
                Some(reply) if reply.status == 503 => {
                    count(&self.shared.asked_again);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Some(reply) => {
                    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
                    count(&self.shared.operations);
                    count(&self.shared.erased);
                    break Told::Done(reply);
                }
                None => {
                    count(&self.shared.unanswered);
                    break Told::Unknown;
                }
            }
        };
        self.names.entry(name.to_owned()).or_default().note(None, &told);
    }

    /// Writes what a rule takes away, sooner or later.
    async fn expiring(&mut self) {
        let name = format!("{PRODUCER}/{EXPIRING}{}-{}", self.own, self.chance.below(NAMES));
        let content = self.content();
        self.put(&name, content).await;
        self.names.entry(name).or_default().doubtful.push(None);
    }

    async fn in_parts(&mut self, name: &str) {
        let Told::Done(upload) = ask!(self, s3 => s3.upload_create(name)) else { return };
        let tail = usize::try_from(self.chance.below(500_000)).unwrap();
        let sizes = if self.chance.below(2) == 0 { vec![PART_MINIMUM + tail, 1 + tail] } else { vec![1 + tail] };
        // Parts share chunks with each other, and with those of other uploads.
        let seed = 500 + self.chance.below(3);
        let (mut parts, mut whole) = (Vec::new(), Vec::new());
        for (number, size) in (1..).zip(sizes) {
            let bytes = body::bytes(seed, size);
            let sent = ask!(self, s3 => s3.upload_part(name, &upload, number, &bytes));
            let Told::Done(etag) = sent else { return };
            parts.push((number, etag));
            whole.extend(bytes);
        }
        if self.chance.below(4) == 0 {
            let _ = ask!(self, s3 => s3.request("DELETE", name).query("uploadId", &upload).send());
            return;
        }
        let told = ask!(self, s3 => s3.upload_complete(name, &upload, &parts));
        // What such a file holds is compared at once, and then it goes.
        if matches!(told, Told::Done(_))
            && let Told::Done(found) = ask!(self, s3 => s3.get(name))
        {
            assert!(found.body == whole, "{name} is not what its parts were");
        }
        while !matches!(ask!(self, s3 => s3.delete(name)), Told::Done(_)) {
            if self.shared.is_over() {
                return;
            }
        }
    }

    async fn package(&mut self, number: u64) {
        let package = format!("{}-sealed-{number}", self.own);
        let mut files = Vec::new();
        for file in 0..2 {
            let (name, content) = (format!("{PRODUCER}/{package}/{file}"), self.content());
            if !self.put(&name, content).await {
                return;
            }
            files.push((name, content));
        }
        let marker = format!("{PRODUCER}/{package}/.artifact/finalize");
        if let Told::Done(_) = ask!(self, s3 => s3.put(&marker, b"")) {
            self.sealed.push((package, files));
        }
    }

    async fn look(&mut self, name: &str) {
        let found = ask!(self, s3 => async { found(s3.get(name).await) });
        if let (Told::Done(found), Some(known)) = (found, self.names.get(name)) {
            let found = found.as_deref();
            assert!(known.may_be(found), "{name}: {:?} bytes are there, and not {known:?}", found.map(<[u8]>::len));
        }
    }

    async fn live(mut self) -> Self {
        let mut packages = 0;
        while !self.shared.is_over() {
            let name = format!("{PRODUCER}/{}/{}", self.own, self.chance.below(NAMES));
            match self.chance.below(23) {
                0..=8 => {
                    let content = self.content();
                    self.put(&name, content).await;
                }
                9..=12 => self.delete(&name).await,
                13..=17 => self.look(&name).await,
                18 => {
                    let name = format!("{PRODUCER}/{}/parts", self.own);
                    self.in_parts(&name).await;
                }
                19 => self.erase(&name).await,
                20..=21 => self.expiring().await,
                _ => {
                    packages += 1;
                    self.package(packages).await;
                }
            }
        }
        self
    }
}

/// Nothing, where a key has no file.
fn found(outcome: Result<Reply, Refused>) -> Result<Option<Vec<u8>>, Refused> {
    match outcome {
        Ok(reply) => Ok(Some(reply.body)),
        Err(refused) if refused.code() == "NoSuchKey" => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// What was collected, as far as those told who did it and were not killed.
#[derive(Debug, Default)]
struct Collected {
    runs: u64,
    released: u64,
    blobs: u64,
    objects: u64,
    bytes: u64,
    orphans: u64,
    killed: u64,
    /// How long the longest run took that was not killed.
    longest: Duration,
}

impl Collected {
    fn add(&mut self, outcome: Option<(Duration, Value)>) {
        let Some((time, summary)) = outcome else {
            self.killed += 1;
            return;
        };
        self.longest = self.longest.max(time);
        let figure = |name: &str| summary[name].as_u64().expect("a figure");
        self.runs += 1;
        self.released += figure("released");
        self.blobs += figure("swept_blobs");
        self.objects += figure("deleted_objects");
        self.bytes += figure("deleted_bytes");
        self.orphans += figure("swept_orphans");
    }
}

/// A collection under way; what it says in the end is how long it took and its summary, or nothing when it was killed.
type Running = JoinHandle<Option<(Duration, Value)>>;

/// Collects at no grace; killed after a while, if so much is given.
fn collecting(gateway: &Harness, killed_after: Option<Duration>) -> Running {
    let mut command = gateway.command(&["gc", "--grace", "0", "--json"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().expect("the command starts");
    tokio::spawn(async move {
        let (begun, patience) = (Instant::now(), killed_after.unwrap_or(command::PATIENCE));
        let Ok(output) = tokio::time::timeout(patience, child.wait_with_output()).await else {
            assert!(killed_after.is_some(), "a collection takes longer than {} s", patience.as_secs());
            return None;
        };
        let output = output.expect("its output");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some((begun.elapsed(), serde_json::from_slice(&output.stdout).expect("a summary")))
    })
}

async fn soak(what: &str, mut gateways: Vec<Harness>, collectors: usize) {
    for gateway in &mut gateways {
        gateway.resume().await;
    }
    gateways[0].producer(PRODUCER).await;
    gateways[0].s3.request("PUT", PRODUCER).query("lifecycle", "").body(RULE.as_bytes()).send().await.unwrap();
    let doors = gateways.iter().map(|gateway| (gateway.s3.clone(), gateway.admin.clone())).collect();
    let shared = Arc::new(Shared {
        doors: RwLock::new(doors),
        over: AtomicBool::new(false),
        operations: AtomicU64::new(0),
        asked_again: AtomicU64::new(0),
        unanswered: AtomicU64::new(0),
        erased: AtomicU64::new(0),
    });
    let mut chance = Chance(u64::from(std::process::id()));
    let mut clients = JoinSet::new();
    for number in 0..4 {
        let client = Client {
            shared: Arc::clone(&shared),
            own: format!("client-{number}"),
            chance: Chance(chance.below(1 << 30)),
            names: BTreeMap::new(),
            sealed: Vec::new(),
        };
        clients.spawn(client.live());
    }

    let (begun, deadline) = (Instant::now(), Duration::from_secs(seconds()));
    let (mut collected, mut kills) = (Collected::default(), 0);
    let mut running: Vec<Option<Running>> = (0..collectors).map(|_| None).collect();
    let mut next_kill = Duration::from_millis(1500);
    while begun.elapsed() < deadline {
        for (number, slot) in running.iter_mut().enumerate() {
            if slot.as_ref().is_none_or(JoinHandle::is_finished) {
                if let Some(done) = slot.take() {
                    collected.add(done.await.unwrap());
                }
                let killed = (chance.below(3) == 0).then(|| Duration::from_millis(50 + chance.below(600)));
                *slot = Some(collecting(&gateways[number % gateways.len()], killed));
            }
        }
        if begun.elapsed() >= next_kill {
            let which = usize::try_from(chance.below(gateways.len() as u64)).unwrap();
            gateways[which].kill().await;
            gateways[which].resume().await;
            let doors = (gateways[which].s3.clone(), gateways[which].admin.clone());
            shared.doors.write().unwrap_or_else(PoisonError::into_inner)[which] = doors;
            kills += 1;
            next_kill = begun.elapsed() + Duration::from_millis(700 + chance.below(2500));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    shared.over.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    while let Some(client) = clients.join_next().await {
        done.push(client.unwrap());
    }
    for slot in running.into_iter().flatten() {
        collected.add(slot.await.unwrap());
    }
    let time = begun.elapsed();
    let (looked, expired) = judge(&mut gateways, done).await;
    assert!(collected.runs > 0 && collected.blobs > 0 && kills > 0, "{collected:?} {kills}");
    assert!(expired > 0, "the rule took nothing");
    report(what, time, &shared, kills, &collected);
    let erased = shared.erased.load(Ordering::Relaxed);
    println!("FIGURE soak of {what}: {erased} files erased, {expired} names taken by a rule");
    println!("FIGURE soak of {what}: {looked} files looked at in the end, losses = 0");
}

fn report(what: &str, time: Duration, shared: &Shared, kills: u64, collected: &Collected) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let Collected { runs, released, blobs, objects, bytes, orphans, killed, longest } = collected;
    println!(
        "FIGURE soak of {what}: {} s, {} operations, {} asked to come again, {} not answered; {kills} gateways and \
         {killed} collections killed; {runs} collections of at most {:.1} s: {released} versions released, {blobs} blobs \
         swept, {objects} objects ({bytes} bytes) deleted, {orphans} orphans",
        time.as_secs(),
        count(&shared.operations),
        count(&shared.asked_again),
        count(&shared.unanswered),
        longest.as_secs_f64(),
    );
}

/// Everything once more, when nobody writes any longer; how many files were looked at, and how many names went by the rule.
async fn judge(gateways: &mut [Harness], done: Vec<Client>) -> (usize, usize) {
    let _ = gateways[0].cli(&["lifecycle"]).await.succeeded();
    let events = gateways[0].admin.events(0).await;
    let expired = events.iter().filter(|event| event["actor"] == "lifecycle:soak").count();
    // From here on nothing goes by itself.
    gateways[0].s3.request("DELETE", PRODUCER).query("lifecycle", "").send().await.unwrap();
    for _ in 0..2 {
        let _ = gateways[0].cli(&["gc", "--grace", "0"]).await.succeeded();
    }
    let mut looked = 0;
    for mut client in done {
        for name in client.names.keys().cloned().collect::<Vec<_>>() {
            client.look(&name).await;
            looked += 1;
        }
        for (package, files) in std::mem::take(&mut client.sealed) {
            let found = gateways[0].admin.packages(PRODUCER, Some(&package)).await;
            assert_eq!(found[0]["state"], "finalized", "{package}");
            for (name, content) in files {
                let read = gateways[0].s3.get(&name).await.unwrap();
                assert!(read.body == content.bytes(), "{name} of a finalized package");
                looked += 1;
            }
        }
    }
    let last = gateways[0].cli(&["gc", "--grace", "0", "--json"]).await.succeeded();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["noted_orphans"], &last["deleted_objects"]), (&0.into(), &0.into()), "{last}");
    for gateway in gateways.iter_mut() {
        gateway.stop().await;
    }
    let _ = gateways[0].cli(&["gc", "--recount"]).await.succeeded();
    gateways[0].audit().await;
    (looked, expired)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_on_sqlite_loses_nothing_whatever_is_collected_and_whoever_is_killed() {
    let settings = [("ARTIFACTSTORE_LOG_LEVEL", "warn"), ("ARTIFACTSTORE_LIFECYCLE_INTERVAL_SECONDS", "1")];
    let gateway = Harness::prepare_in(&std::env::temp_dir(), command::binary(), &settings);
    soak("SQLite and a folder", vec![gateway], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_of_two_gateways_on_postgresql_loses_nothing_whatever_is_collected_and_whoever_is_killed() {
    let objects = tempfile::tempdir().unwrap();
    let (url, root) = (Cluster::shared().database(), objects.path().display().to_string());
    let database = ("ARTIFACTSTORE_DATABASE_URL", url.as_str());
    let storage = Ground::of_the_environment().settings(&[database]).await;
    let mut settings: Vec<(&str, &str)> = storage.iter().map(|(name, value)| (&**name, &**value)).collect();
    let what = if settings.is_empty() {
        settings.push(("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", root.as_str()));
        "PostgreSQL, two gateways and a folder"
    } else {
        "PostgreSQL, two gateways and RGW"
    };
    settings.extend([("ARTIFACTSTORE_LOG_LEVEL", "warn"), ("ARTIFACTSTORE_LIFECYCLE_INTERVAL_SECONDS", "1"), database]);
    let gateway = || Harness::prepare_in(&std::env::temp_dir(), command::binary(), &settings);
    soak(what, vec![gateway(), gateway()], 2).await;
}
