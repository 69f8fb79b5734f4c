//! Measures the stores on this machine: `cargo run --release -p bowerbird-storage-sql --example measure [URL]`.
//! Without a URL, on a SQLite file in the current folder (give it a disk, not a RAM disk: an fsync is what a write
//! costs). Figures are printed, never asserted.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool reads the clock and its arguments, prints, and stops at a fault"
)]

use std::time::{Duration, Instant};

use bowerbird_core::ports::{NewAccount, Stores};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{AccountId, DeviceAccount, DeviceSession, DeviceSessionId, Did, Timestamp};
use bowerbird_storage_sql::SqlStores;
use futures_util::future::join_all;

const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir_in(".").expect("a folder here");
    let file = format!("sqlite:{}", folder.path().join("data").join("b.sqlite").display());
    let url = std::env::args().nth(1).unwrap_or(file);

    println!("resident memory before: {}", resident_memory());
    let (made, database) = timed(SqlStores::open(&url)).await;
    println!("first open, with the whole schema: {made:?}");
    let database = database.expect("opens");
    println!("resident memory, open: {}", resident_memory());
    sign_in(&database.stores(), 5000).await;
    join_all((0..8).map(|_| async { database.stores().accounts.find(account_id(5000)).await.expect("reads") })).await;
    println!("resident memory, after a write and with every reader open: {}", resident_memory());
    database.close().await;

    let mut opened = Vec::new();
    for _ in 0..20 {
        let (took, database) = timed(SqlStores::open(&url)).await;
        database.expect("opens").close().await;
        opened.push(took);
    }
    show("open an existing database", opened);

    let database = SqlStores::open(&url).await.expect("opens");
    let stores = database.stores();
    let mut written = Vec::new();
    for number in 0..300 {
        written.push(timed(sign_in(&stores, number)).await.0);
    }
    show("one durable write", written);

    let (took, _) = timed(join_all((1000..2000).map(|number| sign_in(&stores, number)))).await;
    println!("1000 durable writes at once: {took:?}, {:?} each", took / 1000);

    let device = DeviceSession {
        id: DeviceSessionId::random(&SeededEntropy::new(7)),
        created_at: NOW,
        last_seen_at: NOW,
        expires_at: NOW.plus_seconds(3600),
        device_name: "Firefox on Linux".to_owned(),
        active: Some(account_id(1)),
        accounts: vec![DeviceAccount { account: account_id(1), added_at: NOW }],
    };
    stores.device_sessions.insert(&device).await.expect("writes");
    let mut read = Vec::new();
    for _ in 0..2000 {
        let (took, found) = timed(stores.device_sessions.find(&device.id, NOW)).await;
        assert!(found.expect("reads").is_some());
        read.push(took);
    }
    show("one read of a device session", read);
    let mut read = Vec::new();
    for _ in 0..2000 {
        read.push(timed(stores.accounts.find(account_id(1))).await.0);
    }
    show("one read of an account", read);
    println!("resident memory after all of it: {}", resident_memory());
    database.close().await;
}

async fn sign_in(stores: &Stores, number: u64) {
    let account = NewAccount {
        id: account_id(number),
        did: Did::parse(&format!("did:web:n{number}.example.com")).expect("a DID"),
        handle: format!("n{number}.example.com"),
        pds: "https://pds.example.com".to_owned(),
        now: NOW,
    };
    stores.accounts.sign_in(account).await.expect("writes");
}

fn account_id(number: u64) -> AccountId {
    AccountId::random(&SeededEntropy::new(number))
}

async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let done = work.await;
    (begun.elapsed(), done)
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!("{what}: median {:?}, p99 {:?}, worst {:?}", at(50), at(99), at(100));
}

fn resident_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or_else(|| "unknown".to_owned(), |kib| kib.trim().to_owned())
}
