//! Three masters.

use std::process::Command;
use std::time::Duration;

use bowerbird_core::AccountId;
use bowerbird_core::ports::{BucketVerdict, Change, RateBuckets as _, SharedCache as _};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_testkit::databases::RedisServer;

use crate::{LONG, MINUTE, is_heard, listening, tier_at};

#[tokio::test]
async fn a_cluster_is_one_tier() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for number in 0..3 {
        let file = folder.path().join(format!("nodes-{number}.conf"));
        let options = ["--cluster-enabled", "yes", "--cluster-config-file", file.to_str().unwrap()];
        nodes.push(RedisServer::start_with(&options).await);
    }
    let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let create = Command::new("redis-cli").args(["--cluster", "create"]).args(&places).arg("--cluster-yes").output();
    let create = create.unwrap();
    assert!(create.status.success(), "{}", String::from_utf8_lossy(&create.stdout));

    let tier = tier_at(&format!("redis+cluster://{}?node={}&node={}", places[0], places[1], places[2]));
    let ready = async {
        while tier.check().await.is_err() || nodes.iter().any(|n| !n.command(&["cluster", "info"]).contains("state:ok"))
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, ready).await.expect("the cluster comes up");
    for number in 0..50 {
        let (key, value) = (format!("device:{number}"), [number]);
        tier.put(&key, &value, MINUTE).await;
        assert_eq!(tier.get(&key).await, Some(value.to_vec()), "{key}");
        assert_eq!(tier.take(&key, 1, MINUTE).await, BucketVerdict::Taken);
        assert!(matches!(tier.take(&key, 1, MINUTE).await, BucketVerdict::Wait(_)));
    }
    let used = nodes.iter().filter(|node| !node.command(&["--scan"]).is_empty()).count();
    assert_eq!(used, 3, "the keys are spread");
    let mut heard = listening(&tier);
    is_heard(&tier, &Change::Account(AccountId::random(&SeededEntropy::new(4))), &mut heard).await;
}
