//! Which rows the steps of a collection touch, and what else they are decided by.

use std::collections::BTreeSet;

use artifactstore_backends::digest::{ContentAddress, ObjectKey};

use crate::log::decide::collect::sweepable;
use crate::model::command::CollectStep;
use crate::model::event::{SweepBegun, VersionReleased};
use crate::model::row::{Blob, File};
use crate::model::state::{State, Touched};

/// What is named by the step itself.
pub(super) fn first_round(step: &CollectStep, touched: &mut Touched) {
    match step {
        CollectStep::Release { versions } => touched.files.extend(versions),
        CollectStep::Condemn { blobs, chunks } => {
            touched.blobs.extend(blobs);
            touched.chunks.extend(chunks);
        }
        CollectStep::Sweep { blobs, chunks, orphans, .. } => {
            touched.blobs.extend(blobs);
            touched.chunks.extend(chunks);
            touched.orphans.extend(orphans);
            touched.moves = true;
            // A grace goes by the time that expiry goes by.
            touched.retention = true;
        }
        CollectStep::Expunge { blob } => {
            touched.blobs.insert(*blob);
            touched.moves = true;
        }
        CollectStep::Relocate { chunks, .. } => {
            touched.chunks.extend(chunks.iter().map(|located| located.chunk.address));
            touched.swept.extend(chunks.iter().map(|located| located.location.object));
            touched.moves = true;
        }
        CollectStep::End { objects } => touched.swept.extend(objects),
        CollectStep::Note { objects } => {
            touched.swept.extend(objects.iter().map(|at| at.object));
            touched.orphans.extend(objects.iter().map(|at| at.object));
        }
    }
}

/// What is known by the rows of the first.
pub(super) fn second_round(step: &CollectStep, state: &State, touched: &mut Touched) {
    match step {
        CollectStep::Release { versions } => {
            for file in versions.iter().filter_map(|version| state.files.get(version)) {
                of_version(file, touched);
                touched.retention = true;
            }
        }
        CollectStep::Sweep { blobs, .. } => {
            let blobs = blobs.iter().filter_map(|address| state.blobs.get(address));
            touched.chunks.extend(blobs.flat_map(|blob| &blob.recipe.chunks).map(|chunk| chunk.address));
        }
        CollectStep::Expunge { blob } => {
            let chunks = state.blobs.get(blob).into_iter().flat_map(|blob| &blob.recipe.chunks);
            touched.chunks.extend(chunks.map(|chunk| chunk.address));
        }
        CollectStep::Condemn { .. }
        | CollectStep::Relocate { .. }
        | CollectStep::End { .. }
        | CollectStep::Note { .. } => {}
    }
}

fn of_version(file: &File, touched: &mut Touched) {
    touched.producers.insert(file.name.producer.clone());
    touched.packages.insert(file.package_id.clone());
    let package = (file.name.producer.clone(), file.package.clone());
    touched.latest.insert(package.clone());
    touched.keepers.insert(package);
    touched.history.insert((file.name.clone(), file.sequence));
    touched.blobs.insert(file.content_address);
}

/// What a step asks of the database besides rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether something uses these chunks.
    pub chunks: Vec<ContentAddress>,
    /// Blobs that do not count as using them; at most one of several chunks.
    pub but: BTreeSet<ContentAddress>,
    /// Which chunks lie in these objects.
    pub objects: Vec<ObjectKey>,
    /// Which versions have this blob, and did not let go of it.
    pub copies_of: Option<ContentAddress>,
}

/// What is asked once the rows are loaded.
#[must_use]
pub fn asked(step: &CollectStep, state: &State) -> Asked {
    match step {
        CollectStep::Release { .. } | CollectStep::Relocate { .. } | CollectStep::End { .. } => Asked::default(),
        CollectStep::Condemn { chunks, .. } => Asked { chunks: chunks.clone(), ..Asked::default() },
        CollectStep::Expunge { blob } => swept(state, &sweepable(state, &[*blob], 0), &[], &[]),
        CollectStep::Sweep { blobs, chunks, orphans, grace_micros } => {
            swept(state, &sweepable(state, blobs, *grace_micros), chunks, orphans)
        }
        CollectStep::Note { objects } => {
            Asked { objects: objects.iter().map(|at| at.object).collect(), ..Asked::default() }
        }
    }
}

/// What is asked of what is to be swept.
fn swept(state: &State, blobs: &[&Blob], chunks: &[ContentAddress], orphans: &[ObjectKey]) -> Asked {
    let of_blobs = blobs.iter().flat_map(|blob| &blob.recipe.chunks).map(|chunk| chunk.address);
    let chunks: BTreeSet<ContentAddress> = of_blobs.chain(chunks.iter().copied()).collect();
    let places = chunks.iter().filter_map(|chunk| state.chunks.get(chunk));
    let objects = places.map(|place| place.location.object).chain(orphans.iter().copied());
    Asked {
        objects: objects.collect::<BTreeSet<_>>().into_iter().collect(),
        but: blobs.iter().map(|blob| blob.content_address).collect(),
        chunks: chunks.into_iter().collect(),
        copies_of: None,
    }
}

/// What applying a release touches.
pub(super) fn released(fact: &VersionReleased, touched: &mut Touched) {
    touched.files.insert(fact.version);
    touched.blobs.insert(fact.content_address);
}

/// What applying the beginning of a sweep touches.
pub(super) fn begun(fact: &SweepBegun, touched: &mut Touched) {
    touched.blobs.extend(fact.blobs.iter().map(|blob| blob.content_address));
    // Whoever names them again behind this event finds them absent for it, not for having been so before.
    touched.chunks.extend(&fact.chunks);
}
