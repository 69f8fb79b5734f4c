//! Logins under way, sealed: what the store holds of an [`AuthorizationRequest`].
//!
//! ```text
//! version (1) ‖ length of the key's name (1) ‖ name of the key-encryption key ‖ sealed value
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{Entropy, KeyProvider, KeyProviderError};
use bowerbird_core::{
    AccountId, AppReturn, AuthorizationRequest, BrowserBinding, DeviceSessionId, Did, HandoffForm, LoginEnding,
    LoginPurpose, Secret, SecretBytes, StateHash, Timestamp,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::envelope::{KeyPurpose, Place, SealingKey, Unreadable};

const VERSION: u8 = 1;

/// Why a login cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum LoginSealError {
    /// The provider of key-encryption keys did not answer, or is misconfigured.
    #[error("the key-encryption key is not at hand")]
    Keys(#[from] KeyProviderError),
    /// The record belongs to another `state`, another cluster or another key, or was altered; the login must be begun
    /// again.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Seals and opens logins under way.
pub(crate) struct LoginSeal<'a> {
    pub(crate) cluster_id: &'a str,
    pub(crate) keys: &'a dyn KeyProvider,
    pub(crate) entropy: &'a dyn Entropy,
}

impl LoginSeal<'_> {
    /// Seals a request to its `state`.
    pub(crate) async fn seal(
        &self,
        request: &AuthorizationRequest,
        state: &StateHash,
    ) -> Result<Vec<u8>, LoginSealError> {
        let kek = self.keys.active().await?;
        let key = SealingKey::derive(&kek, KeyPurpose::Login)?;
        let name_length = u8::try_from(kek.id.len()).map_err(|_| Unreadable)?;
        // Large enough for every request, so that growing leaves no copies of the secrets behind.
        let mut json = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let dpop_key = Zeroizing::new(URL_SAFE_NO_PAD.encode(request.dpop_key.expose()));
        serde_json::to_writer(&mut *json, &WireRequest::of(request, &dpop_key)).map_err(|_| Unreadable)?;
        let mut sealed = vec![VERSION, name_length];
        sealed.extend_from_slice(kek.id.as_bytes());
        sealed.extend_from_slice(&key.seal(&self.place(&kek.id, state), &json, self.entropy));
        Ok(sealed)
    }

    /// Opens what was sealed to the same `state`.
    pub(crate) async fn open(&self, sealed: &[u8], state: &StateHash) -> Result<AuthorizationRequest, LoginSealError> {
        let [VERSION, name_length, rest @ ..] = sealed else { return Err(Unreadable.into()) };
        let (name, sealed) = rest.split_at_checked(usize::from(*name_length)).ok_or(Unreadable)?;
        let name = std::str::from_utf8(name).map_err(|_| Unreadable)?;
        let kek = self.keys.find(name).await?.ok_or(Unreadable)?;
        let json = SealingKey::derive(&kek, KeyPurpose::Login)?.open(&self.place(name, state), sealed)?;
        let wire: WireRequestOwned = serde_json::from_slice(json.expose()).map_err(|_| Unreadable)?;
        Ok(wire.into_request()?)
    }

    fn place(&self, kek_id: &str, state: &StateHash) -> Place {
        Place::new("login", self.cluster_id).and(kek_id.as_bytes()).and(&state.0)
    }
}

