//! A redis-server of one test: a free port of loopback, nothing on disk.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::on_ci;
use crate::child::{Captured, ChildProcess, thread_sleep};

/// The server; ends when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: ChildProcess,
    port: u16,
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let port = listener.local_addr().expect("the listener's address").port();
        drop(listener);
        let server = Self { child: spawn(port), port };
        server.reachable().await;
        server
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
        self.child = spawn(self.port);
        self.reachable().await;
    }

    /// Runs a command as an operator would.
    pub fn command(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
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

fn spawn(port: u16) -> ChildProcess {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.current_dir(std::env::temp_dir());
    ChildProcess::spawn(&mut command, Captured::default(), Captured::default())
}
