//! HTTP/1.1 by hand: one connection per request, and nothing between a test and the bytes it sends.
//!
//! A usual HTTP client refuses to send what the fault tests need: bodies that stop early, framing that lies.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that a test waits for one answer.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The interim answers (100 Continue) that came before it.
    pub interim: Vec<u16>,
    /// The headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; `None` when it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A header's value, or the empty text.
    #[must_use]
    pub fn header_or_empty(&self, name: &str) -> &str {
        self.header(name).unwrap_or_default()
    }

    /// The ETag without its quotes.
    #[must_use]
    pub fn etag(&self) -> String {
        self.header_or_empty("etag").trim_matches('"').to_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// The text of the first XML element of that name in the body.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<String> {
        self.elements(name).into_iter().next()
    }

    /// The texts of all XML elements of that name in the body, in order.
    #[must_use]
    pub fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        text.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(inner, _)| unescape(inner)).collect()
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

/// A connection for one request.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).await?;
        self.stream.get_mut().flush().await
    }

    /// Says that nothing more will come; an answer can still be read.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn close_writing(&mut self) -> Result<()> {
        self.stream.get_mut().shutdown().await
    }

    /// Reads one line, without its end; for streams of events.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let count = timeout(PATIENCE, self.stream.read_until(b'\n', &mut line)).await.map_err(|_| late())??;
        if count == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads the status and the headers of the next answer, interim ones included.
    ///
    /// # Errors
    /// When the connection ends first, or the answer does not come in time.
    pub async fn head(&mut self) -> Result<Reply> {
        let status_line = self.line().await?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no status line: {status_line:?}")))?;
        let mut reply = Reply { status, ..Reply::default() };
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(reply) };
            reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads the final answer to a request of that method.
    ///
    /// # Errors
    /// When the connection ends before the answer does, or it does not come in time.
    pub async fn reply(&mut self, method: &str) -> Result<Reply> {
        let mut interim = Vec::new();
        let mut reply = loop {
            let head = self.head().await?;
            if head.status >= 200 {
                break head;
            }
            interim.push(head.status);
        };
        reply.interim = interim;
        self.finish(reply, method).await
    }

    /// Reads the body of a final answer whose head was read.
    ///
    /// # Errors
    /// As for [`Connection::reply`].
    pub async fn finish(&mut self, mut reply: Reply, method: &str) -> Result<Reply> {
        if method != "HEAD" && reply.status != 204 && reply.status != 304 {
            reply.body = timeout(PATIENCE, self.body(&reply)).await.map_err(|_| late())??;
        }
        Ok(reply)
    }

    async fn body(&mut self, head: &Reply) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.header_or_empty("transfer-encoding").eq_ignore_ascii_case("chunked") {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                    .map_err(|_| Error::new(ErrorKind::InvalidData, format!("no chunk size: {line:?}")))?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..]).await?;
                if size == 0 {
                    while !self.line().await?.is_empty() {}
                    return Ok(body);
                }
                self.line().await?;
            }
        }
        if let Some(length) = head.header("content-length").and_then(|value| value.parse().ok()) {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).await?;
        } else {
            self.stream.read_to_end(&mut body).await?;
        }
        Ok(body)
    }
}

fn late() -> Error {
    Error::new(ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()))
}
