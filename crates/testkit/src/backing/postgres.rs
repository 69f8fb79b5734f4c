//! A PostgreSQL server on a socket in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::child::thread_sleep;

/// A running server; ends when it is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    process: Child,
    folder: TempDir,
    programs: PathBuf,
}

/// A lock on tables, held by somebody else until it is dropped.
#[derive(Debug)]
pub struct TableLock {
    session: Child,
}

impl PostgresServer {
    /// Starts one. None, said aloud, when PostgreSQL is not installed.
    pub async fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: no PostgreSQL in /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("bowerbird-pg-").tempdir_in("/tmp").expect("a folder");
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status().expect("chown runs");
            assert!(owned.success(), "the folder must be the server's user's");
        }
        let cluster = folder.path().join("cluster");
        let made = as_server(&programs.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&cluster)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Durable commits are promised as in earnest; only the disk is not waited for.
        let process = as_server(&programs.join("postgres"))
            .arg("-D")
            .arg(&cluster)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        let server = Self { process, folder, programs };
        for _ in 0..400 {
            if server.program("psql").args(["-c", "SELECT 1"]).output().expect("psql runs").status.success() {
                return Some(server);
            }
            thread_sleep(Duration::from_millis(50)).await;
        }
        panic!("the private PostgreSQL server did not answer within 20 s");
    }

    /// For `BOWERBIRD_DATABASE_URL`.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?user=postgres&host={}", self.folder.path().display())
    }

    /// Runs SQL beside the program and gives what it answers, unadorned.
    pub fn sql(&self, sql: &str) -> String {
        let output = self.program("psql").args(["-At", "-c", sql]).output().expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Everything in it, as a dump for a backup.
    pub fn dump(&self) -> Vec<u8> {
        let output = self.program("pg_dump").output().expect("pg_dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Keeps everybody else from so much as reading these tables.
    pub async fn lock(&self, tables: &str) -> TableLock {
        let mut command = self.program("psql");
        command.arg("-q").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut lock = TableLock { session: command.spawn().expect("psql runs") };
        let stdin = lock.session.stdin.as_mut().expect("piped");
        let script = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE;\n");
        std::io::Write::write_all(stdin, script.as_bytes()).expect("psql reads");
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

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.args(["-U", "postgres", "-h"]).arg(self.folder.path()).args(["-d", "postgres"]).stderr(Stdio::piped());
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for TableLock {
    fn drop(&mut self) {
        drop(self.session.kill());
        drop(self.session.wait());
    }
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
    command.current_dir("/tmp").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
