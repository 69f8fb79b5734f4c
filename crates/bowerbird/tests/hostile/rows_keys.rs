//! Keys that come and go while people are signed in (fault 28, and the keys of the explanation in the documentation): nobody
//! is signed out by a rotation, and a key that is still needed cannot go unnoticed.

use std::path::Path;
use std::time::Duration;

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Verdict};
use bowerbird_testkit::http_client::TestRequest;
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::support::{House, Must as _, options};

const SESSION: &str = "/xrpc/com.atproto.server.getSession";
const PUBLIC: &str = "https://bower.home.arpa";

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Puts a new key in front of a file of client keys; gives its name.
fn new_client_key(path: &Path) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowerbird"));
    command.args(["keys", "generate", "client", "--json", "--into"]).arg(path).env_clear();
    json(&command.output().unwrap())["kid"].as_str().unwrap().to_owned()
}

fn take_out(path: &Path, kid: &str) {
    let mut set: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    set["keys"].as_array_mut().unwrap().retain(|key| key["kid"] != kid);
    std::fs::write(path, set.to_string()).unwrap();
}

/// What `bowerbird keys status` says of the client keys: name, credentials, state.
fn client_keys(house: &House) -> Vec<(String, u64, String)> {
    let told: Value = serde_json::from_slice(&house.server.command(&["keys", "status", "--json"]).stdout).unwrap();
    let rows = told["keys"].as_array().unwrap().iter().filter(|row| row["kind"] == "client");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.map(|row| (text(&row["name"]), row["inUseBy"].as_u64().unwrap(), text(&row["state"]))).collect()
}

async fn refused_start(house: &House, options: ServerOptions) -> String {
    let failure = BowerbirdProcess::try_start(options.data_of(&house.server)).await.expect_err("it does not start");
    assert_eq!(failure.status.and_then(|status| status.code()), Some(3), "{failure:?}");
    failure.stderr
}

async fn sign_in(house: &House, numbers: std::ops::Range<usize>) -> Vec<Visitor> {
    let accounts: Vec<_> = numbers.map(|n| house.network.add_account(&format!("person{n}.test"))).collect();
    let logins = futures_util::stream::iter(&accounts).map(|account| house.signed_in(account)).buffer_unordered(6);
    logins.collect().await
}

