//! An authorization server by the AT Protocol's profile, with the real one's rules and texts.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::accounts::Accounts;
use super::client_registry::ClientRegistry;
use super::dpop::{DpopGate, ProofFault};
use super::grants::{ClientProof, Grant, Grants, RefreshStanding};
use super::http_server::FaultServer;
use super::ledger::Ledger;
use super::misbehave::endpoint;
use super::network_clock::NetworkClock;
use super::oauth_answers::{issuer_nonce_challenge, resource_refusal};
use super::pushed_requests::{CodeGrant, PushedRequest};
use super::reply::Reply;
use super::request_log::RecordedRequest;

/// What the person at the consent page does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Approves as the account of the `login_hint`, or as the first account of a PDS behind this server.
    Approve,
    /// Approves as this DID, whatever was asked: also as one that is not at home here.
    ApproveAs(String),
    /// Rejects.
    Deny,
    /// The server itself redirects with this error and description.
    Fail(String, String),
    /// Nothing yet: a page is shown, the request stays open.
    Hesitate,
}

/// Tokens that were given without a sign-in.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// The access token's life in seconds.
    pub expires_in: i64,
}

/// An authorization server of a network; cheap to clone.
#[derive(Clone, Debug)]
pub struct AuthorizationServer {
    pub(crate) server: FaultServer,
    pub(crate) state: Arc<IssuerState>,
}

/// What an authorization server shares with the network.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Ledger,
    pub(crate) clock: NetworkClock,
    pub(crate) grants: Grants,
    pub(crate) accounts: Accounts,
    pub(crate) clients: ClientRegistry,
}

#[derive(Debug)]
pub(crate) struct IssuerState {
    pub(crate) issuer: String,
    pub(crate) shared: Shared,
    pub(crate) gate: Arc<DpopGate>,
    pub(crate) settings: Mutex<IssuerSettings>,
    pub(crate) resources: Mutex<Vec<String>>,
    pub(crate) requests: Mutex<HashMap<String, PushedRequest>>,
    pub(crate) codes: Mutex<HashMap<String, CodeGrant>>,
}

#[derive(Clone, Debug)]
pub(crate) struct IssuerSettings {
    pub(crate) decision: Decision,
    pub(crate) granted_scope: Option<String>,
    pub(crate) access_millis: i64,
    pub(crate) public_refresh_millis: i64,
    pub(crate) confidential_refresh_millis: i64,
    pub(crate) stateless: bool,
}

const DAY: i64 = 24 * 3600 * 1000;

impl IssuerState {
    pub(crate) fn new(issuer: &str, shared: &Shared, gate: &Arc<DpopGate>) -> Arc<Self> {
        let settings = IssuerSettings {
            decision: Decision::Approve,
            granted_scope: None,
            access_millis: 3_600_000,
            public_refresh_millis: 14 * DAY,
            confidential_refresh_millis: 90 * DAY,
            stateless: false,
        };
        Arc::new(Self {
            issuer: issuer.to_owned(),
            shared: shared.clone(),
            gate: gate.clone(),
            settings: Mutex::new(settings),
            resources: Mutex::default(),
            requests: Mutex::default(),
            codes: Mutex::default(),
        })
    }

    /// Answers what belongs to an authorization server; None for other paths.
    pub(crate) async fn answer(&self, request: &RecordedRequest) -> Option<Reply> {
        let post = request.method == "POST";
        let reply = match request.path() {
            endpoint::AUTHORIZATION_SERVER => return Some(cors(Reply::json(200, &self.metadata()))),
            endpoint::JWKS => return Some(cors(Reply::json(200, &json!({"keys": []})))),
            endpoint::PAR if post => self.pushed_authorization(request).await,
            endpoint::TOKEN if post => self.token(request).await,
            endpoint::REVOKE if post => self.revoke(request).await,
            endpoint::AUTHORIZE => return Some(self.authorize(request)),
            path if path.starts_with("/oauth/") => Reply::text(404, "text/plain", "Not Found"),
            _ => return None,
        };
        let reply = reply.with("Cache-Control", "no-store").with("Pragma", "no-cache");
        Some(
            cors(reply)
                .with("DPoP-Nonce", self.gate.nonce_to_hand_out())
                .with("Access-Control-Expose-Headers", "DPoP-Nonce"),
        )
    }

