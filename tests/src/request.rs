//! An S3 request that can be made right, or wrong in exactly one way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::sign::{self, Keys, Seal};
use crate::wire::{Connection, PATIENCE, Reply};

/// How long whoever is told to come again waits until then.
const PAUSE: Duration = Duration::from_millis(200);

/// An S3 client that does what it is told and nothing else.
#[derive(Debug, Clone)]
pub struct S3 {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Whose requests these are.
    pub keys: Keys,
}

/// An answer of 400 or more, or no answer at all (status 0, code `ConnectionClosed`).
#[derive(Debug, Clone)]
pub struct Refused {
    /// The whole answer.
    pub reply: Reply,
    code: String,
}

impl Refused {
    /// The S3 error code. Answers without a body have none: there it is empty.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The status; 0 when the connection ended without an answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.reply.status
    }

    /// The message for people.
    #[must_use]
    pub fn message(&self) -> String {
        self.reply.element("Message").unwrap_or_default()
    }

    fn closed(error: &std::io::Error) -> Self {
        let reply = Reply { body: error.to_string().into_bytes(), ..Reply::default() };
        Self { reply, code: "ConnectionClosed".to_owned() }
    }
}

/// How the body travels.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Payload {
    /// As it is, with this in `x-amz-content-sha256`; `None` for its real SHA-256.
    Plain(Option<String>),
    /// In chunks of this size; signed or not.
    Chunked { size: usize, signed: bool },
}

/// A request, built step by step.
#[derive(Debug, Clone)]
pub struct Request {
    s3: S3,
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    unsigned: Vec<(String, String)>,
    body: Vec<u8>,
    payload: Payload,
    trailer: Option<(String, Option<String>)>,
    date: Option<String>,
    presigned: Option<u32>,
    host: Option<String>,
    host_signed: Option<String>,
    anonymous: bool,
    expect: bool,
    spoil_signature: bool,
    spoil_chunk: Option<usize>,
    send_only: Option<usize>,
    declare_decoded: Option<usize>,
}

impl S3 {
    /// Begins a request. `name` is `bucket`, `bucket/key` or empty.
    #[must_use]
    pub fn request(&self, method: &str, name: &str) -> Request {
        Request {
            s3: self.clone(),
            method: method.to_owned(),
            path: format!("/{name}"),
            query: Vec::new(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            body: Vec::new(),
            payload: Payload::Plain(None),
            trailer: None,
            date: None,
            presigned: None,
            host: None,
            host_signed: None,
            anonymous: false,
            expect: false,
            spoil_signature: false,
            spoil_chunk: None,
            send_only: None,
            declare_decoded: None,
        }
    }

    /// PUT with a body.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn put(&self, name: &str, body: &[u8]) -> Result<Reply, Refused> {
        self.request("PUT", name).body(body).send().await
    }

    /// GET.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn get(&self, name: &str) -> Result<Reply, Refused> {
        self.request("GET", name).send().await
    }

    /// GET, again and again while the answer is to come again: a storage that is slow to recover has lost nothing.
    ///
    /// # Errors
    /// When it is refused, or told to come again for too long.
    pub async fn get_in_the_end(&self, name: &str) -> Result<Reply, Refused> {
        let begun = Instant::now();
        loop {
            match self.get(name).await {
                Err(refused) if refused.status() == 503 && begun.elapsed() < PATIENCE => sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// HEAD. A refusal has no body, hence no code: look at its status.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn head(&self, name: &str) -> Result<Reply, Refused> {
        self.request("HEAD", name).send().await
    }

    /// DELETE.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn delete(&self, name: &str) -> Result<Reply, Refused> {
        self.request("DELETE", name).send().await
    }

    /// All keys of a bucket under a prefix, page by page.
    ///
    /// # Panics
    /// When a page is refused.
    pub async fn list(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut request = self.request("GET", bucket).query("list-type", "2").query("prefix", prefix);
            if let Some(token) = &token {
                request = request.query("continuation-token", token);
            }
            let page = request.send().await.expect("a page of the listing");
            keys.extend(page.elements("Key"));
            token = page.element("NextContinuationToken");
            if token.is_none() {
                return keys;
            }
        }
    }

    /// Begins a multipart upload and gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn upload_create(&self, name: &str) -> Result<String, Refused> {
        let reply = self.request("POST", name).query("uploads", "").send().await?;
        Ok(reply.element("UploadId").expect("an upload id"))
    }

    /// Uploads a part and gives its ETag.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn upload_part(&self, name: &str, upload: &str, number: u32, body: &[u8]) -> Result<String, Refused> {
        let request = self.request("PUT", name).query("partNumber", &number.to_string()).query("uploadId", upload);
        Ok(request.body(body).send().await?.etag())
    }

    /// Completes an upload of these parts.
    ///
    /// # Errors
    /// When it is refused, be it with a status or, as S3 may, inside a 200.
    pub async fn upload_complete(&self, name: &str, upload: &str, parts: &[(u32, String)]) -> Result<Reply, Refused> {
        let request = self.request("POST", name).query("uploadId", upload);
        request.body(complete_body(parts).as_bytes()).send().await
    }
}

