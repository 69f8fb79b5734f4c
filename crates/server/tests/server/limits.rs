//! Rows 70 and 80: what cannot be a request is refused or closed, and what is slow costs little.

use std::time::Duration;

use bowerbird_server::ServeLimits;
use bowerbird_testkit::http_client::{RawAnswer, TestRequest, send_raw};

use crate::support::{House, Must as _, Plan};

fn impatient() -> ServeLimits {
    let half = Duration::from_millis(500);
    ServeLimits { header_read: half, body_idle: half, ..ServeLimits::default() }
}

async fn raw(house: &House, pieces: &[&[u8]], pause: u64) -> RawAnswer {
    send_raw(house.address, pieces, Duration::from_millis(pause), Duration::from_secs(3)).await.unwrap()
}

#[tokio::test]
async fn row_80_a_head_that_is_too_large_is_refused() {
    let house = House::open().await;
    let host = house.address;
    let large = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(raw(&house, &[large.as_bytes()], 0).await.status(), Some(431));
    let many = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "A: b\r\n".repeat(150));
    assert_eq!(raw(&house, &[many.as_bytes()], 0).await.status(), Some(431));
    let fits =
        format!("GET /health HTTP/1.1\r\nHost: {host}\r\nX: {}\r\nConnection: close\r\n\r\n", "x".repeat(30_000));
    assert_eq!(raw(&house, &[fits.as_bytes()], 0).await.status(), Some(200));
}

#[tokio::test]
async fn row_80_silent_and_slow_clients_are_let_go() {
    let house = House::build(Plan { limits: impatient(), ..Plan::default() }).await;
    let silent = raw(&house, &[], 0).await;
    assert!(silent.closed && silent.bytes.is_empty(), "a client that says nothing");
    let one_letter = raw(&house, &[b"P"], 0).await;
    assert!(one_letter.closed, "a client that may mean HTTP/2");
    let slow: Vec<&[u8]> = b"GET / HTTP/1.1\r\nHost: x\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".chunks(1).collect();
    let dripping = send_raw(house.address, &slow, Duration::from_millis(50), Duration::from_secs(3)).await;
    assert!(dripping.is_err() || dripping.is_ok_and(|answer| answer.closed), "a head that never ends");
    let host = house.address;
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nhandle="
    );
    let answer = raw(&house, &[head.as_bytes()], 0).await;
    assert_eq!(answer.status(), Some(400), "a body that stops coming: {}", answer.text());
}

#[tokio::test]
async fn row_70_ambiguous_messages_are_refused() {
    let house = House::open().await;
    let host = house.address;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        format!(
            "POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde{smuggled}"
        ),
        format!(
            "POST /login HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n{smuggled}"),
        format!("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1x\r\n\r\n{smuggled}"),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nA: b\r\n c: d\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost : {host}\r\n\r\n"),
        format!("GET / HTTP/9.9\r\nHost: {host}\r\n\r\n"),
        format!("GET /a b HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ] {
        let answer = raw(&house, &[head.as_bytes()], 0).await;
        assert_eq!(answer.status(), Some(400), "{head}: {}", answer.text());
        assert!(answer.closed && answer.answers() == 1, "{head}: {}", answer.text());
    }
}

#[tokio::test]
async fn row_80_bodies_of_our_own_api_are_small() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    let post = |body: String| TestRequest {
        body: body.into(),
        ..TestRequest::post_json(&app.url("/api/accounts"), &serde_json::json!({}))
    };
    app.send(post(format!("{{\"handle\":\"{}\"}}", "x".repeat(20_000)))).await.must_be(413);
    assert_eq!(app.send(post("[".repeat(10_000))).await.expect_status(400).json()["error"], "invalid_json");
    assert_eq!(app.send(post("{\"handle\":7}".to_owned())).await.expect_status(400).json()["error"], "invalid_json");
    let mut text = post("handle=x".to_owned());
    text.headers.clear();
    app.send(text.header("content-type", "text/plain")).await.must_be(415);
}

#[tokio::test]
async fn injections_in_identifiers_reach_nothing() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    house.network.clear_logs();
    for evil in [
        "' OR 1=1--",
        "alice.test\r\nX: y",
        "\u{1b}[31m.test",
        "{tag}.test",
        "a\0.test",
        "did:plc:' OR",
        "did:web:evil\r\n",
        &"a.".repeat(1000),
    ] {
        visitor.try_start_login(evil).await.must_be(400);
        let mut request = TestRequest::get(&house.url("/xrpc/com.atproto.server.getSession"));
        if evil.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            request = request.header("bowerbird-account", evil);
        }
        visitor.send(request).await.must_be(401);
    }
    assert_eq!(house.sent(), Vec::<String>::new());
}
