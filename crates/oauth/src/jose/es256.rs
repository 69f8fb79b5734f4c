//! A private key for ES256, parsed once and cheap to clone.

use std::{fmt, sync::Arc};

use p256::elliptic_curve::sec1::ToSec1Point;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{PublicJwk, base64url, decode_base64url};
use crate::{Secret, SecretBytes};

/// An ES256 private key (RFC 7518 §3.4): of a client, or of one credential's DPoP proofs.
///
/// The parsed key is shared by all clones. Signing draws the ECDSA nonce from ring's own randomness, hedged with the
/// message: the one exception to this crate's rule that entropy is an argument, since a caller's bad nonce would give
/// the key away.
#[derive(Clone)]
pub struct SigningKey(Arc<Parsed>);

struct Parsed {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    scalar: SecretBytes,
    public: PublicJwk,
    thumbprint: String,
    proof_header: String,
}

impl SigningKey {
    /// Makes a key from 32 bytes of entropy; about one value in 2³² is not a valid scalar: draw again then.
    pub fn from_scalar(scalar: &[u8; 32]) -> Result<Self, KeyError> {
        Self::build(scalar, None)
    }

    /// Reads a private JWK (RFC 7517): EC, P-256, for ES256 signatures; the `kid` is kept.
    pub fn from_private_jwk(json: &str) -> Result<Self, KeyError> {
        let jwk: PrivateJwk = serde_json::from_str(json).map_err(|_| KeyError::NotAPrivateJwk)?;
        jwk.into_key()
    }

    fn build(scalar: &[u8; 32], kid: Option<String>) -> Result<Self, KeyError> {
        let secret = p256::elliptic_curve::SecretKey::<p256::NistP256>::from_slice(scalar)
            .map_err(|_| KeyError::ScalarOutOfRange)?;
        let point = secret.public_key().to_sec1_point(false);
        let point = point.as_bytes();
        let public = PublicJwk::from_uncompressed_point(point).ok_or(KeyError::ScalarOutOfRange)?;
        #[expect(clippy::disallowed_methods, reason = "the ES256 signer needs ring's own randomness for its nonces")]
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar, point, &random)
                .map_err(|_| KeyError::ScalarOutOfRange)?;
        let thumbprint = public.thumbprint();
        let proof_header = proof_header(&public);
        let public = match kid {
            Some(kid) => public.for_signing_as(kid),
            None => public,
        };
        let scalar = SecretBytes::new(scalar.to_vec());
        Ok(Self(Arc::new(Parsed { pair, random, scalar, public, thumbprint, proof_header })))
    }

    /// The same key under a key id, as a client key set needs it.
    #[must_use]
    pub fn with_kid(&self, kid: impl Into<String>) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(self.0.scalar.expose());
        // The scalar was accepted before, so that building again cannot fail; the key without a kid is the way out.
        Self::build(&bytes, Some(kid.into())).unwrap_or_else(|_| self.clone())
    }

    /// The key id, when the key has one.
    pub fn kid(&self) -> Option<&str> {
        self.0.public.kid()
    }

    /// The whole private key as a JWK, for storing it encrypted.
    pub fn private_jwk(&self) -> Secret {
        let public = &self.0.public;
        let mut json = Zeroizing::new(String::with_capacity(256));
        json.push_str(r#"{"kty":"EC","crv":"P-256","x":""#);
        json.push_str(&base64url(public.x()));
        json.push_str(r#"","y":""#);
        json.push_str(&base64url(public.y()));
        json.push_str(r#"","d":""#);
        json.push_str(&Zeroizing::new(base64url(self.0.scalar.expose())));
        json.push('"');
        if let Some(kid) = public.kid() {
            json.push_str(r#","alg":"ES256","use":"sig","kid":"#);
            json.push_str(&serde_json::Value::from(kid).to_string());
        }
        json.push('}');
        Secret::new(json.as_str())
    }

    /// The 32 bytes of the private scalar, the smallest form to store.
    pub fn scalar(&self) -> SecretBytes {
        self.0.scalar.clone()
    }

    /// The public half.
    pub fn public_jwk(&self) -> &PublicJwk {
        &self.0.public
    }

    /// The public key's SHA-256 thumbprint (RFC 7638), base64url: what DPoP calls `jkt`.
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    /// Signs a message: SHA-256, then ECDSA, as the 64 bytes `r ‖ s` of RFC 7518 §3.4.
    #[expect(clippy::expect_used, reason = "ring fails only when the system has no randomness: nothing can go on then")]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.0.pair.sign(&self.0.random, message).expect("the system gives randomness");
        let mut out = [0; 64];
        out.copy_from_slice(signature.as_ref());
        out
    }

    /// The encoded header of this key's DPoP proofs, made once per key.
    pub(crate) fn proof_header(&self) -> &str {
        &self.0.proof_header
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(thumbprint: {}, kid: {:?})", self.0.thumbprint, self.kid())
    }
}

/// The header of a DPoP proof (RFC 9449 §4.2): the bare public key, without `kid`, `use` or `alg`.
fn proof_header(public: &PublicJwk) -> String {
    let (x, y) = (base64url(public.x()), base64url(public.y()));
    base64url(format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}}}"#))
}

/// A private JWK as it is written; unknown members are ignored (RFC 7517 §4).
#[derive(Deserialize)]
pub(super) struct PrivateJwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<Secret>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    kid: Option<String>,
}

