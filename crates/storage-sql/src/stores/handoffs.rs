//! One-time codes for apps.

use async_trait::async_trait;
use bowerbird_core::ports::{HandoffStore, StoreError};
use bowerbird_core::{AccountId, DeviceSessionId, HANDOFF_TRIES, Handoff, HandoffCodeHash, Redemption, Timestamp};

use crate::engine::{Engine, Urgency};
use crate::row::Row;
use crate::statement::Statement;

#[async_trait]
impl HandoffStore for Engine {
    async fn insert(&self, handoff: &Handoff) -> Result<(), StoreError> {
        let statement = Statement::new(
            "INSERT INTO handoffs (code_hash, account_id, device_id, device_name, challenge, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .with(handoff.code.0.as_slice())
        .with(handoff.account)
        .with(handoff.device.as_ref().map(DeviceSessionId::as_str))
        .with(handoff.device_name.as_str())
        .with(handoff.challenge.as_deref().unwrap_or_default())
        .with(handoff.created_at)
        .with(handoff.expires_at);
        self.execute(statement).await.map(drop)
    }

    async fn redeem(
        &self,
        code: &HandoffCodeHash,
        proof: Option<&str>,
        now: Timestamp,
    ) -> Result<Redemption, StoreError> {
        let take = Statement::new(
            "DELETE FROM handoffs WHERE code_hash = $1 AND expires_at > $2 AND challenge = $3 \
             RETURNING code_hash, account_id, device_id, device_name, challenge, created_at, expires_at",
        )
        .with(code.0.as_slice())
        .with(now)
        .with(proof.unwrap_or_default());
        let count = Statement::new(
            "UPDATE handoffs SET wrong = wrong + 1 WHERE code_hash = $1 AND expires_at > $2 RETURNING wrong",
        )
        .with(code.0.as_slice())
        .with(now);
        let burn = Statement::new("DELETE FROM handoffs WHERE code_hash = $1").with(code.0.as_slice());
        self.write(Urgency::Now, |mut database| {
            Box::pin(async move {
                if let Some(row) = database.row(take).await? {
                    return read(&row).map(Redemption::Redeemed);
                }
                // In this statement alone, so that tries at the same moment are each counted.
                let Some(row) = database.row(count).await? else { return Ok(Redemption::Unknown) };
                let wrong = u32::try_from(row.of("handoffs").integer("wrong")?).unwrap_or(HANDOFF_TRIES);
                let left = HANDOFF_TRIES.saturating_sub(wrong);
                if left == 0 {
                    database.execute(burn).await?;
                }
                Ok(Redemption::WrongVerifier { left })
            })
        })
        .await
    }

    async fn withdraw(&self, code: &HandoffCodeHash) -> Result<Option<Handoff>, StoreError> {
        let statement = Statement::new(
            "DELETE FROM handoffs WHERE code_hash = $1 \
             RETURNING code_hash, account_id, device_id, device_name, challenge, created_at, expires_at",
        );
        self.returning(statement.with(code.0.as_slice())).await?.as_ref().map(read).transpose()
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(Statement::new("DELETE FROM handoffs WHERE expires_at <= $1").with(now)).await
    }
}

fn read(row: &Row) -> Result<Handoff, StoreError> {
    let row = row.of("handoffs");
    let code = row.bytes("code_hash")?;
    let device = match row.optional_text("device_id")? {
        Some(text) => Some(DeviceSessionId::parse(&text).map_err(|_| row.inconsistent("device_id"))?),
        None => None,
    };
    Ok(Handoff {
        code: HandoffCodeHash(code.try_into().map_err(|_| row.inconsistent("code_hash"))?),
        account: row.parsed("account_id", AccountId::parse)?,
        device,
        device_name: row.text("device_name")?,
        challenge: Some(row.text("challenge")?).filter(|challenge| !challenge.is_empty()),
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}
