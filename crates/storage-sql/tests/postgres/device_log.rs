//! The log of changed device sessions says what a copy must not outlive, in the order of commits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bowerbird_core::ports::{Cas, DeviceChangeLog, NewAccount, Stores};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{AccountId, DeviceAccount, DeviceSession, DeviceSessionId, Did, Timestamp};
use bowerbird_storage_sql::SqlStores;

use crate::support::change;

/// How many devices change at once, and how many accounts they share.
const MANY: u64 = 120;
const PEOPLE: u64 = MANY / 4;

/// By the clock of this machine, which is the server's too.
fn now() -> Timestamp {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("a time"))
}

async fn account(stores: &Stores, number: u64) -> AccountId {
    let login = NewAccount {
        id: AccountId::random(&SeededEntropy::new(number)),
        did: Did::parse(&format!("did:web:n{number}.example.com")).expect("a DID"),
        handle: format!("n{number}.example.com"),
        pds: "https://pds.example.com".to_owned(),
        now: now(),
    };
    stores.accounts.sign_in(login).await.expect("signs in").id
}

fn name(number: u64) -> DeviceSessionId {
    DeviceSessionId::random(&SeededEntropy::new(50_000 + number))
}

async fn device(stores: &Stores, number: u64, accounts: &[AccountId], seconds: i64) -> DeviceSessionId {
    let begun = now();
    let session = DeviceSession {
        id: name(number),
        created_at: begun,
        last_seen_at: begun,
        expires_at: begun.plus_seconds(seconds),
        device_name: String::new(),
        active: accounts.last().copied(),
        accounts: accounts.iter().map(|&account| DeviceAccount { account, added_at: begun }).collect(),
    };
    stores.device_sessions.insert(&session).await.expect("inserts");
    session.id
}

fn of(accounts: &[AccountId], number: u64) -> AccountId {
    accounts[usize::try_from(number % PEOPLE).expect("a small number")]
}

/// Who changed since the last question.
async fn changed(log: &Arc<dyn DeviceChangeLog>, head: &mut i64) -> Vec<DeviceSessionId> {
    let changes = log.since(*head).await.expect("asks");
    assert!(changes.changed.iter().all(|(_, revision)| *revision > *head && *revision <= changes.head));
    *head = changes.head;
    changes.changed.into_iter().map(|(id, _)| id).collect()
}

pub(crate) async fn says_what_a_copy_must_not_outlive(url: &str) {
    let database = SqlStores::open(url).await.expect("opens");
    let (stores, log) = (database.stores(), database.device_log().expect("a log"));
    let sessions = &stores.device_sessions;
    let mut head = 0;
    assert!(changed(&log, &mut head).await.is_empty());
    let (alice, bob) = (account(&stores, 1).await, account(&stores, 2).await);
    let id = device(&stores, 1, &[alice, bob], 3600).await;
    assert_eq!(sessions.touch(&id, now(), now().plus_seconds(4000)).await.expect("touches"), Cas::Done);
    assert!(changed(&log, &mut head).await.is_empty(), "a new session and its use are no changes");

    assert_eq!(sessions.activate(&id, alice).await.expect("activates"), Cas::Done);
    assert_eq!(changed(&log, &mut head).await, std::slice::from_ref(&id));
    let rotated = sessions.rotate(&id, &name(2), bob, now(), now().plus_seconds(3600)).await.expect("rotates");
    assert!(rotated.is_some());
    let renamed = changed(&log, &mut head).await;
    assert!(renamed.contains(&id), "the old name is dead: {renamed:?}");
    assert_eq!(sessions.remove_account(&name(2), alice).await.expect("removes"), Cas::Done);
    assert_eq!(changed(&log, &mut head).await, [name(2)]);
    assert_eq!(sessions.remove_account(&name(2), bob).await.expect("removes"), Cas::Done);
    assert_eq!(changed(&log, &mut head).await, [name(2)], "the last account ends it");

    let id = device(&stores, 3, &[alice, bob], 3600).await;
    assert!(stores.accounts.remove(alice).await.expect("removes"));
    assert_eq!(changed(&log, &mut head).await, std::slice::from_ref(&id), "an account that goes leaves its devices");
    assert_eq!(sessions.remove(&id).await.expect("removes"), Cas::Done);
    assert_eq!(changed(&log, &mut head).await, std::slice::from_ref(&id));
    assert_eq!(sessions.remove(&id).await.expect("asks"), Cas::Stale);
    device(&stores, 4, &[bob], 0).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(sessions.purge(now()).await.expect("purges") > 0);
    assert!(changed(&log, &mut head).await.is_empty(), "nobody believes what has expired");

    // What is forgotten raises the floor.
    let before = log.since(0).await.expect("asks");
    assert_eq!((log.purge().await.expect("purges"), before.floor), (0, 0));
    change(url, "UPDATE device_changes SET revision = revision - 1200000000").await;
    let old = log.since(0).await.expect("asks").changed.into_iter().map(|(_, revision)| revision).max();
    assert!(log.purge().await.expect("purges") > 0);
    let after = log.since(0).await.expect("asks");
    assert_eq!((Some(after.floor), after.head), (old, before.head));
    assert!(after.changed.is_empty());
    database.close().await;
}

/// Who reads a head has every change up to it: else a copy could be taken for unchanged for ever.
pub(crate) async fn shows_changes_in_their_order(url: &str) {
    let database = SqlStores::open(url).await.expect("opens");
    let (stores, log) = (database.stores(), database.device_log().expect("a log"));
    let mut accounts = Vec::new();
    for number in 0..PEOPLE {
        accounts.push(account(&stores, 100 + number).await);
    }
    for number in 0..MANY {
        let pair = [of(&accounts, number), of(&accounts, number + 7)];
        device(&stores, number, &pair, 3600).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (log, done) = (Arc::clone(&log), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut head, mut seen) = (0, HashMap::new());
            loop {
                let last = done.load(Ordering::SeqCst);
                let changes = log.since(head).await.expect("asks");
                head = changes.head;
                seen.extend(changes.changed);
                if last {
                    return seen;
                }
            }
        })
    };
    // Sign-outs, logins and accounts that go, all at once, on rows that they share.
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..MANY {
        let (stores, accounts) = (stores.clone(), accounts.clone());
        writers.spawn(async move {
            let (id, sessions) = (name(number), &stores.device_sessions);
            let account = of(&accounts, number + 7);
            match number % 4 {
                0 => sessions.remove(&id).await.map(drop),
                // An account that is gone by now is refused; a deadlock would be another error.
                1 => match sessions.rotate(&id, &name(1000 + number), account, now(), now().plus_seconds(3600)).await {
                    Err(bowerbird_core::ports::StoreError::Refused(_)) => Ok(()),
                    other => other.map(drop),
                },
                2 => sessions.activate(&id, account).await.map(drop),
                _ if number % 3 == 0 => stores.accounts.remove(account).await.map(drop),
                _ => sessions.remove_account(&id, account).await.map(drop),
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("runs").expect("no two of them wait for each other");
    }
    done.store(true, Ordering::SeqCst);
    let seen = reader.await.expect("reads");
    let whole: HashMap<_, _> = log.since(0).await.expect("asks").changed.into_iter().collect();
    assert!(whole.len() as u64 > MANY / 2, "{} changes", whole.len());
    assert_eq!(seen, whole, "reading along showed the same as reading at the end");
    database.close().await;
}
