//! A person who did not begin the sign-in of an app says so on the page that names it (row 64).

use bowerbird_testkit::fault::FaultAccount;
use bowerbird_testkit::http_client::{Answer, TestRequest};
use serde_json::{Value, json};

use crate::support::{House, Must as _, hidden};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const DECLINE: &str = "/mobile-auth/decline";

async fn exchange(house: &House, code: &str) -> Answer {
    let body = json!({"code": code, "code_verifier": VERIFIER});
    house.client().send(TestRequest::post_json(&house.url("/api/auth/tokens"), &body)).await
}

/// An app, or whoever says that it is one, begins by itself; the page that the person is shown at the end.
async fn page_of(house: &House, account: &FaultAccount, path: &str, session: Option<&str>) -> String {
    let mut body = json!({"handle": account.handle, "code_challenge": CHALLENGE});
    if path == "/api/auth/start" {
        body["code_challenge_method"] = json!("S256");
    }
    let mut request = TestRequest::post_json(&house.url(path), &body);
    if let Some(seal) = session {
        request = request.header("authorization", &format!("Bearer {seal}"));
    }
    let begun = house.client().send(request).await.expect_status(200).json();
    let mut visitor = house.visitor();
    let callback = visitor.authorize(begun["authUrl"].as_str().unwrap()).await;
    visitor.finish_login(&callback).await.expect_status(200).text()
}

async fn accounts_of(house: &House, seal: &str) -> Answer {
    let request = TestRequest::get(&house.url("/api/accounts")).header("authorization", &format!("Bearer {seal}"));
    house.client().send(request).await
}

fn dids(accounts: &Value) -> Vec<&str> {
    accounts["accounts"].as_array().unwrap().iter().map(|account| account["did"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn row_64_a_declined_code_is_worth_nothing_and_its_grant_is_given_back() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let code = hidden(&page_of(&house, &alice, "/api/auth/start", None).await, "code");
    assert_eq!(house.network.authorization_server().live_grants(&alice.did), 1);
    let mut visitor = house.visitor();
    let said = visitor.submit(DECLINE, &[("code", &code)]).await.expect_status(200);
    assert!(said.text().contains("Nothing was handed over"));
    assert!(!said.text().contains(&code) && said.header_all("set-cookie").is_empty());
    let late = exchange(&house, &code).await;
    assert_eq!((late.status, late.header("bowerbird-error")), (400, Some("code_invalid")));
    house.wait_for_grants(&alice, 0).await;
    // Twice, and after the app has it: it is over, and what the app has stays.
    visitor.submit(DECLINE, &[("code", &code)]).await.must_be(400);
    let code = hidden(&page_of(&house, &alice, "/api/auth/start", None).await, "code");
    let tokens = exchange(&house, &code).await.expect_status(200).json();
    let late = visitor.submit(DECLINE, &[("code", &code)]).await.expect_status(400);
    assert!(late.text().contains("Your devices"), "it says where to look: {}", late.text());
    accounts_of(&house, tokens["accessToken"].as_str().unwrap()).await.must_be(200);
}

#[tokio::test]
async fn row_64_declining_takes_no_grant_from_a_device_that_has_the_account() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut browser = house.visitor_as(&alice).await;
    let code = hidden(&page_of(&house, &alice, "/api/auth/start", None).await, "code");
    browser.submit(DECLINE, &[("code", &code)]).await.must_be(200);
    exchange(&house, &code).await.must_be(400);
    let called = browser.get("/xrpc/com.atproto.server.getSession").await;
    assert_eq!(called.status, 200, "the person's own device goes on: {}", called.text());
}

#[tokio::test]
async fn row_64_a_declined_session_of_the_older_contract_is_over() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = hidden(&page_of(&house, &alice, "/api/auth/mobile-start", None).await, "session_token");
    accounts_of(&house, &seal).await.must_be(200);
    house.visitor().submit(DECLINE, &[("session_token", &seal)]).await.must_be(200);
    accounts_of(&house, &seal).await.must_be(401);
    house.wait_for_grants(&alice, 0).await;
    house.visitor().submit(DECLINE, &[("session_token", &seal)]).await.must_be(400);

    // Where the app had a session, only what was to be added is taken off it.
    let bob = house.network.add_account("bob.test");
    let present = house.visitor_as(&bob).await.seal().unwrap();
    let both = hidden(&page_of(&house, &alice, "/api/auth/mobile-start", Some(&present)).await, "session_token");
    let accounts = accounts_of(&house, &both).await.expect_status(200).json();
    assert_eq!(dids(&accounts), [bob.did.as_str(), alice.did.as_str()]);
    house.visitor().submit(DECLINE, &[("session_token", &both)]).await.must_be(200);
    let accounts = accounts_of(&house, &both).await.expect_status(200).json();
    assert_eq!(dids(&accounts), [bob.did.as_str()]);
    house.wait_for_grants(&alice, 0).await;
    house.wait_for_grants(&bob, 1).await;
}

#[tokio::test]
async fn row_59_no_page_of_another_site_declines_for_a_person() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let code = hidden(&page_of(&house, &alice, "/api/auth/start", None).await, "code");
    let request = TestRequest::post_form(&house.url(DECLINE), &[("code", &code)]);
    let foreign = request.header("origin", "https://evil.example").header("sec-fetch-site", "cross-site");
    house.client().send(foreign).await.must_be(403);
    for fields in
        [&[][..], &[("code", "x")], &[("session_token", "Fe26.2*bad")], &[("code", &*code), ("session_token", "x")]]
    {
        house.visitor().submit(DECLINE, fields).await.must_be(400);
    }
    exchange(&house, &code).await.must_be(200);
}

#[tokio::test]
async fn a_session_in_an_address_is_written_down_for_the_operator_and_a_code_is_not() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let code = hidden(&page_of(&house, &alice, "/api/auth/start", None).await, "code");
    exchange(&house, &code).await.must_be(200);
    assert_eq!(house.stores.older_contract.list().await.unwrap(), []);
    // Nor is one that was begun and not ended, or a page that was only looked at: anybody can do that.
    let body = json!({"handle": "alice.test", "code_challenge": CHALLENGE});
    house.client().send(TestRequest::post_json(&house.url("/api/auth/mobile-start"), &body)).await.must_be(200);
    house.visitor().get("/mobile-auth").await.must_be(200);
    assert_eq!(house.stores.older_contract.list().await.unwrap(), []);
    for _ in 0..2 {
        page_of(&house, &alice, "/api/auth/mobile-start", None).await;
    }
    let uses = house.stores.older_contract.list().await.unwrap();
    assert_eq!((uses.len(), uses[0].address.as_str(), uses[0].times), (1, "app://auth-callback", 2));
}
