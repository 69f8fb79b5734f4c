//! Device sessions: found for every request, made and renamed at every login, dead at once when signed out.
//!
//! A session is looked for in this process, then in the shared tier, then in the database. What the first two have counts
//! only as long as the log of changes says so ([`crate::device_log`] tells why that is enough); without a log a row is
//! looked at again every second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bowerbird_core::ports::{Cas, Change, ChangeFeed, ChangeListener, Clock, DeviceSessionStore, Entropy, StoreError};
use bowerbird_core::{AccountId, DeviceAccount, DeviceSession, DeviceSessionId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::device_log::{DeviceLog, Reading, millis};
use crate::rolling::RollingAnswer;
use crate::shared_tier::SharedTier;
use crate::snapshots::Snapshots;

/// How many sessions are kept at hand.
const CACHED: u64 = 100_000;
/// How long one is kept without being used.
const IDLE: Duration = Duration::from_mins(10);
/// How old a cached row may be, or the reading of the log that it counts by. Another instance may have signed the device
/// out: it must be dead here within a second (security row 54). News from there make that a moment; this holds also when
/// no news arrive.
const RECHECK: Duration = Duration::from_secs(1);
/// Use is written down at most this often, in seconds; rows outlive their seals by as much.
pub(crate) const TOUCH_SECONDS: i64 = 300;
/// The revision of a row that was read without a log: no log ever says that it still counts.
const NO_REVISION: i64 = -1;

/// The sessions of all devices. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DeviceSessions(Arc<Shared>);

struct Shared {
    store: Arc<dyn DeviceSessionStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    changes_feed: Arc<dyn ChangeFeed>,
    log: Option<DeviceLog>,
    snapshots: Snapshots,
    /// How long a session lasts after its last use, in seconds.
    ttl: i64,
    cache: moka::sync::Cache<DeviceSessionId, Arc<LiveDevice>>,
    /// Counts changes, so that a row read before a change is not cached after it.
    changes: AtomicU64,
    /// Whoever looks at a session for longer than a request.
    watched: Watched,
}

/// A session that was alive when it was last looked at.
pub(crate) struct LiveDevice {
    pub(crate) session: DeviceSession,
    /// The last answer to the session check; see [`crate::rolling`].
    pub(crate) answer: Mutex<Option<Arc<RollingAnswer>>>,
    /// When the row was last read, or the log by which it counts, in milliseconds of the monotonic clock.
    checked_at: AtomicU64,
    /// Up to which revision of the log the row is known to be this.
    revision: AtomicI64,
    touching: AtomicBool,
}

impl LiveDevice {
    fn new(session: DeviceSession, checked_at: u64, revision: i64) -> Self {
        let (answer, touching) = (Mutex::new(None), AtomicBool::new(false));
        let (checked_at, revision) = (AtomicU64::new(checked_at), AtomicI64::new(revision));
        Self { session, answer, checked_at, revision, touching }
    }

    /// Notes that the row was this at a moment and revision.
    fn checked(&self, at: u64, revision: i64) {
        self.checked_at.fetch_max(at, Ordering::Relaxed);
        self.revision.fetch_max(revision, Ordering::Relaxed);
    }
}

impl DeviceSessions {
    pub(crate) fn new(
        store: Arc<dyn DeviceSessionStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tier: &SharedTier,
        ttl: i64,
    ) -> Self {
        let cache = moka::sync::Cache::builder().max_capacity(CACHED).time_to_idle(IDLE).build();
        let log = tier.device_log.clone().map(|log| DeviceLog::new(log, Arc::clone(&clock)));
        // Without a log nothing tells whether a copy of somebody else's still counts.
        let snapshots = Snapshots::new(tier.snapshots.clone().filter(|_| log.is_some()));
        let changes_feed = Arc::clone(&tier.changes);
        let (changes, watched) = (AtomicU64::new(0), Watched::default());
        let shared =
            Arc::new(Shared { store, clock, entropy, changes_feed, log, snapshots, ttl, cache, changes, watched });
        shared.changes_feed.listen(Arc::new(News(Arc::downgrade(&shared))));
        Self(shared)
    }

    /// Finds a session that is alive, and writes its use down now and then.
    pub(crate) async fn find(&self, id: &DeviceSessionId) -> Result<Option<Arc<LiveDevice>>, StoreError> {
        let now = self.0.clock.now();
        let checking = millis(self.0.clock.monotonic());
        let Some(live) = self.look(id, now, checking).await? else { return Ok(None) };
        if !due_for_touch(&live.session, now) {
            return Ok(Some(live));
        }
        self.touch(live, now, checking).await
    }

    /// Finds a session that is alive, without its being used by that.
    pub(crate) async fn peek(&self, id: &DeviceSessionId) -> Result<Option<Arc<LiveDevice>>, StoreError> {
        self.look(id, self.0.clock.now(), millis(self.0.clock.monotonic())).await
    }

    /// Watches a session, alive or not.
    pub(crate) fn watch(&self, id: &DeviceSessionId) -> DeviceWatch {
        let mut watched = self.0.watched.0.lock();
        let changes = watched.entry(id.clone()).or_insert_with(|| watch::channel(()).0).subscribe();
        DeviceWatch { id: id.clone(), changes, shared: Arc::clone(&self.0) }
    }

    async fn look(
        &self,
        id: &DeviceSessionId,
        now: Timestamp,
        checking: u64,
    ) -> Result<Option<Arc<LiveDevice>>, StoreError> {
        let live = match self.0.cache.get(id) {
            Some(live) if checking.saturating_sub(live.checked_at.load(Ordering::Relaxed)) < millis(RECHECK) => live,
            known => match self.read(id, now, checking, known).await? {
                Some(live) => live,
                None => return Ok(None),
            },
        };
        Ok(live.session.is_alive(now).then_some(live))
    }

    async fn read(
        &self,
        id: &DeviceSessionId,
        now: Timestamp,
        checking: u64,
        known: Option<Arc<LiveDevice>>,
    ) -> Result<Option<Arc<LiveDevice>>, StoreError> {
        let changes = self.0.changes.load(Ordering::SeqCst);
        // Before the row: a copy of it carries the revision that the log had then.
        let reading = match &self.0.log {
            Some(log) => log.reading(RECHECK).await,
            None => None,
        };
        if let Some(reading) = reading
            && let Some(live) = self.by_the_log(id, now, reading, known.as_ref(), changes).await
        {
            return Ok(Some(live));
        }
        let Some(session) = self.0.store.find(id, now).await? else {
            self.0.cache.invalidate(id);
            return Ok(None);
        };
        let revision = reading.map_or(NO_REVISION, |reading| reading.head);
        if reading.is_some() {
            self.0.snapshots.keep_device(&session, revision).await;
        }
        if let Some(known) = known.filter(|known| known.session == session) {
            known.checked(checking, revision);
            return Ok(Some(known));
        }
        Ok(Some(self.remember(LiveDevice::new(session, checking, revision), changes)))
    }

    /// The session as this process or another instance knows it, if the log says that it still is that.
    async fn by_the_log(
        &self,
        id: &DeviceSessionId,
        now: Timestamp,
        reading: Reading,
        known: Option<&Arc<LiveDevice>>,
        changes: u64,
    ) -> Option<Arc<LiveDevice>> {
        let log = self.0.log.as_ref()?;
        // Use is not in the log: one that is due to be written down, or seems to be over, is read from its row.
        let recent = |session: &DeviceSession| session.is_alive(now) && !due_for_touch(session, now);
        if let Some(live) = known
            && recent(&live.session)
            && log.counts(id, live.revision.load(Ordering::Relaxed))
        {
            live.checked(reading.at, reading.head);
            return Some(Arc::clone(live));
        }
        let (session, revision) = self.0.snapshots.device(id).await?;
        // After the copy was fetched: what was heard meanwhile counts.
        if !recent(&session) || !log.counts(id, revision) {
            return None;
        }
        let live = LiveDevice::new(session, reading.at, revision.max(reading.head));
        Some(self.remember(live, changes))
    }

    /// Caches a row, unless something changed since `changes` was read: the row may be from before that change.
    fn remember(&self, live: LiveDevice, changes: u64) -> Arc<LiveDevice> {
        let live = Arc::new(live);
        self.0.cache.insert(live.session.id.clone(), Arc::clone(&live));
        // After the insert: a change either sees the entry and removes it, or is seen here.
        if self.0.changes.load(Ordering::SeqCst) != changes {
            self.0.cache.invalidate(&live.session.id);
        }
        live
    }

    async fn touch(
        &self,
        live: Arc<LiveDevice>,
        now: Timestamp,
        checking: u64,
    ) -> Result<Option<Arc<LiveDevice>>, StoreError> {
        if live.touching.swap(true, Ordering::Relaxed) {
            return Ok(Some(live));
        }
        let changes = self.0.changes.load(Ordering::SeqCst);
        let expires_at = self.row_expiry(now);
        let id = &live.session.id;
        match self.0.store.touch(id, now, expires_at).await {
            Ok(Cas::Done) => {
                let session = DeviceSession { last_seen_at: now, expires_at, ..live.session.clone() };
                let revision = live.revision.load(Ordering::Relaxed);
                if revision != NO_REVISION {
                    self.0.snapshots.keep_device(&session, revision).await;
                }
                Ok(Some(self.remember(LiveDevice::new(session, checking, revision), changes)))
            }
            Ok(Cas::Stale) => {
                self.0.cache.invalidate(id);
                Ok(None)
            }
            Err(error) => {
                live.touching.store(false, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Signs an account in: everything on the browser's present session moves to one with a new name, or a new session
    /// begins. The old name is dead afterwards (security row 4).
    pub(crate) async fn sign_in(
        &self,
        account: AccountId,
        present: Option<&DeviceSessionId>,
        device_name: &str,
    ) -> Result<DeviceSession, StoreError> {
        let now = self.0.clock.now();
        let id = DeviceSessionId::random(self.0.entropy.as_ref());
        let expires_at = self.row_expiry(now);
        if let Some(old) = present {
            let rotated = self.0.store.rotate(old, &id, account, now, expires_at).await?;
            self.changed(old).await;
            if let Some(session) = rotated {
                return Ok(session);
            }
        }
        let session = DeviceSession {
            id,
            created_at: now,
            last_seen_at: now,
            expires_at,
            device_name: device_name.to_owned(),
            active: Some(account),
            accounts: vec![DeviceAccount { account, added_at: now }],
        };
        self.0.store.insert(&session).await?;
        Ok(session)
    }

    /// Makes an account of the device the active one.
    pub(crate) async fn activate(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let done = self.0.store.activate(id, account).await;
        self.changed(id).await;
        done
    }

    /// Takes an account off a device; the last one ends the session.
    pub(crate) async fn remove_account(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let done = self.0.store.remove_account(id, account).await;
        self.changed(id).await;
        done
    }

    /// Ends a session.
    pub(crate) async fn sign_out(&self, id: &DeviceSessionId) -> Result<Cas, StoreError> {
        let done = self.0.store.remove(id).await;
        self.changed(id).await;
        done
    }

    /// Whether any device holds the account still.
    pub(crate) async fn holds_anywhere(&self, account: AccountId) -> Result<bool, StoreError> {
        Ok(!self.holding(account).await?.is_empty())
    }

    /// The live sessions that hold an account, last used first; from the store itself.
    pub(crate) async fn holding(&self, account: AccountId) -> Result<Vec<DeviceSession>, StoreError> {
        self.0.store.list_for_account(account, self.0.clock.now()).await
    }

    /// Forgets a cached row after a change, whether the change is known to have worked or not, here and elsewhere.
    async fn changed(&self, id: &DeviceSessionId) {
        self.0.forget(id);
        self.0.snapshots.drop_device(id).await;
        self.0.changes_feed.publish(Change::DeviceSession(id.clone())).await;
    }

    fn row_expiry(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(self.0.ttl.saturating_add(TOUCH_SECONDS))
    }
}

impl Shared {
    fn forget(&self, id: &DeviceSessionId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some(log) = &self.log {
            log.heard(id);
        }
        self.cache.invalidate(id);
        if let Some(changes) = self.watched.0.lock().get(id) {
            changes.send_replace(());
        }
    }
}

/// The sessions that are watched.
#[derive(Default)]
struct Watched(Mutex<HashMap<DeviceSessionId, watch::Sender<()>>>);

/// Somebody who wants to know when a session changes, for as long as this lives.
pub(crate) struct DeviceWatch {
    id: DeviceSessionId,
    changes: watch::Receiver<()>,
    shared: Arc<Shared>,
}

impl DeviceWatch {
    /// Waits until the session was signed out, renamed, or has other accounts; now and then it has not.
    pub(crate) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // Nobody tells any more; cannot be, as long as the session is watched.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for DeviceWatch {
    fn drop(&mut self) {
        let mut watched = self.shared.watched.0.lock();
        // Our own receiver is still there.
        if watched.get(&self.id).is_some_and(|changes| changes.receiver_count() <= 1) {
            watched.remove(&self.id);
        }
    }
}

/// Hears what other instances changed. Does not keep the sessions alive.
struct News(Weak<Shared>);

impl ChangeListener for News {
    fn changed(&self, change: &Change) {
        if let (Some(shared), Change::DeviceSession(id)) = (self.0.upgrade(), change) {
            shared.forget(id);
        }
    }

    fn missed(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.changes.fetch_add(1, Ordering::SeqCst);
            match &shared.log {
                // Nothing counts before the log was asked again; so nothing has to be read anew that did not change.
                Some(log) => log.missed(),
                None => shared.cache.invalidate_all(),
            }
            for changes in shared.watched.0.lock().values() {
                changes.send_replace(());
            }
        }
    }
}

fn due_for_touch(session: &DeviceSession, now: Timestamp) -> bool {
    now.millis_since(session.last_seen_at) >= TOUCH_SECONDS * 1000
}

#[cfg(test)]
mod tests;
