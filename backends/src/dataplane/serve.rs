//! Gives a blob's bytes: the extents of its chunks, read one behind the other with the next one opened ahead, as long as
//! there is room for what was read and is not yet on its way; else in small spans, each read when it is due.
//!
//! Invariant: a stream that ends without an error has given exactly the bytes that were asked for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, TryStreamExt};
use futures::{Stream, StreamExt};

use crate::backend::Backend;
use crate::dataplane::shelf::Shelf;
use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::{ContentAddress, ObjectKey};
use crate::error::{Error, Result};
use crate::recipe::{Codec, LocatedChunk};

/// Extents that are open at once: the one that is read and the one behind it.
const EXTENTS_OPEN: usize = 2;
/// The most that a backend and the next extent hold of a blob that is read ahead.
const AHEAD_BYTES: u64 = 5 * 512 * 1024;
/// How much of a blob is read at a time where nothing is read ahead.
const SPAN_BYTES: u64 = 256 * 1024;
const SHORT: &str = "it ends before its chunk does";

/// A run of bytes in one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) backend: String,
    pub(super) object: ObjectKey,
    pub(super) begin: u64,
    pub(super) end: u64,
}

pub(super) async fn serve(shelf: &Arc<Shelf>, address: &ContentAddress, range: ByteRange) -> Result<ByteStream> {
    let blob = shelf.catalog.blob_locate(address).await?.ok_or(Error::BlobMissing(*address))?;
    let range = range.resolve(blob.size_bytes)?;
    let (from, wanted) = (range.start, range.end - range.start);
    let extents = extents(&blob.chunks, range);
    if extents.iter().map(|extent| extent.end - extent.begin).sum::<u64>() != wanted {
        return Err(Error::Catalog(format!("the chunks of {address} do not sum up to its size").into()));
    }
    // Whoever takes the bytes slowly holds for long what was read ahead for it.
    let room = (wanted > SPAN_BYTES).then(|| shelf.budget.room_ahead(wanted.min(AHEAD_BYTES)));
    let (extents, open) = match room {
        Some(None) => (spans(extents), 1),
        _ => (extents, EXTENTS_OPEN),
    };
    let stream = read_lasting(shelf, *address, (from, extents), open);
    primed(stream.inspect(move |_| _ = &room)).await
}

/// The same bytes in pieces of at most [`SPAN_BYTES`].
fn spans(extents: Vec<Extent>) -> Vec<Extent> {
    let of = |extent: Extent| {
        let spans = (extent.begin..extent.end)
            .step_by(SPAN_BYTES as usize)
            .map(|begin| (begin, extent.end.min(begin + SPAN_BYTES)));
        spans.map(|(begin, end)| Extent { begin, end, ..extent.clone() }).collect::<Vec<_>>()
    };
    extents.into_iter().flat_map(of).collect()
}

/// As [`read`], of a blob: what is not where it lay when it was looked up may have been moved out of the way of something
/// that had to go, and is looked up once more.
fn read_lasting(
    shelf: &Arc<Shelf>,
    address: ContentAddress,
    (from, extents): (u64, Vec<Extent>),
    open: usize,
) -> ByteStream {
    let shelf = Arc::clone(shelf);
    let begins = extents.iter().scan(from, |at, extent| {
        let begin = *at;
        *at += extent.end - extent.begin;
        Some(begin)
    });
    let spans: Vec<(u64, Extent)> = begins.collect::<Vec<_>>().into_iter().zip(extents).collect();
    stream::iter(spans)
        .map(move |(begin, extent)| tokio::spawn(open_lasting(Arc::clone(&shelf), address, begin, extent)))
        .buffered(open)
        .map(|opened| opened.map_err(|error| Error::Backend(error.into()))?)
        .try_flatten()
        .boxed()
}

async fn open_lasting(shelf: Arc<Shelf>, address: ContentAddress, begin: u64, extent: Extent) -> Result<ByteStream> {
    let missing = match open(shelf.reader(&extent.backend), extent.clone()).await {
        Err(error @ Error::ObjectMissing(_)) => error,
        opened => return opened,
    };
    let blob = shelf.catalog.blob_locate(&address).await?.ok_or(Error::BlobMissing(address))?;
    let now = extents(&blob.chunks, begin..begin + (extent.end - extent.begin));
    if now == [extent] { Err(missing) } else { primed(read(&shelf, now)).await }
}

