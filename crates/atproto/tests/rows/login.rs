//! Rows 1–12, 16 and 17 of the attack catalogue: login and callback. Each test says what was answered, and what was not
//! sent.
use std::sync::Arc;

use crate::world::{BROWSER, OTHER_BROWSER, World, login, with_param};
use bowerbird_core::{LoginPurpose, Secret};
use bowerbird_testkit::fault::{CanaryKind, Decision, FaultNetwork, Misbehave, endpoint};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_handle_did_and_server_ends_well() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    for identifier in ["alice.test".to_owned(), alice.did.clone(), world.network.pds().origin().to_owned()] {
        let login = world.sign_in(&identifier).await;
        assert_eq!(login.account.did.as_str(), alice.did);
        assert_eq!(login.account.handle, "alice.test");
        assert_eq!(login.granted_scope, "atproto transition:generic");
    }
    assert_eq!(world.accounts().await, 1);
    // A new login replaces the grant; the ones before are ended at their issuer, afterwards.
    let issuer = world.network.authorization_server();
    world.eventually("one grant is left", || issuer.live_grants(&alice.did) == 1).await;
    let login = world.sign_in("alice.test").await;
    assert_eq!(world.get(&login, "com.atproto.server.getSession").await.unwrap().status(), 200);
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entryway_is_a_server_to_start_at_too() {
    let world = World::on(FaultNetwork::start_with_entryway().await, |_| ());
    let alice = world.network.add_account("alice.test");
    let entryway = world.network.authorization_server().issuer().to_owned();
    for identifier in ["alice.test", entryway.as_str(), world.network.pds().origin()] {
        assert_eq!(world.sign_in(identifier).await.account.did.as_str(), alice.did, "{identifier}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_unknown_states_bring_no_outbound_call() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let started = world.start_login(&alice.did).await.unwrap();
    let query = world.approve(&started).await;
    world.network.clear_logs();
    let forged = with_param(&query, "state", Some("forged"));
    let remarked = with_param(&query, "state", Some(&format!("x{}", started.state.expose())));
    for query in [forged.as_str(), &remarked, &with_param(&query, "state", None), "", "state="] {
        let error = world.finish(query).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("invalid_state", 400), "{query}");
        assert_eq!(error.to_string(), "Invalid or expired state parameter");
    }
    assert!(world.network.requests().is_empty());
    // Ten minutes and a second later the true one is too late.
    world.clock.set_off(601);
    assert_eq!(world.finish(&query).await.unwrap_err().code(), "invalid_state");
    assert!(world.network.requests().is_empty());
    assert_eq!(world.shown(CanaryKind::Code), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_fifty_callbacks_at_two_instances_redeem_one_code() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let second = world.second_instance();
    let started = world.start_login(&alice.did).await.unwrap();
    let query = Arc::new(world.approve(&started).await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let logins = if number % 2 == 0 { world.atproto.logins.clone() } else { second.logins.clone() };
        let query = Arc::clone(&query);
        tasks.spawn(async move { logins.finish(&query, BROWSER).await.map_err(|error| error.code().to_owned()) });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, Err(code) if code != "invalid_state")));
    let accepted = world.network.ledger().presented(CanaryKind::Code);
    assert!(accepted.len() <= 2, "one redemption, and perhaps its nonce challenge: {accepted:?}");
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_another_browser_cannot_end_or_burn_a_login() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let started = world.start_login(&alice.did).await.unwrap();
    let query = world.approve(&started).await;
    for browser in [OTHER_BROWSER, None] {
        let error = world.atproto.logins.finish(&query, browser).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("login_session_mismatch", 400));
    }
    assert_eq!(world.shown(CanaryKind::Code), 0);
    assert_eq!(world.finish(&query).await.unwrap().account.did.as_str(), alice.did);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_05_and_06_who_answers_is_checked_before_the_code_is_used() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    for (iss, code) in [
        (None, "iss_missing"),
        (Some("https://evil.example"), "iss_mismatch"),
        (Some(&*format!("{}/", world.network.authorization_server().issuer())), "iss_mismatch"),
    ] {
        let started = world.start_login(&alice.did).await.unwrap();
        let query = with_param(&world.approve(&started).await, "iss", iss);
        let error = world.finish(&query).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), (code, 400));
        assert_eq!(world.finish(&query).await.unwrap_err().code(), "invalid_state", "the login is over");
    }
    assert_eq!(world.shown(CanaryKind::Code), 0);
    assert_eq!(world.network.authorization_server().token_calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_07_endpoints_of_another_origin_are_refused() {
    let network = FaultNetwork::start().await;
    let (_, honest) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    for member in ["token_endpoint", "authorization_endpoint", "pushed_authorization_request_endpoint"] {
        let evil = world.network.authorization_server();
        let patch = json!({member: format!("{}/oauth/x", honest.issuer())});
        evil.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
        assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502), "{member}");
        evil.server().behave();
    }
    assert!(honest.server().log().is_empty(), "the honest server heard nothing");
    assert_eq!(world.network.ledger().minted(CanaryKind::Code), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_07_an_operator_may_allow_endpoints_elsewhere() {
    let network = FaultNetwork::start().await;
    let (_, other) = network.add_self_hosted();
    let world = World::on(network, |config| config.allow_foreign_endpoints = true);
    let alice = world.network.add_account("alice.test");
    let patch = json!({"token_endpoint": format!("{}/oauth/token", other.issuer())});
    world.network.pds().server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
    assert!(world.start_login(&alice.did).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_08_a_code_of_another_flow_is_of_no_use() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let mallory = world.network.add_account("mallory.test");
    let victims = world.start_login(&alice.did).await.unwrap();
    let victims = world.approve(&victims).await;
    let code = url::form_urlencoded::parse(victims.as_bytes()).find(|(key, _)| key == "code").unwrap().1.into_owned();
    let attackers = world.start_login(&mallory.did).await.unwrap();
    let attackers = with_param(&world.approve(&attackers).await, "code", Some(&code));
    let error = world.finish(&attackers).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("token_exchange_failed", 400));
    assert!(error.to_string().starts_with("Token exchange failed: "));
    assert_eq!(world.accounts().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_servers_without_s256_are_refused() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    for methods in [json!(["plain"]), json!([]), json!(null)] {
        let server = world.network.authorization_server();
        let patch = json!({"code_challenge_methods_supported": methods});
        server.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
        assert_eq!(world.refused_start(&alice.did).await, ("as_unsupported", 502));
        server.server().behave();
    }
    assert_eq!(world.network.pds().server().count(endpoint::PAR), 0);
    let started = world.start_login(&alice.did).await.unwrap();
    let pushed = world.network.pds().server().log().last(endpoint::PAR).unwrap().form();
    assert_eq!(pushed["code_challenge_method"], "S256");
    assert_eq!(pushed["code_challenge"].len(), 43);
    assert!(!pushed.contains_key("code_verifier"));
    assert_eq!(pushed["state"], started.state.expose());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_10_refusals_end_the_login_and_their_words_are_tamed() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    let words = format!("<script>alert(1)</script>\r\n{}", "x".repeat(10_000));
    for (decision, code) in [
        (Decision::Deny, "access_denied"),
        (Decision::Fail("invalid_scope".into(), words.clone()), "invalid_scope"),
        (Decision::Fail("<b>own</b>".into(), words), "authorization_failed"),
    ] {
        server.decide(decision);
        let started = world.start_login(&alice.did).await.unwrap();
        let query = world.approve(&started).await;
        let error = world.finish(&query).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), (code, 400));
        assert!(error.to_string().len() < 300 && !error.to_string().contains('\n'), "{error}");
        assert_eq!(error.return_to(), Some("/"));
        assert_eq!(world.finish(&query).await.unwrap_err().code(), "invalid_state", "the login is over");
    }
    server.decide(Decision::Approve);
    let started = world.start_login(&alice.did).await.unwrap();
    let query = world.approve(&started).await;
    let both = format!("{query}&error=access_denied");
    assert_eq!(world.finish(&both).await.unwrap_err().code(), "invalid_request");
    assert_eq!(world.finish(&query).await.unwrap_err().code(), "invalid_state", "the login is over");
    assert_eq!(world.shown(CanaryKind::Code), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_repeated_and_wrapped_parameters_are_refused() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let started = world.start_login(&alice.did).await.unwrap();
    let query = world.approve(&started).await;
    for odd in [
        format!("{query}&state=x"),
        format!("state=x&{query}"),
        format!("{query}&code=x"),
        format!("{query}&iss=x"),
        format!("{query}&code%5B%5D=x"),
        format!("{query}&response=eyJhbGciOiJub25lIn0.e30."),
        format!("{query}&{}", "a=b&".repeat(20_000)),
    ] {
        let error = world.finish(&odd).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("invalid_request", 400));
    }
    assert_eq!(world.shown(CanaryKind::Code), 0);
    // None of these named a login without doubt, so that the login is still there.
    assert!(world.finish(&query).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_a_browser_is_sent_to_https_only() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    for bad in ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://evil.example/", "//evil", ""] {
        let patch = json!({"authorization_endpoint": bad});
        server.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
        assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502), "{bad}");
        server.server().behave();
    }
    let with_user = server.issuer().replace("http://", "http://user@");
    let patch = json!({"authorization_endpoint": format!("{with_user}/oauth/authorize")});
    server.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
    assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502));
    assert_eq!(server.server().count(endpoint::PAR), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_logins_have_a_cap_and_bother_no_server_beyond_it() {
    let world = World::on(FaultNetwork::start().await, |config| config.login_cap = 2);
    let alice = world.network.add_account("alice.test");
    for _ in 0..2 {
        world.start_login(&alice.did).await.unwrap();
    }
    let pushed = world.network.pds().server().count(endpoint::PAR);
    assert_eq!(world.refused_start(&alice.did).await, ("too_many_logins", 429));
    assert_eq!(world.network.pds().server().count(endpoint::PAR), pushed);
    world.clock.set_off(601);
    assert!(world.start_login(&alice.did).await.is_ok(), "what has expired makes room");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_repair_link_is_for_its_own_account_only() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let bob = world.network.add_account("bob.test");
    let signed_in = world.sign_in("alice.test").await;
    let repair = || world.atproto.logins.start_repair(signed_in.account.id, None, BROWSER, "/x".into());
    let server = world.network.authorization_server();
    server.approve_as(&bob.did);
    let started = repair().await.unwrap();
    let error = world.finish(&world.approve(&started).await).await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("account_mismatch", 403));
    assert_eq!(error.to_string(), format!("DID mismatch in token: expected {}, got {}", alice.did, bob.did));
    assert_eq!(error.return_to(), Some("/x"));
    assert_eq!(server.live_grants(&bob.did), 0, "what was issued is revoked");
    assert_eq!(server.live_grants(&alice.did), 1, "what was there is untouched");
    assert_eq!(world.accounts().await, 1);
    assert_eq!(world.get(&signed_in, "com.atproto.server.getSession").await.unwrap().status(), 200);
    server.decide(Decision::Approve);
    let started = repair().await.unwrap();
    let finished = world.finish(&world.approve(&started).await).await.unwrap();
    assert_eq!(finished.account.id, signed_in.account.id);
    assert_eq!(finished.purpose, LoginPurpose::Repair { account: signed_in.account.id, device: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_state_is_used_and_return_paths_stay_here() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    for (given, kept) in [("/a?b=c", "/a?b=c"), ("//evil", "/"), ("/\\evil", "/"), ("https://evil", "/"), ("", "/")] {
        let mut request = login(&alice.did);
        request.state = Some(Secret::new("my-own-random-part"));
        request.return_to = given.into();
        let started = world.atproto.logins.start(request).await.unwrap();
        assert!(started.state.expose().starts_with("my-own-random-part."));
        let finished = world.finish(&world.approve(&started).await).await.unwrap();
        assert_eq!(finished.return_to, kept, "{given}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_row_26_a_login_survives_a_restart() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let started = world.start_login(&alice.did).await.unwrap();
    let query = world.approve(&started).await;
    let restarted = world.second_instance();
    assert_eq!(restarted.logins.finish(&query, BROWSER).await.unwrap().account.did.as_str(), alice.did);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_row_12_an_hour_off_signs_in_and_calls_all_the_same() {
    for seconds in [3600, -3600] {
        let world = World::start().await;
        world.clock.set_off(seconds);
        world.network.add_account("alice.test");
        let login = world.sign_in("alice.test").await;
        assert_eq!(world.get(&login, "com.atproto.server.getSession").await.unwrap().status(), 200);
        // And when the clock is set right in between.
        world.clock.set_off(0);
        assert_eq!(world.get(&login, "com.atproto.server.getSession").await.unwrap().status(), 200);
    }
}
