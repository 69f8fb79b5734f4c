//! The first half of a sign-in on the device: from what a person typed to the address that the browser opens.

use std::fmt::Write as _;

use bowerbird_core::{Did, LoginIdentifier, Secret};
use bowerbird_oauth::{
    AuthorizationServerMetadata, Origin, ParAnswer, ParError, PkceVerifier, Prompt, PushedAuthorizationRequest,
    authorization_url,
};

use super::as_call::AsPeer;
use super::fetch::failed;
use super::under_way::DeviceSignIn;
use super::{OnDevice, OnDeviceFault};
use crate::error::KitError;
use crate::keys::StoreKey;
use crate::manager::AccountManager;
use crate::sign_in::SignIn;

/// Whom a sign-in is for, as far as that is known at its beginning.
struct Destination {
    did: Option<Did>,
    handle: Option<String>,
    server: AuthorizationServerMetadata,
}

impl AccountManager {
    /// Begins a sign-in at the account's own server, with a handle, a DID or the address of a server. The next one takes the
    /// place of this one.
    pub fn begin_sign_in_on_device(&self, who: &str) -> Result<SignIn, KitError> {
        let app = self.0.app()?;
        let who = LoginIdentifier::parse(who).map_err(OnDeviceFault::NotAnIdentifier)?;
        let destination = self.destination(app, &who)?;
        self.push(app, destination, who.login_hint(), None)
    }

    /// Begins with a new account at this server, where the server has a page for that.
    pub fn begin_sign_up_on_device(&self, server: &str) -> Result<SignIn, KitError> {
        let app = self.0.app()?;
        let who = LoginIdentifier::parse(server).map_err(OnDeviceFault::NotAnIdentifier)?;
        let destination = self.destination(app, &who)?;
        self.push(app, Destination { did: None, handle: None, ..destination }, None, Some(Prompt::Create))
    }

    fn destination(&self, app: &OnDevice, who: &LoginIdentifier) -> Result<Destination, KitError> {
        let kit = &self.0;
        match who {
            LoginIdentifier::Handle(handle) => {
                let identity = kit.resolve_handle(app, handle)?;
                let server = kit.server_of(app, &identity.pds)?;
                Ok(Destination { did: Some(identity.did), handle: Some(handle.to_string()), server })
            }
            LoginIdentifier::Did(did) => {
                let identity = kit.resolve_did(app, did)?;
                let server = kit.server_of(app, &identity.pds)?;
                Ok(Destination { did: Some(identity.did), handle: None, server })
            }
            LoginIdentifier::Server(url) => {
                let address = Origin::parse(url.as_str(), &app.transport);
                let address = address.map_err(|_| OnDeviceFault::AddressNotAllowed)?;
                Ok(Destination { did: None, handle: None, server: kit.server_at(app, &address)? })
            }
        }
    }

    fn push(
        &self,
        app: &OnDevice,
        destination: Destination,
        login_hint: Option<&str>,
        prompt: Option<Prompt>,
    ) -> Result<SignIn, KitError> {
        let kit = &self.0;
        let Destination { did, handle, server } = destination;
        let sign_in = DeviceSignIn {
            state: fresh_state(&kit.random()),
            verifier: PkceVerifier::from_entropy(&kit.random()),
            dpop_key: kit.fresh_key(),
            client_id: app.client_id.clone(),
            issuer: server.issuer.as_str().to_owned(),
            did,
            redirect: app.redirect.as_str().to_owned(),
            started_at: kit.ports.clock.now(),
        };
        // Before anything is pushed: the browser may come back to another process of this app.
        kit.shelf().save(StoreKey::DeviceSignIn, &sign_in.to_secret()?)?;
        let pushed = PushedAuthorizationRequest {
            redirect_uri: &sign_in.redirect,
            scope: &app.scope,
            state: &sign_in.state,
            verifier: &sign_in.verifier,
            login_hint,
            prompt,
        };
        let peer = AsPeer { server: &server, client_id: &sign_in.client_id, dpop_key: &sign_in.dpop_key };
        let endpoint = &server.pushed_authorization_request_endpoint;
        let answer = kit.call_issuer(&peer, |attempt| pushed.to_http(endpoint, attempt)).map_err(KitError::from);
        let taken = answer.and_then(|answer| ParAnswer::read(&answer).map_err(par_fault));
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // Nobody will come back for it.
                kit.shelf().delete(StoreKey::DeviceSignIn)?;
                return Err(error);
            }
        };
        let auth_url = authorization_url(&server.authorization_endpoint, &sign_in.client_id, &taken.request_uri);
        Ok(SignIn { auth_url: auth_url.into(), handle })
    }
}

/// 256 random bits that mean nothing.
fn fresh_state(entropy: &[u8; 32]) -> Secret {
    let mut text = String::with_capacity(64);
    for byte in entropy {
        // Writing to a string does not fail.
        let _written = write!(text, "{byte:02x}");
    }
    Secret::new(text)
}

fn par_fault(fault: ParError) -> KitError {
    match fault {
        ParError::Refused(answer) if answer.status < 500 => OnDeviceFault::refused(&answer).into(),
        ParError::Refused(answer) => failed(answer.status, "the account's server has a problem"),
        ParError::RateLimited { .. } => failed(429, "the account's server asks for fewer requests"),
        ParError::Unexpected { status } => failed(status, "the account's server has a problem"),
        ParError::Unreadable => failed(200, "the account's server answered something that it should not"),
    }
}
