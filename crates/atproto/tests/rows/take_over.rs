//! Sign-ins of another server: what is taken over and goes on, what is refused, and what is never touched.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_atproto::{Atproto, FinishedLogin, ForeignSignIn, TakeOverRefusal, TakeOverRules, TakenOver};
use bowerbird_core::ports::{Clock as _, Stores, full_body};
use bowerbird_core::{Did, Nsid, Platform, Secret};
use bowerbird_oauth::{PrivateJwkSet, SigningKey};
use bowerbird_testkit::fault::CanaryKind;
use bowerbird_vault::unnamed_device;
use http::Request;
use serde_json::{Value, json};
use url::Url;

use crate::world::{World, whole};

const GET_SESSION: &str = "com.atproto.server.getSession";

struct Move {
    world: World,
    login: FinishedLogin,
    /// The house that it moves to.
    new: Atproto,
    stores: Stores,
}

async fn begin() -> Move {
    let world = World::start().await;
    let _alice = world.network.add_account("alice.test");
    let login = world.sign_in("alice.test").await;
    let (new, stores) = world.other_house(|_| ());
    Move { world, login, new, stores }
}

impl Move {
    fn rules(&self) -> TakeOverRules {
        TakeOverRules {
            client_id: Some(self.new.client.client_id().to_owned()),
            session_ttl: 604_800,
            device_name: "Signed in before the move".to_owned(),
            dry_run: false,
        }
    }

    fn did(&self) -> Did {
        self.login.account.did.clone()
    }

    /// What the old house holds now.
    async fn sign_in(&self) -> ForeignSignIn {
        let grant = self.world.atproto.vault.open(self.login.connection.id).await.unwrap().unwrap();
        ForeignSignIn {
            did: grant.subject,
            pds: grant.audience,
            access_token: grant.access_token,
            refresh_token: grant.refresh_token.unwrap(),
            dpop_key: grant.dpop_key.unwrap(),
            expires_at: Some(self.world.clock.now()),
            signed_in_at: self.world.clock.now().plus_seconds(-86_400),
        }
    }

    /// The same, with an access token that says something.
    async fn saying(&self, claims: &Value) -> ForeignSignIn {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.sig", part(&json!({"typ": "at+jwt"})), part(claims));
        ForeignSignIn { access_token: Secret::new(token), ..self.sign_in().await }
    }

    async fn take(&self, sign_in: ForeignSignIn) -> Result<TakenOver, TakeOverRefusal> {
        self.new.logins.take_over(sign_in, &self.rules()).await
    }

