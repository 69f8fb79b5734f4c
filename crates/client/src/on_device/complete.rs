//! The second half: from the callback to a grant that is kept.
//!
//! The order is what makes it safe. The sign-in under way is taken first, and once. Who answers is checked before the code is
//! used. Whose tokens came is checked by walking from the account to its server, as the servers say it now, before anything is
//! kept. Whatever fails after tokens were issued, they are revoked.

use std::sync::Arc;

use bowerbird_core::identity::Identity;
use bowerbird_core::{AccountId, Did, Secret};
use bowerbird_oauth::{
    AuthorizationServerMetadata, CallbackParams, ExpectedAnswer, Issuer, IssuerCheckError, MetadataError, TokenAnswer,
    TokenRequest, TokenRequestError,
};

use super::as_call::AsPeer;
use super::fetch::{Patience, failed};
use super::grant::{Grant, Standing};
use super::under_way::DeviceSignIn;
use super::{OnDevice, OnDeviceFault};
use crate::error::KitError;
use crate::handoff::CallbackFault;
use crate::keys::StoreKey;
use crate::kit::Kit;
use crate::live::Held;
use crate::manager::AccountManager;
use crate::roster::{Account, AccountKind};
use crate::session::Session;

/// The life of an access token whose answer says zero, in seconds.
const ASSUMED_LIFE: u32 = 300;

impl AccountManager {
    /// Completes the sign-in with the address that came back: exchanges its code, checks whose it is, and takes the account in.
    ///
    /// The active account stays the active one, unless this is the first. When the account was here already, also through a
    /// Bowerbird server, its access of before is ended.
    pub fn complete_sign_in_on_device(&self, callback: &str) -> Result<Account, KitError> {
        let kit = &self.0;
        let app = kit.app()?;
        let url = app.redirect.recognize(callback)?;
        let params = CallbackParams::parse(url.query().unwrap_or_default());
        let named = match &params {
            Ok(params) => Some(params.state()),
            Err(fault) => fault.state(),
        };
        // An address that some other program made up names no sign-in of ours, and ends none.
        let Some(named) = named else { return Err(CallbackFault::Malformed.into()) };
        let sign_in = kit.take_device_sign_in(named)?;
        let params = params.map_err(|_| CallbackFault::Malformed)?;
        let issuer = Issuer::parse(&sign_in.issuer, &app.transport);
        let issuer = issuer.map_err(|fault| OnDeviceFault::Metadata(MetadataError::BadIssuer(fault)))?;
        params.check_issuer(&issuer).map_err(|fault| match fault {
            IssuerCheckError::Missing => OnDeviceFault::IssMissing,
            IssuerCheckError::Mismatch { expected, found } => OnDeviceFault::IssMismatch { expected, found },
        })?;
        let code = match params {
            CallbackParams::Granted { code, .. } => code,
            CallbackParams::Refused { error, description, .. } => {
                return Err(CallbackFault::Refused { error: error.as_str().to_owned(), description }.into());
            }
        };
        // The endpoints are those of the issuer that was asked, and of nobody that the callback names.
        let server = kit.stored_server(app, &sign_in.issuer, Patience::Documented)?;
        let peer = AsPeer { server: &server, client_id: &sign_in.client_id, dpop_key: &sign_in.dpop_key };
        let answer = kit.exchange(&peer, code, &sign_in)?;
        let admitted = kit.admit(app, &answer, &sign_in, &server);
        if admitted.is_err() {
            kit.revoke(&peer, answer.refresh_token.as_ref(), answer.access_token.as_ref());
        }
        admitted
    }
}

impl Kit {
    /// Finds and removes the sign-in under way. Another one's state is no state of ours.
    fn take_device_sign_in(&self, state: &Secret) -> Result<DeviceSignIn, KitError> {
        let kept = self.shelf().load(StoreKey::DeviceSignIn)?;
        let Some(sign_in) = kept.as_ref().and_then(DeviceSignIn::from_secret) else {
            return Err(CallbackFault::NotStarted.into());
        };
        if !sign_in.state.matches(state.expose()) {
            return Err(CallbackFault::NotStarted.into());
        }
        self.shelf().delete(StoreKey::DeviceSignIn)?;
        if sign_in.is_alive(self.ports.clock.now()) { Ok(sign_in) } else { Err(CallbackFault::NotStarted.into()) }
    }

    /// Exchanges the code, once: a code that comes twice ends the grant.
    fn exchange(&self, peer: &AsPeer<'_>, code: Secret, sign_in: &DeviceSignIn) -> Result<TokenAnswer, KitError> {
        let (redirect_uri, verifier) = (sign_in.redirect.clone(), sign_in.verifier.clone());
        let request = TokenRequest::AuthorizationCode { code, redirect_uri, verifier };
        let endpoint = &peer.server.token_endpoint;
        let answer = self.call_issuer(peer, |attempt| request.to_http(endpoint, attempt))?;
        TokenAnswer::read(&answer).map_err(token_fault)
    }

