//! A provider of key-encryption keys that fails in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bowerbird_core::ports::{KeyEncryptionKey, KeyProvider, KeyProviderError};
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_vault::{CheckoutError, DataKeyError, GrantError, OpenError, RemoveError, Vault, VaultConfig};

use super::support::{EXPIRED, House, ScriptedIssuer, connect, issuer_port, new_grant};

struct FlakyKeys {
    keys: FixedKeys,
    down: AtomicBool,
}

impl FlakyKeys {
    fn reach(&self) -> Result<(), KeyProviderError> {
        let down = self.down.load(Ordering::SeqCst);
        if down { Err(KeyProviderError::Unavailable("no route to the cloud".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl KeyProvider for FlakyKeys {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        self.reach()?;
        self.keys.active().await
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        self.reach()?;
        self.keys.find(id).await
    }
}

/// An instance that was just started on the house's stores, whose keys can fail.
fn restarted(house: &House) -> (Vault, Arc<FlakyKeys>, Arc<ScriptedIssuer>) {
    let keys = Arc::new(FlakyKeys { keys: FixedKeys::one(), down: AtomicBool::new(false) });
    let issuer = Arc::new(ScriptedIssuer::default());
    let entropy = Arc::new(SeededEntropy::new(99));
    let (provider, clock) = (Arc::clone(&keys) as _, Arc::clone(&house.clock) as _);
    let vault =
        Vault::new(VaultConfig::new("cluster-a"), &house.stores, provider, issuer_port(&issuer), clock, entropy);
    (vault, keys, issuer)
}

#[tokio::test(start_paused = true)]
async fn without_keys_nothing_is_sent_removed_or_condemned() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let before = house.row().await;
    let (vault, keys, issuer) = restarted(&house);
    keys.down.store(true, Ordering::SeqCst);
    let usable = vault.checkout(house.connection).await;
    assert!(matches!(usable, Err(CheckoutError::TryLater { .. })), "{usable:?}");
    let removed = vault.remove(house.connection).await;
    assert!(matches!(removed, Err(RemoveError::Open(OpenError::DataKey(_)))), "{removed:?}");
    assert!(matches!(vault.open(house.connection).await, Err(OpenError::DataKey(_))));
    let (account, other) = connect(&house.stores, &house.clock, 2).await;
    let granted = vault.grant(new_grant(account, other, "at-b", Some("rt-b"))).await;
    assert!(matches!(granted, Err(GrantError::DataKey(DataKeyError::Keys(_)))), "{granted:?}");
    assert!(house.stores.data_keys.find(account).await.unwrap().is_none(), "no key that nobody could unwrap");
    assert_eq!(house.row().await, before);
    assert_eq!(issuer.sends(), 0);

    keys.down.store(false, Ordering::SeqCst);
    assert_eq!(vault.checkout(house.connection).await.unwrap().access_token.expose(), "at-1");
    assert_eq!(issuer.sends(), 1);
}

/// Everything that sealing the answer needs is at hand before the refresh token goes out.
#[tokio::test(start_paused = true)]
async fn keys_that_fail_while_a_refresh_is_out_do_not_cost_its_answer() {
    let house = House::new().await;
    house.pass(EXPIRED);
    let (vault, keys, issuer) = restarted(&house);
    issuer.hold();
    let (waiting, connection) = (vault.clone(), house.connection);
    let waiting = tokio::spawn(async move { waiting.checkout(connection).await });
    issuer.saw(1).await;
    keys.down.store(true, Ordering::SeqCst);
    vault.forget_account(house.account);
    issuer.release();
    assert_eq!(waiting.await.unwrap().unwrap().access_token.expose(), "at-1");
    assert_eq!(house.stored_refresh_token().await, "rt-1");
    assert_eq!(issuer.sends(), 1);
}
