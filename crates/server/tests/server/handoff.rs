//! From a sign-in in a browser to an app: rows 61 to 65 of the attack catalogue, and the contracts of the apps.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::{AccountId, HandoffCodeHash, Redemption};
use bowerbird_server::HandoffMode;
use bowerbird_testkit::actors::App;
use bowerbird_testkit::fault::{Decision, endpoint};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::support::{House, Must as _, Plan};

/// As documented: 96 random bytes are 128 characters.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXkdBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXkdBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn right() -> Value {
    json!({"handle": "alice.test", "code_challenge": challenge(), "code_challenge_method": "S256"})
}

/// What a program sends: no cookie, no trace of a browser.
async fn post(house: &House, path: &str, body: &Value) -> Answer {
    house.client().send(TestRequest::post_json(&house.url(path), body)).await
}

async fn exchange(house: &House, body: &Value) -> Answer {
    post(house, "/api/auth/tokens", body).await
}

/// Begins at a route and gives the authorization page.
async fn start(house: &House, path: &str, body: &Value) -> String {
    let answer = post(house, path, body).await.expect_status(200);
    answer.json()["authUrl"].as_str().unwrap().to_owned()
}

/// Says yes at the account's server, and comes back as a program would: where the app would be sent.
async fn approve(house: &House, page: &str) -> Url {
    let callback = house.visitor().authorize(page).await;
    let answer = house.client().get(&callback).await.expect_status(302);
    assert_eq!(answer.header_all("set-cookie"), Vec::<&str>::new(), "the session is the app's, not the browser's");
    Url::parse(answer.location()).unwrap()
}

fn pair(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A whole sign-in by the newer route; gives the code.
async fn code(house: &House, body: &Value) -> String {
    let page = start(house, "/api/auth/start", body).await;
    pair(&approve(house, &page).await, "code").unwrap()
}

/// A whole sign-in with an exchange.
async fn signed_in(house: &House, handle: &str) -> Value {
    let code = code(house, &json!({"handle": handle})).await;
    exchange(house, &json!({"code": code})).await.expect_status(200).json()
}

fn app(house: &House, seal: &Value) -> App {
    App::new(house.client().clone(), &house.base_url, seal.as_str().unwrap())
}

fn error(answer: &Answer) -> (u16, &str, String) {
    let code = answer.header("bowerbird-error").unwrap_or_default();
    (answer.status, code, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

/// Of the contract of `/api/auth/start`, line by line: an app that knows no challenge.
#[tokio::test]
async fn the_newer_contract_word_by_word() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let begun = post(&house, "/api/auth/start", &json!({"handle": "alice.test"})).await.expect_status(200);
    assert_eq!(begun.json()["handle"], "alice.test");
    assert_eq!(begun.header_all("set-cookie"), Vec::<&str>::new());
    let link = approve(&house, begun.json()["authUrl"].as_str().unwrap()).await;
    assert!(link.as_str().starts_with("app://auth-callback?code="), "{link}");
    let code = pair(&link, "code").unwrap();
    assert_eq!(code.len(), 43, "256 random bits");

    house.network.clear_logs();
    let tokens = exchange(&house, &json!({"code": code})).await.expect_status(200);
    let body = tokens.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["accessToken", "did", "expiresIn", "handle", "pds", "refreshToken", "sid"]);
    assert_eq!((&body["did"], &body["handle"]), (&json!(alice.did), &json!("alice.test")));
    assert_eq!(body["pds"], house.network.pds().origin());
    assert_eq!(body["expiresIn"], 3600);
    assert_eq!(tokens.header_all("set-cookie"), Vec::<&str>::new());
    assert!(body["refreshToken"].as_str().unwrap().starts_with("bbr_"));
    for seal in ["accessToken", "sid"] {
        let text = body[seal].as_str().unwrap();
        assert!(text.starts_with("Fe26.2*") && text.ends_with("~2"), "{seal}: ours, not one of the account's server");
        let session = app(&house, &body[seal]).get("/api/auth/session").await.expect_status(200);
        assert_eq!(session.json()["did"], alice.did.as_str());
    }
    // The older name of the route; and a code works once.
    let again = post(&house, "/api/auth/mobile-token", &json!({"code": code})).await;
    assert_eq!(error(&again), (400, "code_invalid", "Invalid or expired code".to_owned()));
    assert_eq!(house.sent(), Vec::<String>::new(), "an exchange asks nobody");
    house.network.assert_clean();
}

#[tokio::test]
async fn the_errors_of_the_newer_contract() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    for body in
        [json!({}), json!({"handle": ""}), json!({"handle": " "}), json!({"handle": 7}), json!({"handle": null})]
    {
        let answer = post(&house, "/api/auth/start", &body).await;
        assert_eq!(error(&answer), (400, "invalid_handle", "Handle is required".to_owned()), "{body}");
    }
    let answer = post(&house, "/api/auth/start", &json!({"handle": "a..b"})).await;
    assert_eq!(error(&answer), (400, "invalid_handle", "Invalid handle".to_owned()));
    let answer = post(&house, "/api/auth/start", &json!({"handle": "nobody.test"})).await;
    assert_eq!((answer.status, answer.header("bowerbird-error")), (400, Some("handle_not_found")));
    for body in [json!({}), json!({"code": ""}), json!({"code": "a", "refreshToken": "b"})] {
        assert_eq!(exchange(&house, &body).await.status, 400, "{body}");
    }
    for forged in ["x", "", &"A".repeat(43), &"A".repeat(10_000), "\u{0}"] {
        assert_eq!(exchange(&house, &json!({"code": forged})).await.status, 400);
    }
    assert_eq!(house.network.authorization_server().server().count(endpoint::PAR), 0);
}

