//! The first half: from what a person typed to the URL that the browser is sent to.

use std::sync::Arc;

use bowerbird_core::ports::{Purpose, StoreError};
use bowerbird_core::{
    AuthorizationRequest, AuthorizationRequestRecord, BrowserBinding, Did, Handle, LoginEnding, LoginIdentifier,
    LoginPurpose, Secret, Timestamp,
};
use bowerbird_oauth::{
    AuthorizationServerMetadata, Origin, ParAnswer, PkceVerifier, Prompt, PushedAuthorizationRequest, SigningKey,
    authorization_url,
};
use url::Url;

use super::error::StartLoginError;
use super::stored::{marked_state, state_key};
use super::{LOGIN_LIFE_SECONDS, LoginParts, Logins};
use crate::as_call::AsPeer;
use crate::discovery::Freshness;
use crate::encoding::base64url;
use crate::identity::Identity;

/// A login to begin.
#[derive(Debug)]
pub struct StartLogin {
    /// Who, or which server.
    pub identifier: LoginIdentifier,
    /// What the authorization server shall ask the person.
    pub prompt: Option<Prompt>,
    /// Why.
    pub purpose: LoginPurpose,
    /// The path to return to, checked by the caller to be one of this server's own; anything else becomes `/`.
    pub return_to: String,
    /// Where the end goes.
    pub ending: LoginEnding,
    /// The browser that begins; only the same one may end the login.
    pub browser: Option<BrowserBinding>,
    /// 256 random bits of the caller's own; the mark of the browser is put behind them. None draws fresh ones.
    pub state: Option<Secret>,
}

/// A login that waits for the person.
#[derive(Debug)]
pub struct StartedLogin {
    /// Where the browser goes.
    pub authorize_url: Url,
    /// The `state` that the callback will bring.
    pub state: Secret,
    /// When the callback comes too late.
    pub expires_at: Timestamp,
    /// The handle, if the login began with one.
    pub handle: Option<String>,
}

/// Whom a login is for, as far as that is known at its beginning.
struct Destination {
    did: Option<Did>,
    handle: Option<Handle>,
    server: Arc<AuthorizationServerMetadata>,
}

impl Logins {
    /// Begins a login: finds the authorization server, stores what the callback will need, and pushes the request.
    pub async fn start(&self, request: StartLogin) -> Result<StartedLogin, StartLoginError> {
        let parts = &self.parts;
        let destination = parts.destination(&request.identifier).await?;
        let server = &destination.server;
        check_prompt(server, request.prompt)?;
        let random = request.state.unwrap_or_else(|| Secret::new(base64url(&parts.random::<32>())));
        let state = marked_state(random.expose(), request.browser.as_ref());
        let verifier = PkceVerifier::from_entropy(&parts.random::<64>());
        let dpop_key = parts.fresh_key();
        let authentication = parts.caller.client().newest_authentication();
        let now = parts.clock.now();
        let pending = AuthorizationRequest {
            issuer: server.issuer.as_str().to_owned(),
            did: destination.did,
            handle: destination.handle.as_ref().map(ToString::to_string),
            pkce_verifier: verifier.secret().clone(),
            dpop_key: dpop_key.scalar(),
            dpop_nonce: None,
            client_kid: authentication.kid().map(str::to_owned),
            redirect_uri: parts.caller.client().redirect_uri().to_owned(),
            scope: parts.caller.client().scope().to_string(),
            purpose: request.purpose,
            return_to: own_path(request.return_to),
            ending: request.ending,
            browser: request.browser,
            created_at: now,
        };
        // Stored before it is pushed: when logins are over their cap, no server is bothered.
        let expires_at = parts.store(&state, &pending).await?;
        let pushed = PushedAuthorizationRequest {
            redirect_uri: &pending.redirect_uri,
            scope: parts.caller.client().scope(),
            state: &state,
            verifier: &verifier,
            login_hint: request.identifier.login_hint(),
            prompt: request.prompt,
        };
        let peer = AsPeer { server, authentication: &authentication, dpop_key: &dpop_key };
        let endpoint = &server.pushed_authorization_request_endpoint;
        let answer =
            parts.caller.call(&peer, Purpose::Authorization, |attempt| pushed.to_http(endpoint, attempt)).await;
        let taken = match answer {
            Ok(answer) => ParAnswer::read(&answer).map_err(StartLoginError::Par),
            Err(error) => Err(StartLoginError::Call(error)),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                parts.unstore(&state, pending.browser.as_ref(), now).await;
                return Err(error);
            }
        };
        let authorize_url =
            authorization_url(&server.authorization_endpoint, parts.caller.client().id(), &taken.request_uri);
        Ok(StartedLogin { authorize_url, state, expires_at, handle: pending.handle })
    }
}

