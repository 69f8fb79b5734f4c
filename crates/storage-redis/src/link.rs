//! One bounded, self-healing way to the server: a call that cannot be answered in time is a miss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowerbird_core::ports::Clock;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, RedisFuture, RedisResult, TlsCertificates, Value};
use tokio::sync::OnceCell;

use crate::OpenError;
use crate::address::Address;

/// A call that takes longer than this is given up: the database behind would have answered by then.
const PATIENCE: Duration = Duration::from_millis(50);
/// The first call of all also connects.
const CONNECTING: Duration = Duration::from_millis(500);
/// After a failure nobody asks for so long: a server that hangs must not cost every request its patience.
const REST: Duration = Duration::from_secs(1);

/// Certificate authorities in PEM to trust instead of the system's; None trusts the system's.
#[derive(Clone)]
pub(crate) struct Roots(pub(crate) Option<Arc<[u8]>>);

impl Roots {
    pub(crate) fn client(&self, info: ConnectionInfo) -> RedisResult<redis::Client> {
        match self.certificates() {
            Some(certificates) if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) => {
                redis::Client::build_with_tls(info, certificates)
            }
            _ => redis::Client::open(info),
        }
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = Some(self.0.as_ref()?.to_vec());
        Some(TlsCertificates { client_tls: None, root_cert })
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    kind: Kind,
    clock: Arc<dyn Clock>,
    /// Until when nobody asks, in milliseconds of the monotonic clock.
    resting_until: AtomicU64,
}

struct Cluster {
    client: ClusterClient,
    connection: OnceCell<ClusterConnection>,
}

enum Kind {
    Single(ConnectionManager),
    Cluster(Box<Cluster>),
}

impl Link {
    /// Prepares; connects at the first call. Must be called inside a tokio runtime.
    pub(crate) fn new(address: &Address, roots: &Roots, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let kind = match address {
            Address::Single(info) => {
                let client = roots.client((**info).clone()).map_err(OpenError::Client)?;
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECTING))
                    .set_response_timeout(Some(PATIENCE))
                    .set_number_of_retries(1)
                    .set_max_delay(REST);
                Kind::Single(client.get_connection_manager_lazy(config).map_err(OpenError::Client)?)
            }
            Address::Cluster(nodes) => {
                let builder = ClusterClient::builder(nodes.clone())
                    .connection_timeout(CONNECTING)
                    .response_timeout(PATIENCE)
                    .retries(1);
                let builder = match roots.certificates() {
                    Some(certificates) => builder.certs(certificates),
                    None => builder,
                };
                let client = builder.build().map_err(OpenError::Client)?;
                Kind::Cluster(Box::new(Cluster { client, connection: OnceCell::new() }))
            }
        };
        Ok(Self(Arc::new(Inner { kind, clock, resting_until: AtomicU64::new(0) })))
    }

    /// Runs a command; None when the server could not be asked in time, or answered with an error.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let now = self.0.clock.monotonic();
        if millis(now) < self.0.resting_until.load(Ordering::Relaxed) {
            return None;
        }
        match tokio::time::timeout(CONNECTING, self.send(command)).await {
            Ok(Ok(value)) => match T::from_redis_value(value) {
                Ok(value) => Some(value),
                Err(error) => {
                    tracing::warn!(%error, "the shared tier answered with something else than was asked for");
                    None
                }
            },
            Ok(Err(error)) => {
                // Its words may hold an address, and no more: commands are not part of them.
                tracing::warn!(%error, "the shared tier does not answer; going on without it");
                self.rest(&error);
                None
            }
            Err(_) => {
                tracing::warn!("the shared tier takes too long; going on without it");
                self.0.resting_until.store(millis(now + CONNECTING + REST), Ordering::Relaxed);
                None
            }
        }
    }

    /// Asks whether the server is there, with patience for a first connection: for people who want to know.
    pub(crate) async fn ping(&self) -> Result<(), redis::RedisError> {
        let answer: RedisResult<Value> = self.send(&redis::cmd("PING")).await;
        answer.map(drop)
    }

    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        match &self.0.kind {
            Kind::Single(manager) => pass(&mut manager.clone(), command).await,
            Kind::Cluster(cluster) => {
                let connecting = || cluster.client.get_async_connection();
                let connection = cluster.connection.get_or_try_init(connecting).await?;
                pass(&mut connection.clone(), command).await
            }
        }
    }

    fn rest(&self, error: &redis::RedisError) {
        // An answer, even an unwelcome one, came in time: nothing to rest from.
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_connection_refusal() {
            let until = millis(self.0.clock.monotonic() + REST);
            self.0.resting_until.store(until, Ordering::Relaxed);
        }
    }
}

fn pass<'a, C: ConnectionLike>(connection: &'a mut C, command: &'a Cmd) -> RedisFuture<'a, Value> {
    connection.req_packed_command(command)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
