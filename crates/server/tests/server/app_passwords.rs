//! Accounts that sign in with an app password: rows 75, 76 and D-010.

use bowerbird_testkit::fault::{CanaryKind, FaultAccount, PasswordKind};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::injections::{SCRIPTS, tags};
use serde_json::{Value, json};

use crate::support::{House, Must as _, Plan, hidden};

const ROUTE: &str = "/api/accounts/app-password";
const FORM: &str = "/accounts/app-password";
const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";

fn app_password(house: &House, account: &FaultAccount) -> String {
    house.network.pds().add_password(&account.did, PasswordKind::App)
}

fn body(identifier: &str, password: &str) -> Value {
    json!({"identifier": identifier, "password": password})
}

/// How often a password was shown to anybody.
fn shown(house: &House) -> usize {
    house.network.ledger().presented(CanaryKind::Password).len()
}

#[tokio::test]
async fn a_device_without_a_session_gets_one() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let password = app_password(&house, &alice);
    let mut visitor = house.visitor();
    let answer = visitor.post(ROUTE, &body("@Alice.test", &format!(" {password}\n"))).await.expect_status(200);
    assert!(!answer.text().contains(&password));
    let account = answer.json();
    let id = house.id_of(&alice).await;
    for (name, value) in [
        ("id", id.as_str()),
        ("did", &alice.did),
        ("handle", "alice.test"),
        ("status", "ok"),
        ("authType", "app_password"),
        ("scope", "com.atproto.appPass"),
        ("pds", house.network.pds().origin()),
        ("upgradeUrl", &house.url(&format!("/login/repair/{id}"))),
    ] {
        assert_eq!(account[name], value, "{name}: {account}");
    }
    assert_eq!(account["active"], true);
    assert!(account.get("seal").is_none(), "the seal is a cookie here");
    assert_eq!(visitor.session().await.expect_status(200).json()["did"], alice.did.as_str());
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());
    assert_eq!(visitor.get("/api/accounts").await.json()["accounts"], json!([account]));
    let health = visitor.get("/api/tokens/health").await.expect_status(200).json()[0].clone();
    assert_eq!((&health["authType"], &health["upgradeLink"]), (&json!("app_password"), &account["upgradeUrl"]));
    assert_eq!(health["isValid"], true);

    house.network.pds().expire_app_access_tokens();
    assert_eq!(visitor.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());
    assert_eq!(shown(&house), 1, "the password is not needed again");
    visitor.post("/api/auth/logout", &json!({})).await.must_be(200);
    wait_for_sessions(&house, &alice, 0).await;
    visitor.get(GET_SESSION).await.must_be(401);
    house.network.assert_clean();
}

async fn wait_for_sessions(house: &House, account: &FaultAccount, expected: usize) {
    for _ in 0..200 {
        if house.network.pds().app_sessions_of(&account.did) == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} sessions are alive", house.network.pds().app_sessions_of(&account.did));
}

#[tokio::test]
async fn an_account_is_added_beside_one_that_signed_in_by_oauth() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let password = app_password(&house, &bob);
    let mut visitor = house.visitor_as(&alice).await;
    let before = visitor.seal().unwrap();
    visitor.post(ROUTE, &body(&bob.did, &password)).await.must_be(200);
    let old = TestRequest::get(&house.url("/api/auth/session")).header("authorization", &format!("Bearer {before}"));
    house.client().send(old).await.must_be(401);
    let listed = visitor.get("/api/accounts").await.json();
    let kinds: Vec<_> = listed["accounts"].as_array().unwrap().iter().map(|one| one["authType"].clone()).collect();
    assert_eq!(kinds, ["oauth", "app_password"]);
    assert!(listed["accounts"][0].get("upgradeUrl").is_none(), "{listed}");

    let app = house.app_of(&visitor);
    for account in [&alice, &bob] {
        let call = TestRequest::get(&app.url(GET_SESSION)).header("bowerbird-account", &account.did);
        assert_eq!(app.send(call).await.expect_status(200).json()["did"], account.did.as_str());
    }
    visitor.post(&format!("/api/accounts/{}/activate", alice.did), &json!({})).await.must_be(200);
    assert_eq!(visitor.get(GET_SESSION).await.json()["did"], alice.did.as_str());
    visitor.delete(&format!("/api/accounts/{}", bob.did)).await.must_be(200);
    wait_for_sessions(&house, &bob, 0).await;
    house.wait_for_grants(&alice, 1).await;
    house.network.assert_clean();
}

