//! Who may be spoken to, and how: transport policy, origins, issuers and the endpoints of an issuer.

use std::{collections::BTreeSet, fmt, sync::Arc};

use http::Uri;
use url::{Host, Position, Url};

/// Longest URL that is taken from a document, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Which transports are acceptable: https always, plain http only for an explicit list of `host:port` pairs.
#[derive(Clone, Debug, Default)]
pub struct TransportPolicy {
    plain_http: Arc<BTreeSet<String>>,
}

impl TransportPolicy {
    /// The policy of every real deployment: https and nothing else.
    pub fn https_only() -> Self {
        Self::default()
    }

    /// Allows plain http too, for exactly these `host:port` pairs (test networks, development).
    pub fn with_plain_http<I>(host_ports: I) -> Self
    where
        I: IntoIterator<Item = String>,
    {
        let plain_http = host_ports.into_iter().map(|entry| entry.trim().to_ascii_lowercase()).collect();
        Self { plain_http: Arc::new(plain_http) }
    }

    /// Whether a request may be sent to this URL's scheme, host and port.
    pub fn allows(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => url.has_host(),
            "http" => self.lists(url),
            _ => false,
        }
    }

    /// Whether this URL's host and port are listed by the operator.
    fn lists(&self, url: &Url) -> bool {
        match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) => self.plain_http.contains(&format!("{host}:{port}")),
            _ => false,
        }
    }
}

/// Scheme, host and port of a server, and nothing else.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// `scheme://host[:port]`, canonical: lowercase, default port left out.
    text: String,
}

impl Origin {
    /// Reads an origin; a lone trailing slash is tolerated, anything more is not.
    pub fn parse(input: &str, policy: &TransportPolicy) -> Result<Self, OriginError> {
        let url = parse_url(input).ok_or(OriginError::BadUrl)?;
        if !policy.allows(&url) {
            return Err(OriginError::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OriginError::Credentials);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(OriginError::NotAnOrigin);
        }
        Self::of(&url).ok_or(OriginError::BadUrl)
    }

    /// The origin of an http or https URL; `None` for every other scheme.
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return None;
        }
        let before = &url[..Position::BeforeUsername];
        let after = &url[Position::BeforeHost..Position::BeforePath];
        Some(Self { text: format!("{before}{after}") })
    }

    /// The origin as text: `scheme://host[:port]`, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// This origin's URL with the given absolute path, for instance `/.well-known/oauth-protected-resource`.
    pub fn at_path(&self, path: &str) -> Url {
        let mut url = self.to_url();
        url.set_path(path);
        url
    }

    /// This origin as a URL (its path is `/`).
    #[expect(clippy::expect_used, reason = "the text was printed by `Url` itself, so that it parses again")]
    pub fn to_url(&self) -> Url {
        Url::parse(&self.text).expect("an origin is a URL")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.text)
    }
}

/// Why a text is not an acceptable origin or issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// The text is not a URL with a host, or is longer than 2048 bytes.
    #[error("not a URL with a host; write https://host")]
    BadUrl,
    /// The scheme is not https, and the host and port are not listed for plain http.
    #[error("not an https URL; plain http must be allowed for this very host and port (BOWERBIRD_EGRESS_ALLOW)")]
    NotHttps,
    /// The URL carries a user name or password.
    #[error("the URL carries a user name or password; remove it")]
    Credentials,
    /// The URL has a path, a query or a fragment.
    #[error("the URL has a path, query or fragment; only scheme, host and port belong here")]
    NotAnOrigin,
    /// The issuer is written in another form than the canonical one (trailing slash, upper case, default port).
    #[error("the issuer is not written canonically: lowercase, no trailing slash, no default port")]
    NotCanonical,
    /// The host is an IP address.
    #[error("the issuer's host is an IP address; an issuer is named by a host name")]
    IpHost,
}

/// An authorization server's issuer identifier (RFC 8414 §2): in the AT Protocol a plain origin, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Issuer(Origin);

impl Issuer {
    /// Reads an issuer; the text must be the canonical form itself, since issuers are compared byte by byte.
    ///
    /// A host that is an IP address is refused, unless its host and port are listed for plain http.
    pub fn parse(input: &str, policy: &TransportPolicy) -> Result<Self, OriginError> {
        let origin = Origin::parse(input, policy)?;
        if origin.as_str() != input {
            return Err(OriginError::NotCanonical);
        }
        let url = origin.to_url();
        if !matches!(url.host(), Some(Host::Domain(_))) && !policy.lists(&url) {
            return Err(OriginError::IpHost);
        }
        Ok(Self(origin))
    }