/// The XML that completes an upload.
#[must_use]
pub fn complete_body(parts: &[(u32, String)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>"))
        .collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    )
}

impl Request {
    /// Adds to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header, signed.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Adds a header that the signature does not cover.
    #[must_use]
    pub fn header_unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// Puts this in `x-amz-content-sha256` instead of the body's SHA-256.
    #[must_use]
    pub fn payload_declared(mut self, text: &str) -> Self {
        self.payload = Payload::Plain(Some(text.to_owned()));
        self
    }

    /// Sends the body in signed chunks of this size.
    #[must_use]
    pub fn chunks_signed(mut self, size: usize) -> Self {
        self.payload = Payload::Chunked { size, signed: true };
        self
    }

    /// Sends the body in unsigned chunks of this size, as SDKs do over TLS.
    #[must_use]
    pub fn chunks_unsigned(mut self, size: usize) -> Self {
        self.payload = Payload::Chunked { size, signed: false };
        self
    }

    /// Declares a trailer, and sends it behind a chunked body.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailer = Some((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Declares a trailer, and never sends it.
    #[must_use]
    pub fn trailer_missing(mut self, name: &str) -> Self {
        self.trailer = Some((name.to_owned(), None));
        self
    }

    /// Signs as if it were another moment.
    #[must_use]
    pub fn date(mut self, date: &str) -> Self {
        self.date = Some(date.to_owned());
        self
    }

    /// Signs for this host, and sends another, as a client behind a proxy that asks for itself.
    #[must_use]
    pub fn host_signed(mut self, host: &str) -> Self {
        self.host_signed = Some(host.to_owned());
        self
    }

    /// Asks for this host instead of the address.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Puts the signature into the query, good for so many seconds.
    #[must_use]
    pub const fn presigned(mut self, seconds: u32) -> Self {
        self.presigned = Some(seconds);
        self
    }

    /// Signs nothing.
    #[must_use]
    pub const fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Sends the body only when the gateway asks for it with 100 Continue.
    #[must_use]
    pub const fn expect_continue(mut self) -> Self {
        self.expect = true;
        self
    }

    /// Spoils the signature.
    #[must_use]
    pub const fn spoil_signature(mut self) -> Self {
        self.spoil_signature = true;
        self
    }

    /// Spoils the signature of the n-th chunk, from 0.
    #[must_use]
    pub const fn spoil_chunk(mut self, number: usize) -> Self {
        self.spoil_chunk = Some(number);
        self
    }

    /// Declares the whole body, sends so many bytes of it, and closes its side of the connection.
    #[must_use]
    pub const fn send_only(mut self, bytes: usize) -> Self {
        self.send_only = Some(bytes);
        self
    }