/// Where the bytes in this range of the chunks lie; neighbours in one object become one extent.
pub(super) fn extents(chunks: &[LocatedChunk], range: Range<u64>) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut offset = 0;
    for LocatedChunk { chunk, location } in chunks {
        let begin = range.start.max(offset);
        let end = range.end.min(offset + chunk.size_bytes);
        if begin < end {
            let Codec::None = location.codec;
            let next = Extent {
                backend: location.backend.clone(),
                object: location.object,
                begin: location.offset_bytes + (begin - offset),
                end: location.offset_bytes + (end - offset),
            };
            match extents.last_mut() {
                Some(last)
                    if last.end == next.begin && (&last.object, &last.backend) == (&next.object, &next.backend) =>
                {
                    last.end = next.end;
                }
                _ => extents.push(next),
            }
        }
        offset += chunk.size_bytes;
    }
    extents
}

/// The bytes of the extents, in order.
pub(super) fn read(shelf: &Shelf, extents: Vec<Extent>) -> ByteStream {
    let opened = extents.into_iter().map(|extent| (shelf.reader(&extent.backend), extent)).collect::<Vec<_>>();
    stream::iter(opened)
        // In a task, so that it goes on while the extent before it is on its way out.
        .map(move |(backend, extent)| tokio::spawn(open(backend, extent)))
        .buffered(EXTENTS_OPEN)
        .map(|opened| opened.map_err(|error| Error::Backend(error.into()))?)
        .try_flatten()
        .boxed()
}

async fn open(backend: Result<Arc<dyn Backend>>, extent: Extent) -> Result<ByteStream> {
    let opened = backend?.read(&extent.object, ByteRange::Span(extent.begin, extent.end)).await;
    let pieces = opened.map_err(|error| match error {
        Error::RangeNotSatisfiable { .. } => Error::ObjectDamaged(extent.object, SHORT),
        error => error,
    })?;
    primed(exactly(pieces, extent)).await
}

/// Ends in an error when there are fewer bytes than the extent has, or more.
fn exactly(pieces: ByteStream, extent: Extent) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::try_unfold((pieces, extent.end - extent.begin), move |(mut pieces, left)| async move {
        match pieces.try_next().await? {
            None if left == 0 => Ok(None),
            None => Err(Error::ObjectDamaged(extent.object, SHORT)),
            Some(piece) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Ok(Some((piece, (pieces, left)))),
                None => Err(Error::ObjectDamaged(extent.object, "it gives more than was asked for")),
            },
        }
    })
}

/// Waits for the first piece, so that an early failure is an answer and not a stream that breaks off.
async fn primed(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Result<ByteStream> {
    let mut stream = stream.boxed();
    Ok(match stream.try_next().await? {
        None => stream::empty().boxed(),
        Some(first) => stream::iter([Ok(first)]).chain(stream).boxed(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Extent, SPAN_BYTES, extents, spans};
    use crate::digest::{ContentAddress, ObjectKey};
    use crate::recipe::{Chunk, Codec, LocatedChunk, Location, RetrievalTier};

    fn chunk(object: u8, offset_bytes: u64, size_bytes: u64) -> LocatedChunk {
        LocatedChunk {
            chunk: Chunk { size_bytes, address: ContentAddress([0; 32]) },
            location: Location {
                tier: RetrievalTier::Online,
                codec: Codec::None,
                object: ObjectKey([object; 32]),
                offset_bytes,
                backend: String::new(),
                stored_length_bytes: size_bytes,
            },
        }
    }

    #[test]
    fn neighbours_in_one_object_are_read_at_once_and_others_are_not() {
        let chunks = [chunk(1, 100, 10), chunk(1, 110, 10), chunk(1, 0, 10), chunk(2, 10, 10)];
        let extent =
            |object, begin, end| Extent { backend: String::new(), object: ObjectKey([object; 32]), begin, end };
        assert_eq!(extents(&chunks, 0..40), [extent(1, 100, 120), extent(1, 0, 10), extent(2, 10, 20)]);
        assert_eq!(extents(&chunks, 5..15), [extent(1, 105, 115)]);
        assert_eq!(extents(&chunks, 29..31), [extent(1, 9, 10), extent(2, 10, 11)]);
        assert_eq!(extents(&chunks, 7..7), []);
    }

    #[test]
    fn spans_are_the_same_bytes_in_small_pieces() {
        let extent =
            |object, begin, end| Extent { backend: String::new(), object: ObjectKey([object; 32]), begin, end };
        let found = spans(vec![extent(1, 7, 7 + 2 * SPAN_BYTES + 1), extent(2, 0, SPAN_BYTES), extent(3, 5, 6)]);
        let first = [7, 7 + SPAN_BYTES, 7 + 2 * SPAN_BYTES, 8 + 2 * SPAN_BYTES];
        let mut expected: Vec<Extent> = first.windows(2).map(|at| extent(1, at[0], at[1])).collect();
        expected.extend([extent(2, 0, SPAN_BYTES), extent(3, 5, 6)]);
        assert_eq!(found, expected);
    }
}
