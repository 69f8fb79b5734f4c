//! One run: instances come and go, callers call, people sign in and out, and things go wrong; then nothing goes wrong
//! any more, time passes, and every row must be right or say why not.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::{ChangeFeed, NewAccount, Stores};
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{AccountId, Connection, ConnectionId, CredentialState, Did, Platform, Secret, SecretBytes};
use bowerbird_vault::{
    CheckoutError, NewGrant, OpenedGrant, Suspension, UsableCredential, Vault, VaultConfig, VaultSurroundings,
};
use parking_lot::Mutex;

use super::disk::Spill;
use super::issuer::Issuer;
use super::ledger::{Counts, Place};
use super::life::Life;
use super::plan::{Mutant, Plan};
use super::rng::Rng;
use super::store::{Credentials, short};
use super::surroundings::{Clocks, Diary, Feed};
use super::world::World;

/// No refresh is under way for longer.
const REFRESH_SECONDS: u32 = 130;
/// After the faults, a row has so many rounds of about five minutes to become right. The longest pauses are an hour
/// (what an issuer asks for), and an hour more where clocks disagree by that.
const SETTLING_ROUNDS: u32 = 60;

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) faults: Vec<String>,
    pub(crate) counts: Counts,
    /// Every event with its time; empty unless it was asked for.
    pub(crate) trace: Vec<String>,
}

/// Plays one seed, from its beginning to its end.
pub(crate) fn play(seed: u64, mutant: Option<Mutant>, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else {
        return Outcome { faults: vec!["no runtime".to_owned()], counts: Counts::new(), trace: Vec::new() };
    };
    runtime.block_on(async {
        let game = Game::begin(seed, mutant, traced).await;
        game.trouble().await;
        game.settle().await;
        game.end()
    })
}

/// An instance that runs.
#[derive(Clone)]
struct Running {
    life: Arc<Life>,
    vault: Vault,
    /// Whether what the last crash left is replayed, so that it takes calls.
    ready: Arc<std::sync::atomic::AtomicBool>,
}

struct Game {
    world: Arc<World>,
    slots: Mutex<Vec<Running>>,
    connections: Vec<(AccountId, ConnectionId)>,
    seed: u64,
}

impl Game {
    async fn begin(seed: u64, mutant: Option<Mutant>, traced: bool) -> Arc<Self> {
        let mut rng = Rng::new(seed);
        let plan = Plan::of(&mut rng);
        let stores = MemoryStores::new();
        let mut connections = Vec::new();
        let entropy = SeededEntropy::new(seed);
        for number in 0..plan.connections {
            connections.extend(connect(&stores, &entropy, number).await);
        }
        let world = Arc::new(World::new(plan, mutant, rng, stores, traced));
        let game = Self { world, slots: Mutex::default(), connections, seed };
        for slot in 0..game.world.plan.instances {
            let running = game.start(slot);
            game.slots.lock().push(running);
        }
        let game = Arc::new(game);
        for number in 0..game.connections.len() {
            let vault = game.slots.lock()[0].vault.clone();
            login(&game.world, &vault, game.connections[number]).await;
        }
        game.world.note(|| format!("{:?}", game.world.plan));
        game.world.set_calm(false);
        game
    }

    /// Starts a process.
    fn start(&self, slot: usize) -> Running {
        let world = &self.world;
        let number = world.lives.lock().len();
        let folder = if world.plan.shared_folder { 0 } else { slot };
        let life = Arc::new(Life::new(number, folder, self.wall_offset()));
        world.lives.lock().push(Arc::clone(&life));
        let vault = self.vault(&life);
        let running = Running { life, vault, ready: Arc::default() };
        tokio::spawn(come_up(Arc::clone(world), running.clone()));
        running
    }