    async fn refused(&self, sign_in: ForeignSignIn) -> &'static str {
        let code = self.take(sign_in).await.unwrap_err().code();
        assert_eq!(self.stores.accounts.list(None, 10).await.unwrap().len(), 0, "{code}: nothing is stored");
        code
    }

    async fn call(&self) -> u16 {
        let account = self.stores.accounts.find_by_did(&self.did()).await.unwrap().unwrap();
        let request = Request::get(format!("/xrpc/{GET_SESSION}")).body(full_body("")).unwrap();
        let call = bowerbird_atproto::ProxyCall {
            account: std::sync::Arc::new(account),
            nsid: Nsid::parse(GET_SESSION).unwrap(),
            request,
        };
        whole(self.new.proxy.call(call).await.unwrap()).await.status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_taken_over_is_renewed_here_and_has_its_device() {
    let house = begin().await;
    let shown = house.world.shown(CanaryKind::RefreshToken);
    assert_eq!(house.take(house.sign_in().await).await.unwrap(), TakenOver::Done);
    assert_eq!(house.world.shown(CanaryKind::RefreshToken), shown, "the move itself spends nothing");
    let now = house.world.clock.now();
    let device = house.stores.device_sessions.find(&unnamed_device(&house.did()), now).await.unwrap().unwrap();
    let account = house.stores.accounts.find_by_did(&house.did()).await.unwrap().unwrap();
    assert!(device.holds(account.id) && device.active == Some(account.id));
    assert_eq!(device.device_name, "Signed in before the move");
    assert_eq!((account.handle.as_str(), account.last_login_at), ("alice.test", account.created_at));

    house.world.network.expire_all_access_tokens();
    assert_eq!(house.call().await, 200);
    assert_eq!(house.world.shown(CanaryKind::RefreshToken), shown + 1, "its access token is over: renewed, once");
    assert_eq!(house.call().await, 200);
    assert_eq!(house.world.shown(CanaryKind::RefreshToken), shown + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn doing_it_again_changes_nothing_and_never_brings_a_spent_token_back() {
    let house = begin().await;
    let old = house.sign_in().await;
    let again = ForeignSignIn {
        did: old.did.clone(),
        pds: old.pds.clone(),
        access_token: old.access_token.clone(),
        refresh_token: old.refresh_token.clone(),
        dpop_key: old.dpop_key.clone(),
        ..old
    };
    assert_eq!(house.take(old).await.unwrap(), TakenOver::Done);
    assert_eq!(house.call().await, 200);
    let account = house.stores.accounts.find_by_did(&house.did()).await.unwrap().unwrap();
    let connections = &house.stores.connections;
    let connection = connections.find(account.id, &Platform::atproto(), house.did().as_str()).await.unwrap().unwrap();
    let before = house.stores.credentials.find(connection.id).await.unwrap();
    assert_eq!(house.take(again).await.unwrap(), TakenOver::AlreadyHere);
    assert_eq!(house.stores.credentials.find(connection.id).await.unwrap(), before);

    // Who signs out stays signed out.
    let _removed = house.stores.device_sessions.remove(&unnamed_device(&house.did())).await.unwrap();
    house.new.logins.release_and_wait(&account).await.unwrap();
    assert_eq!(house.take(house.sign_in().await).await.unwrap(), TakenOver::AlreadyHere);
    assert!(house.stores.credentials.find(connection.id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_is_completed_by_the_next() {
    let house = begin().await;
    assert_eq!(house.take(house.sign_in().await).await.unwrap(), TakenOver::Done);
    let account = house.stores.accounts.find_by_did(&house.did()).await.unwrap().unwrap();
    let connections = &house.stores.connections;
    let connection = connections.find(account.id, &Platform::atproto(), house.did().as_str()).await.unwrap().unwrap();
    // As after a kill right before the grant: account, device and connection are there.
    let record = house.stores.credentials.find(connection.id).await.unwrap().unwrap();
    let _removed = house.stores.credentials.remove(connection.id, record.generation).await.unwrap();
    assert_eq!(house.take(house.sign_in().await).await.unwrap(), TakenOver::Done);
    assert!(house.stores.credentials.find(connection.id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_looks_at_everything_and_stores_nothing() {
    let house = begin().await;
    let rules = TakeOverRules { dry_run: true, ..house.rules() };
    assert_eq!(house.new.logins.take_over(house.sign_in().await, &rules).await.unwrap(), TakenOver::Done);
    assert_eq!(house.stores.accounts.list(None, 10).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_client_account_key_or_server_are_refused() {
    let house = begin().await;
    let ours = house.new.client.client_id();
    let jkt = house.sign_in().await.dpop_key.thumbprint().to_owned();
    let good = json!({"client_id": ours, "sub": house.did(), "cnf": {"jkt": jkt}});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let theirs = "https://old.test/oauth-client-metadata.json";
    for (claims, code) in [
        (with("client_id", theirs.into()), "other_client"),
        (with("sub", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".into()), "other_subject"),
        (with("cnf", json!({"jkt": "another"})), "other_key"),
        (with("iss", "https://elsewhere.test".into()), "other_issuer"),
    ] {
        assert_eq!(house.refused(house.saying(&claims).await).await, code, "{claims}");
    }
    let named = house.take(house.saying(&with("client_id", theirs.into())).await).await.unwrap_err();
    assert!(named.to_string().contains(theirs) && named.to_string().contains(ours), "{named}");

    let silent = TakeOverRules { client_id: None, ..house.rules() };
    let unknown = house.new.logins.take_over(house.sign_in().await, &silent).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.is_temporary()), ("client_unknown", false));
    let other = TakeOverRules { client_id: Some(theirs.to_owned()), ..house.rules() };
    assert_eq!(house.new.logins.take_over(house.sign_in().await, &other).await.unwrap_err().code(), "other_client");

    let moved = ForeignSignIn { pds: "https://before.test".to_owned(), ..house.sign_in().await };
    assert_eq!(house.refused(moved).await, "moved");
    let nonsense = ForeignSignIn { pds: "javascript:alert(1)".to_owned(), ..house.sign_in().await };
    assert_eq!(house.refused(nonsense).await, "moved");
    let nobody =
        ForeignSignIn { did: Did::parse("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").unwrap(), ..house.sign_in().await };
    assert_eq!(house.refused(nobody).await, "account_not_found");

    assert_eq!(house.take(house.saying(&good).await).await.unwrap(), TakenOver::Done, "and the good one passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_client_keys_refuses_what_a_public_client_was_given() {
    let house = begin().await;
    let (keyed, stores) = house.world.other_house(|config| {
        config.base_url = Url::parse("https://bower.test").unwrap();
        let key = SigningKey::from_scalar(&[9; 32]).unwrap().with_kid("k");
        config.client_keys = Some(PrivateJwkSet::new(vec![key]).unwrap());
    });
    let rules = TakeOverRules { client_id: Some(keyed.client.client_id().to_owned()), ..house.rules() };
    let refusal = keyed.logins.take_over(house.sign_in().await, &rules).await.unwrap_err();
    assert_eq!(refusal.code(), "confidential_client");
    assert_eq!(stores.accounts.list(None, 10).await.unwrap().len(), 0);
}
