//! Keys and signatures: ES256 (RFC 7518 §3.4), JWK (RFC 7517), JWK thumbprints (RFC 7638), compact JWS (RFC 7515).

mod encoding;
mod es256;
mod jwk;
mod jwk_set;
pub mod jws;

pub(crate) use encoding::{base64url, base64url_into, decode_base64url, sha256};
pub use es256::{KeyError, SigningKey};
pub use jwk::{BadSignature, PublicJwk};
pub use jwk_set::{JwkSet, KeySetError, PrivateJwkSet};