    fn vault(&self, life: &Arc<Life>) -> Vault {
        let world = &self.world;
        let (of_world, of_life) = (|| Arc::clone(world), || Arc::clone(life));
        let mut stores = world.stores.clone();
        stores.credentials = Arc::new(Credentials { world: of_world(), life: of_life() });
        let feed: Arc<dyn ChangeFeed> = Arc::new(Feed { world: of_world(), life: of_life() });
        let config = VaultConfig {
            instance: format!("instance-{}", life.number),
            refreshes_in_flight: world.plan.in_flight,
            // It ends by the real clock, which must decide nothing here: at once, or not at all (see `pass`).
            opened_for: if world.plan.cached { Duration::from_hours(24) } else { Duration::ZERO },
            ..VaultConfig::new("simulated")
        };
        Vault::within(
            config,
            &stores,
            Arc::new(FixedKeys::one()),
            Arc::new(Issuer { world: of_world(), life: of_life() }),
            Arc::new(Clocks { world: of_world(), life: of_life() }),
            Arc::new(SeededEntropy::new(self.seed.wrapping_mul(31).wrapping_add(life.number as u64))),
            VaultSurroundings {
                spill: Arc::new(Spill::open(of_world(), of_life())),
                observer: Arc::new(Diary { world: of_world() }),
                changes: feed,
            },
        )
    }

    /// An hour off, some seconds, or right.
    fn wall_offset(&self) -> i64 {
        if !self.world.plan.clocks {
            return 0;
        }
        self.world.rng(|rng| rng.weighted(&[(3, 0), (1, 3_600_000), (1, -3_600_000), (1, 20_000), (1, -20_000)]))
    }

    fn running(&self) -> Vec<Running> {
        self.slots.lock().clone()
    }

    fn any_slot(&self) -> (usize, Running) {
        let slot = self.world.rng(|rng| rng.index(self.world.plan.instances));
        (slot, self.slots.lock()[slot].clone())
    }

    fn any_connection(&self) -> (AccountId, ConnectionId) {
        self.connections[self.world.rng(|rng| rng.index(self.connections.len()))]
    }

    /// The part in which things go wrong.
    async fn trouble(self: &Arc<Self>) {
        let mut long_passes = 2;
        for _ in 0..self.world.plan.steps {
            self.event();
            let millis = self.world.rng(|rng| match rng.below(20) {
                0..=7 => rng.below(400),
                8..=12 => rng.below(5_000),
                13..=16 => rng.below(150_000),
                _ => rng.below(1_000 * self.world.plan.life.unsigned_abs()),
            });
            let millis = if millis > 300_000 && self.world.plan.sweeps && long_passes == 0 { 300_000 } else { millis };
            long_passes -= i32::from(millis > 300_000 && long_passes > 0);
            self.pass(Duration::from_millis(millis)).await;
            self.raise_the_dead(300);
        }
    }

