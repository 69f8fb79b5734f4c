//! A database as a large installation has it.

use std::path::Path;

use bowerbird_storage_sql::SqlStores;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

/// Due in between one and eight days, in the order of no other column.
const CREDENTIALS: &str = "
    INSERT INTO credentials (
        connection_id, account_id, generation, issuer, audience, subject, refresh_class, state, attempts, due_at,
        dpop_key, granted_generation, granted_at, access_token, refresh_token, issued_at, access_expires_at, scope, used_at
    )
    SELECT 'c' || substr(id, 2), id, 7, 'https://issuer.example.com', 'https://pds.example.com', did, 'single_use', 'ok', 0,
        created_at + 86400000 + abs(random() % 604800000), randomblob(74), 1, created_at, randomblob(640), randomblob(100),
        created_at, created_at + 7200000, 'atproto transition:generic', created_at
    FROM accounts WHERE did LIKE 'did:web:filled%'";

/// The steps, with `COUNT` and `NOW` (milliseconds) to be put in. Every account is on a device of its own.
const STEPS: [&str; 6] = [
    "INSERT INTO accounts (id, did, handle, pds, created_at, last_login_at)
     WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < COUNT)
     SELECT printf('a%07x-%04x-4000-8000-%012x', n, n % 65536, n), printf('did:web:filled%d.example.com', n),
         printf('filled%d.example.com', n), 'https://pds.example.com', NOW, NOW FROM n",
    "INSERT INTO connections (id, account_id, platform, subject, created_at)
     SELECT 'c' || substr(id, 2), id, 'atproto', did, created_at FROM accounts WHERE did LIKE 'did:web:filled%'",
    "INSERT INTO data_keys (account_id, kek_id, wrapped)
     SELECT id, (SELECT kek_id FROM data_keys LIMIT 1), randomblob(74) FROM accounts
     WHERE did LIKE 'did:web:filled%' AND EXISTS (SELECT 1 FROM data_keys)",
    CREDENTIALS,
    "INSERT INTO device_sessions (id, created_at, last_seen_at, expires_at, device_name)
     SELECT 'd' || substr(id, 2), created_at, created_at, created_at + 604800000, 'Firefox on Linux' FROM accounts
     WHERE did LIKE 'did:web:filled%'",
    "INSERT INTO device_accounts (device_id, account_id, added_at, use_order)
     SELECT 'd' || substr(id, 2), id, created_at, 1 FROM accounts WHERE did LIKE 'did:web:filled%'",
];

/// Adds accounts with everything that a sign-in leaves behind, to a new or an existing database that nobody uses.
pub(crate) async fn fill(path: &Path, accounts: u64) {
    let database = SqlStores::open(&format!("sqlite:{}", path.display())).await.expect("opens");
    database.close().await;
    let options =
        SqliteConnectOptions::new().filename(path).pragma("synchronous", "OFF").pragma("cache_size", "-400000");
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
    let now = bowerbird_core::ports::Clock::now(&bowerbird_net::SystemClock::new()).as_millis();
    for step in STEPS {
        let step = step.replace("COUNT", &accounts.to_string()).replace("NOW", &now.to_string());
        sqlx::query(AssertSqlSafe(step)).execute(&mut connection).await.expect("fills");
    }
    for end in ["ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        sqlx::query(end).execute(&mut connection).await.expect("ends");
    }
    connection.close().await.expect("closes");
}
