//! What an authorization server knows of clients: the loopback exemption, registered documents, documents fetched from
//! the client, and client assertions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::dpop::{Jws, thumbprint};
use super::grants::ClientProof;
use super::network_clock::NetworkClock;
use super::reply::Reply;
use crate::http_client::{TestClient, TestRequest};

/// The type of a client assertion (RFC 7523).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds that a client assertion lives, measured on the real server.
const ASSERTION_AGE: i64 = 60;

/// The clients of a network; shared by clones.
#[derive(Clone, Debug)]
pub(crate) struct ClientRegistry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: NetworkClock,
    documents: Mutex<HashMap<String, Value>>,
    hosts: Mutex<HashMap<String, String>>,
    used_assertions: Mutex<HashSet<String>>,
}

impl ClientRegistry {
    pub(crate) fn new(clock: &NetworkClock) -> Self {
        let (documents, hosts, used_assertions) = Default::default();
        Self(Arc::new(Inner { clock: clock.clone(), documents, hosts, used_assertions }))
    }

    /// Registers a client's metadata document (with its `jwks` inside), so that nothing is fetched.
    pub(crate) fn register(&self, client_id: &str, document: Value) {
        self.0.documents.lock().insert(client_id.to_owned(), document);
    }

    /// Fetches what is under one origin from another one.
    pub(crate) fn map_host(&self, from: &str, to: &str) {
        self.0.hosts.lock().insert(from.trim_end_matches('/').to_owned(), to.trim_end_matches('/').to_owned());
    }

    /// Forgets a fetched document.
    pub(crate) fn forget(&self, client_id: &str) {
        self.0.documents.lock().remove(client_id);
    }

    /// The metadata of a client.
    pub(crate) async fn find(&self, client_id: &str) -> Result<Value, Reply> {
        if let Some(document) = loopback_document(client_id) {
            return Ok(document);
        }
        if let Some(document) = self.0.documents.lock().get(client_id) {
            return Ok(document.clone());
        }
        let refuse = |text: &str| Reply::oauth_error(400, "invalid_client_metadata", text);
        let mut document = self.fetch(client_id).await.ok_or_else(|| refuse("Unable to obtain client metadata"))?;
        if document["client_id"] != client_id {
            return Err(refuse("client_id does not match the metadata document's address"));
        }
        if let Some(jwks_uri) = document["jwks_uri"].as_str().map(str::to_owned) {
            document["jwks"] = self.fetch(&jwks_uri).await.ok_or_else(|| refuse("Unable to obtain client jwks"))?;
        }
        self.0.documents.lock().insert(client_id.to_owned(), document.clone());
        Ok(document)
    }

    async fn fetch(&self, url: &str) -> Option<Value> {
        let target = {
            let hosts = self.0.hosts.lock();
            let mapped = hosts.iter().find_map(|(from, to)| Some(format!("{to}{}", url.strip_prefix(from.as_str())?)));
            mapped.unwrap_or_else(|| url.to_owned())
        };
        // Nothing but loopback is ever called from here.
        if !matches!(url::Url::parse(&target).ok()?.host_str(), Some("localhost" | "127.0.0.1")) {
            return None;
        }
        // The host of the client's own URL, as a proxy in front of it would pass it on.
        let asked = url::Url::parse(url).ok()?;
        let host = &asked[url::Position::BeforeHost..url::Position::AfterPort];
        let answer = TestClient::new().try_send(TestRequest::get(&target).header("host", host)).await.ok()?;
        let is_json = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        (answer.status == 200 && is_json).then(|| answer.json())
    }

    /// Authenticates a client as its metadata says. A used assertion id is reported as `invalid_grant`, as the real
    /// server does.
    pub(crate) fn authenticate(
        &self,
        document: &Value,
        form: &HashMap<String, String>,
        issuer: &str,
    ) -> Result<ClientProof, Reply> {
        let refuse = |text: &str| Reply::oauth_error(400, "invalid_client", text);
        let client_id = document["client_id"].as_str().unwrap_or_default();
        match document["token_endpoint_auth_method"].as_str() {
            Some("none") if form.contains_key("client_assertion") => {
                Err(refuse("Client authentication method mismatch"))
            }
            Some("none") => Ok(ClientProof::None),
            Some("private_key_jwt") => {
                if form.get("client_assertion_type").map(String::as_str) != Some(ASSERTION_TYPE) {
                    return Err(refuse("client_assertion_type missing"));
                }
                let assertion = form.get("client_assertion").ok_or_else(|| refuse("client_assertion missing"))?;
                self.check_assertion(document, client_id, assertion, issuer)
            }
            _ => Err(refuse("Unsupported client authentication method")),
        }
    }

