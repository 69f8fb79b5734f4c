//! The bowerbird binary as a child process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::actors::{App, Visitor};
use crate::child::{Captured, ChildProcess, thread_sleep};
use crate::fault::{FaultNetwork, FaultServer};
use crate::http_client::{TestClient, TestRequest};
use crate::real::RealNetwork;
use crate::threads::{random_hex, wall_clock_millis};

/// How long a start may take.
const START_LIMIT_MILLIS: i64 = 30_000;

/// How to start the server. The environment of the test is not passed on, but for `PATH`.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    public_url: Option<String>,
    data: Option<Arc<TempDir>>,
}

/// A running server with a data folder of its own; killed when it is dropped.
#[derive(Debug)]
pub struct BowerbirdProcess {
    options: ServerOptions,
    data: Arc<TempDir>,
    address: SocketAddr,
    child: ChildProcess,
    stdout: Captured,
    stderr: Captured,
    ready_after: Duration,
}

/// A server that did not become ready.
#[derive(Debug)]
pub struct StartFailure {
    /// The exit status; None when it still ran at the deadline.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl ServerOptions {
    /// For the binary at this path: `env!("CARGO_BIN_EXE_bowerbird")` in a test of the bowerbird package.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let (environment, arguments) = Default::default();
        Self { binary: binary.into(), environment, arguments, public_url: None, data: None }
            .env("BOWERBIRD_LOG", "debug")
    }

    /// Sets a variable; a later value wins.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument after `serve`.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Wires the server to a fault network.
    #[must_use]
    pub fn on(self, network: &FaultNetwork) -> Self {
        network.environment().iter().fold(self, |options, (name, value)| options.env(name, value))
    }

    /// Wires the server to the real network.
    #[must_use]
    pub fn on_real(self, network: &RealNetwork) -> Self {
        network.environment().iter().fold(self, |options, (name, value)| options.env(name, value))
    }

    /// Stands behind the address of a running server, as behind one load balancer: another instance, with a data folder of
    /// its own. What both need (database, keys) is the caller's to set.
    #[must_use]
    pub fn beside(mut self, other: &BowerbirdProcess) -> Self {
        self.public_url = Some(other.base_url());
        self
    }

    /// Gives the server a public base URL such as `https://bff.home.arpa`, with fresh secrets, as it must have them there.
    #[must_use]
    pub fn public_url(mut self, base_url: &str) -> Self {
        self.public_url = Some(base_url.to_owned());
        self.env("BOWERBIRD_COOKIE_SECRET", &random_hex::<32>()).env("BOWERBIRD_ENCRYPTION_KEY", &random_hex::<32>())
    }

    /// Shares the data folder (and with it the database) of a running server: a second instance.
    #[must_use]
    pub fn data_of(mut self, other: &BowerbirdProcess) -> Self {
        self.data = Some(Arc::clone(&other.data));
        self
    }
}

impl BowerbirdProcess {
    /// Starts the server and waits until `/ready` answers 200; panics with its output when it does not.
    pub async fn start(options: ServerOptions) -> Self {
        Self::try_start(options).await.unwrap_or_else(|failure| panic!("bowerbird did not start: {failure:#?}"))
    }

    /// Starts the server and waits until it is ready or has ended.
    pub async fn try_start(options: ServerOptions) -> Result<Self, StartFailure> {
        let data = options.data.clone().unwrap_or_else(|| Arc::new(tempfile::tempdir().expect("a temporary folder")));
        let address = free_address();
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let child = spawn(&options, &data, address, &stdout, &stderr);
        let ready_after = Duration::ZERO;
        let mut process = Self { options, data, address, child, stdout, stderr, ready_after };
        process.wait_until_ready().await?;
        Ok(process)
    }

    async fn wait_until_ready(&mut self) -> Result<(), StartFailure> {
        let begun = wall_clock_millis();
        let ready = format!("http://{}/ready", self.address);
        let host = self.host();
        while wall_clock_millis() - begun < START_LIMIT_MILLIS {
            if let Some(status) = self.child.ended() {
                // Its last words may still be in the pipe.
                thread_sleep(Duration::from_millis(50)).await;
                return Err(self.failure(Some(status)));
            }
            let request = TestRequest::get(&ready).header("host", &host);
            if TestClient::new().try_send(request).await.is_ok_and(|answer| answer.status == 200) {
                self.ready_after = Duration::from_millis((wall_clock_millis() - begun).unsigned_abs());
                return Ok(());
            }
            thread_sleep(Duration::from_millis(2)).await;
        }
        Err(self.failure(None))
    }

