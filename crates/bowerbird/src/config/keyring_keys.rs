//! Encryption keys in an entry of the operating system's keyring: one text, newest first, comma separated.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::Secret;
use bowerbird_core::ports::{BoxError, Clock, Entropy, KeyEncryptionKey, KeyProviderError};
use parking_lot::Mutex;

use super::ConfigError;
use super::encryption_keys::{key_text, new_key, parse};
use super::secrets::lock_folder;

pub(crate) const KEYRING_NAME: &str = "BOWERBIRD_ENCRYPTION_KEYRING";
/// A running server looks so often for keys that were added meanwhile.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// For so long a look that was in vain is not repeated.
const PAUSE: Duration = Duration::from_secs(1);
/// More keys than this are not remembered as missing.
const MISSES: usize = 64;
/// A person may have to find a dialogue and type a password into it.
const AT_A_START: Duration = Duration::from_mins(1);
/// While the server runs, callers wait.
const WHILE_RUNNING: Duration = Duration::from_secs(5);

/// The keys of an entry, as they were when it was read last.
#[derive(Clone)]
pub(crate) struct KeyringKeys {
    entry: String,
    clock: Arc<dyn Clock>,
    read: Arc<Mutex<Read>>,
    /// Who holds it looks; the others wait for what it finds.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What was read, and when, by the monotonic clock.
struct Read {
    keys: Vec<KeyEncryptionKey>,
    at: Duration,
    failed_at: Option<Duration>,
    /// Keys that were looked for and are not there.
    missed: Vec<(String, Duration)>,
}

impl KeyringKeys {
    /// Reads the entry, which must exist: a missing one is nothing to be made anew, since data may be under its keys.
    pub(crate) fn open(entry: &str, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let keys = read_entry(entry)?.ok_or_else(|| ConfigError::KeyringEntry { entry: entry.to_owned() })?;
        let read = Read { keys, at: clock.monotonic(), failed_at: None, missed: Vec::new() };
        Ok(Self { entry: entry.to_owned(), clock, read: Arc::new(Mutex::new(read)), turn: Arc::default() })
    }

    /// The entry's name.
    pub(crate) fn entry(&self) -> &str {
        &self.entry
    }

    /// The keys that were read last, newest first.
    pub(crate) fn list(&self) -> Vec<KeyEncryptionKey> {
        self.read.lock().keys.clone()
    }

    /// Puts a new key first and makes sure that the keyring kept it. Gives the key's id. `folder` is the data folder.
    pub(crate) fn add(&self, entropy: &dyn Entropy, folder: &Path) -> Result<String, ConfigError> {
        let failed = |source| ConfigError::KeyFile { path: folder.to_owned(), source };
        let _alone = lock_folder(folder).map_err(failed)?;
        let made = new_key(entropy)?;
        let id = made.id.clone();
        let mut keys =
            read_entry(&self.entry)?.ok_or_else(|| ConfigError::KeyringEntry { entry: self.entry.clone() })?;
        keys.insert(0, made);
        write_entry(&self.entry, &keys)?;
        self.read.lock().keys = keys;
        Ok(id)
    }

    /// Looks for new keys while the server works on with those that it has.
    pub(super) fn look_again(&self) {
        let now = self.clock.monotonic();
        let mut read = self.read.lock();
        if now.saturating_sub(read.at) < LOOK_AGAIN {
            return;
        }
        read.at = now;
        let keys = self.clone();
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = keys.reread() {
                let error = &*error as &dyn std::error::Error;
                tracing::warn!(error, "the keyring was not read; the keys that were read last are used");
            }
        }));
    }

    /// Looks for a key that is not among those that were read: a rotation may have brought it. A keyring that cannot be read
    /// does not mean that the key is lost: that is an error, and nothing is decided on it.
    pub(super) async fn look_for(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        let _turn = self.turn.lock().await;
        let now = self.clock.monotonic();
        let just_now = |at: Duration| now.saturating_sub(at) < PAUSE;
        {
            let read = self.read.lock();
            if let Some(key) = read.keys.iter().find(|key| key.id == id) {
                return Ok(Some(key.clone()));
            }
            if read.missed.iter().any(|(missed, at)| missed == id && just_now(*at)) {
                return Ok(None);
            }
            if read.failed_at.is_some_and(just_now) {
                return Err(KeyProviderError::Unavailable("the keyring could not be read a moment ago".into()));
            }
        }
        let keys = self.clone();
        let looked = tokio::task::spawn_blocking(move || keys.reread()).await;
        let looked = looked.map_err(|error| Box::new(error) as BoxError).flatten();
        let mut read = self.read.lock();
        if let Err(error) = looked {
            read.failed_at = Some(self.clock.monotonic());
            return Err(KeyProviderError::Unavailable(error));
        }
        let found = read.keys.iter().find(|key| key.id == id).cloned();
        if found.is_none() {
            read.missed.retain(|(missed, at)| missed != id && just_now(*at));
            read.missed.truncate(MISSES);
            read.missed.push((id.to_owned(), now));
        }
        Ok(found)
    }

    /// Reads the entry again. One that is gone leaves the keys that were read last, like one that cannot be read.
    fn reread(&self) -> Result<(), BoxError> {
        let keys = read_within(&self.entry, WHILE_RUNNING)?.ok_or("the keyring's entry is gone")?;
        self.read.lock().keys = keys;
        Ok(())
    }
}

