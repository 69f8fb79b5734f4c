//! The stores in memory keep the contract of the ports.

use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::Stores;

bowerbird_testkit::conformance_tests!(make);

async fn make() -> Option<(Stores, ())> {
    Some((MemoryStores::new(), ()))
}

#[tokio::test]
async fn all_in_turn() {
    bowerbird_testkit::conformance::run_all(async || MemoryStores::new()).await;
}
