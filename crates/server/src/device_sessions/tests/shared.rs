//! Sessions of several instances with a log of changes and a shared tier, good and at its worst.

use std::collections::HashMap;

use async_trait::async_trait;
use bowerbird_core::ports::{DeviceChangeLog, DeviceChanges, SharedCache};
use bowerbird_core::testing::FixedKeys;
use bowerbird_vault::SnapshotSeal;
use tokio::task::JoinSet;

use super::*;
use crate::shared_tier::SnapshotTier;

/// Random numbers that are the same in every run.
struct Dice(SeededEntropy);

impl Dice {
    fn throw(&self, sides: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_be_bytes(bytes) as usize % sides
    }

    /// Lets others go first, a few times or not at all.
    async fn wait(&self) {
        for _ in 0..self.throw(5) {
            tokio::task::yield_now().await;
        }
    }
}

/// Sessions whose changes are logged in the same step, as by the triggers of a database; every answer may take a while.
struct Database {
    rows: Arc<dyn DeviceSessionStore>,
    dice: Arc<Dice>,
    log: Mutex<DeviceChanges>,
    rows_read: AtomicU64,
    broken: AtomicBool,
}

impl Database {
    fn note(&self, id: &DeviceSessionId) {
        let mut log = self.log.lock();
        log.head += 1;
        let revision = log.head;
        log.changed.retain(|(known, _)| known != id);
        log.changed.push((id.clone(), revision));
    }

