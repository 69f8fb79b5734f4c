//! App-password sessions of a PDS, by the real server's rules: access tokens for two hours, a refresh token that may be
//! shown again for two hours after its first use and then brings the same successor again.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;

use super::ledger::{CanaryKind, Verdict};
use super::pds::PdsState;
use super::reply::Reply;
use super::request_log::RecordedRequest;

const ACCESS_SECONDS: i64 = 7200;
const GRACE_MILLIS: i64 = 7_200_000;

/// What a password opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordKind {
    /// Everything.
    Main,
    /// What an app password may.
    App,
}

impl PasswordKind {
    const fn scope(self) -> &'static str {
        match self {
            Self::Main => "com.atproto.access",
            Self::App => "com.atproto.appPass",
        }
    }
}

/// The passwords and sessions.
#[derive(Debug, Default)]
pub(crate) struct AppSessions(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    passwords: Vec<(String, String, PasswordKind)>,
    factor: HashMap<String, String>,
    sessions: Vec<Session>,
    tokens: HashMap<String, Token>,
}

#[derive(Debug)]
struct Session {
    did: String,
    kind: PasswordKind,
    alive: bool,
}

#[derive(Debug, Clone)]
enum Token {
    Access { session: usize, ends_at: i64 },
    Refresh { session: usize, successor: Option<(String, i64)> },
}

impl AppSessions {
    pub(crate) fn add_password(&self, did: &str, password: &str, kind: PasswordKind) {
        self.0.lock().passwords.push((did.to_owned(), password.to_owned(), kind));
    }

    pub(crate) fn require_factor(&self, did: &str, token: &str) {
        self.0.lock().factor.insert(did.to_owned(), token.to_owned());
    }

    pub(crate) fn expire_access(&self) {
        for token in self.0.lock().tokens.values_mut() {
            if let Token::Access { ends_at, .. } = token {
                *ends_at = 0;
            }
        }
    }

    pub(crate) fn end_all_of(&self, did: &str) {
        for session in self.0.lock().sessions.iter_mut().filter(|session| session.did == did) {
            session.alive = false;
        }
    }

    pub(crate) fn alive_of(&self, did: &str) -> usize {
        self.0.lock().sessions.iter().filter(|session| session.alive && session.did == did).count()
    }
}

impl PdsState {
    pub(crate) fn create_session(&self, request: &RecordedRequest) -> Reply {
        let input = request.json();
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let password = text("password");
        let account = self.shared.accounts.named(&text("identifier")).filter(|account| account.pds == self.origin);
        let mut book = self.app_sessions.0.lock();
        let kind = account.as_ref().and_then(|account| {
            let mut passwords = book.passwords.iter();
            passwords.find(|(did, known, _)| *did == account.did && *known == password).map(|(_, _, kind)| *kind)
        });
        let verdict = if kind.is_some() { Verdict::Accepted } else { Verdict::Unknown };
        self.shared.ledger.present(request, CanaryKind::Password, &password, verdict);
        let (Some(account), Some(kind)) = (account, kind) else {
            return Reply::xrpc_error(401, "AuthenticationRequired", "Invalid identifier or password");
        };
        match book.factor.get(&account.did) {
            Some(_) if text("authFactorToken").is_empty() => {
                let words = "A sign in code has been sent to your email address";
                return Reply::xrpc_error(401, "AuthFactorTokenRequired", words);
            }
            Some(token) if *token != text("authFactorToken") => {
                return Reply::xrpc_error(400, "InvalidToken", "Token is invalid");
            }
            _ => {}
        }
        book.sessions.push(Session { did: account.did.clone(), kind, alive: true });
        let session = book.sessions.len() - 1;
        let refresh_token = self.mint(&mut book, session, CanaryKind::RefreshToken);
        self.session_reply(&mut book, session, &refresh_token)
    }

