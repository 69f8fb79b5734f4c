//! Rows 43 to 45: answers that are too large, too slow or packed.

use std::time::Duration;

use bowerbird_core::ports::{HttpClient, HttpFault, Purpose, Sent};
use bytes::Bytes;
use http::Request;
use tokio::time::sleep;

use crate::support::server::Server;
use crate::support::{PURPOSES, Setup, fetched, get, refused, start_watch};

fn of_length(length: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

fn chunked(length: usize) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for start in (0..length).step_by(1000) {
        let size = (length - start).min(1000);
        answer.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        answer.resize(answer.len() + size, b'x');
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

#[tokio::test]
async fn row_43_bodies_are_capped_to_the_byte() {
    for purpose in PURPOSES {
        let limit = purpose.body_limit();
        for make in [of_length, chunked] {
            let fits = Server::fixed(make(limit)).await;
            let over = Server::fixed(make(limit + 1)).await;
            let client = Setup::new().allow(fits.address).allow(over.address).client();
            assert_eq!(fetched(&client, &fits.url("/"), purpose).await.body().len(), limit);
            let error = refused(&client, &over.url("/"), purpose).await;
            assert_eq!((error.fault, error.sent), (HttpFault::TooLarge, Sent::Perhaps), "{purpose:?}");
        }
    }
}

#[tokio::test]
async fn row_43_heads_are_capped() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(100));
    let fine = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(99));
    for (answer, fits) in [(long, false), (many, false), (fine, true)] {
        let server = Server::fixed(answer).await;
        let client = Setup::new().allow(server.address).client();
        match client.send(get(&server.url("/")), Purpose::Api).await {
            Ok(answer) => assert!(fits, "{} fields", answer.headers().len()),
            Err(error) => assert!(!fits && error.fault == HttpFault::TooLarge, "{error:?}"),
        }
    }
    // A head that never ends.
    let endless = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\n").await;
        while peer.write("x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await {}
    })
    .await;
    let client = Setup::new().allow(endless.address).client();
    assert_eq!(refused(&client, &endless.url("/"), Purpose::Api).await.fault, HttpFault::TooLarge);
}

