//! A private redis-server for a test: a free port of loopback, nothing on disk, gone with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    arguments: Vec<String>,
    _folder: Option<tempfile::TempDir>,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(crate) async fn start(extra: &[&str]) -> Self {
        let port = free_port();
        let mut arguments = vec!["--port".to_owned(), port.to_string()];
        arguments.extend(extra.iter().map(|&argument| argument.to_owned()));
        Self::run(port, arguments, None).await
    }

    /// With TLS only, by a certificate that is its own authority.
    pub(crate) async fn with_tls(certificate: &str, key: &str) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (certificate, key) = (file("cert.pem", certificate), file("key.pem", key));
        let arguments = ["--port", "0", "--tls-port", &port.to_string(), "--tls-cert-file", &certificate]
            .into_iter()
            .chain(["--tls-key-file", &key, "--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"])
            .map(str::to_owned)
            .collect();
        Self::run(port, arguments, Some(folder)).await
    }

    async fn run(port: u16, arguments: Vec<String>, folder: Option<tempfile::TempDir>) -> Self {
        let child = spawn(&arguments, folder.as_ref().map(tempfile::TempDir::path));
        let server = Self { child, port, arguments, _folder: folder };
        server.reachable().await;
        server
    }

    async fn reachable(&self) {
        for _ in 0..400 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("redis-server does not listen on port {}", self.port);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(&self.arguments, None);
        self.reachable().await;
    }

    /// Runs a command as an operator would.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(arguments: &[String], folder: Option<&Path>) -> Child {
    let mut command = Command::new("redis-server");
    command.args(arguments).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    if let Some(folder) = folder {
        command.current_dir(folder);
    } else {
        command.current_dir(std::env::temp_dir());
    }
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs: `apt-get install redis-server`, or `cargo xtask test`, which installs it")
}
