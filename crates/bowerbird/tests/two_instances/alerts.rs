//! What happens to an access is told once, though two instances run into it: by one webhook, on the streams of both. Who
//! dies while telling leaves it to the other.

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowerbird_testkit::actors::Follower;
use bowerbird_testkit::fault::{FaultServer, Misbehave};
use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{Pair, SESSION, assert_sound, until};

const HOOK: &str = "/hook";
/// Nothing more comes within this: longer than an instance waits until it looks for webhooks that others left.
const QUIET: Duration = Duration::from_secs(6);

async fn pair(with_redis: bool, receiver: &FaultServer) -> Option<Pair> {
    Pair::start_with(with_redis, |options, network| {
        options
            .env("BOWERBIRD_EGRESS_ALLOW", &format!("{},{}", network.egress_allow(), receiver.host_and_port()))
            .env("BOWERBIRD_WEBHOOK_URL", &receiver.url(HOOK))
            .env("BOWERBIRD_WEBHOOK_SECRET", &format!("whsec_{}", STANDARD.encode([7; 32])))
            .env("BOWERBIRD_WEBHOOK_EVENTS", "needs_reauth,lost_response,outcome_unknown,recovered,refreshed")
    })
    .await
}

/// The types of the webhooks that came, in order.
fn types(receiver: &FaultServer) -> Vec<String> {
    let text = |body: Value| body["type"].as_str().unwrap().to_owned();
    receiver.log().at(HOOK).iter().map(|request| text(request.json())).collect()
}

/// Calls from both instances at once; gives the statuses that occurred.
async fn hammer(pair: &Pair, seal: &str) -> HashSet<u16> {
    let calls = (0..20).map(|number| pair.call(number % 2, seal));
    join_all(calls).await.into_iter().map(|answer| answer.status).collect()
}

async fn everything_is_told_once(with_redis: bool) {
    let receiver = FaultServer::receiving();
    let Some(pair) = pair(with_redis, &receiver).await else { return };
    let (alice, bob) = (pair.network.add_account("alice.test"), pair.network.add_account("bob.test"));
    // Two devices, so that one goes on while the other repairs.
    let elsewhere = pair.sign_in(1, &alice).await.seal().unwrap();
    let seal = pair.sign_in(0, &alice).await.seal().unwrap();
    let bobs = pair.sign_in(1, &bob).await.seal().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let [here, there] =
        [Follower::of(&pair.instances[0], &seal).await, Follower::of(&pair.instances[1], &elsewhere).await];
    let of_bob = Follower::of(&pair.instances[0], &bobs).await;
    let heard = |kind: &str| (here.count(kind), there.count(kind), of_bob.count(kind));
    let come = async |what: &str, count: usize| {
        until(what, || receiver.count(HOOK) >= count && heard(what).0 >= 1 && heard(what).1 >= 1).await;
        tokio::time::sleep(QUIET).await;
        assert_eq!(heard(what), (1, 1, 0), "{what} on the streams");
    };

    // A renewal, whoever made it.
    pair.network.expire_all_access_tokens();
    assert_eq!(hammer(&pair, &seal).await, HashSet::from([200]));
    come("refreshed", 1).await;
    assert_eq!(types(&receiver), ["refreshed"]);

    // An incident that both run into.
    pair.network.authorization_server().revoke_all_of(&alice.did);
    assert_eq!(hammer(&pair, &seal).await, HashSet::from([401]));
    come("needs_reauth", 2).await;
    assert_eq!(hammer(&pair, &seal).await, HashSet::from([401]));
    assert_eq!(hammer(&pair, &elsewhere).await, HashSet::from([401]));
    tokio::time::sleep(QUIET).await;
    assert_eq!(heard("needs_reauth"), (1, 1, 0));
    assert_eq!(types(&receiver), ["refreshed", "needs_reauth"]);

    // Its end, at the other instance than the one that most likely told of it.
    drop(pair.sign_in(1, &alice).await);
    come("recovered", 3).await;
    assert_eq!(types(&receiver), ["refreshed", "needs_reauth", "recovered"]);
    assert_eq!(hammer(&pair, &seal).await, HashSet::from([200]));
    let ids: HashSet<String> =
        receiver.log().at(HOOK).iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 3);
    assert!(!here.has_ended() && !there.has_ended() && there.count("missed") == 0);
    assert_sound(&pair.network, &pair.instances);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_tell_everything_once_by_the_database() {
    everything_is_told_once(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_tell_everything_once_by_redis() {
    everything_is_told_once(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_while_it_sends_a_webhook_leaves_it_to_the_other() {
    let receiver = FaultServer::receiving();
    let Some(mut pair) = pair(false, &receiver).await else { return };
    let alice = pair.network.add_account("alice.test");
    let seal = pair.sign_in(0, &alice).await.seal().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The receiver takes the first attempt and never answers it.
    receiver.misbehave_times(HOOK, 1, Misbehave::HangAfter);
    pair.network.authorization_server().revoke_all_of(&alice.did);
    assert_eq!(pair.app(0, &seal).get(SESSION).await.status, 401);
    until("the first attempt", || receiver.count(HOOK) == 1).await;
    pair.instances[0].kill();
    // Its claim ends after a minute.
    for _ in 0..3 {
        if receiver.count(HOOK) == 1 {
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
    }
    until("the other sends it", || receiver.count(HOOK) == 2).await;
    // It comes back, finds the incident told, and tells nothing.
    pair.instances[0].restart().await;
    assert_eq!(hammer(&pair, &seal).await, HashSet::from([401]));
    tokio::time::sleep(QUIET).await;
    let attempts = receiver.log().at(HOOK);
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(attempts[0].header("webhook-id"), attempts[1].header("webhook-id"));
    assert_eq!(attempts[0].body, attempts[1].body);
    assert_eq!(types(&receiver), ["needs_reauth"; 2]);
    assert_sound(&pair.network, &pair.instances);
}
