//! HTTP/1.1 over a socket, as cheaply as it goes: one buffer for each connection, no header map, no body in memory unless
//! it is wanted.
//!
//! Invariant: an answer is complete: its body had the length that its head declared, or the exchange is an error.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::payload::{BLOCK_BYTES, Body};

const BUFFER_BYTES: usize = 256 << 10;
const HEADERS_LIMIT: usize = 64;

/// One connection, which is opened again after the server closed it.
#[derive(Debug)]
pub struct Connection {
    to: SocketAddr,
    stream: Option<TcpStream>,
    outgoing: Vec<u8>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What to do with the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Read it and forget it.
    Discard,
    /// Keep it.
    Keep,
    /// There is none: it answers a HEAD.
    Head,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The length of the body, or what a HEAD said of it.
    pub size_bytes: u64,
    /// The ETag with its quotes.
    pub etag: Option<String>,
    /// The body, where it was to be kept; that of an error always is.
    pub body: Vec<u8>,
}

struct Head {
    status: u16,
    etag: Option<String>,
    length: Option<u64>,
    chunked: bool,
    last: bool,
}

impl Connection {
    /// A connection that is opened by the first exchange.
    #[must_use]
    pub fn new(to: SocketAddr) -> Self {
        Self { to, stream: None, outgoing: Vec::new(), buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    /// Sends a request and reads its answer. After an error the next exchange opens a new connection.
    ///
    /// # Errors
    /// When the connection fails or the answer is not complete HTTP/1.1.
    pub async fn exchange(&mut self, head: &[u8], body: Option<&Body>, take: Take) -> anyhow::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                (self.start, self.end) = (0, 0);
                let stream = TcpStream::connect(self.to).await.context("connect")?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        self.send(&mut stream, head, body).await.context("send")?;
        let (answer, last) = self.answer(&mut stream, take).await?;
        if !last {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    async fn send(&mut self, stream: &mut TcpStream, head: &[u8], body: Option<&Body>) -> std::io::Result<()> {
        match body {
            None => stream.write_all(head).await,
            Some(body) if body.size_bytes() <= BLOCK_BYTES as u64 => {
                self.outgoing.clear();
                self.outgoing.extend_from_slice(head);
                body.append_to(&mut self.outgoing);
                stream.write_all(&self.outgoing).await
            }
            Some(body) => {
                stream.write_all(head).await?;
                body.send(stream).await
            }
        }
    }

    async fn answer(&mut self, stream: &mut TcpStream, take: Take) -> anyhow::Result<(Answer, bool)> {
        let head = loop {
            if let Some((head, size)) = parse(&self.buffer[self.start..self.end])? {
                self.start += size;
                if head.status != 100 {
                    break head;
                }
            } else {
                self.fill(stream).await.context("answer's head")?;
            }
        };
        let mut answer = Answer { status: head.status, size_bytes: 0, etag: head.etag, body: Vec::new() };
        if take == Take::Head || matches!(head.status, 204 | 304) {
            answer.size_bytes = head.length.unwrap_or(0);
            return Ok((answer, head.last));
        }
        let keep = take == Take::Keep || head.status >= 300;
        if head.chunked {
            self.chunks(stream, keep, &mut answer).await.context("chunked body")?;
        } else {
            let length = head.length.context("an answer says its length")?;
            self.take(stream, length, keep.then_some(&mut answer.body)).await.context("body")?;
            answer.size_bytes = length;
        }
        Ok((answer, head.last))
    }

    async fn chunks(&mut self, stream: &mut TcpStream, keep: bool, answer: &mut Answer) -> anyhow::Result<()> {
        loop {
            let line = self.line(stream).await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).with_context(|| format!("a chunk's size is {digits:?}"))?;
            if size == 0 {
                while !self.line(stream).await?.is_empty() {}
                return Ok(());
            }
            self.take(stream, size, keep.then_some(&mut answer.body)).await?;
            answer.size_bytes += size;
            ensure!(self.line(stream).await?.is_empty(), "a chunk ends where it said");
        }
    }

    async fn line(&mut self, stream: &mut TcpStream) -> anyhow::Result<String> {
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(at) = held.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&held[..at]).into_owned();
                self.start += at + 2;
                return Ok(line);
            }
            self.fill(stream).await?;
        }
    }

    async fn take(
        &mut self,
        stream: &mut TcpStream,
        length: u64,
        mut keep: Option<&mut Vec<u8>>,
    ) -> anyhow::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.start == self.end {
                self.fill(stream).await?;
            }
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(self.end - self.start);
            if let Some(keep) = &mut keep {
                keep.extend_from_slice(&self.buffer[self.start..self.start + size]);
            }
            self.start += size;
            left -= size as u64;
        }
        Ok(())
    }

    async fn fill(&mut self, stream: &mut TcpStream) -> anyhow::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        ensure!(self.end < self.buffer.len(), "the head of an answer fits {BUFFER_BYTES} bytes");
        let size = stream.read(&mut self.buffer[self.end..]).await?;
        ensure!(size > 0, "the server closed the connection");
        self.end += size;
        Ok(())
    }
}

/// The head and its size, once it is all there.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Head, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(size) = response.parse(bytes).context("the head of an answer")? else {
        return Ok(None);
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        etag: None,
        length: None,
        chunked: false,
        last: response.version != Some(1),
    };
    for header in response.headers.iter() {
        let Ok(value) = std::str::from_utf8(header.value) else { bail!("a header that is not text") };
        if header.name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.trim().parse().context("content-length")?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.eq_ignore_ascii_case("chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.last = value.eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case("etag") {
            head.etag = Some(value.to_owned());
        }
    }
    Ok(Some((head, size)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::{Connection, Take};

    async fn answered(answers: &'static [&'static str]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = Connection::new(listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.unwrap();
                // In two writes, so that a reader that takes what comes for all there is goes wrong.
                let (left, right) = answer.split_at(answer.len() / 2);
                stream.write_all(left.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
                stream.write_all(right.as_bytes()).await.unwrap();
            }
        });
        connection
    }

    #[tokio::test]
    async fn a_chunked_body_is_put_together_and_a_closed_connection_is_opened_again() {
        let mut connection = answered(&[
            "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nxyz",
        ])
        .await;
        let first = connection.exchange(b"GET1", None, Take::Keep).await.unwrap();
        assert_eq!((first.status, first.body.as_slice(), first.etag.as_deref()), (200, &b"abcde"[..], Some("\"e\"")));
        let second = connection.exchange(b"GET2", None, Take::Discard).await.unwrap();
        assert_eq!((second.status, second.size_bytes, second.body.len()), (206, 3, 0));
    }

    #[tokio::test]
    async fn a_body_that_is_cut_short_is_an_error() {
        let mut connection = answered(&["HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nxyz"]).await;
        connection.exchange(b"GET1", None, Take::Discard).await.unwrap_err();
    }
}
