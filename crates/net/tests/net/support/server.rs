//! TCP servers on a script, and the canary that must stay alone.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that handles each connection by a script.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Runs the script for every connection; it gets the number of the connection, from 0.
    pub(crate) async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Peer, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    pub(crate) async fn start_at<F, R>(address: SocketAddr, script: F) -> Self
    where
        F: Fn(Peer, usize) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counters = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counters.0.fetch_add(1, Ordering::SeqCst);
                let peer = Peer { stream, unread: Vec::new(), requests: Arc::clone(&counters.1) };
                tokio::spawn(script(peer, number));
            }
        });
        Self { address, connections, requests }
    }

    /// Answers every request with the same bytes, on connections that stay open.
    pub(crate) async fn fixed(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Self::start(move |mut peer, _| {
            let answer = Arc::clone(&answer);
            async move {
                while peer.request().await.is_some() {
                    peer.write(answer.as_slice()).await;
                }
            }
        })
        .await
    }

    /// Takes connections and says nothing, ever.
    pub(crate) async fn mute() -> Self {
        Self::start(|peer, _| async move {
            std::future::pending::<()>().await;
            drop(peer);
        })
        .await
    }

    /// Says the text to everybody who comes, without being asked, and leaves.
    pub(crate) async fn blurts(text: &'static str) -> Self {
        Self::start(move |mut peer, _| async move {
            peer.write(text).await;
        })
        .await
    }

    /// A listener that nobody may reach.
    pub(crate) async fn canary() -> Self {
        Self::start(|_, _| async {}).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests that were read whole.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A port that refuses: it was free a moment ago.
pub(crate) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The client's end, as the server sees it.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    /// Reads one request: its head, and the body that its content-length announces. None when the client has left.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let head_end = loop {
            if let Some(position) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break position + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.unread[..head_end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
        let end = head_end + length.map_or(0, |length| length.parse::<usize>().unwrap());
        while self.unread.len() < end {
            self.fill().await?;
        }
        let rest = self.unread.split_off(end);
        let request = std::mem::replace(&mut self.unread, rest);
        self.requests.fetch_add(1, Ordering::SeqCst);
        Some(String::from_utf8_lossy(&request).into_owned())
    }

    async fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await.ok().filter(|&read| read > 0)?;
        self.unread.extend_from_slice(&buffer[..read]);
        Some(())
    }

    /// Writes; whether the client still listens.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes with a reset instead of a goodbye.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
