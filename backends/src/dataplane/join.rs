//! Makes one blob of parts that are stored already: recipes are joined, and no byte is copied.
//!
//! The digests of the whole come from the follower as far as it got, and from reading back for the rest.
//!
//! Invariant: a joined blob has the digests of the concatenated bytes, whether anything was followed or not.

use std::sync::Arc;

use futures::TryStreamExt;

use crate::dataplane::ingest::{hasher_for, judge};
use crate::dataplane::serve::{extents, read};
use crate::dataplane::shelf::{Shelf, compute};
use crate::dataplane::spi::{ByteStream, IngestHints, IngestResult, Join};
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::hasher::BodyHasher;
use crate::recipe::{Chunk, Recipe};

/// Chunks whose locations are asked for at a time.
const LOCATE_AT_ONCE: usize = 256;

pub(super) async fn join(shelf: &Arc<Shelf>, join: &Join, hints: &IngestHints) -> Result<IngestResult> {
    let recipe = Recipe::join(join.parts.iter().map(|(_, recipe)| recipe));
    if let Some(declared) = hints.size_bytes.filter(|declared| *declared != recipe.size_bytes()) {
        return Err(Error::LengthMismatch { declared, received: recipe.size_bytes() });
    }
    let only_whole = hints.checksum.is_none() && hints.compute.is_empty() && hints.md5.is_none();
    let (mut hasher, covered) = if only_whole {
        shelf.follower.prefix(&join.upload, &join.parts).await
    } else {
        // Nobody followed the bytes with these, so all of them are read.
        let asked = hasher_for(hints).with_sha256();
        (Box::new(if hints.md5.is_some() { asked.with_md5() } else { asked }), 0)
    };
    let rest: Vec<Chunk> = join.parts[covered..].iter().flat_map(|(_, recipe)| recipe.chunks.iter().copied()).collect();
    for chunks in rest.chunks(LOCATE_AT_ONCE) {
        let located = shelf.locate_all(chunks).await?;
        let size_bytes = chunks.iter().map(|chunk| chunk.size_bytes).sum();
        hasher = feed(hasher, read(shelf, extents(&located, 0..size_bytes))).await?;
    }
    let digests = hasher.finish();
    judge(&digests, hints, &[])?;
    reach(Point::UploadJoined);
    Ok(IngestResult {
        content_address: digests.content_address,
        sha256: digests.sha256,
        md5: None,
        size_bytes: digests.size_bytes,
        checksums: digests.checksums,
        recipe,
        written: Vec::new(),
    })
}

/// Feeds a stream to a hasher, to its end.
pub(super) async fn feed(mut hasher: Box<BodyHasher>, mut bytes: ByteStream) -> Result<Box<BodyHasher>> {
    while let Some(piece) = bytes.try_next().await? {
        hasher = compute(piece.len(), move || {
            hasher.update(&piece);
            hasher
        })
        .await?;
    }
    Ok(hasher)
}
