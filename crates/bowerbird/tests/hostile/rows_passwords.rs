//! Row 75 through the whole program: whoever guesses app passwords gets five tries for an account, at however many
//! instances.

use bowerbird_testkit::databases::RedisServer;
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, PasswordKind};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::server::BowerbirdProcess;
use serde_json::json;

use crate::support::{House, Must as _, options, refusal, refused};

const ROUTE: &str = "/api/accounts/app-password";
const CREATE: &str = "com.atproto.server.createSession";

/// Tries a password, from an address of its own.
async fn guess(server: &BowerbirdProcess, number: usize, identifier: &str, password: &str) -> Answer {
    let address = format!("10.7.{}.{}", number / 250, number % 250);
    let body = json!({"identifier": identifier, "password": password});
    let visitor = server.visitor();
    let request = visitor.from_own_page(TestRequest::post_json(&server.url(ROUTE), &body));
    server.client().send(request.header("x-forwarded-for", &address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_75_a_thousand_guesses_reach_the_account_five_times() {
    let network = FaultNetwork::start().await;
    let options = options(&network).env("BOWERBIRD_APP_PASSWORDS", "true");
    let house = House::with(network, options).await;
    let alice = house.network.add_account("alice.test");
    let password = house.network.pds().add_password(&alice.did, PasswordKind::App);
    let spellings = ["alice.test", "@Alice.Test", "at://ALICE.test", "\u{200e}alice.test ", &alice.did];
    let guesses = (0..1000).map(|number| {
        let spelling = spellings[number % spellings.len()];
        guess(&house.server, number, spelling, "guess-of-a-stranger")
    });
    let mut limited = 0;
    for answer in futures_util::future::join_all(guesses).await {
        match refusal(&answer) {
            (401, code) => assert_eq!(code, "app_password_invalid"),
            other => {
                assert_eq!(other, refused(429, "rate_limited"));
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=901).contains(&wait), "{wait}");
                limited += 1;
            }
        }
    }
    assert_eq!((limited, house.network.pds().calls(CREATE)), (995, 5));
    assert_eq!(house.network.ledger().presented(CanaryKind::Password).len(), 5);
    // The right one is no exception; its owner signs in by OAuth meanwhile.
    guess(&house.server, 2000, "alice.test", &password).await.must_refuse(429, "rate_limited");
    house.signed_in(&alice).await;
    house.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_75_two_instances_count_together_and_tell_redis_no_names() {
    if !RedisServer::available() {
        return;
    }
    let redis = RedisServer::start().await;
    let network = FaultNetwork::start().await;
    let options = options(&network).env("BOWERBIRD_APP_PASSWORDS", "true").env("BOWERBIRD_REDIS_URL", &redis.url());
    let house = House::with(network, options.clone()).await;
    let second = BowerbirdProcess::start(options.data_of(&house.server)).await;
    let alice = house.network.add_account("alice.test");
    let instances = [&house.server, &second];
    // One after the other: while Redis is asked for the first time, each instance counts for itself.
    let mut reached = 0;
    for number in 0..60 {
        let answer = guess(instances[number % 2], number, "alice.test", "guess-of-a-stranger").await;
        reached += usize::from(answer.status == 401);
        assert!(matches!(answer.status, 401 | 429), "{}", answer.text());
    }
    assert_eq!((reached, house.network.pds().calls(CREATE)), (5, 5));
    let keys = redis.command(&["--scan"]);
    assert!(keys.contains("app-password:account:"), "{keys}");
    for secret in ["alice", &alice.did, "stranger", "10.7."] {
        assert!(!keys.contains(secret), "{secret} in {keys}");
    }
    house.assert_alive().await;
}
