//! Those who hear of changes, as every feed keeps them.

use std::sync::Arc;

use parking_lot::RwLock;

use super::{Change, ChangeListener};

/// The listeners of a feed.
#[derive(Default)]
pub struct ChangeListeners(RwLock<Vec<Arc<dyn ChangeListener>>>);

impl ChangeListeners {
    /// Adds one, for as long as the feed lives.
    pub fn add(&self, listener: Arc<dyn ChangeListener>) {
        self.0.write().push(listener);
    }

    /// Tells all of a message. One that cannot be read comes from a later version, perhaps: its meaning is unknown, so
    /// every copy goes.
    pub fn tell(&self, message: &[u8]) {
        let change = std::str::from_utf8(message).ok().and_then(Change::from_message);
        for listener in &*self.0.read() {
            match &change {
                Some(change) => listener.changed(change),
                None => listener.missed(),
            }
        }
    }

    /// Tells all that messages may have been missed.
    pub fn missed(&self) {
        for listener in &*self.0.read() {
            listener.missed();
        }
    }
}

impl std::fmt::Debug for ChangeListeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ChangeListeners").field(&self.0.read().len()).finish()
    }
}
