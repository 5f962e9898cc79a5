//! Reads a blob again, and compares everything with its name.
//!
//! Invariant: a blob without damages has the bytes of its content address, its chunks have theirs, and so has every
//! object that begins with one of them.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;

use crate::dataplane::join::feed;
use crate::dataplane::serve::{Extent, extents, read};
use crate::dataplane::shelf::{Shelf, compute};
use crate::dataplane::spi::{Damage, VerifyResult};
use crate::digest::{ContentAddress, ObjectKey};
use crate::error::{Error, Result};
use crate::hasher::BodyHasher;
use crate::recipe::{Chunk, Codec, LocatedChunk, Location, RetrievalTier};

pub(super) async fn verify(shelf: &Arc<Shelf>, address: &ContentAddress) -> Result<VerifyResult> {
    let blob = shelf.catalog.blob_locate(address).await?.ok_or(Error::BlobMissing(*address))?;
    let mut reading =
        Reading { shelf, whole: Some(Box::new(BodyHasher::new().with_sha256())), read_bytes: 0, damages: Vec::new() };
    let mut objects = HashSet::new();
    for located in &blob.chunks {
        reading.chunk(located).await?;
        if objects.insert(located.location.object) {
            reading.object(located).await?;
        }
    }
    let Reading { whole, read_bytes, mut damages, .. } = reading;
    let digests = whole.map(|hasher| hasher.finish());
    if let Some(digests) = &digests {
        let mut blame = |finding: String| damages.push(Damage { object: None, chunk: None, found: None, finding });
        if digests.content_address != *address {
            blame(format!("the bytes are those of {}", digests.content_address));
        }
        if digests.size_bytes != blob.size_bytes {
            blame(format!("there are {} bytes where {} are recorded", digests.size_bytes, blob.size_bytes));
        }
    }
    let sha256 = digests.and_then(|digests| digests.sha256);
    Ok(VerifyResult { content_address: *address, size_bytes: read_bytes, sha256, damages })
}

struct Reading<'a> {
    shelf: &'a Arc<Shelf>,
    /// Absent once a byte could not be read.
    whole: Option<Box<BodyHasher>>,
    read_bytes: u64,
    damages: Vec<Damage>,
}

impl Reading<'_> {
    async fn chunk(&mut self, located: &LocatedChunk) -> Result<()> {
        let (chunk, location) = (located.chunk, &located.location);
        if self.shelf.backends.named(&location.backend).is_none() {
            self.whole = None;
            self.blame(located, format!("it lies in the backend {:?}, which is not open", location.backend));
            return Ok(());
        }
        if location.stored_length_bytes != chunk.size_bytes {
            self.blame(located, "its recorded lengths contradict each other".to_owned());
        }
        let mut pieces = read(self.shelf, extents(std::slice::from_ref(located), 0..chunk.size_bytes));
        let mut own = Box::new(blake3::Hasher::new());
        loop {
            let piece = match pieces.try_next().await {
                Ok(None) => break,
                Ok(Some(piece)) => piece,
                Err(error) => {
                    self.whole = None;
                    let finding = finding(error)?;
                    self.blame(located, finding);
                    return Ok(());
                }
            };
            self.read_bytes += piece.len() as u64;
            let mut whole = self.whole.take();
            (own, self.whole) = compute(piece.len(), move || {
                own.update(&piece);
                whole.iter_mut().for_each(|whole| whole.update(&piece));
                (own, whole)
            })
            .await?;
        }
        let found = ContentAddress(*own.finalize().as_bytes());
        if found != chunk.address {
            self.blame_for(located, format!("the bytes are those of {found}"), Some(found));
        }
        Ok(())
    }

    /// Compares the object that begins with a chunk, as a whole, with its name. A pack is compared once that way, by the
    /// blob whose chunk comes first in it, however many blobs share it.
    async fn object(&mut self, located: &LocatedChunk) -> Result<()> {
        let location = &located.location;
        if location.offset_bytes > 0 {
            return Ok(());
        }
        let stat = match self.shelf.reader(&location.backend)?.stat(&location.object).await {
            // The chunk's own finding says so already.
            Ok(None) => return Ok(()),
            Ok(Some(stat)) => stat,
            Err(error) => {
                let finding = finding(error)?;
                self.blame(located, finding);
                return Ok(());
            }
        };
        let alone = location.object == ObjectKey(located.chunk.address.0);
        if alone && stat.size_bytes == located.chunk.size_bytes {
            // The chunk is the object, and was compared.
            return Ok(());
        }
        let backend = location.backend.clone();
        let whole = Extent { backend, object: location.object, begin: 0, end: stat.size_bytes };
        let finding = match feed(Box::default(), read(self.shelf, vec![whole])).await {
            Ok(hasher) if ObjectKey(hasher.address_so_far().0) == location.object => return Ok(()),
            Ok(hasher) => format!("the object's bytes are those of {}", hasher.address_so_far().to_hex()),
            Err(error) => finding(error)?,
        };
        self.blame(located, finding);
        Ok(())
    }

    fn blame(&mut self, located: &LocatedChunk, finding: String) {
        self.blame_for(located, finding, None);
    }

    fn blame_for(&mut self, located: &LocatedChunk, finding: String, found: Option<ContentAddress>) {
        let (object, chunk) = (Some(located.location.object), Some(located.chunk.address));
        self.damages.push(Damage { object, chunk, found, finding });
    }
}

