//! Rows 30 and 31: nonces.

use bowerbird_testkit::fault::{CanaryKind, Misbehave, Reply, endpoint};

use crate::world::World;

const GET_SESSION: &str = "com.atproto.server.getSession";

#[tokio::test(flavor = "multi_thread")]
async fn row_30_endless_nonce_challenges_end_after_two_attempts() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let pds = world.network.pds();
    pds.server().misbehave(endpoint::PAR, Misbehave::ChallengeNonce);
    assert_eq!(world.refused_start(&alice.did).await, ("dpop_nonce_loop", 502));
    assert_eq!(pds.server().count(endpoint::PAR), 2);
    pds.server().behave();

    pds.server().misbehave(endpoint::TOKEN, Misbehave::ChallengeNonce);
    assert_eq!(world.refused_end(&alice.did).await, ("dpop_nonce_loop".to_owned(), 502));
    assert_eq!(pds.server().count(endpoint::TOKEN), 2);
    pds.server().behave();
    assert_eq!(world.accounts().await, 0);

    let login = world.sign_in(&alice.did).await;
    let before = world.atproto.vault.standing(login.connection.id).await.unwrap();
    pds.server().misbehave(endpoint::XRPC, Misbehave::ChallengeNonce);
    let error = world.get(&login, GET_SESSION).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("dpop_nonce_loop", 502));
    assert_eq!(pds.calls(GET_SESSION), 2);
    assert_eq!(world.atproto.vault.standing(login.connection.id).await.unwrap(), before, "nothing was touched");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_went_stale_costs_one_more_attempt_and_no_refresh() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let pds = world.network.pds();
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
    pds.server().log().clear();
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
    assert_eq!(pds.calls(GET_SESSION), 1, "the nonce of the answer before is used");
    pds.renew_nonces();
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
    assert_eq!(pds.calls(GET_SESSION), 3);
    let jtis: std::collections::HashSet<String> =
        pds.server().log().all().iter().map(|request| request.dpop_claims()["jti"].to_string()).collect();
    assert_eq!(jtis.len(), 3, "a fresh proof for every attempt");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_unusable_nonces_are_not_sent_back() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let pds = world.network.pds();
    let long = "n".repeat(10 * 1024);
    for bad in [long.as_str(), "a b", "a\"b", ""] {
        let challenge = Reply::xrpc_error(401, "use_dpop_nonce", "x")
            .with("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"")
            .with("DPoP-Nonce", bad);
        pds.server().log().clear();
        pds.server().misbehave_times(endpoint::XRPC, 2, Misbehave::Instead(challenge));
        let error = world.get(&login, GET_SESSION).await.unwrap_err();
        assert!(matches!(error.code(), "dpop_nonce_loop" | "upstream_failed"), "{error:?}");
        pds.server().behave();
        let sent = pds.server().log().all();
        assert!(sent.iter().all(|request| request.dpop_claims()["nonce"].as_str() != Some(bad)), "{bad:.20}");
        assert!(sent.len() <= 2);
    }
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
}
