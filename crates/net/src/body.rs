//! Bodies on their way: ours to the peer, and the peer's to us.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowerbird_core::ports::{BoxError, HttpError, HttpFault, StreamBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::limits::broken;
use crate::origin::Origin;
use crate::pool::Sender;

/// The body of a request.
pub(crate) enum OutgoingBody {
    /// At hand.
    Whole(Full<Bytes>),
    /// Comes piece by piece, from a client that may be slow.
    Streamed { body: StreamBody, upload: Arc<Upload> },
}

impl OutgoingBody {
    pub(crate) fn empty() -> Self {
        Self::Whole(Full::default())
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed { body, upload } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                upload.note(frame.is_none() || body.is_end_stream());
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed { body, .. } => body.size_hint(),
        }
    }
}

/// How far a streamed request body has come, so that its sender's slowness is not held against the server.
#[derive(Debug)]
pub(crate) struct Upload {
    started: Instant,
    /// Milliseconds from the start to the last chunk.
    last_chunk: AtomicU64,
    finished: Notify,
}

impl Upload {
    #[expect(clippy::disallowed_methods, reason = "a timer of this adapter, measured by the runtime that runs it")]
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), last_chunk: AtomicU64::new(0), finished: Notify::new() })
    }

    fn note(&self, finished: bool) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_chunk.store(millis, Ordering::Relaxed);
        if finished {
            self.finished.notify_one();
        }
    }

    /// Waits until the last chunk was handed over.
    pub(crate) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// When the last chunk was handed over, the start counting as one.
    pub(crate) fn last_chunk(&self) -> Instant {
        self.started + Duration::from_millis(self.last_chunk.load(Ordering::Relaxed))
    }
}

/// What an answer holds while it lasts: the connection, to be kept for the next request when it ends well.
pub(crate) struct Lease {
    pub(crate) sender: Sender,
    pub(crate) origin: Arc<Origin>,
    pub(crate) keep_for: Duration,
}

impl Lease {
    /// Ends the exchange: all of the answer was read.
    pub(crate) fn end(self) {
        if let Sender::Http1(sender) = self.sender {
            self.origin.pool.keep(sender, self.keep_for);
        }
    }
}

/// The body of an answer that is handed on as it comes. Dropped early, it closes its HTTP/1.1 connection.
pub(crate) struct IncomingBody {
    incoming: Incoming,
    lease: Option<Lease>,
    idle: Duration,
    /// Only made when the peer is slower than we are.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IncomingBody {
    pub(crate) fn new(incoming: Incoming, lease: Lease, idle: Duration) -> Self {
        let mut body = Self { incoming, lease: Some(lease), idle, timer: None, waiting: false };
        body.end_if_done();
        body
    }

    fn end_if_done(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.end();
        }
    }

    /// Watches the pause between two chunks.
    #[expect(clippy::disallowed_methods, reason = "a timer of this adapter, measured by the runtime that runs it")]
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.idle)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + self.idle);
        }
        timer.as_mut().poll(cx)
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Self { incoming, lease, .. } = this;
        let polled = match lease {
            Some(lease) => lease.sender.poll_piece(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)),
            None => Pin::new(incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                this.end_if_done();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(broken(error).into())))
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.end();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.poll_patience(cx));
                this.lease = None;
                Poll::Ready(Some(Err(HttpError::perhaps_sent(HttpFault::Timeout, None).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
