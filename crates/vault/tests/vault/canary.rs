//! Row 79: nothing that is printed, of any public type or error, shows a secret.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use bowerbird_core::testing::{FixedKeys, SeededEntropy};
use bowerbird_core::{DeviceSessionId, Did, Secret, Timestamp};
use bowerbird_vault::envelope::SealingKey;
use bowerbird_vault::iron::{self, IronKey};
use bowerbird_vault::{SealCache, SealPayload, SealRing};

use super::support::{EXPIRED, House, Reply, vault_on};

const ACCESS: &str = "canary-access-7f3b9a";
const REFRESH: &str = "canary-refresh-51c0de";
const COOKIE: &str = "canary-cookie-secret-of-more-than-32-characters";

/// Everything that was printed.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn debug(&mut self, value: &impl std::fmt::Debug) {
        writeln!(self.0, "{value:?} {value:#?}").unwrap();
    }

    fn error(&mut self, error: &dyn Error) {
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.0, "{error} {error:?} {error:#?}").unwrap();
            next = error.source();
        }
    }

    fn result<T: std::fmt::Debug, E: Error>(&mut self, result: &Result<T, E>) {
        match result {
            Ok(value) => self.debug(value),
            Err(error) => self.error(error),
        }
    }
}

/// A secret in the spellings in which it could leak.
fn spellings(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let list = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut all = vec![hex, list];
    all.extend(std::str::from_utf8(secret).ok().filter(|text| text.len() > 8).map(str::to_owned));
    for engine in [base64::engine::general_purpose::STANDARD_NO_PAD, base64::engine::general_purpose::URL_SAFE_NO_PAD] {
        all.push(engine.encode(secret));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn row_79_no_secret_is_printed() {
    let mut printed = Printed::default();
    let house = House::empty().await;
    let grant = house.grant(ACCESS, Some(REFRESH));
    printed.debug(&grant);
    printed.result(&house.vault.grant(grant).await);
    printed.result(&house.vault.grant(house.grant(ACCESS, Some(REFRESH))).await);
    printed.result(&house.vault.open(house.connection).await);
    printed.result(&house.vault.checkout(house.connection).await);
    printed.result(&house.vault.standing(house.connection).await);
    printed.debug(&house.vault);
    printed.debug(&house.vault.health());

    house.pass(EXPIRED);
    house.issuer.reply(Reply::NotConsumed(None));
    house.issuer.reply(Reply::NotConsumed(None));
    printed.result(&house.vault.checkout(house.connection).await);
    house.pass(60);
    house.issuer.reply(Reply::Unknown);
    printed.result(&house.vault.checkout(house.connection).await);
    house.pass(60);
    house.credentials.commits_down.store(true, Ordering::SeqCst);
    printed.result(&house.vault.checkout(house.connection).await);
    printed.debug(&house.vault.drain(Duration::from_secs(1)).await);
    house.credentials.commits_down.store(false, Ordering::SeqCst);
    house.vault.drain(Duration::from_secs(3)).await;
    let wrong = vault_on(&house.stores, &house.issuer, &house.clock, FixedKeys::of(&[("ktest", [8; 32])]), "cluster-a");
    printed.result(&wrong.checkout(house.connection).await);
    printed.result(&wrong.open(house.connection).await);
    printed.result(&house.vault.remove(house.connection).await);

    let entropy = SeededEntropy::new(5);
    let ring = SealRing::new(vec![Secret::new(COOKIE)]);
    printed.result(&ring);
    let ring = Arc::new(ring.unwrap());
    let payload = SealPayload {
        did: Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid").unwrap(),
        sid: DeviceSessionId::random(&entropy),
        created_at: Timestamp::EPOCH,
        last_accessed: Timestamp::EPOCH,
    };
    let seal = ring.seal(&payload, Duration::ZERO, Timestamp::EPOCH, &entropy);
    let cache = SealCache::new(Arc::clone(&ring), 10);
    printed.result(&ring.open(seal.expose(), Timestamp::EPOCH));
    printed.result(&ring.open(&seal.expose()[1..], Timestamp::EPOCH));
    printed.result(&cache.open_cached(seal.expose(), Timestamp::EPOCH));
    printed.debug(&cache);
    printed.debug(&ring.for_purpose("csrf"));
    let key = IronKey::new(COOKIE).unwrap();
    let note = iron::seal(REFRESH.as_bytes(), "1", &key, None, &entropy);
    printed.debug(&note);
    printed.debug(&key);
    printed.result(&iron::unseal(note.expose(), |_| Some(&key), Timestamp::EPOCH));
    printed.debug(&SealingKey::random(&entropy));

    assert!(printed.0.len() > 2000, "something was printed");
    let texts = [ACCESS, REFRESH, COOKIE, seal.expose(), note.expose(), "at-1", "rt-1", "at-2", "rt-2", "at-3", "rt-3"];
    for secret in texts {
        assert!(!printed.0.contains(secret), "{secret}");
    }
    for secret in [ACCESS.as_bytes(), REFRESH.as_bytes(), COOKIE.as_bytes(), &[9; 32], &[7; 32]] {
        for spelling in spellings(secret) {
            assert!(!printed.0.contains(&spelling), "{spelling}");
        }
    }
}
