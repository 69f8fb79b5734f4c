//! A login under way.

use crate::{AccountId, DeviceSessionId, Did, LoginEnding, Secret, SecretBytes, Timestamp};

/// SHA-256 of the `state` parameter: what the store is keyed by, so that a read database starts no callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateHash(pub [u8; 32]);

/// SHA-256 of the random value in the browser's login cookie; binds a callback to the browser that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserBinding(pub [u8; 32]);

/// Why the login was begun, which decides what its end does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginPurpose {
    /// A first sign-in on this browser.
    SignIn,
    /// Another account for a device that has some.
    AddAccount {
        /// The device.
        device: DeviceSessionId,
    },
    /// New consent for an account whose grant is gone; no other account may come back from it.
    Repair {
        /// The account.
        account: AccountId,
        /// The device, when the browser holds one.
        device: Option<DeviceSessionId>,
    },
}

/// What must be remembered between sending a person to the authorization server and their return
/// (AT Protocol OAuth specification, "Authorization requests"). Holds secrets: only ever stored sealed.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// The issuer that was asked; the callback's `iss` must equal it (RFC 9207).
    pub issuer: String,
    /// The DID that the login began with; the answer's `sub` must equal it. None when it began with a server.
    pub did: Option<Did>,
    /// The handle that the login began with, verified in both directions.
    pub handle: Option<String>,
    /// The PKCE verifier (RFC 7636).
    pub pkce_verifier: Secret,
    /// The private scalar of the DPoP key made for this grant alone (RFC 9449).
    pub dpop_key: SecretBytes,
    /// The latest DPoP nonce of the issuer.
    pub dpop_nonce: Option<String>,
    /// Which client key signed the pushed request; None for a public client. The whole grant keeps to it.
    pub client_kid: Option<String>,
    /// The redirect URI that was declared.
    pub redirect_uri: String,
    /// The scope that was asked for.
    pub scope: String,
    /// Why.
    pub purpose: LoginPurpose,
    /// The path to return to: absolute, same origin, checked before it was stored.
    pub return_to: String,
    /// Where the end goes.
    pub ending: LoginEnding,
    /// The browser that began; None only where no browser was involved (the library face, an app that begins by itself).
    pub browser: Option<BrowserBinding>,
    /// When it began.
    pub created_at: Timestamp,
}

/// An authorization request as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequestRecord {
    /// The key.
    pub state: StateHash,
    /// Sealed by the vault, bound to `state`.
    pub sealed: Vec<u8>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it may no longer be taken.
    pub expires_at: Timestamp,
}
