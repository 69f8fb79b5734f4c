//! The stores: one trait per aggregate, in the domain's verbs. Rules for every implementation, checked by the
//! conformance suite in `bowerbird-testkit`:
//!
//! - a returned `Ok` of a write means durable (an fsync for SQLite, a commit for PostgreSQL);
//! - a write that names a generation changes nothing when the row has another one;
//! - `take` is atomic: of any number of concurrent callers one gets the record;
//! - times are compared with the `now` that is passed in, never with a clock of the store's own;
//! - removing an account removes everything that hangs from it;
//! - text is stored as it is, or refused ([`StoreError::Refused`]); it is never cut or changed.

use async_trait::async_trait;

use crate::{
    Account, AccountId, AuthorizationRequestRecord, Connection, ConnectionId, CredentialRecord, CredentialState,
    DeviceSession, DeviceSessionId, Did, Generation, NeedsReauth, Platform, Profile, Schedule, SealedTokens, StateHash,
    Timestamp, WrappedDataKey,
};

/// A store that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is locked, full or read-only. Nothing is lost; try again.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row contradicts the schema's rules; named so that an operator can find it.
    #[error("the database holds an inconsistent row in {table}.{column}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// A limit that protects the database is reached (see [`AuthorizationRequestStore::insert`]).
    #[error("too many entries are waiting; try again later")]
    Full,
    /// What was to be written cannot be stored: it hangs from a row that is gone, takes a name that is taken, or holds a
    /// NUL character. Nothing was changed, and trying again does not help.
    #[error("the database refuses the write: {0}")]
    Refused(&'static str),
}

/// Whether a compare-and-swap found the row that it named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a lost race must be handled"]
pub enum Cas {
    /// The row was as named and is now changed.
    Done,
    /// The row is gone or another writer came first; nothing was changed.
    Stale,
}

/// An account at the moment of a login.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The name to use if the DID is new here.
    pub id: AccountId,
    /// The key.
    pub did: Did,
    /// See [`Account::handle`].
    pub handle: String,
    /// See [`Account::pds`].
    pub pds: String,
    /// The moment.
    pub now: Timestamp,
}

/// Accounts, keyed by DID.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Adds the account, or updates handle, PDS and login time of the one with that DID. Its id never changes.
    async fn sign_in(&self, account: NewAccount) -> Result<Account, StoreError>;
    /// Finds by name.
    async fn find(&self, id: AccountId) -> Result<Option<Account>, StoreError>;
    /// Finds by key.
    async fn find_by_did(&self, did: &Did) -> Result<Option<Account>, StoreError>;
    /// Lists by creation, at most `limit` after the given account. [`StoreError::Refused`] when that account is gone, so
    /// that a walk over all accounts never ends early unnoticed.
    async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, StoreError>;
    /// Replaces the profile; unknown accounts are ignored.
    async fn set_profile(&self, id: AccountId, profile: &Profile) -> Result<(), StoreError>;
    /// Removes the account with its connections, credentials, data key and places on devices (a device whose active
    /// account it was gets another, or none). False when there was none.
    async fn remove(&self, id: AccountId) -> Result<bool, StoreError>;
}

/// Connections of accounts to platform identities.
#[async_trait]
pub trait ConnectionStore: Send + Sync {
    /// Returns the connection of (account, platform, subject), adding the given one if there is none.
    /// [`StoreError::Refused`] when the account is gone.
    async fn ensure(&self, connection: &Connection) -> Result<Connection, StoreError>;
    /// Finds the one connection of (account, platform) with that subject.
    async fn find(
        &self,
        account: AccountId,
        platform: &Platform,
        subject: &str,
    ) -> Result<Option<Connection>, StoreError>;
    /// Lists an account's connections, oldest first.
    async fn list(&self, account: AccountId) -> Result<Vec<Connection>, StoreError>;
}

/// Who wants to refresh, and for how long nobody else may.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'a> {
    /// Names the instance, for people who look at the row.
    pub owner: &'a str,
    /// The moment, by the caller's clock.
    pub now: Timestamp,
    /// The length of the lease.
    pub seconds: i64,
}

/// A lease that was taken, with its intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunRefresh {
    /// The row as it was before, but with the schedule as it is now.
    pub before: CredentialRecord,
    /// When the intent was written, by the clock that decided.
    pub intent_at: Timestamp,
    /// When the lease ends, by the same clock.
    pub lease_until: Timestamp,
}

