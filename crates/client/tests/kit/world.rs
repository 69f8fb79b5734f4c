//! A server that keeps sessions as the real one does, a clock to set, pauses that are only noted, and a store that can fail.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bowerbird_client::{Account, AccountManager, Ports, Settings, Transport, TransportFault};
use bowerbird_oauth::pkce::verify_s256;
use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::device::{Calm, Store};

pub(crate) const REDIRECT: &str = "app://auth-callback";

/// What the next answer is, instead of the usual one.
#[derive(Clone)]
pub(crate) enum Upset {
    /// The server is not reached.
    Unreachable,
    /// The server carries it out, and its answer is lost.
    AnswerLost,
    /// It answers this status with this code.
    Status(u16, &'static str),
    /// It answers this status, with this header and this body.
    Answer(u16, Option<&'static str>, Value),
}

#[derive(Default)]
struct Book {
    /// code → (challenge, handle, did)
    codes: HashMap<String, (String, String, String)>,
    challenge: Option<(String, String)>,
    /// seal → did
    seals: HashMap<String, String>,
    /// refresh string → did; a predecessor stays until its successor is used.
    refreshes: HashMap<String, (String, Option<String>)>,
    made: u32,
    requests: Vec<(String, String, String)>,
    upsets: VecDeque<(String, Upset)>,
}

/// The scripted server.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<Book>>);

pub(crate) fn did(handle: &str) -> String {
    let name: String = handle.bytes().map(|byte| char::from(b'a' + byte % 26)).collect();
    format!("did:plc:{name:a<24.24}")
}

impl Server {
    /// The next request to this path goes so.
    pub(crate) fn upset(&self, path: &str, upset: Upset) {
        self.0.lock().upsets.push_back((path.to_owned(), upset));
    }

    /// How many requests came to a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.0.lock().requests.iter().filter(|(to, ..)| to == path).count()
    }

    /// The bearers and bodies of the requests to a path.
    pub(crate) fn to(&self, path: &str) -> Vec<(String, String)> {
        let book = self.0.lock();
        let to = book.requests.iter().filter(|(to, ..)| to == path);
        to.map(|(_, bearer, body)| (bearer.clone(), body.clone())).collect()
    }

    /// The person has allowed it: the code that the browser brings.
    pub(crate) fn allow(&self) -> String {
        let mut book = self.0.lock();
        let (challenge, handle) = book.challenge.clone().expect("a sign-in was begun");
        book.made += 1;
        let code = format!("code{}", book.made);
        let did = did(&handle);
        book.codes.insert(code.clone(), (challenge, handle, did));
        code
    }

    /// A code of somebody else's sign-in.
    pub(crate) fn foreign_code(&self) -> String {
        let mut book = self.0.lock();
        let challenge = bowerbird_oauth::pkce::PkceVerifier::from_entropy(&[9; 64]).challenge();
        book.codes.insert("foreign".into(), (challenge, "mallory.test".into(), did("mallory.test")));
        "foreign".to_owned()
    }

    /// Every seal is void, every refresh string stays.
    pub(crate) fn forget_seals(&self) {
        self.0.lock().seals.clear();
    }

    /// Every session has ended.
    pub(crate) fn end_sessions(&self) {
        let mut book = self.0.lock();
        book.seals.clear();
        book.refreshes.clear();
    }

    /// How many sessions the server knows, by seal.
    pub(crate) fn seals(&self) -> usize {
        self.0.lock().seals.len()
    }
}

impl Book {
    fn tokens(&mut self, did: &str, handle: &str) -> (u16, Value) {
        self.made += 1;
        let (seal, refresh) = (format!("seal{}", self.made), format!("refresh{}", self.made));
        self.seals.insert(seal.clone(), did.to_owned());
        self.refreshes.insert(refresh.clone(), (did.to_owned(), None));
        let body = json!({"accessToken": seal, "refreshToken": refresh, "handle": handle, "did": did,
            "pds": "https://pds.test", "expiresIn": 3600, "sid": "unused"});
        (200, body)
    }

