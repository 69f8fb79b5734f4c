//! Refreshing a grant at its issuer, for the vault (`REFRESH` in the documentation, steps 0 and 3).

use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_core::ports::{
    AccessProbe, BoxError, Clock, GrantFacts, HttpClient, PreparedRefresh, Purpose, RefreshOutcome, RefreshRefusal,
    RefreshedTokens, Refresher, Sent,
};
use bowerbird_core::{NeedsReauth, RefreshClass};
use bowerbird_oauth::{
    AuthorizationServerMetadata, ClientAuthentication, ExpectedAnswer, GrantFate, Secret, SigningKey, Timestamp,
    TokenAnswer, TokenAnswerError, TokenRequest, TokenRequestError,
};
use bytes::Bytes;
use http::{Request, Response};

use crate::app_password;
use crate::as_call::{AsCallError, AsCaller, AsPeer};
use crate::discovery::{Discovery, Freshness};
use crate::identity::Identities;
use crate::probe::probe;

/// How long to wait after a 429 that does not say, in seconds.
const DEFAULT_RETRY_AFTER: u32 = 60;
/// The life of an access token whose answer says zero, or less, in seconds.
const ASSUMED_LIFE: u32 = 300;

/// The vault's refresher for AT Protocol grants. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GrantRefresher {
    pub(crate) identities: Identities,
    pub(crate) discovery: Discovery,
    pub(crate) caller: AsCaller,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Refresher for GrantRefresher {
    async fn prepare(&self, grant: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        match (grant.class, grant.dpop_key.clone()) {
            (RefreshClass::Graceful, None) => {
                let (http, clock) = (Arc::clone(&self.http), Arc::clone(&self.clock));
                app_password::prepare(&self.identities, http, clock, grant).await
            }
            (RefreshClass::SingleUse, Some(dpop_key)) => self.prepare_oauth(grant, dpop_key).await,
            // A row that somebody changed: neither protocol has such a grant, and neither server sees its token.
            _ => Err(RefreshRefusal::Final(NeedsReauth::Unreadable)),
        }
    }

    async fn probe(&self, grant: GrantFacts, access_token: Secret) -> AccessProbe {
        probe(&self.caller, &grant, &access_token).await
    }
}

impl GrantRefresher {
    async fn prepare_oauth(
        &self,
        grant: GrantFacts,
        dpop_key: SigningKey,
    ) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        let server = self.still_the_issuer(&grant).await?;
        let authentication = self.caller.client().authentication(grant.client_kid.as_deref()).map_err(not_now)?;
        if !self.caller.knows_nonce(server.issuer.as_str()) {
            self.fetch_nonce(&server).await?;
        }
        let refresh = Prepared {
            caller: self.caller.clone(),
            clock: Arc::clone(&self.clock),
            subject: grant.subject.as_str().to_owned(),
            server,
            authentication,
            dpop_key,
        };
        Ok(Box::new(refresh))
    }

    /// Walks from the account to its issuer as the servers say it now. A refresh token is shown to nobody but the one
    /// who gave it: an account that moved must sign in again (security row 34).
    async fn still_the_issuer(&self, grant: &GrantFacts) -> Result<Arc<AuthorizationServerMetadata>, RefreshRefusal> {
        let identity = self.identities.resolve_uncached(&grant.subject).await.map_err(not_now)?;
        if identity.pds.as_str() != grant.audience {
            return Err(RefreshRefusal::Final(NeedsReauth::IssuerChanged));
        }
        // A moment older than the account's own document at most, which takes longer to come than that when it is slow. What
        // changed since then leads the token to nobody else: it goes to the one who gave it, or nowhere.
        let issuer = self.discovery.issuer_of_pds(&identity.pds, Freshness::Confirmed).await.map_err(not_now)?;
        if !issuer.is(&grant.issuer) {
            return Err(RefreshRefusal::Final(NeedsReauth::IssuerChanged));
        }
        // Nobody but the issuer itself says what its endpoints are, so that this document may be a minute old.
        let server = self.discovery.of_issuer(&issuer, Freshness::Recent).await.map_err(not_now)?;
        server.check_resource(&identity.pds).map_err(not_now)?;
        Ok(server)
    }

    /// Any answer of the server brings a nonce, a refusal too. With it, the request that matters passes at once.
    async fn fetch_nonce(&self, server: &AuthorizationServerMetadata) -> Result<(), RefreshRefusal> {
        let endpoint = server.pushed_authorization_request_endpoint.uri().clone();
        let request = Request::post(endpoint)
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::new())
            .map_err(not_now)?;
        let answer = self.caller.http().send(request, Purpose::Authorization).await.map_err(not_now)?;
        self.caller.servers().learn(server.issuer.as_str(), answer.headers());
        Ok(())
    }
}

