//! Reading everything again, slowly, by one of the gateways.

use std::time::Duration;

use artifactstore_registry::actions::scrub::{Scrub, TELL_BYTES};
use artifactstore_registry::clock::Entropy;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::{Error, Refusal, Registry};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{SystemEntropy, root_tenant};
use crate::config::ScrubSettings;
use crate::telemetry::chain;

/// How often it is looked whether a pass is due or was asked for, and what became of damage.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Scrubs whenever that is due, for as long as this gateway has the lease of it.
pub(super) async fn scrub_now_and_then(registry: Registry, settings: ScrubSettings, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let how = Scrub { bytes_per_second: settings.bytes_per_second, tell_bytes: TELL_BYTES, under_lease: true };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match look(&registry, settings.interval, &how, &stop).await {
            Ok(()) | Err(Error::Refused(Refusal::LeaseOver) | Error::Stopping) => {}
            Err(error) => tracing::warn!(error = chain(&error), "scrubbing failed; it goes on later"),
        }
    }
}

async fn look(
    registry: &Registry,
    interval: Option<Duration>,
    how: &Scrub,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let actor = Actor {
        tenant: root_tenant(),
        name: "gateway".to_owned(),
        request_id: hex::encode(SystemEntropy.fresh()),
        client: None,
    };
    registry.scrub_settle(&actor).await?;
    if !registry.scrub_due(interval).await? || !registry.scrub_leads().await? {
        return Ok(());
    }
    // It stops by itself, between two objects, so that it can still say how far it came.
    let Some(pass) = registry.scrub(&actor, how, &|| stop.is_cancelled()).await? else { return Ok(()) };
    if pass.ended_sequence.is_some() {
        let tally = pass.tally;
        tracing::info!(objects = tally.objects, bytes = tally.bytes, damaged = tally.damaged, "scrubbed everything");
    }
    Ok(())
}
