//! Clients of many gateways: each asks another one every time, comes again when it is told to, and remembers what it
//! was told.

use std::time::Duration;

use artifactstore_tests::{Refused, S3};
use tokio::sync::watch;

use super::fleet::Doors;
use crate::body;

/// The producer that nearly everything is written to.
pub(crate) const PRODUCER: &str = "fleet";
/// The producer whose packages are sealed by themselves, by whichever gateway has the lease.
pub(crate) const QUIET: &str = "quiet";
/// After so many seconds.
pub(crate) const QUIET_SECONDS: u64 = 1;
/// How long whoever writes such packages waits before the next.
const QUIET_PAUSE: Duration = Duration::from_millis(500);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long it waits before it comes again.
const PAUSE: Duration = Duration::from_millis(100);
/// The least size of every part but the last.
const PART_MINIMUM: usize = 5 << 20;

/// What became of a request.
pub(crate) enum Answer<T, R> {
    /// It was done.
    Done(T),
    /// It was not, for a reason that lasts.
    Refused(R),
    /// It was not, and may be tried again: nobody listened, or a 503 or 507 said so.
    Later,
    /// No answer came: it was done or not.
    Unknown,
}

/// Waits for the answer to a request.
pub(crate) async fn ask<T>(request: impl Future<Output = Result<T, Refused>>) -> Answer<T, Refused> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(done)) => Answer::Done(done),
        Ok(Err(refused)) => match refused.status() {
            0 if refused.reply.text().contains("Connection refused") => Answer::Later,
            // A database that stays away for minutes leaves the outcome open, and only that is a 500.
            0 | 500 => Answer::Unknown,
            503 | 507 => Answer::Later,
            _ => Answer::Refused(refused),
        },
        Err(_) => Answer::Unknown,
    }
}

/// A file that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) name: String,
    /// The seeds and sizes of its pieces.
    pieces: Vec<(u64, usize)>,
}

impl Kept {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|(seed, size)| body::bytes(*seed, *size)).collect()
    }
}

/// A package that is sealed, or is to be sealed by itself.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) producer: &'static str,
    pub(crate) name: String,
    /// The files that were acknowledged before: it has all of them.
    pub(crate) files: Vec<Kept>,
    /// The files that were sent: it has no other ones.
    pub(crate) sent: Vec<Kept>,
}

/// What a client was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) files: Vec<Kept>,
    pub(crate) packages: Vec<Sealed>,
    /// Requests that were acknowledged, that were to come again, and that had no answer.
    pub(crate) acknowledged: usize,
    pub(crate) later: usize,
    pub(crate) unknown: usize,
}

impl Told {
    pub(crate) fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.packages.extend(other.packages);
        self.acknowledged += other.acknowledged;
        self.later += other.later;
        self.unknown += other.unknown;
    }
}

/// A client: its number, where it goes, and when it stops.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) doors: Doors,
    pub(crate) stop: watch::Receiver<bool>,
    told: Told,
    turn: usize,
}

