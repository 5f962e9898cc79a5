//! The backend over a bucket of any S3 store, Ceph RGW before all: objects by single PUTs, through OpenDAL.
//!
//! Every call is tried again when that may help, ends in bounded time, and takes one of a bounded number of places. An
//! object is stored with its `Content-MD5`, so that a store keeps what was sent or nothing.
//!
//! Invariant: when `put` has answered, the store has acknowledged the whole object.
//! Invariant: no secret is printed by `Debug`, and none is in an error.

mod fault;
mod patience;
mod tls;
mod transport;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use opendal::services::S3;
use opendal::{BufferStream, HttpTransporter, Metadata, OperationContext, Operator};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::backend::{Backend, ObjectStat, Probe, SealedObject};
use crate::bucket::fault::Fault;
use crate::bucket::patience::patiently;
use crate::bucket::transport::Transport;
use crate::dataplane::spi::{ByteRange, ByteStream};
use crate::digest::ObjectKey;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::layout::{BUCKET, OBJECTS};

/// How many objects a store tells of at a time, at most.
const PAGE_OBJECTS: usize = 1000;
/// No piece of a stream is larger.
const PIECE_BYTES: usize = 512 * 1024;
/// How often a stream that breaks off is taken up again where it stopped.
const RESUMPTIONS: u32 = 4;

/// Where a bucket is, and how it is to be used.
#[derive(Clone)]
pub struct BucketOptions {
    /// The store's URL, `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// The bucket; it has to be there already.
    pub bucket: String,
    /// What stands before the name of every object, such as `artifacts/`; may be empty.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// How many requests are on their way at once, at most.
    pub concurrency: usize,
    /// How long one attempt may take; a call ends within about twice as long.
    pub patience: Duration,
    /// A file of certificates, as PEM, that a store with TLS is trusted by besides those that the system trusts.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for BucketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, bucket, prefix, region, concurrency, patience, .. } = self;
        f.debug_struct("BucketOptions")
            .field("endpoint", endpoint)
            .field("bucket", bucket)
            .field("prefix", prefix)
            .field("region", region)
            .field("concurrency", concurrency)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

/// Objects in a bucket.
#[derive(Clone)]
pub struct BucketBackend {
    operator: Operator,
    /// What errors and logs call the store.
    store: Arc<str>,
    places: Arc<Semaphore>,
    concurrency: usize,
    patience: Duration,
    /// The name of this process's marks, and how many there were.
    mark: Arc<(String, AtomicU64)>,
}

impl BucketBackend {
    /// Opens a bucket, and proves that objects can be written there; they are found under the backend name `s3`.
    ///
    /// # Errors
    /// When the bucket is not there, the keys are wrong, or the store does not answer; the message says which.
    pub async fn open(options: &BucketOptions) -> Result<Self> {
        let store: Arc<str> = format!("the bucket {} at {}", options.bucket, options.endpoint).into();
        let concurrency = options.concurrency.max(1);
        let service = S3::default()
            .root(&options.prefix)
            .bucket(&options.bucket)
            .endpoint(&options.endpoint)
            .region(&options.region)
            .access_key_id(&options.access_key)
            .secret_access_key(&options.secret_key)
            .disable_config_load()
            .disable_ec2_metadata();
        let transport =
            HttpTransporter::new(Transport::new(concurrency, options.patience, options.ca_file.as_deref())?);
        let operator = Operator::new(service).map_err(|error| Fault::of(error).at(&store))?;
        let backend = Self {
            operator: operator.with_context(OperationContext::new().with_http_transport(transport)),
            store,
            places: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            patience: options.patience,
            mark: Arc::new((format!("probe/{:016x}", RandomState::new().hash_one(())), AtomicU64::new(0))),
        };
        backend.probe().await?;
        Ok(backend)
    }

