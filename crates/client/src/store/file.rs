//! Secrets in one encrypted file: where the system keeps none, such as on servers without a desktop and in containers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowerbird_core::ports::Entropy;
use bowerbird_core::{Secret, SecretBytes};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use parking_lot::Mutex;

use super::{SecureStore, StoreFault};

/// The beginning of the file; also bound into the encryption.
const MAGIC: &[u8; 8] = b"bbkit\0\0\x01";
const NONCE: usize = 24;
/// Far more than any number of accounts needs.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What the file is encrypted with: 32 bytes that the app keeps elsewhere, such as in the Android Keystore.
#[derive(Clone, Debug)]
pub struct FileKey(SecretBytes);

impl FileKey {
    /// Takes the app's own key; `None` unless it is 32 bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 32).then(|| Self(SecretBytes::new(bytes)))
    }

    /// Reads the key from a file, which is made on first use, for its owner alone.
    ///
    /// Whoever can read both files can read the secrets: this protects copies of the one without the other, such as
    /// backups, and nothing else. Where the system has a keychain, keep the key there.
    pub fn in_file(path: &Path, entropy: &dyn Entropy) -> Result<Self, StoreFault> {
        let made = open_private(OpenOptions::new().write(true).create_new(true), path);
        match made {
            Ok(mut file) => {
                let mut bytes = [0; 32];
                entropy.fill(&mut bytes);
                let written = file.write_all(&bytes).and_then(|()| file.sync_all());
                let key = Self(SecretBytes::new(bytes));
                written.map_err(|error| unavailable(&error))?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let bytes = SecretBytes::new(fs::read(path).map_err(|error| unavailable(&error))?);
                Self::new(bytes.expose()).ok_or(StoreFault::Damaged("the key file has another length"))
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, StoreFault> {
        XChaCha20Poly1305::new_from_slice(self.0.expose()).map_err(|_| StoreFault::WrongKey)
    }
}

/// All secrets in one file, encrypted as a whole (XChaCha20-Poly1305), replaced as a whole.
///
/// Several processes may use one file: each change is made under a lock, on what the file has then. Nothing is kept in
/// memory.
#[derive(Clone)]
pub struct FileStore {
    path: PathBuf,
    key: FileKey,
    entropy: Arc<dyn Entropy>,
    /// Locks of files are by process on some systems.
    turn: Arc<Mutex<()>>,
}

type Entries = BTreeMap<String, String>;

impl FileStore {
    /// Opens the file, which need not be there yet. A wrong key is told at once.
    pub fn open(path: impl Into<PathBuf>, key: FileKey, entropy: Arc<dyn Entropy>) -> Result<Self, StoreFault> {
        let store = Self { path: path.into(), key, entropy, turn: Arc::default() };
        if let Some(folder) = store.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| unavailable(&error))?;
        }
        store.read()?;
        Ok(store)
    }

    fn read(&self) -> Result<Plain, StoreFault> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Plain(Entries::new())),
            Err(error) => return Err(unavailable(&error)),
        };
        let mut bytes = Vec::new();
        (&mut file).take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| unavailable(&error))?;
        let sealed = bytes.strip_prefix(MAGIC).ok_or(StoreFault::Damaged("the file is none of this kit"))?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(StoreFault::WrongKey)?;
        let payload = Payload { msg: sealed, aad: MAGIC };
        let opened = self.key.cipher()?.decrypt(&XNonce::from(*nonce), payload).map_err(|_| StoreFault::WrongKey)?;
        let opened = SecretBytes::new(opened);
        serde_json::from_slice(opened.expose()).map(Plain).map_err(|_| StoreFault::Damaged("the file's content"))
    }

    fn change(&self, change: impl FnOnce(&mut Entries) -> bool) -> Result<(), StoreFault> {
        let _turn = self.turn.lock();
        let lock = open_private(OpenOptions::new().write(true).create(true).truncate(false), &self.beside("lock"));
        let lock = lock.map_err(|error| unavailable(&error))?;
        lock.lock().map_err(|error| unavailable(&error))?;
        let mut entries = self.read()?;
        if !change(&mut entries.0) {
            return Ok(());
        }
        self.write(&entries).map_err(|error| unavailable(&error))
        // The lock ends with its file.
    }

    fn write(&self, entries: &Plain) -> io::Result<()> {
        let plain = SecretBytes::new(serde_json::to_vec(&entries.0)?);
        let mut nonce = [0; NONCE];
        self.entropy.fill(&mut nonce);
        let payload = Payload { msg: plain.expose(), aad: MAGIC };
        let cipher = self.key.cipher().map_err(io::Error::other)?;
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| io::Error::other("cannot encrypt"))?;
        let fresh = self.beside("new");
        let mut file = open_private(OpenOptions::new().write(true).create(true).truncate(true), &fresh)?;
        file.write_all(MAGIC)?;
        file.write_all(&nonce)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        sync_folder(&self.path)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(ending);
        self.path.with_file_name(name)
    }
}

