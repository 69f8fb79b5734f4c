//! A small HTTP/1.1 client for loopback servers that this program started: one request, one connection.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// What a server answered.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub(crate) body: String,
}

impl Answer {
    /// The first header of this name, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every header but those that belong to this connection, names in lower case.
    pub(crate) fn lasting_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = ["connection", "content-length", "date", "transfer-encoding"];
        let lasting = self.headers.iter().filter(move |(name, _)| !own.contains(&name.as_str()));
        lasting.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The `name=value` part of every cookie that is set, for a `Cookie` header.
    pub(crate) fn cookies(&self) -> Vec<String> {
        let set = self.headers.iter().filter(|(key, _)| key == "set-cookie");
        set.filter_map(|(_, value)| value.split(';').next()).map(str::to_owned).collect()
    }
}

/// Sends a GET request to `http://HOST:PORT/…` on loopback.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let port: u16 = split(url)?.0.rsplit_once(':').map_or(Ok(80), |(_, port)| port.parse())?;
    get_from(port, url, headers)
}

/// The same from whoever listens on this port, whatever port the URL names: one of several instances.
pub(crate) fn get_from(port: u16, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    request("GET", port, url, headers)
}

/// Host with port, and path.
fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not a plain http URL"))?;
    Ok(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

fn request(method: &str, port: u16, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let (authority, path) = split(url)?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("cannot reach {url}"))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;

    let path = if path.is_empty() { "/" } else { path };
    let headers: String = headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nAccept: */*\r\n{headers}\r\n");
    stream.write_all(head.as_bytes())?;

    let mut received = Vec::new();
    stream.read_to_end(&mut received).with_context(|| format!("{url} broke the connection"))?;
    parse(&received).with_context(|| format!("{url} did not answer in HTTP"))
}

/// Reads a whole answer.
pub(crate) fn parse(received: &[u8]) -> Result<Answer> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n").context("the answer has no end of headers")?;
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("the answer has no status")?.parse()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = &received[end + 4..];
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body)? } else { body.to_vec() };
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut body: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").context("a chunk has no size")?;
        let size = std::str::from_utf8(&body[..end])?.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)?;
        let rest = &body[end + 2..];
        if size == 0 {
            return Ok(whole);
        }
        if rest.len() < size + 2 {
            bail!("a chunk is shorter than it says");
        }
        whole.extend_from_slice(&rest[..size]);
        body = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_cookies_and_chunks() {
        let answer = parse(
            b"HTTP/1.1 303 See Other\r\nLocation: /x\r\nSet-Cookie: sid=abc; Path=/\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
        .unwrap();
        assert_eq!((answer.status, answer.header("location"), answer.body.as_str()), (303, Some("/x"), "abcde"));
        assert_eq!(answer.cookies(), ["sid=abc"]);
    }

    #[test]
    fn refuses_what_is_cut_short() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(unchunk(b"ff\r\nabc\r\n").is_err());
    }
}
