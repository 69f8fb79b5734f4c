//! Sending requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bowerbird_core::ports::{Clock, Dns, DnsError, HttpClient, HttpError, HttpFault, Purpose, Sent, StreamBody};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HOST, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::allowlist::Allowlist;
use crate::body::{IncomingBody, Lease, OutgoingBody, Upload};
use crate::connector::Connector;
use crate::limits::{Limits, broken, check_head, collect};
use crate::origin::{Origin, Origins};
use crate::pool::{PoolContext, Sender, Unanswered, keep_for};
use crate::resolver::Resolver;
use crate::{NetConfig, NetError, span, tls};

/// The way out of this server: implements [`HttpClient`] and [`Dns`].
pub struct NetClient {
    origins: Arc<Origins>,
    connector: Connector,
    limits: Limits,
    user_agent: HeaderValue,
    sweeping: AtomicBool,
}

impl NetClient {
    /// Makes a client. It needs no runtime until it sends.
    pub fn new(config: NetConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, NetError> {
        let resolver = Resolver::new(&config, Vec::new())?;
        Self::assemble(config, clock, resolver, Limits::documented())
    }

    /// Makes a client with switches that only tests may use.
    #[cfg(feature = "testing")]
    pub fn for_tests(
        config: NetConfig,
        clock: Arc<dyn Clock>,
        switches: crate::TestSwitches,
    ) -> Result<Arc<Self>, NetError> {
        let resolver = Resolver::new(&config, switches.public_addresses)?;
        Self::assemble(config, clock, resolver, Limits::divided_by(switches.deadline_divisor))
    }

    fn assemble(
        config: NetConfig,
        clock: Arc<dyn Clock>,
        resolver: Resolver,
        limits: Limits,
    ) -> Result<Arc<Self>, NetError> {
        let connector = Connector::new(resolver, tls::connector(&config)?, limits);
        let user_agent = HeaderValue::from_str(&config.user_agent).map_err(NetError::UserAgent)?;
        let origins = Arc::new(Origins::new(Allowlist::new(config.egress_allow), PoolContext::new(clock)));
        Ok(Arc::new(Self { origins, connector, limits, user_agent, sweeping: AtomicBool::new(false) }))
    }

    /// When a request of this purpose that begins now must have the head of its answer.
    #[expect(clippy::disallowed_methods, reason = "a deadline of this adapter, measured by the runtime that runs it")]
    fn in_time(&self, purpose: Purpose) -> Instant {
        Instant::now() + self.limits.deadline(purpose)
    }

    /// Adds what every request has.
    fn dress(&self, request: &mut Request<OutgoingBody>, purpose: Purpose) {
        *request.version_mut() = Version::HTTP_11;
        // What a server in front of us noted about the request is nothing to the protocol below.
        request.extensions_mut().clear();
        let headers = request.headers_mut();
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, self.user_agent.clone());
        }
        if purpose != Purpose::Api {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }

    /// Sends a request until the head of its answer, or until a deadline. `sent` is kept true to what has happened at
    /// every await, so that a deadline of the caller's may end this anywhere.
    ///
    /// Here and in [`Self::stream`], what is rare is boxed: a call that is passed on pays for the size of its future.
    async fn exchange(
        &self,
        origin: &Arc<Origin>,
        mut request: Request<OutgoingBody>,
        purpose: Purpose,
        reading: Reading,
        until: Option<Instant>,
        sent: &mut Sent,
    ) -> Result<(Response<Incoming>, Lease), HttpError> {
        self.dress(&mut request, purpose);
        if purpose.may_reuse_connection() {
            while let Some(sender) = origin.pool.take().await {
                let again = repeatable(&request);
                match attempt(origin, sender, request, reading, until, sent).await {
                    Ok(answer) => return Ok(answer),
                    // It never left: the next connection is its first.
                    Err(Lost::Unsent(unsent, _)) => request = *unsent,
                    Err(Lost::Perhaps(error)) => match again {
                        // A kept connection that dies under a request was most likely closed by a server that was
                        // tired of it. Asking once more is harmless where asking changes nothing.
                        Some(again) if error.fault == HttpFault::Broken => {
                            request = again;
                            break;
                        }
                        _ => return Err(error),
                    },
                }
            }
        }
        let sender = Box::pin(self.connect(origin, until)).await.map_err(|error| HttpError { sent: *sent, ..error })?;
        if keeps_connection(purpose) {
            self.start_sweeping();
            if let Sender::Http2(sender) = &sender {
                origin.pool.share(sender);
            }
        }
        attempt(origin, sender, request, reading, until, sent).await.map_err(|lost| match lost {
            Lost::Unsent(_, error) => HttpError { sent: *sent, fault: HttpFault::Connect, source: Some(error.into()) },
            Lost::Perhaps(error) => error,
        })
    }

