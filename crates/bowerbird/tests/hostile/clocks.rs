//! A clock that is an hour off (fault 12): sign-ins, refreshes and calls work all the same, because what is signed carries
//! the other server's own time.

use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Verdict};

use crate::support::{House, Must as _, options};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const PUBLIC: &str = "https://bower.home.arpa";
const PEOPLE: usize = 3;
const ROUNDS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn fault_12_an_hour_of_difference_fails_no_sign_in_no_refresh_and_no_call() {
    for seconds in [3600, -3600] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowerbird"));
        let made = command.args(["keys", "generate", "client"]).env_clear().output().unwrap();
        let keys = String::from_utf8(made.stdout).unwrap();
        // A confidential client: its assertions must not be ahead of the issuer's clock by more than a second.
        let network = FaultNetwork::start().await;
        network.clock().set_off(seconds);
        let set = options(&network).public_url(PUBLIC).env("BOWERBIRD_CLIENT_KEYS", keys.trim());
        let mut house = House::with(network, set).await;
        let front = house.server.front();
        house.network.map_host(PUBLIC, front.origin());
        let mut visitors = Vec::new();
        for number in 0..PEOPLE {
            let account = house.network.add_account(&format!("person{number}.test"));
            visitors.push(house.signed_in(&account).await);
        }
        for round in 0..ROUNDS {
            if round > 0 {
                // What was learnt of the clock is gone with the process.
                house.server.restart().await;
            }
            for visitor in &mut visitors {
                visitor.get(SESSION).await.must_be(200);
            }
            house.network.expire_all_access_tokens();
            for visitor in &mut visitors {
                visitor.get(SESSION).await.must_be(200);
            }
        }
        let shown = house.network.ledger().presented(CanaryKind::RefreshToken);
        let verdicts: Vec<Verdict> = shown.iter().map(|shown| shown.verdict).collect();
        let accepted = verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count();
        assert_eq!(accepted, PEOPLE * ROUNDS, "{seconds}: {verdicts:?}");
        assert!(
            verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted | Verdict::NotConsumed)),
            "{verdicts:?}"
        );
        let accounts = house.accounts();
        assert!(accounts.len() == PEOPLE && accounts.iter().all(|(_, status)| status == "ok"), "{accounts:?}");
        house.assert_sound().await;
    }
}