    /// Asks the store, once a place is free, as often as may help.
    async fn ask<T, F>(&self, request: impl Fn() -> F) -> std::result::Result<T, Fault>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        let _place = match timeout(self.patience, self.places.acquire()).await {
            // The places are never closed.
            Ok(place) => place.ok(),
            Err(_) => return Err(Fault::Crowded(self.concurrency)),
        };
        let request = &request;
        patiently(self.patience, || async move { request().await.map_err(Fault::of) }).await
    }

    fn error(&self, fault: Fault) -> Error {
        fault.at(&self.store)
    }

    fn read_error(&self, key: &ObjectKey, fault: Fault) -> Error {
        if fault.is_absence() { Error::ObjectMissing(*key) } else { self.error(fault) }
    }

    async fn metadata(&self, path: &str) -> std::result::Result<Metadata, Fault> {
        self.ask(|| self.operator.stat(path)).await
    }

    /// Some objects behind this one, in order, and the path behind which there may be more.
    async fn page(&self, after: &str) -> Result<(VecDeque<ObjectStat>, Option<String>)> {
        let entries = self.ask(|| async {
            let folder = format!("{OBJECTS}/");
            let lister = self.operator.lister_with(&folder).recursive(true).start_after(after).limit(PAGE_OBJECTS);
            lister.await?.take(PAGE_OBJECTS).try_collect::<Vec<_>>().await
        });
        let entries = entries.await.map_err(|fault| self.error(fault))?;
        let next = entries.last().filter(|_| entries.len() == PAGE_OBJECTS).map(|entry| entry.path().to_owned());
        let mut stats = VecDeque::with_capacity(entries.len());
        for entry in entries {
            if let Some(key) = BUCKET.object_at(entry.path()).filter(|_| entry.path() > after) {
                stats.push_back(object_stat(key, entry.metadata())?);
            }
        }
        Ok((stats, next))
    }

    /// The bytes in a range that may go past the end, from the answer to one request.
    async fn open_range(&self, path: &str, range: Range<u64>) -> std::result::Result<(BufferStream, u64), Fault> {
        let range = &range;
        self.ask(|| async move {
            let mut stream = self.operator.reader(path).await?.into_stream(range.clone()).await?;
            let size_bytes = stream.metadata().await?.content_length();
            Ok((stream, size_bytes))
        })
        .await
    }
}

