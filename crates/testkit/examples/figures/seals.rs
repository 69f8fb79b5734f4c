//! Many devices of one account, and their seals.

use std::path::Path;
use std::time::Duration;

use bowerbird_core::ports::Clock as _;
use bowerbird_core::{DeviceAccount, DeviceSession, DeviceSessionId, Secret};
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::{SealPayload, SealRing};

/// Puts the first account of a server's data folder on devices of their own, and prints their seals.
pub(crate) async fn print(data: &Path, count: usize) {
    let secret = std::fs::read_to_string(data.join("cookie-secret")).expect("the server's secret");
    let newest = secret.lines().next().expect("a secret").trim().to_owned();
    let ring = SealRing::new(vec![Secret::new(newest)]).expect("a ring");
    let path = data.join("bowerbird.sqlite");
    let database = SqlStores::open(&format!("sqlite:{}", path.display())).await.expect("opens");
    let stores = database.stores();
    let account = stores.accounts.list(None, 1).await.expect("reads").pop().expect("an account");
    let now = SystemClock::new().now();
    for _ in 0..count {
        let device = DeviceSession {
            id: DeviceSessionId::random(&OsEntropy),
            created_at: now,
            last_seen_at: now,
            expires_at: now.plus_seconds(604_800),
            device_name: "Firefox on Linux".to_owned(),
            active: Some(account.id),
            accounts: vec![DeviceAccount { account: account.id, added_at: now }],
        };
        stores.device_sessions.insert(&device).await.expect("inserts");
        let payload = SealPayload { did: account.did.clone(), sid: device.id, created_at: now, last_accessed: now };
        println!("{}", ring.seal(&payload, Duration::from_hours(24), now, &OsEntropy).expose());
    }
    database.close().await;
}
