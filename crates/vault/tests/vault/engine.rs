//! The spill, the suspension, the sweep and the news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{
    AccessProbe, AccountEvent, Clock, GrantFacts, HighMark, Observer, PreparedRefresh, RefreshRefusal, RefreshResult,
    Refresher, SpillEntry, SpillError, SpillStore,
};
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{ConnectionId, CredentialState, Generation, Schedule, Secret, Timestamp};
use bowerbird_vault::{CheckoutError, NewGrant, Recovered, Suspension, Swept, Vault, VaultConfig, VaultSurroundings};
use futures_util::future::join_all;
use parking_lot::Mutex;

use super::support::{DUE, EXPIRED, House, LIFE, Reply, connect, issuer_port, new_grant, nth};

/// A spill in memory that outlives the vaults.
#[derive(Default)]
struct MemorySpill {
    entries: Mutex<Vec<SpillEntry>>,
    /// What lies in the file of another living process.
    held: Mutex<Vec<SpillEntry>>,
    /// So many looks at all files fail.
    blind: AtomicU32,
    marks: Mutex<BTreeMap<(ConnectionId, Generation), Generation>>,
    full: AtomicBool,
    /// Says that it is ready, and then takes nothing.
    deceptive: AtomicBool,
}

#[async_trait]
impl SpillStore for MemorySpill {
    async fn ready(&self) -> Result<(), SpillError> {
        if self.full.load(Ordering::SeqCst) { Err(SpillError::Full) } else { Ok(()) }
    }

    async fn append(&self, entry: &SpillEntry) -> Result<(), SpillError> {
        self.ready().await?;
        if self.deceptive.load(Ordering::SeqCst) {
            return Err(SpillError::Full);
        }
        self.entries.lock().push(entry.clone());
        Ok(())
    }

    async fn settle(&self, connection: ConnectionId, seen: Generation) {
        self.entries.lock().retain(|entry| {
            let settled = (entry.connection, entry.seen) == (connection, seen);
            if settled {
                self.marks.lock().insert((connection, entry.granted), seen.next());
            }
            !settled
        });
    }

    async fn unsettled(&self) -> Result<Vec<SpillEntry>, SpillError> {
        Ok(self.entries.lock().clone())
    }

    async fn everywhere(&self, connection: ConnectionId) -> Result<Vec<SpillEntry>, SpillError> {
        if self.blind.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |looks| looks.checked_sub(1)).is_ok() {
            return Err(SpillError::Unwritable("too many open files".into()));
        }
        let mut entries = self.entries.lock().clone();
        entries.extend(self.held.lock().iter().cloned());
        entries.retain(|entry| entry.connection == connection);
        Ok(entries)
    }

    async fn high_marks(&self) -> Result<Vec<HighMark>, SpillError> {
        let mark = |((connection, granted), stored): (&(ConnectionId, Generation), &Generation)| HighMark {
            connection: *connection,
            granted: *granted,
            stored: *stored,
        };
        Ok(self.marks.lock().iter().map(mark).collect())
    }
}

#[derive(Default)]
struct Diary {
    events: Mutex<Vec<&'static str>>,
    results: Mutex<Vec<RefreshResult>>,
}

impl Observer for Diary {
    fn event(&self, event: &AccountEvent) {
        self.events.lock().push(event.kind.name());
    }

    fn refresh_ended(&self, result: RefreshResult, _took: Duration) {
        self.results.lock().push(result);
    }
}