    fn reads(&self) -> u64 {
        self.rows_read.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl DeviceSessionStore for Database {
    async fn insert(&self, device: &DeviceSession) -> Result<(), StoreError> {
        self.rows.insert(device).await
    }

    async fn find(&self, id: &DeviceSessionId, now: Timestamp) -> Result<Option<DeviceSession>, StoreError> {
        self.rows_read.fetch_add(1, Ordering::SeqCst);
        self.dice.wait().await;
        let found = self.rows.find(id, now).await;
        self.dice.wait().await;
        found
    }

    async fn rotate(
        &self,
        old: &DeviceSessionId,
        new: &DeviceSessionId,
        account: AccountId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<DeviceSession>, StoreError> {
        let rotated = self.rows.rotate(old, new, account, now, expires_at).await;
        self.note(old);
        rotated
    }

    async fn activate(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let done = self.rows.activate(id, account).await;
        self.note(id);
        done
    }

    async fn remove_account(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let done = self.rows.remove_account(id, account).await;
        self.note(id);
        done
    }

    async fn touch(&self, id: &DeviceSessionId, now: Timestamp, expires_at: Timestamp) -> Result<Cas, StoreError> {
        self.rows.touch(id, now, expires_at).await
    }

    async fn remove(&self, id: &DeviceSessionId) -> Result<Cas, StoreError> {
        self.dice.wait().await;
        let done = self.rows.remove(id).await;
        self.note(id);
        self.dice.wait().await;
        done
    }

    async fn list_for_account(&self, account: AccountId, now: Timestamp) -> Result<Vec<DeviceSession>, StoreError> {
        self.rows.list_for_account(account, now).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.rows.purge(now).await
    }
}

#[async_trait]
impl DeviceChangeLog for Database {
    async fn since(&self, revision: i64) -> Result<DeviceChanges, StoreError> {
        self.dice.wait().await;
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        let mut changes = self.log.lock().clone();
        changes.changed.retain(|(_, changed)| *changed > revision);
        self.dice.wait().await;
        Ok(changes)
    }

    async fn purge(&self) -> Result<u64, StoreError> {
        let mut log = self.log.lock();
        log.floor = log.head;
        log.changed.clear();
        Ok(0)
    }
}

/// A shared tier. At its worst it forgets, takes its time, brings back what was removed, and answers with any copy that
/// it was ever given.
struct Tier {
    ever: Mutex<HashMap<String, Vec<Vec<u8>>>>,
    dice: Arc<Dice>,
    worst: bool,
}

#[async_trait]
impl SharedCache for Tier {
    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.dice.wait().await;
        let copies = self.ever.lock().get(key).cloned().unwrap_or_default();
        self.dice.wait().await;
        if !self.worst {
            return copies.last().cloned();
        }
        let any = self.dice.throw(copies.len() + 1);
        copies.get(any).cloned()
    }

    async fn put(&self, key: &str, value: &[u8], _: Duration) {
        self.dice.wait().await;
        self.ever.lock().entry(key.to_owned()).or_default().push(value.to_vec());
        self.dice.wait().await;
    }

    async fn remove(&self, key: &str) -> bool {
        if !self.worst {
            self.ever.lock().remove(key);
        }
        !self.worst
    }
}

struct World {
    clock: Arc<TestClock>,
    database: Arc<Database>,
    tier: Arc<Tier>,
    shared: SharedTier,
    stores: Stores,
}

impl World {
    fn new(seed: u64, worst: bool) -> Self {
        let stores = MemoryStores::new();
        let dice = Arc::new(Dice(SeededEntropy::new(seed)));
        let database = Arc::new(Database {
            rows: stores.device_sessions.clone(),
            dice: dice.clone(),
            log: Mutex::default(),
            rows_read: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        });
        let tier = Arc::new(Tier { ever: Mutex::default(), dice, worst });
        let seal = SnapshotSeal::new("cluster", Arc::new(FixedKeys::one()), Arc::new(SeededEntropy::new(seed + 1)));
        let shared = SharedTier {
            device_log: Some(database.clone()),
            snapshots: Some(SnapshotTier { cache: tier.clone(), seal }),
            ..SharedTier::default()
        };
        Self { clock: Arc::new(TestClock::new()), database, tier, shared, stores }
    }

    fn instance(&self) -> DeviceSessions {
        let entropy = Arc::new(SeededEntropy::new(77));
        DeviceSessions::new(self.database.clone(), self.clock.clone(), entropy, &self.shared, TTL)
    }

    async fn signed_in(&self, at: &DeviceSessions, names: &[&str]) -> (DeviceSession, Vec<AccountId>) {
        let (mut session, mut accounts) = (None::<DeviceSession>, Vec::new());
        for name in names {
            let new = NewAccount {
                id: AccountId::random(&SeededEntropy::new(name.bytes().map(u64::from).sum())),
                did: Did::parse(&format!("did:web:{name}.test")).unwrap(),
                handle: format!("{name}.test"),
                pds: "https://pds.test".to_owned(),
                now: self.clock.now(),
            };
            let account = self.stores.accounts.sign_in(new).await.unwrap().id;
            accounts.push(account);
            let present = session.as_ref().map(|session| session.id.clone());
            session = Some(at.sign_in(account, present.as_ref(), "").await.unwrap());
        }
        (session.unwrap(), accounts)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_one_instance_knows_a_cold_one_need_not_read() {
    let world = World::new(1, false);
    let one = world.instance();
    let (session, _) = world.signed_in(&one, &["alice"]).await;
    assert!(one.find(&session.id).await.unwrap().is_some());
    assert_eq!(world.database.reads(), 1);
    let cold = world.instance();
    assert_eq!(cold.find(&session.id).await.unwrap().unwrap().session, session);
    assert_eq!(world.database.reads(), 1, "the copy was enough");

    // Minutes of use, each request later than a row is trusted: the log is asked, the row is not.
    for _ in 0..100 {
        world.clock.advance(SECOND * 2);
        assert!(cold.find(&session.id).await.unwrap().is_some());
    }
    assert_eq!(world.database.reads(), 1);
    world.clock.advance(SECOND * 100);
    assert!(cold.find(&session.id).await.unwrap().is_some());
    assert_eq!(world.database.reads(), 2, "use is written down by who looked at the row");

    assert_eq!(one.sign_out(&session.id).await.unwrap(), Cas::Done);
    world.clock.advance(SECOND);
    assert!(cold.find(&session.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_copy_counts_for_nothing_when_the_log_cannot_tell() {
    let world = World::new(2, false);
    let one = world.instance();
    let (session, _) = world.signed_in(&one, &["alice"]).await;
    let (other, _) = world.signed_in(&one, &["bob"]).await;
    assert!(one.find(&session.id).await.unwrap().is_some());

    // Changes of before the floor are forgotten; a copy of before it may have missed one.
    world.database.note(&other.id);
    DeviceChangeLog::purge(world.database.as_ref()).await.unwrap();
    let reads = world.database.reads();
    assert!(world.instance().find(&session.id).await.unwrap().is_some());
    assert_eq!(world.database.reads(), reads + 1);

    // Without the log, rows are read, every second.
    world.database.broken.store(true, Ordering::SeqCst);
    let cold = world.instance();
    for _ in 0..3 {
        assert!(cold.find(&session.id).await.unwrap().is_some());
        world.clock.advance(SECOND);
    }
    assert_eq!(world.database.reads(), reads + 4);
    world.database.broken.store(false, Ordering::SeqCst);

    // A copy that is altered, or of another session under this one's name, is none.
    for copies in world.tier.ever.lock().values_mut() {
        for copy in copies {
            copy[30] ^= 1;
        }
    }
    let reads = world.database.reads();
    assert!(world.instance().find(&session.id).await.unwrap().is_some());
    assert_eq!(world.database.reads(), reads + 1);
}

#[tokio::test]
async fn a_database_that_went_back_makes_every_copy_count_for_nothing() {
    let world = World::new(3, false);
    let one = world.instance();
    let (session, _) = world.signed_in(&one, &["alice"]).await;
    world.database.log.lock().head = 500;
    assert!(one.find(&session.id).await.unwrap().is_some());
    // Restored from before the session: its row is gone, and no change says so. Then the log goes on.
    assert_eq!(world.stores.device_sessions.remove(&session.id).await.unwrap(), Cas::Done);
    for head in [100, 500, 1000] {
        world.database.log.lock().head = head;
        world.clock.advance(SECOND);
        assert!(one.find(&session.id).await.unwrap().is_none(), "at {head}");
    }
}

#[tokio::test]
async fn another_active_account_shows_elsewhere_within_a_second() {
    let world = World::new(4, true);
    let (one, two) = (world.instance(), world.instance());
    let (session, accounts) = world.signed_in(&one, &["alice", "bob"]).await;
    for round in 0..40 {
        let account = accounts[round % 2];
        assert_eq!(one.activate(&session.id, account).await.unwrap(), Cas::Done);
        world.clock.advance(SECOND);
        assert_eq!(two.find(&session.id).await.unwrap().unwrap().session.active, Some(account), "round {round}");
        assert_eq!(one.find(&session.id).await.unwrap().unwrap().session.active, Some(account), "round {round}");
    }
}

/// What a search found, and when it began.
struct Search {
    instance: usize,
    begun: Duration,
    found: bool,
}

/// Sign-outs race with searches on two instances that hear no news, over a tier at its worst: whatever the order, a
/// search that begins a second after the sign-out was answered finds nothing, and at once where it was made.
#[tokio::test]
async fn no_order_of_steps_revives_a_session() {
    let mut found_after = 0;
    for seed in 0..600 {
        let world = World::new(seed * 1000 + 11, true);
        let instances = [world.instance(), world.instance()];
        let (session, _) = world.signed_in(&instances[0], &["alice"]).await;
        let dice = Dice(SeededEntropy::new(seed));
        let out_at = 5 + dice.throw(20);
        let out_by = dice.throw(2);
        let signed_out: Arc<Mutex<Option<Duration>>> = Arc::default();
        let mut searches = JoinSet::new();
        let mut leaving = JoinSet::new();
        for step in 0..60 {
            if step == out_at {
                let (at, id) = (instances[out_by].clone(), session.id.clone());
                let (clock, signed_out) = (world.clock.clone(), signed_out.clone());
                leaving.spawn(async move {
                    assert_eq!(at.sign_out(&id).await.unwrap(), Cas::Done);
                    *signed_out.lock() = Some(clock.monotonic());
                });
            }
            let instance = dice.throw(2);
            let (at, id, begun) = (instances[instance].clone(), session.id.clone(), world.clock.monotonic());
            searches.spawn(async move {
                let found = at.find(&id).await.unwrap().is_some();
                Search { instance, begun, found }
            });
            dice.wait().await;
            world.clock.advance(Duration::from_millis([0, 50, 120, 260, 400][dice.throw(5)]));
        }
        while leaving.join_next().await.is_some() {}
        let ended = signed_out.lock().unwrap();
        while let Some(search) = searches.join_next().await {
            let search = search.unwrap();
            let dead_at = if search.instance == out_by { ended + Duration::from_millis(1) } else { ended + SECOND };
            assert!(
                !(search.found && search.begun >= dead_at),
                "seed {seed}: found {:?} after",
                search.begun.saturating_sub(ended)
            );
            found_after += u32::from(search.found && search.begun >= ended);
        }
    }
    assert!(found_after > 0, "the bound is reached, so the test sees copies that outlive a sign-out");
}
