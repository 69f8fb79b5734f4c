//! Secrets where the operating system keeps them.
//!
//! | system | where |
//! |---|---|
//! | iOS | the protected data keychain: readable once the device was unlocked after its start |
//! | macOS | the login keychain |
//! | Linux | the Secret Service: GNOME Keyring, `KWallet`, `KeePassXC` |
//! | Windows | the Credential Manager |
//!
//! Elsewhere there is none in here: Android's Keystore keeps a key for [`super::FileStore`], or the app brings a
//! [`SecureStore`] of its own.

use std::sync::Arc;

use bowerbird_core::{Secret, SecretBytes};
use keyring_core::{CredentialStore, Entry, Error};

use super::{SecureStore, StoreFault};

/// The system's own store. Each secret is an entry of the given service, under its whole name.
#[derive(Clone)]
pub struct OsStore {
    store: Arc<CredentialStore>,
    service: String,
}

impl OsStore {
    /// Connects to the system's store. `service` is what the system's own programs show, such as the app's name.
    pub fn connect(service: &str) -> Result<Self, StoreFault> {
        Ok(Self::on(system_store()?, service))
    }

    fn on(store: Arc<CredentialStore>, service: &str) -> Self {
        Self { store, service: service.to_owned() }
    }

    fn entry(&self, name: &str) -> Result<Entry, StoreFault> {
        self.store.build(&self.service, name, None).map_err(|error| fault(&error))
    }
}

#[cfg(target_os = "macos")]
fn system_store() -> Result<Arc<CredentialStore>, StoreFault> {
    let store = apple_native_keyring_store::keychain::Store::new().map_err(|error| fault(&error))?;
    Ok(store)
}

#[cfg(target_os = "ios")]
fn system_store() -> Result<Arc<CredentialStore>, StoreFault> {
    let store = apple_native_keyring_store::protected::Store::new().map_err(|error| fault(&error))?;
    Ok(store)
}

#[cfg(target_os = "linux")]
fn system_store() -> Result<Arc<CredentialStore>, StoreFault> {
    let store = zbus_secret_service_keyring_store::Store::new().map_err(|error| fault(&error))?;
    Ok(store)
}

#[cfg(windows)]
fn system_store() -> Result<Arc<CredentialStore>, StoreFault> {
    let store = windows_native_keyring_store::Store::new().map_err(|error| fault(&error))?;
    Ok(store)
}

#[cfg(not(any(target_os = "macos", target_os = "ios", target_os = "linux", windows)))]
fn system_store() -> Result<Arc<CredentialStore>, StoreFault> {
    Err(StoreFault::Unavailable("this system keeps no secrets that this kit knows how to reach".to_owned()))
}

impl SecureStore for OsStore {
    fn load(&self, name: &str) -> Result<Option<Secret>, StoreFault> {
        match self.entry(name)?.get_secret() {
            Ok(bytes) => {
                let bytes = SecretBytes::new(bytes);
                let text =
                    str::from_utf8(bytes.expose()).map_err(|_| StoreFault::Damaged("an entry that is no text"))?;
                Ok(Some(Secret::new(text)))
            }
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(fault(&error)),
        }
    }

    fn save(&self, name: &str, secret: &Secret) -> Result<(), StoreFault> {
        self.entry(name)?.set_secret(secret.expose().as_bytes()).map_err(|error| fault(&error))
    }

    fn delete(&self, name: &str) -> Result<(), StoreFault> {
        match self.entry(name)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }
}

/// Says what is wrong without the entry's content, which two of the variants hold.
fn fault(error: &Error) -> StoreFault {
    match error {
        Error::NoStorageAccess(_) => StoreFault::Locked,
        Error::PlatformFailure(cause) => StoreFault::Unavailable(cause.to_string()),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => StoreFault::Damaged("an entry in another form"),
        Error::Ambiguous(_) => StoreFault::Damaged("two entries of one name"),
        Error::TooLong(what, most) => StoreFault::Unavailable(format!("{what} is longer than the {most} that fit")),
        Error::NoEntry => StoreFault::Unavailable("the entry is gone".to_owned()),
        other => StoreFault::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_kept_replaced_and_forgotten() {
        let store = OsStore::on(keyring_core::mock::Store::new().unwrap(), "Example");
        assert!(store.load("com.app.a").unwrap().is_none());
        store.save("com.app.a", &Secret::new("one")).unwrap();
        store.save("com.app.a", &Secret::new("zwei ä")).unwrap();
        store.save("com.app.b", &Secret::new("other")).unwrap();
        assert!(store.load("com.app.a").unwrap().unwrap().matches("zwei ä"));
        store.delete("com.app.a").unwrap();
        store.delete("com.app.a").unwrap();
        assert!(store.load("com.app.a").unwrap().is_none());
        assert!(store.load("com.app.b").unwrap().unwrap().matches("other"));
    }

    #[test]
    fn a_fault_never_holds_what_was_kept() {
        let cause = || Box::<dyn std::error::Error + Send + Sync>::from("cause");
        for error in [Error::BadEncoding(b"canary".to_vec()), Error::BadDataFormat(b"canary".to_vec(), cause())] {
            assert!(!format!("{:?} {}", fault(&error), fault(&error)).contains("canary"));
        }
        assert_eq!(fault(&Error::NoStorageAccess(cause())), StoreFault::Locked);
    }
}
