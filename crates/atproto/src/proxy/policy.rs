//! What an app may ask of an account's server through us, and of which services behind it (security row 72).

use std::collections::HashMap;

use bowerbird_core::{Did, Nsid};

/// The methods that are refused unless the operator allows them again. `.*` ends a prefix.
///
/// These change who owns an account, hand out other credentials for it, or speak for its server. A sealed session that
/// leaks for a minute must not become the loss of the account.
pub const DENIED_BY_DEFAULT: [(&str, &str); 30] = [
    ("com.atproto.admin.*", "administers a server"),
    ("com.atproto.identity.*", "changes the identity itself"),
    ("com.atproto.temp.*", "is temporary and undocumented"),
    ("com.atproto.repo.importRepo", "replaces the whole repository"),
    ("com.atproto.server.activateAccount", "changes whether the account exists"),
    ("com.atproto.server.confirmEmail", "changes the account's e-mail address"),
    ("com.atproto.server.createAccount", "makes another account"),
    ("com.atproto.server.createAppPassword", "makes a password"),
    ("com.atproto.server.createInviteCode", "makes invitations"),
    ("com.atproto.server.createInviteCodes", "makes invitations"),
    ("com.atproto.server.createSession", "takes a password"),
    ("com.atproto.server.deactivateAccount", "changes whether the account exists"),
    ("com.atproto.server.deleteAccount", "deletes the account"),
    ("com.atproto.server.deleteSession", "ends a session that is not ours"),
    ("com.atproto.server.getAccountInviteCodes", "shows invitations"),
    ("com.atproto.server.getServiceAuth", "hands out a credential"),
    ("com.atproto.server.listAppPasswords", "shows other credentials"),
    ("com.atproto.server.refreshSession", "hands out a credential"),
    ("com.atproto.server.requestAccountDelete", "deletes the account"),
    ("com.atproto.server.requestEmailConfirmation", "changes the account's e-mail address"),
    ("com.atproto.server.requestEmailUpdate", "changes the account's e-mail address"),
    ("com.atproto.server.requestPasswordReset", "changes the password"),
    ("com.atproto.server.reserveSigningKey", "changes the identity itself"),
    ("com.atproto.server.resetPassword", "changes the password"),
    ("com.atproto.server.revokeAppPassword", "ends other credentials"),
    ("com.atproto.server.updateEmail", "changes the account's e-mail address"),
    ("com.atproto.sync.notifyOfUpdate", "speaks for a server"),
    ("com.atproto.sync.requestCrawl", "speaks for a server"),
    ("com.atproto.sync.subscribeRepos", "is a stream for relays"),
    ("com.atproto.label.subscribeLabels", "is a stream for relays"),
];

/// The harmless readers under a denied prefix.
pub const ALLOWED_BY_DEFAULT: [&str; 3] =
    ["com.atproto.identity.resolveDid", "com.atproto.identity.resolveHandle", "com.atproto.identity.resolveIdentity"];

/// The services that `atproto-proxy` may name by default, by DID: Bluesky's app view, chat, video and moderation.
pub const SERVICES_BY_DEFAULT: [&str; 4] =
    ["did:web:api.bsky.app", "did:web:api.bsky.chat", "did:web:video.bsky.app", "did:plc:ar7c4by46qjdydhdevvrndac"];

/// What the operator adds to the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyPolicyConfig {
    /// More methods to refuse: names, or prefixes that end in `.*`.
    pub denied: Vec<String>,
    /// Methods to allow although a default (or an entry of `denied`) refuses them: names, or prefixes in `.*`. A name
    /// goes before a prefix, a longer prefix before a shorter one.
    pub allowed: Vec<String>,
    /// Which services `atproto-proxy` may name.
    pub services: AllowedServices,
}

/// Which services `atproto-proxy` may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedServices {
    /// [`SERVICES_BY_DEFAULT`].
    #[default]
    Default,
    /// Any.
    Any,
    /// These, each a DID (all its services) or `did#service`.
    Only(Vec<String>),
}