/// Reads what lies in one object, and compares each chunk with its name. Neighbours are read at once; only where that does
/// not give what it should, each chunk is read again by itself.
pub(super) async fn verify_object(
    shelf: &Arc<Shelf>,
    backend: &str,
    object: ObjectKey,
    chunks: &[(Chunk, u64)],
) -> Result<VerifyResult> {
    let mut chunks = chunks.to_vec();
    chunks.sort_by_key(|(_, offset_bytes)| *offset_bytes);
    let locate = |(chunk, offset_bytes): (Chunk, u64)| {
        let location = Location {
            tier: RetrievalTier::Online,
            codec: Codec::None,
            object,
            offset_bytes,
            backend: backend.to_owned(),
            stored_length_bytes: chunk.size_bytes,
        };
        LocatedChunk { chunk, location }
    };
    let located: Vec<LocatedChunk> = chunks.into_iter().map(locate).collect();
    let mut result = VerifyResult {
        content_address: ContentAddress(object.0),
        size_bytes: located.iter().map(|one| one.chunk.size_bytes).sum(),
        sha256: None,
        damages: Vec::new(),
    };
    if let Ok(found) = digests_together(shelf, &located, result.size_bytes).await
        && found.iter().eq(located.iter().map(|one| &one.chunk.address))
    {
        return Ok(result);
    }
    let mut reading = Reading { shelf, whole: None, read_bytes: 0, damages: Vec::new() };
    for one in &located {
        reading.chunk(one).await?;
    }
    result.damages = reading.damages;
    Ok(result)
}

/// The BLAKE3 of each of these chunks as they are read, in order.
async fn digests_together(
    shelf: &Arc<Shelf>,
    located: &[LocatedChunk],
    size_bytes: u64,
) -> Result<Vec<ContentAddress>> {
    let mut pieces = read(shelf, extents(located, 0..size_bytes));
    let mut found = Vec::with_capacity(located.len());
    let mut left = located.iter().map(|one| one.chunk.size_bytes);
    let (mut wanted, mut hasher) = (left.next(), Box::new(blake3::Hasher::new()));
    while let Some(mut piece) = pieces.try_next().await? {
        while let Some(bytes) = wanted.filter(|_| !piece.is_empty()) {
            let here = piece.split_to(usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.len()));
            let rest = bytes - here.len() as u64;
            hasher = compute(here.len(), move || {
                hasher.update(&here);
                hasher
            })
            .await?;
            wanted = Some(rest);
            if rest == 0 {
                found.push(ContentAddress(*hasher.finalize().as_bytes()));
                hasher.reset();
                wanted = left.next();
            }
        }
    }
    Ok(found)
}

/// What a failed read says of the bytes; one that says nothing of them stays an error.
fn finding(error: Error) -> Result<String> {
    match error {
        Error::ObjectMissing(_) | Error::ObjectDamaged(..) => Ok(error.to_string()),
        Error::Backend(source) => Ok(format!("it cannot be read: {source}")),
        error => Err(error),
    }
}