impl PrivateJwk {
    pub(super) fn into_key(self) -> Result<SigningKey, KeyError> {
        let alg_fits = self.alg.as_deref().is_none_or(|alg| alg == "ES256");
        let use_fits = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        if self.kty != "EC" || self.crv.as_deref() != Some("P-256") || !alg_fits || !use_fits {
            return Err(KeyError::NotEs256);
        }
        let d = self.d.ok_or(KeyError::NotAPrivateJwk)?;
        let decoded = Zeroizing::new(decode_base64url(d.expose()).ok_or(KeyError::NotAPrivateJwk)?);
        let mut scalar = Zeroizing::new([0; 32]);
        if decoded.len() != scalar.len() {
            return Err(KeyError::NotAPrivateJwk);
        }
        scalar.copy_from_slice(&decoded);
        let key = SigningKey::build(&scalar, self.kid)?;
        let written = |coordinate: Option<String>| coordinate.and_then(|text| decode_base64url(&text));
        let (x, y) = (written(self.x), written(self.y));
        if x.as_deref() != Some(key.public_jwk().x()) || y.as_deref() != Some(key.public_jwk().y()) {
            return Err(KeyError::HalvesDiffer);
        }
        Ok(key)
    }
}

/// Why a private key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The 32 bytes are zero or not below the curve's order: draw other ones.
    #[error("the private scalar is out of range; draw other random bytes")]
    ScalarOutOfRange,
    /// Not a JWK object with a private member `d` of 32 bytes.
    #[error("not a private JWK; make one with `bowerbird keys generate`")]
    NotAPrivateJwk,
    /// Another key type, curve, algorithm or use.
    #[error("not an ES256 signing key (kty EC, crv P-256, use sig); make one with `bowerbird keys generate`")]
    NotEs256,
    /// The public members `x` and `y` do not belong to the private member `d`.
    #[error("the JWK's x and y do not belong to its d; the key was damaged, restore it from a backup")]
    HalvesDiffer,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key pair of RFC 7515 appendix A.3.1.
    const RFC7515_A3: &str = r#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    #[test]
    fn public_point_matches_the_rfc_7515_example() {
        let key = SigningKey::from_private_jwk(RFC7515_A3).unwrap();
        assert_eq!(base64url(key.public_jwk().x()), "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
        assert_eq!(base64url(key.scalar().expose()), "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
    }

    #[test]
    fn signatures_verify_and_differ_each_time() {
        let key = SigningKey::from_scalar(&[7; 32]).unwrap();
        let (first, second) = (key.sign(b"message"), key.sign(b"message"));
        assert_ne!(first, second);
        assert!(key.public_jwk().verify(b"message", &first).is_ok());
        assert!(key.public_jwk().verify(b"messagf", &first).is_err());
        assert!(key.public_jwk().verify(b"message", &first[..63]).is_err());
        let other = SigningKey::from_scalar(&[8; 32]).unwrap();
        assert!(other.public_jwk().verify(b"message", &first).is_err());
    }

    #[test]
    fn a_private_jwk_comes_back_as_the_same_key() {
        let key = SigningKey::from_scalar(&[9; 32]).unwrap().with_kid("a\"b");
        let again = SigningKey::from_private_jwk(key.private_jwk().expose()).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        assert_eq!(again.kid(), Some("a\"b"));
        let bare = SigningKey::from_scalar(&[9; 32]).unwrap();
        assert_eq!(bare.thumbprint(), key.thumbprint(), "the thumbprint leaves the kid out");
        assert_eq!(SigningKey::from_private_jwk(bare.private_jwk().expose()).unwrap().kid(), None);
    }

    #[test]
    fn scalars_out_of_range_are_refused() {
        assert_eq!(SigningKey::from_scalar(&[0; 32]).unwrap_err(), KeyError::ScalarOutOfRange);
        assert_eq!(SigningKey::from_scalar(&[0xff; 32]).unwrap_err(), KeyError::ScalarOutOfRange);
    }

    #[test]
    fn foreign_and_damaged_jwks_are_refused() {
        for (from, to, fault) in [
            ("\"EC\"", "\"OKP\"", KeyError::NotEs256),
            ("P-256", "P-384", KeyError::NotEs256),
            ("\"kty\"", "\"alg\":\"ES384\",\"kty\"", KeyError::NotEs256),
            ("\"kty\"", "\"use\":\"enc\",\"kty\"", KeyError::NotEs256),
            ("\"d\"", "\"e\"", KeyError::NotAPrivateJwk),
            ("jpsQ", "jp", KeyError::NotAPrivateJwk),
            ("jpsQ", "j+sQ", KeyError::NotAPrivateJwk),
            ("f83O", "f84O", KeyError::HalvesDiffer),
            ("x_FE", "x_GE", KeyError::HalvesDiffer),
        ] {
            let json = RFC7515_A3.replace(from, to);
            assert_eq!(SigningKey::from_private_jwk(&json).unwrap_err(), fault, "{from} -> {to}");
        }
        assert_eq!(SigningKey::from_private_jwk("[]").unwrap_err(), KeyError::NotAPrivateJwk);
    }

    #[test]
    fn debug_shows_no_private_part() {
        let key = SigningKey::from_private_jwk(RFC7515_A3).unwrap();
        assert!(!format!("{key:?}").contains("jpsQ"));
    }
}
