//! The URL that the person's browser is sent to.

use url::Url;

use crate::{Endpoint, client::ClientId};

/// Makes the authorization URL: the client id and the reference to the pushed request, nothing else (RFC 9126 §4).
pub fn authorization_url(authorization_endpoint: &Endpoint, client_id: &ClientId, request_uri: &str) -> Url {
    let mut url = authorization_endpoint.url().clone();
    url.query_pairs_mut().append_pair("client_id", client_id.as_str()).append_pair("request_uri", request_uri);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportPolicy;

    #[test]
    fn only_the_two_parameters_are_added() {
        let endpoint = |text| Endpoint::parse_foreign(text, &TransportPolicy::https_only()).unwrap();
        let client_id = ClientId::parse("https://bower.example/client.json?a=b").unwrap();
        let url = authorization_url(&endpoint("https://as.example/oauth/authorize"), &client_id, "urn:x:req-1&y");
        assert_eq!(
            url.as_str(),
            "https://as.example/oauth/authorize?client_id=https%3A%2F%2Fbower.example%2Fclient.json%3Fa%3Db&request_uri=urn%3Ax%3Areq-1%26y"
        );
        let kept = authorization_url(&endpoint("https://as.example/a?keep=1"), &client_id, "urn:x");
        assert!(kept.as_str().starts_with("https://as.example/a?keep=1&client_id="));
    }
}
