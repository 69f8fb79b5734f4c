//! Beginning and ending a login, as it should go, and rows 1–4, 10–12, 14, 15 and 17.

use bowerbird_testkit::fault::{Decision, endpoint};
use bowerbird_testkit::http_client::TestRequest;
use serde_json::json;

use crate::support::{House, Must as _};

#[tokio::test]
async fn a_person_signs_in_and_the_session_says_so() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor();

    let page = visitor.start_login("alice.test").await;
    assert!(page.starts_with(&house.network.authorization_server().server().url(endpoint::AUTHORIZE)), "{page}");
    let callback = visitor.authorize(&page).await;
    let answer = visitor.finish_login(&callback).await.expect_status(303);
    assert_eq!(answer.location(), "/");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let cookie = visitor.jar.get("sid").unwrap();
    assert!(
        cookie.http_only && cookie.same_site == "lax" && cookie.path == "/" && cookie.host_only && cookie.persistent
    );

    let session = visitor.session().await.expect_status(200);
    let body = session.json();
    assert_eq!(body["valid"], true);
    assert_eq!(body["did"], alice.did.as_str());
    assert_eq!((&body["handle"], &body["userHandle"]), (&json!("alice.test"), &json!("alice.test")));
    assert_eq!((&body["accessToken"], &body["refreshToken"]), (&json!(null), &json!(null)));
    let left = body["expiresAt"].as_i64().unwrap() - house.clock.now().as_millis();
    assert!((604_790_000..=604_800_000).contains(&left), "{left}");
    let cookies = session.header_all("set-cookie");
    assert_eq!(cookies.len(), 1);
    assert!(cookies[0].starts_with("sid=Fe26.2*") && cookies[0].contains("; Max-Age=604800; "), "{cookies:?}");
    house.network.assert_clean();
}

#[tokio::test]
async fn a_login_returns_to_the_path_it_began_with() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let page = visitor.get("/login?handle=alice.test&redirect=/notes%3Fpage%3D2").await.expect_status(302);
    let callback = visitor.authorize(page.location()).await;
    assert_eq!(visitor.finish_login(&callback).await.expect_status(303).location(), "/notes?page=2");
}

#[tokio::test]
async fn a_login_by_form_needs_no_script() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let begun = visitor.submit("/login", &[("handle", " @Alice.test ")]).await.expect_status(303);
    let callback = visitor.authorize(begun.location()).await;
    visitor.finish_login(&callback).await.must_be(303);
    visitor.session().await.must_be(200);
}

#[tokio::test]
async fn the_profile_follows_in_the_background() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let record = bowerbird_testkit::fault::profile_record("Alice ☀", Some("bafkreialice"), "image/png");
    house.network.pds().put_record(&alice.did, "app.bsky.actor.profile", "self", record);
    let mut visitor = house.visitor_as(&alice).await;
    for _ in 0..100 {
        let body = visitor.session().await.json();
        if body["displayName"] == "Alice ☀" {
            assert!(body["avatar"].as_str().unwrap().contains("bafkreialice"), "{body}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the profile never came");
}

#[tokio::test]
async fn row_1_an_unknown_state_is_refused_before_anything_is_sent() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    visitor.start_login("alice.test").await;
    for query in ["", "?", "?code=x", "?state=x", "?code=x&state=", "?code=x&state=forged&iss=https%3A%2F%2Fx"] {
        let answer = visitor.get(&format!("/oauth/callback{query}")).await.expect_status(400);
        assert!(
            matches!(answer.header("bowerbird-error"), Some("invalid_state" | "invalid_request")),
            "{query}: {answer:?}"
        );
    }
    assert_eq!(house.network.authorization_server().token_calls(), 0);
    assert_eq!(visitor.jar.get("sid"), None);
}

#[tokio::test]
async fn row_2_a_callback_works_once_however_often_it_comes() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let (mut visitor, callback) = (visitor.clone(), callback.clone());
        tasks.push(tokio::spawn(async move { visitor.finish_login(&callback).await.status }));
    }
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|&&status| status == 303).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 303 | 400)), "{statuses:?}");
    house.network.assert_clean();
    let codes = house.network.ledger().presented(bowerbird_testkit::fault::CanaryKind::Code);
    assert_eq!(codes.len(), 1, "the code was presented once");
}

#[tokio::test]
async fn row_3_another_browser_cannot_end_a_login() {
    let house = House::open().await;
    house.network.add_account("mallory.test");
    let mut attacker = house.visitor();
    let page = attacker.start_login("mallory.test").await;
    let callback = attacker.authorize(&page).await;

    let mut victim = house.visitor();
    let answer = victim.finish_login(&callback).await.expect_status(400);
    assert_eq!(answer.header("bowerbird-error"), Some("login_session_mismatch"));
    // Nor a browser that has begun a login of its own.
    victim.start_login("mallory.test").await;
    victim.finish_login(&callback).await.must_be(400);
    assert_eq!(victim.jar.get("sid"), None);
    assert_eq!(house.network.authorization_server().token_calls(), 0);

    attacker.finish_login(&callback).await.must_be(303);
}

