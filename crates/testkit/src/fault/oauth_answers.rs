//! The words in which the real servers refuse, taken from their wire (testnet facts).

use super::reply::Reply;

/// `WWW-Authenticate` of a PDS names these algorithms.
const ALGORITHMS: &str = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES256K ES384 ES512";

/// 400 `use_dpop_nonce` of an authorization server (RFC 9449 §8).
pub(crate) fn issuer_nonce_challenge(description: &str) -> Reply {
    Reply::oauth_error(400, "use_dpop_nonce", description)
}

/// 401 `use_dpop_nonce` of a resource server (RFC 9449 §9).
pub(crate) fn resource_nonce_challenge(message: &str) -> Reply {
    resource_refusal("use_dpop_nonce", message)
}

/// 401 of a resource server, with the challenge header of the DPoP scheme.
pub(crate) fn resource_refusal(error: &str, message: &str) -> Reply {
    // As the real server: a description with a quote in it is left out of the header.
    let description = if message.contains('"') { String::new() } else { format!(", error_description=\"{message}\"") };
    let challenge = format!("DPoP algs=\"{ALGORITHMS}\", error=\"{error}\"{description}");
    Reply::xrpc_error(401, error, message)
        .with("WWW-Authenticate", challenge)
        .with("Access-Control-Expose-Headers", "DPoP-Nonce, WWW-Authenticate")
}
