//! From what a person typed to a stored session.

use std::sync::Arc;

use bowerbird_core::ports::StoreError;
use bowerbird_core::{Account, Connection, CredentialState, Did, LoginIdentifier, Platform, RefreshClass, Secret};
use http::StatusCode;

use super::claims::{Claims, SessionKind};
use super::error::AppPasswordError;
use super::session_call::{SessionAnswer, SessionCallError, SessionRefusal, create_session, delete_session};
use crate::discovery::Freshness;
use crate::identity::Identity;
use crate::login::{KeepError, LoginParts, NewTokens};

/// The use case. Cheap to clone.
#[derive(Clone)]
pub struct AppPasswords {
    parts: Arc<LoginParts>,
}

/// An account, found at its server: where its password may go. Made by [`AppPasswords::find`] alone.
#[derive(Clone, Debug)]
pub struct AtHome {
    identity: Arc<Identity>,
}

/// A sign-in that succeeded.
#[derive(Debug)]
pub struct AppPasswordLogin {
    /// Who signed in.
    pub account: Account,
    /// The account's own identity; its credential is in the vault.
    pub connection: Connection,
    /// The scope of the session.
    pub scope: String,
}

impl AtHome {
    /// The account. Attempts are counted by it: an account has several names, and one lockout.
    pub fn did(&self) -> &Did {
        &self.identity.did
    }
}

impl AppPasswords {
    pub(crate) fn new(parts: Arc<LoginParts>) -> Self {
        Self { parts }
    }

    /// Finds the account and its server: a handle is verified in both directions, and the server is the one that the
    /// account's directory names now. Needs no password.
    pub async fn find(&self, identifier: &LoginIdentifier) -> Result<AtHome, AppPasswordError> {
        let parts = &self.parts;
        let unresolved = |identifier: String| move |source| AppPasswordError::Identity { identifier, source };
        let did = match identifier {
            LoginIdentifier::Handle(handle) => {
                let found = parts.identities.resolve_handle(handle).await;
                found.map_err(unresolved(handle.to_string()))?.did.clone()
            }
            LoginIdentifier::Did(did) => did.clone(),
            LoginIdentifier::Server(_) => return Err(AppPasswordError::NotAnAccount),
        };
        let identity = parts.identities.resolve_uncached(&did).await.map_err(unresolved(did.to_string()))?;
        if !parts.allowed.is_everyone() {
            let issuer = parts.discovery.issuer_of_pds(&identity.pds, Freshness::Cached).await?;
            if !parts.allowed.admits(Some(&identity.pds), &issuer) {
                return Err(AppPasswordError::PdsNotAllowed(parts.allowed.refusal()));
            }
        }
        Ok(AtHome { identity })
    }

    /// Signs in. The password is shown to the account's server once, and dropped.
    ///
    /// Runs on a task of its own: a browser that goes away must not leave a session that nobody holds.
    pub async fn sign_in(
        &self,
        home: AtHome,
        password: Secret,
        auth_factor_token: Option<Secret>,
    ) -> Result<AppPasswordLogin, AppPasswordError> {
        let parts = Arc::clone(&self.parts);
        let task = tokio::spawn(async move {
            let (http, pds) = (parts.caller.http(), home.identity.pds.as_str());
            let created = create_session(http, pds, &home.identity.did, &password, auth_factor_token.as_ref()).await;
            drop(password);
            let session = created.map_err(refused)?;
            let refresh_token = session.refresh_jwt.clone();
            let admitted = admit(&parts, session, &home.identity).await;
            if admitted.is_err() {
                delete_session(http, pds, &refresh_token).await;
            }
            admitted
        });
        task.await.unwrap_or(Err(AppPasswordError::Interrupted))
    }
}

/// Judges a session and stores it.
async fn admit(
    parts: &Arc<LoginParts>,
    session: SessionAnswer,
    identity: &Identity,
) -> Result<AppPasswordLogin, AppPasswordError> {
    if session.did != identity.did.as_str() {
        return Err(AppPasswordError::AccountMismatch);
    }
    let claims = Claims::of(&session.access_jwt, parts.clock.now());
    match claims.kind {
        SessionKind::AppPassword => {}
        SessionKind::Main => return Err(AppPasswordError::MainPassword),
        SessionKind::Other => return Err(AppPasswordError::UnknownKind),
    }
    if is_connected_by_oauth(parts, &identity.did).await.map_err(AppPasswordError::Store)? {
        return Err(AppPasswordError::ConnectedByOauth);
    }
    let handle = parts.identities.shown_handle(identity).await;
    let tokens = NewTokens {
        // There is no authorization server in this: the account's server gives the session by itself.
        issuer: identity.pds.as_str().to_owned(),
        client_kid: None,
        refresh_class: RefreshClass::Graceful,
        dpop_key: None,
        access_token: session.access_jwt,
        refresh_token: Some(session.refresh_jwt),
        expires_in: claims.life,
        scope: claims.scope.clone(),
    };
    let (account, connection) = parts.keep(identity, handle, tokens).await.map_err(|error| match error {
        KeepError::Store(error) => AppPasswordError::Store(error),
        KeepError::Grant(error) => AppPasswordError::Grant(error),
    })?;
    Ok(AppPasswordLogin { account, connection, scope: claims.scope })
}

/// Whether the account has a grant by OAuth that can be used. Every device of an account shares its one credential: an
/// app password in its place would take access away from the others, and in its shadow would gain what it does not open.
/// Asked only when the password was good: what is connected here is nobody else's business.
async fn is_connected_by_oauth(parts: &LoginParts, did: &Did) -> Result<bool, StoreError> {
    let Some(account) = parts.stores.accounts.find_by_did(did).await? else { return Ok(false) };
    let connection = parts.stores.connections.find(account.id, &Platform::atproto(), did.as_str()).await?;
    let Some(connection) = connection else { return Ok(false) };
    let standing = parts.vault.standing(connection.id).await?;
    Ok(standing.is_some_and(|standing| {
        standing.class == RefreshClass::SingleUse && !matches!(standing.state, CredentialState::NeedsReauth(_))
    }))
}

fn refused(error: SessionCallError) -> AppPasswordError {
    let SessionCallError::Refused(refusal) = error else { return AppPasswordError::Server(error.into()) };
    let SessionRefusal { status, name, retry_after } = &refusal;
    match (*status, name.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS, _) => AppPasswordError::RateLimited { retry_after_seconds: *retry_after },
        (status, _) if !status.is_client_error() => AppPasswordError::Server(refusal.into()),
        (_, "AuthFactorTokenRequired") => AppPasswordError::AuthFactorTokenRequired,
        (_, "AccountTakedown") => AppPasswordError::TakenDown,
        (StatusCode::BAD_REQUEST, "InvalidToken" | "ExpiredToken") => AppPasswordError::AuthFactorTokenInvalid,
        (StatusCode::UNAUTHORIZED, _) => AppPasswordError::WrongPassword,
        _ => AppPasswordError::Server(refusal.into()),
    }
}
