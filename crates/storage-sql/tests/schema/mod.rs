//! Two releases on one schema: what the first one wrote and runs, and what this one must make of it. The same for both engines.

use std::borrow::Cow;
use std::path::Path;

use bowerbird_core::ports::{Cas, LeaseRequest, Stores};
use bowerbird_core::{ConnectionId, CredentialState, Generation, NeedsReauth, SealedTokens, Timestamp};
use bowerbird_storage_sql::{Abandoned, SqlStores, StateCounts};
use sqlx::migrate::{Migration, Migrator};

/// The last step of the first release.
const FIRST_RELEASE: i64 = 20_261_121_051_400;
/// An hour after the rows were written.
const LATER: Timestamp = Timestamp::from_seconds(1_767_229_200);

const ROWS: &str = include_str!("rows.sql");
const STATEMENTS: &str = include_str!("statements.sql");

/// A step of a release to come, as a rolling deployment would bring it while this one still runs.
pub(crate) const NEXT_STEP: [&str; 3] = [
    "ALTER TABLE credentials ADD COLUMN of_the_next_release TEXT",
    "CREATE TABLE of_the_next_release (name TEXT NOT NULL PRIMARY KEY)",
    "INSERT INTO schema_migrations SELECT 99990101000000, description, installed_on, success, checksum, execution_time \
     FROM schema_migrations WHERE version = 20261121051400",
];
/// What a step writes that an older program could not live with.
pub(crate) const RAISED_FLOOR: &str = "UPDATE schema_floor SET needs_step = 99990101000000";

/// The schema of the first release.
pub(crate) async fn first_release(folder: &Path) -> Migrator {
    let all = Migrator::new(folder).await.expect("steps");
    let steps: Vec<Migration> = all.iter().filter(|step| step.version <= FIRST_RELEASE).cloned().collect();
    let mut migrator = Migrator { migrations: Cow::Owned(steps), ..Migrator::DEFAULT };
    migrator.dangerous_set_table_name("schema_migrations");
    migrator
}

/// The rows of the first release, a statement each.
pub(crate) fn rows() -> impl Iterator<Item = String> {
    statements_of(ROWS)
}

/// What the first release runs, a statement each.
pub(crate) fn statements() -> impl Iterator<Item = String> {
    statements_of(STATEMENTS)
}

fn statements_of(text: &'static str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split(";\n").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn connection(letter: char) -> ConnectionId {
    ConnectionId::parse(&format!("00000000-0000-4000-8000-0000000000{letter}1")).expect("an id")
}

/// Every row of the first release is there as it was, is found when it is due, and goes on.
pub(crate) async fn everything_is_there_and_goes_on(stores: &Stores) {
    let read = async |letter| stores.credentials.find(connection(letter)).await.expect("reads").expect("is there");
    let intent_at = Timestamp::from_seconds(1_767_225_600);
    let lease_until = intent_at.plus_seconds(120);
    let expected = [
        ('a', 3, CredentialState::Ok),
        ('b', 5, CredentialState::Refreshing { lease_until, intent_at }),
        ('c', 7, CredentialState::Unknown { intent_at }),
        ('d', 9, CredentialState::NeedsReauth(NeedsReauth::Revoked)),
    ];
    for (letter, generation, state) in expected {
        let row = read(letter).await;
        assert_eq!((row.generation, &row.state), (Generation(generation), &state), "{letter}");
        assert_eq!(
            (row.tokens.access_token.as_slice(), row.tokens.refresh_token.as_deref()),
            (&[10][..], Some(&[11][..]))
        );
    }
    assert_eq!(read('b').await.client_kid.as_deref(), Some("key-1"));
    assert_eq!(stores.accounts.list(None, 10).await.expect("lists").len(), 4);
    assert_eq!(stores.data_keys.count_by_kek().await.expect("counts"), [("k0011223344".to_owned(), 1)]);

    // The sweep finds what is to be renewed and what a crash left, and leaves alone what needs a person.
    let due = stores.credentials.due(LATER, None, 10).await.expect("reads");
    let mut due: Vec<ConnectionId> = due.into_iter().map(|due| due.connection).collect();
    due.sort_by_key(ToString::to_string);
    assert_eq!(due, ['a', 'b', 'c'].map(connection));
    for letter in ['a', 'b', 'c'] {
        let content = vec![u8::try_from(letter).expect("ASCII")];
        let seen = read(letter).await.generation;
        let lease = LeaseRequest { owner: "this release", now: LATER, seconds: 120 };
        let begun = stores.credentials.begin_refresh(connection(letter), seen, lease).await.expect("writes");
        let begun = begun.expect("the lease of a dead server is over");
        let tokens = SealedTokens { access_token: content.clone(), ..begun.before.tokens };
        let stored = stores
            .credentials
            .commit_refresh(connection(letter), seen, &tokens, &CredentialState::Ok, begun.before.schedule)
            .await;
        assert_eq!(stored.expect("writes"), Cas::Done);
        assert_eq!(read(letter).await.tokens.access_token, content);
    }
}

