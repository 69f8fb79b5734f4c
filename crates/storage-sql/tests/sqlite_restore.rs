//! Backups of a SQLite file, and what coming back from one means.
#![expect(clippy::expect_used, reason = "tests")]

use std::path::Path;

use bowerbird_core::ports::{Cas, NewAccount, Stores};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{
    AccountId, Connection, ConnectionId, CredentialRecord, CredentialState, Did, Generation, NeedsReauth, Platform,
    RefreshClass, Schedule, SealedFields, SealedTokens, Timestamp,
};
use bowerbird_storage_sql::{BackupError, Epoch, SqlStores};

const T0: Timestamp = Timestamp::from_seconds(1_767_225_600);

async fn opened(path: &Path) -> SqlStores {
    SqlStores::open(&format!("sqlite:{}", path.display())).await.expect("opens")
}

fn login(number: u64) -> NewAccount {
    NewAccount {
        id: AccountId::random(&SeededEntropy::new(number)),
        did: Did::parse(&format!("did:web:n{number}.example.com")).expect("a DID"),
        handle: format!("n{number}.example.com"),
        pds: "https://pds.example.com".to_owned(),
        now: T0,
    }
}

async fn granted(stores: &Stores, number: u64, state: CredentialState, refresh_token: Option<Vec<u8>>) -> ConnectionId {
    let account = stores.accounts.sign_in(login(number)).await.expect("signs in");
    let id = ConnectionId::random(&SeededEntropy::new(1000 + number));
    let subject = account.did.to_string();
    let (platform, account) = (Platform::atproto(), account.id);
    let connection = Connection { id, account, platform, subject: subject.clone(), created_at: T0 };
    stores.connections.ensure(&connection).await.expect("connects");
    let record = CredentialRecord {
        connection: id,
        account,
        generation: Generation(4),
        issuer: "https://issuer.example.com".to_owned(),
        audience: "https://pds.example.com".to_owned(),
        subject,
        client_kid: None,
        refresh_class: RefreshClass::SingleUse,
        state,
        schedule: Schedule { attempts: 0, not_before: Some(T0), due_at: Some(T0.plus_seconds(9)) },
        used_at: T0,
        fields: SealedFields { dpop_key: vec![1], granted_generation: Generation::FIRST, granted_at: T0 },
        tokens: SealedTokens {
            access_token: vec![1],
            refresh_token,
            issued_at: T0,
            access_expires_at: T0.plus_seconds(3600),
            scope: "atproto".to_owned(),
        },
    };
    assert_eq!(stores.credentials.replace(&record, None).await.expect("stores"), Cas::Done);
    id
}

#[tokio::test]
async fn the_epoch_counts_up_and_stands_still_while_a_restore_is_unconfirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = opened(&folder.path().join("b.sqlite")).await;
    let epoch = |number, unconfirmed_restore| Epoch { number, unconfirmed_restore };
    assert_eq!(database.epoch().await.expect("reads"), epoch(0, false));
    assert!(database.advance_epoch().await.is_err(), "nobody's yet");
    database.cluster_id(&SeededEntropy::new(1)).await.expect("an id");
    for number in 1..4 {
        assert_eq!(database.advance_epoch().await.expect("counts"), epoch(number, false));
    }
    database.note_restore(9).await.expect("notes");
    database.note_restore(8).await.expect("notes");
    assert_eq!(database.advance_epoch().await.expect("stands still"), epoch(3, true));
    assert_eq!(database.epoch().await.expect("reads"), epoch(3, true));
    assert_eq!(database.confirm_restore(7).await.expect("confirms"), (0, epoch(10, false)));
    assert_eq!(database.confirm_restore(50).await.expect("confirms"), (0, epoch(51, false)));
    assert_eq!(database.confirm_restore(0).await.expect("confirms"), (0, epoch(52, false)));
    assert_eq!(database.advance_epoch().await.expect("counts"), epoch(53, false));
}

#[tokio::test]
async fn confirming_a_restore_puts_every_live_token_in_doubt() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = opened(&folder.path().join("b.sqlite")).await;
    database.cluster_id(&SeededEntropy::new(1)).await.expect("an id");
    let stores = database.stores();
    let (lease_until, intent_at) = (T0.plus_seconds(120), T0.plus_seconds(1));
    let gone = CredentialState::NeedsReauth(NeedsReauth::Revoked);
    let live = [
        granted(&stores, 1, CredentialState::Ok, Some(vec![1])).await,
        granted(&stores, 2, CredentialState::Refreshing { lease_until, intent_at }, Some(vec![1])).await,
        granted(&stores, 3, CredentialState::Unknown { intent_at }, Some(vec![1])).await,
    ];
    let others =
        [granted(&stores, 4, gone.clone(), Some(vec![1])).await, granted(&stores, 5, CredentialState::Ok, None).await];
    let find = async |id| stores.credentials.find(id).await.expect("reads").expect("is there");
    let before = [find(others[0]).await, find(others[1]).await];
    assert_eq!(database.confirm_restore(0).await.expect("confirms").0, 3);
    for id in live {
        let row = find(id).await;
        assert_eq!(row.state, CredentialState::Unknown { intent_at: T0 });
        let schedule = Schedule { attempts: 1, not_before: None, due_at: Some(T0.plus_seconds(9)) };
        assert_eq!((row.schedule, row.generation), (schedule, Generation(4)));
    }
    assert_eq!([find(others[0]).await, find(others[1]).await], before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_while_writes_go_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let database = opened(&folder.path().join("b.sqlite")).await;
    let id = database.cluster_id(&SeededEntropy::new(1)).await.expect("an id");
    let stores = database.stores();
    for number in 0..200 {
        stores.accounts.sign_in(login(number)).await.expect("writes");
    }
    let writing = {
        let stores = stores.clone();
        tokio::spawn(async move {
            for number in 200..500 {
                stores.accounts.sign_in(login(number)).await.expect("writes");
            }
        })
    };
    let copy = folder.path().join("copy.sqlite");
    database.backup_to(&copy).await.expect("copies");
    writing.await.expect("writes go on");
    assert_eq!(std::fs::metadata(&copy).expect("is there").permissions().mode() & 0o777, 0o600);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .filter(|name| name.starts_with("copy"))
        .collect();
    names.sort();
    assert_eq!(names, ["copy.sqlite"]);

    assert!(matches!(database.backup_to(&copy).await, Err(BackupError::Exists(_))), "never overwritten");
    let nowhere = folder.path().join("none").join("copy.sqlite");
    assert!(matches!(database.backup_to(&nowhere).await, Err(BackupError::File { .. })));

    let restored = opened(&copy).await;
    restored.check().await.expect("sound");
    assert_eq!(restored.cluster_id(&SeededEntropy::new(2)).await.expect("an id"), id);
    let accounts = restored.stores().accounts.list(None, 1000).await.expect("reads").len();
    assert!((200..=500).contains(&accounts), "{accounts}");
}
