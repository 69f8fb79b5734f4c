//! What a server received, kept whole, to assert on what was sent and above all on what was not.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// When, in milliseconds since the epoch by the network's clock.
    pub at_millis: i64,
    /// The origin that received it.
    pub origin: String,
    /// The method.
    pub method: String,
    /// Path and query as they stood in the request line.
    pub target: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; empty for uploads, which are only counted.
    pub body: Bytes,
}

impl RecordedRequest {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The raw query, empty without one.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A decoded query parameter, the first one of its name.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.query().as_bytes());
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The first header of a name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every header of a name (lower case).
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as a form; the last value of a name wins.
    pub fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Everything as text, for searching.
    pub fn transcript(&self) -> String {
        let mut lines = vec![format!("{} {}{}", self.method, self.origin, self.target)];
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        lines.push(String::new());
        lines.push(String::from_utf8_lossy(&self.body).into_owned());
        lines.join("\n")
    }

    /// The claims of the DPoP proof, without looking at its signature; null without one.
    pub fn dpop_claims(&self) -> Value {
        self.header("dpop").map_or(Value::Null, super::dpop::claims_of)
    }

    /// The thumbprint of the key in the DPoP proof.
    pub fn dpop_thumbprint(&self) -> Option<String> {
        let header = super::dpop::Jws::parse(self.header("dpop")?)?.header;
        super::dpop::thumbprint(header.get("jwk")?)
    }

    /// The header of the client assertion in the form: its `alg` and `kid`; null without one.
    pub fn client_assertion_header(&self) -> Value {
        let form = self.form();
        let assertion = form.get("client_assertion").and_then(|assertion| super::dpop::Jws::parse(assertion));
        assertion.map_or(Value::Null, |assertion| assertion.header)
    }

    /// The claims of the client assertion in the form (RFC 7523), without looking at its signature; null without one.
    pub fn client_assertion_claims(&self) -> Value {
        self.form().get("client_assertion").map_or(Value::Null, |assertion| super::dpop::claims_of(assertion))
    }
}

/// The requests of one server, or of all of a network; shared by clones.
#[derive(Clone, Debug, Default)]
pub struct RequestLog(Arc<Mutex<Vec<RecordedRequest>>>);

impl RequestLog {
    pub(crate) fn push(&self, request: RecordedRequest) {
        self.0.lock().push(request);
    }

    /// All requests, oldest first.
    pub fn all(&self) -> Vec<RecordedRequest> {
        self.0.lock().clone()
    }

    /// The requests to a path, oldest first.
    pub fn at(&self, path: &str) -> Vec<RecordedRequest> {
        self.0.lock().iter().filter(|request| request.path() == path).cloned().collect()
    }

    /// The newest request to a path.
    pub fn last(&self, path: &str) -> Option<RecordedRequest> {
        self.0.lock().iter().rev().find(|request| request.path() == path).cloned()
    }

    /// How many requests a path got.
    pub fn count(&self, path: &str) -> usize {
        self.0.lock().iter().filter(|request| request.path() == path).count()
    }

    /// How many requests came in all.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether none came.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Forgets them.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// All requests as text, for searching.
    pub fn transcript(&self) -> String {
        self.0.lock().iter().map(|request| request.transcript() + "\n\n").collect()
    }
}
