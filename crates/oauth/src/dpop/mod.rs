//! Demonstrating Proof of Possession (RFC 9449): proofs, nonces, and the one retry that a nonce may cost.

mod challenge;
mod exchange;
mod nonce;
mod proof;

pub use challenge::DpopChallenge;
pub use exchange::{DpopExchange, DpopExchangeError, DpopServer, NonceStep};
pub use nonce::DpopNonce;
pub use proof::{DPOP_HEADER, DPOP_NONCE_HEADER, htu, proof};
