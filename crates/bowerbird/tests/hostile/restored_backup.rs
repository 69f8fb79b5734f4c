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
