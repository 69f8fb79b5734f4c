//! The ports: everything that the domain needs from outside, as traits. Adapters implement them; only the binary's
//! composition names adapters.

mod clock;
mod dns;
mod entropy;
mod http;
mod keys;
mod refresher;
mod stores;

pub use clock::Clock;
pub use dns::{Dns, DnsError};
pub use entropy::Entropy;
pub use http::{BoxError, HttpClient, HttpError, HttpFault, Purpose, Sent, StreamBody, full_body};
pub use keys::{KeyEncryptionKey, KeyProvider, KeyProviderError};
pub use refresher::{GrantFacts, PreparedRefresh, RefreshOutcome, RefreshRefusal, RefreshedTokens, Refresher};
pub use stores::{
    AccountStore, AuthorizationRequestStore, Cas, ConnectionStore, CredentialStore, DataKeyStore, DeviceSessionStore,
    NewAccount, StoreError, Stores,
};
