//! The second half: from the callback to a stored grant.
//!
//! The order is what makes it safe. The login under way is taken first, once, by the browser that began it. Who answers
//! is checked before the code is used. Whose token came is checked by walking from the account to its server, as the
//! servers say it now, before anything is stored. Whatever fails after tokens were issued, they are revoked.

use std::sync::Arc;

use bowerbird_core::ports::Purpose;
use bowerbird_core::{
    Account, AuthorizationRequest, BrowserBinding, Connection, Did, LoginEnding, LoginPurpose, RefreshClass, Secret,
    SecretBytes,
};
use bowerbird_oauth::{
    AuthorizationServerMetadata, CallbackParams, ExpectedAnswer, Issuer, IssuerCheckError, PkceVerifier, SigningKey,
    TokenAnswer, TokenRequest, ValidatedTokens,
};
use bowerbird_vault::LoginSealError;

use super::error::{FinishLoginError, FinishLoginFault, LoginUnderWay};
use super::keep::{KeepError, NewTokens};
use super::revoke::Doomed;
use super::stored::{StateOrigin, state_key, state_origin};
use super::{LoginParts, Logins};
use crate::as_call::AsPeer;
use crate::discovery::{DiscoveryError, Freshness};
use crate::identity::Identity;

/// The life of an access token whose answer says zero, or less, in seconds.
const ASSUMED_LIFE: i64 = 300;

/// A login that ended well.
#[derive(Debug)]
pub struct FinishedLogin {
    /// Who signed in.
    pub account: Account,
    /// The account's own identity; its credential is in the vault.
    pub connection: Connection,
    /// What was granted: perhaps less than was asked for.
    pub granted_scope: String,
    /// Why the login was begun.
    pub purpose: LoginPurpose,
    /// The path to return to.
    pub return_to: String,
    /// Where the end goes.
    pub ending: LoginEnding,
    /// Whether the browser that came back is the one that began; else nothing says that they belong to one person.
    pub began_here: bool,
}

impl Logins {
    /// Ends a login. `query` is the callback's query string as it came; `browser` the binding of the browser's login
    /// cookie, if it has one.
    ///
    /// Once the login under way is taken, the rest runs on a task of its own: a browser that goes away must not leave
    /// tokens that nobody holds.
    pub async fn finish(
        &self,
        query: &str,
        browser: Option<BrowserBinding>,
    ) -> Result<FinishedLogin, FinishLoginError> {
        let params = match CallbackParams::parse(query) {
            Ok(params) => params,
            Err(error) => return Err(self.refuse_malformed(error, browser).await),
        };
        let pending = self.parts.take(params.state(), browser.as_ref()).await?;
        let under_way = LoginUnderWay::of(&pending);
        let parts = Arc::clone(&self.parts);
        let task = tokio::spawn(async move { parts.complete(params, pending).await });
        match task.await {
            Ok(outcome) => outcome.map_err(|fault| FinishLoginError::of(fault, under_way)),
            Err(_) => Err(FinishLoginError::of(FinishLoginFault::Interrupted, under_way)),
        }
    }

    /// A malformed callback ends the login that it names, if it names one (security row 10).
    async fn refuse_malformed(
        &self,
        error: bowerbird_oauth::CallbackError,
        browser: Option<BrowserBinding>,
    ) -> FinishLoginError {
        if matches!(error, bowerbird_oauth::CallbackError::StateMissing) {
            return FinishLoginFault::InvalidState.into();
        }
        let ended = match error.state() {
            Some(state) => self.parts.take(state, browser.as_ref()).await.map(Some),
            None => Ok(None),
        };
        let fault = FinishLoginFault::InvalidRequest(error.into());
        match ended {
            Ok(Some(pending)) => FinishLoginError::of(fault, LoginUnderWay::of(&pending)),
            Ok(None) => fault.into(),
            Err(refused) => refused.into(),
        }
    }
}

