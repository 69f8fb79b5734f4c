//! Refreshing one grant at its issuer. The vault decides when and keeps the outcome; this port only speaks to the
//! issuer, and says as exactly as it can what happened there.

use async_trait::async_trait;

use bowerbird_oauth::SigningKey;

use super::http::BoxError;
use crate::{Did, NeedsReauth, RefreshClass, Secret, Timestamp};

/// What a refresher needs to know of a grant.
#[derive(Clone, Debug)]
pub struct GrantFacts {
    /// The issuer that gave the grant.
    pub issuer: String,
    /// The origin that the access token is for.
    pub audience: String,
    /// The account.
    pub subject: Did,
    /// The client key that the grant is bound to; None for a public client.
    pub client_kid: Option<String>,
    /// How its refresh token behaves, which also tells by which protocol it is refreshed.
    pub class: RefreshClass,
    /// The grant's DPoP key; None for plain bearer tokens.
    pub dpop_key: Option<SigningKey>,
}

/// Speaks to issuers.
#[async_trait]
pub trait Refresher: Send + Sync {
    /// Does everything that can fail before the refresh token is touched: account → PDS → issuer verified again and
    /// unchanged, metadata at hand, client key present, a DPoP nonce known (REFRESH step 0).
    async fn prepare(&self, grant: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal>;

    /// Asks with the old access token whether an earlier refresh, whose answer was lost, happened (REFRESH step 6): a
    /// harmless call to the account's own server, where a refresh ends the old access token at once. Never sends the
    /// refresh token. Silent where the answer would say nothing.
    async fn probe(&self, grant: GrantFacts, access_token: Secret) -> AccessProbe {
        drop((grant, access_token));
        AccessProbe::Silent
    }
}

/// What the old access token says about a refresh with an unknown outcome. A hint and no proof: clocks may differ, and
/// an access may be withdrawn in the same minute. So it decides how long to wait, never whether a grant is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessProbe {
    /// It is accepted: the refresh has probably not happened.
    Accepted,
    /// It is refused as invalid: the refresh has probably happened, and its successor is somewhere, or lost.
    Refused,
    /// Nothing is to be learned: the server keeps no such books, could not be reached, or spoke of something else.
    Silent,
}

impl AccessProbe {
    /// The stable name, such as `accepted`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Silent => "silent",
        }
    }
}

/// A refresh that is ready to go out.
#[async_trait]
pub trait PreparedRefresh: Send + Sync {
    /// Sends the refresh token. At most one attempt that can consume it; a DPoP nonce challenge is answered once. Must
    /// be run to its end: dropping the future after the first byte loses the successor.
    async fn send(self: Box<Self>, refresh_token: Secret) -> RefreshOutcome;
}

/// Why a refresh was not begun. The refresh token was not sent.
#[derive(Debug, thiserror::Error)]
pub enum RefreshRefusal {
    /// Something could not be reached or answered badly; try again later.
    #[error("the account's server cannot be asked right now")]
    NotNow(#[source] BoxError),
    /// Trying again will not help; the credential stays, marked with the reason.
    #[error("the grant cannot be refreshed")]
    Final(NeedsReauth),
}

/// What an issuer made of a refresh.
#[derive(Debug)]
pub enum RefreshOutcome {
    /// New tokens. Persist them before anything else looks at them, even when `fault` says that they are not to be used.
    Granted {
        /// The tokens as they came.
        tokens: RefreshedTokens,
        /// Set when the answer names another subject or lacks the scope: keep, quarantine, never use.
        fault: Option<NeedsReauth>,
    },
    /// Certainly not consumed: the same token may be sent again, not before the given time.
    NotConsumed {
        /// The earliest next attempt, for 429 and `Retry-After`.
        not_before: Option<Timestamp>,
        /// The cause.
        source: BoxError,
    },
    /// The issuer says, about this very token, that it is no longer good (`invalid_grant`).
    Refused {
        /// The issuer's words, shortened to printable characters.
        description: Option<String>,
    },
    /// Nobody knows: the answer was lost, was a 5xx, or made no sense.
    Unknown {
        /// The cause.
        source: BoxError,
    },
}

/// The tokens of a refresh answer.
#[derive(Clone, Debug)]
pub struct RefreshedTokens {
    /// The access token.
    pub access_token: Secret,
    /// The next refresh token; None keeps the one at hand.
    pub refresh_token: Option<Secret>,
    /// The life of the access token in seconds, already clamped to something sane.
    pub expires_in: i64,
    /// The scope as granted; None keeps the one at hand.
    pub scope: Option<String>,
}
