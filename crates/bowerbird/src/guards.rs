//! The guards at a start: the spill is replayed, and a database that is not what this folder knows is not refreshed from
//! (REFRESH, guards). What they find suspends the vault, and says what to do; nothing is deleted.

use std::path::Path;
use std::time::Duration;

use bowerbird_storage_file::{InstallationMarker, Mark, Standing, standing};
use bowerbird_storage_sql::{DatabaseUrl, SqlStores};
use bowerbird_vault::{Suspension, Vault};

use crate::commands::{CONFIG, Failure};
use crate::config::Settings;

/// How often the count goes on: a backup is noticed as older when at least this much passed since it was made.
const ADVANCE: Duration = Duration::from_mins(1);

/// What this folder knows of its database.
#[derive(Clone)]
pub(crate) struct Guards {
    marker: InstallationMarker,
    database: SqlStores,
    cluster_id: String,
}

impl Guards {
    pub(crate) fn new(settings: &Settings, database: SqlStores, cluster_id: String) -> Self {
        Self { marker: InstallationMarker::in_folder(&settings.data_dir), database, cluster_id }
    }

    /// Refuses to make an empty database where there was one: everybody would have to sign in again, and nobody would
    /// know why. To be asked before the database is opened.
    pub(crate) fn refuse_a_lost_database(settings: &Settings) -> Result<(), Failure> {
        let Ok(DatabaseUrl::Sqlite(path)) = settings.database_url.parse() else { return Ok(()) };
        let marker = InstallationMarker::in_folder(&settings.data_dir);
        let known = marker.read().map_err(Failure::internal)?.is_some();
        if !known || path.exists() || path.parent() != Some(settings.data_dir.as_path()) {
            return Ok(());
        }
        Err(lost(&path, &marker))
    }

    /// Stores what a crash kept from the database, then compares the database with what this folder knows.
    pub(crate) async fn examine(&self, vault: &Vault) -> Result<(), Failure> {
        let recovered = vault.recover().await.map_err(Failure::internal)?;
        if recovered.stored > 0 {
            tracing::info!(answers = recovered.stored, "renewed tokens of before the last stop are stored now");
        }
        let epoch = self.database.epoch().await.map_err(Failure::internal)?;
        let seen = self.marker.read().map_err(Failure::internal)?;
        match standing(seen.as_ref(), &self.mark(epoch.number)) {
            // A database that was made a moment ago is nobody's copy.
            Standing::Other { .. } if epoch.number > 0 => vault.suspend(Suspension::CopiedDatabase),
            Standing::Restored { seen, .. } => {
                self.database.note_restore(seen).await.map_err(Failure::internal)?;
                vault.suspend(Suspension::RestoredBackup);
            }
            _ if epoch.unconfirmed_restore => vault.suspend(Suspension::RestoredBackup),
            _ if recovered.restored > 0 => {
                self.database.note_restore(epoch.number + 1).await.map_err(Failure::internal)?;
            }
            Standing::New | Standing::Known | Standing::Other { .. } => {}
        }
        self.advance(vault).await;
        Ok(())
    }

    /// How far the database was when it was last seen here; None when it was not, or another one was.
    pub(crate) fn seen_epoch(&self) -> Result<Option<i64>, Failure> {
        let seen = self.marker.read().map_err(Failure::internal)?;
        Ok(seen.filter(|mark| mark.cluster_id == self.cluster_id).map(|mark| mark.epoch))
    }

    /// Writes down how far the database is.
    pub(crate) fn raise(&self, epoch: i64) -> Result<(), Failure> {
        self.marker.raise(&self.mark(epoch)).map_err(Failure::internal)
    }

    /// Counts on for as long as the server runs, and notices what other instances found.
    pub(crate) async fn watch(self, vault: Vault) {
        let mut interval = tokio::time::interval(ADVANCE);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        loop {
            interval.tick().await;
            self.advance(&vault).await;
        }
    }

    async fn advance(&self, vault: &Vault) {
        if vault.suspension() == Some(Suspension::CopiedDatabase) {
            return;
        }
        let epoch = match self.database.advance_epoch().await {
            Ok(epoch) => epoch,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the installation could not count on");
                return;
            }
        };
        match (epoch.unconfirmed_restore, vault.suspension()) {
            (true, None) => vault.suspend(Suspension::RestoredBackup),
            (false, Some(Suspension::RestoredBackup)) => {
                vault.resume();
                tracing::info!("the restore was confirmed; refreshing goes on");
            }
            _ => {}
        }
        if !epoch.unconfirmed_restore
            && let Err(error) = self.marker.raise(&self.mark(epoch.number))
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the installation's marker was not written");
        }
    }

    fn mark(&self, epoch: i64) -> Mark {
        Mark { cluster_id: self.cluster_id.clone(), epoch }
    }
}

fn lost(path: &Path, marker: &InstallationMarker) -> Failure {
    let problem = format!("{} is gone, and there was a database before", path.display());
    let hint = format!(
        "put a backup in its place, then run `bowerbird restore --confirm`; to begin anew with nobody signed in, remove {}",
        marker.path().display()
    );
    Failure { code: CONFIG, ..Failure::user(problem) }.with_hint(hint)
}