    /// Lets time pass. What instances keep in memory for a minute ends by the real clock; so they are made to forget it.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        if time >= Duration::from_mins(1) {
            let listeners = self.world.listeners.lock().clone();
            for (_, listener) in listeners.iter().filter(|(life, _)| !life.is_dead()) {
                listener.missed();
            }
        }
    }

    fn event(self: &Arc<Self>) {
        let plan = &self.world.plan;
        let (slot, running) = self.any_slot();
        let life = Arc::clone(&running.life);
        let when = |yes: bool, weight: u64| if yes { weight } else { 0 };
        let kind = self.world.rng(|rng| {
            rng.weighted(&[
                (20, 0),
                (when(plan.crashes, 3), 1),
                (when(plan.crashes, 3), 2),
                (when(plan.stops, 2), 3),
                (when(plan.stops, 3), 4),
                (when(plan.store_fails > 0, 2), 5),
                (when(plan.store_fails > 0, 3), 6),
                (when(plan.people, 2), 7),
                (when(plan.people, 1), 8),
                (when(plan.people, 1), 9),
                (when(plan.clocks, 3), 10),
                (1, 11),
                (when(plan.crashes, 1), 12),
                (4, 13),
            ])
        });
        let (world, now) = (&self.world, self.world.elapsed());
        match kind {
            1 => self.kill(&life),
            2 => life.kill_in(world.rng(|rng| rng.between(1, 60))),
            3 => world.stop(&life, Duration::from_secs(world.rng(|rng| rng.between(1, 400)))),
            4 => life.stop_in(world.rng(|rng| rng.between(1, 60)), world.rng(|rng| rng.between(1, 400))),
            5 => {
                let seconds = world.rng(|rng| rng.between(1, 300));
                world.note(|| format!("instance {} is cut off for {seconds} s", life.number));
                world.ledger.lock().count("instances cut off");
                life.cut_off(now + Duration::from_secs(seconds));
            }
            6 => {
                let seconds = world.rng(|rng| rng.between(1, 400));
                world.note(|| format!("the store is out for {seconds} s"));
                world.ledger.lock().count("outages of the store");
                world.begin_outage(now + Duration::from_secs(seconds));
            }
            7 => {
                let (game, connection) = (Arc::clone(self), self.any_connection());
                world.ledger.lock().count("logins");
                tokio::spawn(async move { login(&game.world, &running.vault, connection).await });
            }
            8 => {
                let (_, connection) = self.any_connection();
                let mut ledger = world.ledger.lock();
                ledger.count("sign-outs");
                ledger.signed_out.push(connection);
                tokio::spawn(async move { drop(running.vault.remove(connection).await) });
            }
            9 => {
                let (_, connection) = self.any_connection();
                world.note(|| format!("{} is withdrawn at the issuer", short(connection)));
                let mut ledger = world.ledger.lock();
                ledger.count("withdrawals");
                ledger.withdraw(connection);
            }
            10 => {
                world.ledger.lock().count("jumps of a wall clock");
                life.set_wall_offset(self.wall_offset());
            }
            11 => {
                world.ledger.lock().count("suspensions");
                running.vault.suspend(Suspension::Operator);
                life.set_suspended(true);
                let after = Duration::from_secs(world.rng(|rng| rng.between(1, 100)));
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    life.set_suspended(false);
                    running.vault.resume();
                });
            }
            12 => {
                world.ledger.lock().count("drains");
                tokio::spawn(drain(Arc::clone(world), running));
            }
            13 => drop(tokio::spawn(async move { drop(running.vault.sweep_once().await) })),
            _ => self.calls(slot, 3),
        }
    }

    /// Several callers at one instance, each with patience of their own.
    fn calls(&self, slot: usize, most: u64) {
        let running = self.slots.lock()[slot].clone();
        if !running.ready.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        for _ in 0..self.world.rng(|rng| rng.between(1, most)) {
            let (_, connection) = self.any_connection();
            let patience = self.world.rng(|rng| rng.weighted(&[(1, 50), (1, 700), (2, 20_000)]));
            let call = call(Arc::clone(&self.world), running.vault.clone(), connection);
            tokio::spawn(tokio::time::timeout(Duration::from_millis(patience), call));
        }
    }

    fn kill(&self, life: &Life) {
        if !life.is_dead() {
            self.world.note(|| format!("instance {} is killed", life.number));
            self.world.ledger.lock().count("crashes");
            life.kill();
        }
    }

    /// Starts dead instances anew, each with this chance in a thousand.
    fn raise_the_dead(&self, permille: u64) {
        for slot in 0..self.world.plan.instances {
            let dead = self.slots.lock()[slot].life.is_dead();
            if dead && self.world.rng(|rng| rng.permille(permille)) {
                let running = self.start(slot);
                self.slots.lock()[slot] = running;
            }
        }
    }

    /// Nothing goes wrong any more.
    async fn settle(self: &Arc<Self>) {
        self.world.set_calm(true);
        self.world.begin_outage(Duration::ZERO);
        for running in self.running() {
            running.life.kill_in(0);
            running.life.stop_in(0, 0);
            running.life.cut_off(Duration::ZERO);
            if running.life.is_draining() {
                self.kill(&running.life);
            }
        }
        self.world.note(|| "nothing goes wrong any more".to_owned());
        let (mut standing, mut rounds_settled) = (Ok(false), 0);
        for _ in 0..SETTLING_ROUNDS {
            self.raise_the_dead(1000);
            self.pass(Duration::from_secs(self.world.rng(|rng| rng.between(100, 300)))).await;
            for running in self.running() {
                for (_, connection) in &self.connections {
                    tokio::spawn(call(Arc::clone(&self.world), running.vault.clone(), *connection));
                }
                tokio::spawn(async move { drop(running.vault.sweep_once().await) });
            }
            self.pass(Duration::from_secs(50)).await;
            standing = self.standing().await;
            // Twice: what was stopped may go on only now, with a login in its hands.
            let stopped = self.running().iter().any(|running| running.life.is_stopped());
            rounds_settled = if standing == Ok(true) && !stopped { rounds_settled + 1 } else { 0 };
            if standing.is_err() || rounds_settled == 2 {
                break;
            }
        }
        match standing {
            Ok(true) => self.use_everything().await,
            Ok(false) => {
                let rows = self.rows().await;
                self.world.ledger.lock().fault(format!("no way out: {rows:?}"));
            }
            Err(fault) => self.world.ledger.lock().fault(fault),
        }
    }

    /// Whether every row is as it should be.
    async fn standing(&self) -> Result<bool, String> {
        let mut settled = true;
        for (_, connection) in &self.connections {
            let row = self.world.stores.credentials.find(*connection).await.map_err(|error| error.to_string())?;
            settled &= self.world.ledger.lock().judge(*connection, row.as_ref())?;
        }
        Ok(settled)
    }

    async fn rows(&self) -> Vec<(String, CredentialState)> {
        let mut rows = Vec::new();
        for (_, connection) in &self.connections {
            if let Ok(Some(row)) = self.world.stores.credentials.find(*connection).await {
                rows.push((row.tokens.scope, row.state));
            }
        }
        rows
    }

    /// What the rows promise is kept: the tokens open, and an access token that is given out works.
    async fn use_everything(&self) {
        let vault = self.slots.lock()[0].vault.clone();
        for (_, connection) in &self.connections {
            let mut opened = vault.open(*connection).await;
            // The refresh that the check before this one may have begun.
            for _ in 0..REFRESH_SECONDS {
                let under_way = |grant: &OpenedGrant| matches!(grant.state, CredentialState::Refreshing { .. });
                if !opened.as_ref().is_ok_and(|opened| opened.as_ref().is_some_and(under_way)) {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                opened = vault.open(*connection).await;
            }
            let Ok(opened) = opened else {
                self.world.ledger.lock().fault(format!("a grant does not open: {opened:?}"));
                continue;
            };
            let Some(grant) = opened else { continue };
            let place = Place::of_scope(&grant.scope);
            let kept = grant.refresh_token.as_ref().and_then(|token| Place::of_token(token.expose()));
            if place.is_none() || kept != place {
                self.world.ledger.lock().fault(format!("the row of {place:?} holds the token of {kept:?}"));
            }
            let usable = self.checkout_at_last(&vault, *connection).await;
            let mut ledger = self.world.ledger.lock();
            match (grant.state, usable) {
                (CredentialState::Ok, Ok(usable)) => {
                    let given = Place::of_token(usable.access_token.expose());
                    if !self.world.plan.clocks
                        && !given.is_some_and(|given| ledger.access_works(given, self.world.elapsed()))
                    {
                        ledger.fault(format!("an access token that does not work is given out: {given:?}"));
                    }
                    ledger.count("at the end: works");
                }
                (CredentialState::NeedsReauth(_), Ok(_) | Err(CheckoutError::NeedsReauth(_))) => {
                    ledger.count("at the end: needs a person");
                }
                (state, usable) => {
                    ledger.fault(format!("{state:?}, and a checkout says {:?}", usable.map(|_| ())));
                }
            }
        }
    }

    /// An issuer that asked for a pause, or is left alone for a while, is waited for.
    async fn checkout_at_last(
        &self,
        vault: &Vault,
        connection: ConnectionId,
    ) -> Result<Arc<UsableCredential>, CheckoutError> {
        for _ in 0..20 {
            match vault.checkout(connection).await {
                Err(CheckoutError::TryLater { not_before: Some(_), .. }) => self.pass(Duration::from_mins(4)).await,
                usable => return usable,
            }
        }
        vault.checkout(connection).await
    }

    fn end(&self) -> Outcome {
        let mut ledger = self.world.ledger.lock();
        Outcome {
            faults: std::mem::take(&mut ledger.faults),
            counts: std::mem::take(&mut ledger.counts),
            trace: self.world.take_trace(),
        }
    }
}

