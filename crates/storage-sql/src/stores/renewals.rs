//! Where the lines of refresh strings stand.

use async_trait::async_trait;
use bowerbird_core::ports::{RenewalStore, StoreError};
use bowerbird_core::{DeviceSessionId, Renewal, RenewalLine, Timestamp};

use crate::engine::{Engine, Urgency};
use crate::statement::Statement;

#[async_trait]
impl RenewalStore for Engine {
    async fn begin(&self, device: &DeviceSessionId, line: &RenewalLine) -> Result<(), StoreError> {
        let statement = Statement::new(
            "INSERT INTO renewals (device_id, line, place) VALUES ($1, $2, 1) \
             ON CONFLICT (device_id) DO UPDATE SET line = excluded.line, place = excluded.place",
        );
        self.execute(statement.with(device).with(line.0.as_slice())).await.map(drop)
    }

    async fn renew(&self, line: &RenewalLine, place: i64, now: Timestamp) -> Result<Renewal, StoreError> {
        let next = place.saturating_add(1);
        let forward = Statement::new(
            "UPDATE renewals SET place = $2 WHERE line = $1 AND place < $2 AND EXISTS \
             (SELECT 1 FROM device_sessions WHERE id = renewals.device_id AND expires_at > $3) RETURNING device_id",
        )
        .with(line.0.as_slice())
        .with(next)
        .with(now);
        let stand = Statement::new(
            "SELECT r.device_id, r.place FROM renewals r JOIN device_sessions d ON d.id = r.device_id \
             WHERE r.line = $1 AND d.expires_at > $2",
        )
        .with(line.0.as_slice())
        .with(now);
        self.write(Urgency::Now, move |mut database| {
            Box::pin(async move {
                let device = |row: &crate::row::Row| row.of("renewals").parsed("device_id", DeviceSessionId::parse);
                if let Some(row) = database.row(forward).await? {
                    return Ok(Renewal::Renewed { device: device(&row)?, place: next });
                }
                let Some(row) = database.row(stand).await? else { return Ok(Renewal::Unknown) };
                let device = device(&row)?;
                // The answer of an earlier exchange got lost, or several asked at once.
                if row.of("renewals").integer("place")? == next {
                    Ok(Renewal::Renewed { device, place: next })
                } else {
                    Ok(Renewal::Superseded { device })
                }
            })
        })
        .await
    }
}
