//! Fakes of the ports for tests: a clock to set, seeded entropy, scripted HTTP, DNS from a table, a fixed key.

mod http;

pub use http::{ScriptedHttp, SentRequest};

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::ports::{Clock, Dns, DnsError, Entropy, KeyEncryptionKey, KeyProvider, KeyProviderError};
use crate::{SecretBytes, Timestamp};

/// A clock that moves only when told.
#[derive(Debug)]
pub struct TestClock(Mutex<(Timestamp, Duration)>);

impl TestClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self(Mutex::new((Timestamp::from_seconds(1_767_225_600), Duration::ZERO)))
    }

    /// Moves wall clock and monotonic clock on.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.0.lock();
        inner.0 = inner.0.plus_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
        inner.1 += by;
    }

    /// Sets the wall clock alone, as a clock adjustment does.
    pub fn jump_to(&self, now: Timestamp) {
        self.0.lock().0 = now;
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().1
    }
}

/// Entropy that gives the same bytes in every run (SplitMix64). Never for anything but tests.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, destination: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in destination.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// DNS from a table; names that are not in it have no records.
#[derive(Debug, Default)]
pub struct TableDns(Mutex<HashMap<String, Vec<String>>>);

impl TableDns {
    /// Sets the TXT records of a name.
    pub fn set(&self, name: &str, records: &[&str]) {
        self.0.lock().insert(name.to_owned(), records.iter().map(|&r| r.to_owned()).collect());
    }
}

#[async_trait]
impl Dns for TableDns {
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        Ok(self.0.lock().get(name).cloned().unwrap_or_default())
    }
}

/// A provider of fixed keys; the first is active.
#[derive(Debug)]
pub struct FixedKeys(Vec<KeyEncryptionKey>);

impl FixedKeys {
    /// One key named `ktest`, made of sevens.
    pub fn one() -> Self {
        Self::of(&[("ktest", [7; 32])])
    }

    /// The given keys.
    pub fn of(keys: &[(&str, [u8; 32])]) -> Self {
        let key = |(id, key): &(&str, [u8; 32])| KeyEncryptionKey { id: (*id).to_owned(), key: SecretBytes::new(*key) };
        Self(keys.iter().map(key).collect())
    }
}

#[async_trait]
impl KeyProvider for FixedKeys {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        self.0.first().cloned().ok_or(KeyProviderError::Misconfigured("no key"))
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        Ok(self.0.iter().find(|key| key.id == id).cloned())
    }
}
