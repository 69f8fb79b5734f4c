//! From what a person typed to an account that points back.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::identity::Identity;
use bowerbird_core::ports::{Clock, Dns, HttpClient, HttpFault};
use bowerbird_core::{Did, DidMethod, Handle};
use bowerbird_oauth::{Origin, TransportPolicy};
use futures_util::future::{Either, select};
use url::Url;

use super::cache::{AgingCache, JUST_READ, LOOKUP_LIFE};
use super::error::{IdentityError, Unreachable};
use super::handle_dns::by_dns;
use super::handle_https::by_https;
use super::hints::Hint;
use super::plc::plc_document;
use super::turns::Turns;
use super::web::web_document;

/// At most this many identities are remembered.
const CACHED_IDENTITIES: u64 = 10_000;
/// When one way has found the DID, how long the other one may still object.
const OBJECTION_TIME: Duration = Duration::from_secs(1);
/// How long a login waits for a handle that is only shown.
const SHOWN_HANDLE_TIME: Duration = Duration::from_secs(5);

/// Where a handle's DID is asked for. Hints are checked against the DID document in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolverMode {
    /// DNS and https, as the specification has it.
    #[default]
    Native,
    /// Slingshot first; DNS and https where it has no usable answer.
    Slingshot,
    /// DNS and https first; Slingshot where they find nothing.
    Hybrid,
}

/// What the resolution of identities is told once.
#[derive(Clone, Debug)]
pub(crate) struct IdentityConfig {
    pub(crate) own_origin: Origin,
    pub(crate) transport: TransportPolicy,
    pub(crate) plc_url: Url,
    pub(crate) handle_resolver_url: Option<Url>,
    pub(crate) slingshot_url: Url,
    pub(crate) resolver: ResolverMode,
}

/// Resolves handles and DIDs. Cheap to clone.
#[derive(Clone)]
pub struct Identities {
    inner: Arc<Inner>,
}

struct Inner {
    config: IdentityConfig,
    http: Arc<dyn HttpClient>,
    dns: Arc<dyn Dns>,
    documents: AgingCache<Did, Arc<Identity>>,
    reading: Turns<Did>,
    handles: AgingCache<Handle, Did>,
}

impl Identities {
    pub(crate) fn new(
        config: IdentityConfig,
        http: Arc<dyn HttpClient>,
        dns: Arc<dyn Dns>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let documents = AgingCache::new(CACHED_IDENTITIES, JUST_READ, Arc::clone(clock));
        let handles = AgingCache::new(CACHED_IDENTITIES, LOOKUP_LIFE, Arc::clone(clock));
        let reading = Turns::default();
        Self { inner: Arc::new(Inner { config, http, dns, documents, reading, handles }) }
    }

    /// The account of a handle, verified in both directions. Whose the handle is comes from memory when that is younger
    /// than ten minutes and the account still claims it; a handle is never refused for what was true before.
    pub async fn resolve_handle(&self, handle: &Handle) -> Result<Arc<Identity>, IdentityError> {
        if let Some(did) = self.inner.handles.get(handle) {
            match self.claiming(&did, handle).await {
                Ok(identity) => return Ok(identity),
                // Nobody can say now. To walk the whole way would end at the same door.
                Err(error @ IdentityError::Unreachable(_)) => return Err(error),
                Err(error) => tracing::debug!(%error, %handle, "a handle is no longer the account's that had it"),
            }
        }
        self.resolve_handle_uncached(handle).await
    }