#[tokio::test]
async fn only_the_servers_that_the_operator_allows() {
    let house = House::build(Plan { allowed_pds: vec!["bsky.social".to_owned()], ..Plan::default() }).await;
    house.network.add_account("alice.test");
    let answer = post(&house, "/api/auth/start", &json!({"handle": "alice.test"})).await;
    let sentence = "Only Bluesky accounts (bsky.social PDS) are supported.";
    assert_eq!(error(&answer), (400, "pds_not_allowed", sentence.to_owned()));
    let older = post(&house, "/api/auth/mobile-start", &right()).await;
    assert_eq!(error(&older), (400, "pds_not_allowed", "Couldn't initiate login".to_owned()));
    assert_eq!(older.json()["message"], sentence);
    assert_eq!(house.network.authorization_server().server().count(endpoint::PAR), 0);
}

#[tokio::test]
async fn the_older_contract_word_by_word() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let body = json!({"handle": "alice.test", "code_challenge": challenge()});
    let begun = post(&house, "/api/auth/mobile-start", &body).await.expect_status(200).json();
    assert_eq!(begun["success"], true);
    let link = approve(&house, begun["authUrl"].as_str().unwrap()).await;
    assert!(link.as_str().starts_with("app://auth-callback?session_token=Fe26.2"), "{link}");
    let names: Vec<String> = link.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["session_token", "did", "handle"], "no token of the account's server");
    assert_eq!((pair(&link, "did"), pair(&link, "handle")), (Some(alice.did.clone()), Some("alice.test".to_owned())));
    // The app builds the cookie by itself.
    let cookie = format!("sid={}", pair(&link, "session_token").unwrap());
    let request = TestRequest::get(&house.url("/api/auth/session")).header("cookie", &cookie);
    let session = house.client().send(request).await.expect_status(200);
    assert_eq!(session.json()["did"], alice.did.as_str());
    assert!(session.header("set-cookie").unwrap().starts_with("sid=Fe26.2"), "answered under the name that was sent");
    house.network.assert_clean();
}

#[tokio::test]
async fn the_errors_of_the_older_contract() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let refused = async |body: Value| {
        let answer = post(&house, "/api/auth/mobile-start", &body).await.expect_status(400);
        assert_eq!(answer.json()["success"], false);
        answer.json()["error"].as_str().unwrap().to_owned()
    };
    for handle in [json!(null), json!(""), json!("alice"), json!(["alice.test"]), json!("a..b")] {
        assert_eq!(refused(json!({"handle": handle, "code_challenge": challenge()})).await, "Invalid handle");
    }
    for challenge in [json!(null), json!(""), json!("short"), json!(7)] {
        let body = json!({"handle": "alice.test", "code_challenge": challenge});
        assert_eq!(refused(body).await, "Missing code_challenge");
    }
    assert_eq!(
        refused(json!({"handle": "nobody.test", "code_challenge": challenge()})).await,
        "Couldn't initiate login"
    );
    assert_eq!(house.network.authorization_server().server().count(endpoint::PAR), 0);
}

