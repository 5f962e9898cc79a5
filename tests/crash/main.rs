//! The crash sweep: the gateway is killed at every named step between the first byte of a request and its answer, again
//! and again on the same folder; and, where `strace` is installed, before any system call that writes. Every
//! acknowledged write is whole, what was not acknowledged is whole or absent, the log tells exactly what happened, and
//! what nobody names is found and swept.
//!
//! `make test` sweeps for a while, and reaches every step at least once; `make crash` goes on for thousands of rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

mod chance;
mod clients;
mod model;
mod sweep;

use std::path::Path;
use std::time::{Duration, Instant};

use artifactstore_registry::backends::failpoint::Point;
use artifactstore_tests::command;
use artifactstore_tests::trace::strace;

use crate::chance::Chance;
use crate::sweep::{Aim, Place, Sweep, Tally, killable};

/// Rounds on one folder: enough for it to have a history, few enough that looking at all of it stays cheap.
const FOLDER_ROUNDS: u64 = 100;
/// Rounds between two replays of a log that was just cut off.
const REPLAY_EVERY: u64 = 20;
/// How often a place is aimed at in the end that was not come to.
const AIMS_AT_THE_LAST: u32 = 20;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().unwrap();
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not {text:?}")))
}

/// System calls that write, and those that send the answer.
const CALLS: [&str; 10] =
    ["rename", "fsync", "pwrite64", "write", "openat", "mkdir", "unlink", "ftruncate", "writev", "sendto"];
/// Those without which nothing is stored.
const CALLS_NEEDED: [&str; 3] = ["rename", "fsync", "pwrite64"];

/// Steps of a command that moves the store, and of no request: `tests/bucket/relocating.rs` ends it at each of them.
const OF_A_MOVE: [Point; 6] = [
    Point::StoreCopied,
    Point::StoreDirected,
    Point::StoreFollowed,
    Point::StoreClosed,
    Point::StoreWhole,
    Point::StoreMoved,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_before_a_kill_at_any_step_is_whole_after_it() {
    let steps = Point::ALL.iter().copied().filter(|point| !OF_A_MOVE.contains(point));
    let places: Vec<Place> = steps.map(Place::Step).collect();
    let seconds = setting("ARTIFACTSTORE_CRASH_SECONDS").unwrap_or(45);
    let rounds = setting("ARTIFACTSTORE_CRASH_ROUNDS");
    let tally = sweep("steps", &command::failpoints_binary(), &places, &places, seconds, rounds).await;
    let unreached: Vec<_> = places.iter().filter(|place| !tally.kills.contains_key(place.name())).collect();
    assert!(unreached.is_empty(), "steps that no run reached: {unreached:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_before_a_kill_at_any_system_call_is_whole_after_it() {
    let Some(strace) = strace() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = killable(folder.path(), &strace, &command::failpoints_binary());
    let seconds = setting("ARTIFACTSTORE_CRASH_SECONDS").unwrap_or(45) / 3;
    let rounds = setting("ARTIFACTSTORE_CRASH_ROUNDS").map(|rounds| rounds / 3);
    let needed = CALLS_NEEDED.map(Place::Call);
    let tally = sweep("system calls", &program, &CALLS.map(Place::Call), &needed, seconds, rounds).await;
    let unreached: Vec<_> = needed.iter().filter(|place| !tally.kills.contains_key(place.name())).collect();
    assert!(unreached.is_empty(), "system calls that no run made: {unreached:?}");
}

/// After how many answered commands there is something that nothing keeps.
const GARBAGE_COMMANDS: u64 = 150;

/// Sweeps over these places for so many rounds, or else so many seconds, and over those that are needed until each was
/// come to.
async fn sweep(
    what: &str,
    program: &Path,
    places: &[Place],
    needed: &[Place],
    seconds: u64,
    rounds: Option<u64>,
) -> Tally {
    let seed = setting("ARTIFACTSTORE_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("FIGURE crash sweep of {what}: seed {seed} (ARTIFACTSTORE_CRASH_SEED)");
    let (begun, mut chance, mut tally) = (Instant::now(), Chance::new(seed), Tally::default());
    let enough = |tally: &Tally| match rounds {
        Some(rounds) => tally.rounds >= rounds,
        None => begun.elapsed() >= Duration::from_secs(seconds),
    };
    let mut aims: Vec<Place> = Vec::new();
    while !enough(&tally) {
        let mut sweep = Sweep::begin(program.to_owned(), chance.branch()).await;
        for round in 1..=FOLDER_ROUNDS {
            if enough(&tally) {
                break;
            }
            if aims.is_empty() {
                aims = places.to_vec();
                chance.shuffle(&mut aims);
            }
            let aim = Aim::take(aims.pop().unwrap(), &mut chance);
            sweep.round(aim, &mut tally).await;
            if round % REPLAY_EVERY == 0 {
                sweep.replay().await;
            }
            if tally.rounds % 100 == 0 {
                let kills = tally.kills.values().sum::<u64>();
                println!("{} rounds in {:.0?}, {kills} kills", tally.rounds, begun.elapsed());
            }
        }
        sweep.end(&mut tally).await;
    }
    // A place that chance left out, or whose aim was too far, is aimed at once more: none may be dead.
    let mut sweep = Sweep::begin(program.to_owned(), chance.branch()).await;
    for attempt in 1..=AIMS_AT_THE_LAST {
        sweep.be_patient(attempt);
        for place in needed {
            if !tally.kills.contains_key(place.name()) {
                if place.is_of_a_collection() || place.is_of_an_erasure() {
                    // A life before it, so that there is something to collect, or to erase.
                    let place = Place::Step(Point::CommandAnswered);
                    sweep.round(Aim { place, count: GARBAGE_COMMANDS }, &mut tally).await;
                }
                sweep.round(Aim { place: *place, count: 1 }, &mut tally).await;
            }
        }
    }
    sweep.end(&mut tally).await;
    report(what, &tally, begun.elapsed());
    tally
}

fn report(what: &str, tally: &Tally, time: Duration) {
    let kills: u64 = tally.kills.values().sum();
    let [happened, not] = tally.unacknowledged;
    println!(
        "FIGURE crash sweep of {what}: {} rounds in {time:.0?}, {kills} ended there and {} by the harness; {} acknowledged \
         changes whole, {happened} others whole and {not} absent; {} events, {} objects and {} temporary files swept, {} files \
         erased",
        tally.rounds,
        tally.by_harness,
        tally.acknowledged,
        tally.events,
        tally.orphans,
        tally.temporaries,
        tally.erased
    );
    let each: Vec<String> = tally.kills.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("FIGURE crash sweep of {what}: kills at {}", each.join(", "));
}
