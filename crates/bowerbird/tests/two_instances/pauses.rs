//! An instance that stands still in the middle of a refresh, as a virtual machine does that is moved (security row 23).
//!
//! Leases last for two minutes. Where a test needs one that is over, it moves the row's times into the past.

use std::time::Duration;

use bowerbird_testkit::fault::{Misbehave, endpoint};

use crate::support::{Pair, SESSION, assert_sound, until};

const AGE_THE_LEASES: &str = "UPDATE credentials SET lease_until = lease_until - 200000, intent_at = intent_at - 200000, \
                              before_lease_until = before_lease_until - 200000, \
                              before_intent_at = before_intent_at - 200000";

impl Pair {
    fn token_calls(&self) -> usize {
        self.network.authorization_server().token_calls()
    }

    fn lays(&self, what: Misbehave) {
        self.network.authorization_server().server().misbehave(endpoint::TOKEN, what);
    }

    fn behaves(&self) {
        self.network.authorization_server().server().behave();
    }

    /// The state and the number of intents of the only credential.
    fn row(&self) -> String {
        self.postgres.sql("SELECT state, fence FROM credentials")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_stopped_instance_reads_after_its_lease_is_stored() {
    let Some(mut pair) = Pair::start(true).await else { return };
    let seal = pair.crowd(1).await.remove(0);
    pair.network.expire_all_access_tokens();
    pair.lays(Misbehave::DelayAfter(Duration::from_secs(2)));
    let asked = tokio::spawn({
        let app = pair.app(0, &seal);
        async move { app.get(SESSION).await.status }
    });
    until("the token is out", || pair.token_calls() == 1).await;
    pair.instances[0].pause();
    // The answer comes while it stands still; meanwhile the other one keeps its hands off.
    assert_eq!(pair.app(1, &seal).get(SESSION).await.status, 503);
    assert_eq!(pair.row(), "refreshing|1");
    assert_eq!(pair.token_calls(), 1);

    pair.behaves();
    pair.postgres.sql(AGE_THE_LEASES);
    pair.instances[0].resume();
    assert_eq!(asked.await.unwrap(), 200, "the answer was good, however late");
    assert_eq!(pair.row(), "ok|1");
    assert_eq!(pair.call(1, &seal).await.status, 200);
    pair.assert_one_send_each(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stood_still_before_it_sent_does_not_send_any_more() {
    let Some(mut pair) = Pair::start(true).await else { return };
    let seal = pair.crowd(1).await.remove(0);
    pair.network.expire_all_access_tokens();
    // A refresh in doubt: whoever takes it up waits for two seconds between its intent and the send.
    pair.lays(Misbehave::HangBefore);
    let killed = tokio::spawn({
        let (client, url) = (pair.instances[0].client(), pair.instances[0].url(SESSION));
        let request =
            bowerbird_testkit::http_client::TestRequest::get(&url).header("authorization", &format!("Bearer {seal}"));
        async move { client.try_send(request).await.is_err() }
    });
    until("the token is out", || pair.token_calls() == 1).await;
    pair.instances[0].kill();
    assert!(killed.await.unwrap());
    pair.behaves();
    pair.instances[0].restart().await;
    assert_eq!(pair.row(), "refreshing|1");

    pair.postgres.sql(AGE_THE_LEASES);
    let asked = tokio::spawn({
        let app = pair.app(0, &seal);
        async move { app.get(SESSION).await.status }
    });
    until("it has the lease", || pair.row() == "refreshing|2").await;
    pair.instances[0].pause();
    assert_eq!(pair.token_calls(), 1, "it had not sent yet");
    // Less than 75 s of its lease are left after this.
    tokio::time::sleep(Duration::from_secs(46)).await;
    pair.instances[0].resume();
    assert_eq!(asked.await.unwrap(), 503);
    assert_eq!(pair.token_calls(), 1, "its lease is too short to send");
    assert_eq!(pair.row(), "unknown|2", "and it says so, for the next one");

    assert_eq!(pair.call(1, &seal).await.status, 200);
    assert_eq!(pair.token_calls(), 2);
    assert_eq!(pair.row(), "ok|3");
    assert_sound(&pair.network, &pair.instances);
}
