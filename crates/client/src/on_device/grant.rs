//! What an account's own server gave to this device, as it is kept: the tokens, the key that they are bound to, and whether the
//! refresh token is on its way. All of it stands in one entry, so that it changes together.

use bowerbird_core::{Secret, Timestamp};
use bowerbird_oauth::{ClientId, SigningKey};
use serde::{Deserialize, Serialize};

use crate::store::StoreFault;

/// How long a public client's sign-in lasts at most, in seconds: fourteen days, by the AT Protocol's rules.
pub(super) const SESSION_LIFE: i64 = 14 * 24 * 3600;

/// The access of this device to one account.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The client that it was given to; it stays that client's, also when the app has another id by now.
    pub(crate) client_id: ClientId,
    /// Who gave it.
    pub(crate) issuer: String,
    /// The origin of the account's server.
    pub(crate) pds: String,
    /// The key that the tokens are bound to; no other grant has it.
    pub(crate) dpop_key: SigningKey,
    pub(crate) access_token: Secret,
    /// Works once.
    pub(crate) refresh_token: Option<Secret>,
    /// What was granted.
    pub(crate) scope: String,
    /// When the access token came.
    pub(crate) issued_at: Timestamp,
    /// When the access token ends.
    pub(crate) expires_at: Timestamp,
    /// When the person signed in.
    pub(crate) signed_in_at: Timestamp,
    pub(crate) standing: Standing,
}

/// How it stands with the refresh token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Standing {
    /// It was not sent yet.
    #[default]
    Good,
    /// It was sent, or was about to be. As long as this stands here, nobody knows whether it still works.
    #[serde(rename_all = "camelCase")]
    Sending {
        /// When it was sent, or when it became certain that no answer comes.
        since: Timestamp,
        /// Whether it was sent before, without an answer: then it is not sent a third time.
        again: bool,
    },
    /// It works no more, for this reason. What is kept is kept for the sign-out.
    Over(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    client_id: String,
    issuer: String,
    pds: String,
    dpop_key: Secret,
    access_token: Secret,
    refresh_token: Option<Secret>,
    scope: String,
    issued_at: Timestamp,
    expires_at: Timestamp,
    signed_in_at: Timestamp,
    #[serde(default)]
    standing: Standing,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keeping<'a> {
    client_id: &'a str,
    issuer: &'a str,
    pds: &'a str,
    dpop_key: &'a str,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a str,
    issued_at: Timestamp,
    expires_at: Timestamp,
    signed_in_at: Timestamp,
    standing: &'a Standing,
}

impl Grant {
    /// Whether it is time to refresh: with a fifth of the access token's life left, or a minute, whichever is more; but not
    /// before its half is over.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let life = self.expires_at.millis_since(self.issued_at).max(0);
        self.expires_at.millis_since(now) <= (life / 5).max(60_000).min(life / 2)
    }

    /// Whether the access token ends within `seconds`.
    pub(crate) fn ends_within(&self, now: Timestamp, seconds: i64) -> bool {
        self.expires_at <= now.plus_seconds(seconds)
    }

    /// When the sign-in ends, whatever is done.
    pub(crate) fn session_ends_at(&self) -> Timestamp {
        self.signed_in_at.plus_seconds(SESSION_LIFE)
    }

    /// Whether two are the same one, unrefreshed.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.access_token.matches(other.access_token.expose())
    }

    pub(crate) fn standing(&self, standing: Standing) -> Self {
        Self { standing, ..self.clone() }
    }

    pub(crate) fn to_secret(&self) -> Result<Secret, StoreFault> {
        let dpop_key = self.dpop_key.private_jwk();
        let keeping = Keeping {
            client_id: self.client_id.as_str(),
            issuer: &self.issuer,
            pds: &self.pds,
            dpop_key: dpop_key.expose(),
            access_token: self.access_token.expose(),
            refresh_token: self.refresh_token.as_ref().map(Secret::expose),
            scope: &self.scope,
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            signed_in_at: self.signed_in_at,
            standing: &self.standing,
        };
        serde_json::to_string(&keeping).map(Secret::new).map_err(|_| StoreFault::Damaged("a grant cannot be written"))
    }

    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, StoreFault> {
        let damaged = StoreFault::Damaged("a grant that this kit did not write");
        let kept: Kept = serde_json::from_str(secret.expose()).map_err(|_| damaged.clone())?;
        let client_id = ClientId::parse(&kept.client_id).map_err(|_| damaged.clone())?;
        let dpop_key = SigningKey::from_private_jwk(kept.dpop_key.expose()).map_err(|_| damaged)?;
        let Kept { issuer, pds, access_token, refresh_token, scope, .. } = kept;
        let Kept { issued_at, expires_at, signed_in_at, standing, .. } = kept;
        Ok(Self {
            client_id,
            issuer,
            pds,
            dpop_key,
            access_token,
            refresh_token,
            scope,
            issued_at,
            expires_at,
            signed_in_at,
            standing,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grant(life: i64) -> Grant {
        let issued_at = Timestamp::from_seconds(1000);
        Grant {
            client_id: ClientId::parse("https://app.example.com/client.json").unwrap(),
            issuer: "https://as.example".into(),
            pds: "https://pds.example".into(),
            dpop_key: SigningKey::from_scalar(&[7; 32]).unwrap(),
            access_token: Secret::new("canary-access"),
            refresh_token: Some(Secret::new("canary-refresh")),
            scope: "atproto".into(),
            issued_at,
            expires_at: issued_at.plus_seconds(life),
            signed_in_at: issued_at,
            standing: Standing::Good,
        }
    }

    #[test]
    fn due_with_a_fifth_or_a_minute_left_but_never_at_once() {
        let due = |life, at: i64| grant(life).is_due(Timestamp::from_seconds(1000 + at));
        assert!(!due(3600, 2879) && due(3600, 2880));
        assert!(!due(200, 139) && due(200, 140), "a minute");
        assert!(!due(60, 29) && due(60, 30), "half of a short life");
        assert!(due(0, 0));
        assert_eq!(grant(60).session_ends_at().as_seconds(), 1000 + 1_209_600);
    }

    #[test]
    fn what_is_kept_is_read_back_and_shown_to_nobody() {
        for standing in [
            Standing::Good,
            Standing::Sending { since: Timestamp::from_seconds(7), again: true },
            Standing::Over("refused".into()),
        ] {
            let kept = grant(60).standing(standing.clone());
            let read = Grant::from_secret(&kept.to_secret().unwrap()).unwrap();
            assert!(read.is(&kept) && read.refresh_token.unwrap().matches("canary-refresh"));
            assert_eq!(read.standing, standing);
            assert_eq!(read.dpop_key.thumbprint(), kept.dpop_key.thumbprint());
            assert_eq!((read.client_id, read.expires_at), (kept.client_id.clone(), kept.expires_at));
        }
        let key = grant(60).dpop_key.private_jwk();
        let shown = format!("{:?}", grant(60));
        assert!(!shown.contains("canary") && !shown.contains(key.expose()), "{shown}");
    }

    proptest! {
        #[test]
        fn strangers_records_are_refused_without_a_panic(text in "\\PC{0,200}") {
            prop_assert!(Grant::from_secret(&Secret::new(text)).is_err());
        }
    }
}
