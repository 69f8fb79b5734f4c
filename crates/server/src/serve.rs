//! Serving connections within limits: slow, endless and oversized clients cost little (security row 80).

mod crew;
mod head_timer;
mod heads;
mod idle_body;
mod inspected;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::Service as _;

pub use self::crew::Crew;
use self::head_timer::HeadTimer;
use self::idle_body::IdleBody;
pub(crate) use self::inspected::is_unclear;
use self::inspected::{Inspected, Witness};

/// What a client may take.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// From the first byte of a connection, or the end of the last answer, to the end of the next head.
    pub header_read: Duration,
    /// Between two pieces of a request's body.
    pub body_idle: Duration,
    /// The largest head, in bytes; more is answered 431.
    pub header_bytes: usize,
    /// The number of header fields; more is answered 431.
    pub headers: usize,
    /// Connections at once; further ones wait in the listener's queue.
    pub connections: usize,
    /// How long a stop waits for answers that are under way.
    pub shutdown: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            headers: 100,
            connections: 10_000,
            shutdown: Duration::from_secs(10),
        }
    }
}

/// Serves on the threads of a crew until `shutdown` resolves; then lets answers under way end. Errors of single
/// connections are nobody's; an error of the listener itself is returned.
pub async fn serve(
    crew: &Crew,
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut shutdown = pin!(shutdown);
    loop {
        let place = tokio::select! {
            biased;
            () = &mut shutdown => break,
            place = Arc::clone(&places).acquire_owned() => place.map_err(io::Error::other)?,
        };
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_the_clients(&error) => continue,
                Err(error) => {
                    // Out of file descriptors, most likely: others may be closed in a moment.
                    tracing::error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        // Small answers must not wait for the acknowledgement of the last one.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        // Unbound from this thread here, and bound to its own there.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%peer, %error, "a connection could not be handed over");
                continue;
            }
        };
        let (router, limits) = (router.clone(), limits.clone());
        let watcher = graceful.watcher();
        crew.receive(Box::new(move || {
            Box::pin(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => Visitor { stream, peer, router, limits }.serve(watcher).await,
                    Err(error) => tracing::debug!(%peer, %error, "a connection could not be taken over"),
                }
                drop(place);
            })
        }));
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown, graceful.shutdown()).await.is_err() {
        tracing::warn!("some answers were still under way when the server stopped");
    }
    Ok(())
}

/// One connection.
struct Visitor {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ServeLimits,
}

impl Visitor {
    async fn serve(self, watcher: Watcher) {
        let Self { stream, peer, router, limits } = self;
        let spoke = Arc::new(AtomicBool::new(false));
        let has_spoken = Arc::clone(&spoke);
        let witness = Witness::default();
        let stream = Inspected::new(stream, witness.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            has_spoken.store(true, Ordering::Relaxed);
            answer(&router, request, peer, limits.body_idle, &witness)
        });
        let server = builder(&limits);
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let mut connection = pin!(watcher.watch(connection));
        // The limit on heads begins to run once it is known whether they are those of HTTP/1 or 2: a client that says
        // nothing at all is not caught by it.
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = tokio::time::sleep(limits.header_read) => {
                if !spoke.load(Ordering::Relaxed) {
                    return;
                }
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

fn answer(
    router: &Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    idle: Duration,
    witness: &Witness,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(ConnectInfo(peer));
    let last = witness.question(&head.headers, &mut head.extensions);
    let body = if body.is_end_stream() { Body::empty() } else { Body::new(IdleBody::new(body, idle)) };
    let answering = router.clone().call(Request::from_parts(head, body));
    async move {
        let mut response = answering.await?;
        if last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// For one connection, since it has a timer of its own.
fn builder(limits: &ServeLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(HeadTimer::default())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes)
        .max_headers(limits.headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(128)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// Whether only the one connection is affected.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests;