impl LoginParts {
    /// Finds and removes the login under way. Another browser's is neither.
    async fn take(
        &self,
        state: &Secret,
        browser: Option<&BrowserBinding>,
    ) -> Result<AuthorizationRequest, FinishLoginFault> {
        let binding = match state_origin(state.expose(), browser) {
            StateOrigin::Here(binding) => binding,
            StateOrigin::Elsewhere => return Err(FinishLoginFault::SessionMismatch),
            StateOrigin::Unknown => return Err(FinishLoginFault::InvalidState),
        };
        let key = state_key(state.expose(), binding.as_ref());
        let record = self.stores.authorization_requests.take(&key, self.clock.now()).await;
        let record = record.map_err(FinishLoginFault::Store)?.ok_or(FinishLoginFault::InvalidState)?;
        let pending = self.vault.open_login(&record.sealed, &key).await.map_err(|error| match error {
            LoginSealError::Unreadable(_) => FinishLoginFault::InvalidState,
            other @ LoginSealError::Keys(_) => FinishLoginFault::Seal(other),
        })?;
        // The key contains the binding already; a row that says otherwise was tampered with.
        if pending.browser == binding { Ok(pending) } else { Err(FinishLoginFault::SessionMismatch) }
    }

    async fn complete(
        self: Arc<Self>,
        params: CallbackParams,
        pending: AuthorizationRequest,
    ) -> Result<FinishedLogin, FinishLoginFault> {
        let issuer = Issuer::parse(&pending.issuer, &self.transport).map_err(|error| {
            FinishLoginFault::Discovery(DiscoveryError::Metadata(bowerbird_oauth::MetadataError::BadIssuer(error)))
        })?;
        params.check_issuer(&issuer).map_err(|error| match error {
            IssuerCheckError::Missing => FinishLoginFault::IssMissing,
            IssuerCheckError::Mismatch { expected, found } => FinishLoginFault::IssMismatch { expected, found },
        })?;
        let code = match params {
            CallbackParams::Granted { code, .. } => code,
            CallbackParams::Refused { error, description, .. } => {
                return Err(FinishLoginFault::Denied { error, description });
            }
        };
        let client = self.caller.client();
        let authentication =
            client.authentication(pending.client_kid.as_deref()).map_err(FinishLoginFault::ClientKey)?;
        // The endpoints are those of the issuer that was asked, and of nobody that the callback names.
        let server = self.discovery.of_issuer(&issuer, Freshness::Cached).await.map_err(FinishLoginFault::Discovery)?;
        let dpop_key = dpop_key(&pending.dpop_key)?;
        let peer = AsPeer { server: &server, authentication: &authentication, dpop_key: &dpop_key };
        let answer = self.exchange(&peer, code, &pending).await?;
        let doomed = Doomed {
            server: &server,
            authentication: &authentication,
            dpop_key: &dpop_key,
            access_token: answer.access_token.as_ref(),
            refresh_token: answer.refresh_token.as_ref(),
        };
        match self.admit(&answer, &pending, &server).await {
            Ok(finished) => Ok(finished),
            Err(fault) => {
                self.revoke(&doomed).await;
                Err(fault)
            }
        }
    }

    /// Exchanges the code, once.
    async fn exchange(
        &self,
        peer: &AsPeer<'_>,
        code: Secret,
        pending: &AuthorizationRequest,
    ) -> Result<TokenAnswer, FinishLoginFault> {
        let verifier = PkceVerifier::parse(pending.pkce_verifier.expose()).ok_or(FinishLoginFault::InvalidState)?;
        let request = TokenRequest::AuthorizationCode { code, redirect_uri: pending.redirect_uri.clone(), verifier };
        let endpoint = &peer.server.token_endpoint;
        let answer = self.caller.call(peer, Purpose::Authorization, |attempt| request.to_http(endpoint, attempt)).await;
        TokenAnswer::read(&answer.map_err(FinishLoginFault::Call)?).map_err(FinishLoginFault::Exchange)
    }

