//! What only shows from inside: a full disk, a commit shared by many, a connection that is not durable.

use bowerbird_core::ports::{AccountStore as _, NewAccount, StoreError};
use bowerbird_core::{AccountId, Did, Timestamp};
use futures_util::future::join_all;
use sqlx::sqlite::SqliteSynchronous;
use tempfile::TempDir;

use super::open::{check_durable, writer_options};
use super::*;
use crate::engine::Engine;
use crate::statement::Statement;

async fn engine() -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let engine = SqliteEngine::open(&folder.path().join("b.sqlite")).await.unwrap();
    (folder, Engine::Sqlite(engine))
}

fn login(number: u128, handle: String) -> NewAccount {
    NewAccount {
        id: AccountId::from_uuid(uuid::Uuid::from_u128(number)),
        did: Did::parse(&format!("did:web:n{number}.example.com")).unwrap(),
        handle,
        pds: String::new(),
        now: Timestamp::EPOCH,
    }
}

async fn pragma(engine: &Engine, sql: &'static str) {
    engine
        .write(Urgency::Now, move |mut database| Box::pin(async move { database.rows(Statement::new(sql)).await }))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_is_not_available_and_keeps_what_is_there() {
    let (_folder, engine) = engine().await;
    let kept = engine.sign_in(login(1, "kept".to_owned())).await.unwrap();
    pragma(&engine, "PRAGMA max_page_count = 1").await;
    let full = engine.sign_in(login(2, "x".repeat(1_000_000))).await;
    assert!(matches!(full, Err(StoreError::Unavailable(_))), "{full:?}");
    assert_eq!(engine.list(None, 10).await.unwrap(), std::slice::from_ref(&kept));

    // A new connection has no such limit: the disk has room again.
    engine.sign_in(login(3, "after".to_owned())).await.unwrap();
    assert_eq!(engine.list(None, 10).await.unwrap().len(), 2);
    assert_eq!(engine.find(kept.id).await.unwrap(), Some(kept));
}

#[tokio::test]
async fn a_full_disk_is_told_to_everyone_in_the_commit() {
    let (_folder, engine) = engine().await;
    pragma(&engine, "PRAGMA max_page_count = 1").await;
    // All are queued before the writer wakes, so that they share a commit.
    let outcomes = join_all((0..10).map(|number| {
        let size = if number == 5 { 1_000_000 } else { 1 };
        engine.sign_in(login(number, "x".repeat(size)))
    }))
    .await;
    let stored = engine.list(None, 100).await.unwrap();
    let told: Vec<_> = outcomes.into_iter().flatten().collect();
    assert_eq!(told, stored, "told and stored must be the same");
    assert!(stored.len() < 10);
}

#[tokio::test]
async fn a_failed_job_undoes_itself_alone() {
    let (_folder, engine) = engine().await;
    let outcomes = join_all((0..20).map(|number| {
        let engine = &engine;
        async move {
            let job = engine.write(Urgency::Now, move |mut database| {
                Box::pin(async move {
                    let insert = "INSERT INTO device_sessions VALUES ($1, 0, 0, 0, '')";
                    database.execute(Statement::new(insert).with(number)).await?;
                    if number % 3 == 0 {
                        // The same name again.
                        database.execute(Statement::new(insert).with(number)).await?;
                    }
                    Ok(())
                })
            });
            job.await.is_ok()
        }
    }))
    .await;
    let expected: Vec<bool> = (0..20).map(|number: i64| number % 3 != 0).collect();
    assert_eq!(outcomes, expected);
    let row = engine.row(Statement::new("SELECT count(*) AS number FROM device_sessions")).await.unwrap().unwrap();
    assert_eq!(row.of("device_sessions").integer("number").unwrap(), 13);
}

const INSERT_DEVICE: &str = "INSERT INTO device_sessions VALUES ($1, 0, 0, 0, $2) RETURNING device_name";

#[tokio::test]
async fn a_refused_statement_leaves_those_of_its_commit_alone() {
    // In one trip, and one after the other.
    for count in [4, 20] {
        refuse_every_second_of(count).await;
    }
}

async fn refuse_every_second_of(count: i64) {
    let (_folder, engine) = engine().await;
    // Queued together; each name comes twice.
    let outcomes = join_all((0..count).map(|number| {
        let (name, device) = ((number / 2).to_string(), number.to_string());
        engine.returning(Statement::new(INSERT_DEVICE).with(name).with(device))
    }))
    .await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(row) if number % 2 == 0 => {
                assert_eq!(row.unwrap().of("device_sessions").text("device_name").unwrap(), number.to_string());
            }
            Err(StoreError::Refused("that name is taken")) if number % 2 == 1 => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    let row = engine.row(Statement::new("SELECT count(*) AS number FROM device_sessions")).await.unwrap().unwrap();
    assert_eq!(row.of("device_sessions").integer("number").unwrap(), count / 2);
}

#[tokio::test]
async fn statements_of_one_commit_get_what_is_theirs() {
    let (folder, engine) = engine().await;
    let before = log_frames(folder.path());
    let rows = join_all((0..64).map(|number: i64| {
        engine.returning(Statement::new(INSERT_DEVICE).with(format!("n{number}")).with(number.to_string()))
    }));
    for (number, row) in rows.await.into_iter().enumerate() {
        assert_eq!(row.unwrap().unwrap().of("device_sessions").text("device_name").unwrap(), number.to_string());
    }
    let frames = log_frames(folder.path()) - before;
    assert!(frames < 64, "{frames} frames");

    let rename = "UPDATE device_sessions SET device_name = $2 WHERE device_name < $1";
    let changed = join_all(["2", "", "9"].map(|limit| engine.execute(Statement::new(rename).with(limit).with("z"))));
    let changed: Vec<u64> = changed.await.into_iter().map(Result::unwrap).collect();
    // Below "2" are 0, 1 and 10 to 19; the rest below "9" comes last.
    assert_eq!(changed, [12, 0, 51]);
}

#[tokio::test]
async fn a_full_disk_is_told_to_every_statement_of_the_commit() {
    for count in [4, 10] {
        fill_the_disk_with_one_of(count).await;
    }
}

async fn fill_the_disk_with_one_of(count: usize) {
    let (_folder, engine) = engine().await;
    pragma(&engine, "PRAGMA max_page_count = 1").await;
    let outcomes = join_all((0..count).map(|number| {
        let name = "x".repeat(if number == count / 2 { 1_000_000 } else { 1 });
        engine.returning(Statement::new(INSERT_DEVICE).with(number.to_string()).with(name))
    }))
    .await;
    let told = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let row = engine.row(Statement::new("SELECT count(*) AS number FROM device_sessions")).await.unwrap().unwrap();
    assert_eq!(row.of("device_sessions").integer("number").unwrap(), i64::try_from(told).unwrap());
    assert!(told < count);
    // The next commit is on a new connection, and finds no transaction left open.
    assert!(engine.returning(Statement::new(INSERT_DEVICE).with("after").with("")).await.unwrap().is_some());
}

#[tokio::test]
async fn many_writers_share_commits() {
    let (folder, engine) = engine().await;
    let before = log_frames(folder.path());
    join_all((0..64).map(|number| engine.sign_in(login(number, String::new())))).await.into_iter().for_each(|done| {
        done.unwrap();
    });
    // Each commit of its own would log four pages or more.
    let frames = log_frames(folder.path()) - before;
    assert!(frames < 64, "{frames} frames");
}

/// Pages in the write-ahead log.
fn log_frames(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("b.sqlite-wal")).map_or(0, |log| log.len() / 4120)
}

