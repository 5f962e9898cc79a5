//! What of the clock is believed: nothing is let go for a clock that went further than time did.

use std::sync::Arc;

use artifactstore_registry::clock::Timestamp;
use artifactstore_registry::model::command::{RetentionChange, SubjectChoice};
use artifactstore_registry::model::retention::{ClockJump, LockTerms, Mode};
use artifactstore_registry::{Error, Refusal, Result};

use crate::harness::{Harness, TestClock, name, upload};

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
        self.begun_at(BEGIN + hours * HOUR).await
    }

    async fn begun_at(self, seconds: i64) -> Self {
        let backend = Arc::clone(&self.backend);
        let harness = self.restart_without(backend).await;
        harness.clock.set_seconds(seconds);
        harness
    }

    async fn settle(&self, jump: u64, genuine: bool) -> Result<ClockJump> {
        self.registry.clock_settle(&self.actor, jump, genuine, "looked at the wall".to_owned()).await
    }

    /// How often a jump was recorded, whether it was believed or not.
    async fn jumps_recorded(&self) -> usize {
        self.kinds().await.into_iter().filter(|kind| kind == "v1.clock.jumped").count()
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
        harness.settle(jump.sequence, true).await.unwrap();
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
        assert!(harness.registry.clock_note(&harness.actor, false).await.unwrap());
        assert_eq!(harness.kinds().await.last().unwrap(), "v1.clock.noted");
        assert_eq!(harness.registry.clock_report().await.unwrap().jumps, []);
        assert!(!harness.registry.clock_note(&harness.actor, false).await.unwrap(), "once");
    }
    // What it has not watched, it does not vouch for; what it knows to be wrong, it says.
    let lying = harness.beside(BEGIN + 60 * HOUR);
    lying.file_ingest(&harness.actor, upload("board/run/late", "two")).await.unwrap();
    let vouched = harness.registry.clock_note(&harness.actor, false).await.unwrap();
    let believed = harness.registry.clock_report().await.unwrap().jumps;
    assert!(!vouched && believed.len() == 1 && believed[0].is_believed(), "for a time that is not yet nobody vouches");
    harness.clock.set_seconds(BEGIN + 60 * HOUR);
    harness.registry.clock_note(&harness.actor, false).await.unwrap();
    assert_eq!((harness.unsettled().await.len(), harness.expiry_hours().await), (1, 44));
    harness.finish().await;
}

#[tokio::test]
async fn a_clock_is_said_to_be_wrong_once_it_is_right_and_that_time_is_believed_at_no_beginning() {
    let harness = Harness::start().await;
    harness.keep_for("board/run/x", 47).await;
    harness.clock.set_seconds(BEGIN + 1_000 * HOUR);
    assert!(harness.is_kept("run/x").await);
    let jump = harness.unsettled().await[0].sequence;
    let events = harness.events().await.len();
    let refused = harness.settle(jump, false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::ClockStillAhead { .. })), "{refused}");
    assert_eq!((harness.unsettled().await.len(), harness.events().await.len()), (1, events), "set it right first");
    harness.clock.set_seconds(BEGIN);
    harness.clock.pass_seconds(BEGIN + HOUR);
    harness.settle(jump, false).await.unwrap();
    assert_eq!((harness.unsettled().await, harness.expiry_hours().await), (Vec::new(), 1));

    // A process that begins while its clock shows that time, again or still.
    let harness = harness.begun_again(1_001).await;
    assert_eq!((harness.unsettled().await.len(), harness.expiry_hours().await), (1, 0), "before anything is recorded");
    assert!(harness.is_kept("run/x").await);
    let again = harness.unsettled().await[0].sequence;
    assert!(again > jump && harness.settle(again, false).await.is_err());
    let harness = harness.begun_again(2).await;
    harness.settle(again, false).await.unwrap();
    assert_eq!((harness.unsettled().await, harness.expiry_hours().await), (Vec::new(), 2));
    // And one that has watched the clock since.
    harness.clock.set_seconds(BEGIN + 1_002 * HOUR);
    assert!(harness.is_kept("run/x").await);
    assert_eq!((harness.unsettled().await.len(), harness.expiry_hours().await), (1, 2));
    harness.finish().await;
}

