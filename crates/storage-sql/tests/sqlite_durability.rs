//! What a SQLite file must survive, and what must be said when it cannot be used.
#![expect(clippy::expect_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bowerbird_core::Generation;
use bowerbird_core::ports::{Cas, LeaseRequest, StoreError};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_storage_sql::{CheckError, OpenError, SqlStores};
use bowerbird_testkit::conformance::{T0, granted, signed_in};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

/// A folder and the path of a database in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("deep").join("data").join("bowerbird.sqlite");
    (folder, path)
}

async fn open(path: &Path) -> Result<SqlStores, OpenError> {
    SqlStores::open(&format!("sqlite:{}", path.display())).await
}

async fn opened(path: &Path) -> SqlStores {
    open(path).await.expect("the database opens")
}

/// Changes the file behind the stores' back.
async fn change(path: &Path, sql: &str) {
    let mut connection = raw(path, false).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}

async fn raw(path: &Path, create: bool) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(create).foreign_keys(false);
    options.connect().await.expect("connects")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_end() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    let record = granted(&database.stores(), 1).await;
    let id = database.cluster_id(&SeededEntropy::new(1)).await.expect("an id");

    // As the disk stands at this moment, like after a power failure: nothing was closed.
    let (_other, copy) = place();
    std::fs::create_dir_all(copy.parent().expect("a folder")).expect("made");
    for ending in ["", "-wal"] {
        std::fs::copy(beside(&path, ending), beside(&copy, ending)).expect("copied");
    }
    let cut_off = opened(&copy).await;
    let found = cut_off.stores().credentials.find(record.connection).await.expect("reads");
    assert_eq!(found.as_ref(), Some(&record));
    cut_off.check().await.expect("sound");

    // Dropped without closing.
    drop(database);
    let database = opened(&path).await;
    assert_eq!(database.stores().credentials.find(record.connection).await.expect("reads").as_ref(), Some(&record));
    assert_eq!(database.cluster_id(&SeededEntropy::new(2)).await.expect("an id"), id);
    database.close().await;

    // Closed: everything is in the one file.
    assert!(!beside(&path, "-wal").exists());
    let found = opened(&path).await.stores().credentials.find(record.connection).await.expect("reads");
    assert_eq!(found, Some(record));
}

#[tokio::test]
async fn after_closing_every_store_says_so() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    let stores = database.stores();
    let account = signed_in(&stores, 1).await;
    database.checkpoint().await.expect("nobody reads");
    database.close().await;
    database.close().await;
    assert!(matches!(stores.accounts.remove(account.id).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(stores.accounts.find(account.id).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(database.checkpoint().await, Err(StoreError::Unavailable(_))));
    assert!(database.ready().await.is_err());
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    signed_in(&database.stores(), 1).await;
    for ending in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&beside(&path, ending)), 0o600, "{ending}");
    }
    let folder = path.parent().expect("a folder");
    assert_eq!((mode(folder), mode(folder.parent().expect("a folder"))), (0o700, 0o700));
    let mut left: Vec<_> =
        std::fs::read_dir(folder).expect("lists").map(|entry| entry.expect("an entry").file_name()).collect();
    left.sort();
    assert_eq!(left, ["bowerbird.sqlite", "bowerbird.sqlite-shm", "bowerbird.sqlite-wal", "bowerbird.sqlite.lock"]);
    database.close().await;

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("opened up");
    let database = opened(&path).await;
    assert_eq!(mode(&path), 0o600);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_openers_share_one_file_and_one_of_them_refreshes() {
    let (_folder, path) = place();
    // Also when both make it at once.
    let opening: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { opened(&path).await })
        })
        .collect();
    let mut handles = Vec::new();
    for handle in opening {
        handles.push(handle.await.expect("opens"));
    }
    let record = granted(&handles[0].stores(), 1).await;

    for round in 0..10 {
        let begun = T0.plus_seconds(round * 1000);
        let contenders: Vec<_> = handles
            .iter()
            .map(|handle| {
                let (stores, connection) = (handle.stores(), record.connection);
                tokio::spawn(async move {
                    let lease = LeaseRequest { owner: "instance", now: begun, seconds: 120 };
                    stores.credentials.begin_refresh(connection, Generation::FIRST, lease).await.expect("asks")
                })
            })
            .collect();
        let mut won = 0;
        for contender in contenders {
            won += u32::from(contender.await.expect("runs").is_some());
        }
        assert_eq!(won, 1, "round {round}");
    }
    // A write of one is read by the others at once.
    for (number, handle) in (10..).zip(&handles) {
        let account = signed_in(&handle.stores(), number).await;
        for reader in &handles {
            assert!(reader.stores().accounts.find(account.id).await.expect("reads").is_some());
        }
    }
    for handle in &handles {
        handle.close().await;
    }
}

