//! Documents of strangers: handles' answers, DID documents, metadata.

use bowerbird_oauth::Origin;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request, Response};
use url::Url;

use super::{OnDevice, OnDeviceFault};
use crate::error::{KitError, Refusal};
use crate::kit::Kit;
use crate::recovery::{Trouble, Try, persevere};

/// The largest document that is looked at, in bytes.
const LARGEST: usize = 512 * 1024;

/// Whether a server that is not reached is asked again, with the documented pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is: nothing goes on without it.
    Documented,
    /// It is not: another one may know, or nobody waits.
    Once,
}

impl Kit {
    /// Gets a document, without any credential, from an address that an app may speak to.
    pub(super) fn fetch(
        &self,
        app: &OnDevice,
        url: &Url,
        accept: &'static str,
        patience: Patience,
    ) -> Result<Response<Bytes>, KitError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        self.ask(app, url, request, patience)
    }

    /// Sends a request without credentials, and learns from the answer.
    pub(super) fn ask(
        &self,
        app: &OnDevice,
        url: &Url,
        mut request: Request<Bytes>,
        patience: Patience,
    ) -> Result<Response<Bytes>, KitError> {
        if !app.reaches(url) {
            return Err(OnDeviceFault::AddressNotAllowed.into());
        }
        *request.uri_mut() = url.as_str().parse().map_err(|_| OnDeviceFault::AddressNotAllowed)?;
        let answer = persevere(&*self.ports.pause, || match self.ports.transport.send(request.clone()) {
            Ok(answer) => Try::Over(Ok(answer)),
            Err(fault) if patience == Patience::Once => Try::Over(Err(KitError::Offline(fault))),
            Err(fault) => Try::Again(Trouble::Network, KitError::Offline(fault)),
        })?;
        if let Some(origin) = Origin::of(url) {
            self.on_device.peers.learn(origin.as_str(), answer.headers(), self.ports.clock.now());
        }
        if answer.body().len() > LARGEST { Err(too_large(&answer)) } else { Ok(answer) }
    }
}

fn too_large(answer: &Response<Bytes>) -> KitError {
    failed(answer.status().as_u16(), "the server answered with more than a document may have")
}

/// A server that failed; for the person it is temporary.
pub(super) fn failed(status: u16, message: &str) -> KitError {
    KitError::Server(Box::new(Refusal { status, message: message.to_owned(), ..Refusal::default() }))
}
