//! Storing, replacing and removing grants, and logins under way.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{
    AccountId, AppReturn, AuthorizationRequest, BrowserBinding, Connection, ConnectionId, CredentialState,
    DeviceSessionId, Did, HandoffForm, LoginEnding, LoginPurpose, Platform, RefreshClass, Secret, SecretBytes,
    StateHash, Timestamp,
};
use bowerbird_vault::{CheckoutError, GrantError, LoginSealError, OpenError, RemoveError, Vault};
use futures_util::future::join_all;

use super::support::{DUE, EXPIRED, House, SlowDataKeys, connect, new_grant, nth, vault_on};

#[tokio::test(start_paused = true)]
async fn a_grant_opens_to_what_was_granted() {
    let house = House::empty().await;
    assert!(house.vault.open(house.connection).await.unwrap().is_none());
    assert!(house.vault.standing(house.connection).await.unwrap().is_none());
    let granted = house.vault.grant(house.grant("at-0", Some("rt-0"))).await.unwrap();
    assert_eq!(granted.generation, nth(1));
    assert!(granted.replaced.is_none());
    let grant = house.vault.open(house.connection).await.unwrap().unwrap();
    assert_eq!(grant.access_token.expose(), "at-0");
    assert_eq!(grant.refresh_token.unwrap().expose(), "rt-0");
    assert_eq!(grant.subject.as_str(), "did:plc:hdhoaan3xa3jiuq4fg4mefid");
    assert_eq!(grant.client_kid.as_deref(), Some("client-key-1"));
    assert_eq!(grant.state, CredentialState::Ok);
    let standing = house.vault.standing(house.connection).await.unwrap().unwrap();
    assert_eq!((standing.generation, standing.scope.as_str()), (nth(1), "atproto transition:generic"));
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_grant_replaces_the_old_one_and_returns_it() {
    let house = House::new().await;
    house.vault.checkout(house.connection).await.unwrap();
    let granted = house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    assert_eq!(granted.generation, nth(2));
    let replaced = granted.replaced.unwrap();
    assert_eq!((replaced.access_token.expose(), replaced.generation), ("at-0", nth(1)));
    assert_eq!(replaced.refresh_token.unwrap().expose(), "rt-0");
    // The opened old one is not in the way.
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-new");
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_grant_that_cannot_be_opened_does_not_stop_a_login() {
    let house = House::new().await;
    let mut row = house.row().await;
    row.generation = nth(2);
    row.tokens.access_token[30] ^= 1;
    assert_eq!(house.stores.credentials.replace(&row, Some(nth(1))).await.unwrap(), bowerbird_core::ports::Cas::Done);
    assert!(matches!(house.vault.open(house.connection).await, Err(OpenError::Unreadable(_))));
    let granted = house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    assert_eq!(granted.generation, nth(3));
    assert!(granted.replaced.is_none());
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-new");
}

#[tokio::test(start_paused = true)]
async fn racing_logins_all_get_in_with_generations_of_their_own() {
    let house = House::empty().await;
    let grants = (0..4).map(|n| house.vault.grant(house.grant(&format!("at of {n}"), Some(&format!("rt of {n}")))));
    let granted: Vec<_> = join_all(grants).await.into_iter().map(Result::unwrap).collect();
    let mut generations: Vec<_> = granted.iter().map(|granted| granted.generation).collect();
    generations.sort_unstable();
    assert_eq!(generations, [nth(1), nth(2), nth(3), nth(4)]);
    // Every grant but the last comes back to somebody, to be revoked.
    assert_eq!(granted.iter().filter(|granted| granted.replaced.is_some()).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_login_waits_for_a_refresh_and_gets_its_successor_to_revoke() {
    let house = House::new().await;
    house.pass(DUE);
    house.issuer.hold();
    house.vault.checkout(house.connection).await.unwrap();
    let (vault, grant) = (house.vault.clone(), house.grant("at-new", Some("rt-new")));
    let login = tokio::spawn(async move { vault.grant(grant).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.issuer.release();
    let granted = login.await.unwrap().unwrap();
    assert_eq!(granted.generation, nth(3));
    assert_eq!(granted.replaced.unwrap().refresh_token.unwrap().expose(), "rt-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn removing_returns_the_grant_and_leaves_nothing() {
    let house = House::new().await;
    house.vault.checkout(house.connection).await.unwrap();
    let removed = house.vault.remove(house.connection).await.unwrap().unwrap();
    assert_eq!(removed.refresh_token.unwrap().expose(), "rt-0");
    assert!(matches!(house.vault.checkout(house.connection).await, Err(CheckoutError::NotFound)));
    assert!(house.vault.remove(house.connection).await.unwrap().is_none());
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removal_waits_for_a_refresh_and_gets_its_successor_to_revoke() {
    let house = House::new().await;
    house.pass(DUE);
    house.issuer.hold();
    house.vault.checkout(house.connection).await.unwrap();
    let (vault, connection) = (house.vault.clone(), house.connection);
    let removal = tokio::spawn(async move { vault.remove(connection).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.issuer.release();
    let removed = removal.await.unwrap().unwrap().unwrap();
    assert_eq!(removed.refresh_token.unwrap().expose(), "rt-1");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_removal_during_a_refresh_is_not_undone_by_it() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.issuer.hold();
    let (vault, connection) = (house.vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    house.vault.remove(house.connection).await.unwrap();
    house.issuer.release();
    assert!(matches!(waiting.await.unwrap(), Err(CheckoutError::NotFound)));
    assert!(house.vault.open(house.connection).await.unwrap().is_none());
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_removal_of_the_grant_that_was_seen_leaves_a_later_login_alone() {
    let house = House::new().await;
    let seen = house.vault.standing(house.connection).await.unwrap().unwrap();
    assert_eq!(seen.granted, nth(1));
    house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    let before = house.row().await;
    assert!(house.vault.remove_granted(house.connection, seen.granted).await.unwrap().is_none());
    assert_eq!(house.row().await, before);
    assert_eq!(house.vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-new");
    // The new one goes by its own name.
    let removed = house.vault.remove_granted(house.connection, nth(2)).await.unwrap().unwrap();
    assert_eq!(removed.refresh_token.unwrap().expose(), "rt-new");
    assert!(house.vault.remove_granted(house.connection, nth(2)).await.unwrap().is_none());
    assert!(matches!(house.vault.checkout(house.connection).await, Err(CheckoutError::NotFound)));
    assert_eq!(house.issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_rename_the_grant_that_was_seen() {
    let house = House::new().await;
    let seen = house.vault.standing(house.connection).await.unwrap().unwrap();
    house.pass(EXPIRED);
    house.vault.checkout(house.connection).await.unwrap();
    let removed = house.vault.remove_granted(house.connection, seen.granted).await.unwrap().unwrap();
    assert_eq!((removed.generation, removed.refresh_token.unwrap().expose()), (nth(2), "rt-1"));
    assert!(house.vault.standing(house.connection).await.unwrap().is_none());
    assert_eq!(house.issuer.sends(), 1);
}

/// The login's writes land between the removal's look and its own write.
#[tokio::test(start_paused = true)]
async fn a_login_between_the_look_and_the_removal_is_not_taken_along() {
    let house = House::new().await;
    let mut removal = pin!(house.vault.remove_granted(house.connection, nth(1)));
    assert!(!is_ready(removal.as_mut()), "it has looked and not yet written");
    let granted = house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    assert_eq!(granted.replaced.unwrap().refresh_token.unwrap().expose(), "rt-0");
    assert!(removal.await.unwrap().is_none());
    assert_eq!(house.stored_refresh_token().await, "rt-new");

    // Who removes whatever is there gets the newer one to revoke: no grant is lost, and none comes back twice.
    let mut removal = pin!(house.vault.remove(house.connection));
    assert!(!is_ready(removal.as_mut()), "it has looked and not yet written");
    let granted = house.vault.grant(house.grant("at-newer", Some("rt-newer"))).await.unwrap();
    assert_eq!(granted.replaced.unwrap().refresh_token.unwrap().expose(), "rt-new");
    assert_eq!(removal.await.unwrap().unwrap().refresh_token.unwrap().expose(), "rt-newer");
    assert!(house.vault.open(house.connection).await.unwrap().is_none());
    assert_eq!(house.issuer.sends(), 0);
}

/// Runs a future up to where it waits for the first time.
fn is_ready<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Else whoever still holds the name of the removed grant would mean the new one.
#[tokio::test(start_paused = true)]
async fn a_removed_grant_and_the_next_one_share_no_generation() {
    let house = House::new().await;
    let seen = house.vault.standing(house.connection).await.unwrap().unwrap();
    house.vault.remove(house.connection).await.unwrap().unwrap();
    house.pass(1);
    house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    assert!(house.vault.remove_granted(house.connection, seen.granted).await.unwrap().is_none());
    assert_eq!(house.stored_refresh_token().await, "rt-new");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_for_a_removed_grant_never_overwrites_the_next_one() {
    let house = House::new().await;
    house.pass(EXPIRED);
    house.issuer.hold();
    let (vault, connection) = (house.vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { vault.checkout(connection).await });
    house.issuer.saw(1).await;
    house.vault.remove(house.connection).await.unwrap();
    house.vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    house.issuer.release();
    assert_eq!(waiting.await.unwrap().unwrap().access_token.expose(), "at-new");
    assert_eq!(house.stored_refresh_token().await, "rt-new");
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nothing_is_removed() {
    let house = House::new().await;
    house.credentials.down.store(true, Ordering::SeqCst);
    let removed = house.vault.remove(house.connection).await;
    assert!(matches!(removed, Err(RemoveError::Open(OpenError::Store(_)))), "{removed:?}");
    house.credentials.down.store(false, Ordering::SeqCst);
    assert_eq!(house.stored_refresh_token().await, "rt-0");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_dpop_key_is_refused_before_anything_is_stored() {
    let house = House::empty().await;
    for scalar in [vec![0; 32], vec![0xff; 32], vec![9; 31], Vec::new()] {
        let mut grant = house.grant("at-0", Some("rt-0"));
        grant.dpop_key = Some(SecretBytes::new(scalar));
        assert!(matches!(house.vault.grant(grant).await, Err(GrantError::InvalidDpopKey)));
    }
    assert!(house.vault.open(house.connection).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_grant_of_bearer_tokens_has_no_key() {
    let house = House::empty().await;
    let mut grant = house.grant("at-0", Some("rt-0"));
    (grant.refresh_class, grant.dpop_key) = (RefreshClass::Graceful, None);
    house.vault.grant(grant).await.unwrap();
    let opened = house.vault.open(house.connection).await.unwrap().unwrap();
    assert_eq!(opened.class, RefreshClass::Graceful);
    assert!(opened.dpop_key.is_none());
    assert!(house.vault.checkout(house.connection).await.unwrap().dpop_key.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_data_key_is_made_once_per_account_and_kept() {
    let house = House::new().await;
    let first = house.stores.data_keys.find(house.account).await.unwrap().unwrap();
    assert_eq!(first.kek_id, "ktest");
    house.vault.grant(house.grant("at-new", None)).await.unwrap();
    assert_eq!(house.stores.data_keys.find(house.account).await.unwrap().unwrap(), first);
    // A newer active key takes nothing away: the old wrapping is found by its name.
    let keys = FixedKeys::of(&[("knew", [1; 32]), ("ktest", [7; 32])]);
    let rotated = vault_on(&house.stores, &house.issuer, &house.clock, keys, "cluster-a");
    assert!(rotated.checkout(house.connection).await.is_ok());
    assert_eq!(house.issuer.preparations.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn instances_that_make_a_data_key_at_once_agree_on_one() {
    let mut house = House::empty().await;
    house.stores.data_keys = Arc::new(SlowDataKeys(Arc::clone(&house.stores.data_keys)));
    let other = Connection {
        id: ConnectionId::random(&SeededEntropy::new(77)),
        account: house.account,
        platform: Platform::named("mastodon"),
        subject: "somebody".to_owned(),
        created_at: Timestamp::EPOCH,
    };
    let other = house.stores.connections.ensure(&other).await.unwrap().id;
    let (first, _first_issuer) = house.second_instance();
    let (second, _second_issuer) = house.second_instance();
    let grants = join_all([
        first.grant(new_grant(house.account, house.connection, "at-one", None)),
        second.grant(new_grant(house.account, other, "at-two", None)),
    ]);
    assert!(grants.await.iter().all(Result::is_ok));
    let (third, issuer) = house.second_instance();
    assert_eq!(third.checkout(house.connection).await.unwrap().access_token.expose(), "at-one");
    assert_eq!(third.checkout(other).await.unwrap().access_token.expose(), "at-two");
    assert_eq!(issuer.sends(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_was_removed_and_came_back_gets_a_data_key_that_is_stored() {
    let house = House::new().await;
    assert!(house.stores.accounts.remove(house.account).await.unwrap());
    assert!(house.stores.data_keys.find(house.account).await.unwrap().is_none());
    let (account, connection) = connect(&house.stores, &house.clock, 1).await;
    assert_eq!((account, connection), (house.account, house.connection), "the worst case: the same names");
    // The vault still remembers the key of before, which is stored nowhere.
    house.vault.grant(house.grant("at-new", None)).await.unwrap();
    let (restarted, issuer) = house.second_instance();
    assert_eq!(restarted.checkout(house.connection).await.unwrap().access_token.expose(), "at-new");
    assert_eq!(issuer.sends(), 0);
}

#[test]
fn every_future_of_a_vault_may_change_threads() {
    fn is_send<T: Send>(make: impl FnOnce(&'static Vault) -> T) {
        drop(make);
    }
    let connection = ConnectionId::random(&SeededEntropy::new(1));
    is_send(|vault| vault.checkout(connection));
    is_send(|vault| vault.checkout_newer(connection, nth(1)));
    is_send(|vault| vault.remove(connection));
    is_send(|vault| vault.remove_granted(connection, nth(1)));
    is_send(|vault| vault.open(connection));
    is_send(|vault| vault.standing(connection));
    is_send(|vault| vault.drain(Duration::ZERO));
}

fn request(purpose: LoginPurpose) -> AuthorizationRequest {
    AuthorizationRequest {
        issuer: "https://issuer.example".to_owned(),
        did: Some(Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid").unwrap()),
        handle: Some("alice.test".to_owned()),
        pkce_verifier: Secret::new("verifier"),
        dpop_key: SecretBytes::new([9; 32]),
        dpop_nonce: Some("nonce".to_owned()),
        client_kid: Some("client-key-1".to_owned()),
        redirect_uri: "https://app.example/oauth/callback".to_owned(),
        scope: "atproto".to_owned(),
        purpose,
        return_to: "/inbox?x=\"1\"".to_owned(),
        ending: LoginEnding::Browser,
        browser: Some(BrowserBinding([3; 32])),
        created_at: Timestamp::from_millis(1_767_225_600_123),
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_opens_to_what_was_sealed_under_its_own_state_only() {
    let house = House::empty().await;
    let entropy = SeededEntropy::new(1);
    let device = DeviceSessionId::random(&entropy);
    let state = StateHash([5; 32]);
    for purpose in [
        LoginPurpose::SignIn,
        LoginPurpose::AddAccount { device: device.clone() },
        LoginPurpose::Repair { account: AccountId::random(&entropy), device: Some(device) },
    ] {
        let sealed = house.vault.seal_login(&request(purpose.clone()), &state).await.unwrap();
        let opened = house.vault.open_login(&sealed, &state).await.unwrap();
        let expected = request(purpose);
        assert_eq!(format!("{opened:?}"), format!("{expected:?}"));
        assert_eq!(opened.pkce_verifier.expose(), "verifier");
        assert_eq!(opened.dpop_key.expose(), [9; 32]);

        let elsewhere = house.vault.open_login(&sealed, &StateHash([6; 32])).await;
        assert!(matches!(elsewhere, Err(LoginSealError::Unreadable(_))));
        let other = vault_on(&house.stores, &house.issuer, &house.clock, FixedKeys::one(), "cluster-b");
        assert!(matches!(other.open_login(&sealed, &state).await, Err(LoginSealError::Unreadable(_))));
        // After a restart, with another active key and the old one still listed.
        let keys = FixedKeys::of(&[("knew", [1; 32]), ("ktest", [7; 32])]);
        let rotated = vault_on(&house.stores, &house.issuer, &house.clock, keys, "cluster-a");
        assert!(rotated.open_login(&sealed, &state).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_remembers_where_its_end_goes() {
    let house = House::empty().await;
    let state = StateHash([5; 32]);
    let app = |form| LoginEnding::App(AppReturn { address: "app://auth-callback".to_owned(), form });
    for ending in [
        LoginEnding::Browser,
        app(HandoffForm::Code { challenge: Some("challenge".to_owned()) }),
        app(HandoffForm::Code { challenge: None }),
        app(HandoffForm::Session),
        LoginEnding::Opener { origin: "https://app.example".to_owned() },
    ] {
        let login = AuthorizationRequest { ending: ending.clone(), ..request(LoginPurpose::SignIn) };
        let sealed = house.vault.seal_login(&login, &state).await.unwrap();
        assert_eq!(house.vault.open_login(&sealed, &state).await.unwrap().ending, ending);
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_login_is_unreadable_whatever_bit_it_is() {
    let house = House::empty().await;
    let state = StateHash([5; 32]);
    let sealed = house.vault.seal_login(&request(LoginPurpose::SignIn), &state).await.unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(house.vault.open_login(&damaged, &state).await, Err(LoginSealError::Unreadable(_))), "{bit}");
    }
    for length in 0..sealed.len() {
        assert!(house.vault.open_login(&sealed[..length], &state).await.is_err(), "{length}");
    }
}
