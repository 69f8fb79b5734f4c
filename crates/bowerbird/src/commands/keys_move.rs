//! `bowerbird keys to-keyring` and `bowerbird keys to-file`: the encryption keys go from one place to another. Nothing is
//! removed before the new place has shown that it keeps them.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use bowerbird_core::Secret;
use bowerbird_core::ports::KeyEncryptionKey;
use bowerbird_net::OsEntropy;
use serde_json::json;

use super::{CONFIG, Failure};
use crate::compose::open_database;
use crate::config::{self, ConfigError, EncryptionKeys, KEYRING_NAME};
use crate::guards::Guards;
use crate::load::Loaded;
use crate::printer::Printer;

/// Longer names are no names; a keyring's own limits are wider.
const NAME_LENGTH: usize = 64;

/// Puts the keys into the keyring.
pub(crate) async fn to_keyring(
    loaded: &Loaded,
    entry: &str,
    remove_file: bool,
    printer: Printer,
) -> Result<ExitCode, Failure> {
    if entry.is_empty() || entry.len() > NAME_LENGTH || entry.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Failure::user("the name of an entry has 1 to 64 characters, and no spaces"));
    }
    let outside = EncryptionKeys::find_outside_the_keyring(&loaded.values, &loaded.settings)?;
    let kept = config::read_entry(entry)?;
    let file = outside.as_ref().and_then(EncryptionKeys::file).map(|file| file.path().to_owned());
    if remove_file && file.is_none() {
        return Err(Failure::user("the keys are in no file that could be removed; nothing was changed"));
    }
    let (keys, stored, made) = match (outside.map(|keys| keys.list()), kept) {
        (Some(keys), Some(kept)) => {
            let stored = adds_to(&keys, &kept, entry)?;
            (keys, stored, false)
        }
        (Some(keys), None) => (keys, true, false),
        (None, Some(kept)) => (kept, false, false),
        (None, None) => (vec![first_key(loaded).await?], true, true),
    };
    if stored {
        config::write_entry(entry, &keys)?;
    }
    if let Some(path) = file.as_deref().filter(|_| remove_file) {
        let failed = |source| ConfigError::KeyFile { path: path.to_owned(), source };
        fs::remove_file(path).map_err(failed)?;
    }
    let removed = file.filter(|_| remove_file);
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    if printer.is_json() {
        let set = format!("{KEYRING_NAME}={entry}");
        printer.value(
            &json!({"entry": entry, "keys": ids, "stored": stored, "made": made, "removedFile": removed, "set": set}),
        );
        return Ok(ExitCode::SUCCESS);
    }
    let did = match (stored, made) {
        (_, true) => "Made an encryption key in",
        (true, false) => "Put the encryption keys into",
        (false, false) => "The encryption keys are already in",
    };
    printer.line(&format!("{did} the keyring entry {entry}: {}.", ids.join(", ")));
    if let Some(path) = removed {
        printer.line(&format!("Removed {}.", path.display()));
    }
    printer
        .line(&format!("Set {KEYRING_NAME}={entry}, unset the other places, and restart. Keep a copy of the keys for"));
    printer.line("the day when this machine is gone: `bowerbird keys to-file FILE`.");
    Ok(ExitCode::SUCCESS)
}

/// Whether there is anything to write. What the entry holds and the configuration does not would be lost, so that is refused.
fn adds_to(keys: &[KeyEncryptionKey], kept: &[KeyEncryptionKey], entry: &str) -> Result<bool, Failure> {
    let has = |id: &str| keys.iter().any(|key| key.id == id);
    let others: Vec<&str> = kept.iter().map(|key| key.id.as_str()).filter(|id| !has(id)).collect();
    if !others.is_empty() {
        let problem = format!("the keyring entry {entry} holds other keys: {}", others.join(", "));
        return Err(Failure::user(problem).with_hint(format!(
            "name another entry; or, if these are the keys in use, set {KEYRING_NAME}={entry} and unset the other places; nothing was changed"
        )));
    }
    Ok(!keys.iter().map(|key| &key.id).eq(kept.iter().map(|key| &key.id)))
}

/// A new key, for a database that needs no older one.
async fn first_key(loaded: &Loaded) -> Result<KeyEncryptionKey, Failure> {
    Guards::refuse_a_lost_database(&loaded.settings)?;
    let database = open_database(&loaded.settings).await?;
    let needed = database.stores().data_keys.count_by_kek().await.map_err(Failure::internal)?;
    database.close().await;
    if let [(id, _), ..] = needed.as_slice() {
        let problem = format!("the database needs the encryption key {id}, and it is not configured");
        let hint = "set the variable or the file that holds it, and run this again; nothing was changed";
        return Err(Failure { code: CONFIG, ..Failure::user(problem) }.with_hint(hint));
    }
    Ok(config::new_key(&OsEntropy)?)
}

/// Copies the keys into a new file.
pub(crate) fn to_file(loaded: &Loaded, file: &Path, printer: Printer) -> Result<ExitCode, Failure> {
    let Some(keys) = EncryptionKeys::find(&loaded.values, &loaded.settings)? else {
        return Err(Failure::user("there is no encryption key yet").with_hint("the first start makes one"));
    };
    let keys = keys.list();
    let lines: Vec<Secret> = keys.iter().map(config::key_text).collect();
    let lines: Vec<&str> = lines.iter().map(Secret::expose).collect();
    let content = Secret::new(format!("{}\n", lines.join("\n")));
    config::write_private(file, content.expose()).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::user(format!("{} exists; nothing was changed", file.display())).with_hint("name a new file")
        }
        _ => Failure::user(error),
    })?;
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    if printer.is_json() {
        printer.value(&json!({"file": file, "keys": ids}));
    } else {
        printer.line(&format!("Copied into {}, which only its owner may read: {}.", file.display(), ids.join(", ")));
        printer.line("Whoever has this file and the database has the tokens of everybody in it: keep them apart.");
    }
    Ok(ExitCode::SUCCESS)
}
