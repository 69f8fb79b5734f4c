//! Incidents, webhooks that wait, and the census.

use async_trait::async_trait;
use bowerbird_core::ports::{
    AlertStore, Cas, CensusEntry, ClaimedDelivery, CountedState, Incident, IncidentSubject, NewDelivery, StoreError,
    TokenAge, UntoldAccess,
};
use bowerbird_core::{AccountId, ConnectionId, Timestamp};

use super::credentials::state::read_reason;
use super::{cas, count};
use crate::engine::{Connection, Engine, Urgency};
use crate::row::{Row, RowOf};
use crate::statement::Statement;

/// What follows the columns and their values: an open incident of the same kind and reason is left as it is.
macro_rules! unless_open {
    () => {
        " ON CONFLICT (subject) DO UPDATE SET kind = excluded.kind, reason = excluded.reason, since = excluded.since \
         WHERE incidents.kind <> excluded.kind OR incidents.reason <> excluded.reason"
    };
}

/// In one statement with the look at the row: an incident is not opened after the access was repaired.
const OPEN_OF_ACCESS: &str = concat!(
    "INSERT INTO incidents (subject, connection_id, kind, reason, since) \
     SELECT connection_id, connection_id, $2, $3, $4 FROM credentials WHERE connection_id = $1 AND state <> 'ok'",
    unless_open!()
);
const OPEN_OF_INSTALLATION: &str = concat!(
    "INSERT INTO incidents (subject, connection_id, kind, reason, since) VALUES ($1, NULL, $2, $3, $4)",
    unless_open!()
);

/// CROSS, so that SQLite begins with the few incidents and not with everything that works.
const WORKS_THOUGH_TOLD: &str = "SELECT c.connection_id, c.account_id FROM incidents i CROSS JOIN credentials c \
    WHERE c.connection_id = i.connection_id AND c.state = 'ok' LIMIT $1";

/// Grouped in the order of `credentials_for_counting`, which has every column of it: one walk over an index that holds
/// nothing in memory but the group at hand. Grouped by age as well, every row would be sorted. `n1` counts what is younger
/// than the first bound, `n2` what is younger than the second, those included; `o1` and so on are the oldest of these.
pub(crate) const CENSUS: &str = "SELECT state, reason, \
    count(*) FILTER (WHERE issued_at > $1) AS n1, min(issued_at) FILTER (WHERE issued_at > $1) AS o1, \
    count(*) FILTER (WHERE issued_at > $2) AS n2, min(issued_at) FILTER (WHERE issued_at > $2) AS o2, \
    count(*) FILTER (WHERE issued_at > $3) AS n3, min(issued_at) FILTER (WHERE issued_at > $3) AS o3, \
    count(*) FILTER (WHERE issued_at > $4) AS n4, min(issued_at) FILTER (WHERE issued_at > $4) AS o4, \
    count(*) FILTER (WHERE issued_at > $5) AS n5, min(issued_at) FILTER (WHERE issued_at > $5) AS o5, \
    count(*) AS n6, min(issued_at) AS o6 FROM credentials GROUP BY state, reason, client_kid";

/// The columns of [`CENSUS`] for each age.
const COUNTED: [(&str, &str); TokenAge::ALL.len()] =
    [("n1", "o1"), ("n2", "o2"), ("n3", "o3"), ("n4", "o4"), ("n5", "o5"), ("n6", "o6")];

#[async_trait]
impl AlertStore for Engine {
    async fn open(&self, incident: &Incident, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        let sql = match incident.subject {
            IncidentSubject::Access(_) => OPEN_OF_ACCESS,
            IncidentSubject::Installation(_) => OPEN_OF_INSTALLATION,
        };
        let statement = Statement::new(sql)
            .with(incident.subject.key())
            .with(incident.kind)
            .with(incident.reason)
            .with(incident.since);
        self.change_and_enqueue(statement, deliveries).await
    }

    async fn close(&self, subject: &IncidentSubject, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        let statement = Statement::new("DELETE FROM incidents WHERE subject = $1").with(subject.key());
        self.change_and_enqueue(statement, deliveries).await
    }

