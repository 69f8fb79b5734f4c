//! The two instances, and who is signed in at them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bowerbird_testkit::actors::{App, Visitor};
use bowerbird_testkit::databases::{PostgresServer, RedisServer};
use bowerbird_testkit::fault::{CanaryKind, FaultAccount, FaultNetwork, Presentation, Verdict};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};

/// A call that needs an access token.
pub(crate) const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const COOKIE_SECRET: &str = "6d1c0b5e9f27438a8e54c7b3d2a19f600c4be87315fa4d2297ce60183bd5fa44";
const ENCRYPTION_KEY: &str = "f3a87c5201de4b96a0c2e8d97b41365fd8027ae96c31450bb7f41ce25d938a06";

/// Everything that runs; what uses the databases ends before them.
pub(crate) struct Pair {
    pub(crate) instances: [BowerbirdProcess; 2],
    pub(crate) network: FaultNetwork,
    pub(crate) redis: Option<RedisServer>,
    pub(crate) postgres: PostgresServer,
    addresses: AtomicU32,
}

impl Pair {
    /// None where the databases are not installed.
    pub(crate) async fn start(with_redis: bool) -> Option<Self> {
        Self::start_with(with_redis, |options, _| options).await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(
        with_redis: bool,
        more: impl FnOnce(ServerOptions, &FaultNetwork) -> ServerOptions,
    ) -> Option<Self> {
        if !PostgresServer::available() || (with_redis && !RedisServer::available()) {
            return None;
        }
        let network = FaultNetwork::start().await;
        let postgres = PostgresServer::start().await;
        let redis = if with_redis { Some(RedisServer::start().await) } else { None };
        let mut options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
            .on(&network)
            .env("BOWERBIRD_LOG", "info")
            .env("BOWERBIRD_TRUSTED_PROXIES", "127.0.0.1")
            .env("BOWERBIRD_DATABASE_URL", &postgres.url())
            .env("BOWERBIRD_COOKIE_SECRET", COOKIE_SECRET)
            .env("BOWERBIRD_ENCRYPTION_KEY", ENCRYPTION_KEY);
        if let Some(redis) = &redis {
            options = options.env("BOWERBIRD_REDIS_URL", &redis.url());
        }
        options = more(options, &network);
        let first = BowerbirdProcess::start(options.clone()).await;
        let second = BowerbirdProcess::start(options.beside(&first)).await;
        Some(Self { instances: [first, second], network, redis, postgres, addresses: AtomicU32::new(0) })
    }

    /// Signs somebody in, from an address of their own.
    pub(crate) async fn sign_in(&self, instance: usize, account: &FaultAccount) -> Visitor {
        let mut visitor = self.instances[instance].visitor();
        let [_, a, b, c] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let request = TestRequest::get(&visitor.url(&format!("/login?handle={}", account.did)))
            .header("x-forwarded-for", &format!("10.{a}.{b}.{c}"))
            .header("sec-fetch-site", "none")
            .header("sec-fetch-mode", "navigate");
        let page = visitor.send(request).await.expect_status(302);
        let callback = visitor.authorize(page.location()).await;
        let _home = visitor.finish_login(&callback).await.expect_status(303);
        visitor
    }

    /// Adds so many accounts and signs them in, at both instances in turn; gives their seals.
    pub(crate) async fn crowd(&self, count: usize) -> Vec<String> {
        use futures_util::StreamExt as _;
        const PROFILE: &str = "/xrpc/com.atproto.repo.getRecord";
        let accounts: Vec<_> = (0..count).map(|n| self.network.add_account(&format!("p{n}.test"))).collect();
        let logins = accounts.iter().enumerate().map(|(number, account)| async move {
            let visitor = self.sign_in(number % 2, account).await;
            visitor.seal().unwrap()
        });
        let seals: Vec<String> = futures_util::stream::iter(logins).buffer_unordered(16).collect().await;
        // After a login the profile is fetched, with the same access token.
        let fetched = || self.network.pds().server().count(PROFILE) >= count;
        until("every profile was fetched", fetched).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.network.clear_logs();
        seals
    }

    /// An app that holds a seal, at one of the instances.
    pub(crate) fn app(&self, instance: usize, seal: &str) -> App {
        self.instances[instance].app(seal)
    }

    /// Calls until the answer is another one than "later".
    pub(crate) async fn call(&self, instance: usize, seal: &str) -> Answer {
        let app = self.app(instance, seal);
        let calling = async {
            loop {
                let answer = app.get(SESSION).await;
                if answer.status != 503 {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(50), calling).await.expect("an answer other than 503")
    }

    /// Every time that a refresh token was shown and looked at.
    pub(crate) fn sent(&self) -> Vec<Presentation> {
        let shown = self.network.ledger().presented(CanaryKind::RefreshToken);
        shown.into_iter().filter(|shown| shown.verdict != Verdict::NotConsumed).collect()
    }

    /// So many refresh tokens were sent, each once, and each was good.
    pub(crate) fn assert_one_send_each(&self, count: usize) {
        let sent = self.sent();
        let tokens: HashSet<&str> = sent.iter().map(|sent| sent.canary.value.as_str()).collect();
        assert_eq!((sent.len(), tokens.len()), (count, count), "one token request each");
        let odd: Vec<_> = sent.iter().filter(|sent| sent.verdict != Verdict::Accepted).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert_sound(&self.network, &self.instances);
    }
}

/// Nobody heard what they must not, no spent token was shown, and nothing panicked.
pub(crate) fn assert_sound(network: &FaultNetwork, instances: &[BowerbirdProcess]) {
    network.assert_clean();
    for instance in instances {
        let log = instance.stderr().text();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Waits for something that is about to happen.
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not happen: {what}");
}
