//! The file of another program is read as it is, whatever is in it, and never touched.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bowerbird_storage_sql::{ForeignError, ForeignRow, ForeignSessions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

/// As the packages make it, by their source.
const TABLE: &str =
    "(key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL)";

async fn database(folder: &Path, statements: &[&str]) -> PathBuf {
    let path = folder.join("old.db");
    let mut connection = write(&path).await;
    for statement in statements {
        run(&mut connection, statement).await;
    }
    connection.close().await.unwrap();
    path
}

async fn write(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn run(connection: &mut SqliteConnection, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}

async fn all(path: &Path, table: Option<&str>) -> Vec<ForeignRow> {
    let mut file = ForeignSessions::open(path, table).await.unwrap();
    let count = file.count().await.unwrap();
    let mut rows = Vec::new();
    loop {
        let page = file.next_page().await.unwrap();
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    file.close().await;
    assert_eq!(rows.len() as u64, count);
    rows
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(read).collect();
    files.sort();
    files
}

#[tokio::test]
async fn sign_ins_are_found_in_either_table_and_nothing_else_is() {
    for name in ["iron_session_storage", "oauth_storage"] {
        let folder = tempfile::tempdir().unwrap();
        let make = format!("CREATE TABLE {name} {TABLE}");
        let insert = |key: &str| format!("INSERT INTO {name} VALUES ('{key}', '{{}}', '1900', '17', '18')");
        let (one, two) = (insert("session:did:plc:a"), insert("pkce:{\"handle\":\"a\"}"));
        let path = database(folder.path(), &[&make, &one, &two]).await;
        let before = files(folder.path());
        let rows = all(&path, None).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].subject.as_deref(), Some("did:plc:a"));
        assert_eq!(rows[0].value.as_ref().unwrap().expose(), b"{}");
        assert_eq!((rows[0].expires_at.as_deref(), rows[0].created_at.as_deref()), (Some("1900"), Some("17")));
        assert!(files(folder.path()) == before, "nothing is changed, nothing lies beside it");
    }
}

#[tokio::test]
async fn many_rows_come_once_each_and_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let make = format!("CREATE TABLE oauth_storage {TABLE}");
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
                INSERT INTO oauth_storage SELECT 'session:' || i, '{}', NULL, '', '' FROM n";
    let rows = all(&database(folder.path(), &[&make, fill]).await, None).await;
    let mut subjects: Vec<u32> = rows.iter().map(|row| row.subject.as_ref().unwrap().parse().unwrap()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn values_of_every_kind_and_size_are_read_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    // An older table: fewer columns, and numbers for times.
    let path = database(
        folder.path(),
        &[
            "CREATE TABLE \"my \"\"table\" (key PRIMARY KEY, value, expires_at)",
            "INSERT INTO \"my \"\"table\" VALUES ('session:number', 17, 1800000000000)",
            "INSERT INTO \"my \"\"table\" VALUES ('session:null', NULL, 1.5e12)",
            "INSERT INTO \"my \"\"table\" VALUES ('session:bytes', x'ff00fe', x'ff')",
            "INSERT INTO \"my \"\"table\" VALUES ('session:huge', zeroblob(50000000), printf('%.*c', 100000, '9'))",
            "INSERT INTO \"my \"\"table\" VALUES (x'73657373696f6e3aff', '{}', NULL)",
            "INSERT INTO \"my \"\"table\" VALUES ('session:' || printf('%.*c', 5000, 'd'), '{}', NULL)",
            "INSERT INTO \"my \"\"table\" VALUES (17, '{}', NULL)",
        ],
    )
    .await;
    let rows = all(&path, Some("my \"table")).await;
    let named = |name: &str| rows.iter().find(|row| row.subject.as_deref() == Some(name)).unwrap();
    assert_eq!(named("number").value.as_ref().unwrap().expose(), b"17");
    assert_eq!(named("number").expires_at.as_deref(), Some("1800000000000"));
    assert!(named("null").value.is_none());
    assert_eq!(named("bytes").value.as_ref().unwrap().expose(), b"\xff\x00\xfe");
    assert_eq!(named("bytes").expires_at, None);
    assert_eq!((named("huge").value.is_none(), named("huge").length), (true, 50_000_000));
    assert_eq!(named("huge").expires_at.as_ref().unwrap().len(), 32);
    assert_eq!(
        rows.iter().filter(|row| row.subject.is_none()).count(),
        2,
        "a key that is no text, and one that is too long"
    );
    assert_eq!(rows.len(), 6);
}

#[tokio::test]
async fn a_file_that_is_not_what_it_should_be_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = async |name: &str, content: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        ForeignSessions::open(&path, None).await.err().unwrap()
    };
    assert!(matches!(refused("missing", None).await, ForeignError::File { .. }));
    assert!(matches!(refused("empty", Some(b"")).await, ForeignError::NotADatabase { .. }));
    assert!(matches!(refused("text", Some(&[b'x'; 5000])).await, ForeignError::NotADatabase { .. }));
    assert!(matches!(ForeignSessions::open(folder.path(), None).await.err().unwrap(), ForeignError::File { .. }));

    let make = |name: &str| format!("CREATE TABLE {name} {TABLE}");
    let other = tempfile::tempdir().unwrap();
    let path = database(other.path(), &[&make("iron_session_storage"), &make("oauth_storage")]).await;
    assert!(matches!(ForeignSessions::open(&path, None).await.err().unwrap(), ForeignError::SeveralTables));
    assert_eq!(all(&path, Some("oauth_storage")).await.len(), 0);
    let named = ForeignSessions::open(&path, Some("x; DROP TABLE oauth_storage")).await.err().unwrap();
    assert!(matches!(named, ForeignError::NoTable(_)), "{named:?}");

    let third = tempfile::tempdir().unwrap();
    let path = database(third.path(), &["CREATE TABLE oauth_storage (key TEXT, value TEXT)"]).await;
    let column = ForeignSessions::open(&path, None).await.err().unwrap();
    assert!(matches!(column, ForeignError::NoColumn { column: "expires_at", .. }), "{column:?}");
}

#[tokio::test]
async fn a_server_that_still_runs_is_noticed_by_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let mut running = write(&path).await;
    run(&mut running, "PRAGMA journal_mode = WAL").await;
    run(&mut running, &format!("CREATE TABLE oauth_storage {TABLE}")).await;
    run(&mut running, "INSERT INTO oauth_storage VALUES ('session:did:plc:a', '{}', NULL, '', '')").await;
    let refused = ForeignSessions::open(&path, None).await.err().unwrap();
    assert!(matches!(&refused, ForeignError::InUse(log) if log.ends_with("old.db-wal")), "{refused:?}");
    running.close().await.unwrap();
    assert_eq!(all(&path, None).await.len(), 1, "stopped in order, it is whole");
}
