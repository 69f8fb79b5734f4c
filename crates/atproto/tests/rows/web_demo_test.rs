//! The demo program (C-002, C-003), driven as a browser would.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use bowerbird_testkit::fault::{CanaryKind, Decision};
use http_body_util::BodyExt;
use tower::ServiceExt;
use url::{Url, form_urlencoded};

use crate::oauth_client::{Library, callback_of};
use crate::web_demo::router;

/// A browser: a cookie jar in front of the routes.
struct Browser {
    routes: axum::Router,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn of(routes: &axum::Router) -> Self {
        Self { routes: routes.clone(), cookies: Vec::new() }
    }

    async fn send(&mut self, method: &str, target: &str, form: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        let answer: Response = self.routes.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        for line in head.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            assert!(line.contains("HttpOnly") && line.contains("SameSite=Lax"), "{line}");
            let (pair, _) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8_lossy(&body).into_owned())
    }

    async fn begin(&mut self, handle: &str) -> Url {
        let (status, headers, _) = self.send("POST", "/login", &[("handle", handle)]).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        Url::parse(headers[header::LOCATION].to_str().unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c_003_sign_in_profile_and_sign_out() {
    let library = Library::start().await;
    let alice = library.network.add_account("alice.test");
    let routes = router(library.client());
    let mut browser = Browser::of(&routes);
    let (status, _, page) = browser.send("GET", "/", &[]).await;
    assert!(status.is_success() && page.contains("action=/login"));
    let (status, _, body) = browser.send("GET", "/api/profile", &[]).await;
    assert_eq!((status, body.as_str()), (StatusCode::UNAUTHORIZED, r#"{"error":"Not authenticated"}"#));
    let authorize = browser.begin("@alice.test").await;
    let back = callback_of(&authorize).await;
    assert_eq!(back.origin().ascii_serialization(), "http://127.0.0.1:5000");
    let target = format!("{}?{}", back.path(), back.query().unwrap());
    // Somebody else's browser gets nowhere with it, and spoils nothing.
    let (status, _, page) = Browser::of(&routes).send("GET", &target, &[]).await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains("another browser"), "{page}");
    let (status, headers, _) = browser.send("GET", &target, &[]).await;
    assert_eq!((status, &headers[header::LOCATION]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    let (_, _, page) = browser.send("GET", "/", &[]).await;
    assert!(page.contains("alice.test") && page.contains(&alice.did));
    let (status, _, body) = browser.send("GET", "/api/profile", &[]).await;
    // The fault PDS does not know describeRepo: the demo says so with the status.
    assert_eq!((status, body.as_str()), (StatusCode::BAD_GATEWAY, r#"{"error":"PDS request failed","status":501}"#));
    for canary in library.network.canaries() {
        assert!(!page.contains(&canary.value) && canary.kind != CanaryKind::ClientAssertion);
    }
    let (status, ..) = browser.send("GET", "/logout", &[]).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "signing out changes something");
    let (status, ..) = browser.send("POST", "/logout", &[]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(library.network.authorization_server().live_grants(&alice.did), 0);
    let (_, _, page) = browser.send("GET", "/", &[]).await;
    assert!(page.contains("action=/login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_003_refusals_are_escaped() {
    let library = Library::start().await;
    library.network.add_account("alice.test");
    let mut browser = Browser::of(&router(library.client()));
    let (status, _, page) = browser.send("POST", "/login", &[("handle", " ")]).await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains("Handle required"));
    let (status, _, page) = browser.send("GET", "/callback", &[]).await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains("Missing required parameters"));
    let (status, _, page) = browser.send("GET", "/callback?code=a&state=b&iss=c", &[]).await;
    assert!(status == StatusCode::BAD_REQUEST && page.contains("state parameter"));
    let script = "<script>alert(1)</script>";
    let (_, _, page) = browser.send("POST", "/login", &[("handle", script)]).await;
    assert!(!page.contains("<script>"));
    let decision = Decision::Fail("server_error".into(), script.into());
    library.network.authorization_server().decide(decision);
    let back = callback_of(&browser.begin("alice.test").await).await;
    let (status, _, page) = browser.send("GET", &format!("/callback?{}", back.query().unwrap()), &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
}