#[tokio::test]
async fn row_62_whoever_saw_the_address_without_the_verifier_gets_nothing() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    for route in ["/api/auth/start", "/api/auth/mobile-start"] {
        let page = start(&house, route, &right()).await;
        let link = approve(&house, &page).await;
        assert_eq!(link.query_pairs().count(), 1, "a code and nothing else: {link}");
        let code = pair(&link, "code").unwrap();
        // The second sign-in gives the grant of the first one back, in the background.
        house.wait_for_grants(&alice, 1).await;
        house.network.clear_logs();
        let other = "x".repeat(43);
        for verifier in [json!(null), json!(other)] {
            let answer = exchange(&house, &json!({"code": code, "code_verifier": verifier})).await;
            assert_eq!(error(&answer), (400, "code_verifier_mismatch", "Invalid or expired code".to_owned()));
        }
        // Two wrong ones leave it to the right one.
        let good = json!({"code": code, "code_verifier": VERIFIER});
        let tokens = exchange(&house, &good).await.expect_status(200).json();
        app(&house, &tokens["accessToken"]).get("/api/auth/session").await.must_be(200);
        exchange(&house, &good).await.must_be(400);
        assert_eq!(house.sent(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn row_62_three_wrong_verifiers_burn_the_code() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let code = code(&house, &right()).await;
    let short = "short".to_owned();
    let with_challenge_itself = challenge();
    for verifier in [&short, &with_challenge_itself, &VERIFIER.to_lowercase()] {
        let answer = exchange(&house, &json!({"code": code, "codeVerifier": verifier})).await;
        assert_eq!((answer.status, answer.header("bowerbird-error")), (400, Some("code_verifier_mismatch")));
    }
    let late = exchange(&house, &json!({"code": code, "codeVerifier": VERIFIER})).await;
    assert_eq!(error(&late), (400, "code_invalid", "Invalid or expired code".to_owned()));
    let id = AccountId::parse(&house.id_of(&alice).await).unwrap();
    let devices = house.stores.device_sessions.list_for_account(id, house.clock.now()).await.unwrap();
    assert_eq!(devices, [], "nobody is signed in");
}

#[tokio::test]
async fn row_62_of_many_exchanges_at_once_one_works() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let code = code(&house, &right()).await;
    let body = json!({"code": code, "code_verifier": VERIFIER});
    let answers = futures_util::future::join_all((0..50).map(|_| exchange(&house, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)));
}

#[tokio::test]
async fn a_code_is_stored_as_a_hash_and_lasts_a_minute() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let hash = |code: &str| {
        HandoffCodeHash(Sha256::new().chain_update(b"bowerbird one-time code\0").chain_update(code).finalize().into())
    };
    let before = house.clock.now();
    let (early, late) = (code(&house, &right()).await, code(&house, &right()).await);
    let proof = challenge();
    let at = |code: &str, seconds: i64| {
        let (handoffs, now) = (house.stores.handoffs.clone(), house.clock.now().plus_seconds(seconds));
        let (hash, proof) = (hash(code), proof.clone());
        async move { handoffs.redeem(&hash, Some(&proof), now).await.unwrap() }
    };
    assert_eq!(at(&late, 60).await, Redemption::Unknown);
    let Redemption::Redeemed(left) = at(&early, 0).await else { panic!("it is there under its hash") };
    assert!(left.created_at >= before && left.expires_at == left.created_at.plus_seconds(60), "{left:?}");
}

#[tokio::test]
async fn a_verifier_that_was_never_announced_is_wrong() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let code = code(&house, &json!({"handle": "alice.test"})).await;
    let answer = exchange(&house, &json!({"code": code, "code_verifier": VERIFIER})).await;
    assert_eq!(answer.header("bowerbird-error"), Some("code_verifier_mismatch"));
    exchange(&house, &json!({"code": code})).await.must_be(200);
}