#[tokio::test]
async fn steps_that_are_too_small_to_be_told_do_not_add_up() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let mut shown = BEGIN;
    let mut report = harness.registry.clock_report().await.unwrap();
    // No time goes by at all: each process begins a little ahead of the log, and its clock steps on a little.
    for run in 0..190 {
        let clock = Arc::new(TestClock::showing(shown + 59));
        let beside = harness.beside_by(&clock);
        shown += 59 + 9 * 60;
        for half in 0..2 {
            let path = format!("board/run/{run}-{half}");
            beside.file_ingest(&harness.actor, upload(&path, path.clone())).await.unwrap();
            clock.set_seconds(shown);
        }
        report = beside.clock_report().await.unwrap();
    }
    assert!(shown > BEGIN + 31 * HOUR);
    let ahead = report.expiry.to_parts().0 - BEGIN;
    assert!((23 * HOUR..=25 * HOUR + 10 * 60).contains(&ahead), "{ahead} s");
    assert!(report.jumps.iter().any(|jump| jump.settled_sequence.is_none()));
    harness.finish().await;
}

#[tokio::test]
async fn what_lies_before_two_gateways_that_begin_together_is_recorded_once() {
    let mut harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    for (hours, recorded, unsettled) in [(20, 1, 0), (50, 2, 1)] {
        harness = harness.begun_again(hours).await;
        let other = harness.beside(BEGIN + hours * HOUR + 60);
        // Both look before either of them writes.
        for registry in [&harness.registry, &other] {
            assert!(!registry.clock_report().await.unwrap().jumps.is_empty());
        }
        harness.put(&format!("board/run/{hours}-a"), "two").await.unwrap();
        let upload = upload(&format!("board/run/{hours}-b"), "three");
        other.file_ingest(&harness.actor, upload).await.unwrap();
        assert_eq!((harness.jumps_recorded().await, harness.unsettled().await.len()), (recorded, unsettled));
        // What was recorded of the time before hides nothing that the clock does afterwards.
        assert_eq!(other.clock_report().await.unwrap().jumps, harness.registry.clock_report().await.unwrap().jumps);
    }
    harness.clock.set_seconds(BEGIN + 70 * HOUR);
    harness.put("board/run/y", "four").await.unwrap();
    assert_eq!((harness.jumps_recorded().await, harness.unsettled().await.len()), (3, 2));
    harness.finish().await;
}

#[tokio::test]
async fn a_clock_that_began_behind_the_log_and_is_set_right_has_not_jumped() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.clock.pass_seconds(BEGIN + 5 * HOUR);
    harness.put("board/run/y", "two").await.unwrap();
    let harness = harness.begun_again(2).await;
    harness.put("board/run/z", "three").await.unwrap();
    let recorded = harness.jumps_recorded().await;
    harness.clock.set_seconds(BEGIN + 5 * HOUR + 60);
    harness.put("board/run/x", "four").await.unwrap();
    assert_eq!((harness.jumps_recorded().await, harness.expiry_hours().await), (recorded, 5));
    assert_eq!(harness.unsettled().await, []);
    // From there on it goes as any other.
    harness.clock.set_seconds(BEGIN + 6 * HOUR);
    harness.put("board/run/x", "five").await.unwrap();
    assert_eq!(harness.unsettled().await.len(), 1);
    harness.finish().await;
}