#[tokio::test]
async fn an_app_gets_its_new_seal_in_the_answer_and_another_device_gets_nothing() {
    let house = House::open().await;
    let names = ["alice.test", "bob.test", "carla.test"];
    let [alice, bob, carla] = names.map(|name| house.network.add_account(name));
    let password = app_password(&house, &bob);
    let app = house.app_of(&house.visitor_as(&alice).await);
    let answer = app.post(ROUTE, &body("bob.test", &password)).await.expect_status(200);
    assert_eq!(answer.header("set-cookie"), None);
    app.get("/api/auth/session").await.must_be(401);
    let seal = answer.json()["seal"].as_str().unwrap().to_owned();
    let ask = TestRequest::get(&house.url(GET_SESSION)).header("authorization", &format!("Bearer {seal}"));
    assert_eq!(house.client().send(ask).await.expect_status(200).json()["did"], bob.did.as_str());

    let other = house.app_of(&house.visitor_as(&carla).await);
    for name in [bob.did.clone(), house.id_of(&bob).await] {
        for path in [GET_SESSION, "/api/tokens/health"] {
            let stranger = TestRequest::get(&other.url(path)).header("bowerbird-account", &name);
            other.send(stranger).await.must_be(404);
        }
        other.post(&format!("/api/accounts/{name}/activate"), &json!({})).await.must_be(404);
        other.get(&format!("/login/repair/{name}")).await.must_be(404);
    }
}

#[tokio::test]
async fn row_75_of_a_thousand_tries_the_server_sees_five() {
    let house = House::build(Plan { trusted_proxies: vec!["127.0.0.1".to_owned()], ..Plan::default() }).await;
    let alice = house.network.add_account("alice.test");
    let spellings = ["alice.test", "@alice.test", "ALICE.TEST", "at://alice.test", " Alice.test ", &alice.did];
    let visitor = house.visitor();
    let mut refused = 0;
    for number in 0..1000_u32 {
        let [_, _, a, b] = number.to_be_bytes();
        let typed = spellings[number as usize % spellings.len()];
        let request = TestRequest::post_json(&house.url(ROUTE), &body(typed, &format!("guess-{number}")));
        let request = visitor.from_own_page(request).header("x-forwarded-for", &format!("10.0.{a}.{b}"));
        let answer = house.client().send(request).await;
        if answer.status == 429 {
            assert_eq!(answer.json()["error"], "rate_limited");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=901).contains(&wait), "{wait}");
            refused += 1;
        } else {
            assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("app_password_invalid")));
        }
    }
    assert_eq!(refused, 995);
    assert_eq!(house.network.pds().calls("com.atproto.server.createSession"), 5);
    assert_eq!(shown(&house), 5);
}

#[tokio::test]
async fn row_75_a_network_tries_twenty_accounts_and_nothing_is_sent_for_more() {
    let house = House::open().await;
    let mut visitor = house.visitor();
    let mut answers = Vec::new();
    for number in 0..30 {
        let name = format!("user{number}.test");
        house.network.add_account(&name);
        if number == 20 {
            house.network.clear_logs();
        }
        answers.push(visitor.post(ROUTE, &body(&name, "guess")).await.status);
    }
    assert_eq!(answers, [[401; 20].as_slice(), &[429; 10]].concat());
    assert_eq!(house.sent(), Vec::<String>::new(), "not even a lookup");
}

#[tokio::test]
async fn row_76_the_main_password_is_refused_and_its_session_ended() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let password = house.network.pds().add_password(&alice.did, PasswordKind::Main);
    let mut visitor = house.visitor();
    let answer = visitor.post(ROUTE, &body("alice.test", &password)).await.expect_status(401);
    assert_eq!(answer.json()["error"], "app_password_required");
    assert_eq!(answer.header("bowerbird-error"), Some("app_password_required"));
    let page = visitor.submit(FORM, &[("identifier", "alice.test"), ("password", &password)]).await.expect_status(401);
    assert!(page.text().contains("main password") && page.text().contains("app_password_required"), "{}", page.text());
    assert!(!answer.text().contains(&password) && !page.text().contains(&password));
    assert_eq!(visitor.seal(), None);
    let pds = house.network.pds();
    assert_eq!((pds.calls("com.atproto.server.createSession"), pds.calls("com.atproto.server.deleteSession")), (2, 2));
    assert_eq!(pds.app_sessions_of(&alice.did), 0);
    assert!(house.stores.accounts.list(None, 10).await.unwrap().is_empty(), "nothing is stored");
}

