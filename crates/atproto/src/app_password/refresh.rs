//! Renewing an app-password session, for the vault. Its refresh token may be sent again for two hours, and brings the
//! same successor; that is what [`RefreshClass::Graceful`](bowerbird_core::RefreshClass::Graceful) says to the engine.

use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_core::ports::{
    Clock, GrantFacts, HttpClient, PreparedRefresh, RefreshOutcome, RefreshRefusal, RefreshedTokens, Sent,
};
use bowerbird_core::{NeedsReauth, Secret, Timestamp};
use http::StatusCode;

use super::claims::{Claims, SessionKind};
use super::session_call::{SessionAnswer, SessionCallError, refresh_session};
use crate::identity::Identities;

/// How long to wait after a 429 that does not say, in seconds.
const DEFAULT_RETRY_AFTER: u32 = 60;
/// How long to wait before a server is asked again for an account that it took down, in seconds: that may be lifted, and
/// the refresh token lives on.
const TAKEN_DOWN_PAUSE: u32 = 3600;

/// Gets ready: the account must still be at the server that gave the session, as its directory says it now.
pub(crate) async fn prepare(
    identities: &Identities,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    grant: GrantFacts,
) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
    let identity =
        identities.resolve_uncached(&grant.subject).await.map_err(|error| RefreshRefusal::NotNow(error.into()))?;
    if identity.pds.as_str() != grant.audience {
        return Err(RefreshRefusal::Final(NeedsReauth::IssuerChanged));
    }
    Ok(Box::new(Prepared { http, clock, pds: grant.audience, subject: grant.subject.as_str().to_owned() }))
}

struct Prepared {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    pds: String,
    subject: String,
}

#[async_trait]
impl PreparedRefresh for Prepared {
    async fn send(self: Box<Self>, refresh_token: Secret) -> RefreshOutcome {
        let sent = refresh_session(self.http.as_ref(), &self.pds, &refresh_token).await;
        classify(sent, &self.subject, self.clock.now())
    }
}

fn classify(sent: Result<SessionAnswer, SessionCallError>, subject: &str, now: Timestamp) -> RefreshOutcome {
    let refusal = match sent {
        Ok(answer) => return granted(answer, subject, now),
        Err(SessionCallError::Refused(refusal)) => refusal,
        Err(SessionCallError::Http(error)) if error.sent == Sent::No => {
            return RefreshOutcome::NotConsumed { not_before: None, source: error.into() };
        }
        Err(error @ SessionCallError::Unwritable(_)) => {
            return RefreshOutcome::NotConsumed { not_before: None, source: error.into() };
        }
        Err(error) => return RefreshOutcome::Unknown { source: error.into() },
    };
    let pause = match (refusal.status, refusal.name.as_str()) {
        (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, "ExpiredToken" | "InvalidToken") => {
            return RefreshOutcome::Refused { description: Some(refusal.name) };
        }
        (status, "AccountTakedown") if status.is_client_error() => TAKEN_DOWN_PAUSE,
        (StatusCode::TOO_MANY_REQUESTS, _) => refusal.retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
        _ => return RefreshOutcome::Unknown { source: refusal.into() },
    };
    RefreshOutcome::NotConsumed { not_before: Some(now.plus_seconds(pause.into())), source: refusal.into() }
}

/// The tokens as they came, and whether they may be used. An account that is inactive (deactivated by its owner, say) is
/// no fault: the session is good, and what may be done with it is the server's to say with each call.
fn granted(answer: SessionAnswer, subject: &str, now: Timestamp) -> RefreshOutcome {
    let claims = Claims::of(&answer.access_jwt, now);
    let fault = match claims.kind {
        _ if answer.did != subject => Some(NeedsReauth::SubjectMismatch),
        SessionKind::AppPassword => None,
        SessionKind::Main | SessionKind::Other => Some(NeedsReauth::ScopeLost),
    };
    let tokens = RefreshedTokens {
        access_token: answer.access_jwt,
        refresh_token: Some(answer.refresh_jwt),
        expires_in: claims.life,
        scope: Some(claims.scope).filter(|scope| !scope.is_empty()),
    };
    RefreshOutcome::Granted { tokens, fault }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::super::session_call::SessionRefusal;
    use super::*;

    const DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn refused(status: u16, name: &str, retry_after: Option<u32>) -> RefreshOutcome {
        let status = StatusCode::from_u16(status).unwrap();
        classify(Err(SessionRefusal { status, name: name.to_owned(), retry_after }.into()), DID, NOW)
    }

    fn answered(did: &str, scope: &str) -> (RefreshedTokens, Option<NeedsReauth>) {
        let payload = URL_SAFE_NO_PAD.encode(format!(r#"{{"scope":"{scope}","iat":5,"exp":605}}"#));
        let access_jwt = Secret::new(format!("e30.{payload}.sig"));
        let answer = SessionAnswer { access_jwt, refresh_jwt: Secret::new("r"), did: did.to_owned() };
        match classify(Ok(answer), DID, NOW) {
            RefreshOutcome::Granted { tokens, fault } => (tokens, fault),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refusals_say_what_may_be_done() {
        for name in ["ExpiredToken", "InvalidToken"] {
            for status in [400, 401] {
                assert!(matches!(refused(status, name, None), RefreshOutcome::Refused { .. }), "{status} {name}");
            }
        }
        for (status, name, after, pause) in
            [(429, "RateLimitExceeded", Some(7), 7), (429, "", None, 60), (401, "AccountTakedown", None, 3600)]
        {
            match refused(status, name, after) {
                RefreshOutcome::NotConsumed { not_before, .. } => {
                    assert_eq!(not_before, Some(NOW.plus_seconds(pause)), "{status} {name}");
                }
                other => panic!("{other:?}"),
            }
        }
        for (status, name) in [(500, "ExpiredToken"), (503, ""), (400, ""), (302, ""), (403, "InvalidToken")] {
            assert!(matches!(refused(status, name, None), RefreshOutcome::Unknown { .. }), "{status} {name}");
        }
        assert!(matches!(classify(Err(SessionCallError::Unreadable), DID, NOW), RefreshOutcome::Unknown { .. }));
    }

    #[test]
    fn tokens_are_kept_even_when_they_must_not_be_used() {
        let (tokens, fault) = answered(DID, "com.atproto.appPass");
        assert_eq!((tokens.expires_in, fault), (600, None));
        for (did, scope, expected) in [
            ("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", "com.atproto.appPass", NeedsReauth::SubjectMismatch),
            (DID, "com.atproto.access", NeedsReauth::ScopeLost),
            (DID, "", NeedsReauth::ScopeLost),
        ] {
            let (tokens, fault) = answered(did, scope);
            assert_eq!(fault, Some(expected));
            assert!(tokens.refresh_token.unwrap().matches("r"));
        }
    }
}
