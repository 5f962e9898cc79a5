//! Work that one gateway does for all: the leases that this process has, taken when there is something to do, and kept
//! while there is.
//!
//! Invariant: whoever asks for a lease gets one that ran a moment ago. Whether it still runs is asked again by the batch
//! that leans on it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::store::Store;
use crate::store::lease::{Lease, Work};

/// How long a lease runs when nobody renews it: so long does work rest when the gateway that had it is gone.
pub const LEASE_TERM: Duration = Duration::from_secs(10);
/// How old a lease may be before it is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// How long a process that stops waits for the database to take its leases back.
const END_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// When this process asked for it: it runs for at least its term from then on.
    since: Instant,
}

/// The leases of this process.
#[derive(Debug)]
pub(crate) struct Leases {
    holder: String,
    held: Mutex<BTreeMap<Work, Held>>,
}

impl Leases {
    /// None yet, for a process of this name.
    pub(crate) fn new(holder: String) -> Self {
        Self { holder, held: Mutex::default() }
    }

    /// The lease of this work, or nothing while another process has it.
    pub(crate) async fn of(&self, store: &dyn Store, work: Work) -> Result<Option<Lease>> {
        let mut held = self.held.lock().await;
        let since = Instant::now();
        if let Some(kept) = held.get_mut(&work) {
            if since.duration_since(kept.since) < RENEW_AFTER {
                return Ok(Some(kept.lease.clone()));
            }
            if store.lease_renew(&kept.lease, LEASE_TERM).await? {
                kept.since = since;
                return Ok(Some(kept.lease.clone()));
            }
            held.remove(&work);
            tracing::info!(work = work.name(), "the lease was not renewed in time");
        }
        let Some(lease) = store.lease_take(work, &self.holder, LEASE_TERM).await? else { return Ok(None) };
        tracing::info!(work = work.name(), token = lease.token, "this gateway has the lease");
        held.insert(work, Held { lease: lease.clone(), since });
        Ok(Some(lease))
    }

    /// Whether it is this process's turn at work that is done once in so long, by whoever comes first: nobody took a turn
    /// for as long as that. It is not given back.
    pub(crate) async fn turn(&self, store: &dyn Store, work: Work, every: Duration) -> Result<bool> {
        Ok(store.lease_take(work, &self.holder, every).await?.is_some())
    }

    /// Forgets a lease that was found to be over.
    pub(crate) async fn forget(&self, lease: &Lease) {
        tracing::warn!(
            work = lease.work.name(),
            token = lease.token,
            "the lease was over; nothing was recorded under it"
        );
        let mut held = self.held.lock().await;
        if held.get(&lease.work).is_some_and(|kept| kept.lease == *lease) {
            held.remove(&lease.work);
        }
    }

    /// Ends all of them, so that others need not wait; not that this process need wait for long.
    pub(crate) async fn end(&self, store: &dyn Store) {
        let ending = async {
            for (_, kept) in std::mem::take(&mut *self.held.lock().await) {
                store.lease_end(&kept.lease).await?;
            }
            Result::Ok(())
        };
        match tokio::time::timeout(END_WITHIN, ending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a lease could not be given back; it runs out"
                );
            }
            Err(_) => tracing::warn!("a lease could not be given back in time; it runs out"),
        }
    }
}
