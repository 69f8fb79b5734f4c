//! One device with the accounts of two PDSes: each call goes to its own, and each goes its own way.

#![expect(clippy::unwrap_used, reason = "tests")]

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::FaultDns;
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};

const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
const CREATE_RECORD: &str = "/xrpc/com.atproto.repo.createRecord";

#[tokio::test]
async fn real_accounts_of_two_servers_on_one_device() {
    if !RealNetwork::available() {
        return;
    }
    let one = RealNetwork::start(NetworkOptions::default().accounts(&["alice.test:alice-pass"])).await;
    let joining = NetworkOptions::default().accounts(&["dan.two.test:dan-pass"]).joining(&one, ".two.test");
    let two = RealNetwork::start(joining).await;
    let (alice, dan) = (one.account("alice.test").clone(), two.account("dan.two.test").clone());
    // Each PDS knows only its own handles: both are found by DNS, as on the open network.
    let dns = FaultDns::start();
    one.announce_in(&dns);
    two.announce_in(&dns);
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
        .env("BOWERBIRD_PLC_URL", one.plc())
        .env("BOWERBIRD_DNS_SERVERS", &dns.address().to_string())
        .env("BOWERBIRD_EGRESS_ALLOW", &format!("{},{}", one.egress_allow(), two.egress_allow()));
    let server = BowerbirdProcess::start(options).await;
    let mut visitor = server.visitor();

    clear_logs(&one, &two).await;

    // The first account by the form, the second one by the API of the device.
    let _home = visitor.login_at_real(&one.browser(), &alice).await.expect_status(303);
    assert!(two.log("/").await.is_empty(), "the other server has no part in it");
    let added = visitor.post("/api/accounts", &json!({"handle": dan.handle})).await.expect_status(200).json();
    let page = added["authUrl"].as_str().unwrap();
    assert!(page.starts_with(two.issuer()), "{added}");
    assert_eq!(added["handle"], dan.handle.as_str());
    let callback = two.browser().approve(page, &dan).await;
    let _home = visitor.finish_login(&callback).await.expect_status(303);
    assert_eq!((one.grants(&alice.did).await.len(), two.grants(&dan.did).await.len()), (1, 1));

    // The list.
    let listed = list(&mut visitor).await;
    let shown: Vec<_> =
        listed.iter().map(|row| (row["did"].as_str().unwrap(), row["handle"].as_str().unwrap())).collect();
    assert_eq!(shown, [(alice.did.as_str(), "alice.test"), (dan.did.as_str(), "dan.two.test")]);
    let servers: Vec<_> = listed.iter().map(|row| row["pds"].as_str().unwrap()).collect();
    assert_eq!(servers, [one.pds(), two.pds()]);
    assert!(listed.iter().all(|row| row["status"] == "ok"), "{listed:?}");
    assert_eq!(active(&listed), dan.did, "the account that came last is the active one");
    let id = |account: &RealAccount| {
        let row = listed.iter().find(|row| row["did"] == account.did.as_str()).unwrap();
        row["id"].as_str().unwrap().to_owned()
    };
    let (alice_id, dan_id) = (id(&alice), id(&dan));

    // A call goes to the server of its account: the active one, or the one that the header names.
    expect_call_at(&visitor.get(GET_SESSION).await, &dan, &two, &one).await;
    for name in [&alice_id, &alice.did] {
        expect_call_at(&call_as(&mut visitor, name).await, &alice, &one, &two).await;
    }
    let _switched = visitor.post(&format!("/api/accounts/{alice_id}/activate"), &Value::Null).await.expect_status(200);
    assert_eq!(active(&list(&mut visitor).await), alice.did);
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());
    expect_call_at(&visitor.get(GET_SESSION).await, &alice, &one, &two).await;
    expect_call_at(&call_as(&mut visitor, &dan_id).await, &dan, &two, &one).await;

    // A write as the account that is not active.
    let record = json!({"$type": "app.bsky.feed.post", "text": "from two", "createdAt": "2026-11-21T12:00:00.000Z"});
    let body = json!({"repo": dan.did, "collection": "app.bsky.feed.post", "record": record});
    let request = TestRequest::post_json(&visitor.url(CREATE_RECORD), &body).header("bowerbird-account", &dan_id);
    let request = visitor.from_own_page(request);
    let created = visitor.send(request).await.expect_status(200).json();
    let stored = two.record(created["uri"].as_str().unwrap()).await.expect_status(200).json();
    assert_eq!(stored["value"]["text"], "from two");

    // Another visitor's account is not there, and its server hears nothing of it.
    let mut stranger = server.visitor();
    let _home = stranger.login_at_real(&two.browser(), &dan).await.expect_status(303);
    two.await_grants(&dan.did, 1).await; // the newer grant takes the place of the older one
    clear_logs(&one, &two).await;
    let refused = call_as(&mut stranger, &alice_id).await.expect_status(404).json();
    assert_eq!(refused["error"], "account_not_found", "{refused}");
    assert!(one.log(GET_SESSION).await.is_empty() && two.log(GET_SESSION).await.is_empty());
    expect_call_at(&visitor.get(GET_SESSION).await, &alice, &one, &two).await;
    expect_call_at(&call_as(&mut visitor, &dan_id).await, &dan, &two, &one).await;

    // The active account goes: its grant ends, and the other one is active and works.
    let _removed = visitor.delete(&format!("/api/accounts/{alice_id}")).await.expect_status(200);
    one.await_grants(&alice.did, 0).await;
    assert!(one.statuses("/oauth/revoke", 1).await.ends_with(&[200]));
    assert!(two.log("/oauth/revoke").await.is_empty());
    let left = list(&mut visitor).await;
    assert_eq!((left.len(), active(&left)), (1, dan.did.as_str()));
    expect_call_at(&visitor.get(GET_SESSION).await, &dan, &two, &one).await;
    assert_eq!(call_as(&mut visitor, &alice_id).await.status, 404);

    // Dan leaves this device; the stranger's device still has him, so that his grant stays.
    let _removed = visitor.delete(&format!("/api/accounts/{dan_id}")).await.expect_status(200);
    assert_eq!(visitor.session().await.status, 401);
    expect_call_at(&stranger.get(GET_SESSION).await, &dan, &two, &one).await;
    assert_eq!(two.await_grants(&dan.did, 1).await.len(), 1);
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