#[tokio::test]
async fn the_form_works_without_script() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let (of_alice, of_bob) = (app_password(&house, &alice), app_password(&house, &bob));
    let mut visitor = house.visitor();
    let page = visitor.get("/").await.text();
    assert!(page.contains("Sign in with an app password") && !page.contains("<details class=\"other\" open"), "{page}");
    let fields = [("identifier", "alice.test"), ("password", &of_alice), ("redirect", "/docs")];
    let answer = visitor.submit(FORM, &fields).await.expect_status(303);
    assert_eq!(answer.location(), "/docs");
    let page = visitor.get("/").await.text();
    assert!(page.contains("Upgrade to OAuth") && page.contains("an app password"), "{page}");

    let csrf = hidden(&page, "csrf");
    let without = visitor.submit(FORM, &[("identifier", "bob.test"), ("password", &of_bob)]).await.expect_status(403);
    assert_eq!(without.header("bowerbird-error"), Some("form_expired"));
    let fields = [("csrf", csrf.as_str()), ("identifier", "bob.test"), ("password", &of_bob)];
    assert_eq!(visitor.submit(FORM, &fields).await.expect_status(303).location(), "/");
    assert_eq!(visitor.get("/api/accounts").await.json()["accounts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_form_that_fails_comes_back_without_the_password() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let password = app_password(&house, &alice);
    let mut visitor = house.visitor();
    let mut submit = async |password: &str, code: &str| -> Answer {
        let fields = [
            ("identifier", "alice.test"),
            ("password", password),
            ("authFactorToken", code),
            ("redirect", "https://evil.example/"),
        ];
        visitor.submit(FORM, &fields).await
    };
    let wrong = submit("wrong-password-canary", "").await.expect_status(401).text();
    assert!(wrong.contains("<details class=\"other\" open") && wrong.contains("value=\"alice.test\""), "{wrong}");
    assert!(!wrong.contains("wrong-password-canary") && !wrong.contains("Code from the mail"), "{wrong}");
    assert!(!wrong.contains("evil.example"), "{wrong}");
    house.network.pds().require_auth_factor(&alice.did, "ABCDE-12345");
    let asks = submit(&password, "").await.expect_status(401).text();
    assert!(asks.contains("Code from the mail") && !asks.contains(&password), "{asks}");
    let wrong = submit(&password, "XXXXX-00000").await.expect_status(401).text();
    assert!(wrong.contains("Code from the mail") && !wrong.contains("XXXXX-00000"), "{wrong}");
    assert_eq!(submit(&password, "ABCDE-12345").await.expect_status(303).location(), "/");
}

#[tokio::test]
async fn row_78_what_is_typed_adds_nothing_to_the_page() {
    let house = House::open().await;
    let mut visitor = house.visitor();
    let mut plain = None;
    for text in std::iter::once(&"alice").chain(SCRIPTS) {
        let page = visitor.submit(FORM, &[("identifier", text), ("password", text)]).await.expect_status(400).text();
        let found = tags(&page);
        assert_eq!(&found, plain.get_or_insert_with(|| found.clone()), "{text:?} changed the page:\n{page}");
    }
    assert_eq!(house.sent(), Vec::<String>::new());
}

#[tokio::test]
async fn d_010_an_upgrade_keeps_the_account_and_its_devices() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let password = app_password(&house, &alice);
    let (mut phone, mut laptop) = (house.visitor(), house.visitor());
    for device in [&mut phone, &mut laptop] {
        device.post(ROUTE, &body("alice.test", &password)).await.must_be(200);
    }
    wait_for_sessions(&house, &alice, 1).await;
    let listed = phone.get("/api/accounts").await.json()["accounts"][0].clone();
    let upgrade = listed["upgradeUrl"].as_str().unwrap();

    // Another account cannot come back from it, and nothing is lost by a person who says no.
    house.network.authorization_server().approve_as(&bob.did);
    let begun = phone.get(upgrade).await.expect_status(302);
    let callback = phone.authorize(begun.location()).await;
    let mismatch = phone.finish_login(&callback).await.expect_status(403);
    assert_eq!(mismatch.header("bowerbird-error"), Some("account_mismatch"));
    assert_eq!(phone.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());
    house.network.authorization_server().approve_as(&alice.did);

    let begun = phone.get(upgrade).await.expect_status(302);
    let callback = phone.authorize(begun.location()).await;
    phone.finish_login(&callback).await.must_be(303);
    wait_for_sessions(&house, &alice, 0).await;
    house.wait_for_grants(&alice, 1).await;
    for device in [&mut phone, &mut laptop] {
        let account = device.get("/api/accounts").await.json()["accounts"][0].clone();
        for same in ["id", "did", "handle", "pds"] {
            assert_eq!(account[same], listed[same], "{same}");
        }
        assert_eq!((&account["authType"], &account["status"]), (&json!("oauth"), &json!("ok")));
        assert!(account.get("upgradeUrl").is_none(), "{account}");
        assert_eq!(device.get(GET_SESSION).await.expect_status(200).json()["did"], alice.did.as_str());
    }
    let did = bowerbird_core::Did::parse(&alice.did).unwrap();
    let account = house.stores.accounts.find_by_did(&did).await.unwrap().unwrap();
    assert_eq!(house.stores.connections.list(account.id).await.unwrap().len(), 1, "one connection, the same");

    // And there is no way back to the lesser access.
    let back = house.visitor().post(ROUTE, &body("alice.test", &password)).await.expect_status(409);
    assert_eq!(back.json()["error"], "connected_by_oauth");
    assert_eq!(house.network.pds().app_sessions_of(&alice.did), 0);
    house.network.assert_clean();
}

