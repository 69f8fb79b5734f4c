//! The question that tells whether a refresh happened whose answer was lost: a harmless call with the old access token,
//! which a self-hosted server ends in the moment of a refresh (`REFRESH` in the documentation, step 6).

use bowerbird_core::ports::{AccessProbe, GrantFacts, Purpose};
use bowerbird_oauth::dpop::{DpopChallenge, DpopExchange, DpopServer, NonceStep};
use bowerbird_oauth::{Secret, SigningKey};
use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::as_call::AsCaller;

/// A call that changes nothing and that every grant may make.
const PATH: &str = "/xrpc/com.atproto.server.getSession";

/// Asks, with the grant's own key, at the one origin that the token is for. Silent where nothing is to be learned: behind
/// an entryway access tokens live on after a refresh, and plain bearer sessions are never in doubt.
pub(crate) async fn probe(caller: &AsCaller, grant: &GrantFacts, access_token: &Secret) -> AccessProbe {
    if grant.issuer.trim_end_matches('/') != grant.audience.trim_end_matches('/') {
        return AccessProbe::Silent;
    }
    let Some(key) = &grant.dpop_key else { return AccessProbe::Silent };
    ask(caller, &grant.audience, key, access_token).await.unwrap_or(AccessProbe::Silent)
}

/// Once, and once more when the server wants its nonce; None for whatever says nothing about the token.
async fn ask(caller: &AsCaller, origin: &str, key: &SigningKey, access_token: &Secret) -> Option<AccessProbe> {
    let servers = caller.servers();
    let mut exchange = DpopExchange::new(DpopServer::Resource, servers.nonce(origin));
    loop {
        let mut request = Request::get(format!("{origin}{PATH}")).body(Bytes::new()).ok()?;
        exchange.sign(&mut request, key, servers.now_at(origin), caller.fresh(), Some(access_token)).ok()?;
        let answer = caller.http().send(request, Purpose::Api).await.ok()?;
        servers.learn(origin, answer.headers());
        match exchange.observe(&answer).ok()? {
            NonceStep::Retry => servers.nonce_retried(),
            NonceStep::Done => return verdict(&answer),
        }
    }
}

fn verdict(answer: &Response<Bytes>) -> Option<AccessProbe> {
    match answer.status() {
        status if status.is_success() => Some(AccessProbe::Accepted),
        StatusCode::UNAUTHORIZED if DpopChallenge::from_headers(answer.headers())?.rejects_access_token() => {
            Some(AccessProbe::Refused)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, challenge: Option<&str>) -> Response<Bytes> {
        let mut builder = Response::builder().status(status);
        if let Some(challenge) = challenge {
            builder = builder.header("WWW-Authenticate", challenge);
        }
        builder.body(Bytes::new()).unwrap()
    }

    #[test]
    fn only_a_word_about_the_token_counts() {
        assert_eq!(verdict(&answer(200, None)), Some(AccessProbe::Accepted));
        let refused = r#"DPoP algs="ES256", error="invalid_token""#;
        assert_eq!(verdict(&answer(401, Some(refused))), Some(AccessProbe::Refused));
        for (status, challenge) in [
            (401, None),
            (401, Some("Bearer")),
            (401, Some(r#"DPoP error="invalid_dpop_proof""#)),
            (400, Some(refused)),
            (403, Some(refused)),
            (429, None),
            (500, None),
        ] {
            assert_eq!(verdict(&answer(status, challenge)), None, "{status} {challenge:?}");
        }
    }
}
