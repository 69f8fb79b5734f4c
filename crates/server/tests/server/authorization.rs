//! Every operation, asked by nobody, by a bad seal, and by somebody for an account that is not theirs. An operation
//! without a line here fails the test.

use bowerbird_testkit::http_client::TestRequest;

use crate::support::House;

/// Method, path; the status for nobody, for a bad seal, and for a stranger's account (None: it names no account).
const TABLE: &[(&str, &str, u16, u16, Option<u16>)] = &[
    ("GET", "/", 200, 200, None),
    ("GET", "/login", 400, 400, None),
    ("POST", "/login", 400, 400, None),
    // Works without a session, for a known account only.
    ("GET", "/login/repair/{account_id}", 404, 404, Some(404)),
    ("GET", "/mobile-auth", 200, 200, None),
    // For whoever was shown the code.
    ("POST", "/mobile-auth/decline", 400, 400, None),
    ("POST", "/accounts/add", 401, 401, None),
    // Works without a session, from our own pages.
    ("POST", "/accounts/app-password", 400, 400, None),
    ("POST", "/accounts/switch", 401, 401, Some(404)),
    ("POST", "/accounts/remove", 401, 401, Some(404)),
    ("POST", "/sign-out", 401, 401, None),
    // The form to sign in.
    ("GET", "/devices", 200, 200, None),
    ("POST", "/devices/sign-out", 401, 401, Some(404)),
    ("POST", "/devices/sign-out-others", 401, 401, None),
    ("POST", "/devices/sign-out-all", 401, 401, None),
    ("GET", "/security", 200, 200, None),
    ("GET", "/docs", 200, 200, None),
    ("GET", "/assets/{file}", 404, 404, None),
    ("GET", "/favicon.svg", 200, 200, None),
    ("GET", "/api/auth/session", 401, 401, None),
    ("GET", "/validate-session", 401, 401, None),
    // Signing out twice is no error.
    ("POST", "/api/auth/logout", 200, 200, None),
    // Nothing that is this page's to know.
    ("GET", "/api/auth/window-end", 204, 204, None),
    // For whoever asks: what they begin or exchange says who they are.
    ("POST", "/api/auth/start", 400, 400, None),
    ("POST", "/api/auth/mobile-start", 400, 400, None),
    ("POST", "/api/auth/tokens", 400, 400, None),
    ("GET", "/mobile/refresh-token", 401, 401, None),
    ("POST", "/mobile/refresh-token", 401, 401, None),
    ("GET", "/api/accounts", 401, 401, None),
    ("POST", "/api/accounts", 401, 401, None),
    // The same, with the header against forgery.
    ("POST", "/api/accounts/app-password", 403, 403, None),
    ("POST", "/api/accounts/{id}/activate", 401, 401, Some(404)),
    ("GET", "/api/accounts/{id}", 401, 401, Some(404)),
    ("DELETE", "/api/accounts/{id}", 401, 401, Some(404)),
    ("GET", "/api/accounts/{id}/avatar", 401, 401, Some(404)),
    ("GET", "/api/devices", 401, 401, Some(404)),
    ("POST", "/api/devices/sign-out", 401, 401, Some(404)),
    ("DELETE", "/api/devices/{device}", 401, 401, Some(404)),
    ("GET", "/api/security-events", 401, 401, Some(404)),
    ("GET", "/api/tokens/health", 401, 401, Some(404)),
    ("GET", "/api/events", 401, 401, None),
    ("GET", "/xrpc/{nsid}", 401, 401, Some(404)),
    ("POST", "/xrpc/{nsid}", 401, 401, Some(404)),
    ("GET", "/oauth/callback", 400, 400, None),
    ("GET", "/oauth-client-metadata.json", 200, 200, None),
    ("GET", "/oauth/jwks.json", 200, 200, None),
    // The operator of a test's house listed none.
    ("GET", "/.well-known/assetlinks.json", 404, 404, None),
    ("GET", "/.well-known/apple-app-site-association", 404, 404, None),
    ("GET", "/health", 200, 200, None),
    ("GET", "/ready", 200, 200, None),
    ("GET", "/openapi.json", 200, 200, None),
];

const NOBODYS: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";