#[tokio::test]
async fn a_gateway_accounts_for_its_time_and_leaves_to_believe_what_nobody_watched() {
    let mut harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let mut shown = BEGIN;
    for run in 0..12 {
        harness = harness.begun_at(shown + 60).await;
        harness.put("board/run/x", format!("begun {run}")).await.unwrap();
        assert!(!harness.registry.clock_note(&harness.actor, true).await.unwrap(), "it ends as it began");
        shown += 60 + 40 * 60;
        harness.clock.pass_seconds(shown);
        harness.put("board/run/x", format!("ran {run}")).await.unwrap();
        assert!(harness.registry.clock_note(&harness.actor, run % 2 == 0).await.unwrap());
        assert!(!harness.registry.clock_note(&harness.actor, true).await.unwrap(), "once");
    }
    let jumps = harness.registry.clock_report().await.unwrap().jumps;
    assert!(jumps.len() == 1 && jumps[0].is_believed(), "{jumps:?}");
    assert_eq!(jumps[0].length_micros(), 12 * 60 * 1_000_000, "a minute each time");
    // Somebody vouches for it, and the account stays.
    harness.settle(jumps[0].sequence, true).await.unwrap();
    let harness = harness.begun_at(shown + 30 * 60).await;
    harness.put("board/run/x", "late").await.unwrap();
    assert_eq!((harness.registry.clock_report().await.unwrap().jumps, harness.jumps_recorded().await), (Vec::new(), 0));
    harness.finish().await;
}

#[tokio::test]
async fn runs_that_account_for_their_time_make_no_more_believed_than_a_day() {
    let mut harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let mut shown = BEGIN;
    // Nobody watches for 50 minutes before each run, and each run accounts for the 40 minutes that it takes.
    for run in 0..36 {
        harness = harness.begun_at(shown + 50 * 60).await;
        harness.put("board/run/x", format!("begun {run}")).await.unwrap();
        shown += 90 * 60;
        harness.clock.pass_seconds(shown);
        harness.put("board/run/x", format!("ran {run}")).await.unwrap();
        harness.registry.clock_note(&harness.actor, true).await.unwrap();
    }
    let unwatched = 36 * 50 * 60;
    let behind = shown - (harness.registry.clock_report().await.unwrap().expiry.to_parts().0);
    assert!(unwatched - behind <= 25 * HOUR, "{behind} s behind, of {unwatched} s that nobody watched");
    let jumps = harness.registry.clock_report().await.unwrap().jumps;
    let believed: i64 = jumps.iter().filter(|jump| jump.is_believed()).map(ClockJump::length_micros).sum();
    assert!(believed <= 24 * HOUR * 1_000_000 && !harness.unsettled().await.is_empty(), "{jumps:?}");
    harness.finish().await;
}

#[tokio::test]
async fn a_jump_that_was_settled_leaves_no_room_for_another() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.clock.set_seconds(BEGIN + 240 * HOUR);
    harness.put("board/run/y", "two").await.unwrap();
    let jump = harness.unsettled().await[0].sequence;
    harness.clock.set_seconds(BEGIN);
    // It is mended an hour later, and nobody says what it was until the real time has come there.
    harness.clock.pass_seconds(BEGIN + HOUR);
    harness.registry.clock_note(&harness.actor, false).await.unwrap();
    harness.clock.pass_seconds(BEGIN + 264 * HOUR);
    let refused = harness.settle(jump, false).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::ClockStillAhead { .. })), "{refused}");
    harness.settle(jump, true).await.unwrap();
    assert_eq!((harness.unsettled().await, harness.expiry_hours().await), (Vec::new(), 264));
    harness.clock.set_seconds(BEGIN + 500 * HOUR);
    harness.put("board/run/z", "three").await.unwrap();
    assert_eq!((harness.unsettled().await.len(), harness.expiry_hours().await), (1, 264), "a step of ten days");
    harness.finish().await;
}

