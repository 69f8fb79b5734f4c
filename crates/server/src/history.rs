//! What happened to accounts, written down for their people and read by them.

use std::sync::Arc;

use bowerbird_core::ports::{Clock, Entropy, EventPlace, SecurityEventStore, StoreError};
use bowerbird_core::{Account, AccountId, NoticeId, SecurityEvent, SecurityEventKind};

/// The histories. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History {
    store: Arc<dyn SecurityEventStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A piece of the history of several accounts.
pub(crate) struct HistoryPage {
    /// The latest first.
    pub(crate) events: Vec<SecurityEvent>,
    /// Where the next piece begins, if there is more.
    pub(crate) next: Option<EventPlace>,
}

impl History {
    pub(crate) fn new(store: Arc<dyn SecurityEventStore>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy }
    }

    /// Writes down what happened on a device, and from which one it was done where that is another. What fails here is for
    /// the log: nobody is kept from signing in or out by it.
    pub(crate) async fn note(&self, account: AccountId, kind: SecurityEventKind, device_name: &str, by_device: &str) {
        let event = SecurityEvent {
            id: NoticeId::random(self.entropy.as_ref()),
            account,
            at: self.clock.now(),
            kind,
            device_name: device_name.to_owned(),
            by_device: by_device.to_owned(),
        };
        if let Err(error) = self.store.note(&[event]).await {
            tracing::warn!(%account, %error, kind = kind.name(), "an event is missing in the account's history");
        }
    }

    /// What happened to some accounts before a place.
    pub(crate) async fn of(
        &self,
        accounts: &[Arc<Account>],
        before: Option<EventPlace>,
        limit: u32,
    ) -> Result<HistoryPage, StoreError> {
        let mut events = Vec::new();
        for account in accounts {
            events.extend(self.store.list(account.id, before, limit.saturating_add(1)).await?);
        }
        events.sort_by_key(|event| std::cmp::Reverse((event.at, event.id)));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| more).map(|event| (event.at, event.id));
        Ok(HistoryPage { events, next })
    }
}

/// A place as one text, for an address.
pub(crate) fn place_text((at, id): EventPlace) -> String {
    format!("{}.{id}", at.as_millis())
}

/// Reads what [`place_text`] wrote.
pub(crate) fn parse_place(text: &str) -> Option<EventPlace> {
    let (at, id) = text.split_once('.')?;
    let place = (bowerbird_core::Timestamp::from_millis(at.parse().ok()?), NoticeId::parse(id).ok()?);
    (place_text(place) == text).then_some(place)
}

#[cfg(test)]
mod tests {
    use bowerbird_core::Timestamp;
    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    #[test]
    fn a_place_has_one_spelling() {
        let place = (Timestamp::from_millis(1_767_225_600_123), NoticeId::random(&SeededEntropy::new(1)));
        let text = place_text(place);
        assert_eq!(parse_place(&text), Some(place));
        for bad in ["", "1", "1.", &format!("+{text}"), &text.to_uppercase(), &format!("{text}0")] {
            assert_eq!(parse_place(bad), None, "{bad}");
        }
    }
}
