//! The keys that encrypt stored credentials: listed in the configuration, in a file that is read again when it changes, or
//! in the keyring of the operating system.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{Entropy, KeyEncryptionKey, KeyProvider, KeyProviderError};
use bowerbird_core::{Secret, SecretBytes};
use bowerbird_net::SystemClock;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::keyring_keys::{KEYRING_NAME, KeyringKeys};
use super::secrets::{generate_text_secret, lock_folder, read_lines, read_or_make, replace_private};
use super::{ConfigError, Settings, Values};

const NAME: &str = "BOWERBIRD_ENCRYPTION_KEY";
const FILE_NAME: &str = "BOWERBIRD_ENCRYPTION_KEY_FILE";
/// The file in the data folder of a loopback installation.
const KIND: &str = "encryption-key";

/// The keys, newest first; never empty.
pub(crate) enum EncryptionKeys {
    /// From the environment or the configuration file: they change with a restart.
    Listed(Vec<KeyEncryptionKey>),
    /// From a file of keys.
    File(KeyFile),
    /// From an entry of the operating system's keyring.
    Keyring(KeyringKeys),
}

/// A file of keys, one a line, newest first. A server that runs while a key is added uses it from then on.
pub(crate) struct KeyFile {
    path: PathBuf,
    read: Mutex<(Stamp, Vec<KeyEncryptionKey>)>,
}

/// Changes whenever a file is replaced or written.
type Stamp = (u64, u64, i64, i64);

impl EncryptionKeys {
    /// Reads the configured keys. None on a loopback installation that has none yet: [`Self::make`] may make one, if
    /// the database has nothing that an older one is needed for.
    pub(crate) fn find(values: &Values, settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let found = match values.get(KEYRING_NAME) {
            Some(_) if values.get(NAME).is_some() => return Err(set_twice(KEYRING_NAME, NAME)),
            Some(_) if values.get(FILE_NAME).is_some() => return Err(set_twice(KEYRING_NAME, FILE_NAME)),
            Some(entry) => Some(Self::Keyring(KeyringKeys::open(entry, Arc::new(SystemClock::new()))?)),
            None => Self::find_outside_the_keyring(values, settings)?,
        };
        if found.is_none() && !settings.is_loopback() {
            return Err(ConfigError::MissingSecret { name: NAME, kind: KIND, base_url: settings.base_url.to_string() });
        }
        Ok(found)
    }

    /// The same with no look at the keyring: what a move into it starts from.
    pub(crate) fn find_outside_the_keyring(values: &Values, settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let listed: Vec<Secret> = values.list(NAME).into_iter().map(Secret::new).collect();
        let named = values.get(FILE_NAME).map(Path::new);
        match (listed.is_empty(), named) {
            (false, Some(_)) => Err(set_twice(FILE_NAME, NAME)),
            (false, None) => Ok(Some(Self::Listed(parse(&listed)?))),
            (true, Some(path)) => Ok(Some(Self::File(KeyFile::open(path)?))),
            (true, None) => {
                let path = settings.data_dir.join(KIND);
                let there = settings.is_loopback() && path.exists();
                if there { Ok(Some(Self::File(KeyFile::open(&path)?))) } else { Ok(None) }
            }
        }
    }

    /// Makes the first key, in the data folder.
    pub(crate) fn make(settings: &Settings, entropy: &dyn Entropy) -> Result<Self, ConfigError> {
        let path = settings.data_dir.join(KIND);
        let made = read_or_make(&path, entropy).map_err(|source| failed(&path, source))?;
        drop(made);
        Ok(Self::File(KeyFile::open(&path)?))
    }

    /// The keys as they are now, newest first.
    pub(crate) fn list(&self) -> Vec<KeyEncryptionKey> {
        match self {
            Self::Listed(keys) => keys.clone(),
            Self::File(file) => file.current(),
            Self::Keyring(keyring) => keyring.list(),
        }
    }

    /// The file, if they are in one.
    pub(crate) fn file(&self) -> Option<&KeyFile> {
        match self {
            Self::Listed(_) | Self::Keyring(_) => None,
            Self::File(file) => Some(file),
        }
    }
}

#[async_trait]
impl KeyProvider for EncryptionKeys {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        if let Self::Keyring(keyring) = self {
            keyring.look_again();
        }
        self.list().into_iter().next().ok_or(KeyProviderError::Misconfigured("no encryption key is set"))
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        let found = self.list().into_iter().find(|key| key.id == id);
        match (found, self) {
            (None, Self::Keyring(keyring)) => keyring.look_for(id).await,
            (found, _) => Ok(found),
        }
    }
}

