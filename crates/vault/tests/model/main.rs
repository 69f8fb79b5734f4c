//! A model of the refresh protocol, checked exhaustively: every order of steps, faults and ticks of the clock that its
//! world allows, without a bound on time or on the number of refreshes. What is modelled, and what is not, is told in
//! `docs/src/explanation/refresh-proof.md`.
//!
//! | file | what it holds |
//! |---|---|
//! | `world.rs` | what there is: the row, the instances, the network, the server, and the rules that can be switched off |
//! | `protocol.rs` | what an instance does, step by step |
//! | `environment.rs` | what happens to it: the server, lost messages, crashes, pauses, time |
//! | `properties.rs` | what must never be, and what must always be reachable |
//! | `checker.rs` | the search through all states, and the way back from a fault |
//! | `proofs.rs` | the protocol as it is keeps every property |
//! | `mutants.rs` | with one rule switched off, the search finds the harm; and the risks that remain |
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests, which print what they explored; a stopwatch, and a switch for the long form"
)]

mod checker;
mod environment;
mod mutants;
mod proofs;
mod properties;
mod protocol;
mod world;
