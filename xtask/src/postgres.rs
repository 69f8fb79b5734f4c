//! A private PostgreSQL, for instances that share a database.

use crate::exec::{self, Server};
use crate::ui::Ui;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A running server on a socket in a folder of its own; both go when it is dropped.
pub(crate) struct Postgres {
    _server: Server,
    folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in /tmp is only in the way.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub(crate) fn start(ui: &Ui, logs: &Path) -> Result<Self> {
        let programs = programs().context("PostgreSQL is missing in /usr/lib/postgresql")?;
        // Not under target/: PostgreSQL does not run as root, and its own user may not be able to enter a home folder.
        let folder = Folder(std::env::temp_dir().join(format!("bowerbird-postgres-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        if rustix::process::geteuid().is_root() {
            exec::output(Command::new("chown").arg("postgres:").arg(&folder.0))?;
        }
        let cluster = folder.0.join("cluster");
        let mut initdb = as_postgres(&programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        exec::quietly(ui, "PostgreSQL", initdb.arg(&cluster))?;

        // Commits are promised as in earnest; only the disk is not waited for, since the machine itself stays up.
        let mut command = as_postgres(&programs.join("postgres"));
        command.arg("-D").arg(&cluster).arg("-k").arg(&folder.0);
        command.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=32MB"]);
        let mut server = Server::start("PostgreSQL", &mut command, &logs.join("postgres.log"))?;
        let ready = || {
            let mut asked = Command::new(programs.join("pg_isready"));
            asked.arg("-q").arg("-h").arg(&folder.0).args(["-U", "postgres"]);
            asked.status().is_ok_and(|status| status.success())
        };
        server.wait_until(Duration::from_secs(20), Duration::from_millis(50), ready)?;
        Ok(Self { _server: server, folder })
    }

    /// What `BOWERBIRD_DATABASE_URL` is set to.
    pub(crate) fn url(&self) -> String {
        format!("postgres:///postgres?user=postgres&host={}", self.folder.0.display())
    }
}

/// The newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path))?;
    Some(newest.join("bin")).filter(|programs| programs.join("postgres").exists())
}

fn as_postgres(program: &Path) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/tmp");
    command
}