fn not_now(cause: impl Into<BoxError>) -> RefreshRefusal {
    RefreshRefusal::NotNow(cause.into())
}

struct Prepared {
    caller: AsCaller,
    clock: Arc<dyn Clock>,
    subject: String,
    server: Arc<AuthorizationServerMetadata>,
    authentication: ClientAuthentication,
    dpop_key: SigningKey,
}

#[async_trait]
impl PreparedRefresh for Prepared {
    async fn send(self: Box<Self>, refresh_token: Secret) -> RefreshOutcome {
        let peer = AsPeer { server: &self.server, authentication: &self.authentication, dpop_key: &self.dpop_key };
        let request = TokenRequest::RefreshToken { refresh_token };
        let sent = self
            .caller
            .call(&peer, Purpose::Refresh, |attempt| request.to_http(&self.server.token_endpoint, attempt))
            .await;
        match sent {
            Ok(answer) => classify(&answer, &self.subject, self.clock.now()),
            Err(AsCallError::Http(error)) if error.sent == Sent::Perhaps => {
                RefreshOutcome::Unknown { source: error.into() }
            }
            // Before the first byte, or answered with a demand for a nonce: nothing was looked at.
            Err(error) => RefreshOutcome::NotConsumed { not_before: None, source: error.into() },
        }
    }
}

/// What an answer says about the refresh token that was sent.
fn classify(answer: &Response<Bytes>, subject: &str, now: Timestamp) -> RefreshOutcome {
    let error = match TokenAnswer::read(answer) {
        Ok(tokens) => return granted(&tokens, subject),
        Err(error) => error,
    };
    let fate = error.grant_fate();
    match (fate, error) {
        (GrantFate::NotConsumed, TokenRequestError::RateLimited { retry_after_seconds }) => {
            let seconds = retry_after_seconds.unwrap_or(DEFAULT_RETRY_AFTER);
            let not_before = Some(now.plus_seconds(seconds.into()));
            RefreshOutcome::NotConsumed {
                not_before,
                source: TokenRequestError::RateLimited { retry_after_seconds }.into(),
            }
        }
        (GrantFate::NotConsumed, error) => RefreshOutcome::NotConsumed { not_before: None, source: error.into() },
        // The reference server calls a client assertion that came twice an invalid grant, too; it says so before it
        // looks at the refresh token.
        (GrantFate::Refused, TokenRequestError::Refused(answer)) => match answer.description {
            Some(ref text) if names_the_assertion(text) => {
                RefreshOutcome::NotConsumed { not_before: None, source: answer.into() }
            }
            description => RefreshOutcome::Refused { description },
        },
        (_, error) => RefreshOutcome::Unknown { source: error.into() },
    }
}

fn names_the_assertion(description: &str) -> bool {
    let description = description.to_ascii_lowercase();
    description.contains("jti") || description.contains("client_assertion") || description.contains("private_key_jwt")
}

