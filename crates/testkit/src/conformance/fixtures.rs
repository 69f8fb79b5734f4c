//! What the properties are checked on.

use std::sync::Arc;

use bowerbird_core::ports::{LeaseRequest, NewAccount, StoreError, Stores};
use bowerbird_core::{
    Account, AccountId, Connection, ConnectionId, CredentialRecord, CredentialState, DeviceAccount, DeviceSession,
    DeviceSessionId, Did, Generation, Platform, RefreshClass, Schedule, SealedFields, SealedTokens, Timestamp,
};
use tokio::sync::Barrier;
use uuid::Uuid;

/// A point to count from.
pub const T0: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Seconds after [`T0`].
pub(super) fn at(seconds: i64) -> Timestamp {
    T0.plus_seconds(seconds)
}

pub(super) fn account_id(number: u32) -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(u128::from(number) << 64 | 0xacc))
}

pub(super) fn connection_id(number: u32) -> ConnectionId {
    ConnectionId::from_uuid(Uuid::from_u128(u128::from(number) << 64 | 0xc0))
}

pub(super) fn device_id(number: u32) -> DeviceSessionId {
    DeviceSessionId::parse(&format!("{number:032x}")).unwrap()
}

pub(super) fn did(number: u32) -> Did {
    Did::parse(&format!("did:web:n{number}.example.com")).unwrap()
}

/// A login of the account of that number.
pub(super) fn login(number: u32, now: Timestamp) -> NewAccount {
    NewAccount {
        id: account_id(number),
        did: did(number),
        handle: format!("n{number}.example.com"),
        pds: "https://pds.example.com".to_owned(),
        now,
    }
}

/// The account of that number.
pub async fn signed_in(stores: &Stores, number: u32) -> Account {
    stores.accounts.sign_in(login(number, at(i64::from(number)))).await.unwrap()
}

pub(super) fn connection(number: u32) -> Connection {
    Connection {
        id: connection_id(number),
        account: account_id(number),
        platform: Platform::atproto(),
        subject: did(number).to_string(),
        created_at: T0,
    }
}

/// The account of that number with its connection.
pub(super) async fn connected(stores: &Stores, number: u32) -> ConnectionId {
    signed_in(stores, number).await;
    stores.connections.ensure(&connection(number)).await.unwrap().id
}

/// A first grant for the connection of that number; no two fields are alike.
pub(super) fn grant(number: u32) -> CredentialRecord {
    CredentialRecord {
        connection: connection_id(number),
        account: account_id(number),
        generation: Generation::FIRST,
        issuer: "https://issuer.example.com".to_owned(),
        audience: "https://pds.example.com".to_owned(),
        subject: did(number).to_string(),
        client_kid: Some("key-1".to_owned()),
        refresh_class: RefreshClass::SingleUse,
        state: CredentialState::Ok,
        schedule: later(),
        used_at: at(2),
        fields: SealedFields { dpop_key: vec![1, 0, 255], granted_generation: Generation::FIRST, granted_at: at(1) },
        tokens: tokens(1),
    }
}

/// A schedule of which no two fields are alike.
pub(super) fn later() -> Schedule {
    Schedule { attempts: 0, not_before: Some(at(7)), due_at: Some(at(2880)) }
}

/// Nothing is to be done.
pub(super) fn none() -> Schedule {
    Schedule::default()
}

pub(super) fn lease(now: Timestamp, until: Timestamp) -> LeaseRequest<'static> {
    LeaseRequest { owner: "instance", now, seconds: until.millis_since(now) / 1000 }
}

/// A lease of two minutes, ten seconds after [`T0`].
pub(super) fn ten() -> LeaseRequest<'static> {
    lease(at(10), at(130))
}

pub(super) fn tokens(number: u8) -> SealedTokens {
    SealedTokens {
        access_token: vec![number, 0, 1],
        refresh_token: Some(vec![number, 0, 2]),
        issued_at: at(i64::from(number)),
        access_expires_at: at(3600 + i64::from(number)),
        scope: format!("atproto transition:generic n{number}"),
    }
}

/// The account of that number with its connection and its first grant.
pub async fn granted(stores: &Stores, number: u32) -> CredentialRecord {
    connected(stores, number).await;
    let record = grant(number);
    let added = stores.credentials.replace(&record, None).await.unwrap();
    assert_eq!(added, bowerbird_core::ports::Cas::Done);
    record
}

/// The row as it is now.
pub(super) async fn stored(stores: &Stores, of: &CredentialRecord) -> CredentialRecord {
    stores.credentials.find(of.connection).await.unwrap().expect("the credential is there")
}

/// A session that ends after an hour, with the accounts of those numbers, the last of them active.
pub(super) fn device(number: u32, accounts: &[u32]) -> DeviceSession {
    let place = |(nth, account): (i64, &u32)| DeviceAccount { account: account_id(*account), added_at: at(nth) };
    DeviceSession {
        id: device_id(number),
        created_at: T0,
        last_seen_at: at(i64::from(number)),
        expires_at: at(3600),
        device_name: format!("Browser {number}"),
        active: accounts.last().map(|account| account_id(*account)),
        accounts: (0..).zip(accounts).map(place).collect(),
    }
}

/// The session, with its accounts signed in and itself stored.
pub(super) async fn on_device(stores: &Stores, number: u32, accounts: &[u32]) -> DeviceSession {
    for account in accounts {
        signed_in(stores, *account).await;
    }
    let device = device(number, accounts);
    stores.device_sessions.insert(&device).await.unwrap();
    device
}

pub(super) fn is_refused<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Refused(_)))
}

/// Runs contenders that start together, on tasks of their own, and gives what each got.
pub(super) async fn race<T, F>(contenders: u32, contender: impl Fn(u32) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let start = Arc::new(Barrier::new(contenders as usize));
    let run = |number| {
        let (start, contender) = (start.clone(), contender(number));
        tokio::spawn(async move {
            start.wait().await;
            contender.await
        })
    };
    let running: Vec<_> = (0..contenders).map(run).collect();
    let mut outcomes = Vec::new();
    for contender in running {
        outcomes.push(contender.await.unwrap());
    }
    outcomes
}
