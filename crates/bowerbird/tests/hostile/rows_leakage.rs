//! Row 79: after everything that can happen, no secret is anywhere but where it belongs.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{
    Decision, FaultNetwork, FaultServer, Misbehave, PasswordKind, RecordedRequest, Reply, endpoint,
};
use bowerbird_testkit::http_client::Answer;
use bowerbird_testkit::server::ServerOptions;
use bowerbird_testkit::sweep::Sweep;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::opened::dpop_scalars;
use crate::support::{House, Must as _, options, with_param};

const CREATE: &str = "/xrpc/com.atproto.server.createSession";
const REFRESH_SESSION: &str = "/xrpc/com.atproto.server.refreshSession";
const SESSION: &str = "/xrpc/com.atproto.server.getSession";

/// A life of a server: what it said to clients, and which secrets there were.
struct Life {
    house: House,
    heard: Vec<u8>,
    secrets: Vec<String>,
    /// The key-encryption key, to open what is stored.
    key: Vec<u8>,
    /// The private scalars of the DPoP keys that were stored at some time.
    scalars: Vec<Vec<u8>>,
}

impl Life {
    fn of(house: House, key: Vec<u8>) -> Self {
        Self { house, heard: Vec::new(), secrets: Vec::new(), key, scalars: Vec::new() }
    }

    /// Notes the private keys of the grants that are stored now.
    async fn note_scalars(&mut self) {
        for scalar in dpop_scalars(&self.house.server.data_dir(), &self.key).await {
            assert_eq!(scalar.len(), 32);
            if !self.scalars.contains(&scalar) {
                self.scalars.push(scalar);
            }
        }
    }

