//! How a sign-in that ends in a browser reaches the app that asked for it.

use crate::{AccountId, DeviceSessionId, Timestamp};

/// Where the end of a login goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LoginEnding {
    /// The browser itself: it gets a cookie, and the path to return to.
    #[default]
    Browser,
    /// An app.
    App(AppReturn),
    /// The page that opened the window, at exactly this origin.
    Opener {
        /// `scheme://host[:port]`, checked by whoever begins the login.
        origin: String,
    },
}

/// An app that waits for the end of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppReturn {
    /// Its address: one of those that the operator configured, never one that a client made up.
    pub address: String,
    /// What the address is given.
    pub form: HandoffForm,
}

/// What an app is given at the end of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoffForm {
    /// A code, to be exchanged once.
    Code {
        /// The S256 challenge of the app's own verifier (RFC 7636), if it sent one: then the exchange needs the verifier.
        challenge: Option<String>,
    },
    /// The session itself, as the older contract has it.
    Session,
}

/// SHA-256 of a one-time code: what the store is keyed by, so that a read database exchanges nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandoffCodeHash(pub [u8; 32]);

/// A sign-in that waits for its app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The key.
    pub code: HandoffCodeHash,
    /// Who signed in.
    pub account: AccountId,
    /// The app's present session, which the account is added to; a new one otherwise.
    pub device: Option<DeviceSessionId>,
    /// A short name of the device for people.
    pub device_name: String,
    /// See [`HandoffForm::Code`].
    pub challenge: Option<String>,
    /// When the code was made.
    pub created_at: Timestamp,
    /// When it may no longer be exchanged.
    pub expires_at: Timestamp,
}

/// What came of presenting a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// It was good, and is gone now.
    Redeemed(Handoff),
    /// The code is there, but the verifier is not its own, is missing, or none was expected.
    WrongVerifier {
        /// How often it may still be tried; with zero the code is gone.
        left: u32,
    },
    /// There is no such code: never, no longer, or its time is over.
    Unknown,
}

/// How many wrong verifiers burn a code.
pub const HANDOFF_TRIES: u32 = 3;

/// Names the line of refresh strings that a device session has: each is used once and has one successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenewalLine(pub [u8; 16]);

/// What came of presenting a refresh string, by its place in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was the newest, or the one before whose successor was not used yet.
    Renewed {
        /// The session.
        device: DeviceSessionId,
        /// The place of the successor: the same for everybody who presents the same string.
        place: i64,
    },
    /// Its successor was used already: somebody has a copy.
    Superseded {
        /// The session.
        device: DeviceSessionId,
    },
    /// The session is over, or has another line by now.
    Unknown,
}
