//! The room, put together.

use std::sync::Arc;

use bowerbird_oauth::{EndpointRule, Origin};
use bowerbird_vault::Vault;

use crate::allowed_servers::AllowedServers;
use crate::app_password::AppPasswords;
use crate::as_call::AsCaller;
use crate::client_identity::{CALLBACK_PATH, ClientIdentity};
use crate::config::{AtprotoConfig, AtprotoConfigError, AtprotoPorts};
use crate::discovery::Discovery;
use crate::identity::{Identities, IdentityConfig};
use crate::login::{LoginParts, Logins};
use crate::profiles::Profiles;
use crate::proxy::XrpcProxy;
use crate::refresher::GrantRefresher;
use crate::servers::Servers;
use crate::upstream::Upstream;

/// Every use case of this room, and the vault that they share. Cheap to clone.
#[derive(Clone)]
pub struct Atproto {
    /// Signing in, repairing, signing out.
    pub logins: Logins,
    /// Signing in with an app password.
    pub app_passwords: AppPasswords,
    /// Calls of apps, made at the accounts' own servers.
    pub proxy: XrpcProxy,
    /// Who we are to authorization servers.
    pub client: ClientIdentity,
    /// Who accounts are.
    pub identities: Identities,
    /// Names and pictures of accounts.
    pub profiles: Profiles,
    /// The credentials. Its refresher is this room's.
    pub vault: Vault,
    pub(crate) upstream: Upstream,
}

impl Atproto {
    /// Builds everything; reads nothing and sends nothing.
    pub fn new(config: AtprotoConfig, ports: AtprotoPorts) -> Result<Self, AtprotoConfigError> {
        Self::with_callback(config, ports, CALLBACK_PATH)
    }

    /// The same, with another path for logins to come back to.
    pub(crate) fn with_callback(
        config: AtprotoConfig,
        ports: AtprotoPorts,
        callback_path: &str,
    ) -> Result<Self, AtprotoConfigError> {
        let client = ClientIdentity::new(&config, callback_path)?;
        let own_origin = own_origin(&config)?;
        let allowed = AllowedServers::new(&config.allowed_pds)?;
        let AtprotoPorts { http, dns, clock, entropy, stores, keys, surroundings } = ports;
        let servers = Servers::new(Arc::clone(&clock)).observed_by(Arc::clone(&surroundings.observer));
        let identity_config = IdentityConfig {
            own_origin: own_origin.clone(),
            transport: config.transport.clone(),
            plc_url: config.plc_url,
            handle_resolver_url: config.handle_resolver_url,
            slingshot_url: config.slingshot_url,
            resolver: config.resolver,
        };
        let identities = Identities::new(identity_config, Arc::clone(&http), dns, &clock);
        let rule = if config.allow_foreign_endpoints { EndpointRule::AnyOrigin } else { EndpointRule::SameOrigin };
        let discovery = Discovery::new(Arc::clone(&http), config.transport.clone(), rule, servers.clone(), &clock);
        let caller = AsCaller::new(Arc::clone(&http), Arc::clone(&entropy), servers.clone(), client.clone());
        let refresher = GrantRefresher {
            identities: identities.clone(),
            discovery: discovery.clone(),
            caller: caller.clone(),
            http: Arc::clone(&http),
            clock: Arc::clone(&clock),
        };
        let vault = Vault::within(
            config.vault,
            &stores,
            keys,
            Arc::new(refresher),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            surroundings,
        );
        let upstream = Upstream::new(Arc::clone(&http), Arc::clone(&entropy), servers, vault.clone());
        let proxy =
            XrpcProxy::new(&config.proxy, Arc::clone(&stores.connections), Arc::clone(&clock), upstream.clone())?;
        let parts = Arc::new(LoginParts {
            identities: identities.clone(),
            discovery,
            caller,
            vault: vault.clone(),
            stores,
            clock,
            entropy,
            allowed,
            login_cap: config.login_cap,
            own_origin,
            transport: config.transport,
        });
        Ok(Self {
            logins: Logins::new(Arc::clone(&parts)),
            app_passwords: AppPasswords::new(parts),
            proxy,
            client,
            identities,
            profiles: Profiles::new(http),
            vault,
            upstream,
        })
    }
}

/// Our own address is taken as it is: plain http is fine for ourselves where a loopback client is.
fn own_origin(config: &AtprotoConfig) -> Result<Origin, AtprotoConfigError> {
    let url = &config.base_url;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    Origin::of(url).filter(|_| bare).ok_or(AtprotoConfigError::BaseUrl)
}
