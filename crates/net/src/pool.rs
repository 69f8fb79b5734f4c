//! Open connections of one origin, waiting for their next request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bowerbird_core::ports::Clock;
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::bell::Bell;
use crate::body::OutgoingBody;
use crate::patience::Patience;

/// How long an idle connection is kept. Shorter than most servers', so that we rarely meet one that is closing.
pub(crate) const KEEP_IDLE: Duration = Duration::from_secs(30);
/// Idle HTTP/1.1 connections of one origin, and of all.
const IDLE_PER_ORIGIN: usize = 256;
const IDLE_IN_ALL: usize = 1024;
/// A connection whose last answer has ended is ready at once; one that is not is still sending, and of no use.
const SETTLE: Duration = Duration::from_millis(50);

/// What moves the bytes of an HTTP/1.1 connection; ends when the connection does.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An HTTP/1.1 connection.
///
/// It is driven by whoever waits for its answer, as a part of the same task, for as long as it has its driver: a call
/// that is passed on then costs no hand-over between tasks, which is most of what a small call costs. Between two
/// requests nobody drives it, and nothing needs to: a peer that closes it meanwhile is noticed when it is taken.
pub(crate) struct Http1 {
    sender: http1::SendRequest<OutgoingBody>,
    driver: Option<Driver>,
    bell: Bell,
    patience: Patience,
    /// The thread that opened it, whose runtime hears from its socket.
    home: ThreadId,
}

impl Http1 {
    pub(crate) fn new(sender: http1::SendRequest<OutgoingBody>, driver: Driver) -> Self {
        let (bell, patience) = (Bell::new(), Patience::default());
        Self { sender, driver: Some(driver), bell, patience, home: thread::current().id() }
    }

    /// Lets a task of its own drive the connection from now on: for answers that are read without looking at the
    /// connection.
    fn detach(&mut self) {
        if let Some(driver) = self.driver.take() {
            tokio::spawn(driver);
        }
    }

    /// Whether it takes a request. Driven once first: that is how a closing by the peer comes to light.
    async fn is_usable(&mut self) -> bool {
        // Nearly all are ready at once; only the others need a timer.
        match poll_fn(|cx| Poll::Ready(self.poll_usable(cx))).await {
            Poll::Ready(usable) => usable,
            Poll::Pending => Box::pin(timeout(SETTLE, poll_fn(|cx| self.poll_usable(cx)))).await.unwrap_or(false),
        }
    }

    fn poll_usable(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Self { sender, driver, bell, .. } = self;
        attend(bell, driver, cx, |cx| sender.poll_ready(cx).map(|ready| ready.is_ok()))
    }

    async fn send(
        &mut self,
        request: Request<OutgoingBody>,
        until: Option<Instant>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let Self { sender, driver, bell, patience, .. } = self;
        let mut answer = pin!(bell.attended(|| sender.try_send_request(request)));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = attend(bell, driver, cx, |cx| answer.as_mut().poll(cx)) {
                return Poll::Ready(answer.map_err(Unanswered::from));
            }
            match until {
                Some(until) => patience.poll(cx, until).map(|()| Err(Unanswered::TooLate)),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// Drives a connection, if that is this task's business, and then looks for what is wanted of it.
fn attend<T>(
    bell: &Bell,
    driver: &mut Option<Driver>,
    cx: &mut Context<'_>,
    mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    if driver.is_none() {
        return wanted(cx);
    }
    bell.attend(cx, |cx| {
        drive(driver, cx);
        wanted(cx)
    })
}

fn drive(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

/// The sending end of a connection.
pub(crate) enum Sender {
    Http1(Http1),
    Http2(http2::SendRequest<OutgoingBody>),
}

impl Sender {
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Sends a request, and waits for the head of its answer until a deadline if there is one.
    pub(crate) async fn send(
        &mut self,
        request: Request<OutgoingBody>,
        until: Option<Instant>,
    ) -> Result<Response<Incoming>, Unanswered> {
        match self {
            Self::Http1(connection) => connection.send(request, until).await,
            Self::Http2(sender) => {
                let answer = sender.try_send_request(request);
                match until {
                    Some(until) => Box::pin(timeout_at(until, answer)).await.map_err(|_| Unanswered::TooLate)?,
                    None => answer.await,
                }
                .map_err(Unanswered::from)
            }
        }
    }

    /// Looks for a piece of an answer, and drives the connection if that does not have it; HTTP/2 connections always
    /// have a task of their own.
    pub(crate) fn poll_piece<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut piece: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self {
            Self::Http1(Http1 { driver: driver @ Some(_), bell, .. }) => bell.attend(cx, |cx| {
                // Asked first, so that the connection knows that more is wanted; then it may bring it at once.
                let polled = piece(cx);
                if polled.is_ready() {
                    return polled;
                }
                drive(driver, cx);
                piece(cx)
            }),
            Self::Http1(_) | Self::Http2(_) => piece(cx),
        }
    }

    /// See [`Http1::detach`].
    pub(crate) fn detach(&mut self) {
        if let Self::Http1(connection) = self {
            connection.detach();
        }
    }

    async fn is_usable(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_usable().await,
            Self::Http2(sender) => sender.is_ready(),
        }
    }
}

/// A request without an answer.
pub(crate) enum Unanswered {
    /// The connection failed before any of it was written; here it is again.
    Unsent(Box<Request<OutgoingBody>>, hyper::Error),
    /// The connection failed later.
    Broken(hyper::Error),
    /// The deadline passed.
    TooLate,
}

impl From<TrySendError<Request<OutgoingBody>>> for Unanswered {
    fn from(mut error: TrySendError<Request<OutgoingBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), error.into_error()),
            None => Self::Broken(error.into_error()),
        }
    }
}

