//! Whether the file was found damaged. From then on nothing is written: what can still be read is read, until an operator
//! restores a backup.

use bowerbird_core::ports::StoreError;
use tokio::sync::watch;

use crate::failure::{Damaged, is_damage, unavailable};

/// One per open file.
#[derive(Debug)]
pub(crate) struct Health {
    damaged: watch::Sender<bool>,
}

impl Default for Health {
    fn default() -> Self {
        Self { damaged: watch::Sender::new(false) }
    }
}

impl Health {
    /// Refuses when the file is damaged.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if *self.damaged.borrow() {
            return Err(unavailable(
                "the database file is damaged and only read from now on; stop and restore a backup",
            ));
        }
        Ok(())
    }

    /// Ends when damage is found.
    pub(crate) async fn until_damaged(&self) {
        // The sender is borrowed here, so that it cannot go meanwhile.
        let mut watch = self.damaged.subscribe();
        drop(watch.wait_for(|damaged| *damaged).await);
    }

    /// Looks at what an operation gave.
    pub(crate) fn note<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Unavailable(cause)) = &outcome
            && cause.downcast_ref::<Damaged>().is_some()
        {
            self.found_damage();
        }
        outcome
    }

    /// Looks at what a commit failed of.
    pub(crate) fn note_cause(&self, cause: &sqlx::Error) {
        if is_damage(cause) {
            self.found_damage();
        }
    }

    fn found_damage(&self) {
        if !self.damaged.send_replace(true) {
            tracing::error!("the database file is damaged and only read from now on; stop and restore a backup");
        }
    }
}