/// A process that starts: first what a crash left behind, then the rest.
async fn come_up(world: Arc<World>, running: Running) {
    loop {
        match running.vault.recover().await {
            Ok(recovered) => {
                let mut ledger = world.ledger.lock();
                for _ in 0..recovered.stored {
                    ledger.count("stored from the spill at a start");
                }
                if recovered.restored > 0 && world.plan.clocks {
                    // The answer of a grant that was signed out, and a login by a clock that is behind: an operator looks.
                    ledger.count("taken for a restored backup, with clocks that are wrong");
                    running.vault.resume();
                } else if recovered.restored > 0 {
                    ledger.fault("a restored backup was seen, and there is none".to_owned());
                }
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    running.ready.store(true, std::sync::atomic::Ordering::Relaxed);
    if world.plan.sweeps {
        running.vault.run_sweep(std::future::pending()).await;
    }
}

/// SIGTERM, and the end after it.
async fn drain(world: Arc<World>, running: Running) {
    running.life.set_draining();
    let drained = running.vault.drain(Duration::from_secs(75)).await;
    if running.life.is_dead() {
        return;
    }
    if drained.left == 0 && running.life.sending() > 0 {
        world.ledger.lock().fault("a drain ended while a refresh was in flight".to_owned());
    }
    world.ledger.lock().count(if drained.left == 0 { "drained" } else { "cut off by the end of a drain" });
    running.life.kill();
}

/// A person signs in.
async fn login(world: &Arc<World>, vault: &Vault, (account, connection): (AccountId, ConnectionId)) {
    let place = world.ledger.lock().open_session(connection, world.elapsed());
    let Ok(subject) = Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid") else { return };
    let grant = NewGrant {
        connection,
        account,
        subject,
        issuer: "https://issuer.example".to_owned(),
        audience: "https://pds.example".to_owned(),
        client_kid: Some("client-key-1".to_owned()),
        refresh_class: world.plan.class,
        dpop_key: world.plan.dpop.then(|| SecretBytes::new([9; 32])),
        access_token: Secret::new(place.token("at")),
        refresh_token: Some(Secret::new(place.token("rt"))),
        expires_in: world.plan.life,
        scope: place.scope(),
    };
    drop(vault.grant(grant).await);
}

/// A call to the account's server: with the token that is given out, and once more with a newer one when that is refused.
async fn call(world: Arc<World>, vault: Vault, connection: ConnectionId) {
    let Ok(usable) = vault.checkout(connection).await else { return };
    let Some(place) = Place::of_token(usable.access_token.expose()) else { return };
    let (works, ended) = {
        let ledger = world.ledger.lock();
        (ledger.access_works(place, world.elapsed()), ledger.has_ended(place, world.elapsed()))
    };
    if ended && !world.plan.clocks {
        world.ledger.lock().fault(format!("an access token is given out after its end: {place:?}"));
    }
    if works {
        return world.ledger.lock().count("calls that work");
    }
    world.ledger.lock().count("calls with a refused token");
    if let Ok(newer) = vault.checkout_newer(connection, usable.generation).await
        && newer.generation <= usable.generation
    {
        world.ledger.lock().fault("a refused token was given out again".to_owned());
    }
}

async fn connect(stores: &Stores, entropy: &SeededEntropy, number: usize) -> Option<(AccountId, ConnectionId)> {
    let now = bowerbird_core::Timestamp::from_seconds(1_767_225_600);
    let did = format!("did:plc:{number:a>24}");
    let account = NewAccount {
        id: AccountId::random(entropy),
        did: Did::parse(&did).ok()?,
        handle: "alice.test".to_owned(),
        pds: "https://pds.example".to_owned(),
        now,
    };
    let account = stores.accounts.sign_in(account).await.ok()?.id;
    let connection = Connection {
        id: ConnectionId::random(entropy),
        account,
        platform: Platform::atproto(),
        subject: did,
        created_at: now,
    };
    Some((account, stores.connections.ensure(&connection).await.ok()?.id))
}
