//! Where bytes lie after a store was moved: which backend is written to, and which one serves what another was given.
//!
//! A location is a fact of the log and is never rewritten: it names the backend that its object was written to. A move
//! says that the objects of one backend are served from another; what a location means today is found by following the
//! moves that came behind it. They are few, so that a move of a hundred million chunks is three events (`docs/adr/0019`).
//!
//! Invariant: following moves depends on the log alone, so that every reader of one log finds the same place.

use serde::{Deserialize, Serialize};

use super::row::Sequence;

/// A move of bytes from one backend to another, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageMove {
    /// The event that began it: new bytes are written to `to` from then on.
    pub sequence: Sequence,
    /// The backend that is left.
    pub from: String,
    /// The backend that takes its place.
    pub to: String,
    /// The event behind which nothing new is recorded in `from`.
    pub closed_sequence: Option<Sequence>,
    /// The event that ended it: everything that was recorded in `from` up to its close is served from `to`.
    pub ended_sequence: Option<Sequence>,
}

/// All moves of a registry, in the order in which they began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    moves: Vec<StorageMove>,
}

impl Storage {
    /// The moves as a store gives them, in any order.
    #[must_use]
    pub fn new(moves: impl IntoIterator<Item = StorageMove>) -> Self {
        let mut moves: Vec<StorageMove> = moves.into_iter().collect();
        moves.sort_unstable_by_key(|row| row.sequence);
        Self { moves }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[StorageMove] {
        &self.moves
    }

    /// The move that began last, whether it has ended or not.
    #[must_use]
    pub fn last(&self) -> Option<&StorageMove> {
        self.moves.last()
    }

    /// The backend that new bytes are written to; `None` as long as nothing was ever moved: then the settings say it.
    #[must_use]
    pub fn written_to(&self) -> Option<&str> {
        self.last().map(|row| &*row.to)
    }

    /// Whether a location in this backend may be recorded now. While a move is open, uploads that began before it may
    /// still bring some in the backend that is left.
    #[must_use]
    pub fn takes(&self, backend: &str) -> bool {
        self.last().is_none_or(|row| row.to == backend || (row.from == backend && row.closed_sequence.is_none()))
    }

    /// The backend that serves what this event recorded to lie in that one.
    #[must_use]
    pub fn serves<'a>(&'a self, backend: &'a str, recorded: Sequence) -> &'a str {
        let (mut serving, mut since) = (backend, recorded);
        for row in &self.moves {
            if let (Some(closed), Some(_)) = (row.closed_sequence, row.ended_sequence)
                && row.from == serving
                && since < closed
            {
                (serving, since) = (&row.to, closed);
            }
        }
        serving
    }

    /// The backends that something may be read from or written to: those that a gateway needs.
    #[must_use]
    pub fn needed(&self) -> Vec<&str> {
        match self.last() {
            None => Vec::new(),
            Some(row) if row.ended_sequence.is_some() => vec![&row.to],
            Some(row) => vec![&row.to, &row.from],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Storage, StorageMove};

    fn row(sequence: u64, from: &str, to: &str, closed: Option<u64>, ended: Option<u64>) -> StorageMove {
        let (from, to) = (from.to_owned(), to.to_owned());
        StorageMove { sequence, from, to, closed_sequence: closed, ended_sequence: ended }
    }

    #[test]
    fn nothing_moved_means_what_the_locations_say() {
        let storage = Storage::default();
        assert_eq!((storage.written_to(), storage.serves("local", 7)), (None, "local"));
        assert!(storage.takes("local") && storage.takes("s3"));
    }

    #[test]
    fn a_move_directs_writes_at_once_and_reads_when_it_has_ended() {
        let open = Storage::new([row(10, "local", "s3", None, None)]);
        assert_eq!((open.written_to(), open.serves("local", 3)), (Some("s3"), "local"));
        assert!(open.takes("local") && open.takes("s3") && !open.takes("tape"));
        let closed = Storage::new([row(10, "local", "s3", Some(20), None)]);
        assert!(!closed.takes("local") && closed.takes("s3"));
        assert_eq!(closed.serves("local", 15), "local");
        assert_eq!(closed.needed(), ["s3", "local"]);
        let ended = Storage::new([row(10, "local", "s3", Some(20), Some(21))]);
        assert_eq!((ended.serves("local", 15), ended.serves("s3", 15)), ("s3", "s3"));
        assert_eq!(ended.needed(), ["s3"]);
    }

    #[test]
    fn a_store_that_comes_back_is_told_from_what_it_was_before() {
        let back =
            Storage::new([row(30, "s3", "local", Some(40), Some(41)), row(10, "local", "s3", Some(20), Some(21))]);
        assert_eq!(back.written_to(), Some("local"));
        // Written before it left, while it was away, and since it is back.
        assert_eq!(
            (back.serves("local", 5), back.serves("s3", 25), back.serves("local", 35)),
            ("local", "local", "local")
        );
        let again = Storage::new([
            row(10, "local", "s3", Some(20), Some(21)),
            row(30, "s3", "local", Some(40), Some(41)),
            row(50, "local", "tape", Some(60), Some(61)),
        ]);
        for (backend, recorded) in [("local", 5), ("s3", 25), ("local", 35), ("local", 55), ("tape", 55)] {
            assert_eq!(again.serves(backend, recorded), "tape", "{backend} at {recorded}");
        }
    }

    #[test]
    fn a_move_that_was_given_up_for_another_redirects_nothing() {
        let back = Storage::new([row(10, "local", "s3", Some(20), None), row(30, "s3", "local", Some(40), Some(41))]);
        assert_eq!(
            (back.serves("local", 5), back.serves("s3", 25), back.serves("local", 35)),
            ("local", "local", "local")
        );
        assert!(back.takes("local") && !back.takes("s3"));
    }
}
