//! Encryption at rest, seals, and the checkout of fresh credentials.
//!
//! | what | where |
//! |---|---|
//! | the strings that clients hold | [`SealRing`], [`SealCache`], [`PurposeSeals`], on the pure functions of [`iron`] |
//! | what is stored of logins and grants | [`envelope`], [`Vault::seal_login`], [`Vault::grant`], [`Vault::open`] |
//! | copies of rows outside of the database | [`SnapshotSeal`] |
//! | a usable access token | [`Vault::checkout`], [`Vault::checkout_newer`] |
//!
//! A refresh token is single use: the server that gave it ends the whole grant when it sees one twice. How the vault
//! lives with that is told in the module `refresh` of the sources and in `REFRESH` of the documentation.

mod checkout;
mod credential_cache;
mod credential_seal;
mod data_keys;
pub mod envelope;
mod grants;
pub mod iron;
mod key_rotation;
mod login_seal;
mod news;
mod refresh;
mod renewal_text;
mod seals;
mod snapshot_seal;
mod suspension;
mod tally;
mod uses;
mod vault;

pub use checkout::{CheckoutError, UsableCredential};
pub use credential_seal::{CredentialField, CredentialPlace};
pub use data_keys::DataKeyError;
pub use grants::{GrantError, Granted, NewGrant, OpenError, OpenedGrant, RemoveError, Standing};
pub use key_rotation::{KeyRotation, Rotated, RotationProgress};
pub use login_seal::LoginSealError;
pub use refresh::Swept;
pub use renewal_text::RenewalTexts;
pub use seals::{OpenedSeal, PurposeSeals, SealCache, SealError, SealPayload, SealRing, SealRingError, unnamed_device};
pub use snapshot_seal::{SealedSnapshot, SnapshotPlace, SnapshotSeal};
pub use suspension::{RecoverError, Recovered, Suspension};
pub use vault::{Drained, Vault, VaultConfig, VaultHealth, VaultSurroundings};
