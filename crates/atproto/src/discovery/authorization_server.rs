//! The second step: an issuer's own metadata (RFC 8414).

use std::sync::Arc;

use bowerbird_oauth::{AuthorizationServerMetadata, Issuer};

use super::{Discovery, DiscoveryError, Freshness};

impl Discovery {
    /// The metadata of an issuer.
    pub(crate) async fn of_issuer(
        &self,
        issuer: &Issuer,
        freshness: Freshness,
    ) -> Result<Arc<AuthorizationServerMetadata>, DiscoveryError> {
        if let Some(server) = freshness.age().and_then(|age| self.metadata.younger(issuer, age)) {
            return Ok(server);
        }
        let answer = self.document(&AuthorizationServerMetadata::url(issuer)).await?;
        let server = AuthorizationServerMetadata::parse(&answer, issuer, &self.transport, self.rule)?;
        let server = Arc::new(server);
        self.metadata.put(issuer.clone(), Arc::clone(&server));
        Ok(server)
    }

    /// The metadata of an issuer that was stored as text, with its grant.
    pub(crate) async fn of_stored_issuer(
        &self,
        issuer: &str,
        freshness: Freshness,
    ) -> Result<Arc<AuthorizationServerMetadata>, DiscoveryError> {
        let issuer = Issuer::parse(issuer, &self.transport).map_err(bowerbird_oauth::MetadataError::BadIssuer)?;
        self.of_issuer(&issuer, freshness).await
    }
}