#[tokio::test]
async fn row_63_no_client_names_an_address_that_the_operator_did_not() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let foreign = [
        "javascript:alert(1)",
        "intent://auth#Intent;scheme=limit;end",
        "evil://auth",
        "limit://auth/../evil",
        "LIMIT://AUTH",
        "https://evil.example/auth",
        "//evil.example",
        "limit://auth@evil",
        "data:text/html,x",
        "limit://auth?",
        "limit://auth\r\n",
    ];
    for address in foreign {
        for route in ["/api/auth/start", "/api/auth/mobile-start"] {
            for name in ["redirect_uri", "redirectUri"] {
                let mut body = right();
                body[name] = json!(address);
                let answer = post(&house, route, &body).await.expect_status(400);
                assert_eq!(answer.header("bowerbird-error"), Some("redirect_not_registered"), "{address}");
            }
        }
    }
    assert_eq!(house.network.authorization_server().server().count(endpoint::PAR), 0, "nothing was begun");
    let mut body = right();
    body["redirect_uri"] = json!("limit://auth");
    let page = start(&house, "/api/auth/start", &body).await;
    assert!(approve(&house, &page).await.as_str().starts_with("limit://auth?code="));
}

#[tokio::test]
async fn row_64_an_app_that_began_by_itself_is_named_before_the_person_is_sent_there() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let page = start(&house, "/api/auth/start", &right()).await;
    let mut visitor = house.visitor();
    let callback = visitor.authorize(&page).await;
    let shown = visitor.finish_login(&callback).await.expect_status(200);
    assert_eq!(shown.header("location"), None, "no silent approval");
    assert_eq!(shown.header_all("set-cookie"), Vec::<&str>::new());
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    let text = shown.text();
    assert!(text.contains("alice.test") && text.contains("Bower"), "{text}");
    let (_, rest) = text.split_once("href=\"app://auth-callback?code=").expect("a link to the app");
    let code = rest.split_once('"').unwrap().0;
    exchange(&house, &json!({"code": code, "code_verifier": VERIFIER})).await.must_be(200);
}

#[tokio::test]
async fn row_64_what_a_page_of_ours_began_ends_in_its_own_browser_alone() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let begun = visitor.post("/api/auth/mobile-start", &right()).await.expect_status(200);
    assert!(begun.header("set-cookie").unwrap().starts_with("login="));
    let page = begun.json()["authUrl"].as_str().unwrap().to_owned();
    let callback = visitor.authorize(&page).await;
    // A stranger's browser, and a program: neither finds the sign-in, nor uses it up.
    let stranger = house.visitor().finish_login(&callback).await.expect_status(400);
    assert_eq!(stranger.header("bowerbird-error"), Some("login_session_mismatch"));
    house.client().get(&callback).await.must_be(400);
    let answer = visitor.finish_login(&callback).await.expect_status(302);
    assert!(answer.location().starts_with("app://auth-callback?code="), "at once: this browser began");
    assert_eq!(answer.header_all("set-cookie"), Vec::<&str>::new());
    // The callback twice: the second finds nothing, and the app hears nothing.
    let calls = house.network.authorization_server().token_calls();
    visitor.finish_login(&callback).await.must_be(400);
    assert_eq!(house.network.authorization_server().token_calls(), calls);
    visitor.session().await.must_be(401);
}

#[tokio::test]
async fn a_browser_that_is_signed_in_lends_the_app_nothing() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    let body = json!({"handle": "bob.test", "code_challenge": challenge(), "code_challenge_method": "S256"});
    let begun = visitor.post("/api/auth/mobile-start", &body).await.expect_status(200);
    let callback = visitor.authorize(begun.json()["authUrl"].as_str().unwrap()).await;
    let link = Url::parse(visitor.finish_login(&callback).await.expect_status(302).location()).unwrap();
    let code = pair(&link, "code").unwrap();
    let tokens = exchange(&house, &json!({"code": code, "code_verifier": VERIFIER})).await.expect_status(200).json();
    let accounts = app(&house, &tokens["accessToken"]).get("/api/accounts").await.json();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 1, "the app has the one account: {accounts}");
    assert_eq!(accounts["accounts"][0]["did"], bob.did.as_str());
    let here = visitor.get("/api/accounts").await.json();
    assert_eq!(here["accounts"].as_array().unwrap().len(), 1, "and the browser has its own: {here}");
    assert_eq!(here["accounts"][0]["did"], alice.did.as_str());
}

