//! A personal data server: protected resource metadata, the resource server's checks, and its store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::app_sessions::{AppSessions, PasswordKind};
use super::authorization_server::Shared;
use super::dpop::{DpopGate, ProofFault};
use super::grants::{AccessStanding, Grant};
use super::http_server::FaultServer;
use super::ledger::{CanaryKind, Verdict};
use super::oauth_answers::{resource_nonce_challenge, resource_refusal};
use super::reply::Reply;
use super::request_log::RecordedRequest;

/// A PDS of a network; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pds {
    pub(crate) server: FaultServer,
    pub(crate) state: Arc<PdsState>,
}

/// Something that was uploaded: counted and hashed, not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Whose call it was.
    pub did: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its content type.
    pub mime_type: String,
}

/// Repository, collection, record key.
pub(crate) type RecordPath = (String, String, String);

#[derive(Debug)]
pub(crate) struct PdsState {
    pub(crate) origin: String,
    pub(crate) shared: Shared,
    pub(crate) gate: Arc<DpopGate>,
    pub(crate) issuers: Vec<String>,
    pub(crate) records: Mutex<BTreeMap<RecordPath, Value>>,
    pub(crate) blobs: Mutex<HashMap<String, Reply>>,
    pub(crate) uploads: Mutex<Vec<Upload>>,
    pub(crate) app_sessions: AppSessions,
}

impl PdsState {
    pub(crate) fn new(origin: &str, issuers: &[&str], shared: &Shared, gate: &Arc<DpopGate>) -> Arc<Self> {
        Arc::new(Self {
            origin: origin.to_owned(),
            shared: shared.clone(),
            gate: gate.clone(),
            issuers: issuers.iter().map(|&issuer| issuer.to_owned()).collect(),
            records: Mutex::default(),
            blobs: Mutex::new(super::xrpc::hostile_blobs()),
            uploads: Mutex::default(),
            app_sessions: AppSessions::default(),
        })
    }

    pub(crate) fn protected_resource(&self) -> Value {
        json!({
            "resource": self.origin,
            "authorization_servers": self.issuers,
            "scopes_supported": [],
            "bearer_methods_supported": ["header"],
            "resource_documentation": "https://atproto.com",
        })
    }

    /// Lets a call in, or says whose it is not, in the real server's words: with DPoP, or with an app-password session.
    pub(crate) fn admit(&self, request: &RecordedRequest) -> Result<String, Reply> {
        match self.app_session(request) {
            Some(judged) => judged,
            None => self.authorize(request).map(|grant| grant.subject),
        }
    }

    /// Lets a call in, or says why not in the real server's words. The nonce header is the caller's to add.
    pub(crate) fn authorize(&self, request: &RecordedRequest) -> Result<Grant, Reply> {
        let missing = || Reply::xrpc_error(401, "AuthMissing", "Authentication Required");
        let authorization = request.header("authorization").ok_or_else(missing)?;
        let (scheme, access_token) = authorization.split_once(' ').ok_or_else(missing)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            self.present(request, access_token, Verdict::Mismatched);
            return Err(Reply::xrpc_error(400, "InvalidToken", "Malformed token"));
        }
        if !scheme.eq_ignore_ascii_case("dpop") {
            return Err(missing());
        }
        let checked = match self.gate.check(request, Some(access_token)) {
            Ok(checked) => checked,
            Err(fault) => {
                self.present(request, access_token, Verdict::NotConsumed);
                return Err(match fault {
                    ProofFault::Nonce(text) => resource_nonce_challenge(&text),
                    ProofFault::Missing => resource_refusal("invalid_dpop_proof", "DPoP proof required"),
                    ProofFault::Invalid(text) => resource_refusal("invalid_dpop_proof", &text),
                });
            }
        };
        let invalid = |text: &str| resource_refusal("invalid_token", text);
        let grant = match self.shared.grants.access_standing(access_token) {
            AccessStanding::Live(grant) => *grant,
            AccessStanding::Expired => {
                self.present(request, access_token, Verdict::Dead);
                return Err(invalid("\"exp\" claim timestamp check failed"));
            }
            AccessStanding::Dead => {
                self.present(request, access_token, Verdict::Dead);
                return Err(invalid("Invalid token"));
            }
            AccessStanding::Unknown => {
                self.present(request, access_token, Verdict::Unknown);
                return Err(invalid("Invalid token"));
            }
        };
        let at_home = self.shared.accounts.by_did(&grant.subject).is_some_and(|account| account.pds == self.origin);
        if !self.issuers.contains(&grant.issuer) || !at_home {
            self.present(request, access_token, Verdict::Mismatched);
            return Err(invalid("Invalid token"));
        }
        if grant.jkt != checked.jkt {
            self.present(request, access_token, Verdict::Mismatched);
            return Err(invalid("Invalid DPoP key binding"));
        }
        self.present(request, access_token, Verdict::Accepted);
        Ok(grant)
    }

    fn present(&self, request: &RecordedRequest, access_token: &str, verdict: Verdict) {
        self.shared.ledger.present(request, CanaryKind::AccessToken, access_token, verdict);
    }
}

