//! Accounts.

use async_trait::async_trait;
use bowerbird_core::ports::{AccountStore, NewAccount, StoreError};
use bowerbird_core::{Account, AccountId, Did, Profile};

use crate::engine::Engine;
use crate::row::Row;
use crate::statement::Statement;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, did, handle, pds, display_name, avatar, created_at, last_login_at FROM accounts ", $rest)
    };
}

#[async_trait]
impl AccountStore for Engine {
    async fn sign_in(&self, account: NewAccount) -> Result<Account, StoreError> {
        let statement = Statement::new(
            "INSERT INTO accounts (id, did, handle, pds, created_at, last_login_at) VALUES ($1, $2, $3, $4, $5, $5) \
             ON CONFLICT (did) DO UPDATE SET handle = excluded.handle, pds = excluded.pds, \
             last_login_at = excluded.last_login_at \
             RETURNING id, did, handle, pds, display_name, avatar, created_at, last_login_at",
        )
        .with(account.id)
        .with(account.did.as_str())
        .with(account.handle)
        .with(account.pds)
        .with(account.now);
        let row = self.returning(statement).await?;
        read(&row.ok_or(StoreError::Inconsistent { table: TABLE, column: "id" })?)
    }

    async fn find(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let row = self.row(Statement::new(select!("WHERE id = $1")).with(id)).await?;
        row.as_ref().map(read).transpose()
    }

    async fn find_by_did(&self, did: &Did) -> Result<Option<Account>, StoreError> {
        let row = self.row(Statement::new(select!("WHERE did = $1")).with(did.as_str())).await?;
        row.as_ref().map(read).transpose()
    }

    async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, StoreError> {
        let statement = match after {
            None => Statement::new(select!("ORDER BY created_at, id LIMIT $1")).with(i64::from(limit)),
            Some(id) => {
                let from = AccountStore::find(self, id).await?;
                let from =
                    from.ok_or(StoreError::Refused("the account to go on after is gone; begin the list again"))?;
                Statement::new(select!("WHERE (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $1"))
                    .with(i64::from(limit))
                    .with(from.created_at)
                    .with(from.id)
            }
        };
        self.rows(statement).await?.iter().map(read).collect()
    }

    async fn set_profile(&self, id: AccountId, profile: &Profile) -> Result<(), StoreError> {
        let statement = Statement::new("UPDATE accounts SET display_name = $2, avatar = $3 WHERE id = $1")
            .with(id)
            .with(profile.display_name.as_deref())
            .with(profile.avatar.as_deref());
        self.execute(statement).await.map(|_| ())
    }

    async fn remove(&self, id: AccountId) -> Result<bool, StoreError> {
        // Everything else goes by the schema's cascades, in the same commit.
        Ok(self.execute(Statement::new("DELETE FROM accounts WHERE id = $1").with(id)).await? > 0)
    }
}

const TABLE: &str = "accounts";

fn read(row: &Row) -> Result<Account, StoreError> {
    let row = row.of(TABLE);
    Ok(Account {
        id: row.parsed("id", AccountId::parse)?,
        did: row.parsed("did", Did::parse)?,
        handle: row.text("handle")?,
        pds: row.text("pds")?,
        profile: Profile { display_name: row.optional_text("display_name")?, avatar: row.optional_text("avatar")? },
        created_at: row.time("created_at")?,
        last_login_at: row.time("last_login_at")?,
    })
}