    /// Puts this into `x-amz-decoded-content-length` instead of the body's length.
    #[must_use]
    pub const fn declare_decoded(mut self, bytes: usize) -> Self {
        self.declare_decoded = Some(bytes);
        self
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// When the answer is 400 or more, is an error inside a 200, or does not come.
    pub async fn send(self) -> Result<Reply, Refused> {
        let reply = self.exchange().await.map_err(|error| Refused::closed(&error))?;
        // S3 may answer 200 before it knows: the refusal of a long completion then stands in the body.
        if reply.status >= 400 || (reply.status == 200 && root_is_error(&reply)) {
            let code = reply.element("Code").unwrap_or_default();
            return Err(Refused { reply, code });
        }
        Ok(reply)
    }

    async fn exchange(&self) -> std::io::Result<Reply> {
        let (head, wire_body) = self.prepare();
        let mut connection = Connection::open(self.s3.address).await?;
        connection.write(head.as_bytes()).await?;
        let mut interim = Vec::new();
        if self.expect {
            let first = connection.head().await?;
            if first.status >= 200 {
                return connection.finish(first, &self.method).await;
            }
            interim.push(first.status);
        }
        let bytes = self.send_only.map_or(wire_body.as_slice(), |count| &wire_body[..count.min(wire_body.len())]);
        // A gateway that refuses early stops reading; its answer counts, not the failed write.
        let _ = connection.write(bytes).await;
        if self.send_only.is_some() {
            let _ = connection.close_writing().await;
        }
        let mut reply = connection.reply(&self.method).await?;
        reply.interim.splice(0..0, interim);
        Ok(reply)
    }

    /// The presigned URL's path and query, for others to use.
    #[must_use]
    pub fn target(&self) -> String {
        let (head, _) = self.prepare();
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn payload_name(&self) -> String {
        match (&self.payload, &self.trailer) {
            (Payload::Plain(Some(text)), _) => text.clone(),
            (Payload::Plain(None), _) if self.presigned.is_some() => "UNSIGNED-PAYLOAD".to_owned(),
            (Payload::Plain(None), _) => sign::sha256_hex(&self.body),
            (Payload::Chunked { signed: true, .. }, None) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            (Payload::Chunked { signed: true, .. }, Some(_)) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            (Payload::Chunked { signed: false, .. }, _) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }

    /// The head as it goes on the wire, and the body.
    fn prepare(&self) -> (String, Vec<u8>) {
        let date = self.date.clone().unwrap_or_else(sign::date_now);
        let payload = self.payload_name();
        let mut query = self.query.clone();
        let mut signed = self.headers.clone();
        let host = self.host.clone().unwrap_or_else(|| self.s3.address.to_string());
        signed.push(("host".to_owned(), self.host_signed.clone().unwrap_or_else(|| host.clone())));
        if let Payload::Chunked { .. } = self.payload {
            let decoded = self.declare_decoded.unwrap_or(self.body.len());
            signed.push(("content-encoding".to_owned(), "aws-chunked".to_owned()));
            signed.push(("x-amz-decoded-content-length".to_owned(), decoded.to_string()));
            if let Some((name, _)) = &self.trailer {
                signed.push(("x-amz-trailer".to_owned(), name.clone()));
            }
        }
        let keys = &self.s3.keys;
        let credential = format!("{}/{}", keys.access_key, keys.scope(&date));
        if let Some(seconds) = self.presigned {
            let fields = [
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
                ("X-Amz-Credential", credential.clone()),
                ("X-Amz-Date", date.clone()),
                ("X-Amz-Expires", seconds.to_string()),
                ("X-Amz-SignedHeaders", sign::signed_names(&signed)),
            ];
            query.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        } else if !self.anonymous {
            signed.push(("x-amz-content-sha256".to_owned(), payload.clone()));
            signed.push(("x-amz-date".to_owned(), date.clone()));
        }
        let mut seal = keys.sign(&self.method, &self.path, &query, &signed, &payload, &date);
        if self.spoil_signature {
            seal.signature = spoil(&seal.signature);
        }
        let mut lines = signed.clone();
        lines.iter_mut().filter(|(name, _)| name == "host").for_each(|(_, value)| value.clone_from(&host));
        if self.presigned.is_some() {
            query.push(("X-Amz-Signature".to_owned(), seal.signature.clone()));
        } else if !self.anonymous {
            let names = sign::signed_names(&signed);
            let signature = &seal.signature;
            let text =
                format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}");
            lines.push(("authorization".to_owned(), text));
        }
        let body = self.wire_body(&seal);
        if self.method == "PUT" || self.method == "POST" || !body.is_empty() {
            lines.push(("content-length".to_owned(), body.len().to_string()));
        }
        if self.expect {
            lines.push(("expect".to_owned(), "100-continue".to_owned()));
        }
        lines.extend(self.unsigned.iter().cloned());
        lines.push(("connection".to_owned(), "close".to_owned()));
        (self.head_text(&query, &lines), body)
    }

    fn head_text(&self, query: &[(String, String)], lines: &[(String, String)]) -> String {
        let path = sign::encode_path(&self.path);
        let target = if query.is_empty() { path } else { format!("{path}?{}", sign::encode_query(query)) };
        let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} {target} HTTP/1.1\r\n{lines}\r\n", self.method)
    }

    fn wire_body(&self, seal: &Seal) -> Vec<u8> {
        let Payload::Chunked { size, signed } = self.payload else { return self.body.clone() };
        let mut wire = Vec::with_capacity(self.body.len() + 1024);
        let mut seal = seal.clone();
        let pieces = self.body.chunks(size.max(1)).chain(std::iter::once(&[][..]));
        for (number, piece) in pieces.enumerate() {
            let mut line = format!("{:x}", piece.len());
            if signed {
                seal = seal.chunk(piece);
                let spoiled = self.spoil_chunk == Some(number);
                let signature = if spoiled { spoil(&seal.signature) } else { seal.signature.clone() };
                line = format!("{line};chunk-signature={signature}");
            }
            wire.extend_from_slice(format!("{line}\r\n").as_bytes());
            wire.extend_from_slice(piece);
            if !piece.is_empty() {
                wire.extend_from_slice(b"\r\n");
            }
        }
        if let Some((name, Some(value))) = &self.trailer {
            wire.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            if signed {
                let signature = seal.trailer(name, value).signature;
                wire.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
        }
        wire.extend_from_slice(b"\r\n");
        wire
    }
}

fn root_is_error(reply: &Reply) -> bool {
    if !reply.header_or_empty("content-type").contains("xml") {
        return false;
    }
    let text = reply.text();
    text.split_once("?>").map_or(text.as_str(), |(_, rest)| rest).trim_start().starts_with("<Error>")
}

/// The same text with its last hex digit changed.
fn spoil(signature: &str) -> String {
    let (kept, last) = signature.split_at(signature.len() - 1);
    format!("{kept}{}", if last == "0" { "1" } else { "0" })
}
