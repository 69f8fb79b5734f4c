//! A signed-in account, as a program holds it: names, and nothing secret.

use bowerbird_core::{Account, ConnectionId, Did};

/// A session. The tokens stay in the vault; this names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthSession {
    account: Account,
    connection: ConnectionId,
    scope: String,
}

impl OAuthSession {
    pub(super) fn new(account: Account, connection: ConnectionId, scope: String) -> Self {
        Self { account, connection, scope }
    }

    /// The account's key.
    pub fn did(&self) -> &Did {
        &self.account.did
    }

    /// The account's handle, verified in both directions, or `handle.invalid`. Never a key.
    pub fn handle(&self) -> &str {
        &self.account.handle
    }

    /// The origin of the account's server.
    pub fn pds_url(&self) -> &str {
        &self.account.pds
    }

    /// The scope as granted.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The connection that holds the tokens.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }
}
