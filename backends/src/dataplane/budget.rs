//! How many bytes of bodies this process may hold: uploads wait for room rather than grow.
//!
//! Small bodies have a share of their own, so that large ones from slow senders cannot keep them out.
//!
//! Invariant: whoever waits for room holds no unfinished buffer, so streams never wait for each other in a circle.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Room is counted in units of this size.
const UNIT_BYTES: usize = 1024;
/// A body of up to this part of a chunk is small, and this part of the budget is for small bodies alone.
const SMALL_SHARE: usize = 8;

/// Room for bodies on their way in.
#[derive(Debug)]
pub(super) struct Budget {
    small_bytes: usize,
    small: Pool,
    large: Pool,
}

#[derive(Debug)]
struct Pool {
    units: u32,
    free: Arc<Semaphore>,
}

impl Budget {
    /// Gives up to `chunk_size_bytes` at a time; less than one chunk would never let a large body in.
    pub(super) fn new(budget_bytes: usize, chunk_size_bytes: usize) -> Self {
        let small_bytes = chunk_size_bytes / SMALL_SHARE;
        let small = (budget_bytes / SMALL_SHARE).max(small_bytes);
        let large = budget_bytes.saturating_sub(small).max(chunk_size_bytes);
        Self { small_bytes, small: Pool::new(small), large: Pool::new(large) }
    }

    /// Waits until so many bytes may be held; they may be as long as the permit lives. Dropping the future gives up
    /// the place in the queue.
    pub(super) async fn room_for(&self, size_bytes: usize) -> Result<OwnedSemaphorePermit> {
        let pool = if size_bytes <= self.small_bytes { &self.small } else { &self.large };
        let units = units(size_bytes).min(pool.units);
        Arc::clone(&pool.free).acquire_many_owned(units).await.map_err(|error| Error::Backend(error.into()))
    }
}

impl Pool {
    fn new(size_bytes: usize) -> Self {
        let units = units(size_bytes);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }
}

fn units(size_bytes: usize) -> u32 {
    u32::try_from(size_bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Budget;

    #[test]
    fn large_bodies_wait_for_each_other_and_keep_no_small_one_out() {
        let budget = Budget::new(64 << 20, 8 << 20);
        let large: Vec<_> = (0..7).map(|_| budget.room_for(8 << 20).now_or_never().unwrap().unwrap()).collect();
        assert!(budget.room_for(8 << 20).now_or_never().is_none());
        let small: Vec<_> = (0..8).map(|_| budget.room_for(1 << 20).now_or_never().unwrap().unwrap()).collect();
        assert!(budget.room_for(1).now_or_never().is_none());
        drop((large, small));
        assert!(budget.room_for(8 << 20).now_or_never().is_some());
    }

    #[test]
    fn a_budget_below_one_chunk_still_lets_one_chunk_in() {
        let budget = Budget::new(1, 1 << 20);
        let room = budget.room_for(1 << 20).now_or_never().unwrap().unwrap();
        assert!(budget.room_for(1 << 20).now_or_never().is_none());
        assert!(budget.room_for(1 << 17).now_or_never().is_some());
        drop(room);
    }
}
