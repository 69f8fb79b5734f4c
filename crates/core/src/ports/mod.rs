//! The ports: everything that the domain needs from outside, as traits. Adapters implement them; only the binary's
//! composition names adapters.

mod alerts;
mod changes;
mod clock;
mod device_log;
mod dns;
mod entropy;
mod handoffs;
mod http;
mod keys;
mod listeners;
mod observer;
mod older_contract;
mod refresher;
mod security_events;
mod shared_tier;
mod spill;
mod stores;

pub use alerts::{
    AlertStore, CensusEntry, ClaimedDelivery, CountedState, Incident, IncidentSubject, NewDelivery, TokenAge,
    UntoldAccess,
};
pub use changes::{Change, ChangeFeed, ChangeListener, NoChangeFeed};
pub use clock::Clock;
pub use device_log::{DeviceChangeLog, DeviceChanges};
pub use dns::{Dns, DnsError};
pub use entropy::Entropy;
pub use handoffs::{HandoffStore, RenewalStore};
pub use http::{BoxError, HttpClient, HttpError, HttpFault, Purpose, Sent, StreamBody, full_body};
pub use keys::{KeyEncryptionKey, KeyProvider, KeyProviderError};
pub use listeners::ChangeListeners;
pub use observer::{AccountEvent, AccountEventKind, AccountNotice, NoObserver, Observer, RefreshResult};
pub use older_contract::{OlderContractStore, OlderContractUse};
pub use refresher::{
    AccessProbe, GrantFacts, PreparedRefresh, RefreshOutcome, RefreshRefusal, RefreshedTokens, Refresher,
};
pub use security_events::{EventPlace, SecurityEventStore};
pub use shared_tier::{BucketVerdict, RateBuckets, SharedCache};
pub use spill::{HighMark, NoSpill, SpillEntry, SpillError, SpillStore};
pub use stores::{
    AccountStore, AuthorizationRequestStore, BegunRefresh, Cas, ConnectionStore, CredentialStore, DataKeyStore,
    DeviceSessionStore, DueCredential, DuePlace, LeaseRequest, NewAccount, StoreError, Stores,
};