/// The opened content; overwritten when it is dropped.
struct Plain(Entries);

impl Drop for Plain {
    fn drop(&mut self) {
        while let Some((_, secret)) = self.0.pop_first() {
            drop(Secret::new(secret));
        }
    }
}

impl SecureStore for FileStore {
    fn load(&self, name: &str) -> Result<Option<Secret>, StoreFault> {
        Ok(self.read()?.0.remove(name).map(Secret::new))
    }

    fn save(&self, name: &str, secret: &Secret) -> Result<(), StoreFault> {
        self.change(|entries| {
            let before = entries.insert(name.to_owned(), secret.expose().to_owned()).map(Secret::new);
            before.is_none_or(|before| !before.matches(secret.expose()))
        })
    }

    fn delete(&self, name: &str) -> Result<(), StoreFault> {
        self.change(|entries| entries.remove(name).map(Secret::new).is_some())
    }
}

fn unavailable(error: &io::Error) -> StoreFault {
    StoreFault::Unavailable(error.to_string())
}

#[cfg(unix)]
fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600).open(path)
}

/// Elsewhere the folder of the user's own profile decides who may read it.
#[cfg(not(unix))]
fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path)
}

/// A renamed file is there after a power cut only when its folder is written too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ports::Device;

    fn key(fill: u8) -> FileKey {
        FileKey::new(&[fill; 32]).unwrap()
    }

    fn open(path: &Path, fill: u8) -> Result<FileStore, StoreFault> {
        FileStore::open(path, key(fill), Arc::new(Device))
    }

    #[test]
    fn what_is_saved_is_there_after_a_restart_and_nowhere_in_clear() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/kit.bin");
        let store = open(&path, 1).unwrap();
        store.save("com.app.a", &Secret::new("canary-1")).unwrap();
        store.save("com.app.b", &Secret::new("canary-2")).unwrap();
        store.delete("com.app.a").unwrap();
        store.delete("com.app.a").unwrap();
        let again = open(&path, 1).unwrap();
        assert!(again.load("com.app.a").unwrap().is_none());
        assert!(again.load("com.app.b").unwrap().unwrap().matches("canary-2"));
        for file in fs::read_dir(path.parent().unwrap()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            assert!(
                !String::from_utf8_lossy(&bytes).contains("canary")
                    && !String::from_utf8_lossy(&bytes).contains("com.")
            );
        }
        assert!(matches!(open(&path, 2), Err(StoreFault::WrongKey)));
    }

    #[cfg(unix)]
    #[test]
    fn its_files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let key = FileKey::in_file(&folder.path().join("key"), &Device).unwrap();
        let same = FileKey::in_file(&folder.path().join("key"), &Device).unwrap();
        let store = FileStore::open(folder.path().join("kit.bin"), key, Arc::new(Device)).unwrap();
        store.save("a", &Secret::new("b")).unwrap();
        let reopened = FileStore::open(folder.path().join("kit.bin"), same, Arc::new(Device)).unwrap();
        assert!(reopened.load("a").unwrap().unwrap().matches("b"));
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn writers_side_by_side_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kit.bin");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                // Each with a store of its own, as if they were processes.
                let store = open(&path, 1).unwrap();
                scope.spawn(move || {
                    for number in 0..10 {
                        store.save(&format!("{writer}.{number}"), &Secret::new("x")).unwrap();
                    }
                });
            }
        });
        assert_eq!(open(&path, 1).unwrap().read().unwrap().0.len(), 40);
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kit.bin");
        open(&path, 1).unwrap().save("a", &Secret::new("b")).unwrap();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(open(&path, 1).is_err(), "byte {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(open(&path, 1).is_err(), "cut at {place}");
        }
    }

    proptest! {
        // Each step waits for the disk.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn it_keeps_what_memory_keeps(steps in prop::collection::vec(("[a-c]", proptest::option::of("\\PC{0,8}")), 1..12)) {
            let folder = tempfile::tempdir().unwrap();
            let (file, memory) = (open(&folder.path().join("kit.bin"), 1).unwrap(), crate::store::MemoryStore::new());
            for (name, value) in &steps {
                for store in [&file as &dyn SecureStore, &memory] {
                    match value {
                        Some(value) => store.save(name, &Secret::new(value.clone())).unwrap(),
                        None => store.delete(name).unwrap(),
                    }
                }
            }
            for name in ["a", "b", "c"] {
                let text = |store: &dyn SecureStore| store.load(name).unwrap().map(|secret| secret.expose().to_owned());
                prop_assert_eq!(text(&file), text(&memory));
            }
        }
    }
}
