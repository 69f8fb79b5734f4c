//! What a server can be told to do wrong. Rules are laid over the correct behaviour and taken in order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use super::reply::{Reply, ReplyBody};
use super::request_log::RecordedRequest;

/// The paths that rules are laid on. Any other path works too; a `*` at the end matches every path that begins so.
pub mod endpoint {
    /// Authorization server metadata (RFC 8414).
    pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
    /// Protected resource metadata (RFC 9728).
    pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";
    /// The key set of the authorization server.
    pub const JWKS: &str = "/oauth/jwks";
    /// Pushed authorization requests (RFC 9126).
    pub const PAR: &str = "/oauth/par";
    /// The authorization endpoint.
    pub const AUTHORIZE: &str = "/oauth/authorize";
    /// The token endpoint.
    pub const TOKEN: &str = "/oauth/token";
    /// Revocation (RFC 7009).
    pub const REVOKE: &str = "/oauth/revoke";
    /// The handle's own word on its DID.
    pub const ATPROTO_DID: &str = "/.well-known/atproto-did";
    /// Handle resolution over XRPC.
    pub const RESOLVE_HANDLE: &str = "/xrpc/com.atproto.identity.resolveHandle";
    /// Every XRPC method.
    pub const XRPC: &str = "/xrpc/*";
    /// Everything.
    pub const ANY: &str = "*";
}

/// Rewrites an answer in the light of its request.
pub type Rewrite = Arc<dyn Fn(&RecordedRequest, Reply) -> Reply + Send + Sync>;

/// One way to misbehave. "Instead" ones answer without processing the request; "after" ones let it take effect first.
#[derive(Clone)]
pub enum Misbehave {
    /// Instead: this answer.
    Instead(Reply),
    /// Instead: these bytes as they are, then the connection is closed.
    InsteadRaw(Bytes),
    /// Instead: the connection is reset.
    ResetBefore,
    /// Instead: no answer, ever.
    HangBefore,
    /// Instead: a `use_dpop_nonce` challenge with a fresh nonce, in the form that the path calls for.
    ChallengeNonce,
    /// Waits, then goes on.
    DelayBefore(Duration),
    /// After: this answer.
    After(Reply),
    /// After: these bytes as they are, then the connection is closed.
    AfterRaw(Bytes),
    /// After: the connection is reset.
    ResetAfter,
    /// After: no answer, ever.
    HangAfter,
    /// After: waits, then answers.
    DelayAfter(Duration),
    /// After: the answer, rewritten.
    Rewrite(Rewrite),
}

impl fmt::Debug for Misbehave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Instead(_) => "Instead",
            Self::InsteadRaw(_) => "InsteadRaw",
            Self::ResetBefore => "ResetBefore",
            Self::HangBefore => "HangBefore",
            Self::ChallengeNonce => "ChallengeNonce",
            Self::DelayBefore(_) => "DelayBefore",
            Self::After(_) => "After",
            Self::AfterRaw(_) => "AfterRaw",
            Self::ResetAfter => "ResetAfter",
            Self::HangAfter => "HangAfter",
            Self::DelayAfter(_) => "DelayAfter",
            Self::Rewrite(_) => "Rewrite",
        };
        f.write_str(name)
    }
}

impl Misbehave {
    /// Instead: an error status with a small JSON body.
    pub fn status(status: u16) -> Self {
        Self::Instead(Reply::json(
            status,
            &serde_json::json!({"error": "server_error", "error_description": "Server error"}),
        ))
    }

    /// After: the same, once the request has taken effect (500 after rotation).
    pub fn status_after(status: u16) -> Self {
        Self::After(Reply::json(
            status,
            &serde_json::json!({"error": "server_error", "error_description": "Server error"}),
        ))
    }

    /// Instead: an OAuth error with its status.
    pub fn oauth_error(status: u16, error: &str, description: &str) -> Self {
        Self::Instead(Reply::oauth_error(status, error, description))
    }

    /// Instead: 429 with this `Retry-After` value, well-formed or not.
    pub fn too_many_requests(retry_after: &str) -> Self {
        let reply =
            Reply::json(429, &serde_json::json!({"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"}));
        Self::Instead(reply.with("Retry-After", retry_after))
    }

