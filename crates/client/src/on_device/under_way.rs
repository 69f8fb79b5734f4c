//! A sign-in on the device that waits for the browser, as it is kept: it survives the app being stopped.

use bowerbird_core::{Did, Secret, Timestamp};
use bowerbird_oauth::{ClientId, PkceVerifier, SigningKey};
use serde::{Deserialize, Serialize};

use crate::store::StoreFault;

/// How long a sign-in may take, in seconds.
const LIFETIME: i64 = 600;

/// What the callback needs.
pub(super) struct DeviceSignIn {
    /// Named by the callback; works once.
    pub(super) state: Secret,
    pub(super) verifier: PkceVerifier,
    pub(super) dpop_key: SigningKey,
    pub(super) client_id: ClientId,
    /// Who was asked; nobody else may answer.
    pub(super) issuer: String,
    /// Who must come, if the sign-in began with a handle or a DID.
    pub(super) did: Option<Did>,
    pub(super) redirect: String,
    pub(super) started_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    state: Secret,
    verifier: Secret,
    dpop_key: Secret,
    client_id: String,
    issuer: String,
    did: Option<Did>,
    redirect: String,
    started_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keeping<'a> {
    state: &'a str,
    verifier: &'a str,
    dpop_key: &'a str,
    client_id: &'a str,
    issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<&'a Did>,
    redirect: &'a str,
    started_at: Timestamp,
}

impl DeviceSignIn {
    /// Whether the browser may still come back for it.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        (-60_000..=LIFETIME * 1000).contains(&now.millis_since(self.started_at))
    }

    pub(super) fn to_secret(&self) -> Result<Secret, StoreFault> {
        let dpop_key = self.dpop_key.private_jwk();
        let keeping = Keeping {
            state: self.state.expose(),
            verifier: self.verifier.secret().expose(),
            dpop_key: dpop_key.expose(),
            client_id: self.client_id.as_str(),
            issuer: &self.issuer,
            did: self.did.as_ref(),
            redirect: &self.redirect,
            started_at: self.started_at,
        };
        serde_json::to_string(&keeping).map(Secret::new).map_err(|_| StoreFault::Damaged("a sign-in cannot be written"))
    }

    /// `None` when what was kept is not of this kit: then there is no sign-in to go on with.
    pub(super) fn from_secret(secret: &Secret) -> Option<Self> {
        let kept: Kept = serde_json::from_str(secret.expose()).ok()?;
        Some(Self {
            state: kept.state,
            verifier: PkceVerifier::parse(kept.verifier.expose())?,
            dpop_key: SigningKey::from_private_jwk(kept.dpop_key.expose()).ok()?,
            client_id: ClientId::parse(&kept.client_id).ok()?,
            issuer: kept.issuer,
            did: kept.did,
            redirect: kept.redirect,
            started_at: kept.started_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_the_store_and_ends_after_ten_minutes() {
        let start = DeviceSignIn {
            state: Secret::new("state"),
            verifier: PkceVerifier::from_entropy(&[7; 64]),
            dpop_key: SigningKey::from_scalar(&[7; 32]).unwrap(),
            client_id: ClientId::parse("http://localhost?scope=atproto").unwrap(),
            issuer: "https://as.example".into(),
            did: Some(Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()),
            redirect: "http://127.0.0.1:5000/callback".into(),
            started_at: Timestamp::from_seconds(1000),
        };
        let read = DeviceSignIn::from_secret(&start.to_secret().unwrap()).unwrap();
        assert!(read.state.matches("state") && read.did == start.did && read.redirect == start.redirect);
        assert_eq!(read.verifier.challenge(), start.verifier.challenge());
        assert_eq!(read.dpop_key.thumbprint(), start.dpop_key.thumbprint());
        let alive = |at| read.is_alive(Timestamp::from_seconds(at));
        assert!(alive(1000) && alive(1600) && !alive(1601) && !alive(900));
        assert!(DeviceSignIn::from_secret(&Secret::new("{}")).is_none());
    }
}