    /// Keeps an answer, but for the cookies: whoever holds those may see them.
    fn hear(&mut self, answer: Answer) -> Answer {
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let value = value.split(';').next().unwrap_or_default().split_once('=').unwrap().1;
                self.secrets.extend((value.len() > 8).then(|| value.to_owned()));
            } else {
                self.heard.extend_from_slice(format!("{name}: {value}\n").as_bytes());
            }
        }
        self.heard.extend_from_slice(&answer.body);
        answer
    }

    /// Begins a login and gets the approval; its state and code are secrets from now on.
    async fn approve(&mut self, visitor: &mut Visitor, identifier: &str) -> String {
        let page = self.house.start(visitor, identifier).await.expect_status(302);
        let callback = visitor.authorize(page.location()).await;
        let url = url::Url::parse(&callback).unwrap();
        let secret = |name: &str| matches!(name, "state" | "code");
        let values = url.query_pairs().filter(|(name, _)| secret(name)).map(|(_, value)| value.into_owned());
        self.secrets.extend(values);
        callback
    }

    async fn finish(&mut self, visitor: &mut Visitor, callback: &str) -> Answer {
        let answer = visitor.finish_login(callback).await;
        self.hear(answer)
    }

    async fn get(&mut self, visitor: &mut Visitor, path: &str) -> Answer {
        let answer = visitor.get(path).await;
        self.hear(answer)
    }

    /// Logins that end well and badly, calls, refreshes that work and fail, and the goodbye.
    async fn live(&mut self) {
        let network = &self.house.network;
        let (alice, bob) = (network.add_account("alice.test"), network.add_account("bob.test"));
        let server = network.authorization_server();
        let mut visitor = self.house.server.visitor();
        let callback = self.approve(&mut visitor, "alice.test").await;
        self.finish(&mut visitor, &callback).await.must_be(303);
        for odd in [callback.clone(), with_param(&callback, "iss", None), format!("{callback}&code=x")] {
            self.get(&mut visitor, &odd).await.must_be(400);
        }
        let mut stranger = self.house.server.visitor();
        self.get(&mut stranger, &callback).await.must_be(400);
        for path in ["/", "/api/accounts", "/api/auth/session", "/validate-session", SESSION, "/docs", "/openapi.json"]
        {
            self.get(&mut visitor, path).await.must_be(200);
        }
        let note = json!({"repo": alice.did, "collection": "app.example.note", "record": {"text": "hello"}});
        let answer = visitor.post("/xrpc/com.atproto.repo.createRecord", &note).await;
        self.hear(answer).must_be(200);
        self.house.network.expire_all_access_tokens();
        self.get(&mut visitor, SESSION).await.must_be(200);
        self.note_scalars().await;

        // A login whose exchange is answered with all that was sent.
        server.server().misbehave(endpoint::TOKEN, echo(400, "invalid_grant"));
        let callback = self.approve(&mut stranger, &bob.did).await;
        self.finish(&mut stranger, &callback).await.must_be(400);
        server.server().behave();
        // A refusal whose words hold secrets.
        let words = self.secrets.join(" ");
        server.decide(Decision::Fail("server_error".to_owned(), words));
        let callback = self.approve(&mut stranger, &bob.did).await;
        let answer = stranger.finish_login(&callback).await;
        answer.must_be(400);
        server.decide(Decision::Approve);

        // Refreshes that fail: in doubt, and for good, each with words that hold what was sent.
        for (account, status, error) in [(&alice, 500, "server_error"), (&bob, 400, "invalid_grant")] {
            let callback = self.approve(&mut stranger, &account.did).await;
            self.finish(&mut stranger, &callback).await.must_be(303);
            self.note_scalars().await;
            self.house.network.expire_all_access_tokens();
            server.server().misbehave(endpoint::TOKEN, echo(status, error));
            assert!(self.get(&mut stranger, SESSION).await.status >= 401);
            assert!(self.get(&mut stranger, "/").await.status == 200);
            server.server().behave();
        }
        self.live_with_passwords().await;
        for leaver in [&mut visitor, &mut stranger] {
            let answer = leaver.post("/api/auth/logout", &json!({})).await;
            self.hear(answer).must_be(200);
        }
    }

    /// Sign-ins with app passwords that end well and badly, by script and by form, and refreshes that fail.
    async fn live_with_passwords(&mut self) {
        let network = &self.house.network;
        let carla = network.add_account("carla.test");
        let pds = network.pds().clone();
        let good = pds.add_password(&carla.did, PasswordKind::App);
        let main = pds.add_password(&carla.did, PasswordKind::Main);
        // With characters that a log or a page would write in another way.
        let wrong = "wr0ng &<canary>+\"pass%w\u{f6}rd\"".to_owned();
        self.secrets.push(wrong.clone());
        let mut visitor = self.house.server.visitor();
        for (password, status) in [(&wrong, 401), (&main, 401)] {
            let fields = [("identifier", "carla.test"), ("password", password.as_str())];
            let answer = visitor.submit("/accounts/app-password", &fields).await;
            self.hear(answer).must_be(status);
        }
        // A server that answers with all that it was sent.
        pds.server().misbehave(CREATE, echo_of_session(400, "InvalidRequest"));
        let given = json!({"identifier": "carla.test", "password": good, "authFactorToken": "canary-of-the-mail"});
        self.secrets.push("canary-of-the-mail".to_owned());
        let answer = visitor.post("/api/accounts/app-password", &given).await;
        self.hear(answer).must_be(502);
        pds.server().behave();
        // A refresh that works, and one of the next session that is refused with all that was sent.
        for status in [200, 401] {
            let given = json!({"identifier": carla.did, "password": good});
            let answer = visitor.post("/api/accounts/app-password", &given).await;
            self.hear(answer).must_be(200);
            for path in ["/", "/api/accounts", "/api/tokens/health", SESSION] {
                self.get(&mut visitor, path).await.must_be(200);
            }
            if status == 401 {
                pds.server().misbehave(REFRESH_SESSION, echo_of_session(400, "ExpiredToken"));
            }
            pds.expire_app_access_tokens();
            self.get(&mut visitor, SESSION).await.must_be(status);
        }
        pds.server().behave();
        let answer = visitor.post("/api/auth/logout", &json!({})).await;
        self.hear(answer).must_be(200);
        assert!(pds.calls("com.atproto.server.createSession") >= 4);
    }

    /// Everything that nobody else may see.
    fn all_secrets(&self, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let minted = self.house.network.canaries().into_iter().map(|canary| canary.value);
        let texts = minted.chain(self.secrets.iter().cloned()).filter(|text| text.len() >= 8).map(String::into_bytes);
        texts.chain(keys.iter().chain(&self.scalars).cloned()).collect()
    }

    /// Looks everywhere.
    fn sweep(&self, keys: &[Vec<u8>]) {
        let secrets = self.all_secrets(keys);
        assert!(secrets.len() > 30, "{} secrets", secrets.len());
        assert!(self.scalars.len() >= 3, "each login has a key of its own: {}", self.scalars.len());
        self.look(Sweep::new(&secrets));
        let server = &self.house.server;
        let log = server.stderr().bytes();
        assert!(log.len() > 4_000, "a log at level trace has more than {} bytes", log.len());
        let private = br#""d":""#;
        assert!(!log.windows(private.len()).any(|window| window == private), "a private key was logged");
    }

    /// Searches everything that a server leaves or says.
    fn look(&self, sweep: Sweep) {
        let server = &self.house.server;
        sweep
            .bytes("stderr", &server.stderr().bytes())
            .bytes("stdout", &server.stdout().bytes())
            .bytes("answers", &self.heard)
            .folder(&server.data_dir())
            .assert_clean();
    }
}

