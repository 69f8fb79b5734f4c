//! Device sessions.

use async_trait::async_trait;
use bowerbird_core::ports::{Cas, DeviceSessionStore, StoreError};
use bowerbird_core::{AccountId, DeviceAccount, DeviceSession, DeviceSessionId, Timestamp};

use super::cas;
use crate::engine::{Engine, Urgency};
use crate::row::Row;
use crate::statement::Statement;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT d.id, d.created_at, d.last_seen_at, d.expires_at, d.device_name, \
             a.account_id, a.added_at, a.use_order \
             FROM device_sessions d LEFT JOIN device_accounts a ON a.device_id = d.id WHERE ",
            $condition,
            " ORDER BY d.last_seen_at DESC, d.id, a.added_at, a.account_id"
        )
    };
}

/// Takes the row's lock until the commit, so that two changes of one device take turns (in SQLite every write does).
const LOCK: &str = "UPDATE device_sessions SET device_name = device_name WHERE id = $1";

#[async_trait]
impl DeviceSessionStore for Engine {
    async fn insert(&self, device: &DeviceSession) -> Result<(), StoreError> {
        let consistent = device.active.map_or(device.accounts.is_empty(), |active| device.holds(active));
        if !consistent {
            return Err(StoreError::Refused("the active account is not on the device"));
        }
        let session = Statement::new(
            "INSERT INTO device_sessions (id, created_at, last_seen_at, expires_at, device_name) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .with(&device.id)
        .with(device.created_at)
        .with(device.last_seen_at)
        .with(device.expires_at)
        .with(device.device_name.as_str());
        let places: Vec<Statement> = (1_i64..)
            .zip(&device.accounts)
            .map(|(order, entry)| {
                // The active one was used last.
                let order = if device.active == Some(entry.account) { i64::from(u32::MAX) } else { order };
                Statement::new(
                    "INSERT INTO device_accounts (device_id, account_id, added_at, use_order) VALUES ($1, $2, $3, $4)",
                )
                .with(&device.id)
                .with(entry.account)
                .with(entry.added_at)
                .with(order)
            })
            .collect();
        self.write(Urgency::Now, |mut database| {
            Box::pin(async move {
                database.execute(session).await?;
                for place in places {
                    database.execute(place).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn find(&self, id: &DeviceSessionId, now: Timestamp) -> Result<Option<DeviceSession>, StoreError> {
        let rows = self.rows(Statement::new(select!("d.id = $1 AND d.expires_at > $2")).with(id).with(now)).await?;
        Ok(read_all(&rows)?.pop())
    }

    async fn rotate(
        &self,
        old: &DeviceSessionId,
        new: &DeviceSessionId,
        account: AccountId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<DeviceSession>, StoreError> {
        if old == new {
            return Err(StoreError::Refused("that name is taken"));
        }
        // The places on the device follow the name by the schema's ON UPDATE CASCADE.
        let rename = Statement::new(
            "UPDATE device_sessions SET id = $2, last_seen_at = $3, expires_at = $4 WHERE id = $1 AND expires_at > $3",
        )
        .with(old)
        .with(new)
        .with(now)
        .with(expires_at);
        let add = Statement::new(
            "INSERT INTO device_accounts (device_id, account_id, added_at, use_order) \
             SELECT $1, $2, $3, coalesce(max(use_order), 0) + 1 FROM device_accounts WHERE device_id = $1 \
             ON CONFLICT (device_id, account_id) DO UPDATE SET use_order = excluded.use_order",
        )
        .with(new)
        .with(account)
        .with(now);
        let select = Statement::new(select!("d.id = $1")).with(new);
        let rows = self
            .write(Urgency::Now, |mut database| {
                Box::pin(async move {
                    if database.execute(rename).await? == 0 {
                        return Ok(Vec::new());
                    }
                    database.execute(add).await?;
                    database.rows(select).await
                })
            })
            .await?;
        Ok(read_all(&rows)?.pop())
    }

    async fn activate(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let lock = Statement::new(LOCK).with(id);
        let activate = Statement::new(
            "UPDATE device_accounts SET use_order = 1 + (SELECT max(use_order) FROM device_accounts WHERE device_id = $1) \
             WHERE device_id = $1 AND account_id = $2",
        )
        .with(id)
        .with(account);
        self.write(Urgency::Now, |mut database| {
            Box::pin(async move {
                database.execute(lock).await?;
                database.execute(activate).await.map(cas)
            })
        })
        .await
    }

    async fn remove_account(&self, id: &DeviceSessionId, account: AccountId) -> Result<Cas, StoreError> {
        let lock = Statement::new(LOCK).with(id);
        let remove = Statement::new("DELETE FROM device_accounts WHERE device_id = $1 AND account_id = $2")
            .with(id)
            .with(account);
        let remove_empty = Statement::new(
            "DELETE FROM device_sessions WHERE id = $1 \
             AND NOT EXISTS (SELECT 1 FROM device_accounts WHERE device_id = $1)",
        )
        .with(id);
        self.write(Urgency::Now, |mut database| {
            Box::pin(async move {
                // Without the lock, two callers that take off the last two accounts would each leave the other's.
                database.execute(lock).await?;
                let removed = database.execute(remove).await?;
                if removed > 0 {
                    database.execute(remove_empty).await?;
                }
                Ok(cas(removed))
            })
        })
        .await
    }

    async fn touch(&self, id: &DeviceSessionId, now: Timestamp, expires_at: Timestamp) -> Result<Cas, StoreError> {
        let statement = Statement::new(
            "UPDATE device_sessions SET \
             expires_at = CASE WHEN last_seen_at > $2 THEN expires_at ELSE $3 END, \
             last_seen_at = CASE WHEN last_seen_at > $2 THEN last_seen_at ELSE $2 END \
             WHERE id = $1 AND expires_at > $2",
        )
        .with(id)
        .with(now)
        .with(expires_at);
        self.execute_with(Urgency::WhenQuiet, statement).await.map(cas)
    }

    async fn remove(&self, id: &DeviceSessionId) -> Result<Cas, StoreError> {
        self.execute(Statement::new("DELETE FROM device_sessions WHERE id = $1").with(id)).await.map(cas)
    }

    async fn list_for_account(&self, account: AccountId, now: Timestamp) -> Result<Vec<DeviceSession>, StoreError> {
        let statement = Statement::new(select!(
            "d.expires_at > $2 AND d.id IN (SELECT device_id FROM device_accounts WHERE account_id = $1)"
        ));
        read_all(&self.rows(statement.with(account).with(now)).await?)
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(Statement::new("DELETE FROM device_sessions WHERE expires_at <= $1").with(now)).await
    }
}

/// Reads sessions out of rows that hold one account each, those of a session together.
fn read_all(rows: &[Row]) -> Result<Vec<DeviceSession>, StoreError> {
    let mut devices: Vec<DeviceSession> = Vec::new();
    let mut latest_use = i64::MIN;
    for row in rows {
        let session = row.of("device_sessions");
        let id = session.parsed("id", DeviceSessionId::parse)?;
        if devices.last().is_none_or(|device| device.id != id) {
            latest_use = i64::MIN;
            devices.push(DeviceSession {
                id,
                created_at: session.time("created_at")?,
                last_seen_at: session.time("last_seen_at")?,
                expires_at: session.time("expires_at")?,
                device_name: session.text("device_name")?,
                active: None,
                accounts: Vec::new(),
            });
        }
        let place = row.of("device_accounts");
        // A session without accounts comes as one row without one.
        let Some(order) = place.optional_integer("use_order")? else { continue };
        let account = place.parsed("account_id", AccountId::parse)?;
        let Some(device) = devices.last_mut() else { continue };
        device.accounts.push(DeviceAccount { account, added_at: place.time("added_at")? });
        if order >= latest_use {
            latest_use = order;
            device.active = Some(account);
        }
    }
    Ok(devices)
}
