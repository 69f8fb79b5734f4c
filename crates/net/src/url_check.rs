//! The first check: what a URL says, before anything is looked up.

use bowerbird_core::ports::HttpFault;
use http::Uri;
use url::{Host, Url};

use crate::HostPort;
use crate::address::is_public;
use crate::allowlist::Allowlist;

/// Names that never lead to the public internet (RFC 6761, RFC 6762, RFC 7686, RFC 8375, and ICANN's `internal`).
const PRIVATE_SUFFIXES: [&str; 6] = ["localhost", "local", "internal", "invalid", "onion", "home.arpa"];

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// TLS or plain.
    pub(crate) secure: bool,
    /// The host as the WHATWG URL standard reads it.
    pub(crate) host: Host<String>,
    /// The port, written or default.
    pub(crate) port: u16,
    /// In the allowlist: may be private.
    pub(crate) exempt: bool,
}

/// Reads scheme and authority of a URL and checks them.
///
/// The host that is checked is the one that is connected to: a second reader of URLs that sees another host in the same
/// text (`0x7f.1`, percent signs, upper case) cannot come between.
pub(crate) fn check(uri: &Uri, allowlist: &Allowlist) -> Result<Target, HttpFault> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(HttpFault::UrlNotAllowed);
    };
    let secure = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(HttpFault::UrlNotAllowed),
    };
    // Url drops an empty "@" silently, so look at the text.
    if authority.as_str().contains('@') {
        return Err(HttpFault::UrlNotAllowed);
    }
    let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| HttpFault::UrlNotAllowed)?;
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default().filter(|&port| port != 0)) else {
        return Err(HttpFault::UrlNotAllowed);
    };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(HttpFault::UrlNotAllowed);
    }
    let host = host.to_owned();
    let exempt = allowlist.contains(&HostPort::new(host.clone(), port));
    if !exempt {
        if !host_is_public(&host) {
            return Err(HttpFault::AddressNotAllowed);
        }
        if !secure {
            return Err(HttpFault::UrlNotAllowed);
        }
    }
    Ok(Target { secure, host, port, exempt })
}

/// Literal addresses are classified here, since no resolver will ever see them.
fn host_is_public(host: &Host<String>) -> bool {
    match host {
        Host::Ipv4(address) => is_public((*address).into()),
        Host::Ipv6(address) => is_public((*address).into()),
        Host::Domain(name) => {
            // A trailing dot is a second spelling of the same host, and single labels exist in private networks only.
            let dotted = !name.ends_with('.') && name.contains('.');
            dotted && !PRIVATE_SUFFIXES.iter().any(|suffix| is_below(name, suffix))
        }
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
