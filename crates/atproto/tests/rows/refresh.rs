//! Rows 34 and 35, and what a call does when its access token has ended.

use std::time::Duration;

use bowerbird_atproto::{FinishedLogin, ProxyError};
use bowerbird_core::{CredentialState, NeedsReauth};
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, Verdict, endpoint};
use serde_json::json;

use crate::world::World;

const GET_SESSION: &str = "com.atproto.server.getSession";

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_ended_is_renewed_once() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    world.network.expire_all_access_tokens();
    let calls = (0..20).map(|_| world.get(&login, GET_SESSION));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let shown = world.network.ledger().presented(CanaryKind::RefreshToken);
    assert_eq!(shown.iter().filter(|shown| shown.verdict == Verdict::Accepted).count(), 1, "{shown:?}");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_account_is_looked_up_anew_and_its_server_and_issuer_asked_for_their_metadata_once_for_all() {
    let world = World::start().await;
    let (mut dids, mut logins) = (Vec::new(), Vec::new());
    for handle in ["alice.test", "bob.test", "carla.test"] {
        let did = world.network.add_account(handle).did;
        logins.push(world.sign_in(&did).await);
        dids.push(did);
    }
    // What the sign-ins read of the server is too old by then; what its issuer says of itself is not.
    world.clock.let_pass(Duration::from_secs(2));
    world.network.expire_all_access_tokens();
    let (pds, issuer) = (world.network.pds(), world.network.authorization_server());
    let asked =
        || (pds.server().count(endpoint::PROTECTED_RESOURCE), issuer.server().count(endpoint::AUTHORIZATION_SERVER));
    let lookups = || dids.iter().map(|did| world.network.plc().lookups(did)).collect::<Vec<_>>();
    let (before, looked_up) = (asked(), lookups());
    for login in &logins {
        assert_eq!(world.get(login, GET_SESSION).await.unwrap().status(), 200);
    }
    assert!((1..=2).contains(&(asked().0 - before.0)), "{} times", asked().0 - before.0);
    assert_eq!(asked().1, before.1);
    assert_eq!(lookups(), looked_up.iter().map(|before| before + 1).collect::<Vec<_>>());
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_withdrawn_says_so() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    world.network.authorization_server().revoke_all_of(&alice.did);
    let error = world.get(&login, GET_SESSION).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("needs_reauth", 401));
    let standing = world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap();
    assert_eq!(standing.state, CredentialState::NeedsReauth(NeedsReauth::Revoked));
    // The repair link works, for the same account and connection.
    let repaired = world.sign_in(&alice.did).await;
    assert_eq!(repaired.connection.id, login.connection.id);
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_refresh_token_is_not_shown_to_another_issuer() {
    let network = FaultNetwork::start().await;
    let (evil_pds, evil) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    world.network.move_account(&alice.did, &evil_pds);
    world.network.expire_all_access_tokens();
    let error = world.get(&login, GET_SESSION).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("needs_reauth", 401));
    let standing = world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap();
    assert_eq!(standing.state, CredentialState::NeedsReauth(NeedsReauth::IssuerChanged));
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
    world.network.ledger().assert_nothing_sighted_at(evil.issuer());
    assert!(world.atproto.vault.open(login.connection.id).await.unwrap().is_some(), "nothing is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_pds_that_names_another_issuer_does_not_get_the_token_there() {
    let network = FaultNetwork::start().await;
    let (_, evil) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let patch = json!({"authorization_servers": [evil.issuer()]});
    world.network.pds().server().misbehave(endpoint::PROTECTED_RESOURCE, Misbehave::merge(patch));
    world.network.expire_all_access_tokens();
    // What the sign-in read is believed for a moment; until then, the token would go where it came from.
    world.clock.let_pass(Duration::from_secs(2));
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap_err().code(), "needs_reauth");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
    assert!(evil.server().log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_down_keeps_the_refresh_token_at_home() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    world.network.expire_all_access_tokens();
    world.network.plc().server().go_down();
    let error = world.get(&login, GET_SESSION).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("try_later", 503));
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
    let standing = world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap();
    assert_eq!(standing.state, CredentialState::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_refresh_for_somebody_else_is_kept_and_never_used() {
    for (patch, reason) in [
        (json!({"sub": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}), NeedsReauth::SubjectMismatch),
        (json!({"scope": "transition:generic"}), NeedsReauth::ScopeLost),
    ] {
        let world = World::start().await;
        let alice = world.network.add_account("alice.test");
        let login = world.sign_in(&alice.did).await;
        world.network.pds().server().misbehave(endpoint::TOKEN, Misbehave::merge(patch));
        world.network.expire_all_access_tokens();
        assert_eq!(world.get(&login, GET_SESSION).await.unwrap_err().code(), "needs_reauth");
        let kept = world.atproto.vault.open(login.connection.id).await.unwrap().unwrap();
        assert_eq!(kept.state, CredentialState::NeedsReauth(reason));
        let shown = world.network.ledger().presented(CanaryKind::RefreshToken);
        assert!(shown.iter().all(|shown| !kept.refresh_token.as_ref().unwrap().matches(&shown.canary.value)));
        let minted = world.network.ledger().minted(CanaryKind::RefreshToken);
        assert_eq!(minted, 2, "the successor is the one that is kept");
        assert_eq!(world.get(&login, GET_SESSION).await.unwrap_err().code(), "needs_reauth");
        world.network.assert_clean();
    }
}

/// A world in which the answer of a refresh got lost, and the token was sent once more and refused.
async fn lost_response(stateless: bool) -> (World, FinishedLogin) {
    let world = World::start().await;
    let server = world.network.authorization_server();
    server.set_access_seconds(600);
    server.set_stateless(stateless);
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    world.clock.set_off(500);
    // So that the server's time is learned anew, and the token is not kept from being looked at by a proof of another time.
    world.clock.let_pass(Duration::from_secs(2));
    server.server().misbehave_times(endpoint::TOKEN, 1, Misbehave::ResetAfter);
    drop(world.get(&login, GET_SESSION).await);
    assert_eq!(world.shown(CanaryKind::RefreshToken), 1);
    world.clock.set_off(561);
    (world, login)
}

async fn state_of(world: &World, login: &FinishedLogin) -> CredentialState {
    world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap().state
}

/// REFRESH step 6: the person is asked to sign in, and the access token is used while it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_response_an_access_token_that_outlives_it_is_used_to_its_end() {
    let (world, login) = lost_response(true).await;
    for _ in 0..3 {
        assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
        assert_eq!(state_of(&world, &login).await, CredentialState::NeedsReauth(NeedsReauth::LostResponse));
    }
    let calls = world.network.pds().calls(GET_SESSION);
    world.clock.set_off(600);
    let error = world.get(&login, GET_SESSION).await.unwrap_err();
    assert!(matches!(error, ProxyError::NeedsReauth { reason: NeedsReauth::LostResponse }), "{error:?}");
    assert_eq!(world.network.pds().calls(GET_SESSION), calls, "nothing was sent to the account's server");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 2, "once, and once more after the quiet time");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_response_a_refused_access_token_leads_to_the_person_and_to_no_refresh() {
    let (world, login) = lost_response(false).await;
    let asked = world.network.pds().calls(GET_SESSION);
    // The server calls the old access token spent, so that its successor is somewhere: whoever holds it gets half a
    // minute more to store it. No answer says how long it took; that it is not sent before is seen meanwhile.
    let waiting = world.get(&login, GET_SESSION);
    let watching = async {
        tokio::time::sleep(std::time::Duration::from_secs(25)).await;
        (world.shown(CanaryKind::RefreshToken), world.network.pds().calls(GET_SESSION) - asked)
    };
    let (waited, (shown, questions)) = tokio::join!(waiting, watching);
    assert!(matches!(waited, Err(ProxyError::NeedsReauth { reason: NeedsReauth::LostResponse })));
    assert_eq!(shown, 1, "not sent again yet");
    assert!((1..=2).contains(&questions), "one with the access token, and one more for a nonce: {questions}");
    for _ in 0..3 {
        let error = world.get(&login, GET_SESSION).await.unwrap_err();
        assert!(matches!(error, ProxyError::NeedsReauth { reason: NeedsReauth::LostResponse }), "{error:?}");
    }
    assert_eq!(state_of(&world, &login).await, CredentialState::NeedsReauth(NeedsReauth::LostResponse));
    assert_eq!(world.shown(CanaryKind::RefreshToken), 2, "once, and once more after the quiet time");
    assert!(world.atproto.vault.open(login.connection.id).await.unwrap().is_some(), "nothing is deleted");
    // Signing in again repairs it.
    world.clock.set_off(0);
    let repaired = world.sign_in(login.account.did.as_str()).await;
    assert_eq!(repaired.connection.id, login.connection.id);
    assert_eq!(world.get(&repaired, GET_SESSION).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_grant_at_its_issuer() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let seen = world.atproto.logins.seen_grant(&login.account).await.unwrap().unwrap();
    world.atproto.logins.release(seen).await.unwrap();
    let server = world.network.authorization_server();
    world.eventually("the grant is gone", || server.live_grants(&alice.did) == 0).await;
    let error = world.get(&login, GET_SESSION).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("not_connected", 401));
    assert_eq!(world.accounts().await, 1, "the account stays");
    assert_eq!(world.atproto.logins.seen_grant(&login.account).await.unwrap(), None);
    world.atproto.logins.release(seen).await.unwrap();
    // And the account can come back.
    let again = world.sign_in(&alice.did).await;
    assert_eq!(again.account.id, login.account.id);
    assert_eq!(world.get(&again, GET_SESSION).await.unwrap().status(), 200);
}

