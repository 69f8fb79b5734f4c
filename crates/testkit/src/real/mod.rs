//! The real AT Protocol servers as a child process (`testnet/`), and the person's browser on them.

mod browser;
mod control;
mod network;
mod observe;
mod pages;
mod typescript;

pub use browser::RealBrowser;
pub use control::ServerFault;
pub use network::{NetworkOptions, RealAccount, RealNetwork};
pub use observe::eventually;
