//! The library face: an AT Protocol OAuth client for Rust programs that are no server of this kind.
//!
//! It stands on the same use cases as the server: sealed logins, verified accounts, one refresh at a time.

mod builder;
mod error;
mod session;
mod stores;

use std::sync::Arc;

use bowerbird_core::ports::{Clock, full_body};
use bowerbird_core::{BrowserBinding, Did, LoginEnding, LoginIdentifier, LoginPurpose, Platform};
use bowerbird_oauth::{Origin, Prompt, TransportPolicy};
use bowerbird_vault::CheckoutError;
use bytes::Bytes;
use http::{Method, Request, Response};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

pub use builder::{OAuthClientBuilder, OAuthClientPorts};
pub use error::OAuthError;
pub use session::OAuthSession;
pub use stores::{EphemeralKeys, SessionStore, StateStore};

use crate::Atproto;
use crate::login::StartLogin;
use crate::proxy::{ProxyError, UpstreamFault};
use crate::upstream::UpstreamCall;
use crate::whole_body::whole_body;

/// The largest answer that [`OAuthClient::make_authenticated_request`] reads, in bytes.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Signs people in and calls their servers. Cheap to clone.
///
/// ```
/// use std::sync::Arc;
/// use bowerbird_atproto::{OAuthClient, OAuthClientPorts};
/// use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
/// use http::Method;
/// # use bowerbird_testkit::{fault::FaultNetwork, http_client::TestClient};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let network = FaultNetwork::start().await; // a PDS on this machine, for the sake of the example
/// # let account = network.add_account("alice.test");
/// # let (did, hosts) = (account.did.clone(), network.egress_allow());
/// let clock = Arc::new(SystemClock::new());
/// let mut net = NetConfig::default();
/// # net.egress_allow = hosts.split(',').map(|host| host.parse()).collect::<Result<_, _>>()?;
/// let net = NetClient::new(net, clock.clone())?;
/// let ports = OAuthClientPorts { http: net.clone(), dns: net, clock, entropy: Arc::new(OsEntropy) };
/// let builder = OAuthClient::builder("http://127.0.0.1:5000".parse()?)?.scope("atproto transition:generic");
/// # let builder = builder.configure(|config| {
/// #     config.plc_url = network.plc().server().origin().parse().unwrap();
/// #     config.handle_resolver_url = Some(network.pds().origin().parse().unwrap());
/// #     config.transport = bowerbird_oauth::TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
/// # });
/// let client = builder.build(ports)?;
///
/// // Send the person there; they come back to http://127.0.0.1:5000/oauth/callback.
/// let (url, state) = client.start_authorization("alice.test", None).await?;
/// # let back: url::Url = TestClient::new().get(url.as_str()).await.header("location").unwrap().parse()?;
/// # let param = |name: &str| back.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
/// # let (code, iss) = (param("code"), param("iss"));
/// # assert_eq!(param("state"), state.expose());
///
/// let session = client.handle_callback(&code, state.expose(), Some(&iss)).await?;
/// assert_eq!((session.did().as_str(), session.handle()), (did.as_str(), "alice.test"));
///
/// let url = format!("{}/xrpc/com.atproto.server.getSession", session.pds_url());
/// let answer = client.make_authenticated_request(&session, Method::GET, &url).await?;
/// assert_eq!(answer.status(), 200);
///
/// let session = client.refresh_session(&session).await?;
/// client.revoke_session(&session).await?;
/// assert!(client.session(session.did()).await?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OAuthClient {
    atproto: Atproto,
    states: Arc<dyn StateStore>,
    sessions: SessionStore,
    clock: Arc<dyn Clock>,
    transport: TransportPolicy,
    browser: Option<BrowserBinding>,
}

impl OAuthClient {
    /// Begins to build a client for a program at `base_url`: on loopback a public one that needs no registration.
    pub fn builder(base_url: Url) -> Result<OAuthClientBuilder, url::ParseError> {
        OAuthClientBuilder::new(base_url)
    }

    /// The same client, whose logins are bound to one browser: they end only where they began.
    ///
    /// `cookie` is a random value that the program keeps in that browser (`HttpOnly`, `SameSite=Lax`). Web programs
    /// need this, or somebody can sign a visitor in to an account that is not theirs.
    #[must_use]
    pub fn for_browser(&self, cookie: &str) -> Self {
        let binding = BrowserBinding(Sha256::digest(cookie.as_bytes()).into());
        Self { browser: Some(binding), ..self.clone() }
    }

    /// Begins a login with a handle, a DID or the address of a server. Gives the URL to send the person to, and the
    /// `state` that the callback will bring.
    pub async fn start_authorization(
        &self,
        identifier: &str,
        prompt: Option<Prompt>,
    ) -> Result<(Url, bowerbird_core::Secret), OAuthError> {
        let started = self
            .atproto
            .logins
            .start(StartLogin {
                identifier: LoginIdentifier::parse(identifier)?,
                prompt,
                purpose: LoginPurpose::SignIn,
                return_to: "/".to_owned(),
                ending: LoginEnding::Browser,
                browser: self.browser,
                state: None,
            })
            .await?;
        Ok((started.authorize_url, started.state))
    }