/// Where a walk over what is due stands.
pub type DuePlace = (Timestamp, ConnectionId);

/// A credential whose refresh is due, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCredential {
    /// Whose it is.
    pub connection: ConnectionId,
    /// Which token set is due.
    pub generation: Generation,
    /// Who would be asked: for limits by issuer.
    pub issuer: String,
    /// Since when.
    pub due_at: Timestamp,
}

/// Sealed credentials, one per connection.
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// Reads the row.
    async fn find(&self, connection: ConnectionId) -> Result<Option<CredentialRecord>, StoreError>;
    /// Reads the row, and with it the data key that it is sealed with where that costs no second question. No key means
    /// that none was looked for: [`DataKeyStore::find`] decides.
    async fn find_with_key(
        &self,
        connection: ConnectionId,
    ) -> Result<Option<(CredentialRecord, Option<WrappedDataKey>)>, StoreError> {
        Ok(self.find(connection).await?.map(|record| (record, None)))
    }
    /// Writes a new grant (a login). `seen` is the generation of the row it replaces, None when there must be none;
    /// the record's own generation must be higher ([`StoreError::Refused`] otherwise, and when the connection is gone).
    async fn replace(&self, record: &CredentialRecord, seen: Option<Generation>) -> Result<Cas, StoreError>;
    /// Takes the lease and writes the intent in one durable update (REFRESH step 1): only if the row has the `seen`
    /// generation and no lease that is still running, no intent or unknown outcome younger than its quiet time
    /// ([`crate::refresh::QUIET_SECONDS`]), and no need of a person. Counts the attempt, and makes the row due at the
    /// lease's end, so that a sweep finds what a crash left behind.
    ///
    /// A store that several machines share decides and writes by its own clock: theirs may differ.
    async fn begin_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        lease: LeaseRequest<'_>,
    ) -> Result<Option<BegunRefresh>, StoreError>;
    /// Writes the successor tokens, the state and the schedule, generation `seen` + 1, lease released (REFRESH step 4).
    /// Compares the generation only: whoever holds the successor is right, even late.
    async fn commit_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        tokens: &SealedTokens,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError>;
    /// Changes only the state and the schedule, and releases the lease unless the state is a lease.
    async fn set_state(
        &self,
        connection: ConnectionId,
        seen: Generation,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError>;
    /// Ends the refresh whose intent was written at `intent_at`: [`Self::set_state`], but only while the row holds that very
    /// intent. Who was stopped for longer than its lease must not end the lease of whoever took over.
    async fn end_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        intent_at: Timestamp,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError>;
    /// Lists credentials whose [`Schedule::due_at`] is not after `now`, by that time, at most `limit`, after the given
    /// place (what an earlier call gave last). The cost is that of what is given, not of what is stored.
    async fn due(&self, now: Timestamp, after: Option<DuePlace>, limit: u32) -> Result<Vec<DueCredential>, StoreError>;
    /// Notes when credentials were last asked for ([`CredentialRecord::used_at`]); an older use never overwrites a newer
    /// one, unknown connections are ignored. May wait for other writes to share their commit.
    async fn note_use(&self, uses: &[(ConnectionId, Timestamp)]) -> Result<(), StoreError>;
    /// Counts credentials by the reason they need a person (None: those that do not). Only what occurs is listed.
    async fn count_by_reason(&self) -> Result<Vec<(Option<NeedsReauth>, u64)>, StoreError>;
    /// Which client keys live credentials are bound to, with counts (None: public client). Those that need a person are
    /// not live: their next grant takes another key.
    async fn count_by_client_key(&self) -> Result<Vec<(Option<String>, u64)>, StoreError>;
    /// Removes the row if it has the `seen` generation: a login or a refresh that came in between is not taken away by
    /// somebody who never saw it. Stale when it has another one or is gone.
    async fn remove(&self, connection: ConnectionId, seen: Generation) -> Result<Cas, StoreError>;
}

