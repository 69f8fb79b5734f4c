//! Documents and probes.

use std::sync::atomic::Ordering;

use bowerbird_testkit::http_client::TestRequest;

use crate::support::{House, Must as _, PUBLIC};

#[tokio::test]
async fn the_client_metadata_are_the_same_bytes_under_both_names() {
    let house = House::open_public().await;
    let document = house.client().get(&house.url("/oauth-client-metadata.json")).await.expect_status(200);
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert_eq!(document.header("cache-control"), Some("public, max-age=300"));
    let json = document.json();
    assert_eq!(json["client_id"], format!("{PUBLIC}/oauth-client-metadata.json"));
    assert_eq!(json["redirect_uris"][0], format!("{PUBLIC}/oauth/callback"));
    assert_eq!(json["dpop_bound_access_tokens"], true);
    let alias = house.client().get(&house.url("/client-metadata.json")).await.expect_status(200);
    assert_eq!(alias.body, document.body);
    let keys = house.client().get(&house.url("/oauth/jwks.json")).await.expect_status(200).json();
    assert!(keys["keys"].as_array().unwrap().is_empty(), "a public client has none");
}

#[tokio::test]
async fn probes_tell_up_from_ready() {
    let house = House::open().await;
    let get = async |path: &str| house.client().get(&house.url(path)).await;
    insta::assert_snapshot!(get("/health").await.expect_status(200).text(), @r#"{"status":"ok","version":"0.0.0-test"}"#);
    insta::assert_snapshot!(get("/ready").await.expect_status(200).text(), @r#"{"status":"ready"}"#);
    house.ready.store(false, Ordering::Relaxed);
    let answer = get("/ready").await.expect_status(503);
    assert!(answer.header("retry-after").is_some());
    assert!(!answer.text().contains("canary"), "the cause is for the log: {}", answer.text());
    get("/health").await.must_be(200);
}

#[tokio::test]
async fn the_api_document_is_served_as_it_is_generated() {
    let house = House::open().await;
    let served = house.client().get(&house.url("/openapi.json")).await.expect_status(200);
    assert_eq!(served.text(), bowerbird_server::openapi().to_json().unwrap());
    let page = house.client().get(&house.url("/docs")).await.expect_status(200).text();
    for (_, path) in bowerbird_server::operations() {
        assert!(page.contains(&format!("<code>{path}</code>")), "{path} is missing from the page");
    }
    assert!(!page.contains("<script"));
}

#[test]
fn the_shape_of_the_api() {
    let document = serde_json::to_value(bowerbird_server::openapi()).unwrap();
    let mut lines = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers: Vec<&str> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            let id = operation["operationId"].as_str().unwrap();
            lines.push(format!("{method:6} {path:34} {id:22} {}", answers.join(" ")));
        }
    }
    insta::assert_snapshot!("operations", lines.join("\n"));
    insta::assert_json_snapshot!("openapi", document);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_form_that_is_asked_for() {
    let house = House::open().await;
    let ask = async |method: &str, path: &str, accept: &str| {
        house.client().send(TestRequest::new(method, &house.url(path)).header("accept", accept)).await
    };
    let page = ask("GET", "/nothing", "text/html").await.expect_status(404);
    assert!(
        page.header("content-type").unwrap().starts_with("text/html") && page.text().contains("<h1>Nothing here</h1>")
    );
    assert_eq!(ask("GET", "/nothing", "application/json").await.expect_status(404).json()["error"], "not_found");
    assert_eq!(ask("GET", "/nothing", "*/*").await.expect_status(404).text(), "There is nothing here");
    let answer = ask("PATCH", "/api/accounts", "application/json").await.expect_status(405);
    assert_eq!(answer.json()["error"], "method_not_allowed");
    assert!(answer.header("allow").is_some());
}

#[tokio::test]
async fn a_given_request_id_comes_back() {
    let house = House::open().await;
    let request =
        TestRequest::get(&house.url("/nothing")).header("x-request-id", "trace-7").header("accept", "application/json");
    let answer = house.client().send(request).await;
    assert_eq!(answer.header("x-request-id"), Some("trace-7"));
    assert_eq!(answer.json()["request_id"], "trace-7");
    let request = TestRequest::get(&house.url("/nothing")).header("x-request-id", "<script>");
    let id = house.client().send(request).await.header("x-request-id").unwrap().to_owned();
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
}