impl Client {
    pub(crate) fn new(number: usize, doors: Doors, stop: watch::Receiver<bool>) -> Self {
        Self { number, doors, stop, told: Told::default(), turn: 0 }
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    fn seed(&self) -> u64 {
        (self.number as u64 + 1) << 40 | self.turn as u64
    }

    /// Asks one gateway after the other until it is done, or it is time to stop; `None` then.
    async fn insist<T, F: Future<Output = Result<T, Refused>>>(&mut self, request: impl Fn(S3) -> F) -> Option<T> {
        loop {
            self.turn += 1;
            match ask(request(self.doors.of(self.number + self.turn))).await {
                Answer::Done(done) => {
                    self.told.acknowledged += 1;
                    return Some(done);
                }
                Answer::Refused(refused) => panic!("client {} was refused: {refused:?}", self.number),
                Answer::Later => self.told.later += 1,
                Answer::Unknown => self.told.unknown += 1,
            }
            if self.stopped() {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Files of their own names, small ones and now and then one of several chunks.
    pub(crate) async fn files(mut self) -> Told {
        while !self.stopped() {
            let size = if self.turn % 64 == 5 { (8 << 20) + 77 } else { 1 + (self.turn * 977) % 30_000 };
            let name = format!("{PRODUCER}/files-{}/{}", self.number, self.turn);
            let kept = Kept { name, pieces: vec![(self.seed(), size)] };
            let (name, bytes) = (&kept.name, &kept.bytes());
            if self.insist(|door| async move { door.put(name, bytes).await }).await.is_some() {
                self.told.files.push(kept);
            }
        }
        self.told
    }

    /// Files in parts: begun at one gateway, each part sent to another, completed at a third.
    pub(crate) async fn parts(mut self) -> Told {
        while !self.stopped() {
            let name = &format!("{PRODUCER}/parts-{}/{}", self.number, self.turn);
            let Some(upload) = &self.insist(|door| async move { door.upload_create(name).await }).await else { break };
            let (mut pieces, mut parts) = (Vec::new(), Vec::new());
            for (number, size) in [(1, PART_MINIMUM + self.turn % 1000), (2, 1 + self.turn % 5000)] {
                let piece = (self.seed(), size);
                let bytes = &body::bytes(piece.0, piece.1);
                let sent = self.insist(|door| async move { door.upload_part(name, upload, number, bytes).await }).await;
                pieces.push(piece);
                parts.extend(sent.map(|etag| (number, etag)));
            }
            let whole = &parts;
            let complete = |door: S3| async move { door.upload_complete(name, upload, whole).await };
            if parts.len() == pieces.len() && self.insist(complete).await.is_some() {
                self.told.files.push(Kept { name: name.clone(), pieces });
            }
        }
        self.told
    }

    /// Packages of a few files that are sealed through whatever gateway, and then refuse whoever comes late.
    pub(crate) async fn packages(mut self) -> Told {
        while !self.stopped() {
            let package = format!("package-{}-{}", self.number, self.turn);
            let mut files = Vec::new();
            for path in ["a", "b/c", "d"] {
                let name = format!("{PRODUCER}/{package}/{path}");
                let kept = Kept { name, pieces: vec![(self.seed(), 1 + self.turn % 3000)] };
                let (name, bytes) = (&kept.name, &kept.bytes());
                if self.insist(|door| async move { door.put(name, bytes).await }).await.is_none() {
                    return self.told;
                }
                self.told.files.push(kept.clone());
                files.push(kept);
            }
            let marker = &format!("{PRODUCER}/{package}/.artifact/finalize");
            if self.insist(|door| async move { door.put(marker, b"").await }).await.is_none() {
                return self.told;
            }
            let late = format!("{PRODUCER}/{package}/late");
            match ask(self.doors.of(self.turn).put(&late, b"late")).await {
                Answer::Done(_) => panic!("{package} is sealed, and a gateway let a write in"),
                Answer::Refused(refused) => assert_eq!(refused.code(), "AccessDenied"),
                Answer::Later | Answer::Unknown => {}
            }
            let sent = files.clone();
            self.told.packages.push(Sealed { producer: PRODUCER, name: package, files, sent });
        }
        self.told
    }

    /// Packages of two files that nobody seals, and that are sealed by themselves: perhaps between the two, when the
    /// second one has to come again for long enough.
    pub(crate) async fn quiet_packages(mut self) -> Told {
        while !self.stopped() {
            let name = format!("package-{}-{}", self.number, self.turn);
            let mut package = Sealed { producer: QUIET, name, files: Vec::new(), sent: Vec::new() };
            for path in ["a", "b/c"] {
                let pieces = vec![(self.seed(), 1 + self.turn % 3000)];
                let kept = Kept { name: format!("{QUIET}/{}/{path}", package.name), pieces };
                package.sent.push(kept.clone());
                if !self.send_to_quiet(&kept).await {
                    break;
                }
                package.files.push(kept);
            }
            if !package.files.is_empty() {
                self.told.files.extend(package.files.iter().cloned());
                self.told.packages.push(package);
            }
            tokio::time::sleep(QUIET_PAUSE).await;
        }
        self.told
    }

    /// Sends a file until it is acknowledged, or its package is sealed, or it is time to stop; says whether the first.
    async fn send_to_quiet(&mut self, kept: &Kept) -> bool {
        loop {
            self.turn += 1;
            match ask(self.doors.of(self.number + self.turn).put(&kept.name, &kept.bytes())).await {
                Answer::Done(_) => {
                    self.told.acknowledged += 1;
                    return true;
                }
                Answer::Refused(refused) => {
                    assert_eq!(refused.code(), "AccessDenied", "{refused:?}");
                    return false;
                }
                Answer::Later => self.told.later += 1,
                Answer::Unknown => self.told.unknown += 1,
            }
            if self.stopped() {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
