//! Calls at the account's own server, signed by the device.

use bowerbird_core::AccountId;
use bowerbird_oauth::{DpopChallenge, DpopExchange, DpopServer, NonceStep, Origin};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Deserialize;

use super::grant::Grant;
use super::renew::Why;
use super::{OnDevice, OnDeviceFault};
use crate::client::{Call, Checked};
use crate::error::KitError;
use crate::kit::Kit;
use crate::recovery::{Trouble, Try, persevere};
use crate::wire;

/// The server refuses tokens that it has just given.
const REFUSED: &str = "access_refused";

impl Kit {
    /// Calls as one account. What its server answers is the answer, errors too.
    pub(crate) fn call_on_device(&self, id: AccountId, call: &Call) -> Result<Response<Bytes>, KitError> {
        let app = self.app()?;
        let grant = self.fresh_grant(id)?;
        let answer = self.call_with(app, call, &grant)?;
        if !refuses_token(&answer) {
            return Ok(answer);
        }
        // Refused at the door, so it was not carried out: it may be sent again, whatever it is.
        let newer = self.refresh(id, &grant, Why::Needed)?;
        let answer = self.call_with(app, call, &newer)?;
        if refuses_token(&answer) { Err(self.ask_for_sign_in(id, REFUSED, None)) } else { Ok(answer) }
    }

    /// Asks the account's server whether the access is good, and the directory for the handle.
    pub(crate) fn check_on_device(&self, id: AccountId) -> Result<Checked, KitError> {
        #[derive(Deserialize)]
        struct Body {
            did: String,
        }
        let app = self.app()?;
        let answer = self.call_on_device(id, &Call::query("com.atproto.server.getSession", &[]))?;
        if !answer.status().is_success() {
            return Err(wire::unreadable(&answer));
        }
        let Body { did } = wire::read(&answer)?;
        let mut account = self.roster.lock().get(id).cloned().ok_or(KitError::UnknownAccount)?;
        if account.did.as_str() != did {
            return Err(wire::unreadable(&answer));
        }
        let identity = self.resolve_did(app, &account.did)?;
        let handle = self.shown_handle(app, &identity);
        if account.handle != handle {
            account.handle.clone_from(&handle);
            let mut roster = self.roster.lock();
            roster.get(id).ok_or(KitError::UnknownAccount)?;
            roster.put(&self.shelf(), account.clone())?;
        }
        Ok(Checked { handle, display_name: None, avatar: None, expires_at: account.session_ends_at })
    }

    /// Refreshes now, whether it is due or not.
    pub(crate) fn renew_on_device(&self, id: AccountId) -> Result<(), KitError> {
        let grant = self.grant(id)?;
        self.refresh(id, &grant, Why::Needed).map(drop)
    }

    /// Refreshes if it is due, without making the account live; `None` when it is not.
    pub(crate) fn renew_due_on_device(&self, id: AccountId) -> Option<Result<(), KitError>> {
        match self.shelf().grant(id) {
            Ok(Some(grant)) if grant.is_due(self.ports.clock.now()) => {
                Some(self.refresh(id, &grant, Why::Due).map(drop))
            }
            Ok(Some(_)) => None,
            Ok(None) => Some(Err(self.ask_for_sign_in(id, "signed_out", None))),
            Err(fault) => Some(Err(fault.into())),
        }
    }

    fn call_with(&self, app: &OnDevice, call: &Call, grant: &Grant) -> Result<Response<Bytes>, KitError> {
        let pds = Origin::parse(&grant.pds, &app.transport).map_err(|_| OnDeviceFault::AddressNotAllowed)?;
        if !app.reaches(&pds.to_url()) {
            return Err(OnDeviceFault::AddressNotAllowed.into());
        }
        let request = call.request(&pds)?;
        let repeatable = call.body.is_none();
        persevere(&*self.ports.pause, || match self.signed(&request, &pds, grant) {
            Ok(answer) if repeatable && is_gateway(&answer) => {
                let refusal = wire::refusal(&answer, "");
                Try::Again(Trouble::Server(wire::retry_after(&answer)), KitError::Server(Box::new(refusal)))
            }
            Err(KitError::Offline(fault)) if repeatable || !fault.may_have_arrived => {
                Try::Again(Trouble::Network, KitError::Offline(fault))
            }
            outcome => Try::Over(outcome),
        })
    }

    /// Sends with the access token and a proof; once more when the server wants its nonce or has another time.
    fn signed(&self, request: &Request<Bytes>, pds: &Origin, grant: &Grant) -> Result<Response<Bytes>, KitError> {
        let (origin, peers) = (pds.as_str(), &self.on_device.peers);
        let mut exchange = DpopExchange::new(DpopServer::Resource, peers.nonce(origin));
        loop {
            let mut request = request.clone();
            let now = peers.now_at(origin, self.ports.clock.now());
            exchange
                .sign(&mut request, &grant.dpop_key, now, self.random(), Some(&grant.access_token))
                .map_err(OnDeviceFault::from)?;
            let answer = self.ports.transport.send(request).map_err(KitError::Offline)?;
            let clock_moved = peers.learn(origin, answer.headers(), self.ports.clock.now());
            match exchange.observe(&answer).map_err(OnDeviceFault::from)? {
                NonceStep::Retry => {}
                NonceStep::Done
                    if clock_moved && exchange.attempts() < DpopExchange::MAX_ATTEMPTS && blames_the_proof(&answer) => {
                }
                NonceStep::Done => return Ok(answer),
            }
        }
    }
}

/// What stands in front of a server that is down says so.
fn is_gateway(answer: &Response<Bytes>) -> bool {
    matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn refuses_token(answer: &Response<Bytes>) -> bool {
    challenge(answer).is_some_and(|challenge| challenge.rejects_access_token())
}

fn blames_the_proof(answer: &Response<Bytes>) -> bool {
    challenge(answer).is_some_and(|challenge| challenge.error.as_deref() == Some("invalid_dpop_proof"))
}

fn challenge(answer: &Response<Bytes>) -> Option<DpopChallenge> {
    (answer.status() == StatusCode::UNAUTHORIZED).then(|| DpopChallenge::from_headers(answer.headers())).flatten()
}
