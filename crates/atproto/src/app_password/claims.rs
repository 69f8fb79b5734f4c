//! What an access token of an app-password session says about itself. It came from the account's own server over TLS, so
//! that its signature, which only that server could check anyway, is not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::{Secret, Timestamp};
use serde::Deserialize;
use zeroize::Zeroizing;

/// The largest token that is looked into, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The life of an access token that does not say, in seconds.
const ASSUMED_LIFE: i64 = 300;
/// No access token is believed to live longer, in seconds.
const LONGEST_LIFE: i64 = 86_400;

/// What a session may do, by the `scope` of its access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// Made with the account's main password.
    Main,
    /// Made with an app password.
    AppPassword,
    /// Anything else: a queue, a takedown, or a server that we do not understand.
    Other,
}

#[derive(Deserialize)]
struct Payload {
    scope: Option<String>,
    iat: Option<f64>,
    exp: Option<f64>,
}

/// The claims that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) kind: SessionKind,
    /// As the token has it; empty when it has none.
    pub(crate) scope: String,
    /// Seconds from now.
    pub(crate) life: i64,
}

impl Claims {
    /// Reads the payload of a JWT (RFC 7519 §3). What is no JWT has no claims.
    pub(crate) fn of(token: &Secret, now: Timestamp) -> Self {
        let payload = payload(token.expose());
        let (scope, iat, exp) = payload.map_or((None, None, None), |it| (it.scope, it.iat, it.exp));
        let scope = scope.unwrap_or_default();
        let kind = match scope.as_str() {
            "com.atproto.access" => SessionKind::Main,
            "com.atproto.appPass" | "com.atproto.appPassPrivileged" => SessionKind::AppPassword,
            _ => SessionKind::Other,
        };
        // By the server's own clock where it says when it began: ours may differ.
        let life = exp.map_or(ASSUMED_LIFE, |exp| seconds(exp - iat.unwrap_or_else(|| now_seconds(now))));
        Self { kind, scope, life: life.clamp(0, LONGEST_LIFE) }
    }
}

fn payload(token: &str) -> Option<Payload> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
    serde_json::from_slice(&json).ok()
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
fn now_seconds(now: Timestamp) -> f64 {
    (now.as_millis() / 1000) as f64
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the result is clamped")]
fn seconds(life: f64) -> i64 {
    life as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn claims(payload: &str) -> Claims {
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload));
        Claims::of(&Secret::new(token), NOW)
    }

    #[test]
    fn the_scope_tells_the_kind() {
        for (scope, kind) in [
            ("com.atproto.access", SessionKind::Main),
            ("com.atproto.appPass", SessionKind::AppPassword),
            ("com.atproto.appPassPrivileged", SessionKind::AppPassword),
            ("com.atproto.signupQueued", SessionKind::Other),
            ("com.atproto.appPass com.atproto.access", SessionKind::Other),
        ] {
            assert_eq!(claims(&format!(r#"{{"scope":"{scope}"}}"#)).kind, kind, "{scope}");
        }
    }

    #[test]
    fn the_life_is_by_the_servers_clock_and_within_reason() {
        for (payload, life) in [
            (r#"{"iat":50,"exp":7250}"#, 7200),
            (r#"{"exp":1600}"#, 600),
            (r#"{"exp":10}"#, 0),
            (r#"{"iat":50,"exp":1e300}"#, 86_400),
            (r#"{"iat":50,"exp":-1e300}"#, 0),
            ("{}", 300),
        ] {
            assert_eq!(claims(payload).life, life, "{payload}");
        }
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        let large = format!("e30.{}.sig", "A".repeat(20_000));
        for token in ["", "opaque", "a.b", "a.b.c", "a.e30.c.d", "a.W10.c", large.as_str()] {
            let claims = Claims::of(&Secret::new(token), NOW);
            assert_eq!((claims.kind, claims.life), (SessionKind::Other, 300), "{token:.20}");
        }
    }
}
