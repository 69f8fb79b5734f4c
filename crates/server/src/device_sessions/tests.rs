use bowerbird_core::Did;
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{NewAccount, Stores};
use bowerbird_core::testing::{SeededEntropy, TestClock};

use super::*;

mod shared;

const TTL: i64 = 3600;

struct Bench {
    clock: Arc<TestClock>,
    entropy: Arc<SeededEntropy>,
    stores: Stores,
    sessions: DeviceSessions,
}

impl Bench {
    fn new() -> Self {
        let (clock, entropy) = (Arc::new(TestClock::new()), Arc::new(SeededEntropy::new(5)));
        let stores = MemoryStores::new();
        let sessions = DeviceSessions::new(
            stores.device_sessions.clone(),
            clock.clone(),
            entropy.clone(),
            &SharedTier::default(),
            TTL,
        );
        Self { clock, entropy, stores, sessions }
    }

    /// Another instance over the same stores.
    fn second(&self) -> DeviceSessions {
        self.second_sharing(&SharedTier::default())
    }

    fn second_hearing(&self, changes: Arc<dyn ChangeFeed>) -> DeviceSessions {
        self.second_sharing(&SharedTier { changes, ..SharedTier::default() })
    }

    fn second_sharing(&self, tier: &SharedTier) -> DeviceSessions {
        DeviceSessions::new(self.stores.device_sessions.clone(), self.clock.clone(), self.entropy.clone(), tier, TTL)
    }

    async fn account(&self, name: &str) -> AccountId {
        let new = NewAccount {
            id: AccountId::random(self.entropy.as_ref()),
            did: Did::parse(&format!("did:web:{name}.test")).unwrap(),
            handle: format!("{name}.test"),
            pds: "https://pds.test".to_owned(),
            now: self.clock.now(),
        };
        self.stores.accounts.sign_in(new).await.unwrap().id
    }
}

#[tokio::test]
async fn a_login_renames_the_session_and_the_old_name_is_dead() {
    let bench = Bench::new();
    let (alice, bob) = (bench.account("alice").await, bench.account("bob").await);
    let first = bench.sessions.sign_in(alice, None, "Firefox").await.unwrap();
    assert!(bench.sessions.find(&first.id).await.unwrap().is_some());

    let second = bench.sessions.sign_in(bob, Some(&first.id), "Firefox").await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(second.active, Some(bob));
    assert!(second.holds(alice));
    assert!(bench.sessions.find(&first.id).await.unwrap().is_none());
    assert!(bench.sessions.find(&second.id).await.unwrap().is_some());
}

#[tokio::test]
async fn signing_out_kills_at_once_here_and_within_a_second_elsewhere() {
    let bench = Bench::new();
    let alice = bench.account("alice").await;
    let session = bench.sessions.sign_in(alice, None, "").await.unwrap();
    let elsewhere = bench.second();
    assert!(elsewhere.find(&session.id).await.unwrap().is_some());
    assert!(bench.sessions.find(&session.id).await.unwrap().is_some());

    assert_eq!(bench.sessions.sign_out(&session.id).await.unwrap(), Cas::Done);
    assert!(bench.sessions.find(&session.id).await.unwrap().is_none());
    bench.clock.advance(Duration::from_secs(1));
    assert!(elsewhere.find(&session.id).await.unwrap().is_none());
}

#[tokio::test]
async fn use_is_written_down_every_five_minutes_and_moves_the_end() {
    let bench = Bench::new();
    let alice = bench.account("alice").await;
    let began = bench.sessions.sign_in(alice, None, "").await.unwrap();

    bench.clock.advance(Duration::from_secs(299));
    bench.sessions.find(&began.id).await.unwrap().unwrap();
    let row = bench.stores.device_sessions.find(&began.id, bench.clock.now()).await.unwrap().unwrap();
    assert_eq!(row.last_seen_at, began.last_seen_at);

    bench.clock.advance(Duration::from_secs(1));
    let live = bench.sessions.find(&began.id).await.unwrap().unwrap();
    let row = bench.stores.device_sessions.find(&began.id, bench.clock.now()).await.unwrap().unwrap();
    assert_eq!(row.last_seen_at, bench.clock.now());
    assert_eq!(row.expires_at, bench.clock.now().plus_seconds(TTL + TOUCH_SECONDS));
    assert_eq!(live.session, row);
}

#[tokio::test]
async fn an_unused_session_ends() {
    let bench = Bench::new();
    let alice = bench.account("alice").await;
    let session = bench.sessions.sign_in(alice, None, "").await.unwrap();
    bench.clock.advance(Duration::from_secs(3600 + 301));
    assert!(bench.sessions.find(&session.id).await.unwrap().is_none());
}

#[tokio::test]
async fn switching_and_removing_show_at_once() {
    let bench = Bench::new();
    let (alice, bob) = (bench.account("alice").await, bench.account("bob").await);
    let first = bench.sessions.sign_in(alice, None, "").await.unwrap();
    let id = bench.sessions.sign_in(bob, Some(&first.id), "").await.unwrap().id;
    assert_eq!(bench.sessions.find(&id).await.unwrap().unwrap().session.active, Some(bob));

    assert_eq!(bench.sessions.activate(&id, alice).await.unwrap(), Cas::Done);
    assert_eq!(bench.sessions.find(&id).await.unwrap().unwrap().session.active, Some(alice));

    assert_eq!(bench.sessions.remove_account(&id, alice).await.unwrap(), Cas::Done);
    assert_eq!(bench.sessions.find(&id).await.unwrap().unwrap().session.active, Some(bob));
    assert!(!bench.sessions.holds_anywhere(alice).await.unwrap());

    assert_eq!(bench.sessions.remove_account(&id, bob).await.unwrap(), Cas::Done);
    assert!(bench.sessions.find(&id).await.unwrap().is_none());
}

/// Carries every change to every listener at once.
#[derive(Default)]
struct Wire(Mutex<Vec<Arc<dyn ChangeListener>>>);

#[async_trait::async_trait]
impl ChangeFeed for Wire {
    async fn publish(&self, change: Change) {
        self.0.lock().iter().for_each(|listener| listener.changed(&change));
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        self.0.lock().push(listener);
    }
}

#[tokio::test]
async fn with_news_a_sign_out_counts_elsewhere_at_once() {
    let bench = Bench::new();
    let alice = bench.account("alice").await;
    let wire = Arc::new(Wire::default());
    let (one, two) = (bench.second_hearing(wire.clone()), bench.second_hearing(wire.clone()));
    let session = one.sign_in(alice, None, "Firefox").await.unwrap();
    let other = one.sign_in(alice, None, "Safari").await.unwrap();
    assert!(two.find(&session.id).await.unwrap().is_some());
    assert!(two.find(&other.id).await.unwrap().is_some());

    assert_eq!(one.sign_out(&session.id).await.unwrap(), Cas::Done);
    assert!(two.find(&session.id).await.unwrap().is_none(), "without any time passing");

    // Nobody said so: only news that may have been missed make it look again before its time.
    assert_eq!(bench.stores.device_sessions.remove(&other.id).await.unwrap(), Cas::Done);
    assert!(two.find(&other.id).await.unwrap().is_some());
    wire.0.lock().iter().for_each(|listener| listener.missed());
    assert!(two.find(&other.id).await.unwrap().is_none());
}
