//! What several instances share beside the stores: news of changes, limits that count for all of them, copies of rows.

use std::sync::Arc;

use bowerbird_core::ports::{ChangeFeed, DeviceChangeLog, NoChangeFeed, RateBuckets, SharedCache};
use bowerbird_vault::SnapshotSeal;

/// The shared fast tier as this server uses it. The default is that of a single instance.
#[derive(Clone)]
pub struct SharedTier {
    /// Tells other instances what changed here, and this one what changed there.
    pub changes: Arc<dyn ChangeFeed>,
    /// Limits that all instances share; None: each counts for itself.
    pub buckets: Option<Arc<dyn RateBuckets>>,
    /// Which device sessions changed, as the database knows; None: each session's row is looked at again every second.
    pub device_log: Option<Arc<dyn DeviceChangeLog>>,
    /// Copies of rows that all instances share; None: each reads for itself.
    pub snapshots: Option<SnapshotTier>,
}

/// Where copies are kept, and what seals them.
#[derive(Clone)]
pub struct SnapshotTier {
    /// The place.
    pub cache: Arc<dyn SharedCache>,
    /// The seal.
    pub seal: SnapshotSeal,
}

impl Default for SharedTier {
    fn default() -> Self {
        Self { changes: Arc::new(NoChangeFeed), buckets: None, device_log: None, snapshots: None }
    }
}