#[tokio::test]
async fn turned_off_they_are_nowhere_and_the_refusal_names_the_switch() {
    let house = House::build(Plan { no_app_passwords: true, ..Plan::default() }).await;
    let alice = house.network.add_account("alice.test");
    let password = app_password(&house, &alice);
    let mut visitor = house.visitor();
    house.network.clear_logs();
    let answer = visitor.post(ROUTE, &body("alice.test", &password)).await.expect_status(403).json();
    assert_eq!(answer["error"], "app_passwords_off");
    assert!(answer["hint"].as_str().unwrap().contains("BOWERBIRD_APP_PASSWORDS=true"), "{answer}");
    let page = visitor.submit(FORM, &[("identifier", "alice.test"), ("password", &password)]).await;
    let page = page.expect_status(403).text();
    assert!(page.contains("Your handle") && !page.contains("type=\"password\"") && !page.contains(&password), "{page}");
    assert!(!visitor.get("/").await.text().contains("app password"));
    assert_eq!(house.sent(), Vec::<String>::new());
    let mut signed_in = house.visitor_as(&alice).await;
    assert!(!signed_in.get("/").await.text().contains("app password"));
}

#[tokio::test]
async fn row_59_nobody_is_signed_in_by_a_page_of_another_site() {
    let house = House::open().await;
    let mallory = house.network.add_account("mallory.test");
    let password = app_password(&house, &mallory);
    house.network.clear_logs();
    let json = TestRequest::post_json(&house.url(ROUTE), &body("mallory.test", &password));
    let form = TestRequest::post_form(&house.url(FORM), &[("identifier", "mallory.test"), ("password", &password)]);
    for request in [json.clone().header("bowerbird-csrf", "1"), form] {
        for header in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let answer = house.client().send(request.clone().header(header.0, header.1)).await;
            assert_eq!((answer.status, answer.header("bowerbird-error")), (403, Some("cross_site_request")));
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    let bare = house.client().send(json.clone()).await.expect_status(403);
    assert_eq!(bare.header("bowerbird-error"), Some("csrf_header_missing"));
    assert_eq!(house.sent(), Vec::<String>::new());
    // A program that is no browser, with the header: as documented.
    house.client().send(json.header("bowerbird-csrf", "1")).await.must_be(200);
}

#[tokio::test]
async fn a_bearer_that_is_no_good_is_told_so_and_an_old_cookie_is_not_in_the_way() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let password = app_password(&house, &alice);
    let json = TestRequest::post_json(&house.url(ROUTE), &body("alice.test", &password)).header("bowerbird-csrf", "1");
    house.client().send(json.clone().header("authorization", "Bearer Fe26.2*bad")).await.must_be(401);
    assert_eq!(shown(&house), 0);
    let twice = json.clone().header("cookie", "sid=Fe26.2*a; sid=Fe26.2*b").header("sec-fetch-site", "same-origin");
    house.client().send(twice).await.must_be(400);
    let old = json.header("cookie", "sid=Fe26.2*bad").header("sec-fetch-site", "same-origin");
    house.client().send(old).await.must_be(200);
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_and_not_repeated() {
    let house = House::open().await;
    let mut visitor = house.visitor();
    for (body, code) in [
        (json!({"identifier": "alice.test"}), "invalid_json"),
        (json!({"identifier": "alice.test", "password": ""}), "invalid_request"),
        (json!({"identifier": "alice.test", "password": "canary".repeat(100)}), "invalid_request"),
        (json!({"identifier": "alice.test", "password": ["canary"]}), "invalid_json"),
        (json!({"identifier": "not a handle", "password": "canary"}), "invalid_handle"),
        (json!({"identifier": house.network.pds().origin(), "password": "canary"}), "invalid_handle"),
    ] {
        let answer = visitor.post(ROUTE, &body).await.expect_status(400);
        assert_eq!(answer.json()["error"], code, "{body}");
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    assert_eq!(shown(&house), 0);
}
