//! From a PDS to its authorization server (RFC 9728, RFC 8414), with the checks of `bowerbird-oauth` at each step.

mod authorization_server;
mod protected_resource;

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, HttpClient, HttpError, HttpFault, Purpose};
use bowerbird_oauth::{AuthorizationServerMetadata, EndpointRule, Issuer, MetadataError, Origin, TransportPolicy};
use bytes::Bytes;
use http::{Request, Response};
use url::Url;

use crate::identity::cache::{AgingCache, JUST_READ, LOOKUP_LIFE};
use crate::servers::Servers;

const CACHED_SERVERS: u64 = 10_000;

/// Finds authorization servers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Discovery {
    http: Arc<dyn HttpClient>,
    transport: TransportPolicy,
    rule: EndpointRule,
    servers: Servers,
    issuers: AgingCache<Origin, Issuer>,
    metadata: AgingCache<Issuer, Arc<AuthorizationServerMetadata>>,
}

/// Whether an answer may come from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Younger than ten minutes will do.
    Cached,
    /// Younger than a minute will do: a server whose many accounts are refreshed one after the other is asked once.
    Recent,
    /// As of a moment ago: before somebody is refused for what was in memory, and while many accounts of one server are
    /// refreshed one after the other.
    Confirmed,
    /// As the servers say it now: whenever a `sub` is verified.
    Now,
}

impl Freshness {
    /// How young an answer must be to come from memory; None for not at all.
    const fn age(self) -> Option<Duration> {
        match self {
            Self::Cached => Some(LOOKUP_LIFE),
            Self::Recent => Some(Duration::from_mins(1)),
            Self::Confirmed => Some(JUST_READ),
            Self::Now => None,
        }
    }
}

/// Why an authorization server could not be established.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A server did not answer.
    #[error("the account's server could not be reached; try again later")]
    Unreachable(#[source] HttpError),
    /// The address of a server is not a public one.
    #[error("that address is not allowed")]
    AddressNotAllowed(#[source] HttpError),
    /// A metadata document is not acceptable.
    #[error("the account's server is set up in a way that cannot be used: {0}")]
    Metadata(#[from] MetadataError),
}

impl Discovery {
    pub(crate) fn new(
        http: Arc<dyn HttpClient>,
        transport: TransportPolicy,
        rule: EndpointRule,
        servers: Servers,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            http,
            transport,
            rule,
            servers,
            issuers: AgingCache::new(CACHED_SERVERS, LOOKUP_LIFE, Arc::clone(clock)),
            metadata: AgingCache::new(CACHED_SERVERS, LOOKUP_LIFE, Arc::clone(clock)),
        }
    }

    /// The authorization server of a PDS, both documents checked against each other. When they disagree and one is from
    /// memory, both are read again: a PDS may have been added to a server, or have changed to another one.
    pub(crate) async fn of_pds(
        &self,
        pds: &Origin,
        freshness: Freshness,
    ) -> Result<Arc<AuthorizationServerMetadata>, DiscoveryError> {
        match self.agreeing(pds, freshness).await {
            Err(DiscoveryError::Metadata(MetadataError::ResourceNotListed { .. }))
                if freshness == Freshness::Cached =>
            {
                self.agreeing(pds, Freshness::Confirmed).await
            }
            found => found,
        }
    }

    async fn agreeing(
        &self,
        pds: &Origin,
        freshness: Freshness,
    ) -> Result<Arc<AuthorizationServerMetadata>, DiscoveryError> {
        let issuer = self.issuer_of_pds(pds, freshness).await?;
        let server = self.of_issuer(&issuer, freshness).await?;
        server.check_resource(pds)?;
        Ok(server)
    }

    /// The authorization server behind an address that a person typed: the address may be a PDS' or the authorization
    /// server's own (an entryway).
    pub(crate) async fn of_server(
        &self,
        address: &Origin,
    ) -> Result<(Option<Origin>, Arc<AuthorizationServerMetadata>), DiscoveryError> {
        match self.of_pds(address, Freshness::Cached).await {
            Ok(server) => Ok((Some(address.clone()), server)),
            // No resource lives there at all; a malformed document, in contrast, is an answer.
            Err(DiscoveryError::Metadata(MetadataError::NotOk(_) | MetadataError::NotJson)) => {
                let issuer = Issuer::parse(address.as_str(), &self.transport).map_err(MetadataError::BadIssuer)?;
                Ok((None, self.of_issuer(&issuer, Freshness::Cached).await?))
            }
            Err(error) => Err(error),
        }
    }

    async fn document(&self, url: &Url) -> Result<Response<Bytes>, DiscoveryError> {
        let request = Request::get(url.as_str()).header(http::header::ACCEPT, "application/json").body(Bytes::new());
        let request = request.map_err(|error| {
            DiscoveryError::AddressNotAllowed(HttpError::not_sent(HttpFault::UrlNotAllowed, Some(error.into())))
        })?;
        let answer = self.http.send(request, Purpose::Document).await.map_err(|error| match error.fault {
            HttpFault::AddressNotAllowed | HttpFault::UrlNotAllowed => DiscoveryError::AddressNotAllowed(error),
            _ => DiscoveryError::Unreachable(error),
        })?;
        // The head of any answer tells the server's time, before anything is signed for it.
        if let Some(origin) = Origin::of(url) {
            self.servers.learn(origin.as_str(), answer.headers());
        }
        Ok(answer)
    }
}
