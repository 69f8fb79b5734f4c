//! The kit on the device: what an app for phones, desktops or the command line needs to let people sign in through a
//! Bowerbird server, with several accounts at once. There is no server in here.
//!
//! The app never sees a token of a person's own server, unless it does without a Bowerbird server (`OnDevice`). For each account it keeps a *seal* of the Bowerbird server, and
//! what renews that, in the device's secure store, under names of the account's own.
//!
//! | what | where |
//! |---|---|
//! | accounts: register, find, switch, update, remove | [`AccountManager`] |
//! | a sign-in through the system's browser, with PKCE | [`AccountManager::begin_sign_in`], [`AccountManager::complete_sign_in`] |
//! | a sign-in at a person's own server, with the feature `on-device` | `OnDevice`, `AccountManager::begin_sign_in_on_device` |
//! | calls as one account, with recovery | [`AccountClient`], [`recovery`] |
//! | secrets | [`SecureStore`] and its adapters |
//! | the network | [`Transport`]; `HttpTransport` with the feature `http` |
//! | clock, pauses, randomness | [`DeviceClock`], [`Pause`], [`Device`] |
//!
//! All calls block and run on the caller's thread, so that a renewal that was begun is finished: nobody can cancel it
//! between the server's answer and the store.
//!
//! ```
//! # use bowerbird_client::*;
//! # use http::Response;
//! # // The server, as far as this example needs it.
//! # let server = |request: http::Request<bytes::Bytes>| {
//! #     let body = match request.uri().path() {
//! #         "/api/auth/start" => r#"{"authUrl":"https://pds.example/oauth/authorize?x","handle":"alice.example"}"#,
//! #         "/api/auth/tokens" => r#"{"accessToken":"seal","refreshToken":"r","handle":"alice.example",
//! #             "did":"did:plc:z72i7hdynmk6r22z27h6tvur","pds":"https://pds.example","expiresIn":3600,"sid":"seal"}"#,
//! #         _ => r#"{"feed":[]}"#,
//! #     };
//! #     Ok(Response::new(body.into()))
//! # };
//! let settings = Settings::new("https://auth.example", "app://auth-callback", "com.example.app")?;
//! // An app takes `OsStore` or `FileStore`, and `HttpTransport`.
//! let manager = AccountManager::open(settings, Ports::new(MemoryStore::new(), server))?;
//!
//! // Sign in: open the address in the system's browser …
//! let sign_in = manager.begin_sign_in("alice.example")?;
//! assert!(sign_in.auth_url.starts_with("https://"));
//! // … which comes back to the app.
//! let account = manager.complete_sign_in("app://auth-callback?code=3q2-7w")?;
//!
//! // Call as that account.
//! let client = manager.activate(account.id)?;
//! let answer = client.call(&Call::query("app.bsky.feed.getTimeline", &[("limit", "10")]))?;
//! assert_eq!(answer.body().as_ref(), br#"{"feed":[]}"#);
//! # Ok::<(), KitError>(())
//! ```

mod client;
mod error;
mod flights;
mod handoff;
mod keys;
mod kit;
mod live;
mod manager;
#[cfg(not(feature = "on-device"))]
mod off_device;
#[cfg(feature = "on-device")]
mod on_device;
mod ports;
pub mod recovery;
mod roster;
mod session;
mod settings;
mod sign_in;
mod sign_out;
mod store;
mod transport;
mod wire;

pub use bowerbird_core::ports::Entropy;
pub use bowerbird_core::{AccountId, Did, Secret, Timestamp};
pub use client::{AccountClient, Call, Checked};
pub use error::{KitError, Refusal};
pub use handoff::{CallbackFault, Redirect};
pub use keys::{Namespace, NamespaceError, StoreKey};
pub use manager::{AccountManager, Identity, Removal};
#[cfg(feature = "on-device")]
pub use on_device::{OnDevice, OnDeviceFault};
pub use ports::{Device, DeviceClock, Pause};
pub use roster::{Account, AccountKind, MAX_ACCOUNTS};
pub use session::Session;
pub use settings::{Ports, Settings};
pub use sign_in::SignIn;
#[cfg(feature = "os-store")]
pub use store::OsStore;
#[cfg(feature = "file-store")]
pub use store::{FileKey, FileStore};
pub use store::{MemoryStore, SecureStore, StoreFault};
#[cfg(feature = "http")]
pub use transport::{HttpTransport, Trust};
pub use transport::{Transport, TransportFault};
