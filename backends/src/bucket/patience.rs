//! How often, and for how long, a request to a store is tried.
//!
//! Everything that is asked of a store may be asked again: objects are named by their bytes, and writing or forgetting
//! one twice is harmless.
//!
//! Invariant: a call ends within about twice its patience: no attempt begins when the patience is used up, and none
//! takes longer than it.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::bucket::fault::Fault;

/// Attempts, the first one included.
const ATTEMPTS: u32 = 5;
/// What the second attempt waits for, about; each later one waits twice as long as the one before.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Tries until it succeeds, or fails in a way that lasts, or no attempt is left.
pub(super) async fn patiently<T, F>(patience: Duration, attempt: impl Fn() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let begun = Instant::now();
    let mut tried = 0;
    loop {
        tried += 1;
        let fault = match timeout(patience, attempt()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Silent(patience),
        };
        let delay = jittered(FIRST_DELAY * 2_u32.pow(tried - 1));
        if !fault.passes() || tried == ATTEMPTS || begun.elapsed() + delay >= patience {
            return Err(fault);
        }
        tracing::debug!(error = &fault as &dyn std::error::Error, tried, "asking the store again");
        sleep(delay).await;
    }
}

/// Between half of it and all of it, so that those whom one failure met do not all come back at once.
fn jittered(delay: Duration) -> Duration {
    // Each new state is keyed at random; so the hash of anything is random, too.
    let random = RandomState::new().hash_one(()) % 1000;
    delay / 2 + delay.mul_f64(random as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{ATTEMPTS, FIRST_DELAY, jittered, patiently};
    use crate::bucket::fault::Fault;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn refused(status: u16) -> Fault {
        Fault::Refused { status, code: String::new(), message: String::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_lasts_is_not() {
        for (status, until, expected) in [(503, 3, 3), (503, 99, ATTEMPTS), (403, 99, 1)] {
            let tried = Cell::new(0);
            let outcome = patiently(PATIENCE, || async {
                tried.set(tried.get() + 1);
                if tried.get() < until { Err(refused(status)) } else { Ok(()) }
            })
            .await;
            assert_eq!((tried.get(), outcome.is_ok()), (expected, until == 3), "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_given_up() {
        let begun = Instant::now();
        let outcome = patiently(PATIENCE, pending::<Result<(), Fault>>).await;
        assert!(matches!(outcome, Err(Fault::Silent(PATIENCE))), "{outcome:?}");
        assert!(begun.elapsed() <= 2 * PATIENCE);
    }

    #[test]
    fn delays_differ_and_stay_within_their_bounds() {
        let delays: Vec<_> = (0..50).map(|_| jittered(FIRST_DELAY)).collect();
        assert!(delays.iter().all(|delay| (FIRST_DELAY / 2..=FIRST_DELAY).contains(delay)), "{delays:?}");
        assert!(delays.iter().any(|delay| *delay != delays[0]), "{delays:?}");
    }
}