    /// Instead: a redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::Instead(Reply::redirect(status, location))
    }

    /// Instead: 200 with a page, as a captive portal or a misconfigured host answers.
    pub fn html() -> Self {
        Self::Instead(Reply::text(200, "text/html; charset=utf-8", "<!doctype html><title>Welcome</title>"))
    }

    /// Instead: 200 with this text as JSON, valid or not.
    pub fn json_text(body: impl Into<Bytes>) -> Self {
        Self::Instead(Reply::text(200, "application/json", body))
    }

    /// Instead: 200 with JSON arrays nested this deep.
    pub fn deep_json(depth: usize) -> Self {
        Self::json_text("[".repeat(depth) + &"]".repeat(depth))
    }

    /// After: the JSON answer with this merge patch applied (RFC 7396; null removes a member).
    pub fn merge(patch: Value) -> Self {
        Self::rewrite(move |_, reply| {
            let Some(mut body) = reply.value() else { return reply };
            merge_patch(&mut body, &patch);
            reply.with_body(body.to_string())
        })
    }

    /// After: the JSON object with one member written a second time, before the true one.
    pub fn duplicate_key(name: &str, value: &Value) -> Self {
        let member = format!("{{{}:{value},", Value::from(name));
        Self::rewrite(move |_, reply| {
            let text = reply.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
            reply.with_body(text.replacen('{', &member, 1))
        })
    }

    /// After: a header set to these raw bytes (line breaks go out as they are).
    pub fn header(name: &str, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = (name.to_owned(), value.as_ref().to_vec());
        Self::rewrite(move |_, reply| reply.with_only(&name, &value))
    }

    /// After: a header left out.
    pub fn without_header(name: &str) -> Self {
        let name = name.to_owned();
        Self::rewrite(move |_, reply| reply.without(&name))
    }

    /// After: a query parameter of the `Location` set.
    pub fn redirect_with(name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        Self::rewrite(move |_, reply| edit_location(reply, &name, Some(&value), false))
    }

    /// After: a query parameter of the `Location` added a second time.
    pub fn redirect_with_another(name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        Self::rewrite(move |_, reply| edit_location(reply, &name, Some(&value), true))
    }

    /// After: a query parameter of the `Location` left out.
    pub fn redirect_without(name: &str) -> Self {
        let name = name.to_owned();
        Self::rewrite(move |_, reply| edit_location(reply, &name, None, false))
    }

    /// After: the body cut to this many bytes, with the full length announced.
    pub fn truncate(keep: usize) -> Self {
        Self::rewrite(move |_, mut reply| {
            if let Some(bytes) = reply.bytes().cloned() {
                reply.body = ReplyBody::Cut { announced: bytes.len(), bytes: bytes.slice(..keep.min(bytes.len())) };
            }
            reply
        })
    }

    /// After: the body in pieces with pauses.
    pub fn drip(piece: usize, every: Duration) -> Self {
        Self::rewrite(move |_, mut reply| {
            if let Some(bytes) = reply.bytes().cloned() {
                reply.body = ReplyBody::Drip { bytes, piece, every };
            }
            reply
        })
    }

    /// After: a body of about this many bytes of JSON white space before the true one, which never comes.
    pub fn endless_body(bytes: u64) -> Self {
        Self::rewrite(move |_, mut reply| {
            let piece = Bytes::from(vec![b' '; 16 * 1024]);
            reply.body = ReplyBody::Repeat { times: bytes.div_ceil(16 * 1024), piece };
            reply
        })
    }

    /// After: whatever this function makes of request and answer.
    pub fn rewrite(function: impl Fn(&RecordedRequest, Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(function))
    }

    /// Whether nothing after this rule is reached.
    fn ends(&self) -> bool {
        matches!(
            self,
            Self::Instead(_) | Self::InsteadRaw(_) | Self::ResetBefore | Self::HangBefore | Self::ChallengeNonce
        )
    }
}

/// The rules of one server, shared by clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<Vec<Rule>>>);

#[derive(Debug)]
struct Rule {
    path: String,
    left: Option<u32>,
    what: Misbehave,
}

impl Script {
    pub(crate) fn add(&self, path: &str, left: Option<u32>, what: Misbehave) {
        self.0.lock().push(Rule { path: path.to_owned(), left, what });
    }

    pub(crate) fn clear(&self, path: Option<&str>) {
        self.0.lock().retain(|rule| path.is_some_and(|path| rule.path != path));
    }

    /// The rules for one request, each counted as used.
    pub(crate) fn take(&self, path: &str) -> Vec<Misbehave> {
        let mut taken = Vec::new();
        for rule in self.0.lock().iter_mut().filter(|rule| rule.left != Some(0) && matches(&rule.path, path)) {
            rule.left = rule.left.map(|left| left - 1);
            taken.push(rule.what.clone());
            if rule.what.ends() {
                break;
            }
        }
        taken
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |start| path.starts_with(start))
}

/// RFC 7396.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let members = target.as_object_mut().expect("made an object above");
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge_patch(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn edit_location(reply: Reply, name: &str, value: Option<&str>, keep: bool) -> Reply {
    let Some(mut location) = reply.header("Location").and_then(|text| url::Url::parse(text).ok()) else { return reply };
    let pairs: Vec<(String, String)> =
        location.query_pairs().into_owned().filter(|(key, _)| keep || key != name).collect();
    location.set_query(None);
    if !pairs.is_empty() || value.is_some() {
        location.query_pairs_mut().extend_pairs(pairs).extend_pairs(value.map(|value| (name, value)));
    }
    reply.with_only("Location", location.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patch_follows_rfc_7396() {
        let mut value = json!({"a": "b", "c": {"d": "e", "f": "g"}});
        merge_patch(&mut value, &json!({"a": "z", "c": {"f": null}, "n": {"m": 1}}));
        assert_eq!(value, json!({"a": "z", "c": {"d": "e"}, "n": {"m": 1}}));
    }

    #[test]
    fn rules_are_counted_and_an_ending_rule_saves_the_later_ones() {
        let script = Script::default();
        script.add("/a", Some(1), Misbehave::status(500));
        script.add("/*", Some(1), Misbehave::ResetAfter);
        assert_eq!(script.take("/a").len(), 1);
        assert!(matches!(script.take("/a")[..], [Misbehave::ResetAfter]));
        assert!(script.take("/a").is_empty());
    }

    #[test]
    fn location_parameters_are_set_doubled_and_removed() {
        let reply = || Reply::redirect(303, "http://127.0.0.1/cb?iss=a&state=b");
        let location = |reply: Reply| reply.header("Location").map(str::to_owned).unwrap_or_default();
        assert_eq!(location(edit_location(reply(), "iss", Some("c"), false)), "http://127.0.0.1/cb?state=b&iss=c");
        assert_eq!(
            location(edit_location(reply(), "state", Some("c"), true)),
            "http://127.0.0.1/cb?iss=a&state=b&state=c"
        );
        assert_eq!(location(edit_location(reply(), "iss", None, false)), "http://127.0.0.1/cb?state=b");
    }
}
