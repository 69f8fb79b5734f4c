use axum::routing::{get, post};
use bowerbird_testkit::http_client::{TestClient, TestRequest, send_raw};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A small server that can be told to stop.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

async fn start(limits: ServeLimits) -> Served {
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
        .route("/length", post(async |body: bytes::Bytes| body.len().to_string()))
        .route(
            "/clear",
            post(async |request: Request<Body>| (!is_unclear(request.headers(), request.extensions())).to_string()),
        )
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(400)).await;
                "done"
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let crew = Crew::start(2)?;
        let stop = async {
            stopped.await.ok();
        };
        serve(&crew, listener, router, limits, stop).await
    });
    Served { address, stop, task }
}

#[tokio::test]
async fn an_answer_under_way_ends_before_the_server_does() {
    let served = start(ServeLimits::default()).await;
    let url = format!("http://{}/slow", served.address);
    let asking = tokio::spawn(async move { TestClient::new().get(&url).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.stop.send(()).unwrap();
    assert_eq!(asking.await.unwrap().text(), "done");
    served.task.await.unwrap().unwrap();
    let late = TestClient::new().try_send(TestRequest::get(&format!("http://{}/", served.address))).await;
    assert!(late.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let limits = ServeLimits { shutdown: Duration::from_millis(100), ..ServeLimits::default() };
    let served = start(limits).await;
    let url = format!("http://{}/slow", served.address);
    let asking = tokio::spawn(async move { TestClient::new().try_send(TestRequest::get(&url)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_millis(250), served.task).await.unwrap().unwrap().unwrap();
    drop(asking);
}

#[tokio::test]
async fn connections_over_the_cap_wait_their_turn() {
    let limits = ServeLimits { connections: 1, header_read: Duration::from_millis(500), ..ServeLimits::default() };
    let served = start(limits).await;
    let address = served.address;
    let idle = tokio::spawn(async move { send_raw(address, &[], Duration::ZERO, Duration::from_secs(3)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The silent one holds the only place until its time is up; then the next one is served.
    let answer = TestClient::new().get(&format!("http://{address}/")).await;
    assert_eq!(answer.text(), "here");
    assert!(idle.await.unwrap().unwrap().closed);
}

#[tokio::test]
async fn handlers_see_the_peer_and_whole_bodies() {
    let served = start(ServeLimits::default()).await;
    let client = TestClient::new();
    assert_eq!(client.get(&format!("http://{}/peer", served.address)).await.text(), "127.0.0.1");
    let request = TestRequest::new("POST", &format!("http://{}/length", served.address)).body(vec![7; 500_000]);
    assert_eq!(client.send(request).await.text(), "500000");
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let served = start(ServeLimits::default()).await;
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    let last = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
    let pieces = [head.as_bytes(), head.as_bytes(), last.as_bytes()];
    let answer = send_raw(served.address, &pieces, Duration::from_millis(20), Duration::from_secs(3)).await.unwrap();
    assert_eq!(answer.answers(), 3, "{}", answer.text());
}

#[tokio::test]
async fn a_request_after_chunks_needs_a_new_connection() {
    let served = start(ServeLimits::default()).await;
    let head = format!("POST /length HTTP/1.1\r\nHost: {}\r\n", served.address);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let plain = format!("{head}Content-Length: 2\r\n\r\nab");
    let pieces = [plain.as_bytes(), chunked.as_bytes(), plain.as_bytes()];
    for pieces in [&pieces[..], &[pieces.concat().as_slice()]] {
        let answer = send_raw(served.address, pieces, Duration::ZERO, Duration::from_secs(3)).await.unwrap();
        assert_eq!((answer.answers(), answer.closed), (2, true), "{}", answer.text());
        assert!(answer.text().contains("connection: close\r\n") && answer.text().ends_with("\r\n\r\n3"));
    }
}

#[tokio::test]
async fn two_lengths_are_seen_however_the_bytes_come() {
    let served = start(ServeLimits::default()).await;
    let plain = format!("POST /length HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\nab", served.address);
    for (fields, clear) in [
        ("Transfer-Encoding: chunked\r\n", "true"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "false"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "false"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "false"),
        ("Transfer-Encoding: gzip, chunked\r\n", "false"),
    ] {
        let last = format!("POST /clear HTTP/1.1\r\nHost: {}\r\n{fields}\r\n0\r\n\r\n", served.address);
        let text = plain.repeat(2) + &last;
        for size in [text.len(), 100, 7] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let answer = send_raw(served.address, &pieces, Duration::ZERO, Duration::from_secs(3)).await.unwrap();
            assert_eq!((answer.answers(), answer.closed), (3, true), "{}", answer.text());
            assert!(answer.text().ends_with(&format!("\r\n\r\n{clear}")), "{fields}: {}", answer.text());
        }
    }
}
