//! Servers that follow the AT Protocol to the letter, until a test tells them not to.

mod accounts;
mod authorization_server;
mod canary;
mod client_registry;
mod dns;
mod dpop;
mod grants;
mod handle_server;
mod host;
mod http_server;
mod ledger;
mod misbehave;
mod network;
mod network_clock;
mod oauth_answers;
mod pds;
mod plc;
mod pushed_requests;
mod raw_stream;
mod reply;
mod request_log;
mod token_endpoint;
mod xrpc;

pub use accounts::{FaultAccount, profile_record};
pub use authorization_server::{AuthorizationServer, Decision};
pub use canary::CanaryListener;
pub use dns::{DnsAnswer, FaultDns};
pub use http_server::FaultServer;
pub use ledger::{Canary, CanaryKind, Ledger, Presentation, Sighting, Verdict};
pub use misbehave::{Misbehave, Rewrite, endpoint};
pub use network::FaultNetwork;
pub use network_clock::NetworkClock;
pub use pds::{Pds, Upload};
pub use plc::Plc;
pub use reply::{Reply, ReplyBody};
pub use request_log::{RecordedRequest, RequestLog};
