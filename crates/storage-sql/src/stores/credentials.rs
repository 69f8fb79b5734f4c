//! Sealed credentials, one per connection.

mod attention;
pub(super) mod state;

use async_trait::async_trait;
use bowerbird_core::ports::{BegunRefresh, Cas, CredentialStore, DueCredential, DuePlace, LeaseRequest, StoreError};
use bowerbird_core::refresh::QUIET_SECONDS;
use bowerbird_core::{
    AccountId, ConnectionId, CredentialRecord, CredentialState, Generation, NeedsReauth, RefreshClass, Schedule,
    SealedFields, SealedTokens, Timestamp, WrappedDataKey,
};

pub use self::attention::{Attention, StateCounts};
use self::state::{StateColumns, read_reason, read_state};
use super::{cas, count};
use crate::engine::{Engine, LeaseClock, Urgency};
use crate::row::{Row, RowOf};
use crate::statement::Statement;

macro_rules! columns {
    () => {
        "connection_id, account_id, generation, issuer, audience, subject, client_kid, refresh_class, state, reason, \
         lease_until, intent_at, before_state, before_lease_until, before_intent_at, dpop_key, granted_generation, \
         granted_at, access_token, refresh_token, issued_at, access_expires_at, scope, attempts, not_before, due_at, \
         used_at"
    };
}

/// `$1` the connection, `$2` the seen generation, `$3` the owner. One statement, so that the check and the intent cannot
/// come apart: of any number of callers, in any number of processes, one finds the row as named.
macro_rules! begin {
    ($before:literal, $from:literal, $now:literal, $lease_until:literal, $quiet_since:literal) => {
        concat!(
            $before,
            "UPDATE credentials SET before_state = state, before_lease_until = lease_until, \
             before_intent_at = intent_at, state = 'refreshing', intent_at = ",
            $now,
            ", lease_until = ",
            $lease_until,
            ", due_at = ",
            $lease_until,
            ", fence = fence + 1, lease_owner = $3, attempts = coalesce(attempts, 0) + 1 ",
            $from,
            "WHERE connection_id = $1 AND generation = $2 AND (state = 'ok' OR (state = 'refreshing' AND lease_until <= ",
            $now,
            " AND intent_at <= ",
            $quiet_since,
            ") OR (state = 'unknown' AND intent_at <= ",
            $quiet_since,
            ")) RETURNING ",
            columns!()
        )
    };
}

/// `$4` the moment, `$5` the end of the lease, `$6` since when it must have been quiet.
const BEGIN_BY_CALLER: &str = begin!("", "", "$4", "$5", "$6");
/// `$4` the length of the lease and `$5` that of the quiet time, in milliseconds. The clock is read once: a caller that
/// then waits for another's row lock decides by the earlier moment, which is the careful one.
const BEGIN_BY_DATABASE: &str = begin!(
    "WITH moment AS MATERIALIZED \
     (SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS millis) ",
    "FROM moment ",
    "moment.millis",
    "moment.millis + $4",
    "moment.millis - $5"
);

#[async_trait]
impl CredentialStore for Engine {
    async fn find(&self, connection: ConnectionId) -> Result<Option<CredentialRecord>, StoreError> {
        let sql = concat!("SELECT ", columns!(), " FROM credentials WHERE connection_id = $1");
        let row = self.row(Statement::new(sql).with(connection)).await?;
        row.as_ref().map(|row| read(row, CURRENT)).transpose()
    }

