//! The token endpoint: codes and refresh tokens, each good for one use.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::authorization_server::{IssuerState, proof_refusal};
use super::dpop::base64url_sha256;
use super::grants::{ClientProof, Grant, RefreshStanding};
use super::ledger::{CanaryKind, Verdict};
use super::pushed_requests::CodeGrant;
use super::reply::Reply;
use super::request_log::RecordedRequest;

impl IssuerState {
    pub(crate) async fn token(&self, request: &RecordedRequest) -> Reply {
        let form = request.form();
        // In the real server's order: the client first, then the proof; only then is a token or code looked at.
        let (document, proof) = match self.client(request, "invalid_grant").await {
            Ok(client) => client,
            Err(refusal) => return self.not_consumed(request, &form, refusal),
        };
        let kind = form.get("grant_type").map(String::as_str);
        if !matches!(kind, Some("authorization_code" | "refresh_token")) {
            let text =
                "Invalid request payload: Invalid discriminator value. Expected 'authorization_code' | 'refresh_token'";
            return Reply::oauth_error(400, "invalid_grant", text);
        }
        let jkt = match self.gate.check(request, None) {
            Ok(checked) => checked.jkt,
            Err(fault) => return self.not_consumed(request, &form, proof_refusal(&fault)),
        };
        if kind == Some("authorization_code") {
            self.exchange_code(request, &form, &document, &proof, &jkt)
        } else {
            self.refresh(request, &form, &document, &proof, &jkt)
        }
    }

    /// Notes a secret that came with a request which failed before it was looked at. A spent one is a replay all the
    /// same: the client ought not to have sent it.
    fn not_consumed(&self, request: &RecordedRequest, form: &HashMap<String, String>, refusal: Reply) -> Reply {
        if let Some(token) = form.get("refresh_token") {
            let verdict = match self.shared.grants.refresh_standing(token) {
                RefreshStanding::Spent => Verdict::Replayed,
                RefreshStanding::Current(_) => Verdict::NotConsumed,
                RefreshStanding::Dead => Verdict::Dead,
                RefreshStanding::Unknown => Verdict::Unknown,
            };
            self.shared.ledger.present(request, CanaryKind::RefreshToken, token, verdict);
        }
        if let Some(code) = form.get("code") {
            let used = self.codes.lock().get(code).map(|grant| grant.used);
            let verdict = match used {
                Some(true) => Verdict::Replayed,
                Some(false) => Verdict::NotConsumed,
                None => Verdict::Unknown,
            };
            self.shared.ledger.present(request, CanaryKind::Code, code, verdict);
        }
        refusal
    }

    fn exchange_code(
        &self,
        request: &RecordedRequest,
        form: &HashMap<String, String>,
        document: &Value,
        proof: &ClientProof,
        jkt: &str,
    ) -> Reply {
        let invalid = |text: &str| Reply::oauth_error(400, "invalid_grant", text);
        let Some(code) = form.get("code") else { return invalid("Missing code") };
        let present = |verdict| self.shared.ledger.present(request, CanaryKind::Code, code, verdict);
        let Some(mut grant) = self.codes.lock().get(code).cloned() else {
            present(Verdict::Unknown);
            return invalid("Invalid code");
        };
        if grant.used {
            present(Verdict::Replayed);
            if let Some(id) = grant.grant {
                self.shared.grants.end(id);
            }
            return invalid("Invalid code");
        }
        // Whatever comes next, the code is spent.
        grant.used = true;
        self.codes.lock().insert(code.clone(), grant.clone());
        if grant.expires_at <= self.shared.clock.now_millis() {
            present(Verdict::Dead);
            return invalid("This code has expired");
        }
        if let Err(text) = code_fits(&grant, form, document, proof, jkt) {
            present(Verdict::Mismatched);
            return invalid(text);
        }
        present(Verdict::Accepted);
        let settings = self.settings.lock().clone();
        let now = self.shared.clock.now_millis();
        let template = Grant {
            issuer: self.issuer.clone(),
            subject: grant.subject.clone(),
            client_id: grant.request.client_id.clone(),
            client_proof: proof.clone(),
            jkt: jkt.to_owned(),
            scope: grant.scope.clone(),
            access_token: String::new(),
            access_expires_at: 0,
            refresh_token: String::new(),
            refreshed_at: now,
            began_at: now,
            alive: true,
        };
        let (id, opened) = self.shared.grants.open(template, settings.access_millis, settings.stateless);
        grant.grant = Some(id);
        self.codes.lock().insert(code.clone(), grant);
        token_answer(&opened, settings.access_millis)
    }