impl fmt::Debug for BucketBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketBackend").field("store", &self.store).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for BucketBackend {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn wants_md5(&self) -> bool {
        true
    }

    async fn put(&self, object: SealedObject) -> Result<ObjectKey> {
        let path = BUCKET.path(&object.key());
        reach(Point::ObjectBegun);
        let write = || transport::knowing(object.md5(), self.operator.write(&path, object.bytes().clone()));
        let written = self.ask(write).await;
        written.map_err(|fault| self.error(fault))?;
        reach(Point::ObjectSettled);
        Ok(object.key())
    }

    async fn read(&self, key: &ObjectKey, range: ByteRange) -> Result<ByteStream> {
        let path = BUCKET.path(key);
        let failed = |fault| self.read_error(key, fault);
        let known = match range {
            // What the data plane asks for: it knows how long its objects are, so one request is enough.
            ByteRange::Span(start, end) if start < end => match self.open_range(&path, start..end).await {
                Ok((stream, size_bytes)) if end <= size_bytes => {
                    let reading = Reading { backend: self.clone(), key: *key, at: start..end, resumed: 0, stream };
                    return Ok(reading.pieces());
                }
                Ok((_, size_bytes)) => Some(size_bytes),
                Err(fault) if fault.is_past_the_end() => None,
                Err(fault) => return Err(failed(fault)),
            },
            _ => None,
        };
        let size_bytes = match known {
            Some(size_bytes) => size_bytes,
            None => self.metadata(&path).await.map_err(failed)?.content_length(),
        };
        let range = range.resolve(size_bytes)?;
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let (stream, _) = self.open_range(&path, range.clone()).await.map_err(failed)?;
        Ok(Reading { backend: self.clone(), key: *key, at: range, resumed: 0, stream }.pieces())
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>> {
        match self.metadata(&BUCKET.path(key)).await {
            Ok(metadata) => object_stat(*key, &metadata).map(Some),
            Err(fault) if fault.is_absence() => Ok(None),
            Err(fault) => Err(self.error(fault)),
        }
    }

    fn list(&self, after: Option<ObjectKey>) -> BoxStream<'_, Result<ObjectStat>> {
        let begin = after.map(|key| BUCKET.path(&key)).unwrap_or_default();
        stream::try_unfold(Some(begin), move |after| async move {
            let Some(after) = after else { return Ok(None) };
            let (stats, next) = self.page(&after).await?;
            Ok::<_, Error>(Some((stream::iter(stats.into_iter().map(Ok)), next)))
        })
        .try_flatten()
        .boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let path = BUCKET.path(key);
        match self.ask(|| self.operator.delete(&path)).await {
            Err(fault) if !fault.is_absence() => Err(self.error(fault)),
            _ => Ok(()),
        }
    }

    async fn probe(&self) -> Result<Probe> {
        let (process, serial) = &*self.mark;
        let path = format!("{process}-{}", serial.fetch_add(1, Ordering::Relaxed));
        let probed = async {
            self.ask(|| self.operator.write(&path, Bytes::from_static(b"?"))).await?;
            let metadata = self.metadata(&path).await?;
            self.ask(|| self.operator.delete(&path)).await?;
            Ok(metadata)
        };
        let metadata = probed.await.map_err(|fault| self.error(fault))?;
        // A store does not say how much room it has.
        Ok(Probe { clock: object_stat(ObjectKey([0; 32]), &metadata)?.modified, free_bytes: None })
    }
}

/// A stream on its way, with what it takes to go on when it breaks off.
struct Reading {
    backend: BucketBackend,
    key: ObjectKey,
    /// The bytes that did not come yet.
    at: Range<u64>,
    resumed: u32,
    stream: BufferStream,
}

impl Reading {
    fn pieces(self) -> ByteStream {
        let buffers = stream::try_unfold(self, |mut reading| async move {
            Ok::<_, Error>(reading.next().await?.map(|buffer| (buffer, reading)))
        });
        let pieces = buffers.map_ok(|buffer| stream::iter(Iterator::flat_map(buffer, split).map(Ok)));
        pieces.try_flatten().boxed()
    }

    async fn next(&mut self) -> Result<Option<opendal::Buffer>> {
        loop {
            let fault = match self.stream.try_next().await {
                Ok(Some(buffer)) => {
                    self.at.start += buffer.len() as u64;
                    return Ok(Some(buffer));
                }
                Ok(None) if self.at.is_empty() => return Ok(None),
                Ok(None) => return Err(Error::ObjectDamaged(self.key, "it ended while it was read")),
                Err(error) => Fault::of(error),
            };
            // A reader that is slow is no reason for an error: the store may have waited long enough for it.
            if !fault.passes() || self.resumed == RESUMPTIONS || self.at.is_empty() {
                return Err(self.backend.read_error(&self.key, fault));
            }
            self.resumed += 1;
            let opened = self.backend.open_range(&BUCKET.path(&self.key), self.at.clone()).await;
            (self.stream, _) = opened.map_err(|fault| self.backend.read_error(&self.key, fault))?;
        }
    }
}

fn split(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some(piece)
    })
}

/// Dates are cut to whole seconds: listings of some stores are finer than their other answers, the clock's included.
fn object_stat(key: ObjectKey, metadata: &Metadata) -> Result<ObjectStat> {
    let modified = metadata.last_modified().ok_or_else(|| Error::Backend("an object without a date".into()))?;
    let seconds = SystemTime::from(modified).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Ok(ObjectStat { key, size_bytes: metadata.content_length(), modified })
}

#[cfg(test)]
mod tests;