/// Wrapped data keys, one per account.
#[async_trait]
pub trait DataKeyStore: Send + Sync {
    /// Reads the key.
    async fn find(&self, account: AccountId) -> Result<Option<WrappedDataKey>, StoreError>;
    /// Adds the key unless the account has one; returns the one that is stored now. [`StoreError::Refused`] when the
    /// account is gone.
    async fn ensure(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, StoreError>;
    /// Replaces the wrapping if it is still the one under `seen_kek_id`.
    async fn rewrap(&self, key: &WrappedDataKey, seen_kek_id: &str) -> Result<Cas, StoreError>;
    /// Lists keys that are not under the key-encryption key of that id, by account, at most `limit` after the given
    /// account; for a rotation, which walks on after the last of a page and can begin again at any time.
    async fn page_by_kek(
        &self,
        not_kek_id: &str,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<WrappedDataKey>, StoreError>;
    /// Counts keys by the id of their key-encryption key, in the order of the ids. Only what occurs is listed.
    async fn count_by_kek(&self) -> Result<Vec<(String, u64)>, StoreError>;
}

/// Logins under way.
#[async_trait]
pub trait AuthorizationRequestStore: Send + Sync {
    /// Adds a record. [`StoreError::Full`] when `cap` records that live at its `created_at` wait already, so that a flood
    /// cannot fill the disk (with PostgreSQL, callers at the same moment may go over it by their number).
    async fn insert(&self, record: &AuthorizationRequestRecord, cap: u64) -> Result<(), StoreError>;
    /// Reads and removes in one step; None when unknown, taken, or expired at `now`.
    async fn take(&self, state: &StateHash, now: Timestamp) -> Result<Option<AuthorizationRequestRecord>, StoreError>;
    /// Removes what has expired; returns how many.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Device sessions.
#[async_trait]
pub trait DeviceSessionStore: Send + Sync {
    /// Adds a session with its accounts. [`StoreError::Refused`] when the name is taken, an account is gone, or `active` is
    /// not one of the accounts (None only without any).
    async fn insert(&self, device: &DeviceSession) -> Result<(), StoreError>;
    /// Reads a session that is alive at `now`, with its accounts.
    async fn find(&self, id: &DeviceSessionId, now: Timestamp) -> Result<Option<DeviceSession>, StoreError>;
    /// Moves everything of `old` to a session with a new name (a login must never keep a name that an attacker may
    /// know), adding an account and making it active; `old` is dead afterwards. None when `old` is not alive.
    /// [`StoreError::Refused`], with nothing changed, when the account is gone or the new name is taken.
    async fn rotate(
        &self,
        old: &DeviceSessionId,
        new: &DeviceSessionId,
        account: AccountId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<DeviceSession>, StoreError>;
    /// Makes an account active that is on the device. Stale when either is gone.
    async fn activate(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError>;
    /// Takes an account off a device; the active place goes to the account used there last, or to none. A session
    /// whose last account goes is removed. Stale when it was not there.
    async fn remove_account(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError>;
    /// Writes down use; an older use never overwrites a newer one. Stale when the session is gone or not alive at `now`.
    async fn touch(&self, id: &DeviceSessionId, now: Timestamp, expires_at: Timestamp) -> Result<Cas, StoreError>;
    /// Removes a session. Stale when it was gone.
    async fn remove(&self, id: &DeviceSessionId) -> Result<Cas, StoreError>;
    /// The live sessions that hold an account, last used first.
    async fn list_for_account(&self, account: AccountId, now: Timestamp) -> Result<Vec<DeviceSession>, StoreError>;
    /// Removes what has expired; returns how many.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Every store, as one set; what an adapter hands to the composition.
#[derive(Clone)]
pub struct Stores {
    /// Accounts.
    pub accounts: std::sync::Arc<dyn AccountStore>,
    /// Connections.
    pub connections: std::sync::Arc<dyn ConnectionStore>,
    /// Credentials.
    pub credentials: std::sync::Arc<dyn CredentialStore>,
    /// Data keys.
    pub data_keys: std::sync::Arc<dyn DataKeyStore>,
    /// Logins under way.
    pub authorization_requests: std::sync::Arc<dyn AuthorizationRequestStore>,
    /// Device sessions.
    pub device_sessions: std::sync::Arc<dyn DeviceSessionStore>,
    /// One-time codes for apps.
    pub handoffs: std::sync::Arc<dyn super::HandoffStore>,
    /// The lines of refresh strings.
    pub renewals: std::sync::Arc<dyn super::RenewalStore>,
    /// Incidents and webhooks.
    pub alerts: std::sync::Arc<dyn super::AlertStore>,
    /// What happened to accounts, for their people.
    pub security_events: std::sync::Arc<dyn super::SecurityEventStore>,
    /// Which apps are given their session in an address.
    pub older_contract: std::sync::Arc<dyn super::OlderContractStore>,
}
