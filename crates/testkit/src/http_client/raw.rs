//! Bytes to a socket, for requests that no HTTP library would send.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back before the connection closed or the time was up.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the peer closed (or reset) the connection.
    pub closed: bool,
}

impl RawAnswer {
    /// The status code of the first answer, if there is one.
    pub fn status(&self) -> Option<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        text.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
    }

    /// How many answers came: more than one for one request is a sign of smuggling.
    pub fn answers(&self) -> usize {
        String::from_utf8_lossy(&self.bytes).matches("HTTP/1.1 ").count()
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Writes the pieces in order, with a pause between them, then reads until the peer closes or `wait` has passed.
pub async fn send_raw(address: SocketAddr, pieces: &[&[u8]], pause: Duration, wait: Duration) -> io::Result<RawAnswer> {
    #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
    let mut stream = TcpStream::connect(address).await?;
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            tokio::time::sleep(pause).await;
        }
        // A server that refuses early may close while we write: its answer still counts.
        if stream.write_all(piece).await.is_err() {
            break;
        }
    }
    let mut bytes = Vec::new();
    let mut piece = [0; 8192];
    let read_all = async {
        loop {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
            }
        }
    };
    let closed = tokio::time::timeout(wait, read_all).await.is_ok();
    Ok(RawAnswer { bytes, closed })
}
