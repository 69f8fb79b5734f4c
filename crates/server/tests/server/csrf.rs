//! Row 59, over every unsafe operation of the router.

use bowerbird_testkit::http_client::{Answer, TestRequest};
use http::Method;

use crate::support::{House, Must as _};

/// Operations that begin something for whoever asks, without any credential.
const WITHOUT_CREDENTIAL: [&str; 5] =
    ["/login", "/mobile-auth/decline", "/api/auth/start", "/api/auth/mobile-start", "/api/auth/tokens"];
/// They end the session that the other requests of a test need.
const ENDS_THE_SESSION: [&str; 3] = ["/sign-out", "/devices/sign-out-all", "/api/auth/logout"];

fn request(house: &House, method: &Method, path: &str, seal: &str, headers: &[(&str, &str)]) -> TestRequest {
    let path =
        path.replace("{id}", "6f9619ff-8b86-4011-b42d-00c04fc964ff").replace("{nsid}", "com.atproto.repo.createRecord");
    let form =
        path.starts_with("/accounts/") || path.starts_with("/devices/") || path == "/sign-out" || path == "/login";
    let mut request = if form {
        TestRequest::post_form(&house.url(&path), &[("account", "x"), ("handle", "alice.test")])
    } else {
        TestRequest {
            method: method.to_string(),
            ..TestRequest::post_json(&house.url(&path), &serde_json::json!({"handle": "x"}))
        }
    };
    request.method = method.to_string();
    request = request.header("cookie", &format!("sid={seal}"));
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn send(house: &House, method: &Method, path: &str, seal: &str, headers: &[(&str, &str)]) -> Answer {
    house.client().send(request(house, method, path, seal, headers)).await
}

#[tokio::test]
async fn row_59_no_unsafe_request_with_a_cookie_passes_from_elsewhere() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let own = house.base_url.clone();
    house.network.clear_logs();
    let unsafe_operations: Vec<_> =
        bowerbird_server::operations().into_iter().filter(|(method, _)| *method != Method::GET).collect();
    assert!(unsafe_operations.len() >= 11);
    // What another site's page can make a browser send.
    let from_elsewhere: [&[(&str, &str)]; 6] = [
        &[("origin", "https://evil.example")],
        &[("origin", "https://evil.example"), ("bowerbird-csrf", "1")],
        &[("origin", "null"), ("bowerbird-csrf", "1")],
        &[("sec-fetch-site", "cross-site"), ("bowerbird-csrf", "1")],
        &[("sec-fetch-site", "same-site"), ("bowerbird-csrf", "1")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin"), ("bowerbird-csrf", "1")],
    ];
    // From ourselves or from nowhere, but with nothing that a form of another page could not have.
    let without_proof: [&[(&str, &str)]; 3] = [
        &[("origin", &own), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "same-origin"), ("bowerbird-csrf", "0")],
        &[("referer", "https://evil.example/")],
    ];
    for (method, path) in &unsafe_operations {
        let proofless = if WITHOUT_CREDENTIAL.contains(path) { &[][..] } else { &without_proof[..] };
        for headers in from_elsewhere.iter().chain(proofless) {
            let answer = send(&house, method, path, &seal, headers).await;
            assert_eq!(answer.status, 403, "{method} {path} {headers:?}: {}", answer.text());
            let code = answer.header("bowerbird-error").unwrap();
            assert!(matches!(code, "cross_site_request" | "csrf_header_missing" | "form_expired"), "{code}");
        }
    }
    assert_eq!(house.sent(), Vec::<String>::new(), "nothing was sent to anybody");
    let request = TestRequest::get(&house.url("/api/auth/session")).header("cookie", &format!("sid={seal}"));
    house.client().send(request).await.must_be(200);
}

#[tokio::test]
async fn row_59_the_same_requests_pass_from_ourselves() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let headers = [("sec-fetch-site", "same-origin"), ("bowerbird-csrf", "1")];
    for (method, path) in bowerbird_server::operations() {
        // Signing out would end the session that the others need.
        if method == Method::GET || ENDS_THE_SESSION.contains(&path) {
            continue;
        }
        let answer = send(&house, &method, path, &seal, &headers).await;
        assert_ne!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_bearer_needs_no_such_header() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    let id = house.id_of(&alice).await;
    app.post(&format!("/api/accounts/{id}/activate"), &serde_json::json!({})).await.must_be(200);
    app.post("/api/auth/logout", &serde_json::json!({})).await.must_be(200);
    app.get("/api/auth/session").await.must_be(401);
}

#[tokio::test]
async fn the_one_exception_is_signing_out_an_app_that_is_no_browser() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let logout = |headers: &[(&str, &str)]| {
        let request = TestRequest::new("POST", &house.url("/api/auth/logout")).header("cookie", &format!("sid={seal}"));
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    for trace in
        [("origin", "https://evil.example"), ("referer", "https://evil.example/"), ("sec-fetch-mode", "navigate")]
    {
        house.client().send(logout(&[trace])).await.must_be(403);
    }
    house.client().send(logout(&[])).await.must_be(200);
    let request = TestRequest::get(&house.url("/api/auth/session")).header("cookie", &format!("sid={seal}"));
    house.client().send(request).await.must_be(401);
}

#[tokio::test]
async fn a_form_token_of_another_session_is_refused() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let (mut of_alice, mut of_bob) = (house.visitor_as(&alice).await, house.visitor_as(&bob).await);
    let token_of_bob = crate::support::hidden(&of_bob.get("/").await.text(), "csrf");
    let answer = of_alice.submit("/sign-out", &[("csrf", &token_of_bob)]).await.expect_status(403);
    assert_eq!(answer.header("bowerbird-error"), Some("form_expired"));
    of_alice.session().await.must_be(200);
}
