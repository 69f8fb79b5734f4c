//! What an operator gives up for good: accesses that hang from a key which is lost or withdrawn. Accounts, their names and
//! their places on devices stay; the people are asked to sign in again, and told why.

use bowerbird_core::NeedsReauth;
use bowerbird_core::ports::StoreError;

use crate::engine::Urgency;
use crate::sql_stores::SqlStores;
use crate::statement::Statement;

/// What was given up with an encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// Accounts whose data key it wrapped; each gets a new one with its next login.
    pub accounts: u64,
    /// Credentials whose sealed content was dropped.
    pub credentials: u64,
}

impl SqlStores {
    /// Asks everybody to sign in again whose live credential is bound to a client key; gives how many that are. Nothing is
    /// dropped: what is sealed could be revoked if the key came back.
    ///
    /// A refresh that another instance has under way with that key goes on: whoever holds the successor is right.
    pub async fn forget_client_key(&self, kid: &str) -> Result<u64, StoreError> {
        let statement = Statement::new(
            "UPDATE credentials SET state = 'needs_reauth', reason = $2, lease_until = NULL, intent_at = NULL, \
             lease_owner = NULL, attempts = 0, not_before = NULL, due_at = NULL \
             WHERE client_kid = $1 AND state <> 'needs_reauth'",
        );
        self.engine().execute(statement.with(kid).with(NeedsReauth::Unreadable.code())).await
    }

    /// Drops what only a lost encryption key could open: the sealed content of the credentials, and the data keys that it
    /// wrapped. The rows stay, and ask for a sign-in. All or nothing.
    pub async fn abandon_encryption_key(&self, kek_id: &str) -> Result<Abandoned, StoreError> {
        // The generation goes on, so that a late answer of an earlier refresh is never stored over this.
        let credentials = Statement::new(
            "UPDATE credentials SET generation = generation + 1, state = 'needs_reauth', reason = $2, lease_until = NULL, \
             intent_at = NULL, lease_owner = NULL, attempts = 0, not_before = NULL, due_at = NULL, dpop_key = $3, \
             access_token = $3, refresh_token = NULL \
             WHERE account_id IN (SELECT account_id FROM data_keys WHERE kek_id = $1)",
        )
        .with(kek_id)
        .with(NeedsReauth::Unreadable.code())
        .with([].as_slice());
        let data_keys = Statement::new("DELETE FROM data_keys WHERE kek_id = $1").with(kek_id);
        let abandon = self.engine().write(Urgency::Now, |mut database| {
            Box::pin(async move {
                let credentials = database.execute(credentials).await?;
                Ok(Abandoned { accounts: database.execute(data_keys).await?, credentials })
            })
        });
        abandon.await
    }
}
