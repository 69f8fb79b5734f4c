//! Connections of accounts to platform identities.

use async_trait::async_trait;
use bowerbird_core::ports::{ConnectionStore, StoreError};
use bowerbird_core::{AccountId, Connection, ConnectionId, Platform};

use crate::engine::{Engine, Urgency};
use crate::row::Row;
use crate::statement::Statement;

const BY_KEY: &str = "SELECT id, account_id, platform, subject, created_at FROM connections \
                      WHERE account_id = $1 AND platform = $2 AND subject = $3";

#[async_trait]
impl ConnectionStore for Engine {
    async fn ensure(&self, connection: &Connection) -> Result<Connection, StoreError> {
        let insert = Statement::new(
            "INSERT INTO connections (account_id, platform, subject, id, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (account_id, platform, subject) DO NOTHING",
        );
        let insert = by_key(insert, connection.account, &connection.platform, &connection.subject)
            .with(connection.id)
            .with(connection.created_at);
        let select = by_key(Statement::new(BY_KEY), connection.account, &connection.platform, &connection.subject);
        let row = self
            .write(Urgency::Now, |mut database| {
                Box::pin(async move {
                    database.execute(insert).await?;
                    database.row(select).await
                })
            })
            .await?;
        read(&row.ok_or(StoreError::Refused("the account is gone"))?)
    }

    async fn find(
        &self,
        account: AccountId,
        platform: &Platform,
        subject: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let row = self.row(by_key(Statement::new(BY_KEY), account, platform, subject)).await?;
        row.as_ref().map(read).transpose()
    }

    async fn list(&self, account: AccountId) -> Result<Vec<Connection>, StoreError> {
        let statement = Statement::new(
            "SELECT id, account_id, platform, subject, created_at FROM connections \
             WHERE account_id = $1 ORDER BY created_at, id",
        );
        self.rows(statement.with(account)).await?.iter().map(read).collect()
    }
}

/// Gives `$1` to `$3`.
fn by_key(statement: Statement, account: AccountId, platform: &Platform, subject: &str) -> Statement {
    statement.with(account).with(platform.as_str()).with(subject)
}

fn read(row: &Row) -> Result<Connection, StoreError> {
    let row = row.of("connections");
    Ok(Connection {
        id: row.parsed("id", ConnectionId::parse)?,
        account: row.parsed("account_id", AccountId::parse)?,
        platform: Platform::named(row.text("platform")?),
        subject: row.text("subject")?,
        created_at: row.time("created_at")?,
    })
}
