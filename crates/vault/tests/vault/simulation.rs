//! Two instances, an issuer with single-use tokens that loses answers, crashes, logins, a failing store: whatever
//! happens in whatever order, a refresh token is never sent when it must not be.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{
    Clock, CredentialStore, GrantFacts, PreparedRefresh, RefreshOutcome, RefreshRefusal, RefreshedTokens, Refresher,
};
use bowerbird_core::refresh::QUIET_SECONDS;
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{ConnectionId, CredentialState, Generation, Secret, Timestamp};
use bowerbird_vault::{Vault, VaultConfig};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::support::{House, LIFE, new_grant, nth};

/// The runtime's own, paused time, so that what sleeps and what reads the clock agree.
struct RuntimeClock {
    start: Timestamp,
    begun: tokio::time::Instant,
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        self.start.plus_millis(i64::try_from(self.monotonic().as_millis()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// What the issuer does with one refresh token.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Granted,
    GrantedSlowly,
    NotConsumed,
    LostBefore,
    LostAfter,
    /// The answer never comes, and the token was used or not.
    Hangs(bool),
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u64),
    Checkout(usize),
    Refused(usize),
    /// An instance dies with everything that it had in memory; another starts.
    Crash(usize),
    Login,
    StoreDown(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1u64..100).prop_map(Event::Pass),
        2 => Just(Event::Pass(3601)),
        8 => (0usize..2).prop_map(Event::Checkout),
        3 => (0usize..2).prop_map(Event::Refused),
        1 => (0usize..2).prop_map(Event::Crash),
        1 => Just(Event::Login),
        1 => any::<bool>().prop_map(Event::StoreDown),
    ];
    proptest::collection::vec(event, 1..60)
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Granted),
        2 => Just(Fate::GrantedSlowly),
        2 => Just(Fate::NotConsumed),
        1 => Just(Fate::LostBefore),
        1 => Just(Fate::LostAfter),
        1 => any::<bool>().prop_map(Fate::Hangs),
    ];
    proptest::collection::vec(fate, 40)
}

/// The server's books.
#[derive(Default)]
struct Ledger {
    fates: Vec<Fate>,
    number: usize,
    /// Which token may be used, and what became of those that were sent.
    spent: HashMap<String, Answered>,
    last: HashMap<String, (Timestamp, bool)>,
    faults: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    Delivered,
    Lost,
}

struct Issuer {
    ledger: Mutex<Ledger>,
    credentials: Arc<dyn CredentialStore>,
    clock: Arc<RuntimeClock>,
    connection: ConnectionId,
    sends: AtomicUsize,
    /// Which generation each refresh token was stored as.
    stored_as: Mutex<HashMap<String, Generation>>,
}

impl Issuer {
    async fn answer(&self, token: String) -> RefreshOutcome {
        self.sends.fetch_add(1, Ordering::SeqCst);
        let row = self.credentials.find(self.connection).await.unwrap().unwrap();
        let now = self.clock.now();
        let (fate, number) = {
            let mut ledger = self.ledger.lock();
            // The row is the truth: what is sent is the token of the row's generation, under a written intent.
            let generation = self.stored_as.lock().get(&token).copied().unwrap_or(row.generation);
            if generation != row.generation {
                ledger.faults.push(format!("{token} of {generation:?} was sent at {:?}", row.generation));
            }
            if !matches!(row.state, CredentialState::Refreshing { .. }) {
                ledger.faults.push(format!("{token} was sent without an intent: {:?}", row.state));
            }
            match ledger.last.get(&token) {
                Some((at, consumable)) if *consumable && now.millis_since(*at) < QUIET_SECONDS * 1000 => {
                    ledger.faults.push(format!("{token} was sent twice within the quiet time"));
                }
                _ => {}
            }
            if ledger.spent.get(&token) == Some(&Answered::Delivered) {
                ledger.faults.push(format!("{token} was sent again after its successor had arrived"));
            }
            ledger.number += 1;
            let fate = ledger.fates.pop().unwrap_or(Fate::Granted);
            ledger.last.insert(token.clone(), (now, !matches!(fate, Fate::NotConsumed)));
            (fate, ledger.number)
        };
        if matches!(fate, Fate::NotConsumed) {
            return RefreshOutcome::NotConsumed { not_before: None, source: "nonce".into() };
        }
        if self.ledger.lock().spent.contains_key(&token) {
            return RefreshOutcome::Refused { description: None };
        }
        let answered = match fate {
            Fate::Granted | Fate::GrantedSlowly => Some(Answered::Delivered),
            Fate::LostAfter | Fate::Hangs(true) => Some(Answered::Lost),
            _ => None,
        };
        if let Some(answered) = answered {
            self.ledger.lock().spent.insert(token, answered);
        }
        match fate {
            Fate::LostBefore | Fate::LostAfter => return RefreshOutcome::Unknown { source: "reset".into() },
            Fate::Hangs(_) => std::future::pending::<()>().await,
            Fate::GrantedSlowly => tokio::time::sleep(Duration::from_secs(50)).await,
            _ => {}
        }
        let refresh_token = format!("rt-{number}");
        self.stored_as.lock().insert(refresh_token.clone(), row.generation.next());
        RefreshOutcome::Granted {
            tokens: RefreshedTokens {
                access_token: Secret::new(format!("at-{number}")),
                refresh_token: Some(Secret::new(refresh_token)),
                expires_in: LIFE,
                scope: None,
            },
            fault: None,
        }
    }
}

