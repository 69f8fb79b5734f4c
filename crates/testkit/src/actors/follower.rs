//! Somebody who reads an event stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::server::BowerbirdProcess;

/// An event stream that is read for as long as this lives, and what came.
pub struct Follower {
    heard: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Follower {
    /// Opens a stream and waits until it is open. `authorization` is a header line, or nothing.
    pub async fn open(address: SocketAddr, host: &str, path: &str, authorization: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let hears = Arc::clone(&heard);
        let reading = tokio::spawn(async move {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                hears.lock().extend_from_slice(&piece[..count]);
            }
        });
        let follower = Self { heard, reading };
        for _ in 0..500 {
            if follower.text().contains(": following") {
                return follower;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no stream: {}", follower.text());
    }

    /// Follows the accounts of a session.
    pub async fn of(server: &BowerbirdProcess, seal: &str) -> Self {
        let authorization = format!("Authorization: Bearer {seal}\r\n");
        Self::open(server.address(), &server.host(), "/api/events", &authorization).await
    }

    /// Everything that came.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock()).into_owned()
    }

    /// How many events of a type came.
    pub fn count(&self, kind: &str) -> usize {
        self.text().matches(&format!("\nevent: {kind}\n")).count()
    }

    /// Whether the server ended the stream.
    pub fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
