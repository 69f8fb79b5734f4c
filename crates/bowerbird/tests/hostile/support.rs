//! A server process on a fault network of its own, and what every test asks of it afterwards.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{FaultAccount, FaultNetwork};
use bowerbird_testkit::http_client::{Answer, RawAnswer, TestRequest, send_raw};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::Value;

/// What a refusal says.
pub(crate) type Refusal = (u16, String);

pub(crate) struct House {
    pub(crate) network: FaultNetwork,
    pub(crate) server: BowerbirdProcess,
    /// Logins come from another address each, so that only the tests of the limit meet it.
    addresses: AtomicU32,
}

/// The program with nothing set but what every house needs.
pub(crate) fn options(network: &FaultNetwork) -> ServerOptions {
    ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on(network).env("BOWERBIRD_TRUSTED_PROXIES", "127.0.0.1")
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::on(FaultNetwork::start().await).await
    }

    pub(crate) async fn on(network: FaultNetwork) -> Self {
        let options = options(&network);
        Self::with(network, options).await
    }

    pub(crate) async fn with(network: FaultNetwork, options: ServerOptions) -> Self {
        let server = BowerbirdProcess::start(options).await;
        Self { network, server, addresses: AtomicU32::new(0) }
    }

    /// Begins a login, from an address of its own.
    pub(crate) async fn start(&self, visitor: &mut Visitor, identifier: &str) -> Answer {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("handle", identifier).finish();
        self.open_page(visitor, &format!("/login?{query}")).await
    }

    /// Opens a page, from an address of its own.
    pub(crate) async fn open_page(&self, visitor: &mut Visitor, path: &str) -> Answer {
        let [_, a, b, c] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let request = TestRequest::get(&visitor.url(path)).header("x-forwarded-for", &format!("10.{a}.{b}.{c}"));
        visitor.send(request.header("sec-fetch-site", "none").header("sec-fetch-mode", "navigate")).await
    }

    /// Begins a login and gets the person's approval; returns the callback's URL.
    pub(crate) async fn approved(&self, visitor: &mut Visitor, identifier: &str) -> String {
        let page = self.start(visitor, identifier).await.expect_status(302);
        visitor.authorize(page.location()).await
    }

    /// Tries to begin a login, which must fail.
    pub(crate) async fn refused_start(&self, identifier: &str) -> Refusal {
        let mut visitor = self.server.visitor();
        let answer = self.start(&mut visitor, identifier).await;
        assert_eq!(answer.header("location"), None, "a refused login leads nowhere");
        refusal(&answer)
    }

    /// Begins a login that must fail at its end.
    pub(crate) async fn refused_end(&self, identifier: &str) -> Refusal {
        let mut visitor = self.server.visitor();
        let callback = self.approved(&mut visitor, identifier).await;
        let answer = visitor.finish_login(&callback).await;
        assert_eq!(visitor.seal(), None, "nobody is signed in");
        refusal(&answer)
    }

    /// A browser that is signed in.
    pub(crate) async fn signed_in(&self, account: &FaultAccount) -> Visitor {
        let mut visitor = self.server.visitor();
        self.add(&mut visitor, account).await;
        visitor
    }

    /// Signs one more account in, and lets the server end what it does after a login.
    pub(crate) async fn add(&self, visitor: &mut Visitor, account: &FaultAccount) {
        const PROFILE: &str = "/xrpc/com.atproto.repo.getRecord";
        let home = self.network.servers().into_iter().find(|server| server.origin() == account.pds).unwrap();
        let before = home.count(PROFILE);
        let callback = self.approved(visitor, &account.did).await;
        let answer = visitor.finish_login(&callback).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        self.until("the profile is asked for", || home.count(PROFILE) > before).await;
    }

    /// Writes bytes to a socket of the server and reads until it closes, or for two seconds.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> RawAnswer {
        send_raw(self.server.address(), &[bytes], Duration::ZERO, Duration::from_secs(2)).await.unwrap()
    }

    /// Waits for something that is about to happen.
    pub(crate) async fn until(&self, what: &str, mut happened: impl FnMut() -> bool) {
        for _ in 0..500 {
            if happened() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not happen: {what}\n{}", self.server.stderr().text());
    }

    /// What `bowerbird accounts list` says: DID and status of each.
    pub(crate) fn accounts(&self) -> Vec<(String, String)> {
        let output = self.server.command(&["accounts", "list", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list["accounts"].as_array().unwrap().iter().map(|row| (text(&row["did"]), text(&row["status"]))).collect()
    }

    /// The server lives, nothing in it panicked, and nobody heard what they must not.
    pub(crate) async fn assert_sound(&self) {
        self.assert_alive().await;
        self.network.assert_clean();
    }

    /// The server lives and nothing in it panicked.
    pub(crate) async fn assert_alive(&self) {
        self.server.client().get(&self.server.url("/health")).await.must_be(200);
        let log = self.server.stderr().text();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Status and code of an error answer.
#[track_caller]
pub(crate) fn refusal(answer: &Answer) -> Refusal {
    let code = answer.header("bowerbird-error");
    (answer.status, code.unwrap_or_else(|| panic!("no error code in {answer:?}")).to_owned())
}

/// A refusal to compare with.
pub(crate) fn refused(status: u16, code: &str) -> Refusal {
    (status, code.to_owned())
}

/// A URL with a query parameter set, or left out.
pub(crate) fn with_param(url: &str, name: &str, value: Option<&str>) -> String {
    let mut url = url::Url::parse(url).unwrap();
    let kept: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(value.map(|value| (name, value)));
    url.into()
}

/// Checks of an answer that is not needed any further.
pub(crate) trait Must {
    /// Panics when the status is another one.
    fn must_be(&self, status: u16);
    /// Panics when it is not this error.
    fn must_refuse(&self, status: u16, code: &str);
}

impl Must for Answer {
    #[track_caller]
    fn must_be(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
    }

    #[track_caller]
    fn must_refuse(&self, status: u16, code: &str) {
        assert_eq!(refusal(self), refused(status, code), "{}", self.text());
    }
}