    /// Judges the tokens, and keeps them.
    fn admit(
        &self,
        app: &OnDevice,
        answer: &TokenAnswer,
        sign_in: &DeviceSignIn,
        server: &AuthorizationServerMetadata,
    ) -> Result<Account, KitError> {
        let now = self.ports.clock.now();
        let tokens = answer.validate(&ExpectedAnswer { sub: None }).map_err(OnDeviceFault::Answer)?;
        let did = Did::parse(&tokens.sub).map_err(|_| OnDeviceFault::DidUnsupported)?;
        let (identity, _) = self.walk(app, &did, server.issuer.as_str())?;
        // After the walk: a server that names an account which is not its own is the graver matter.
        if let Some(expected) = sign_in.did.as_ref().filter(|expected| **expected != identity.did) {
            let (expected, found) = (expected.to_string(), identity.did.to_string());
            return Err(OnDeviceFault::AccountMismatch { expected, found }.into());
        }
        let life = if tokens.expires_in == 0 { ASSUMED_LIFE } else { tokens.expires_in };
        let grant = Grant {
            client_id: sign_in.client_id.clone(),
            issuer: sign_in.issuer.clone(),
            pds: identity.pds.as_str().to_owned(),
            dpop_key: sign_in.dpop_key.clone(),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            scope: answer.scope.clone().unwrap_or_else(|| tokens.scope.to_string()),
            issued_at: now,
            expires_at: now.plus_seconds(life.into()),
            signed_in_at: now,
            standing: Standing::Good,
        };
        let handle = self.shown_handle(app, &identity);
        self.take_in(identity, handle, &grant)
    }

    /// Takes the account in, and ends what it had here before.
    fn take_in(&self, identity: Identity, handle: String, grant: &Grant) -> Result<Account, KitError> {
        let kept = grant.to_secret()?;
        let (account, before) = {
            let mut unsaved = self.on_device.unsaved.lock();
            let mut roster = self.roster.lock();
            let known = roster.by_did(&identity.did).map(|known| (known.id, known.added_at));
            if known.is_none() && roster.is_full() {
                return Err(KitError::TooManyAccounts);
            }
            let shelf = self.shelf();
            let (id, added_at) = known.unwrap_or_else(|| (AccountId::random(&*self.ports.entropy), grant.issued_at));
            let before = Before {
                session: shelf.session(id).unwrap_or_default(),
                grant: match unsaved.get(&id) {
                    Some((_, newest)) => Some(newest.clone()),
                    None => shelf.grant(id).unwrap_or_default(),
                },
            };
            let account = Account {
                id,
                did: identity.did,
                handle,
                pds: Some(identity.pds.as_str().to_owned()),
                kind: AccountKind::OnDevice,
                added_at,
                session_ends_at: Some(grant.session_ends_at()),
                needs_sign_in: None,
            };
            if known.is_none() {
                roster.put(&shelf, account.clone())?;
            }
            shelf.save(StoreKey::Grant(id), &kept)?;
            unsaved.remove(&id);
            // Only now that there is something to call with: until here it was what it was before.
            roster.put(&shelf, account.clone())?;
            shelf.delete(StoreKey::Session(id))?;
            self.live.lock().refresh(id, &Held::Grant(Arc::new(grant.clone())));
            (account, before)
        };
        if let Some(session) = &before.session {
            self.sign_out(session);
        }
        // A server that gives the same grant again would see its own new grant revoked.
        if let Some(old) = before.grant.filter(|old| !is_same_grant(old, grant)) {
            self.revoke_grant(&old);
        }
        Ok(account)
    }
}

/// What an account had here before.
struct Before {
    session: Option<Session>,
    grant: Option<Grant>,
}

fn is_same_grant(old: &Grant, new: &Grant) -> bool {
    let same_refresh = match (&old.refresh_token, &new.refresh_token) {
        (Some(old), Some(new)) => old.matches(new.expose()),
        _ => false,
    };
    same_refresh || old.is(new)
}

/// Why a code or a refresh token brought nothing, for the person.
pub(super) fn token_fault(fault: TokenRequestError) -> KitError {
    match fault {
        TokenRequestError::Refused(answer) if answer.status < 500 => OnDeviceFault::refused(&answer).into(),
        TokenRequestError::Refused(answer) => failed(answer.status, "the account's server has a problem"),
        TokenRequestError::RateLimited { .. } => failed(429, "the account's server asks for fewer requests"),
        TokenRequestError::Unexpected { status } => failed(status, "the account's server has a problem"),
        TokenRequestError::Unreadable => failed(200, "the account's server answered something that it should not"),
    }
}
