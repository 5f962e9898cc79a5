//! Counting the references to blobs anew, from the files and the stored manifests, and comparing with the view.
//!
//! Invariant: however many blobs there are, at most [`COUNTED_AT_ONCE`] of them, more or less, are held in memory.

use std::collections::BTreeMap;

use artifactstore_backends::digest::ContentAddress;
use futures::TryStreamExt;

use super::request::{Miscount, Progress, RecountSummary};
use crate::Registry;
use crate::error::{Error, Result};
use crate::log::replay::decode;
use crate::model::cbor;
use crate::model::event::{Event, PackageFinalized};
use crate::model::row::{Blob, File, Package, Sequence};
use crate::store::{Snapshot, View, ViewRow};

/// How many blobs are counted in one pass over the files.
const COUNTED_AT_ONCE: u64 = 500_000;

/// What the view says, if the blob is there, and what was counted.
type Counts = BTreeMap<ContentAddress, (Option<u64>, u64)>;

/// One pass of several: blobs fall into them by their addresses, evenly.
#[derive(Debug, Clone, Copy)]
struct Pass {
    number: u64,
    of: u64,
}

impl Pass {
    fn has(self, address: &ContentAddress) -> bool {
        let [a, b, c, d, ..] = address.0;
        u64::from(u32::from_be_bytes([a, b, c, d])) % self.of == self.number
    }
}

fn row<R: serde::de::DeserializeOwned>(view: View, row: &ViewRow) -> Result<R> {
    cbor::decode(&row.row).map_err(|error| Error::RowUnreadable { view: view.table(), reason: error.to_string() })
}

impl Registry {
    /// Counts the references to every blob anew, as of one event, and tells those whose count in the view is another.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn references_recount(
        &self,
        on_progress: &(dyn Fn(Progress) + Send + Sync),
        on_miscount: &(dyn Fn(Miscount) + Send + Sync),
    ) -> Result<RecountSummary> {
        let (blobs, _) = self.inner.store.blobs_total().await?;
        let of = blobs.div_ceil(COUNTED_AT_ONCE).max(1);
        let mut snapshot = self.inner.store.snapshot().await?;
        let mut summary = RecountSummary::default();
        for number in 0..of {
            for (address, (recorded, counted)) in count(&mut *snapshot, Pass { number, of }).await? {
                summary.blobs += u64::from(recorded.is_some());
                summary.references += counted;
                if recorded != Some(counted) {
                    summary.wrong += 1;
                    on_miscount(Miscount { content_address: address.to_string(), recorded, counted });
                }
            }
            on_progress(Progress { done: summary.blobs, total: blobs.max(summary.blobs), ..Progress::default() });
        }
        Ok(summary)
    }
}

async fn count(snapshot: &mut dyn Snapshot, pass: Pass) -> Result<Counts> {
    let mut counts = Counts::new();
    let mut rows = snapshot.view(View::Blobs);
    while let Some(found) = rows.try_next().await? {
        let blob: Blob = row(View::Blobs, &found)?;
        if pass.has(&blob.content_address) {
            counts.insert(blob.content_address, (Some(blob.reference_count), 0));
        }
    }
    drop(rows);
    let mut rows = snapshot.view(View::Files);
    while let Some(found) = rows.try_next().await? {
        let file: File = row(View::Files, &found)?;
        if file.released_sequence.is_none() && pass.has(&file.content_address) {
            counts.entry(file.content_address).or_default().1 += 1;
        }
    }
    drop(rows);
    for (seal, manifest) in manifests(snapshot, pass, &counts).await? {
        if is_stored(snapshot, seal).await? {
            counts.entry(manifest).or_default().1 += 1;
        }
    }
    Ok(counts)
}

/// The seals whose manifests may be blobs.
async fn manifests(
    snapshot: &mut dyn Snapshot,
    pass: Pass,
    counts: &Counts,
) -> Result<Vec<(Sequence, ContentAddress)>> {
    let mut seals = Vec::new();
    let mut rows = snapshot.view(View::Packages);
    while let Some(found) = rows.try_next().await? {
        let package: Package = row(View::Packages, &found)?;
        let seal = package.seal.filter(|seal| pass.has(&seal.manifest_digest));
        seals.extend(seal.map(|seal| (seal.sequence, seal.manifest_digest)));
    }
    // A manifest of which there is no blob is its event's payload.
    seals.retain(|(_, manifest)| counts.contains_key(manifest));
    Ok(seals)
}

async fn is_stored(snapshot: &mut dyn Snapshot, seal: Sequence) -> Result<bool> {
    let record = snapshot.events(seal.saturating_sub(1), 1).await?.pop();
    let Some(record) = record.filter(|record| record.sequence == seal) else {
        return Err(Error::EventUnreadable { sequence: seal, reason: "it is missing".to_owned() });
    };
    let Event::PackageFinalized(fact) = decode(&record)? else { return Ok(false) };
    Ok(matches!(*fact, PackageFinalized::Stored(_)))
}