/// Every one of them refreshes now, and is served.
async fn all_refresh(house: &House, visitors: &mut [Visitor]) {
    house.network.expire_all_access_tokens();
    let calls = visitors.iter_mut().map(|visitor| async { visitor.get(SESSION).await.must_be(200) });
    futures_util::stream::iter(calls).buffer_unordered(8).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_key_goes_only_when_no_sign_in_is_bound_to_it_and_nobody_is_lost() {
    const OLD: usize = 24;
    const NEW: usize = 6;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("client-keys.json");
    let first = new_client_key(&keys);
    let network = FaultNetwork::start().await;
    let set = options(&network).public_url(PUBLIC).env("BOWERBIRD_CLIENT_KEYS", keys.to_str().unwrap());
    let mut house = House::with(network, set.clone()).await;
    let set = house.server.options();
    let front = house.server.front();
    house.network.map_host(PUBLIC, front.origin());
    let mut visitors = sign_in(&house, 0..OLD).await;
    assert_eq!(client_keys(&house), [(first.clone(), OLD as u64, "newest".to_owned())]);

    // A newer key in front: new sign-ins take it, the older ones stay with theirs, all refresh.
    let second = new_client_key(&keys);
    house.server.restart().await;
    house.network.forget_client(&format!("{PUBLIC}/oauth-client-metadata.json"));
    visitors.extend(sign_in(&house, OLD..OLD + NEW).await);
    all_refresh(&house, &mut visitors).await;
    let standing =
        [(second.clone(), NEW as u64, "newest".to_owned()), (first.clone(), OLD as u64, "needed".to_owned())];
    assert_eq!(client_keys(&house), standing);

    // The older key is needed: without it nothing starts, whatever the command, and nothing is sent or changed.
    let whole = std::fs::read(&keys).unwrap();
    take_out(&keys, &first);
    house.server.terminate(Duration::from_secs(20)).await;
    house.network.clear_logs();
    let told = refused_start(&house, set.clone()).await;
    for part in [first.as_str(), &format!("({OLD} sign-ins)"), "put the key back", "forget-client"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let none = set.clone().env("BOWERBIRD_CLIENT_KEYS", "");
    assert!(refused_start(&house, none).await.contains(&second), "becoming a public client is no way around it");
    assert!(house.network.requests().is_empty(), "nothing was sent");
    assert_eq!(client_keys(&house)[1], (first.clone(), OLD as u64, "MISSING".to_owned()));
    let hesitant = house.server.command(&["keys", "forget-client", &first]);
    assert_eq!(hesitant.status.code(), Some(1));
    assert!(stderr(&hesitant).contains("must sign in again"), "{}", stderr(&hesitant));
    assert_eq!(client_keys(&house)[1].1, OLD as u64, "asking changed nothing");

    // Put back, everybody goes on as if nothing had been.
    std::fs::write(&keys, &whole).unwrap();
    let kept = house.server.command(&["keys", "forget-client", &first, "--confirm"]);
    assert!(stderr(&kept).contains("is configured"), "a key that is there is not given up: {}", stderr(&kept));
    house.server.restart().await;
    all_refresh(&house, &mut visitors).await;

    // They sign in again in time, but for three of them; the key is needed for those alone.
    let (lost, rest) = visitors.split_at_mut(3);
    for visitor in &mut rest[..OLD - 3] {
        let did = visitor.get(SESSION).await.json()["did"].as_str().unwrap().to_owned();
        let callback = house.approved(visitor, &did).await;
        visitor.finish_login(&callback).await.must_be(303);
    }
    let expected = [(second.clone(), (OLD + NEW - 3) as u64), (first.clone(), 3)];
    let counted: Vec<_> = client_keys(&house).into_iter().map(|(kid, count, _)| (kid, count)).collect();
    assert_eq!(counted, expected);

    // An operator decides: those three are told, everybody else notices nothing.
    house.server.terminate(Duration::from_secs(20)).await;
    take_out(&keys, &first);
    let forgotten = house.server.command(&["keys", "forget-client", &first, "--confirm", "--json"]);
    assert_eq!(json(&forgotten)["needReauth"], 3);
    house.server.restart().await;
    house.network.forget_client(&format!("{PUBLIC}/oauth-client-metadata.json"));
    assert_eq!(client_keys(&house), [(second, (OLD + NEW - 3) as u64, "newest".to_owned())]);
    for visitor in lost {
        visitor.get(SESSION).await.must_refuse(401, "needs_reauth");
        assert_eq!(visitor.session().await.status, 200, "they are still known here");
    }
    all_refresh(&house, rest).await;
    let refused = house.network.ledger().presented(CanaryKind::RefreshToken);
    assert!(
        refused.iter().all(|shown| matches!(shown.verdict, Verdict::Accepted | Verdict::NotConsumed)),
        "{refused:?}"
    );
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_28_a_new_cookie_secret_refuses_nobody_and_renews_every_seal() {
    const OLD: &str = "old-old-old-old-old-old-old-old-old-0";
    const NEW: &str = "new-new-new-new-new-new-new-new-new-1";
    const PEOPLE: usize = 8;
    let network = FaultNetwork::start().await;
    let before = options(&network).env("BOWERBIRD_COOKIE_SECRET", OLD);
    let mut house = House::with(network, before).await;
    let both = house.server.options().env("BOWERBIRD_COOKIE_SECRET", &format!("{NEW},{OLD}"));
    let visitors = sign_in(&house, 0..PEOPLE).await;
    let seals: Vec<String> = visitors.iter().map(|visitor| visitor.seal().unwrap()).collect();

    // Each calls all the time, by its old seal; while the server is away, it tries again.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for seal in seals.clone() {
        let (client, stop) = (house.server.client(), stop.clone());
        let urls =
            [house.server.url("/validate-session"), house.server.url("/api/accounts"), house.server.url(SESSION)];
        callers.spawn(async move {
            let (mut served, mut others) = (0_u32, Vec::new());
            for url in urls.iter().cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let request = TestRequest::get(url).header("authorization", &format!("Bearer {seal}"));
                match client.try_send(request).await {
                    Ok(answer) if answer.status == 200 => served += 1,
                    Ok(answer) => others.push(answer.status),
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            (served, others)
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.server.terminate(Duration::from_secs(20)).await;
    house.server.restart_with(both).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut total = 0;
    for (served, others) in callers.join_all().await {
        assert!(others.is_empty(), "{others:?}");
        total += served;
    }
    assert!(total > 100, "{total} calls is no load");

    // A session check renews the seal, so that the old secret may go.
    let mut renewed = Vec::new();
    for mut visitor in visitors {
        visitor.session().await.must_be(200);
        renewed.push(visitor.seal().unwrap());
    }
    assert!(renewed.iter().all(|seal| !seals.contains(seal)), "every seal is another one");
    let new_alone = house.server.options().env("BOWERBIRD_COOKIE_SECRET", NEW);
    house.server.restart_with(new_alone).await;
    for (old, new) in seals.iter().zip(&renewed) {
        house.server.app(new).get(SESSION).await.must_be(200);
        house.server.app(old).get("/api/accounts").await.must_refuse(401, "session_invalid");
    }
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_encryption_key_can_be_given_up_and_accounts_and_sessions_stay() {
    const LOST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const NEXT: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
    let network = FaultNetwork::start().await;
    let set = options(&network).env("BOWERBIRD_ENCRYPTION_KEY", LOST);
    let mut house = House::with(network, set).await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let ids = |house: &House| {
        let list = json(&house.server.command(&["accounts", "list", "--json"]));
        list["accounts"][0]["id"].as_str().unwrap().to_owned()
    };
    let id = ids(&house);
    let status = json(&house.server.command(&["keys", "status", "--json"]));
    let lost = status["keys"][0]["name"].as_str().unwrap().to_owned();
    let there = house.server.command(&["keys", "abandon", &lost, "--confirm"]);
    assert!(stderr(&there).contains("nothing is lost"), "a key that is there is not given up: {}", stderr(&there));

    let before = house.server.options();
    let after = before.env("BOWERBIRD_ENCRYPTION_KEY", NEXT);
    house.server.terminate(Duration::from_secs(20)).await;
    let told = refused_start(&house, after.clone()).await;
    assert!(told.contains(&lost) && told.contains("keys abandon"), "{told}");

    let abandon = |confirm: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bowerbird"));
        command.args(["keys", "abandon", &lost, "--json"]).args(confirm).env_clear();
        command.env("BOWERBIRD_DATA_DIR", house.server.data_dir()).env("BOWERBIRD_ENCRYPTION_KEY", NEXT);
        command.env("BOWERBIRD_BASE_URL", house.server.base_url()).output().unwrap()
    };
    let hesitant = abandon(&[]);
    assert_eq!(hesitant.status.code(), Some(1));
    assert!(stderr(&hesitant).contains("must sign in again"), "{}", stderr(&hesitant));
    assert!(refused_start(&house, after.clone()).await.contains(&lost), "asking changed nothing");
    let abandoned = json(&abandon(&["--confirm"]));
    assert_eq!((&abandoned["accounts"], &abandoned["needReauth"]), (&1.into(), &1.into()));
    assert_eq!(abandon(&["--confirm"]).status.code(), Some(1), "there is nothing more to give up");

    // The same account, the same session; only the access is gone, and says so.
    let shown = house.network.ledger().presented(CanaryKind::RefreshToken).len();
    house.server.restart_with(after).await;
    let session = visitor.session().await.expect_status(200).json();
    assert_eq!(session["did"], alice.did.as_str());
    let answer = visitor.get(SESSION).await;
    answer.must_refuse(401, "needs_reauth");
    assert_eq!(answer.json()["reason"], "unreadable");
    assert_eq!(ids(&house), id);
    assert_eq!(house.network.ledger().presented(CanaryKind::RefreshToken).len(), shown);
    // A sign-in repairs it, under the same id.
    house.add(&mut visitor, &alice).await;
    visitor.get(SESSION).await.must_be(200);
    assert_eq!((ids(&house), house.accounts()), (id, vec![(alice.did.clone(), "ok".to_owned())]));
    house.assert_sound().await;
}
