//! Two instances behind a load balancer, with a public name, and a person who is sent to either.

use std::time::{Duration, Instant};

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::databases::{PostgresServer, RedisServer};
use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::http_client::Answer;
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};

use crate::support;

/// The name under which the load balancer is reached.
pub(crate) const NAME: &str = "https://bower.home.arpa";

pub(crate) struct Installation {
    // First, so that they end before what is behind them.
    pub(crate) instances: [BowerbirdProcess; 2],
    pub(crate) options: ServerOptions,
    pub(crate) network: FaultNetwork,
    pub(crate) postgres: PostgresServer,
    pub(crate) redis: RedisServer,
}

impl Installation {
    /// Two instances with everything shared; None where the databases are not installed.
    pub(crate) async fn open() -> Option<Self> {
        Self::with(|options| options).await
    }

    pub(crate) async fn with(configure: impl FnOnce(ServerOptions) -> ServerOptions) -> Option<Self> {
        if !PostgresServer::available() || !RedisServer::available() {
            return None;
        }
        let postgres = PostgresServer::start().await;
        let redis = RedisServer::start().await;
        let network = FaultNetwork::start().await;
        let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
            .on(&network)
            .public_url(NAME)
            .env("BOWERBIRD_TRUSTED_PROXIES", "127.0.0.1")
            .env("BOWERBIRD_DATABASE_URL", &postgres.url())
            .env("BOWERBIRD_REDIS_URL", &redis.url());
        let options = configure(options);
        let instances =
            [BowerbirdProcess::start(options.clone()).await, BowerbirdProcess::start(options.clone()).await];
        // The authorization server reads the client's metadata under the public name, from one of the two.
        network.map_host(NAME, instances[0].front().origin());
        Some(Self { instances, options, network, postgres, redis })
    }

    /// The same browser, sent to another instance from now on.
    pub(crate) fn sent_to(&self, instance: usize, visitor: &Visitor) -> Visitor {
        let mut moved = self.instances[instance].visitor();
        moved.jar = visitor.jar.clone();
        moved
    }

    /// A browser that signed in at one instance.
    pub(crate) async fn signed_in(&self, instance: usize, handle: &str) -> Visitor {
        let mut visitor = self.instances[instance].visitor();
        let answer = visitor.login(handle).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        visitor
    }

    /// One more instance, which knows nothing yet.
    pub(crate) async fn cold(&self) -> BowerbirdProcess {
        BowerbirdProcess::start(self.options.clone()).await
    }

    /// See [`support::assert_sound`].
    pub(crate) fn assert_sound(&self) {
        support::assert_sound(&self.network, &self.instances);
    }
}

/// Starts a stopwatch.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

/// Asks again and again until the session is dead; gives how long after `begun` the last request began that found it alive.
pub(crate) async fn alive_for(visitor: &mut Visitor, begun: Instant) -> Duration {
    let mut last = Duration::ZERO;
    loop {
        let asked = begun.elapsed();
        match visitor.session().await.status {
            200 => last = asked,
            401 => return last,
            other => panic!("status {other}"),
        }
        assert!(asked < Duration::from_secs(10), "the session lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A check of the status where nothing else of the answer is looked at.
pub(crate) trait Must {
    fn must_be(self, status: u16);
}

impl Must for Answer {
    #[track_caller]
    fn must_be(self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
    }
}
