//! `bowerbird keys rotate` and `bowerbird keys status`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bowerbird_core::ports::Stores;
use bowerbird_net::OsEntropy;
use bowerbird_oauth::PrivateJwkSet;
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::{KeyRotation, Rotated};
use serde_json::json;

use super::{Failure, USER, keys};
use crate::cli::RotatedKey;
use crate::compose::{checked_keys, cluster_id, open_database};
use crate::config::{self, EncryptionKeys};
use crate::load::Loaded;
use crate::printer::Printer;

/// Brings in a new key, or completes what a newer key began.
pub(crate) async fn rotate(loaded: &Loaded, kind: RotatedKey, printer: Printer) -> Result<ExitCode, Failure> {
    match kind {
        RotatedKey::Encryption => encryption(loaded, printer).await,
        RotatedKey::Cookie => cookie(loaded, printer),
        RotatedKey::Client => client(loaded, printer),
    }
}

async fn encryption(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let (database, keys) = open(loaded).await?;
    let cluster_id = cluster_id(&loaded.settings, &database, &OsEntropy).await?;
    let data_keys = database.stores().data_keys;
    let counts = data_keys.count_by_kek().await.map_err(Failure::internal)?;
    let newest = keys.list().first().map(|key| key.id.clone()).unwrap_or_default();
    // A run that was killed, or keys put in by hand: what is there is completed before anything new is made.
    let unfinished = counts.iter().any(|(id, _)| *id != newest);
    let made = if unfinished { None } else { new_encryption_key(loaded, &keys)? };
    let rotation = KeyRotation::new(cluster_id, data_keys, Arc::new(keys), Arc::new(OsEntropy));
    let mut tell = |progress: &bowerbird_vault::RotationProgress| {
        let done = progress.rewrapped + progress.skipped + progress.unreadable;
        printer.progress("data keys", done, progress.total);
    };
    let rotated = rotation.run(&mut tell).await.map_err(|error| {
        Failure::internal(error).with_hint("nothing is lost; run `bowerbird keys rotate` again to go on")
    })?;
    database.close().await;
    show(&rotated, made.is_some(), printer);
    Ok(if rotated.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(USER) })
}

/// Adds a key to the file, if the keys are in one that only this machine uses. None when the configuration already has a
/// newer key than those that it replaces.
fn new_encryption_key(loaded: &Loaded, keys: &EncryptionKeys) -> Result<Option<String>, Failure> {
    let several = "several machines may use this database, and each needs the new key before any data is under it";
    if let EncryptionKeys::Keyring(keyring) = keys {
        if !loaded.settings.database_url.starts_with("sqlite:") {
            return if keys.list().len() > 1 {
                Ok(None)
            } else {
                Err(Failure::user(several).with_hint(format!(
                    "put a new first key into the keyring entry {} on every machine, and run this again",
                    keyring.entry()
                )))
            };
        }
        return keyring.add(&OsEntropy, &loaded.settings.data_dir).map(Some).map_err(Failure::from);
    }
    match keys.file() {
        None if keys.list().len() > 1 => Ok(None),
        None => Err(Failure::user("the encryption key is set in the configuration, and no newer one is there").with_hint(
            "make one with `bowerbird keys generate encryption-key`, set BOWERBIRD_ENCRYPTION_KEY=NEW,OLD, restart every server, and run this again",
        )),
        Some(_) if keys.list().len() > 1 && !loaded.settings.database_url.starts_with("sqlite:") => Ok(None),
        Some(file) if !loaded.settings.database_url.starts_with("sqlite:") => {
            let hint = format!(
                "put a new first line into {} on every machine (`bowerbird keys generate encryption-key`), and run this again",
                file.path().display()
            );
            Err(Failure::user(several).with_hint(hint))
        }
        Some(file) => file.add(&OsEntropy).map(Some).map_err(|error| {
            Failure::from(error).with_hint("put a new first line into the file yourself, and run this again")
        }),
    }
}

fn show(rotated: &Rotated, made: bool, printer: Printer) {
    let Rotated { active, progress, left } = rotated;
    if printer.is_json() {
        let left: Vec<_> = left.iter().map(|(id, count)| json!({"id": id, "dataKeys": count})).collect();
        printer.value(&json!({
            "active": active, "newKeyMade": made, "rewrapped": progress.rewrapped, "skipped": progress.skipped,
            "unreadable": progress.unreadable, "left": left, "oldKeysNeeded": !left.is_empty(),
        }));
        return;
    }
    if made {
        printer.line(&format!("Made the encryption key {active}; running servers use it from now on."));
    }
    printer.line(&format!("Wrapped {} data keys under {active}.", progress.rewrapped));
    if left.is_empty() {
        printer.line(
            "No data key is under an older key. Older keys may be taken out in an hour, when the logins under way",
        );
        printer.line("are over; keep them with the backups that were made before now, which need them.");
    }
    for (id, count) in left {
        printer.line(&format!("{count} data keys are still under {id}: keep that key, and run this again."));
    }
    if progress.unreadable > 0 {
        printer.line(&format!(
            "{} data keys open with no configured key; they were left as they are.",
            progress.unreadable
        ));
    }
}

