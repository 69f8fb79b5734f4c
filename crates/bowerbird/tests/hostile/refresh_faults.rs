//! Refreshes that go wrong (REFRESH in the documentation): a spent refresh token is never shown again, whoever hangs
//! up, restarts, refuses or falls silent.

use std::time::Duration;

use bowerbird_testkit::actors::App;
use bowerbird_testkit::fault::{
    CanaryKind, FaultAccount, FaultNetwork, Misbehave, Presentation, Reply, Verdict, endpoint,
};
use bowerbird_testkit::http_client::Answer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{House, Must as _};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";
/// How long an access token of a second may be waited for.
const ENDED: Duration = Duration::from_millis(1200);

/// A person who is signed in by an app.
struct Person {
    house: House,
    account: FaultAccount,
    app: App,
    seal: String,
}

impl Person {
    async fn at(network: FaultNetwork, access_seconds: i64) -> Self {
        let house = House::on(network).await;
        let account = house.network.add_account("alice.test");
        house.network.authorization_server().set_access_seconds(access_seconds);
        let seal = house.signed_in(&account).await.seal().unwrap();
        house.network.authorization_server().set_access_seconds(3600);
        house.network.clear_logs();
        let app = house.server.app(&seal);
        Self { house, account, app, seal }
    }

    async fn start() -> Self {
        Self::at(FaultNetwork::start().await, 3600).await
    }

    /// With an access token that has ended by our own clock, too.
    async fn with_an_ended_access() -> Self {
        // The answer rounds down: this is one second.
        let person = Self::at(FaultNetwork::start_with_entryway().await, 2).await;
        tokio::time::sleep(ENDED).await;
        person
    }

    fn lays(&self, what: Misbehave) {
        self.house.network.authorization_server().server().misbehave(endpoint::TOKEN, what);
    }

    fn behaves(&self) {
        self.house.network.authorization_server().server().behave();
    }

    fn token_calls(&self) -> usize {
        self.house.network.authorization_server().token_calls()
    }

    /// Every time that a refresh token was shown.
    fn shown(&self) -> Vec<Presentation> {
        self.house.network.ledger().presented(CanaryKind::RefreshToken)
    }

    fn accepted(&self) -> usize {
        self.shown().iter().filter(|shown| shown.verdict == Verdict::Accepted).count()
    }

    fn status(&self) -> String {
        let [(did, status)] = &self.house.accounts()[..] else { panic!("one account") };
        assert_eq!(*did, self.account.did);
        status.clone()
    }

    async fn call(&self) -> Answer {
        self.app.get(SESSION).await
    }

    /// Calls side by side: while a refresh is in doubt, each waits some seconds for the doubt to end.
    async fn calls(&self, count: usize) -> Vec<Answer> {
        futures_util::future::join_all((0..count).map(|_| self.call())).await
    }

