//! From a checked origin to a connection that takes requests.

use std::net::SocketAddr;
use std::time::Duration;

use bowerbird_core::ports::{HttpError, HttpFault};
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::body::OutgoingBody;
use crate::dial::dial;
use crate::early_answer::EarlyAnswer;
use crate::limits::{HEAD_BYTES, Limits};
use crate::origin::Origin;
use crate::pool::{Http1, Sender};
use crate::resolver::Resolver;

/// What HTTP/2 may have under way before it must wait: for one answer, and for all of a connection.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// How soon a silent HTTP/2 connection with requests on it is found dead.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections.
pub(crate) struct Connector {
    resolver: Resolver,
    tls: TlsConnector,
    limits: Limits,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Connector {
    pub(crate) fn new(resolver: Resolver, tls: TlsConnector, limits: Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1.max_header_size(HEAD_BYTES.into()).max_buf_size(HEAD_BYTES.into());
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .max_header_list_size(HEAD_BYTES.into())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { resolver, tls, limits, http1, http2 }
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Opens a connection. Whatever fails here, no byte of a request has left.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<Sender, HttpError> {
        let late = |_| HttpError::not_sent(HttpFault::Timeout, None);
        timeout(self.limits.connect(), self.open(origin)).await.map_err(late)?
    }

    async fn open(&self, origin: &Origin) -> Result<Sender, HttpError> {
        let stream = dial(&self.addresses(origin).await?).await?;
        let Some(server_name) = &origin.server_name else {
            return self.http1(TokioIo::new(stream)).await;
        };
        let refused = |error: std::io::Error| HttpError::not_sent(HttpFault::Connect, Some(error.into()));
        let stream = self.tls.connect(server_name.clone(), stream).await.map_err(refused)?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream).await
        } else {
            self.http1(TokioIo::new(stream)).await
        }
    }

    /// The addresses that may be connected to, from one resolution (security row 41): the addresses that were checked
    /// are the addresses that are dialled, there is no second question.
    async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, HttpError> {
        let literal = match &origin.host {
            Host::Domain(name) => {
                let addresses = self.resolver.addresses(name, origin.exempt).await?;
                return Ok(addresses.into_iter().map(|address| SocketAddr::new(address, origin.port)).collect());
            }
            Host::Ipv4(address) => (*address).into(),
            Host::Ipv6(address) => (*address).into(),
        };
        // The URL check has seen the literal; this is the second lock on the same door.
        if !origin.exempt && !self.resolver.permits(literal) {
            return Err(HttpError::not_sent(HttpFault::AddressNotAllowed, None));
        }
        Ok(vec![SocketAddr::new(literal, origin.port)])
    }

    async fn http1<I>(&self, io: I) -> Result<Sender, HttpError>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) =
            self.http1.handshake::<_, OutgoingBody>(EarlyAnswer::new(io)).await.map_err(handshake_failed)?;
        let driver = async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/1.1 connection broke");
            }
        };
        Ok(Sender::Http1(Http1::new(sender, Box::pin(driver))))
    }

    async fn http2(&self, stream: tokio_rustls::client::TlsStream<TcpStream>) -> Result<Sender, HttpError> {
        let (sender, connection) = self.http2.handshake(TokioIo::new(stream)).await.map_err(handshake_failed)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection broke");
            }
        });
        Ok(Sender::Http2(sender))
    }
}

fn handshake_failed(error: hyper::Error) -> HttpError {
    HttpError::not_sent(HttpFault::Connect, Some(error.into()))
}