    /// The account of a handle as its own side names it now, verified in both directions.
    async fn resolve_handle_uncached(&self, handle: &Handle) -> Result<Arc<Identity>, IdentityError> {
        self.inner.handles.forget(handle);
        let first_hints = self.first_hints();
        for hint in &first_hints {
            if let Some(identity) = self.by_hint(hint, handle).await {
                return Ok(identity);
            }
        }
        match self.native_did(handle).await {
            Ok(did) => self.claiming(&did, handle).await,
            Err(error) if error.is_absence() && self.inner.config.resolver == ResolverMode::Hybrid => {
                let hint = Hint::Slingshot(self.inner.config.slingshot_url.clone());
                self.by_hint(&hint, handle).await.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The account of a DID, as of [a moment ago](JUST_READ) at most: who just took another handle or moved to another
    /// server signs in with that, and is not told of what was. Those who ask for one account at once share one reading.
    pub async fn resolve(&self, did: &Did) -> Result<Arc<Identity>, IdentityError> {
        if let Some(identity) = self.inner.documents.get(did) {
            return Ok(identity);
        }
        let turn = self.inner.reading.take(did).await;
        if let Some(identity) = self.inner.documents.get(did) {
            return Ok(identity);
        }
        let _held = turn.unless_waited();
        self.resolve_uncached(did).await
    }

    /// The account of a DID as its directory describes it now. Every check of a token's `sub` uses this one.
    pub async fn resolve_uncached(&self, did: &Did) -> Result<Arc<Identity>, IdentityError> {
        let Inner { config, http, documents, .. } = &*self.inner;
        let json = match did.method().map_err(|_| IdentityError::UnsupportedMethod)? {
            DidMethod::Plc => plc_document(http.as_ref(), &config.plc_url, did).await?,
            DidMethod::Web => web_document(http.as_ref(), &config.transport, did).await?,
        };
        let identity = Arc::new(Identity::from_document(&json, did, &config.transport, Some(&config.own_origin))?);
        documents.put(did.clone(), Arc::clone(&identity));
        Ok(identity)
    }

    /// The handle that may be shown for an account: the one it claims, if that points back to it, else
    /// [`Handle::INVALID`]. Never an error: a login goes on by DID.
    pub async fn shown_handle(&self, identity: &Identity) -> String {
        let Some(handle) = &identity.claimed_handle else { return Handle::INVALID.to_owned() };
        let verify = async {
            match self.resolve_handle(handle).await {
                // From memory, perhaps: the handle may have changed hands since.
                Ok(found) if found.did != identity.did => self.resolve_handle_uncached(handle).await,
                verified => verified,
            }
        };
        match tokio::time::timeout(SHOWN_HANDLE_TIME, verify).await {
            Ok(Ok(found)) if found.did == identity.did => handle.to_string(),
            Ok(Ok(_)) | Err(_) => Handle::INVALID.to_owned(),
            Ok(Err(error)) => {
                tracing::info!(%error, did = %identity.did, "the claimed handle could not be verified");
                Handle::INVALID.to_owned()
            }
        }
    }

    /// The resolvers that are asked before DNS and https: the operator's own host, and Slingshot where it is chosen.
    fn first_hints(&self) -> Vec<Hint> {
        let config = &self.inner.config;
        let own = config.handle_resolver_url.clone().map(Hint::Xrpc);
        let slingshot =
            (config.resolver == ResolverMode::Slingshot).then(|| Hint::Slingshot(config.slingshot_url.clone()));
        own.into_iter().chain(slingshot).collect()
    }

    /// A hint's account, if its document claims the handle; whatever else it said is as good as nothing.
    async fn by_hint(&self, hint: &Hint, handle: &Handle) -> Option<Arc<Identity>> {
        let did = hint.ask(self.inner.http.as_ref(), handle).await?;
        self.claiming(&did, handle).await.inspect_err(|error| tracing::debug!(%error, "a hint did not hold")).ok()
    }

    /// The account of a DID, which must claim the handle.
    async fn claiming(&self, did: &Did, handle: &Handle) -> Result<Arc<Identity>, IdentityError> {
        let identity = self.resolve(did).await?;
        if identity.claimed_handle.as_ref() != Some(handle) {
            return Err(IdentityError::NotClaimed(handle.clone()));
        }
        self.inner.handles.put(handle.clone(), did.clone());
        Ok(identity)
    }

    /// Asks DNS and https at once. The first DID wins unless the other way names another one within a second: then
    /// the handle has two owners and belongs to neither.
    async fn native_did(&self, handle: &Handle) -> Result<Did, IdentityError> {
        let dns = std::pin::pin!(by_dns(self.inner.dns.as_ref(), handle));
        let https = std::pin::pin!(by_https(self.inner.http.as_ref(), handle));
        let (dns, https) = match select(dns, https).await {
            Either::Left((dns, https)) if matches!(dns, Ok(Some(_))) => {
                (dns, tokio::time::timeout(OBJECTION_TIME, https).await.unwrap_or(Ok(None)))
            }
            Either::Left((dns, https)) => (dns, https.await),
            Either::Right((https, dns)) if matches!(https, Ok(Some(_))) => {
                (tokio::time::timeout(OBJECTION_TIME, dns).await.unwrap_or(Ok(None)), https)
            }
            Either::Right((https, dns)) => (dns.await, https),
        };
        match (dns, https) {
            (Err(IdentityError::Ambiguous(handle)), _) => Err(IdentityError::Ambiguous(handle)),
            (Ok(Some(a)), Ok(Some(b))) if a != b => Err(IdentityError::Ambiguous(handle.clone())),
            (Ok(Some(did)), _) | (_, Ok(Some(did))) => Ok(did),
            // An address that we refuse is the typist's mistake; a way that is down may come back.
            (_, Err(refused @ IdentityError::AddressNotAllowed(_))) => Err(refused),
            (Ok(None), Ok(None)) => Err(IdentityError::HandleNotFound(handle.clone())),
            // A name without records and without a web server is simply nobody's.
            (Ok(None), Err(IdentityError::Unreachable(Unreachable::Http(error))))
                if error.fault == HttpFault::Connect =>
            {
                Err(IdentityError::HandleNotFound(handle.clone()))
            }
            (Err(down), _) | (_, Err(down)) => Err(down),
        }
    }
}
