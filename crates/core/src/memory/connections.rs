//! Connections of accounts to platform identities.

use async_trait::async_trait;

use super::MemoryStores;
use crate::ports::{ConnectionStore, StoreError};
use crate::{AccountId, Connection, Platform};

#[async_trait]
impl ConnectionStore for MemoryStores {
    async fn ensure(&self, connection: &Connection) -> Result<Connection, StoreError> {
        let mut tables = self.tables();
        if !tables.accounts.contains_key(&connection.account) {
            return Err(StoreError::Refused("the account is gone"));
        }
        let same = |known: &&Connection| is(known, connection.account, &connection.platform, &connection.subject);
        if let Some(known) = tables.connections.values().find(same) {
            return Ok(known.clone());
        }
        if tables.connections.contains_key(&connection.id) {
            return Err(StoreError::Refused("another connection has that id"));
        }
        tables.connections.insert(connection.id, connection.clone());
        Ok(connection.clone())
    }

    async fn find(
        &self,
        account: AccountId,
        platform: &Platform,
        subject: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let tables = self.tables();
        Ok(tables.connections.values().find(|known| is(known, account, platform, subject)).cloned())
    }

    async fn list(&self, account: AccountId) -> Result<Vec<Connection>, StoreError> {
        let tables = self.tables();
        let mut found: Vec<Connection> =
            tables.connections.values().filter(|known| known.account == account).cloned().collect();
        found.sort_by_key(|connection| (connection.created_at, connection.id));
        Ok(found)
    }
}

fn is(known: &Connection, account: AccountId, platform: &Platform, subject: &str) -> bool {
    known.account == account && known.platform == *platform && known.subject == subject
}
