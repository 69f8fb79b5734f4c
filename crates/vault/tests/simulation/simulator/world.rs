//! What all instances share: the store, the disks, the issuer's books, virtual time, and the scheduler.
//!
//! The scheduler is the runtime's own, in one thread and with paused time; what is permuted is how often each call of a
//! port yields and how long it takes, before and after its effect. So every order of the tasks that the ports can tell
//! apart comes up, by the seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowerbird_core::Timestamp;
use bowerbird_core::ports::{ChangeListener, Stores};
use parking_lot::Mutex;

use super::disk::Disks;
use super::ledger::Ledger;
use super::life::Life;
use super::plan::{Mutant, Plan};
use super::rng::Rng;

/// The true time at the beginning.
const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Who hears of changes, for as long as it lives.
type Listening = (Arc<Life>, Arc<dyn ChangeListener>);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) mutant: Option<Mutant>,
    begun: tokio::time::Instant,
    rng: Mutex<Rng>,
    pub(crate) stores: Stores,
    pub(crate) disks: Disks,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) lives: Mutex<Vec<Arc<Life>>>,
    pub(crate) listeners: Mutex<Vec<Listening>>,
    outage_until: Mutex<Duration>,
    /// While set, nothing goes wrong.
    calm: AtomicBool,
    trace: Option<Mutex<Vec<String>>>,
}

impl World {
    pub(crate) fn new(plan: Plan, mutant: Option<Mutant>, rng: Rng, stores: Stores, traced: bool) -> Self {
        Self {
            disks: Disks::new(plan.instances),
            ledger: Mutex::new(Ledger::new(plan.clone())),
            plan,
            mutant,
            begun: tokio::time::Instant::now(),
            rng: Mutex::new(rng),
            stores,
            lives: Mutex::default(),
            listeners: Mutex::default(),
            outage_until: Mutex::default(),
            calm: AtomicBool::new(true),
            trace: traced.then(Mutex::default),
        }
    }

    pub(crate) fn rng<T>(&self, choose: impl FnOnce(&mut Rng) -> T) -> T {
        choose(&mut self.rng.lock())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn true_time(&self) -> Timestamp {
        START.plus_millis(i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    pub(crate) fn store_time(&self) -> Timestamp {
        self.true_time().plus_millis(self.plan.store_offset)
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn set_calm(&self, calm: bool) {
        self.calm.store(calm, Ordering::Relaxed);
    }

    /// Whether something goes wrong here, in a thousand.
    pub(crate) fn goes_wrong(&self, permille: u64) -> bool {
        !self.is_calm() && self.rng(|rng| rng.permille(permille))
    }

    pub(crate) fn begin_outage(&self, until: Duration) {
        *self.outage_until.lock() = until;
    }

    pub(crate) fn is_out(&self) -> bool {
        self.elapsed() < *self.outage_until.lock()
    }

    /// The way into a port and out of it.
    pub(crate) async fn gate(self: &Arc<Self>, life: &Arc<Life>) {
        let (killed, stopped) = life.call();
        if killed {
            self.note(|| format!("instance {} is killed", life.number));
            self.ledger.lock().count("crashes");
        }
        if let Some(pause) = stopped {
            self.stop(life, pause);
        }
        let (yields, millis) = self.rng(|rng| match rng.below(8) {
            0..=2 => (0, 0),
            3..=6 => (rng.between(1, 4), 0),
            _ => (0, rng.between(1, 40)),
        });
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        life.held().await;
    }

    /// Stops an instance for a while, as SIGSTOP and SIGCONT do.
    pub(crate) fn stop(self: &Arc<Self>, life: &Arc<Life>, pause: Duration) {
        if life.is_stopped() || life.is_dead() {
            return;
        }
        self.note(|| format!("instance {} is stopped for {pause:?}", life.number));
        self.ledger.lock().count("stops");
        life.stop();
        let (world, life) = (Arc::clone(self), Arc::clone(life));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.note(|| format!("instance {} goes on", life.number));
            life.resume(world.elapsed(), pause);
        });
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.lock().push(format!("{:>12.3}  {}", self.elapsed().as_secs_f64(), what()));
        }
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| std::mem::take(&mut *trace.lock())).unwrap_or_default()
    }
}
