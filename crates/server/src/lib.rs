//! The axum face of Bowerbird: routes, extractors, cookies, CSRF, pages, OpenAPI.
//!
//! A request takes the same stairs everywhere: the door ([`door`]: is it for us?), who ([`extract`]: whose device session,
//! and is it not forged?), which (the account), the use case (in `bowerbird-atproto` and `bowerbird-vault`), out (errors
//! and headers, at the door again).
//!
//! ```no_run
//! # async fn demo(parts: bowerbird_server::ServerParts) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let router = bowerbird_server::router(parts);
//! let crew = bowerbird_server::Crew::start(2)?;
//! bowerbird_server::serve(&crew, listener, router, bowerbird_server::ServeLimits::default(), std::future::pending()).await
//! # }
//! ```

mod accounts;
mod admin;
mod app_address;
mod app_password_sign_in;
mod app_start;
mod arrival;
mod attempt_limits;
mod client_address;
mod config;
mod cookies;
mod cors;
mod csrf;
mod device_log;
mod device_name;
mod device_sessions;
mod devices;
mod door;
mod error;
mod extract;
mod handoffs;
mod history;
mod host_check;
mod mobile;
mod older_contract;
mod openapi;
mod overview;
mod pages;
mod parts;
mod rate_limit;
mod request_id;
mod return_to;
mod rolling;
mod route_names;
mod router;
mod routes;
mod seals;
mod security_headers;
mod serve;
mod shared_tier;
mod shown_token;
mod sign_in;
mod sign_out;
mod site;
mod snapshots;
mod span;
mod window_end;

pub use admin::{AdminParts, admin_router};
pub use app_address::{AppAddress, AppAddressError};
pub use client_address::AddressRange;
pub use config::ServerConfig;
pub use mobile::{AndroidApp, HandoffMode, MobileConfig};
pub use older_contract::{OLDER_CONTRACT_HINT, older_contract_warnings};
pub use openapi::openapi;
pub use parts::{ReadyCheck, ServerParts};
pub use router::{operations, router};
pub use serve::{Crew, ServeLimits, serve};
pub use shared_tier::{SharedTier, SnapshotTier};