/// Writes the text, then one byte after the other.
async fn slow(text: &'static str) -> Server {
    Server::start(move |mut peer, _| async move {
        peer.request().await;
        peer.write(text).await;
        while peer.write("a").await {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn row_44_slow_heads_and_bodies_meet_the_deadline() {
    const DIVISOR: u32 = 20;
    let head = slow("HTTP/1.1 200 OK\r\nx-slow: ").await;
    let body = slow("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
    let silent = slow("").await;
    let client = Setup::new().allow(head.address).allow(body.address).allow(silent.address).faster(DIVISOR).client();
    for server in [&head, &body, &silent] {
        for purpose in [Purpose::HandleLookup, Purpose::Document] {
            let start = start_watch();
            let error = refused(&client, &server.url("/"), purpose).await;
            // "aaaa" as a status line is no HTTP; everything else runs into the deadline.
            assert!(matches!(error.fault, HttpFault::Timeout | HttpFault::TooLarge | HttpFault::Broken), "{error:?}");
            assert_eq!(error.sent, Sent::Perhaps);
            let limit = purpose.deadline() / DIVISOR;
            assert!(start.elapsed() < limit + Duration::from_millis(400), "{:?}", start.elapsed());
        }
    }
    let start = start_watch();
    let error = refused(&client, &body.url("/"), Purpose::Document).await;
    assert_eq!(error.fault, HttpFault::Timeout);
    assert!(start.elapsed() >= Purpose::Document.deadline() / DIVISOR);
}

/// 1,000 to 1, as gzip makes of zeros.
const BOMB: &[u8] =
    &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8, 0x0a];

fn packed(encoding: &str) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\n{encoding}content-length: {}\r\n\r\n", BOMB.len()).into_bytes();
    answer.extend_from_slice(BOMB);
    answer
}

#[tokio::test]
async fn row_45_packed_answers_are_refused_for_lookups_and_never_unpacked() {
    for encoding in [
        "content-encoding: gzip\r\n",
        "content-encoding: br\r\n",
        "content-encoding: gzip, gzip, gzip\r\n",
        "content-encoding: identity\r\ncontent-encoding: zstd\r\n",
        "content-encoding: x-unknown\r\n",
    ] {
        let server = Server::fixed(packed(encoding)).await;
        let client = Setup::new().allow(server.address).client();
        for purpose in PURPOSES.into_iter().filter(|&purpose| purpose != Purpose::Api) {
            assert_eq!(refused(&client, &server.url("/"), purpose).await.fault, HttpFault::Broken, "{encoding}");
        }
        let passed = fetched(&client, &server.url("/"), Purpose::Api).await;
        assert_eq!(passed.body(), BOMB, "for a person's call the bytes pass as they are");
        assert!(passed.headers().contains_key("content-encoding"));
    }
    for encoding in ["", "content-encoding: identity\r\n", "content-encoding: Identity\r\n"] {
        let server = Server::fixed(packed(encoding)).await;
        let client = Setup::new().allow(server.address).client();
        assert_eq!(fetched(&client, &server.url("/"), Purpose::Document).await.body(), BOMB);
    }
}

/// Keeps what the client sent.
async fn echo() -> Server {
    Server::start(|mut peer, _| async move {
        while let Some(request) = peer.request().await {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{request}", request.len());
            peer.write(answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn row_45_lookups_ask_for_identity_and_calls_pass_the_callers_wish() {
    let server = echo().await;
    let client = Setup::new().allow(server.address).client();
    for purpose in PURPOSES {
        let request = Request::get(server.url("/a?b=c"))
            .header("accept-encoding", "gzip, br")
            .header("host", "elsewhere.example")
            .body(Bytes::new())
            .unwrap();
        let answer = client.send(request, purpose).await.unwrap();
        let sent = std::str::from_utf8(answer.body()).unwrap();
        let wish =
            if purpose == Purpose::Api { "accept-encoding: gzip, br\r\n" } else { "accept-encoding: identity\r\n" };
        assert!(sent.contains(wish), "{sent}");
        assert_eq!(sent.matches("accept-encoding").count(), 1, "{sent}");
        assert!(sent.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains(&format!("host: {}\r\n", server.address)), "the checked host, nobody else's: {sent}");
        assert!(!sent.contains("elsewhere"));
        assert!(sent.contains(concat!("user-agent: bowerbird/", env!("CARGO_PKG_VERSION"), "\r\n")));
    }
    let named = Request::get(server.url("/")).header("user-agent", "their/1").body(Bytes::new()).unwrap();
    let answer = client.send(named, Purpose::Api).await.unwrap();
    let sent = std::str::from_utf8(answer.body()).unwrap();
    assert!(sent.contains("user-agent: their/1") && !sent.contains("bowerbird"), "{sent}");
}

#[tokio::test]
async fn answers_that_are_not_http_are_refused() {
    for text in [
        "",
        "\0\0\0\0",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 banana\r\n\r\n",
        "<html>",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ] {
        let server = Server::start(move |mut peer, _| async move {
            peer.request().await;
            peer.write(text).await;
        })
        .await;
        let client = Setup::new().allow(server.address).client();
        let error = refused(&client, &server.url("/"), Purpose::Document).await;
        assert_eq!((error.fault, error.sent), (HttpFault::Broken, Sent::Perhaps), "{text:?}");
    }
}

#[tokio::test]
async fn a_head_announces_a_length_without_a_body() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n").await;
    let client = Setup::new().allow(server.address).client();
    let head = Request::head(server.url("/")).body(Bytes::new()).unwrap();
    assert_eq!(client.send(head, Purpose::HandleLookup).await.unwrap().status(), 200);
}
