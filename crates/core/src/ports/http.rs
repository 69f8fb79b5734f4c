//! Outgoing HTTP.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error of a body or an adapter.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is passed on piece by piece.
pub type StreamBody = UnsyncBoxBody<Bytes, BoxError>;

/// Wraps bytes at hand as a [`StreamBody`].
pub fn full_body(bytes: impl Into<Bytes>) -> StreamBody {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What a request is for, which decides its limits. Every purpose: https unless the exact host:port is allowed,
/// public addresses only, no redirects, no proxies from the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// `/.well-known/atproto-did`: 2 KB, 5 s.
    HandleLookup,
    /// DID documents, OAuth metadata: 512 KB, 10 s.
    Document,
    /// Pushed authorization requests, code exchange, revocation: 64 KB, 30 s.
    Authorization,
    /// A refresh: 64 KB, 60 s, on a connection of its own, never sent twice by the client.
    Refresh,
    /// A message to an address of the operator: 64 KB, 15 s.
    Webhook,
    /// Spans, to the operator's collector: 64 KB, 10 s. Leaves no span of its own.
    Traces,
    /// A call for the person: streamed, no cap, 30 s to the first byte of the answer's head once the request is sent.
    Api,
}

impl Purpose {
    /// The largest body, in bytes, that is read whole.
    pub const fn body_limit(self) -> usize {
        match self {
            Self::HandleLookup => 2 * 1024,
            Self::Document => 512 * 1024,
            Self::Authorization | Self::Refresh | Self::Webhook | Self::Traces => 64 * 1024,
            Self::Api => 1024 * 1024,
        }
    }

    /// The time for the whole exchange (for [`Purpose::Api`]: until the head of the answer).
    pub const fn deadline(self) -> Duration {
        match self {
            Self::HandleLookup => Duration::from_secs(5),
            Self::Document | Self::Traces => Duration::from_secs(10),
            Self::Webhook => Duration::from_secs(15),
            Self::Authorization | Self::Api => Duration::from_secs(30),
            Self::Refresh => Duration::from_mins(1),
        }
    }

    /// Whether a pooled connection may be used. Not for a refresh: a stale one would fail after the first byte, and
    /// then nobody knows whether the token is spent.
    pub const fn may_reuse_connection(self) -> bool {
        !matches!(self, Self::Refresh)
    }
}

/// Sends requests.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends a request and reads the whole answer, within the limits of its purpose.
    async fn send(&self, request: Request<Bytes>, purpose: Purpose) -> Result<Response<Bytes>, HttpError>;

    /// Sends a request and hands on the answer as it comes, under [`Purpose::Api`].
    async fn stream(&self, request: Request<StreamBody>) -> Result<Response<StreamBody>, HttpError>;
}

/// Whether the peer can have seen any byte of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: it is safe to send again.
    No,
    /// Perhaps: a single-use token in it may be spent.
    Perhaps,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The URL has no allowed scheme, or carries credentials.
    UrlNotAllowed,
    /// The host, or an address that it resolves to, is not public.
    AddressNotAllowed,
    /// The name does not resolve.
    NameNotFound,
    /// No connection (refused, unreachable, TLS).
    Connect,
    /// The deadline passed.
    Timeout,
    /// The answer's head or body is over its limit.
    TooLarge,
    /// The connection broke or the answer is not HTTP.
    Broken,
}

/// A request without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct HttpError {
    /// Whether the peer can have seen it.
    pub sent: Sent,
    /// What went wrong.
    pub fault: HttpFault,
    /// The cause, for the log of the operator; never shown to a client, since it would tell about our network.
    #[source]
    pub source: Option<BoxError>,
}

impl HttpError {
    /// An error before the first byte.
    pub fn not_sent(fault: HttpFault, source: impl Into<Option<BoxError>>) -> Self {
        Self { sent: Sent::No, fault, source: source.into() }
    }

    /// An error after the first byte may have left.
    pub fn perhaps_sent(fault: HttpFault, source: impl Into<Option<BoxError>>) -> Self {
        Self { sent: Sent::Perhaps, fault, source: source.into() }
    }

    /// The same text for every cause that an outsider could probe for (security row 49).
    fn message(&self) -> &'static str {
        match self.fault {
            HttpFault::TooLarge => "the server's answer is too large",
            HttpFault::UrlNotAllowed
            | HttpFault::AddressNotAllowed
            | HttpFault::NameNotFound
            | HttpFault::Connect
            | HttpFault::Timeout
            | HttpFault::Broken => "the server could not be reached",
        }
    }
}
