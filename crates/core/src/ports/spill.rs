//! The spill: where renewed tokens are written down while, and before, the database takes them.

use async_trait::async_trait;

use crate::{ConnectionId, CredentialState, Generation, Schedule, SealedTokens};

/// An answer of an issuer, sealed, on its way into its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillEntry {
    /// Whose tokens they are.
    pub connection: ConnectionId,
    /// The generation of the row that they succeed.
    pub seen: Generation,
    /// The generation at which the grant began: another login's row is never overwritten.
    pub granted: Generation,
    /// The tokens, sealed for generation `seen` + 1.
    pub tokens: SealedTokens,
    /// The state to store them with.
    pub state: CredentialState,
    /// The schedule to store them with.
    pub schedule: Schedule,
}

/// How far a grant was stored. Another grant of the same connection says nothing about it: where clocks were set back
/// between a sign-out and the next login, the newer grant has the lower numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HighMark {
    /// Whose grant it is.
    pub connection: ConnectionId,
    /// The generation at which the grant began.
    pub granted: Generation,
    /// The generation that was stored.
    pub stored: Generation,
}

/// A spill that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// The file cannot be written: the disk is full, or the folder is gone or read-only.
    #[error("the spill file cannot be written")]
    Unwritable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no more room: too many answers wait for the database.
    #[error("the spill file is full")]
    Full,
}

/// A small durable log beside the database. An `Ok` of [`Self::append`] means on the disk, in about one disk write.
#[async_trait]
pub trait SpillStore: Send + Sync {
    /// Whether an entry could be written now; asked before a refresh token is touched (REFRESH step 0).
    async fn ready(&self) -> Result<(), SpillError>;
    /// Writes an entry down, durably.
    async fn append(&self, entry: &SpillEntry) -> Result<(), SpillError>;
    /// Marks the entry of that connection and generation as stored. Its loss is harmless: replaying finds the row ahead.
    async fn settle(&self, connection: ConnectionId, seen: Generation);
    /// The entries that are not settled, oldest first, with those of processes that are gone: to be replayed before anything
    /// else at a start, now and then, and before a token is sent a second time.
    async fn unsettled(&self) -> Result<Vec<SpillEntry>, SpillError>;
    /// The entries of one connection that are not settled, oldest first: in the logs of all processes that work in the same
    /// place, also of those that live, and of those whose log another process is just taking over. For whoever would
    /// otherwise do what must not be done while there is one. They are their holders' to settle; one that is being written
    /// at this moment is among them or not.
    async fn everywhere(&self, connection: ConnectionId) -> Result<Vec<SpillEntry>, SpillError>;
    /// For each grant the highest generation that the logs in this place still remember having been stored: a row of the
    /// same grant below it comes from an older backup.
    async fn high_marks(&self) -> Result<Vec<HighMark>, SpillError>;
}

/// No spill: for stores in memory, and for libraries that keep no files.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSpill;

#[async_trait]
impl SpillStore for NoSpill {
    async fn ready(&self) -> Result<(), SpillError> {
        Ok(())
    }

    async fn append(&self, _entry: &SpillEntry) -> Result<(), SpillError> {
        Ok(())
    }

    async fn settle(&self, _connection: ConnectionId, _seen: Generation) {}

    async fn unsettled(&self) -> Result<Vec<SpillEntry>, SpillError> {
        Ok(Vec::new())
    }

    async fn everywhere(&self, _connection: ConnectionId) -> Result<Vec<SpillEntry>, SpillError> {
        Ok(Vec::new())
    }

    async fn high_marks(&self) -> Result<Vec<HighMark>, SpillError> {
        Ok(Vec::new())
    }
}