    fn failure(&self, status: Option<ExitStatus>) -> StartFailure {
        StartFailure { status, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    /// The base URL that people and apps use.
    pub fn base_url(&self) -> String {
        self.options.public_url.clone().unwrap_or_else(|| format!("http://{}", self.address))
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url())
    }

    /// The socket address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Host, with port if the base URL has one.
    pub fn host(&self) -> String {
        self.base_url().split("://").nth(1).unwrap_or_default().trim_end_matches('/').to_owned()
    }

    /// A client that reaches this server under its base URL.
    pub fn client(&self) -> TestClient {
        TestClient::new().with_host(&self.host(), self.address)
    }

    /// An address under which requests reach this server with its public `Host`, as through a TLS proxy: what a PDS is
    /// given as the mapped host of `https://bff.home.arpa`.
    pub fn front(&self) -> FaultServer {
        FaultServer::forwarding(self.address, &self.host())
    }

    /// A new browser in front of this server.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.client(), &self.base_url())
    }

    /// An app that holds a seal.
    pub fn app(&self, seal: &str) -> App {
        App::new(self.client(), &self.base_url(), seal)
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// The secrets that it was given in its environment, for sweeps; those it made itself are in the data folder.
    pub fn given_secrets(&self) -> Vec<String> {
        let secret = |name: &str| {
            matches!(
                name,
                "BOWERBIRD_COOKIE_SECRET"
                    | "BOWERBIRD_ENCRYPTION_KEY"
                    | "BOWERBIRD_CLIENT_KEYS"
                    | "BOWERBIRD_WEBHOOK_SECRET"
                    | "BOWERBIRD_ADMIN_TOKEN"
            )
        };
        self.options.environment.iter().filter(|(name, _)| secret(name)).map(|(_, value)| value.clone()).collect()
    }

    /// What it wrote to standard output, over all restarts.
    pub fn stdout(&self) -> &Captured {
        &self.stdout
    }

    /// What it wrote to standard error, over all restarts: the log.
    pub fn stderr(&self) -> &Captured {
        &self.stderr
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// From the start of the process until `/ready` answered, to about 2 ms.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Resident memory in bytes (`VmRSS`).
    pub fn rss_bytes(&self) -> u64 {
        self.status_kilobytes("VmRSS:") * 1024
    }

    /// The highest resident memory so far in bytes (`VmHWM`).
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_kilobytes("VmHWM:") * 1024
    }

    fn status_kilobytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of /proc/PID/status");
        line.trim().trim_end_matches(" kB").parse().expect("kilobytes")
    }

    /// Processor time used so far, in clock ticks of 10 ms (user and system).
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a running process");
        let after_name = stat.rsplit_once(')').expect("the form of /proc/PID/stat").1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// How many file descriptors it holds.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running process").count()
    }

    /// kill -9. Start again with [`Self::restart`].
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// SIGSTOP: it stands still, whatever happens, until [`Self::resume`].
    pub fn pause(&mut self) {
        self.child.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.child.signal(Signal::CONT);
    }

    /// SIGTERM; returns the exit status, or None when it still runs after this time.
    pub async fn terminate(&mut self, at_most: Duration) -> Option<ExitStatus> {
        self.child.signal(Signal::TERM);
        self.child.wait(at_most).await
    }

    /// Starts again on the same data and port, killing it first if it runs.
    pub async fn restart(&mut self) {
        self.restart_with(self.options.clone()).await;
    }

    /// Starts again on the same data and port with other options.
    pub async fn restart_with(&mut self, options: ServerOptions) {
        self.child.kill();
        self.options = options;
        self.child = spawn(&self.options, &self.data, self.address, &self.stdout, &self.stderr);
        if let Err(failure) = self.wait_until_ready().await {
            panic!("bowerbird did not start again: {failure:#?}");
        }
    }

    /// The options it was started with, to be changed for [`Self::restart_with`].
    pub fn options(&self) -> ServerOptions {
        self.options.clone()
    }

    /// Runs another command of the binary on the same data and configuration, such as `["accounts", "list"]`.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = prepared(&self.options, self.data.path(), self.address);
        command.args(arguments).output().expect("the binary runs")
    }
}

fn spawn(
    options: &ServerOptions,
    data: &TempDir,
    address: SocketAddr,
    stdout: &Captured,
    stderr: &Captured,
) -> ChildProcess {
    let mut command = prepared(options, data.path(), address);
    command.arg("serve").args(&options.arguments);
    ChildProcess::spawn(&mut command, stdout.clone(), stderr.clone())
}

fn prepared(options: &ServerOptions, folder: &Path, address: SocketAddr) -> Command {
    let base_url = options.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let mut command = Command::new(&options.binary);
    #[expect(clippy::disallowed_methods, reason = "a child process needs the search path of this one")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", folder).current_dir(folder);
    command.env("BOWERBIRD_DATA_DIR", folder.join("data"));
    command.env("BOWERBIRD_LISTEN", address.to_string()).env("BOWERBIRD_BASE_URL", base_url);
    command.envs(options.environment.iter().cloned());
    command
}

/// A free loopback address; another process may take it before ours does, which is rare enough for tests.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("the listener's address")
}
