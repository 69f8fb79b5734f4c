//! The way to bring the platform's own HTTP client, such as `OkHttp`.

use std::sync::Arc;

use bowerbird_client::{HttpTransport, Transport, TransportFault, Trust};
use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response, Uri};

/// An HTTP client that the app brings. It follows no redirects, keeps no cookies, and gives up after a while. It is called on
/// threads of the kit and may block.
#[uniffi::export(with_foreign)]
pub trait DeviceTransport: Send + Sync {
    /// Sends the request and reads the whole answer, whatever its status.
    fn send(&self, request: DeviceRequest) -> Result<DeviceResponse, DeviceTransportError>;
}

/// A header line.
#[derive(Clone, uniffi::Record)]
pub struct Header {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What is to be sent. Its headers hold a secret: never log them.
#[derive(Clone, uniffi::Record)]
pub struct DeviceRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body; may be empty.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, uniffi::Record)]
pub struct DeviceResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum DeviceTransportError {
    /// The server was never reached.
    #[error("{reason}")]
    NotSent {
        /// What happened, without the request.
        reason: String,
    },
    /// The server may have seen the request.
    #[error("{reason}")]
    Broken {
        /// What happened, without the request.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for DeviceTransportError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Broken { reason: error.reason }
    }
}

pub(crate) struct Custom(pub(crate) Arc<dyn DeviceTransport>);

impl Transport for Custom {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
        let (head, body) = request.into_parts();
        let headers = head.headers.iter().map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        });
        let request = DeviceRequest {
            method: head.method.to_string(),
            url: head.uri.to_string(),
            headers: headers.collect(),
            body: body.to_vec(),
        };
        let response = self.0.send(request).map_err(|error| match error {
            DeviceTransportError::NotSent { reason } => TransportFault::not_sent(reason),
            DeviceTransportError::Broken { reason } => TransportFault::broken(reason),
        })?;
        let mut built = Response::builder().status(response.status);
        for Header { name, value } in response.headers {
            built = built.header(name, value);
        }
        built.body(Bytes::from(response.body)).map_err(|error| TransportFault::broken(error.to_string()))
    }
}

/// The kit's own HTTP client. What an app is pinned to holds for its server, and not for the servers of the accounts.
pub(crate) struct Pinned {
    server: Option<Authority>,
    to_server: HttpTransport,
    to_others: HttpTransport,
}

impl Pinned {
    pub(crate) fn new(server: Option<&str>, authorities: &[Vec<u8>]) -> Self {
        let to_others = HttpTransport::default();
        let to_server = match authorities {
            [] => to_others.clone(),
            pinned => HttpTransport::new(Trust::Only(pinned.to_vec())),
        };
        let server = server.and_then(|server| server.parse::<Uri>().ok()?.into_parts().authority);
        Self { server, to_server, to_others }
    }
}

impl Transport for Pinned {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
        let is_server = self.server.is_some() && request.uri().authority() == self.server.as_ref();
        if is_server { self.to_server.send(request) } else { self.to_others.send(request) }
    }
}
