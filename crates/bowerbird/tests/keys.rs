//! Rotating keys with the built program: nothing is lost, whenever it is killed, and a wrong key changes nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{Clock as _, KeyEncryptionKey, NewAccount, Stores};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{AccountId, Did, SecretBytes, Timestamp, WrappedDataKey};
use bowerbird_net::SystemClock;
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::envelope::{KeyPurpose, Place, SealingKey};
use serde_json::Value;

const ACCOUNTS: u64 = 200;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowerbird"));
    command.args(arguments).env_clear().current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let told = || panic!("{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| told())
}

/// The configured encryption keys by their ids, newest first.
fn keys(folder: &Path) -> Vec<KeyEncryptionKey> {
    let status = json(&run(folder, &["keys", "status", "--json"]));
    let rows = status["keys"].as_array().unwrap().iter().filter(|row| row["kind"] == "encryption-key");
    let ids = rows.map(|row| row["name"].as_str().unwrap().to_owned());
    let text = std::fs::read_to_string(folder.join("bowerbird-data/encryption-key")).unwrap();
    let keys = text.lines().map(|line| SecretBytes::new(URL_SAFE_NO_PAD.decode(line).unwrap()));
    ids.zip(keys).map(|(id, key)| KeyEncryptionKey { id, key }).collect()
}

struct House {
    folder: tempfile::TempDir,
    cluster_id: String,
    accounts: Vec<AccountId>,
}

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("bowerbird-data/bowerbird.sqlite").display())
}

fn place(cluster_id: &str, account: AccountId, kek_id: &str) -> Place {
    Place::new("data-key", cluster_id).and(account.as_uuid().as_bytes()).and(kek_id.as_bytes())
}

impl House {
    /// An installation whose accounts have the data keys 1, 1, 1…; 2, 2, 2…; and so on.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        assert!(run(folder.path(), &["accounts", "list"]).status.success());
        let kek = keys(folder.path()).remove(0);
        let wrapping = SealingKey::derive(&kek, KeyPurpose::Wrap).unwrap();
        let database = SqlStores::open(&url(folder.path())).await.unwrap();
        let entropy = SeededEntropy::new(1);
        let cluster_id = database.cluster_id(&entropy).await.unwrap();
        let Stores { accounts: store, data_keys, .. } = database.stores();
        let mut accounts = Vec::new();
        for number in 0..ACCOUNTS {
            let id = AccountId::random(&entropy);
            let did = Did::parse(&format!("did:web:a{number}.example.org")).unwrap();
            let now = Timestamp::from_seconds(1_800_000_000);
            let account = NewAccount { id, did, handle: format!("a{number}.test"), pds: "https://p.test".into(), now };
            let account = store.sign_in(account).await.unwrap();
            let content = [u8::try_from(number).unwrap(); 32];
            let wrapped = wrapping.seal(&place(&cluster_id, account.id, &kek.id), &content, &entropy);
            data_keys.ensure(&WrappedDataKey { account: account.id, kek_id: kek.id.clone(), wrapped }).await.unwrap();
            accounts.push(account.id);
        }
        database.close().await;
        Self { folder, cluster_id, accounts }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Every data key opens with one of the keys, and is what it was. Gives how many are under the first.
    async fn assert_all_open(&self, keys: &[KeyEncryptionKey]) -> usize {
        let database = SqlStores::open(&url(self.path())).await.unwrap();
        let mut newest = 0;
        for (number, account) in self.accounts.iter().enumerate() {
            let WrappedDataKey { kek_id, wrapped, .. } =
                database.stores().data_keys.find(*account).await.unwrap().unwrap();
            let at = keys.iter().position(|key| key.id == kek_id).unwrap();
            let wrapping = SealingKey::derive(&keys[at], KeyPurpose::Wrap).unwrap();
            let opened = wrapping.open(&place(&self.cluster_id, *account, &kek_id), &wrapped).unwrap();
            assert_eq!(opened.expose(), [u8::try_from(number).unwrap(); 32]);
            newest += usize::from(at == 0);
        }
        database.close().await;
        newest
    }
}

#[tokio::test]
async fn a_rotation_that_is_killed_anywhere_loses_nothing_and_is_completed() {
    let house = House::new().await;
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let first = json(&run(house.path(), &["keys", "rotate", "--json"]));
    let whole = clock.monotonic().saturating_sub(begun);
    assert_eq!((&first["rewrapped"], &first["oldKeysNeeded"]), (&ACCOUNTS.into(), &false.into()));

    let mut unfinished = 0;
    for kill in 0..50 {
        let mut child = command(house.path(), &["keys", "rotate", "--json"]).spawn().unwrap();
        // Where it is when it dies is as it happens: that is the point.
        tokio::time::sleep(whole * kill / 50).await;
        let _ended_already = child.kill();
        child.wait().unwrap();
        let keys = keys(house.path());
        let newest = house.assert_all_open(&keys).await;
        unfinished += usize::from(newest < house.accounts.len());
    }
    println!("{unfinished} of 50 kills left a rotation unfinished; a whole one takes {whole:?}");

    let last = json(&run(house.path(), &["keys", "rotate", "--json"]));
    assert_eq!(last["oldKeysNeeded"], false);
    let only_newest = &keys(house.path())[..1];
    assert_eq!(house.assert_all_open(only_newest).await, house.accounts.len());

    // The proof holds: with the newest line alone the program starts.
    let file = house.path().join("bowerbird-data/encryption-key");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.lines().next().unwrap()).unwrap();
    assert!(run(house.path(), &["accounts", "list"]).status.success());
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_named_and_nothing_is_written() {
    let house = House::new().await;
    let data = house.path().join("bowerbird-data");
    let file = data.join("encryption-key");
    let right = std::fs::read_to_string(&file).unwrap();
    let id = keys(house.path()).remove(0).id;
    let before = std::fs::read(data.join("bowerbird.sqlite")).unwrap();
    let files = || {
        let names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.filter(|name| name.to_string_lossy().contains("key")).collect();
        names.sort();
        names
    };
    for wrong in [None, Some("ab".repeat(32))] {
        std::fs::remove_file(&file).unwrap();
        if let Some(text) = &wrong {
            std::fs::write(&file, text).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, private).unwrap();
        }
        let there = files();
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["keys", "rotate"], &["keys", "status"]] {
            let output = run(house.path(), arguments);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{arguments:?} {told}");
            assert!(told.contains(&id) && told.contains("put that key back"), "{told}");
        }
        assert_eq!(files(), there, "no key is made beside old data");
        assert!(std::fs::read(data.join("bowerbird.sqlite")).unwrap() == before, "nothing is written");
        std::fs::write(&file, &right).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    assert!(run(house.path(), &["accounts", "list"]).status.success());
    house.assert_all_open(&keys(house.path())).await;
}

#[tokio::test]
async fn keys_that_are_configured_are_rotated_in_two_steps() {
    let house = House::new().await;
    let old = std::fs::read_to_string(house.path().join("bowerbird-data/encryption-key")).unwrap();
    let with = |keys: &str| {
        command(house.path(), &["keys", "rotate", "--json"]).env("BOWERBIRD_ENCRYPTION_KEY", keys).output().unwrap()
    };
    let refused = with(&old);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("BOWERBIRD_ENCRYPTION_KEY=NEW,OLD"));
    let rotated = with(&format!("{},{old}", "ab".repeat(32)));
    assert_eq!(json(&rotated)["rewrapped"], ACCOUNTS);
    assert!(with(&"ab".repeat(32)).status.code() == Some(1), "one key again, nothing newer");
}