#[tokio::test]
async fn a_process_that_began_by_a_wrong_clock_takes_nothing_of_it_along() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    let six_minutes = 360;
    harness.clock.pass_seconds(BEGIN + six_minutes);
    // Both go by the same clock, which is set forward while one of them begins.
    let clock = Arc::new(TestClock::showing(BEGIN + six_minutes + 23 * HOUR));
    let process = harness.beside_by(&clock);
    process.file_ingest(&harness.actor, upload("board/run/a", "two")).await.unwrap();
    harness.clock.set_seconds(BEGIN + six_minutes + 23 * HOUR);
    harness.put("board/run/b", "three").await.unwrap();
    let jump = harness.unsettled().await[0].sequence;
    for clock in [&harness.clock, &clock] {
        clock.set_seconds(BEGIN + six_minutes);
        clock.pass_seconds(BEGIN + 2 * six_minutes);
    }
    harness.settle(jump, false).await.unwrap();
    process.clock_note(&harness.actor, false).await.unwrap();
    for clock in [&harness.clock, &clock] {
        clock.pass_seconds(BEGIN + 24 * HOUR);
    }
    // The one that watched all along knows what time it is, and the other may take that over: it was mended.
    harness.registry.clock_note(&harness.actor, false).await.unwrap();
    assert_eq!((harness.unsettled().await, harness.expiry_hours().await), (Vec::new(), 24));
    clock.set_seconds(BEGIN + 46 * HOUR);
    process.file_ingest(&harness.actor, upload("board/run/c", "four")).await.unwrap();
    assert_eq!(harness.unsettled().await.len(), 1, "{:?}", process.clock_report().await.unwrap());
    harness.finish().await;
}

#[tokio::test]
async fn a_jump_at_a_gateways_own_beginning_is_said_to_be_wrong_while_it_runs() {
    let harness = Harness::start().await;
    harness.keep_for("board/run/x", 47).await;
    let harness = harness.begun_again(300_000).await;
    harness.put("board/run/y", "one").await.unwrap();
    let jump = harness.unsettled().await[0].sequence;
    harness.clock.set_seconds(BEGIN + HOUR);
    harness.settle(jump, false).await.unwrap();
    for hours in [2, 3, 4] {
        harness.clock.pass_seconds(BEGIN + hours * HOUR);
        harness.put("board/run/y", format!("after {hours}")).await.unwrap();
        assert_eq!((harness.unsettled().await, harness.expiry_hours().await), (Vec::new(), hours));
    }
    assert!(harness.is_kept("run/x").await);
    assert!(harness.jumps_recorded().await <= 2, "what lay before the beginning is believed once");
    harness.finish().await;
}

#[tokio::test]
async fn whoever_vouches_by_a_command_leaves_the_account_that_it_began_with() {
    let harness = Harness::start().await;
    harness.put("board/run/x", "one").await.unwrap();
    harness.clock.set_seconds(BEGIN + 30 * HOUR);
    harness.put("board/run/y", "two").await.unwrap();
    let jump = harness.unsettled().await[0].sequence;
    let command = harness.beside(BEGIN + 40 * HOUR);
    command.clock_settle(&harness.actor, jump, true, "looked at the wall".to_owned()).await.unwrap();
    let harness = harness.begun_again(60).await;
    harness.put("board/run/z", "three").await.unwrap();
    let believed: Vec<ClockJump> = harness.registry.clock_report().await.unwrap().jumps;
    let believed: Vec<i64> = believed.iter().filter(|jump| jump.is_believed()).map(ClockJump::length_micros).collect();
    assert_eq!(believed, [20 * HOUR * 1_000_000], "from the settlement on");
    harness.finish().await;
}

#[tokio::test]
async fn whoever_only_asks_records_nothing_of_the_clock_either() {
    let harness = Harness::start().await;
    harness.keep_for("board/run/x", 12).await;
    let file = harness.put("board/run/y", "one").await.unwrap();
    harness.clock.set_seconds(BEGIN + 40 * HOUR);
    let events = harness.events().await.len();
    for _ in 0..2 {
        let told = harness.registry.file_eligibility(&harness.actor, &name("board/run/x"), None).await.unwrap();
        assert!(!told.eligible && told.clock_jumps.len() == 1, "{told:?}");
        assert_eq!(harness.events().await.len(), events, "{file:?}");
    }
    assert!(harness.is_kept("run/x").await);
    assert_eq!(harness.jumps_recorded().await, 1, "whoever wants something done does");
    harness.finish().await;
}
