//! Row 17: a flood of logins from one address is turned away before it costs anybody anything.

use bowerbird_testkit::fault::{FaultNetwork, endpoint};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::server::ServerOptions;

use crate::support::{House, Must as _, refusal, refused};

/// Logins that one address may begin at once; one more each second after that.
const BURST: usize = 60;

/// Many starts at once; `address` says what each claims to come from.
async fn flood(house: &House, did: &str, count: usize, address: impl Fn(usize) -> Option<String>) -> Vec<Answer> {
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..count {
        let mut request = TestRequest::get(&house.server.url(&format!("/login?handle={did}")));
        if let Some(address) = address(number) {
            request = request.header("x-forwarded-for", &address).header("forwarded", &format!("for={address}"));
        }
        let client = house.server.client();
        starts.spawn(async move { client.send(request).await });
    }
    starts.join_all().await
}

fn begun(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 302).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_flood_from_one_address_is_turned_away() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let one = |_| Some("203.0.113.7".to_owned());
    let answers = flood(&house, &alice.did, 300, one).await;
    let passed = begun(&answers);
    // What a slow machine takes longer for, the bucket refills meanwhile.
    assert!((BURST..BURST + 30).contains(&passed), "{passed} logins began");
    for answer in answers.iter().filter(|answer| answer.status != 302) {
        assert_eq!(refusal(answer), refused(429, "rate_limited"));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let pushed = house.network.authorization_server().server().log().at(endpoint::PAR);
    let states: std::collections::HashSet<String> =
        pushed.iter().filter_map(|call| call.form().remove("state")).collect();
    assert_eq!(states.len(), passed, "nothing was begun, sent or stored for the others");
    // Everybody else signs in, and who is signed in goes on.
    let mut visitor = house.signed_in(&alice).await;
    visitor.session().await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_claimed_address_does_not_help_a_stranger() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let trusting_nobody = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on(&network);
    let house = House::with(network, trusting_nobody).await;
    let answers = flood(&house, &alice.did, 200, |number| Some(format!("198.51.100.{number}"))).await;
    let passed = begun(&answers);
    assert!((BURST..BURST + 30).contains(&passed), "{passed} logins began");
    house.assert_sound().await;
}
