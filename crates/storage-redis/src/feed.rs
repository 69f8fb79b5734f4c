//! News between instances, over one channel.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{Change, ChangeFeed, ChangeListener, ChangeListeners};
use futures_util::StreamExt as _;
use redis::RedisResult;
use tokio::task::AbortHandle;

use crate::OpenError;
use crate::address::Address;
use crate::link::{Link, Roots};

/// A connection that says nothing for so long is asked whether it is still there.
const PING: Duration = Duration::from_secs(2);
/// How long connecting, and an answer to that question, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The wait after a lost connection; doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Publishes changes and hears those of others (and its own, which harms nobody). Ends when dropped.
pub struct RedisFeed {
    link: Link,
    channel: String,
    listeners: Arc<ChangeListeners>,
    hearing: AbortHandle,
}

impl RedisFeed {
    pub(crate) fn start(address: Address, roots: Roots, link: Link, channel: String) -> Result<Self, OpenError> {
        let listeners = Arc::new(ChangeListeners::default());
        let ear = Ear { address, roots, channel: channel.clone(), listeners: Arc::clone(&listeners) };
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let hearing = runtime.spawn(ear.hear()).abort_handle();
        Ok(Self { link, channel, listeners, hearing })
    }
}

impl Drop for RedisFeed {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

#[async_trait]
impl ChangeFeed for RedisFeed {
    async fn publish(&self, change: Change) {
        let _: Option<u64> = self.link.ask(redis::cmd("PUBLISH").arg(&self.channel).arg(change.to_message())).await;
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        self.listeners.add(listener);
    }
}

struct Ear {
    address: Address,
    roots: Roots,
    channel: String,
    listeners: Arc<ChangeListeners>,
}

impl Ear {
    /// Hears until aborted.
    async fn hear(self) {
        let (mut wait, mut turn) = (FIRST_WAIT, 0);
        loop {
            match self.connected(turn, &mut wait).await {
                Ok(()) => tracing::debug!("the channel of changes ended"),
                Err(error) => tracing::warn!(%error, "the channel of changes is lost; connecting again"),
            }
            turn += 1;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connected(&self, turn: usize, wait: &mut Duration) -> RedisResult<()> {
        let client = self.roots.client(self.address.node(turn))?;
        let connecting = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.subscribe(&self.channel).await?;
            Ok::<_, redis::RedisError>(pubsub)
        };
        let (mut sink, mut messages) = in_time(connecting).await?.split();
        *wait = FIRST_WAIT;
        // From here on nothing is missed; whatever was said before may have been.
        self.listeners.missed();
        loop {
            match tokio::time::timeout(PING, messages.next()).await {
                Ok(Some(message)) => self.listeners.tell(message.get_payload_bytes()),
                Ok(None) => return Ok(()),
                Err(_) => in_time(sink.ping::<redis::Value>()).await.map(drop)?,
            }
        }
    }
}

async fn in_time<T>(action: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(PATIENCE, action)
        .await
        .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))
}
