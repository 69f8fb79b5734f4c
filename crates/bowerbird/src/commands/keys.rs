//! `bowerbird keys generate` and `bowerbird keys list`

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use bowerbird_core::Secret;
use bowerbird_core::ports::{Clock as _, Entropy};
use bowerbird_events::WebhookSecret;
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_oauth::{PrivateJwkSet, SigningKey};
use serde_json::json;

use super::Failure;
use crate::cli::KeyKind;
use crate::config::{self, EncryptionKeys};
use crate::load::Loaded;
use crate::printer::Printer;

/// Makes a key.
pub(crate) fn generate(kind: KeyKind, into: Option<&Path>, printer: Printer) -> Result<ExitCode, Failure> {
    if kind != KeyKind::Client {
        if into.is_some() {
            return Err(Failure::user("`--into` is for client keys only")
                .with_hint("print the key and set it in the environment"));
        }
        let secret = match kind {
            KeyKind::WebhookSecret => {
                let mut random = [0; 32];
                OsEntropy.fill(&mut random);
                Secret::new(WebhookSecret::generate(&random))
            }
            _ => config::generate_text_secret(&OsEntropy),
        };
        if printer.is_json() {
            printer.value(&json!({"secret": secret.expose()}));
        } else {
            printer.line(secret.expose());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let key = new_client_key()?;
    let Some(path) = into else {
        let set = PrivateJwkSet::new(vec![key]).map_err(Failure::internal)?;
        printer.line(set.to_json().expose());
        return Ok(ExitCode::SUCCESS);
    };
    let kid = key.kid().unwrap_or_default().to_owned();
    add_to_file(key, path)?;
    if printer.is_json() {
        printer.value(&json!({"kid": kid, "file": path}));
    } else {
        printer.line(&format!("Key {kid} now comes first in {}; new logins use it after a restart.", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists key names.
pub(crate) fn list(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let Loaded { values, settings } = loaded;
    let encryption = EncryptionKeys::find(values, settings)?.map_or_else(Vec::new, |keys| keys.list());
    let cookies = config::cookie_secrets(values, settings, &OsEntropy)?;
    let clients = config::client_keys(values)?;
    let mut rows = Vec::new();
    let mut add = |kind: &str, name: String, newest: bool| {
        let used = if newest { "new and old" } else { "old only" };
        rows.push(vec![kind.to_owned(), name, used.to_owned()]);
    };
    for (at, key) in encryption.iter().enumerate() {
        add("encryption-key", key.id.clone(), at == 0);
    }
    for at in 0..cookies.len() {
        // A seal carries its secret's number, counted from the oldest.
        add("cookie-secret", (cookies.len() - at).to_string(), at == 0);
    }
    for (at, key) in clients.iter().flat_map(PrivateJwkSet::keys).enumerate() {
        add("client", key.kid().unwrap_or_default().to_owned(), at == 0);
    }
    if printer.is_json() {
        let rows: Vec<_> = rows.iter().map(|row| json!({"kind": row[0], "name": row[1], "usedFor": row[2]})).collect();
        printer.value(&json!({"keys": rows}));
    } else {
        printer.table(&["KIND", "NAME", "USED FOR"], &rows);
    }
    Ok(ExitCode::SUCCESS)
}

fn new_client_key() -> Result<SigningKey, Failure> {
    let mut scalar = [0; 32];
    let mut suffix = [0; 3];
    OsEntropy.fill(&mut suffix);
    let suffix = format!("{:06x}", u32::from_be_bytes([0, suffix[0], suffix[1], suffix[2]]));
    // One in 2^32 draws is not a valid P-256 scalar.
    let key = loop {
        OsEntropy.fill(&mut scalar);
        if let Ok(key) = SigningKey::from_scalar(&scalar) {
            break key;
        }
    };
    scalar.fill(0);
    let today = jiff::Timestamp::from_second(SystemClock::new().now().as_seconds()).map_err(Failure::internal)?;
    Ok(key.with_kid(format!("{}-{suffix}", today.strftime("%Y-%m-%d"))))
}

/// Puts the key first and replaces the file in one step; a crash leaves the old file or the new one.
fn add_to_file(key: SigningKey, path: &Path) -> Result<(), Failure> {
    let mut keys = vec![key];
    match fs::read_to_string(path) {
        Ok(text) => {
            let set = PrivateJwkSet::parse(&text).map_err(Failure::user)?;
            keys.extend(set.keys().iter().cloned());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::user(error)),
    }
    let set = PrivateJwkSet::new(keys).map_err(Failure::user)?;
    config::replace_private(path, set.to_json().expose()).map_err(Failure::user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_comes_first_and_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        add_to_file(new_client_key().unwrap(), &path).unwrap();
        let first = PrivateJwkSet::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let key = new_client_key().unwrap();
        let kid = key.kid().unwrap().to_owned();
        add_to_file(key, &path).unwrap();
        let second = PrivateJwkSet::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(second.newest().kid(), Some(kid.as_str()));
        assert!(second.key(first.newest().kid().unwrap()).is_some());
    }
}
