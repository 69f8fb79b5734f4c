//! Wrapped data keys, one per account.

use async_trait::async_trait;
use bowerbird_core::ports::{Cas, DataKeyStore, StoreError};
use bowerbird_core::{AccountId, WrappedDataKey};

use super::{cas, count};
use crate::engine::{Engine, Urgency};
use crate::row::Row;
use crate::statement::Statement;

const BY_ACCOUNT: &str = "SELECT account_id, kek_id, wrapped FROM data_keys WHERE account_id = $1";

#[async_trait]
impl DataKeyStore for Engine {
    async fn find(&self, account: AccountId) -> Result<Option<WrappedDataKey>, StoreError> {
        let row = self.row(Statement::new(BY_ACCOUNT).with(account)).await?;
        row.as_ref().map(read).transpose()
    }

    async fn ensure(&self, key: &WrappedDataKey) -> Result<WrappedDataKey, StoreError> {
        let insert = Statement::new(
            "INSERT INTO data_keys (account_id, kek_id, wrapped) VALUES ($1, $2, $3) ON CONFLICT (account_id) DO NOTHING",
        )
        .with(key.account)
        .with(key.kek_id.as_str())
        .with(key.wrapped.as_slice());
        let select = Statement::new(BY_ACCOUNT).with(key.account);
        let row = self
            .write(Urgency::Now, |mut database| {
                Box::pin(async move {
                    database.execute(insert).await?;
                    database.row(select).await
                })
            })
            .await?;
        read(&row.ok_or(StoreError::Refused("the account is gone"))?)
    }

    async fn rewrap(&self, key: &WrappedDataKey, seen_kek_id: &str) -> Result<Cas, StoreError> {
        let statement =
            Statement::new("UPDATE data_keys SET kek_id = $2, wrapped = $3 WHERE account_id = $1 AND kek_id = $4")
                .with(key.account)
                .with(key.kek_id.as_str())
                .with(key.wrapped.as_slice())
                .with(seen_kek_id);
        self.execute(statement).await.map(cas)
    }

    async fn page_by_kek(
        &self,
        not_kek_id: &str,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<WrappedDataKey>, StoreError> {
        // Along the primary key: a rotation reads each row once, whichever share of them is left.
        let statement = Statement::new(
            "SELECT account_id, kek_id, wrapped FROM data_keys WHERE kek_id <> $1 AND account_id > $2 \
             ORDER BY account_id LIMIT $3",
        )
        .with(not_kek_id)
        .with(after.map(|account| account.to_string()).unwrap_or_default())
        .with(i64::from(limit));
        self.rows(statement).await?.iter().map(read).collect()
    }

    async fn count_by_kek(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let statement =
            Statement::new("SELECT kek_id, count(*) AS number FROM data_keys GROUP BY kek_id ORDER BY kek_id");
        let read = |row: &Row| {
            let row = row.of("data_keys");
            Ok((row.text("kek_id")?, count(row.integer("number")?)))
        };
        self.rows(statement).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<WrappedDataKey, StoreError> {
    let row = row.of("data_keys");
    Ok(WrappedDataKey {
        account: row.parsed("account_id", AccountId::parse)?,
        kek_id: row.text("kek_id")?,
        wrapped: row.bytes("wrapped")?,
    })
}
