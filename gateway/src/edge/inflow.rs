//! A request's body on its way in: counted, bounded in how long it may say nothing, and drained when nobody wants it. A
//! document is compared with what was declared of it.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use artifactstore_registry::backends::error::{Declared, Error as BytesError, Source};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use super::document::Document;
use super::form_head::FormHead;

/// How much of an unwanted body is read, and for how long, so that the answer arrives. Without this the connection is
/// reset under a client that is still sending, and the client sees the reset instead of the refusal, and tries again.
const DRAIN_BYTES: u64 = 32 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The client sent nothing for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client sent nothing of the body for too long")]
pub(super) struct BodyStalled;

/// How much may come before the file of a form, as in S3.
const FORM_HEAD_MAX_BYTES: u64 = 20 * 1024;

/// What stands before the file of a form is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fields before the file of a form are more than {FORM_HEAD_MAX_BYTES} bytes")]
pub(super) struct FormHeadTooLarge;

/// What is known of a body while it comes, and afterwards.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    bytes: AtomicU64,
    stalled: AtomicBool,
    form_head_too_large: AtomicBool,
    /// The body so far, when it is a document of which something was declared.
    document: Mutex<Option<Box<Document>>>,
    mismatch: Mutex<Option<Declared>>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gauge {
    /// Has the body compared with what was declared of it; to be said before any of it is read.
    pub(super) fn compare(&self, document: Document) {
        *lock(&self.document) = Some(Box::new(document));
    }

    /// What was declared of the document and is not so.
    pub(super) fn mismatch(&self) -> Option<Declared> {
        *lock(&self.mismatch)
    }

    fn hash(&self, bytes: &[u8]) {
        if let Some(document) = lock(&self.document).as_mut() {
            document.update(bytes);
        }
    }

    /// What the body ends with when it is not what was declared of it.
    fn judge(&self) -> Option<Source> {
        let document = lock(&self.document).take()?;
        let declared = document.mismatch()?;
        *lock(&self.mismatch) = Some(declared);
        Some(Box::new(BytesError::DigestMismatch(declared)))
    }

    /// How many bytes came, framing included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the client went quiet.
    pub(super) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Whether it was cut because too much stands before the file of a form.
    pub(super) fn form_head_too_large(&self) -> bool {
        self.form_head_too_large.load(Ordering::Relaxed)
    }
}

/// A body with an idle timeout.
pub(super) struct Inflow<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// Gone once it ended or was given to the drain.
    inner: Option<B>,
    gauge: Arc<Gauge>,
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
    /// Whether the client is being waited for. The clock runs only then: while the store is slow, nobody is late.
    waiting: bool,
    /// Whether reading would ask the client for what it holds back (`Expect: 100-continue`).
    held_back: bool,
    /// Where the beginning of a form is noted, and until when its fields have to be here: nobody has shown a signature
    /// before they are, so that whoever sends them slowly is not waited for again and again.
    form: Option<(FormHead, Instant)>,
    /// Whether no more of it is wanted; what is left is drained.
    cut: bool,
}

impl<B> Inflow<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    pub(super) fn new(inner: B, idle: Duration, held_back: bool) -> (Self, Arc<Gauge>) {
        let gauge = Arc::new(Gauge::default());
        let sleep = Box::pin(tokio::time::sleep(idle));
        let inner = (!inner.is_end_stream()).then_some(inner);
        (
            Self { inner, gauge: Arc::clone(&gauge), idle, sleep, waiting: false, held_back, form: None, cut: false },
            gauge,
        )
    }

    /// Has the beginning noted here, because it is a form, whose fields have to come within this time.
    pub(super) fn note_in(&mut self, form: FormHead, patience: Duration) {
        self.form = Some((form, Instant::now() + patience));
    }

    /// Until when the fields of a form have to be here, as long as they are not.
    fn fields_until(&self) -> Option<Instant> {
        self.form.as_ref().filter(|(form, _)| !form.is_read()).map(|(_, until)| *until)
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Source>>> {
        if !self.waiting {
            self.waiting = true;
            let idle = Instant::now() + self.idle;
            let deadline = self.fields_until().map_or(idle, |until| until.min(idle));
            self.sleep.as_mut().reset(deadline);
        }
        match self.sleep.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.gauge.stalled.store(true, Ordering::Relaxed);
                self.inner = None;
                Poll::Ready(Some(Err(Box::new(BodyStalled))))
            }
        }
    }
}

impl<B> Body for Inflow<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Source>,
{
    type Data = Bytes;
    type Error = Source;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.held_back = false;
        if self.cut {
            return Poll::Ready(None);
        }
        if self.fields_until().is_some() && self.gauge.bytes() > FORM_HEAD_MAX_BYTES {
            self.cut = true;
            self.gauge.form_head_too_large.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(Box::new(FormHeadTooLarge))));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(self.gauge.judge().map(Err)) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Pending => self.wait(cx),
            Poll::Ready(None) => {
                self.inner = None;
                Poll::Ready(self.gauge.judge().map(Err))
            }
            Poll::Ready(Some(Err(error))) => {
                self.inner = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.gauge.bytes.fetch_add(bytes, Ordering::Relaxed);
                if let (Some((form, _)), Some(data)) = (&self.form, frame.data_ref()) {
                    form.note(data);
                }
                if let Some(data) = frame.data_ref() {
                    self.gauge.hash(data);
                }
                if self.inner.as_ref().is_some_and(Body::is_end_stream) {
                    self.inner = None;
                    // Nobody has to ask on behind the last of the bytes.
                    if let Some(error) = self.gauge.judge() {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none() || self.cut
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for Inflow<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let unwanted = self.inner.take().filter(|_| !self.held_back);
        if let (Some(inner), Ok(runtime)) = (unwanted, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(DRAIN_TIME, drain(inner)));
        }
    }
}

