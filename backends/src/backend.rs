//! The backend: objects at rest.
//!
//! The seam between what bytes mean and where they lie. Every implementation passes the suite in
//! [`crate::testing::conformance`].
//!
//! Invariant: an object has the bytes of its name. Nobody chooses an address: a [`SealedObject`] is named by its bytes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::{Md5Digest, ObjectKey};
use crate::error::Result;

/// Bytes and the name that they give themselves.
#[derive(Clone)]
pub struct SealedObject {
    key: ObjectKey,
    bytes: Bytes,
    md5: Option<Md5Digest>,
    /// Kept for as long as somebody has the bytes, and never looked at.
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

impl SealedObject {
    /// Names the bytes by their BLAKE3.
    #[must_use]
    pub fn seal(bytes: Bytes) -> Self {
        Self { key: ObjectKey(*blake3::hash(&bytes).as_bytes()), bytes, md5: None, _held: None }
    }

    /// For bytes that the data plane has hashed while they passed, so that nothing is hashed twice.
    pub(crate) fn hashed_already(bytes: Bytes, key: ObjectKey) -> Self {
        debug_assert_eq!(Self::seal(bytes.clone()).key, key, "an object is named by its own bytes");
        Self { key, bytes, md5: None, _held: None }
    }

    /// With the MD5 of the bytes, where it was made already: as a proof on the way, of which nothing is named.
    pub(crate) fn with_md5(self, md5: Option<Md5Digest>) -> Self {
        Self { md5, ..self }
    }

    /// The MD5 of the bytes, when somebody has it.
    #[must_use]
    pub fn md5(&self) -> Option<Md5Digest> {
        self.md5
    }

    /// Lets this go when the object is dropped, wherever that is: a write whose caller was let go still has the bytes.
    pub(crate) fn holding(self, held: impl Any + Send + Sync) -> Self {
        Self { _held: Some(Arc::new(held)), ..self }
    }

    /// The name of the object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        self.key
    }

    /// The bytes of the object.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for SealedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedObject").field("key", &self.key).field("size_bytes", &self.bytes.len()).finish()
    }
}

/// What a backend knows of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStat {
    /// The object's name.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was last written, by the backend's own clock (see [`Probe::clock`]).
    pub modified: SystemTime,
}

/// What a backend answers when asked how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What time it is by the clock that stamps the objects. Ages are measured by it and by no other, so that a clock
    /// that runs ahead of the backend's cannot make a fresh object look old.
    pub clock: SystemTime,
    /// Bytes still free, where the backend can tell.
    pub free_bytes: Option<u64>,
}

/// Objects at rest. Nobody chooses an address: hand over bytes, and be told which object they are.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The name that locations give this backend; it never changes.
    fn name(&self) -> &str;

    /// Whether it makes use of the MD5 of what it is to store, and would make it when it is not told.
    fn wants_md5(&self) -> bool {
        false
    }

    /// Stores and syncs the bytes. Storing the same bytes again succeeds and makes the object's age zero. When the
    /// future is dropped, the object is there whole or not at all.
    async fn put(&self, object: SealedObject) -> Result<ObjectKey>;

    /// The object's bytes in this range, in order, in pieces of at most about a megabyte. An absent object is
    /// [`Error::ObjectMissing`](crate::Error::ObjectMissing), and a range that begins past its end
    /// [`Error::RangeNotSatisfiable`](crate::Error::RangeNotSatisfiable), both said here and not by the stream.
    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream>;

    /// `None` when absent: absence is an answer, not an error.
    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>>;

    /// Walks in key order behind `after`, so that a sweep resumes where it stopped. Objects that come or go meanwhile
    /// may be seen or not.
    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>>;

    /// Forgets an object for good: from the answer on, it does not come back when the power goes. Forgetting an absent one
    /// succeeds.
    async fn delete(&self, key: &ObjectKey) -> Result<()>;

    /// Forgets several objects, which may be less work than one after the other; what became of each, in their order.
    async fn delete_all(&self, keys: &[ObjectKey]) -> Vec<Result<()>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            outcomes.push(self.delete(key).await);
        }
        outcomes
    }

    /// Writes and forgets a mark, so that success means that objects can be written now.
    async fn probe(&self) -> Result<Probe>;
}
