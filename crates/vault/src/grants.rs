//! Grants: storing what a login brought, opening it, taking it away.

use std::sync::Arc;

use bowerbird_core::ports::{AccountEventKind, Cas, GrantFacts, StoreError};
use bowerbird_core::{
    AccountId, ConnectionId, CredentialRecord, CredentialState, Did, Generation, RefreshClass, Schedule, SealedFields,
    SealedTokens, Secret, SecretBytes, Timestamp,
};
use bowerbird_oauth::SigningKey;
use tokio::sync::Mutex;

use crate::credential_cache::OpenedCredential;
use crate::credential_seal::{CredentialField, CredentialPlace};
use crate::data_keys::DataKeyError;
use crate::envelope::{SealingKey, Unreadable};
use crate::{UsableCredential, Vault};

/// A login that races with a refresh, or with a login at another process, tries this often.
const GRANT_ATTEMPTS: usize = 8;

/// Turns for the logins of one connection. Striped: two connections that share a turn wait for each other now and then,
/// and nothing has to be cleaned up.
pub(crate) struct GrantTurns([Mutex<()>; 64]);

impl GrantTurns {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }

    fn of(&self, connection: ConnectionId) -> &Mutex<()> {
        let [.., last] = connection.as_uuid().into_bytes();
        &self.0[usize::from(last) % self.0.len()]
    }
}

/// What a login brought.
#[derive(Debug)]
pub struct NewGrant {
    /// The connection that it is for.
    pub connection: ConnectionId,
    /// The connection's owner.
    pub account: AccountId,
    /// The identity that it speaks for.
    pub subject: Did,
    /// Who issued it.
    pub issuer: String,
    /// The only origin that may see the access token.
    pub audience: String,
    /// The client key that it is bound to; None for a public client.
    pub client_kid: Option<String>,
    /// How its refresh token behaves.
    pub refresh_class: RefreshClass,
    /// The private scalar of its DPoP key, 32 bytes; None for plain bearer tokens.
    pub dpop_key: Option<SecretBytes>,
    /// The access token.
    pub access_token: Secret,
    /// The refresh token, if there is one.
    pub refresh_token: Option<Secret>,
    /// The access token's life in seconds, already clamped to something sane.
    pub expires_in: i64,
    /// The scope as granted.
    pub scope: String,
}

/// A stored grant.
#[derive(Debug)]
pub struct Granted {
    /// Its generation.
    pub generation: Generation,
    /// The grant that it replaced, for the caller to revoke at its issuer; None when there was none or it could not
    /// be opened.
    pub replaced: Option<OpenedGrant>,
}

/// A grant, opened. Handle with care: the refresh token is here for revocation only, never to be sent for a refresh.
#[derive(Clone, Debug)]
pub struct OpenedGrant {
    /// Who issued it.
    pub issuer: String,
    /// The only origin that may see the access token.
    pub audience: String,
    /// The identity that it speaks for.
    pub subject: Did,
    /// The client key that it is bound to; None for a public client.
    pub client_kid: Option<String>,
    /// How its refresh token behaves.
    pub class: RefreshClass,
    /// Its DPoP key; None for plain bearer tokens.
    pub dpop_key: Option<SigningKey>,
    /// The access token.
    pub access_token: Secret,
    /// The refresh token, if there is one.
    pub refresh_token: Option<Secret>,
    /// The scope as granted.
    pub scope: String,
    /// Its generation.
    pub generation: Generation,
    /// Where it stands.
    pub state: CredentialState,
}

/// What can be said of a credential without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: CredentialState,
    /// When the present access token ends.
    pub expires_at: Timestamp,
    /// The scope as granted.
    pub scope: String,
    /// How its refresh token behaves.
    pub class: RefreshClass,
    /// Its generation.
    pub generation: Generation,
    /// The generation at which the grant began. It stays the same through refreshes, and a login changes it: the name
    /// of the grant, for [`Vault::remove_granted`].
    pub granted: Generation,
}

