//! Copies of device sessions and accounts in the shared fast tier: what one instance read, another need not read again.
//!
//! A copy is never a reason to believe anything. That of a session carries the revision of the log of changes at which
//! it was read, and whoever finds it asks the log (see [`crate::device_log`]); that of an account carries the time, and
//! counts for no longer than an account that this process read itself. So the tier may lose copies, keep removed ones,
//! bring back old ones or take a second for an answer: a copy that is not there, cannot be opened or is of another
//! form is read from the database.

use std::time::Duration;

use bowerbird_core::{Account, AccountId, DeviceAccount, DeviceSession, DeviceSessionId, Did, Profile, Timestamp};
use bowerbird_vault::SnapshotPlace;
use serde::{Deserialize, Serialize};

use crate::shared_tier::SnapshotTier;

/// How long a copy of a session is kept. Shorter than the log remembers changes, so that most copies can be judged.
const DEVICE_KEPT: Duration = Duration::from_mins(5);
/// Numbers the forms; a changed struct below needs a new one. Another release then does not find the copies of this one.
const DEVICE_FORM: u8 = 1;
const ACCOUNT_FORM: u8 = 1;

/// The copies; without a tier there are none. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Snapshots(Option<SnapshotTier>);

#[derive(Serialize, Deserialize)]
struct WireDevice {
    revision: i64,
    created_at: i64,
    last_seen_at: i64,
    expires_at: i64,
    device_name: String,
    active: Option<AccountId>,
    accounts: Vec<(AccountId, i64)>,
}

#[derive(Serialize, Deserialize)]
struct WireAccount {
    read_at: i64,
    did: Did,
    handle: String,
    pds: String,
    display_name: Option<String>,
    avatar: Option<String>,
    created_at: i64,
    last_login_at: i64,
}

impl Snapshots {
    pub(crate) fn new(tier: Option<SnapshotTier>) -> Self {
        Self(tier)
    }

    /// A session, and the revision that it was read at.
    pub(crate) async fn device(&self, id: &DeviceSessionId) -> Option<(DeviceSession, i64)> {
        let wire: WireDevice = self.get(device_place(id)).await?;
        let accounts = wire.accounts.into_iter();
        let session = DeviceSession {
            id: id.clone(),
            created_at: Timestamp::from_millis(wire.created_at),
            last_seen_at: Timestamp::from_millis(wire.last_seen_at),
            expires_at: Timestamp::from_millis(wire.expires_at),
            device_name: wire.device_name,
            active: wire.active,
            accounts: accounts
                .map(|(account, at)| DeviceAccount { account, added_at: Timestamp::from_millis(at) })
                .collect(),
        };
        Some((session, wire.revision))
    }

    /// Keeps a session that was read when the log stood at `revision` or later.
    pub(crate) async fn keep_device(&self, session: &DeviceSession, revision: i64) {
        let wire = WireDevice {
            revision,
            created_at: session.created_at.as_millis(),
            last_seen_at: session.last_seen_at.as_millis(),
            expires_at: session.expires_at.as_millis(),
            device_name: session.device_name.clone(),
            active: session.active,
            accounts: session.accounts.iter().map(|entry| (entry.account, entry.added_at.as_millis())).collect(),
        };
        self.put(device_place(&session.id), &wire, DEVICE_KEPT).await;
    }

    /// Drops a session that changed; it would only be in the way.
    pub(crate) async fn drop_device(&self, id: &DeviceSessionId) {
        self.remove(device_place(id)).await;
    }

    /// An account, and when it was read.
    pub(crate) async fn account(&self, id: AccountId) -> Option<(Account, Timestamp)> {
        let name = id.to_string();
        let wire: WireAccount = self.get(account_place(&name)).await?;
        let account = Account {
            id,
            did: wire.did,
            handle: wire.handle,
            pds: wire.pds,
            profile: Profile { display_name: wire.display_name, avatar: wire.avatar },
            created_at: Timestamp::from_millis(wire.created_at),
            last_login_at: Timestamp::from_millis(wire.last_login_at),
        };
        Some((account, Timestamp::from_millis(wire.read_at)))
    }

    /// Keeps an account that was read at a time.
    pub(crate) async fn keep_account(&self, account: &Account, read_at: Timestamp, kept: Duration) {
        let wire = WireAccount {
            read_at: read_at.as_millis(),
            did: account.did.clone(),
            handle: account.handle.clone(),
            pds: account.pds.clone(),
            display_name: account.profile.display_name.clone(),
            avatar: account.profile.avatar.clone(),
            created_at: account.created_at.as_millis(),
            last_login_at: account.last_login_at.as_millis(),
        };
        self.put(account_place(&account.id.to_string()), &wire, kept).await;
    }

    /// Drops an account that changed.
    pub(crate) async fn drop_account(&self, id: AccountId) {
        self.remove(account_place(&id.to_string())).await;
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, place: SnapshotPlace<'_>) -> Option<T> {
        let SnapshotTier { cache, seal } = self.0.as_ref()?;
        let sealed = cache.get(&seal.name(place).await.ok()?).await?;
        let content = seal.open(place, &sealed).await.ok()?;
        serde_json::from_slice(content.expose()).ok()
    }

    async fn put<T: Serialize>(&self, place: SnapshotPlace<'_>, wire: &T, kept: Duration) {
        let Some(SnapshotTier { cache, seal }) = &self.0 else { return };
        let Ok(content) = serde_json::to_vec(wire) else { return };
        if let Ok(snapshot) = seal.seal(place, &content).await {
            cache.put(&snapshot.name, &snapshot.sealed, kept).await;
        }
    }

    async fn remove(&self, place: SnapshotPlace<'_>) {
        let Some(SnapshotTier { cache, seal }) = &self.0 else { return };
        if let Ok(name) = seal.name(place).await {
            cache.remove(&name).await;
        }
    }
}

fn device_place(id: &DeviceSessionId) -> SnapshotPlace<'_> {
    SnapshotPlace { kind: "device", form: DEVICE_FORM, id: id.as_str() }
}

fn account_place(id: &str) -> SnapshotPlace<'_> {
    SnapshotPlace { kind: "account", form: ACCOUNT_FORM, id }
}
