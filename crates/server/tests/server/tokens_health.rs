//! How tokens stand: row E-015.

use bowerbird_core::ports::Cas;
use bowerbird_core::{CredentialState, Did, NeedsReauth, Platform, Schedule};
use bowerbird_testkit::http_client::TestRequest;
use serde_json::json;

use crate::support::{House, Must as _};

#[tokio::test]
async fn fresh_tokens_are_valid_and_say_for_how_long() {
    let house = House::open().await;
    house.network.authorization_server().set_access_seconds(1000);
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    house.network.clear_logs();
    let answer = app.get("/api/tokens/health").await.expect_status(200);
    let health = &answer.json()[0];
    assert_eq!(answer.json().as_array().unwrap().len(), 1);
    assert_eq!(health["platform"], "atproto");
    assert_eq!((&health["isValid"], &health["needsRefresh"]), (&json!(true), &json!(false)));
    let left = health["expiresIn"].as_i64().unwrap();
    assert!((801..=1000).contains(&left), "{left}");
    assert_eq!(health["state"], "ok");
    for absent in ["lastRefreshed", "error", "reason", "repairLink"] {
        assert!(health.get(absent).is_none(), "{absent}: {health}");
    }
    let due: jiff::Timestamp = health["refreshesAt"].as_str().unwrap().parse().unwrap();
    assert!(due.as_millisecond() > house.clock.now().as_millis());
    let alias = app.get("/api/social/tokens/health").await.expect_status(200);
    assert_eq!(alias.json()[0]["platform"], "atproto");
    assert_eq!(house.sent(), Vec::<String>::new(), "asking renews nothing");
    house.network.assert_clean();
}

#[tokio::test]
async fn what_needs_the_person_leads_to_exactly_that_account() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    let account = house.stores.accounts.find_by_did(&Did::parse(&alice.did).unwrap()).await.unwrap().unwrap();
    let connection =
        house.stores.connections.find(account.id, &Platform::atproto(), &alice.did).await.unwrap().unwrap();
    let record = house.stores.credentials.find(connection.id).await.unwrap().unwrap();
    let state = CredentialState::NeedsReauth(NeedsReauth::Revoked);
    let done = house.stores.credentials.set_state(connection.id, record.generation, &state, Schedule::default()).await;
    assert_eq!(done.unwrap(), Cas::Done);

    let health = app.get("/api/tokens/health").await.expect_status(200).json()[0].clone();
    assert_eq!((&health["isValid"], &health["state"]), (&json!(false), &json!("needs_reauth")));
    assert_eq!(health["reason"], "revoked");
    assert_eq!(health["error"], NeedsReauth::Revoked.explanation());
    assert_eq!(health["repairLink"], house.url(&format!("/login/repair/{}", account.id)));
    assert!(health.get("refreshesAt").is_none());

    let record = house.stores.credentials.find(connection.id).await.unwrap().unwrap();
    let removed = house.stores.credentials.remove(connection.id, record.generation).await;
    assert_eq!(removed.unwrap(), Cas::Done);
    let health = app.get("/api/tokens/health").await.expect_status(200).json()[0].clone();
    assert_eq!(health["error"], "No tokens found");
    assert_eq!((&health["expiresIn"], &health["needsRefresh"]), (&json!(0), &json!(false)));
}

#[tokio::test]
async fn another_account_is_told_only_when_it_is_on_the_device() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let app = house.app_of(&house.visitor_as(&alice).await);
    house.visitor_as(&bob).await;
    let ask = async |did: &str| {
        app.send(TestRequest::get(&app.url("/api/tokens/health")).header("bowerbird-account", did)).await
    };
    ask(&alice.did).await.must_be(200);
    ask(&bob.did).await.must_be(404);
}