impl LoginParts {
    async fn destination(&self, identifier: &LoginIdentifier) -> Result<Destination, StartLoginError> {
        match identifier {
            LoginIdentifier::Handle(handle) => {
                let identity = self
                    .identities
                    .resolve_handle(handle)
                    .await
                    .map_err(|source| StartLoginError::Identity { identifier: handle.to_string(), source })?;
                self.at_pds(&identity, Some(handle.clone())).await
            }
            LoginIdentifier::Did(did) => {
                let identity = self
                    .identities
                    .resolve(did)
                    .await
                    .map_err(|source| StartLoginError::Identity { identifier: did.to_string(), source })?;
                self.at_pds(&identity, None).await
            }
            LoginIdentifier::Server(url) => {
                let address = Origin::parse(url.as_str(), &self.transport).map_err(StartLoginError::ServerAddress)?;
                if address == self.own_origin {
                    return Err(StartLoginError::OwnAddress);
                }
                let (pds, server) = self.discovery.of_server(&address).await?;
                if !self.allowed.admits(pds.as_ref(), &server.issuer) {
                    return Err(StartLoginError::PdsNotAllowed(self.allowed.refusal()));
                }
                Ok(Destination { did: None, handle: None, server })
            }
        }
    }

    async fn at_pds(&self, identity: &Identity, handle: Option<Handle>) -> Result<Destination, StartLoginError> {
        let server = self.discovery.of_pds(&identity.pds, Freshness::Cached).await?;
        if !self.allowed.admits(Some(&identity.pds), &server.issuer) {
            return Err(StartLoginError::PdsNotAllowed(self.allowed.refusal()));
        }
        Ok(Destination { did: Some(identity.did.clone()), handle, server })
    }

    /// Writes the login down, sealed. A full store is swept once of what has expired.
    async fn store(&self, state: &Secret, request: &AuthorizationRequest) -> Result<Timestamp, StartLoginError> {
        let key = state_key(state.expose(), request.browser.as_ref());
        let sealed = self.vault.seal_login(request, &key).await.map_err(StartLoginError::Seal)?;
        let expires_at = request.created_at.plus_seconds(LOGIN_LIFE_SECONDS);
        let record = AuthorizationRequestRecord { state: key, sealed, created_at: request.created_at, expires_at };
        let store = &self.stores.authorization_requests;
        match store.insert(&record, self.login_cap).await {
            Err(StoreError::Full) => {
                store.purge(request.created_at).await.map_err(StartLoginError::Store)?;
                match store.insert(&record, self.login_cap).await {
                    Err(StoreError::Full) => Err(StartLoginError::TooManyLogins),
                    other => other.map(|()| expires_at).map_err(StartLoginError::Store),
                }
            }
            other => other.map(|()| expires_at).map_err(StartLoginError::Store),
        }
    }

    /// Takes back what nobody will come for. If that fails, the record expires by itself.
    async fn unstore(&self, state: &Secret, browser: Option<&BrowserBinding>, now: Timestamp) {
        let key = state_key(state.expose(), browser);
        if let Err(error) = self.stores.authorization_requests.take(&key, now).await {
            tracing::debug!(%error, "a login that failed to start stays until it expires");
        }
    }

    pub(super) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A new key for one grant. About one draw in 2³² is no valid scalar.
    fn fresh_key(&self) -> SigningKey {
        loop {
            if let Ok(key) = SigningKey::from_scalar(&self.random::<32>()) {
                return key;
            }
        }
    }
}

/// A server that lists its prompts and leaves `create` out would show its sign-in page instead, and puzzle the person.
fn check_prompt(server: &AuthorizationServerMetadata, prompt: Option<Prompt>) -> Result<(), StartLoginError> {
    let listed = |wanted: Prompt| {
        server.prompt_values_supported.as_ref().is_none_or(|list| list.iter().any(|value| value == wanted.as_str()))
    };
    match prompt {
        Some(Prompt::Create) if !listed(Prompt::Create) => Err(StartLoginError::PromptUnsupported),
        _ => Ok(()),
    }
}

/// A path of this server, and nothing that a browser could read as another host.
fn own_path(path: String) -> String {
    let own =
        path.starts_with('/') && !path.starts_with("//") && !path.contains('\\') && !path.chars().any(char::is_control);
    if own { path } else { "/".to_owned() }
}
