//! What follows from the base URL alone, worked out once.

use std::sync::Arc;

use http::HeaderValue;
use url::{Host, Url};

use crate::client_address::AddressRange;
use crate::config::ServerConfig;
use crate::mobile::MobileConfig;
use crate::overview::AuthType;

/// The facts of this installation that nearly every handler needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Site(Arc<Facts>);

/// See [`Site`].
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Facts {
    /// The base URL, an origin with the path `/`.
    pub(crate) base_url: Url,
    /// `scheme://host[:port]`.
    pub(crate) origin: String,
    /// `host[:port]`, as a client must write it in `Host`.
    pub(crate) authority: String,
    /// Whether clients come by https: cookies are `Secure` and carry the `__Host-` prefix.
    pub(crate) https: bool,
    /// Whether the base URL is a loopback address, where development is easier.
    pub(crate) loopback: bool,
    /// The name of the app.
    pub(crate) app_name: String,
    /// Links of the pages.
    pub(crate) policy_uri: Option<Url>,
    /// Links of the pages.
    pub(crate) tos_uri: Option<Url>,
    /// Life of a session in seconds, after its last use.
    pub(crate) session_ttl: i64,
    /// How long a grant lasts at most, in seconds after the login.
    pub(crate) session_cap: i64,
    /// Whether access tokens may be shown.
    pub(crate) expose_tokens: bool,
    /// Whether people may sign in with app passwords.
    pub(crate) app_passwords: bool,
    /// What the operator says about apps.
    pub(crate) mobile: MobileConfig,
    /// The origins that may call with credentials.
    pub(crate) cors_origins: Vec<HeaderValue>,
    /// The reverse proxies that are believed.
    pub(crate) trusted_proxies: Vec<AddressRange>,
    /// The version of the program.
    pub(crate) version: &'static str,
}

impl Site {
    /// Works the facts out. `session_cap` is what the authorization server gives this kind of client.
    pub(crate) fn new(config: ServerConfig, session_cap: i64) -> Self {
        let base_url = config.base_url;
        let origin = base_url.origin().ascii_serialization();
        let authority = origin.split_once("://").map_or_else(String::new, |(_, rest)| rest.to_owned());
        let trusted = |text: &String| {
            let range = AddressRange::parse(text);
            if range.is_none() {
                tracing::error!(entry = %text, "not an address or network; this proxy is not trusted");
            }
            range
        };
        Self(Arc::new(Facts {
            https: base_url.scheme() == "https",
            loopback: is_loopback(&base_url),
            origin,
            authority,
            app_name: config.app_name,
            policy_uri: config.policy_uri,
            tos_uri: config.tos_uri,
            session_ttl: config.session_ttl.min(session_cap).max(1),
            session_cap,
            expose_tokens: config.expose_tokens,
            app_passwords: config.app_passwords,
            mobile: config.mobile,
            cors_origins: config.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect(),
            trusted_proxies: config.trusted_proxies.iter().filter_map(trusted).collect(),
            version: config.version,
            base_url,
        }))
    }

    /// An absolute URL of this server for an absolute path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The link under which a person repairs an account.
    pub(crate) fn repair_url(&self, account: bowerbird_core::AccountId) -> String {
        self.url(&format!("/login/repair/{account}"))
    }

    /// The link under which a person replaces an app password by OAuth: new consent for exactly that account, as for a
    /// repair. None where nothing is to be replaced.
    pub(crate) fn upgrade_url(
        &self,
        account: bowerbird_core::AccountId,
        auth_type: Option<AuthType>,
    ) -> Option<String> {
        (auth_type == Some(AuthType::AppPassword)).then(|| self.repair_url(account))
    }

    /// Whether this is our own origin, or one that the operator listed, as a browser writes it in `Origin`.
    pub(crate) fn admits_origin(&self, origin: &HeaderValue) -> bool {
        origin.as_bytes() == self.origin.as_bytes() || self.cors_origins.contains(origin)
    }
}

impl std::ops::Deref for Site {
    type Target = Facts;
    fn deref(&self) -> &Facts {
        &self.0
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn site(base_url: &str) -> Site {
        let config = ServerConfig {
            base_url: Url::parse(base_url).unwrap(),
            app_name: "Bower".to_owned(),
            session_ttl: 604_800,
            cors_origins: vec!["https://app.example".to_owned()],
            trusted_proxies: vec!["10.0.0.0/8".to_owned(), "nonsense".to_owned()],
            expose_tokens: false,
            app_passwords: true,
            mobile: MobileConfig::default(),
            policy_uri: None,
            tos_uri: None,
            version: "1.2.3",
        };
        Site::new(config, 1_209_600)
    }

    #[test]
    fn the_authority_leaves_a_default_port_out() {
        assert_eq!(site("https://bower.example:443").authority, "bower.example");
        assert_eq!(site("http://127.0.0.1:8080").authority, "127.0.0.1:8080");
        assert!(site("http://127.0.0.1:8080").loopback);
        assert!(!site("https://bower.example").loopback);
    }

    #[test]
    fn an_unreadable_proxy_is_not_trusted() {
        assert_eq!(site("https://bower.example").trusted_proxies.len(), 1);
    }
}
