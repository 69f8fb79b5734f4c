//! A database that crashes while answers are on their way (security row 20), and a fast tier that is flushed, killed and
//! back again (row 21).

use std::time::Duration;

use bowerbird_testkit::fault::{Misbehave, endpoint};
use bowerbird_testkit::http_client::TestRequest;
use futures_util::future::join_all;

use crate::support::{Pair, SESSION, until};

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_while_postgresql_is_down_are_not_lost() {
    // As many as are refreshed at once at one issuer by two instances.
    const ACCOUNTS: usize = 8;
    let Some(mut pair) = Pair::start(false).await else { return };
    let seals = pair.crowd(ACCOUNTS).await;
    pair.network.expire_all_access_tokens();
    let server = pair.network.authorization_server();
    server.server().misbehave(endpoint::TOKEN, Misbehave::DelayAfter(Duration::from_secs(4)));
    let asked: Vec<_> = seals
        .iter()
        .enumerate()
        .map(|(number, seal)| {
            let app = pair.app(number % 2, seal);
            tokio::spawn(async move { app.get(SESSION).await.status })
        })
        .collect();
    until("every token is out", || server.token_calls() == ACCOUNTS).await;
    pair.postgres.crash().await;
    // All answers come now, and nobody takes them.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for instance in &pair.instances {
        let ready = TestRequest::get(&instance.url("/ready"));
        assert_ne!(instance.client().send(ready).await.status, 200, "it cannot store what it has");
    }
    server.server().behave();
    pair.postgres.restart().await;
    for answer in join_all(asked).await {
        assert!(matches!(answer.unwrap(), 200 | 503));
    }
    for answer in join_all(seals.iter().flat_map(|seal| [pair.call(0, seal), pair.call(1, seal)])).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    pair.assert_one_send_each(ACCOUNTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_flushed_killed_and_back_under_load_changes_no_answer() {
    const ACCOUNTS: usize = 12;
    let Some(mut pair) = Pair::start(true).await else { return };
    let seals = pair.crowd(ACCOUNTS).await;
    let redis = pair.redis.take().unwrap();
    let accident = async {
        let mut redis = redis;
        let pause = || tokio::time::sleep(Duration::from_secs(1));
        pause().await;
        assert_eq!(redis.command(&["FLUSHALL"]), "OK");
        pause().await;
        redis.kill();
        pause().await;
        pair.network.expire_all_access_tokens();
        pause().await;
        redis.restart().await;
        pause().await;
        assert_eq!(redis.command(&["FLUSHALL"]), "OK");
        pause().await;
        redis
    };
    let load = async {
        let mut calls = 0_usize;
        loop {
            let both = seals.iter().flat_map(|seal| [pair.app(0, seal), pair.app(1, seal)]);
            let both: Vec<_> = both.collect();
            let checks = join_all(both.iter().map(|app| app.get("/api/auth/session"))).await;
            let proxied = join_all(both.iter().map(|app| app.get(SESSION))).await;
            for answer in checks.into_iter().chain(proxied) {
                assert_eq!(answer.status, 200, "after {calls} calls: {}", answer.text());
                calls += 1;
            }
        }
    };
    tokio::select! {
        redis = accident => drop(redis),
        never = load => never,
    }
    pair.assert_one_send_each(ACCOUNTS);
}
