//! The secrets: from the environment or the configuration file, or made on first start in the data folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::Secret;
use bowerbird_core::ports::Entropy;
use bowerbird_oauth::PrivateJwkSet;

use super::{ConfigError, Settings, Values};

/// What servers seal with whose operators have set nothing; a move from one may bring it along.
const PUBLISHED: [&str; 1] = ["default-secret-for-development-only"];

/// The secrets that seal sessions, newest first.
pub(crate) fn cookie_secrets(
    values: &Values,
    settings: &Settings,
    entropy: &dyn Entropy,
) -> Result<Vec<Secret>, ConfigError> {
    const NAME: &str = "BOWERBIRD_COOKIE_SECRET";
    let listed: Vec<Secret> = values.list(NAME).into_iter().map(Secret::new).collect();
    let secrets = if !listed.is_empty() {
        listed
    } else if settings.is_loopback() {
        let path = settings.data_dir.join("cookie-secret");
        read_or_make(&path, entropy).map_err(|source| ConfigError::KeyFile { path, source })?
    } else {
        let base_url = settings.base_url.to_string();
        return Err(ConfigError::MissingSecret { name: NAME, kind: "cookie-secret", base_url });
    };
    if secrets.iter().any(|secret| secret.len() < 32) {
        return Err(ConfigError::named(NAME, "each secret needs 32 characters or more"));
    }
    if secrets.iter().any(|secret| PUBLISHED.iter().any(|known| secret.matches(known))) {
        let problem =
            "one of the secrets is the example of a published package: whoever knows it can sign in as anybody";
        return Err(ConfigError::named(NAME, problem));
    }
    Ok(secrets)
}

/// Puts a new secret first into the file of the data folder; gives how many there are now.
pub(crate) fn add_cookie_secret(settings: &Settings, entropy: &dyn Entropy) -> Result<usize, ConfigError> {
    let path = settings.data_dir.join("cookie-secret");
    let add = || {
        let mut secrets = read_or_make(&path, entropy)?;
        secrets.insert(0, generate_text_secret(entropy));
        let lines: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        replace_private(&path, Secret::new(lines.join("\n")).expose())?;
        Ok(secrets.len())
    };
    add().map_err(|source| ConfigError::KeyFile { path: path.clone(), source })
}

/// What was not set and is made in the data folder of this instance, though every instance on one PostgreSQL needs the
/// same: with another cookie secret a session of one is none at the other, with another encryption key its access is not
/// readable there.
pub(crate) fn not_shared(values: &Values, settings: &Settings) -> Vec<&'static str> {
    let several = ["postgres://", "postgresql://"].iter().any(|scheme| settings.database_url.starts_with(scheme));
    let unset = |names: &[&str]| several && names.iter().all(|name| values.get(name).is_none());
    let mut found = Vec::new();
    for names in [
        ["BOWERBIRD_COOKIE_SECRET"].as_slice(),
        ["BOWERBIRD_ENCRYPTION_KEY", "BOWERBIRD_ENCRYPTION_KEY_FILE", "BOWERBIRD_ENCRYPTION_KEYRING"].as_slice(),
        // Made in the database; set, it notices a copy of the database.
        ["BOWERBIRD_CLUSTER_ID"].as_slice(),
    ] {
        found.extend(unset(names).then_some(names[0]));
    }
    found
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

/// Writes a file that only its owner may read, all or nothing. Fails if it exists.
pub(crate) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Replaces a file by one that only its owner may read, in one step.
pub(crate) fn replace_private(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    write_private(&draft, content)?;
    fs::rename(&draft, path).inspect_err(|_| drop(fs::remove_file(&draft)))?;
    // The name must not go back to the old file when the power fails.
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Keeps other commands from changing keys at the same time: of two that read, add and write, one key would be lost, perhaps
/// after data was put under it. Given back when the handle is dropped.
pub(crate) fn lock_folder(folder: &Path) -> io::Result<fs::File> {
    let folder = fs::File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    folder.lock()?;
    Ok(folder)
}

/// The secrets of a file, one a line; lines that begin with `#` are left out.
pub(crate) fn read_lines(path: &Path) -> io::Result<Vec<Secret>> {
    let text = Secret::new(fs::read_to_string(path)?);
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<Secret> = lines.map(Secret::new).collect();
    // An empty file is a first start that died half-way in an older version; never treat it as a key.
    if lines.is_empty() {
        let problem = "the file is empty; remove it if no data needs it";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(lines)
}

/// The secrets of a file, which is made with one if there is none.
pub(crate) fn read_or_make(path: &Path, entropy: &dyn Entropy) -> io::Result<Vec<Secret>> {
    match read_lines(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Written aside and linked into place: two first starts at once end with one key, never with half of one.
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    write_private(&draft, generate_text_secret(entropy).expose())?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read_lines(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use bowerbird_core::testing::SeededEntropy;

    use super::super::EncryptionKeys;
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
        assert!(EncryptionKeys::find(&values, &settings).unwrap().is_none());
        let first = EncryptionKeys::make(&settings, &SeededEntropy::new(1)).unwrap().list();
        let second = EncryptionKeys::find(&values, &settings).unwrap().unwrap().list();
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
    fn several_instances_are_told_what_they_must_share() {
        let folder = Path::new("/nowhere");
        let (values, settings) = sources(&[("BOWERBIRD_DATABASE_URL", "postgres://db.example/bowerbird")], folder);
        let all = ["BOWERBIRD_COOKIE_SECRET", "BOWERBIRD_ENCRYPTION_KEY", "BOWERBIRD_CLUSTER_ID"];
        assert_eq!(not_shared(&values, &settings), all);
        let (values, settings) = sources(
            &[
                ("BOWERBIRD_DATABASE_URL", "postgresql://db.example/bowerbird"),
                ("BOWERBIRD_COOKIE_SECRET", "a-secret-that-is-shared-by-all-0123456789"),
                ("BOWERBIRD_ENCRYPTION_KEY_FILE", "/keys"),
                ("BOWERBIRD_CLUSTER_ID", "0123456789abcdef0123456789abcdef"),
            ],
            folder,
        );
        assert!(not_shared(&values, &settings).is_empty());
        let (values, settings) = sources(&[], folder);
        assert!(not_shared(&values, &settings).is_empty(), "a SQLite file has one instance");
    }

    #[test]
    fn a_short_cookie_secret_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let (values, settings) = sources(&[("BOWERBIRD_COOKIE_SECRET", "tooshortcanary")], folder.path());
        let refused = cookie_secrets(&values, &settings, &SeededEntropy::new(1)).unwrap_err();
        assert!(!refused.to_string().contains("tooshortcanary"));
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_refused() {
        const BOTH: &str = "a-secret-that-is-shared-by-all-0123456789,default-secret-for-development-only";
        let folder = tempfile::tempdir().unwrap();
        let (values, settings) = sources(&[("BOWERBIRD_COOKIE_SECRET", BOTH)], folder.path());
        assert!(cookie_secrets(&values, &settings, &SeededEntropy::new(1)).is_err());
    }
}
