//! Follows the log of changed device sessions: whether a copy of a session still counts, without reading its row.
//!
//! The race that this decides: one instance reads a row, another signs the device out and drops every copy, the first
//! one then puts its copy back, into the shared tier too, where it outlives the sign-out by minutes. No order of
//! messages prevents that, and a shared tier that was flushed, restarted from an old file or cut off forgets whatever
//! mark the sign-out left in it. So the copy says itself how old it is: it carries the log's revision of *before* the
//! row was read. The database gives a change its revision in the transaction that makes it, in the order of commits:
//! a row that was read at revision `p` shows every change up to `p`, and a change that it does not show has a higher
//! one. Whoever wants to use the copy has read the log less than a second ago, from the floor up to some head `q`:
//!
//! - `p` below the floor: a change may have been forgotten. Not usable.
//! - `p` above `q`: from after what this instance knows, or from before a restore of the database. Not usable.
//! - a change of the session in between: not usable. Otherwise the row at `q` is the copy, whoever kept it.
//!
//! A change after `q` is not seen, and is younger than the reading: so a sign-out counts everywhere within a second
//! (security row 54) whatever becomes of the shared tier. With it, or PostgreSQL's notifications, it counts at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowerbird_core::DeviceSessionId;
use bowerbird_core::ports::{Clock, DeviceChangeLog, DeviceChanges};
use parking_lot::Mutex;

/// How often the log is asked, at most, and only while requests come: four small queries a second, however many
/// sessions are in use.
const ASK: Duration = Duration::from_millis(250);
/// More changes than this are not remembered: copies of before count no longer then.
const REMEMBERED: usize = 200_000;
/// More news than this are not kept apart, such as when no requests come for long: then the log is asked first.
const HEARD: usize = 10_000;

/// The log as this instance knows it.
pub(crate) struct DeviceLog {
    log: Arc<dyn DeviceChangeLog>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    asking: AtomicBool,
}

/// A reading of the log: how far it was, and when it was asked, in milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) head: i64,
    pub(crate) at: u64,
}

#[derive(Default)]
struct Known {
    reading: Option<Reading>,
    /// News may have been missed since the log was last asked.
    missed: bool,
    floor: i64,
    changed: HashMap<DeviceSessionId, i64>,
    /// Changed by news, and not asked about since: no copy of these counts.
    heard: HashSet<DeviceSessionId>,
    /// The same, while the log is being asked.
    asked: HashSet<DeviceSessionId>,
}

impl DeviceLog {
    pub(crate) fn new(log: Arc<dyn DeviceChangeLog>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, known: Mutex::default(), asking: AtomicBool::new(false) }
    }

    /// A reading that is younger than `trusted`; asks when the last one is not quite new. None when there is none to be
    /// had at once: then rows are read one by one, which waits for nobody.
    pub(crate) async fn reading(&self, trusted: Duration) -> Option<Reading> {
        let now = millis(self.clock.monotonic());
        let last = {
            let known = self.known.lock();
            known.reading.filter(|_| !known.missed)
        };
        let young = |age: Duration| last.filter(|last| now.saturating_sub(last.at) < millis(age));
        if let Some(reading) = young(ASK) {
            return Some(reading);
        }
        let Some(_turn) = Turn::take(&self.asking) else { return young(trusted) };
        self.ask(now).await.or_else(|| young(trusted))
    }

    async fn ask(&self, now: u64) -> Option<Reading> {
        let after = {
            let mut known = self.known.lock();
            let heard = std::mem::take(&mut known.heard);
            known.asked.extend(heard);
            known.missed = false;
            known.reading.map_or(0, |reading| reading.head)
        };
        match self.log.since(after).await {
            Ok(changes) => {
                let mut known = self.known.lock();
                known.learn(after, changes, now);
                known.reading
            }
            Err(error) => {
                tracing::debug!(%error, "the log of device sessions cannot be read");
                // Not told apart from news that were missed, of which there may have been some when this began.
                self.missed();
                None
            }
        }
    }

    /// Whether a copy from a revision is what the row was at the latest reading.
    pub(crate) fn counts(&self, id: &DeviceSessionId, revision: i64) -> bool {
        let known = self.known.lock();
        let Some(reading) = known.reading else { return false };
        (known.floor..=reading.head).contains(&revision)
            && !known.heard.contains(id)
            && !known.asked.contains(id)
            && known.changed.get(id).is_none_or(|changed| *changed <= revision)
    }

    /// News of a change. It is in the log already, but perhaps not in what was read of it.
    pub(crate) fn heard(&self, id: &DeviceSessionId) {
        let mut known = self.known.lock();
        if known.heard.len() >= HEARD {
            known.heard.clear();
            known.missed = true;
        }
        known.heard.insert(id.clone());
    }

    /// News may have been missed: the log is asked before anything counts again.
    pub(crate) fn missed(&self) {
        self.known.lock().missed = true;
    }
}

impl Known {
    fn learn(&mut self, after: i64, changes: DeviceChanges, at: u64) {
        // Behind what was read before: the database was restored, and may not have what copies show.
        let floor = if changes.head < after { changes.floor.max(after + 1) } else { changes.floor };
        for (id, revision) in changes.changed {
            let latest = self.changed.entry(id).or_insert(revision);
            *latest = revision.max(*latest);
        }
        if floor > self.floor {
            self.floor = floor;
            self.changed.retain(|_, revision| *revision > floor);
        }
        if self.changed.len() > REMEMBERED {
            self.changed = HashMap::new();
            self.floor = changes.head;
        }
        // Whatever was heard before asking is in the answer.
        self.asked.clear();
        self.reading = Some(Reading { head: changes.head, at });
    }
}

/// One asks at a time; whoever gives up midway (its client went away) gives the turn back.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(asking: &'a AtomicBool) -> Option<Self> {
        (!asking.swap(true, Ordering::Acquire)).then(|| Self(asking))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
