//! What can go wrong with bytes at rest, by what the caller can do about it.
//!
//! Sources are kept boxed and never flattened into text: operators read the chain once, at the edge.

use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::{ChecksumAlgorithm, ContentAddress, ObjectKey};

/// An error of another crate, kept whole.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Which declared digest a body did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// The `Content-MD5` of the body.
    Md5,
    /// A flexible checksum, from a header or a trailer.
    Checksum(ChecksumAlgorithm),
}

/// One variant for each thing a caller can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The blob or object is not here.
    #[error("{0} is not stored")]
    BlobMissing(ContentAddress),
    /// The object that the catalog names is not in the backend.
    #[error("object {0} is missing from the backend")]
    ObjectMissing(ObjectKey),
    /// The bytes of an object are not the bytes of its name.
    #[error("object {0} is damaged: {1}")]
    ObjectDamaged(ObjectKey, &'static str),
    /// The range begins past the end.
    #[error("the range begins past the {size_bytes} bytes there are")]
    RangeNotSatisfiable {
        /// The size of the blob in bytes.
        size_bytes: u64,
    },
    /// The body ended before, or went on past, its declared length.
    #[error("the body has {received} bytes where {declared} were declared")]
    LengthMismatch {
        /// Bytes the client said it would send.
        declared: u64,
        /// Bytes that came.
        received: u64,
    },
    /// The body does not have the digest that was declared for it.
    #[error("the body does not match its declared {0:?}")]
    DigestMismatch(Declared),
    /// A trailer was declared and never came.
    #[error("the declared trailer for {0:?} never came")]
    TrailerMissing(ChecksumAlgorithm),
    /// The stream of the body failed; the source is the giver's own error.
    #[error("the body could not be read to its end")]
    Body(#[source] Source),
    /// The backend has no room left.
    #[error("the backend is full")]
    StorageFull(#[source] Source),
    /// The backend did not answer, or answered that it cannot now; trying again may help.
    #[error("the backend is not available")]
    Unavailable(#[source] Source),
    /// The backend refused in a way that trying again will not mend.
    #[error("the backend failed")]
    Backend(#[source] Source),
    /// The catalog could not be asked.
    #[error("the catalog could not be asked")]
    Catalog(#[source] Source),
    /// The objects of a folder lie as an earlier version laid them out, and whoever opens it is not to move them.
    #[error(
        "the objects in {} lie as an earlier version left them (run `artifactstore migrate`, or `artifactstore serve`)",
        .0.display()
    )]
    LayoutOlder(PathBuf),
}

impl Error {
    /// The same error for each of many that it met: one answer for all whose bytes were to be written together.
    pub(crate) fn shared(error: &Arc<Self>) -> Self {
        let source: Source = Box::new(Shared(Arc::clone(error)));
        match &**error {
            Self::StorageFull(_) => Self::StorageFull(source),
            Self::Unavailable(_) => Self::Unavailable(source),
            Self::Catalog(_) => Self::Catalog(source),
            _ => Self::Backend(source),
        }
    }
}

/// An error that several hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Shared(#[source] Arc<Error>);
