//! An OAuth client written out by hand, so that the fault servers are tested by other code than the product's.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_oauth::SigningKey;
use bowerbird_oauth::jose::jws::sign_compact;
use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::http_client::{Answer, TestClient, TestRequest};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use url::Url;

/// Where the hand-made client wants its callback; nobody listens there.
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:9/cb";

pub(crate) struct HandClient {
    pub(crate) client_id: String,
    pub(crate) issuer: String,
    pub(crate) key: SigningKey,
    pub(crate) client_key: Option<SigningKey>,
    pub(crate) nonce: Option<String>,
    pub(crate) http: TestClient,
    pub(crate) clock_offset: i64,
    pub(crate) used_ids: u64,
}

pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) whole: Value,
}

impl HandClient {
    pub(crate) fn public(network: &FaultNetwork) -> Self {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("scope", "atproto transition:generic")
            .finish();
        Self {
            client_id: format!("http://localhost?{query}"),
            issuer: network.authorization_server().issuer().to_owned(),
            key: SigningKey::from_scalar(&[11; 32]).unwrap(),
            client_key: None,
            nonce: None,
            http: TestClient::new(),
            clock_offset: 0,
            used_ids: 0,
        }
    }

    pub(crate) fn confidential(network: &FaultNetwork) -> Self {
        let key = SigningKey::from_scalar(&[12; 32]).unwrap().with_kid("k1");
        let client_id = "https://bff.home.arpa/client.json".to_owned();
        network.register_client(
            &client_id,
            json!({
                "client_id": client_id, "redirect_uris": [REDIRECT_URI], "scope": "atproto transition:generic",
                "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
                "jwks": {"keys": [key.public_jwk()]},
            }),
        );
        Self { client_id, client_key: Some(key), ..Self::public(network) }
    }

    pub(crate) fn fresh_id(&mut self) -> String {
        self.used_ids += 1;
        format!("id-{}-{}", self.used_ids, self.key.thumbprint())
    }

    pub(crate) fn now(&self) -> i64 {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        i64::try_from(now).unwrap() + self.clock_offset
    }

    pub(crate) fn proof(&mut self, method: &str, url: &str, access_token: Option<&str>) -> String {
        let mut claims = json!({"jti": self.fresh_id(), "htm": method, "htu": url, "iat": self.now()});
        if let Some(nonce) = &self.nonce {
            claims["nonce"] = json!(nonce);
        }
        if let Some(token) = access_token {
            claims["ath"] = json!(URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
        }
        self.sign_proof(&claims)
    }

    pub(crate) fn sign_proof(&self, claims: &Value) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.public_jwk()});
        sign_compact(&header, claims, &self.key)
    }

    /// The form with client credentials added.
    pub(crate) fn form(&mut self, fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut form: Vec<(String, String)> = fields.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        form.push(("client_id".to_owned(), self.client_id.clone()));
        if let Some(key) = self.client_key.clone() {
            let now = self.now();
            let claims = json!({
                "iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "jti": self.fresh_id(), "iat": now, "exp": now + 60,
            });
            let assertion = sign_compact(&json!({"alg": "ES256", "kid": key.kid()}), &claims, &key);
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            form.push(("client_assertion_type".to_owned(), kind.to_owned()));
            form.push(("client_assertion".to_owned(), assertion));
        }
        form
    }

    /// One POST to the authorization server with a proof, no retry.
    pub(crate) async fn post_once(&mut self, path: &str, fields: &[(&str, &str)]) -> std::io::Result<Answer> {
        let url = format!("{}{path}", self.issuer);
        let form = self.form(fields);
        let pairs: Vec<(&str, &str)> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let proof = self.proof("POST", &url, None);
        let answer = self.http.try_send(TestRequest::post_form(&url, &pairs).header("dpop", &proof)).await?;
        if let Some(nonce) = answer.header("dpop-nonce") {
            self.nonce = Some(nonce.to_owned());
        }
        Ok(answer)
    }

    /// The same, with one retry for a nonce.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let first = self.post_once(path, fields).await.unwrap();
        if first.json()["error"] == "use_dpop_nonce" { self.post_once(path, fields).await.unwrap() } else { first }
    }

    pub(crate) fn verifier() -> String {
        "v".repeat(43)
    }

    /// PAR; returns the URL of the authorization page.
    pub(crate) async fn push(&mut self, login_hint: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, Self::verifier().as_bytes()));
        let fields = [
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "atproto transition:generic"),
            ("state", "st4te"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("login_hint", login_hint),
        ];
        let pushed = self.post("/oauth/par", &fields).await.expect_status(201).json();
        let mut url = Url::parse(&format!("{}/oauth/authorize", self.issuer)).unwrap();
        url.query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("request_uri", pushed["request_uri"].as_str().unwrap());
        url.into()
    }

    /// The query of the callback that the authorization page redirects to.
    pub(crate) async fn callback(&mut self, login_hint: &str) -> HashMap<String, String> {
        let page = self.push(login_hint).await;
        let answer = self.http.get(&page).await.expect_status(303);
        let url = Url::parse(answer.location()).unwrap();
        assert!(url.as_str().starts_with(REDIRECT_URI));
        url.query_pairs().into_owned().collect()
    }

    pub(crate) async fn exchange(&mut self, code: &str) -> Answer {
        let verifier = Self::verifier();
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", verifier.as_str()),
        ];
        self.post("/oauth/token", &fields).await
    }

    pub(crate) async fn log_in(&mut self, login_hint: &str) -> Tokens {
        let code = self.callback(login_hint).await["code"].clone();
        Tokens::from(self.exchange(&code).await.expect_status(200).json())
    }

    pub(crate) async fn refresh(&mut self, refresh_token: &str) -> Answer {
        self.post("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// One call to a PDS, with one retry for a nonce.
    pub(crate) async fn call(&mut self, url: &str, access_token: &str) -> Answer {
        let first = self.call_once(url, access_token).await;
        if first.status == 401 && first.json()["error"] == "use_dpop_nonce" {
            self.call_once(url, access_token).await
        } else {
            first
        }
    }

    pub(crate) async fn call_once(&mut self, url: &str, access_token: &str) -> Answer {
        let proof = self.proof("GET", url.split('?').next().unwrap(), Some(access_token));
        let request =
            TestRequest::get(url).header("authorization", &format!("DPoP {access_token}")).header("dpop", &proof);
        let answer = self.http.send(request).await;
        if let Some(nonce) = answer.header("dpop-nonce") {
            self.nonce = Some(nonce.to_owned());
        }
        answer
    }
}

impl From<Value> for Tokens {
    fn from(whole: Value) -> Self {
        let text = |name: &str| whole[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token"), whole }
    }
}
