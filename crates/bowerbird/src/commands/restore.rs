//! `bowerbird restore FILE`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bowerbird_core::ports::Clock as _;
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_storage_file::InstallationMarker;
use bowerbird_storage_sql::{DatabaseUrl, ExaminedBackup, RestoreError};
use serde_json::json;

use super::{Failure, USER};
use crate::compose::{checked_keys, cluster_id};
use crate::config::EncryptionKeys;
use crate::load::Loaded;
use crate::printer::Printer;

/// Puts a backup in the place of the database. What it holds may be spent: it is marked as restored, so that no server
/// refreshes from it before an operator has confirmed it.
pub(crate) async fn restore(loaded: &Loaded, backup: &Path, printer: Printer) -> Result<ExitCode, Failure> {
    let settings = &loaded.settings;
    let path = match settings.database_url.parse::<DatabaseUrl>().map_err(Failure::internal)? {
        DatabaseUrl::Sqlite(path) => path,
        DatabaseUrl::Postgres(_) => return Err(postgres()),
    };
    if is_same_file(backup, &path) {
        return Err(Failure::user(format!("{} is the database itself", path.display())));
    }
    let examined = ExaminedBackup::of(backup, &path).await.map_err(refused)?;
    let database = examined.database();
    // Both before anything is replaced: a server would not start on it.
    let cluster = cluster_id(settings, database, &OsEntropy).await?;
    let found = EncryptionKeys::find(&loaded.values, settings)?;
    let _keys = checked_keys(found, settings, database, &OsEntropy).await?;
    let marker = InstallationMarker::in_folder(&settings.data_dir);
    let seen = marker.read().map_err(Failure::internal)?;
    if let Some(seen) = seen.as_ref().filter(|seen| seen.cluster_id != cluster) {
        let problem = format!("the backup belongs to the installation {cluster}, and this one is {}", seen.cluster_id);
        return Err(Failure::user(problem).with_hint(format!(
            "two installations on one database would end each other's sign-ins; to move {cluster} here, use an empty data \
             folder"
        )));
    }
    let epoch = database.epoch().await.map_err(Failure::internal)?.number;
    // Whoever was ahead of the backup, or may have been: it is for the operator to say.
    database.note_restore(seen.map_or(0, |seen| seen.epoch).max(epoch + 1)).await.map_err(Failure::internal)?;
    let kept = kept_name(&path)?;
    let replaces = path.exists();
    examined.put_in_place(&kept).await.map_err(refused)?;
    let kept = replaces.then_some(kept);
    if printer.is_json() {
        let path = path.display().to_string();
        let kept = kept.map(|kept| kept.display().to_string());
        printer
            .value(&json!({"database": path, "kept": kept, "clusterId": cluster, "epoch": epoch, "confirmed": false}));
        return Ok(ExitCode::SUCCESS);
    }
    printer.line(&format!("{} is in place as {}.", backup.display(), path.display()));
    if let Some(kept) = kept {
        printer.line(&format!("The database that was there is kept as {}.", kept.display()));
    }
    printer.line("Nothing is refreshed from it yet: tokens that were renewed after the backup are spent in it.");
    printer.line("If a newer database still exists, restore that one instead, and nobody has to sign in again.");
    printer.line("If it is gone for good, run `bowerbird restore --confirm`. Then start the server.");
    Ok(ExitCode::SUCCESS)
}

fn postgres() -> Failure {
    Failure::user("a PostgreSQL database is restored with its own tools").with_hint(
        "stop every server; `pg_restore --clean --if-exists --single-transaction -d DATABASE FILE`, or a recovery to a point \
         in time; start them: those that keep a data folder notice the older database and refresh nothing until \
         `bowerbird restore --confirm`. Where no data folder is kept, confirm before the first start",
    )
}

fn refused(error: RestoreError) -> Failure {
    let hint = match &error {
        RestoreError::InUse(_) => "nothing was changed",
        RestoreError::Damaged(_) | RestoreError::Open(_) => "the database is as it was; try an older backup",
        RestoreError::File { .. } | RestoreError::Log { .. } => "the database is as it was",
    };
    Failure { code: USER, ..Failure::user(error) }.with_hint(hint)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// A name that is free, with the time in it.
fn kept_name(path: &Path) -> Result<PathBuf, Failure> {
    let now = jiff::Timestamp::from_second(SystemClock::new().now().as_seconds()).map_err(Failure::internal)?;
    let stamp = now.strftime("%Y-%m-%dT%H%M%SZ");
    let named = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".replaced-{stamp}{ending}"));
        PathBuf::from(name)
    };
    let mut kept = named("");
    let mut number = 1;
    while kept.exists() {
        number += 1;
        kept = named(&format!("-{number}"));
    }
    Ok(kept)
}
