//! The first start, the second one, the last one, and starts that cannot work.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::server::BowerbirdProcess;

use crate::support::{House, Must as _, options};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_says_one_line_and_keeps_its_files_to_itself() {
    let mut house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    let said = house.server.stdout().text();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&house.server.base_url()), "{said}");
    let data = house.server.data_dir();
    assert_eq!(mode(&data), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        names.push(entry.file_name().into_string().unwrap());
    }
    assert!(
        names.contains(&"bowerbird.sqlite".to_owned()) && names.contains(&"encryption-key".to_owned()),
        "{names:?}"
    );

    let first = house.server.ready_after();
    house.server.restart().await;
    println!(
        "ready after {first:?} on a first start, {:?} on the second (a build for tests)",
        house.server.ready_after()
    );
    assert!(house.server.ready_after() < Duration::from_secs(2));
    house.server.app(&seal).get(SESSION).await.must_be(200);
    let status = house.server.terminate(Duration::from_secs(2)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM ends it well within two seconds");
    house.server.restart().await;
    house.server.app(&seal).get(SESSION).await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_an_answer_under_way_end() {
    let mut house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.server.app(&house.signed_in(&alice).await.seal().unwrap());
    let slow = bowerbird_testkit::fault::Misbehave::DelayBefore(Duration::from_millis(700));
    house.network.pds().server().misbehave("/xrpc/app.bsky.feed.getTimeline", slow);
    let pds = house.network.pds();
    let call = tokio::spawn(async move { app.get("/xrpc/app.bsky.feed.getTimeline").await.status });
    house.until("the call is at the PDS", || pds.calls("app.bsky.feed.getTimeline") == 1).await;
    let status = house.server.terminate(Duration::from_secs(5)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert_eq!(call.await.unwrap(), 200, "the answer came before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_and_nothing_else_happens() {
    let house = House::open().await;
    let taken = options(&house.network).env("BOWERBIRD_LISTEN", &house.server.address().to_string());
    let failure = BowerbirdProcess::try_start(taken).await.expect_err("two servers on one port");
    assert_eq!(failure.status.and_then(|status| status.code()), Some(1), "{failure:?}");
    assert_eq!(failure.stdout, "");
    assert!(failure.stderr.contains(&house.server.address().to_string()), "{}", failure.stderr);
    assert!(failure.stderr.contains("hint:") && !failure.stderr.contains("panicked"), "{}", failure.stderr);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_encryption_key_deletes_nothing_and_the_right_one_works_again() {
    const RIGHT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const WRONG: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let keyed = options(&network).env("BOWERBIRD_ENCRYPTION_KEY", RIGHT);
    let mut house = House::with(network, keyed.clone()).await;
    let seal = house.signed_in(&alice).await.seal().unwrap();

    house.server.terminate(Duration::from_secs(5)).await;
    house.network.clear_logs();
    let wrong = keyed.clone().data_of(&house.server).env("BOWERBIRD_ENCRYPTION_KEY", WRONG);
    let failure = BowerbirdProcess::try_start(wrong).await.expect_err("a start with a key that opens nothing");
    assert_eq!(failure.status.and_then(|status| status.code()), Some(3), "{failure:?}");
    assert!(failure.stderr.contains("put that key back"), "{}", failure.stderr);
    assert!(house.network.requests().is_empty(), "nothing was sent");

    house.server.restart_with(keyed.clone().env("BOWERBIRD_ENCRYPTION_KEY", &format!("{WRONG},{RIGHT}"))).await;
    house.server.app(&seal).get(SESSION).await.must_be(200);
    house.server.restart_with(keyed).await;
    house.server.app(&seal).get(SESSION).await.must_be(200);
    assert_eq!(house.accounts(), [(alice.did.clone(), "ok".to_owned())]);
    house.assert_sound().await;
}
