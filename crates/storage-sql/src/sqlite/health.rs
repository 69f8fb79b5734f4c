//! Whether the file was found damaged. From then on nothing is written: what can still be read is read, until an operator
//! restores a backup.

use std::sync::atomic::{AtomicBool, Ordering};

use bowerbird_core::ports::StoreError;

use crate::failure::{Damaged, is_damage, unavailable};

/// One per open file.
#[derive(Debug, Default)]
pub(crate) struct Health {
    damaged: AtomicBool,
}

impl Health {
    /// Refuses when the file is damaged.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.damaged.load(Ordering::Acquire) {
            return Err(unavailable(
                "the database file is damaged and only read from now on; stop and restore a backup",
            ));
        }
        Ok(())
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
        if !self.damaged.swap(true, Ordering::AcqRel) {
            tracing::error!("the database file is damaged and only read from now on; stop and restore a backup");
        }
    }
}