/// Why a grant was not stored.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The DPoP key is not a valid private scalar of P-256.
    #[error("the grant's DPoP key is not a valid private key")]
    InvalidDpopKey,
    /// Other writers were faster, several times over; try again.
    #[error("the connection is being changed by others right now; try again")]
    Contended,
    /// The account's data key is not at hand.
    #[error("the grant cannot be sealed")]
    DataKey(#[from] DataKeyError),
    /// The store did not answer.
    #[error("the grant cannot be stored right now")]
    Store(#[from] StoreError),
}

/// Why a stored grant cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The account's data key is not at hand, or does not fit.
    #[error("the grant cannot be opened")]
    DataKey(#[source] DataKeyError),
    /// A sealed field does not open. It is kept as it is.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The store did not answer.
    #[error("the grant cannot be read right now")]
    Store(#[from] StoreError),
}

/// Why a stored grant was not removed. It is still there.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Other writers were faster, several times over; try again.
    #[error("the connection is being changed by others right now; try again")]
    Contended,
    /// The keys or the store are not at hand.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<DataKeyError> for OpenError {
    fn from(error: DataKeyError) -> Self {
        match error {
            DataKeyError::Unreadable(unreadable) => Self::Unreadable(unreadable),
            DataKeyError::Store(error) => Self::Store(error),
            DataKeyError::Keys(_) => Self::DataKey(error),
        }
    }
}

/// Tokens on their way into a row.
pub(crate) struct TokenSet<'a> {
    pub(crate) access_token: &'a Secret,
    pub(crate) refresh_token: Option<&'a Secret>,
    /// Seconds.
    pub(crate) expires_in: i64,
    pub(crate) scope: &'a str,
}

impl Vault {
    /// Stores what a login brought, in place of what was there. Durable when it returns.
    ///
    /// A refresh under way is waited for (for a while): its answer belongs to the grant that is replaced, and the
    /// caller should get the newest tokens to revoke.
    pub async fn grant(&self, grant: NewGrant) -> Result<Granted, GrantError> {
        self.store_grant(grant, true).await?.ok_or(GrantError::Contended)
    }

    /// Stores a grant that was not made here just now, and may be older than anything that is there: only where there is
    /// none. None when there is one, which stays as it is.
    pub async fn grant_if_none(&self, grant: NewGrant) -> Result<Option<Granted>, GrantError> {
        self.store_grant(grant, false).await
    }

    async fn store_grant(&self, grant: NewGrant, may_replace: bool) -> Result<Option<Granted>, GrantError> {
        grant.dpop_key.as_ref().map(signing_key).transpose().map_err(|Unreadable| GrantError::InvalidDpopKey)?;
        self.wait_for_flight(grant.connection).await;
        let key = self.0.data_keys.for_sealing(grant.account).await?;
        // The code of each login is spent: those of this process take turns, so that none of them runs out of attempts.
        let _turn = self.0.grant_turns.of(grant.connection).lock().await;
        for _ in 0..GRANT_ATTEMPTS {
            let old = self.0.credentials.find(grant.connection).await?;
            if old.is_some() && !may_replace {
                return Ok(None);
            }
            let seen = old.as_ref().map(|record| record.generation);
            let record = self.seal_grant(&grant, &key, seen.map_or_else(|| self.unused_generation(), Generation::next));
            if self.0.credentials.replace(&record, seen).await? == Cas::Stale {
                continue;
            }
            self.forget(grant.connection);
            if old.as_ref().is_some_and(|old| old.state != CredentialState::Ok) {
                self.tell(&record, AccountEventKind::Recovered);
            }
            self.publish(grant.connection).await;
            let replaced = match old {
                // A failure to open means that there is nothing to revoke with; the new grant stands anyway.
                Some(old) => self.open_record(&old).await.ok(),
                None => None,
            };
            return Ok(Some(Granted { generation: record.generation, replaced }));
        }
        Err(GrantError::Contended)
    }

