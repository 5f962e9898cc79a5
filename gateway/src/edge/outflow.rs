//! A response's body on its way out: counted, and the request's log line written when the last of it is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::forwarded::Client;
use super::inflow::Gauge;
use super::request_id::RequestId;

/// The longest path that is logged, in characters.
const PATH_MAX: usize = 1_200;

/// What is said of one request, once, when this is dropped: when the answer is out, or the client is gone. The query is
/// left out, because it may hold a signature.
pub(super) struct AccessLine {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) request_id: RequestId,
    pub(super) host_id: RequestId,
    /// Who asked; unknown of a request that came over no connection.
    pub(super) client: Option<Client>,
    pub(super) began: Instant,
    pub(super) received: Arc<Gauge>,
    /// None until there is an answer.
    pub(super) status: Option<StatusCode>,
    pub(super) sent_bytes: u64,
    /// Whether the whole answer went out.
    pub(super) complete: bool,
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let path: String = self.path.chars().take(PATH_MAX).collect();
        tracing::info!(
            method = %self.method,
            path,
            status = self.status.map_or(0, |status| status.as_u16()),
            request_id = %self.request_id,
            host_id = %self.host_id,
            client = self.client.as_ref().map(tracing::field::display),
            duration_micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            received_bytes = self.received.bytes(),
            sent_bytes = self.sent_bytes,
            complete = self.complete,
            "s3 request"
        );
    }
}

/// A response's body.
pub struct Outflow {
    inner: s3s::Body,
    line: AccessLine,
}

impl Outflow {
    pub(super) fn new(inner: s3s::Body, mut line: AccessLine) -> Self {
        // Nobody asks for the body of a HEAD, nor for an empty one.
        line.complete = line.method == Method::HEAD || inner.is_end_stream();
        Self { inner, line }
    }
}

impl std::fmt::Debug for Outflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outflow").field("sent_bytes", &self.line.sent_bytes).finish_non_exhaustive()
    }
}

impl Body for Outflow {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.line.sent_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.line.complete = self.inner.is_end_stream();
            }
            Poll::Ready(None) => self.line.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
