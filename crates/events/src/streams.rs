//! Who follows events as they happen: apps by account, the operator all of them. Bounded in every direction: a client that
//! does not read loses events and is told so, it never holds anything up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bowerbird_core::{AccountId, NoticeId};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::report::Report;

/// Streams of one device session at once.
const STREAMS_OF_ONE: usize = 8;
/// Streams of all clients at once.
const STREAMS: usize = 5_000;
/// Events that wait for one client.
const WAITING: usize = 64;
/// Events that are remembered, so that one that comes a second time, from another instance, is not passed on.
const REMEMBERED: usize = 4_096;

/// The followers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EventStreams(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    closed: bool,
    next: u64,
    followers: HashMap<u64, Follower>,
    by_account: HashMap<AccountId, HashSet<u64>>,
    of_everything: HashSet<u64>,
    /// How many streams each client has.
    clients: HashMap<String, usize>,
    seen: HashSet<NoticeId>,
    seen_in_order: VecDeque<NoticeId>,
}

#[derive(Debug)]
struct Follower {
    client: String,
    accounts: Vec<AccountId>,
    events: mpsc::Sender<StreamedEvent>,
    missed: Arc<AtomicBool>,
}

/// An event for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedEvent {
    /// Whose it is.
    pub account: Option<AccountId>,
    /// As `text/event-stream` writes it.
    pub frame: Bytes,
}

/// Why no stream is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamRefusal {
    /// This client has as many as it may have.
    #[error("this session follows events {STREAMS_OF_ONE} times already")]
    ClientHasEnough,
    /// There are as many as there may be.
    #[error("too many clients follow events")]
    Full,
    /// The server is about to stop.
    #[error("the server is stopping")]
    Closed,
}

/// One client's stream; it ends when this is dropped.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    events: mpsc::Receiver<StreamedEvent>,
    missed: Arc<AtomicBool>,
    streams: EventStreams,
}

impl EventStreams {
    /// Follows the events of accounts, in the name of a client.
    pub fn follow(&self, client: &str, accounts: &[AccountId]) -> Result<Subscription, StreamRefusal> {
        let subscription = self.subscribe(client)?;
        subscription.follow(accounts);
        Ok(subscription)
    }

    /// Follows every event, those of the installation too: for the operator.
    pub fn follow_everything(&self) -> Result<Subscription, StreamRefusal> {
        let subscription = self.subscribe("operator")?;
        self.0.lock().of_everything.insert(subscription.id);
        Ok(subscription)
    }

    /// Ends every stream and gives no more.
    pub fn close(&self) {
        let mut registry = self.0.lock();
        registry.closed = true;
        registry.followers.clear();
        registry.by_account.clear();
        registry.of_everything.clear();
    }

    /// How many streams there are.
    pub fn count(&self) -> usize {
        self.0.lock().followers.len()
    }

    fn subscribe(&self, client: &str) -> Result<Subscription, StreamRefusal> {
        let mut registry = self.0.lock();
        if registry.closed {
            return Err(StreamRefusal::Closed);
        }
        if registry.followers.len() >= STREAMS {
            return Err(StreamRefusal::Full);
        }
        let streams = registry.clients.entry(client.to_owned()).or_default();
        if *streams >= STREAMS_OF_ONE {
            return Err(StreamRefusal::ClientHasEnough);
        }
        *streams += 1;
        let id = registry.next;
        registry.next += 1;
        let (sender, events) = mpsc::channel(WAITING);
        let missed = Arc::new(AtomicBool::new(false));
        let (client, accounts) = (client.to_owned(), Vec::new());
        registry.followers.insert(id, Follower { client, accounts, events: sender, missed: Arc::clone(&missed) });
        drop(registry);
        Ok(Subscription { id, events, missed, streams: self.clone() })
    }

