//! Callbacks of servers that lie: rows 5, 6, 8, 14, 16, 19 and 20 as the client of the server sees them.

use bowerbird_core::Did;
use bowerbird_testkit::fault::{Misbehave, endpoint};
use serde_json::json;

use crate::support::{House, Must as _};

#[tokio::test]
async fn row_5_an_answer_without_issuer_is_refused() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    server.server().misbehave(endpoint::AUTHORIZE, Misbehave::redirect_without("iss"));
    let answer = house.visitor().login("alice.test").await.expect_status(400);
    assert_eq!(answer.header("bowerbird-error"), Some("iss_missing"));
    assert_eq!(server.token_calls(), 0);
}

#[tokio::test]
async fn row_6_an_answer_of_another_issuer_is_refused() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    server.server().misbehave(endpoint::AUTHORIZE, Misbehave::redirect_with("iss", "https://evil.example"));
    let answer = house.visitor().login("alice.test").await.expect_status(400);
    assert_eq!(answer.header("bowerbird-error"), Some("iss_mismatch"));
    assert_eq!(server.token_calls(), 0);
}

#[tokio::test]
async fn row_8_a_code_of_another_flow_is_worth_nothing() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    house.network.add_account("mallory.test");
    let (mut victim, mut attacker) = (house.visitor(), house.visitor());
    let page = victim.start_login("alice.test").await;
    let stolen = victim.authorize(&page).await;
    let page = attacker.start_login("mallory.test").await;
    let own = attacker.authorize(&page).await;
    let code =
        |url: &str| url::Url::parse(url).unwrap().query_pairs().find(|(k, _)| k == "code").unwrap().1.into_owned();
    let injected = own.replace(&code(&own), &code(&stolen));
    let answer = attacker.finish_login(&injected).await.expect_status(400);
    assert_eq!(answer.header("bowerbird-error"), Some("token_exchange_failed"));
    assert_eq!(attacker.jar.get("sid"), None);
}

#[tokio::test]
async fn row_14_no_redirect_repeats_a_method_or_body() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let begun = visitor.submit("/login", &[("handle", "alice.test")]).await;
    assert_eq!(begun.status, 303);
    let callback = visitor.authorize(begun.location()).await;
    assert_eq!(visitor.finish_login(&callback).await.status, 303);
}

#[tokio::test]
async fn row_16_a_person_is_never_sent_to_a_script() {
    for target in ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://user@evil.example/"] {
        let house = House::open().await;
        house.network.add_account("alice.test");
        let patch = Misbehave::merge(json!({"authorization_endpoint": target}));
        house.network.authorization_server().server().misbehave(endpoint::AUTHORIZATION_SERVER, patch);
        let answer = house.visitor().try_start_login("alice.test").await.expect_status(502);
        assert_eq!(answer.header("bowerbird-error"), Some("as_metadata_invalid"), "{target}");
        assert_eq!(answer.header("location"), None);
    }
}

#[tokio::test]
async fn row_19_a_server_cannot_speak_for_an_account_elsewhere() {
    let house = House::open().await;
    let victim = house.network.add_account("victim.test");
    let mut victims_browser = house.visitor_as(&victim).await;
    let before = house.stores.accounts.find_by_did(&Did::parse(&victim.did).unwrap()).await.unwrap().unwrap();

    house.evil.approve_as(&victim.did);
    let mut attacker = house.visitor();
    let answer = attacker.login(house.evil.issuer()).await.expect_status(403);
    assert_eq!(answer.header("bowerbird-error"), Some("issuer_mismatch"));
    assert_eq!(attacker.jar.get("sid"), None);

    let after = house.stores.accounts.find_by_did(&Did::parse(&victim.did).unwrap()).await.unwrap().unwrap();
    assert_eq!(after, before);
    victims_browser.get("/xrpc/com.atproto.server.getSession").await.must_be(200);
    house.network.ledger().assert_no_strangers_secrets_at(house.evil.issuer());
}

#[tokio::test]
async fn a_server_cannot_answer_for_another_account_than_the_one_asked_for() {
    let house = House::open().await;
    let victim = house.network.add_account("victim.test");
    house.network.add_account("mallory.test");
    house.network.authorization_server().approve_as(&victim.did);
    let mut attacker = house.visitor();
    let answer = attacker.login("mallory.test").await.expect_status(403);
    assert_eq!(answer.header("bowerbird-error"), Some("account_mismatch"));
    assert_eq!(attacker.jar.get("sid"), None);
}

#[tokio::test]
async fn row_20_a_repair_link_brings_back_no_other_account() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    let id = house.id_of(&alice).await;
    let page = visitor.get(&format!("/login/repair/{id}")).await.expect_status(302);
    house.network.authorization_server().approve_as(&bob.did);
    let callback = visitor.authorize(page.location()).await;
    let answer = visitor.finish_login(&callback).await.expect_status(403);
    assert_eq!(answer.header("bowerbird-error"), Some("account_mismatch"));
    assert!(house.stores.accounts.find_by_did(&Did::parse(&bob.did).unwrap()).await.unwrap().is_none());
    // The session from before is untouched.
    assert_eq!(visitor.session().await.expect_status(200).json()["did"], alice.did.as_str());
}
