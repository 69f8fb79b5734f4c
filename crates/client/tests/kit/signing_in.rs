//! The hand-off: PKCE on the app's own hop, foreign codes, an app that is stopped in between.

use bowerbird_client::{CallbackFault, KitError};

use crate::world::{REDIRECT, Upset, World, did};

#[test]
fn a_code_is_exchanged_with_the_verifier() {
    let world = World::new();
    let sign_in = world.manager.begin_sign_in(" alice.test ").unwrap();
    assert_eq!(sign_in.auth_url, "https://as.test/authorize?x");
    assert_eq!(sign_in.handle.as_deref(), Some("alice.test"));
    let code = world.server.allow();
    let account = world.manager.complete_sign_in(&format!("{REDIRECT}?code={code}")).unwrap();
    assert_eq!((account.did.as_str(), account.handle.as_str()), (did("alice.test").as_str(), "alice.test"));
    assert_eq!(account.pds.as_deref(), Some("https://pds.test"));
    let twice = world.manager.complete_sign_in(&format!("{REDIRECT}?code={code}"));
    assert!(matches!(twice, Err(KitError::Callback(CallbackFault::NotStarted))), "a callback counts once");
    assert!(!world.store.memory.names().contains(&"com.app.signIn".to_owned()));
}

#[test]
fn the_app_may_be_stopped_while_the_browser_is_open() {
    let world = World::new();
    world.manager.begin_sign_in("alice.test").unwrap();
    let code = world.server.allow();
    let world = world.restarted();
    assert!(world.manager.complete_sign_in(&format!("{REDIRECT}?code={code}")).is_ok());
}

#[test]
fn the_servers_page_gets_the_same_challenge() {
    let world = World::new();
    let page = world.manager.begin_sign_in_page().unwrap().auth_url;
    assert!(page.starts_with("https://auth.test/mobile-auth?code_challenge="), "{page}");
    assert!(page.contains("&code_challenge_method=S256&redirect_uri=app%3A%2F%2Fauth-callback"), "{page}");
    assert_eq!(world.server.count("/api/auth/start"), 0, "nothing is sent");
}

#[test]
fn a_link_of_somebody_else_signs_nobody_in() {
    let world = World::new();
    // Out of the blue, or with a session in it: no.
    for (link, fault) in [
        (format!("{REDIRECT}?code=x"), CallbackFault::NotStarted),
        (format!("{REDIRECT}?session_token=Fe26.2*x&did=did:plc:x&handle=eve.test"), CallbackFault::TokenInUrl),
        ("other://auth-callback?code=x".to_owned(), CallbackFault::NotOurs),
    ] {
        let refused = world.manager.complete_sign_in(&link);
        assert!(matches!(&refused, Err(KitError::Callback(told)) if *told == fault), "{link}: {refused:?}");
    }
    assert!(world.server.to("/api/auth/tokens").is_empty(), "nothing was sent");

    // While a sign-in is under way, a stranger's code does not fit our verifier, and does not end our sign-in.
    world.manager.begin_sign_in("alice.test").unwrap();
    let foreign = world.server.foreign_code();
    let refused = world.manager.complete_sign_in(&format!("{REDIRECT}?code={foreign}"));
    assert!(matches!(refused, Err(KitError::Refused(_))), "{refused:?}");
    assert!(world.manager.accounts().is_empty());
    let code = world.server.allow();
    assert_eq!(world.manager.complete_sign_in(&format!("{REDIRECT}?code={code}")).unwrap().handle, "alice.test");
}

#[test]
fn strangers_codes_are_tried_three_times_at_most() {
    let world = World::new();
    world.manager.begin_sign_in("alice.test").unwrap();
    for _ in 0..3 {
        assert!(matches!(world.manager.complete_sign_in("app://auth-callback?code=x"), Err(KitError::Refused(_))));
    }
    let code = world.server.allow();
    let late = world.manager.complete_sign_in(&format!("{REDIRECT}?code={code}"));
    assert!(matches!(late, Err(KitError::Callback(CallbackFault::NotStarted))), "{late:?}");
    assert_eq!(world.server.count("/api/auth/tokens"), 3);
}

#[test]
fn refused_cancelled_or_too_late() {
    let world = World::new();
    let code = |world: &World| format!("{REDIRECT}?code={}", world.server.allow());
    world.manager.begin_sign_in("alice.test").unwrap();
    let refused = world.manager.complete_sign_in(&format!("{REDIRECT}?error=access_denied"));
    assert!(matches!(refused, Err(KitError::Callback(CallbackFault::Refused { .. }))));
    assert!(world.manager.complete_sign_in(&code(&world)).is_err(), "it has ended");

    world.manager.begin_sign_in("alice.test").unwrap();
    world.manager.cancel_sign_in().unwrap();
    assert!(world.manager.complete_sign_in(&code(&world)).is_err(), "it was cancelled");

    world.manager.begin_sign_in("alice.test").unwrap();
    world.calm.pass(601);
    assert!(world.manager.complete_sign_in(&code(&world)).is_err(), "it took too long");
    assert_eq!(world.server.count("/api/auth/tokens"), 0);
}

#[test]
fn beginning_has_the_documented_pauses_and_errors() {
    let world = World::new();
    for _ in 0..3 {
        world.server.upset("/api/auth/start", Upset::Unreachable);
    }
    assert!(world.manager.begin_sign_in("alice.test").is_ok());
    assert_eq!(world.pauses(), [2, 4, 8]);

    world.server.upset("/api/auth/start", Upset::Status(400, "invalid_handle"));
    let refused = world.manager.begin_sign_in("?").unwrap_err();
    assert!(matches!(&refused, KitError::Refused(refusal) if refusal.code == "invalid_handle"), "{refused:?}");
    assert_eq!(refused.to_string(), "upset on purpose", "the server's words reach the person");
    assert!(world.pauses().is_empty());
}

#[test]
fn a_server_must_be_https_unless_it_is_this_device() {
    use bowerbird_client::Settings;
    for good in ["https://auth.example", "http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080/"] {
        assert!(Settings::new(good, REDIRECT, "com.app").is_ok(), "{good}");
    }
    for bad in
        ["http://auth.example", "http://127.0.0.1.evil.example", "https://a:b@auth.example", "https://x/y", "auth"]
    {
        assert!(Settings::new(bad, REDIRECT, "com.app").is_err(), "{bad}");
    }
}
