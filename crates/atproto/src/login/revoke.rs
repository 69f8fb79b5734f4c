//! Ending a grant at its issuer (RFC 7009).

use std::time::Duration;

use bowerbird_core::Secret;
use bowerbird_core::ports::Purpose;
use bowerbird_oauth::{
    AuthorizationServerMetadata, ClientAuthentication, RevocationRequest, SigningKey, TokenTypeHint,
};
use bowerbird_vault::OpenedGrant;

use super::LoginParts;
use crate::app_password::delete_session;
use crate::as_call::AsPeer;
use crate::discovery::Freshness;

/// A person waits for this at most while a failed login is cleaned up, or a sign-out completed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Tokens to revoke; one of them is enough, and the refresh token is the better one.
pub(super) struct Doomed<'a> {
    pub(super) server: &'a AuthorizationServerMetadata,
    pub(super) authentication: &'a ClientAuthentication,
    pub(super) dpop_key: &'a SigningKey,
    pub(super) access_token: Option<&'a Secret>,
    pub(super) refresh_token: Option<&'a Secret>,
}

impl LoginParts {
    /// Revokes tokens that were issued and must not live. Best effort, and bounded: the server may be the very one
    /// that misbehaves.
    pub(super) async fn revoke(&self, doomed: &Doomed<'_>) {
        let Some(endpoint) = &doomed.server.revocation_endpoint else { return };
        let (token, hint) = match (doomed.refresh_token, doomed.access_token) {
            (Some(token), _) => (token, TokenTypeHint::RefreshToken),
            (None, Some(token)) => (token, TokenTypeHint::AccessToken),
            (None, None) => return,
        };
        let request = RevocationRequest { token: token.clone(), hint };
        let peer = AsPeer { server: doomed.server, authentication: doomed.authentication, dpop_key: doomed.dpop_key };
        let call = self.caller.call(&peer, Purpose::Authorization, |attempt| request.to_http(endpoint, attempt));
        let issuer = doomed.server.issuer.as_str();
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => match RevocationRequest::read(&answer) {
                Ok(()) => tracing::debug!(issuer, "a grant was revoked"),
                Err(error) => tracing::warn!(issuer, %error, "a grant was not revoked"),
            },
            Ok(Err(error)) => tracing::warn!(issuer, %error, "a grant was not revoked"),
            Err(_) => tracing::warn!(issuer, "a grant was not revoked in time"),
        }
    }

    /// Ends a grant that was stored, in the way of its kind.
    pub(super) async fn revoke_opened(&self, grant: &OpenedGrant) {
        let Some(dpop_key) = &grant.dpop_key else {
            if let Some(refresh_token) = &grant.refresh_token {
                delete_session(self.caller.http(), &grant.audience, refresh_token).await;
            }
            return;
        };
        let authentication = match self.caller.client().authentication(grant.client_kid.as_deref()) {
            Ok(authentication) => authentication,
            Err(error) => {
                tracing::warn!(issuer = grant.issuer, %error, "a grant was not revoked");
                return;
            }
        };
        match self.discovery.of_stored_issuer(&grant.issuer, Freshness::Cached).await {
            Ok(server) => {
                let doomed = Doomed {
                    server: &server,
                    authentication: &authentication,
                    dpop_key,
                    access_token: Some(&grant.access_token),
                    refresh_token: grant.refresh_token.as_ref(),
                };
                self.revoke(&doomed).await;
            }
            Err(error) => tracing::warn!(issuer = grant.issuer, %error, "a grant was not revoked"),
        }
    }
}
