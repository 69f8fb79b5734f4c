//! The secrets: from the environment or the configuration file, or made on first start in the data folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{Entropy, KeyEncryptionKey};
use bowerbird_core::{Secret, SecretBytes};
use bowerbird_oauth::PrivateJwkSet;
use sha2::{Digest, Sha256};

use super::{ConfigError, Settings, Values};

/// The secrets that seal sessions, newest first.
pub(crate) fn cookie_secrets(
    values: &Values,
    settings: &Settings,
    entropy: &dyn Entropy,
) -> Result<Vec<Secret>, ConfigError> {
    let secrets = configured_or_made(values, settings, entropy, "BOWERBIRD_COOKIE_SECRET", "cookie-secret")?;
    if secrets.iter().any(|secret| secret.len() < 32) {
        return Err(ConfigError::named("BOWERBIRD_COOKIE_SECRET", "each secret needs 32 characters or more"));
    }
    Ok(secrets)
}

/// The keys that encrypt stored credentials, newest first.
pub(crate) fn encryption_keys(
    values: &Values,
    settings: &Settings,
    entropy: &dyn Entropy,
) -> Result<Vec<KeyEncryptionKey>, ConfigError> {
    let texts = configured_or_made(values, settings, entropy, "BOWERBIRD_ENCRYPTION_KEY", "encryption-key")?;
    texts.iter().map(key_encryption_key).collect()
}

/// The keys of a confidential client; None makes a public one.
pub(crate) fn client_keys(values: &Values) -> Result<Option<PrivateJwkSet>, ConfigError> {
    const NAME: &str = "BOWERBIRD_CLIENT_KEYS";
    let Some(given) = values.get(NAME) else { return Ok(None) };
    let text = if given.starts_with('{') {
        Secret::new(given)
    } else {
        let path = Path::new(given);
        Secret::new(fs::read_to_string(path).map_err(|source| ConfigError::KeyFile { path: path.to_owned(), source })?)
    };
    let problem =
        |source| ConfigError::named(NAME, format!("it is not a private JWK set of ES256 keys with kids ({source})"));
    PrivateJwkSet::parse(text.expose()).map(Some).map_err(problem)
}

/// 32 random bytes as base64url: what a cookie secret or an encryption key looks like.
pub(crate) fn generate_text_secret(entropy: &dyn Entropy) -> Secret {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    let text = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
    bytes.fill(0);
    text
}

/// A key's name: derived from the key itself, so that it stays the same whatever place in the list it takes. A hash of
/// 32 random bytes tells nothing about them.
pub(crate) fn kek_id(key: &SecretBytes) -> String {
    let digest = Sha256::new().chain_update(b"bowerbird key id").chain_update(key.expose()).finalize();
    digest.iter().take(5).fold(String::from("k"), |id, byte| format!("{id}{byte:02x}"))
}

/// Writes a file that only its owner may read, all or nothing. Fails if it exists.
pub(crate) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn configured_or_made(
    values: &Values,
    settings: &Settings,
    entropy: &dyn Entropy,
    name: &'static str,
    kind: &'static str,
) -> Result<Vec<Secret>, ConfigError> {
    let configured: Vec<Secret> = values.list(name).into_iter().map(Secret::new).collect();
    if !configured.is_empty() {
        return Ok(configured);
    }
    if !settings.is_loopback() {
        return Err(ConfigError::MissingSecret { name, kind, base_url: settings.base_url.to_string() });
    }
    let path = settings.data_dir.join(kind);
    let made = read_or_make(&path, entropy).map_err(|source| ConfigError::KeyFile { path: path.clone(), source })?;
    Ok(vec![made])
}

fn read_or_make(path: &Path, entropy: &dyn Entropy) -> io::Result<Secret> {
    match fs::read_to_string(path) {
        // An empty file is a first start that died half-way in an older version; never treat it as a key.
        Ok(text) if text.trim().is_empty() => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty; remove it if no data needs it"))
        }
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let secret = generate_text_secret(entropy);
            // Written aside and linked into place: two first starts at once end with one key, never with half of one.
            let draft = path.with_extension(format!("{}.new", std::process::id()));
            write_private(&draft, secret.expose())?;
            let linked = fs::hard_link(&draft, path);
            fs::remove_file(&draft)?;
            match linked {
                Ok(()) => Ok(secret),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    fs::read_to_string(path).map(|text| Secret::new(text.trim()))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn key_encryption_key(text: &Secret) -> Result<KeyEncryptionKey, ConfigError> {
    let text = text.expose();
    let bytes = if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
    } else {
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=').replace('+', "-").replace('/', "_")).ok()
    };
    let problem = || {
        ConfigError::named("BOWERBIRD_ENCRYPTION_KEY", "each key needs exactly 32 bytes, as base64url or hexadecimal")
    };
    let key = SecretBytes::new(bytes.filter(|bytes| bytes.len() == 32).ok_or_else(problem)?);
    Ok(KeyEncryptionKey { id: kek_id(&key), key })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    fn sources(pairs: &'static [(&str, &str)], data_dir: &Path) -> (Values, Settings) {
        let folder = data_dir.display().to_string();
        let lookup = |name: &str| {
            if name == "BOWERBIRD_DATA_DIR" {
                return Some(folder.clone());
            }
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let values = Values::gather(&|_| None, &lookup, None).unwrap();
        let settings = Settings::from_values(&values).unwrap();
        (values, settings)
    }

    #[test]
    fn the_first_start_makes_keys_that_the_second_one_finds() {
        let folder = tempfile::tempdir().unwrap();
        let (values, settings) = sources(&[], &folder.path().join("data"));
        let first = encryption_keys(&values, &settings, &SeededEntropy::new(1)).unwrap();
        let second = encryption_keys(&values, &settings, &SeededEntropy::new(2)).unwrap();
        assert_eq!(first[0].id, second[0].id);
        assert_eq!(first[0].key.expose(), second[0].key.expose());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("data/encryption-key")), 0o600);
        assert_eq!(mode(&folder.path().join("data")), 0o700);
        assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_public_server_without_secrets_is_refused_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (values, settings) =
            sources(&[("BOWERBIRD_BASE_URL", "https://app.example.org")], &folder.path().join("data"));
        let refused = cookie_secrets(&values, &settings, &SeededEntropy::new(1));
        assert!(matches!(refused, Err(ConfigError::MissingSecret { name: "BOWERBIRD_COOKIE_SECRET", .. })));
        assert!(!folder.path().join("data").exists());
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
    fn a_short_cookie_secret_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let (values, settings) = sources(&[("BOWERBIRD_COOKIE_SECRET", "tooshortcanary")], folder.path());
        let refused = cookie_secrets(&values, &settings, &SeededEntropy::new(1)).unwrap_err();
        assert!(!refused.to_string().contains("tooshortcanary"));
    }
}
