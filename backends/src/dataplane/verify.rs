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
use crate::recipe::LocatedChunk;

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
        let mut blame = |finding: String| damages.push(Damage { object: None, chunk: None, finding });
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
            self.blame(located, format!("the bytes are those of {found}"));
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
        let (object, chunk) = (Some(located.location.object), Some(located.chunk.address));
        self.damages.push(Damage { object, chunk, finding });
    }
}

/// What a failed read says of the bytes; one that says nothing of them stays an error.
fn finding(error: Error) -> Result<String> {
    match error {
        Error::ObjectMissing(_) | Error::ObjectDamaged(..) => Ok(error.to_string()),
        Error::Backend(source) => Ok(format!("it cannot be read: {source}")),
        error => Err(error),
    }
}
