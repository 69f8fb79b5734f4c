//! Loopback ports.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener};

/// The wanted port when it is free on loopback, else any free one.
pub(crate) fn free_port_or(wanted: u16) -> Result<u16> {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).is_ok() { Ok(wanted) } else { free_port() }
}

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?.port())
}