impl KeyFile {
    fn open(path: &Path) -> Result<Self, ConfigError> {
        let read = load(path)?;
        Ok(Self { path: path.to_owned(), read: Mutex::new(read) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a new key first, in one step: a crash leaves the old file or the new one. Gives the key's id.
    pub(crate) fn add(&self, entropy: &dyn Entropy) -> Result<String, ConfigError> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        let _alone = lock_folder(folder).map_err(|source| failed(folder, source))?;
        let lines = read_lines(&self.path).map_err(|source| failed(&self.path, source))?;
        let made = generate_text_secret(entropy);
        let id = key_encryption_key(&made)?.id;
        let mut lines: Vec<&str> = lines.iter().map(Secret::expose).collect();
        lines.insert(0, made.expose());
        let content = Secret::new(lines.join("\n"));
        replace_private(&self.path, content.expose()).map_err(|source| failed(&self.path, source))?;
        Ok(id)
    }

    /// The keys that the file holds now. A file that cannot be read now leaves those that were read last: whoever
    /// mends it by hand does not stop a running server.
    fn current(&self) -> Vec<KeyEncryptionKey> {
        let mut read = self.read.lock();
        let changed = fs::metadata(&self.path).is_ok_and(|metadata| stamp(&metadata) != read.0);
        if changed {
            match load(&self.path) {
                Ok(fresh) => *read = fresh,
                Err(error) => tracing::warn!(%error, "the changed key file is not used"),
            }
        }
        read.1.clone()
    }
}

/// Reads the file. The stamp is taken first: a change in between is met at the next look.
fn load(path: &Path) -> Result<(Stamp, Vec<KeyEncryptionKey>), ConfigError> {
    let metadata = fs::metadata(path).map_err(|source| failed(path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    // 0440 is how systemd and Kubernetes hand secrets out.
    if mode & 0o077 != 0 && mode != 0o440 {
        let problem = format!("its mode is {mode:03o}, others may read or write it; `chmod 600` it");
        return Err(failed(path, io::Error::new(io::ErrorKind::PermissionDenied, problem)));
    }
    let keys = parse(&read_lines(path).map_err(|source| failed(path, source))?)?;
    Ok((stamp(&metadata), keys))
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

fn failed(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::KeyFile { path: path.to_owned(), source }
}

fn set_twice(name: &'static str, other: &str) -> ConfigError {
    ConfigError::named(name, format!("{other} is set too; set one of the two"))
}

pub(super) fn parse(texts: &[Secret]) -> Result<Vec<KeyEncryptionKey>, ConfigError> {
    texts.iter().map(key_encryption_key).collect()
}

/// A key's name: derived from the key itself, so that it stays the same whatever place in the list it takes, and a wrong
/// key never goes by a right one's name. A hash of 32 random bytes tells nothing about them.
fn kek_id(key: &SecretBytes) -> String {
    let digest = Sha256::new().chain_update(b"bowerbird key id").chain_update(key.expose()).finalize();
    digest.iter().take(5).fold(String::from("k"), |id, byte| format!("{id}{byte:02x}"))
}

/// A key that nothing is encrypted under yet.
pub(crate) fn new_key(entropy: &dyn Entropy) -> Result<KeyEncryptionKey, ConfigError> {
    key_encryption_key(&generate_text_secret(entropy))
}

/// A key as it is written down.
pub(crate) fn key_text(key: &KeyEncryptionKey) -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(key.key.expose()))
}

fn key_encryption_key(text: &Secret) -> Result<KeyEncryptionKey, ConfigError> {
    let text = text.expose();
    let bytes = if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
    } else {
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=').replace('+', "-").replace('/', "_")).ok()
    };
    let problem = || ConfigError::named(NAME, "each key needs exactly 32 bytes, as base64url or hexadecimal");
    let key = SecretBytes::new(bytes.filter(|bytes| bytes.len() == 32).ok_or_else(problem)?);
    Ok(KeyEncryptionKey { id: kek_id(&key), key })
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    fn ids(keys: &EncryptionKeys) -> Vec<String> {
        keys.list().into_iter().map(|key| key.id).collect()
    }

    fn with_mode(path: &Path, mode: u32) -> Result<KeyFile, ConfigError> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        KeyFile::open(path)
    }

    #[test]
    fn keys_are_read_as_base64url_base64_and_hexadecimal() {
        let bytes = [0xfb; 32];
        let hex = "fb".repeat(32);
        let url = URL_SAFE_NO_PAD.encode(bytes);
        let standard = base64::engine::general_purpose::STANDARD.encode(bytes);
        for text in [hex, url, standard] {
            assert_eq!(key_encryption_key(&Secret::new(text)).unwrap().key.expose(), bytes);
        }
        assert!(key_encryption_key(&Secret::new("short")).is_err());
    }

    #[test]
    fn a_key_that_is_added_comes_first_for_those_who_hold_the_file_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        read_or_make(&path, &SeededEntropy::new(1)).unwrap();
        let open = |path: &Path| EncryptionKeys::File(KeyFile::open(path).unwrap());
        let (server, command) = (open(&path), open(&path));
        let before = ids(&server);
        let added = command.file().unwrap().add(&SeededEntropy::new(2)).unwrap();
        assert_eq!(ids(&server), [vec![added], before].concat());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");

        let last = ids(&server);
        fs::write(&path, "half a ke").unwrap();
        assert_eq!(ids(&server), last, "a broken file leaves what was read last");
        fs::remove_file(&path).unwrap();
        assert_eq!(ids(&server), last);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, format!("# newest first\n{}\n\n{}\n", "ab".repeat(32), "cd".repeat(32))).unwrap();
        for mode in [0o644, 0o640, 0o660, 0o604, 0o666] {
            let refused = with_mode(&path, mode).err().unwrap();
            let told = format!("{refused:?}");
            assert!(told.contains("chmod 600") && !told.contains("abab"), "{told}");
        }
        for mode in [0o600, 0o400, 0o440] {
            assert_eq!(with_mode(&path, mode).unwrap().current().len(), 2, "{mode:o}");
        }
    }
}
