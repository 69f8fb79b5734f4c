//! What it costs to ask for a fresh access token.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bowerbird_core::ports::{GrantFacts, PreparedRefresh, RefreshRefusal, Refresher};
use futures_util::future::join_all;

use crate::house::{database, grant, vault};
use crate::{Figure, quantile};

/// Calls in one measurement of the cached checkout: a single one is shorter than the clock can tell well.
const BATCH: u32 = 10_000;
const BATCHES: usize = 50;
/// Accounts of the cold checkout, each asked for once.
const ACCOUNTS: usize = 2_000;

struct NoIssuer;

#[async_trait::async_trait]
impl Refresher for NoIssuer {
    async fn prepare(&self, _: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        Err(RefreshRefusal::NotNow("there is none".into()))
    }
}

/// In microseconds: one that was opened before.
pub(crate) async fn cached(folder: &Path) -> Figure {
    let database = database(folder).await;
    let stores = database.stores();
    let vault = vault(&stores, Arc::new(NoIssuer));
    let connection = grant(&vault, &stores, 1).await;
    vault.checkout(connection).await.expect("usable");
    let mut each = Vec::new();
    for _ in 0..BATCHES {
        let begun = Instant::now();
        for _ in 0..BATCH {
            black_box(vault.checkout(black_box(connection)).await).expect("usable");
        }
        each.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    database.close().await;
    let worst = quantile(&mut each, 1.0);
    Figure { value: quantile(&mut each, 0.5), detail: format!("median of {BATCHES} × {BATCH}, worst {worst:.2} µs") }
}

/// In microseconds: from the row, by a vault that has opened nothing yet.
pub(crate) async fn cold(folder: &Path) -> Figure {
    let database = database(folder).await;
    let stores = database.stores();
    let writer = vault(&stores, Arc::new(NoIssuer));
    let mut connections = Vec::new();
    for start in (0..ACCOUNTS).step_by(100) {
        connections.extend(join_all((start..start + 100).map(|number| grant(&writer, &stores, number))).await);
    }
    let reader = vault(&stores, Arc::new(NoIssuer));
    let mut each = Vec::new();
    for connection in connections {
        let begun = Instant::now();
        reader.checkout(connection).await.expect("usable");
        each.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    database.close().await;
    let late = quantile(&mut each, 0.99);
    Figure { value: quantile(&mut each, 0.5), detail: format!("median of {ACCOUNTS} accounts, p99 {late:.0} µs") }
}
