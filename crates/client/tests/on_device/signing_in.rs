//! The sign-in: what is sent, to whom, and above all what is not.

use bowerbird_client::{AccountKind, CallbackFault, KitError};
use bowerbird_testkit::fault::{CanaryKind, Decision, FaultNetwork, Misbehave, endpoint};

use crate::world::{World, approve, code, with_param};

#[tokio::test(flavor = "multi_thread")]
async fn by_handle_by_did_and_by_server() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let pds = world.network.pds().origin().to_owned();
    for who in ["alice.test", "@Alice.test ", alice.did.as_str(), pds.as_str()] {
        let account = world.sign_in(who).await;
        assert_eq!((account.did.as_str(), account.handle.as_str()), (alice.did.as_str(), "alice.test"), "{who}");
        assert_eq!((account.kind, account.pds.as_deref()), (AccountKind::OnDevice, Some(pds.as_str())));
        let days = account.session_ends_at.unwrap().millis_since(account.added_at) / 86_400_000;
        assert!(days >= 13, "the app knows when it must ask again");
        assert!(world.call(&account).unwrap().status().is_success());
    }
    assert_eq!(world.manager.accounts().len(), 1, "the same account, with the same id");
    assert_eq!(world.live_grants(&alice), 1, "what it had before was ended");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_did_web_and_a_server_behind_an_entryway() {
    let world = World::on(FaultNetwork::start_with_entryway().await);
    let web = world.network.add_web_account("web.test");
    let account = world.sign_in("web.test").await;
    assert_eq!(account.did.as_str(), web.did);
    assert!(world.call(&account).unwrap().status().is_success());
    let issuer = world.network.authorization_server().issuer().to_owned();
    assert_ne!(issuer, world.network.pds().origin());
    assert_eq!(world.sign_in(&issuer).await.id, account.id, "the entryway's own address begins a sign-in too");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_are_those_of_a_public_client_with_par_pkce_and_dpop() {
    let world = World::new().await;
    world.account("alice.test");
    world.sign_in("alice.test").await;
    let log = world.network.authorization_server().server().log().clone();
    let par = log.last(endpoint::PAR).unwrap();
    let form = par.form();
    assert_eq!((form["code_challenge_method"].as_str(), form["response_type"].as_str()), ("S256", "code"));
    assert!(form["client_id"].starts_with("http://localhost?") && !form.contains_key("client_assertion"));
    assert_eq!(form["login_hint"], "alice.test");
    let token = log.last(endpoint::TOKEN).unwrap();
    assert_eq!(token.dpop_thumbprint(), par.dpop_thumbprint(), "one key for the whole grant");
    assert!(token.header("authorization").is_none() && token.dpop_claims()["ath"].is_null());
    let authorize = log.last(endpoint::AUTHORIZE).unwrap();
    assert!(authorize.query_value("state").is_none() && authorize.query_value("request_uri").is_some());
    let call = world.network.pds().server().log().clone();
    world.call(&world.manager.accounts()[0]).unwrap();
    let call = call.last("/xrpc/com.atproto.server.getSession").unwrap();
    assert!(call.header("authorization").unwrap().starts_with("DPoP ") && call.dpop_claims()["ath"].is_string());
    assert_eq!(call.dpop_thumbprint(), par.dpop_thumbprint());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_survives_the_app_being_stopped_and_works_once() {
    let world = World::new().await;
    world.account("alice.test");
    let callback = world.callback("alice.test").await;
    let world = world.restarted();
    assert_eq!(world.manager.complete_sign_in_on_device(&callback).unwrap().handle, "alice.test");
    assert!(!world.kept().contains(&"deviceSignIn".to_owned()), "it is over");
    let exchanges = world.token_requests("authorization_code");
    let again = world.manager.complete_sign_in_on_device(&callback);
    assert!(matches!(again, Err(KitError::Callback(CallbackFault::NotStarted))), "{again:?}");
    assert_eq!(world.token_requests("authorization_code"), exchanges, "a code is never sent twice");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_state_ends_nothing_and_ten_minutes_end_it() {
    let world = World::new().await;
    world.account("alice.test");
    let callback = world.callback("alice.test").await;
    for (foreign, fault) in [
        (with_param(&callback, "state", Some("somebody-elses")), CallbackFault::NotStarted),
        (with_param(&callback, "state", None), CallbackFault::Malformed),
        (callback.replace("127.0.0.1:5000", "127.0.0.1:5001"), CallbackFault::NotOurs),
        (callback.replace("/callback", "/other"), CallbackFault::NotOurs),
    ] {
        let refused = world.manager.complete_sign_in_on_device(&foreign);
        assert!(matches!(&refused, Err(KitError::Callback(told)) if *told == fault), "{foreign}: {refused:?}");
    }
    assert_eq!(world.token_requests("authorization_code"), 0, "no code was used");
    assert!(world.manager.complete_sign_in_on_device(&callback).is_ok(), "ours goes on");

    let late = world.callback("alice.test").await;
    world.calm.pass(601);
    let refused = world.manager.complete_sign_in_on_device(&late);
    assert!(matches!(refused, Err(KitError::Callback(CallbackFault::NotStarted))), "{refused:?}");

    let cancelled = world.callback("alice.test").await;
    world.manager.cancel_sign_in().unwrap();
    assert!(world.manager.complete_sign_in_on_device(&cancelled).is_err());
    let before = world.callback("alice.test").await;
    let after = world.callback("alice.test").await;
    assert!(world.manager.complete_sign_in_on_device(&before).is_err(), "the next one took its place");
    assert!(world.manager.complete_sign_in_on_device(&after).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_issuer_and_none_are_refused_before_the_code_is_used() {
    let world = World::new().await;
    world.account("alice.test");
    for (iss, expected) in [(Some("https://evil.example"), "iss_mismatch"), (None, "iss_missing")] {
        let callback = world.callback("alice.test").await;
        let refused = world.manager.complete_sign_in_on_device(&with_param(&callback, "iss", iss)).unwrap_err();
        assert_eq!(code(&refused), expected);
        assert!(world.manager.complete_sign_in_on_device(&callback).is_err(), "the state was taken");
    }
    assert!(world.network.ledger().presented(CanaryKind::Code).is_empty(), "no code was sent to anybody");
    assert!(!world.tap.sent().iter().any(|address| address.contains("evil")));
    assert!(world.manager.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_and_leaves_nothing() {
    let world = World::new().await;
    world.account("alice.test");
    world.network.authorization_server().decide(Decision::Deny);
    let refused = world.try_sign_in("alice.test").await.unwrap_err();
    assert!(matches!(&refused, KitError::Callback(CallbackFault::Refused { error, .. }) if error == "access_denied"));
    assert!(world.kept().is_empty(), "{:?}", world.kept());
    world
        .network
        .authorization_server()
        .server()
        .misbehave(endpoint::PAR, Misbehave::oauth_error(400, "invalid_client_metadata", "not this client"));
    let refused = world.manager.begin_sign_in_on_device("alice.test").unwrap_err();
    assert_eq!((code(&refused), refused.to_string().contains("invalid_client_metadata")), ("refused", true));
    assert!(world.kept().is_empty(), "nobody will come back for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_and_old_nonces_cost_one_attempt() {
    let world = World::new().await;
    world.account("alice.test");
    world.network.clock().set_off(7200);
    let account = world.sign_in("alice.test").await;
    assert!(world.call(&account).unwrap().status().is_success());
    let pds = world.network.pds().server().log().clone();
    let before = pds.count("/xrpc/com.atproto.server.getSession");
    world.network.authorization_server().renew_nonces();
    assert!(world.call(&account).unwrap().status().is_success());
    assert_eq!(pds.count("/xrpc/com.atproto.server.getSession"), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_begins_at_its_server() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let sign_up = world.manager.begin_sign_up_on_device(world.network.pds().origin()).unwrap();
    let par = world.network.authorization_server().server().log().last(endpoint::PAR).unwrap();
    assert_eq!(par.form()["prompt"], "create");
    let callback = approve(&sign_up.auth_url).await;
    assert_eq!(world.manager.complete_sign_in_on_device(&callback).unwrap().did.as_str(), alice.did);
}
