//! The addresses that a session was put into.

use async_trait::async_trait;
use bowerbird_core::Timestamp;
use bowerbird_core::ports::{OlderContractStore, OlderContractUse, StoreError};

use super::count;
use crate::engine::Engine;
use crate::row::Row;
use crate::statement::Statement;

const TABLE: &str = "older_contract_uses";

#[async_trait]
impl OlderContractStore for Engine {
    async fn note(&self, address: &str, now: Timestamp) -> Result<(), StoreError> {
        let statement = Statement::new(
            "INSERT INTO older_contract_uses (address, first_at, last_at, times) VALUES ($1, $2, $2, 1) \
             ON CONFLICT (address) DO UPDATE SET times = older_contract_uses.times + 1, last_at = CASE \
             WHEN excluded.last_at > older_contract_uses.last_at THEN excluded.last_at ELSE older_contract_uses.last_at END",
        );
        self.execute(statement.with(address).with(now)).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<OlderContractUse>, StoreError> {
        let statement = Statement::new(
            "SELECT address, first_at, last_at, times FROM older_contract_uses ORDER BY last_at DESC, address",
        );
        self.rows(statement).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<OlderContractUse, StoreError> {
    let row = row.of(TABLE);
    Ok(OlderContractUse {
        address: row.text("address")?,
        first_at: row.time("first_at")?,
        last_at: row.time("last_at")?,
        times: count(row.integer("times")?),
    })
}
