//! A sign-out at one instance counts at the other one.

use std::time::Duration;

use serde_json::Value;

use crate::support::Pair;

const CHECK: &str = "/api/auth/session";

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_counts_everywhere_within_a_second_with_and_without_redis() {
    for with_redis in [true, false] {
        let Some(mut pair) = Pair::start(with_redis).await else { return };
        signs_out(&pair).await;
        if let Some(redis) = &mut pair.redis {
            // The news are lost now, and it counts all the same.
            redis.kill();
            signs_out(&pair).await;
        }
        pair.assert_sound();
    }
}

async fn signs_out(pair: &Pair) {
    let account = pair.network.add_account(&format!("alice{}.test", pair.network.ledger().canaries().len()));
    let mut visitor = pair.sign_in(0, &account).await;
    let other = pair.app(1, &visitor.seal().unwrap());
    for _ in 0..3 {
        assert_eq!(other.get(CHECK).await.status, 200);
    }
    let _signed_out = visitor.post("/api/auth/logout", &Value::Null).await.expect_status(200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(other.get(CHECK).await.status, 401);
}
