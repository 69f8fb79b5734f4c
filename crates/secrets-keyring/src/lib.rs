//! The keyring of the operating system: the Secret Service on Linux (GNOME Keyring, `KWallet`, `KeePassXC`), the keychain on
//! macOS, the credential manager on Windows. Tests run the first of the three; the others are written against the same trait
//! of `keyring-core`, and nobody has run them yet.
//!
//! | function | what it does |
//! |---|---|
//! | [`read`] | the text of an entry, if there is one |
//! | [`write`](fn@write) | puts a text into an entry, in the place of what it held |
//!
//! A keyring may ask its person for a password first, and may never get an answer. So each call is made on a thread of its
//! own and waited for only so long; no caller hangs on a dialogue that nobody sees.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use bowerbird_core::{Secret, SecretBytes};
use keyring_core::{CredentialStore, Entry, Error};

/// What our entries belong to, as the keyring's own programs show it.
const SERVICE: &str = "bowerbird";

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A keyring that did not do what was asked. Never holds what is in an entry.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Nobody keeps a keyring here: no desktop session, no service.
    #[error("no keyring can be reached")]
    Unreachable(#[source] Cause),
    /// It is there, and closed; nobody opened it when it asked.
    #[error("the keyring is locked")]
    Locked(#[source] Cause),
    /// It did not answer, perhaps because it waits for its person.
    #[error("the keyring has not answered for {} seconds", .0.as_secs())]
    Silent(Duration),
    /// Another program made an entry with the same name.
    #[error("the keyring has {0} entries of this name")]
    Ambiguous(usize),
    /// The entry holds something that is no text.
    #[error("the entry is not a text")]
    NotText,
    /// The text does not fit.
    #[error("an entry of this keyring holds at most {0} bytes")]
    TooLong(u32),
    /// Anything else.
    #[error("the keyring failed")]
    Failed(#[source] Cause),
}

/// The text of an entry; None when there is no such entry.
pub fn read(entry: &str, patience: Duration) -> Result<Option<Secret>, KeyringError> {
    let entry = entry.to_owned();
    on_its_own_thread(patience, move || {
        let bytes = match open(&entry)?.get_secret() {
            Ok(bytes) => SecretBytes::new(bytes),
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let text = std::str::from_utf8(bytes.expose()).map_err(|_| KeyringError::NotText)?;
        Ok(Some(Secret::new(text)))
    })
}

/// Puts a text into an entry, which is made if it is missing.
pub fn write(entry: &str, text: &Secret, patience: Duration) -> Result<(), KeyringError> {
    let (entry, text) = (entry.to_owned(), text.clone());
    on_its_own_thread(patience, move || open(&entry)?.set_secret(text.expose().as_bytes()).map_err(refused))
}

fn on_its_own_thread<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    let (answer, answered) = sync_channel(1);
    let thread = thread::Builder::new().name("keyring".to_owned());
    // The receiver may have given up; then nobody wants the answer.
    let started = thread.spawn(move || drop(answer.send(work())));
    drop(started.map_err(|error| KeyringError::Failed(Box::new(error)))?);
    match answered.recv_timeout(patience) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(KeyringError::Silent(patience)),
        Err(RecvTimeoutError::Disconnected) => Err(KeyringError::Failed("its thread ended without an answer".into())),
    }
}

fn open(entry: &str) -> Result<Entry, KeyringError> {
    // A connection for each call: they are rare, and the service may have been restarted in between.
    let store = store().map_err(unreachable)?;
    Entry::new_in_store(&store, SERVICE, entry).map_err(refused)
}

#[cfg(target_os = "linux")]
fn store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(target_os = "windows")]
fn store() -> keyring_core::Result<Arc<CredentialStore>> {
    Ok(windows_native_keyring_store::Store::new()?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "windows")))]
fn store() -> keyring_core::Result<Arc<CredentialStore>> {
    Err(Error::NotSupportedByStore("this system's keyring is not known".to_owned()))
}

fn unreachable(error: Error) -> KeyringError {
    match error {
        Error::PlatformFailure(cause) | Error::NoStorageAccess(cause) => KeyringError::Unreachable(cause),
        error => KeyringError::Unreachable(error.to_string().into()),
    }
}

/// Takes over what is known of a failure, and leaves the bytes behind that some of them carry.
fn refused(error: Error) -> KeyringError {
    match error {
        Error::NoStorageAccess(cause) => KeyringError::Locked(cause),
        Error::PlatformFailure(cause) => KeyringError::Failed(cause),
        Error::Ambiguous(entries) => KeyringError::Ambiguous(entries.len()),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => KeyringError::NotText,
        Error::TooLong(_, most) => KeyringError::TooLong(most),
        error => KeyringError::Failed(error.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_does_not_answer_is_waited_for_only_so_long() {
        let (never, wait) = sync_channel::<()>(0);
        let patience = Duration::from_millis(20);
        let silent =
            on_its_own_thread(patience, move || wait.recv().map_err(|error| KeyringError::Failed(Box::new(error))));
        assert!(matches!(silent, Err(KeyringError::Silent(waited)) if waited == patience));
        drop(never);
        let broken: Result<(), _> = on_its_own_thread(Duration::from_secs(10), || panic!("a library's fault"));
        assert!(matches!(broken, Err(KeyringError::Failed(_))));
    }

    #[test]
    fn no_failure_shows_what_an_entry_holds() {
        let bytes = || b"canary".to_vec();
        for error in [Error::BadEncoding(bytes()), Error::BadDataFormat(bytes(), "odd".into())] {
            let shown = format!("{:?}", refused(error));
            assert_eq!(shown, "NotText");
        }
    }
}
