//! What several instances share beside the database: news of changes, and limits that count for all of them.

use std::sync::Arc;

use bowerbird_core::ports::{ChangeFeed, NoChangeFeed, RateBuckets};

/// The shared fast tier as this server uses it. The default is that of a single instance.
#[derive(Clone)]
pub struct SharedTier {
    /// Tells other instances what changed here, and this one what changed there.
    pub changes: Arc<dyn ChangeFeed>,
    /// Limits that all instances share; None: each counts for itself.
    pub buckets: Option<Arc<dyn RateBuckets>>,
}

impl Default for SharedTier {
    fn default() -> Self {
        Self { changes: Arc::new(NoChangeFeed), buckets: None }
    }
}
