//! Several accounts on one device: rows D-005 to D-008, D-011, and the buttons of the page.

use serde_json::json;

use crate::support::{House, Must as _, hidden};

#[tokio::test]
async fn accounts_are_listed_switched_and_removed() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;

    let begun = visitor.post("/api/accounts", &json!({"handle": "bob.test"})).await.expect_status(200).json();
    assert_eq!(begun["handle"], "bob.test");
    let callback = visitor.authorize(begun["authUrl"].as_str().unwrap()).await;
    visitor.finish_login(&callback).await.must_be(303);

    let listed = visitor.get("/api/accounts").await.expect_status(200).json();
    let accounts = listed["accounts"].as_array().unwrap();
    let brief: Vec<_> =
        accounts.iter().map(|a| (a["handle"].clone(), a["active"].clone(), a["status"].clone())).collect();
    assert_eq!(
        brief,
        [(json!("alice.test"), json!(false), json!("ok")), (json!("bob.test"), json!(true), json!("ok"))]
    );
    assert_eq!(accounts[0]["scope"], "atproto transition:generic");
    assert_eq!(accounts[0]["pds"], house.network.pds().origin());

    let id = house.id_of(&alice).await;
    visitor.post(&format!("/api/accounts/{id}/activate"), &json!({})).await.must_be(200);
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());
    // By DID too.
    visitor.post(&format!("/api/accounts/{}/activate", bob.did), &json!({})).await.must_be(200);
    assert_eq!(visitor.session().await.json()["did"], bob.did.as_str());

    visitor.delete(&format!("/api/accounts/{}", house.id_of(&bob).await)).await.must_be(200);
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());
    house.wait_for_grants(&bob, 0).await;
    house.wait_for_grants(&alice, 1).await;
    visitor.delete(&format!("/api/accounts/{id}")).await.must_be(200);
    assert_eq!(visitor.jar.get("sid"), None, "the last account took the session with it");
    house.network.assert_clean();
}

#[tokio::test]
async fn row_74_the_same_account_on_two_devices() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let (mut phone, mut laptop) = (house.visitor_as(&alice).await, house.visitor_as(&alice).await);
    phone.post("/api/auth/logout", &json!({})).await.must_be(200);
    phone.session().await.must_be(401);
    laptop.session().await.must_be(200);
    laptop.get("/xrpc/com.atproto.server.getSession").await.must_be(200);
    house.wait_for_grants(&alice, 1).await;
    laptop.post("/api/auth/logout", &json!({})).await.must_be(200);
    house.wait_for_grants(&alice, 0).await;
    house.network.assert_clean();
}

#[tokio::test]
async fn the_buttons_of_the_page_do_the_same_without_script() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    let csrf = hidden(&visitor.get("/").await.text(), "csrf");
    let begun = visitor.submit("/accounts/add", &[("csrf", &csrf), ("handle", "bob.test")]).await.expect_status(303);
    let callback = visitor.authorize(begun.location()).await;
    visitor.finish_login(&callback).await.must_be(303);

    let page = visitor.get("/").await.text();
    let csrf = hidden(&page, "csrf");
    assert!(page.contains("@alice.test") && page.contains("@bob.test"), "{page}");
    let id = house.id_of(&alice).await;
    let answer = visitor.submit("/accounts/switch", &[("csrf", &csrf), ("account", &id)]).await.expect_status(303);
    assert_eq!(answer.location(), "/");
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());

    let of_bob = house.id_of(&bob).await;
    visitor.submit("/accounts/remove", &[("csrf", &csrf), ("account", &of_bob)]).await.must_be(303);
    assert!(!visitor.get("/").await.text().contains("bob.test"));
    visitor.submit("/sign-out", &[("csrf", &csrf)]).await.must_be(303);
    assert_eq!(visitor.jar.get("sid"), None);
    assert!(visitor.get("/").await.text().contains("Your handle"));
    let late = visitor.submit("/sign-out", &[("csrf", &csrf)]).await.expect_status(401);
    assert!(late.text().contains("signed out"), "{}", late.text());
}

#[tokio::test]
async fn a_withdrawn_grant_is_shown_with_its_repair() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    house.network.authorization_server().revoke_all_of(&alice.did);
    let id = house.id_of(&alice).await;
    let answer = visitor.get("/xrpc/com.atproto.server.getSession").await.expect_status(401);
    let body = answer.json();
    assert_eq!((&body["error"], &body["reason"]), (&json!("needs_reauth"), &json!("revoked")), "{body}");
    assert_eq!(body["repairUrl"], house.url(&format!("/login/repair/{id}")));
    assert_eq!(answer.header("bowerbird-error"), Some("needs_reauth"));

    let listed = visitor.get("/api/accounts").await.json();
    assert_eq!(listed["accounts"][0]["status"], "needs_reauth");
    assert_eq!(listed["accounts"][0]["reason"], "revoked");
    let page = visitor.get("/").await.text();
    assert!(page.contains(&format!("/login/repair/{id}")), "{page}");

    let begun = visitor.get(&format!("/login/repair/{id}")).await.expect_status(302);
    let callback = visitor.authorize(begun.location()).await;
    visitor.finish_login(&callback).await.must_be(303);
    visitor.get("/xrpc/com.atproto.server.getSession").await.must_be(200);
    assert_eq!(visitor.get("/api/accounts").await.json()["accounts"][0]["status"], "ok");
    house.network.assert_clean();
}
