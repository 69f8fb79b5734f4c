//! From an account's server to its authorization server (RFC 9728, RFC 8414), with the checks of `bowerbird-oauth` at each step.

use bowerbird_core::Did;
use bowerbird_core::identity::Identity;
use bowerbird_oauth::{
    AuthorizationServerMetadata, EndpointRule, Issuer, MetadataError, Origin, ProtectedResourceMetadata,
};

use super::fetch::Patience;
use super::{OnDevice, OnDeviceFault};
use crate::error::KitError;
use crate::kit::Kit;

impl Kit {
    /// The authorization server of a PDS, both documents checked against each other.
    pub(super) fn server_of(&self, app: &OnDevice, pds: &Origin) -> Result<AuthorizationServerMetadata, KitError> {
        let url = ProtectedResourceMetadata::url(pds);
        let answer = self.fetch(app, &url, "application/json", Patience::Documented)?;
        let resource =
            ProtectedResourceMetadata::parse(&answer, pds, &app.transport).map_err(OnDeviceFault::Metadata)?;
        let server = self.server(app, resource.authorization_server(), Patience::Documented)?;
        server.check_resource(pds).map_err(OnDeviceFault::Metadata)?;
        Ok(server)
    }

    /// The authorization server behind an address that a person typed: that of a PDS, or its own.
    pub(super) fn server_at(&self, app: &OnDevice, address: &Origin) -> Result<AuthorizationServerMetadata, KitError> {
        match self.server_of(app, address) {
            // No resource lives there at all; a malformed document, in contrast, is an answer.
            Err(KitError::OnDevice(fault))
                if matches!(*fault, OnDeviceFault::Metadata(MetadataError::NotOk(_) | MetadataError::NotJson)) =>
            {
                self.stored_server(app, address.as_str(), Patience::Documented)
            }
            other => other,
        }
    }

    /// The metadata of an issuer that was kept as text.
    pub(super) fn stored_server(
        &self,
        app: &OnDevice,
        issuer: &str,
        patience: Patience,
    ) -> Result<AuthorizationServerMetadata, KitError> {
        let issuer = Issuer::parse(issuer, &app.transport);
        let issuer = issuer.map_err(|fault| OnDeviceFault::Metadata(MetadataError::BadIssuer(fault)))?;
        self.server(app, &issuer, patience)
    }

    fn server(
        &self,
        app: &OnDevice,
        issuer: &Issuer,
        patience: Patience,
    ) -> Result<AuthorizationServerMetadata, KitError> {
        let answer = self.fetch(app, &AuthorizationServerMetadata::url(issuer), "application/json", patience)?;
        AuthorizationServerMetadata::parse(&answer, issuer, &app.transport, EndpointRule::SameOrigin)
            .map_err(|fault| OnDeviceFault::Metadata(fault).into())
    }

    /// From an account to the authorization server that speaks for it, as the servers say it now. Without this walk any
    /// authorization server could sign in anybody.
    pub(super) fn walk(
        &self,
        app: &OnDevice,
        did: &Did,
        issuer: &str,
    ) -> Result<(Identity, AuthorizationServerMetadata), KitError> {
        let identity = self.resolve_did(app, did)?;
        let server = self.server_of(app, &identity.pds)?;
        if server.issuer.is(issuer) {
            return Ok((identity, server));
        }
        let expected = server.issuer.as_str().to_owned();
        Err(OnDeviceFault::IssuerMismatch { expected, found: issuer.to_owned() }.into())
    }
}