fn cookie(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    if loaded.values.get("BOWERBIRD_COOKIE_SECRET").is_some() || !loaded.settings.is_loopback() {
        return Err(Failure::user("the cookie secret is set in the configuration").with_hint(
            "make one with `bowerbird keys generate cookie-secret`, set BOWERBIRD_COOKIE_SECRET=NEW,OLD, and restart",
        ));
    }
    let count = config::add_cookie_secret(&loaded.settings, &OsEntropy)?;
    if printer.is_json() {
        printer.value(&json!({"cookieSecrets": count, "restartNeeded": true}));
    } else {
        printer.line(&format!("Made a cookie secret; {count} are in use after a restart. Nobody is signed out:"));
        printer.line("older seals open, and a session check renews them.");
    }
    Ok(ExitCode::SUCCESS)
}

fn client(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    match loaded.values.get("BOWERBIRD_CLIENT_KEYS") {
        None => Err(Failure::user("this is a public client, which has no keys").with_hint(
            "`bowerbird keys generate client --into FILE` makes the first, BOWERBIRD_CLIENT_KEYS=FILE uses it",
        )),
        Some(text) if text.starts_with('{') => Err(Failure::user("the client keys are set in the configuration")
            .with_hint("put a new key first into the set (`bowerbird keys generate client`), and restart")),
        Some(path) => keys::generate(crate::cli::KeyKind::Client, Some(Path::new(path)), printer),
    }
}

/// Shows which keys are in use, by how much, and which may go. Never a key.
pub(crate) async fn status(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let (database, keys) = open(loaded).await?;
    let cookies = config::cookie_secrets(&loaded.values, &loaded.settings, &OsEntropy)?.len();
    let clients = config::client_keys(&loaded.values)?;
    let rows = rows(&database.stores(), &keys, cookies, clients.as_ref()).await?;
    database.close().await;
    if printer.is_json() {
        let row = |row: &Row| json!({"kind": row.kind, "name": row.name, "inUseBy": row.uses, "state": row.state});
        printer.value(&json!({"keys": rows.iter().map(row).collect::<Vec<_>>()}));
    } else {
        let uses = |row: &Row| row.uses.map_or_else(|| "-".to_owned(), |uses| uses.to_string());
        let row = |row: &Row| vec![row.kind.to_owned(), row.name.clone(), uses(row), row.state.to_owned()];
        printer.table(&["KIND", "NAME", "IN USE BY", "STATE"], &rows.iter().map(row).collect::<Vec<_>>());
    }
    let missing = rows.iter().any(|row| row.state == MISSING);
    Ok(if missing { ExitCode::from(USER) } else { ExitCode::SUCCESS })
}

const NEWEST: &str = "newest";
const NEEDED: &str = "needed";
const MAY_GO: &str = "may be removed";
const MISSING: &str = "MISSING";

struct Row {
    kind: &'static str,
    name: String,
    /// Data keys, or credentials; None where nobody counts.
    uses: Option<u64>,
    state: &'static str,
}

async fn rows(
    stores: &Stores,
    keys: &EncryptionKeys,
    cookies: usize,
    clients: Option<&PrivateJwkSet>,
) -> Result<Vec<Row>, Failure> {
    let wrapped = stores.data_keys.count_by_kek().await.map_err(Failure::internal)?;
    let names = keys.list().into_iter().map(|key| key.id).collect();
    let mut rows = counted("encryption-key", names, &wrapped);
    // A seal carries its secret's number, counted from the oldest. Nobody counts seals: browsers hold them.
    let cookie = |at: usize| Row {
        kind: "cookie-secret",
        name: (cookies - at).to_string(),
        uses: None,
        state: if at == 0 { NEWEST } else { "needed until the longest session is over" },
    };
    rows.extend((0..cookies).map(cookie));
    let live = stores.credentials.count_by_client_key().await.map_err(Failure::internal)?;
    let live: Vec<(String, u64)> = live.into_iter().filter_map(|(kid, count)| Some((kid?, count))).collect();
    let kids = clients.iter().flat_map(|set| set.keys()).map(|key| key.kid().unwrap_or_default().to_owned()).collect();
    rows.extend(counted("client", kids, &live));
    Ok(rows)
}

/// The configured names, newest first, and after them those that are needed but not configured.
fn counted(kind: &'static str, names: Vec<String>, uses: &[(String, u64)]) -> Vec<Row> {
    let used = |name: &str| uses.iter().find(|(used, _)| used == name).map_or(0, |(_, count)| *count);
    let missing = uses.iter().filter(|(used, _)| !names.contains(used));
    let missing = missing.map(|(name, count)| Row { kind, name: name.clone(), uses: Some(*count), state: MISSING });
    let missing: Vec<Row> = missing.collect();
    let configured = names.into_iter().enumerate().map(|(at, name)| {
        let uses = used(&name);
        let state = match (at, uses) {
            (0, _) => NEWEST,
            (_, 0) => MAY_GO,
            _ => NEEDED,
        };
        Row { kind, name, uses: Some(uses), state }
    });
    configured.chain(missing).collect()
}

async fn open(loaded: &Loaded) -> Result<(SqlStores, EncryptionKeys), Failure> {
    let found = EncryptionKeys::find(&loaded.values, &loaded.settings)?;
    let database = open_database(&loaded.settings).await?;
    let keys = checked_keys(found, &loaded.settings, &database, &OsEntropy).await?;
    Ok((database, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_key_that_nothing_uses_may_go() {
        let uses = [("b".to_owned(), 2), ("x".to_owned(), 1)];
        let rows = counted("client", ["a", "b", "c"].map(str::to_owned).to_vec(), &uses);
        let seen: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.uses, row.state)).collect();
        assert_eq!(
            seen,
            [("a", Some(0), NEWEST), ("b", Some(2), NEEDED), ("c", Some(0), MAY_GO), ("x", Some(1), MISSING)]
        );
    }
}
