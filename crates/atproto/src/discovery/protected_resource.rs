//! The first step: which authorization server a PDS trusts (RFC 9728).

use bowerbird_oauth::{Issuer, Origin, ProtectedResourceMetadata};

use super::{Discovery, DiscoveryError, Freshness};

impl Discovery {
    /// The issuer that a PDS names. It must still agree: [`Discovery::of_pds`] asks it.
    pub(crate) async fn issuer_of_pds(&self, pds: &Origin, freshness: Freshness) -> Result<Issuer, DiscoveryError> {
        if let Some(issuer) = freshness.age().and_then(|age| self.issuers.younger(pds, age)) {
            return Ok(issuer);
        }
        let answer = self.document(&ProtectedResourceMetadata::url(pds)).await?;
        let resource = ProtectedResourceMetadata::parse(&answer, pds, &self.transport)?;
        let issuer = resource.authorization_server().clone();
        self.issuers.put(pds.clone(), issuer.clone());
        Ok(issuer)
    }
}
