//! Collecting what nothing keeps, now and then, by one of the gateways.

use std::time::Duration;

use artifactstore_registry::actions::request::Collection;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::{Error, Refusal, Registry};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{SystemEntropy, root_tenant};
use crate::telemetry::chain;
use artifactstore_registry::clock::Entropy;

/// How often it is looked whether it is due, and the lease kept.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A gateway that just got the lease does not know when another one collected last: it lets so much time pass, or the
/// interval, if that is shorter.
const FIRST_AFTER: Duration = Duration::from_mins(10);

/// Collects every so often for as long as this gateway has the lease of it.
pub(super) async fn collect_now_and_then(
    registry: Registry,
    interval: Duration,
    how: Collection,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match registry.collect_leads().await {
            Ok(true) => {}
            Ok(false) => {
                due = None;
                continue;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "whether to collect what nothing keeps cannot be found out");
                continue;
            }
        }
        let now = Instant::now();
        if *due.get_or_insert(now + interval.min(FIRST_AFTER)) > now {
            continue;
        }
        // Between two of its steps it can be let go at any time: the next run goes on.
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = collect(&registry, &how) => outcome,
        };
        match outcome {
            Ok(()) | Err(Error::Refused(Refusal::LeaseOver)) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "collecting what nothing keeps failed; it goes on later")
            }
        }
        due = Some(Instant::now() + interval);
    }
}

async fn collect(registry: &Registry, how: &Collection) -> Result<(), Error> {
    let actor = Actor {
        tenant: root_tenant(),
        name: "gateway".to_owned(),
        request_id: hex::encode(SystemEntropy.fresh()),
        client: None,
    };
    let summary = registry.collect(&actor, how, &|_, _| {}).await?;
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use artifactstore_registry::actions::request::Collection;
    use tokio_util::sync::CancellationToken;

    use super::collect_now_and_then;
    use crate::compose::{OpenMode, open_registry};
    use crate::config::{SettingArgs, Settings};

    #[tokio::test]
    async fn it_is_done_again_and_again_until_the_gateway_stops() {
        let folder = tempfile::tempdir().unwrap();
        let args = SettingArgs { data_dir: Some(folder.path().to_owned()), ..SettingArgs::default() };
        let opened = open_registry(&Settings::resolve(args).unwrap(), OpenMode::Create).await.unwrap();
        let (registry, stop) = (opened.registry, CancellationToken::new());
        let how = Collection { grace: Duration::ZERO, dry: false, under_lease: true };
        let interval = Duration::from_millis(10);
        let running = tokio::spawn(collect_now_and_then(registry.clone(), interval, how, stop.clone()));
        while registry.collect_totals().runs < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
        running.await.unwrap();
        assert!(registry.collect_totals().last_run.is_some());
        registry.stop().await;
    }
}
