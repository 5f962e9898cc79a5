//! Whether what clients saw of one key can have happened in one order: a checker of linearizability for a register that
//! can be read, written, and exchanged on a condition.
//!
//! The method is Wing and Gong's search, with Lowe's memory of what was tried: take any operation that began before the
//! first of the others ended, see whether the register allows it, and go on with the rest; go back when nothing is left
//! to take. An operation whose answer was lost may have happened at any moment after it began, or never.
//!
//! Invariant: a history is accepted exactly when there is such an order.

use std::collections::HashSet;

/// What a register holds: a number, or nothing.
pub type Value = Option<u64>;

/// What a client asked of the register, and what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It read this.
    Read(Value),
    /// It wrote this, whatever was there.
    Write(Value),
    /// It wrote `to`, if `from` was there.
    Swap {
        /// What had to be there.
        from: Value,
        /// What it wrote.
        to: Value,
        /// Whether it was told that it did; `false` when it was told that something else was there.
        done: bool,
    },
}

/// An operation, and when it was under way, by one clock for all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// What it was.
    pub action: Action,
    /// When it began.
    pub begun: u64,
    /// When it was answered; `None` when no answer told whether it happened.
    pub ended: Option<u64>,
}

impl Operation {
    /// What the register holds after it, if it can happen now.
    fn applied(&self, now: Value) -> Option<Value> {
        match self.action {
            Action::Read(seen) => (seen == now).then_some(now),
            Action::Write(value) => Some(value),
            // One whose answer was lost and that changed nothing need not be placed.
            Action::Swap { from, to, done } if done || self.ended.is_none() => (from == now).then_some(to),
            Action::Swap { from, .. } => (from != now).then_some(now),
        }
    }
}

/// A set of operations by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Set(Vec<u64>);