/// Why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a method name nor a prefix such as com.example.*")]
pub struct ProxyPolicyError(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

/// The compiled policy.
#[derive(Debug)]
pub(crate) struct ProxyPolicy {
    // Lower-case. The reference server's router does not care about the case of a path, so `DeleteAccount` must not
    // pass where `deleteAccount` does not.
    names: HashMap<String, Verdict>,
    prefixes: HashMap<String, Verdict>,
    services: Option<Vec<String>>,
}

impl ProxyPolicy {
    pub(crate) fn new(config: &ProxyPolicyConfig) -> Result<Self, ProxyPolicyError> {
        let mut policy = Self { names: HashMap::new(), prefixes: HashMap::new(), services: None };
        for (entry, _) in DENIED_BY_DEFAULT {
            policy.add(entry, Verdict::Deny)?;
        }
        for entry in ALLOWED_BY_DEFAULT {
            policy.add(entry, Verdict::Allow)?;
        }
        for entry in &config.denied {
            policy.add(entry, Verdict::Deny)?;
        }
        for entry in &config.allowed {
            policy.add(entry, Verdict::Allow)?;
        }
        policy.services = match &config.services {
            AllowedServices::Default => Some(SERVICES_BY_DEFAULT.iter().map(|&s| s.to_owned()).collect()),
            AllowedServices::Any => None,
            AllowedServices::Only(services) => Some(services.clone()),
        };
        Ok(policy)
    }

    fn add(&mut self, entry: &str, verdict: Verdict) -> Result<(), ProxyPolicyError> {
        let lower = entry.to_ascii_lowercase();
        if let Some(prefix) = lower.strip_suffix(".*") {
            let labels_ok =
                prefix.split('.').all(|label| !label.is_empty() && Nsid::parse(&format!("a.{label}.b")).is_ok());
            if !labels_ok {
                return Err(ProxyPolicyError(entry.to_owned()));
            }
            self.prefixes.insert(prefix.to_owned(), verdict);
        } else {
            Nsid::parse(&lower).map_err(|_| ProxyPolicyError(entry.to_owned()))?;
            self.names.insert(lower, verdict);
        }
        Ok(())
    }

    /// Whether a method may be called. A few hash lookups, no allocation.
    pub(crate) fn allows_method(&self, nsid: &Nsid) -> bool {
        let mut buffer = [0; 320];
        let Some(lower) = buffer.get_mut(..nsid.as_str().len()) else { return false };
        lower.copy_from_slice(nsid.as_str().as_bytes());
        lower.make_ascii_lowercase();
        let Ok(name) = std::str::from_utf8(lower) else { return false };
        if let Some(verdict) = self.names.get(name) {
            return *verdict == Verdict::Allow;
        }
        let mut rest = name;
        while let Some((prefix, _)) = rest.rsplit_once('.') {
            if let Some(verdict) = self.prefixes.get(prefix) {
                return *verdict == Verdict::Allow;
            }
            rest = prefix;
        }
        true
    }

    /// Whether `atproto-proxy` may name this service.
    pub(crate) fn allows_service(&self, service: ServiceName<'_>) -> bool {
        let Some(allowed) = &self.services else { return true };
        allowed.iter().any(|entry| entry == service.did || entry == service.whole)
    }
}

/// The value of `atproto-proxy`: a DID, `#`, and the name of one of its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName<'a> {
    whole: &'a str,
    did: &'a str,
}

impl<'a> ServiceName<'a> {
    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (did, service) = value.split_once('#')?;
        let service_ok = (1..=64).contains(&service.len())
            && service.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        (service_ok && Did::parse(did).is_ok()).then_some(Self { whole: value, did })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &ProxyPolicy, name: &str) -> bool {
        policy.allows_method(&Nsid::parse(name).unwrap())
    }

    #[test]
    fn row_72_dangerous_methods_are_denied_in_every_spelling() {
        let policy = ProxyPolicy::new(&ProxyPolicyConfig::default()).unwrap();
        for (entry, _) in DENIED_BY_DEFAULT {
            let name = entry.replace(".*", ".anyThing");
            assert!(!allows(&policy, &name), "{name}");
            assert!(!allows(&policy, &name.to_uppercase()), "{name} in capitals");
            assert!(!allows(&policy, &name.to_lowercase()), "{name} in small letters");
        }
        for name in [
            "com.atproto.server.getSession",
            "com.atproto.repo.createRecord",
            "com.atproto.repo.uploadBlob",
            "com.atproto.identity.resolveHandle",
            "com.atproto.identityx.updateHandle",
            "app.bsky.feed.getTimeline",
            "chat.bsky.convo.listConvos",
            "net.example.anything",
        ] {
            assert!(allows(&policy, name), "{name}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let config = ProxyPolicyConfig {
            denied: vec!["app.bsky.*".into(), "net.example.one".into()],
            allowed: vec!["com.atproto.server.getServiceAuth".into(), "app.bsky.feed.*".into()],
            services: AllowedServices::Any,
        };
        let policy = ProxyPolicy::new(&config).unwrap();
        assert!(allows(&policy, "com.atproto.server.getServiceAuth"));
        assert!(allows(&policy, "app.bsky.feed.getTimeline"));
        assert!(!allows(&policy, "app.bsky.graph.getFollows"));
        assert!(!allows(&policy, "net.example.one"));
        for bad in ["*", ".*", "com..x.*", "nonsense", "com.atproto.*.x", ""] {
            let config = ProxyPolicyConfig { denied: vec![bad.to_owned()], ..ProxyPolicyConfig::default() };
            assert_eq!(ProxyPolicy::new(&config).unwrap_err(), ProxyPolicyError(bad.to_owned()));
        }
    }

    #[test]
    fn row_72_only_known_services() {
        let service = |value| ServiceName::parse(value).unwrap();
        let default = ProxyPolicy::new(&ProxyPolicyConfig::default()).unwrap();
        assert!(default.allows_service(service("did:web:api.bsky.app#bsky_appview")));
        assert!(!default.allows_service(service("did:web:evil.example#bsky_appview")));
        assert!(!default.allows_service(service("did:web:api.bsky.app.evil.example#bsky_appview")));
        let only = AllowedServices::Only(vec!["did:web:a.test#x".into()]);
        let only = ProxyPolicy::new(&ProxyPolicyConfig { services: only, ..ProxyPolicyConfig::default() }).unwrap();
        assert!(only.allows_service(service("did:web:a.test#x")));
        assert!(!only.allows_service(service("did:web:a.test#y")));
        for bad in
            ["", "did:web:a.test", "did:web:a.test#", "#x", "a.test#x", "did:web:a.test#x#y", "did:web:a.test#x y"]
        {
            assert_eq!(ServiceName::parse(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn service_names_are_a_did_and_a_name(value in "(did:[a-z]{1,6}:[a-zA-Z0-9.:%-]{0,20})?#?[a-z_#/ ]{0,10}") {
            if let Some(service) = ServiceName::parse(&value) {
                proptest::prop_assert_eq!(service.whole, value.as_str());
                proptest::prop_assert!(Did::parse(service.did).is_ok());
                proptest::prop_assert_eq!(value.matches('#').count(), 1);
            }
        }
    }
}
