//! A client that measures: one connection, one request after the other, from the first byte sent to the last one read.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Keeps a connection open.
pub(crate) struct Clock {
    address: SocketAddr,
    stream: TcpStream,
}

/// An answer, as far as it is looked at, and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) nanos: u64,
    /// Status, error code, and length of the body: what a client is openly told.
    pub(crate) told: (u16, Option<String>, usize),
}

impl Clock {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self { address, stream: connect(address) }
    }

    /// Sends a request, and waits for all of the answer.
    pub(crate) fn time(&mut self, request: &[u8]) -> Timed {
        let mut buffer = [0; 16_384];
        let mut length = 0;
        #[expect(clippy::disallowed_methods, reason = "this is the measurement")]
        let begun = Instant::now();
        self.stream.write_all(request).unwrap();
        let (head, body) = loop {
            let read = self.stream.read(&mut buffer[length..]).unwrap();
            assert!(read > 0, "the server closed: {}", String::from_utf8_lossy(&buffer[..length]));
            length += read;
            let Some(end) = buffer[..length].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&buffer[..end]).unwrap();
            let body = header(head, "content-length").map_or(0, |text| text.parse::<usize>().unwrap());
            if length >= end + 4 + body {
                break (head, body);
            }
        };
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap();
        let status = head[9..12].parse().unwrap();
        let told = (status, header(head, "bowerbird-error").map(str::to_owned), body);
        if header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = connect(self.address);
        }
        Timed { nanos, told }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