#[tokio::test]
async fn row_4_a_session_gets_a_new_name_at_every_login() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    let planted = house.app_of(&visitor);
    planted.get("/api/auth/session").await.must_be(200);

    for handle in [&bob.handle, &alice.handle] {
        let before = house.app_of(&visitor);
        visitor.login(handle).await.must_be(303);
        before.get("/api/auth/session").await.must_be(401);
        planted.get("/api/auth/session").await.must_be(401);
    }
    let accounts = visitor.get("/api/accounts").await.json();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 2);
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());
}

#[tokio::test]
async fn row_10_an_error_of_the_server_is_shown_harmlessly() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let evil = format!("<script>alert(1)</script>\r\nSet-Cookie: sid=x\u{202e}{}", "A".repeat(10_000));
    house.network.authorization_server().decide(Decision::Fail("server_error".to_owned(), evil));
    for accept in ["text/html", "application/json", "text/plain"] {
        let mut visitor = house.visitor();
        let page = visitor.start_login("alice.test").await;
        let callback = visitor.authorize(&page).await;
        let request = TestRequest::get(&format!("{callback}&code=abc")).header("accept", accept);
        let answer = visitor.send(request).await.expect_status(400);
        let text = answer.text();
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.contains('\u{202e}') && !text.contains(&"A".repeat(250)), "{text}");
        assert_eq!(answer.header_all("set-cookie"), Vec::<&str>::new());
        // The login is over either way.
        visitor.finish_login(&callback).await.must_be(400);
    }
    assert_eq!(house.network.authorization_server().token_calls(), 0);
}

#[tokio::test]
async fn row_10_the_answer_has_the_form_that_the_client_asks_for() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    house.network.authorization_server().decide(Decision::Deny);
    let mut answers = Vec::new();
    for accept in ["text/html", "application/json", "*/*"] {
        let mut visitor = house.visitor();
        let page = visitor.start_login("alice.test").await;
        let callback = visitor.authorize(&page).await;
        answers.push(visitor.send(TestRequest::get(&callback).header("accept", accept)).await.expect_status(400));
    }
    assert!(answers[0].header("content-type").unwrap().starts_with("text/html"));
    assert!(answers[0].text().contains("role=\"alert\"") && answers[0].text().contains("name=\"handle\""));
    assert_eq!(answers[1].json()["error"], "access_denied");
    assert_eq!(answers[1].header("x-request-id"), answers[1].json()["request_id"].as_str());
    assert!(answers[2].header("content-type").unwrap().starts_with("text/plain"));
    insta::assert_snapshot!(answers[2].text(), @"Login failed: You did not allow the access.");
    assert!(answers.iter().all(|answer| answer.header("bowerbird-error") == Some("access_denied")));
}

#[tokio::test]
async fn row_11_repeated_and_foreign_parameters_are_refused() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    for more in ["&state=x", "&code=y", "&iss=http%3A%2F%2Fx", "&response=e30.e30."] {
        visitor.finish_login(&format!("{callback}{more}")).await.must_be(400);
    }
    assert_eq!(house.network.authorization_server().token_calls(), 0);
}

#[tokio::test]
async fn row_12_head_and_options_leave_a_login_alone() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    for method in ["HEAD", "OPTIONS", "POST", "PUT"] {
        let answer = visitor.send(TestRequest::new(method, &callback)).await;
        assert!(matches!(answer.status, 204 | 405), "{method}: {}", answer.status);
    }
    visitor.finish_login(&callback).await.must_be(303);

    let par = house.network.authorization_server().server().count(endpoint::PAR);
    visitor.send(TestRequest::new("HEAD", &house.url("/login?handle=alice.test"))).await.must_be(405);
    assert_eq!(house.network.authorization_server().server().count(endpoint::PAR), par);
}

#[tokio::test]
async fn row_17_a_flood_of_logins_is_stopped() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let mut refused = None;
    for _ in 0..80 {
        let answer = visitor.try_start_login("alice.test").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("80 logins in a row from one address");
    assert_eq!(refused.header("bowerbird-error"), Some("rate_limited"));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Nonsense is free: it costs nobody anything.
    visitor.get("/login?handle=nonsense").await.must_be(400);
}

#[tokio::test]
async fn what_is_no_handle_is_refused_in_the_documented_words() {
    let house = House::open().await;
    let mut visitor = house.visitor();
    for query in ["", "?handle=", "?handle=alice", "?handle=javascript:alert(1)", "?handle=a..b", "?handle=%00"] {
        let url = house.url(&format!("/login{query}"));
        let answer = visitor.send(TestRequest::get(&url)).await.expect_status(400);
        assert_eq!(answer.text(), "Invalid handle", "{query}");
        assert_eq!(answer.header("bowerbird-error"), Some("invalid_handle"));
    }
    for query in ["?handle=alice.test&prompt=everything", "?handle=alice.test&handle=bob.test"] {
        let answer = visitor.get(&format!("/login{query}")).await.expect_status(400);
        assert_eq!(answer.header("bowerbird-error"), Some("invalid_request"));
    }
    let unknown = visitor.get("/login?handle=nobody.test").await.expect_status(400);
    assert!(unknown.text().contains("value=\"nobody.test\""), "the form comes back filled in");
    assert_eq!(house.network.authorization_server().server().count(endpoint::PAR), 0);
}
