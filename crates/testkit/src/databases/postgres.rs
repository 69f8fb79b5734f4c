//! A PostgreSQL server of one test, on a socket in a folder of its own.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::on_ci;
use crate::child::{Captured, ChildProcess, thread_sleep};

const STEP: Duration = Duration::from_millis(50);

/// The server; ends, and leaves nothing behind, when it is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    child: ChildProcess,
    programs: PathBuf,
    folder: TempDir,
}

/// A lock on tables, held by somebody else until it is dropped.
#[derive(Debug)]
pub struct TableLock {
    session: Child,
}

impl PostgresServer {
    /// Whether PostgreSQL is installed. Where it is not, prints that the test is skipped; on CI its absence is a failure.
    pub fn available() -> bool {
        if programs().is_some() {
            return true;
        }
        assert!(!on_ci(), "there is no PostgreSQL: run the tests by `cargo xtask test`, which installs it");
        eprintln!("skipped: there is no PostgreSQL in /usr/lib/postgresql");
        false
    }

    /// Makes a cluster, starts it and waits until it takes connections.
    pub async fn start() -> Self {
        let programs = programs().expect("PostgresServer::available says whether it can be started");
        // Not in the test's own folder: the server does not run as root, and its user must be able to enter.
        let folder = tempfile::Builder::new().prefix("bowerbird-pg-").tempdir_in("/tmp").expect("a folder");
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status().expect("chown runs");
            assert!(owned.success(), "the folder must be the server's user's");
        }
        let mut initdb = as_server(&programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(folder.path().join("cluster")).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = spawn(&programs, folder.path());
        let mut server = Self { child, programs, folder };
        server.ready().await;
        server
    }

    /// What `BOWERBIRD_DATABASE_URL` is set to.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?user=postgres&host={}", self.folder.path().display())
    }

    /// Ends it at once, without a farewell to anybody: what was not committed is gone.
    pub async fn crash(&mut self) {
        self.child.signal(Signal::QUIT);
        self.child.wait(Duration::from_secs(20)).await.expect("the server ends");
    }

    /// Starts it again on what it has.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.programs, self.folder.path());
        self.ready().await;
    }

    /// Runs SQL as an operator would; returns the rows as text.
    pub fn sql(&self, sql: &str) -> String {
        let mut psql = self.client("psql");
        let output = psql.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Everything in it, as a dump for a backup.
    pub fn dump(&self) -> Vec<u8> {
        let output = self.client("pg_dump").output().expect("pg_dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Keeps everybody else from so much as reading these tables.
    pub async fn lock(&self, tables: &str) -> TableLock {
        let mut psql = self.client("psql");
        psql.arg("-q").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut lock = TableLock { session: psql.spawn().expect("psql runs") };
        let stdin = lock.session.stdin.as_mut().expect("piped");
        let script = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE;\n");
        stdin.write_all(script.as_bytes()).expect("psql reads");
        let held = "SELECT count(*) FROM pg_locks \
                    WHERE mode = 'AccessExclusiveLock' AND granted AND locktype = 'relation'";
        for _ in 0..200 {
            if self.sql(held) != "0" {
                return lock;
            }
            thread_sleep(Duration::from_millis(20)).await;
        }
        panic!("the tables {tables} could not be locked");
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres", "-d", "postgres"]);
        command
    }

    async fn ready(&mut self) {
        for _ in 0..400 {
            if self.client("pg_isready").arg("-q").status().is_ok_and(|status| status.success()) {
                return;
            }
            let ended = self.child.ended();
            assert!(ended.is_none(), "PostgreSQL ended at once: {}", self.child.stderr.text());
            thread_sleep(STEP).await;
        }
        panic!("PostgreSQL did not answer within 20 s: {}", self.child.stderr.text());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Its own processes end with it by this signal, and would outlive it by the one that drops it.
        self.child.signal(Signal::QUIT);
        for _ in 0..100 {
            if self.child.ended().is_some() {
                return;
            }
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for TableLock {
    fn drop(&mut self) {
        drop(self.session.kill());
        drop(self.session.wait());
    }
}

fn spawn(programs: &Path, folder: &Path) -> ChildProcess {
    let mut command = as_server(&programs.join("postgres"));
    command.arg("-D").arg(folder.join("cluster")).arg("-k").arg(folder);
    // Durable commits are promised as in earnest; only the disk is not waited for.
    command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]);
    ChildProcess::spawn(&mut command, Captured::default(), Captured::default())
}

/// The newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path))?;
    let programs = newest.join("bin");
    programs.join("postgres").exists().then_some(programs)
}

/// The server refuses to run as root, so root runs it as `postgres`. It ends when this process does, however that ends.
fn as_server(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/tmp");
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