/// An answer that holds everything that was sent.
fn echo(status: u16, error: &str) -> Misbehave {
    let error = error.to_owned();
    Misbehave::rewrite(move |request: &RecordedRequest, _| {
        let sent = request.transcript().replace(['\r', '\n'], " ");
        let form = request.form();
        let of = |name: &str| form.get(name).cloned().unwrap_or_default();
        let words = format!("{} {} {} {sent}", of("refresh_token"), of("code"), of("code_verifier"));
        Reply::oauth_error(status, &error, &words)
    })
}

/// The same from a PDS: an XRPC error whose name and words are all that was sent.
fn echo_of_session(status: u16, error: &str) -> Misbehave {
    let error = error.to_owned();
    Misbehave::rewrite(move |request: &RecordedRequest, _| {
        let sent = request.transcript().replace(['\r', '\n'], " ");
        Reply::xrpc_error(status, &error, &sent)
    })
}

/// The key-encryption key that [`keyed`] gives.
const KEY: &str = "ca9a5ecafebabe00112233445566778899aabbccddeeff001122334455667788";

fn bytes_of_key() -> Vec<u8> {
    (0..64).step_by(2).map(|at| u8::from_str_radix(&KEY[at..at + 2], 16).unwrap()).collect()
}

/// Secrets of its own for a server, and their values.
fn keyed(options: ServerOptions) -> (ServerOptions, Vec<Vec<u8>>) {
    const COOKIE: &str = "canary-cookie-secret-0123456789-abcdefghijk";
    let keyed = options.env("BOWERBIRD_COOKIE_SECRET", COOKIE).env("BOWERBIRD_ENCRYPTION_KEY", KEY);
    let keyed = keyed.env("BOWERBIRD_APP_PASSWORDS", "true");
    (keyed.env("BOWERBIRD_LOG", "trace"), vec![COOKIE.into(), KEY.into(), bytes_of_key()])
}

