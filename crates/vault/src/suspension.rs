//! When no refresh may be sent, because the rows may not say the truth about what was sent before.

use bowerbird_core::ports::StoreError;

use crate::Vault;

/// Why no refresh is started. Access tokens that still work are given out all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suspension {
    /// Rows are older than what this installation knows to have stored: their refresh tokens are spent.
    RestoredBackup,
    /// The database is a copy of another installation's, which goes on refreshing.
    CopiedDatabase,
    /// The database is damaged, so that an intent or an outcome may not be stored.
    DamagedDatabase,
    /// Somebody who operates the installation asked for it.
    Operator,
}

impl Suspension {
    /// The stable name, such as `restored_backup`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::RestoredBackup => "restored_backup",
            Self::CopiedDatabase => "copied_database",
            Self::DamagedDatabase => "damaged_database",
            Self::Operator => "operator",
        }
    }

    /// What it means and what to do, for the person who operates the installation.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::RestoredBackup => {
                "The database is older than what was stored here last: it was restored from a backup. Refresh tokens in \
                 it may be spent, and a spent one ends the sign-in. Restore the newer database, or confirm the restore."
            }
            Self::CopiedDatabase => {
                "The database is a copy of another installation's. Refreshing here would end the sign-ins there. Use a \
                 database of your own."
            }
            Self::DamagedDatabase => {
                "The database is damaged. Nothing is refreshed, so that nothing more is lost. Restore it from a backup."
            }
            Self::Operator => "Refreshing was stopped by an operator. Resume it when you are ready.",
        }
    }
}

/// What [`Vault::recover`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Answers that a crash had kept from the database, and that are in it now.
    pub stored: usize,
    /// Answers that were there already, or belong to nobody any more.
    pub settled: usize,
    /// Rows that are older than what was stored before; more than none suspends the vault.
    pub restored: usize,
}

/// Why the replay did not end. Nothing is lost; no refresh may begin before it has.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The spill cannot be read.
    #[error("the spill file cannot be read")]
    Spill(#[from] bowerbird_core::ports::SpillError),
    /// The database did not answer.
    #[error("the database does not take renewed tokens yet")]
    Store(#[from] StoreError),
}

impl Vault {
    /// Starts no refresh any more, until [`Vault::resume`]. One that is under way goes on; its token is sent already.
    pub fn suspend(&self, reason: Suspension) {
        let before = self.0.suspension.lock().replace(reason);
        if before != Some(reason) {
            tracing::error!(reason = reason.code(), "refreshing is suspended: {}", reason.explanation());
        }
    }

    /// Ends a suspension; false when there was none. Somebody who knows must have decided it.
    pub fn resume(&self) -> bool {
        let before = self.0.suspension.lock().take();
        if let Some(reason) = before {
            tracing::warn!(reason = reason.code(), "refreshing is resumed");
        }
        before.is_some()
    }

    /// Why no refresh is started, if that is so.
    pub fn suspension(&self) -> Option<Suspension> {
        *self.0.suspension.lock()
    }
}

/// The place in the vault.
pub(crate) type Suspended = parking_lot::Mutex<Option<Suspension>>;
