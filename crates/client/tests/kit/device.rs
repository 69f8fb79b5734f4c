//! The device of a test: time that is moved, a store that can be stopped.

use std::time::Duration;

use bowerbird_client::{DeviceClock, Entropy, MemoryStore, Pause, Secret, SecureStore, StoreFault, Timestamp};
use bowerbird_core::testing::SeededEntropy;
use parking_lot::Mutex;

/// Time that stands still until it is moved, pauses that are noted, ids from a seed.
pub(crate) struct Calm {
    now: Mutex<i64>,
    pub(crate) pauses: Mutex<Vec<u64>>,
    entropy: SeededEntropy,
}

impl Calm {
    pub(crate) fn at(seconds: i64) -> Self {
        Self { now: Mutex::new(seconds), pauses: Mutex::default(), entropy: SeededEntropy::new(1) }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        *self.now.lock() += seconds;
    }
}

impl DeviceClock for Calm {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(*self.now.lock())
    }
}

impl Pause for Calm {
    fn pause(&self, duration: Duration) {
        self.pauses.lock().push(duration.as_secs());
    }
}

impl Entropy for Calm {
    fn fill(&self, destination: &mut [u8]) {
        self.entropy.fill(destination);
    }
}

/// A store whose writes can be stopped, as if the app were killed: what came before stays.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) memory: MemoryStore,
    /// How many more writes succeed; None: all.
    pub(crate) writes_left: Mutex<Option<usize>>,
    pub(crate) writes: Mutex<Vec<String>>,
}

impl Store {
    fn write(&self, what: String) -> Result<(), StoreFault> {
        let mut left = self.writes_left.lock();
        match &mut *left {
            Some(0) => return Err(StoreFault::Unavailable("stopped on purpose".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        self.writes.lock().push(what);
        Ok(())
    }
}

impl SecureStore for Store {
    fn load(&self, name: &str) -> Result<Option<Secret>, StoreFault> {
        self.memory.load(name)
    }

    fn save(&self, name: &str, secret: &Secret) -> Result<(), StoreFault> {
        self.write(format!("save {name}"))?;
        self.memory.save(name, secret)
    }

    fn delete(&self, name: &str) -> Result<(), StoreFault> {
        self.write(format!("delete {name}"))?;
        self.memory.delete(name)
    }
}
