//! Which rows an erasure touches, and what else it is decided by.

use super::collect::Asked;
use crate::log::decide::erase::target;
use crate::model::command::Erase;
use crate::model::event::FileErased;
use crate::model::row::VersionChoice;
use crate::model::state::{State, Touched};

/// How many versions with the same bytes are looked at; with more, nothing is erased.
pub const COPIES_LIMIT: usize = 1_000;

/// What must be known of the version that is meant.
pub(super) fn third_round(erase: &Erase, state: &State, touched: &mut Touched) {
    let numbered = match erase.version {
        Some(VersionChoice::Numbered(sequence)) => Some(sequence),
        Some(VersionChoice::Null) | None => None,
    };
    let named = state.names.find(&erase.name).map(|row| row.sequence);
    let null = state.histories.contains(&erase.name).then(|| state.history_null(&erase.name)).flatten();
    let sequences = [numbered, named, null.map(|row| row.sequence)];
    for file in sequences.into_iter().flatten().filter_map(|sequence| state.files.find(&sequence)) {
        touched.erasures.insert(file.sequence);
        touched.blobs.insert(file.content_address);
    }
}

/// What is asked once that is loaded: who else has the bytes.
#[must_use]
pub fn asked(erase: &Erase, state: &State) -> Asked {
    let file = state.producers.get(&erase.name.producer).and_then(|owner| target(state, owner, erase));
    Asked { copies_of: file.map(|file| file.content_address), ..Asked::default() }
}

/// The versions that would lose their bytes.
pub fn copies(state: &State, touched: &mut Touched) {
    touched.files.extend(&state.uses.copies);
}

/// What may keep them.
pub fn keepers(state: &State, touched: &mut Touched) {
    for file in state.uses.copies.iter().filter_map(|sequence| state.files.get(sequence)) {
        touched.producers.insert(file.name.producer.clone());
        touched.packages.insert(file.package_id.clone());
        let package = (file.name.producer.clone(), file.package.clone());
        touched.latest.insert(package.clone());
        touched.keepers.insert(package);
    }
}

/// What applying an erasure touches.
pub(super) fn erased(fact: &FileErased, touched: &mut Touched) {
    touched.files.insert(fact.version);
    touched.blobs.insert(fact.content_address);
}
