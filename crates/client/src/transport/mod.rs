//! The port to the network: one request, one answer.

#[cfg(feature = "http")]
mod ureq;

use bytes::Bytes;
use http::{Request, Response};

#[cfg(feature = "http")]
pub use self::ureq::{HttpTransport, Trust};

/// Sends requests to the Bowerbird server, and to nobody else; with on-device sign-in also to the servers of the accounts.
///
/// An adapter follows no redirect, keeps no cookies, adds no credentials, and gives up after a while. Every status is an
/// answer. It blocks: the kit calls it on the caller's own thread.
///
/// A function is a transport too:
///
/// ```
/// # use bowerbird_client::{Transport, TransportFault};
/// fn takes(_: impl Transport) {}
/// takes(|_request| Err(TransportFault::not_sent("no network here")));
/// ```
pub trait Transport: Send + Sync {
    /// Sends the request and reads the whole answer.
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault>;
}

impl<F> Transport for F
where
    F: Fn(Request<Bytes>) -> Result<Response<Bytes>, TransportFault> + Send + Sync,
{
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
        self(request)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct TransportFault {
    /// Whether the server may have seen the request: then only a request that may be repeated is.
    pub may_have_arrived: bool,
    /// For the log. An adapter puts no header and no body here.
    pub detail: String,
}

impl TransportFault {
    /// The server was never reached: no address, no connection, no TLS.
    pub fn not_sent(detail: impl Into<String>) -> Self {
        Self { may_have_arrived: false, detail: detail.into() }
    }

    /// The connection broke, or the answer did not come in time.
    pub fn broken(detail: impl Into<String>) -> Self {
        Self { may_have_arrived: true, detail: detail.into() }
    }
}
