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
