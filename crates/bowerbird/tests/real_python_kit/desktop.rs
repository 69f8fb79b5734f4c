//! A person's desktop, as far as secrets need one: a message bus of its own, and GNOME Keyring on it, unlocked.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) struct Desktop {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Desktop {
    /// Only where the two programs are installed; on CI their absence is a failure.
    #[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a missing keyring is a failure on CI only")]
    pub(crate) fn start() -> Option<Self> {
        let there = |program| Command::new(program).arg("--version").output().is_ok_and(|ended| ended.status.success());
        if !there("dbus-daemon") || !there("gnome-keyring-daemon") {
            let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!on_ci, "there is no GNOME Keyring: run the tests by `cargo xtask test`, which installs it");
            eprintln!("skipped: there is no dbus-daemon or no gnome-keyring-daemon");
            return None;
        }
        let mut desktop = Self { folder: tempfile::tempdir().unwrap(), children: Vec::new() };
        let rules = desktop.folder.path().join("bus.conf");
        let listen = desktop.folder.path().join("bus");
        // No folder of services: nothing is started by being asked for.
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            listen.display()
        );
        std::fs::write(&rules, text).unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--nopidfile", "--config-file"]).arg(&rules).env_clear();
        desktop.spawn(&mut bus, "");
        wait_until("the message bus", || listen.exists());

        let runtime = desktop.folder.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut keyring = Command::new("gnome-keyring-daemon");
        keyring.args(["--foreground", "--components=secrets", "--unlock", "--control-directory"]).arg(&runtime);
        keyring.env_clear().env("HOME", desktop.folder.path()).env("XDG_RUNTIME_DIR", &runtime);
        keyring.env("DBUS_SESSION_BUS_ADDRESS", desktop.bus());
        desktop.spawn(&mut keyring, "the person's own password");
        wait_until("the keyring", || {
            let mut asked = Command::new("dbus-send");
            asked.arg(format!("--bus={}", desktop.bus()));
            asked.args(["--print-reply=literal", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
            asked.args(["org.freedesktop.DBus.GetNameOwner", "string:org.freedesktop.secrets"]);
            asked.output().unwrap().status.success()
        });
        Some(desktop)
    }

    /// Where its programs find the bus.
    pub(crate) fn bus(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    /// What the keyring has written to the disk.
    pub(crate) fn keyring_files(&self) -> Vec<u8> {
        let folder = self.folder.path().join(".local/share/keyrings");
        let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.collect::<Vec<_>>().concat()
    }

    fn spawn(&mut self, command: &mut Command, typed: &str) {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        self.children.push(child);
    }
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..200 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} is not there after ten seconds");
}
