//! The only HTTP client and the only DNS client: address checks, limits, pools.
//!
//! Every URL that leaves this server passes here, and most of them were written by strangers: a handle, a `did:web`
//! document, a server's metadata. So each connection goes the same way, and there is no second one:
//!
//! 1. `url_check` reads the URL as the WHATWG standard does and allows https to public hosts, nothing else, unless the
//!    exact `host:port` is in [`NetConfig::egress_allow`];
//! 2. `resolver` asks the DNS once and refuses the whole answer when one address of it is not public;
//! 3. `dial` connects to an address of that very answer and compares the peer's address;
//! 4. `connector` adds TLS for the host's name and hands over to HTTP;
//! 5. `client` sends, under the deadlines and caps of the [`Purpose`](bowerbird_core::ports::Purpose), follows no
//!    redirect, knows no proxy, and says of every failure whether the peer can have seen the request.
//!
//! Connections are pooled per origin here and not by hyper-util's client, since that one does not tell a request that
//! was never written from one that was: for a refresh token this is the difference between "try again" and "unknown".

pub mod address;
mod allowlist;
mod bell;
mod body;
mod client;
mod clock;
mod config;
mod connector;
mod dial;
mod early_answer;
mod entropy;
mod limits;
mod origin;
mod patience;
mod pool;
mod resolver;
mod span;
mod tls;
mod url_check;

pub use allowlist::{HostPort, HostPortError};
pub use client::NetClient;
pub use clock::SystemClock;
#[cfg(feature = "testing")]
pub use config::TestSwitches;
pub use config::{NetConfig, NetError};
pub use entropy::OsEntropy;
pub use rustls::pki_types::CertificateDer;
