//! The secret of a connection, as a store holds it: sealed, counted, and in a named state.

use crate::{AccountId, ConnectionId, Timestamp};

/// Counts the token sets of a connection: every login and every refresh adds one. A write that names an older
/// generation is refused, which is what keeps a late or repeated writer harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i64);

impl Generation {
    /// The first generation of a connection.
    pub const FIRST: Self = Self(1);

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a credential stands (see `REFRESH` in the documentation).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// Usable; a refresh may be started.
    Ok,
    /// A refresh is under way; its outcome is not yet written.
    Refreshing {
        /// When the lease of whoever sends it ends.
        lease_until: Timestamp,
        /// When the intent was written: no second send before 60 s after it.
        intent_at: Timestamp,
    },
    /// A refresh was sent and its outcome is not known; the refresh token may or may not be spent.
    Unknown {
        /// From when on the quiet time counts: the end of the last send that went out, or when its intent was written.
        intent_at: Timestamp,
    },
    /// Only the person can repair it. Nothing was deleted.
    NeedsReauth(NeedsReauth),
}

/// Why only the person can repair a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeedsReauth {
    /// The authorization server says that the grant is gone: revoked, expired, or used elsewhere.
    Revoked,
    /// The server may have rotated the token and its answer was lost.
    LostResponse,
    /// The account moved to a server with another issuer; the old token was not sent there.
    IssuerChanged,
    /// A refresh answered for another subject; its tokens are quarantined.
    SubjectMismatch,
    /// A refresh answered without the `atproto` scope.
    ScopeLost,
    /// The grant came without a refresh token and its access token has ended.
    NoRefreshToken,
    /// The sealed credential could not be opened with the keys at hand.
    Unreadable,
}

impl NeedsReauth {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Revoked,
        Self::LostResponse,
        Self::IssuerChanged,
        Self::SubjectMismatch,
        Self::ScopeLost,
        Self::NoRefreshToken,
        Self::Unreadable,
    ];

    /// The stable code, in stores and in answers.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::LostResponse => "lost_response",
            Self::IssuerChanged => "issuer_changed",
            Self::SubjectMismatch => "subject_mismatch",
            Self::ScopeLost => "scope_lost",
            Self::NoRefreshToken => "no_refresh_token",
            Self::Unreadable => "unreadable",
        }
    }

    /// The reason for a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// One sentence for a person.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Revoked => "Access was withdrawn or has ended at the account's server.",
            Self::LostResponse => "The account's server renewed the access, but its answer never arrived.",
            Self::IssuerChanged => "The account moved to another server.",
            Self::SubjectMismatch => "The account's server answered for a different account.",
            Self::ScopeLost => "The account's server no longer grants the access this app needs.",
            Self::NoRefreshToken => "The account's server gave access for a short time only, and it has ended.",
            Self::Unreadable => "The stored access could not be opened with the keys of this server.",
        }
    }
}

/// How a platform's refresh tokens behave, which decides what may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshClass {
    /// Single use, no grace: a replay kills the grant (AT Protocol OAuth).
    SingleUse,
    /// Reuse is harmless for a while (AT Protocol app-password sessions: two hours).
    Graceful,
}

impl RefreshClass {
    /// The stable code in stores.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SingleUse => "single_use",
            Self::Graceful => "graceful",
        }
    }

    /// The class for a code.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::SingleUse, Self::Graceful].into_iter().find(|class| class.code() == code)
    }
}

/// The sealed fields that change with every refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTokens {
    /// The access token, bound to its generation.
    pub access_token: Vec<u8>,
    /// The refresh token, bound to its generation; None when the server gave none.
    pub refresh_token: Option<Vec<u8>>,
    /// When this access token was issued, by our clock.
    pub issued_at: Timestamp,
    /// When the access token ends, by our clock.
    pub access_expires_at: Timestamp,
    /// The scope as granted.
    pub scope: String,
}

/// The sealed fields that stay for the life of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFields {
    /// The DPoP private key, bound to the generation at which the grant began. Of bearer tokens, which have none, the
    /// sealed empty string: so that a row without a key cannot be made from one with a key.
    pub dpop_key: Vec<u8>,
    /// The generation at which the grant began.
    pub granted_generation: Generation,
    /// When the grant began.
    pub granted_at: Timestamp,
}

/// When the next refresh may begin and when it should: beside the state in the row, so that every instance keeps to it,
/// also after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Refreshes that were begun with the present refresh token and did not end with an answer about it.
    pub attempts: u32,
    /// Not before this: the issuer asked for it, or earlier attempts failed.
    pub not_before: Option<Timestamp>,
    /// When a sweep should look at it; None: never.
    pub due_at: Option<Timestamp>,
}

/// A credential's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Whose it is.
    pub connection: ConnectionId,
    /// The owner; the data key is the account's.
    pub account: AccountId,
    /// Which token set this is.
    pub generation: Generation,
    /// Who issued it: refresh tokens go nowhere else.
    pub issuer: String,
    /// The only origin that may see the access token (the PDS).
    pub audience: String,
    /// The identity that it speaks for.
    pub subject: String,
    /// The client key that the grant is bound to; None for a public client.
    pub client_kid: Option<String>,
    /// How its refresh token behaves.
    pub refresh_class: RefreshClass,
    /// Where it stands.
    pub state: CredentialState,
    /// When it is to be refreshed.
    pub schedule: Schedule,
    /// When it was last asked for, to within some minutes; what nobody uses is kept alive, not fresh.
    pub used_at: Timestamp,
    /// What stays.
    pub fields: SealedFields,
    /// What changes.
    pub tokens: SealedTokens,
}

/// An account's data key, wrapped by a key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// The account.
    pub account: AccountId,
    /// Which key-encryption key wraps it.
    pub kek_id: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
}