/// The tokens as they came, and whether they may be used. Even tokens that must not be used are handed on: they are
/// the only ones left.
fn granted(answer: &TokenAnswer, subject: &str) -> RefreshOutcome {
    let judged = answer.validate(&ExpectedAnswer { sub: Some(subject) });
    let fault = match &judged {
        // A refresh token that came alone is fine: the next checkout refreshes with it.
        Ok(_) | Err(TokenAnswerError::AccessTokenMissing) => None,
        Err(
            TokenAnswerError::SubjectMismatch { .. }
            | TokenAnswerError::SubjectMissing
            | TokenAnswerError::SubjectMalformed,
        ) => Some(NeedsReauth::SubjectMismatch),
        Err(_) => Some(NeedsReauth::ScopeLost),
    };
    let life = match &judged {
        Ok(tokens) => tokens.expires_in,
        Err(_) => 0,
    };
    let life = if life == 0 && answer.access_token.is_some() { ASSUMED_LIFE } else { life };
    let tokens = RefreshedTokens {
        access_token: answer.access_token.clone().unwrap_or_else(|| Secret::new("")),
        refresh_token: answer.refresh_token.clone(),
        expires_in: life.into(),
        scope: answer.scope.clone(),
    };
    RefreshOutcome::Granted { tokens, fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn outcome(status: u16, body: &str) -> RefreshOutcome {
        let answer = Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        classify(&answer, DID, NOW)
    }

    fn refusal(status: u16, error: &str, description: &str) -> RefreshOutcome {
        outcome(status, &serde_json::json!({"error": error, "error_description": description}).to_string())
    }

    #[test]
    fn what_was_not_looked_at_may_be_sent_again() {
        for outcome in [
            refusal(400, "use_dpop_nonce", "x"),
            refusal(401, "invalid_dpop_proof", "x"),
            refusal(400, "invalid_client", "x"),
            refusal(401, "invalid_client", "x"),
            refusal(400, "invalid_grant", "private_key_jwt jti reused"),
        ] {
            assert!(matches!(outcome, RefreshOutcome::NotConsumed { not_before: None, .. }), "{outcome:?}");
        }
        let limited = outcome(429, "{}");
        assert!(
            matches!(limited, RefreshOutcome::NotConsumed { not_before: Some(at), .. } if at == NOW.plus_seconds(60))
        );
    }

    #[test]
    fn a_definite_no_is_a_refusal() {
        for words in ["Refresh token replayed", "Invalid refresh token", "DPoP proof does not match the expected JKT"] {
            let outcome = refusal(400, "invalid_grant", words);
            assert!(matches!(&outcome, RefreshOutcome::Refused { description: Some(d) } if d == words), "{outcome:?}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for outcome in [
            refusal(500, "server_error", "x"),
            refusal(500, "invalid_grant", "x"),
            refusal(503, "temporarily_unavailable", "x"),
            refusal(400, "invalid_request", "x"),
            outcome(502, "<html>"),
            outcome(200, "{\"access_token\": \"trunc"),
            outcome(200, "{}"),
            outcome(302, ""),
        ] {
            assert!(matches!(outcome, RefreshOutcome::Unknown { .. }), "{outcome:?}");
        }
    }

    fn answer(patch: &[(&str, serde_json::Value)]) -> (RefreshedTokens, Option<NeedsReauth>) {
        let mut body = serde_json::json!({"access_token": "a", "refresh_token": "r", "token_type": "DPoP", "sub": DID,
            "scope": "atproto", "expires_in": 600});
        for (name, value) in patch {
            body[*name] = value.clone();
        }
        match outcome(200, &body.to_string()) {
            RefreshOutcome::Granted { tokens, fault } => (tokens, fault),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn row_35_tokens_are_kept_even_when_they_must_not_be_used() {
        let (tokens, fault) = answer(&[]);
        assert_eq!((tokens.expires_in, fault), (600, None));
        for (patch, expected) in [
            (("sub", "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb".into()), NeedsReauth::SubjectMismatch),
            (("sub", serde_json::Value::Null), NeedsReauth::SubjectMismatch),
            (("scope", "transition:generic".into()), NeedsReauth::ScopeLost),
            (("token_type", "Bearer".into()), NeedsReauth::ScopeLost),
        ] {
            let (tokens, fault) = answer(&[patch]);
            assert_eq!(fault, Some(expected));
            assert!(tokens.refresh_token.unwrap().matches("r"));
        }
    }

    #[test]
    fn row_29_odd_lives_and_missing_parts() {
        assert_eq!(answer(&[("expires_in", serde_json::Value::Null)]).0.expires_in, 300);
        assert_eq!(answer(&[("expires_in", (-5).into())]).0.expires_in, 300);
        assert_eq!(answer(&[("expires_in", 1e18.into())]).0.expires_in, 86_400);
        let (tokens, fault) = answer(&[("access_token", serde_json::Value::Null)]);
        assert_eq!((tokens.expires_in, fault), (0, None));
        assert!(answer(&[("refresh_token", serde_json::Value::Null)]).0.refresh_token.is_none());
    }
}
