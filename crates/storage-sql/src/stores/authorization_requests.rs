//! Logins under way.

use async_trait::async_trait;
use bowerbird_core::ports::{AuthorizationRequestStore, StoreError};
use bowerbird_core::{AuthorizationRequestRecord, StateHash, Timestamp};

use crate::engine::Engine;
use crate::row::Row;
use crate::statement::Statement;

#[async_trait]
impl AuthorizationRequestStore for Engine {
    async fn insert(&self, record: &AuthorizationRequestRecord, cap: u64) -> Result<(), StoreError> {
        // Counts no further than the cap, along the index, in the same statement.
        let statement = Statement::new(
            "INSERT INTO authorization_requests (state_hash, sealed, created_at, expires_at) \
             SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM \
             (SELECT 1 FROM authorization_requests WHERE expires_at > $3 LIMIT $5) AS waiting) < $5",
        )
        .with(record.state.0.as_slice())
        .with(record.sealed.as_slice())
        .with(record.created_at)
        .with(record.expires_at)
        .with(i64::try_from(cap).unwrap_or(i64::MAX));
        if self.execute(statement).await? == 0 { Err(StoreError::Full) } else { Ok(()) }
    }

    async fn take(&self, state: &StateHash, now: Timestamp) -> Result<Option<AuthorizationRequestRecord>, StoreError> {
        let statement = Statement::new(
            "DELETE FROM authorization_requests WHERE state_hash = $1 AND expires_at > $2 \
             RETURNING state_hash, sealed, created_at, expires_at",
        );
        let row = self.returning(statement.with(state.0.as_slice()).with(now)).await?;
        row.as_ref().map(read).transpose()
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(Statement::new("DELETE FROM authorization_requests WHERE expires_at <= $1").with(now)).await
    }
}

fn read(row: &Row) -> Result<AuthorizationRequestRecord, StoreError> {
    let row = row.of("authorization_requests");
    let state = row.bytes("state_hash")?;
    Ok(AuthorizationRequestRecord {
        state: StateHash(state.try_into().map_err(|_| row.inconsistent("state_hash"))?),
        sealed: row.bytes("sealed")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}
