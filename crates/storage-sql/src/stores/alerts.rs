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
        let works = Statement::new(
            "SELECT c.connection_id, c.account_id FROM incidents i \
             JOIN credentials c ON c.connection_id = i.connection_id WHERE c.state = 'ok' LIMIT $1",
        );
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
        let statement = Statement::new(
            "SELECT state, coalesce(CASE WHEN state = 'needs_reauth' THEN reason END, '') AS reason, \
             CAST(CASE WHEN issued_at > $1 THEN 0 WHEN issued_at > $2 THEN 1 WHEN issued_at > $3 THEN 2 \
             WHEN issued_at > $4 THEN 3 WHEN issued_at > $5 THEN 4 ELSE 5 END AS BIGINT) AS age, \
             count(*) AS number, min(issued_at) AS oldest FROM credentials GROUP BY 1, 2, 3",
        );
        let statement = TokenAge::BOUNDS.iter().fold(statement, |to, bound| to.with(now.plus_seconds(-bound)));
        self.rows(statement).await?.iter().map(read_entry).collect()
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

fn read_entry(row: &Row) -> Result<CensusEntry, StoreError> {
    let row = row.of("credentials");
    let state = match row.text("state")?.as_str() {
        "ok" => CountedState::Ok,
        "refreshing" => CountedState::Refreshing,
        "unknown" => CountedState::Unknown,
        "needs_reauth" => CountedState::NeedsReauth(read_reason(row)?),
        _ => return Err(row.inconsistent("state")),
    };
    let age = usize::try_from(row.integer("age")?).ok().and_then(|age| TokenAge::ALL.get(age).copied());
    Ok(CensusEntry {
        state,
        age: age.ok_or_else(|| row.inconsistent("issued_at"))?,
        number: count(row.integer("number")?),
        oldest: row.time("oldest")?,
    })
}
