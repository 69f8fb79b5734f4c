//! Key sets: the published one, and the private one that a confidential client is configured with.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyError, PublicJwk, SigningKey, es256::PrivateJwk};
use crate::Secret;

/// A set of public keys (RFC 7517 §5), as `/oauth/jwks.json` serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys, newest first.
    pub keys: Vec<PublicJwk>,
}

impl JwkSet {
    /// The key with this id.
    pub fn key(&self, kid: &str) -> Option<&PublicJwk> {
        self.keys.iter().find(|key| key.kid() == Some(kid))
    }
}

/// The private keys of a confidential client: each with its own id, the first one used for new logins.
///
/// A credential keeps the id of the key that it began with, because the authorization server ends the grant when
/// another one is used. A key may be removed only when no credential names it any more.
#[derive(Clone, Debug)]
pub struct PrivateJwkSet {
    keys: Vec<SigningKey>,
}

impl PrivateJwkSet {
    /// Reads a private JWK set, the value of `BOWERBIRD_CLIENT_KEYS`.
    pub fn parse(json: &str) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Wire {
            keys: Vec<PrivateJwk>,
        }
        let wire: Wire = serde_json::from_str(json).map_err(|_| KeySetError::NotAKeySet)?;
        let keys = wire.keys.into_iter().enumerate();
        let keys = keys.map(|(index, key)| key.into_key().map_err(|source| KeySetError::Key { index, source }));
        Self::new(keys.collect::<Result<Vec<_>, _>>()?)
    }

    /// Builds a set from keys, newest first, under the same rules as a parsed one.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, KeySetError> {
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        for (index, key) in keys.iter().enumerate() {
            let kid = key.kid().filter(|kid| !kid.is_empty()).ok_or(KeySetError::KidMissing { index })?;
            if keys[..index].iter().any(|earlier| earlier.kid() == Some(kid)) {
                return Err(KeySetError::KidTwice { kid: kid.to_owned() });
            }
        }
        Ok(Self { keys })
    }

    /// The key that new logins use.
    pub fn newest(&self) -> &SigningKey {
        &self.keys[0]
    }

    /// The key with this id, for a credential that began with it.
    pub fn key(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.kid() == Some(kid))
    }

    /// All keys, newest first.
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// The public halves, for publishing.
    pub fn public(&self) -> JwkSet {
        JwkSet { keys: self.keys.iter().map(|key| key.public_jwk().clone()).collect() }
    }

    /// The whole set as JSON, private parts included, for storing it.
    pub fn to_json(&self) -> Secret {
        let mut json = Zeroizing::new(String::from(r#"{"keys":["#));
        for (index, key) in self.keys.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(key.private_jwk().expose());
        }
        json.push_str("]}");
        Secret::new(json.as_str())
    }
}

/// Why a private key set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON of the form `{"keys":[…]}`.
    #[error("not a private JWK set of the form {{\"keys\":[…]}}; make one with `bowerbird keys generate`")]
    NotAKeySet,
    /// There is no key in the set.
    #[error("the key set is empty; make a key with `bowerbird keys generate`, or leave the setting out")]
    Empty,
    /// A key is unusable.
    #[error("key number {index} (from 0) of the set is unusable")]
    Key {
        /// Position in the set, from 0.
        index: usize,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A key has no id.
    #[error("key number {index} (from 0) of the set has no kid; give each key its own")]
    KidMissing {
        /// Position in the set, from 0.
        index: usize,
    },
    /// Two keys have the same id.
    #[error("two keys of the set have the kid {kid:?}; give each key its own")]
    KidTwice {
        /// The id that appears twice.
        kid: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8, kid: &str) -> SigningKey {
        SigningKey::from_scalar(&[seed; 32]).unwrap().with_kid(kid)
    }

    #[test]
    fn the_set_survives_its_own_json_and_publishes_no_private_part() {
        let set = PrivateJwkSet::new(vec![key(2, "new"), key(1, "old")]).unwrap();
        let again = PrivateJwkSet::parse(set.to_json().expose()).unwrap();
        assert_eq!(again.newest().kid(), Some("new"));
        assert_eq!(again.key("old").unwrap().thumbprint(), key(1, "x").thumbprint());
        assert!(again.key("older").is_none());
        let published = serde_json::to_value(again.public()).unwrap();
        assert_eq!(published["keys"].as_array().unwrap().len(), 2);
        assert!(published["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));
        assert_eq!(published["keys"][0]["alg"], "ES256");
        assert!(again.public().key("old").is_some());
    }

    #[test]
    fn unusable_sets_are_refused() {
        assert_eq!(PrivateJwkSet::parse("{}").unwrap_err(), KeySetError::NotAKeySet);
        assert_eq!(PrivateJwkSet::parse("nonsense").unwrap_err(), KeySetError::NotAKeySet);
        assert_eq!(PrivateJwkSet::parse(r#"{"keys":[]}"#).unwrap_err(), KeySetError::Empty);
        let twice = PrivateJwkSet::new(vec![key(2, "a"), key(1, "a")]).unwrap_err();
        assert_eq!(twice, KeySetError::KidTwice { kid: "a".to_owned() });
        let anonymous = SigningKey::from_scalar(&[4; 32]).unwrap();
        let missing = PrivateJwkSet::new(vec![key(2, "a"), anonymous]).unwrap_err();
        assert_eq!(missing, KeySetError::KidMissing { index: 1 });
        assert_eq!(PrivateJwkSet::new(vec![key(2, "")]).unwrap_err(), KeySetError::KidMissing { index: 0 });
        let rsa = PrivateJwkSet::parse(r#"{"keys":[{"kty":"RSA","kid":"r","d":"AA"}]}"#).unwrap_err();
        assert_eq!(rsa, KeySetError::Key { index: 0, source: KeyError::NotEs256 });
    }
}