/// What all pools share.
pub(crate) struct PoolContext {
    pub(crate) clock: Arc<dyn Clock>,
    idle: AtomicUsize,
}

impl PoolContext {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, idle: AtomicUsize::new(0) })
    }
}

/// The open connections of one origin.
pub(crate) struct Pool {
    context: Arc<PoolContext>,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<Shared>>,
}

/// An HTTP/1.1 connection between two requests.
struct Idle {
    connection: Http1,
    until: Duration,
}

/// An HTTP/2 connection, which takes any number of requests at once.
struct Shared {
    sender: http2::SendRequest<OutgoingBody>,
    until: Duration,
}

impl Pool {
    pub(crate) fn new(context: Arc<PoolContext>) -> Self {
        Self { context, idle: Mutex::default(), shared: Mutex::default() }
    }

    /// Takes a connection that is ready: the one used last, since it is the likeliest to be alive.
    pub(crate) async fn take(&self) -> Option<Sender> {
        while let Some(mut sender) = self.next() {
            if sender.is_usable().await {
                return Some(sender);
            }
        }
        None
    }

    fn next(&self) -> Option<Sender> {
        let now = self.context.clock.monotonic();
        if let Some(shared) = &mut *self.shared.lock()
            && !shared.sender.is_closed()
            && shared.until > now
        {
            shared.until = now + KEEP_IDLE;
            return Some(Sender::Http2(shared.sender.clone()));
        }
        let here = thread::current().id();
        let mut idle = self.idle.lock();
        loop {
            // One that was opened on this thread, if there is one: its socket wakes this thread and no other.
            let last = match idle.iter().rposition(|idle| idle.connection.home == here) {
                Some(at) => Some(idle.remove(at)),
                None => idle.pop(),
            }?;
            self.context.idle.fetch_sub(1, Ordering::Relaxed);
            if last.until > now && !last.connection.sender.is_closed() {
                return Some(Sender::Http1(last.connection));
            }
        }
    }

    /// Offers a fresh HTTP/2 connection to all requests of the origin.
    pub(crate) fn share(&self, sender: &http2::SendRequest<OutgoingBody>) {
        let until = self.context.clock.monotonic() + KEEP_IDLE;
        *self.shared.lock() = Some(Shared { sender: sender.clone(), until });
    }

    /// Keeps an HTTP/1.1 connection whose answer has ended, for a time.
    pub(crate) fn keep(&self, connection: Http1, keep_for: Duration) {
        if keep_for.is_zero() || connection.sender.is_closed() {
            return;
        }
        let until = self.context.clock.monotonic() + keep_for;
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_PER_ORIGIN && self.context.idle.load(Ordering::Relaxed) < IDLE_IN_ALL {
            self.context.idle.fetch_add(1, Ordering::Relaxed);
            idle.push(Idle { connection, until });
        }
    }

    /// Closes what is over its time or closed by the peer.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut idle = self.idle.lock();
        let before = idle.len();
        idle.retain(|idle| idle.until > now && !idle.connection.sender.is_closed());
        self.context.idle.fetch_sub(before - idle.len(), Ordering::Relaxed);
        drop(idle);
        let mut shared = self.shared.lock();
        if shared.as_ref().is_some_and(|shared| shared.until <= now || shared.sender.is_closed()) {
            *shared = None;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.context.idle.fetch_sub(self.idle.get_mut().len(), Ordering::Relaxed);
    }
}

/// How long a connection may be kept after this answer. Servers that announce when they will close get their way a
/// second early, since a request that crosses the closing is lost.
pub(crate) fn keep_for(headers: &HeaderMap) -> Duration {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let Some(announced) = headers.get(KEEP_ALIVE).and_then(|value| value.to_str().ok()) else {
        return KEEP_IDLE;
    };
    let timeout = announced.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="));
    match timeout.and_then(|seconds| seconds.trim().parse::<u64>().ok()) {
        Some(seconds) => KEEP_IDLE.min(Duration::from_secs(seconds.saturating_sub(1))),
        None => KEEP_IDLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_given_up_before_the_server_closes_it() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", http::HeaderValue::from_static(value));
            keep_for(&headers)
        };
        assert_eq!(keep_for(&HeaderMap::new()), KEEP_IDLE);
        assert_eq!(with("timeout=5"), Duration::from_secs(4));
        assert_eq!(with("max=100, timeout=2"), Duration::from_secs(1));
        assert_eq!(with("timeout=0"), Duration::ZERO);
        assert_eq!(with("timeout=9999"), KEEP_IDLE);
        assert_eq!(with("timeout=soon"), KEEP_IDLE);
    }
}
