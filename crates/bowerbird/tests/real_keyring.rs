//! The encryption key in a keyring: a real Secret Service (GNOME Keyring on a message bus of its own), and the built program.

#![cfg(all(feature = "os-keyring", target_os = "linux"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use bowerbird_testkit::desktop::{Desktop, PASSWORD};
use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::Value;

/// Commands that need the key.
const COMMANDS: [&[&str]; 3] = [&["serve", "--listen", "127.0.0.1:0"], &["keys", "rotate"], &["accounts", "list"]];
/// Keys have 32 bytes; base64url writes them in so many letters.
const KEY_LETTERS: usize = 43;

/// The program on the person's desktop.
trait Program {
    fn command(&self, arguments: &[&str]) -> Command;

    /// A command that looks for its key at the usual places.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// A command of a server whose key is in the keyring.
    fn run_keyed(&self, arguments: &[&str]) -> Output {
        self.command(arguments).env("BOWERBIRD_ENCRYPTION_KEYRING", "bowerbird").output().unwrap()
    }

    /// Everything in the data folder, to see that nothing was written.
    fn data(&self) -> Vec<(std::ffi::OsString, Vec<u8>)>;
}

impl Program for Desktop {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bowerbird"));
        command
            .args(arguments)
            .env_clear()
            .env("DBUS_SESSION_BUS_ADDRESS", self.bus_address())
            .env("BOWERBIRD_PLC_URL", "http://127.0.0.1:9")
            .env("BOWERBIRD_EGRESS_ALLOW", "127.0.0.1:9")
            .env("BOWERBIRD_DNS_SERVERS", "127.0.0.1:9")
            .current_dir(self.folder());
        command
    }

    fn data(&self) -> Vec<(std::ffi::OsString, Vec<u8>)> {
        let Ok(entries) = std::fs::read_dir(self.path("bowerbird-data")) else { return Vec::new() };
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.unwrap();
            (entry.file_name(), std::fs::read(entry.path()).unwrap())
        };
        let mut data: Vec<_> = entries.map(read).collect();
        data.sort();
        data
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(output)))
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn file(desktop: &Desktop) -> std::path::PathBuf {
    desktop.path("bowerbird-data/encryption-key")
}

/// The database's data keys by the encryption key that they need, from the program's own count.
fn in_use(desktop: &Desktop) -> Vec<(String, Value)> {
    let status = json(&desktop.run_keyed(&["keys", "status", "--json"]));
    let rows = status["keys"].as_array().unwrap().iter().filter(|row| row["kind"] == "encryption-key");
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row["state"].clone())).collect()
}

#[test]
fn real_keyring_takes_the_key_from_the_file_and_rotates_it() {
    let Some(desktop) = Desktop::start() else { return };
    assert!(desktop.run(&["accounts", "list"]).status.success(), "the first start makes a key file");
    let key = std::fs::read_to_string(file(&desktop)).unwrap().trim().to_owned();
    assert_eq!(key.len(), KEY_LETTERS);

    let moved = desktop.run(&["keys", "to-keyring", "--remove-file", "--json"]);
    let answer = json(&moved);
    assert_eq!((&answer["stored"], &answer["made"]), (&true.into(), &false.into()), "{answer}");
    assert_eq!(answer["set"], "BOWERBIRD_ENCRYPTION_KEYRING=bowerbird");
    assert!(!told(&moved).contains(&key), "the key is not shown");
    assert!(!file(&desktop).exists());

    let id = answer["keys"][0].as_str().unwrap().to_owned();
    assert_eq!(in_use(&desktop), [(id.clone(), "newest".into())]);
    assert!(desktop.run_keyed(&["accounts", "list"]).status.success());
    assert!(!file(&desktop).exists(), "no key file comes back");

    let again = json(&desktop.run_keyed(&["keys", "to-keyring", "--json"]));
    assert_eq!((&again["stored"], &again["keys"][0]), (&false.into(), &id.as_str().into()), "{again}");

    let rotated = json(&desktop.run_keyed(&["keys", "rotate", "--json"]));
    assert_eq!((&rotated["newKeyMade"], &rotated["oldKeysNeeded"]), (&true.into(), &false.into()), "{rotated}");
    let names: Vec<String> = in_use(&desktop).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [rotated["active"].as_str().unwrap(), &id]);

    let copy = desktop.run_keyed(&["keys", "to-file", "copy", "--json"]);
    assert!(copy.status.success(), "{}", told(&copy));
    let lines = std::fs::read_to_string(desktop.path("copy")).unwrap();
    assert_eq!(
        lines.lines().nth(1),
        Some(key.as_str()),
        "the copy has both keys, newest first: {}",
        lines.lines().count()
    );
    assert!(!told(&copy).contains(&key));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(desktop.path("copy")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(desktop.run_keyed(&["keys", "to-file", "copy"]).status.code(), Some(1), "a file is never overwritten");
    let from_copy =
        desktop.command(&["accounts", "list"]).env("BOWERBIRD_ENCRYPTION_KEY_FILE", "copy").output().unwrap();
    assert!(from_copy.status.success(), "{}", told(&from_copy));
}

