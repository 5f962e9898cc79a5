//! Letting go what goes by itself, now and then, and noting the time in a quiet log; each by one of the gateways.

use std::time::Duration;

use artifactstore_registry::actions::request::LifecycleRun;
use artifactstore_registry::clock::Entropy;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::{Error, Registry};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{SystemEntropy, root_tenant};
use crate::config::LifecycleSettings;
use crate::s3::lifecycle_rules;
use crate::telemetry::chain;

/// A gateway that begins lets so much time pass before it looks whether it is its turn, or the interval, if that is
/// shorter.
const FIRST_AFTER: Duration = Duration::from_mins(10);
/// How often it is looked whether the log is quiet.
const NOTE_EVERY: Duration = Duration::from_mins(10);

fn gateway() -> Actor {
    Actor {
        tenant: root_tenant(),
        name: "gateway".to_owned(),
        request_id: hex::encode(SystemEntropy.fresh()),
        client: None,
    }
}

/// How often it is looked whether it is this gateway's turn: often enough for the interval to be kept to.
fn look_every(interval: Duration) -> Duration {
    (interval / 60).max(Duration::from_secs(1)).min(interval)
}

/// Lets go what goes by itself every so often, whenever it is this gateway's turn.
pub(super) async fn expire_now_and_then(
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
    let mut ticks = tokio::time::interval_at(Instant::now() + interval.min(FIRST_AFTER), look_every(interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match registry.lifecycle_turn(interval).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                tracing::warn!(error = chain(&error), "whether to let go what goes by itself cannot be found out");
                continue;
            }
        }
        // Between two of its pages it can be let go at any time: the next run goes on with what is left.
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = expire(&registry, &how) => outcome,
        };
        if let Err(error) = outcome {
            tracing::error!(error = chain(&error), "letting go what goes by itself failed; it goes on later");
        }
    }
}

async fn expire(registry: &Registry, how: &LifecycleRun) -> Result<(), Error> {
    let summary = registry.lifecycle_run(&gateway(), how, &lifecycle_rules, &|_| {}).await?;
    tracing::info!(
        names = summary.removed_names + summary.marked_names,
        versions = summary.removed_versions + summary.removed_markers,
        uploads = summary.aborted_uploads,
        outlived = summary.outlived_versions,
        kept = summary.kept,
        "let go what goes by itself"
    );
    Ok(())
}

/// Notes the time in a log to which nobody writes, so that whoever begins later knows what time it is.
pub(super) async fn note_time_now_and_then(registry: Registry, stop: CancellationToken) {
    let mut ticks = tokio::time::interval_at(Instant::now() + NOTE_EVERY, NOTE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match registry.clock_note(&gateway()).await {
            Ok(true) => tracing::info!("what is known of the time is noted"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = chain(&error), "the time could not be noted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use artifactstore_registry::model::lifecycle::DayLength;
    use tokio_util::sync::CancellationToken;

    use super::{LifecycleSettings, expire_now_and_then};
    use crate::compose::{OpenMode, open_registry};
    use crate::config::{SettingArgs, Settings};

    #[tokio::test]
    async fn it_is_done_again_and_again_until_the_gateway_stops() {
        let folder = tempfile::tempdir().unwrap();
        let args = SettingArgs { data_dir: Some(folder.path().to_owned()), ..SettingArgs::default() };
        let opened = open_registry(&Settings::resolve(args).unwrap(), OpenMode::Create).await.unwrap();
        let (registry, stop) = (opened.registry, CancellationToken::new());
        let interval = Duration::from_millis(10);
        let settings = LifecycleSettings { interval: Some(interval), day: DayLength::REAL };
        let running = tokio::spawn(expire_now_and_then(registry.clone(), interval, settings, stop.clone()));
        while registry.lifecycle_totals().runs < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
        running.await.unwrap();
        assert!(registry.lifecycle_totals().last_run.is_some());
        registry.stop().await;
    }
}