    async fn untold(&self, limit: u32) -> Result<Vec<UntoldAccess>, StoreError> {
        let in_need = Statement::new(
            "SELECT connection_id, account_id, reason FROM credentials WHERE state = 'needs_reauth' AND NOT EXISTS \
             (SELECT 1 FROM incidents WHERE subject = credentials.connection_id AND kind <> 'outcome_unknown') LIMIT $1",
        );
        let read_need = |row: &Row| {
            let row = row.of("credentials");
            Ok(UntoldAccess { reason: Some(read_reason(row)?), ..read_untold(row)? })
        };
        let rows = self.rows(in_need.with(i64::from(limit))).await?;
        let mut untold = rows.iter().map(read_need).collect::<Result<Vec<_>, StoreError>>()?;
        let works = Statement::new(WORKS_THOUGH_TOLD);
        for row in self.rows(works.with(i64::from(limit))).await? {
            untold.push(read_untold(row.of("credentials"))?);
        }
        Ok(untold)
    }

    async fn enqueue(&self, deliveries: &[NewDelivery]) -> Result<(), StoreError> {
        let inserts: Vec<_> = deliveries.iter().map(insert).collect();
        self.write(Urgency::Now, |mut database| Box::pin(async move { run_all(&mut database, inserts).await })).await
    }

    async fn next_due(&self, endpoint: &str) -> Result<Option<Timestamp>, StoreError> {
        let statement = Statement::new("SELECT min(due_at) AS due_at FROM webhook_deliveries WHERE endpoint = $1");
        let row = self.row(statement.with(endpoint)).await?;
        let due_at = row.map(|row| row.of(TABLE).optional_integer("due_at")).transpose()?;
        Ok(due_at.flatten().map(Timestamp::from_millis))
    }