fn request(house: &House, method: &str, path: &str) -> TestRequest {
    let target = path
        .replace("{id}", NOBODYS)
        .replace("{account_id}", NOBODYS)
        .replace("{device}", "nobodys-device")
        .replace("{nsid}", "com.atproto.server.getSession")
        .replace("{file}", "none.css");
    let url = house.url(&target);
    let form = path.starts_with("/accounts/")
        || path.starts_with("/devices/")
        || path == "/sign-out"
        || path == "/mobile-auth/decline"
        || (path == "/login" && method == "POST");
    let request = if form {
        TestRequest::post_form(&url, &[("account", NOBODYS)])
    } else if path.starts_with("/api/auth/") && path != "/api/auth/logout" && method == "POST" {
        TestRequest::post_json(&url, &serde_json::json!({"code": "x"}))
    } else if path == "/api/accounts" && method == "POST" {
        TestRequest::post_json(&url, &serde_json::json!({"handle": "x"}))
    } else {
        TestRequest::new(method, &url)
    };
    let named = matches!(
        path,
        "/xrpc/{nsid}" | "/api/tokens/health" | "/api/devices" | "/api/devices/sign-out" | "/api/security-events"
    );
    if named { request.header("bowerbird-account", NOBODYS) } else { request }
}

#[tokio::test]
async fn every_operation_has_its_answer_for_the_unauthorized() {
    let operations: Vec<_> = bowerbird_server::operations();
    let listed = |method: &str, path: &str| TABLE.iter().any(|row| row.0 == method && row.1 == path);
    for (method, path) in &operations {
        assert!(listed(method.as_str(), path), "{method} {path} has no line in the authorization table");
    }
    assert_eq!(TABLE.len(), operations.len(), "the table has lines for operations that do not exist");

    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    house.network.clear_logs();
    for (method, path, anonymous, bad_seal, stranger) in TABLE {
        let answer = house.client().send(request(&house, method, path)).await;
        assert_eq!(answer.status, *anonymous, "anonymous {method} {path}: {}", answer.text());
        for (name, value) in [("cookie", "sid=Fe26.2*bad"), ("authorization", "Bearer Fe26.2*bad")] {
            let answer = house.client().send(request(&house, method, path).header(name, value)).await;
            // A bad bearer is no browser's doing, and stands before the check against forgery.
            let signs_in = *path == "/api/accounts/app-password" && name == "authorization";
            let expected = if signs_in { 401 } else { *bad_seal };
            assert_eq!(answer.status, expected, "bad {name} {method} {path}: {}", answer.text());
        }
        if let Some(expected) = stranger {
            let bearer = format!("Bearer {seal}");
            let answer = house.client().send(request(&house, method, path).header("authorization", &bearer)).await;
            assert_eq!(answer.status, *expected, "stranger {method} {path}: {}", answer.text());
        }
    }
    assert_eq!(house.sent(), Vec::<String>::new(), "nothing was sent for any of them");
}

#[tokio::test]
async fn every_operation_is_documented_and_nothing_else() {
    let document = serde_json::to_value(bowerbird_server::openapi()).unwrap();
    let mut documented: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        documented.extend(item.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let mut served: Vec<String> =
        bowerbird_server::operations().iter().map(|(method, path)| format!("{method} {path}")).collect();
    documented.sort();
    served.sort();
    assert_eq!(documented, served);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let house = House::open_public().await;
    let mut requests: Vec<TestRequest> = TABLE.iter().map(|row| request(&house, row.0, row.1)).collect();
    requests.push(TestRequest::get(&house.url("/nothing")));
    requests.push(TestRequest::new("PATCH", &house.url("/")));
    requests.push(TestRequest::get(&house.url("/")).header("host", "evil.example"));
    for request in requests {
        let answer = house.client().send(request.clone()).await;
        let about = format!("{} {}", request.method, request.url);
        assert_eq!(answer.header_all("x-content-type-options"), ["nosniff"], "{about}");
        assert_eq!(answer.header_all("cross-origin-opener-policy"), ["same-origin"], "{about}");
        assert_eq!(answer.header_all("strict-transport-security"), ["max-age=31536000"], "{about}");
        assert_eq!(answer.header_all("referrer-policy").len(), 1, "{about}");
        assert_eq!(answer.header_all("cache-control").len(), 1, "{about}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{about}: {policy}"
        );
        assert!(policy.contains("base-uri 'none'") && !policy.contains("unsafe"), "{about}: {policy}");
        if answer.status >= 400 {
            assert!(answer.header("bowerbird-error").is_some(), "{about}");
            assert!(answer.header("x-request-id").is_some(), "{about}");
        }
    }
}