    /// Passes an event on, unless it was passed on before.
    pub(crate) fn publish(&self, report: &Report) {
        let mut registry = self.0.lock();
        if !registry.is_new(report.id) {
            return;
        }
        let account = report.account_id.and_then(|account| registry.by_account.get(&account));
        let interested = account.into_iter().flatten().chain(&registry.of_everything);
        let mut event: Option<StreamedEvent> = None;
        for id in interested {
            let Some(follower) = registry.followers.get(id) else { continue };
            let written = || StreamedEvent { account: report.account_id, frame: frame_of(report) };
            if follower.events.try_send(event.get_or_insert_with(written).clone()).is_err() {
                follower.missed.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Registry {
    fn is_new(&mut self, id: NoticeId) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.seen_in_order.push_back(id);
        if self.seen_in_order.len() > REMEMBERED
            && let Some(oldest) = self.seen_in_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    fn forget_accounts_of(&mut self, id: u64) {
        let Some(follower) = self.followers.get_mut(&id) else { return };
        for account in std::mem::take(&mut follower.accounts) {
            if let Some(followers) = self.by_account.get_mut(&account) {
                followers.remove(&id);
                if followers.is_empty() {
                    self.by_account.remove(&account);
                }
            }
        }
    }
}

impl Subscription {
    /// Follows these accounts from now on, and no others.
    pub fn follow(&self, accounts: &[AccountId]) {
        let mut registry = self.streams.0.lock();
        registry.forget_accounts_of(self.id);
        let Some(follower) = registry.followers.get_mut(&self.id) else { return };
        follower.accounts = accounts.to_vec();
        for account in accounts {
            registry.by_account.entry(*account).or_default().insert(self.id);
        }
    }

    /// The next event; None when the stream has ended.
    pub async fn next(&mut self) -> Option<StreamedEvent> {
        self.events.recv().await
    }

    /// Whether events were lost since this was last asked, because the client did not read.
    pub fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut registry = self.streams.0.lock();
        registry.forget_accounts_of(self.id);
        registry.of_everything.remove(&self.id);
        // When the streams were closed the follower is gone, and nobody counts any more.
        let Some(follower) = registry.followers.remove(&self.id) else { return };
        if let Some(streams) = registry.clients.get_mut(&follower.client) {
            *streams -= 1;
            if *streams == 0 {
                registry.clients.remove(&follower.client);
            }
        }
    }
}

/// JSON has no line break in it, so that it is one line of data.
fn frame_of(report: &Report) -> Bytes {
    format!("id: {}\nevent: {}\ndata: {}\n\n", report.id, report.kind, report.to_json()).into()
}

#[cfg(test)]
mod tests {
    use bowerbird_core::ports::{AccountEvent, AccountEventKind, AccountNotice};
    use bowerbird_core::testing::SeededEntropy;
    use bowerbird_core::{ConnectionId, Timestamp};

    use super::*;

    fn report(entropy: &SeededEntropy, account: AccountId) -> Report {
        let connection = ConnectionId::random(entropy);
        let event = AccountEvent { at: Timestamp::EPOCH, account, connection, kind: AccountEventKind::Refreshed };
        Report::of_access(&AccountNotice { id: NoticeId::random(entropy), event }, "https://bower.example")
    }

    fn waiting(subscription: &mut Subscription) -> usize {
        std::iter::from_fn(|| subscription.events.try_recv().ok()).count()
    }

    #[tokio::test]
    async fn events_go_to_those_who_follow_the_account_and_to_the_operator_once() {
        let entropy = SeededEntropy::new(1);
        let streams = EventStreams::default();
        let (one, other) = (AccountId::random(&entropy), AccountId::random(&entropy));
        let mut of_one = streams.follow("a", &[one]).unwrap();
        let mut of_other = streams.follow("b", &[other]).unwrap();
        let mut operator = streams.follow_everything().unwrap();
        let event = report(&entropy, one);
        streams.publish(&event);
        streams.publish(&event);
        let heard = of_one.next().await.unwrap();
        assert_eq!(heard.account, Some(one));
        let text = String::from_utf8(heard.frame.to_vec()).unwrap();
        assert!(text.starts_with(&format!("id: {}\nevent: refreshed\ndata: {{", event.id)), "{text}");
        assert!(text.ends_with("}\n\n") && text.matches('\n').count() == 4, "{text}");
        assert_eq!((waiting(&mut of_one), waiting(&mut of_other), waiting(&mut operator)), (0, 0, 1));

        of_other.follow(&[one]);
        of_one.follow(&[other]);
        streams.publish(&report(&entropy, one));
        assert_eq!((waiting(&mut of_one), waiting(&mut of_other)), (0, 1));
    }

    #[tokio::test]
    async fn who_does_not_read_is_told_and_holds_nothing_up() {
        let entropy = SeededEntropy::new(2);
        let streams = EventStreams::default();
        let account = AccountId::random(&entropy);
        let mut slow = streams.follow("a", &[account]).unwrap();
        for _ in 0..=WAITING {
            streams.publish(&report(&entropy, account));
        }
        assert!(slow.missed() && !slow.missed());
        assert_eq!(waiting(&mut slow), WAITING);
    }

    #[tokio::test]
    async fn streams_are_bounded_and_leave_nothing_behind() {
        let entropy = SeededEntropy::new(3);
        let streams = EventStreams::default();
        let account = AccountId::random(&entropy);
        let some: Vec<_> = (0..STREAMS_OF_ONE).map(|_| streams.follow("a", &[account]).unwrap()).collect();
        assert_eq!(streams.follow("a", &[account]).unwrap_err(), StreamRefusal::ClientHasEnough);
        assert_eq!(streams.count(), STREAMS_OF_ONE);
        drop(some);
        {
            let registry = streams.0.lock();
            assert!(registry.followers.is_empty() && registry.by_account.is_empty() && registry.clients.is_empty());
        }
        let mut last = streams.follow("a", &[account]).unwrap();
        streams.close();
        assert_eq!(last.next().await, None);
        assert_eq!(streams.follow("a", &[account]).unwrap_err(), StreamRefusal::Closed);
    }

    #[test]
    fn what_was_seen_is_forgotten_at_last() {
        let entropy = SeededEntropy::new(4);
        let mut registry = Registry::default();
        let first = NoticeId::random(&entropy);
        assert!(registry.is_new(first) && !registry.is_new(first));
        for _ in 0..REMEMBERED {
            registry.is_new(NoticeId::random(&entropy));
        }
        assert_eq!((registry.seen.len(), registry.seen_in_order.len()), (REMEMBERED, REMEMBERED));
    }
}
