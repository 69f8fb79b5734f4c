//! An account's session as the device keeps it: the seal, what renews it, and until when it is good.

use bowerbird_core::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::store::StoreFault;

/// A session is renewed this long before it ends, or at a fifth of its life before, whichever is less.
const RENEW_BEFORE_MS: i64 = 5 * 60 * 1000;

/// What the server gave for a sign-in. Both tokens are the server's own; no token of a PDS ever comes here.
#[derive(Clone, Debug)]
pub struct Session {
    /// The seal: presented as bearer.
    pub access_token: Secret,
    /// Renews the seal; rotates with each use.
    pub refresh_token: Option<Secret>,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When the seal ends, if the server said so.
    pub expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    access_token: Secret,
    refresh_token: Option<Secret>,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keeping<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    issued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl Session {
    /// Whether it is time to renew it.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| {
            let life = end.millis_since(self.issued_at).max(0);
            end.millis_since(now) <= RENEW_BEFORE_MS.min(life / 5)
        })
    }

    /// Whether it ends within `seconds`.
    pub(crate) fn ends_within(&self, now: Timestamp, seconds: i64) -> bool {
        self.expires_at.is_some_and(|end| end <= now.plus_seconds(seconds))
    }

    pub(crate) fn to_secret(&self) -> Result<Secret, StoreFault> {
        let keeping = Keeping {
            access_token: self.access_token.expose(),
            refresh_token: self.refresh_token.as_ref().map(Secret::expose),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
        };
        serde_json::to_string(&keeping).map(Secret::new).map_err(|_| StoreFault::Damaged("a session cannot be written"))
    }

    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, StoreFault> {
        let kept: Kept = serde_json::from_str(secret.expose())
            .map_err(|_| StoreFault::Damaged("a session that this kit did not write"))?;
        let Kept { access_token, refresh_token, issued_at, expires_at } = kept;
        Ok(Self { access_token, refresh_token, issued_at, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(life: Option<i64>) -> Session {
        Session {
            access_token: Secret::new("Fe26.2*a~2"),
            refresh_token: Some(Secret::new("r\"1")),
            issued_at: Timestamp::from_seconds(1000),
            expires_at: life.map(|life| Timestamp::from_seconds(1000 + life)),
        }
    }

    #[test]
    fn due_at_five_minutes_or_a_fifth() {
        let due = |life, at: i64| session(Some(life)).is_due(Timestamp::from_seconds(1000 + at));
        assert!(!due(3600, 3299) && due(3600, 3300));
        assert!(!due(100, 79) && due(100, 80));
        assert!(due(0, 0) && !session(None).is_due(Timestamp::from_seconds(i64::MAX / 1000)));
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let kept = session(Some(60)).to_secret().unwrap();
        let read = Session::from_secret(&kept).unwrap();
        assert!(read.access_token.matches("Fe26.2*a~2") && read.refresh_token.unwrap().matches("r\"1"));
        assert_eq!((read.issued_at.as_seconds(), read.expires_at.unwrap().as_seconds()), (1000, 1060));
        assert!(!format!("{:?}", session(None)).contains("Fe26"));
    }

    proptest! {
        #[test]
        fn strangers_records_are_refused_without_a_panic(text in "\\PC{0,200}") {
            prop_assert!(Session::from_secret(&Secret::new(text)).is_err());
        }
    }
}
