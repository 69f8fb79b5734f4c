//! Row 60: an exact list of origins, and nobody else.

use bowerbird_testkit::http_client::TestRequest;

use crate::support::{House, Plan};

async fn listed() -> House {
    House::build(Plan { cors_origins: vec!["https://app.example".to_owned()], ..Plan::default() }).await
}

#[tokio::test]
async fn row_60_nobody_else_is_allowed() {
    for house in [House::open().await, listed().await] {
        for origin in [
            "null",
            "https://evil.example",
            "https://app.example.evil.example",
            "https://evilapp.example",
            "http://app.example",
            "https://app.example:444",
            "https://app.example/",
            "HTTPS://APP.EXAMPLE",
            "https://app.exampl",
        ] {
            let get = TestRequest::get(&house.url("/api/auth/session")).header("origin", origin);
            let ask = TestRequest::new("OPTIONS", &house.url("/api/accounts"))
                .header("origin", origin)
                .header("access-control-request-method", "POST");
            for request in [get, ask] {
                let answer = house.client().send(request).await;
                let granted: Vec<_> =
                    answer.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).collect();
                assert!(granted.is_empty(), "{origin}: {granted:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_listed_origin_calls_with_credentials() {
    let house = listed().await;
    let alice = house.network.add_account("alice.test");
    let visitor = house.visitor_as(&alice).await;
    let ask = TestRequest::new("OPTIONS", &house.url("/xrpc/com.atproto.repo.createRecord"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "bowerbird-csrf");
    let answer = house.client().send(ask).await.expect_status(204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("bowerbird-csrf"));

    let id = house.id_of(&alice).await;
    let post = TestRequest::new("POST", &house.url(&format!("/api/accounts/{id}/activate")))
        .header("cookie", &format!("sid={}", visitor.seal().unwrap()))
        .header("origin", "https://app.example")
        .header("sec-fetch-site", "same-site")
        .header("bowerbird-csrf", "1");
    let answer = house.client().send(post).await.expect_status(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("vary"), Some("Origin"));
}