#[tokio::test(flavor = "multi_thread")]
async fn row_79_a_public_client_leaks_nothing_into_a_text_log() {
    let network = FaultNetwork::start().await;
    let (options, mut keys) = keyed(options(&network));
    let collector = FaultServer::receiving();
    keys.push(b"canary-of-the-collector-0123456789".to_vec());
    let options = options
        .env("BOWERBIRD_OTLP_ENDPOINT", collector.origin())
        .env("BOWERBIRD_OTLP_HEADERS", "x-key=canary-of-the-collector-0123456789");
    let house = House::with(network, options).await;
    let mut life = Life::of(house, bytes_of_key());
    life.live().await;
    life.house.assert_alive().await;
    assert!(life.house.server.terminate(Duration::from_secs(20)).await.is_some());
    life.sweep(&keys);
    // Nor into a trace.
    let told: Vec<u8> = collector.log().all().iter().flat_map(|request| request.body.to_vec()).collect();
    let spans = collector.traced_spans();
    assert!(spans.len() > 100 && told.len() > 10_000, "{} spans, {} bytes", spans.len(), told.len());
    Sweep::new(life.all_secrets(&keys)).bytes("traces", &told).assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_79_a_confidential_client_leaks_nothing_into_a_json_log() {
    let network = FaultNetwork::start().await;
    let public = options(&network).public_url("https://bower.home.arpa");
    let (options, mut keys) = keyed(public.env("BOWERBIRD_LOG_FORMAT", "json"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowerbird"));
    let made = command.args(["keys", "generate", "client"]).env_clear().output().unwrap();
    let set = String::from_utf8(made.stdout).unwrap();
    let parsed: Value = serde_json::from_str(&set).unwrap();
    for key in parsed["keys"].as_array().unwrap() {
        let scalar = key["d"].as_str().unwrap();
        keys.extend([scalar.into(), URL_SAFE_NO_PAD.decode(scalar).unwrap()]);
    }
    assert_eq!(keys.len(), 5);
    let house = House::with(network, options.env("BOWERBIRD_CLIENT_KEYS", set.trim())).await;
    let front = house.server.front();
    house.network.map_host("https://bower.home.arpa", front.origin());
    let mut life = Life::of(house, bytes_of_key());
    for path in ["/oauth/jwks.json", "/oauth-client-metadata.json"] {
        let answer = life.house.server.client().get(&life.house.server.url(path)).await.expect_status(200);
        life.hear(answer);
    }
    life.live().await;
    let assertions = life.house.network.ledger().minted(bowerbird_testkit::fault::CanaryKind::ClientAssertion);
    assert!(assertions > 5, "{assertions} client assertions");
    life.house.assert_alive().await;
    life.sweep(&keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_79_secrets_that_a_server_made_are_in_their_own_files_alone() {
    let network = FaultNetwork::start().await;
    let options = options(&network).env("BOWERBIRD_LOG", "trace").env("BOWERBIRD_APP_PASSWORDS", "true");
    let house = House::with(network, options).await;
    let data = house.server.data_dir();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap().trim().to_owned();
    let (cookie_file, key_file) = (data.join("cookie-secret"), data.join("encryption-key"));
    let (cookie, key) = (read(&cookie_file), read(&key_file));
    let key_bytes = URL_SAFE_NO_PAD.decode(&key).unwrap();
    assert_eq!(key_bytes.len(), 32);
    let mut life = Life::of(house, key_bytes.clone());
    life.live().await;
    life.house.assert_alive().await;
    life.sweep(&[]);
    let cookie_bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
    life.look(Sweep::new([cookie.into_bytes(), cookie_bytes]).but(&cookie_file));
    life.look(Sweep::new([key.into_bytes(), key_bytes]).but(&key_file));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_79_a_crash_leaves_no_core() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    house.signed_in(&alice).await;
    let pid = house.server.pid();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let fields: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(fields[4..6], ["0", "0"], "{core}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.lines().any(|line| line.split_whitespace().eq(["CoreDumping:", "0"])), "{status}");
    // Not dumpable: what would show its memory and environment belongs to the system, not to the user.
    let memory = std::fs::metadata(format!("/proc/{pid}/mem")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&memory), 0);
    let folder = house.server.data_dir().parent().unwrap().to_owned();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::ABORT).unwrap();
    house
        .until("it is gone", || {
            std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains("zombie"))
        })
        .await;
    for place in [folder.as_path(), &house.server.data_dir()] {
        for entry in std::fs::read_dir(place).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with("core"), "{name}");
        }
    }
}
