//! The HTTP/1.1 server under every fault server: records, applies the script, and puts on the wire what it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::ledger::Ledger;
use super::misbehave::{Misbehave, Script};
use super::network_clock::NetworkClock;
use super::rate_limit::{Limiter, Load, RateLimit};
use super::raw_stream::{RawStream, WireOrder};
use super::reply::{Reply, ReplyBody};
use super::request_log::{RecordedRequest, RequestLog};
use crate::threads::{fixtures, listen, random_hex};

/// The largest body that is kept; longer ones are cut in the record.
const KEPT_BODY: usize = 4 * 1024 * 1024;

/// The fast path of benchmarks: no proof is checked, nothing is recorded.
pub(crate) const FAST_PATH: &str = "/xrpc/app.example.fast";

/// What a server does when it behaves.
#[async_trait]
pub(crate) trait Site: Send + Sync + 'static {
    /// Answers a request. `upload` holds the body where [`Site::takes_upload`] said so, else it is in the request.
    async fn answer(&self, request: &RecordedRequest, upload: Option<Incoming>) -> Reply;

    /// Whether the body of a path is handed over as a stream.
    fn takes_upload(&self, _path: &str) -> bool {
        false
    }
}

/// One origin `http://localhost:PORT` of a [`super::FaultNetwork`]; cheap to clone.
#[derive(Clone)]
pub struct FaultServer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    origin: String,
    log: RequestLog,
    script: Script,
    limiter: Limiter,
    ledger: Ledger,
    clock: NetworkClock,
    site: Mutex<Option<Arc<dyn Site>>>,
    stop: Mutex<watch::Sender<bool>>,
    connections: AtomicU64,
}

impl FaultServer {
    /// Listens on a free port. Answers 404 until a site is installed: a site needs to know its origin first.
    pub(crate) fn start(ledger: &Ledger, clock: &NetworkClock) -> Self {
        let (listener, address) = listen(0);
        let (stop, stopped) = watch::channel(false);
        let server = Self(Arc::new(Inner {
            address,
            origin: format!("http://localhost:{}", address.port()),
            log: RequestLog::default(),
            script: Script::default(),
            limiter: Limiter::default(),
            ledger: ledger.clone(),
            clock: clock.clone(),
            site: Mutex::new(None),
            stop: Mutex::new(stop),
            connections: AtomicU64::new(0),
        }));
        fixtures().spawn(accept(listener, server.clone(), stopped));
        server
    }

    pub(crate) fn install(&self, site: Arc<dyn Site>) {
        *self.0.site.lock() = Some(site);
    }

