//! What gateways do now and then without being asked, most of it by one of them for all: collecting, letting go what goes by
//! itself, reading everything again, sealing what has gone quiet, noting the time.
//!
//! Invariant: whatever is under way when the gateway stops ends, or is let go, between two of its steps: the next turn goes on.

use std::time::Duration;

use artifactstore_registry::actions::request::{Collection, LifecycleRun};
use artifactstore_registry::actions::scrub::{Scrub, TELL_BYTES};
use artifactstore_registry::clock::Entropy;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::{Error, Refusal, Registry};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{SystemEntropy, root_tenant};
use crate::config::{LifecycleSettings, ScrubSettings};
use crate::s3::lifecycle_rules;
use crate::telemetry::chain;

/// How often it is looked whether it is time to collect or to scrub, and a lease kept.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A gateway does not know when another one did something last: it lets so much time pass, or the interval, if that is shorter.
const FIRST_AFTER: Duration = Duration::from_mins(10);
/// How often it is looked whether the log was told of the time.
const NOTE_EVERY: Duration = Duration::from_mins(10);
/// How long a gateway that stops waits for that.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// How often packages are looked for whose quiet period has passed.
const IDLE_EVERY: Duration = Duration::from_secs(1);

fn gateway() -> Actor {
    Actor {
        tenant: root_tenant(),
        name: "gateway".to_owned(),
        request_id: hex::encode(SystemEntropy.fresh()),
        client: None,
    }
}

/// The turns of some work, until the gateway stops.
struct Turns {
    what: &'static str,
    ticks: Interval,
    stop: CancellationToken,
}

impl Turns {
    fn of(what: &'static str, (first_after, every): (Duration, Duration), stop: &CancellationToken) -> Self {
        let mut ticks = tokio::time::interval_at(Instant::now() + first_after, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { what, ticks, stop: stop.clone() }
    }

    /// Waits for the next one; whether there is one.
    async fn next(&mut self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            _ = self.ticks.tick() => true,
        }
    }

    /// One that failed is told of, and the next one comes all the same.
    fn taken(&self, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) | Err(Error::Refused(Refusal::LeaseOver) | Error::Stopping) => {}
            Err(error) => tracing::error!(error = chain(&error), "{} failed; it goes on later", self.what),
        }
    }
}

/// Lets work go when the gateway stops.
async fn until(stop: &CancellationToken, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        outcome = work => outcome,
    }
}

/// Collects what nothing keeps every so often, for as long as this gateway has the lease of it.
pub(super) async fn collect(registry: Registry, interval: Duration, how: Collection, stop: CancellationToken) {
    let mut due: Option<Instant> = None;
    let mut turns = Turns::of("collecting what nothing keeps", (Duration::ZERO, LOOK_EVERY), &stop);
    while turns.next().await {
        let turn = async {
            if !registry.collect_leads().await? {
                due = None;
                return Ok(());
            }
            if *due.get_or_insert(Instant::now() + interval.min(FIRST_AFTER)) > Instant::now() {
                return Ok(());
            }
            let outcome = until(&stop, async {
                let summary = registry.collect(&gateway(), &how, &|_, _| {}).await?;
                tracing::info!(
                    released = summary.released,
                    condemned = summary.condemned_blobs,
                    swept = summary.swept_blobs,
                    objects = summary.deleted_objects,
                    bytes = summary.deleted_bytes,
                    orphans = summary.swept_orphans,
                    "collected what nothing keeps"
                );
                Ok(())
            });
            let outcome = outcome.await;
            // Also behind one that failed: the next one would, in the same way.
            due = Some(Instant::now() + interval);
            outcome
        };
        turns.taken(turn.await);
    }
}

/// How often it is looked whether it is this gateway's turn: often enough for the interval to be kept to.
fn look_every(interval: Duration) -> Duration {
    (interval / 60).max(Duration::from_secs(1)).min(interval)
}

/// Lets go what goes by itself every so often, whenever it is this gateway's turn.
pub(super) async fn expire(
    registry: Registry,
    interval: Duration,
    settings: LifecycleSettings,
    stop: CancellationToken,
) {
    if !settings.day.is_real() {
        tracing::warn!(
            "the days of lifecycle rules are not of 24 hours (lifecycle_day_seconds): that is for tests only"
        );
    }
    let how = LifecycleRun { day: settings.day, dry: false };
    let rhythm = (interval.min(FIRST_AFTER), look_every(interval));
    let mut turns = Turns::of("letting go what goes by itself", rhythm, &stop);
    while turns.next().await {
        let turn = async {
            if !registry.lifecycle_turn(interval).await? {
                return Ok(());
            }
            until(&stop, async {
                let summary = registry.lifecycle_run(&gateway(), &how, &lifecycle_rules, &|_| {}).await?;
                tracing::info!(
                    names = summary.removed_names + summary.marked_names,
                    versions = summary.removed_versions + summary.removed_markers,
                    uploads = summary.aborted_uploads,
                    outlived = summary.outlived_versions,
                    kept = summary.kept,
                    "let go what goes by itself"
                );
                Ok(())
            })
            .await
        };
        turns.taken(turn.await);
    }
}

