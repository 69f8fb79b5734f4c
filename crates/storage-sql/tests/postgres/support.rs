//! What the tests on PostgreSQL share.

use bowerbird_core::ports::{Cas, NewAccount, Stores};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{
    AccountId, Connection, ConnectionId, CredentialRecord, CredentialState, Did, Generation, Platform, RefreshClass,
    Schedule, SealedFields, SealedTokens, Timestamp,
};
use bowerbird_storage_sql::{LeaseClock, OpenOptions, SqlStores};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

pub(crate) const T0: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Opens a database that believes the times it is given, as the contract's tests need it.
pub(crate) async fn open_by_callers_clock(url: &str) -> SqlStores {
    let choices = OpenOptions { lease_clock: LeaseClock::Caller, ..OpenOptions::default() };
    SqlStores::open_with(&url.parse().expect("a URL"), choices).await.expect("opens")
}

/// Runs SQL beside the program.
pub(crate) async fn change(url: &str, sql: impl Into<String>) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    sqlx::query(AssertSqlSafe(sql.into())).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}

/// An account with its connection and a first grant.
pub(crate) async fn granted(stores: &Stores, number: u64) -> CredentialRecord {
    let login = NewAccount {
        id: AccountId::random(&SeededEntropy::new(number)),
        did: Did::parse(&format!("did:web:n{number}.example.com")).expect("a DID"),
        handle: format!("n{number}.example.com"),
        pds: "https://pds.example.com".to_owned(),
        now: T0,
    };
    let account = stores.accounts.sign_in(login).await.expect("signs in");
    let connection = Connection {
        id: ConnectionId::random(&SeededEntropy::new(1000 + number)),
        account: account.id,
        platform: Platform::atproto(),
        subject: account.did.to_string(),
        created_at: T0,
    };
    let connection = stores.connections.ensure(&connection).await.expect("connects");
    let record = CredentialRecord {
        connection: connection.id,
        account: account.id,
        generation: Generation::FIRST,
        issuer: "https://issuer.example.com".to_owned(),
        audience: "https://pds.example.com".to_owned(),
        subject: account.did.to_string(),
        client_kid: None,
        refresh_class: RefreshClass::SingleUse,
        state: CredentialState::Ok,
        schedule: Schedule::default(),
        used_at: T0,
        fields: SealedFields { dpop_key: vec![1], granted_generation: Generation::FIRST, granted_at: T0 },
        tokens: SealedTokens {
            access_token: vec![1],
            refresh_token: Some(vec![2]),
            issued_at: T0,
            access_expires_at: T0.plus_seconds(3600),
            scope: "atproto".to_owned(),
        },
    };
    assert_eq!(stores.credentials.replace(&record, None).await.expect("stores"), Cas::Done);
    record
}
