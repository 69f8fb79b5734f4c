//! Pushed authorization requests (RFC 9126) and the authorization endpoint that turns them into codes.

use serde_json::Value;
use serde_json::json;

use super::authorization_server::{Decision, IssuerState, proof_refusal};
use super::client_registry::redirect_uri_is_declared;
use super::dpop::ProofFault;
use super::grants::ClientProof;
use super::ledger::CanaryKind;
use super::reply::Reply;
use super::request_log::RecordedRequest;
use crate::threads::random_hex;

/// Milliseconds that a pushed request and a code live.
pub(crate) const REQUEST_LIFE: i64 = 300_000;

/// An authorization request under way.
#[derive(Clone, Debug)]
pub(crate) struct PushedRequest {
    pub(crate) client_id: String,
    pub(crate) client_proof: ClientProof,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) state: Option<String>,
    pub(crate) code_challenge: String,
    pub(crate) login_hint: Option<String>,
    pub(crate) jkt: Option<String>,
    pub(crate) expires_at: i64,
}

/// A code and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct CodeGrant {
    pub(crate) request: PushedRequest,
    pub(crate) subject: String,
    pub(crate) scope: String,
    pub(crate) used: bool,
    /// The grant that it was exchanged for: a replay ends it.
    pub(crate) grant: Option<u64>,
    pub(crate) expires_at: i64,
}

impl IssuerState {
    pub(crate) async fn pushed_authorization(&self, request: &RecordedRequest) -> Reply {
        match self.push(request).await {
            Ok(request_uri) => Reply::json(201, &json!({"request_uri": request_uri, "expires_in": 299})),
            Err(refusal) => refusal,
        }
    }

    async fn push(&self, request: &RecordedRequest) -> Result<String, Reply> {
        let (document, client_proof) = self.client(request, "invalid_client").await?;
        let jkt = match self.gate.check(request, None) {
            Ok(proof) => Some(proof.jkt),
            // The real server takes a pushed request without a proof; the code is then bound at the exchange.
            Err(ProofFault::Missing) => None,
            Err(fault) => return Err(proof_refusal(&fault)),
        };
        let form = request.form();
        let invalid = |text: &str| Reply::oauth_error(400, "invalid_request", text);
        if form.get("response_type").map(String::as_str) != Some("code") {
            return Err(invalid("Unsupported response_type"));
        }
        let redirect_uri = form.get("redirect_uri").ok_or_else(|| invalid("Missing redirect_uri"))?;
        if !redirect_uri_is_declared(&document, redirect_uri) {
            return Err(invalid(&format!("Invalid redirect_uri {redirect_uri}")));
        }
        let challenge = form.get("code_challenge").ok_or_else(|| invalid("Use of PKCE is required"))?;
        if form.get("code_challenge_method").map(String::as_str) != Some("S256") || challenge.len() != 43 {
            return Err(invalid("Unsupported code_challenge_method"));
        }
        let scope = form.get("scope").cloned().unwrap_or_default();
        check_scope(&document, &scope)?;
        if form.get("prompt").map(String::as_str) == Some("none") && client_proof == ClientProof::None {
            return Err(invalid("Public clients are not allowed to use silent-sign-on"));
        }
        let pushed = PushedRequest {
            client_id: form["client_id"].clone(),
            client_proof,
            redirect_uri: redirect_uri.clone(),
            scope,
            state: form.get("state").cloned(),
            code_challenge: challenge.clone(),
            login_hint: form.get("login_hint").cloned(),
            jkt,
            expires_at: self.shared.clock.now_millis() + REQUEST_LIFE,
        };
        let request_uri = format!("urn:ietf:params:oauth:request_uri:req-{}", random_hex::<16>());
        self.requests.lock().insert(request_uri.clone(), pushed);
        Ok(request_uri)
    }

    /// The authorization endpoint. The person's decision is taken from the script at once.
    pub(crate) fn authorize(&self, request: &RecordedRequest) -> Reply {
        let page = |status, text: &str| {
            Reply::text(status, "text/html; charset=utf-8", format!("<!doctype html><title>{text}</title>"))
        };
        let Some(request_uri) = request.query_value("request_uri") else { return page(400, "Missing request_uri") };
        let known = self.requests.lock().get(&request_uri).cloned();
        let Some(pushed) = known.filter(|pushed| pushed.expires_at > self.shared.clock.now_millis()) else {
            return page(400, "Unknown request_uri");
        };
        if request.query_value("client_id").as_deref() != Some(&pushed.client_id) {
            return page(400, "This request was initiated by another client");
        }
        let decision = self.settings.lock().decision.clone();
        if decision == Decision::Hesitate || request.method != "GET" {
            return page(200, "Authorize");
        }
        self.requests.lock().remove(&request_uri);
        let outcome = match decision {
            Decision::Approve => match self.hinted_account(&pushed) {
                Some(subject) => vec![("code", self.code_for(&pushed, subject))],
                None => error_parameters("access_denied", "No such account here"),
            },
            Decision::ApproveAs(subject) => vec![("code", self.code_for(&pushed, subject))],
            Decision::Deny => error_parameters("access_denied", "The user rejected the request"),
            Decision::Fail(error, description) => error_parameters(&error, &description),
            Decision::Hesitate => unreachable!("answered above"),
        };
        let mut location = url::Url::parse(&pushed.redirect_uri).expect("a checked redirect URI");
        let state = pushed.state.map(|state| ("state", state));
        location.query_pairs_mut().append_pair("iss", &self.issuer).extend_pairs(state).extend_pairs(outcome);
        Reply::redirect(303, location.as_str()).with("Cache-Control", "no-store")
    }

    fn hinted_account(&self, pushed: &PushedRequest) -> Option<String> {
        let hinted = pushed.login_hint.as_deref().and_then(|hint| self.shared.accounts.named(hint));
        let resources = self.resources.lock().clone();
        let at_home = || resources.iter().flat_map(|pds| self.shared.accounts.hosted_at(pds)).next();
        hinted.or_else(at_home).map(|account| account.did)
    }

    fn code_for(&self, pushed: &PushedRequest, subject: String) -> String {
        let code = self.shared.ledger.mint(CanaryKind::Code, &self.issuer);
        let scope = self.settings.lock().granted_scope.clone().unwrap_or_else(|| pushed.scope.clone());
        let expires_at = self.shared.clock.now_millis() + REQUEST_LIFE;
        let grant = CodeGrant { request: pushed.clone(), subject, scope, used: false, grant: None, expires_at };
        self.codes.lock().insert(code.clone(), grant);
        code
    }
}

fn error_parameters(error: &str, description: &str) -> Vec<(&'static str, String)> {
    vec![("error", error.to_owned()), ("error_description", description.to_owned())]
}

fn check_scope(document: &Value, scope: &str) -> Result<(), Reply> {
    let declared: Vec<&str> = document["scope"].as_str().unwrap_or_default().split(' ').collect();
    let refuse = |text: String| Reply::oauth_error(400, "invalid_scope", &text);
    if let Some(strange) = scope.split(' ').find(|part| !declared.contains(part)) {
        return Err(refuse(format!("Scope \"{strange}\" is not declared in the client metadata")));
    }
    if !scope.split(' ').any(|part| part == "atproto") {
        return Err(refuse("The \"atproto\" scope is required".to_owned()));
    }
    Ok(())
}