    /// Makes a call, and closes the connection as soon as the refresh token is out.
    async fn hang_up_during_a_refresh(&self) {
        #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
        let mut stream = TcpStream::connect(self.house.server.address()).await.unwrap();
        let (host, seal) = (self.house.server.host(), &self.seal);
        let request = format!("GET {SESSION} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {seal}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        self.house.until("the token is out", || self.token_calls() == 1).await;
        drop(stream);
    }

    async fn sound(&self) {
        self.house.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_the_end_of_an_access_token_make_one_token_call() {
    let dead = Person::start().await;
    dead.house.network.expire_all_access_tokens();
    for person in [dead, Person::with_an_ended_access().await] {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let app = person.app.clone();
            calls.spawn(async move { app.get(SESSION).await.status });
        }
        let statuses = calls.join_all().await;
        assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
        assert_eq!((person.token_calls(), person.accepted()), (1, 1));
        person.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_ended_costs_one_more_request_and_no_replay() {
    let person = Person::with_an_ended_access().await;
    person.house.network.authorization_server().renew_nonces();
    person.call().await.must_be(200);
    let verdicts: Vec<Verdict> = person.shown().iter().map(|shown| shown.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotConsumed, Verdict::Accepted]);
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_asked_again_and_the_token_is_kept() {
    let person = Person::with_an_ended_access().await;
    let server = person.house.network.authorization_server();
    server.server().go_down();
    let answer = person.call().await;
    answer.must_refuse(503, "try_later");
    assert!(answer.header("retry-after").is_some());
    assert!(person.shown().is_empty(), "it was shown to nobody");
    server.server().come_back().await;
    let again = async {
        while person.call().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), again).await.expect("it never works again");
    assert_eq!(person.accepted(), 1);
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_waited_out() {
    let person = Person::with_an_ended_access().await;
    person.lays(Misbehave::too_many_requests("3"));
    let answer = person.call().await;
    answer.must_refuse(503, "try_later");
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3..=4).contains(&wait), "{wait}");
    person.behaves();
    let again = async {
        while person.call().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), again).await.expect("it never works again");
    let sent = person.house.network.authorization_server().server().log().at(endpoint::TOKEN);
    assert_eq!(sent.len(), 2);
    let gap = sent[1].at_millis - sent[0].at_millis;
    assert!(gap >= 2900, "asked again after {gap} ms");
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_does_not_stop_a_refresh() {
    let mut person = Person::start().await;
    person.house.network.expire_all_access_tokens();
    person.lays(Misbehave::DelayAfter(Duration::from_millis(800)));
    person.hang_up_during_a_refresh().await;
    // A stop waits for the answer and its storing.
    let status = person.house.server.terminate(Duration::from_secs(10)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    person.behaves();
    person.house.server.restart().await;
    person.call().await.must_be(200);
    assert_eq!((person.token_calls(), person.accepted()), (1, 1), "what came was stored");
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_leaves_doubt_and_no_second_send() {
    let odd = [
        Misbehave::ResetAfter,
        Misbehave::status_after(500),
        Misbehave::status_after(503),
        Misbehave::truncate(20),
        Misbehave::After(Reply::text(200, "text/html", "<!doctype html>")),
        Misbehave::After(Reply::redirect(302, "http://127.0.0.1:1/")),
        Misbehave::AfterRaw("HTTP/1.1 2".into()),
        // Before it took effect; nobody can tell.
        Misbehave::status(500),
        Misbehave::status(503),
        Misbehave::ResetBefore,
    ];
    // Side by side, each in a house of its own.
    let mut doubts = tokio::task::JoinSet::new();
    for what in odd {
        doubts.spawn(one_doubt(what));
    }
    doubts.join_all().await;
}

async fn one_doubt(what: Misbehave) {
    let named = format!("{what:?}");
    let mut person = Person::start().await;
    person.house.network.expire_all_access_tokens();
    person.lays(what);
    for answer in person.calls(5).await {
        answer.must_refuse(503, "try_later");
        assert!(answer.header("retry-after").is_some(), "{named}");
    }
    assert_eq!(person.shown().len().max(person.token_calls()), 1, "{named}");
    assert_eq!(person.status(), "refresh in doubt", "{named}: nothing is deleted");
    // Nor does a restart forget the doubt.
    person.behaves();
    person.house.server.restart().await;
    person.call().await.must_be(503);
    assert_eq!(person.token_calls(), 1, "{named}");
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_that_still_works_is_used_while_a_refresh_is_in_doubt() {
    // Behind an entryway the old access token outlives a rotation. Eleven seconds: due after six, of use until nine.
    let person = Person::at(FaultNetwork::start_with_entryway().await, 12).await;
    person.lays(Misbehave::ResetAfter);
    person.call().await.must_be(200);
    assert_eq!(person.token_calls(), 0, "it is not due yet");
    tokio::time::sleep(Duration::from_millis(5800)).await;
    for _ in 0..10 {
        person.call().await.must_be(200);
    }
    assert_eq!((person.token_calls(), person.shown().len()), (1, 1));
    assert_eq!(person.status(), "refresh in doubt");
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_right_after_the_send_brings_no_second_send() {
    let mut person = Person::start().await;
    person.house.network.expire_all_access_tokens();
    person.lays(Misbehave::HangAfter);
    person.hang_up_during_a_refresh().await;
    person.house.server.kill();
    person.behaves();
    person.house.server.restart().await;
    for answer in person.calls(5).await {
        answer.must_refuse(503, "try_later");
        let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=125).contains(&wait), "the quiet time is {wait} s");
    }
    assert_eq!((person.token_calls(), person.shown().len()), (1, 1));
    person.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_withdrawn_is_not_asked_for_again() {
    let person = Person::start().await;
    person.house.network.authorization_server().revoke_all_of(&person.account.did);
    for _ in 0..5 {
        let answer = person.call().await;
        answer.must_refuse(401, "needs_reauth");
        assert_eq!(answer.json()["reason"], "revoked");
    }
    assert_eq!((person.token_calls(), person.shown().len()), (1, 1));
    assert_eq!(person.status(), "needs sign-in (revoked)");
    person.sound().await;
}

/// Whether the tests that wait for a quiet time are to run.
#[expect(clippy::print_stdout, reason = "whoever reads the output must know what was left out")]
fn long_tests() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the switch of the long tests")]
    let asked = std::env::var("BOWERBIRD_LONG_TESTS").is_ok_and(|value| value == "1");
    if !asked {
        println!("skipped: it waits for a quiet time of 60 s; set BOWERBIRD_LONG_TESTS=1 to run it");
    }
    asked
}

/// Calls until the answer is another one than "later".
async fn after_the_quiet_time(person: &Person) -> Answer {
    let waiting = async {
        loop {
            let answer = person.call().await;
            if answer.status != 503 {
                return answer;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), waiting).await.expect("an end of the doubt")
}

fn gap_between_sends(person: &Person) -> i64 {
    let sent = person.house.network.authorization_server().server().log().at(endpoint::TOKEN);
    assert_eq!(sent.len(), 2, "exactly one more send");
    sent[1].at_millis - sent[0].at_millis
}

#[tokio::test(flavor = "multi_thread")]
async fn long_a_lost_answer_is_asked_for_once_more_and_then_explained() {
    if !long_tests() {
        return;
    }
    let person = Person::start().await;
    person.house.network.expire_all_access_tokens();
    person.lays(Misbehave::ResetAfter);
    person.call().await.must_be(503);
    person.behaves();
    let answer = after_the_quiet_time(&person).await;
    answer.must_refuse(401, "needs_reauth");
    assert_eq!(answer.json()["reason"], "lost_response");
    assert!(gap_between_sends(&person) >= 60_000);
    for _ in 0..5 {
        person.call().await.must_be(401);
    }
    assert_eq!(person.token_calls(), 2, "and never again");
    person.house.network.canary().assert_untouched();
    person.house.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_a_refusal_before_it_took_effect_heals_after_the_quiet_time() {
    if !long_tests() {
        return;
    }
    let person = Person::start().await;
    person.house.network.expire_all_access_tokens();
    person.lays(Misbehave::status(503));
    person.call().await.must_be(503);
    person.behaves();
    assert_eq!(after_the_quiet_time(&person).await.status, 200);
    assert!(gap_between_sends(&person) >= 60_000);
    assert_eq!(person.accepted(), 1);
    person.sound().await;
}
