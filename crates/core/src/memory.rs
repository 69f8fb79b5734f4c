//! Stores in memory: for Rust developers who keep no database, for tools, and for tests.
//!
//! The semantics are those of the SQL stores (the same conformance suite checks both): compare-and-swap by generation,
//! records that are taken once, and an account that takes everything with it when it goes. Only durability is missing:
//! what is stored ends with the process.
//!
//! ```
//! # use bowerbird_core::{memory::MemoryStores, ports::StoreError};
//! # async fn demo() -> Result<(), StoreError> {
//! let stores = MemoryStores::new();
//! assert!(stores.accounts.list(None, 10).await?.is_empty());
//! # Ok(())
//! # }
//! ```

mod accounts;
mod alerts;
mod authorization_requests;
mod connections;
mod credentials;
mod data_keys;
mod device_sessions;
mod handoffs;
mod older_contract;
mod security_events;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use self::alerts::DeliveryRow;
use self::device_sessions::DeviceRow;
use self::handoffs::HandoffRow;
use crate::ports::{Incident, IncidentSubject, OlderContractUse, Stores};
use crate::{
    Account, AccountId, AuthorizationRequestRecord, Connection, ConnectionId, CredentialRecord, DeviceSessionId,
    HandoffCodeHash, SecurityEvent, StateHash, WrappedDataKey,
};

/// Every store, over one set of tables behind one lock; so what spans several stores (removing an account) is atomic.
#[derive(Debug, Default)]
pub struct MemoryStores {
    tables: Mutex<Tables>,
}

impl MemoryStores {
    /// Makes empty stores.
    #[expect(clippy::new_ret_no_self, reason = "the traits are the whole face of it")]
    pub fn new() -> Stores {
        let shared = Arc::new(Self::default());
        Stores {
            accounts: shared.clone(),
            connections: shared.clone(),
            credentials: shared.clone(),
            data_keys: shared.clone(),
            authorization_requests: shared.clone(),
            device_sessions: shared.clone(),
            handoffs: shared.clone(),
            renewals: shared.clone(),
            alerts: shared.clone(),
            security_events: shared.clone(),
            older_contract: shared,
        }
    }

    /// Locks the tables. No caller holds this across an await.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }
}

/// The rows.
#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<AccountId, Account>,
    connections: HashMap<ConnectionId, Connection>,
    credentials: HashMap<ConnectionId, CredentialRecord>,
    data_keys: HashMap<AccountId, WrappedDataKey>,
    authorization_requests: HashMap<StateHash, AuthorizationRequestRecord>,
    device_sessions: HashMap<DeviceSessionId, DeviceRow>,
    handoffs: HashMap<HandoffCodeHash, HandoffRow>,
    incidents: HashMap<IncidentSubject, Incident>,
    deliveries: HashMap<String, DeliveryRow>,
    /// In the order in which they were noted.
    security_events: Vec<SecurityEvent>,
    older_contract: HashMap<String, OlderContractUse>,
}
