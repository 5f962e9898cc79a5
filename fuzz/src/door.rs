//! The whole S3 side over stores in memory, as a client reaches it, without a socket between.
//!
//! What a client may send without being believed is tried here: the target and the headers of an unsigned request, and
//! a body in chunks, whose framing no signature of the head covers.

use std::future::Future;
use std::sync::Arc;

use artifactstore_gateway::edge::auth::{AccessKey, StaticKeys};
use artifactstore_gateway::edge::service::{Edge, S3Settings, s3_service};
use artifactstore_registry::backends::backend::Backend;
use artifactstore_registry::backends::dataplane::inproc::{InProcessDataPlane, PlaneOptions};
use artifactstore_registry::backends::memory::MemoryBackend;
use artifactstore_registry::clock::{Entropy, SystemClock};
use artifactstore_registry::model::command::FinalizeFacts;
use artifactstore_registry::model::event::Actor;
use artifactstore_registry::model::name::{ProducerName, TenantName};
use artifactstore_registry::model::row::{AnonymousRead, ProducerSettings};
use artifactstore_registry::store::sqlite::{OpenMode, SqliteStore};
use artifactstore_registry::store::{Store, StoreCatalog};
use artifactstore_registry::{MANIFEST_INLINE_LIMIT_BYTES, Registry, RegistryParts};
use artifactstore_tests::sign::{Keys, Seal, date_now, sha256_hex, signed_names};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// The file that is read, and how long it is.
const FILE: &str = "/open/run-1/file.bin";
const FILE_BYTES: usize = 10_000;
/// The file that is written.
const WRITTEN: &str = "/open/run-2/written.bin";
const HOST: &str = "localhost:9000";
/// What a reader may ask for in headers, in the order of the lines of an input.
const ASKED: [&str; 5] = ["range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
/// The checksum that is sent behind a body, and the signature behind that.
const CHECKSUM: &str = "x-amz-checksum-crc32";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// In the first byte of a body in chunks: whether its signatures and its checksum are put right, and a byte wrong then.
const MENDED: u8 = 0x80;
const SPOILED: u8 = 0x40;

/// Identifiers that count up: nothing here needs to be unguessable.
#[derive(Debug, Default)]
struct Counting(std::sync::atomic::AtomicU64);

impl Entropy for Counting {
    fn fresh(&self) -> [u8; 16] {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (u128::from(number) + 1).to_be_bytes()
    }
}

/// What came back: the status, the headers, and the whole body.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A gateway with one producer that anyone may read, and a file in it.
pub struct Door {
    runtime: Runtime,
    edge: Edge,
    keys: Keys,
    _folder: tempfile::TempDir,
}

impl Door {
    /// Opens one, with its database in memory where there is a folder for that.
    #[must_use]
    pub fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let memory = std::path::Path::new("/dev/shm");
        let below = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(below).expect("a folder");
        let keys =
            Keys { access_key: "FUZZ".to_owned(), secret_key: "secret".to_owned(), region: "us-east-1".to_owned() };
        let edge = runtime.block_on(edge(folder.path(), &keys));
        let door = Self { runtime, edge, keys, _folder: folder };
        let head = door.head(FILE, 0, &file(), FILE_BYTES);
        let stored = door.run(door.put(FILE, &head, &file(), FILE_BYTES));
        assert_eq!(stored.status, StatusCode::OK, "{:?}", stored.body);
        door
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// An unsigned GET, whose status is told; 0 when nothing can be sent. The lines of the input are what stands behind
    /// `/open/` in its target, and the values of the headers [`ASKED`]; an empty one is not sent.
    ///
    /// # Panics
    /// When the answer is a fault of the gateway's, or has other bytes than it says.
    pub fn range(&self, bytes: &[u8]) -> u16 {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let Ok(uri) = Uri::try_from([b"/open/", lines.next().unwrap_or_default()].concat()) else { return 0 };
        let mut request = Request::get(uri).header("host", HOST);
        for (name, value) in ASKED.into_iter().zip(lines).filter(|(_, value)| !value.is_empty()) {
            let Ok(value) = HeaderValue::from_bytes(value) else { return 0 };
            request = request.header(name, value);
        }
        let Ok(request) = request.body(Full::new(Bytes::new())) else { return 0 };
        let answer = self.run(ask(self.edge.clone(), request));
        is_no_fault(&answer);
        if answer.status == StatusCode::PARTIAL_CONTENT {
            let range = text(&answer.headers, "content-range");
            let (span, size) = range.strip_prefix("bytes ").and_then(|it| it.split_once('/')).expect("a range");
            let (first, last) = span.split_once('-').expect("a span");
            let (first, last): (usize, usize) = (first.parse().expect("a number"), last.parse().expect("a number"));
            assert_eq!(size, FILE_BYTES.to_string());
            assert_eq!(answer.body, file()[first..=last], "other bytes than {range}");
        } else if answer.status == StatusCode::OK && answer.headers.contains_key("x-artifact-sha256") {
            assert_eq!(text(&answer.headers, "x-artifact-sha256"), sha256_hex(&answer.body));
        } else if answer.status == StatusCode::NOT_MODIFIED {
            assert!(answer.body.is_empty(), "what is not modified is not sent");
        }
        answer.status.as_u16()
    }

    /// A PUT in chunks, whose status is told; 0 when nothing can be sent. The input: which framing is declared, with
    /// [`MENDED`] and [`SPOILED`]; the decoded length as two bytes; the size of the pieces in which the body comes; and
    /// the body as it is on the wire.
    ///
    /// Without being mended, nothing that comes at random gets past the first signature, or the checksum.
    ///
    /// # Panics
    /// When the answer is a fault of the gateway's, or something else is stored than the chunks hold.
    pub fn chunked(&self, bytes: &[u8]) -> u16 {
        let Some((&[flags, high, low, piece], wire)) = bytes.split_first_chunk() else { return 0 };
        let framing = (flags & !(MENDED | SPOILED)) % 3 + 1;
        let mut length = usize::from(u16::from_be_bytes([high, low]));
        let mends = flags & MENDED != 0;
        if let Some(held) = unframed(wire).filter(|_| mends) {
            length = held.len();
        }
        let head = self.head(WRITTEN, framing, wire, length);
        let (wire, spoiled) =
            if mends { mended(wire, head.seal.clone(), flags & SPOILED != 0) } else { (wire.to_vec(), false) };
        let answer = self.run(self.put(WRITTEN, &head, &wire, usize::from(piece) + 1));
        is_no_fault(&answer);
        if answer.status != StatusCode::OK {
            return answer.status.as_u16();
        }
        assert!(!spoiled, "a byte was changed behind what vouches for it, and nobody saw it");
        let held = unframed(&wire).expect("what is stored has the framing that was declared");
        assert_eq!(held.len(), length, "the declared length is another");
        let read = Request::get(WRITTEN).header("host", HOST).body(Full::new(Bytes::new())).expect("a request");
        let got = self.run(ask(self.edge.clone(), read));
        assert_eq!(got.body, held, "something else is stored");
        answer.status.as_u16()
    }

    /// Signs a PUT: as it is (0), in unsigned chunks with a trailer (1), in signed chunks (2), or with a trailer (3).
    fn head(&self, path: &str, framing: u8, wire: &[u8], length: usize) -> Head {
        let date = date_now();
        let payload = match framing {
            0 => sha256_hex(wire),
            1 => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            2 => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            _ => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
        };
        let mut headers = vec![
            ("host".to_owned(), HOST.to_owned()),
            ("x-amz-content-sha256".to_owned(), payload.clone()),
            ("x-amz-date".to_owned(), date.clone()),
        ];
        if framing > 0 {
            headers.push(("x-amz-decoded-content-length".to_owned(), length.to_string()));
        }
        if framing == 1 || framing == 3 {
            headers.push(("x-amz-trailer".to_owned(), CHECKSUM.to_owned()));
        }
        let seal = self.keys.sign("PUT", path, &[], &headers, &payload, &date);
        let credential = format!("{}/{}", self.keys.access_key, self.keys.scope(&date));
        let names = signed_names(&headers);
        let proof =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={}", seal.signature);
        Head { headers, proof, seal }
    }

    /// Sends a PUT, its body in pieces.
    fn put(&self, path: &str, head: &Head, wire: &[u8], piece: usize) -> impl Future<Output = Answer> {
        let mut request = Request::put(path).header("authorization", &head.proof).header("content-length", wire.len());
        for (name, value) in &head.headers {
            request = request.header(name, value);
        }
        let pieces: Vec<std::io::Result<Frame<Bytes>>> =
            wire.chunks(piece).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let request = request.body(StreamBody::new(stream::iter(pieces))).expect("a request");
        ask(self.edge.clone(), request)
    }
}

/// What a PUT says before its body, and what the signatures of its chunks follow from.
struct Head {
    headers: Vec<(String, String)>,
    proof: String,
    seal: Seal,
}

/// The bytes of the file: the same in every run, and different everywhere.
fn file() -> Vec<u8> {
    (0..FILE_BYTES as u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes())
        .take(FILE_BYTES)
        .collect()
}

async fn edge(folder: &std::path::Path, keys: &Keys) -> Edge {
    let store = SqliteStore::open(&folder.join("registry.db"), OpenMode::Create).await.expect("a database");
    let store: Arc<dyn Store> = Arc::new(store);
    let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let catalog = Arc::new(StoreCatalog::new(Arc::clone(&store)));
    let registry = Registry::open(RegistryParts {
        store,
        plane: Arc::new(InProcessDataPlane::new(backend, catalog, &PlaneOptions::default())),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(Counting::default()),
        facts: FinalizeFacts { gateway_version: "fuzz".to_owned(), backend: "memory".to_owned() },
        manifest_inline_limit_bytes: MANIFEST_INLINE_LIMIT_BYTES,
    });
    let tenant = TenantName::parse("root").expect("a tenant");
    let actor = Actor { tenant: tenant.clone(), name: "fuzz".to_owned(), request_id: "fuzz".to_owned(), client: None };
    let open = ProducerSettings { anonymous_read: AnonymousRead::List, ..ProducerSettings::default() };
    let name = ProducerName::parse("open").expect("a name");
    registry.producer_create(&actor, &name, open).await.expect("a producer");
    let key = AccessKey::new(&keys.secret_key, tenant);
    let ring = Arc::new(StaticKeys::new([(keys.access_key.clone(), key)]));
    s3_service(registry, S3Settings::default(), ring).expect("a region")
}

async fn ask<B>(edge: Edge, request: Request<B>) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let response = edge.oneshot(request).await.expect("every failure has an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Answer { status: head.status, headers: head.headers, body }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whatever a client sends, the gateway does not call it a fault of its own.
fn is_no_fault(answer: &Answer) {
    let fault = answer.status.is_server_error() && answer.status != StatusCode::NOT_IMPLEMENTED;
    assert!(!fault, "{}: {:?}", answer.status, answer.body);
}

/// The next line of a body, and what stands behind it.
fn line(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&wire[..end], &wire[end + 2..]))
}

