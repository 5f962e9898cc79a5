//! What of the clock is believed: nothing is let go for a clock that went further than time did.

use std::sync::Arc;

use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice};
use artifactstore_registry::model::retention::{ClockJump, LockTerms, Mode};
use artifactstore_registry::{Error, Refusal};

use crate::harness::{Harness, name, upload};

/// The moment at which every harness begins, in seconds.
const BEGIN: i64 = 1_000_000;
const HOUR: i64 = 3_600;

impl Harness {
    /// The jumps that nobody has settled.
    pub(crate) async fn unsettled(&self) -> Vec<ClockJump> {
        let jumps = self.registry.clock_report().await.unwrap().jumps;
        jumps.into_iter().filter(|jump| jump.settled_sequence.is_none()).collect()
    }

    /// How many hours behind the beginning the time is that expiry goes by.
    async fn expiry_hours(&self) -> i64 {
        (self.registry.clock_report().await.unwrap().expiry.to_parts().0 - BEGIN) / HOUR
    }

    /// A file that is kept for so many hours from the beginning on.
    async fn keep_for(&self, path: &str, hours: i64) {
        self.put(path, path.to_owned()).await.unwrap();
        let retain_until = Timestamp((BEGIN + hours * HOUR) * 1_000_000);
        let lock = RetentionChange::Lock(Some(LockTerms { mode: Mode::Compliance, retain_until }));
        self.change(SubjectChoice::File(name(path), None), lock, false).await.unwrap();
    }

    async fn is_kept(&self, key: &str) -> bool {
        match self.delete(key, None, true).await {
            Ok(_) => false,
            Err(Error::Refused(Refusal::Kept(_))) => true,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same store, some hours behind the beginning by a clock that nobody can check.
    async fn begun_again(self, hours: i64) -> Self {
        let backend = Arc::clone(&self.backend);
        let harness = self.restart_without(backend).await;
        harness.clock.set_seconds(BEGIN + hours * HOUR);
        harness
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forward_by_less_than_a_day_lets_nothing_go_early_and_time_goes_on() {
    let harness = Harness::start().await;
    harness.keep_for("board/run/x", 12).await;
    harness.clock.set_seconds(BEGIN + 23 * HOUR);
    assert!(harness.is_kept("run/x").await);
    assert_eq!(harness.kinds().await.last().unwrap(), "v1.clock.jumped");
    let unsettled = harness.unsettled().await;
    assert_eq!((unsettled.len(), unsettled[0].length_micros() / 60_000_000 / 60), (1, 22), "{unsettled:?}");
    harness.clock.pass_seconds(BEGIN + 34 * HOUR);
    assert!(harness.is_kept("run/x").await, "eleven hours");
    // A process that begins later goes behind as well.
    let harness = harness.begun_again(34).await;
    assert!(harness.is_kept("run/x").await);
    harness.clock.pass_seconds(BEGIN + 36 * HOUR);
    assert!(!harness.is_kept("run/x").await, "its time has come");
    assert_eq!(harness.unsettled().await, unsettled, "one jump");
    harness.finish().await;
}

#[tokio::test]
async fn beginnings_that_cannot_be_proved_are_believed_for_a_day_in_all_and_recorded() {
    let mut harness = Harness::start().await;
    harness.keep_for("board/run/x", 47).await;
    for (hours, expected) in [(23, 23), (46, 23), (69, 23), (92, 23)] {
        harness = harness.begun_again(hours).await;
        assert!(harness.is_kept("run/x").await, "{hours}");
        assert_eq!(harness.expiry_hours().await, expected, "{hours}");
    }
    let jumps = harness.registry.clock_report().await.unwrap().jumps;
    assert_eq!(jumps.iter().map(ClockJump::is_believed).collect::<Vec<_>>(), [true, false, false, false]);
    // Whoever vouches for one vouches for what was believed before it.
    for jump in &jumps[1..] {
        let reason = "looked at the wall".to_owned();
        harness.registry.clock_settle(&harness.actor, jump.sequence, true, reason).await.unwrap();
    }
    let jumps = harness.registry.clock_report().await.unwrap().jumps;
    assert!(jumps.iter().all(|jump| jump.genuine && !jump.is_believed()), "{jumps:?}");
    assert!(!harness.is_kept("run/x").await);
    let harness = harness.begun_again(115).await;
    harness.put("board/run/y", "one").await.unwrap();
    assert_eq!((harness.unsettled().await, harness.expiry_hours().await), (Vec::new(), 115), "a day to believe again");
    harness.finish().await;
}

#[tokio::test]
async fn a_gateway_that_watched_the_clock_proves_what_a_process_beside_it_had_to_believe() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    for hours in [11, 22, 33, 44] {
        harness.clock.pass_seconds(BEGIN + hours * HOUR);
        let beside = harness.beside(BEGIN + hours * HOUR);
        beside.file_ingest(&harness.actor, upload(&format!("board/run/{hours}"), "two")).await.unwrap();
        let believed = harness.registry.clock_report().await.unwrap().jumps;
        assert!(believed.len() == 1 && believed[0].is_believed(), "{believed:?}");
        assert!(harness.registry.clock_note(&harness.actor).await.unwrap());
        assert_eq!(harness.kinds().await.last().unwrap(), "v1.clock.noted");
        assert_eq!(harness.registry.clock_report().await.unwrap().jumps, []);
        assert!(!harness.registry.clock_note(&harness.actor).await.unwrap(), "once");
    }
    // What it has not watched, it does not vouch for; what it knows to be wrong, it says.
    let lying = harness.beside(BEGIN + 60 * HOUR);
    lying.file_ingest(&harness.actor, upload("board/run/late", "two")).await.unwrap();
    let vouched = harness.registry.clock_note(&harness.actor).await.unwrap();
    let believed = harness.registry.clock_report().await.unwrap().jumps;
    assert!(!vouched && believed.len() == 1 && believed[0].is_believed(), "for a time that is not yet nobody vouches");
    harness.clock.set_seconds(BEGIN + 60 * HOUR);
    harness.registry.clock_note(&harness.actor).await.unwrap();
    assert_eq!((harness.unsettled().await.len(), harness.expiry_hours().await), (1, 44));
    harness.finish().await;
}