    async fn connect(&self, origin: &Origin, until: Option<Instant>) -> Result<Sender, HttpError> {
        let connecting = self.connector.connect(origin);
        match until {
            Some(until) => timeout_at(until, connecting).await.unwrap_or_else(|_| Err(too_late(Sent::No))),
            None => connecting.await,
        }
    }

    async fn send_within_limits(
        &self,
        origin: &Arc<Origin>,
        request: Request<OutgoingBody>,
        purpose: Purpose,
        sent: &mut Sent,
    ) -> Result<Response<Bytes>, HttpError> {
        let exchange = self.exchange(origin, request, purpose, Reading::Collected, None, sent);
        let head = timeout(self.limits.deadline(purpose), exchange).await;
        let (answer, lease) = head.unwrap_or_else(|_| Err(too_late(*sent)))?;
        let (head, body) = answer.into_parts();
        check_head(&head, purpose)?;
        let body = collect(&head, body, purpose.body_limit()).await?;
        if keeps_connection(purpose) {
            lease.end();
        }
        Ok(Response::from_parts(head, body))
    }

    /// Waits for the head of an answer while the body of the request is still under way.
    async fn upload(
        &self,
        origin: &Arc<Origin>,
        request: Request<StreamBody>,
        sent: &mut Sent,
    ) -> Result<(Response<Incoming>, Lease), HttpError> {
        let upload = Upload::start();
        let request = request.map(|body| OutgoingBody::Streamed { body, upload: Arc::clone(&upload) });
        let idle = self.limits.idle();
        let mut exchange = std::pin::pin!(self.exchange(origin, request, Purpose::Api, Reading::HandedOn, None, sent));
        let mut timer = std::pin::pin!(sleep(idle));
        let mut finished = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut exchange => return outcome,
                () = upload.finished(), if !finished => {
                    finished = true;
                    timer.set(sleep(self.limits.deadline(Purpose::Api)));
                }
                () = &mut timer => {
                    let patience = upload.last_chunk() + idle;
                    if finished || patience <= timer.deadline() {
                        break;
                    }
                    timer.as_mut().reset(patience);
                }
            }
        }
        Err(HttpError::perhaps_sent(HttpFault::Timeout, None))
    }

    /// Starts the task that closes idle connections, once there is a runtime. It ends with the client.
    fn start_sweeping(&self) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let origins = Arc::downgrade(&self.origins);
        let pause = self.limits.sweep();
        tokio::spawn(async move {
            loop {
                sleep(pause).await;
                let Some(origins) = origins.upgrade() else { return };
                origins.sweep();
            }
        });
    }
}

#[async_trait]
impl HttpClient for NetClient {
    async fn send(&self, request: Request<Bytes>, purpose: Purpose) -> Result<Response<Bytes>, HttpError> {
        let origin = self.origins.find(request.uri())?;
        let span = span::begin(&request, purpose);
        let request = request.map(|body| OutgoingBody::Whole(Full::new(body)));
        let mut sent = Sent::No;
        let whole = self.limits.whole(purpose);
        let outcome = timeout(whole, self.send_within_limits(&origin, request, purpose, &mut sent)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(too_late(sent)));
        span::end(&span, outcome.as_ref().map(Response::status));
        outcome
    }

