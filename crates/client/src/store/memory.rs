//! Secrets in memory, gone with the process.

use std::collections::HashMap;

use bowerbird_core::Secret;
use parking_lot::Mutex;

use super::{SecureStore, StoreFault};

/// For tests, and for programs that sign in anew each time.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<HashMap<String, Secret>>);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names under which something is kept, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.lock().keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

impl SecureStore for MemoryStore {
    fn load(&self, name: &str) -> Result<Option<Secret>, StoreFault> {
        Ok(self.0.lock().get(name).cloned())
    }

    fn save(&self, name: &str, secret: &Secret) -> Result<(), StoreFault> {
        self.0.lock().insert(name.to_owned(), secret.clone());
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), StoreFault> {
        self.0.lock().remove(name);
        Ok(())
    }
}
