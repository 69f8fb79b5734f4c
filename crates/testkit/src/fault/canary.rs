//! A listener that nobody may call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;

use crate::threads::{fixtures, listen};

/// Counts the connections to a port that is on no allowlist, and keeps what they sent.
#[derive(Clone, Debug)]
pub struct CanaryListener(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    connections: AtomicU64,
    received: Mutex<Vec<u8>>,
}

impl CanaryListener {
    /// Listens on a free loopback port.
    pub fn start() -> Self {
        let (listener, address) = listen(0);
        let canary = Self(Arc::new(Inner { address, connections: AtomicU64::new(0), received: Mutex::default() }));
        let inner = canary.0.clone();
        fixtures().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                inner.connections.fetch_add(1, Ordering::SeqCst);
                let inner = inner.clone();
                fixtures().spawn(async move {
                    let mut piece = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut piece).await {
                        inner.received.lock().extend_from_slice(&piece[..count]);
                    }
                });
            }
        });
        canary
    }

    /// The socket address.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// How many connections came.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// What they sent, all together.
    pub fn received(&self) -> Vec<u8> {
        self.0.received.lock().clone()
    }

    /// Panics when anybody called.
    pub fn assert_untouched(&self) {
        let received = String::from_utf8_lossy(&self.received()).into_owned();
        assert_eq!(self.connections(), 0, "the canary listener was called; it received: {received:?}");
    }
}