async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use http_body_util::StreamBody;

    const IDLE: Duration = Duration::from_millis(200);

    type Frames = futures::stream::BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>;

    fn frame(text: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn body(frames: Frames) -> (Inflow<StreamBody<Frames>>, Arc<Gauge>) {
        Inflow::new(StreamBody::new(frames), IDLE, false)
    }

    #[tokio::test]
    async fn a_client_that_goes_quiet_ends_its_body() {
        let frames = futures::stream::iter([frame("ab")]).chain(futures::stream::pending()).boxed();
        let (mut inflow, gauge) = body(frames);
        assert!(inflow.frame().await.unwrap().is_ok());
        let error = inflow.frame().await.unwrap().unwrap_err();
        assert!(error.is::<BodyStalled>());
        assert!(inflow.frame().await.is_none());
        assert_eq!((gauge.bytes(), gauge.stalled()), (2, true));
    }

    #[tokio::test]
    async fn a_document_that_is_not_what_was_declared_of_it_never_ends_well() {
        let of_nothing: http::HeaderMap = [(
            http::HeaderName::from_static("content-md5"),
            http::HeaderValue::from_static("1B2M2Y8AsgTpgAmY7PhCfg=="),
        )]
        .into_iter()
        .collect();
        let document = || Document::declared("DeleteObjects", &http::Method::POST, &of_nothing).unwrap().unwrap();
        let streams = |frames: Vec<Result<Frame<Bytes>, std::io::Error>>| body(futures::stream::iter(frames).boxed());

        let (mut inflow, gauge) = streams(vec![]);
        gauge.compare(document());
        assert!(inflow.frame().await.is_none() && gauge.mismatch().is_none());

        let (mut inflow, gauge) = streams(vec![frame("a"), frame("b")]);
        gauge.compare(document());
        assert!(inflow.frame().await.unwrap().is_ok() && inflow.frame().await.unwrap().is_ok());
        assert!(inflow.frame().await.unwrap().is_err());
        assert!(inflow.frame().await.is_none() && gauge.mismatch() == Some(Declared::Md5));

        // Nobody has to ask on when a body says with its last bytes that it is at its end.
        for (bytes, fits) in [("ab", false), ("", true)] {
            let (mut inflow, gauge) = Inflow::new(http_body_util::Full::new(Bytes::from(bytes)), IDLE, false);
            gauge.compare(document());
            assert_eq!(inflow.frame().await.is_none(), fits, "{bytes:?}");
            assert_eq!(gauge.mismatch().is_none(), fits, "{bytes:?}");
            assert!(inflow.is_end_stream());
        }
    }

    #[tokio::test]
    async fn the_fields_of_a_form_are_waited_for_only_once_and_are_not_large() {
        let trickle = || {
            futures::stream::repeat_with(|| ()).then(|()| async {
                tokio::time::sleep(IDLE / 4).await;
                frame("a")
            })
        };
        let (mut inflow, gauge) = body(trickle().boxed());
        let form = FormHead::new();
        inflow.note_in(form.clone(), IDLE);
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = inflow.frame().await.unwrap() {
                break error;
            }
            assert!(begun.elapsed() < IDLE * 4, "it is waited for again and again");
        };
        assert!(error.is::<BodyStalled>() && gauge.stalled());

        let (mut inflow, _) = body(trickle().take(8).boxed());
        inflow.note_in(form.clone(), IDLE);
        form.set_read();
        for _ in 0..8 {
            assert!(inflow.frame().await.unwrap().is_ok(), "the file may take longer than the fields");
        }

        let text: &'static str =
            Box::leak("x".repeat(usize::try_from(FORM_HEAD_MAX_BYTES).unwrap() + 1).into_boxed_str());
        let (mut inflow, gauge) = body(futures::stream::iter([frame(text), frame(text)]).boxed());
        inflow.note_in(FormHead::new(), IDLE);
        assert!(inflow.frame().await.unwrap().is_ok());
        assert!(inflow.frame().await.unwrap().unwrap_err().is::<FormHeadTooLarge>());
        assert!(inflow.frame().await.is_none() && gauge.form_head_too_large());
    }

    #[tokio::test]
    async fn only_the_client_can_be_late() {
        let slow = |text| async move {
            tokio::time::sleep(IDLE / 2).await;
            frame(text)
        };
        let frames = futures::stream::iter(["a", "b", "c"]).then(slow).boxed();
        let (mut inflow, gauge) = body(frames);
        for _ in 0..3 {
            // The store takes its time between reads.
            tokio::time::sleep(IDLE * 2).await;
            assert!(inflow.frame().await.unwrap().is_ok());
        }
        assert!(inflow.frame().await.is_none());
        assert_eq!((gauge.bytes(), gauge.stalled()), (3, false));
    }

    #[tokio::test]
    async fn an_unwanted_body_is_drained_unless_the_client_holds_it_back() {
        for (held_back, expected) in [(false, 2), (true, 0)] {
            let read = Arc::new(AtomicU64::new(0));
            let count = Arc::clone(&read);
            let frames: Frames = futures::stream::iter([frame("ab"), frame("cd")])
                .inspect(move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                })
                .boxed();
            drop(Inflow::new(StreamBody::new(frames), IDLE, held_back));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(read.load(Ordering::Relaxed), expected);
        }
    }
}