    async fn claim(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        // Asked twice whether it is due: whoever waited for another's claim looks at the row as that one left it.
        let statement = Statement::new(
            "UPDATE webhook_deliveries SET due_at = $3, attempts = attempts + 1 \
             WHERE due_at <= $2 AND id IN (SELECT id FROM webhook_deliveries \
             WHERE endpoint = $1 AND due_at <= $2 ORDER BY due_at, id LIMIT $4) \
             RETURNING id, message, body, attempts",
        )
        .with(endpoint)
        .with(now)
        .with(until)
        .with(i64::from(limit));
        let rows =
            self.write(Urgency::Now, |mut database| Box::pin(async move { database.rows(statement).await })).await?;
        let read = |row: &Row| {
            let row = row.of(TABLE);
            Ok(ClaimedDelivery {
                id: row.text("id")?,
                message: row.text("message")?,
                body: row.text("body")?,
                attempts: u32::try_from(row.integer("attempts")?).unwrap_or(u32::MAX),
                until,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn settle(&self, claimed: &ClaimedDelivery) -> Result<Cas, StoreError> {
        let statement = Statement::new("DELETE FROM webhook_deliveries WHERE id = $1 AND due_at = $2");
        self.execute(statement.with(claimed.id.as_str()).with(claimed.until)).await.map(cas)
    }

    async fn postpone(&self, claimed: &ClaimedDelivery, due_at: Timestamp) -> Result<Cas, StoreError> {
        let statement = Statement::new("UPDATE webhook_deliveries SET due_at = $3 WHERE id = $1 AND due_at = $2");
        self.execute(statement.with(claimed.id.as_str()).with(claimed.until).with(due_at)).await.map(cas)
    }

    async fn waiting(&self, at_most: u32) -> Result<u64, StoreError> {
        let statement =
            Statement::new("SELECT count(*) AS number FROM (SELECT id FROM webhook_deliveries LIMIT $1) AS few");
        let row = self.row(statement.with(i64::from(at_most))).await?;
        row.map_or(Ok(0), |row| row.of(TABLE).integer("number").map(count))
    }

    async fn purge(&self, created_before: Timestamp) -> Result<u64, StoreError> {
        let statement = Statement::new("DELETE FROM webhook_deliveries WHERE created_at < $1").with(created_before);
        self.execute_with(Urgency::WhenQuiet, statement).await
    }

    async fn census(&self, now: Timestamp) -> Result<Vec<CensusEntry>, StoreError> {
        let statement =
            TokenAge::BOUNDS.iter().fold(Statement::new(CENSUS), |to, bound| to.with(now.plus_seconds(-bound)));
        let mut census = Vec::new();
        for row in self.rows(statement).await? {
            read_entries(&row, &mut census)?;
        }
        Ok(census)
    }
}

impl Engine {
    /// Runs a statement and, when it changed something, stores deliveries, all in one transaction.
    async fn change_and_enqueue(&self, statement: Statement, deliveries: &[NewDelivery]) -> Result<Cas, StoreError> {
        let inserts: Vec<_> = deliveries.iter().map(insert).collect();
        self.write(Urgency::Now, |mut database| {
            Box::pin(async move {
                let changed = database.execute(statement).await?;
                if changed > 0 {
                    run_all(&mut database, inserts).await?;
                }
                Ok(cas(changed))
            })
        })
        .await
    }
}

const TABLE: &str = "webhook_deliveries";

fn insert(delivery: &NewDelivery) -> Statement {
    let account = delivery.account.map(|account| account.to_string());
    Statement::new(
        "INSERT INTO webhook_deliveries (id, endpoint, message, body, account_id, created_at, due_at, attempts) \
         VALUES ($1, $2, $3, $4, $5, $6, $6, 0)",
    )
    .with(delivery.id.as_str())
    .with(delivery.endpoint.as_str())
    .with(delivery.message.as_str())
    .with(delivery.body.as_str())
    .with(account.as_deref())
    .with(delivery.created_at)
}

async fn run_all(database: &mut Connection<'_>, statements: Vec<Statement>) -> Result<(), StoreError> {
    for statement in statements {
        database.execute(statement).await?;
    }
    Ok(())
}

fn read_untold(row: RowOf<'_>) -> Result<UntoldAccess, StoreError> {
    Ok(UntoldAccess {
        account: row.parsed("account_id", AccountId::parse)?,
        connection: row.parsed("connection_id", ConnectionId::parse)?,
        reason: None,
    })
}

/// Adds a group to the census.
fn read_entries(row: &Row, census: &mut Vec<CensusEntry>) -> Result<(), StoreError> {
    let row = row.of("credentials");
    let state = match row.text("state")?.as_str() {
        "ok" => CountedState::Ok,
        "refreshing" => CountedState::Refreshing,
        "unknown" => CountedState::Unknown,
        "needs_reauth" => CountedState::NeedsReauth(read_reason(row)?),
        _ => return Err(row.inconsistent("state")),
    };
    let mut younger = 0;
    for (age, (number, oldest)) in TokenAge::ALL.into_iter().zip(COUNTED) {
        let so_far = count(row.integer(number)?);
        let number = so_far - younger;
        younger = so_far;
        if number == 0 {
            continue;
        }
        // The oldest of all that are so young or younger: one of this age, since there is one.
        let oldest = row.time(oldest)?;
        // A client key has a group of its own.
        match census.iter_mut().find(|entry| entry.state == state && entry.age == age) {
            Some(entry) => {
                entry.number += number;
                entry.oldest = entry.oldest.min(oldest);
            }
            None => census.push(CensusEntry { state, age, number, oldest }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::credentials::BY_CLIENT_KEY;
    use super::*;
    use crate::sqlite::SqliteEngine;

    /// How SQLite goes about it, a line for each step.
    async fn plan(engine: &Engine, sql: &str) -> String {
        let explained: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {sql}").into_boxed_str());
        let statement = TokenAge::BOUNDS.iter().fold(Statement::new(explained), |to, bound| to.with(*bound));
        let statement = match (sql.contains("$5"), sql.contains("$1")) {
            (true, _) => statement,
            (false, true) => Statement::new(explained).with(1_i64),
            (false, false) => Statement::new(explained),
        };
        let rows = engine.rows(statement).await.unwrap();
        rows.iter().map(|row| row.of("plan").text("detail").unwrap()).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn counting_reads_an_index_in_its_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::Sqlite(SqliteEngine::open(&folder.path().join("b.sqlite")).await.unwrap());
        for sql in [CENSUS, BY_CLIENT_KEY, "SELECT state, reason, count(*) FROM credentials GROUP BY state, reason"] {
            let plan = plan(&engine, sql).await;
            assert_eq!(plan, "SCAN credentials USING COVERING INDEX credentials_for_counting", "{sql}");
        }
        // What that would say of a walk over the rows.
        let sorted = plan(&engine, "SELECT scope, count(*) FROM credentials GROUP BY scope").await;
        assert!(sorted.contains("TEMP B-TREE"), "{sorted}");
        let in_need = plan(&engine, "SELECT account_id FROM credentials WHERE state = 'needs_reauth' LIMIT 5").await;
        assert!(in_need.contains("USING INDEX credentials_for_counting"), "{in_need}");
        let works = plan(&engine, WORKS_THOUGH_TOLD).await;
        assert!(works.starts_with("SCAN i "), "{works}");
    }
}
