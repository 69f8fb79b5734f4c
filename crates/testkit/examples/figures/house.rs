//! A vault on a SQLite file.

use std::path::Path;
use std::sync::Arc;

use bowerbird_core::ports::{Clock, Entropy, NewAccount, Refresher, Stores};
use bowerbird_core::testing::FixedKeys;
use bowerbird_core::{AccountId, Connection, ConnectionId, Did, Platform, RefreshClass, Secret, SecretBytes};
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::{NewGrant, Vault, VaultConfig};

/// Opens a new database in a folder.
pub(crate) async fn database(folder: &Path) -> SqlStores {
    let path = folder.join("b.sqlite");
    SqlStores::open(&format!("sqlite:{}", path.display())).await.expect("opens")
}

/// A vault with nobody to ask.
pub(crate) fn vault(stores: &Stores, refresher: Arc<dyn Refresher>) -> Vault {
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    Vault::new(VaultConfig::new("cluster"), stores, Arc::new(FixedKeys::one()), refresher, clock, entropy)
}

/// Signs an account in and stores a grant of the length that a PDS gives.
pub(crate) async fn grant(vault: &Vault, stores: &Stores, number: usize) -> ConnectionId {
    let entropy: &dyn Entropy = &OsEntropy;
    let now = SystemClock::new().now();
    let did = Did::parse(&format!("did:web:n{number}.example.com")).expect("a DID");
    let account = NewAccount {
        id: AccountId::random(entropy),
        did: did.clone(),
        handle: format!("n{number}.example.com"),
        pds: "https://pds.example.com".to_owned(),
        now,
    };
    let account = stores.accounts.sign_in(account).await.expect("signs in").id;
    let connection = Connection {
        id: ConnectionId::random(entropy),
        account,
        platform: Platform::atproto(),
        subject: did.to_string(),
        created_at: now,
    };
    let connection = stores.connections.ensure(&connection).await.expect("connects").id;
    let grant = NewGrant {
        connection,
        account,
        subject: did,
        issuer: "https://issuer.example.com".to_owned(),
        audience: "https://pds.example.com".to_owned(),
        client_kid: None,
        refresh_class: RefreshClass::SingleUse,
        dpop_key: Some(SecretBytes::new([9; 32])),
        access_token: Secret::new("a".repeat(600)),
        refresh_token: Some(Secret::new("r".repeat(60))),
        expires_in: 3600,
        scope: "atproto transition:generic".to_owned(),
    };
    vault.grant(grant).await.expect("grants");
    connection
}