    async fn find_with_key(
        &self,
        connection: ConnectionId,
    ) -> Result<Option<(CredentialRecord, Option<WrappedDataKey>)>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            ", kek_id, wrapped FROM credentials LEFT JOIN \
             (SELECT account_id AS key_account_id, kek_id, wrapped FROM data_keys) AS keys \
             ON key_account_id = account_id WHERE connection_id = $1"
        );
        let row = self.row(Statement::new(sql).with(connection)).await?;
        row.as_ref().map(|row| Ok((read(row, CURRENT)?, read_key(row)?))).transpose()
    }

    async fn replace(&self, record: &CredentialRecord, seen: Option<Generation>) -> Result<Cas, StoreError> {
        let statement = match seen {
            None => with_record(Statement::new(INSERT), record),
            Some(seen) if record.generation <= seen => {
                return Err(StoreError::Refused("a new grant needs a higher generation"));
            }
            Some(seen) => with_record(Statement::new(REPLACE), record).with(seen.0),
        };
        self.execute(statement).await.map(cas)
    }

    async fn begin_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        lease: LeaseRequest<'_>,
    ) -> Result<Option<BegunRefresh>, StoreError> {
        let statement = match self.lease_clock() {
            LeaseClock::Caller => Statement::new(BEGIN_BY_CALLER)
                .with(connection)
                .with(seen.0)
                .with(lease.owner)
                .with(lease.now)
                .with(lease.now.plus_seconds(lease.seconds))
                .with(lease.now.plus_seconds(-QUIET_SECONDS)),
            LeaseClock::Database => Statement::new(BEGIN_BY_DATABASE)
                .with(connection)
                .with(seen.0)
                .with(lease.owner)
                .with(lease.seconds.saturating_mul(1000))
                .with(QUIET_SECONDS * 1000),
        };
        let row = self.returning(statement).await?;
        let begun = |row: &Row| {
            let times = row.of(TABLE);
            let (intent_at, lease_until) = (times.time("intent_at")?, times.time("lease_until")?);
            Ok(BegunRefresh { before: read(row, BEFORE)?, intent_at, lease_until })
        };
        row.as_ref().map(begun).transpose()
    }

    async fn commit_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        tokens: &SealedTokens,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        let statement = Statement::new(
            "UPDATE credentials SET generation = $2 + 1, state = $3, reason = $4, lease_until = $5, intent_at = $6, \
             access_token = $7, refresh_token = $8, issued_at = $9, access_expires_at = $10, scope = $11, \
             attempts = $12, not_before = $13, due_at = $14, lease_owner = NULL \
             WHERE connection_id = $1 AND generation = $2",
        );
        let statement = StateColumns::of(state).add_to(statement.with(connection).with(seen.0));
        self.execute(with_schedule(with_tokens(statement, tokens), schedule)).await.map(cas)
    }

    async fn set_state(
        &self,
        connection: ConnectionId,
        seen: Generation,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        let statement = Statement::new(
            "UPDATE credentials SET state = $3, reason = $4, lease_until = $5, intent_at = $6, attempts = $7, \
             not_before = $8, due_at = $9, lease_owner = CASE WHEN $3 = 'refreshing' THEN lease_owner END \
             WHERE connection_id = $1 AND generation = $2",
        );
        let statement = StateColumns::of(state).add_to(statement.with(connection).with(seen.0));
        self.execute(with_schedule(statement, schedule)).await.map(cas)
    }

    async fn end_refresh(
        &self,
        connection: ConnectionId,
        seen: Generation,
        intent_at: Timestamp,
        state: &CredentialState,
        schedule: Schedule,
    ) -> Result<Cas, StoreError> {
        let statement = Statement::new(
            "UPDATE credentials SET state = $3, reason = $4, lease_until = $5, intent_at = $6, attempts = $7, \
             not_before = $8, due_at = $9, lease_owner = NULL \
             WHERE connection_id = $1 AND generation = $2 AND state = 'refreshing' AND intent_at = $10",
        );
        let statement = StateColumns::of(state).add_to(statement.with(connection).with(seen.0));
        self.execute(with_schedule(statement, schedule).with(intent_at)).await.map(cas)
    }

    async fn due(&self, now: Timestamp, after: Option<DuePlace>, limit: u32) -> Result<Vec<DueCredential>, StoreError> {
        // A walk along the index; the comparison of pairs is one range of it.
        let (due_at, connection) = match after {
            Some((due_at, connection)) => (due_at.as_millis(), connection.to_string()),
            None => (i64::MIN, String::new()),
        };
        let statement = Statement::new(
            "SELECT connection_id, generation, issuer, due_at FROM credentials \
             WHERE due_at IS NOT NULL AND due_at <= $1 AND (due_at, connection_id) > ($2, $3) \
             ORDER BY due_at, connection_id LIMIT $4",
        );
        let statement = statement.with(now).with(due_at).with(connection).with(i64::from(limit));
        let read = |row: &Row| {
            let row = row.of(TABLE);
            Ok(DueCredential {
                connection: row.parsed("connection_id", ConnectionId::parse)?,
                generation: row.generation("generation")?,
                issuer: row.text("issuer")?,
                due_at: row.time("due_at")?,
            })
        };
        self.rows(statement).await?.iter().map(read).collect()
    }

    async fn note_use(&self, uses: &[(ConnectionId, Timestamp)]) -> Result<(), StoreError> {
        let uses = uses.to_vec();
        self.write(Urgency::WhenQuiet, move |mut connection| {
            Box::pin(async move {
                for (id, used_at) in uses {
                    let sql = "UPDATE credentials SET used_at = $2 WHERE connection_id = $1 AND used_at < $2";
                    connection.execute(Statement::new(sql).with(id).with(used_at)).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn count_by_reason(&self) -> Result<Vec<(Option<NeedsReauth>, u64)>, StoreError> {
        let statement =
            Statement::new("SELECT state, reason, count(*) AS number FROM credentials GROUP BY state, reason");
        let mut counts: Vec<(Option<NeedsReauth>, u64)> = Vec::new();
        for row in self.rows(statement).await? {
            let row = row.of(TABLE);
            let reason = if row.text("state")? == "needs_reauth" { Some(read_reason(row)?) } else { None };
            add(&mut counts, reason, count(row.integer("number")?));
        }
        Ok(counts)
    }

    async fn count_by_client_key(&self) -> Result<Vec<(Option<String>, u64)>, StoreError> {
        let mut counts: Vec<(Option<String>, u64)> = Vec::new();
        for row in self.rows(Statement::new(BY_CLIENT_KEY)).await? {
            let row = row.of(TABLE);
            add(&mut counts, row.optional_text("client_kid")?, count(row.integer("number")?));
        }
        counts.sort();
        Ok(counts)
    }

    async fn remove(&self, connection: ConnectionId, seen: Generation) -> Result<Cas, StoreError> {
        let statement = Statement::new("DELETE FROM credentials WHERE connection_id = $1 AND generation = $2");
        self.execute(statement.with(connection).with(seen.0)).await.map(cas)
    }
}

/// Counts a group together with others of the same name.
fn add<K: PartialEq>(counts: &mut Vec<(K, u64)>, name: K, number: u64) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known += number,
        None => counts.push((name, number)),
    }
}

const TABLE: &str = "credentials";

/// Grouped in the order of `credentials_for_counting`, so that nothing is sorted: a key has a row for each state.
pub(crate) const BY_CLIENT_KEY: &str = "SELECT state, reason, client_kid, count(*) AS number FROM credentials \
    WHERE state <> 'needs_reauth' GROUP BY state, reason, client_kid";
const CURRENT: [&str; 3] = ["state", "lease_until", "intent_at"];
const BEFORE: [&str; 3] = ["before_state", "before_lease_until", "before_intent_at"];

/// `$1` to `$24`, as [`with_record`] gives them.
const INSERT: &str = "INSERT INTO credentials (connection_id, account_id, generation, issuer, audience, subject, \
    client_kid, refresh_class, state, reason, lease_until, intent_at, dpop_key, granted_generation, granted_at, \
    access_token, refresh_token, issued_at, access_expires_at, scope, attempts, not_before, due_at, used_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24) \
    ON CONFLICT (connection_id) DO NOTHING";
/// The same, and `$25` for the generation that is replaced. The fence goes on counting.
const REPLACE: &str = "UPDATE credentials SET account_id = $2, generation = $3, issuer = $4, audience = $5, \
    subject = $6, client_kid = $7, refresh_class = $8, state = $9, reason = $10, lease_until = $11, intent_at = $12, \
    dpop_key = $13, granted_generation = $14, granted_at = $15, access_token = $16, refresh_token = $17, \
    issued_at = $18, access_expires_at = $19, scope = $20, before_state = NULL, before_lease_until = NULL, \
    before_intent_at = NULL, lease_owner = NULL, attempts = $21, not_before = $22, due_at = $23, used_at = $24 \
    WHERE connection_id = $1 AND generation = $25";

fn with_record(statement: Statement, record: &CredentialRecord) -> Statement {
    let statement = statement
        .with(record.connection)
        .with(record.account)
        .with(record.generation.0)
        .with(record.issuer.as_str())
        .with(record.audience.as_str())
        .with(record.subject.as_str())
        .with(record.client_kid.as_deref())
        .with(record.refresh_class.code());
    let statement = StateColumns::of(&record.state)
        .add_to(statement)
        .with(record.fields.dpop_key.as_slice())
        .with(record.fields.granted_generation.0)
        .with(record.fields.granted_at);
    with_schedule(with_tokens(statement, &record.tokens), record.schedule).with(record.used_at)
}

/// Adds three values.
fn with_schedule(statement: Statement, schedule: Schedule) -> Statement {
    statement
        .with(i64::from(schedule.attempts))
        .with(schedule.not_before.map(Timestamp::as_millis))
        .with(schedule.due_at.map(Timestamp::as_millis))
}

/// Adds five values.
fn with_tokens(statement: Statement, tokens: &SealedTokens) -> Statement {
    statement
        .with(tokens.access_token.as_slice())
        .with(tokens.refresh_token.as_deref())
        .with(tokens.issued_at)
        .with(tokens.access_expires_at)
        .with(tokens.scope.as_str())
}

/// Reads a row with the state out of the given columns.
/// The data key beside a credential.
fn read_key(row: &Row) -> Result<Option<WrappedDataKey>, StoreError> {
    let key = row.of("data_keys");
    let (Some(kek_id), Some(wrapped)) = (key.optional_text("kek_id")?, key.optional_bytes("wrapped")?) else {
        return Ok(None);
    };
    let account = row.of(TABLE).parsed("account_id", AccountId::parse)?;
    Ok(Some(WrappedDataKey { account, kek_id, wrapped }))
}

fn read(row: &Row, state: [&'static str; 3]) -> Result<CredentialRecord, StoreError> {
    let row: RowOf<'_> = row.of(TABLE);
    Ok(CredentialRecord {
        connection: row.parsed("connection_id", ConnectionId::parse)?,
        account: row.parsed("account_id", AccountId::parse)?,
        generation: row.generation("generation")?,
        issuer: row.text("issuer")?,
        audience: row.text("audience")?,
        subject: row.text("subject")?,
        client_kid: row.optional_text("client_kid")?,
        refresh_class: row.parsed("refresh_class", |code| RefreshClass::from_code(code).ok_or(()))?,
        state: read_state(row, state)?,
        schedule: Schedule {
            // Absent until the first refresh of a row that an older version wrote.
            attempts: row.optional_integer("attempts")?.map_or(0, |number| u32::try_from(number).unwrap_or(u32::MAX)),
            not_before: row.optional_integer("not_before")?.map(Timestamp::from_millis),
            due_at: row.optional_integer("due_at")?.map(Timestamp::from_millis),
        },
        used_at: row.time("used_at")?,
        fields: SealedFields {
            dpop_key: row.bytes("dpop_key")?,
            granted_generation: row.generation("granted_generation")?,
            granted_at: row.time("granted_at")?,
        },
        tokens: SealedTokens {
            access_token: row.bytes("access_token")?,
            refresh_token: row.optional_bytes("refresh_token")?,
            issued_at: row.time("issued_at")?,
            access_expires_at: row.time("access_expires_at")?,
            scope: row.text("scope")?,
        },
    })
}
