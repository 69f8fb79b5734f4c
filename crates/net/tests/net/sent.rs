//! What we say about a request that got no answer: could the peer have seen it?

use std::time::Duration;

use bowerbird_core::ports::{HttpClient, HttpFault, Purpose, Sent, full_body};
use futures_util::future::join_all;
use http::Request;
use tokio::time::sleep;

use crate::support::dns::{FaultDns, Reply};
use crate::support::server::{OK, Server, closed_port};
use crate::support::{PURPOSES, Setup, fetched, get, post, refused};

#[tokio::test]
async fn nothing_was_sent_when_there_is_no_connection() {
    let closed = closed_port().await;
    let dns = FaultDns::start(|_| Reply::nothing()).await;
    let no_tls = Server::blurts("no tls here").await;
    let client = Setup::new().dns(dns.address).allow(closed).allow(no_tls.address).client();
    for purpose in PURPOSES {
        for (url, fault) in [
            (format!("http://{closed}/"), HttpFault::Connect),
            (format!("https://{closed}/"), HttpFault::Connect),
            (format!("https://{}/", no_tls.address), HttpFault::Connect),
            ("https://missing.example/".to_owned(), HttpFault::NameNotFound),
            ("https://10.0.0.1/".to_owned(), HttpFault::AddressNotAllowed),
            ("http://example.com/".to_owned(), HttpFault::UrlNotAllowed),
        ] {
            let error = client.send(post(&url, "secret"), purpose).await.unwrap_err();
            assert_eq!((error.sent, error.fault), (Sent::No, fault), "{url} {purpose:?}");
        }
    }
    assert_eq!(no_tls.requests(), 0);
    let upload = Request::post(format!("http://{closed}/")).body(full_body("secret")).unwrap();
    assert_eq!(client.stream(upload).await.unwrap_err().sent, Sent::No);
}

#[tokio::test]
async fn nothing_was_sent_when_the_deadline_passes_in_the_handshake() {
    let mute = Server::mute().await;
    let client = Setup::new().allow(mute.address).faster(100).client();
    for purpose in PURPOSES {
        let url = format!("https://{}/", mute.address);
        let error = client.send(post(&url, "secret"), purpose).await.unwrap_err();
        assert_eq!((error.sent, error.fault), (Sent::No, HttpFault::Timeout), "{purpose:?}");
    }
}

#[tokio::test]
async fn perhaps_when_the_peer_took_it_and_left() {
    let leaves = Server::start(|mut peer, _| async move { drop(peer.request().await) }).await;
    let resets = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    let mid_head = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nx-").await;
    })
    .await;
    let mid_body = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\":").await;
        peer.reset();
    })
    .await;
    let servers = [&leaves, &resets, &mid_head, &mid_body];
    let client = servers.iter().fold(Setup::new(), |setup, server| setup.allow(server.address)).client();
    for server in servers {
        for (number, purpose) in PURPOSES.into_iter().enumerate() {
            let error = client.send(post(&server.url("/"), "secret"), purpose).await.unwrap_err();
            assert_eq!((error.sent, error.fault), (Sent::Perhaps, HttpFault::Broken), "{purpose:?}");
            assert_eq!(server.requests(), number + 1, "it was sent once and not again");
        }
    }
}

#[tokio::test]
async fn perhaps_when_the_deadline_passes_after_it_was_sent() {
    let mute = Server::start(|mut peer, _| async move {
        peer.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let client = Setup::new().allow(mute.address).faster(40).client();
    let (client, mute) = (&client, &mute);
    join_all(PURPOSES.map(|purpose| async move {
        let error = client.send(post(&mute.url("/"), "secret"), purpose).await.unwrap_err();
        assert_eq!((error.sent, error.fault), (Sent::Perhaps, HttpFault::Timeout), "{purpose:?}");
    }))
    .await;
    assert_eq!(mute.requests(), PURPOSES.len());
}

/// Answers the first request of the first connection, and hangs up on its second one after reading it.
async fn dies_on_reuse() -> Server {
    Server::start(|mut peer, number| async move {
        while peer.request().await.is_some() {
            peer.write(OK).await;
            if number == 0 {
                peer.request().await;
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_post_on_a_dying_connection_is_not_repeated() {
    for body in ["create", ""] {
        let server = dies_on_reuse().await;
        let client = Setup::new().allow(server.address).client();
        fetched(&client, &server.url("/"), Purpose::Api).await;
        let error = client.send(post(&server.url("/"), body), Purpose::Api).await.unwrap_err();
        assert_eq!((error.sent, error.fault), (Sent::Perhaps, HttpFault::Broken));
        assert_eq!((server.connections(), server.requests()), (1, 2));
    }
}

#[tokio::test]
async fn a_get_on_a_dying_connection_is_repeated_once_on_a_new_one() {
    let server = dies_on_reuse().await;
    let client = Setup::new().allow(server.address).client();
    fetched(&client, &server.url("/"), Purpose::Api).await;
    assert_eq!(fetched(&client, &server.url("/"), Purpose::Api).await.body(), "ok");
    assert_eq!((server.connections(), server.requests()), (2, 3));
}

#[tokio::test]
async fn a_get_on_a_fresh_connection_is_never_repeated() {
    let server = Server::start(|mut peer, _| async move { drop(peer.request().await) }).await;
    let client = Setup::new().allow(server.address).client();
    for expected in 1..=3 {
        assert_eq!(refused(&client, &server.url("/"), Purpose::Api).await.sent, Sent::Perhaps);
        assert_eq!((server.connections(), server.requests()), (expected, expected));
    }
}

/// The usual case: the server closed the kept connection a while ago. Nothing fails.
#[tokio::test]
async fn a_post_after_the_server_closed_the_kept_connection_goes_out_on_a_new_one() {
    let server = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write(OK).await;
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    for _ in 0..20 {
        client.send(post(&server.url("/"), "create"), Purpose::Api).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((server.connections(), server.requests()), (20, 20));
}

/// The peer closes at once. Whatever the client then says, "not sent" must be true.
#[tokio::test]
async fn not_sent_is_never_said_of_a_request_that_arrived() {
    for delay in [0, 0, 0, 50, 100, 200, 400, 800] {
        let server = Server::start(move |mut peer, _| async move {
            sleep(Duration::from_micros(delay)).await;
            drop(tokio::time::timeout(Duration::from_micros(delay), peer.request()).await);
            peer.reset();
        })
        .await;
        let client = Setup::new().allow(server.address).client();
        for _ in 0..30 {
            let before = server.requests();
            let error = client.send(get(&server.url("/")), Purpose::Refresh).await.unwrap_err();
            sleep(Duration::from_millis(1)).await;
            assert!(error.sent == Sent::Perhaps || server.requests() == before, "{error:?}");
        }
    }
}
