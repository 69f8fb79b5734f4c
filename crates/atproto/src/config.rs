//! What this room is told once, by whoever composes it.

use std::sync::Arc;

use bowerbird_core::ports::{Clock, Dns, Entropy, HttpClient, KeyProvider, Stores};
use bowerbird_oauth::{PrivateJwkSet, TransportPolicy};
use bowerbird_vault::{VaultConfig, VaultSurroundings};
use url::Url;

use crate::identity::ResolverMode;
use crate::proxy::{ProxyPolicyConfig, ProxyPolicyError};

/// The settings of AT Protocol sign-in and of the proxy.
#[derive(Clone, Debug)]
pub struct AtprotoConfig {
    /// The origin of this server, such as `http://127.0.0.1:8080`.
    pub base_url: Url,
    /// The name that the authorization server shows to the person.
    pub app_name: String,
    /// The logo that it may show.
    pub logo_uri: Option<Url>,
    /// Where the privacy policy is.
    pub policy_uri: Option<Url>,
    /// Where the terms of service are.
    pub tos_uri: Option<Url>,
    /// The scope that every login asks for; must contain `atproto`.
    pub scope: String,
    /// The client's private keys, newest first; with them the client is confidential, without them public.
    pub client_keys: Option<PrivateJwkSet>,
    /// The did:plc directory.
    pub plc_url: Url,
    /// A host that is asked first for the DID of a handle, as a hint.
    pub handle_resolver_url: Option<Url>,
    /// How handles are resolved.
    pub resolver: ResolverMode,
    /// The Slingshot of the modes that use one.
    pub slingshot_url: Url,
    /// Which `host:port` may be spoken to over plain http.
    pub transport: TransportPolicy,
    /// Servers whose accounts may sign in, by host or host suffix; empty allows any.
    pub allowed_pds: Vec<String>,
    /// Whether an issuer's endpoints may be at other origins than the issuer (security row 7).
    pub allow_foreign_endpoints: bool,
    /// How many logins may be under way at once.
    pub login_cap: u64,
    /// What the proxy refuses.
    pub proxy: ProxyPolicyConfig,
    /// How the vault behaves, and the name of what it belongs to.
    pub vault: VaultConfig,
}

impl AtprotoConfig {
    /// The public directory and resolvers, any PDS, the default proxy policy, a public client.
    pub fn new(base_url: Url) -> Result<Self, url::ParseError> {
        Ok(Self {
            base_url,
            app_name: "Bowerbird".to_owned(),
            logo_uri: None,
            policy_uri: None,
            tos_uri: None,
            scope: "atproto transition:generic".to_owned(),
            client_keys: None,
            plc_url: Url::parse("https://plc.directory")?,
            handle_resolver_url: None,
            resolver: ResolverMode::Native,
            slingshot_url: Url::parse("https://slingshot.microcosm.blue")?,
            transport: TransportPolicy::https_only(),
            allowed_pds: Vec::new(),
            allow_foreign_endpoints: false,
            login_cap: 100_000,
            proxy: ProxyPolicyConfig::default(),
            vault: VaultConfig::new("bowerbird"),
        })
    }
}

/// Everything outside that this room needs.
#[derive(Clone)]
pub struct AtprotoPorts {
    /// The HTTP client.
    pub http: Arc<dyn HttpClient>,
    /// The DNS client.
    pub dns: Arc<dyn Dns>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The stores.
    pub stores: Stores,
    /// The key-encryption keys.
    pub keys: Arc<dyn KeyProvider>,
    /// Where the vault writes before the database does, and whom it tells what.
    pub surroundings: VaultSurroundings,
}

/// Settings that contradict each other or the protocol.
#[derive(Debug, thiserror::Error)]
pub enum AtprotoConfigError {
    /// The base URL is no origin.
    #[error("the base URL must be an origin such as https://bower.example: no path, no query")]
    BaseUrl,
    /// The client metadata that the settings make would be refused by authorization servers.
    #[error("{0}")]
    Client(String),
    /// An entry of the proxy policy is malformed.
    #[error("the proxy policy is not usable: {0}")]
    Proxy(#[from] ProxyPolicyError),
    /// An entry of the list of allowed servers is not a host name.
    #[error("{0:?} in the list of allowed servers is not a host name")]
    AllowedPds(String),
}
