//! Requests to the server and what its answers mean. Pure.

use std::time::Duration;

use bowerbird_core::{Did, Secret, Timestamp};
use bowerbird_oauth::Origin;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{KitError, Refusal};
use crate::handoff::Redirect;
use crate::recovery::Trouble;
use crate::session::Session;

/// On every error answer of the server itself; answers that it passes on have none.
const ERROR_HEADER: &str = "bowerbird-error";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The longest text of an error that is passed on, in characters.
const MAX_TEXT: usize = 300;

/// A request without credentials.
pub(crate) fn request(
    method: Method,
    origin: &Origin,
    path_and_query: &str,
    body: Option<&Value>,
) -> Result<Request<Bytes>, KitError> {
    let uri: Uri = format!("{origin}{path_and_query}").parse().map_err(|_| KitError::mistake("no such address"))?;
    let mut request = Request::new(body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request.headers_mut().insert(ACCEPT, JSON);
    if body.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    Ok(request)
}

/// Shows the seal. The header is marked as sensitive, so that a transport's own log leaves it out.
pub(crate) fn bearer(headers: &mut HeaderMap, seal: &Secret) -> Result<(), KitError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", seal.expose()))
        .map_err(|_| KitError::mistake("a session token that is none"))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// `POST /api/auth/start`
pub(crate) fn start(
    origin: &Origin,
    redirect: &Redirect,
    handle: &str,
    challenge: &str,
) -> Result<Request<Bytes>, KitError> {
    let body = json!({
        "handle": handle,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "redirect_uri": redirect.as_str(),
    });
    request(Method::POST, origin, "/api/auth/start", Some(&body))
}

/// `POST /api/auth/tokens`, for the code of a sign-in.
pub(crate) fn exchange(origin: &Origin, code: &Secret, verifier: &Secret) -> Result<Request<Bytes>, KitError> {
    let body = json!({"code": code.expose(), "code_verifier": verifier.expose()});
    request(Method::POST, origin, "/api/auth/tokens", Some(&body))
}

/// Asks for a fresh seal: by the refresh token where there is one, else by the seal itself.
pub(crate) fn renew(origin: &Origin, session: &Session) -> Result<Request<Bytes>, KitError> {
    if let Some(refresh) = &session.refresh_token {
        let body = json!({"refreshToken": refresh.expose()});
        return request(Method::POST, origin, "/api/auth/tokens", Some(&body));
    }
    let mut request = request(Method::GET, origin, "/mobile/refresh-token", None)?;
    bearer(request.headers_mut(), &session.access_token)?;
    Ok(request)
}

/// What a sign-in gave.
pub(crate) struct Tokens {
    pub(crate) session: Session,
    pub(crate) did: Did,
    pub(crate) handle: String,
    pub(crate) pds: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokensAnswer {
    access_token: Secret,
    refresh_token: Option<Secret>,
    handle: String,
    did: Did,
    pds: Option<String>,
    expires_in: Option<i64>,
}

/// Reads the answer to [`exchange`] and to a renewal by refresh token.
pub(crate) fn read_tokens(answer: &Response<Bytes>, now: Timestamp) -> Result<Tokens, KitError> {
    let TokensAnswer { access_token, refresh_token, handle, did, pds, expires_in } = read(answer)?;
    if access_token.is_empty() {
        return Err(unreadable(answer));
    }
    let expires_at = expires_in.filter(|seconds| *seconds > 0).map(|seconds| now.plus_seconds(seconds));
    let session = Session { access_token, refresh_token, issued_at: now, expires_at };
    Ok(Tokens { session, did, handle, pds })
}

/// Reads the answer to a renewal of either kind.
pub(crate) fn read_renewed(answer: &Response<Bytes>, old: &Session, now: Timestamp) -> Result<Session, KitError> {
    #[derive(Deserialize)]
    struct Refreshed {
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        sid: Secret,
    }
    if old.refresh_token.is_some() {
        return read_tokens(answer, now).map(|tokens| tokens.session);
    }
    let Refreshed { payload } = read(answer)?;
    if payload.sid.is_empty() {
        return Err(unreadable(answer));
    }
    // The seal is as long as before: the documented answer does not say how long.
    let life = old.expires_at.map(|end| end.millis_since(old.issued_at));
    let expires_at = life.map(|life| now.plus_millis(life));
    Ok(Session { access_token: payload.sid, refresh_token: None, issued_at: now, expires_at })
}

/// Reads a JSON answer.
pub(crate) fn read<'a, T: Deserialize<'a>>(answer: &'a Response<Bytes>) -> Result<T, KitError> {
    serde_json::from_slice(answer.body()).map_err(|_| unreadable(answer))
}

pub(crate) fn unreadable(answer: &Response<Bytes>) -> KitError {
    let message = "the server answered something that it should not".to_owned();
    KitError::Server(Box::new(Refusal { status: answer.status().as_u16(), message, ..Refusal::default() }))
}

/// What an answer of the server is, beyond its status.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// 2xx, or whatever the person's own server answered to a call.
    Answer,
    /// The seal is no longer good.
    SealRefused,
    /// The access at the person's server has ended.
    NeedsReauth(Refusal),
    /// It may be better in a moment.
    Trouble(Trouble, Refusal),
    /// It is refused, for good.
    Refused(Refusal),
}

/// Tells what an answer means. One without the server's error header was passed on from elsewhere.
pub(crate) fn meaning(answer: &Response<Bytes>) -> Meaning {
    let status = answer.status();
    if status.is_success() {
        return Meaning::Answer;
    }
    let Some(code) = answer.headers().get(ERROR_HEADER).and_then(|value| value.to_str().ok()) else {
        // Not ours. What a gateway says in front of a server that is down is trouble; the rest is an answer.
        let gateway =
            matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
        let is_json =
            answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        return if gateway && !is_json {
            Meaning::Trouble(Trouble::Server(None), refusal(answer, ""))
        } else {
            Meaning::Answer
        };
    };
    let refusal = refusal(answer, code);
    match (status, code) {
        (StatusCode::UNAUTHORIZED, "needs_reauth") => Meaning::NeedsReauth(refusal),
        (StatusCode::UNAUTHORIZED, _) => Meaning::SealRefused,
        (StatusCode::TOO_MANY_REQUESTS, _) => Meaning::Trouble(Trouble::Server(retry_after(answer)), refusal),
        (status, _) if status.is_server_error() => Meaning::Trouble(Trouble::Server(retry_after(answer)), refusal),
        _ => Meaning::Refused(refusal),
    }
}

/// Reads what an error answer says.
pub(crate) fn refusal(answer: &Response<Bytes>, code: &str) -> Refusal {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |name: &str| {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect::<String>();
        body[name].as_str().map(clean).filter(|text| !text.is_empty())
    };
    let status = answer.status();
    Refusal {
        status: status.as_u16(),
        code: code.chars().take(64).collect(),
        // The documented endpoints have a sentence in `error`, the others a code there and the sentence in `message`.
        message: text("message").or_else(|| text("error")).unwrap_or_else(|| format!("the server answered {status}")),
        hint: text("hint"),
        reason: text("reason"),
        repair_url: text("repairUrl").filter(|url| url.starts_with("https://") || url.starts_with("http://")),
    }
}

pub(crate) fn retry_after(answer: &Response<Bytes>) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, code: Option<&str>, kind: &str, body: &str) -> Response<Bytes> {
        let mut answer = Response::builder().status(status).header(CONTENT_TYPE, kind).header(RETRY_AFTER, "3");
        if let Some(code) = code {
            answer = answer.header(ERROR_HEADER, code);
        }
        answer.body(Bytes::from(body.to_owned())).unwrap()
    }

    fn told(status: u16, code: Option<&str>) -> String {
        let kind = if code.is_some() { "application/json" } else { "text/html" };
        match meaning(&answer(status, code, kind, r#"{"error":"x","reason":"revoked"}"#)) {
            Meaning::Answer => "answer".to_owned(),
            Meaning::SealRefused => "seal".to_owned(),
            Meaning::NeedsReauth(refusal) => format!("reauth {}", refusal.reason.unwrap_or_default()),
            Meaning::Trouble(Trouble::Server(wait), _) => format!("trouble {}", wait.unwrap_or_default().as_secs()),
            Meaning::Trouble(Trouble::Network, _) => "network".to_owned(),
            Meaning::Refused(refusal) => format!("refused {}", refusal.code),
        }
    }

    #[test]
    fn an_error_is_ours_or_passed_on() {
        assert_eq!(told(401, Some("session_invalid")), "seal");
        assert_eq!(told(401, Some("needs_reauth")), "reauth revoked");
        assert_eq!(told(503, Some("try_later")), "trouble 3");
        assert_eq!(told(429, Some("rate_limited")), "trouble 3");
        assert_eq!(told(500, Some("internal")), "trouble 3");
        assert_eq!(told(403, Some("method_denied")), "refused method_denied");
        assert_eq!(told(401, None), "answer", "the PDS refused; the seal is good");
        assert_eq!(told(400, None), "answer");
        assert_eq!(told(502, None), "trouble 0", "a proxy in front of a stopped server");
        let of_pds = answer(502, None, "application/json", "{}");
        assert!(matches!(meaning(&of_pds), Meaning::Answer));
    }

    #[test]
    fn a_seal_is_shown_as_bearer_and_nowhere_else() {
        let origin = Origin::parse("https://b.example", &bowerbird_oauth::TransportPolicy::https_only()).unwrap();
        let session = Session {
            access_token: Secret::new("canary~2"),
            refresh_token: None,
            issued_at: Timestamp::EPOCH,
            expires_at: None,
        };
        let request = renew(&origin, &session).unwrap();
        assert_eq!(request.headers()[AUTHORIZATION].to_str().unwrap(), "Bearer canary~2");
        assert!(!format!("{request:?}").contains("canary"), "{request:?}");
        assert_eq!(request.uri(), "https://b.example/mobile/refresh-token");
    }

    #[test]
    fn tokens_need_a_did_and_a_seal() {
        let read = |body: &str| read_tokens(&answer(200, None, "application/json", body), Timestamp::from_seconds(100));
        let good = r#"{"accessToken":"a","refreshToken":"r","handle":"h.test","did":"did:plc:z72i7hdynmk6r22z27h6tvur","pds":"https://pds","expiresIn":60,"sid":"s"}"#;
        let tokens = read(good).ok().unwrap();
        assert_eq!(tokens.session.expires_at, Some(Timestamp::from_seconds(160)));
        for bad in [
            good.replace("did:plc", "DID:plc"),
            good.replace(":\"a\"", ":\"\""),
            good.replace("handle", "x"),
            String::new(),
        ] {
            assert!(matches!(read(&bad), Err(KitError::Server(_))), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status in 100_u16..600, code in proptest::option::of("[a-z_]{0,12}"), body in "\\PC{0,120}") {
            let answer = answer(status, code.as_deref(), "application/json", &body);
            let _meaning = meaning(&answer);
            let _tokens = read_tokens(&answer, Timestamp::EPOCH).is_ok();
            prop_assert!(refusal(&answer, "x").message.chars().count() <= MAX_TEXT);
        }
    }
}
