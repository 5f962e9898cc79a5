//! How many bytes of bodies this process may hold: uploads wait for room rather than grow.
//!
//! Small bodies have a share of their own, so that large ones from slow senders cannot keep them out; another share is
//! for stored chunks that are worth keeping for a moment. Whoever holds room and waits for its sender is asked to give
//! it back when others wait for it ([`Budget::wanted`]), so that slow senders cannot keep out fast ones. What is read
//! ahead for those who fetch has a share as well.
//!
//! Invariant: whoever waits for room holds no unfinished buffer, so streams never wait for each other in a circle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Room is counted in units of this size.
const UNIT_BYTES: usize = 1024;
/// A body of up to this part of a chunk is small, and this part of the budget is for small bodies alone.
const SMALL_SHARE: usize = 8;
/// This part of the budget is for chunks that are kept for a moment.
const WARM_SHARE: usize = 4;
/// This part of the budget is for what is read ahead.
const AHEAD_SHARE: usize = 8;
/// Whoever waits for room asks one more holder to give its own back each time this has passed.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Room that is held; given back when it is dropped.
pub(super) type Room = OwnedSemaphorePermit;

/// Room for bodies on their way in, and for what is read ahead of those on their way out.
#[derive(Debug)]
pub(super) struct Budget {
    small_bytes: usize,
    small: Pool,
    large: Pool,
    warm: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
}

#[derive(Debug)]
struct Pool {
    units: u32,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    wanted: Notify,
}

impl Budget {
    /// Gives up to `chunk_size_bytes` at a time; less than one chunk would never let a large body in.
    pub(super) fn new(budget_bytes: usize, chunk_size_bytes: usize) -> Self {
        let small_bytes = chunk_size_bytes / SMALL_SHARE;
        let small = (budget_bytes / SMALL_SHARE).max(small_bytes);
        let warm = budget_bytes / WARM_SHARE;
        let warm_free = Arc::new(Semaphore::new(warm / UNIT_BYTES));
        let ahead = budget_bytes / AHEAD_SHARE;
        let ahead_free = Arc::new(Semaphore::new(ahead / UNIT_BYTES));
        let large = budget_bytes.saturating_sub(small + warm + ahead).max(chunk_size_bytes);
        Self { small_bytes, small: Pool::new(small), large: Pool::new(large), warm: warm_free, ahead: ahead_free }
    }

    fn pool(&self, size_bytes: usize) -> &Pool {
        if size_bytes <= self.small_bytes { &self.small } else { &self.large }
    }

    /// Waits until so many bytes may be held; they may be as long as the room is not dropped. Dropping the future gives
    /// up the place in the queue.
    pub(super) async fn room_for(&self, size_bytes: usize) -> Result<Room> {
        let pool = self.pool(size_bytes);
        let units = units(size_bytes).min(pool.units);
        if let Ok(room) = Arc::clone(&pool.free).try_acquire_many_owned(units) {
            return Ok(room);
        }
        let _waiting = Waiting::new(&pool.waiting);
        let acquire = Arc::clone(&pool.free).acquire_many_owned(units);
        tokio::pin!(acquire);
        loop {
            pool.wanted.notify_one();
            tokio::select! {
                room = &mut acquire => return room.map_err(|error| Error::Backend(error.into())),
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        }
    }

    /// Ends when somebody waits for room of the kind that a chunk of this size holds: one call for each that waits.
    pub(super) async fn wanted(&self, size_bytes: usize) {
        let pool = self.pool(size_bytes);
        loop {
            pool.wanted.notified().await;
            // Nobody may have been listening when somebody asked, and room come since.
            if pool.waiting.load(Ordering::Acquire) > 0 {
                return;
            }
        }
    }

    /// Room to keep so many stored bytes for a moment, if there is some just now.
    pub(super) fn room_to_keep(&self, size_bytes: usize) -> Option<Room> {
        Arc::clone(&self.warm).try_acquire_many_owned(units(size_bytes)).ok()
    }

    /// Room to read so many bytes ahead of whoever fetches them, if there is some just now.
    pub(super) fn room_ahead(&self, size_bytes: u64) -> Option<Room> {
        let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        Arc::clone(&self.ahead).try_acquire_many_owned(units(size_bytes)).ok()
    }
}

impl Pool {
    fn new(size_bytes: usize) -> Self {
        let units = units(size_bytes);
        let free = Arc::new(Semaphore::new(units as usize));
        Self { units, free, waiting: AtomicUsize::new(0), wanted: Notify::new() }
    }
}

/// Counts one that waits, also when its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn units(size_bytes: usize) -> u32 {
    u32::try_from(size_bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::Budget;

    #[tokio::test]
    async fn large_bodies_wait_for_each_other_and_keep_no_small_one_out() {
        let budget = Budget::new(64 << 20, 8 << 20);
        let large: Vec<_> = (0..4).map(|_| budget.room_for(8 << 20).now_or_never().unwrap().unwrap()).collect();
        assert!(budget.room_for(8 << 20).now_or_never().is_none());
        let small: Vec<_> = (0..8).map(|_| budget.room_for(1 << 20).now_or_never().unwrap().unwrap()).collect();
        assert!(budget.room_for(1).now_or_never().is_none());
        drop((large, small));
        assert!(budget.room_for(8 << 20).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_budget_below_one_chunk_still_lets_one_chunk_in() {
        let budget = Budget::new(1, 1 << 20);
        let room = budget.room_for(1 << 20).now_or_never().unwrap().unwrap();
        assert!(budget.room_for(1 << 20).now_or_never().is_none());
        assert!(budget.room_for(1 << 17).now_or_never().is_some());
        drop(room);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_is_asked_only_while_somebody_waits() {
        let budget = Arc::new(Budget::new(1, 1 << 20));
        let room = budget.room_for(1 << 20).await.unwrap();
        assert!(budget.wanted(1 << 20).now_or_never().is_none());
        let waiter = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.room_for(1 << 20).await.map(drop) }
        });
        budget.wanted(1 << 20).await;
        drop(room);
        waiter.await.unwrap().unwrap();
        // A question that nobody heard is not taken for one of now.
        assert!(budget.wanted(1 << 20).now_or_never().is_none());
    }
}