    fn refresh(
        &self,
        request: &RecordedRequest,
        form: &HashMap<String, String>,
        document: &Value,
        proof: &ClientProof,
        jkt: &str,
    ) -> Reply {
        let invalid = |text: &str| Reply::oauth_error(400, "invalid_grant", text);
        let Some(token) = form.get("refresh_token") else { return invalid("Missing refresh_token") };
        let present = |verdict| self.shared.ledger.present(request, CanaryKind::RefreshToken, token, verdict);
        let grant = match self.shared.grants.refresh_standing(token) {
            RefreshStanding::Current(grant) => grant,
            RefreshStanding::Spent => {
                present(Verdict::Replayed);
                self.shared.grants.end_by_token(token);
                return invalid("Refresh token replayed");
            }
            RefreshStanding::Dead => {
                present(Verdict::Dead);
                return invalid("Invalid refresh token");
            }
            RefreshStanding::Unknown => {
                present(Verdict::Unknown);
                return invalid("Invalid refresh token");
            }
        };
        let settings = self.settings.lock().clone();
        // From here on any mistake costs the whole grant, as measured.
        let fault = if grant.issuer != self.issuer {
            Some(("Invalid refresh token", Verdict::Mismatched))
        } else if document["client_id"] != grant.client_id.as_str() {
            Some(("Token was not issued to this client", Verdict::Mismatched))
        } else if grant.client_proof != *proof {
            let text = "The session was initiated with a different key than the client assertion currently used";
            Some((text, Verdict::Mismatched))
        } else if grant.jkt != jkt {
            Some(("DPoP proof does not match the expected JKT", Verdict::Mismatched))
        } else if self.is_too_old(&grant, proof, settings.public_refresh_millis, settings.confidential_refresh_millis) {
            Some(("Refresh token expired", Verdict::Dead))
        } else {
            None
        };
        if let Some((text, verdict)) = fault {
            present(verdict);
            self.shared.grants.end_by_token(token);
            return invalid(text);
        }
        let Some(rotated) = self.shared.grants.rotate(token, settings.access_millis, settings.stateless) else {
            present(Verdict::Replayed);
            return Reply::oauth_error(500, "server_error", "Server error");
        };
        present(Verdict::Accepted);
        token_answer(&rotated, settings.access_millis)
    }

    fn is_too_old(&self, grant: &Grant, proof: &ClientProof, public: i64, confidential: i64) -> bool {
        let now = self.shared.clock.now_millis();
        match proof {
            // A public client's grant ends 14 days after it began, however often it was refreshed.
            ClientProof::None => now - grant.began_at >= public || now - grant.refreshed_at >= public,
            ClientProof::Key { .. } => now - grant.refreshed_at >= confidential,
        }
    }
}

fn code_fits(
    grant: &CodeGrant,
    form: &HashMap<String, String>,
    document: &Value,
    proof: &ClientProof,
    jkt: &str,
) -> Result<(), &'static str> {
    let asked = &grant.request;
    if document["client_id"] != asked.client_id.as_str() || asked.client_proof != *proof {
        return Err("This code was issued for another client");
    }
    if form.get("redirect_uri") != Some(&asked.redirect_uri) {
        return Err("The redirect_uri parameter must match the one used in the authorization request");
    }
    let verifier = form.get("code_verifier").ok_or("code_verifier is required")?;
    if verifier.len() < 43 || base64url_sha256(verifier.as_bytes()) != asked.code_challenge {
        return Err("Invalid code_verifier");
    }
    if asked.jkt.as_deref().is_some_and(|bound| bound != jkt) {
        return Err("DPoP proof does not match the expected JKT");
    }
    Ok(())
}

fn token_answer(grant: &Grant, access_millis: i64) -> Reply {
    Reply::json(
        200,
        &json!({
            "access_token": grant.access_token,
            "token_type": "DPoP",
            "refresh_token": grant.refresh_token,
            "scope": grant.scope,
            // The real server rounds down what is left.
            "expires_in": (access_millis - 1).div_euclid(1000),
            "sub": grant.subject,
        }),
    )
}
