//! News between instances through PostgreSQL's own notifications, where there is no Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{Change, ChangeFeed, ChangeListener, ChangeListeners};
use sqlx::postgres::{PgListener, PgPool};
use tokio::task::AbortHandle;

/// The wait after a lost connection; doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Telling others may not take longer: they look again within a second by themselves.
const TELLING: Duration = Duration::from_millis(500);

/// Publishes changes and hears those of others (and its own, which harms nobody), on one connection of the pool. Ends when
/// dropped.
pub struct PostgresFeed {
    pool: PgPool,
    channel: String,
    listeners: Arc<ChangeListeners>,
    hearing: AbortHandle,
}

impl PostgresFeed {
    pub(crate) fn start(pool: PgPool, cluster_id: &str) -> Self {
        let channel = format!("bowerbird_{cluster_id}");
        let listeners = Arc::new(ChangeListeners::default());
        let hearing = tokio::spawn(hear(pool.clone(), channel.clone(), Arc::clone(&listeners))).abort_handle();
        Self { pool, channel, listeners, hearing }
    }
}

impl Drop for PostgresFeed {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

#[async_trait]
impl ChangeFeed for PostgresFeed {
    async fn publish(&self, change: Change) {
        let message = change.to_message();
        let telling = sqlx::query("SELECT pg_notify($1, $2)").bind(&self.channel).bind(message).execute(&self.pool);
        match tokio::time::timeout(TELLING, telling).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "other instances were not told of a change"),
            Err(_) => tracing::warn!("other instances were not told of a change in time"),
        }
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        self.listeners.add(listener);
    }
}

/// Hears until aborted, or until the pool is closed.
async fn hear(pool: PgPool, channel: String, listeners: Arc<ChangeListeners>) {
    let mut wait = FIRST_WAIT;
    while !pool.is_closed() {
        match connected(&pool, &channel, &listeners, &mut wait).await {
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => tracing::warn!(%error, "the channel of changes is lost; connecting again"),
            Ok(()) => tracing::debug!("the channel of changes ended; connecting again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn connected(pool: &PgPool, channel: &str, listeners: &ChangeListeners, wait: &mut Duration) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    // Reconnecting is done here, so that what was missed is told.
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    *wait = FIRST_WAIT;
    // From here on nothing is missed; whatever was said before may have been.
    listeners.missed();
    while let Some(notification) = listener.try_recv().await? {
        listeners.tell(notification.payload().as_bytes());
    }
    Ok(())
}

impl std::fmt::Debug for PostgresFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresFeed").field("channel", &self.channel).finish_non_exhaustive()
    }
}
