//! No byte can be written any more (fault 13): before a refresh token is sent, and while its answer is on the way. A limit on
//! the size of files, laid on the running process, fails every write as a full disk does.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, Verdict, endpoint};
use bowerbird_testkit::server::ServerOptions;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{House, Must as _};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";

/// A server that gets an error and no signal from a write that goes too far.
async fn house(folder: &std::path::Path) -> House {
    let network = FaultNetwork::start().await;
    let script = folder.join("bowerbird");
    std::fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_bowerbird")))
        .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = ServerOptions::new(script).on(&network).env("BOWERBIRD_TRUSTED_PROXIES", "127.0.0.1");
    House::with(network, options).await
}

fn limit_files(house: &House, bytes: Option<u64>) {
    let pid = Pid::from_raw(house.server.pid().cast_signed()).unwrap();
    let limit = Rlimit { current: bytes, maximum: None };
    let _before = prlimit(Some(pid), Resource::Fsize, limit).unwrap();
}

fn shown(house: &House) -> Vec<Verdict> {
    house.network.ledger().presented(CanaryKind::RefreshToken).iter().map(|shown| shown.verdict).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_13_no_refresh_is_begun_that_could_not_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let house = house(folder.path()).await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    house.network.expire_all_access_tokens();
    limit_files(&house, Some(0));
    for _ in 0..5 {
        house.server.app(&seal).get(SESSION).await.must_refuse(503, "try_later");
    }
    assert_eq!(shown(&house), [], "the token was shown to nobody");
    // A sign-in cannot be stored either, and says so; what is there stays.
    let mut visitor = house.server.visitor();
    let answer = house.start(&mut visitor, "alice.test").await;
    assert!((500..600).contains(&answer.status), "{} {}", answer.status, answer.text());
    limit_files(&house, None);
    let again = async {
        while house.server.app(&seal).get(SESSION).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it never works again");
    assert_eq!(shown(&house), [Verdict::Accepted]);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_13_an_answer_that_comes_when_the_disk_is_full_is_kept_until_it_can_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = house(folder.path()).await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    house.network.expire_all_access_tokens();
    house.network.clear_logs(); // the sign-in's own calls
    let server = house.network.authorization_server();
    server.server().misbehave(endpoint::TOKEN, Misbehave::DelayAfter(Duration::from_millis(1500)));
    let app = house.server.app(&seal);
    let call = tokio::spawn(async move { app.get(SESSION).await });
    house.until("the token is out", || server.token_calls() == 1).await;
    limit_files(&house, Some(0));
    let answer = call.await.unwrap();
    assert_eq!(answer.status, 503, "what is not stored is not used: {}", answer.text());
    house.server.client().get(&house.server.url("/ready")).await.must_be(503);
    assert_eq!(shown(&house), [Verdict::Accepted]);
    server.server().behave();
    limit_files(&house, None);
    let again = async {
        while house.server.app(&seal).get(SESSION).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it never works again");
    // It is in the database: a restart knows it.
    house.server.kill();
    house.server.restart().await;
    house.server.app(&seal).get(SESSION).await.must_be(200);
    assert_eq!(shown(&house), [Verdict::Accepted], "one refresh, and no second one");
    house.assert_sound().await;
}
