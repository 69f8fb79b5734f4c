//! How much memory large bodies take. Each test has a process of its own, so that the figure is its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bowerbird_core::ports::{HttpClient, HttpFault, Purpose, full_body};
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody as FramesBody};
use tokio::io::AsyncReadExt;

use crate::support::process::{resident_bytes, run_alone};
use crate::support::server::{OK, Server};
use crate::support::{PURPOSES, Setup, fetched, refused};

const GIGABYTES_10: u64 = 10 * 1024 * 1024 * 1024;
const MEGABYTES_50: u64 = 50 * 1024 * 1024;
const BLOCK: usize = 64 * 1024;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Announces a body by its head, and sends as much of it as anybody takes.
async fn flood(head: &'static str, length: u64, taken: Arc<AtomicU64>) -> Server {
    Server::start(move |mut peer, _| {
        let taken = Arc::clone(&taken);
        async move {
            peer.request().await;
            peer.write(head).await;
            let mut left = length;
            while left > 0 && peer.write(&ZEROS).await {
                left -= BLOCK as u64;
                taken.fetch_add(BLOCK as u64, Ordering::Relaxed);
            }
        }
    })
    .await
}

#[test]
fn row_43_ten_gigabytes_take_no_memory() {
    run_alone("memory::alone_with_ten_gigabytes", &[]);
}

#[tokio::test]
#[ignore = "run by row_43 in a process of its own"]
async fn alone_with_ten_gigabytes() {
    let taken = Arc::<AtomicU64>::default();
    let endless = flood("HTTP/1.1 200 OK\r\n\r\n", GIGABYTES_10, Arc::clone(&taken)).await;
    let warm = Server::fixed(OK).await;
    let client = Setup::new().allow(endless.address).allow(warm.address).client();
    fetched(&client, &warm.url("/"), Purpose::Document).await;
    let before = resident_bytes();
    for purpose in PURPOSES.into_iter().filter(|&purpose| purpose != Purpose::Api) {
        assert_eq!(refused(&client, &endless.url("/"), purpose).await.fault, HttpFault::TooLarge);
    }
    let grown = resident_bytes().saturating_sub(before);
    let taken = taken.load(Ordering::Relaxed);
    println!("10 GB offered to 4 purposes: {grown} bytes of memory, {taken} bytes taken");
    assert!(grown < 2 * 1024 * 1024, "{grown} bytes");
    // What the kernel buffers on loopback is taken too.
    assert!(taken < 64 * 1024 * 1024, "{taken} bytes");
}

#[test]
fn streaming_takes_no_memory_either_way() {
    run_alone("memory::alone_with_fifty_megabytes_down", &[]);
    run_alone("memory::alone_with_fifty_megabytes_up", &[]);
}

#[tokio::test]
#[ignore = "run in a process of its own"]
async fn alone_with_fifty_megabytes_down() {
    let server = flood("HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n", MEGABYTES_50, Arc::default()).await;
    let client = Setup::new().allow(server.address).client();
    let before = resident_bytes();
    let answer = client.stream(Request::get(server.url("/")).body(full_body("")).unwrap()).await.unwrap();
    let mut body = answer.into_body();
    let (mut received, mut peak) = (0, 0);
    while let Some(frame) = body.frame().await {
        received += frame.unwrap().into_data().unwrap().len() as u64;
        peak = peak.max(resident_bytes());
    }
    assert_eq!(received, MEGABYTES_50);
    println!("50 MB down: {} bytes of memory", peak - before);
    assert!(peak - before < 3 * 1024 * 1024, "{} bytes", peak - before);
}

#[tokio::test]
#[ignore = "run in a process of its own"]
async fn alone_with_fifty_megabytes_up() {
    let received = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&received);
    let server = Server::start(move |mut peer, _| {
        let counter = Arc::clone(&counter);
        async move {
            let mut buffer = vec![0; BLOCK];
            let mut head = 0;
            while counter.load(Ordering::Relaxed) < MEGABYTES_50 + head {
                let read = peer.stream.read(&mut buffer).await.unwrap();
                if head == 0 {
                    head = buffer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() as u64 + 4;
                }
                counter.fetch_add(read as u64, Ordering::Relaxed);
            }
            peer.write(OK).await;
        }
    })
    .await;
    let client = Setup::new().allow(server.address).client();
    let before = resident_bytes();
    let blocks = stream::iter(
        (0..MEGABYTES_50 / BLOCK as u64).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![1; BLOCK])))),
    );
    let body = FramesBody::new(blocks).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(server.url("/")).header("content-length", MEGABYTES_50).body(body).unwrap();
    assert_eq!(client.stream(request).await.unwrap().status(), 200);
    let grown = resident_bytes().saturating_sub(before);
    println!("50 MB up: {grown} bytes of memory");
    assert!(received.load(Ordering::Relaxed) >= MEGABYTES_50);
    assert!(grown < 3 * 1024 * 1024, "{grown} bytes");
}