#[tokio::test]
async fn row_65_the_operator_forbids_the_session_in_an_address() {
    let house = House::build(Plan { handoff: HandoffMode::Code, ..Plan::default() }).await;
    house.network.add_account("alice.test");
    let body = json!({"handle": "alice.test", "code_challenge": challenge()});
    let page = start(&house, "/api/auth/mobile-start", &body).await;
    let link = approve(&house, &page).await;
    assert!(pair(&link, "session_token").is_none(), "{link}");
    let code = pair(&link, "code").unwrap();
    exchange(&house, &json!({"code": code})).await.must_be(400);
    exchange(&house, &json!({"code": code, "code_verifier": VERIFIER})).await.must_be(200);
}

#[tokio::test]
async fn row_61_neither_session_nor_refresh_string_is_taken_from_an_address() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let tokens = signed_in(&house, "alice.test").await;
    house.network.clear_logs();
    let seal = tokens["sid"].as_str().unwrap();
    for path in ["/api/auth/session?sid=", "/mobile/refresh-token?token=", "/?session_token=", "/mobile-auth?handle="] {
        let answer = house.client().get(&house.url(&format!("{path}{}", seal.replace('*', "%2A")))).await;
        assert_eq!((answer.status, answer.header("bowerbird-error")), (400, Some("seal_in_url")), "{path}");
    }
    let renewal = tokens["refreshToken"].as_str().unwrap();
    let request = TestRequest::post_json(&house.url(&format!("/api/auth/tokens?refreshToken={renewal}")), &json!({}));
    house.client().send(request).await.must_be(400);
    exchange(&house, &json!({"refreshToken": renewal})).await.must_be(200);
    assert_eq!(house.sent(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_comes_to_the_app() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    server.decide(Decision::Deny);
    let link = approve(&house, &start(&house, "/api/auth/start", &right()).await).await;
    assert_eq!(pair(&link, "error").as_deref(), Some("access_denied"), "{link}");
    assert_eq!(pair(&link, "error_description").as_deref(), Some("You did not allow the access."));
    let evil = format!("<script>\r\nx&code=stolen\u{202e}{}", "A".repeat(5000));
    server.decide(Decision::Fail("server_error".to_owned(), evil));
    let link = approve(&house, &start(&house, "/api/auth/start", &right()).await).await;
    assert_eq!(pair(&link, "error").as_deref(), Some("server_error"));
    assert!(pair(&link, "code").is_none() && link.as_str().len() < 1200, "{link}");
    // What is wrong with the answer is for the log; the app learns that it has to begin again.
    server.decide(Decision::Approve);
    let mallory = house.network.add_account("mallory.test");
    server.approve_as(&mallory.did);
    let link = approve(&house, &start(&house, "/api/auth/start", &right()).await).await;
    assert_eq!(pair(&link, "error").as_deref(), Some("authentication_failed"));
    assert!(pair(&link, "code").is_none());
}

#[tokio::test]
async fn a_refresh_string_has_one_successor_until_that_is_used() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let first = signed_in(&house, "alice.test").await;
    house.network.clear_logs();
    let renew = async |token: &Value| exchange(&house, &json!({"refreshToken": token})).await;
    let answers = futures_util::future::join_all((0..20).map(|_| renew(&first["refreshToken"]))).await;
    let successors: Vec<Value> =
        answers.into_iter().map(|answer| answer.expect_status(200).json()["refreshToken"].clone()).collect();
    assert!(successors.iter().all(|successor| *successor == successors[0] && *successor != first["refreshToken"]));
    // The answer got lost: what was sent is good still.
    let again = renew(&first["refreshToken"]).await.expect_status(200).json();
    assert_eq!(again["refreshToken"], successors[0]);
    assert_eq!(again["did"], alice.did.as_str());
    app(&house, &again["accessToken"]).get("/api/auth/session").await.must_be(200);

    let third = renew(&successors[0]).await.expect_status(200).json();
    assert_ne!(third["refreshToken"], successors[0]);
    renew(&third["refreshToken"]).await.must_be(200);
    assert_eq!(house.sent(), Vec::<String>::new(), "no token of the account's server is spent for it");
}

