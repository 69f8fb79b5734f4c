//! Key-encryption keys: what everything at rest hangs from.

use async_trait::async_trait;

use crate::SecretBytes;

/// A key-encryption key and its name.
#[derive(Clone, Debug)]
pub struct KeyEncryptionKey {
    /// The name, such as `k202611`: letters, digits, `-` and `_`. Stored beside what the key wraps.
    pub id: String,
    /// 32 bytes.
    pub key: SecretBytes,
}

/// Gives key-encryption keys (from a file, the environment, or a cloud).
#[async_trait]
pub trait KeyProvider: Send + Sync {
    /// The key that wraps from now on.
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError>;

    /// The key of a name; None when this provider does not have it.
    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError>;
}

/// A provider that gave no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyProviderError {
    /// The configured key is malformed.
    #[error("the encryption key is not usable: {0}")]
    Misconfigured(&'static str),
    /// The provider cannot be reached.
    #[error("the key provider did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
