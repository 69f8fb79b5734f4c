//! Row 79: after everything that can happen, no secret is anywhere but where it belongs.

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{Decision, FaultNetwork, Misbehave, RecordedRequest, Reply, endpoint};
use bowerbird_testkit::http_client::Answer;
use bowerbird_testkit::server::ServerOptions;
use bowerbird_testkit::sweep::Sweep;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{House, Must as _, options, with_param};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";

/// A life of a server: what it said to clients, and which secrets there were.
struct Life {
    house: House,
    heard: Vec<u8>,
    secrets: Vec<String>,
}

impl Life {
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
            self.house.network.expire_all_access_tokens();
            server.server().misbehave(endpoint::TOKEN, echo(status, error));
            assert!(self.get(&mut stranger, SESSION).await.status >= 401);
            assert!(self.get(&mut stranger, "/").await.status == 200);
            server.server().behave();
        }
        for leaver in [&mut visitor, &mut stranger] {
            let answer = leaver.post("/api/auth/logout", &json!({})).await;
            self.hear(answer).must_be(200);
        }
    }

    /// Looks everywhere.
    fn sweep(&self, keys: &[String]) {
        let minted = self.house.network.canaries().into_iter().map(|canary| canary.value);
        let secrets: Vec<String> = minted
            .chain(self.secrets.iter().cloned())
            .chain(keys.iter().cloned())
            .filter(|text| text.len() >= 8)
            .collect();
        assert!(secrets.len() > 30, "{} secrets", secrets.len());
        let server = &self.house.server;
        let (log, out) = (server.stderr().bytes(), server.stdout().bytes());
        assert!(log.len() > 4_000, "a log at level trace has more than {} bytes", log.len());
        let private = br#""d":""#;
        assert!(!log.windows(private.len()).any(|window| window == private), "a private key was logged");
        Sweep::new(&secrets)
            .bytes("stderr", &log)
            .bytes("stdout", &out)
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

/// Secrets of its own for a server, and their values.
fn keyed(options: ServerOptions) -> (ServerOptions, Vec<String>) {
    const COOKIE: &str = "canary-cookie-secret-0123456789-abcdefghijk";
    const KEY: &str = "ca9a5ecafebabe00112233445566778899aabbccddeeff001122334455667788";
    let keyed = options.env("BOWERBIRD_COOKIE_SECRET", COOKIE).env("BOWERBIRD_ENCRYPTION_KEY", KEY);
    (keyed.env("BOWERBIRD_LOG", "trace"), vec![COOKIE.to_owned(), KEY.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn row_79_a_public_client_leaks_nothing_into_a_text_log() {
    let network = FaultNetwork::start().await;
    let (options, keys) = keyed(options(&network));
    let house = House::with(network, options).await;
    let mut life = Life { house, heard: Vec::new(), secrets: Vec::new() };
    life.live().await;
    life.house.assert_alive().await;
    life.sweep(&keys);
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
    keys.extend(parsed["keys"].as_array().unwrap().iter().map(|key| key["d"].as_str().unwrap().to_owned()));
    assert_eq!(keys.len(), 3);
    let house = House::with(network, options.env("BOWERBIRD_CLIENT_KEYS", set.trim())).await;
    let front = house.server.front();
    house.network.map_host("https://bower.home.arpa", front.origin());
    let mut life = Life { house, heard: Vec::new(), secrets: Vec::new() };
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
