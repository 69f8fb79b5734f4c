//! Client identifiers: the https URL of a metadata document, or the loopback exemption.

use std::fmt;

use url::{Host, Url};

/// Longest client id, in bytes.
const MAX_BYTES: usize = 2048;

/// A client id: the URL of the client's metadata document, or `http://localhost?…` for development.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// Reads a client id; the text must be canonical, since authorization servers compare it byte by byte.
    ///
    /// An https client id names a host (no IP address, no port) and a path that is not just `/`. A loopback one is
    /// exactly `http://localhost` with an optional `/` and query.
    pub fn parse(text: &str) -> Result<Self, ClientIdError> {
        if text.len() > MAX_BYTES {
            return Err(ClientIdError::BadUrl);
        }
        let url = Url::parse(text).map_err(|_| ClientIdError::BadUrl)?;
        if text.contains('#') {
            return Err(ClientIdError::Fragment);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ClientIdError::Credentials);
        }
        match url.scheme() {
            "http" => Self::check_loopback(text)?,
            "https" => Self::check_discoverable(text, &url)?,
            _ => return Err(ClientIdError::NotHttps),
        }
        Ok(Self(text.to_owned()))
    }

    fn check_loopback(text: &str) -> Result<(), ClientIdError> {
        let rest = text.strip_prefix("http://localhost").ok_or(ClientIdError::NotHttps)?;
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.is_empty() || rest.starts_with('?') { Ok(()) } else { Err(ClientIdError::LoopbackShape) }
    }

    fn check_discoverable(text: &str, url: &Url) -> Result<(), ClientIdError> {
        if !matches!(url.host(), Some(Host::Domain(_))) {
            return Err(ClientIdError::IpHost);
        }
        if url.port().is_some() {
            return Err(ClientIdError::Port);
        }
        if url.as_str() != text {
            return Err(ClientIdError::NotCanonical);
        }
        if url.path() == "/" || url.path().ends_with('/') {
            return Err(ClientIdError::NoPath);
        }
        Ok(())
    }

    /// The client id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client id as a URL.
    #[expect(clippy::expect_used, reason = "the text was parsed as a URL when the id was made")]
    pub fn to_url(&self) -> Url {
        Url::parse(&self.0).expect("a client id is a URL")
    }

    /// Whether this is the loopback exemption, whose metadata nobody fetches.
    pub fn is_loopback(&self) -> bool {
        self.0.starts_with("http://")
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// Not a URL, or longer than 2048 bytes.
    #[error("the client id is not a URL")]
    BadUrl,
    /// Neither https nor `http://localhost`.
    #[error("the client id must be an https URL; only http://localhost?redirect_uri=… is exempt")]
    NotHttps,
    /// The URL carries a user name or password.
    #[error("the client id carries a user name or password; remove it")]
    Credentials,
    /// The URL has a fragment.
    #[error("the client id has a fragment; remove it")]
    Fragment,
    /// The URL names a port.
    #[error("the client id names a port; serve the metadata document at the default https port")]
    Port,
    /// The host is an IP address.
    #[error("the client id's host is an IP address; use a host name")]
    IpHost,
    /// The path is empty or ends with a slash.
    #[error("the client id needs the path of its metadata document, such as /oauth-client-metadata.json")]
    NoPath,
    /// The text is not the canonical form of its URL.
    #[error("the client id is not written canonically (lowercase host, no default port, no dot segments)")]
    NotCanonical,
    /// `http://localhost` with a port or path.
    #[error("a loopback client id is http://localhost with a query only: no port, no path")]
    LoopbackShape,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ids_are_taken_as_they_are() {
        for text in [
            "https://bower.example/oauth-client-metadata.json",
            "https://bower.example/a/b?c=d",
            "http://localhost",
            "http://localhost/",
            "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fcb&scope=atproto",
        ] {
            assert_eq!(ClientId::parse(text).unwrap().as_str(), text);
        }
        assert!(ClientId::parse("http://localhost").unwrap().is_loopback());
        assert!(!ClientId::parse("https://a.example/b").unwrap().is_loopback());
    }

    #[test]
    fn every_rule_has_its_refusal() {
        for (text, fault) in [
            ("bower.example/x", ClientIdError::BadUrl),
            ("ftp://bower.example/x", ClientIdError::NotHttps),
            ("http://bower.example/x", ClientIdError::NotHttps),
            ("http://127.0.0.1/x", ClientIdError::NotHttps),
            ("HTTP://localhost", ClientIdError::NotHttps),
            ("https://u:p@bower.example/x", ClientIdError::Credentials),
            ("https://bower.example/x#y", ClientIdError::Fragment),
            ("https://bower.example/x#", ClientIdError::Fragment),
            ("https://bower.example:8443/x", ClientIdError::Port),
            ("https://192.0.2.1/x", ClientIdError::IpHost),
            ("https://[::1]/x", ClientIdError::IpHost),
            ("https://bower.example", ClientIdError::NotCanonical),
            ("https://bower.example/", ClientIdError::NoPath),
            ("https://bower.example/x/", ClientIdError::NoPath),
            ("https://bower.example:443/x", ClientIdError::NotCanonical),
            ("https://BOWER.example/x", ClientIdError::NotCanonical),
            ("https://bower.example/a/../x", ClientIdError::NotCanonical),
            ("http://localhost:8080", ClientIdError::LoopbackShape),
            ("http://localhost/cb", ClientIdError::LoopbackShape),
            ("http://localhost.example", ClientIdError::LoopbackShape),
        ] {
            assert_eq!(ClientId::parse(text).unwrap_err(), fault, "{text}");
        }
        assert_eq!(
            ClientId::parse(&format!("https://a.example/{}", "x".repeat(2048))).unwrap_err(),
            ClientIdError::BadUrl
        );
    }
}
