//! Some servers repeat in an error what they were sent. What they say ends up in a log or on a page; the secrets of a
//! request must not (security row 79).

use bytes::Bytes;
use http::Response;
use serde_json::Value;

/// The fields of a form whose values are secrets (RFC 6749, RFC 7009, RFC 7523, RFC 7636).
const SECRET_FIELDS: [&str; 6] = ["client_assertion", "code", "code_verifier", "refresh_token", "state", "token"];
/// What stands in place of a secret.
const BLOT: &str = "[secret]";

/// Blots out the secrets of the form that was sent where an error answer repeats them.
pub(crate) fn without_echo(answer: Response<Bytes>, sent: &[u8]) -> Response<Bytes> {
    if answer.status().is_success() {
        return answer;
    }
    let fields = url::form_urlencoded::parse(sent);
    let secrets = fields.filter(|(name, value)| SECRET_FIELDS.contains(&name.as_ref()) && !value.is_empty());
    let secrets: Vec<_> = secrets.map(|(_, value)| value).collect();
    // Parsed first: an escaped secret is one still. What is no JSON object is not shown to anybody.
    let Ok(Value::Object(mut members)) = serde_json::from_slice(answer.body()) else { return answer };
    let mut found = false;
    for member in members.values_mut() {
        let Value::String(text) = member else { continue };
        for secret in &secrets {
            if text.contains(secret.as_ref()) {
                *text = text.replace(secret.as_ref(), BLOT);
                found = true;
            }
        }
    }
    if found { answer.map(|_| Bytes::from(Value::Object(members).to_string())) } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> String {
        let answer = Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        let sent = b"grant_type=refresh_token&refresh_token=se%2Fcret&code_verifier=verify&state=";
        String::from_utf8(without_echo(answer, sent).into_body().to_vec()).unwrap()
    }

    #[test]
    fn secrets_that_come_back_are_blotted_out() {
        assert_eq!(
            told(400, r#"{"error":"x","error_description":"no se\/cret, verify, se/cret"}"#),
            r#"{"error":"x","error_description":"no [secret], [secret], [secret]"}"#
        );
    }

    #[test]
    fn everything_else_stays_as_it_came() {
        for body in [r#"{ "error" : "refresh_token" }"#, "<html>", "", "[]"] {
            assert_eq!(told(400, body), body);
        }
        let tokens = r#"{"refresh_token":"se/cret"}"#;
        assert_eq!(told(200, tokens), tokens, "a stable refresh token is an answer");
    }
}