    /// The origin, `http://localhost:PORT`.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.origin)
    }

    /// `localhost:PORT`, as the egress allowlist wants it.
    pub fn host_and_port(&self) -> String {
        format!("localhost:{}", self.0.address.port())
    }

    /// The socket address.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Every request so far.
    pub fn log(&self) -> &RequestLog {
        &self.0.log
    }

    /// How many requests a path got.
    pub fn count(&self, path: &str) -> usize {
        self.0.log.count(path)
    }

    /// How many TCP connections were accepted.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// Lays a rule on a path for every request from now on. See [`super::endpoint`].
    pub fn misbehave(&self, path: &str, what: Misbehave) {
        self.0.script.add(path, None, what);
    }

    /// Lays a rule on a path for the next `times` requests.
    pub fn misbehave_times(&self, path: &str, times: u32, what: Misbehave) {
        self.0.script.add(path, Some(times), what);
    }

    /// Takes the rules of a path away.
    pub fn behave_at(&self, path: &str) {
        self.0.script.clear(Some(path));
    }

    /// Takes all rules away.
    pub fn behave(&self) {
        self.0.script.clear(None);
    }

    /// Answers 429 from now on to whatever goes beyond this.
    pub fn limit(&self, limit: RateLimit) {
        self.0.limiter.set(limit);
    }

    /// What came since the limit was set.
    pub fn load(&self) -> Load {
        self.0.limiter.load()
    }

    /// Closes the port and every connection: the server is down. What it knows stays.
    pub fn go_down(&self) {
        self.0.stop.lock().send_replace(true);
    }

    /// Listens on the same port again.
    pub async fn come_back(&self) {
        let (stop, stopped) = watch::channel(false);
        *self.0.stop.lock() = stop;
        for _ in 0..100 {
            // The old listener closes on another thread: wait for the port.
            if std::net::TcpListener::bind(self.0.address).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (listener, _) = listen(self.0.address.port());
        fixtures().spawn(accept(listener, self.clone(), stopped));
    }

    async fn record(&self, request: Request<Incoming>) -> (RecordedRequest, Option<Incoming>) {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        // An absolute-form target is kept whole, so that a test sees that it was sent.
        let target = if head.uri.scheme().is_some() { head.uri.to_string() } else { target };
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut recorded = RecordedRequest {
            at_millis: self.0.clock.now_millis(),
            origin: self.0.origin.clone(),
            method: head.method.to_string(),
            target,
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: Bytes::new(),
        };
        let site = self.0.site.lock().clone();
        let upload = if site.is_some_and(|site| site.takes_upload(recorded.path())) {
            Some(body)
        } else {
            recorded.body = read_body(body).await;
            None
        };
        self.0.ledger.sight(&recorded);
        self.0.log.push(recorded.clone());
        (recorded, upload)
    }

    /// What goes on the wire for a request, its effects included.
    async fn exchange(self, recorded: RecordedRequest, upload: Option<Incoming>) -> Wire {
        // Held until the answer is made, which the client has not seen by then.
        let _pass = match self.0.limiter.enter(self.0.clock.now_millis()) {
            Ok(pass) => pass,
            Err(refusal) => return Wire::Answer(refusal),
        };
        let mut rules = self.0.script.take(recorded.path()).into_iter().peekable();
        let mut later = Vec::new();
        for rule in rules.by_ref() {
            match rule {
                Misbehave::Instead(reply) => return Wire::Answer(reply),
                Misbehave::InsteadRaw(bytes) => return Wire::Raw(bytes),
                Misbehave::ResetBefore => return Wire::Reset,
                Misbehave::HangBefore => return Wire::Hang,
                Misbehave::ChallengeNonce => return Wire::Answer(nonce_challenge(recorded.path())),
                Misbehave::DelayBefore(time) => tokio::time::sleep(time).await,
                after => later.push(after),
            }
        }
        let site = self.0.site.lock().clone();
        let mut reply = match site {
            Some(site) => site.answer(&recorded, upload).await,
            None => Reply::empty(404),
        };
        for rule in later {
            match rule {
                Misbehave::After(other) => reply = other,
                Misbehave::AfterRaw(bytes) => return Wire::Raw(bytes),
                Misbehave::ResetAfter => return Wire::Reset,
                Misbehave::HangAfter => return Wire::Hang,
                Misbehave::DelayAfter(time) => tokio::time::sleep(time).await,
                Misbehave::Rewrite(rewrite) => reply = rewrite(&recorded, reply),
                _ => unreachable!("sorted out above"),
            }
        }
        Wire::Answer(reply)
    }
}

impl std::fmt::Debug for FaultServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaultServer({})", self.0.origin)
    }
}

enum Wire {
    Answer(Reply),
    Raw(Bytes),
    Reset,
    Hang,
}

async fn accept(listener: TcpListener, server: FaultServer, mut stopped: watch::Receiver<bool>) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = stream else { continue };
        server.0.connections.fetch_add(1, Ordering::Relaxed);
        let _ignored_on_purpose = stream.set_nodelay(true);
        let (server, mut stopped) = (server.clone(), stopped.clone());
        fixtures().spawn(async move {
            let order = WireOrder::default();
            let io = TokioIo::new(RawStream::new(stream, order.clone()));
            let service = service_fn(|request| serve(server.clone(), order.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::select! {
                _ended = connection => {}
                _ = stopped.changed() => {}
            }
        });
    }
}

type WireBody = UnsyncBoxBody<Bytes, std::io::Error>;

