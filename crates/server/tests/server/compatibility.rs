//! The documented contract of the older clients, byte for byte: rows A-010 to A-017, A-046.

use bowerbird_core::Did;
use bowerbird_testkit::http_client::TestRequest;

use crate::support::{House, Plan};

#[tokio::test]
async fn the_documented_bodies() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    let hide = |text: String| text.replace(&alice.did, "did:plc:alice");

    let nobody = house.visitor();
    let text = async |path: &str| {
        let mut nobody = nobody.clone();
        nobody.get(path).await.expect_status(401).text()
    };
    insta::assert_snapshot!(text("/api/auth/session").await, @r#"{"valid":false,"error":"Session invalid or expired","reason":"session_invalid"}"#);
    insta::assert_snapshot!(text("/validate-session").await, @r#"{"valid":false}"#);
    insta::assert_snapshot!(text("/api/accounts").await, @r#"{"error":"Authentication required","message":"Please log in again","code":"SESSION_EXPIRED"}"#);
    insta::assert_snapshot!(text("/xrpc/app.bsky.feed.getTimeline").await, @r#"{"error":"Authentication required","message":"Please log in again","code":"SESSION_EXPIRED"}"#);
    insta::assert_snapshot!(hide(visitor.get("/validate-session").await.expect_status(200).text()), @r#"{"valid":true,"did":"did:plc:alice","handle":"alice.test"}"#);
    insta::assert_snapshot!(visitor.post("/api/auth/logout", &serde_json::json!({})).await.text(), @r#"{"success":true}"#);
}

#[tokio::test]
async fn a_session_whose_account_is_gone_says_so() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    let account = house.stores.accounts.find_by_did(&Did::parse(&alice.did).unwrap()).await.unwrap().unwrap();
    house.stores.accounts.remove(account.id).await.unwrap();
    // As when `bowerbird accounts remove` runs beside the server: seen within the second.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let answer = visitor.session().await.expect_status(401);
    assert!(
        matches!(answer.json()["reason"].as_str(), Some("oauth_data_missing" | "session_invalid")),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_dead_cookie_is_taken_away() {
    let house = House::open().await;
    let request = TestRequest::get(&house.url("/xrpc/app.bsky.feed.getTimeline")).header("cookie", "sid=dead");
    let answer = house.client().send(request).await.expect_status(401);
    assert_eq!(answer.header_all("set-cookie"), ["sid=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]);
}

#[tokio::test]
async fn decision_4_tokens_are_shown_only_when_switched_on() {
    let house = House::build(Plan { expose_tokens: true, ..Plan::default() }).await;
    let alice = house.network.add_account("alice.test");
    let body = house.visitor_as(&alice).await.session().await.expect_status(200).json();
    assert!(body["accessToken"].as_str().unwrap().len() > 8);
    assert!(body["refreshToken"].is_null());

    let house = House::build(Plan { expose_tokens: true, public: true, ..Plan::default() }).await;
    let alice = house.network.add_account("alice.test");
    let body = house.visitor_as(&alice).await.session().await.expect_status(200).json();
    assert!(body["accessToken"].is_null(), "never away from loopback");
}
