//! Where the document of a did:web is (the did:web method specification, narrowed by the AT Protocol: a host, no path).

use bowerbird_oauth::TransportPolicy;
use url::Url;

use crate::{Did, Handle};

/// Where the document is: https at a host name, or plain http at a host and port that the operator listed.
pub fn web_document_url(did: &Did, policy: &TransportPolicy) -> Option<String> {
    let id = did.as_str().strip_prefix("did:web:")?;
    let (host, port) = match id.split_once("%3A").or_else(|| id.split_once("%3a")) {
        Some((host, port)) => (host, Some(port)),
        None => (id, None),
    };
    if host.is_empty() || host.contains(['%', ':']) {
        return None;
    }
    if let Some(port) = port {
        let port: u16 = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
        let url = Url::parse(&format!("http://{host}:{port}/.well-known/did.json")).ok()?;
        return policy.allows(&url).then(|| url.into());
    }
    // A handle's grammar is that of a public host name: two labels or more, no reserved end, and no `127.1`, which a
    // URL parser would take for an address.
    Handle::parse(host).ok().map(|name| format!("https://{name}/.well-known/did.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(did: &str, policy: &TransportPolicy) -> Option<String> {
        web_document_url(&Did::parse(did).unwrap(), policy)
    }

    #[test]
    fn row_46_only_plain_hosts() {
        let https = TransportPolicy::https_only();
        assert_eq!(url_of("did:web:alice.test", &https).as_deref(), Some("https://alice.test/.well-known/did.json"));
        for bad in [
            "did:web:localhost",
            "did:web:127.0.0.1",
            "did:web:127.1",
            "did:web:0x7f.1",
            "did:web:2130706433",
            "did:web:alice.example%3A8443",
            "did:web:localhost%3A3000",
            "did:web:alice.example%2Fpath",
            "did:web:alice.example%2fpath",
            "did:web:alice.example:u:bob",
            "did:web:user%40alice.example",
            "did:web:alice.example%3A",
            "did:web:al_ice.example",
            "did:web:.",
            "did:web:-.test",
            "did:web:printer.local",
        ] {
            assert_eq!(url_of(bad, &https), None, "{bad}");
        }
    }

    #[test]
    fn row_46_a_port_only_where_the_operator_listed_it() {
        let dev = TransportPolicy::with_plain_http(["localhost:3000".to_owned()]);
        assert_eq!(
            url_of("did:web:localhost%3A3000", &dev).as_deref(),
            Some("http://localhost:3000/.well-known/did.json")
        );
        assert_eq!(url_of("did:web:localhost%3A3001", &dev), None);
    }
}