/// The keys of an entry, newest first; None when there is no such entry.
pub(crate) fn read_entry(entry: &str) -> Result<Option<Vec<KeyEncryptionKey>>, ConfigError> {
    read_within(entry, AT_A_START)
}

fn read_within(entry: &str, patience: Duration) -> Result<Option<Vec<KeyEncryptionKey>>, ConfigError> {
    let Some(text) = os::read(entry, patience)? else { return Ok(None) };
    let separator = |letter: char| letter == ',' || letter.is_whitespace();
    let texts = text.expose().split(separator).filter(|part| !part.is_empty()).map(Secret::new);
    let keys = parse(&texts.collect::<Vec<_>>()).map_err(|_| not_keys(entry))?;
    if keys.is_empty() { Err(not_keys(entry)) } else { Ok(Some(keys)) }
}

/// Writes the keys into an entry, then reads it again: nothing is removed elsewhere, and nothing is encrypted under them,
/// before the keyring has shown that it keeps them.
pub(crate) fn write_entry(entry: &str, keys: &[KeyEncryptionKey]) -> Result<(), ConfigError> {
    let texts: Vec<Secret> = keys.iter().map(key_text).collect();
    let text = Secret::new(texts.iter().map(Secret::expose).collect::<Vec<_>>().join(","));
    os::write(entry, &text, AT_A_START)?;
    match os::read(entry, AT_A_START)? {
        Some(kept) if kept.matches(text.expose()) => Ok(()),
        _ => Err(ConfigError::Keyring {
            entry: entry.to_owned(),
            advice: "look at it with the keyring's own program; the keys are also where they were before",
            source: "it did not keep what was written".into(),
        }),
    }
}

fn not_keys(entry: &str) -> ConfigError {
    ConfigError::Keyring {
        entry: entry.to_owned(),
        advice: "name another entry, or remove this one with the keyring's own program if no data needs it",
        source: "it does not hold keys of 32 bytes each, as base64url or hexadecimal, comma separated".into(),
    }
}

#[cfg(feature = "os-keyring")]
mod os {
    use std::time::Duration;

    use bowerbird_core::Secret;
    use bowerbird_secrets_keyring::{self as keyring, KeyringError};

    use super::ConfigError;

    pub(super) fn read(entry: &str, patience: Duration) -> Result<Option<Secret>, ConfigError> {
        keyring::read(entry, patience).map_err(|error| refused(entry, error))
    }

    pub(super) fn write(entry: &str, text: &Secret, patience: Duration) -> Result<(), ConfigError> {
        keyring::write(entry, text, patience).map_err(|error| refused(entry, error))
    }

    fn refused(entry: &str, error: KeyringError) -> ConfigError {
        let advice = match &error {
            KeyringError::Unreachable(_) => {
                "start it in the session of the person whose keyring it is (on Linux DBUS_SESSION_BUS_ADDRESS leads there), or use BOWERBIRD_ENCRYPTION_KEY_FILE"
            }
            KeyringError::Locked(_) | KeyringError::Silent(_) => {
                "unlock the keyring, such as by logging in or with its own program, and start again"
            }
            KeyringError::Ambiguous(_) => "remove the others with the keyring's own program, or name another entry",
            _ => "look at it with the keyring's own program, or name another entry",
        };
        ConfigError::Keyring { entry: entry.to_owned(), advice, source: Box::new(error) }
    }
}

#[cfg(not(feature = "os-keyring"))]
mod os {
    use std::time::Duration;

    use bowerbird_core::Secret;

    use super::{ConfigError, KEYRING_NAME};

    pub(super) fn read(_: &str, _: Duration) -> Result<Option<Secret>, ConfigError> {
        Err(left_out())
    }

    pub(super) fn write(_: &str, _: &Secret, _: Duration) -> Result<(), ConfigError> {
        Err(left_out())
    }

    fn left_out() -> ConfigError {
        let problem = "this program was built without the keyring; build it with `--features os-keyring`, or use BOWERBIRD_ENCRYPTION_KEY_FILE";
        ConfigError::named(KEYRING_NAME, problem)
    }
}
