//! The server that is measured, and the requests that are sent to it.

use std::net::{Ipv4Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::{AccountId, Did, Handoff, HandoffCodeHash, Timestamp};
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::fault::{FaultAccount, FaultNetwork};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Pair;

const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Wrong verifiers that a code takes before it burns.
const TRIES: usize = 2;
/// How many letters of a challenge a guess has right.
const RIGHT_LETTERS: usize = 2;

pub(crate) struct House {
    _network: FaultNetwork,
    server: BowerbirdProcess,
    admin: SocketAddr,
    /// Alice's, live, as the seal of a browser.
    seal: String,
    /// Of a session that is over.
    dead_seal: String,
    refresh: String,
    dead_refresh: String,
    /// Bob's, who is signed in elsewhere.
    stranger: (AccountId, Did),
}

fn letter(text: &str, place: usize) -> String {
    let other = if text.as_bytes()[place] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..place], &text[place + 1..])
}

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

impl House {
    pub(crate) async fn open() -> Self {
        let network = FaultNetwork::start().await;
        let (alice, bob) = (network.add_account("alice.test"), network.add_account("bob.test"));
        let admin = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on(&network);
        let options = options.env("BOWERBIRD_LOG", "error").env("BOWERBIRD_MOBILE_SCHEME", "app://auth-callback");
        let options =
            options.env("BOWERBIRD_ADMIN_LISTEN", &admin.to_string()).env("BOWERBIRD_ADMIN_TOKEN", ADMIN_TOKEN);
        let server = BowerbirdProcess::start(options).await;
        let mut browser = server.visitor();
        let _home = browser.login("alice.test").await.expect_status(303);
        let seal = browser.seal().unwrap();
        let refresh = app(&server, &bob).await["refreshToken"].as_str().unwrap().to_owned();
        let over = app(&server, &alice).await;
        let text = |name: &str| over[name].as_str().unwrap().to_owned();
        let out = TestRequest::post_json(&server.url("/api/auth/logout"), &json!({}));
        let out = out.header("authorization", &format!("Bearer {}", text("accessToken")));
        let _signed_out = server.client().send(out).await.expect_status(200);
        let did = Did::parse(&bob.did).unwrap();
        let stranger = (stores(&server).await.stores().accounts.find_by_did(&did).await.unwrap().unwrap().id, did);
        let (dead_seal, dead_refresh) = (text("sid"), text("refreshToken"));
        Self { _network: network, server, admin, seal, dead_seal, refresh, dead_refresh, stranger }
    }

    fn pair(&self, name: &'static str, first: Vec<u8>, second: Vec<u8>) -> Pair<'static> {
        let request = Box::new(move |of_second| if of_second { second.clone() } else { first.clone() });
        Pair { name, address: self.server.address(), request }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        request("GET", path, &self.server.host(), headers, "")
    }

    fn session(&self, seal: &str) -> Vec<u8> {
        self.get("/api/auth/session", &[("authorization", &format!("Bearer {seal}"))])
    }

    fn exchange(&self, body: &Value) -> Vec<u8> {
        let json = [("content-type", "application/json")];
        request("POST", "/api/auth/tokens", &self.server.host(), &json, &body.to_string())
    }

    fn forged_seal(&self, place: usize) -> String {
        letter(&self.seal, place)
    }

    /// Where the MAC of the seal begins and ends (before `~2`).
    fn mac_of_seal(&self) -> (usize, usize) {
        (self.seal.rfind('*').unwrap() + 1, self.seal.len() - 4)
    }

    /// Where the MAC of a refresh string begins and ends: behind `bbr_` and 24 bytes.
    fn forged_refresh(&self, place: usize) -> Value {
        json!({"refreshToken": letter(&self.refresh, place)})
    }

    pub(crate) fn seal_with_a_wrong_mac(&self) -> Pair<'_> {
        let (begin, end) = self.mac_of_seal();
        let [first, second] = [begin, end].map(|place| self.session(&self.forged_seal(place)));
        self.pair("a seal whose MAC is wrong in its first or in its last letter", first, second)
    }

