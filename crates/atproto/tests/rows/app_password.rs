//! Rows 75 and 76, and the life of an app-password session: what is answered, and what is not sent.

use bowerbird_atproto::{AppPasswordError, AppPasswordLogin, FinishedLogin, ProxyError};
use bowerbird_core::{CredentialState, LoginEnding, LoginIdentifier, LoginPurpose, NeedsReauth, RefreshClass, Secret};
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, PasswordKind, Verdict};
use bytes::Bytes;
use http::Response;
use serde_json::json;

use crate::world::World;

const GET_SESSION: &str = "com.atproto.server.getSession";
const CREATE: &str = "/xrpc/com.atproto.server.createSession";
const REFRESH: &str = "/xrpc/com.atproto.server.refreshSession";

async fn sign_in_with(
    world: &World,
    identifier: &str,
    password: &str,
    factor: Option<&str>,
) -> Result<AppPasswordLogin, AppPasswordError> {
    let home = world.atproto.app_passwords.find(&LoginIdentifier::parse(identifier).unwrap()).await?;
    world.atproto.app_passwords.sign_in(home, Secret::new(password), factor.map(Secret::new)).await
}

async fn refused(world: &World, identifier: &str, password: &str) -> (&'static str, u16) {
    let error = sign_in_with(world, identifier, password, None).await.unwrap_err();
    (error.code(), error.status().as_u16())
}

/// In the form that the other tests' calls have.
fn as_finished(login: AppPasswordLogin) -> FinishedLogin {
    FinishedLogin {
        account: login.account,
        connection: login.connection,
        granted_scope: login.scope,
        purpose: LoginPurpose::SignIn,
        return_to: "/".to_owned(),
        ending: LoginEnding::Browser,
        began_here: true,
    }
}

struct Signed {
    world: World,
    did: String,
    password: String,
    login: FinishedLogin,
}

async fn signed_in() -> Signed {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    let login = as_finished(sign_in_with(&world, "alice.test", &password, None).await.unwrap());
    Signed { world, did: alice.did, password, login }
}

impl Signed {
    async fn get(&self) -> Result<Response<Bytes>, ProxyError> {
        self.world.get(&self.login, GET_SESSION).await
    }

