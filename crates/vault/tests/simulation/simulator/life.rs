//! The life of a process: it can be killed, stopped and resumed, cut off from the store, and its wall clock moved, at
//! any call of a port. Whatever is not seen through a port cannot be told from what did not happen; so a killed process
//! is one whose calls never return.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_core::ConnectionId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// For so long after a trouble of its own, an instance is not expected to have stored what it holds.
const AFTERMATH: Duration = Duration::from_secs(10);

pub(crate) struct Life {
    pub(crate) number: usize,
    /// The folder of its spill.
    pub(crate) folder: usize,
    dead: AtomicBool,
    stopped: AtomicBool,
    resumed: Notify,
    /// Calls of ports until it is killed, and until it is stopped and for how many seconds; zero: not.
    kill_in: AtomicU64,
    stop_in: AtomicU64,
    stop_for: AtomicU64,
    wall_offset: AtomicI64,
    cut_off_until: Mutex<Duration>,
    troubled_at: Mutex<Option<Duration>>,
    /// Whose answer it looked for in the spills and could not see.
    blind_for: Mutex<BTreeSet<ConnectionId>>,
    /// How long it was stopped, for a clock that does not count it.
    slept: Mutex<Duration>,
    suspended: AtomicBool,
    draining: AtomicBool,
    sending: AtomicUsize,
}

impl Life {
    pub(crate) fn new(number: usize, folder: usize, wall_offset: i64) -> Self {
        Self {
            number,
            folder,
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            resumed: Notify::new(),
            kill_in: AtomicU64::new(0),
            stop_in: AtomicU64::new(0),
            stop_for: AtomicU64::new(0),
            wall_offset: AtomicI64::new(wall_offset),
            cut_off_until: Mutex::default(),
            troubled_at: Mutex::default(),
            blind_for: Mutex::default(),
            slept: Mutex::default(),
            suspended: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            sending: AtomicUsize::new(0),
        }
    }

    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn kill_in(&self, calls: u64) {
        self.kill_in.store(calls, Ordering::Relaxed);
    }

    pub(crate) fn stop_in(&self, calls: u64, seconds: u64) {
        self.stop_in.store(calls, Ordering::Relaxed);
        self.stop_for.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// One more call of a port: whether it is killed here, and for how long it is stopped here.
    pub(crate) fn call(&self) -> (bool, Option<Duration>) {
        let reaches_zero = |counter: &AtomicU64| {
            counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) == Ok(1)
        };
        let killed = reaches_zero(&self.kill_in) && !self.is_dead();
        if killed {
            self.kill();
        }
        let stopped = reaches_zero(&self.stop_in).then(|| Duration::from_secs(self.stop_for.load(Ordering::Relaxed)));
        (killed, stopped)
    }

    /// Never returns when it is dead, and not while it is stopped.
    pub(crate) async fn held(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let resumed = self.resumed.notified();
            if !self.is_stopped() {
                return;
            }
            resumed.await;
        }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn resume(&self, now: Duration, slept: Duration) {
        *self.slept.lock() += slept;
        self.trouble(now);
        self.stopped.store(false, Ordering::Relaxed);
        self.resumed.notify_waiters();
    }

    pub(crate) fn slept(&self) -> Duration {
        *self.slept.lock()
    }

    pub(crate) fn cut_off(&self, until: Duration) {
        *self.cut_off_until.lock() = until;
        self.trouble(until);
    }

    pub(crate) fn is_cut_off(&self, now: Duration) -> bool {
        now < *self.cut_off_until.lock()
    }

    pub(crate) fn trouble(&self, at: Duration) {
        let mut known = self.troubled_at.lock();
        *known = Some(known.map_or(at, |known| known.max(at)));
    }

    pub(crate) fn is_out_of_reach(&self, now: Duration) -> bool {
        self.is_stopped() || self.is_dead() || self.troubled_at.lock().is_some_and(|at| now < at + AFTERMATH)
    }

    /// It looked for an answer in the spills.
    pub(crate) fn looked(&self, connection: ConnectionId, could_see: bool) {
        let mut blind_for = self.blind_for.lock();
        if could_see {
            blind_for.remove(&connection);
        } else {
            blind_for.insert(connection);
        }
    }

    /// Whether its last look failed.
    pub(crate) fn is_blind_for(&self, connection: ConnectionId) -> bool {
        self.blind_for.lock().contains(&connection)
    }

    pub(crate) fn set_wall_offset(&self, millis: i64) {
        self.wall_offset.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn wall_offset(&self) -> i64 {
        self.wall_offset.load(Ordering::Relaxed)
    }

    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn forbids_sending(&self) -> bool {
        self.suspended.load(Ordering::Relaxed) || self.is_draining()
    }

    /// How many sends are in flight now, this one counted.
    pub(crate) fn begin_sending(&self) -> usize {
        self.sending.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn end_sending(&self) {
        self.sending.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn sending(&self) -> usize {
        self.sending.load(Ordering::Relaxed)
    }
}