    /// Opens a stored grant; None when there is none.
    pub async fn open(&self, connection: ConnectionId) -> Result<Option<OpenedGrant>, OpenError> {
        match self.0.credentials.find(connection).await? {
            Some(record) => self.open_record(&record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Removes a stored grant, whichever it is, and returns it, opened, for the caller to revoke at its issuer; None
    /// when there was none or it cannot be opened. When the keys or the store are not at hand, nothing is removed.
    pub async fn remove(&self, connection: ConnectionId) -> Result<Option<OpenedGrant>, RemoveError> {
        self.remove_where(connection, |_| true).await
    }

    /// The same, but only the grant that began at the generation `granted` (see [`Standing::granted`]): a login that
    /// came after the caller looked is left alone. A refresh in between changes nothing about whose grant it is, and
    /// the tokens that it brought are the ones that are returned.
    pub async fn remove_granted(
        &self,
        connection: ConnectionId,
        granted: Generation,
    ) -> Result<Option<OpenedGrant>, RemoveError> {
        self.remove_where(connection, |record| record.fields.granted_generation == granted).await
    }

    async fn remove_where(
        &self,
        connection: ConnectionId,
        is_meant: impl Fn(&CredentialRecord) -> bool + Send,
    ) -> Result<Option<OpenedGrant>, RemoveError> {
        self.wait_for_flight(connection).await;
        for _ in 0..GRANT_ATTEMPTS {
            let Some(record) = self.0.credentials.find(connection).await.map_err(OpenError::from)? else {
                return Ok(None);
            };
            if !is_meant(&record) {
                return Ok(None);
            }
            let opened = match self.open_record(&record).await {
                Ok(opened) => Some(opened),
                Err(OpenError::Unreadable(_)) => None,
                Err(error) => return Err(error.into()),
            };
            // What is removed is what was opened: a grant or tokens that came in between would be lost unrevoked.
            let removed = self.0.credentials.remove(connection, record.generation).await;
            self.forget(connection);
            if removed.map_err(OpenError::from)? == Cas::Done {
                self.publish(connection).await;
                return Ok(opened);
            }
        }
        Err(RemoveError::Contended)
    }

    /// Tells where a credential stands without opening it; None when there is none.
    pub async fn standing(&self, connection: ConnectionId) -> Result<Option<Standing>, StoreError> {
        let record = self.0.credentials.find(connection).await?;
        Ok(record.map(|record| Standing {
            state: record.state,
            expires_at: record.tokens.access_expires_at,
            scope: record.tokens.scope,
            class: record.refresh_class,
            generation: record.generation,
            granted: record.fields.granted_generation,
        }))
    }

    /// Where to begin counting when there is no row: not at one, or a grant after a removal would repeat the generations
    /// of the removed one, and the late answer of that one's refresh would overwrite it. The time in milliseconds is
    /// above every generation that came before, as long as a connection has less than one refresh a millisecond.
    fn unused_generation(&self) -> Generation {
        Generation(self.0.clock.now().as_millis()).max(Generation::FIRST)
    }

    fn seal_grant(&self, grant: &NewGrant, key: &SealingKey, generation: Generation) -> CredentialRecord {
        let now = self.0.clock.now();
        let place = CredentialPlace {
            cluster_id: &self.0.config.cluster_id,
            account: grant.account,
            connection: grant.connection,
            issuer: &grant.issuer,
            audience: &grant.audience,
            subject: grant.subject.as_str(),
            client_kid: grant.client_kid.as_deref(),
        };
        let scalar = grant.dpop_key.as_ref().map_or(&[][..], SecretBytes::expose);
        let fields = SealedFields {
            dpop_key: place.seal(key, CredentialField::DpopKey, generation, scalar, &*self.0.entropy),
            granted_generation: generation,
            granted_at: now,
        };
        let tokens = TokenSet {
            access_token: &grant.access_token,
            refresh_token: grant.refresh_token.as_ref(),
            expires_in: grant.expires_in,
            scope: &grant.scope,
        };
        let mut record = CredentialRecord {
            connection: grant.connection,
            account: grant.account,
            generation,
            issuer: grant.issuer.clone(),
            audience: grant.audience.clone(),
            subject: grant.subject.as_str().to_owned(),
            client_kid: grant.client_kid.clone(),
            refresh_class: grant.refresh_class,
            state: CredentialState::Ok,
            schedule: Schedule::default(),
            used_at: now,
            fields,
            tokens: self.seal_tokens(&place, key, generation, &tokens, now),
        };
        record.schedule = self.schedule(&record);
        record
    }

    /// Seals the tokens of an opened grant for the row that they are to be in.
    pub(crate) fn seal_tokens(
        &self,
        place: &CredentialPlace<'_>,
        key: &SealingKey,
        generation: Generation,
        tokens: &TokenSet<'_>,
        issued_at: Timestamp,
    ) -> SealedTokens {
        let seal =
            |field, secret: &Secret| place.seal(key, field, generation, secret.expose().as_bytes(), &*self.0.entropy);
        SealedTokens {
            access_token: seal(CredentialField::AccessToken, tokens.access_token),
            refresh_token: tokens.refresh_token.map(|secret| seal(CredentialField::RefreshToken, secret)),
            issued_at,
            access_expires_at: issued_at.plus_seconds(tokens.expires_in.max(0)),
            scope: tokens.scope.to_owned(),
        }
    }

    pub(crate) async fn open_record(&self, record: &CredentialRecord) -> Result<OpenedGrant, OpenError> {
        self.open_record_and_key(record).await.map(|(grant, _)| grant)
    }

    pub(crate) async fn open_record_and_key(
        &self,
        record: &CredentialRecord,
    ) -> Result<(OpenedGrant, Arc<SealingKey>), OpenError> {
        let key = self.0.data_keys.for_opening(record.account).await?;
        let place = self.place(record);
        let text = |field, sealed: &[u8]| {
            let bytes = place.open(&key, field, record.generation, sealed)?;
            std::str::from_utf8(bytes.expose()).map(Secret::new).map_err(|_| Unreadable)
        };
        let fields = &record.fields;
        let scalar = place.open(&key, CredentialField::DpopKey, fields.granted_generation, &fields.dpop_key)?;
        let refresh_token = record.tokens.refresh_token.as_ref();
        let grant = OpenedGrant {
            issuer: record.issuer.clone(),
            audience: record.audience.clone(),
            subject: Did::parse(&record.subject)
                .map_err(|_| StoreError::Inconsistent { table: "credentials", column: "subject" })?,
            client_kid: record.client_kid.clone(),
            class: record.refresh_class,
            dpop_key: key_of_class(record.refresh_class, &scalar)?,
            access_token: text(CredentialField::AccessToken, &record.tokens.access_token)?,
            refresh_token: refresh_token.map(|sealed| text(CredentialField::RefreshToken, sealed)).transpose()?,
            scope: record.tokens.scope.clone(),
            generation: record.generation,
            state: record.state.clone(),
        };
        Ok((grant, key))
    }

    pub(crate) fn place<'a>(&'a self, record: &'a CredentialRecord) -> CredentialPlace<'a> {
        CredentialPlace::of(&self.0.config.cluster_id, record)
    }
}

impl OpenedGrant {
    pub(crate) fn facts(&self) -> GrantFacts {
        GrantFacts {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            subject: self.subject.clone(),
            client_kid: self.client_kid.clone(),
            class: self.class,
            dpop_key: self.dpop_key.clone(),
        }
    }

    pub(crate) fn into_opened(self, record: &CredentialRecord) -> OpenedCredential {
        let usable = UsableCredential {
            access_token: self.access_token,
            dpop_key: self.dpop_key,
            audience: self.audience,
            issuer: self.issuer,
            scope: self.scope,
            subject: self.subject,
            generation: self.generation,
            expires_at: record.tokens.access_expires_at,
        };
        OpenedCredential::new(usable, record)
    }
}

/// The DPoP key, if there is one. How the refresh token behaves is a plain column: were it changed to the class that is
/// sent again without a thought, a single-use token would be lost. What has a DPoP key is never of that class.
fn key_of_class(class: RefreshClass, scalar: &SecretBytes) -> Result<Option<SigningKey>, Unreadable> {
    match (class, scalar.expose().is_empty()) {
        (_, true) => Ok(None),
        (RefreshClass::SingleUse, false) => signing_key(scalar).map(Some),
        (RefreshClass::Graceful, false) => Err(Unreadable),
    }
}

fn signing_key(scalar: &SecretBytes) -> Result<SigningKey, Unreadable> {
    let scalar = scalar.expose().try_into().map_err(|_| Unreadable)?;
    SigningKey::from_scalar(scalar).map_err(|_| Unreadable)
}
