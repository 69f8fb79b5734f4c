//! Row 17: a flood of logins from one address is turned away before it costs anybody anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_testkit::fault::{FaultNetwork, endpoint};
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::server::ServerOptions;

use crate::opened::logins_under_way;
use crate::pace::{Burden, assert_others_do_not_wait};
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

/// Logins from one address, some hundred in a second, in the windows in which it is on.
struct Flood {
    on: Arc<AtomicBool>,
    turned_away: Arc<AtomicUsize>,
    before: usize,
}

impl Flood {
    fn of(house: &House, did: &str) -> Self {
        let (on, turned_away) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        for _ in 0..2 {
            let (on, turned_away) = (Arc::clone(&on), Arc::clone(&turned_away));
            let client = house.server.client();
            let start = TestRequest::get(&house.server.url(&format!("/login?handle={did}")));
            let start = start.header("x-forwarded-for", "203.0.113.7");
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if on.load(Ordering::Relaxed) {
                        let answer = client.try_send(start.clone()).await;
                        let refused = answer.is_ok_and(|answer| answer.status == 429);
                        turned_away.fetch_add(usize::from(refused), Ordering::Relaxed);
                    }
                }
            });
        }
        Self { on, turned_away, before: 0 }
    }
}

impl Burden for Flood {
    async fn begin(&mut self) {
        self.before = self.turned_away.load(Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
    }

    async fn end(&mut self) {
        self.on.store(false, Ordering::Relaxed);
        let turned_away = self.turned_away.load(Ordering::Relaxed) - self.before;
        assert!(turned_away >= 10, "{turned_away} were turned away: that is no flood");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_others_do_not_wait_for_a_flood() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.server.app(&house.signed_in(&alice).await.seal().unwrap());
    // The flood has used up what one address may do before anybody measures.
    let one = |_| Some("203.0.113.7".to_owned());
    let passed = begun(&flood(&house, &alice.did, 200, one).await);
    assert!(passed >= BURST, "{passed} logins began");
    let mut more = Flood::of(&house, &alice.did);
    assert_others_do_not_wait(&app, 1.2, &mut more).await;
    let turned_away = more.turned_away.load(Ordering::Relaxed);
    // One more each second was let in, and nothing else is kept of it.
    let pushed = house.network.authorization_server().server().log().at(endpoint::PAR).len();
    assert!(pushed < BURST + 60, "{pushed} logins were begun");
    let kept = logins_under_way(&house.server.data_dir()).await;
    assert!((passed as u64..=pushed as u64).contains(&kept), "{kept} rows of {pushed} logins, {turned_away} refused");
    house.assert_sound().await;
}
