//! The tier on a real redis-server: what it promises while all is well, and that nobody waits for it when it is not.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod cluster;

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{
    BucketVerdict, Change, ChangeFeed as _, ChangeListener, RateBuckets as _, SharedCache as _,
};
use bowerbird_core::testing::{SeededEntropy, TestClock};
use bowerbird_core::{AccountId, ConnectionId};
use bowerbird_storage_redis::RedisTier;
use bowerbird_testkit::databases::RedisServer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const MINUTE: Duration = Duration::from_mins(1);
/// Far more than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn tier_at(url: &str) -> RedisTier {
    RedisTier::open(url, "cluster-a", None, Arc::new(TestClock::new())).unwrap()
}

struct Heard(UnboundedSender<Option<Change>>);

impl ChangeListener for Heard {
    fn changed(&self, change: &Change) {
        self.0.send(Some(change.clone())).ok();
    }

    fn missed(&self) {
        self.0.send(None).ok();
    }
}

pub(crate) fn listening(tier: &RedisTier) -> UnboundedReceiver<Option<Change>> {
    let (sender, receiver) = unbounded_channel();
    tier.feed().listen(Arc::new(Heard(sender)));
    receiver
}

pub(crate) async fn next(heard: &mut UnboundedReceiver<Option<Change>>) -> Option<Change> {
    tokio::time::timeout(LONG, heard.recv()).await.expect("something is heard").expect("the feed lives")
}

