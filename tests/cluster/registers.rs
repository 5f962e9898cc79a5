//! Keys that many clients read, write, remove and exchange on conditions, through whatever gateway; what they saw is
//! written down with its times, to be judged afterwards.

use std::collections::BTreeMap;
use std::time::Instant;

use artifactstore_tests::linear::{Action, Operation, Value, is_linearizable};
use artifactstore_tests::{Refused, Reply};
use tokio::sync::watch;

use super::clients::{Answer, PRODUCER, ask};
use super::fleet::Doors;
use crate::body;

/// A key is left after so long, so that what is not known of it stays little.
const EPOCH_SECONDS: u64 = 4;
/// Keys at a time.
pub(crate) const KEYS: usize = 3;
/// Clients that share a key.
const SHARERS: usize = 3;
/// All of them.
pub(crate) const CLIENTS: usize = KEYS * SHARERS;

/// What was seen of each key.
pub(crate) type Histories = BTreeMap<String, Vec<Operation>>;

struct Client {
    number: usize,
    doors: Doors,
    clock: Instant,
    turn: u64,
    /// What it last knew of the key.
    known: Value,
}

/// Uses registers until it is told to stop.
pub(crate) async fn client(number: usize, doors: Doors, clock: Instant, stop: watch::Receiver<bool>) -> Histories {
    let mut client = Client { number, doors, clock, turn: 0, known: None };
    let (mut histories, mut last) = (Histories::new(), String::new());
    while !*stop.borrow() {
        let epoch = clock.elapsed().as_secs() / EPOCH_SECONDS;
        let key = format!("registers/{epoch}/{}", number % KEYS);
        if key != last {
            client.known = None;
            last.clone_from(&key);
        }
        if let Some(operation) = client.operate(&key).await {
            histories.entry(key).or_default().push(operation);
        }
        client.turn += 1;
    }
    histories
}

/// What all clients saw of each key, and what each key holds in the end.
pub(crate) async fn joined(all: Vec<Histories>, doors: &Doors, clock: Instant) -> Histories {
    let mut joined = Histories::new();
    for (key, operations) in all.into_iter().flatten() {
        joined.entry(key).or_default().extend(operations);
    }
    // A write that was acknowledged and then lost shows at the latest here: nothing was under way any more.
    for (turn, (key, history)) in joined.iter_mut().enumerate() {
        let begun = micros(clock);
        let seen = match doors.of(turn).get_in_the_end(&format!("{PRODUCER}/{key}")).await {
            Ok(reply) => Some(number_in(&reply)),
            Err(refused) if refused.status() == 404 => None,
            Err(refused) => panic!("{key} cannot be read in the end: {refused:?}"),
        };
        history.push(Operation { action: Action::Read(seen), begun, ended: Some(micros(clock)) });
    }
    joined
}

/// Whether every key behaved as one register would; says how many operations that were, and how many unanswered ones.
pub(crate) fn judge(histories: &Histories) -> (usize, usize) {
    for (key, history) in histories {
        assert!(is_linearizable(None, history), "{key} did not behave as a register: {history:#?}");
    }
    let operations = histories.values().map(Vec::len).sum();
    let unknown = histories.values().flatten().filter(|operation| operation.ended.is_none()).count();
    (operations, unknown)
}

fn micros(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_micros()).expect("a test is shorter")
}

fn number_in(reply: &Reply) -> u64 {
    reply.text().parse().expect("a number was written")
}

impl Client {
    fn micros(&self) -> u64 {
        micros(self.clock)
    }

    /// The next operation, as far as it can have changed or shown anything.
    async fn operate(&mut self, key: &str) -> Option<Operation> {
        let door = self.doors.of(self.number + usize::try_from(self.turn).expect("a count"));
        let name = format!("{PRODUCER}/{key}");
        let fresh = ((self.number as u64) << 32) | (self.turn + 1);
        let text = fresh.to_string();
        let put = door.request("PUT", &name).body(text.as_bytes());
        let dice = u64::from_le_bytes(body::bytes(fresh, 8).try_into().expect("eight bytes")) % 10;
        let begun = self.micros();
        let (action, answer) = match (dice, self.known) {
            (0..=3, _) => {
                let answer = ask(door.get(&name)).await;
                let seen = match &answer {
                    Answer::Done(reply) => Some(number_in(reply)),
                    Answer::Refused(refused) if refused.status() == 404 => None,
                    _ => return None,
                };
                self.known = seen;
                return Some(Operation { action: Action::Read(seen), begun, ended: Some(self.micros()) });
            }
            (4, _) => (Action::Write(Some(fresh)), ask(put.send()).await),
            (5, _) => (Action::Write(None), ask(door.delete(&name)).await),
            (_, None) => (swap(None, fresh), ask(put.header("if-none-match", "*").send()).await),
            (_, Some(known)) => {
                let etag = format!("\"{}\"", body::md5_hex(known.to_string().as_bytes()));
                (swap(Some(known), fresh), ask(put.header("if-match", &etag).send()).await)
            }
        };
        let ended = Some(self.micros());
        self.learn(action, &answer).map(|(action, known)| Operation { action, begun, ended: ended.filter(|_| known) })
    }

    /// What an answer says of a write, and whether it says so for certain.
    fn learn(&mut self, action: Action, answer: &Answer<Reply, Refused>) -> Option<(Action, bool)> {
        match (action, answer) {
            (Action::Write(to) | Action::Swap { to, .. }, Answer::Done(_)) => {
                self.known = to;
                Some((action, true))
            }
            (Action::Swap { from, to, .. }, Answer::Refused(refused)) if matches!(refused.status(), 404 | 412) => {
                self.known = None;
                Some((Action::Swap { from, to, done: false }, true))
            }
            (_, Answer::Unknown) => Some((action, false)),
            // Asked to come again: then nothing was done, and the register must look like it.
            (_, Answer::Later) => None,
            (_, Answer::Refused(refused)) => panic!("{action:?} was refused: {refused:?}"),
            (Action::Read(_), _) => None,
        }
    }
}

const fn swap(from: Value, to: u64) -> Action {
    Action::Swap { from, to: Some(to), done: true }
}