    fn answer(&mut self, path: &str, bearer: &str, body: &Value) -> (u16, Value) {
        match path {
            "/api/auth/start" => {
                assert_eq!(body["code_challenge_method"], "S256");
                assert_eq!(body["redirect_uri"], REDIRECT);
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                self.challenge = Some((text("code_challenge"), text("handle")));
                (200, json!({"authUrl": "https://as.test/authorize?x", "handle": body["handle"]}))
            }
            "/api/auth/tokens" if body["code"].is_string() => {
                let code = body["code"].as_str().unwrap();
                let fits = self
                    .codes
                    .get(code)
                    .filter(|(challenge, ..)| verify_s256(body["code_verifier"].as_str().unwrap(), challenge));
                let Some((_, handle, did)) = fits.cloned() else {
                    return (400, json!({"error": "Invalid or expired code", "code": "code_invalid"}));
                };
                self.codes.remove(code);
                self.tokens(&did, &handle)
            }
            "/api/auth/tokens" => {
                let old = body["refreshToken"].as_str().unwrap();
                let Some((did, before)) = self.refreshes.get(old).cloned() else {
                    return (401, json!({"error": "Invalid or expired refresh token", "code": "session_invalid"}));
                };
                if let Some(before) = before {
                    self.refreshes.remove(&before); // its successor is used
                }
                let (status, answer) = self.tokens(&did, "renewed.test");
                self.refreshes.get_mut(answer["refreshToken"].as_str().unwrap()).unwrap().1 = Some(old.to_owned());
                (status, answer)
            }
            _ => {
                let Some(did) = self.seals.get(bearer).cloned() else {
                    return (401, json!({"error": "Authentication required", "code": "session_invalid"}));
                };
                match path {
                    "/api/auth/logout" => {
                        self.seals.remove(bearer);
                        (200, json!({"success": true}))
                    }
                    "/mobile/refresh-token" => {
                        self.made += 1;
                        let seal = format!("seal{}", self.made);
                        self.seals.insert(seal.clone(), did.clone());
                        (200, json!({"success": true, "payload": {"did": did, "sid": seal}}))
                    }
                    "/api/auth/session" => (
                        200,
                        json!({"valid": true, "did": did, "handle": "new.test", "displayName": "N", "expiresAt": 9}),
                    ),
                    _ => (200, json!({"did": did})),
                }
            }
        }
    }
}

impl Transport for Server {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportFault> {
        assert_eq!(request.uri().host(), Some("auth.test"), "the kit speaks to its own server alone");
        let path = request.uri().path().to_owned();
        let bearer = request.headers().get("authorization").map(|value| value.to_str().unwrap());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
        let text = String::from_utf8(request.body().to_vec()).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut book = self.0.lock();
        book.requests.push((path.clone(), bearer.clone(), text));
        let upset = book.upsets.iter().position(|(to, _)| *to == path).and_then(|place| book.upsets.remove(place));
        let upset = upset.map(|(_, upset)| upset);
        if let Some(Upset::Unreachable) = upset {
            return Err(TransportFault::not_sent("unreachable on purpose"));
        }
        let (status, header, body) = match upset {
            Some(Upset::Status(status, code)) => (status, Some(code.to_owned()), json!({"error": "upset on purpose"})),
            Some(Upset::Answer(status, header, body)) => (status, header.map(str::to_owned), body),
            ref other => {
                let (status, body) = book.answer(&path, &bearer, &body);
                if matches!(other, Some(Upset::AnswerLost)) {
                    return Err(TransportFault::broken("lost on purpose"));
                }
                let header = body["code"].as_str().filter(|_| status >= 400).map(str::to_owned);
                (status, header, body)
            }
        };
        let mut response = Response::builder().status(status).header("content-type", "application/json");
        if let Some(header) = header {
            response = response.header("bowerbird-error", header);
        }
        Ok(response.body(Bytes::from(body.to_string())).unwrap())
    }
}

/// The app on one device.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) store: Arc<Store>,
    pub(crate) calm: Arc<Calm>,
    pub(crate) manager: AccountManager,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Server::default(), Arc::default(), Arc::new(Calm::at(1_000_000)))
    }

    fn with(server: Server, store: Arc<Store>, calm: Arc<Calm>) -> Self {
        let settings = Settings::new("https://auth.test", REDIRECT, "com.app").unwrap();
        let ports = Ports {
            store: store.clone(),
            transport: Arc::new(server.clone()),
            clock: calm.clone(),
            pause: calm.clone(),
            entropy: calm.clone(),
        };
        let manager = AccountManager::open(settings, ports).unwrap();
        Self { server, store, calm, manager }
    }

    /// The app is stopped and started again.
    pub(crate) fn restarted(self) -> Self {
        *self.store.writes_left.lock() = None;
        Self::with(self.server, self.store, self.calm)
    }

    pub(crate) fn sign_in(&self, handle: &str) -> Account {
        self.manager.begin_sign_in(handle).unwrap();
        let code = self.server.allow();
        self.manager.complete_sign_in(&format!("{REDIRECT}?code={code}")).unwrap()
    }

    pub(crate) fn pauses(&self) -> Vec<u64> {
        std::mem::take(&mut *self.calm.pauses.lock())
    }
}
