//! Bodies that are passed on as they come.

use std::convert::Infallible;
use std::time::Duration;

use bowerbird_core::ports::{BoxError, HttpClient, HttpError, HttpFault, Sent, StreamBody, full_body};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody as FramesBody};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use crate::support::server::{OK, Server};
use crate::support::{Setup, start_watch};

/// Chunks with a pause before each.
fn paced(chunks: usize, pause: Duration) -> StreamBody {
    let frames = stream::iter(0..chunks).then(move |_| async move {
        sleep(pause).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'u'; 1024])))
    });
    FramesBody::new(frames).map_err(|never| match never {}).boxed_unsync()
}

fn fault_of(error: &BoxError) -> HttpFault {
    error.downcast_ref::<HttpError>().expect("an error of the port").fault
}

/// Reads a chunked request to its end, then answers.
async fn patient() -> Server {
    Server::start(|mut peer, _| async move {
        peer.request().await;
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            let mut buffer = vec![0; 65_536];
            match peer.stream.read(&mut buffer).await {
                Ok(read) if read > 0 => seen.extend_from_slice(&buffer[..read]),
                _ => return,
            }
        }
        peer.write(OK).await;
    })
    .await
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_deadline_of_the_answer() {
    let server = patient().await;
    // 300 ms for the answer, 600 ms of pause at most; the upload takes 900 ms.
    let client = Setup::new().allow(server.address).faster(100).client();
    let start = start_watch();
    let request = Request::post(server.url("/")).body(paced(30, Duration::from_millis(30))).unwrap();
    let answer = client.stream(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert!(start.elapsed() > Duration::from_millis(800));
}

#[tokio::test]
async fn a_client_that_stops_sending_is_given_up() {
    let server = patient().await;
    let client = Setup::new().allow(server.address).faster(100).client();
    let start = start_watch();
    let request = Request::post(server.url("/")).body(paced(2, Duration::from_mins(1))).unwrap();
    let error = client.stream(request).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (HttpFault::Timeout, Sent::Perhaps));
    let elapsed = start.elapsed();
    assert!((Duration::from_millis(590)..Duration::from_millis(1500)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test]
async fn a_server_that_stops_reading_is_given_up() {
    let server = Server::mute().await;
    let client = Setup::new().allow(server.address).faster(100).client();
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 8192]))));
    let body = FramesBody::new(endless).map_err(|never| match never {}).boxed_unsync();
    let error = client.stream(Request::post(server.url("/")).body(body).unwrap()).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (HttpFault::Timeout, Sent::Perhaps));
}

#[tokio::test]
async fn an_answer_that_never_comes_after_the_upload_is_given_up_after_the_deadline() {
    let server = Server::start(|mut peer, _| async move {
        peer.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let client = Setup::new().allow(server.address).faster(100).client();
    for body in [full_body("whole"), full_body(""), paced(3, Duration::from_millis(1))] {
        let start = start_watch();
        let error = client.stream(Request::post(server.url("/")).body(body).unwrap()).await.unwrap_err();
        assert_eq!((error.fault, error.sent), (HttpFault::Timeout, Sent::Perhaps));
        let elapsed = start.elapsed();
        assert!((Duration::from_millis(290)..Duration::from_millis(590)).contains(&elapsed), "{elapsed:?}");
    }
}

#[tokio::test]
async fn a_download_may_be_slow_but_not_stop() {
    let server = Server::start(|mut peer, number| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n").await;
        for _ in 0..20 {
            peer.write("x").await;
            sleep(Duration::from_millis(if number == 0 { 60 } else { 1 })).await;
            if number == 1 {
                std::future::pending::<()>().await;
            }
        }
    })
    .await;
    let client = Setup::new().allow(server.address).faster(100).client();
    let slow = client.stream(Request::get(server.url("/")).body(full_body("")).unwrap()).await.unwrap();
    assert_eq!(slow.into_body().collect().await.unwrap().to_bytes().len(), 20, "1.2 s, longer than any deadline");
    // The reader's own slowness is not the server's.
    let mut stopped = Request::get(server.url("/"));
    stopped.headers_mut().unwrap().insert("connection", "close".parse().unwrap());
    let stopped = client.stream(stopped.body(full_body("")).unwrap()).await.unwrap();
    let error = stopped.into_body().collect().await.unwrap_err();
    assert_eq!(fault_of(&error), HttpFault::Timeout);
}

#[tokio::test]
async fn a_slow_reader_is_not_held_against_the_server() {
    let server =
        Server::fixed("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n").await;
    let client = Setup::new().allow(server.address).faster(200).client();
    let mut answer = client.stream(Request::get(server.url("/")).body(full_body("")).unwrap()).await.unwrap();
    sleep(Duration::from_millis(400)).await;
    assert_eq!(answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    sleep(Duration::from_millis(400)).await;
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "def");
}

#[tokio::test]
async fn a_download_that_breaks_says_so() {
    let server = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    let answer = client.stream(Request::get(server.url("/")).body(full_body("")).unwrap()).await.unwrap();
    let error = answer.into_body().collect().await.unwrap_err();
    assert_eq!(fault_of(&error), HttpFault::Broken);
}

#[tokio::test]
async fn a_body_of_known_length_keeps_its_length_both_ways() {
    let server = Server::start(|mut peer, _| async move {
        let request = peer.request().await.unwrap();
        assert!(request.contains("content-length: 5\r\n") && request.ends_with("hello"), "{request}");
        peer.write(OK).await;
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    let answer = client.stream(Request::post(server.url("/")).body(full_body("hello")).unwrap()).await.unwrap();
    assert_eq!(http_body::Body::size_hint(answer.body()).exact(), Some(2));
}

#[tokio::test]
async fn an_early_answer_reaches_the_caller_before_the_upload_ends() {
    let server = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        sleep(Duration::from_secs(2)).await;
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    let start = start_watch();
    let request = Request::post(server.url("/")).body(paced(1000, Duration::from_millis(10))).unwrap();
    assert_eq!(client.stream(request).await.unwrap().status(), 413);
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// What a server does that does not want a large body: it says so, and closes with the rest of the body unread, which its
/// system turns into a reset. The answer was there before that.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_came_before_a_reset_is_read() {
    let server = Server::start(|mut peer, _| async move {
        peer.request().await;
        peer.write("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    for round in 0..200 {
        let chunks = stream::iter(0..1000).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 8192]))));
        let body = FramesBody::new(chunks).map_err(|never| match never {}).boxed_unsync();
        let answer = client.stream(Request::post(server.url("/")).body(body).unwrap()).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("round {round}: {error:?}")).status(), 413);
    }
}
