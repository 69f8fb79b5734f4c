//! The counting proxy: stands on the PDS' public port, and hands every request on to where the PDS really listens.
//!
//! It reads whole requests and whole answers, one to a connection. What it enters into the ledger of an answer is therefore
//! exact: it left the PDS when it was read here to its end, and nothing of it has reached anybody before it is passed on.

use super::ledger::{Ledger, Outcome, Passed, Ticket, mark};
use crate::http;
use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(2);
const HEAD_BYTES: usize = 64 * 1024;
const BODY_BYTES: usize = 8 * 1024 * 1024;

/// When a process is killed, by what the proxy sees of its token request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Point {
    /// The request has arrived, and is never handed on.
    Withheld,
    /// The request has arrived, and is handed on afterwards.
    Sent,
    /// The answer has arrived, and nothing of it is passed on.
    Answered,
    /// Half of the answer was passed on.
    HalfPassed,
    /// All of it was passed on so long ago.
    Passed(Duration),
}

/// What waits for somebody's token request.
pub(super) struct Trap {
    pub(super) point: Point,
    /// Kills the process that asks.
    pub(super) kill: Box<dyn FnOnce() + Send>,
}

struct Shared {
    ledger: Arc<Ledger>,
    backend: u16,
    traps: Mutex<HashMap<String, Trap>>,
    stopped: AtomicBool,
}

/// The running proxy; stops when it is dropped.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on one port of loopback and forwards to another one.
    pub(super) fn start(port: u16, backend: u16, ledger: Arc<Ledger>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("the proxy has no port")?;
        let (traps, stopped) = Default::default();
        let shared = Arc::new(Shared { ledger, backend, traps, stopped });
        let accepting = Arc::clone(&shared);
        let listener = thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                // Whoever hangs up early, or is killed, ends only this one.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self { shared, port, listener: Some(listener) })
    }

    /// Waits for the next token request of a person.
    pub(super) fn lay(&self, owner: &str, trap: Trap) {
        self.shared.traps.lock().insert(owner.to_owned(), trap);
    }

    /// Takes a trap away that nobody walked into.
    pub(super) fn lift(&self, owner: &str) -> Option<Trap> {
        self.shared.traps.lock().remove(owner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let request = Request::read(&mut client)?;
        let shown = request.refresh_token().map(mark).and_then(|token| self.ledger.shown(token, Instant::now()));
        let Some((ticket, owner)) = shown else {
            let answer = self.forward(&request)?;
            if request.is_token_request() {
                self.note_grant(&answer);
            }
            client.write_all(&answer)?;
            return Ok(client.shutdown(Shutdown::Both)?);
        };
        let trap = self.trap(&owner, |point| matches!(point, Point::Withheld | Point::Sent));
        let Some(trap) = trap else {
            let answer = self.forward(&request)?;
            return self.pass(&mut client, ticket, &owner, &answer);
        };
        (trap.kill)();
        if trap.point == Point::Withheld {
            self.ledger.ended(ticket, Outcome::Withheld, Instant::now());
        } else {
            self.note_outcome(ticket, &self.forward(&request)?);
        }
        Ok(())
    }

    /// Passes the answer to a refresh on, unless a trap says when to stop.
    fn pass(&self, client: &mut TcpStream, ticket: Ticket, owner: &str, answer: &[u8]) -> Result<()> {
        let Outcome::Replaced(successor) = self.note_outcome(ticket, answer) else {
            client.write_all(answer)?;
            return Ok(client.shutdown(Shutdown::Both)?);
        };
        let trap = self.trap(owner, |_| true);
        let (kill, point) = trap.map_or((None, None), |trap| (Some(trap.kill), Some(trap.point)));
        let part = match point {
            Some(Point::Answered) => 0,
            Some(Point::HalfPassed) => answer.len() / 2,
            _ => answer.len(),
        };
        let written = client.write_all(&answer[..part]);
        let passed = match written {
            Ok(()) if part == answer.len() => Passed::Whole(Instant::now()),
            Ok(()) if part == 0 => Passed::Nothing,
            // A broken connection may have taken some of it.
            Ok(()) | Err(_) => Passed::Part,
        };
        self.ledger.passed(successor, passed);
        if let Some(kill) = kill {
            if let Some(Point::Passed(delay)) = point {
                client.shutdown(Shutdown::Write)?;
                thread::sleep(delay);
            }
            kill();
        }
        Ok(client.shutdown(Shutdown::Both)?)
    }

    fn trap(&self, owner: &str, wanted: impl Fn(Point) -> bool) -> Option<Trap> {
        let mut traps = self.traps.lock();
        if traps.get(owner).is_some_and(|trap| wanted(trap.point)) { traps.remove(owner) } else { None }
    }

    fn forward(&self, request: &Request) -> Result<Vec<u8>> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.backend))?;
        server.set_nodelay(true)?;
        server.set_read_timeout(Some(PATIENCE))?;
        server.write_all(&request.bytes())?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn note_outcome(&self, ticket: Ticket, answer: &[u8]) -> Outcome {
        let outcome = outcome(answer).unwrap_or(Outcome::Unknown);
        self.ledger.ended(ticket, outcome, Instant::now());
        outcome
    }

    /// A sign-in has a token answer too.
    fn note_grant(&self, answer: &[u8]) {
        let Ok(answer) = http::parse(answer) else { return };
        let Ok(grant) = serde_json::from_str::<Value>(&answer.body) else { return };
        if let (200, Some(owner), Some(token)) = (answer.status, grant["sub"].as_str(), grant["refresh_token"].as_str())
        {
            self.ledger.granted(owner, mark(token), Instant::now());
        }
    }
}