    pub(crate) fn refresh_string_with_a_wrong_mac(&self) -> Pair<'_> {
        let [first, second] = [4 + 32, self.refresh.len() - 2].map(|place| self.exchange(&self.forged_refresh(place)));
        self.pair("a refresh string whose MAC is wrong in its first or in its last letters", first, second)
    }

    pub(crate) fn wrong_admin_token(&self) -> Pair<'_> {
        let metrics = |place| {
            let bearer = format!("Bearer {}", letter(ADMIN_TOKEN, place));
            request("GET", "/metrics", &self.admin.to_string(), &[("authorization", &bearer)], "")
        };
        let pair = self.pair(
            "an admin token that is wrong in its first or in its last letter",
            metrics(0),
            metrics(ADMIN_TOKEN.len() - 1),
        );
        Pair { address: self.admin, ..pair }
    }

    pub(crate) fn wrong_form_token(&self) -> Pair<'_> {
        let host = self.server.host();
        let page = self.get("/", &[("cookie", &format!("sid={}", self.seal)), ("accept", "text/html")]);
        let token = token_of(self.server.address(), &page);
        let submit = |place| {
            let body = format!("csrf={}", letter(&token, place));
            let (cookie, origin) = (format!("sid={}", self.seal), format!("http://{host}"));
            let form = ("content-type", "application/x-www-form-urlencoded");
            let headers = [("cookie", &*cookie), ("origin", &*origin), form, ("accept", "application/json")];
            request("POST", "/sign-out", &host, &headers, &body)
        };
        let [first, second] = [0, token.len() - 1].map(submit);
        self.pair("a form's token that is wrong in its first or in its last letter", first, second)
    }

    pub(crate) fn account_of_somebody_or_of_nobody_by_id(&self) -> Pair<'_> {
        let bearer = format!("Bearer {}", self.seal);
        let show = |id: &str| self.get(&format!("/api/accounts/{id}"), &[("authorization", &bearer)]);
        let nobody = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
        self.pair("an account of nobody or of somebody else, by id", show(nobody), show(&self.stranger.0.to_string()))
    }

    pub(crate) fn account_of_somebody_or_of_nobody_by_did(&self) -> Pair<'_> {
        let bearer = format!("Bearer {}", self.seal);
        let call = |did: &str| {
            let headers = [("authorization", &*bearer), ("bowerbird-account", did)];
            self.get("/xrpc/com.atproto.server.getSession", &headers)
        };
        let stranger = self.stranger.1.as_str();
        let other = if stranger.ends_with('a') { "b" } else { "a" };
        let nobody = format!("{}{other}", &stranger[..stranger.len() - 1]);
        self.pair("an account of nobody or of somebody else, by DID", call(&nobody), call(stranger))
    }

    /// Codes that are there, each for as many wrong tries as leave it there.
    pub(crate) async fn wrong_verifiers(&self, tries: usize) -> Vec<String> {
        let database = stores(&self.server).await;
        let handoffs = database.stores().handoffs;
        let codes: Vec<String> = (0..tries.div_ceil(TRIES)).map(|number| format!("{number:043}")).collect();
        for some in codes.chunks(500) {
            // At once, so that they share a commit.
            let inserted = some.iter().map(|code| {
                let handoff = self.handoff(code);
                let handoffs = handoffs.clone();
                async move { handoffs.insert(&handoff).await }
            });
            for result in futures_util::future::join_all(inserted).await {
                result.unwrap();
            }
        }
        database.close().await;
        codes.into_iter().flat_map(|code| std::iter::repeat_n(code, TRIES)).collect()
    }

    fn handoff(&self, code: &str) -> Handoff {
        let hash = Sha256::new().chain_update(b"bowerbird one-time code\0").chain_update(code).finalize();
        Handoff {
            code: HandoffCodeHash(hash.into()),
            account: self.stranger.0,
            device: None,
            device_name: String::new(),
            challenge: Some(CHALLENGE.to_owned()),
            created_at: Timestamp::EPOCH,
            // Long after the test.
            expires_at: Timestamp::from_seconds(32_503_680_000),
        }
    }

    /// The codes go round: none is tried so often that it burns.
    pub(crate) fn wrong_verifier(&self, codes: Vec<String>) -> Pair<'_> {
        let verifiers = (0_u64..).map(|number| format!("{number:043}"));
        let begins = |verifier: &String| challenge_of(verifier)[..RIGHT_LETTERS] == CHALLENGE[..RIGHT_LETTERS];
        let near = verifiers.clone().find(begins).unwrap();
        let far = verifiers.into_iter().find(|verifier| challenge_of(verifier)[..1] != CHALLENGE[..1]).unwrap();
        assert!(near != VERIFIER && near != far);
        let mut codes = codes.into_iter();
        let request = Box::new(move |second| {
            let code = codes.next().unwrap();
            self.exchange(&json!({"code": code, "code_verifier": if second { &near } else { &far }}))
        });
        Pair {
            name: "a verifier with none or some letters of its challenge right",
            address: self.server.address(),
            request,
        }
    }

    pub(crate) fn seal_that_is_forged_or_of_a_session_that_is_over(&self) -> Pair<'_> {
        let forged = self.session(&self.forged_seal(self.mac_of_seal().1));
        self.pair("a seal that is forged or of a session that is over", forged, self.session(&self.dead_seal))
    }

    pub(crate) fn seal_that_is_forged_or_good(&self) -> Pair<'_> {
        let forged = self.session(&self.forged_seal(self.mac_of_seal().1));
        self.pair("a seal that is forged or good", forged, self.session(&self.seal))
    }

    pub(crate) fn refresh_string_that_is_forged_or_of_a_session_that_is_over(&self) -> Pair<'_> {
        let forged = self.exchange(&self.forged_refresh(self.refresh.len() - 2));
        let dead = self.exchange(&json!({"refreshToken": self.dead_refresh}));
        self.pair("a refresh string that is forged or of a session that is over", forged, dead)
    }
}

/// The database of a server, beside it.
async fn stores(server: &BowerbirdProcess) -> SqlStores {
    SqlStores::open(&format!("sqlite:{}", server.data_dir().join("bowerbird.sqlite").display())).await.unwrap()
}

/// The tokens of an app in which the account has signed in.
async fn app(server: &BowerbirdProcess, account: &FaultAccount) -> Value {
    let post = async |path: &str, body: Value| -> Answer {
        server.client().send(TestRequest::post_json(&server.url(path), &body)).await.expect_status(200)
    };
    let start = json!({"handle": account.handle, "code_challenge": CHALLENGE, "code_challenge_method": "S256"});
    let begun = post("/api/auth/start", start).await.json();
    let callback = server.visitor().authorize(begun["authUrl"].as_str().unwrap()).await;
    let end = server.client().get(&callback).await.expect_status(302);
    let code = end.location().split_once("?code=").unwrap().1.to_owned();
    post("/api/auth/tokens", json!({"code": code, "code_verifier": VERIFIER})).await.json()
}

fn request(method: &str, path: &str, host: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n", body]);
    text.into_bytes()
}

/// The token of the forms on a page.
fn token_of(address: SocketAddr, page: &[u8]) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(page).unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        if let Some((_, rest)) = text.split_once("name=\"csrf\" value=\"")
            && let Some((token, _)) = rest.split_once('"')
        {
            return token.to_owned();
        }
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "no token in {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}