/// What the line before a chunk says of its size: up to eight digits. s3s takes no notice of what else stands there; the
/// declared length and the checksum, or the signature, are what vouch for the bytes.
fn size(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take(8).take_while(|byte| byte.is_ascii_hexdigit()).count();
    usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

/// The bytes that chunks hold, by the plainest reading of their framing; `None` for what has another. A body may end within
/// the line before its last chunk, which is empty: s3s takes it then, if it has the length that the signed head declares.
fn unframed(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut held = Vec::new();
    loop {
        let Some((head, behind)) = line(wire) else { return Some(held) };
        let size = size(head)?;
        if size == 0 {
            return Some(held);
        }
        held.extend_from_slice(behind.get(..size)?);
        wire = behind.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// The same body with the signatures and the checksum that it has to have, as far as its framing can be followed; if
/// asked for, with one byte of it changed behind them, and whether there was one.
fn mended(mut wire: &[u8], mut seal: Seal, spoil: bool) -> (Vec<u8>, bool) {
    let (mut out, mut held, mut spoiled) = (Vec::new(), Vec::new(), false);
    while let Some((head, behind)) = line(wire)
        && let Some(size) = size(head)
        && let Some(data) = behind.get(..size)
    {
        seal = seal.chunk(data);
        out.extend_from_slice(&with_value(head, b"chunk-signature=", &seal.signature));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        held.extend_from_slice(data);
        wire = &behind[size..];
        if spoil
            && !spoiled
            && size > 0
            && let Some(last) = out.last_mut()
        {
            *last ^= 1;
            spoiled = true;
        }
        let Some(next) = wire.strip_prefix(b"\r\n").filter(|_| size > 0) else { break };
        out.extend_from_slice(b"\r\n");
        wire = next;
    }
    let checksum = BASE64_STANDARD.encode(crc32(&held).to_be_bytes());
    let signature = seal.trailer(CHECKSUM, &checksum).signature;
    while let Some((trailer, behind)) = line(wire) {
        let trailer = with_value(trailer, format!("{CHECKSUM}:").as_bytes(), &checksum);
        out.extend_from_slice(&with_value(&trailer, format!("{TRAILER_SIGNATURE}:").as_bytes(), &signature));
        out.extend_from_slice(b"\r\n");
        wire = behind;
    }
    out.extend_from_slice(wire);
    (out, spoiled)
}

/// A line with another value behind a name, if it has the name.
fn with_value(line: &[u8], name: &[u8], value: &str) -> Vec<u8> {
    match line.windows(name.len()).position(|part| part == name) {
        Some(at) => [&line[..at + name.len()], value.as_bytes()].concat(),
        None => line.to_vec(),
    }
}

/// CRC-32 as it is written down, a bit at a time: what the gateway has is not asked about itself.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |rest: u32, _| if rest & 1 == 1 { (rest >> 1) ^ 0xedb8_8320 } else { rest >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}