/// Publishes until it is heard: a feed connects by itself, some time after it was opened.
pub(crate) async fn is_heard(from: &RedisTier, change: &Change, heard: &mut UnboundedReceiver<Option<Change>>) {
    let hearing = async {
        loop {
            from.feed().publish(change.clone()).await;
            let answer = tokio::time::timeout(Duration::from_millis(100), heard.recv()).await;
            if answer.is_ok_and(|message| message == Some(Some(change.clone()))) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, hearing).await.expect("the change is heard");
}

#[tokio::test]
async fn what_is_put_is_found_until_it_expires_or_is_removed() {
    let server = RedisServer::start().await;
    let (tier, other) = (tier_at(&server.url()), tier_at(&server.url()));
    assert_eq!(tier.get("device:1").await, None);
    tier.put("device:1", &[0, 255, 10], MINUTE).await;
    assert_eq!(other.get("device:1").await, Some(vec![0, 255, 10]));
    assert!(other.remove("device:1").await);
    assert_eq!(tier.get("device:1").await, None);
    assert!(tier.remove("device:1").await, "removing what is gone is confirmed too");

    tier.put("device:2", b"short", Duration::from_millis(30)).await;
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(tier.get("device:2").await, None);
}

#[tokio::test]
async fn installations_do_not_see_each_other() {
    let server = RedisServer::start().await;
    let one = tier_at(&server.url());
    let two = RedisTier::open(&server.url(), "cluster-b", None, Arc::new(TestClock::new())).unwrap();
    one.put("key", b"one", MINUTE).await;
    assert_eq!(two.get("key").await, None);
    assert_eq!(two.take("login", 1, MINUTE).await, BucketVerdict::Taken);
    assert_eq!(one.take("login", 1, MINUTE).await, BucketVerdict::Taken);
    let keys = server.command(&["--scan"]);
    assert!(keys.lines().all(|key| key.starts_with("bowerbird:cluster-")), "{keys}");
}

#[tokio::test]
async fn a_bucket_is_shared_and_gives_no_more_than_it_holds() {
    let server = RedisServer::start().await;
    let tiers = [tier_at(&server.url()), tier_at(&server.url())];
    let (mut taken, mut waits) = (0, Vec::new());
    for turn in 0..40 {
        match tiers[turn % 2].take("login:192.0.2.1", 10, Duration::from_hours(1)).await {
            BucketVerdict::Taken => taken += 1,
            BucketVerdict::Wait(wait) => waits.push(wait),
            BucketVerdict::Unknown => panic!("the server answers"),
        }
    }
    assert_eq!((taken, waits.len()), (10, 30));
    assert!(waits.iter().all(|wait| *wait <= Duration::from_mins(6) && *wait > Duration::from_mins(5)), "{waits:?}");
    assert_eq!(tiers[0].take("login:192.0.2.2", 10, Duration::from_hours(1)).await, BucketVerdict::Taken);
}

#[tokio::test]
async fn a_bucket_fills_up_again() {
    let server = RedisServer::start().await;
    let tier = tier_at(&server.url());
    assert_eq!(tier.take("b", 1, Duration::from_millis(50)).await, BucketVerdict::Taken);
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(tier.take("b", 1, Duration::from_millis(50)).await, BucketVerdict::Taken);
}

#[tokio::test]
async fn a_change_reaches_every_instance() {
    let server = RedisServer::start().await;
    let (one, two) = (tier_at(&server.url()), tier_at(&server.url()));
    let mut heard = listening(&two);
    let entropy = SeededEntropy::new(1);
    is_heard(&one, &Change::Credential(ConnectionId::random(&entropy)), &mut heard).await;
    is_heard(&one, &Change::Account(AccountId::random(&entropy)), &mut heard).await;
    // What nobody here can read may mean anything.
    server.command(&["publish", "bowerbird:cluster-a:changes", "something new"]);
    while next(&mut heard).await.is_some() {}
}

#[tokio::test]
async fn a_lost_server_is_a_miss_and_comes_back_by_itself() {
    let mut server = RedisServer::start().await;
    let clock = Arc::new(TestClock::new());
    let tier = RedisTier::open(&server.url(), "cluster-a", None, Arc::clone(&clock) as _).unwrap();
    let mut heard = listening(&tier);
    let change = Change::Account(AccountId::random(&SeededEntropy::new(2)));
    is_heard(&tier, &change, &mut heard).await;
    tier.put("key", b"value", MINUTE).await;

    server.kill();
    let gone = async {
        while tier.get("key").await.is_some() {}
        assert!(!tier.remove("key").await, "nobody confirmed it");
        assert_eq!(tier.take("b", 5, MINUTE).await, BucketVerdict::Unknown);
        tier.put("key", b"lost", MINUTE).await;
        tier.feed().publish(change.clone()).await;
    };
    tokio::time::timeout(LONG, gone).await.expect("nobody waits for a server that is gone");

    server.restart().await;
    let back = async {
        loop {
            clock.advance(Duration::from_secs(2));
            tier.put("key", b"again", MINUTE).await;
            if tier.get("key").await == Some(b"again".to_vec()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, back).await.expect("it comes back");
    while next(&mut heard).await.is_some() {}
    is_heard(&tier, &change, &mut heard).await;
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_moment_and_then_nothing() {
    let server = RedisServer::start().await;
    let clock = Arc::new(TestClock::new());
    let tier = RedisTier::open(&server.url(), "cluster-a", None, Arc::clone(&clock) as _).unwrap();
    tier.put("key", b"value", MINUTE).await;
    server.command(&["client", "pause", "60000", "all"]);
    // Without the pause after a failure these would take a thousand times the patience, almost a minute.
    let asking = async {
        for _ in 0..1000 {
            assert_eq!(tier.get("key").await, None);
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("a server that hangs is left alone");
}

#[tokio::test]
async fn everything_may_be_flushed_at_any_moment() {
    let server = RedisServer::start().await;
    let tier = tier_at(&server.url());
    tier.put("key", b"value", MINUTE).await;
    assert_eq!(tier.take("b", 1, MINUTE).await, BucketVerdict::Taken);
    server.command(&["flushall"]);
    assert_eq!(tier.get("key").await, None);
    assert_eq!(tier.take("b", 1, MINUTE).await, BucketVerdict::Taken);
}

#[tokio::test]
async fn a_password_is_given_and_a_wrong_one_is_a_miss() {
    let server = RedisServer::start_with(&["--requirepass", "right-canary"]).await;
    let at = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    let right = tier_at(&at("right-canary"));
    right.check().await.unwrap();
    right.put("key", b"value", MINUTE).await;
    assert_eq!(right.get("key").await, Some(b"value".to_vec()));
    let wrong = tier_at(&at("wrong-canary"));
    assert_eq!(wrong.get("key").await, None);
    let error = wrong.check().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[tokio::test]
async fn tls_is_spoken_and_checked() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate_file, &certificate).unwrap();
    std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
    let server = RedisServer::start_tls(&certificate_file, &key_file).await;
    let url = format!("rediss://localhost:{}", server.port());
    let open = |roots: Option<&[u8]>| RedisTier::open(&url, "cluster-a", roots, Arc::new(TestClock::new())).unwrap();
    let trusting = open(Some(certificate.as_bytes()));
    trusting.put("key", b"value", MINUTE).await;
    assert_eq!(trusting.get("key").await, Some(b"value".to_vec()));
    let mut heard = listening(&trusting);
    is_heard(&trusting, &Change::Account(AccountId::random(&SeededEntropy::new(3))), &mut heard).await;
    assert!(open(None).check().await.is_err(), "an unknown authority is not trusted");
}
