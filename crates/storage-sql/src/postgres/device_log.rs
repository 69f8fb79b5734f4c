//! The log of changed device sessions. Triggers write it (see the migrations), in the transaction of the change, whoever
//! makes it: an instance of the release before, or a person at a prompt.

use async_trait::async_trait;
use bowerbird_core::DeviceSessionId;
use bowerbird_core::ports::{DeviceChangeLog, DeviceChanges, StoreError};

use crate::engine::{Engine, Urgency};
use crate::statement::Statement;

/// How long a change stays in the log, in microseconds: longer than any copy lives outside of a process, by far.
const KEPT_MICROS: i64 = 15 * 60 * 1_000_000;

#[async_trait]
impl DeviceChangeLog for Engine {
    async fn since(&self, revision: i64) -> Result<DeviceChanges, StoreError> {
        // One statement sees one moment: the head, and every change up to it.
        let statement = Statement::new(
            "SELECT l.head, l.floor, c.device_id, c.revision FROM device_log l \
             LEFT JOIN device_changes c ON c.revision > $1 WHERE l.only_row = 1",
        );
        let mut changes = DeviceChanges::default();
        for row in self.rows(statement.with(revision)).await? {
            let log = row.of("device_log");
            (changes.head, changes.floor) = (log.integer("head")?, log.integer("floor")?);
            let row = row.of("device_changes");
            if let Some(revision) = row.optional_integer("revision")? {
                changes.changed.push((row.parsed("device_id", DeviceSessionId::parse)?, revision));
            }
        }
        Ok(changes)
    }

    async fn purge(&self) -> Result<u64, StoreError> {
        // First the row that whoever notes a change takes first: else the two could wait for each other.
        let lock = Statement::new("UPDATE device_log SET floor = floor WHERE only_row = 1");
        let purge = Statement::new(
            "WITH gone AS (DELETE FROM device_changes \
             WHERE revision < CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) - $1 RETURNING revision), \
             raised AS (UPDATE device_log SET floor = GREATEST(floor, (SELECT max(revision) FROM gone)) \
             WHERE EXISTS (SELECT 1 FROM gone)) \
             SELECT count(*) AS removed FROM gone",
        )
        .with(KEPT_MICROS);
        let row = self
            .write(Urgency::WhenQuiet, |mut database| {
                Box::pin(async move {
                    database.execute(lock).await?;
                    database.row(purge).await
                })
            })
            .await?;
        let removed = row.map_or(Ok(0), |row| row.of("device_changes").integer("removed"))?;
        Ok(u64::try_from(removed).unwrap_or(0))
    }
}
