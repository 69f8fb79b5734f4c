//! The domain: types, pure decisions and every port.
//!
//! Everything above this crate speaks in these words, and everything that touches the outside world does so through
//! a trait of [`ports`]. The crate itself reads no clock, draws no randomness and does no I/O.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Did`], [`Handle`], [`Nsid`], [`LoginIdentifier`] | what a person or a client types, parsed once |
//! | [`identity`] | who an account is: DID documents, the records of handles |
//! | [`Account`], [`DeviceSession`], [`Connection`] | who is signed in where |
//! | [`AuthorizationRequest`] | a login under way |
//! | [`Handoff`], [`Renewal`] | a sign-in on its way to an app, and what the app renews its session by |
//! | [`CredentialRecord`], [`refresh`] | sealed tokens, and the pure decision when to refresh them |
//! | [`ports`] | clock, entropy, HTTP, DNS, stores, keys, refresher |
//! | [`memory`] | stores in memory, for libraries, tools and tests |

mod account;
mod authorization_request;
mod connection;
mod credential;
mod device_session;
mod did;
mod handle;
mod handoff;
pub mod identity;
mod ids;
mod login_identifier;
pub mod memory;
mod nsid;
pub mod ports;
pub mod refresh;
mod security_event;
#[cfg(feature = "testing")]
pub mod testing;

pub use account::{Account, Profile};
pub use authorization_request::{
    AuthorizationRequest, AuthorizationRequestRecord, BrowserBinding, LoginPurpose, StateHash,
};
pub use bowerbird_oauth::{Secret, SecretBytes, Timestamp};
pub use connection::{Connection, Platform};
pub use credential::{
    CredentialRecord, CredentialState, Generation, NeedsReauth, RefreshClass, Schedule, SealedFields, SealedTokens,
    WrappedDataKey,
};
pub use device_session::{DeviceAccount, DeviceSession};
pub use did::{Did, DidError, DidMethod};
pub use handle::{Handle, HandleError};
pub use handoff::{
    AppReturn, HANDOFF_TRIES, Handoff, HandoffCodeHash, HandoffForm, LoginEnding, Redemption, Renewal, RenewalLine,
};
pub use ids::{AccountId, ConnectionId, DeviceSessionId, IdError, NoticeId};
pub use login_identifier::{LoginIdentifier, LoginIdentifierError};
pub use nsid::{Nsid, NsidError};
pub use security_event::{SecurityEvent, SecurityEventKind};

/// The target of the spans that are traces of requests, apart from those of libraries. Whoever installs a subscriber decides
/// whether they exist: where none wants them, none is made. What they may say is listed in `bowerbird-events`.
pub const SPANS: &str = "bowerbird_spans";