    /// Ends a login with the parameters of the callback.
    pub async fn handle_callback(
        &self,
        code: &str,
        state: &str,
        iss: Option<&str>,
    ) -> Result<OAuthSession, OAuthError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("code", code).append_pair("state", state);
        if let Some(iss) = iss {
            query.append_pair("iss", iss);
        }
        self.handle_callback_query(&query.finish()).await
    }

    /// Ends a login with the whole query string of the callback, which may also bring a refusal.
    pub async fn handle_callback_query(&self, query: &str) -> Result<OAuthSession, OAuthError> {
        let finished = self.atproto.logins.finish(query, self.browser).await?;
        Ok(OAuthSession::new(finished.account, finished.connection.id, finished.granted_scope))
    }

    /// The stored session of an account; None when it never signed in here, or signed out.
    pub async fn session(&self, did: &Did) -> Result<Option<OAuthSession>, OAuthError> {
        let Some(account) = self.sessions.accounts.find_by_did(did).await? else { return Ok(None) };
        let connection = self.sessions.connections.find(account.id, &Platform::atproto(), did.as_str()).await?;
        let Some(connection) = connection else { return Ok(None) };
        let standing = self.atproto.vault.standing(connection.id).await?;
        Ok(standing.map(|standing| OAuthSession::new(account, connection.id, standing.scope)))
    }

    /// Calls the account's server, with a fresh access token, and reads the answer (of any status) whole.
    ///
    /// The URL must be at the session's server: access tokens go nowhere else.
    pub async fn make_authenticated_request(
        &self,
        session: &OAuthSession,
        method: Method,
        url: &str,
    ) -> Result<Response<Bytes>, OAuthError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|_| OAuthError::UnsafeUrl(url.to_owned()))?;
        self.send_authenticated(session, request).await
    }

    /// The same, with headers and a body.
    pub async fn send_authenticated(
        &self,
        session: &OAuthSession,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, OAuthError> {
        let (head, body) = request.into_parts();
        let url = self.at_own_server(session, &head.uri.to_string())?;
        let call = UpstreamCall {
            connection: session.connection(),
            method: head.method,
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            headers: head.headers,
            body: full_body(body),
        };
        let answer = self.atproto.upstream.call(call).await.map_err(OAuthError::from_call)?;
        let (head, body) = answer.into_parts();
        let body = whole_body(body, MAX_ANSWER_BYTES).await.map_err(OAuthError::Answer)?;
        Ok(Response::from_parts(head, body))
    }

    /// Renews the access token now, although it may still be good.
    pub async fn refresh_session(&self, session: &OAuthSession) -> Result<OAuthSession, OAuthError> {
        let standing = self.atproto.vault.standing(session.connection()).await?.ok_or(OAuthError::SessionNotFound)?;
        let renewed = self.atproto.vault.checkout_newer(session.connection(), standing.generation).await;
        match renewed {
            Ok(credential) => {
                let account = session.account().clone();
                Ok(OAuthSession::new(account, session.connection(), credential.scope.clone()))
            }
            Err(CheckoutError::NotFound) => Err(OAuthError::SessionNotFound),
            Err(CheckoutError::NeedsReauth(reason)) => Err(OAuthError::NeedsReauth(reason)),
            Err(CheckoutError::Store(error)) => Err(OAuthError::Store(error)),
            Err(error @ CheckoutError::TryLater { .. }) => Err(OAuthError::Refresh(error)),
        }
    }

    /// Signs out: forgets the tokens, and ends the grant at its issuer as well as that can be done within seconds.
    pub async fn revoke_session(&self, session: &OAuthSession) -> Result<(), OAuthError> {
        self.atproto.logins.release_and_wait(session.account()).await?;
        Ok(())
    }

    /// Removes logins that nobody ended within their ten minutes from the store, and says how many there were. Call it now
    /// and then, such as every minute; what has expired is of no use to anybody also without it.
    pub async fn cleanup(&self) -> Result<u64, OAuthError> {
        Ok(self.states.purge(self.clock.now()).await?)
    }

    /// The client metadata document, to be served at the client id.
    pub fn client_metadata(&self) -> Bytes {
        self.atproto.client.metadata_json()
    }

    /// The public keys, to be served at `/oauth/jwks.json`.
    pub fn jwks(&self) -> Bytes {
        self.atproto.client.jwks_json()
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        self.atproto.client.client_id()
    }

    /// The use cases below, for programs that outgrow this face.
    pub fn atproto(&self) -> &Atproto {
        &self.atproto
    }

    fn at_own_server(&self, session: &OAuthSession, url: &str) -> Result<Url, OAuthError> {
        let unsafe_url = || OAuthError::UnsafeUrl(url.to_owned());
        let parsed = Url::parse(url).ok().filter(|url| self.transport.allows(url)).ok_or_else(unsafe_url)?;
        let bare = parsed.username().is_empty() && parsed.password().is_none();
        let at_home = Origin::of(&parsed).is_some_and(|origin| origin.as_str() == session.pds_url());
        if bare && at_home { Ok(parsed) } else { Err(unsafe_url()) }
    }
}

impl OAuthError {
    fn from_call(error: ProxyError) -> Self {
        match error {
            ProxyError::NotConnected => Self::SessionNotFound,
            ProxyError::NeedsReauth { reason } => Self::NeedsReauth(reason),
            ProxyError::Store(error) => Self::Store(error),
            ProxyError::Upstream(UpstreamFault::Target) => Self::UnsafeUrl(String::new()),
            other => Self::PdsRequest(other),
        }
    }
}
