//! A redis-server of one test: a free port of loopback, nothing on disk.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::on_ci;
use super::redis_protocol::{Value, ask, tell};
use crate::child::{Captured, ChildProcess, thread_sleep};

/// The server; ends when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: ChildProcess,
    port: u16,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Whether Redis is installed. Where it is not, prints that the test is skipped; on CI its absence is a failure.
    pub fn available() -> bool {
        if Command::new("redis-server").arg("--version").output().is_ok() {
            return true;
        }
        assert!(!on_ci(), "there is no redis-server: run the tests by `cargo xtask test`, which installs it");
        eprintln!("skipped: there is no redis-server");
        false
    }

    /// Starts it on a free port.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further options.
    pub async fn start_with(options: &[&str]) -> Self {
        let port = free_port();
        let port_option = port.to_string();
        let options = ["--port", &port_option].into_iter().chain(options.iter().copied());
        Self::run(port, options.map(str::to_owned).collect()).await
    }

    /// With TLS only, by a certificate that is its own authority; both are PEM files.
    pub async fn start_tls(certificate: &Path, key: &Path) -> Self {
        let port = free_port();
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let mut arguments: Vec<String> = ["--port", "0", "--tls-auth-clients", "no"].map(str::to_owned).into();
        for (option, value) in [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", certificate.clone()),
            ("--tls-key-file", key),
            ("--tls-ca-cert-file", certificate),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        Self::run(port, arguments).await
    }

    async fn run(port: u16, arguments: Vec<String>) -> Self {
        let server = Self { child: spawn(&arguments), port, arguments };
        server.reachable().await;
        server
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `BOWERBIRD_REDIS_URL` is set to.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&mut self) {
        self.child.kill();
        self.child = spawn(&self.arguments);
        self.reachable().await;
    }

    /// Stops it where it is: connections stay open and nobody answers.
    pub fn freeze(&mut self) {
        self.child.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// Runs a command as an operator would.
    pub fn command(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Every key with its value, as bytes. Panics at a value that is no string: the program keeps no other kind.
    pub fn everything(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Value::List(keys) = ask(self.connect(), &[b"KEYS", b"*"]) else { panic!("KEYS gives a list") };
        let mut all = Vec::new();
        for key in keys {
            let Value::Bytes(key) = key else { panic!("a key is text") };
            match ask(self.connect(), &[b"GET", &key]) {
                Value::Bytes(value) => all.push((key, value)),
                Value::Nothing => {}
                other => panic!("{}: {other:?}", String::from_utf8_lossy(&key)),
            }
        }
        all
    }

    /// Puts a value there for a minute.
    pub fn put(&self, key: &[u8], value: &[u8]) {
        let answer = ask(self.connect(), &[b"SET", key, value, b"PX", b"60000"]);
        assert_eq!(answer, Value::Line("OK".to_owned()));
    }

    /// Everything that is sent to it from now on, published messages included.
    pub fn overhear(&self) -> Captured {
        let mut connection = self.connect();
        tell(&mut connection, &[b"MONITOR"]);
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
        panic!("redis-server does not listen on port {}: {}", self.port, self.child.stdout.text());
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("the listener's address").port()
}

fn spawn(arguments: &[String]) -> ChildProcess {
    let mut command = Command::new("redis-server");
    command.args(arguments).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.current_dir(std::env::temp_dir());
    ChildProcess::spawn(&mut command, Captured::default(), Captured::default())
}
