//! The kit on the device through its Python binding (`clients/python/tests`): three accounts on two real PDSes, and secrets in a
//! real Secret Service.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bowerbird_testkit::desktop::Desktop;
use bowerbird_testkit::fault::FaultDns;
use bowerbird_testkit::http_client::TestRequest;
use bowerbird_testkit::real::{NetworkOptions, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn real_three_accounts_by_the_python_binding() {
    if !RealNetwork::available() {
        return;
    }
    let accounts = ["alice.test:alice-pass", "bob.test:bob-pass"];
    let one = RealNetwork::start(NetworkOptions::default().accounts(&accounts)).await;
    let joining = NetworkOptions::default().accounts(&["dan.two.test:dan-pass"]).joining(&one, ".two.test");
    let two = RealNetwork::start(joining).await;
    let dns = FaultDns::start();
    one.announce_in(&dns);
    two.announce_in(&dns);
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
        .env("BOWERBIRD_PLC_URL", one.plc())
        .env("BOWERBIRD_DNS_SERVERS", &dns.address().to_string())
        .env("BOWERBIRD_EGRESS_ALLOW", &format!("{},{}", one.egress_allow(), two.egress_allow()))
        .env("BOWERBIRD_MOBILE_SCHEME", "app://auth-callback")
        .env("BOWERBIRD_MOBILE_HANDOFF", "code");
    let server = BowerbirdProcess::start(options).await;

    let folder = tempfile::tempdir().unwrap();
    install_in(folder.path());
    let mut python = Command::new("python3")
        .arg(sources().join("tests/three_accounts.py"))
        .args([server.base_url().as_str(), folder.path().to_str().unwrap()])
        .env("PYTHONPATH", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut answers = python.stdin.take().unwrap();
    let mut stderr = python.stderr.take().unwrap();
    let complaints = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.unwrap();
        text
    });

    let mut passed = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        let asked: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("Python printed: {line}"));
        let answer = if let Some(page) = asked["open"].as_str() {
            let handle = asked["handle"].as_str().unwrap();
            let network = if handle.ends_with(".two.test") { &two } else { &one };
            browse(&server, network, page, handle).await
        } else if let Some(handle) = asked["removed"].as_str() {
            // The last device of that account is gone, so its grant is withdrawn at its own server; nobody else's is.
            one.await_grants(&one.account(handle).did, 0).await;
            assert_eq!(one.grants(&one.account("alice.test").did).await.len(), 1);
            "seen".to_owned()
        } else {
            passed = asked["passed"] == true;
            continue;
        };
        answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
    drop(answers);
    let ended = python.wait().await.unwrap();
    assert!(ended.success() && passed, "{}", complaints.await.unwrap());

    for (network, handle) in [(&one, "alice.test"), (&one, "bob.test"), (&two, "dan.two.test")] {
        network.await_grants(&network.account(handle).did, 0).await;
    }
    let said = server.stderr().text() + &server.stdout().text();
    assert!(!said.contains("panicked") && !said.contains("Fe26.2") && !said.contains("bbr_"), "{said}");
}

/// Without a server: the app is an OAuth client of its own, and the grants are its device's.
#[tokio::test]
async fn real_sign_in_on_the_device_by_the_python_binding() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    install_in(folder.path());
    let mut python = Command::new("python3")
        .arg(sources().join("tests/on_device.py"))
        .args([network.plc(), network.pds(), folder.path().to_str().unwrap()])
        .env("PYTHONPATH", folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut answers = python.stdin.take().unwrap();
    let mut passed = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        let asked: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("Python printed: {line}"));
        let Some(page) = asked["open"].as_str() else {
            passed = asked["passed"] == true;
            continue;
        };
        let account = network.account(asked["handle"].as_str().unwrap());
        let callback = network.browser().approve(page, account).await;
        answers.write_all(format!("{callback}\n").as_bytes()).await.unwrap();
    }
    drop(answers);
    let ended = python.wait_with_output().await.unwrap();
    assert!(ended.status.success() && passed, "{}", String::from_utf8_lossy(&ended.stderr));
    for handle in ["alice.test", "bob.test"] {
        network.await_grants(&network.account(handle).did, 0).await;
    }
    let kept = std::fs::read(folder.path().join("kit.bin")).unwrap();
    assert!(!kept.windows(8).any(|window| window == b"eyJ0eXAi"), "no token is readable on the disk");
}

/// What the system's browser does: the person signs in and consents, and the server sends the browser to the app.
async fn browse(server: &BowerbirdProcess, network: &RealNetwork, page: &str, handle: &str) -> String {
    let callback = network.browser().approve(page, network.account(handle)).await;
    let answer = server.client().send(TestRequest::get(&callback)).await;
    assert!(matches!(answer.status, 302 | 303), "{} {}", answer.status, answer.text());
    let app = answer.location().to_owned();
    assert!(app.starts_with("app://auth-callback?code=") && !app.contains("Fe26"), "{app}");
    app
}

/// Secrets of one process are there for the next, encrypted on the disk, until their account is removed.
#[tokio::test]
async fn real_secret_service_keeps_the_secrets() {
    let Some(desktop) = Desktop::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    install_in(folder.path());
    for step in ["sign-in", "restart", "remove", "empty"] {
        let mut python = Command::new("python3");
        python.arg(sources().join("tests/system_store.py")).arg(step);
        python.env("PYTHONPATH", folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        let ended = python.env("DBUS_SESSION_BUS_ADDRESS", desktop.bus_address()).output().await.unwrap();
        assert!(ended.status.success(), "{step}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), "passed", "{step}");
        let kept = desktop.keyring_files();
        assert!(!kept.is_empty() && !kept.windows(11).any(|window| window == b"canary-seal"), "{step}");
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/python")
}

/// Puts the package and its library where Python finds them.
fn install_in(folder: &Path) {
    let package = folder.join("bowerbird");
    std::fs::create_dir(&package).unwrap();
    for file in ["__init__.py", "bowerbird.py"] {
        std::fs::copy(sources().join("bowerbird").join(file), package.join(file)).unwrap();
    }
    std::os::unix::fs::symlink(library(), package.join("libbowerbird_client_ffi.so")).unwrap();
}

/// The binding's library: built with this test, beside it.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.parent().unwrap().join("libbowerbird_client_ffi.so");
    assert!(library.exists(), "{} is not built", library.display());
    library
}
