//! The sealed fields of a credential.

use bowerbird_core::ports::Entropy;
use bowerbird_core::{AccountId, ConnectionId, Generation, SecretBytes};

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

/// Whose credential it is: a field sealed here opens only here, as the same field of the same generation.
#[derive(Clone, Copy, Debug)]
pub struct CredentialPlace<'a> {
    /// The cluster that the database belongs to.
    pub cluster_id: &'a str,
    /// The owner.
    pub account: AccountId,
    /// The connection.
    pub connection: ConnectionId,
}

impl CredentialPlace<'_> {
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
        Place::new("credential", self.cluster_id)
            .and(self.account.as_uuid().as_bytes())
            .and(self.connection.as_uuid().as_bytes())
            .and(field.label().as_bytes())
            .and(&generation.0.to_be_bytes())
    }
}
