//! `bowerbird tokens health` and `bowerbird tokens refresh`, beside a running server.

use std::time::Duration;

use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, Verdict, endpoint};
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::support::{House, Must as _};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn told(house: &House, arguments: &[&str]) -> Value {
    let output = house.server.command(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_counts_by_state_and_shows_the_way_to_repair() {
    let house = House::open().await;
    let accounts: Vec<_> = (0..4).map(|n| house.network.add_account(&format!("person{n}.test"))).collect();
    let mut seals = Vec::new();
    for account in &accounts {
        seals.push(house.signed_in(account).await.seal().unwrap());
    }
    let health = told(&house, &["tokens", "health", "--json"]);
    assert_eq!((&health["ok"], health["accounts"].as_array().unwrap().len()), (&4.into(), 0), "{health}");

    // One is withdrawn, one is in doubt.
    house.network.authorization_server().revoke_all_of(&accounts[0].did);
    house.server.app(&seals[0]).get(SESSION).await.must_be(401);
    house.network.expire_all_access_tokens();
    house.network.authorization_server().server().misbehave(endpoint::TOKEN, Misbehave::ResetAfter);
    house.server.app(&seals[1]).get(SESSION).await.must_be(503);
    house.network.authorization_server().server().behave();
    let health = told(&house, &["tokens", "health", "--json"]);
    assert_eq!((&health["ok"], &health["inDoubt"]), (&2.into(), &1.into()), "{health}");
    assert_eq!(health["needsReauth"], serde_json::json!({"revoked": 1}));
    let rows = health["accounts"].as_array().unwrap();
    let row = |n: usize| rows.iter().find(|row| row["did"] == accounts[n].did.as_str()).unwrap();
    assert_eq!((&row(0)["state"], &row(0)["reason"]), (&"needs_reauth".into(), &"revoked".into()));
    assert_eq!((&row(1)["state"], &row(1)["repairUrl"]), (&"in_doubt".into(), &Value::Null));
    // The link leads to the sign-in of that very account.
    let link = row(0)["repairUrl"].as_str().unwrap().strip_prefix(&house.server.base_url()).unwrap().to_owned();
    let mut visitor = house.server.visitor();
    let page = house.open_page(&mut visitor, &link).await;
    assert!(page.status < 400, "{} {}", page.status, page.text());
    let text = house.server.command(&["tokens", "health"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("2 ok, 0 being refreshed, 1 in doubt, 1 need a sign-in"), "{text}");
    house.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_renews_one_account_or_all_that_is_due_without_racing_the_server() {
    const PEOPLE: usize = 12;
    let house = House::on(FaultNetwork::start_with_entryway().await).await;
    let alice = house.network.add_account("alice.test");
    let hers = house.signed_in(&alice).await.seal().unwrap();
    let server = house.network.authorization_server();
    for named in ["alice.test", alice.did.as_str(), "@Alice.test"] {
        let before = server.token_calls();
        assert_eq!(told(&house, &["tokens", "refresh", "--account", named, "--json"])["renewed"], 1);
        let shown = house.network.ledger().presented(CanaryKind::RefreshToken);
        assert_eq!(shown.last().unwrap().verdict, Verdict::Accepted, "{named}");
        assert!(server.token_calls() > before);
    }
    house.server.app(&hers).get(SESSION).await.must_be(200);
    let nobody = house.server.command(&["tokens", "refresh", "--account", "nobody.test"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert_eq!(house.server.command(&["tokens", "refresh"]).status.code(), Some(2), "one of the two must be said");
    let nothing = told(&house, &["tokens", "refresh", "--all-due", "--json"]);
    assert_eq!((&nothing["due"], &nothing["left"]), (&0.into(), &0.into()));

    // Twelve come due together; the server's sweep, callers and two commands go for them at once: one refresh each.
    server.set_access_seconds(12);
    let people: Vec<_> = (0..PEOPLE).map(|n| house.network.add_account(&format!("person{n}.test"))).collect();
    let logins = futures_util::stream::iter(&people).map(|person| house.signed_in(person)).buffer_unordered(6);
    let seals: Vec<String> = logins.map(|visitor| visitor.seal().unwrap()).collect().await;
    server.set_access_seconds(3600);
    house.network.clear_logs();
    tokio::time::sleep(Duration::from_secs(11)).await;
    let calls = async {
        for seal in &seals {
            house.server.app(seal).get(SESSION).await.must_be(200);
        }
    };
    let commands = async {
        tokio::join!(calls, async {
            for _ in 0..2 {
                let done = told(&house, &["tokens", "refresh", "--all-due", "--json"]);
                assert_eq!((&done["left"], &done["needsReauth"]), (&0.into(), &0.into()), "{done}");
            }
        })
    };
    commands.await;
    let shown = house.network.ledger().presented(CanaryKind::RefreshToken);
    let accepted = shown.iter().filter(|shown| shown.verdict == Verdict::Accepted).count();
    assert!(shown.iter().all(|shown| matches!(shown.verdict, Verdict::Accepted | Verdict::NotConsumed)), "{shown:?}");
    // Alice's three of before are in the ledger as well.
    assert_eq!(accepted, PEOPLE + 3);
    assert_eq!(told(&house, &["tokens", "health", "--json"])["ok"], PEOPLE + 1);
    house.assert_sound().await;
}