    async fn state(&self) -> CredentialState {
        self.world.atproto.vault.standing(self.login.connection.id).await.unwrap().unwrap().state
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_signs_in_and_is_kept_nowhere() {
    let signed = signed_in().await;
    let (world, connection) = (&signed.world, signed.login.connection.id);
    assert_eq!(signed.get().await.unwrap().status(), 200);
    let opened = world.atproto.vault.open(connection).await.unwrap().unwrap();
    assert_eq!(opened.class, RefreshClass::Graceful);
    assert!(opened.dpop_key.is_none());
    assert_eq!(opened.audience, world.network.pds().origin());
    let row = world.stores.credentials.find(connection).await.unwrap().unwrap();
    assert!(!format!("{row:?}{:?}", signed.login).contains(&signed.password));
    let shown = world.network.ledger().presented(CanaryKind::Password);
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].path.as_str(), shown[0].verdict), (CREATE, Verdict::Accepted));
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_76_the_main_password_is_refused_and_its_session_ended() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::Main);
    assert_eq!(refused(&world, &alice.did, &password).await, ("app_password_required", 401));
    assert_eq!(world.network.pds().calls("com.atproto.server.deleteSession"), 1);
    assert_eq!(world.network.pds().app_sessions_of(&alice.did), 0);
    assert_eq!(world.accounts().await, 0, "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_shown_once() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    assert_eq!(refused(&world, &alice.did, "wrong").await, ("app_password_invalid", 401));
    assert_eq!(world.shown(CanaryKind::Password), 1);
    assert_eq!(world.accounts().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_to_the_server_of_the_did_document_and_to_nobody_else() {
    let network = FaultNetwork::start().await;
    let (evil_pds, evil) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let mallory = world.network.add_account("mallory.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    // A handle that points to somebody who does not claim it.
    world.network.point_handle_to("mallory.test", &alice.did);
    assert!(sign_in_with(&world, "mallory.test", &password, None).await.is_err());
    let server = world.network.pds().origin().to_owned();
    assert_eq!(refused(&world, &server, &password).await, ("invalid_handle", 400));
    assert_eq!(world.shown(CanaryKind::Password), 0);
    // The server that the directory names now, not the one that it named a moment ago.
    world.start_login(&mallory.did).await.unwrap();
    world.network.move_account(&mallory.did, &evil_pds);
    let moved = sign_in_with(&world, &mallory.did, "moved-password", None).await.unwrap_err();
    assert_eq!(moved.code(), "app_password_invalid");
    let shown = world.network.ledger().presented(CanaryKind::Password);
    assert_eq!(shown.iter().map(|shown| shown.origin.as_str()).collect::<Vec<_>>(), [evil_pds.origin()]);
    world.network.ledger().assert_nothing_sighted_at(evil.issuer());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_off_the_list_gets_no_password() {
    let world = World::on(FaultNetwork::start().await, |config| config.allowed_pds = vec!["bsky.social".to_owned()]);
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    assert_eq!(refused(&world, &alice.did, &password).await, ("pds_not_allowed", 403));
    assert_eq!(world.shown(CanaryKind::Password), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_from_the_mail_is_passed_through() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    world.network.pds().require_auth_factor(&alice.did, "ABCDE-12345");
    assert_eq!(refused(&world, &alice.did, &password).await, ("auth_factor_token_required", 401));
    let wrong = sign_in_with(&world, &alice.did, &password, Some("no")).await.unwrap_err();
    assert_eq!(wrong.code(), "auth_factor_token_invalid");
    sign_in_with(&world, &alice.did, &password, Some("ABCDE-12345")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_do_not_fit_are_ended_and_not_stored() {
    for (patch, code, status) in [
        (json!({"did": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"}), "account_mismatch", 502),
        (json!({"accessJwt": "opaque"}), "pds_response_invalid", 502),
    ] {
        let world = World::start().await;
        let alice = world.network.add_account("alice.test");
        let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
        world.network.pds().server().misbehave(CREATE, Misbehave::merge(patch));
        assert_eq!(refused(&world, &alice.did, &password).await, (code, status));
        assert_eq!(world.network.pds().app_sessions_of(&alice.did), 0, "{code}");
        assert_eq!(world.accounts().await, 0, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_limits_or_fails_says_so() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    let pds = world.network.pds();
    let server = pds.server();
    server.misbehave(CREATE, Misbehave::too_many_requests("17"));
    let error = sign_in_with(&world, &alice.did, &password, None).await.unwrap_err();
    assert!(matches!(error, AppPasswordError::RateLimited { retry_after_seconds: Some(17) }), "{error:?}");
    server.behave();
    server.misbehave(CREATE, Misbehave::status(503));
    assert_eq!(refused(&world, &alice.did, &password).await, ("pds_unreachable", 502));
    server.behave();
    server.misbehave(CREATE, Misbehave::json_text(format!("{{\"error\":\"{password}\"")));
    let error = sign_in_with(&world, &alice.did, &password, None).await.unwrap_err();
    assert!(!format!("{error:?}").contains(&password));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_ended_is_renewed_once() {
    let signed = signed_in().await;
    signed.world.network.pds().expire_app_access_tokens();
    for answer in futures_util::future::join_all((0..20).map(|_| signed.get())).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(signed.world.shown(CanaryKind::RefreshToken), 1);
    signed.world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_app_password_says_so_and_the_account_stays() {
    let signed = signed_in().await;
    signed.world.network.pds().end_app_sessions_of(&signed.did);
    let error = signed.get().await.unwrap_err();
    assert_eq!((error.code(), error.status().as_u16()), ("needs_reauth", 401));
    assert_eq!(signed.state().await, CredentialState::NeedsReauth(NeedsReauth::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_not_shown_to_the_server_that_an_account_moved_to() {
    let network = FaultNetwork::start().await;
    let (evil_pds, evil) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    let login = as_finished(sign_in_with(&world, &alice.did, &password, None).await.unwrap());
    world.network.move_account(&alice.did, &evil_pds);
    world.network.pds().expire_app_access_tokens();
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap_err().code(), "needs_reauth");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
    world.network.ledger().assert_nothing_sighted_at(evil.issuer());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_answers_for_another_account_is_kept_and_not_used() {
    let signed = signed_in().await;
    let patch = json!({"did": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"});
    signed.world.network.pds().server().misbehave(REFRESH, Misbehave::merge(patch));
    signed.world.network.pds().expire_app_access_tokens();
    assert_eq!(signed.get().await.unwrap_err().code(), "needs_reauth");
    assert_eq!(signed.state().await, CredentialState::NeedsReauth(NeedsReauth::SubjectMismatch));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oauth_login_upgrades_the_same_account_and_ends_the_session() {
    let signed = signed_in().await;
    let upgraded = signed.world.sign_in(&signed.did).await;
    assert_eq!(upgraded.account.id, signed.login.account.id);
    assert_eq!(upgraded.connection.id, signed.login.connection.id);
    let opened = signed.world.atproto.vault.open(upgraded.connection.id).await.unwrap().unwrap();
    assert!(opened.class == RefreshClass::SingleUse && opened.dpop_key.is_some());
    let pds = signed.world.network.pds();
    signed.world.eventually("the session is ended", || pds.app_sessions_of(&signed.did) == 0).await;
    assert_eq!(signed.get().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_does_not_take_the_place_of_a_grant_that_works() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let password = world.network.pds().add_password(&alice.did, PasswordKind::App);
    let login = world.sign_in(&alice.did).await;
    assert_eq!(refused(&world, &alice.did, "wrong").await, ("app_password_invalid", 401), "a stranger learns nothing");
    assert_eq!(refused(&world, &alice.did, &password).await, ("connected_by_oauth", 409));
    let pds = world.network.pds();
    assert_eq!((pds.app_sessions_of(&alice.did), pds.calls("com.atproto.server.deleteSession")), (0, 1));
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200, "the grant is as it was");

    world.network.authorization_server().revoke_all_of(&alice.did);
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap_err().code(), "needs_reauth");
    let again = sign_in_with(&world, &alice.did, &password, None).await.unwrap();
    assert_eq!((again.account.id, again.connection.id), (login.account.id, login.connection.id));
    assert_eq!(world.get(&login, GET_SESSION).await.unwrap().status(), 200, "a grant that ended may be replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_at_its_server() {
    let signed = signed_in().await;
    signed.world.atproto.logins.release_and_wait(&signed.login.account).await.unwrap();
    assert_eq!(signed.world.network.pds().app_sessions_of(&signed.did), 0);
    assert!(signed.world.atproto.vault.open(signed.login.connection.id).await.unwrap().is_none());
}
