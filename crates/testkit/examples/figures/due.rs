//! Whether picking what is due costs by what is picked, and not by what is stored.

use std::path::Path;
use std::time::{Duration, Instant};

use bowerbird_core::ports::Clock as _;
use bowerbird_net::SystemClock;
use bowerbird_storage_sql::SqlStores;

use crate::{Figure, fill, quantile};

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
const PICKED: u32 = 1_000;
const ROUNDS: usize = 50;

/// How many times as long it takes with a million accounts as with ten thousand.
pub(crate) async fn growth(folder: &Path) -> Figure {
    let few = pick(folder, FEW).await;
    let many = pick(folder, MANY).await;
    let detail = format!("the next {PICKED} of {MANY} in {many:.2} ms, of {FEW} in {few:.2} ms, medians of {ROUNDS}");
    Figure { value: many / few, detail }
}

/// In milliseconds. Everything is due by then; each round goes on where the last one ended, as a sweep does.
async fn pick(folder: &Path, accounts: u64) -> f64 {
    let path = folder.join(format!("{accounts}.sqlite"));
    fill::fill(&path, accounts).await;
    let database = SqlStores::open(&format!("sqlite:{}", path.display())).await.expect("opens");
    let stores = database.stores();
    let then = SystemClock::new().now().plus_seconds(Duration::from_hours(30 * 24).as_secs().cast_signed());
    let (mut place, mut each) = (None, Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let due = stores.credentials.due(then, place, PICKED).await.expect("reads");
        each.push(begun.elapsed().as_secs_f64() * 1e3);
        place = due.last().map(|last| (last.due_at, last.connection));
        if due.len() < PICKED as usize {
            place = None;
        }
    }
    database.close().await;
    quantile(&mut each, 0.5)
}