fn outcome(answer: &[u8]) -> Result<Outcome> {
    let answer = http::parse(answer)?;
    let body: Value = serde_json::from_str(&answer.body)?;
    Ok(match (answer.status, body["refresh_token"].as_str(), body["error"].as_str()) {
        (200, Some(successor), _) => Outcome::Replaced(mark(successor)),
        (_, _, Some("use_dpop_nonce")) => Outcome::Challenged,
        (_, _, Some("invalid_grant")) => Outcome::Refused,
        _ => Outcome::Unknown,
    })
}

/// A whole request.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn read(client: &mut TcpStream) -> Result<Self> {
        let mut received = Vec::new();
        let mut piece = [0; 8192];
        let end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            ensure!(received.len() < HEAD_BYTES, "the head of a request is too long");
            match client.read(&mut piece)? {
                0 => bail!("hung up"),
                count => received.extend_from_slice(&piece[..count]),
            }
        };
        let body = received.split_off(end + 4);
        let mut request = Self { head: String::from_utf8(received)?, body };
        ensure!(request.header("transfer-encoding").is_none(), "the proxy knows no chunked requests");
        let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>)?;
        ensure!(length <= BODY_BYTES, "the body of a request is too long");
        let missing = length.saturating_sub(request.body.len()) as u64;
        client.take(missing).read_to_end(&mut request.body)?;
        ensure!(request.body.len() == length, "a request was cut short");
        Ok(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The request as it is handed on: one to a connection.
    fn bytes(&self) -> Vec<u8> {
        let mut lines = self.head.trim_end().split("\r\n");
        let mut head = lines.next().unwrap_or_default().to_owned() + "\r\n";
        for line in lines {
            let name = line.split(':').next().unwrap_or_default();
            if !["connection", "keep-alive", "proxy-connection"].iter().any(|hop| name.eq_ignore_ascii_case(hop)) {
                head.push_str(line);
                head.push_str("\r\n");
            }
        }
        head.push_str("Connection: close\r\n\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    fn is_token_request(&self) -> bool {
        self.head.starts_with("POST /oauth/token ")
    }

    /// The refresh token of a token request. Theirs have no characters that a form would encode.
    fn refresh_token(&self) -> Option<&str> {
        if !self.is_token_request() {
            return None;
        }
        let form = std::str::from_utf8(&self.body).ok()?;
        form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str, body: &str) -> Request {
        Request { head: head.to_owned(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn only_token_requests_show_refresh_tokens() {
        let form = "grant_type=refresh_token&refresh_token=ref-1&client_id=x";
        assert_eq!(request("POST /oauth/token HTTP/1.1\r\n\r\n", form).refresh_token(), Some("ref-1"));
        assert_eq!(request("POST /oauth/revoke HTTP/1.1\r\n\r\n", form).refresh_token(), None);
        assert_eq!(
            request("POST /oauth/token HTTP/1.1\r\n\r\n", "grant_type=authorization_code").refresh_token(),
            None
        );
    }

    #[test]
    fn a_request_is_handed_on_with_a_connection_of_its_own() {
        let given = request("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "");
        assert_eq!(given.bytes(), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn answers_say_what_came_of_a_token() {
        let answer = |status: &str, body: &str| outcome(format!("HTTP/1.1 {status} X\r\n\r\n{body}").as_bytes());
        assert_eq!(answer("200", r#"{"refresh_token":"b"}"#).unwrap(), Outcome::Replaced(mark("b")));
        assert_eq!(answer("400", r#"{"error":"invalid_grant"}"#).unwrap(), Outcome::Refused);
        assert_eq!(answer("400", r#"{"error":"use_dpop_nonce"}"#).unwrap(), Outcome::Challenged);
        assert_eq!(answer("500", r#"{"error":"server_error"}"#).unwrap(), Outcome::Unknown);
        assert!(answer("502", "<html>").is_err());
    }
}
