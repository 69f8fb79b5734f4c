//! A person's desktop, as far as secrets need one: a message bus of its own, and a GNOME Keyring on it that opens with the
//! person's password.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// What the person types to log in.
pub const PASSWORD: &str = "the person's own password";

/// A message bus, a keyring on it, and a folder to work in. All of it ends with this.
#[derive(Debug)]
pub struct Desktop {
    folder: TempDir,
    bus: Child,
    keyring: Option<Child>,
}

impl Desktop {
    /// Starts one, logged in; only where the programs are installed. On CI their absence is a failure.
    #[expect(clippy::disallowed_methods, reason = "a missing keyring is a failure on CI only")]
    pub fn start() -> Option<Self> {
        let there = |program| Command::new(program).arg("--version").output().is_ok_and(|ended| ended.status.success());
        if !there("dbus-daemon") || !there("gnome-keyring-daemon") {
            let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!on_ci, "there is no GNOME Keyring: run the tests by `cargo xtask test`, which installs it");
            eprintln!("skipped: there is no dbus-daemon or no gnome-keyring-daemon");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (rules, listen) = (folder.path().join("bus.conf"), folder.path().join("bus"));
        // No folder of services: nothing is started by being asked for, so that there is a keyring exactly when a test says so.
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            listen.display()
        );
        std::fs::write(&rules, text).expect("a file");
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--nopidfile", "--config-file"]).arg(&rules).env_clear();
        let mut desktop = Self { folder, bus: started(&mut bus, ""), keyring: None };
        wait_until("the message bus", || listen.exists());
        desktop.log_in(Some(PASSWORD));
        Some(desktop)
    }

    /// The folder to work in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Something in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The person's home, where the keyring keeps its files.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Where programs find the bus: the value of `DBUS_SESSION_BUS_ADDRESS`.
    pub fn bus_address(&self) -> String {
        format!("unix:path={}", self.path("bus").display())
    }

    /// Starts the keyring anew: open when the person typed the password, closed without.
    pub fn log_in(&mut self, password: Option<&str>) {
        self.log_out();
        let runtime = self.path("runtime");
        std::fs::create_dir_all(&runtime).expect("a folder");
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("rights");
        let mut keyring = Command::new("gnome-keyring-daemon");
        keyring.args(["--foreground", "--components=secrets", "--control-directory"]).arg(&runtime);
        if password.is_some() {
            keyring.arg("--unlock");
        }
        keyring.env_clear().env("HOME", self.home()).env("XDG_RUNTIME_DIR", &runtime);
        keyring.env("DBUS_SESSION_BUS_ADDRESS", self.bus_address());
        self.keyring = Some(started(&mut keyring, password.unwrap_or_default()));
        wait_until("the keyring", || {
            let mut asked = Command::new("dbus-send");
            asked.arg(format!("--bus={}", self.bus_address()));
            asked.args(["--print-reply=literal", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
            asked.args(["org.freedesktop.DBus.GetNameOwner", "string:org.freedesktop.secrets"]);
            asked.output().expect("dbus-send").status.success()
        });
    }

    /// Ends the keyring.
    pub fn log_out(&mut self) {
        if let Some(mut keyring) = self.keyring.take() {
            end(&mut keyring);
        }
    }

    /// What the keyring has written to the disk.
    pub fn keyring_files(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.home().join(".local/share/keyrings")).expect("the keyring's folder");
        let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file.expect("a file").path());
        files.map(|file| read(file).expect("a readable file")).collect::<Vec<_>>().concat()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.log_out();
        end(&mut self.bus);
    }
}

/// Starts a program that is typed something.
fn started(command: &mut Command, typed: &str) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a program that is there");
    let mut input = child.stdin.take().expect("a pipe");
    if let Err(error) = input.write_all(typed.as_bytes()) {
        end(&mut child);
        panic!("nothing can be typed: {error}");
    }
    child
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..200 {
        if ready() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("{what} is not there after ten seconds");
}