impl Pds {
    /// The origin, also the `resource` of its metadata.
    pub fn origin(&self) -> &str {
        &self.state.origin
    }

    /// The server, for rules and its request log.
    pub fn server(&self) -> &FaultServer {
        &self.server
    }

    /// How often an XRPC method was called, challenges included.
    pub fn calls(&self, nsid: &str) -> usize {
        self.server.count(&format!("/xrpc/{nsid}"))
    }

    /// Makes every DPoP nonce given so far invalid.
    pub fn renew_nonces(&self) {
        self.state.gate.renew_secret();
    }

    /// Puts a record, as if its owner had written it.
    pub fn put_record(&self, did: &str, collection: &str, rkey: &str, record: Value) {
        let path = (did.to_owned(), collection.to_owned(), rkey.to_owned());
        self.state.records.lock().insert(path, record);
    }

    /// The record keys of a collection.
    pub fn record_keys(&self, did: &str, collection: &str) -> Vec<String> {
        let records = self.state.records.lock();
        records.keys().filter(|(d, c, _)| d == did && c == collection).map(|(_, _, rkey)| rkey.clone()).collect()
    }

    /// A record.
    pub fn record(&self, did: &str, collection: &str, rkey: &str) -> Option<Value> {
        let path = (did.to_owned(), collection.to_owned(), rkey.to_owned());
        self.state.records.lock().get(&path).cloned()
    }

    /// Serves this answer as the blob of a CID. `html`, `svg` and `png` are there from the start, the first two with
    /// headers that must not reach a browser.
    pub fn put_blob(&self, cid: &str, answer: Reply) {
        self.state.blobs.lock().insert(cid.to_owned(), answer);
    }

    /// Gives an account a password, and returns it.
    pub fn add_password(&self, did: &str, kind: PasswordKind) -> String {
        let password = self.state.shared.ledger.mint(CanaryKind::Password, self.origin());
        self.state.app_sessions.add_password(did, &password, kind);
        password
    }

    /// From now on `createSession` asks for this code of the account.
    pub fn require_auth_factor(&self, did: &str, token: &str) {
        self.state.app_sessions.require_factor(did, token);
    }

    /// Ends every access token of app-password sessions.
    pub fn expire_app_access_tokens(&self) {
        self.state.app_sessions.expire_access();
    }

    /// Ends every app-password session of an account, as when its password is withdrawn.
    pub fn end_app_sessions_of(&self, did: &str) {
        self.state.app_sessions.end_all_of(did);
    }

    /// How many app-password sessions an account has alive.
    pub fn app_sessions_of(&self, did: &str) -> usize {
        self.state.app_sessions.alive_of(did)
    }

    /// What was uploaded.
    pub fn uploads(&self) -> Vec<Upload> {
        self.state.uploads.lock().clone()
    }
}
