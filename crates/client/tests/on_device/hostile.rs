//! Servers that lie: whose tokens, for whom, from where. Each is refused, nothing is kept, and what was issued is revoked.

use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, endpoint};
use serde_json::json;

use crate::world::{World, code};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_fail_a_check_are_revoked_and_not_kept() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let stranger = world.account("stranger.test");
    let server = world.network.authorization_server().server().clone();
    for (patch, expected) in [
        (json!({"scope": "transition:generic"}), "tokens_not_usable"),
        (json!({"scope": null}), "tokens_not_usable"),
        (json!({"token_type": "Bearer"}), "tokens_not_usable"),
        (json!({"sub": null}), "tokens_not_usable"),
        (json!({"sub": stranger.did}), "account_mismatch"),
    ] {
        server.misbehave_times(endpoint::TOKEN, 2, Misbehave::merge(patch.clone()));
        let revoked = server.count(endpoint::REVOKE);
        let refused = world.try_sign_in("alice.test").await.unwrap_err();
        assert_eq!(code(&refused), expected, "{patch}");
        server.behave();
        assert!(server.count(endpoint::REVOKE) > revoked, "{patch}: the server was told");
        assert_eq!(world.live_grants(&alice), 0, "{patch}: revoked");
        assert!(world.manager.accounts().is_empty() && world.kept().is_empty(), "{patch}: {:?}", world.kept());
    }
    assert_eq!(world.network.pds().server().count("/xrpc/com.atproto.server.getSession"), 0, "no token was used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_cannot_sign_in_an_account_of_another_one() {
    let network = FaultNetwork::start().await;
    let (evil_pds, evil) = network.add_self_hosted();
    let world = World::on(network);
    let alice = world.account("alice.test");
    // Mallory's server says, whoever signs in there, that it is Alice.
    evil.approve_as(&alice.did);
    let refused = world.try_sign_in(evil_pds.origin()).await.unwrap_err();
    assert_eq!(code(&refused), "issuer_mismatch");
    assert_eq!(evil.live_grants(&alice.did), 0, "revoked");
    assert!(world.manager.accounts().is_empty());
    // No token of it ever went to Alice's own server.
    world.network.ledger().assert_no_strangers_secrets_at(world.network.pds().origin());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_leads_elsewhere_is_refused_before_anything_is_pushed() {
    let network = FaultNetwork::start().await;
    let (other, _) = network.add_self_hosted();
    let world = World::on(network);
    world.account("alice.test");
    let server = world.network.authorization_server().server().clone();
    let elsewhere = format!("{}/oauth/token", other.origin());
    for (path, patch) in [
        (endpoint::AUTHORIZATION_SERVER, json!({"issuer": "https://evil.example"})),
        (endpoint::AUTHORIZATION_SERVER, json!({"token_endpoint": elsewhere})),
        (endpoint::AUTHORIZATION_SERVER, json!({"protected_resources": ["https://pds.example"]})),
        (endpoint::AUTHORIZATION_SERVER, json!({"authorization_response_iss_parameter_supported": false})),
        (endpoint::PROTECTED_RESOURCE, json!({"resource": "https://evil.example"})),
        (endpoint::PROTECTED_RESOURCE, json!({"authorization_servers": ["http://192.0.2.1"]})),
    ] {
        server.misbehave(path, Misbehave::merge(patch.clone()));
        let refused = world.manager.begin_sign_in_on_device("alice.test").unwrap_err();
        assert_eq!(code(&refused), "server_not_usable", "{patch}");
        server.behave();
    }
    for (path, wrong) in [
        (endpoint::AUTHORIZATION_SERVER, Misbehave::redirect(302, &format!("{}/x", other.origin()))),
        (endpoint::PROTECTED_RESOURCE, Misbehave::redirect(301, &format!("{}/x", other.origin()))),
        (endpoint::AUTHORIZATION_SERVER, Misbehave::html()),
        (endpoint::AUTHORIZATION_SERVER, Misbehave::deep_json(2000)),
    ] {
        let told = format!("{wrong:?}");
        server.misbehave(path, wrong);
        assert!(world.manager.begin_sign_in_on_device("alice.test").is_err(), "{told}");
        server.behave();
    }
    assert_eq!(server.count(endpoint::PAR), 0, "nothing was pushed");
    assert!(other.server().log().is_empty(), "no redirect was followed");
    assert!(world.kept().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_carries_no_code_and_no_token_on() {
    let network = FaultNetwork::start().await;
    let (other, _) = network.add_self_hosted();
    let world = World::on(network);
    world.account("alice.test");
    let server = world.network.authorization_server().server().clone();
    let away = || Misbehave::redirect(307, &format!("{}/steal", other.origin()));
    server.misbehave(endpoint::TOKEN, away());
    assert!(world.try_sign_in("alice.test").await.is_err());
    server.behave();
    let account = world.sign_in("alice.test").await;
    server.misbehave(endpoint::XRPC, away());
    assert_eq!(world.call(&account).unwrap().status(), 307, "it is the answer, and nobody goes there");
    assert!(other.server().log().is_empty());
    world.network.ledger().assert_nothing_sighted_at(other.origin());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_nonce_demand_sees_two_requests() {
    let world = World::new().await;
    world.account("alice.test");
    let server = world.network.authorization_server().server().clone();
    server.misbehave(endpoint::PAR, Misbehave::ChallengeNonce);
    assert_eq!(code(&world.manager.begin_sign_in_on_device("alice.test").unwrap_err()), "nonce_loop");
    assert_eq!(server.count(endpoint::PAR), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_sent_once_whatever_becomes_of_its_answer() {
    let world = World::new().await;
    world.account("alice.test");
    world.tap.upset(endpoint::TOKEN, crate::world::Line::AnswerLost);
    let callback = world.callback("alice.test").await;
    assert!(world.manager.complete_sign_in_on_device(&callback).is_err());
    assert!(world.manager.complete_sign_in_on_device(&callback).is_err());
    let shown = world.network.ledger().presented(CanaryKind::Code);
    assert!(shown.len() <= 1, "{shown:?}");
    assert!(world.pauses().is_empty(), "and not again after a pause");
}
