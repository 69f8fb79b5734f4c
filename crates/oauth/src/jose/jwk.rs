//! Public keys as JWK (RFC 7517), with their thumbprint and signature check.

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::{base64url, decode_base64url, sha256};

/// A public ES256 key: EC on P-256, with an optional key id, use and algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireJwk", into = "WireJwk")]
pub struct PublicJwk {
    x: [u8; 32],
    y: [u8; 32],
    kid: Option<String>,
    usage: Option<String>,
    alg: Option<String>,
}

impl PublicJwk {
    /// Reads an uncompressed SEC 1 point: 4, then x and y.
    pub(super) fn from_uncompressed_point(point: &[u8]) -> Option<Self> {
        let coordinates: &[u8; 64] = point.strip_prefix(&[4])?.try_into().ok()?;
        let (mut x, mut y) = ([0; 32], [0; 32]);
        x.copy_from_slice(&coordinates[..32]);
        y.copy_from_slice(&coordinates[32..]);
        Some(Self { x, y, kid: None, usage: None, alg: None })
    }

    /// The same key marked for ES256 signatures under a key id, as a published key set shows it.
    #[must_use]
    pub fn for_signing_as(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self.usage = Some("sig".to_owned());
        self.alg = Some("ES256".to_owned());
        self
    }

    /// The x coordinate, 32 bytes.
    pub fn x(&self) -> &[u8] {
        &self.x
    }

    /// The y coordinate, 32 bytes.
    pub fn y(&self) -> &[u8] {
        &self.y
    }

    /// The key id.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The SHA-256 thumbprint (RFC 7638), base64url.
    pub fn thumbprint(&self) -> String {
        let (x, y) = (base64url(self.x), base64url(self.y));
        base64url(sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()))
    }

    /// Checks an ES256 signature of 64 bytes, `r ‖ s`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&self.x);
        point[33..].copy_from_slice(&self.y);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).map_err(|_| BadSignature)
    }
}

/// The signature does not belong to the message and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not belong to this message and key")]
pub struct BadSignature;

/// The JSON form. Unknown members are ignored; a private member is refused, so that none is ever taken for public.
#[derive(Serialize, Deserialize)]
struct WireJwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, skip_serializing)]
    d: Option<serde::de::IgnoredAny>,
}

impl From<PublicJwk> for WireJwk {
    fn from(jwk: PublicJwk) -> Self {
        Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x: base64url(jwk.x),
            y: base64url(jwk.y),
            kid: jwk.kid,
            usage: jwk.usage,
            alg: jwk.alg,
            d: None,
        }
    }
}

impl TryFrom<WireJwk> for PublicJwk {
    type Error = &'static str;

    fn try_from(wire: WireJwk) -> Result<Self, Self::Error> {
        if wire.d.is_some() {
            return Err("a private key stands where a public one belongs");
        }
        if wire.kty != "EC" || wire.crv != "P-256" || wire.alg.as_deref().is_some_and(|alg| alg != "ES256") {
            return Err("not an ES256 key (kty EC, crv P-256)");
        }
        let coordinate = |text: &str| decode_base64url(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        match (coordinate(&wire.x), coordinate(&wire.y)) {
            (Some(x), Some(y)) => Ok(Self { x, y, kid: wire.kid, usage: wire.usage, alg: wire.alg }),
            _ => Err("x or y is not 32 bytes in base64url"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::SigningKey;

    #[test]
    fn thumbprint_hashes_the_required_members_in_order() {
        // The key of RFC 7515 A.3; the hash was computed apart from this code.
        let jwk: PublicJwk = serde_json::from_str(
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"left out"}"#,
        )
        .unwrap();
        assert_eq!(jwk.thumbprint(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    }

    #[test]
    fn json_round_trip_keeps_every_member() {
        let jwk = SigningKey::from_scalar(&[3; 32]).unwrap().public_jwk().clone().for_signing_as("k1");
        let json = serde_json::to_string(&jwk).unwrap();
        assert_eq!(serde_json::from_str::<PublicJwk>(&json).unwrap(), jwk);
        insta::assert_snapshot!(json, @r#"{"kty":"EC","crv":"P-256","x":"WRq3ceu8_W2cuQlNEGUordGmnUTCwfYn8InsWLnGGt8","y":"n05qvw0EXAxpOjxorXyXynK-ZN70om_s0mPdmKkngPA","kid":"k1","use":"sig","alg":"ES256"}"#);
    }

    #[test]
    fn private_and_foreign_keys_are_not_public_ones() {
        let good = serde_json::to_value(SigningKey::from_scalar(&[3; 32]).unwrap().public_jwk()).unwrap();
        for (member, value) in
            [("d", "AA"), ("kty", "RSA"), ("crv", "P-521"), ("alg", "none"), ("x", "AA"), ("y", "not base64")]
        {
            let mut bad = good.clone();
            bad[member] = value.into();
            assert!(serde_json::from_value::<PublicJwk>(bad).is_err(), "{member}={value}");
        }
        assert!(serde_json::from_value::<PublicJwk>(good).is_ok());
    }
}