#[tokio::test]
async fn a_refresh_string_that_comes_after_its_successor_ends_the_session() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let first = signed_in(&house, "alice.test").await;
    let renew = async |token: &Value| exchange(&house, &json!({"refresh_token": token})).await;
    let second = renew(&first["refreshToken"]).await.expect_status(200).json();
    let third = renew(&second["refreshToken"]).await.expect_status(200).json();
    let copied = renew(&first["refreshToken"]).await;
    assert_eq!(error(&copied), (401, "refresh_token_reused", "Invalid or expired refresh token".to_owned()));
    for dead in [&third, &second] {
        assert_eq!(renew(&dead["refreshToken"]).await.status, 401);
        app(&house, &dead["accessToken"]).get("/api/auth/session").await.must_be(401);
        app(&house, &dead["sid"]).get("/api/auth/session").await.must_be(401);
    }
    house.wait_for_grants(&alice, 0).await;
}

#[tokio::test]
async fn a_refresh_string_ends_with_its_session_and_cannot_be_made() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let tokens = signed_in(&house, "alice.test").await;
    app(&house, &tokens["accessToken"]).post("/api/auth/logout", &json!({})).await.must_be(200);
    let dead = exchange(&house, &json!({"refreshToken": tokens["refreshToken"]})).await;
    assert_eq!(error(&dead), (401, "session_invalid", "Invalid or expired refresh token".to_owned()));
    for forged in [tokens["sid"].clone(), json!("bbr_"), json!(format!("bbr_{}", "A".repeat(75)))] {
        assert_eq!(exchange(&house, &json!({"refreshToken": forged})).await.status, 401);
    }
    // Row 55: what is exchanged is no session, and the other way round.
    let fresh = signed_in(&house, "alice.test").await;
    app(&house, &fresh["refreshToken"]).get("/api/auth/session").await.must_be(401);
    exchange(&house, &json!({"code": fresh["refreshToken"]})).await.must_be(400);
}

#[tokio::test]
async fn an_app_adds_an_account_to_its_session_and_loses_nothing_on_the_way() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let first = signed_in(&house, "alice.test").await;
    let present = app(&house, &first["accessToken"]);
    let body = json!({"handle": "bob.test", "code_challenge": challenge(), "code_challenge_method": "S256"});
    let begun = present.post("/api/auth/start", &body).await.expect_status(200).json();
    let link = approve(&house, begun["authUrl"].as_str().unwrap()).await;
    // The app may be killed here: until it exchanges the code, what it has is good.
    present.get("/api/auth/session").await.must_be(200);
    let code = pair(&link, "code").unwrap();
    let both = exchange(&house, &json!({"code": code, "code_verifier": VERIFIER})).await.expect_status(200).json();
    assert_eq!(both["did"], bob.did.as_str());
    let accounts = app(&house, &both["accessToken"]).get("/api/accounts").await.json();
    let dids: Vec<&str> = accounts["accounts"].as_array().unwrap().iter().map(|a| a["did"].as_str().unwrap()).collect();
    assert_eq!(dids, [alice.did.as_str(), bob.did.as_str()]);
    // The old name of the session is dead, and its line of refresh strings with it (row 4).
    present.get("/api/auth/session").await.must_be(401);
    exchange(&house, &json!({"refreshToken": first["refreshToken"]})).await.must_be(401);
}

#[tokio::test]
async fn a_cookie_of_a_browser_adds_nothing_to_a_session_by_itself() {
    let house = House::open().await;
    let (alice, _bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    let seal = visitor.seal().unwrap();
    // A page of another site cannot begin anything with it.
    let request = TestRequest::post_json(&house.url("/api/auth/start"), &json!({"handle": "bob.test"}))
        .header("cookie", &format!("sid={seal}"))
        .header("origin", "https://evil.example");
    house.client().send(request).await.must_be(403);
    // An app of the older contract has it as its own, and adds to it.
    let request = TestRequest::post_json(&house.url("/api/auth/start"), &json!({"handle": "bob.test"}))
        .header("cookie", &format!("sid={seal}"));
    let begun = house.client().send(request).await.expect_status(200).json();
    let link = approve(&house, begun["authUrl"].as_str().unwrap()).await;
    let tokens = exchange(&house, &json!({"code": pair(&link, "code").unwrap()})).await.expect_status(200).json();
    let accounts = app(&house, &tokens["sid"]).get("/api/accounts").await.json();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 2);
    visitor.session().await.must_be(401);
}

