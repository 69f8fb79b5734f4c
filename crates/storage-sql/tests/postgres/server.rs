//! A PostgreSQL server for one test.

use std::sync::atomic::{AtomicU32, Ordering};

use bowerbird_testkit::databases::PostgresServer;
use parking_lot::Mutex;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

/// A server to make schemas in; a private one ends with the value.
pub(crate) struct Server {
    url: String,
    schemas: Mutex<Vec<String>>,
    private: Option<PostgresServer>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// Uses the server that is named, or starts one; None, said aloud, when there is none.
    #[expect(clippy::disallowed_methods, reason = "tests are configured by their environment")]
    pub(crate) async fn start() -> Option<Self> {
        if let Ok(url) = std::env::var("BOWERBIRD_TEST_POSTGRES_URL") {
            return Some(Self { url, schemas: Mutex::default(), private: None });
        }
        if !PostgresServer::available() {
            return None;
        }
        let private = PostgresServer::start().await;
        Some(Self { url: private.url(), schemas: Mutex::default(), private: Some(private) })
    }

    /// Makes an empty schema and gives the URL that puts everything into it.
    pub(crate) async fn new_schema(&self) -> String {
        let name = format!("bowerbird_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run(format!("CREATE SCHEMA {name}")).await;
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}options[search_path]={name}", self.url);
        self.schemas.lock().push(name);
        url
    }

    /// Leaves nothing behind.
    pub(crate) async fn stop(self) {
        if self.private.is_some() {
            return;
        }
        let schemas = std::mem::take(&mut *self.schemas.lock());
        for name in schemas {
            self.run(format!("DROP SCHEMA {name} CASCADE")).await;
        }
    }

    async fn run(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.url).await.expect("connects");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("runs");
        connection.close().await.expect("closes");
    }
}
