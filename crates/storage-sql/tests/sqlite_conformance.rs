//! The stores in a SQLite file keep the contract of the ports.
#![expect(clippy::expect_used, reason = "tests")]

use bowerbird_core::ports::Stores;
use bowerbird_storage_sql::SqlStores;
use tempfile::TempDir;

bowerbird_testkit::conformance_tests!(make);

async fn make() -> Option<(Stores, TempDir)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bowerbird.sqlite");
    let database = SqlStores::open(&format!("sqlite:{}", path.display())).await.expect("a new database opens");
    Some((database.stores(), folder))
}