impl Set {
    fn empty(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    fn flip(&mut self, number: usize) {
        self.0[number / 64] ^= 1 << (number % 64);
    }
}

/// Whether these operations on a register that held this at first can have happened in one order, each at some moment
/// while it was under way.
#[must_use]
pub fn is_linearizable(first: Value, history: &[Operation]) -> bool {
    let mut operations: Vec<&Operation> = history.iter().collect();
    operations.sort_by_key(|operation| operation.begun);
    let mut placed = Set::empty(operations.len());
    let mut tried: HashSet<(Set, Value)> = HashSet::new();
    // What was placed, and what the register held before.
    let mut path: Vec<(usize, Value)> = Vec::new();
    let mut now = first;
    let mut from = 0;
    loop {
        if operations.iter().enumerate().all(|(at, operation)| operation.ended.is_none() || placed.has(at)) {
            return true;
        }
        // Nothing can come behind the end of an operation that is not placed yet, but that operation.
        let bound = operations.iter().enumerate().filter(|(at, _)| !placed.has(*at));
        let bound = bound.filter_map(|(_, operation)| operation.ended).min().unwrap_or(u64::MAX);
        let next = (from..operations.len()).find_map(|at| {
            let operation = operations[at];
            if placed.has(at) || operation.begun > bound {
                return None;
            }
            let then = operation.applied(now)?;
            placed.flip(at);
            let new = tried.insert((placed.clone(), then));
            if !new {
                placed.flip(at);
            }
            new.then_some((at, then))
        });
        if let Some((at, then)) = next {
            path.push((at, now));
            now = then;
            from = 0;
        } else {
            let Some((at, before)) = path.pop() else { return false };
            placed.flip(at);
            now = before;
            from = at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begun: u64, ended: u64, action: Action) -> Operation {
        Operation { action, begun, ended: Some(ended) }
    }

    fn lost(begun: u64, action: Action) -> Operation {
        Operation { action, begun, ended: None }
    }

    fn swap(from: Value, to: u64, done: bool) -> Action {
        Action::Swap { from, to: Some(to), done }
    }

    const fn write(value: u64) -> Action {
        Action::Write(Some(value))
    }

    const fn read(value: u64) -> Action {
        Action::Read(Some(value))
    }

    #[test]
    fn what_happened_one_after_the_other_is_accepted_as_it_was() {
        let history = [
            at(0, 1, Action::Read(None)),
            at(2, 3, write(1)),
            at(4, 5, read(1)),
            at(6, 7, swap(Some(1), 2, true)),
            at(8, 9, swap(Some(1), 3, false)),
            at(10, 11, read(2)),
            at(12, 13, Action::Write(None)),
            at(14, 15, swap(None, 4, true)),
            at(16, 17, read(4)),
        ];
        assert!(is_linearizable(None, &history));
        assert!(is_linearizable(None, &[]));
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_write_is_refused() {
        assert!(!is_linearizable(None, &[at(0, 1, write(1)), at(2, 3, Action::Read(None))]));
        assert!(!is_linearizable(None, &[at(0, 1, write(1)), at(2, 3, write(2)), at(4, 5, read(1))]));
        assert!(is_linearizable(None, &[at(0, 3, write(1)), at(1, 2, Action::Read(None))]), "it was still under way");
    }

    #[test]
    fn reads_that_see_a_value_come_and_go_are_refused() {
        let history = [at(0, 10, write(1)), at(1, 2, read(1)), at(3, 4, Action::Read(None))];
        assert!(!is_linearizable(None, &history));
        let history = [at(0, 10, write(1)), at(0, 10, write(2)), at(1, 2, read(1)), at(3, 4, read(2))];
        assert!(is_linearizable(None, &history));
        let history = [&history[..], &[at(5, 6, read(1))]].concat();
        assert!(!is_linearizable(None, &history), "neither can have been written twice");
    }

    #[test]
    fn of_two_exchanges_of_one_value_only_one_can_have_been_done() {
        let race = |second| [at(0, 5, swap(None, 1, true)), at(0, 5, swap(None, 2, second))];
        assert!(is_linearizable(None, &race(false)));
        assert!(!is_linearizable(None, &race(true)));
        assert!(!is_linearizable(None, &[at(0, 5, swap(None, 1, false)), at(0, 5, swap(None, 2, false))]));
        assert!(!is_linearizable(None, &[at(0, 1, swap(Some(9), 1, true))]));
    }

    #[test]
    fn a_lost_answer_may_have_happened_late_or_never_but_not_before_it_was_asked() {
        let history = |seen: Action| [lost(0, write(1)), at(2, 3, Action::Read(None)), at(4, 5, seen)];
        assert!(is_linearizable(None, &history(read(1))));
        assert!(is_linearizable(None, &history(Action::Read(None))));
        assert!(!is_linearizable(None, &history(read(2))));
        assert!(!is_linearizable(None, &[at(0, 1, read(1)), lost(2, write(1))]));
        let exchanged = [lost(0, swap(None, 1, true)), at(2, 3, write(2)), at(4, 5, read(1))];
        assert!(!is_linearizable(None, &exchanged), "behind the write its condition no longer holds");
        let undone = [lost(0, swap(Some(7), 1, false)), at(2, 3, Action::Read(None))];
        assert!(is_linearizable(None, &undone));
    }

    #[test]
    fn a_long_history_of_many_clients_is_judged_and_one_wrong_answer_in_it_is_found() {
        // Eight clients whose operations overlap by half, as a register would have answered them, with lost answers.
        let (mut now, mut history) = (None, Vec::new());
        for number in 0..400_u64 {
            let (begun, ended) = (number * 10, number * 10 + 45);
            let action = match number % 4 {
                0 => Action::Read(now),
                1 => swap(Some(number + 1000), number, false),
                2 => swap(now, number, true),
                _ => write(number),
            };
            if let Action::Write(to) | Action::Swap { to, done: true, .. } = action {
                now = to;
            }
            history.push(Operation { action, begun, ended: (number % 50 != 3).then_some(ended) });
        }
        assert!(is_linearizable(None, &history));
        let read = history.iter().rposition(|operation| matches!(operation.action, Action::Read(_))).unwrap();
        history[read].action = Action::Read(Some(3));
        assert!(!is_linearizable(None, &history));
    }
}
