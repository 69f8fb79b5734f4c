//! The address that a request is counted under.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts as RequestParts;

use crate::client_address::client_address;
use crate::parts::Parts;

/// See [`client_address`]. `::` when the server that runs the router does not tell the peer.
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl FromRequestParts<Parts> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut RequestParts, state: &Parts) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        Ok(Self(client_address(peer, &parts.headers, &state.site().trusted_proxies)))
    }
}
