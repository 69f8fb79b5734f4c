//! `host:port` pairs that the operator exempts from the rules.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use url::Host;

/// An exact host and port, the host as it is written in URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: Host<String>,
    port: u16,
}

impl HostPort {
    /// Reads `host:port`; an IPv6 address stands in brackets. Fails when the port is missing or 0, or when the host is
    /// not one by the WHATWG URL standard.
    pub fn parse(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.trim().rsplit_once(':').ok_or(HostPortError::NoPort)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostPortError::Port);
        }
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(HostPortError::Port)?;
        // A URL may hold a star, so the parser takes it; an operator who writes one hopes for a wildcard.
        if host.contains('*') {
            return Err(HostPortError::Wildcard);
        }
        let host = Host::parse(host).map_err(HostPortError::Host)?;
        Ok(Self { host, port })
    }

    pub(crate) fn new(host: Host<String>, port: u16) -> Self {
        Self { host, port }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a text is no [`HostPort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// No colon.
    #[error("write host:port, for example pds.internal:3000")]
    NoPort,
    /// Not a number from 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// A star.
    #[error("wildcards are not supported; name every host:port")]
    Wildcard,
    /// Not a host name or an address.
    #[error("the host is neither a name nor an address (an IPv6 address stands in brackets)")]
    Host(#[source] url::ParseError),
}

/// The exempted pairs, looked up in constant time.
#[derive(Debug, Default)]
pub(crate) struct Allowlist(HashSet<HostPort>);

impl Allowlist {
    pub(crate) fn new(entries: impl IntoIterator<Item = HostPort>) -> Self {
        Self(entries.into_iter().collect())
    }

    pub(crate) fn contains(&self, entry: &HostPort) -> bool {
        self.0.contains(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses() {
        for (text, shown) in [
            ("localhost:2583", "localhost:2583"),
            ("  PDS.Internal:3000 ", "pds.internal:3000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_is_not_exact() {
        assert_eq!(HostPort::parse("localhost"), Err(HostPortError::NoPort));
        assert_eq!(HostPort::parse("localhost:"), Err(HostPortError::Port));
        assert_eq!(HostPort::parse("localhost:0"), Err(HostPortError::Port));
        assert_eq!(HostPort::parse("localhost:+80"), Err(HostPortError::Port));
        assert_eq!(HostPort::parse("localhost:65536"), Err(HostPortError::Port));
        assert_eq!(HostPort::parse("*:80"), Err(HostPortError::Wildcard));
        for text in ["http://localhost:80", "::1:80", ":80", "a b:80", "10.0.0.0/8:80", "user@host:80"] {
            assert!(matches!(HostPort::parse(text), Err(HostPortError::Host(_))), "{text}");
        }
    }
}
