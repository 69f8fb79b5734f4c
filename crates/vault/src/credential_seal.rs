//! The sealed fields of a credential.

use bowerbird_core::ports::Entropy;
use bowerbird_core::{AccountId, ConnectionId, CredentialRecord, Generation, SecretBytes};

use crate::envelope::{Place, SealingKey, Unreadable};

/// A field of a credential that is only ever stored sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialField {
    /// The access token.
    AccessToken,
    /// The refresh token.
    RefreshToken,
    /// The private scalar of the DPoP key.
    DpopKey,
}

impl CredentialField {
    const fn label(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
            Self::DpopKey => "dpop_key",
        }
    }
}

/// Whose credential it is and where it may go: a field sealed here opens only here, as the same field of the same
/// generation.
///
/// Who issued it, who may see it, whom it speaks for and which client key it is bound to are plain columns of the row.
/// They are part of the place, so that somebody who can write the database, but has no key, cannot send a token to
/// another host: a changed column makes every field unreadable.
#[derive(Clone, Copy, Debug)]
pub struct CredentialPlace<'a> {
    /// The cluster that the database belongs to.
    pub cluster_id: &'a str,
    /// The owner.
    pub account: AccountId,
    /// The connection.
    pub connection: ConnectionId,
    /// Who issued it: refresh tokens go nowhere else.
    pub issuer: &'a str,
    /// The only origin that may see the access token.
    pub audience: &'a str,
    /// The identity that it speaks for: whose servers are asked before a refresh.
    pub subject: &'a str,
    /// The client key that it is bound to; None for a public client.
    pub client_kid: Option<&'a str>,
}

impl<'a> CredentialPlace<'a> {
    /// The place that a row claims.
    pub fn of(cluster_id: &'a str, record: &'a CredentialRecord) -> Self {
        Self {
            cluster_id,
            account: record.account,
            connection: record.connection,
            issuer: &record.issuer,
            audience: &record.audience,
            subject: &record.subject,
            client_kid: record.client_kid.as_deref(),
        }
    }

    /// Seals a field.
    pub fn seal(
        &self,
        key: &SealingKey,
        field: CredentialField,
        generation: Generation,
        content: &[u8],
        entropy: &dyn Entropy,
    ) -> Vec<u8> {
        key.seal(&self.place(field, generation), content, entropy)
    }

    /// Opens a field.
    pub fn open(
        &self,
        key: &SealingKey,
        field: CredentialField,
        generation: Generation,
        sealed: &[u8],
    ) -> Result<SecretBytes, Unreadable> {
        key.open(&self.place(field, generation), sealed)
    }

    fn place(&self, field: CredentialField, generation: Generation) -> Place {
        let place = Place::new("credential", self.cluster_id)
            .and(self.account.as_uuid().as_bytes())
            .and(self.connection.as_uuid().as_bytes())
            .and(self.issuer.as_bytes())
            .and(self.audience.as_bytes())
            .and(self.subject.as_bytes())
            .and(field.label().as_bytes())
            .and(&generation.0.to_be_bytes());
        // Last, so that a public client's place is one part shorter than that of any key, one without a name included.
        match self.client_kid {
            Some(kid) => place.and(kid.as_bytes()),
            None => place,
        }
    }
}
