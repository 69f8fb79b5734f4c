//! Large bodies in both directions: passed on as they come, never kept, and at the pace of the slower side.

use std::time::Duration;

use bowerbird_testkit::fault::{FaultAccount, Reply, ReplyBody};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{House, Must as _};

const MEGABYTE: usize = 1024 * 1024;
const LARGE: usize = 50 * MEGABYTE;
/// How much memory a body of any size may cost.
const ROOM: u64 = 8 * 1024 * 1024;
const UPLOAD: &str = "/xrpc/com.atproto.repo.uploadBlob";

/// A house with one person in it, warm: memory that is taken once and for all is taken.
async fn warm_house() -> (House, FaultAccount, String) {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    let mut call = Call::upload(&house, &seal, 4 * MEGABYTE).await;
    call.write(4 * MEGABYTE).await;
    assert_eq!(call.status().await, 200);
    (house, alice, seal)
}

/// A request by hand, so that its pace is ours.
struct Call {
    stream: TcpStream,
}

impl Call {
    async fn open(house: &House, head: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
        let mut stream = TcpStream::connect(house.server.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream }
    }

    async fn upload(house: &House, seal: &str, length: usize) -> Self {
        let head = format!(
            "POST {UPLOAD} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {seal}\r\nContent-Type: video/mp4\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n",
            house.server.host()
        );
        Self::open(house, &head).await
    }

    async fn download(house: &House, seal: &str, cid: &str) -> Self {
        let head = format!(
            "GET /xrpc/com.atproto.sync.getBlob?did=x&cid={cid} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {seal}\r\n\
             Connection: close\r\n\r\n",
            house.server.host()
        );
        Self::open(house, &head).await
    }

    async fn write(&mut self, bytes: usize) {
        let piece = vec![7; 64 * 1024];
        for _ in 0..bytes / piece.len() {
            // A server that refuses early closes while we write.
            if self.stream.write_all(&piece).await.is_err() {
                return;
            }
        }
    }

    /// Reads the whole answer and returns its status; 0 when the connection ended without one.
    async fn status(&mut self) -> u16 {
        let mut answer = Vec::new();
        let _reset = self.stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        text.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }
}

fn endless(pieces: u64) -> Reply {
    let mut reply = Reply::text(200, "application/octet-stream", "");
    reply.body = ReplyBody::Repeat { piece: Bytes::from(vec![9; 16 * 1024]), times: pieces };
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_up_cost_little_memory() {
    let (house, alice, seal) = warm_house().await;
    let before = house.server.rss_bytes();
    let mut call = Call::upload(&house, &seal, LARGE).await;
    let mut highest = 0;
    for _ in 0..LARGE / MEGABYTE {
        call.write(MEGABYTE).await;
        highest = highest.max(house.server.rss_bytes());
    }
    assert_eq!(call.status().await, 200);
    highest = highest.max(house.server.rss_bytes());
    let grown = highest.saturating_sub(before);
    println!("upload of {LARGE} bytes: {grown} bytes more at most, from {before}");
    assert!(grown < ROOM, "{grown} bytes more");
    let uploads = house.network.pds().uploads();
    let last = uploads.last().unwrap();
    assert_eq!((last.did.as_str(), last.bytes, last.mime_type.as_str()), (&*alice.did, LARGE as u64, "video/mp4"));
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_down_cost_little_memory() {
    let (house, _, seal) = warm_house().await;
    house.network.pds().put_blob("large", endless((LARGE / (16 * 1024)) as u64));
    let before = house.server.rss_bytes();
    let mut call = Call::download(&house, &seal, "large").await;
    let (mut highest, mut read) = (0, 0);
    let mut piece = vec![0; 256 * 1024];
    loop {
        let count = call.stream.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        read += count;
        highest = highest.max(house.server.rss_bytes());
    }
    let grown = highest.saturating_sub(before);
    println!("download of {read} bytes: {grown} bytes more at most, from {before}");
    assert!(read > LARGE, "{read} bytes came");
    assert!(grown < ROOM, "{grown} bytes more");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_server_down_instead_of_filling_it() {
    let (house, _, seal) = warm_house().await;
    house.network.pds().put_blob("endless", endless(u64::MAX));
    let (before, files) = (house.server.rss_bytes(), house.server.open_files());
    let mut calls = Vec::new();
    for _ in 0..4 {
        let mut call = Call::download(&house, &seal, "endless").await;
        let mut start = [0; 1024];
        call.stream.read_exact(&mut start).await.unwrap();
        calls.push(call);
    }
    // Nobody reads on; what would fill the memory has a second to do so.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let grown = house.server.rss_bytes().saturating_sub(before);
        assert!(grown < ROOM, "{grown} bytes more");
    }
    house.server.app(&seal).get("/xrpc/com.atproto.server.getSession").await.must_be(200);
    // A reader that leaves ends the download upstream, too.
    drop(calls);
    house.until("the connections are closed", || house.server.open_files() <= files + 2).await;
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_in_the_middle_leaves_nothing_behind() {
    let (house, _, seal) = warm_house().await;
    let (uploads, files) = (house.network.pds().uploads().len(), house.server.open_files());
    for _ in 0..10 {
        let mut call = Call::upload(&house, &seal, LARGE).await;
        call.write(2 * MEGABYTE).await;
        drop(call);
    }
    house.until("the connections are closed", || house.server.open_files() <= files + 2).await;
    assert_eq!(house.network.pds().uploads().len(), uploads, "no part of a file was taken for the whole");
    let mut call = Call::upload(&house, &seal, 4 * MEGABYTE).await;
    call.write(4 * MEGABYTE).await;
    assert_eq!(call.status().await, 200);
    assert_eq!(house.network.pds().uploads().len(), uploads + 1);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_out_once_with_a_nonce_that_was_asked_for_before() {
    let (mut house, _, seal) = warm_house().await;
    let pds = house.network.pds();
    // A new process knows no nonce: it asks with a small call, and then sends the body once.
    house.server.restart().await;
    house.network.clear_logs();
    let mut call = Call::upload(&house, &seal, 4 * MEGABYTE).await;
    call.write(4 * MEGABYTE).await;
    assert_eq!(call.status().await, 200);
    assert_eq!(pds.calls("com.atproto.repo.uploadBlob"), 1, "the body was sent once");
    // A nonce that ends unseen costs one failure that says when to come again, and nothing is sent twice.
    pds.renew_nonces();
    house.network.clear_logs();
    let mut call = Call::upload(&house, &seal, 512 * 1024).await;
    call.write(512 * 1024).await;
    let first = call.status().await;
    assert!(matches!(first, 0 | 200 | 503), "{first}");
    let mut call = Call::upload(&house, &seal, 512 * 1024).await;
    call.write(512 * 1024).await;
    assert_eq!(call.status().await, 200);
    assert_eq!(pds.calls("com.atproto.repo.uploadBlob"), 2, "each body was sent once");
    house.assert_sound().await;
}
