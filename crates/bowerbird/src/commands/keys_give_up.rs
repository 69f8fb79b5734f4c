//! `bowerbird keys forget-client` and `bowerbird keys abandon`: for whoever has lost a key for good. Neither does anything
//! without `--confirm`, and both say first what it means.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, USER};
use crate::compose::open_database;
use crate::config::{self, EncryptionKeys};
use crate::guards::Guards;
use crate::load::Loaded;
use crate::printer::Printer;

/// Asks everybody to sign in again whose access is bound to a client key that is gone.
pub(crate) async fn forget_client(
    loaded: &Loaded,
    kid: &str,
    confirmed: bool,
    printer: Printer,
) -> Result<ExitCode, Failure> {
    let configured = config::client_keys(&loaded.values)?;
    if configured.is_some_and(|keys| keys.key(kid).is_some()) {
        return Err(Failure::user(format!("the client key {kid} is configured: nothing is lost with it"))
            .with_hint("`bowerbird keys status` says which keys may be removed; take the key out first"));
    }
    Guards::refuse_a_lost_database(&loaded.settings)?;
    let database = open_database(&loaded.settings).await?;
    let bound = database.stores().credentials.count_by_client_key().await.map_err(Failure::internal)?;
    let count = bound.iter().find(|(bound, _)| bound.as_deref() == Some(kid)).map_or(0, |(_, count)| *count);
    if count == 0 {
        database.close().await;
        return Err(Failure::user(format!("no live sign-in is bound to a client key {kid}"))
            .with_hint("`bowerbird keys status` shows the keys that sign-ins are bound to"));
    }
    if !confirmed {
        database.close().await;
        return Err(unconfirmed(
            format!(
                "{count} sign-ins are bound to the client key {kid}, and would end: these people must sign in again"
            ),
            &format!("bowerbird keys forget-client {kid} --confirm"),
        ));
    }
    let forgotten = database.forget_client_key(kid).await.map_err(Failure::internal)?;
    database.close().await;
    if printer.is_json() {
        printer.value(&json!({"forgotten": kid, "needReauth": forgotten}));
    } else {
        printer.line(&format!(
            "{forgotten} sign-ins are given up. Their people are asked to sign in again, and told why."
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Drops what only a lost encryption key could open.
pub(crate) async fn abandon(
    loaded: &Loaded,
    key: &str,
    confirmed: bool,
    printer: Printer,
) -> Result<ExitCode, Failure> {
    let configured = EncryptionKeys::find(&loaded.values, &loaded.settings)?;
    if configured.is_some_and(|keys| keys.list().iter().any(|known| known.id == key)) {
        return Err(Failure::user(format!("the encryption key {key} is configured: nothing is lost"))
            .with_hint("`bowerbird keys rotate` brings in a newer one without losing anything"));
    }
    Guards::refuse_a_lost_database(&loaded.settings)?;
    let database = open_database(&loaded.settings).await?;
    let wrapped = database.stores().data_keys.count_by_kek().await.map_err(Failure::internal)?;
    let Some((_, count)) = wrapped.iter().find(|(id, _)| id == key) else {
        database.close().await;
        let known: Vec<&str> = wrapped.iter().map(|(id, _)| id.as_str()).collect();
        return Err(Failure::user(format!("nothing in the database is under an encryption key {key}"))
            .with_hint(format!("the keys that it needs are: {}", known.join(", "))));
    };
    if !confirmed {
        database.close().await;
        return Err(unconfirmed(
            format!(
                "the accesses of {count} accounts are encrypted under {key}, and would be dropped for good: a backup of the \
                 key could not bring them back. The accounts, their ids, profiles and sessions stay; each person must sign \
                 in again, at whose server the old access stays open until it ends by itself"
            ),
            &format!("bowerbird keys abandon {key} --confirm"),
        ));
    }
    let abandoned = database.abandon_encryption_key(key).await.map_err(Failure::internal)?;
    database.close().await;
    if printer.is_json() {
        let (accounts, credentials) = (abandoned.accounts, abandoned.credentials);
        printer.value(&json!({"abandoned": key, "accounts": accounts, "needReauth": credentials}));
    } else {
        printer.line(&format!(
            "{} accesses of {} accounts are dropped. Their people are asked to sign in again, and told why.",
            abandoned.credentials, abandoned.accounts
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn unconfirmed(problem: String, command: &str) -> Failure {
    let hint = format!("nothing was changed; look for the key in your backups first, and if it is gone: `{command}`");
    Failure { code: USER, ..Failure::user(problem) }.with_hint(hint)
}