/// What the first release wrote on the schema of this one is read by this one.
pub(crate) async fn what_the_first_release_wrote_is_read(stores: &Stores) {
    let read = async |letter| stores.credentials.find(connection(letter)).await.expect("reads").expect("is there");
    let renewed = read('a').await;
    assert_eq!((renewed.generation, &renewed.state), (Generation(4), &CredentialState::Ok));
    assert_eq!(renewed.tokens.access_token, [0x1a]);
    assert_eq!(read('c').await.state, CredentialState::Unknown { intent_at: LATER });
    let new = read('e').await;
    assert_eq!((new.generation, new.state, new.tokens.access_token), (Generation(1), CredentialState::Ok, vec![0x2a]));
    assert_eq!(stores.accounts.list(None, 10).await.expect("lists").len(), 5);
}

/// Giving up a client key and an encryption key, and what the counts say before and after.
pub(crate) async fn keys_are_given_up(database: &SqlStores) {
    let stores = database.stores();
    let read = async |letter| stores.credentials.find(connection(letter)).await.expect("reads").expect("is there");
    let counts = async || database.count_by_state().await.expect("counts");
    let (revoked, unreadable) = (NeedsReauth::Revoked, NeedsReauth::Unreadable);
    let at_first = StateCounts { ok: 1, refreshing: 1, unknown: 1, needs_reauth: vec![(revoked, 1)] };
    assert_eq!(counts().await, at_first);
    let listed = database.needing_attention(None, 1).await.expect("lists");
    assert_eq!((listed[0].connection, listed[0].handle.as_str()), (connection('c'), "c.example.com"));
    let rest = database.needing_attention(Some(connection('c')), 9).await.expect("lists");
    assert_eq!(rest.iter().map(|row| row.connection).collect::<Vec<_>>(), [connection('d')]);

    let before = read('b').await;
    assert_eq!(database.forget_client_key("key-2").await.expect("writes"), 0);
    assert_eq!(database.forget_client_key("key-1").await.expect("writes"), 1);
    let forgotten = read('b').await;
    assert_eq!(forgotten.state, CredentialState::NeedsReauth(unreadable));
    assert_eq!((forgotten.tokens, forgotten.fields), (before.tokens, before.fields), "what is sealed stays");
    assert_eq!(stores.credentials.count_by_client_key().await.expect("counts"), [(None, 2)]);

    let nothing = Abandoned { accounts: 0, credentials: 0 };
    assert_eq!(database.abandon_encryption_key("k9999999999").await.expect("writes"), nothing);
    let one = Abandoned { accounts: 1, credentials: 1 };
    assert_eq!(database.abandon_encryption_key("k0011223344").await.expect("writes"), one);
    let abandoned = read('a').await;
    assert_eq!((abandoned.generation, abandoned.state), (Generation(4), CredentialState::NeedsReauth(unreadable)));
    assert_eq!((abandoned.tokens.access_token.len(), abandoned.tokens.refresh_token), (0, None));
    assert_eq!(stores.data_keys.count_by_kek().await.expect("counts"), []);
    assert_eq!(stores.accounts.list(None, 10).await.expect("lists").len(), 4, "nobody is gone");
    let at_last =
        StateCounts { unknown: 1, needs_reauth: vec![(revoked, 1), (unreadable, 2)], ..StateCounts::default() };
    assert_eq!(counts().await, at_last);
    let due = stores.credentials.due(LATER, None, 10).await.expect("reads");
    assert_eq!(due.into_iter().map(|due| due.connection).collect::<Vec<_>>(), [connection('c')]);
}
