//! The installation's one row: who it is, how far it is, and whether it came out of a backup.
//!
//! A restored database holds refresh tokens that were spent since, and presenting a spent one ends the session (REFRESH,
//! guards). So the database counts: instances compare the count with what they saw last, kept outside of it.

use bowerbird_core::ports::{Entropy, StoreError};

use crate::engine::{Engine, Urgency};
use crate::failure::unavailable;
use crate::row::Row;
use crate::sql_stores::SqlStores;
use crate::statement::Statement;

const TABLE: &str = "installation";

/// How far the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The count. It only grows, but for a restored backup.
    pub number: i64,
    /// Whether some instance found the database restored ([`SqlStores::note_restore`]), and no operator has confirmed it
    /// yet. The count stands still meanwhile.
    pub unconfirmed_restore: bool,
}

impl SqlStores {
    /// The id of the installation that the database belongs to: 32 hexadecimal digits, drawn at the first call ever and
    /// the same since. A copied database carries its original's.
    pub async fn cluster_id(&self, entropy: &dyn Entropy) -> Result<String, StoreError> {
        let select = || Statement::new("SELECT cluster_id FROM installation WHERE only_row = 1");
        let read = |row: Row| row.of(TABLE).text("cluster_id");
        if let Some(row) = self.engine().row(select()).await? {
            return read(row);
        }
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        // The time is by the database's clock, for people only.
        let insert = match self.engine() {
            Engine::Sqlite(_) => {
                "INSERT INTO installation (only_row, cluster_id, created_at) \
                 VALUES (1, $1, CAST(unixepoch('subsec') * 1000 AS INTEGER)) ON CONFLICT (only_row) DO NOTHING"
            }
            Engine::Postgres(_) => {
                "INSERT INTO installation (only_row, cluster_id, created_at) \
                 VALUES (1, $1, CAST(extract(epoch FROM now()) * 1000 AS BIGINT)) ON CONFLICT (only_row) DO NOTHING"
            }
        };
        self.engine().execute(Statement::new(insert).with(format!("{:032x}", u128::from_be_bytes(bytes)))).await?;
        // Read back: another instance may have been first.
        let row = self.engine().row(select()).await?;
        row.ok_or_else(|| unavailable("the installation row did not stay")).and_then(read)
    }

    /// Reads how far the database is. A database whose [`Self::cluster_id`] was never drawn is at the beginning.
    pub async fn epoch(&self) -> Result<Epoch, StoreError> {
        let row = self.engine().row(Statement::new("SELECT epoch, restored_at_epoch FROM installation")).await?;
        row.as_ref().map_or(Ok(Epoch { number: 0, unconfirmed_restore: false }), read_epoch)
    }

    /// Counts on and gives the count; at a start, and now and then while serving. The instance then writes it down in a
    /// place that a backup of the database does not touch. Stands still while a restore is not confirmed, so that a
    /// database that is behind stays recognisable.
    pub async fn advance_epoch(&self) -> Result<Epoch, StoreError> {
        let statement = Statement::new(
            "UPDATE installation SET epoch = CASE WHEN restored_at_epoch IS NULL THEN epoch + 1 ELSE epoch END \
             RETURNING epoch, restored_at_epoch",
        );
        let row = self.engine().returning(statement).await?;
        row.as_ref().map_or_else(|| Err(unavailable("the installation has no row yet")), read_epoch)
    }

    /// Writes down that the database is behind an epoch that was seen, for every instance to know, also one that kept
    /// nothing and one that starts later.
    pub async fn note_restore(&self, seen: i64) -> Result<(), StoreError> {
        let statement = Statement::new(
            "UPDATE installation SET restored_at_epoch = CASE WHEN restored_at_epoch > $1 THEN restored_at_epoch ELSE $1 END",
        );
        self.engine().execute(statement.with(seen)).await.map(|_| ())
    }

    /// An operator's word that the restored database is the one to go on with; `above` is the highest epoch that was
    /// seen. Every credential that has a refresh token and needs no person yet becomes one of unknown fate: its token may
    /// have been spent since the backup. It is tried once; a refusal then asks the person to sign in again, and is never
    /// taken for a withdrawal. Gives how many there are, and the new epoch, which is above every one that was seen.
    pub async fn confirm_restore(&self, above: i64) -> Result<(u64, Epoch), StoreError> {
        // The intent's time is the token's own: long ago, so that no quiet time is waited for.
        let doubt = Statement::new(
            "UPDATE credentials SET state = 'unknown', reason = NULL, lease_until = NULL, lease_owner = NULL, \
             intent_at = issued_at, attempts = CASE WHEN coalesce(attempts, 0) < 1 THEN 1 ELSE attempts END, \
             not_before = NULL, due_at = coalesce(due_at, access_expires_at) \
             WHERE state <> 'needs_reauth' AND refresh_token IS NOT NULL",
        );
        let raise = Statement::new(
            "UPDATE installation SET epoch = 1 + CASE WHEN epoch > $1 AND epoch > coalesce(restored_at_epoch, 0) THEN epoch \
             WHEN coalesce(restored_at_epoch, 0) > $1 THEN restored_at_epoch ELSE $1 END, restored_at_epoch = NULL \
             RETURNING epoch, restored_at_epoch",
        )
        .with(above);
        let confirm = self.engine().write(Urgency::Now, |mut database| {
            Box::pin(async move {
                let doubted = database.execute(doubt).await?;
                Ok((doubted, database.row(raise).await?))
            })
        });
        let (doubted, row) = confirm.await?;
        let row = row.ok_or_else(|| unavailable("the installation has no row yet"))?;
        Ok((doubted, read_epoch(&row)?))
    }
}

fn read_epoch(row: &Row) -> Result<Epoch, StoreError> {
    let row = row.of(TABLE);
    let unconfirmed_restore = row.optional_integer("restored_at_epoch")?.is_some();
    Ok(Epoch { number: row.integer("epoch")?, unconfirmed_restore })
}