struct Port(Arc<Issuer>);

struct Prepared(Arc<Issuer>);

#[async_trait]
impl Refresher for Port {
    async fn prepare(&self, _: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        tokio::task::yield_now().await;
        Ok(Box::new(Prepared(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl PreparedRefresh for Prepared {
    async fn send(self: Box<Self>, refresh_token: Secret) -> RefreshOutcome {
        self.0.answer(refresh_token.expose().to_owned()).await
    }
}

fn instance(house: &House, issuer: &Arc<Issuer>, seed: u64) -> Vault {
    Vault::new(
        VaultConfig::new("cluster-a"),
        &house.stores,
        Arc::new(FixedKeys::one()),
        Arc::new(Port(Arc::clone(issuer))),
        Arc::clone(&issuer.clock) as Arc<dyn Clock>,
        Arc::new(SeededEntropy::new(seed)),
    )
}

async fn play(fates: Vec<Fate>, events: Vec<Event>) -> (Vec<String>, usize) {
    let house = House::new().await;
    let issuer = Arc::new(Issuer {
        ledger: Mutex::new(Ledger { fates, ..Ledger::default() }),
        credentials: Arc::clone(&house.credentials.inner),
        clock: Arc::new(RuntimeClock { start: house.clock.now(), begun: tokio::time::Instant::now() }),
        connection: house.connection,
        sends: AtomicUsize::new(0),
        stored_as: Mutex::new(HashMap::from([("rt-0".to_owned(), nth(1))])),
    });
    let mut instances = [instance(&house, &issuer, 1), instance(&house, &issuer, 2)];
    let mut logins = 0;
    for (number, event) in events.into_iter().enumerate() {
        match event {
            Event::Pass(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Event::Checkout(which) => {
                // Several callers, all of whom give up soon.
                let checkouts = (0..3).map(|_| instances[which].checkout(house.connection));
                let all = futures_util::future::join_all(checkouts);
                drop(tokio::time::timeout(Duration::from_millis(700), all).await);
            }
            Event::Refused(which) => {
                let Ok(Some(standing)) = instances[which].standing(house.connection).await else { continue };
                let newer = instances[which].checkout_newer(house.connection, standing.generation);
                if let Ok(Ok(usable)) = tokio::time::timeout(Duration::from_millis(700), newer).await {
                    assert!(usable.generation > standing.generation, "a refused token was given out again");
                }
            }
            Event::Crash(which) => instances[which] = instance(&house, &issuer, 100 + number as u64),
            Event::Login => {
                logins += 1;
                let token = format!("rt-login-{logins}");
                let grant = new_grant(house.account, house.connection, "at-login", Some(&token));
                if let Ok(granted) = instances[0].grant(grant).await {
                    issuer.stored_as.lock().insert(token, granted.generation);
                }
            }
            Event::StoreDown(down) => house.credentials.down.store(down, Ordering::SeqCst),
        }
    }
    house.credentials.down.store(false, Ordering::SeqCst);
    for vault in &instances {
        assert_eq!(vault.drain(Duration::from_mins(2)).await.unsaved, 0, "everything that came is stored");
    }
    let faults = std::mem::take(&mut issuer.ledger.lock().faults);
    (faults, issuer.sends.load(Ordering::SeqCst))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_refresh_token_is_sent_when_it_must_not_be(fates in fates(), events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (faults, _) = runtime.block_on(play(fates, events));
        prop_assert!(faults.is_empty(), "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_simulation_does_send() {
    let events = (0..50).flat_map(|_| [Event::Pass(3601), Event::Checkout(0), Event::Checkout(1)]).collect();
    let (faults, sends) = play(vec![Fate::Granted; 40], events).await;
    assert_eq!((faults.len(), sends), (0, 50));
}