    /// The issuer as text, as it appears in `iss` and in metadata.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The issuer's origin.
    pub fn origin(&self) -> &Origin {
        &self.0
    }

    /// Compares byte by byte with a text from a document or a callback (RFC 9207 §2.4).
    pub fn is(&self, text: &str) -> bool {
        self.as_str() == text
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A URL at which an issuer answers: https (or listed), without credentials and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    uri: Uri,
}

impl Endpoint {
    /// Reads an endpoint that must live at the issuer's own origin.
    pub fn parse(input: &str, issuer: &Issuer, policy: &TransportPolicy) -> Result<Self, EndpointError> {
        let endpoint = Self::parse_foreign(input, policy)?;
        if Origin::of(&endpoint.url).as_ref() != Some(issuer.origin()) {
            return Err(EndpointError::ForeignOrigin);
        }
        Ok(endpoint)
    }

    /// Reads an endpoint that may live at any origin: for deployments whose operator allows that on purpose.
    pub fn parse_foreign(input: &str, policy: &TransportPolicy) -> Result<Self, EndpointError> {
        let url = parse_url(input).ok_or(EndpointError::BadUrl)?;
        if !policy.allows(&url) {
            return Err(EndpointError::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(EndpointError::BadUrl);
        }
        if !matches!(url.host(), Some(Host::Domain(_))) && !policy.lists(&url) {
            return Err(EndpointError::IpHost);
        }
        let uri = url.as_str().parse().map_err(|_| EndpointError::BadUrl)?;
        Ok(Self { url, uri })
    }

    /// The endpoint's URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same URL as the target of a request.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Why a URL is not an acceptable endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The scheme is not https, and the host and port are not listed for plain http.
    #[error("the endpoint is not an https URL")]
    NotHttps,
    /// The endpoint's origin is another one than the issuer's.
    #[error("the endpoint is at another origin than its issuer")]
    ForeignOrigin,
    /// The host is an IP address that is not listed for plain http.
    #[error("the endpoint's host is an IP address")]
    IpHost,
    /// Not a URL, too long, or with credentials or a fragment.
    #[error("the endpoint is not a usable URL (it must have a host, no credentials and no fragment)")]
    BadUrl,
}

/// Parses a URL that WHATWG rules would not have to repair: no white space, control characters or backslashes.
fn parse_url(input: &str) -> Option<Url> {
    if input.len() > MAX_URL_BYTES || input.bytes().any(|byte| byte <= 0x20 || byte == 0x7f || byte == b'\\') {
        return None;
    }
    // `https:host` and `https:/host` parse too, as if the slashes were there; nobody honest writes them.
    let (_, rest) = input.split_once(':')?;
    if !rest.starts_with("//") || rest.starts_with("///") {
        // `javascript:…` and its like still parse, so that the answer is "not https" and not "no URL".
        return Url::parse(input).ok().filter(|url| !matches!(url.scheme(), "http" | "https"));
    }
    Url::parse(input).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev() -> TransportPolicy {
        TransportPolicy::with_plain_http(["localhost:2583".to_owned(), "127.0.0.1:9000".to_owned()])
    }

    #[test]
    fn policy_allows_https_and_the_listed_pairs_only() {
        let url = |text| Url::parse(text).unwrap();
        assert!(TransportPolicy::https_only().allows(&url("https://pds.example/x")));
        assert!(!TransportPolicy::https_only().allows(&url("http://localhost:2583/")));
        assert!(dev().allows(&url("http://localhost:2583/xrpc/a")));
        assert!(!dev().allows(&url("http://localhost:2584/")));
        assert!(!dev().allows(&url("ftp://localhost:2583/")));
        assert!(!dev().allows(&url("data:text/html,x")));
    }

    #[test]
    fn policy_knows_the_default_port() {
        let policy = TransportPolicy::with_plain_http(["PDS.test:80".to_owned()]);
        assert!(policy.allows(&Url::parse("http://pds.test/").unwrap()));
        assert!(!policy.allows(&Url::parse("http://pds.test:81/").unwrap()));
    }

    #[test]
    fn origin_is_scheme_host_and_port() {
        let https = TransportPolicy::https_only();
        assert_eq!(Origin::parse("https://Pds.Example:8443/", &https).unwrap().as_str(), "https://pds.example:8443");
        assert_eq!(Origin::parse("https://pds.example:443", &https).unwrap().as_str(), "https://pds.example");
        for (input, fault) in [
            ("pds.example", OriginError::BadUrl),
            ("", OriginError::BadUrl),
            ("https://", OriginError::BadUrl),
            ("https:pds.example", OriginError::BadUrl),
            ("https://pds.example\\x", OriginError::BadUrl),
            ("https://pds.example\n", OriginError::BadUrl),
            ("http://pds.example", OriginError::NotHttps),
            ("javascript:alert(1)", OriginError::NotHttps),
            ("https://a:b@pds.example", OriginError::Credentials),
            ("https://a@pds.example", OriginError::Credentials),
            ("https://pds.example/path", OriginError::NotAnOrigin),
            ("https://pds.example?x", OriginError::NotAnOrigin),
            ("https://pds.example#x", OriginError::NotAnOrigin),
        ] {
            assert_eq!(Origin::parse(input, &https), Err(fault), "{input}");
        }
    }

    #[test]
    fn origin_of_a_url_drops_everything_else() {
        let url = Url::parse("https://user:pw@pds.example:8443/a/b?c#d").unwrap();
        assert_eq!(Origin::of(&url).unwrap().as_str(), "https://pds.example:8443");
        assert_eq!(Origin::of(&Url::parse("data:text/plain,x").unwrap()), None);
        assert_eq!(Origin::of(&url).unwrap().at_path("/x/y").as_str(), "https://pds.example:8443/x/y");
    }

    #[test]
    fn issuer_is_byte_exact() {
        let https = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://bsky.social", &https).unwrap();
        assert!(issuer.is("https://bsky.social"));
        assert!(!issuer.is("https://bsky.social/"));
        assert!(Issuer::parse("https://as.example:8443", &https).is_ok(), "a port is allowed");
        for (input, fault) in [
            ("https://bsky.social/", OriginError::NotCanonical),
            ("https://BSKY.social", OriginError::NotCanonical),
            ("HTTPS://bsky.social", OriginError::NotCanonical),
            ("https://bsky.social:443", OriginError::NotCanonical),
            ("https://bsky.social/path", OriginError::NotAnOrigin),
            ("https://192.0.2.1", OriginError::IpHost),
            ("https://[2001:db8::1]", OriginError::IpHost),
            ("http://localhost:2583", OriginError::NotHttps),
        ] {
            assert_eq!(Issuer::parse(input, &https).unwrap_err(), fault, "{input}");
        }
    }

    #[test]
    fn listed_hosts_may_be_issuers_over_plain_http() {
        assert_eq!(Issuer::parse("http://localhost:2583", &dev()).unwrap().as_str(), "http://localhost:2583");
        assert!(Issuer::parse("http://127.0.0.1:9000", &dev()).is_ok());
        assert_eq!(Issuer::parse("http://127.0.0.1:9001", &dev()).unwrap_err(), OriginError::NotHttps);
        assert_eq!(Issuer::parse("https://127.0.0.1:9001", &dev()).unwrap_err(), OriginError::IpHost);
    }

    #[test]
    fn endpoint_faults_are_told_apart() {
        let https = TransportPolicy::https_only();
        let issuer = Issuer::parse("https://as.example", &https).unwrap();
        let endpoint = Endpoint::parse("https://as.example/oauth/token?x=1", &issuer, &https).unwrap();
        assert_eq!(endpoint.uri().to_string(), "https://as.example/oauth/token?x=1");
        for (input, fault) in [
            ("https://honest.example/oauth/token", EndpointError::ForeignOrigin),
            ("https://as.example:8443/oauth/token", EndpointError::ForeignOrigin),
            ("https://as.example.evil.example/", EndpointError::ForeignOrigin),
            ("http://as.example/oauth/token", EndpointError::NotHttps),
            ("javascript:alert(1)", EndpointError::NotHttps),
            ("data:text/html,x", EndpointError::NotHttps),
            ("file:///etc/passwd", EndpointError::NotHttps),
            ("https://user@as.example/", EndpointError::BadUrl),
            ("https://as.example/#x", EndpointError::BadUrl),
            ("https://as.example/\r\nx", EndpointError::BadUrl),
            ("/oauth/token", EndpointError::BadUrl),
        ] {
            assert_eq!(Endpoint::parse(input, &issuer, &https).unwrap_err(), fault, "{input}");
        }
        assert!(Endpoint::parse_foreign("https://honest.example/oauth/token", &https).is_ok());
        for ip in ["https://192.0.2.1/token", "https://[::1]/token", "https://2130706433/token"] {
            assert_eq!(Endpoint::parse_foreign(ip, &https).unwrap_err(), EndpointError::IpHost, "{ip}");
        }
        assert!(Endpoint::parse(&format!("https://as.example/{}", "a".repeat(2048)), &issuer, &https).is_err());
    }
}
