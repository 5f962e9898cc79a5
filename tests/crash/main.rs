//! The crash sweep: the gateway is killed at every named step between the first byte of a request and its answer, again
//! and again on the same folder. Every acknowledged write is whole, what was not acknowledged is whole or absent, the log
//! tells exactly what happened, and what nobody names is found and swept.
//!
//! `make test` sweeps for a while, and reaches every step at least once; `make crash` goes on for thousands of rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

mod chance;
mod clients;
mod model;
mod sweep;

use std::time::{Duration, Instant};

use artifactstore_registry::backends::failpoint::Point;

use crate::chance::Chance;
use crate::sweep::{Aim, Sweep, Tally};

/// Rounds on one folder: enough for it to have a history, few enough that looking at all of it stays cheap.
const FOLDER_ROUNDS: u64 = 100;
/// Rounds between two replays of a log that was just cut off.
const REPLAY_EVERY: u64 = 20;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().unwrap();
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not {text:?}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_before_a_kill_at_any_step_is_whole_after_it() {
    let seed = setting("ARTIFACTSTORE_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let seconds = Duration::from_secs(setting("ARTIFACTSTORE_CRASH_SECONDS").unwrap_or(45));
    let rounds = setting("ARTIFACTSTORE_CRASH_ROUNDS");
    println!("FIGURE crash sweep: seed {seed} (ARTIFACTSTORE_CRASH_SEED)");
    let (begun, mut chance, mut tally) = (Instant::now(), Chance::new(seed), Tally::default());
    let enough = |tally: &Tally| match rounds {
        Some(rounds) => tally.rounds >= rounds,
        None => begun.elapsed() >= seconds,
    };
    let mut aims: Vec<Point> = Vec::new();
    let unreached = |tally: &Tally| -> Vec<_> {
        Point::ALL.iter().copied().filter(|point| !tally.kills.contains_key(point.name())).collect()
    };
    while !enough(&tally) {
        let mut sweep = Sweep::begin(chance.branch()).await;
        for round in 1..=FOLDER_ROUNDS {
            if enough(&tally) {
                break;
            }
            if aims.is_empty() {
                aims = Point::ALL.to_vec();
                chance.shuffle(&mut aims);
            }
            let aim = Aim::take(aims.pop().unwrap(), &mut chance);
            sweep.round(aim, &mut tally).await;
            if round % REPLAY_EVERY == 0 {
                sweep.replay().await;
            }
            if tally.rounds % 100 == 0 {
                println!(
                    "{} rounds in {:.0?}, {} kills",
                    tally.rounds,
                    begun.elapsed(),
                    tally.kills.values().sum::<u64>()
                );
            }
        }
        sweep.end(&mut tally).await;
    }
    // A step that chance left out, or whose aim was too far, is aimed at once more: none may be dead.
    let mut sweep = Sweep::begin(chance.branch()).await;
    for _ in 0..10 {
        for point in unreached(&tally) {
            sweep.round(Aim { point, count: 1 }, &mut tally).await;
        }
    }
    sweep.end(&mut tally).await;
    report(&tally, begun.elapsed());
    assert_eq!(unreached(&tally), [], "steps that no run reached");
}

fn report(tally: &Tally, time: Duration) {
    let kills: u64 = tally.kills.values().sum();
    let [happened, not] = tally.unacknowledged;
    println!(
        "FIGURE crash sweep: {} rounds in {time:.0?}, {kills} ended at a step and {} by the harness; {} acknowledged \
         changes whole, {happened} others whole and {not} absent; {} events, {} orphans and {} temporary files swept",
        tally.rounds, tally.by_harness, tally.acknowledged, tally.events, tally.orphans, tally.temporaries
    );
    let each: Vec<String> = tally.kills.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("FIGURE crash sweep: kills at {}", each.join(", "));
}
