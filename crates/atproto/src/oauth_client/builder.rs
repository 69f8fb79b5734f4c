//! Putting a client together.

use std::sync::Arc;

use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{Clock, Dns, Entropy, HttpClient, KeyProvider, Stores};
use bowerbird_oauth::PrivateJwkSet;
use bowerbird_vault::VaultSurroundings;
use url::Url;

use super::OAuthClient;
use super::stores::{EphemeralKeys, SessionStore, StateStore};
use crate::client_identity::CALLBACK_PATH;
use crate::{Atproto, AtprotoConfig, AtprotoConfigError, AtprotoPorts};

/// What a client needs from outside; `bowerbird-net` has all four.
#[derive(Clone)]
pub struct OAuthClientPorts {
    /// The HTTP client.
    pub http: Arc<dyn HttpClient>,
    /// The DNS client.
    pub dns: Arc<dyn Dns>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Collects the settings of an [`OAuthClient`].
#[must_use = "a builder does nothing until it builds"]
pub struct OAuthClientBuilder {
    config: AtprotoConfig,
    callback_path: String,
    states: Option<Arc<dyn StateStore>>,
    sessions: Option<SessionStore>,
    keys: Option<Arc<dyn KeyProvider>>,
}

impl OAuthClientBuilder {
    pub(super) fn new(base_url: Url) -> Result<Self, url::ParseError> {
        let config = AtprotoConfig::new(base_url)?;
        Ok(Self { config, callback_path: CALLBACK_PATH.to_owned(), states: None, sessions: None, keys: None })
    }

    /// What every login asks for; must contain `atproto`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.config.scope = scope.into();
        self
    }

    /// The name that people see when they consent.
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.config.app_name = name.into();
        self
    }

    /// The path that logins come back to, instead of `/oauth/callback`.
    pub fn callback_path(mut self, path: impl Into<String>) -> Self {
        self.callback_path = path.into();
        self
    }

    /// Makes the client confidential: sessions of years instead of two weeks. Needs a public https base URL.
    pub fn client_keys(mut self, keys: PrivateJwkSet) -> Self {
        self.config.client_keys = Some(keys);
        self
    }

    /// Keeps logins under way in another store than memory.
    pub fn state_store(mut self, store: Arc<dyn StateStore>) -> Self {
        self.states = Some(store);
        self
    }

    /// Keeps sessions in another store than memory; `keys` must outlive the process, like the store.
    pub fn session_store(mut self, store: SessionStore, keys: Arc<dyn KeyProvider>) -> Self {
        self.sessions = Some(store);
        self.keys = Some(keys);
        self
    }

    /// Changes any other setting.
    pub fn configure(mut self, change: impl FnOnce(&mut AtprotoConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Builds the client; reads nothing and sends nothing.
    pub fn build(self, ports: OAuthClientPorts) -> Result<OAuthClient, AtprotoConfigError> {
        let memory = MemoryStores::new();
        let sessions = self.sessions.unwrap_or_else(|| SessionStore::of(&memory));
        let states = self.states.unwrap_or(memory.authorization_requests);
        let stores = Stores {
            accounts: Arc::clone(&sessions.accounts),
            connections: Arc::clone(&sessions.connections),
            credentials: Arc::clone(&sessions.credentials),
            data_keys: Arc::clone(&sessions.data_keys),
            authorization_requests: Arc::clone(&states),
            device_sessions: memory.device_sessions,
            handoffs: memory.handoffs,
            renewals: memory.renewals,
            alerts: memory.alerts,
            security_events: memory.security_events,
            older_contract: memory.older_contract,
        };
        let keys = self.keys.unwrap_or_else(|| Arc::new(EphemeralKeys::new(ports.entropy.as_ref())));
        let transport = self.config.transport.clone();
        let OAuthClientPorts { http, dns, clock, entropy } = ports;
        let surroundings = VaultSurroundings::default();
        let ports = AtprotoPorts { http, dns, clock: Arc::clone(&clock), entropy, stores, keys, surroundings };
        let atproto = Atproto::with_callback(self.config, ports, &self.callback_path)?;
        Ok(OAuthClient { atproto, states, sessions, clock, transport, browser: None })
    }
}
