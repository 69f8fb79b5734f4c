//! `bowerbird backup` and `bowerbird restore`

use std::path::Path;
use std::process::ExitCode;

use bowerbird_net::OsEntropy;
use bowerbird_storage_file::FileSpill;
use bowerbird_storage_sql::BackupError;
use serde_json::json;

use super::{Failure, USER};
use crate::compose::{cluster_id, compose, open_database};
use crate::load::Loaded;
use crate::printer::Printer;

/// Copies the database into a new file, while servers go on.
pub(crate) async fn backup(loaded: &Loaded, file: &Path, printer: Printer) -> Result<ExitCode, Failure> {
    let database = open_database(&loaded.settings).await?;
    let cluster = cluster_id(&loaded.settings, &database, &OsEntropy).await?;
    // Counted on first: whatever is stored after this copy is of a later epoch, so that a restore is noticed.
    let epoch = database.advance_epoch().await.map_err(Failure::internal)?;
    let copied = database.backup_to(file).await;
    database.close().await;
    copied.map_err(|error| match error {
        BackupError::Postgres | BackupError::Exists(_) => Failure { code: USER, ..Failure::user(error) },
        error => Failure::internal(error).with_hint("nothing was left behind; make room or choose another folder"),
    })?;
    if printer.is_json() {
        let file = file.display().to_string();
        printer.value(&json!({"file": file, "clusterId": cluster, "epoch": epoch.number}));
    } else {
        printer.line(&format!("The database is copied to {}.", file.display()));
        printer.line("The keys are not in it. Keep them apart: without the encryption key nobody can read the copy.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes an operator's word that the restored database is the one to go on with.
pub(crate) async fn confirm_restore(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let composition = compose(loaded).await?;
    let epoch = composition.database.epoch().await.map_err(Failure::internal)?;
    let seen = composition.guards.seen_epoch()?;
    if !epoch.unconfirmed_restore && seen.is_none_or(|seen| seen <= epoch.number) {
        composition.database.close().await;
        return Err(Failure::user("this database is not older than what was seen here: there is nothing to confirm")
            .with_hint("a server that finds an older database says so in its log, and stops refreshing"));
    }
    let confirmed = composition.database.confirm_restore(seen.unwrap_or(0)).await.map_err(Failure::internal)?;
    let (doubted, epoch) = confirmed;
    FileSpill::discard(&loaded.settings.data_dir).map_err(Failure::internal)?;
    composition.guards.raise(epoch.number)?;
    composition.database.close().await;
    if printer.is_json() {
        printer.value(&json!({"confirmed": true, "inDoubt": doubted, "epoch": epoch.number}));
    } else {
        printer.line(&format!("Confirmed. {doubted} credentials are tried once more as they are used or come due."));
        printer.line(
            "Whose access was renewed after the backup must sign in again; they are told so, nothing is deleted.",
        );
    }
    Ok(ExitCode::SUCCESS)
}