    /// Judges the tokens and stores them.
    async fn admit(
        self: &Arc<Self>,
        answer: &TokenAnswer,
        pending: &AuthorizationRequest,
        server: &AuthorizationServerMetadata,
    ) -> Result<FinishedLogin, FinishLoginFault> {
        let tokens = answer.validate(&ExpectedAnswer { sub: None }).map_err(FinishLoginFault::Answer)?;
        let identity = self.walk_back(&tokens.sub, server).await?;
        // After the walk: a server that names an account which is not its own is the graver matter.
        if let Some(expected) = pending.did.as_ref().filter(|expected| **expected != identity.did) {
            return Err(FinishLoginFault::AccountMismatch {
                expected: expected.to_string(),
                found: identity.did.to_string(),
            });
        }
        if !self.allowed.admits(Some(&identity.pds), &server.issuer) {
            return Err(FinishLoginFault::PdsNotAllowed(self.allowed.refusal()));
        }
        let handle = self.identities.shown_handle(&identity).await;
        let scope = answer.scope.clone().unwrap_or_else(|| tokens.scope.to_string());
        self.keep_login(tokens, &identity, handle, scope, pending).await
    }

    /// From the account to the authorization server that speaks for it, as the servers say it now. Without this walk
    /// any authorization server could sign in anybody (security row 19).
    async fn walk_back(
        &self,
        sub: &str,
        server: &AuthorizationServerMetadata,
    ) -> Result<Arc<Identity>, FinishLoginFault> {
        let unresolved = |source| FinishLoginFault::Identity { did: sub.to_owned(), source };
        let did = Did::parse(sub).map_err(|error| unresolved(crate::identity::IdentityError::BadSyntax(error)))?;
        let identity = self.identities.resolve_uncached(&did).await.map_err(unresolved)?;
        let issuer =
            self.discovery.issuer_of_pds(&identity.pds, Freshness::Now).await.map_err(FinishLoginFault::Discovery)?;
        if issuer != server.issuer {
            return Err(FinishLoginFault::IssuerMismatch {
                did,
                expected: issuer.as_str().to_owned(),
                found: server.issuer.as_str().to_owned(),
            });
        }
        let now = self.discovery.of_issuer(&issuer, Freshness::Now).await.map_err(FinishLoginFault::Discovery)?;
        now.check_resource(&identity.pds).map_err(|error| FinishLoginFault::Discovery(error.into()))?;
        Ok(identity)
    }

    async fn keep_login(
        self: &Arc<Self>,
        tokens: ValidatedTokens,
        identity: &Identity,
        handle: String,
        scope: String,
        pending: &AuthorizationRequest,
    ) -> Result<FinishedLogin, FinishLoginFault> {
        let expires_in = match tokens.expires_in {
            0 => ASSUMED_LIFE,
            seconds => seconds.into(),
        };
        let new = NewTokens {
            issuer: pending.issuer.clone(),
            client_kid: pending.client_kid.clone(),
            refresh_class: RefreshClass::SingleUse,
            dpop_key: Some(pending.dpop_key.clone()),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            expires_in,
            scope: scope.clone(),
        };
        let (account, connection) = self.keep(identity, handle, new).await.map_err(|error| match error {
            KeepError::Store(error) => FinishLoginFault::Store(error),
            KeepError::Grant(error) => FinishLoginFault::Grant(error),
        })?;
        Ok(FinishedLogin {
            account,
            connection,
            granted_scope: scope,
            purpose: pending.purpose.clone(),
            return_to: pending.return_to.clone(),
            ending: pending.ending.clone(),
            began_here: pending.browser.is_some(),
        })
    }
}

fn dpop_key(scalar: &SecretBytes) -> Result<SigningKey, FinishLoginFault> {
    let scalar = scalar.expose().try_into().map_err(|_| FinishLoginFault::InvalidState)?;
    SigningKey::from_scalar(scalar).map_err(|_| FinishLoginFault::InvalidState)
}
