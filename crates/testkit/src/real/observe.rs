//! What the real PDS saw, awaited: it writes a request into its log after the answer has left.

use std::time::Duration;

use serde_json::Value;

use super::network::RealNetwork;
use crate::child::thread_sleep;
use crate::http_client::{Answer, TestRequest};

/// How long a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(20);

/// Asks again until the answer is there; panics with what was seen last when it does not come.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, Value>) -> T {
    let mut last = Value::Null;
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        match ask().await {
            Ok(found) => return found,
            Err(seen) => last = seen,
        }
        thread_sleep(STEP).await;
    }
    panic!("{what}: not within {PATIENCE:?}; seen last: {last:#}");
}

impl RealNetwork {
    /// The statuses with which the PDS answered paths that begin so, in order, as soon as there are this many.
    pub async fn statuses(&self, path: &str, at_least: usize) -> Vec<u64> {
        eventually(&format!("{at_least} requests of {path} at the PDS"), async || {
            let log = self.log(path).await;
            if log.len() < at_least {
                return Err(Value::Array(log));
            }
            Ok(log.iter().filter_map(|entry| entry["status"].as_u64()).collect())
        })
        .await
    }

    /// Waits until every fault that was laid on a path has met its requests: they have arrived, if not been answered.
    pub async fn await_faults_met(&self, path: &str) {
        eventually(&format!("requests for the faults of {path}"), async || {
            let faults = self.faults().await;
            let open = faults.iter().any(|fault| fault["path"] == path && fault["times"].as_u64() != Some(0));
            if open { Err(Value::Array(faults)) } else { Ok(()) }
        })
        .await;
    }

    /// The grants of an account, as soon as there are exactly this many.
    pub async fn await_grants(&self, did: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} grants of {did}"), async || {
            let grants = self.grants(did).await;
            if grants.len() == count { Ok(grants) } else { Err(Value::Array(grants)) }
        })
        .await
    }

    /// Reads a record at the PDS itself, past the server under test.
    pub async fn record(&self, uri: &str) -> Answer {
        let parts: Vec<&str> = uri.trim_start_matches("at://").split('/').collect();
        let [repo, collection, key] = parts[..] else { panic!("not the address of a record: {uri}") };
        let query = format!("repo={repo}&collection={collection}&rkey={key}");
        let url = format!("{}/xrpc/com.atproto.repo.getRecord?{query}", self.pds());
        self.client.send(TestRequest::get(&url)).await
    }
}
