//! A connection whose other side has to go on reading.
//!
//! An answer is written as fast as its client takes it. One that stops in the midst would hold its connection, and what
//! the answer holds, for good.
//!
//! Invariant: the clock runs only while the connection takes nothing; a slow store makes no client late.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A connection that ends when its other side takes nothing for too long.
#[derive(Debug)]
pub(super) struct Writing<T> {
    inner: T,
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<T> Writing<T> {
    pub(super) fn new(inner: T, idle: Duration) -> Self {
        Self { inner, idle, sleep: Box::pin(tokio::time::sleep(idle)), waiting: false }
    }

    fn watch<R>(&mut self, polled: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        if !self.waiting {
            self.waiting = true;
            let deadline = Instant::now() + self.idle;
            self.sleep.as_mut().reset(deadline);
        }
        match self.sleep.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing"))),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Writing<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Writing<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(polled, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.watch(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const IDLE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_client_that_stops_reading_is_cut() {
        let (_client, server) = tokio::io::duplex(4);
        let mut server = Writing::new(server, IDLE);
        let begun = Instant::now();
        assert_eq!(server.write_all(b"too much").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= IDLE);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_served_and_a_pause_of_ours_costs_it_nothing() {
        let (mut client, server) = tokio::io::duplex(4);
        let mut server = Writing::new(server, IDLE);
        let reading = tokio::spawn(async move {
            let mut byte = [0; 1];
            for _ in 0..12 {
                tokio::time::sleep(IDLE / 4).await;
                client.read_exact(&mut byte).await.unwrap();
            }
        });
        tokio::time::sleep(IDLE * 2).await;
        server.write_all(b"twelve bytes").await.unwrap();
        reading.await.unwrap();
    }
}