    fn check_assertion(
        &self,
        document: &Value,
        client_id: &str,
        assertion: &str,
        issuer: &str,
    ) -> Result<ClientProof, Reply> {
        let refuse = |text: &str| Reply::oauth_error(400, "invalid_client", text);
        let jws = Jws::parse(assertion).ok_or_else(|| refuse("client_assertion is not a JWT"))?;
        let kid = jws.header["kid"].as_str().ok_or_else(|| refuse("client_assertion has no kid"))?;
        let keys = document["jwks"]["keys"].as_array();
        let key = keys.and_then(|keys| keys.iter().find(|key| key["kid"] == kid));
        let key = key.ok_or_else(|| refuse("client_assertion key is not in the client's jwks"))?;
        if jws.header["alg"] != "ES256" || !jws.is_signed_by(key) {
            return Err(refuse("client_assertion signature verification failed"));
        }
        let claims = &jws.claims;
        if claims["iss"] != client_id || claims["sub"] != client_id {
            return Err(refuse("client_assertion iss or sub mismatch"));
        }
        if claims["aud"] != issuer {
            return Err(refuse("unexpected \"aud\" claim value"));
        }
        let now = self.0.clock.now_seconds();
        let age = claims["iat"].as_i64().map(|iat| now - iat);
        let expired = claims["exp"].as_i64().is_some_and(|exp| exp <= now);
        // The real server tolerates no clock that is ahead; one second is the rounding of two clocks here.
        if expired || !age.is_some_and(|age| (-1..=ASSERTION_AGE).contains(&age)) {
            return Err(refuse("client_assertion timestamp check failed"));
        }
        let jti = claims["jti"].as_str().ok_or_else(|| refuse("client_assertion has no jti"))?;
        if !self.0.used_assertions.lock().insert(jti.to_owned()) {
            return Err(Reply::oauth_error(400, "invalid_grant", "private_key_jwt jti reused"));
        }
        let jkt = thumbprint(key).ok_or_else(|| refuse("client key is malformed"))?;
        Ok(ClientProof::Key { kid: kid.to_owned(), jkt })
    }
}

/// The virtual metadata of a loopback client (AT Protocol OAuth, "Localhost Client Development").
fn loopback_document(client_id: &str) -> Option<Value> {
    let rest = client_id.strip_prefix("http://localhost")?;
    let query = match rest.trim_start_matches('/') {
        "" => "",
        rest => rest.strip_prefix('?')?,
    };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut redirects: Vec<&str> = pairs.iter().filter(|(k, _)| k == "redirect_uri").map(|(_, v)| v.as_str()).collect();
    if redirects.is_empty() {
        redirects = vec!["http://127.0.0.1/", "http://[::1]/"];
    }
    let scope = pairs.iter().find(|(key, _)| key == "scope").map_or("atproto", |(_, value)| value);
    Some(json!({
        "client_id": client_id, "redirect_uris": redirects, "scope": scope, "application_type": "native",
        "token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true, "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
    }))
}

/// Whether a redirect URI is one of a client's: exact, but for the port of loopback addresses.
pub(crate) fn redirect_uri_is_declared(document: &Value, redirect_uri: &str) -> bool {
    let declared = document["redirect_uris"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let without_port = |text: &str| {
        let mut url = url::Url::parse(text).ok()?;
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]")) && url.scheme() == "http";
        loopback.then(|| url.set_port(None).map(|()| url.to_string()).ok()).flatten()
    };
    let asked = without_port(redirect_uri);
    declared.into_iter().any(|uri| uri == redirect_uri || (asked.is_some() && without_port(uri) == asked))
}