/// A login stores its grant a moment before its device row; whoever signs out in between sees no device.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_takes_no_grant_that_came_after_it_looked() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let seen = world.atproto.logins.seen_grant(&login.account).await.unwrap().unwrap();
    let newer = world.sign_in(&alice.did).await;
    assert_eq!(newer.connection.id, login.connection.id);
    let server = world.network.authorization_server();
    world.eventually("the login revoked what it replaced", || server.live_grants(&alice.did) == 1).await;
    world.atproto.logins.release(seen).await.unwrap();
    assert_eq!(world.get(&newer, GET_SESSION).await.unwrap().status(), 200);
    assert_eq!(server.live_grants(&alice.did), 1, "nothing was revoked");
    world.network.assert_clean();
}

/// A refresh makes new tokens of the same grant: they go, and they are the ones that are revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_takes_the_tokens_that_a_refresh_brought_meanwhile() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let seen = world.atproto.logins.seen_grant(&login.account).await.unwrap().unwrap();
    world.network.expire_all_access_tokens();
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200);
    world.atproto.logins.release(seen).await.unwrap();
    let server = world.network.authorization_server();
    world.eventually("the grant is gone", || server.live_grants(&alice.did) == 0).await;
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap_err().code(), "not_connected");
    world.network.assert_clean();
}