    async fn stream(&self, request: Request<StreamBody>) -> Result<Response<StreamBody>, HttpError> {
        let origin = self.origins.find(request.uri())?;
        let span = span::begin(&request, Purpose::Api);
        let mut sent = Sent::No;
        let answered = if request.body().is_end_stream() {
            let request = request.map(|_| OutgoingBody::empty());
            let until = self.in_time(Purpose::Api);
            self.exchange(&origin, request, Purpose::Api, Reading::HandedOn, Some(until), &mut sent).await
        } else {
            Box::pin(self.upload(&origin, request, &mut sent)).await
        };
        span::end(&span, answered.as_ref().map(|(answer, _)| answer.status()));
        let (answer, lease) = answered?;
        let (head, body) = answer.into_parts();
        check_head(&head, Purpose::Api)?;
        Ok(Response::from_parts(head, IncomingBody::new(body, lease, self.limits.idle()).boxed_unsync()))
    }
}

#[async_trait]
impl Dns for NetClient {
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        timeout(self.limits.txt(), self.connector.resolver().txt(name)).await.unwrap_or(Err(DnsError::Timeout))
    }
}

fn too_late(sent: Sent) -> HttpError {
    HttpError { sent, fault: HttpFault::Timeout, source: None }
}

/// Whether a connection is kept after the answer. A handle's server is asked once, so nothing is gained by it there.
fn keeps_connection(purpose: Purpose) -> bool {
    purpose.may_reuse_connection() && purpose != Purpose::HandleLookup
}

/// How the body of an answer is read, which decides who drives its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Whole, by us, without a look at the connection: a task of its own drives that. A request that was begun is then
    /// also written to its end when nobody waits for its answer any more.
    Collected,
    /// Piece by piece, through a body that drives the connection.
    HandedOn,
}

/// A request without an answer.
enum Lost {
    /// Certainly not written; here it is again.
    Unsent(Box<Request<OutgoingBody>>, hyper::Error),
    /// Written, at least in part, as far as we know.
    Perhaps(HttpError),
}

/// Sends a request on a connection, once.
async fn attempt(
    origin: &Arc<Origin>,
    mut sender: Sender,
    mut request: Request<OutgoingBody>,
    reading: Reading,
    until: Option<Instant>,
    sent: &mut Sent,
) -> Result<(Response<Incoming>, Lease), Lost> {
    direct(&mut request, origin, sender.is_http2());
    if reading == Reading::Collected {
        sender.detach();
    }
    let before = std::mem::replace(sent, Sent::Perhaps);
    match sender.send(request, until).await {
        Ok(answer) => {
            let keep_for = keep_for(answer.headers());
            Ok((answer, Lease { sender, origin: Arc::clone(origin), keep_for }))
        }
        Err(Unanswered::Unsent(unsent, error)) => {
            *sent = before;
            Err(Lost::Unsent(unsent, error))
        }
        Err(Unanswered::Broken(error)) => Err(Lost::Perhaps(broken(error))),
        Err(Unanswered::TooLate) => Err(Lost::Perhaps(too_late(*sent))),
    }
}

/// Writes the target into a request, in the form of the protocol: the path for HTTP/1.1 (RFC 9112 §3.2.1), all of it for
/// HTTP/2 (RFC 9113 §8.3.1).
fn direct(request: &mut Request<OutgoingBody>, origin: &Origin, http2: bool) {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if http2 {
        request.headers_mut().remove(HOST);
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(origin.scheme());
        parts.authority = Some(origin.authority.clone());
        parts.path_and_query = Some(path);
        // Three parts that were each part of a valid URI make one.
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    } else {
        request.headers_mut().insert(HOST, origin.host_header.clone());
        *request.uri_mut() = Uri::from(path);
    }
}

/// A second copy of a request that may be sent twice: GET and HEAD without a body.
fn repeatable(request: &Request<OutgoingBody>) -> Option<Request<OutgoingBody>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream();
    safe.then(|| {
        let mut copy = Request::new(OutgoingBody::empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}
