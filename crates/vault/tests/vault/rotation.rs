//! Key-encryption keys that change.

use std::sync::Arc;

use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_vault::{KeyRotation, Rotated};

use super::support::{House, connect, issuer_port, new_grant};

const OLD: (&str, [u8; 32]) = ("ktest", [7; 32]);
const NEW: (&str, [u8; 32]) = ("knew", [8; 32]);

fn rotation(house: &House, keys: &[(&str, [u8; 32])]) -> KeyRotation {
    let (store, entropy) = (Arc::clone(&house.stores.data_keys), Arc::new(SeededEntropy::new(5)));
    KeyRotation::new("cluster-a", store, Arc::new(FixedKeys::of(keys)), entropy)
}

async fn run(house: &House, keys: &[(&str, [u8; 32])]) -> (Rotated, Vec<u64>) {
    let mut heard = Vec::new();
    let rotated = rotation(house, keys).run(&mut |progress| heard.push(progress.rewrapped)).await.unwrap();
    (rotated, heard)
}

/// More than one page of accounts.
async fn many() -> House {
    let house = House::new().await;
    for number in 2..=100 {
        let (account, connection) = connect(&house.stores, &house.clock, number).await;
        house.vault.grant(new_grant(account, connection, "at", Some("rt"))).await.unwrap();
    }
    house
}

#[tokio::test(start_paused = true)]
async fn after_a_rotation_the_old_key_is_not_needed() {
    let house = many().await;
    let (rotated, heard) = run(&house, &[NEW, OLD]).await;
    assert_eq!((rotated.active.as_str(), rotated.progress.rewrapped, rotated.progress.total), ("knew", 100, 100));
    assert_eq!(rotated.left, []);
    assert_eq!(heard, [64, 100], "it tells after each page");

    let entropy = Arc::new(SeededEntropy::new(6));
    let config = bowerbird_vault::VaultConfig::new("cluster-a");
    let keys = Arc::new(FixedKeys::of(&[NEW]));
    let clock = Arc::clone(&house.clock) as _;
    let port = issuer_port(&house.issuer);
    let vault = bowerbird_vault::Vault::new(config, &house.stores, keys, port, clock, entropy);
    vault.open(house.connection).await.unwrap();

    let (again, _) = run(&house, &[NEW, OLD]).await;
    assert_eq!(again.progress.rewrapped, 0, "there is nothing left to do");
}

/// What an instance has in memory stays good: the data key itself does not change.
#[tokio::test(start_paused = true)]
async fn an_instance_that_runs_meanwhile_notices_nothing() {
    let house = House::new().await;
    run(&house, &[NEW, OLD]).await;
    house.vault.open(house.connection).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn keys_that_do_not_open_are_counted_and_left_as_they_are() {
    let house = House::new().await;
    let before = house.stores.data_keys.find(house.account).await.unwrap();
    for wrong in [&[NEW][..], &[NEW, ("ktest", [9; 32])]] {
        let (rotated, _) = run(&house, wrong).await;
        assert_eq!((rotated.progress.rewrapped, rotated.progress.unreadable), (0, 1));
        assert_eq!(rotated.left, [("ktest".to_owned(), 1)], "the proof fails");
        assert_eq!(house.stores.data_keys.find(house.account).await.unwrap(), before);
    }
}
