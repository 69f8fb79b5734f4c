//! Whose accounts may sign in: an optional list of hosts.

use bowerbird_oauth::{Issuer, Origin};
use url::Host;

use crate::config::AtprotoConfigError;

/// The list; empty allows everyone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedServers(Vec<String>);

impl AllowedServers {
    pub(crate) fn new(entries: &[String]) -> Result<Self, AtprotoConfigError> {
        let host = |entry: &String| match Host::parse(entry.trim()) {
            Ok(host) => Ok(host.to_string()),
            Err(_) => Err(AtprotoConfigError::AllowedPds(entry.clone())),
        };
        entries.iter().map(host).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no list.
    pub(crate) fn is_everyone(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an account at this PDS, signed in by this issuer, may come in: one of the two is listed. (The accounts
    /// of bsky.social live on hosts of many names, and have bsky.social as their issuer.)
    pub(crate) fn admits(&self, pds: Option<&Origin>, issuer: &Issuer) -> bool {
        self.0.is_empty() || self.lists(issuer.origin()) || pds.is_some_and(|pds| self.lists(pds))
    }

    /// What a person from elsewhere is told.
    pub(crate) fn refusal(&self) -> String {
        match self.0.as_slice() {
            [only] if only == "bsky.social" => "Only Bluesky accounts (bsky.social PDS) are supported.".to_owned(),
            list => format!("Only accounts of these servers are supported: {}.", list.join(", ")),
        }
    }

    /// Whether the origin's host is an entry, or a name under one. Compared by whole labels, so that `evilbsky.social`
    /// is not `bsky.social`.
    fn lists(&self, origin: &Origin) -> bool {
        let url = origin.to_url();
        let host = url.host_str().unwrap_or_default();
        self.0
            .iter()
            .any(|entry| host.strip_suffix(entry.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_oauth::TransportPolicy;

    use super::*;

    #[test]
    fn hosts_are_compared_by_whole_labels() {
        let allowed = AllowedServers::new(&[" bsky.social ".into(), "bsky.network".into()]).unwrap();
        let https = TransportPolicy::https_only();
        let admits = |pds: &str, issuer: &str| {
            allowed.admits(Some(&Origin::parse(pds, &https).unwrap()), &Issuer::parse(issuer, &https).unwrap())
        };
        assert!(admits("https://morel.us-east.host.bsky.network", "https://bsky.social"));
        assert!(admits("https://pds.test", "https://bsky.social"));
        assert!(admits("https://morel.us-east.host.bsky.network", "https://as.test"));
        for host in ["https://evilbsky.social", "https://bsky.social.evil.test", "https://social"] {
            assert!(!admits(host, host), "{host}");
        }
        assert!(AllowedServers::default().admits(None, &Issuer::parse("https://any.test", &https).unwrap()));
        assert!(AllowedServers::new(&["https://bsky.social".into()]).is_err());
    }
}
