//! Which connections are kept, and for whom.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{HttpClient, Purpose, StreamBody, full_body};
use bowerbird_core::testing::TestClock;
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use tokio::time::{sleep, timeout};

use crate::support::server::{OK, Server};
use crate::support::{Setup, fetched, post};

fn streamed(url: &str) -> Request<StreamBody> {
    Request::get(url).body(full_body("")).unwrap()
}

#[tokio::test]
async fn a_refresh_never_uses_a_kept_connection_and_never_leaves_one() {
    let server = Server::fixed(OK).await;
    let client = Setup::new().allow(server.address).client();
    fetched(&client, &server.url("/"), Purpose::Api).await;
    for expected in 2..=6 {
        client.send(post(&server.url("/oauth/token"), "refresh"), Purpose::Refresh).await.unwrap();
        assert_eq!(server.connections(), expected);
    }
    fetched(&client, &server.url("/"), Purpose::Api).await;
    assert_eq!(server.connections(), 6, "the connection of the first call is still there");
}

#[tokio::test]
async fn calls_share_one_connection() {
    let server = Server::fixed(OK).await;
    let client = Setup::new().allow(server.address).client();
    for _ in 0..25 {
        fetched(&client, &server.url("/"), Purpose::Api).await;
        fetched(&client, &server.url("/"), Purpose::Document).await;
        client.send(post(&server.url("/"), "par"), Purpose::Authorization).await.unwrap();
        let answer = client.stream(streamed(&server.url("/"))).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    assert_eq!((server.connections(), server.requests()), (1, 100));
}

#[tokio::test]
async fn a_streamed_answer_gives_its_connection_back_when_its_last_byte_was_read() {
    let chunked = Server::fixed("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let sized = Server::fixed(OK).await;
    let client = Setup::new().allow(chunked.address).allow(sized.address).client();
    for _ in 0..5 {
        let answer = client.stream(streamed(&chunked.url("/"))).await.unwrap();
        answer.into_body().collect().await.unwrap();
        // A reader that knows the length does not ask for the end.
        let mut answer = client.stream(streamed(&sized.url("/"))).await.unwrap();
        assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    }
    assert_eq!((chunked.connections(), sized.connections()), (1, 1));
}

#[tokio::test]
async fn parallel_calls_get_a_connection_each_and_keep_them() {
    let server = Server::start(|mut peer, _| async move {
        while peer.request().await.is_some() {
            sleep(Duration::from_millis(20)).await;
            peer.write(OK).await;
        }
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    for _ in 0..3 {
        join_all((0..20).map(|_| async { fetched(&client, &server.url("/"), Purpose::Api).await })).await;
    }
    assert_eq!((server.connections(), server.requests()), (20, 60));
}

#[tokio::test]
async fn a_handles_server_is_asked_once_and_let_go() {
    let server = Server::fixed(OK).await;
    let client = Setup::new().allow(server.address).client();
    for _ in 0..3 {
        fetched(&client, &server.url("/.well-known/atproto-did"), Purpose::HandleLookup).await;
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_server_that_closes_soon_is_left_in_time() {
    for (announced, connections) in [("timeout=1", 2), ("timeout=60, max=100", 1)] {
        let answer = format!("HTTP/1.1 200 OK\r\nkeep-alive: {announced}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::fixed(answer).await;
        let client = Setup::new().allow(server.address).client();
        fetched(&client, &server.url("/"), Purpose::Api).await;
        fetched(&client, &server.url("/"), Purpose::Api).await;
        assert_eq!(server.connections(), connections, "{announced}");
    }
}

#[tokio::test]
async fn a_connection_that_idled_too_long_is_not_used() {
    let server = Server::fixed(OK).await;
    let clock = Arc::new(TestClock::new());
    let client = Setup::new().allow(server.address).client_at(Arc::clone(&clock) as _);
    for (idled, connections) in [(0, 1), (29, 1), (31, 2), (1, 2)] {
        clock.advance(Duration::from_secs(idled));
        fetched(&client, &server.url("/"), Purpose::Api).await;
        assert_eq!(server.connections(), connections, "{idled} s");
    }
}

#[tokio::test]
async fn idle_connections_are_closed_without_another_call() {
    let (sender, mut left) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let sender = sender.clone();
        async move {
            while peer.request().await.is_some() {
                peer.write(OK).await;
            }
            sender.send(()).unwrap();
        }
    })
    .await;
    let clock = Arc::new(TestClock::new());
    let client = Setup::new().allow(server.address).faster(100).client_at(Arc::clone(&clock) as _);
    fetched(&client, &server.url("/"), Purpose::Api).await;
    sleep(Duration::from_millis(150)).await;
    assert!(left.try_recv().is_err(), "it is kept for a while");
    clock.advance(Duration::from_secs(31));
    assert!(timeout(Duration::from_secs(1), left.recv()).await.is_ok(), "then it is closed");
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    let client = Setup::new().allow(server.address).client();
    for _ in 0..3 {
        fetched(&client, &server.url("/"), Purpose::Api).await;
    }
    assert_eq!((server.connections(), server.requests()), (3, 3));
}

/// An answer that nobody reads to its end must not come out at the start of the next one.
#[tokio::test]
async fn an_abandoned_answer_closes_its_connection() {
    let server = Server::start(|mut peer, number| async move {
        while peer.request().await.is_some() {
            let text = if number == 0 { "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nfirst half" } else { OK };
            peer.write(text).await;
        }
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    let mut answer = client.stream(streamed(&server.url("/"))).await.unwrap();
    assert!(answer.body_mut().frame().await.unwrap().is_ok());
    drop(answer);
    assert_eq!(fetched(&client, &server.url("/"), Purpose::Api).await.body(), "ok");
    assert_eq!(server.connections(), 2);
}

/// A second answer that nobody asked for, left in the pipe for the next person.
#[tokio::test]
async fn an_answer_without_a_request_is_never_handed_out() {
    let poisoned = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let server = Server::fixed(poisoned).await;
    let client = Setup::new().allow(server.address).client();
    for _ in 0..10 {
        if let Ok(answer) = client.send(post(&server.url("/"), "a"), Purpose::Api).await {
            assert_eq!(answer.body(), "ok");
        }
        sleep(Duration::from_millis(2)).await;
    }
    assert!(server.connections() >= 5);
}

#[tokio::test]
async fn many_origins_do_not_pile_up() {
    let mut setup = Setup::new();
    let server = Server::fixed(OK).await;
    let port = server.address.port();
    setup = setup.allow_name(&format!("localhost:{port}"));
    for number in 0..1500 {
        setup = setup.allow_name(&format!("h{number}.localhost:{port}"));
    }
    let client = setup.client();
    fetched(&client, &format!("http://localhost:{port}/"), Purpose::Api).await;
    for number in 0..1500 {
        let url = format!("http://h{number}.localhost:{port}/");
        client.send(post(&url, "x"), Purpose::HandleLookup).await.unwrap();
    }
    fetched(&client, &format!("http://localhost:{port}/"), Purpose::Api).await;
    assert_eq!(server.requests(), 1502);
}
