//! The secure stores of the kit, and the way to bring another.

use std::path::Path;
use std::sync::Arc;

use bowerbird_client::{Device, FileKey, FileStore, MemoryStore, OsStore, Secret, SecureStore, StoreFault};

use crate::error::ClientError;

/// Where secrets are kept.
#[derive(uniffi::Object)]
pub struct Store(pub(crate) Arc<dyn SecureStore>);

/// A secure store that the app brings, such as one on Android's Keystore. What `save` has returned from must be there after
/// the app was stopped. It is called on threads of the kit.
#[uniffi::export(with_foreign)]
pub trait DeviceStore: Send + Sync {
    /// The secret under this name, if there is one.
    fn load(&self, name: String) -> Result<Option<String>, DeviceStoreError>;
    /// Keeps a secret under this name, in place of what was there.
    fn save(&self, name: String, secret: String) -> Result<(), DeviceStoreError>;
    /// Forgets what is under this name; nothing there is no error.
    fn delete(&self, name: String) -> Result<(), DeviceStoreError>;
}

/// Why the app's store could not do it.
#[derive(Clone, Debug, thiserror::Error, uniffi::Error)]
pub enum DeviceStoreError {
    /// The person must unlock the device first.
    #[error("locked")]
    Locked,
    /// The store does not work. The reason must hold no secret.
    #[error("{reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for DeviceStoreError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unavailable { reason: error.reason }
    }
}

#[uniffi::export]
impl Store {
    /// In memory, gone with the process.
    #[uniffi::constructor]
    pub fn memory() -> Arc<Self> {
        Arc::new(Self(Arc::new(MemoryStore::new())))
    }

    /// The system's own: the keychain of iOS and macOS, the Secret Service of Linux, the Credential Manager of Windows.
    /// `service` is what the system's own programs show. There is none for Android: see `custom` and `encrypted_file`.
    #[uniffi::constructor]
    pub fn system(service: String) -> Result<Arc<Self>, ClientError> {
        let store = OsStore::connect(&service).map_err(fault)?;
        Ok(Arc::new(Self(Arc::new(store))))
    }

    /// One encrypted file; `key` is 32 bytes that the app keeps elsewhere.
    #[uniffi::constructor]
    pub fn encrypted_file(path: String, key: Vec<u8>) -> Result<Arc<Self>, ClientError> {
        let key = FileKey::new(&key).ok_or_else(|| ClientError::Mistake { detail: "a key is 32 bytes".to_owned() })?;
        Self::in_file(path, key)
    }

    /// One encrypted file, with its key in another file, which is made on first use.
    #[uniffi::constructor]
    pub fn encrypted_file_with_key_file(path: String, key_path: String) -> Result<Arc<Self>, ClientError> {
        let key = FileKey::in_file(Path::new(&key_path), &Device).map_err(fault)?;
        Self::in_file(path, key)
    }

    /// The app's own.
    #[uniffi::constructor]
    pub fn custom(store: Arc<dyn DeviceStore>) -> Arc<Self> {
        Arc::new(Self(Arc::new(Custom(store))))
    }
}

impl Store {
    fn in_file(path: String, key: FileKey) -> Result<Arc<Self>, ClientError> {
        let store = FileStore::open(path, key, Arc::new(Device)).map_err(fault)?;
        Ok(Arc::new(Self(Arc::new(store))))
    }
}

fn fault(fault: StoreFault) -> ClientError {
    ClientError::Store { detail: fault.to_string() }
}

struct Custom(Arc<dyn DeviceStore>);

impl SecureStore for Custom {
    fn load(&self, name: &str) -> Result<Option<Secret>, StoreFault> {
        self.0.load(name.to_owned()).map(|secret| secret.map(Secret::new)).map_err(given)
    }

    fn save(&self, name: &str, secret: &Secret) -> Result<(), StoreFault> {
        self.0.save(name.to_owned(), secret.expose().to_owned()).map_err(given)
    }

    fn delete(&self, name: &str) -> Result<(), StoreFault> {
        self.0.delete(name.to_owned()).map_err(given)
    }
}

fn given(error: DeviceStoreError) -> StoreFault {
    match error {
        DeviceStoreError::Locked => StoreFault::Locked,
        DeviceStoreError::Unavailable { reason } => StoreFault::Unavailable(reason),
    }
}