#[test]
fn real_keyring_that_is_closed_gone_or_empty_stops_the_start_and_nothing_is_written() {
    let Some(mut desktop) = Desktop::start() else { return };
    let refused = |desktop: &Desktop, arguments: &[&str], words: &[&str]| {
        let before = desktop.data();
        let output = desktop.run_keyed(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?} {}", told(&output));
        for word in words {
            assert!(told(&output).contains(word), "{word} in {}", told(&output));
        }
        assert!(desktop.data() == before, "{arguments:?} wrote something");
    };
    for arguments in COMMANDS {
        refused(&desktop, arguments, &["no entry `bowerbird`", "bowerbird keys to-keyring bowerbird"]);
    }
    assert!(!desktop.path("bowerbird-data").exists(), "no first key is made in a file instead");

    let made = json(&desktop.run(&["keys", "to-keyring", "--json"]));
    assert_eq!(made["made"], true);
    assert!(desktop.run_keyed(&["accounts", "list"]).status.success());

    desktop.log_in(None);
    for arguments in COMMANDS {
        refused(&desktop, arguments, &["the keyring is locked", "unlock the keyring"]);
    }
    desktop.log_out();
    for arguments in COMMANDS {
        refused(&desktop, arguments, &["no keyring can be reached", "BOWERBIRD_ENCRYPTION_KEY_FILE"]);
    }
    desktop.log_in(Some(PASSWORD));
    assert!(desktop.run_keyed(&["accounts", "list"]).status.success(), "and the key is still there");
}

#[test]
fn real_keyring_keeps_a_key_that_is_not_ours_to_replace() {
    let Some(desktop) = Desktop::start() else { return };
    let with = |key: &str, arguments: &[&str]| {
        desktop.command(arguments).env("BOWERBIRD_ENCRYPTION_KEY", key).output().unwrap()
    };
    let (one, two) = ("ab".repeat(32), "cd".repeat(32));
    let first = json(&with(&one, &["keys", "to-keyring", "shared", "--json"]));
    let other = with(&two, &["keys", "to-keyring", "shared"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(told(&other).contains(first["keys"][0].as_str().unwrap()), "{}", told(&other));
    let both = json(&with(&format!("{two},{one}"), &["keys", "to-keyring", "shared", "--json"]));
    assert_eq!((&both["stored"], &both["keys"][1]), (&true.into(), &first["keys"][0]), "a newer key may come in front");

    let twice = desktop
        .command(&["accounts", "list"])
        .env("BOWERBIRD_ENCRYPTION_KEY", &one)
        .env("BOWERBIRD_ENCRYPTION_KEYRING", "shared")
        .output()
        .unwrap();
    assert_eq!(twice.status.code(), Some(3));
    assert!(told(&twice).contains("set one of the two"), "{}", told(&twice));
    for name in ["", "two words", &"x".repeat(65)] {
        assert_eq!(with(&one, &["keys", "to-keyring", name]).status.code(), Some(1), "{name:?}");
    }
    let nothing_to_remove = with(&one, &["keys", "to-keyring", "another", "--remove-file"]);
    assert_eq!(nothing_to_remove.status.code(), Some(1), "{}", told(&nothing_to_remove));
    assert!(!Path::new(&desktop.path("bowerbird-data")).exists(), "no database was needed");
}

#[tokio::test]
async fn real_keyring_gives_a_running_server_the_key_of_a_rotation() {
    let Some(mut desktop) = Desktop::start() else { return };
    assert!(json(&desktop.run(&["keys", "to-keyring", "--json"]))["made"] == true);
    let network = FaultNetwork::start().await;
    let _account = network.add_account("alice.test");
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
        .on(&network)
        .env("DBUS_SESSION_BUS_ADDRESS", &desktop.bus_address())
        .env("BOWERBIRD_ENCRYPTION_KEYRING", "bowerbird");
    let running = BowerbirdProcess::start(options.clone()).await;
    let rotated = json(&running.command(&["keys", "rotate", "--json"]));
    assert_eq!(rotated["newKeyMade"], true);

    // Started after the rotation, so that the account's data key is under the new key.
    let later = BowerbirdProcess::start(options.beside(&running).data_of(&running)).await;
    let mut visitor = later.visitor();
    let _home = visitor.login("alice.test").await.expect_status(303);
    let counted = json(&later.command(&["keys", "status", "--json"]));
    let newest = counted["keys"].as_array().unwrap().iter().find(|key| key["name"] == rotated["active"]).unwrap();
    assert_eq!(newest["inUseBy"], 1);

    let app = running.app(&visitor.seal().unwrap());
    let call = async || app.get("/xrpc/com.atproto.server.getSession").await;
    desktop.log_in(None);
    let locked = call().await;
    assert_eq!(locked.status, 503, "nobody loses an access because a keyring is locked: {}", locked.text());
    desktop.log_in(Some(PASSWORD));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let found = call().await;
    assert_eq!(found.status, 200, "it looked for the key that it did not know: {}", found.text());
    assert!(!running.data_dir().join("encryption-key").exists());
}
