//! An older backup put in place, and a database that is gone (REFRESH, guards; faults 15 and 17): what was spent since is
//! never shown, nothing begins anew by itself, and the operator is told what to do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bowerbird_testkit::fault::{CanaryKind, FaultNetwork};
use bowerbird_testkit::server::BowerbirdProcess;
use serde_json::Value;

use crate::support::{House, Must as _, options};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What an operator does with a copy: the server is stopped, the file is put in place of the newer one.
fn put_in_place(copy: &Path, data: &Path) {
    for newer in ["bowerbird.sqlite", "bowerbird.sqlite-wal", "bowerbird.sqlite-shm"] {
        let path = data.join(newer);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::copy(copy, data.join("bowerbird.sqlite")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_17_a_restored_backup_is_noticed_and_no_spent_token_is_shown() {
    let mut house = House::open().await;
    let account = house.network.add_account("alice.test");
    let seal = house.signed_in(&account).await.seal().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    let made = house.server.command(&["backup", copy.to_str().unwrap(), "--json"]);
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(serde_json::from_slice::<Value>(&made.stdout).unwrap()["epoch"].as_i64().unwrap() > 0);
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let again = house.server.command(&["backup", copy.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "an older backup is not overwritten");

    let refused = house.server.command(&["restore", "--confirm"]);
    assert_eq!(refused.status.code(), Some(1), "there is nothing to confirm: {}", stderr(&refused));

    // The access is renewed after the copy was made: what the copy holds is spent.
    house.network.expire_all_access_tokens();
    house.server.app(&seal).get(SESSION).await.must_be(200);
    house.server.terminate(Duration::from_secs(20)).await;
    put_in_place(&copy, &house.server.data_dir());
    house.server.restart().await;

    let shown = house.network.ledger().presented(CanaryKind::RefreshToken).len();
    for _ in 0..3 {
        house.server.app(&seal).get(SESSION).await.must_refuse(503, "try_later");
    }
    assert_eq!(house.network.ledger().presented(CanaryKind::RefreshToken).len(), shown, "nothing is shown to anybody");
    let log = house.server.stderr().text();
    assert!(log.contains("restored from a backup"), "{log}");

    // Not by starting again, either.
    house.server.restart().await;
    house.server.app(&seal).get(SESSION).await.must_refuse(503, "try_later");
    assert_eq!(house.network.ledger().presented(CanaryKind::RefreshToken).len(), shown);

    house.server.terminate(Duration::from_secs(20)).await;
    let confirmed = house.server.command(&["restore", "--confirm", "--json"]);
    assert!(confirmed.status.success(), "{}", stderr(&confirmed));
    assert_eq!(serde_json::from_slice::<Value>(&confirmed.stdout).unwrap()["inDoubt"], 1);
    let told = |house: &House| house.server.stderr().text().matches("restored from a backup").count();
    let before = told(&house);
    house.server.restart().await;
    assert_eq!(told(&house), before, "it was confirmed");
    let [(did, _)] = &house.accounts()[..] else { panic!("the account is still there") };
    assert_eq!(*did, account.did);
    house.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_15_a_database_that_is_gone_is_not_replaced_by_an_empty_one() {
    let mut house = House::open().await;
    house.server.terminate(Duration::from_secs(20)).await;
    let data = house.server.data_dir();
    let away = data.join("moved-away.sqlite");
    std::fs::rename(data.join("bowerbird.sqlite"), &away).unwrap();
    let refused = BowerbirdProcess::try_start(house.server.options().data_of(&house.server))
        .await
        .expect_err("it does not start");
    let told = format!("{refused:?}");
    assert!(told.contains("is gone") && told.contains("backup"), "{told}");
    assert!(!data.join("bowerbird.sqlite").exists(), "nothing was made");
    std::fs::rename(&away, data.join("bowerbird.sqlite")).unwrap();
    house.server.restart().await;
    house.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_17_a_backup_is_put_in_place_by_the_program_and_nothing_of_it_is_sent_before_a_word() {
    let mut house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let hers = house.signed_in(&alice).await.seal().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    let copy = copy.to_str().unwrap();
    assert!(house.server.command(&["backup", copy]).status.success());
    let his = house.signed_in(&bob).await.seal().unwrap();
    house.network.expire_all_access_tokens();
    house.server.app(&hers).get(SESSION).await.must_be(200);

    let data = house.server.data_dir();
    let named = |data: &Path| {
        let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("bowerbird.sqlite")).collect();
        names.sort();
        names
    };
    let refused = |house: &House, file: &str, why: &str| {
        let refused = house.server.command(&["restore", file]);
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    };
    refused(&house, copy, "stop the server first");
    house.server.app(&his).get(SESSION).await.must_be(200);
    assert!(named(&data).iter().all(|name| !name.contains("restoring") && !name.contains("replaced")));
    house.server.terminate(Duration::from_secs(20)).await;

    // What is no whole backup of ours is refused, and the database stays.
    let database = data.join("bowerbird.sqlite");
    let before = std::fs::read(&database).unwrap();
    let odd = folder.path().join("odd.sqlite");
    for content in [Vec::new(), b"no database".repeat(1000), before[..before.len() / 2].to_vec(), scratched(copy)] {
        std::fs::write(&odd, content).unwrap();
        refused(&house, odd.to_str().unwrap(), "the database is as it was");
    }
    refused(&house, folder.path().join("none.sqlite").to_str().unwrap(), "cannot be used");
    refused(&house, database.to_str().unwrap(), "the database itself");
    let other = House::open().await;
    let foreign = folder.path().join("foreign.sqlite");
    assert!(other.server.command(&["backup", foreign.to_str().unwrap()]).status.success());
    let told = house.server.command(&["restore", foreign.to_str().unwrap()]);
    assert!(!told.status.success() && !stderr(&told).is_empty(), "{}", stderr(&told));
    assert_eq!(std::fs::read(&database).unwrap(), before, "nothing was changed");
    assert_eq!(named(&data), ["bowerbird.sqlite", "bowerbird.sqlite.lock"]);

    let original = std::fs::read(copy).unwrap();
    let restored = house.server.command(&["restore", copy, "--json"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    let told: Value = serde_json::from_slice(&restored.stdout).unwrap();
    let kept = told["kept"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read(&kept).unwrap(), before, "the replaced database is kept as it was");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(copy).unwrap(), original, "the backup is not written to");
    assert_eq!(std::fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o600);

    let shown = house.network.ledger().presented(CanaryKind::RefreshToken).len();
    house.server.restart().await;
    house.server.app(&hers).get(SESSION).await.must_refuse(503, "try_later");
    house.server.app(&his).get(SESSION).await.must_refuse(401, "session_invalid");
    let due = house.server.command(&["tokens", "refresh", "--account", &alice.did]);
    assert_eq!(due.status.code(), Some(1));
    assert!(stderr(&due).contains("restored from a backup"), "{}", stderr(&due));
    assert_eq!(house.network.ledger().presented(CanaryKind::RefreshToken).len(), shown, "nothing is shown to anybody");
    let health = house.server.command(&["tokens", "health", "--json"]);
    let health: Value = serde_json::from_slice(&health.stdout).unwrap();
    assert_eq!(health["suspended"], "restored_backup");

    // The newer one is still there: it goes back the same way, and nobody has lost anything.
    house.server.terminate(Duration::from_secs(20)).await;
    let back = house.server.command(&["restore", &kept]);
    assert!(back.status.success(), "{}", stderr(&back));
    assert!(String::from_utf8_lossy(&back.stdout).contains("restore --confirm"));
    let confirmed = house.server.command(&["restore", "--confirm", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&confirmed.stdout).unwrap()["inDoubt"], 2, "{}", stderr(&confirmed));
    house.server.restart().await;
    house.server.app(&his).get(SESSION).await.must_be(200);
    house.assert_alive().await;
}

/// A backup with a page overwritten.
fn scratched(copy: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(copy).unwrap();
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    bytes
}

/// Copies the whole data folder of a server that runs: what a snapshot of a machine does.
fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_18_a_copy_under_another_name_is_refused() {
    let house = House::open().await;
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&house.server.data_dir(), folder.path());
    let network = FaultNetwork::start().await;
    let staging = options(&network)
        .env("BOWERBIRD_DATA_DIR", folder.path().to_str().unwrap())
        .env("BOWERBIRD_CLUSTER_ID", "0123456789abcdef0123456789abcdef");
    let refused = BowerbirdProcess::try_start(staging).await.expect_err("it does not start");
    assert!(format!("{refused:?}").contains("copy of another installation"), "{refused:?}");
    house.assert_sound().await;
}
