//! The command line, as a person uses it: the built program in a fresh folder.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program with nothing but its data folder set.
fn bowerbird(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowerbird"));
    // No lookups leave the machine: the directory is a port where nothing listens.
    command
        .args(arguments)
        .env_clear()
        .env("BOWERBIRD_PLC_URL", "http://127.0.0.1:9")
        .env("BOWERBIRD_EGRESS_ALLOW", "127.0.0.1:9")
        .env("BOWERBIRD_DNS_SERVERS", "127.0.0.1:9")
        .current_dir(folder);
    command
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn help_lists_the_commands_and_exits_with_success() {
    let folder = tempfile::tempdir().unwrap();
    let output = bowerbird(folder.path(), &["--help"]);
    assert!(output.status.success());
    for word in ["serve", "keys", "accounts", "doctor", "config"] {
        assert!(out(&output).contains(word), "{word}");
    }
    assert!(!out(&output).contains("generate "), "the hidden command stays hidden");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "help writes nothing");
}

#[test]
fn a_misused_command_line_exits_with_two() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(bowerbird(folder.path(), &["--no-such-flag"]).status.code(), Some(2));
    assert_eq!(bowerbird(folder.path(), &["fly"]).status.code(), Some(2));
}

#[test]
fn config_show_masks_every_secret() {
    let folder = tempfile::tempdir().unwrap();
    let canary = "canary-0123456789-0123456789-0123456789";
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let output = command(folder.path(), arguments)
            .env("BOWERBIRD_COOKIE_SECRET", canary)
            .env("TOKEN_ENCRYPTION_KEY", canary)
            .env("BOWERBIRD_CLIENT_KEYS", canary)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(!out(&output).contains("canary"), "{}", out(&output));
        assert!(out(&output).contains("********"));
    }
}

#[test]
fn config_show_names_where_a_value_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bowerbird.toml"), "app_name = \"Perch\"\n").unwrap();
    let shown = json(&bowerbird(folder.path(), &["config", "show", "--json", "--scope", "atproto"]));
    let row =
        |name: &str| shown["variables"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert_eq!(row("BOWERBIRD_APP_NAME")["value"], "Perch");
    assert_eq!(row("BOWERBIRD_APP_NAME")["from"], "bowerbird.toml");
    assert_eq!(row("BOWERBIRD_SCOPE")["from"], "flag");
    assert_eq!(row("BOWERBIRD_PLC_URL")["from"], "environment");
    assert_eq!(row("BOWERBIRD_LISTEN")["from"], "default");
}

#[test]
fn a_bad_value_is_named_with_a_hint_and_exits_with_three() {
    let folder = tempfile::tempdir().unwrap();
    let output = bowerbird(folder.path(), &["serve", "--base-url", "http://app.example.org"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("BOWERBIRD_BASE_URL"), "{}", err(&output));
    assert!(err(&output).contains("hint:"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn a_public_address_without_secrets_is_refused_with_the_command_that_makes_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = bowerbird(folder.path(), &["serve", "--base-url", "https://app.example.org"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("bowerbird keys generate"), "{}", err(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn generated_secrets_are_long_and_differ() {
    let folder = tempfile::tempdir().unwrap();
    let make = || out(&bowerbird(folder.path(), &["keys", "generate", "cookie-secret"]));
    let (first, second) = (make(), make());
    assert_eq!(first.trim().len(), 43);
    assert_ne!(first, second);
}

#[test]
fn client_keys_are_added_to_a_private_file_and_listed_by_name_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert!(bowerbird(folder.path(), &["keys", "generate", "--into", "keys.json"]).status.success());
    }
    let path = folder.path().join("keys.json");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let set: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let output =
        command(folder.path(), &["keys", "list", "--json"]).env("BOWERBIRD_CLIENT_KEYS", &path).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    for key in keys {
        assert!(out(&output).contains(key["kid"].as_str().unwrap()));
        assert!(!out(&output).contains(key["d"].as_str().unwrap()), "a private part was shown");
    }
}

#[test]
fn accounts_list_is_empty_on_a_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = bowerbird(folder.path(), &["accounts", "list"]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("No account"), "{}", out(&output));
    assert_eq!(json(&bowerbird(folder.path(), &["accounts", "list", "--json"]))["accounts"], serde_json::json!([]));
}

#[test]
fn removing_an_unknown_account_exits_with_one_and_says_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let output = bowerbird(folder.path(), &["accounts", "remove", "nobody.test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("accounts list"), "{}", err(&output));
}

#[test]
fn doctor_says_what_it_checked_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = bowerbird(folder.path(), &["doctor", "--json"]);
    let checks = json(&output);
    let result = |name: &str| {
        let row = checks["checks"].as_array().unwrap().iter().find(|row| row["check"] == name).cloned();
        row.unwrap_or_else(|| panic!("{name} in {checks}"))
    };
    assert_eq!(result("configuration")["result"], "ok");
    assert_eq!(result("database")["result"], "ok");
    assert_eq!(result("clock")["result"], "warning", "the directory cannot be reached here");
    assert!(result("clock")["hint"].is_string());
    assert!(output.status.success(), "warnings do not fail");
}

#[test]
fn doctor_fails_on_a_damaged_database_and_leaves_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bowerbird-data");
    std::fs::create_dir(&data).unwrap();
    let damaged = vec![b'x'; 8192];
    std::fs::write(data.join("bowerbird.sqlite"), &damaged).unwrap();
    let output = bowerbird(folder.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(1), "{}{}", out(&output), err(&output));
    assert!(out(&output).contains("FAIL"));
    assert_eq!(std::fs::read(data.join("bowerbird.sqlite")).unwrap(), damaged);
}

#[test]
fn reference_documents_are_generated() {
    let folder = tempfile::tempdir().unwrap();
    let page = out(&bowerbird(folder.path(), &["generate", "configuration"]));
    assert!(page.contains("| `BOWERBIRD_BASE_URL` |"));
    let page = out(&bowerbird(folder.path(), &["generate", "cli"]));
    assert!(page.contains("## `bowerbird keys generate`"));
    let document = json(&bowerbird(folder.path(), &["generate", "openapi"]));
    assert!(document["paths"]["/api/auth/session"]["get"].is_object());
}

#[test]
fn a_file_of_another_server_that_cannot_be_read_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text"), "x".repeat(5000)).unwrap();
    for (file, word) in [("missing", "cannot be read"), ("text", "not a SQLite database")] {
        let output = bowerbird(folder.path(), &["import", "hono-sqlite", file, "--confirm"]);
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert!(err(&output).contains(word) && err(&output).contains("nothing was changed"), "{}", err(&output));
    }
    assert!(!folder.path().join("bowerbird-data").exists());
}

#[test]
#[cfg(not(feature = "os-keyring"))]
fn a_program_without_the_keyring_says_how_to_get_one_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let keyed = command(folder.path(), &["accounts", "list"]).env("BOWERBIRD_ENCRYPTION_KEYRING", "bowerbird").output();
    for output in [keyed.unwrap(), bowerbird(folder.path(), &["keys", "to-keyring"])] {
        assert_eq!(output.status.code(), Some(3), "{}", err(&output));
        assert!(err(&output).contains("--features os-keyring"), "{}", err(&output));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}
