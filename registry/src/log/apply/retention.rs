//! What facts about retention do to the views.

use super::Fact;
use crate::model::event::{
    ClassSet, ClockJumped, ClockNoted, ClockSettled, FileDescribed, HoldPlaced, HoldReleased, RetentionSet, Subject,
};
use crate::model::retention::{ClassRow, ClockJump, Hold, Keeping, Lock};
use crate::model::row::File;
use crate::model::state::State;

fn change(state: &mut State, subject: &Subject, change: impl FnOnce(&mut Keeping)) {
    match subject {
        Subject::File { version, .. } => state.files.change(version, |row| change(&mut row.keeping)),
        Subject::Package { package_id, .. } => state.packages.change(package_id, |row| change(&mut row.keeping)),
        Subject::Producer(producer) => state.producers.change(producer, |row| change(&mut row.keeping)),
    }
}

pub(super) fn class_set(state: &mut State, fact: Fact<'_>, set: &ClassSet) {
    let row = ClassRow { name: set.name.clone(), class: set.class.clone(), sequence: fact.sequence };
    state.classes.put(set.name.clone(), row);
}

pub(super) fn retention_set(state: &mut State, fact: Fact<'_>, set: &RetentionSet) {
    change(state, &set.subject, |keeping| {
        // A lock that stays as it was keeps the number of the event that set it.
        if keeping.lock.as_ref().map(|lock| lock.terms) != set.lock {
            keeping.lock = set.lock.map(|terms| Lock { terms, sequence: fact.sequence });
        }
        keeping.classes.retain(|chosen| !set.drops.contains(&chosen.name));
        set.adds.iter().for_each(|name| keeping.choose(name, fact.sequence));
    });
}

pub(super) fn hold_placed(state: &mut State, fact: Fact<'_>, placed: &HoldPlaced) {
    let hold = Hold {
        name: placed.name.clone(),
        actor: fact.actor.to_owned(),
        reason: placed.reason.clone(),
        sequence: fact.sequence,
        placed_at: fact.occurred_at,
    };
    change(state, &placed.subject, |keeping| keeping.holds.push(hold));
}

pub(super) fn hold_released(state: &mut State, released: &HoldReleased) {
    change(state, &released.subject, |keeping| keeping.holds.retain(|hold| hold.name != released.name));
}

/// What keeps a version that took the place of another with the same bytes. Where versions are not kept, the one before
/// is out of sight, and what kept it goes on with the name.
pub(super) fn of_described(fact: Fact<'_>, described: &FileDescribed, former: &File, versioned: bool) -> Keeping {
    let mut given = described.retention.kept(fact.sequence, fact.actor, fact.occurred_at);
    if versioned {
        return given;
    }
    let mut keeping = former.keeping.clone();
    keeping.lock = given.lock.take().or(keeping.lock);
    given.classes.iter().for_each(|chosen| keeping.choose(&chosen.name, chosen.sequence));
    let fresh = given.holds.into_iter().filter(|hold| former.keeping.hold(&hold.name).is_none());
    keeping.holds.extend(fresh);
    keeping
}

pub(super) fn clock_jumped(state: &mut State, fact: Fact<'_>, jumped: &ClockJumped) {
    let row = ClockJump {
        sequence: fact.sequence,
        from: jumped.from,
        to: jumped.to,
        settled_sequence: jumped.believed.then_some(fact.sequence),
        genuine: jumped.believed,
    };
    state.jumps.put(fact.sequence, row);
}

/// What was believed and is vouched for is no jump any more.
pub(super) fn clock_settled(state: &mut State, fact: Fact<'_>, settled: &ClockSettled) {
    if settled.genuine && state.jumps.find(&settled.jump).is_some_and(ClockJump::is_believed) {
        state.jumps.remove(settled.jump);
        return;
    }
    state.jumps.change(&settled.jump, |row| {
        row.settled_sequence = Some(fact.sequence);
        row.genuine = settled.genuine;
    });
}

/// Neither is what is proved. What is left to believe is told by one row, which says until when the time is accounted
/// for.
pub(super) fn clock_noted(state: &mut State, fact: Fact<'_>, noted: &ClockNoted) {
    noted.proves.iter().for_each(|jump| state.jumps.remove(*jump));
    if let Some(from) = noted.certain {
        let (sequence, to) = (fact.sequence, noted.shown);
        let row = ClockJump { sequence, from, to, settled_sequence: Some(sequence), genuine: true };
        state.jumps.put(sequence, row);
    }
}