    fn metadata(&self) -> Value {
        const ALGORITHMS: [&str; 10] =
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES256K", "ES384", "ES512"];
        let at = |path: &str| format!("{}{path}", self.issuer);
        let request_object_algorithms: Vec<&str> = ALGORITHMS.into_iter().chain(["none"]).collect();
        json!({
            "issuer": self.issuer,
            "request_parameter_supported": true,
            "request_uri_parameter_supported": true,
            "require_request_uri_registration": true,
            "scopes_supported": ["atproto", "transition:email", "transition:generic", "transition:chat.bsky"],
            "subject_types_supported": ["public"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "ui_locales_supported": ["en-US"],
            "display_values_supported": ["page", "popup", "touch"],
            "request_object_signing_alg_values_supported": request_object_algorithms,
            "authorization_response_iss_parameter_supported": true,
            "request_object_encryption_alg_values_supported": [],
            "request_object_encryption_enc_values_supported": [],
            "jwks_uri": at(endpoint::JWKS),
            "authorization_endpoint": at(endpoint::AUTHORIZE),
            "token_endpoint": at(endpoint::TOKEN),
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "revocation_endpoint": at(endpoint::REVOKE),
            "pushed_authorization_request_endpoint": at(endpoint::PAR),
            "require_pushed_authorization_requests": true,
            "dpop_signing_alg_values_supported": ALGORITHMS,
            "protected_resources": *self.resources.lock(),
            "client_id_metadata_document_supported": true,
            "prompt_values_supported": ["none", "login", "consent", "select_account", "create"],
        })
    }

    /// Finds and authenticates the client of a form.
    pub(crate) async fn client(&self, request: &RecordedRequest, missing: &str) -> Result<(Value, ClientProof), Reply> {
        let form = request.form();
        for (name, kind) in [
            ("code_verifier", super::CanaryKind::CodeVerifier),
            ("client_assertion", super::CanaryKind::ClientAssertion),
        ] {
            if let Some(value) = form.get(name) {
                self.shared.ledger.note_received(kind, value);
            }
        }
        let client_id = form.get("client_id").ok_or_else(|| {
            Reply::oauth_error(400, missing, "Client credentials missing: Required at body.client_id")
        })?;
        let document = self.shared.clients.find(client_id).await?;
        let proof = self.shared.clients.authenticate(&document, &form, &self.issuer)?;
        Ok((document, proof))
    }

    /// Revocation: 200 even when nothing was done, as the real server.
    async fn revoke(&self, request: &RecordedRequest) -> Reply {
        let nothing_to_see = Reply::json(200, &json!({}));
        let Ok((document, _)) = self.client(request, "invalid_client").await else { return nothing_to_see };
        match self.gate.check(request, None) {
            Ok(_) => {}
            Err(ProofFault::Nonce(text)) => return issuer_nonce_challenge(&text),
            Err(ProofFault::Missing | ProofFault::Invalid(_)) => return nothing_to_see,
        }
        let form = request.form();
        if let Some(token) = form.get("token")
            && document["client_id"].as_str() == form.get("client_id").map(String::as_str)
        {
            self.shared.grants.end_by_token(token);
        }
        nothing_to_see
    }
}

/// The refusal for a proof, in the words of an authorization server.
pub(crate) fn proof_refusal(fault: &ProofFault) -> Reply {
    match fault {
        ProofFault::Nonce(text) => issuer_nonce_challenge(text),
        ProofFault::Missing => issuer_refusal("DPoP proof required"),
        ProofFault::Invalid(text) => issuer_refusal(text),
    }
}

fn issuer_refusal(text: &str) -> Reply {
    let challenge = resource_refusal("invalid_dpop_proof", text);
    let header = challenge.header("WWW-Authenticate").unwrap_or_default().to_owned();
    Reply::oauth_error(401, "invalid_dpop_proof", text).with("WWW-Authenticate", header)
}

fn cors(reply: Reply) -> Reply {
    reply
        .with("Access-Control-Allow-Origin", "*")
        .with("Access-Control-Allow-Methods", "*")
        .with("Access-Control-Allow-Headers", "Content-Type,DPoP")
}

impl AuthorizationServer {
    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// The server, for rules and its request log.
    pub fn server(&self) -> &FaultServer {
        &self.server
    }