/// Calls as another account of the device.
async fn call_as(visitor: &mut Visitor, name: &str) -> Answer {
    let request = TestRequest::get(&visitor.url(GET_SESSION)).header("bowerbird-account", name);
    let request = visitor.from_own_page(request);
    visitor.send(request).await
}

/// The answer is about this account, and came from its server alone.
async fn expect_call_at(answer: &Answer, account: &RealAccount, at: &RealNetwork, not_at: &RealNetwork) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        (answer.json()["did"].as_str(), answer.json()["handle"].as_str()),
        (Some(account.did.as_str()), Some(account.handle.as_str()))
    );
    assert!(at.statuses(GET_SESSION, 1).await.ends_with(&[200]));
    assert!(not_at.log(GET_SESSION).await.is_empty());
    clear_logs(at, not_at).await;
}

async fn clear_logs(one: &RealNetwork, two: &RealNetwork) {
    one.clear_log().await;
    two.clear_log().await;
}

async fn list(visitor: &mut Visitor) -> Vec<Value> {
    let answer = visitor.get("/api/accounts").await.expect_status(200).json();
    answer["accounts"].as_array().unwrap().clone()
}

fn active(listed: &[Value]) -> &str {
    let active: Vec<&Value> = listed.iter().filter(|row| row["active"] == true).collect();
    assert_eq!(active.len(), 1, "{listed:?}");
    active[0]["did"].as_str().unwrap()
}