#[tokio::test]
async fn a_seal_is_renewed_by_get_and_post_by_cookie_and_bearer() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let tokens = signed_in(&house, "alice.test").await;
    let sid = tokens["sid"].as_str().unwrap();
    house.network.clear_logs();
    let send = async |method: &str, name: &str, value: &str| {
        let request = TestRequest::new(method, &house.url("/mobile/refresh-token")).header(name, value);
        house.client().send(request).await
    };
    let mut seals = std::collections::HashSet::from([sid.to_owned()]);
    for method in ["GET", "POST"] {
        let by_cookie = send(method, "cookie", &format!("sid={sid}")).await.expect_status(200);
        let by_bearer = send(method, "authorization", &format!("Bearer {sid}")).await.expect_status(200);
        assert_eq!(by_bearer.header("set-cookie"), None);
        let set = by_cookie.header("set-cookie").unwrap();
        assert!(set.starts_with(&format!("sid={}; Max-Age=604", by_cookie.json()["payload"]["sid"].as_str().unwrap())));
        for answer in [by_cookie, by_bearer] {
            let body = answer.json();
            assert_eq!((&body["success"], &body["payload"]["did"]), (&json!(true), &json!(alice.did)));
            assert_eq!(body["payload"].as_object().unwrap().len(), 2);
            let fresh = body["payload"]["sid"].as_str().unwrap().to_owned();
            app(&house, &json!(fresh)).get("/api/auth/session").await.must_be(200);
            assert!(seals.insert(fresh), "each is a new one");
        }
    }
    send("HEAD", "authorization", &format!("Bearer {sid}")).await.must_be(405);
    assert_eq!(house.sent(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_renewed_is_said_with_an_honest_number() {
    const MISSING: &str = r#"{"success":false,"error":"Missing Authorization header"}"#;
    const INVALID: &str = r#"{"success":false,"error":"Token refresh failed","reason":"session_invalid"}"#;
    let house = House::open().await;
    house.network.add_account("alice.test");
    let tokens = signed_in(&house, "alice.test").await;
    let send = async |method: &str, header: Option<(&str, &str)>| {
        let request = TestRequest::new(method, &house.url("/mobile/refresh-token"));
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = house.client().send(request).await;
        (answer.status, answer.text())
    };
    let sid = tokens["sid"].as_str().unwrap().to_owned();
    let bearer = |text: &str| format!("Bearer {text}");
    let brief = bearer(tokens["accessToken"].as_str().unwrap());
    for method in ["GET", "POST"] {
        assert_eq!(send(method, None).await, (401, MISSING.to_owned()));
        let renewal = bearer(tokens["refreshToken"].as_str().unwrap());
        for header in [("cookie", "sid=Fe26.2*bad"), ("authorization", "Bearer x"), ("authorization", "Basic eDp5")] {
            assert_eq!(send(method, Some(header)).await, (401, INVALID.to_owned()), "{header:?}");
        }
        assert_eq!(send(method, Some(("authorization", &renewal))).await, (401, INVALID.to_owned()));
        assert_eq!(send(method, Some(("authorization", &brief))).await, (401, INVALID.to_owned()), "for calls alone");
    }
    app(&house, &json!(sid)).post("/api/auth/logout", &json!({})).await.must_be(200);
    let copy = send("GET", Some(("authorization", &bearer(&sid)))).await;
    assert_eq!(copy, (401, INVALID.to_owned()), "a copy after sign-out");
}

#[tokio::test]
async fn a_seal_for_calls_is_good_for_calls_and_extends_nothing() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let tokens = signed_in(&house, "alice.test").await;
    let session = async |seal: &Value| {
        let cookie = format!("sid={}", seal.as_str().unwrap());
        let request = TestRequest::get(&house.url("/api/auth/session")).header("cookie", &cookie);
        house.client().send(request).await.expect_status(200)
    };
    assert_eq!(session(&tokens["accessToken"]).await.header("set-cookie"), None);
    assert!(session(&tokens["sid"]).await.header("set-cookie").is_some());
    assert_eq!(session(&tokens["accessToken"]).await.header("set-cookie"), None, "also after the other one's answer");
    let called = app(&house, &tokens["accessToken"]).get("/xrpc/com.atproto.server.getSession").await;
    assert_eq!(called.status, 200, "{}", called.text());
}
