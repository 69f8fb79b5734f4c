//! Row 18: whatever a client writes about hosts, nothing follows it.

use bowerbird_testkit::http_client::{TestRequest, send_raw};
use std::time::Duration;

use crate::support::{House, PUBLIC};

#[tokio::test]
async fn row_18_another_host_is_refused_everywhere() {
    let house = House::open_public().await;
    for host in [
        "evil.example",
        "bower.example.evil.example",
        "bower.example:8443",
        "127.0.0.1",
        "localhost",
        "a@bower.example",
    ] {
        for path in [
            "/",
            "/login?handle=alice.test",
            "/oauth/callback?code=x&state=y",
            "/oauth-client-metadata.json",
            "/api/auth/session",
            "/nothing",
        ] {
            let request = TestRequest::get(&house.url(path)).header("host", host);
            let answer = house.client().send(request).await;
            assert_eq!(answer.status, 421, "{host} {path}");
            assert_eq!(answer.header("bowerbird-error"), Some("misdirected_request"));
            assert_eq!(answer.header("set-cookie"), None);
            assert!(!answer.text().contains("evil"), "{}", answer.text());
        }
    }
    // A probe of an orchestrator comes by address.
    house
        .client()
        .send(TestRequest::get(&house.url("/health")).header("host", "10.0.0.7:8080"))
        .await
        .expect_status(200)
        .json();
}

#[tokio::test]
async fn row_18_no_header_changes_who_we_are() {
    let house = House::open_public().await;
    let plain = house.client().get(&house.url("/oauth-client-metadata.json")).await.expect_status(200);
    assert_eq!(plain.json()["client_id"], format!("{PUBLIC}/oauth-client-metadata.json"));
    for (name, value) in [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-server", "evil.example"),
        ("x-original-host", "evil.example"),
        ("x-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=http"),
        ("x-forwarded-prefix", "/evil"),
        ("x-original-url", "/evil"),
        ("x-rewrite-url", "/evil"),
    ] {
        for path in ["/oauth-client-metadata.json", "/client-metadata.json", "/oauth/jwks.json", "/"] {
            let usual = house.client().get(&house.url(path)).await;
            let answer = house.client().send(TestRequest::get(&house.url(path)).header(name, value)).await;
            assert_eq!(answer.body, usual.body, "{name} {path}");
        }
    }
}

#[tokio::test]
async fn row_18_two_hosts_or_none_are_malformed() {
    let house = House::open().await;
    let host = house.address.to_string();
    let wait = Duration::from_millis(300);
    for request in [
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = send_raw(house.address, &[request.as_bytes()], Duration::ZERO, wait).await.unwrap();
        assert_eq!(answer.status(), Some(400), "{request}: {}", answer.text());
    }
    let absolute = format!("GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = send_raw(house.address, &[absolute.as_bytes()], Duration::ZERO, wait).await.unwrap();
    assert_eq!(answer.status(), Some(421), "{}", answer.text());
}
