//! A PostgreSQL server for one test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A server to make schemas in; a private one ends with the value.
pub(crate) struct Server {
    url: String,
    schemas: Mutex<Vec<String>>,
    private: Option<Private>,
}

/// A server of our own, on a socket in its own folder.
struct Private {
    process: Child,
    _folder: TempDir,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// Uses the server that is named, or starts one, or says that there is none.
    #[expect(clippy::disallowed_methods, reason = "tests are configured by their environment")]
    pub(crate) async fn start() -> Option<Self> {
        if let Ok(url) = std::env::var("BOWERBIRD_TEST_POSTGRES_URL") {
            return Some(Self { url, schemas: Mutex::default(), private: None });
        }
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: no PostgreSQL in /usr/lib/postgresql, and BOWERBIRD_TEST_POSTGRES_URL is not set");
            return None;
        };
        Some(Self::start_private(&programs).await)
    }

    async fn start_private(programs: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("bowerbird-pg-").tempdir_in("/tmp").expect("a folder");
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status().await.expect("chown runs");
            assert!(owned.success(), "the folder must be the server's user's");
        }
        let cluster = folder.path().join("cluster");
        let made = as_server(&programs.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&cluster)
            .output()
            .await
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        // Durable commits are promised as in earnest; only the disk is not waited for.
        let process = as_server(&programs.join("postgres"))
            .arg("-D")
            .arg(&cluster)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .spawn()
            .expect("postgres runs");
        let url = format!("postgres:///postgres?user=postgres&host={}", folder.path().display());
        for _ in 0..200 {
            if PgConnection::connect(&url).await.is_ok() {
                let private = Some(Private { process, _folder: folder });
                return Self { url, schemas: Mutex::default(), private };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the private PostgreSQL server did not answer within 10 s");
    }

    /// Makes an empty schema and gives the URL that puts everything into it.
    pub(crate) async fn new_schema(&self) -> String {
        let name = format!("bowerbird_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run(format!("CREATE SCHEMA {name}")).await;
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}options[search_path]={name}", self.url);
        self.schemas.lock().push(name);
        url
    }

    /// Leaves nothing behind.
    pub(crate) async fn stop(mut self) {
        if let Some(private) = &mut self.private {
            private.process.kill().await.expect("the server ends");
            return;
        }
        let schemas = std::mem::take(&mut *self.schemas.lock());
        for name in schemas {
            self.run(format!("DROP SCHEMA {name} CASCADE")).await;
        }
    }

    async fn run(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.url).await.expect("connects");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("runs");
        connection.close().await.expect("closes");
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
    command.kill_on_drop(true).current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
