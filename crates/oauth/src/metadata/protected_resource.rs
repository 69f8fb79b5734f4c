//! Protected resource metadata (RFC 9728): which authorization server a PDS trusts.

use http::Response;
use url::Url;

use super::{MetadataError, document::Document};
use crate::{Issuer, Origin, TransportPolicy, token::printable};

/// A PDS' own word on its authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResourceMetadata {
    resource: Origin,
    authorization_server: Issuer,
}

impl ProtectedResourceMetadata {
    /// Where a PDS serves the document.
    pub fn url(pds: &Origin) -> Url {
        pds.at_path("/.well-known/oauth-protected-resource")
    }

    /// Reads the answer from [`Self::url`]: `resource` must be this very PDS, and one authorization server be named.
    pub fn parse<B: AsRef<[u8]>>(
        answer: &Response<B>,
        pds: &Origin,
        policy: &TransportPolicy,
    ) -> Result<Self, MetadataError> {
        let document = Document::read(answer)?;
        let resource = document.text("resource")?;
        if resource != pds.as_str() {
            return Err(MetadataError::ResourceMismatch {
                expected: pds.as_str().to_owned(),
                found: printable(resource, 200),
            });
        }
        let servers = document.optional_list("authorization_servers")?.unwrap_or_default();
        let [server] = servers[..] else { return Err(MetadataError::AuthorizationServers(servers.len())) };
        Ok(Self { resource: pds.clone(), authorization_server: Issuer::parse(server, policy)? })
    }

    /// The PDS.
    pub fn resource(&self) -> &Origin {
        &self.resource
    }

    /// The authorization server that the PDS trusts; its metadata must agree.
    pub fn authorization_server(&self) -> &Issuer {
        &self.authorization_server
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::OriginError;

    fn parse(body: &Value) -> Result<ProtectedResourceMetadata, MetadataError> {
        let policy = TransportPolicy::https_only();
        let pds = Origin::parse("https://pds.example:8443", &policy).unwrap();
        let answer = Response::builder().header("content-type", "application/json").body(body.to_string()).unwrap();
        ProtectedResourceMetadata::parse(&answer, &pds, &policy)
    }

    fn good() -> Value {
        json!({"resource": "https://pds.example:8443", "authorization_servers": ["https://as.example:8444"]})
    }

    #[test]
    fn one_server_is_named_and_ports_are_allowed() {
        assert_eq!(parse(&good()).unwrap().authorization_server().as_str(), "https://as.example:8444");
        let pds = Origin::parse("https://pds.example", &TransportPolicy::https_only()).unwrap();
        let url = ProtectedResourceMetadata::url(&pds);
        assert_eq!(url.as_str(), "https://pds.example/.well-known/oauth-protected-resource");
    }

    #[test]
    fn every_fault_is_refused() {
        let with = |name: &str, value: Value| {
            let mut body = good();
            body[name] = value;
            parse(&body).unwrap_err()
        };
        assert_eq!(with("authorization_servers", json!([])), MetadataError::AuthorizationServers(0));
        let two = with("authorization_servers", json!(["https://a.example", "https://b.example"]));
        assert_eq!(two, MetadataError::AuthorizationServers(2));
        assert_eq!(
            with("authorization_servers", json!("https://a.example")),
            MetadataError::Member("authorization_servers")
        );
        assert_eq!(
            parse(&json!({"resource": "https://pds.example:8443"})).unwrap_err(),
            MetadataError::AuthorizationServers(0)
        );
        for resource in
            ["https://pds.example:8443/", "https://pds.example", "http://pds.example:8443", "https://evil.example"]
        {
            assert!(matches!(with("resource", json!(resource)), MetadataError::ResourceMismatch { .. }), "{resource}");
        }
        assert_eq!(parse(&json!({})).unwrap_err(), MetadataError::Member("resource"));
        for (server, fault) in [
            ("http://as.example", OriginError::NotHttps),
            ("https://as.example/", OriginError::NotCanonical),
            ("https://as.example:443", OriginError::NotCanonical),
            ("https://as.example/x", OriginError::NotAnOrigin),
            ("https://as.example?x", OriginError::NotAnOrigin),
            ("https://u@as.example", OriginError::Credentials),
            ("https://192.0.2.7", OriginError::IpHost),
            ("javascript:alert(1)", OriginError::NotHttps),
        ] {
            assert_eq!(with("authorization_servers", json!([server])), MetadataError::BadIssuer(fault), "{server}");
        }
    }
}