    /// What the person decides from now on.
    pub fn decide(&self, decision: Decision) {
        self.state.settings.lock().decision = decision;
    }

    /// Approves as this DID from now on, also as one that is not at home here.
    pub fn approve_as(&self, did: &str) {
        self.decide(Decision::ApproveAs(did.to_owned()));
    }

    /// Grants this scope instead of the one asked for; None: what was asked for.
    pub fn grant_scope(&self, scope: Option<&str>) {
        self.state.settings.lock().granted_scope = scope.map(str::to_owned);
    }

    /// The life of access tokens minted from now on, in seconds.
    pub fn set_access_seconds(&self, seconds: i64) {
        self.state.settings.lock().access_millis = seconds * 1000;
    }

    /// The life of refresh tokens since the last refresh, in seconds, for all clients.
    pub fn set_refresh_seconds(&self, seconds: i64) {
        let mut settings = self.state.settings.lock();
        settings.public_refresh_millis = seconds * 1000;
        settings.confidential_refresh_millis = seconds * 1000;
    }

    /// Whether old access tokens outlive a rotation, as at a server apart from its PDSes (an entryway).
    pub fn set_stateless(&self, stateless: bool) {
        self.state.settings.lock().stateless = stateless;
    }

    /// Makes every DPoP nonce given so far invalid.
    pub fn renew_nonces(&self) {
        self.state.gate.renew_secret();
    }

    /// How long a nonce interval is; a nonce lives two to three of them (one minute each by default).
    pub fn set_nonce_rotation_millis(&self, millis: i64) {
        self.state.gate.set_rotation_millis(millis);
    }

    /// Whether proofs need a nonce (true by default).
    pub fn require_nonce(&self, required: bool) {
        self.state.gate.require_nonce(required);
    }

    /// Lists another resource in `protected_resources` of the metadata.
    pub fn protect(&self, pds_origin: &str) {
        self.state.resources.lock().push(pds_origin.to_owned());
    }

    /// Opens a grant of an account for a public client, bound to the key of this thumbprint, as a sign-in would: for tests
    /// that need thousands.
    pub fn issue(&self, did: &str, client_id: &str, thumbprint: &str, scope: &str) -> IssuedTokens {
        let settings = self.state.settings.lock().clone();
        let now = self.state.shared.clock.now_millis();
        let template = Grant {
            issuer: self.state.issuer.clone(),
            subject: did.to_owned(),
            client_id: client_id.to_owned(),
            client_proof: ClientProof::None,
            jkt: thumbprint.to_owned(),
            scope: scope.to_owned(),
            access_token: String::new(),
            access_expires_at: 0,
            refresh_token: String::new(),
            refreshed_at: now,
            began_at: now,
            alive: true,
        };
        let (_, grant) = self.state.shared.grants.open(template, settings.access_millis, settings.stateless);
        let Grant { access_token, refresh_token, .. } = grant;
        IssuedTokens { access_token, refresh_token, expires_in: settings.access_millis / 1000 }
    }

    /// Whether a refresh token is the newest one of a grant that lives.
    pub fn would_take(&self, refresh_token: &str) -> bool {
        matches!(self.state.shared.grants.refresh_standing(refresh_token), RefreshStanding::Current(_))
    }

    /// How often the token endpoint was called.
    pub fn token_calls(&self) -> usize {
        self.server.count(endpoint::TOKEN)
    }

    /// Ends every grant of an account, as the person can on the server's own pages. Returns how many there were.
    pub fn revoke_all_of(&self, did: &str) -> usize {
        self.state.shared.grants.end_all_of(did)
    }

    /// How many grants of an account are alive.
    pub fn live_grants(&self, did: &str) -> usize {
        self.state.shared.grants.alive_of(did)
    }
}
