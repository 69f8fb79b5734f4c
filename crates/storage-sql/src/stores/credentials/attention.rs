//! Which credentials need somebody to look at them, for the command line.

use bowerbird_core::ports::StoreError;
use bowerbird_core::{AccountId, ConnectionId, CredentialState, Did, NeedsReauth};

use super::state::{read_reason, read_state};
use super::{CURRENT, TABLE, count};
use crate::row::Row;
use crate::sql_stores::SqlStores;
use crate::statement::Statement;

/// How many credentials stand where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Usable.
    pub ok: u64,
    /// A refresh is under way.
    pub refreshing: u64,
    /// The outcome of a refresh is not known.
    pub unknown: u64,
    /// Only the person can repair it, by reason. Only what occurs is listed.
    pub needs_reauth: Vec<(NeedsReauth, u64)>,
}

/// A credential that is in doubt or needs its person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Which.
    pub connection: ConnectionId,
    /// Whose.
    pub account: AccountId,
    /// The account's key.
    pub did: Did,
    /// The account's handle.
    pub handle: String,
    /// Where it stands.
    pub state: CredentialState,
}

impl SqlStores {
    /// Counts credentials by where they stand.
    pub async fn count_by_state(&self) -> Result<StateCounts, StoreError> {
        let statement =
            Statement::new("SELECT state, reason, count(*) AS number FROM credentials GROUP BY state, reason");
        let mut counts = StateCounts::default();
        for row in self.engine().rows(statement).await? {
            let row = row.of(TABLE);
            let number = count(row.integer("number")?);
            match row.text("state")?.as_str() {
                "ok" => counts.ok += number,
                "refreshing" => counts.refreshing += number,
                "unknown" => counts.unknown += number,
                "needs_reauth" => counts.needs_reauth.push((read_reason(row)?, number)),
                _ => return Err(row.inconsistent("state")),
            }
        }
        counts.needs_reauth.sort_by_key(|(reason, _)| reason.code());
        Ok(counts)
    }

    /// Lists credentials in doubt and those that need their person, at most `limit` after the given one.
    pub async fn needing_attention(
        &self,
        after: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Vec<Attention>, StoreError> {
        let statement = Statement::new(
            "SELECT c.connection_id, c.account_id, a.did, a.handle, c.state, c.reason, c.lease_until, c.intent_at \
             FROM credentials c JOIN accounts a ON a.id = c.account_id \
             WHERE c.state IN ('needs_reauth', 'unknown') AND c.connection_id > $1 ORDER BY c.connection_id LIMIT $2",
        )
        .with(after.map(|connection| connection.to_string()).unwrap_or_default())
        .with(i64::from(limit));
        self.engine().rows(statement).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<Attention, StoreError> {
    let row = row.of(TABLE);
    Ok(Attention {
        connection: row.parsed("connection_id", ConnectionId::parse)?,
        account: row.parsed("account_id", AccountId::parse)?,
        did: row.parsed("did", Did::parse)?,
        handle: row.text("handle")?,
        state: read_state(row, CURRENT)?,
    })
}
