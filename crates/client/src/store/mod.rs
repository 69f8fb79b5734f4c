//! Where secrets are kept on the device.

#[cfg(feature = "file-store")]
mod file;
mod memory;
#[cfg(feature = "os-store")]
mod os;

use bowerbird_core::Secret;
#[cfg(feature = "file-store")]
pub use file::{FileKey, FileStore};
pub use memory::MemoryStore;
#[cfg(feature = "os-store")]
pub use os::OsStore;

/// A store of small secrets by name.
///
/// An adapter may be the system's keychain or something of the app's own. What [`Self::save`] has returned from must be
/// there after the app, or the machine, was stopped: a renewed session is used only once it is saved.
pub trait SecureStore: Send + Sync {
    /// The secret under this name, if there is one.
    fn load(&self, name: &str) -> Result<Option<Secret>, StoreFault>;

    /// Keeps a secret under this name, in place of what was there.
    fn save(&self, name: &str, secret: &Secret) -> Result<(), StoreFault>;

    /// Forgets what is under this name; nothing there is no fault.
    fn delete(&self, name: &str) -> Result<(), StoreFault>;
}

/// Why the store could not do it. No variant ever holds what was to be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The person must unlock the device or the keychain first.
    #[error("the secure store is locked; unlock it, then try again")]
    Locked,
    /// The store is not there or does not answer.
    #[error("the secure store cannot be used: {0}")]
    Unavailable(String),
    /// The file was written with another key.
    #[error("the secure store was written with another key, or was altered")]
    WrongKey,
    /// What is there was not written by this kit.
    #[error("the secure store holds something unreadable: {0}")]
    Damaged(&'static str),
}
