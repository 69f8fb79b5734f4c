//! The history of accounts.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bowerbird_core::ports::{EventPlace, SecurityEventStore, StoreError};
use bowerbird_core::{AccountId, NoticeId, SecurityEvent, SecurityEventKind, Timestamp};

use crate::engine::{Engine, Urgency};
use crate::row::Row;
use crate::statement::Statement;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, account_id, occurred_at, kind, reason, device_name, by_device FROM security_events ",
            "WHERE account_id = $1 ",
            $condition,
            " ORDER BY occurred_at DESC, id DESC LIMIT $2"
        )
    };
}

#[async_trait]
impl SecurityEventStore for Engine {
    async fn note(&self, events: &[SecurityEvent]) -> Result<(), StoreError> {
        let inserts = events.iter().map(insert);
        let accounts: BTreeSet<AccountId> = events.iter().map(|event| event.account).collect();
        let statements: Vec<_> = inserts.chain(accounts.into_iter().map(trim)).collect();
        self.write(Urgency::Now, |mut database| {
            Box::pin(async move {
                for statement in statements {
                    database.execute(statement).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn list(
        &self,
        account: AccountId,
        before: Option<EventPlace>,
        limit: u32,
    ) -> Result<Vec<SecurityEvent>, StoreError> {
        let statement = match before {
            None => Statement::new(select!("")).with(account).with(i64::from(limit)),
            Some((at, id)) => Statement::new(select!("AND (occurred_at, id) < ($3, $4)"))
                .with(account)
                .with(i64::from(limit))
                .with(at)
                .with(id.to_string()),
        };
        self.rows(statement).await?.iter().map(read).collect()
    }

    async fn purge(&self, before: Timestamp) -> Result<u64, StoreError> {
        let statement = Statement::new("DELETE FROM security_events WHERE occurred_at < $1").with(before);
        self.execute_with(Urgency::WhenQuiet, statement).await
    }
}

/// Nothing where the account is gone.
fn insert(event: &SecurityEvent) -> Statement {
    Statement::new(
        "INSERT INTO security_events (id, account_id, occurred_at, kind, reason, device_name, by_device) \
         SELECT $1, $2, $3, $4, $5, $6, $7 FROM accounts WHERE accounts.id = $2",
    )
    .with(event.id.to_string())
    .with(event.account)
    .with(event.at)
    .with(event.kind.name())
    .with(event.kind.reason())
    .with(event.device_name.as_str())
    .with(event.by_device.as_str())
}

/// Keeps the latest entries of an account.
fn trim(account: AccountId) -> Statement {
    Statement::new(
        "DELETE FROM security_events WHERE account_id = $1 AND id IN (SELECT id FROM security_events \
         WHERE account_id = $1 ORDER BY occurred_at DESC, id DESC LIMIT 1000000 OFFSET $2)",
    )
    .with(account)
    .with(i64::from(SecurityEvent::KEPT))
}

const TABLE: &str = "security_events";

fn read(row: &Row) -> Result<SecurityEvent, StoreError> {
    let row = row.of(TABLE);
    let kind = SecurityEventKind::from_codes(&row.text("kind")?, &row.text("reason")?);
    Ok(SecurityEvent {
        id: row.parsed("id", NoticeId::parse)?,
        account: row.parsed("account_id", AccountId::parse)?,
        at: row.time("occurred_at")?,
        kind: kind.ok_or_else(|| row.inconsistent("kind"))?,
        device_name: row.text("device_name")?,
        by_device: row.text("by_device")?,
    })
}
