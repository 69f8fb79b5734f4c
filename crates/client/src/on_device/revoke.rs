//! Ending a grant at its issuer (RFC 7009).

use bowerbird_oauth::{AuthorizationServerMetadata, RevocationRequest, Secret, TokenTypeHint};

use super::OnDevice;
use super::as_call::AsPeer;
use super::fetch::Patience;
use super::grant::Grant;
use crate::error::KitError;
use crate::kit::Kit;

impl Kit {
    /// Revokes tokens that must not live, with one try. True when the server says that it did.
    pub(super) fn revoke(&self, peer: &AsPeer<'_>, refresh: Option<&Secret>, access: Option<&Secret>) -> bool {
        let Some(endpoint) = &peer.server.revocation_endpoint else { return false };
        // One of them is enough, and the refresh token is the better one.
        let (token, hint) = match (refresh, access) {
            (Some(token), _) => (token, TokenTypeHint::RefreshToken),
            (None, Some(token)) => (token, TokenTypeHint::AccessToken),
            (None, None) => return false,
        };
        let request = RevocationRequest { token: token.clone(), hint };
        match self.call_issuer(peer, |attempt| request.to_http(endpoint, attempt)) {
            Ok(answer) => RevocationRequest::read(&answer).is_ok(),
            Err(_) => false,
        }
    }

    /// Ends a grant that was kept here.
    pub(crate) fn revoke_grant(&self, grant: &Grant) -> bool {
        let server = self.app().and_then(|app| self.issuer_of(app, grant));
        match server {
            Ok(server) => {
                let peer = AsPeer { server: &server, client_id: &grant.client_id, dpop_key: &grant.dpop_key };
                self.revoke(&peer, grant.refresh_token.as_ref(), Some(&grant.access_token))
            }
            Err(error) => {
                tracing::info!(%error, "a grant could not be revoked");
                false
            }
        }
    }

    fn issuer_of(&self, app: &OnDevice, grant: &Grant) -> Result<AuthorizationServerMetadata, KitError> {
        self.stored_server(app, &grant.issuer, Patience::Once)
    }
}
