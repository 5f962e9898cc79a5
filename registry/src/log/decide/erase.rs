//! Deciding whether the bytes of a version may be erased.
//!
//! A seal does not forbid it: what the law demands is not asked of a manifest, which stays as it is and shows the gap. What a
//! class, a lock or a hold keeps is kept, of the version that is meant and of every other one that has the same bytes.
//!
//! Invariant: what is erased is kept by no compliance and no hold, and by no governance that was not bypassed by name.

use super::{Decision, producer_of, retention};
use crate::error::Refusal;
use crate::log::plan::erase::COPIES_LIMIT;
use crate::model::command::Erase;
use crate::model::event::{Actor, BlobCondemned, Event, FileErased};
use crate::model::retention::Reason;
use crate::model::row::{File, Producer, VersionChoice};
use crate::model::state::State;

/// How many other files a refusal names.
const COPIES_NAMED: usize = 10;

/// The version that is meant, if there is one.
pub fn target<'a>(state: &'a State, owner: &Producer, erase: &Erase) -> Option<&'a File> {
    let file = match erase.version {
        None => state.file_current(&erase.name),
        Some(VersionChoice::Numbered(sequence)) => state.files.get(&sequence),
        Some(VersionChoice::Null) => {
            let current = state.file_current(&erase.name).filter(|file| !file.versioned);
            current.or_else(|| state.files.get(&state.history_null(&erase.name)?.sequence))
        }
    };
    // Versions from before the producer was created are those of a deleted one of its name.
    file.filter(|file| file.name == erase.name && file.sequence > owner.created_sequence)
}

pub(super) fn erase(state: &State, actor: &Actor, erase: &Erase) -> Result<Decision, Refusal> {
    let owner = producer_of(state, actor, &erase.name)?;
    if erase.reason.trim().is_empty() {
        return Err(Refusal::SettingInvalid { setting: "reason", reason: "an erasure needs one".to_owned() });
    }
    retention::check_text("reason", &erase.reason)?;
    retention::check_text("requested_by", &erase.requested_by)?;
    if state.storage().last().is_some_and(|row| row.ended_sequence.is_none()) {
        return Err(Refusal::ErasureImpossible("they are being moved to another storage; end that first"));
    }
    let missing = || if erase.version.is_some() { Refusal::VersionMissing } else { Refusal::FileMissing };
    let file = target(state, owner, erase).ok_or_else(missing)?;
    if state.erasures.get(&file.sequence).is_some() {
        return Ok(Decision::default());
    }
    if file.released_sequence.is_some() {
        return Err(missing());
    }
    let versions = versions(state, file, erase.all_copies)?;
    let mut kept: Vec<Reason> = Vec::new();
    for version in &versions {
        // That of another tenant is not this one's to erase, whoever asks.
        let owner = state.producers.get(&version.name.producer);
        if owner.is_some_and(|owner| owner.tenant != actor.tenant) {
            return Err(Refusal::ErasureImpossible("files of another tenant have them, too"));
        }
        let owner = owner.filter(|owner| owner.created_sequence < version.sequence);
        let mut reasons = retention::kept(state, owner, version);
        reasons.extend(retention::kept_between(state, owner, version));
        kept.extend(reasons.into_iter().filter(|reason| reason.forbids(erase.bypass)));
    }
    kept.dedup();
    if !kept.is_empty() {
        return Err(Refusal::Kept(kept));
    }
    let blob = state.blobs.get(&file.content_address).ok_or_else(missing)?;
    if blob.reference_count != versions.len() as u64 {
        return Err(Refusal::ErasureImpossible("they are those of a manifest, too"));
    }
    let mut events: Vec<Event> = versions.iter().map(|version| fact(version, erase)).collect();
    events.push(Event::BlobCondemned(Box::new(BlobCondemned {
        size_bytes: blob.size_bytes,
        sha256: blob.sha256,
        released: None,
        content_address: blob.content_address,
    })));
    Ok(Decision { events, ..Decision::default() })
}

/// The versions that lose their bytes, if it was said that all of them are meant.
fn versions<'a>(state: &'a State, file: &'a File, all: bool) -> Result<Vec<&'a File>, Refusal> {
    let others = state.uses.copies.iter().filter(|sequence| **sequence != file.sequence);
    let others: Vec<&File> = others.filter_map(|sequence| state.files.get(sequence)).collect();
    if others.len() >= COPIES_LIMIT {
        return Err(Refusal::ErasureImpossible("more files have them than are erased at once"));
    }
    if !others.is_empty() && !all {
        let name = |file: &&File| format!("{}/{} (version {})", file.name.producer, file.name.key, file.sequence);
        let copies = others.iter().take(COPIES_NAMED).map(name).collect();
        return Err(Refusal::ErasureShared { copies, count: others.len() });
    }
    Ok(std::iter::once(file).chain(others).collect())
}

fn fact(file: &File, erase: &Erase) -> Event {
    Event::FileErased(Box::new(FileErased {
        key: file.name.key.clone(),
        size_bytes: file.size_bytes,
        reason: erase.reason.clone(),
        sha256: file.sha256,
        package: file.package.clone(),
        version: file.sequence,
        bypassed: erase.bypass,
        producer: file.name.producer.clone(),
        requested_by: erase.requested_by.clone(),
        content_address: file.content_address,
    }))
}