#[tokio::test]
async fn what_is_no_database_is_never_replaced_by_an_empty_one() {
    let (_folder, path) = place();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");

    for content in
        ["hello, this is no database".to_owned(), "x".repeat(8192), format!("SQLite format 3\0{}", "x".repeat(8000))]
    {
        std::fs::write(&path, &content).expect("written");
        let refused = open(&path).await;
        assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), content);
    }

    std::fs::write(&path, "").expect("written");
    assert!(matches!(open(&path).await, Err(OpenError::EmptyFile { .. })));
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 0);

    std::fs::remove_file(&path).expect("removed");
    std::fs::write(beside(&path, "-wal"), "frames").expect("written");
    assert!(matches!(open(&path).await, Err(OpenError::LogAlone { .. })));
    assert!(!path.exists());

    std::fs::remove_file(beside(&path, "-wal")).expect("removed");
    std::fs::create_dir(&path).expect("made");
    assert!(matches!(open(&path).await, Err(OpenError::File { .. })));
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let (_folder, path) = place();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut other = raw(&path, true).await;
    sqlx::raw_sql("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x')")
        .execute(&mut other)
        .await
        .expect("runs");
    other.close().await.expect("closes");
    let before = std::fs::read(&path).expect("reads");
    assert!(matches!(open(&path).await, Err(OpenError::Foreign { .. })));
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[tokio::test]
async fn a_truncated_file_is_damaged() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    granted(&database.stores(), 1).await;
    database.close().await;
    let whole = std::fs::read(&path).expect("reads");
    for length in [whole.len() / 2, 5000, 4096, 100, 17] {
        std::fs::write(&path, &whole[..length]).expect("written");
        let refused = open(&path).await;
        assert!(matches!(refused, Err(OpenError::Damaged { .. })), "{length}: {refused:?}");
    }
}

#[tokio::test]
async fn damage_inside_is_found_by_the_check() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    let record = granted(&database.stores(), 1).await;
    database.check().await.expect("sound");
    database.close().await;

    change(&path, "DELETE FROM connections").await;
    let database = opened(&path).await;
    assert!(matches!(database.check().await, Err(CheckError::Dangling(table)) if table == "credentials"));
    database.close().await;

    for (sql, column) in [
        ("UPDATE credentials SET state = 'sleeping'", "state"),
        ("UPDATE credentials SET state = 'refreshing'", "lease_until"),
        ("UPDATE credentials SET state = 'needs_reauth', reason = 'bored'", "reason"),
        ("UPDATE credentials SET state = 'ok', refresh_class = 'eternal'", "refresh_class"),
        ("UPDATE credentials SET refresh_class = 'graceful', account_id = 'me'", "account_id"),
    ] {
        change(&path, sql).await;
        let database = opened(&path).await;
        let read = database.stores().credentials.find(record.connection).await;
        let named =
            matches!(read, Err(StoreError::Inconsistent { table: "credentials", column: found }) if found == column);
        assert!(named, "{sql}: {read:?}");
        database.close().await;
    }
}

#[tokio::test]
async fn an_older_program_refuses_a_newer_schema() {
    let (_folder, path) = place();
    opened(&path).await.close().await;
    change(
        &path,
        "INSERT INTO schema_migrations VALUES (99990101000000, 'later', '', TRUE, x'00', 0); \
         UPDATE schema_floor SET needs_step = 99990101000000",
    )
    .await;
    let Err(error) = open(&path).await else { panic!("the schema is newer") };
    assert!(matches!(error, OpenError::Newer { found: 99_990_101_000_000, .. }), "{error:?}");
    assert!(error.to_string().contains("newer bowerbird"), "{error}");

    change(
        &path,
        "DELETE FROM schema_migrations WHERE version = 99990101000000; UPDATE schema_migrations SET checksum = x'00'",
    )
    .await;
    assert!(matches!(open(&path).await, Err(OpenError::History { .. })));
}

#[tokio::test]
async fn a_schema_that_is_behind_is_brought_up_to_date() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    let account = signed_in(&database.stores(), 1).await;
    database.close().await;
    change(
        &path,
        "DROP INDEX device_accounts_by_account; DELETE FROM schema_migrations WHERE version = 20261121051400",
    )
    .await;
    let database = opened(&path).await;
    assert_eq!(database.stores().accounts.find(account.id).await.expect("reads"), Some(account));
    database.close().await;
    // Fails if the step was not made again.
    change(&path, "DROP INDEX device_accounts_by_account").await;
}

#[tokio::test]
async fn a_restored_copy_without_a_log_gets_one() {
    let (_folder, path) = place();
    opened(&path).await.close().await;
    change(&path, "PRAGMA journal_mode = DELETE").await;
    let database = opened(&path).await;
    signed_in(&database.stores(), 1).await;
    assert!(beside(&path, "-wal").exists());
    database.close().await;
}

#[tokio::test]
async fn a_start_that_was_cut_off_leaves_nothing_in_the_way() {
    let (_folder, path) = place();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    for ending in [".new", ".new-journal", ".new-wal", ".new-shm"] {
        std::fs::write(beside(&path, ending), "half").expect("written");
    }
    let database = opened(&path).await;
    database.check().await.expect("sound");
    assert!(!beside(&path, ".new").exists());
    database.close().await;
}

#[tokio::test]
async fn a_removed_account_leaves_no_ciphertext_in_the_file() {
    let (_folder, path) = place();
    let database = opened(&path).await;
    let stores = database.stores();
    let record = granted(&stores, 1).await;
    let mut tokens = record.tokens.clone();
    tokens.access_token = b"sealed-canary-0123456789".repeat(400);
    let committed = stores
        .credentials
        .commit_refresh(record.connection, record.generation, &tokens, &record.state, record.schedule)
        .await;
    assert_eq!(committed.expect("commits"), Cas::Done);
    database.checkpoint().await.expect("nobody reads");
    let holds = || {
        let bytes = std::fs::read(&path).expect("reads");
        bytes.windows(20).any(|window| window == &b"sealed-canary-0123456789"[..20])
    };
    assert!(holds());
    assert!(stores.accounts.remove(record.account).await.expect("removes"));
    database.close().await;
    assert!(!holds());
}