    pub(crate) fn refresh_session(&self, request: &RecordedRequest) -> Reply {
        let shown = bearer(request);
        let now = self.shared.clock.now_millis();
        let mut book = self.app_sessions.0.lock();
        let Some(Token::Refresh { session, successor }) = book.tokens.get(&shown).cloned() else {
            self.shared.ledger.present(request, CanaryKind::RefreshToken, &shown, Verdict::Unknown);
            return Reply::xrpc_error(400, "InvalidToken", "Token could not be verified");
        };
        let too_late = successor.as_ref().is_some_and(|(_, first_used)| now - first_used > GRACE_MILLIS);
        if !book.sessions[session].alive || too_late {
            self.shared.ledger.present(request, CanaryKind::RefreshToken, &shown, Verdict::Dead);
            return Reply::xrpc_error(400, "ExpiredToken", "Token has been revoked");
        }
        // Shown again within the grace it is no replay: the same successor is the answer.
        self.shared.ledger.present(request, CanaryKind::RefreshToken, &shown, Verdict::Accepted);
        let next = if let Some((next, _)) = successor {
            next
        } else {
            let next = self.mint(&mut book, session, CanaryKind::RefreshToken);
            book.tokens.insert(shown, Token::Refresh { session, successor: Some((next.clone(), now)) });
            next
        };
        self.session_reply(&mut book, session, &next)
    }

    pub(crate) fn delete_session(&self, request: &RecordedRequest) -> Reply {
        let shown = bearer(request);
        let mut book = self.app_sessions.0.lock();
        let Some(Token::Refresh { session, .. }) = book.tokens.get(&shown).cloned() else {
            self.shared.ledger.present(request, CanaryKind::RefreshToken, &shown, Verdict::Unknown);
            return Reply::xrpc_error(400, "InvalidToken", "Token could not be verified");
        };
        self.shared.ledger.present(request, CanaryKind::RefreshToken, &shown, Verdict::Accepted);
        book.sessions[session].alive = false;
        Reply::json(200, &json!({}))
    }

    /// Whose access token it is; None when it is none of an app-password session.
    pub(crate) fn app_session(&self, request: &RecordedRequest) -> Option<Result<String, Reply>> {
        let shown = bearer(request);
        let book = self.app_sessions.0.lock();
        let Some(Token::Access { session, ends_at }) = book.tokens.get(&shown) else { return None };
        let session = &book.sessions[*session];
        let (verdict, answer) = if session.alive && *ends_at > self.shared.clock.now_millis() {
            (Verdict::Accepted, Ok(session.did.clone()))
        } else {
            (Verdict::Dead, Err(Reply::xrpc_error(400, "ExpiredToken", "Token has expired")))
        };
        self.shared.ledger.present(request, CanaryKind::AccessToken, &shown, verdict);
        Some(answer)
    }

    fn session_reply(&self, book: &mut Book, session: usize, refresh_token: &str) -> Reply {
        let access_token = self.mint(book, session, CanaryKind::AccessToken);
        let did = &book.sessions[session].did;
        let account = self.shared.accounts.by_did(did).expect("an account of this network");
        Reply::json(
            200,
            &json!({
                "accessJwt": access_token, "refreshJwt": refresh_token, "did": did, "handle": account.handle,
                "didDoc": self.shared.accounts.document(did), "active": true,
            }),
        )
    }

    /// A token in the form of a JWT, whose signature is the canary.
    fn mint(&self, book: &mut Book, session: usize, kind: CanaryKind) -> String {
        let now = self.shared.clock.now_seconds();
        let ends_at = now + ACCESS_SECONDS;
        let (scope, token) = match kind {
            CanaryKind::AccessToken => {
                (book.sessions[session].kind.scope(), Token::Access { session, ends_at: ends_at * 1000 })
            }
            _ => ("com.atproto.refresh", Token::Refresh { session, successor: None }),
        };
        let payload =
            json!({"scope": scope, "sub": book.sessions[session].did, "iat": now, "exp": ends_at}).to_string();
        let (header, payload) = (URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt"}"#), URL_SAFE_NO_PAD.encode(payload));
        let text = format!("{header}.{payload}.{}", self.shared.ledger.mint(kind, &self.origin));
        book.tokens.insert(text.clone(), token);
        text
    }
}

fn bearer(request: &RecordedRequest) -> String {
    let value = request.header("authorization").unwrap_or_default();
    value.strip_prefix("Bearer ").unwrap_or_default().to_owned()
}
