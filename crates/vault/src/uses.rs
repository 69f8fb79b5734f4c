//! Remembering which credentials are asked for, so that the sweep keeps those fresh.
//!
//! Noted where a checkout reads the row, which even a busy credential does once a minute; the fast path stays free of it.

use std::collections::HashMap;

use bowerbird_core::{ConnectionId, CredentialRecord, Timestamp};
use parking_lot::Mutex;

use crate::Vault;

/// A use is written down when the row's is older than this.
const RESOLUTION_SECONDS: i64 = 600;
/// So many are written with one call.
const BATCH: usize = 500;

/// Uses that are not in the rows yet.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<ConnectionId, Timestamp>>);

impl Uses {
    pub(crate) fn note(&self, record: &CredentialRecord, now: Timestamp) {
        if record.used_at.plus_seconds(RESOLUTION_SECONDS) <= now {
            self.0.lock().insert(record.connection, now);
        }
    }

    /// The later of what the row says and what was noted since.
    pub(crate) fn last(&self, record: &CredentialRecord) -> Timestamp {
        self.0.lock().get(&record.connection).map_or(record.used_at, |used| record.used_at.max(*used))
    }
}

impl Vault {
    /// Writes down which credentials were asked for. What cannot be written is forgotten: the next use tells it again.
    pub(crate) async fn flush_uses(&self) {
        let uses: Vec<_> = self.0.uses.0.lock().drain().collect();
        for batch in uses.chunks(BATCH) {
            if let Err(error) = self.0.credentials.note_use(batch).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "uses were not written down");
                return;
            }
        }
    }
}
