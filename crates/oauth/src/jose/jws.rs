//! Compact JWS (RFC 7515 §3.1) with ES256, and the reading of it that tests and servers of tests need.

use serde_json::{Map, Value};

use super::{BadSignature, PublicJwk, SigningKey, base64url_into, decode_base64url};

/// Signs claims under a header; the header's `alg` is the caller's and must say `ES256`.
pub fn sign_compact(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let mut out = String::with_capacity(512);
    base64url_into(header.to_string(), &mut out);
    out.push('.');
    base64url_into(claims.to_string(), &mut out);
    append_signature(out, key)
}

/// Appends the signature to a signing input `header.payload`.
pub(crate) fn append_signature(mut signing_input: String, key: &SigningKey) -> String {
    let signature = key.sign(signing_input.as_bytes());
    signing_input.push('.');
    base64url_into(signature, &mut signing_input);
    signing_input
}

/// The content of a compact JWS, whose signature may not have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactJws {
    /// The protected header.
    pub header: Map<String, Value>,
    /// The payload, a JWT claims set.
    pub claims: Map<String, Value>,
}

/// Reads a compact JWS without looking at its signature: for tests and servers of tests only.
pub fn decode_unverified(compact: &str) -> Result<CompactJws, JwsError> {
    let mut parts = compact.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(JwsError::Malformed);
    };
    let object = |part| {
        let bytes = decode_base64url(part)?;
        serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
    };
    match (object(header), object(claims)) {
        (Some(header), Some(claims)) => Ok(CompactJws { header, claims }),
        _ => Err(JwsError::Malformed),
    }
}

/// Reads a compact JWS and checks that it was signed with ES256 by this key.
pub fn verify(compact: &str, key: &PublicJwk) -> Result<CompactJws, JwsError> {
    let content = decode_unverified(compact)?;
    if content.header.get("alg").and_then(Value::as_str) != Some("ES256") {
        return Err(JwsError::WrongAlgorithm);
    }
    let (signing_input, signature) = compact.rsplit_once('.').ok_or(JwsError::Malformed)?;
    let signature = decode_base64url(signature).ok_or(JwsError::Malformed)?;
    key.verify(signing_input.as_bytes(), &signature)?;
    Ok(content)
}

/// Why a compact JWS was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three base64url parts with JSON objects in the first two.
    #[error("not a compact JWS of three parts with JSON objects inside")]
    Malformed,
    /// The header names another algorithm than ES256.
    #[error("the JWS is not signed with ES256")]
    WrongAlgorithm,
    /// The signature is wrong.
    #[error(transparent)]
    BadSignature(#[from] BadSignature),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7515 appendix A.3.1.
    const EXAMPLE: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    fn example_key() -> PublicJwk {
        serde_json::from_value(json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }))
        .unwrap()
    }

    #[test]
    fn the_rfc_7515_example_verifies() {
        assert_eq!(verify(EXAMPLE, &example_key()).unwrap().claims["iss"], "joe");
    }

    #[test]
    fn own_signatures_verify_and_tampering_does_not() {
        let key = SigningKey::from_scalar(&[5; 32]).unwrap();
        let compact = sign_compact(&json!({"alg": "ES256"}), &json!({"sub": "a"}), &key);
        assert_eq!(verify(&compact, key.public_jwk()).unwrap().claims["sub"], "a");
        assert_eq!(verify(&compact, &example_key()), Err(JwsError::BadSignature(BadSignature)));
        let (_, rest) = compact.split_once('.').unwrap();
        let mut swapped = String::new();
        base64url_into(json!({"alg": "ES256", "kid": "x"}).to_string(), &mut swapped);
        let swapped = format!("{swapped}.{rest}");
        assert_eq!(verify(&swapped, key.public_jwk()), Err(JwsError::BadSignature(BadSignature)));
    }

    #[test]
    fn other_algorithms_and_shapes_are_refused() {
        let key = SigningKey::from_scalar(&[5; 32]).unwrap();
        let none = sign_compact(&json!({"alg": "none"}), &json!({}), &key);
        assert_eq!(verify(&none, key.public_jwk()), Err(JwsError::WrongAlgorithm));
        for bad in ["", "a.b", "a.b.c", "e30.e30", "e30.e30.AA.AA", "W10.e30.AA", "e30.bm8.AA"] {
            assert_eq!(decode_unverified(bad), Err(JwsError::Malformed), "{bad}");
        }
    }
}