/// The content, borrowed from a request. Private: the only place that a request's secrets are ever serialized.
#[derive(Serialize)]
struct WireRequest<'a> {
    issuer: &'a str,
    did: Option<&'a Did>,
    handle: Option<&'a str>,
    pkce_verifier: &'a str,
    dpop_key: &'a str,
    dpop_nonce: Option<&'a str>,
    client_kid: Option<&'a str>,
    redirect_uri: &'a str,
    scope: &'a str,
    purpose: WirePurpose,
    return_to: &'a str,
    ending: WireEnding,
    browser: Option<String>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct WireRequestOwned {
    issuer: String,
    did: Option<Did>,
    handle: Option<String>,
    pkce_verifier: Secret,
    dpop_key: Secret,
    dpop_nonce: Option<String>,
    client_kid: Option<String>,
    redirect_uri: String,
    scope: String,
    purpose: WirePurpose,
    return_to: String,
    /// Missing in logins that the release before began.
    #[serde(default)]
    ending: WireEnding,
    browser: Option<String>,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WirePurpose {
    SignIn,
    AddAccount { device: DeviceSessionId },
    Repair { account: AccountId, device: Option<DeviceSessionId> },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireEnding {
    #[default]
    Browser,
    AppCode {
        address: String,
        challenge: Option<String>,
    },
    AppSession {
        address: String,
    },
    Opener {
        origin: String,
    },
}

impl WireEnding {
    fn of(ending: &LoginEnding) -> Self {
        match ending {
            LoginEnding::Browser => Self::Browser,
            LoginEnding::App(AppReturn { address, form: HandoffForm::Code { challenge } }) => {
                Self::AppCode { address: address.clone(), challenge: challenge.clone() }
            }
            LoginEnding::App(AppReturn { address, form: HandoffForm::Session }) => {
                Self::AppSession { address: address.clone() }
            }
            LoginEnding::Opener { origin } => Self::Opener { origin: origin.clone() },
        }
    }

    fn into_ending(self) -> LoginEnding {
        match self {
            Self::Browser => LoginEnding::Browser,
            Self::AppCode { address, challenge } => {
                LoginEnding::App(AppReturn { address, form: HandoffForm::Code { challenge } })
            }
            Self::AppSession { address } => LoginEnding::App(AppReturn { address, form: HandoffForm::Session }),
            Self::Opener { origin } => LoginEnding::Opener { origin },
        }
    }
}

impl<'a> WireRequest<'a> {
    fn of(request: &'a AuthorizationRequest, dpop_key: &'a str) -> Self {
        Self {
            issuer: &request.issuer,
            did: request.did.as_ref(),
            handle: request.handle.as_deref(),
            pkce_verifier: request.pkce_verifier.expose(),
            dpop_key,
            dpop_nonce: request.dpop_nonce.as_deref(),
            client_kid: request.client_kid.as_deref(),
            redirect_uri: &request.redirect_uri,
            scope: &request.scope,
            purpose: match &request.purpose {
                LoginPurpose::SignIn => WirePurpose::SignIn,
                LoginPurpose::AddAccount { device } => WirePurpose::AddAccount { device: device.clone() },
                LoginPurpose::Repair { account, device } => {
                    WirePurpose::Repair { account: *account, device: device.clone() }
                }
            },
            return_to: &request.return_to,
            ending: WireEnding::of(&request.ending),
            browser: request.browser.map(|binding| URL_SAFE_NO_PAD.encode(binding.0)),
            created_at: request.created_at,
        }
    }
}

impl WireRequestOwned {
    fn into_request(self) -> Result<AuthorizationRequest, Unreadable> {
        let dpop_key = URL_SAFE_NO_PAD.decode(self.dpop_key.expose()).map_err(|_| Unreadable)?;
        let browser = match self.browser {
            Some(text) => {
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Unreadable)?;
                Some(BrowserBinding(bytes.try_into().map_err(|_| Unreadable)?))
            }
            None => None,
        };
        Ok(AuthorizationRequest {
            issuer: self.issuer,
            did: self.did,
            handle: self.handle,
            pkce_verifier: self.pkce_verifier,
            dpop_key: SecretBytes::new(dpop_key),
            dpop_nonce: self.dpop_nonce,
            client_kid: self.client_kid,
            redirect_uri: self.redirect_uri,
            scope: self.scope,
            purpose: match self.purpose {
                WirePurpose::SignIn => LoginPurpose::SignIn,
                WirePurpose::AddAccount { device } => LoginPurpose::AddAccount { device },
                WirePurpose::Repair { account, device } => LoginPurpose::Repair { account, device },
            },
            return_to: self.return_to,
            ending: self.ending.into_ending(),
            browser,
            created_at: self.created_at,
        })
    }
}