fn instance(house: &House, spill: &Arc<MemorySpill>, diary: &Arc<Diary>) -> Vault {
    let surroundings = VaultSurroundings {
        spill: Arc::clone(spill) as Arc<dyn SpillStore>,
        observer: Arc::clone(diary) as Arc<dyn Observer>,
        ..VaultSurroundings::default()
    };
    let (keys, entropy) = (Arc::new(FixedKeys::one()), Arc::new(SeededEntropy::new(99)));
    let clock = Arc::clone(&house.clock) as _;
    Vault::within(
        VaultConfig::new("cluster-a"),
        &house.stores,
        keys,
        issuer_port(&house.issuer),
        clock,
        entropy,
        surroundings,
    )
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_crash_kept_from_the_database_is_replayed_once() {
    let (house, spill, diary) = (House::new().await, Arc::default(), Arc::default());
    let first = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    first.checkout(house.connection).await.unwrap_err();
    assert_eq!(spill.entries.lock().len(), 1);
    // The first instance never gets its commit through: as if it were dead. A second starts.
    let second = instance(&house, &spill, &diary);
    second.recover().await.unwrap_err();
    assert_eq!(spill.entries.lock().len(), 1, "kept until the database takes it");
    house.credentials.commits_down.store(false, Ordering::SeqCst);
    let recovered = second.recover().await.unwrap();
    assert_eq!(recovered, Recovered { stored: 1, settled: 0, restored: 0 });
    assert_eq!(second.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(house.row().await.state, CredentialState::Ok);
    assert_eq!(second.recover().await.unwrap(), Recovered::default());
    assert_eq!((house.issuer.sends(), house.issuer.replays()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_keeps_no_other_answer_from_its_row() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let first = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    first.checkout(house.connection).await.unwrap_err();
    // The first instance is as if it were dead: its commit goes on failing, and the second one's does not.
    let broken = ConnectionId::random(&SeededEntropy::new(5));
    let waiting = spill.entries.lock()[0].clone();
    spill.entries.lock().insert(0, SpillEntry { connection: broken, ..waiting.clone() });
    spill.marks.lock().insert((broken, waiting.granted), waiting.seen.next());
    *house.credentials.unreadable.lock() = Some(broken);

    let second = instance(&house, &spill, &diary);
    house.credentials.commits_down.store(false, Ordering::SeqCst);
    assert_eq!(second.recover().await.unwrap(), Recovered { stored: 1, settled: 0, restored: 0 });
    assert_eq!(second.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    let left: Vec<_> = spill.entries.lock().iter().map(|entry| entry.connection).collect();
    assert_eq!(left, [broken], "it waits until its row is mended");
    assert_eq!((house.issuer.sends(), house.issuer.replays()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_replaced_grant_is_let_go() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let vault = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    vault.checkout(house.connection).await.unwrap();
    let row = house.row().await;
    let entry = SpillEntry {
        connection: house.connection,
        seen: row.generation,
        granted: row.fields.granted_generation,
        tokens: row.tokens,
        state: CredentialState::Ok,
        schedule: Schedule::default(),
    };
    vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    spill.append(&entry).await.unwrap();
    assert_eq!(vault.recover().await.unwrap(), Recovered { stored: 0, settled: 1, restored: 0 });
    assert_eq!(house.stored_refresh_token().await, "rt-new");
}

#[tokio::test(start_paused = true)]
async fn a_login_by_a_clock_that_was_set_back_is_no_restored_backup() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let vault = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    vault.checkout(house.connection).await.unwrap();
    vault.remove(house.connection).await.unwrap();
    house.clock.jump_to(house.clock.now().plus_seconds(-7200));
    vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    let second = instance(&house, &spill, &diary);
    assert_eq!(second.recover().await.unwrap(), Recovered::default());
    assert_eq!(second.health().suspended, None);
}

/// How many of six expired credentials of one issuer, which gets four refreshes at once, are sent while the database takes
/// no answer.
async fn sent_while_commits_are_down(spill: MemorySpill) -> usize {
    let (house, spill, diary) = (House::empty().await, Arc::new(spill), Arc::default());
    let vault = instance(&house, &spill, &diary);
    let mut connections = Vec::new();
    for seed in 10..16 {
        let (account, connection) = connect(&house.stores, &house.clock, seed).await;
        vault.grant(new_grant(account, connection, "at", Some(&format!("rt of {seed}")))).await.unwrap();
        connections.push(connection);
    }
    house.pass(EXPIRED);
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    let all = {
        let vault = vault.clone();
        tokio::spawn(async move { join_all(connections.iter().map(|id| vault.checkout(*id))).await })
    };
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sends = house.issuer.sends();
    house.credentials.commits_down.store(false, Ordering::SeqCst);
    all.await.unwrap();
    while vault.health().in_flight > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!((house.issuer.sends(), house.issuer.replays(), vault.health().unsaved), (6, 0, 0));
    sends
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_spill_holds_up_nobody_and_one_in_memory_keeps_its_turn() {
    assert_eq!(sent_while_commits_are_down(MemorySpill::default()).await, 6);
    let deceptive = MemorySpill { deceptive: AtomicBool::new(true), ..MemorySpill::default() };
    assert_eq!(sent_while_commits_are_down(deceptive).await, 4);
}

/// A process that sends, writes the answer into the spill, and dies before the database takes it.
fn die_with_an_answer_in_the_spill(house: &House, dead: Vault) {
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    let connection = house.connection;
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(dead.checkout(connection)).unwrap_err();
        // The end of the runtime is the end of its tasks.
    });
    process.join().unwrap();
    house.credentials.commits_down.store(false, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn before_a_second_send_what_a_dead_process_left_in_the_spill_is_stored() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let living = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
    assert_eq!(spill.entries.lock().len(), 1);
    house.pass(130);
    assert_eq!(living.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(living.take_over().await.unwrap(), Recovered { stored: 0, settled: 1, restored: 0 });
    assert_eq!((house.issuer.sends(), spill.entries.lock().len()), (1, 0));
}

/// A process that died with an answer in its spill, whose file another one has taken and does not get to work on; or one that
/// was stopped after it had written its answer down.
#[tokio::test(start_paused = true)]
async fn before_a_second_send_what_waits_in_the_file_of_a_living_process_is_stored() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::<Diary>::default());
    let living = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
    let held = std::mem::take(&mut *spill.entries.lock());
    spill.held.lock().clone_from(&held);
    house.pass(130);
    assert_eq!(living.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!((house.issuer.sends(), house.issuer.replays()), (1, 0));
    assert_eq!(*diary.events.lock(), ["refreshed", "recovered"]);
    assert!(spill.marks.lock().is_empty(), "its holder settles it");

    // The holder comes to it, and finds it stored.
    *spill.entries.lock() = std::mem::take(&mut *spill.held.lock());
    let holder = instance(&house, &spill, &diary);
    assert_eq!(holder.recover().await.unwrap(), Recovered { stored: 0, settled: 1, restored: 0 });
    assert_eq!((house.row().await.generation, house.stored_refresh_token().await.as_str()), (nth(2), "rt-1"));
}

#[tokio::test(start_paused = true)]
async fn with_the_answer_in_hand_nothing_is_sent_though_the_database_does_not_take_it() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let living = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
    house.pass(130);
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    let refused = living.checkout(house.connection).await;
    assert!(matches!(refused, Err(CheckoutError::TryLater { .. })), "{refused:?}");
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!((house.issuer.sends(), living.health().in_flight), (1, 0));
    house.credentials.commits_down.store(false, Ordering::SeqCst);
    house.pass(130);
    assert_eq!(living.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!((house.issuer.sends(), house.issuer.replays()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_look_into_the_spills_that_fails_is_taken_again_before_a_second_send() {
    for (blind, sends) in [(1, 1), (6, 1), (1000, 2)] {
        let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
        let living = instance(&house, &spill, &diary);
        house.pass(EXPIRED);
        die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
        house.pass(130);
        spill.blind.store(blind, Ordering::SeqCst);
        drop(living.checkout(house.connection).await);
        landed_at(&living).await;
        // What can never be read does not keep a credential in doubt for good.
        assert_eq!(house.issuer.sends(), sends, "{blind} looks fail");
    }
}

#[tokio::test(start_paused = true)]
async fn before_a_second_send_answers_that_do_not_fit_the_row_say_nothing() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let living = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
    let waiting = spill.entries.lock().remove(0);
    let of_another_grant = SpillEntry { granted: Generation(waiting.granted.0 - 1), ..waiting.clone() };
    let of_before = SpillEntry { seen: Generation(waiting.seen.0 - 1), ..waiting };
    *spill.held.lock() = vec![of_before, of_another_grant];
    house.pass(130);
    house.issuer.reply(Reply::Refused);
    living.checkout(house.connection).await.unwrap_err();
    assert_eq!((house.issuer.sends(), house.row().await.generation), (2, nth(1)));
    assert_eq!((spill.held.lock().len(), living.health().suspended), (2, None), "they are others' to judge");
}

#[tokio::test(start_paused = true)]
async fn before_a_second_send_an_answer_for_a_later_row_shows_a_restored_database() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let living = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
    let waiting = spill.entries.lock().remove(0);
    let of_a_later_row = SpillEntry { seen: waiting.seen.next(), ..waiting.clone() };
    *spill.held.lock() = vec![waiting, of_a_later_row];
    house.pass(130);
    living.checkout(house.connection).await.unwrap_err();
    assert_eq!((house.issuer.sends(), house.row().await.generation), (1, nth(1)));
    assert_eq!(living.health().suspended, Some(Suspension::RestoredBackup));
}

#[tokio::test(start_paused = true)]
async fn the_sweep_stores_what_a_dead_process_left_in_the_spill() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let living = instance(&house, &spill, &diary);
    house.pass(EXPIRED);
    die_with_an_answer_in_the_spill(&house, instance(&house, &spill, &diary));
    let sweep = living.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { sweep.run_sweep(async { drop(stopped.await) }).await });
    // Long before the lease is over, by the clock of the vault.
    for _ in 0..5 {
        house.pass(15);
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    assert_eq!(house.row().await.generation, nth(2));
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!(house.issuer.sends(), 1);
}

/// Says what it is told to about the old access token.
struct Probed {
    inner: Arc<dyn Refresher>,
    says: AccessProbe,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Refresher for Probed {
    async fn prepare(&self, grant: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        self.inner.prepare(grant).await
    }

    async fn probe(&self, _: GrantFacts, access_token: Secret) -> AccessProbe {
        self.asked.lock().push(access_token.expose().to_owned());
        self.says
    }
}

/// How long it takes from the end of the quiet time to the second send.
async fn second_send_after(says: AccessProbe, passed: u64) -> (Duration, Vec<String>) {
    let house = House::new().await;
    house.pass(passed);
    house.issuer.reply(Reply::Unknown);
    drop(house.vault.checkout(house.connection).await);
    house.pass(130);
    let probed = Arc::new(Probed { inner: issuer_port(&house.issuer), says, asked: Mutex::default() });
    let clock = Arc::new(Ticking(tokio::time::Instant::now(), house.clock.now()));
    let vault = Vault::new(
        VaultConfig::new("cluster-a"),
        &house.stores,
        Arc::new(FixedKeys::one()),
        Arc::clone(&probed) as Arc<dyn Refresher>,
        clock,
        Arc::new(SeededEntropy::new(3)),
    );
    let begun = tokio::time::Instant::now();
    vault.sweep_once().await.unwrap();
    house.issuer.saw(2).await;
    let took = begun.elapsed();
    vault.drain(Duration::from_secs(5)).await;
    assert_eq!(house.state().await, CredentialState::Ok);
    let asked = probed.asked.lock().clone();
    (took, asked)
}

/// The runtime's paused time.
struct Ticking(tokio::time::Instant, Timestamp);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        self.1.plus_millis(i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_server_calls_spent_is_sent_again_only_after_its_holder_had_half_a_minute() {
    for (says, seconds) in [(AccessProbe::Accepted, 2), (AccessProbe::Silent, 2), (AccessProbe::Refused, 30)] {
        let (took, asked) = second_send_after(says, DUE).await;
        assert_eq!((took.as_secs(), asked), (seconds, vec!["at-0".to_owned()]), "{says:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_access_token_that_has_ended_says_nothing() {
    let (took, asked) = second_send_after(AccessProbe::Refused, EXPIRED).await;
    assert_eq!((took.as_secs(), asked), (2, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_row_from_an_older_backup_suspends_refreshing_and_not_the_access_tokens() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    spill.marks.lock().insert((house.connection, nth(1)), nth(3));
    let vault = instance(&house, &spill, &diary);
    assert_eq!(vault.recover().await.unwrap().restored, 1);
    assert_eq!(vault.health().suspended, Some(Suspension::RestoredBackup));
    assert!(vault.health().is_ready());
    house.pass(DUE);
    assert_eq!(vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-0");
    assert_eq!(vault.sweep_once().await.unwrap(), Swept::default());
    house.pass(EXPIRED - DUE);
    let refused = vault.checkout(house.connection).await;
    assert!(matches!(refused, Err(CheckoutError::TryLater { .. })), "{refused:?}");
    assert_eq!(house.issuer.sends(), 0);
    assert!(vault.resume());
    vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_place_for_the_answer_nothing_is_sent() {
    let (house, spill, diary) = (House::new().await, Arc::new(MemorySpill::default()), Arc::default());
    let vault = instance(&house, &spill, &diary);
    spill.full.store(true, Ordering::SeqCst);
    house.pass(EXPIRED);
    vault.checkout(house.connection).await.unwrap_err();
    assert_eq!((house.issuer.sends(), house.credentials.intents.load(Ordering::SeqCst)), (0, 0));
    spill.full.store(false, Ordering::SeqCst);
    vault.checkout(house.connection).await.unwrap();
    assert_eq!(house.issuer.sends(), 1);
    assert!(spill.entries.lock().is_empty(), "settled");
    assert_eq!(spill.marks.lock().get(&(house.connection, nth(1))), Some(&nth(2)));
}

#[tokio::test(start_paused = true)]
async fn events_are_told_once_for_each_incident() {
    let (house, spill, diary) = (House::new().await, Arc::default(), Arc::<Diary>::default());
    let vault = instance(&house, &spill, &diary);
    for reply in [Reply::Unknown, Reply::Unknown, Reply::Granted, Reply::Refused] {
        house.issuer.reply(reply);
    }
    house.pass(EXPIRED);
    vault.checkout(house.connection).await.unwrap_err();
    house.pass(60);
    vault.checkout(house.connection).await.unwrap_err();
    house.pass(120);
    vault.checkout(house.connection).await.unwrap();
    house.pass(EXPIRED);
    for _ in 0..3 {
        vault.checkout(house.connection).await.unwrap_err();
    }
    vault.grant(house.grant("at-new", Some("rt-new"))).await.unwrap();
    assert_eq!(*diary.events.lock(), ["outcome_unknown", "refreshed", "recovered", "needs_reauth", "recovered"]);
    let expected = [RefreshResult::Unknown, RefreshResult::Unknown, RefreshResult::Granted, RefreshResult::Refused];
    assert_eq!(*diary.results.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_refreshes_what_is_used_before_it_ends_and_keeps_alive_what_is_not() {
    let house = House::new().await;
    let due = house.row().await.schedule.due_at.unwrap();
    let after = due.millis_since(house.clock.now()) / 1000;
    assert!((LIFE / 2..=LIFE * 4 / 5).contains(&after), "{after}");
    assert_eq!(house.vault.sweep_once().await.unwrap(), Swept::default());
    house.pass(u64::try_from(after).unwrap() + 1);
    assert_eq!(house.vault.sweep_once().await.unwrap(), Swept { started: 1, passed_over: 0 });
    landed(&house).await;
    assert_eq!(house.row().await.generation, nth(2));
    // Nobody used it for longer than a week: one more refresh, and then within a month.
    house.pass(8 * 86_400);
    assert_eq!(house.vault.sweep_once().await.unwrap().started, 1);
    landed(&house).await;
    let row = house.row().await;
    let days = row.schedule.due_at.unwrap().millis_since(house.clock.now()) / 86_400_000;
    assert_eq!(row.generation, nth(3));
    assert!((23..=30).contains(&days), "{days}");
    // A caller makes it a used one again.
    house.pass(86_400);
    house.vault.checkout(house.connection).await.unwrap();
    let due = house.row().await.schedule.due_at.unwrap();
    assert!(due.millis_since(house.clock.now()) <= LIFE * 800);
    assert_eq!(house.issuer.replays(), 0);
}

/// A step that stopped exactly at the end of what is due does not make the next one believe that nothing is.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_stopped_at_the_end_begins_again_at_once() {
    /// As many as one step looks at.
    const HERD: u64 = 2000;
    let house = House::empty().await;
    for seed in 10..10 + HERD {
        let (account, connection) = connect(&house.stores, &house.clock, seed).await;
        house.vault.grant(new_grant(account, connection, "at", Some(&format!("rt of {seed}")))).await.unwrap();
    }
    house.pass(EXPIRED);
    house.issuer.hold();
    let swept = house.vault.sweep_once().await.unwrap();
    assert_eq!(swept, Swept { started: 3, passed_over: 1997 });
    let swept = house.vault.sweep_once().await.unwrap();
    assert_eq!(swept, Swept { started: 0, passed_over: 2000 });
}

/// A thousand credentials of one issuer come due together: the sweep keeps to its pace, lets another issuer's
/// credentials through, and leaves places for callers.
#[tokio::test(start_paused = true)]
async fn a_herd_is_driven_slowly_and_holds_nobody_else_up() {
    const HERD: u64 = 1000;
    let house = House::empty().await;
    for seed in 10..10 + HERD {
        let (account, connection) = connect(&house.stores, &house.clock, seed).await;
        house.vault.grant(new_grant(account, connection, "at", Some(&format!("rt of {seed}")))).await.unwrap();
    }
    let (account, connection) = connect(&house.stores, &house.clock, 5).await;
    let other = NewGrant {
        issuer: "https://issuer.example/other".to_owned(),
        ..new_grant(account, connection, "at", Some("rt of another"))
    };
    house.vault.grant(other).await.unwrap();
    house.pass(EXPIRED);
    let mut half_seconds: u64 = 0;
    let mut others_turn = None;
    while house.issuer.sends() < usize::try_from(HERD).unwrap() + 1 {
        house.vault.sweep_once().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        house.clock.advance(Duration::from_millis(500));
        half_seconds += 1;
        if others_turn.is_none() && house.issuer.sent.lock().iter().any(|token| token == "rt of another") {
            others_turn = Some(half_seconds);
        }
        assert!(house.issuer.sends() as u64 <= half_seconds * 5 / 2 + 7, "the pace");
        assert!(half_seconds < 2000, "{} sent", house.issuer.sends());
    }
    assert!(others_turn.unwrap() <= 2, "{others_turn:?}");
    assert!(house.issuer.most_in_flight.load(Ordering::SeqCst) <= 6);
    assert_eq!(house.issuer.replays(), 0);
}

/// Waits until no refresh is under way.
async fn landed(house: &House) {
    landed_at(&house.vault).await;
}

async fn landed_at(vault: &Vault) {
    while vault.health().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