#[tokio::test]
async fn less_than_full_is_refused() {
    let (folder, _engine) = engine().await;
    let path = folder.path().join("b.sqlite");
    for (level, durable) in [
        (SqliteSynchronous::Off, false),
        (SqliteSynchronous::Normal, false),
        (SqliteSynchronous::Full, true),
        (SqliteSynchronous::Extra, true),
    ] {
        let mut connection = sqlx::ConnectOptions::connect(&writer_options(&path).synchronous(level)).await.unwrap();
        let checked = check_durable(&path, &mut connection).await;
        assert_eq!(checked.is_ok(), durable, "{checked:?}");
        let refused = matches!(checked, Err(OpenError::NotDurable { setting: "synchronous", .. }));
        assert_eq!(refused, !durable);
    }
}

#[tokio::test]
async fn a_removed_file_is_not_ready() {
    let (folder, engine) = engine().await;
    let Engine::Sqlite(sqlite) = &engine else { panic!("it is SQLite") };
    sqlite.ready().await.unwrap();
    std::fs::remove_file(folder.path().join("b.sqlite")).unwrap();
    assert!(sqlite.ready().await.is_err());
}

#[tokio::test]
async fn readers_cannot_write() {
    let (_folder, engine) = engine().await;
    let refused = engine.rows(Statement::new("DELETE FROM accounts RETURNING id")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

/// Opened, and none of them lent.
fn idle_readers(engine: &Engine) -> usize {
    let Engine::Sqlite(sqlite) = engine else { panic!("it is SQLite") };
    sqlite.readers.idle.lock().len()
}

#[tokio::test]
async fn many_reads_share_a_few_readers() {
    let (_folder, engine) = engine().await;
    let kept = engine.sign_in(login(1, "kept".to_owned())).await.unwrap();
    engine.find(kept.id).await.unwrap();
    assert_eq!(idle_readers(&engine), 1, "one after the other needs no second one");
    for found in join_all((0..200).map(|_| engine.find(kept.id))).await {
        assert_eq!(found.unwrap().as_ref(), Some(&kept));
    }
    assert!((1..=3).contains(&idle_readers(&engine)), "{}", idle_readers(&engine));
}

#[tokio::test]
async fn a_reader_whose_caller_left_or_that_failed_is_not_used_again() {
    let (_folder, engine) = engine().await;
    let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n";
    for _ in 0..10 {
        let left = tokio::time::timeout(std::time::Duration::from_millis(5), engine.rows(Statement::new(long))).await;
        assert!(left.is_err(), "it takes longer than that");
        assert_eq!(idle_readers(&engine), 0);
    }
    engine.rows(Statement::new("SELECT nothing FROM nowhere")).await.unwrap_err();
    assert_eq!(idle_readers(&engine), 0);
    assert_eq!(engine.rows(Statement::new("SELECT 1 AS one")).await.unwrap().len(), 1);
    assert_eq!(idle_readers(&engine), 1);
}

#[tokio::test]
async fn a_closed_database_says_so_to_readers() {
    let (_folder, engine) = engine().await;
    engine.list(None, 1).await.unwrap();
    let Engine::Sqlite(sqlite) = &engine else { panic!("it is SQLite") };
    sqlite.close().await;
    sqlite.close().await;
    assert_eq!(idle_readers(&engine), 0);
    let closed = engine.list(None, 1).await.unwrap_err();
    let StoreError::Unavailable(cause) = closed else { panic!("{closed:?}") };
    assert_eq!(cause.to_string(), "the database is closed");
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cut_its_write() {
    let (_folder, engine) = engine().await;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (go_on, told) = tokio::sync::oneshot::channel::<()>();
    let insert = "INSERT INTO device_sessions VALUES ('a', 0, 0, 0, '')";
    let leaving = engine.write(Urgency::Now, move |mut database| {
        Box::pin(async move {
            database.execute(Statement::new(insert)).await?;
            begun.send(()).unwrap();
            told.await.unwrap();
            database.execute(Statement::new("UPDATE device_sessions SET device_name = 'whole'")).await
        })
    });
    tokio::select! {
        _ = leaving => panic!("it waits to be told"),
        started = has_begun => started.unwrap(),
    }
    go_on.send(()).unwrap();
    // Comes after it in the queue.
    engine.execute(Statement::new("DELETE FROM accounts")).await.unwrap();
    let row = engine.row(Statement::new("SELECT device_name FROM device_sessions")).await.unwrap().unwrap();
    assert_eq!(row.of("device_sessions").text("device_name").unwrap(), "whole");
}

#[tokio::test]
async fn what_can_wait_lets_the_urgent_go_first() {
    let (_folder, engine) = engine().await;
    let order = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let job = |urgency, name: &'static str| {
        let order = order.clone();
        engine.write(urgency, move |_| {
            Box::pin(async move {
                order.lock().push(name);
                Ok(())
            })
        })
    };
    let (a, b, c) =
        tokio::join!(job(Urgency::WhenQuiet, "quiet"), job(Urgency::Now, "urgent"), job(Urgency::Now, "urgent"),);
    a.and(b).and(c).unwrap();
    assert_eq!(*order.lock(), ["urgent", "urgent", "quiet"]);
}

#[tokio::test]
async fn a_damaged_page_ends_every_write_and_no_read_that_still_works() {
    let (folder, engine) = engine().await;
    for number in 0..200 {
        engine.sign_in(login(number, "x".repeat(2000))).await.unwrap();
    }
    let kept = engine.sign_in(login(1000, "kept".to_owned())).await.unwrap();
    let Engine::Sqlite(sqlite) = &engine else { panic!("it is SQLite") };
    sqlite.close().await;

    // Pages of accounts, in the middle; the first ones, which say what is where, are whole.
    let path = folder.path().join("b.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, to) = (bytes.len() / 2, bytes.len() / 2 + 8 * 4096);
    bytes[from / 4096 * 4096..to].fill(0xff);
    std::fs::write(&path, bytes).unwrap();

    let engine = Engine::Sqlite(SqliteEngine::open(&path).await.unwrap());
    let Engine::Sqlite(sqlite) = &engine else { panic!("it is SQLite") };
    sqlite.ready().await.unwrap();
    assert!(engine.list(None, 1000).await.is_err(), "it meets the damage");
    let refused = sqlite.ready().await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(cause)) if cause.to_string().contains("restore a backup")));
    let before = std::fs::read(&path).unwrap();
    assert!(engine.sign_in(login(2000, String::new())).await.is_err(), "nothing is written any more");
    sqlite.close().await;
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(kept);
}