async fn serve(
    server: FaultServer,
    order: WireOrder,
    request: Request<Incoming>,
) -> Result<Response<WireBody>, Infallible> {
    if request.uri().path() == FAST_PATH {
        return Ok(fast_answer());
    }
    let (recorded, upload) = server.record(request).await;
    // On a task of its own: the real servers finish what they began even when the client is gone.
    let exchange = fixtures().spawn(server.clone().exchange(recorded, upload));
    let wire = exchange.await.unwrap_or_else(|error| panic!("a fault server failed: {error}"));
    let reply = match wire {
        Wire::Answer(reply) => match server.0.clock.said_date() {
            Some(date) if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) => {
                reply.with("Date", &date)
            }
            _ => reply,
        },
        Wire::Raw(bytes) => {
            order.send_raw(bytes);
            Reply::empty(200).with("Connection", "close")
        }
        Wire::Reset => {
            order.reset();
            Reply::empty(200)
        }
        Wire::Hang => std::future::pending().await,
    };
    Ok(on_the_wire(reply, &order))
}

fn fast_answer() -> Response<WireBody> {
    let body = Full::new(Bytes::from_static(br#"{"ok":true}"#)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Builds the response; one that HTTP does not allow is written byte for byte.
fn on_the_wire(reply: Reply, order: &WireOrder) -> Response<WireBody> {
    let header = |(name, value): &(String, Vec<u8>)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let headers: Option<Vec<_>> = reply.headers.iter().map(header).collect();
    let allowed = matches!(http::StatusCode::from_u16(reply.status), Ok(status) if status.as_u16() >= 200);
    let (Some(headers), true, false) = (headers, allowed, matches!(reply.body, ReplyBody::Cut { .. })) else {
        order.send_raw(raw_bytes(&reply));
        return on_the_wire(Reply::empty(200).with("Connection", "close"), order);
    };
    let mut response = Response::new(wire_body(reply.body));
    *response.status_mut() = http::StatusCode::from_u16(reply.status).expect("checked above");
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}

fn wire_body(body: ReplyBody) -> WireBody {
    match body {
        ReplyBody::Full(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        ReplyBody::Drip { bytes, piece, every } => {
            let pieces = stream::unfold(bytes, move |mut rest| async move {
                if rest.is_empty() {
                    return None;
                }
                tokio::time::sleep(every).await;
                let now = rest.split_to(piece.clamp(1, rest.len()));
                Some((Ok(Frame::data(now)), rest))
            });
            StreamBody::new(pieces).boxed_unsync()
        }
        ReplyBody::Repeat { piece, times } => {
            let pieces = stream::unfold((piece, times), |(piece, left)| async move {
                (left > 0).then(|| (Ok(Frame::data(piece.clone())), (piece, left - 1)))
            });
            StreamBody::new(pieces).boxed_unsync()
        }
        ReplyBody::Cut { .. } => unreachable!("written raw"),
    }
}

fn raw_bytes(reply: &Reply) -> Bytes {
    let (body, announced) = match &reply.body {
        ReplyBody::Full(bytes) => (bytes.clone(), bytes.len()),
        ReplyBody::Cut { bytes, announced } => (bytes.clone(), *announced),
        ReplyBody::Drip { .. } | ReplyBody::Repeat { .. } => panic!("a raw answer needs its whole body"),
    };
    let mut out = BytesMut::from(
        format!("HTTP/1.1 {} Scripted\r\nContent-Length: {announced}\r\nConnection: close\r\n", reply.status)
            .as_bytes(),
    );
    for (name, value) in &reply.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
    out.freeze()
}

fn nonce_challenge(path: &str) -> Reply {
    let nonce = random_hex::<16>();
    let reply = if path.starts_with("/xrpc/") {
        super::oauth_answers::resource_nonce_challenge("Resource server requires nonce in DPoP proof")
    } else {
        super::oauth_answers::issuer_nonce_challenge("Authorization server requires nonce in DPoP proof")
    };
    reply.with_only("DPoP-Nonce", nonce)
}

async fn read_body(mut body: Incoming) -> Bytes {
    let mut kept = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(piece) = frame.data_ref() {
            let room = KEPT_BODY - kept.len();
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
    kept.freeze()
}
