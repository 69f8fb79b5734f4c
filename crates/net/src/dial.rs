//! TCP to addresses that have been checked.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bowerbird_core::ports::{HttpError, HttpFault};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// The head start of an address before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of the addresses that answers.
pub(crate) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, HttpError> {
    let failed = |error: io::Error| HttpError::not_sent(HttpFault::Connect, Some(error.into()));
    let (stream, expected) = match addresses {
        [] => return Err(HttpError::not_sent(HttpFault::NameNotFound, None)),
        [only] => (connect(*only).await.map_err(failed)?, *only),
        several => race(several).await.map_err(failed)?,
    };
    let peer = stream.peer_addr().map_err(failed)?;
    if !is_same_peer(expected, peer) {
        return Err(HttpError::not_sent(HttpFault::AddressNotAllowed, None));
    }
    // Small requests wait for nothing.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

async fn race(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.iter().copied();
    let mut last_error = io::Error::from(io::ErrorKind::NotConnected);
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(async move { (connect(address).await, address) });
        } else if attempts.is_empty() {
            return Err(last_error);
        }
        let all_started = waiting.len() == 0;
        // Until one answers or fails; when others wait, not longer than the head start.
        let outcome = if all_started {
            attempts.next().await
        } else {
            tokio::time::timeout(HEAD_START, attempts.next()).await.unwrap_or(None)
        };
        match outcome {
            Some((Ok(stream), address)) => return Ok((stream, address)),
            Some((Err(error), _)) => last_error = error,
            None => {}
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that opens outgoing connections")]
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// Compares what was asked for with what the system says is at the other end (flow labels aside).
fn is_same_peer(expected: SocketAddr, peer: SocketAddr) -> bool {
    expected.ip() == peer.ip() && expected.port() == peer.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = dial(&[closed, closed, open.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open.local_addr().unwrap());
        let error = dial(&[closed, closed]).await.unwrap_err();
        assert_eq!(error.fault, HttpFault::Connect);
    }

    /// A listener whose queue is full lets connections hang, as a host that drops packets does.
    #[tokio::test]
    async fn the_next_address_is_tried_when_one_is_silent() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let full = socket.listen(1).unwrap();
        let silent = full.local_addr().unwrap();
        let queued = [connect(silent), connect(silent), connect(silent)].map(tokio::spawn);
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let addresses = [silent, open.local_addr().unwrap()];
        let stream = tokio::time::timeout(Duration::from_millis(900), dial(&addresses)).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        queued.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[test]
    fn another_peer_is_noticed() {
        let expected = SocketAddr::from(([192, 0, 2, 1], 443));
        assert!(is_same_peer(expected, expected));
        assert!(!is_same_peer(expected, SocketAddr::from(([127, 0, 0, 1], 443))));
        assert!(!is_same_peer(expected, SocketAddr::from(([192, 0, 2, 1], 80))));
    }
}
