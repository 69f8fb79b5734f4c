//! What the kit costs: one hundred accounts with one active take less than a megabyte.

use std::sync::Arc;

use bowerbird_client::{
    AccountManager, Call, Device, Did, Identity, MemoryStore, Ports, Secret, Session, Settings, Timestamp,
};
use bytes::Bytes;
use http::{Request, Response};

/// As many kits as make the noise of one process small against what they take.
const KITS: usize = 64;
const ACCOUNTS: usize = 100;

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn kit(store: &Arc<MemoryStore>) -> AccountManager {
    let settings = Settings::new("https://auth.test", "app://auth-callback", "com.example.app").unwrap();
    let transport = |_: Request<Bytes>| Ok(Response::new(Bytes::from_static(b"{}")));
    let ports = Ports {
        store: store.clone(),
        transport: Arc::new(transport),
        clock: Arc::new(Device),
        pause: Arc::new(Device),
        entropy: Arc::new(Device),
    };
    AccountManager::open(settings, ports).unwrap()
}

#[test]
fn a_hundred_accounts_take_less_than_a_megabyte() {
    let store = Arc::new(MemoryStore::new());
    let first = kit(&store);
    for number in 0..ACCOUNTS {
        let handle = format!("a-person-with-a-long-name-{number}.some-community.example.org");
        let did = Did::parse(&format!("did:web:{handle}")).unwrap();
        let pds = Some(format!("https://server-{number}.host.example.network"));
        let session = Session {
            access_token: Secret::new("Fe26.2*".to_owned() + &"s".repeat(400)),
            refresh_token: Some(Secret::new("r".repeat(90))),
            issued_at: Timestamp::from_seconds(1),
            expires_at: None,
        };
        first.register(Identity { did, handle, pds }, &session).unwrap();
    }
    // Warm up what exists once: code, tables, the allocator's own.
    let warm = kit(&store);
    let before = resident();
    let kits: Vec<AccountManager> = (0..KITS).map(|_| kit(&store)).collect();
    for kit in &kits {
        let active = kit.active().unwrap();
        kit.session_for(active.id).unwrap().call(&Call::query("a.b.c", &[])).unwrap();
        assert_eq!((kit.live().len(), kit.accounts().len()), (1, ACCOUNTS));
    }
    let each = resident().saturating_sub(before) / KITS;
    println!("one kit with {ACCOUNTS} accounts, one of them active: {} KiB", each / 1024);
    assert!(each > 1024, "the measurement measures: {each} bytes");
    assert!(each < 1 << 20, "{each} bytes");
    drop((warm, kits));
}
