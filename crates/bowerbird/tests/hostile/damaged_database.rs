//! A database that goes bad under a running server (fault 15): what can still be read is read, no refresh token is sent whose
//! successor could not be stored, it is said aloud, and nothing is made in its place.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bowerbird_testkit::fault::CanaryKind;
use bowerbird_testkit::server::BowerbirdProcess;

use crate::support::{House, Must as _};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const PAGE: usize = 4096;

#[tokio::test(flavor = "multi_thread")]
async fn fault_15_a_database_that_is_damaged_under_a_running_server_is_read_only_and_never_replaced() {
    let mut house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let hers = house.signed_in(&alice).await.seal().unwrap();
    let his = house.signed_in(&bob).await.seal().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.sqlite");
    assert!(house.server.command(&["backup", copy.to_str().unwrap()]).status.success());
    // A stop moves everything out of the log and into the file.
    house.server.terminate(Duration::from_secs(20)).await;
    house.server.restart().await;
    house.server.app(&hers).get(SESSION).await.must_be(200);

    let path = house.server.data_dir().join("bowerbird.sqlite");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    // Every page but the first, which holds the header: the heads of the pages are what SQLite looks at.
    for page in 1..length / PAGE {
        let mut head = [0; 16];
        let at = u64::try_from(page * PAGE).unwrap();
        file.read_exact_at(&mut head, at).unwrap();
        for byte in &mut head {
            *byte ^= 0xff;
        }
        file.write_all_at(&head, at).unwrap();
    }
    let shown = house.network.ledger().presented(CanaryKind::RefreshToken).len();
    house.network.expire_all_access_tokens();
    for seal in [&hers, &his] {
        for _ in 0..3 {
            let answer = house.server.app(seal).get(SESSION).await;
            assert!((500..600).contains(&answer.status), "{} {}", answer.status, answer.text());
        }
    }
    house.until("it is said", || house.server.stderr().text().contains("reason=\"damaged_database\"")).await;
    let log = house.server.stderr().text();
    assert!(log.contains("damaged and only read from now on") && log.contains("refreshing is suspended"), "{log}");
    house.server.client().get(&house.server.url("/ready")).await.must_be(503);
    house.server.client().get(&house.server.url("/health")).await.must_be(200);
    assert_eq!(house.network.ledger().presented(CanaryKind::RefreshToken).len(), shown, "no refresh token was sent");

    // Nor is anything made in its place by starting again.
    house.server.terminate(Duration::from_secs(20)).await;
    let damaged = std::fs::read(&path).unwrap();
    let refused = BowerbirdProcess::try_start(house.server.options().data_of(&house.server))
        .await
        .expect_err("it does not start on a damaged database");
    assert!(refused.stderr.contains("hint:"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&path).unwrap()[PAGE..], damaged[PAGE..], "nothing was written over it");

    // A backup mends it; the damaged one is kept.
    let restored = house.server.command(&["restore", copy.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let confirmed = house.server.command(&["restore", "--confirm"]);
    assert!(confirmed.status.success(), "{}", String::from_utf8_lossy(&confirmed.stderr));
    house.server.restart().await;
    house.server.app(&his).get("/api/accounts").await.must_be(200);
    assert_eq!(house.accounts().len(), 2);
    house.assert_alive().await;
}