/// Scrubs whenever that is due, for as long as this gateway has the lease of it.
pub(super) async fn scrub(registry: Registry, settings: ScrubSettings, stop: CancellationToken) {
    let how = Scrub { bytes_per_second: settings.bytes_per_second, tell_bytes: TELL_BYTES, under_lease: true };
    let mut turns = Turns::of("scrubbing", (Duration::ZERO, LOOK_EVERY), &stop);
    while turns.next().await {
        let turn = async {
            let actor = gateway();
            registry.scrub_settle(&actor).await?;
            if !registry.scrub_due(settings.interval).await? || !registry.scrub_leads().await? {
                return Ok(());
            }
            // It stops by itself, between two objects, so that it can still say how far it came.
            let pass = registry.scrub(&actor, &how, &|| stop.is_cancelled()).await?;
            if let Some(tally) = pass.filter(|pass| pass.ended_sequence.is_some()).map(|pass| pass.tally) {
                tracing::info!(
                    objects = tally.objects,
                    bytes = tally.bytes,
                    damaged = tally.damaged,
                    "scrubbed everything"
                );
            }
            Ok(())
        };
        turns.taken(turn.await);
    }
}

/// Notes what is known of the time now and then, and once more at the end, so that whoever begins later knows what time
/// it is.
pub(super) async fn note_time(registry: Registry, stop: CancellationToken) {
    let mut turns = Turns::of("noting the time", (NOTE_EVERY, NOTE_EVERY), &stop);
    let mut ends = false;
    while !ends {
        ends = !turns.next().await;
        let patience = if ends { LAST_PATIENCE } else { NOTE_EVERY };
        match tokio::time::timeout(patience, registry.clock_note(&gateway(), ends)).await {
            Ok(Ok(true)) => tracing::info!("what is known of the time is noted"),
            Ok(Ok(false)) => {}
            Ok(outcome) => turns.taken(outcome.map(drop)),
            Err(_) => tracing::warn!("the time could not be noted: the database does not answer"),
        }
    }
}

/// Finalizes packages whose quiet period has passed.
pub(super) async fn finalize_idle(registry: Registry, stop: CancellationToken) {
    let mut turns = Turns::of("looking for quiet packages", (Duration::ZERO, IDLE_EVERY), &stop);
    while turns.next().await {
        let turn = async {
            let packages = registry.packages_finalize_idle().await?;
            if packages > 0 {
                tracing::info!(packages, "finalized after their quiet period");
            }
            Ok(())
        };
        turns.taken(turn.await);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use artifactstore_registry::Registry;
    use artifactstore_registry::actions::request::Collection;
    use artifactstore_registry::model::lifecycle::DayLength;
    use tokio_util::sync::CancellationToken;

    use crate::compose::{OpenMode, open_registry};
    use crate::config::{LifecycleSettings, SettingArgs, Settings};

    const INTERVAL: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn it_is_done_again_and_again_until_the_gateway_stops() {
        let folder = tempfile::tempdir().unwrap();
        let args = SettingArgs { data_dir: Some(folder.path().to_owned()), ..SettingArgs::default() };
        let registry = open_registry(&Settings::resolve(args).unwrap(), OpenMode::Create).await.unwrap().registry;
        let stop = CancellationToken::new();
        let how = Collection { grace: Duration::ZERO, dry: false, under_lease: true };
        let settings = LifecycleSettings { interval: Some(INTERVAL), day: DayLength::REAL };
        let collecting = tokio::spawn(super::collect(registry.clone(), INTERVAL, how, stop.clone()));
        let expiring = tokio::spawn(super::expire(registry.clone(), INTERVAL, settings, stop.clone()));
        let runs = |registry: &Registry| registry.collect_totals().runs.min(registry.lifecycle_totals().runs);
        while runs(&registry) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
        collecting.await.unwrap();
        expiring.await.unwrap();
        assert!(registry.collect_totals().last_run.is_some() && registry.lifecycle_totals().last_run.is_some());
        registry.stop().await;
    }
}
