//! A redis-server on a free port of loopback, nothing on disk.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Captured;
use crate::child::thread_sleep;

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    port: u16,
}

impl RedisServer {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let server = Self { process: spawn(port), port };
        server.reachable().await;
        server
    }

    /// For `BOWERBIRD_REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }

    /// Starts again, empty, on the same port.
    pub async fn start_again(&mut self) {
        self.kill();
        self.process = spawn(self.port);
        self.reachable().await;
    }

    /// Stops it where it is: connections stay open and nobody answers.
    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.process), Signal::STOP).expect("a child of this process");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.process), Signal::CONT).expect("a child of this process");
    }

    /// Runs a command.
    pub fn command(&self, words: &[&[u8]]) -> RedisValue {
        let mut connection = self.connect();
        send(&mut connection, words);
        read(&mut BufReader::new(connection))
    }

    /// Every key with its value, as bytes. Panics at a value that is no string: the program keeps no other kind.
    pub fn everything(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let RedisValue::List(keys) = self.command(&[b"KEYS", b"*"]) else { panic!("KEYS gives a list") };
        let mut all = Vec::new();
        for key in keys {
            let RedisValue::Bytes(key) = key else { panic!("a key is text") };
            match self.command(&[b"GET", &key]) {
                RedisValue::Bytes(value) => all.push((key, value)),
                RedisValue::Nothing => {}
                other => panic!("{}: {other:?}", String::from_utf8_lossy(&key)),
            }
        }
        all
    }

    /// Everything that is sent to it from now on, published messages included.
    pub fn overhear(&self) -> Captured {
        let mut connection = self.connect();
        send(&mut connection, &[b"MONITOR"]);
        let heard = Captured::default();
        heard.fill_from(connection);
        heard
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("redis-server listens");
        connection.set_nodelay(true).expect("an option of sockets");
        connection
    }

    async fn reachable(&self) {
        for _ in 0..400 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            thread_sleep(Duration::from_millis(25)).await;
        }
        panic!("redis-server does not listen on port {}", self.port);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisValue {
    /// A status or an error.
    Line(String),
    /// A number.
    Number(i64),
    /// A string.
    Bytes(Vec<u8>),
    /// Several.
    List(Vec<RedisValue>),
    /// There is none.
    Nothing,
}

fn spawn(port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs: `apt-get install redis-server`, or `cargo xtask test`, which installs it")
}

fn send(connection: &mut TcpStream, words: &[&[u8]]) {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    connection.write_all(&request).expect("redis-server reads");
}

fn read(from: &mut BufReader<TcpStream>) -> RedisValue {
    let mut line = String::new();
    from.read_line(&mut line).expect("an answer");
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "$" if rest == "-1" => RedisValue::Nothing,
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().expect("a length") + 2];
            from.read_exact(&mut bytes).expect("a string");
            bytes.truncate(bytes.len() - 2);
            RedisValue::Bytes(bytes)
        }
        "*" => RedisValue::List((0..rest.parse::<usize>().unwrap_or(0)).map(|_| read(from)).collect()),
        ":" => RedisValue::Number(rest.parse().expect("a number")),
        _ => RedisValue::Line(rest.to_owned()),
    }
}
