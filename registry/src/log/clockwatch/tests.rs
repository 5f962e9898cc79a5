//! What is told of a clock, and what is not.

use super::*;

const HOUR: i64 = 3_600_000_000;

/// A log whose last event is of then, and whose first one is as old.
fn head(sequence: Sequence, hours: i64) -> Head {
    Head { sequence, occurred_at: at(hours), hash: [0; 32] }
}

fn at(hours: i64) -> Timestamp {
    Timestamp(hours * HOUR)
}

fn ran(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

fn jump(sequence: Sequence, fact: &ClockJumped) -> ClockJump {
    ClockJump {
        sequence,
        from: fact.from,
        to: fact.to,
        settled_sequence: fact.believed.then_some(sequence),
        genuine: fact.believed,
    }
}

fn believed(sequence: Sequence, from: i64, to: i64) -> ClockJump {
    jump(sequence, &ClockJumped { to: at(to), from: at(from), believed: true })
}

fn unsettled(sequence: Sequence, from: i64, to: i64) -> ClockJump {
    jump(sequence, &ClockJumped { to: at(to), from: at(from), believed: false })
}

/// A process that began when the clock showed this, and compared it with the log at once.
fn begun_with(hours: i64, log: Head, jumps: &[&ClockJump]) -> ClockWatch {
    let mut watch = ClockWatch::default();
    watch.begin(at(hours), ran(5), &Found { head: log, first: Some(log.occurred_at), jumps });
    watch
}

fn begun(hours: i64, log: Head) -> ClockWatch {
    begun_with(hours, log, &[])
}

#[test]
fn a_clock_that_goes_with_time_never_jumps() {
    let watch = begun(100, head(7, 100));
    for (shown, elapsed) in [(100, 0), (820, 720), (700, 720)] {
        assert!(!watch.suspects(at(shown), ran(5 + elapsed)), "{shown}");
        assert_eq!(watch.findings(at(shown), ran(5 + elapsed), &[]), []);
    }
    let empty = begun(100, Head { sequence: 0, occurred_at: Timestamp(0), hash: [0; 32] });
    assert_eq!(empty.findings(at(100), ran(5), &[]), [], "before the first event there is nothing to compare with");
}

#[test]
fn what_the_clock_goes_ahead_of_the_monotonic_one_is_a_jump_of_whatever_length() {
    let mut watch = begun(100, head(7, 100));
    let minutes = |minutes: i64| Timestamp(at(101).0 + minutes * 60_000_000);
    assert_eq!(watch.findings(minutes(9), ran(6), &[]), [], "clocks differ a little");
    let found = watch.findings(at(124), ran(6), &[]);
    assert_eq!(found, [ClockJumped { to: at(124), from: at(101), believed: false }]);
    let first = jump(8, &found[0]);
    watch.look(&[&first]);
    assert!(!watch.suspects(at(125), ran(7)));
    // The next step is another jump, and no more than that.
    let found = watch.findings(at(135), ran(7), &[&first]);
    assert_eq!(found, [ClockJumped { to: at(135), from: at(125), believed: false }]);
    assert_eq!(watch.reckoning(at(135), ran(7), &[&first]), None);
    // Whoever says that the clock was wrong did not mend it by that.
    let wrong = ClockJump { settled_sequence: Some(9), ..first.clone() };
    let found = watch.findings(at(125), ran(7), &[&wrong]);
    assert_eq!(found, [ClockJumped { to: at(125), from: at(102), believed: false }]);
    let genuine = ClockJump { genuine: true, ..wrong };
    assert_eq!(watch.findings(at(125), ran(7), &[&genuine]), []);
}

#[test]
fn what_another_process_recorded_is_not_recorded_twice_and_what_it_believed_does_not_count() {
    let watch = begun(100, head(7, 100));
    assert_eq!(watch.findings(at(124), ran(6), &[&unsettled(8, 101, 124)]), []);
    assert_eq!(watch.findings(at(124), ran(6), &[&believed(8, 101, 124)]).len(), 1);
    // It knows better than whoever began meanwhile.
    let gap = believed(9, 101, 110);
    assert_eq!(watch.reckoning(at(111), ran(16), &[&gap]).unwrap().owed_micros, 0);
}

#[test]
fn processes_that_begin_together_record_what_lies_before_them_once() {
    let (one, other) = (begun(120, head(7, 100)), begun(121, head(7, 100)));
    let found = one.findings(at(120), ran(5), &[]);
    assert_eq!(found, [ClockJumped { to: at(120), from: at(100), believed: true }]);
    let told = jump(8, &found[0]);
    assert_eq!(other.findings(at(121), ran(5), &[&told]), [], "the rest is little");
    assert_eq!(other.reckoning(at(121), ran(5), &[&told]).unwrap().owed_micros, 20 * HOUR);
    // What one did not believe hides no step of the other's clock behind the beginning.
    let (one, other) = (begun(500, head(7, 100)), begun(500, head(7, 100)));
    let told = jump(8, &one.findings(at(500), ran(5), &[])[0]);
    assert!(!told.is_believed());
    assert_eq!(other.findings(at(500), ran(5), &[&told]), []);
    let found = other.findings(at(510), ran(5), &[&told]);
    assert_eq!(found, [ClockJumped { to: at(510), from: at(500), believed: false }]);
    assert_eq!(one.findings(at(510), ran(5), &[&told]), found);
}

#[test]
fn beginnings_are_believed_up_to_a_day_in_all() {
    assert_eq!(begun(100, head(7, 100)).findings(at(100), ran(5), &[]), []);
    let found = begun(123, head(7, 100)).findings(at(123), ran(5), &[]);
    assert_eq!(found, [ClockJumped { to: at(123), from: at(100), believed: true }]);
    let (nearly, full) = (believed(8, 100, 122), believed(8, 100, 123));
    let found = begun_with(124, head(9, 122), &[&nearly]).findings(at(124), ran(5), &[&nearly]);
    assert!(found[0].believed, "a day in all");
    let found = begun_with(125, head(9, 123), &[&full]).findings(at(125), ran(5), &[&full]);
    assert_eq!(found, [ClockJumped { to: at(125), from: at(123), believed: false }]);
    // Once somebody vouches for it, it counts no longer.
    let vouched = ClockJump { settled_sequence: Some(9), ..full };
    assert!(begun_with(125, head(9, 123), &[&vouched]).findings(at(125), ran(5), &[&vouched])[0].believed);
    assert!(!begun(125, head(9, 100)).findings(at(125), ran(5), &[])[0].believed);
}

#[test]
fn what_goes_without_a_word_is_counted_again_by_whoever_begins_next() {
    // The log went on for 40 minutes at a time, each time in a process of its own, and nobody accounted for it.
    let account = believed(6, 100, 100);
    let minutes = |minutes: i64| Timestamp(at(100).0 + minutes * 60_000_000);
    let log = |sequence, at: i64| Head { sequence, occurred_at: minutes(at), hash: [0; 32] };
    let begun = |at: i64, log: Head| {
        let mut watch = ClockWatch::default();
        watch.begin(minutes(at), ran(5), &Found { head: log, first: None, jumps: &[&account] });
        watch.findings(minutes(at), ran(5), &[&account])
    };
    assert_eq!(begun(40, log(7, 39)), []);
    assert_eq!(begun(80, log(9, 79)), [ClockJumped { to: minutes(80), from: minutes(0), believed: true }]);
    // A step within a run that is little is owed, and told by whoever accounts for the time.
    let watch = begun_with(100, head(6, 100), &[&account]);
    let reckoning = watch.reckoning(minutes(69), ran(6), &[&account]).unwrap();
    assert_eq!(reckoning.owed_micros, 9 * 60_000_000 - HOUR / 10_000, "less what clocks may differ by");
    assert_eq!((reckoning.accounted, reckoning.sequence), (at(100), 6));
    // Nor does it get lost with a jump that is recorded.
    let watch = begun_with(100, head(7, 100), &[&believed(6, 99, 99)]);
    let found = watch.findings(at(103), ran(6), &[&believed(6, 99, 99)]);
    let before = ClockJumped { to: at(100), from: at(99), believed: true };
    assert_eq!(found, [before, ClockJumped { to: at(103), from: at(101), believed: false }]);
}

#[test]
fn an_account_that_another_process_made_meanwhile_is_taken_over() {
    let account = believed(6, 100, 100);
    let watch = begun_with(101, head(9, 101), &[&account]);
    assert_eq!(watch.reckoning(at(101), ran(5), &[&account]).unwrap().owed_micros, HOUR);
    // One that has watched all along says that nothing is owed.
    let noted = believed(10, 102, 102);
    let reckoning = watch.reckoning(at(102), ran(6), &[&noted]).unwrap();
    assert_eq!((reckoning.owed_micros, reckoning.accounted, reckoning.sequence), (0, at(102), 10));
}

#[test]
fn a_log_of_an_earlier_version_is_taken_at_its_word_once() {
    let old = Found { head: head(7, 500), first: Some(at(100)), jumps: &[] };
    let mut watch = ClockWatch::default();
    watch.begin(Timestamp(at(500).0 + 5), ran(5), &old);
    let found = watch.findings(at(500), ran(5), &[]);
    assert_eq!(found, [ClockJumped { to: Timestamp(at(500).0 + 5), from: at(500), believed: true }]);
    assert_eq!(watch.findings(at(500), ran(5), &[&jump(8, &found[0])]), []);
    // What a young one has not accounted for is all that there is.
    let young = Found { head: head(7, 120), first: Some(at(100)), jumps: &[] };
    let mut watch = ClockWatch::default();
    watch.begin(at(120), ran(5), &young);
    assert_eq!(watch.findings(at(120), ran(5), &[]), [ClockJumped { to: at(120), from: at(100), believed: true }]);
}

#[test]
fn a_clock_that_begins_behind_the_log_is_corrected_and_does_not_jump() {
    let account = believed(6, 100, 100);
    let watch = begun_with(98, head(7, 100), &[&account]);
    assert_eq!(watch.findings(at(98), ran(5), &[&account]), []);
    assert_eq!(watch.findings(at(101), ran(6), &[&account]), [], "it was set right");
    let found = watch.findings(at(103), ran(6), &[&account]);
    assert_eq!(found, [ClockJumped { to: at(103), from: at(101), believed: false }]);
}

#[test]
fn a_time_that_was_said_to_be_wrong_is_not_believed_at_a_beginning() {
    let jumped = unsettled(8, 100, 500);
    let wrong = ClockJump { settled_sequence: Some(10), ..jumped.clone() };
    // The clock shows it still, or again; or is on the way there.
    for shown in [500, 510, 400] {
        let found = begun_with(shown, head(10, 500), &[&wrong]).findings(at(shown), ran(5), &[&wrong]);
        assert_eq!(found, [ClockJumped { to: at(shown), from: at(100), believed: false }], "{shown}");
    }
    // One that is right is behind the log, and no more is believed than has gone by.
    let right = begun_with(103, head(10, 500), &[&wrong]);
    let found = right.findings(at(103), ran(5), &[&wrong]);
    assert_eq!(found, [ClockJumped { to: at(103), from: at(100), believed: true }]);
    let told = jump(11, &found[0]);
    assert_eq!(right.findings(at(104), ran(6), &[&wrong, &told]), []);
    assert_eq!(right.findings(at(504), ran(6), &[&wrong, &told])[0].from, at(104), "it is watched from then on");
    // Whoever accounts for the time since knows better than what was before.
    let noted = believed(11, 150, 150);
    let found = begun_with(500, head(11, 500), &[&wrong, &noted]).findings(at(500), ran(5), &[&wrong, &noted]);
    assert_eq!(found, [ClockJumped { to: at(500), from: at(150), believed: false }]);
    // A process that began behind the jump is told of it afterwards.
    let watch = begun_with(102, head(9, 500), &[&jumped]);
    assert_eq!(watch.findings(at(102), ran(5), &[&jumped]), []);
    let found = watch.findings(at(102), ran(5), &[&wrong]);
    assert_eq!(found, [ClockJumped { to: at(102), from: at(100), believed: true }]);
    assert_eq!(watch.findings(at(400), ran(5), &[&wrong])[1].to, at(400));
}

/// The clock shows this, in a log that ends with that event.
fn mends(watch: &mut ClockWatch, shown: i64, ran_hours: u64, log: Head, jumps: &[&ClockJump]) {
    watch.mend(at(shown), ran(ran_hours), &Found { head: log, first: None, jumps });
}

#[test]
fn a_clock_that_came_back_is_not_let_go_ahead_again_by_what_it_jumped_before() {
    let account = believed(6, 100, 100);
    let mut watch = begun_with(100, head(7, 100), &[&account]);
    let jumped = jump(8, &watch.findings(at(341), ran(6), &[&account])[0]);
    let wrong = ClockJump { settled_sequence: Some(9), ..jumped.clone() };
    let genuine = ClockJump { genuine: true, ..wrong.clone() };
    assert_eq!((jumped.from, jumped.to), (at(101), at(341)));
    watch.look(&[&account, &jumped]);
    assert!(watch.lags(at(102), ran(7)) && !watch.suspects(at(102), ran(7)));
    mends(&mut watch, 102, 7, head(8, 341), &[&account, &jumped]);
    assert!(!watch.lags(at(102), ran(7)));
    for settled in [&jumped, &genuine, &wrong] {
        let jumps = [&account, settled];
        assert_eq!(watch.findings(at(365), ran(5 + 265), &jumps), [], "it goes with time");
        let found = watch.findings(at(400), ran(5 + 265), &jumps);
        assert_eq!(found, [ClockJumped { to: at(400), from: at(365), believed: false }]);
    }
    // What it jumps from then on counts as ever.
    let again = unsettled(10, 103, 200);
    assert_eq!(watch.findings(at(200), ran(8), &[&account, &genuine, &again]), []);
    assert_eq!(watch.findings(at(210), ran(8), &[&account, &genuine, &again]).len(), 1);
    // Where it came back to no time that is known, the log is ahead until the clock is there.
    let mut watch = begun_with(100, head(7, 100), &[&account]);
    for (shown, elapsed) in [(202, 17), (300, 115), (341, 156)] {
        mends(&mut watch, shown, elapsed, head(8, 341), &[&account, &jumped]);
    }
    let found = watch.findings(at(400), ran(156), &[&account, &genuine]);
    assert_eq!(found, [ClockJumped { to: at(400), from: at(341), believed: false }]);
}

#[test]
fn a_jump_at_its_own_beginning_is_said_to_be_wrong_once() {
    let account = believed(6, 100, 100);
    let mut watch = begun_with(9_000, head(7, 100), &[&account]);
    let jumped = jump(8, &watch.findings(at(9_000), ran(5), &[&account])[0]);
    mends(&mut watch, 102, 6, head(8, 9_000), &[&account, &jumped]);
    let wrong = ClockJump { settled_sequence: Some(9), ..jumped };
    let found = watch.findings(at(102), ran(6), &[&account, &wrong]);
    assert_eq!(found, [ClockJumped { to: at(102), from: at(100), believed: true }]);
    let told = jump(10, &found[0]);
    assert_eq!(watch.findings(at(103), ran(7), &[&account, &wrong, &told]), []);
    assert_eq!(watch.reckoning(at(103), ran(7), &[&account, &wrong, &told]).unwrap().owed_micros, 2 * HOUR);
}

#[test]
fn a_clock_that_goes_back_in_a_log_without_an_account_leaves_the_time_to_be_accounted_for_as_it_was() {
    let old = Found { head: head(7, 500), first: Some(at(490)), jumps: &[] };
    let mut watch = ClockWatch::default();
    watch.begin(at(500), ran(5), &old);
    mends(&mut watch, 495, 6, head(8, 501), &[]);
    assert_eq!(watch.findings(at(496), ran(6), &[]), [ClockJumped { to: at(501), from: at(490), believed: true }]);
    // Who looked before that says nothing new, and minutes are no matter.
    let mut watch = begun_with(100, head(7, 100), &[&believed(6, 100, 100)]);
    let before = format!("{watch:?}");
    watch.mend(at(50), ran(4), &Found { head: head(7, 100), first: None, jumps: &[] });
    watch.mend(Timestamp(at(101).0 - 9 * 60_000_000), ran(6), &Found { head: head(7, 100), first: None, jumps: &[] });
    assert_eq!(format!("{watch:?}"), before);
}
