//! Row 79 where several instances share things: what Redis holds and hears, what a dump of PostgreSQL holds, what a
//! backup holds.

use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use bowerbird_testkit::sweep::Sweep;
use serde_json::json;

use crate::behind_one_name::{Installation, Must as _};

/// What an instance says to anybody who asks. Whatever it tells of itself belongs here.
const SAID: [&str; 7] =
    ["/", "/ready", "/health", "/docs", "/openapi.json", "/oauth/callback?state=x&code=y", "/nothing"];
const SESSION: &str = "/xrpc/com.atproto.server.getSession";

#[tokio::test(flavor = "multi_thread")]
async fn row_79_neither_redis_nor_a_dump_of_the_database_shows_a_secret() {
    let Some(house) = Installation::with(|options| options.env("BOWERBIRD_LOG", "trace")).await else { return };
    let heard = house.redis.overhear();
    let mut seals = Vec::new();
    let mut people = Vec::new();
    for (at, handle) in ["alice.test", "bob.test"].into_iter().enumerate() {
        let account = house.network.add_account(handle);
        let mut visitor = house.signed_in(at, handle).await;
        for instance in [0, 1, 0, 1] {
            let mut there = house.sent_to(instance, &visitor);
            there.session().await.must_be(200);
            there.get(SESSION).await.must_be(200);
            house.network.expire_all_access_tokens();
            there.get(SESSION).await.must_be(200);
            seals.extend(there.seal());
            visitor.jar = there.jar.clone();
        }
        people.push((visitor, account));
    }

    let copies = house.redis.everything();
    let snapshots = copies.iter().filter(|(key, _)| String::from_utf8_lossy(key).contains(":snapshot:")).count();
    assert!(snapshots >= 4, "two sessions and two accounts: {snapshots}");
    let minted = house.network.canaries().into_iter().map(|canary| canary.value);
    let given = house.instances.iter().flat_map(BowerbirdProcess::given_secrets);
    let secrets: Vec<String> = minted.chain(seals).chain(given).filter(|text| text.len() >= 8).collect();
    assert!(secrets.len() > 20, "{} secrets", secrets.len());
    let ids = house.postgres.sql("SELECT id FROM device_sessions");
    let sessions: Vec<String> = ids.lines().map(str::to_owned).collect();
    assert_eq!(sessions.len(), 2);

    // Redis holds nothing that can be read: neither a secret nor who somebody is.
    let persons = people.iter().flat_map(|(_, account)| [account.did.clone(), account.handle.clone()]);
    let mut sweep = Sweep::new(secrets.iter().cloned().chain(persons).chain(sessions));
    for (key, value) in &copies {
        sweep = sweep.bytes("a key of Redis", key).bytes("a value of Redis", value);
    }
    sweep.assert_clean();

    for (visitor, _) in &mut people {
        visitor.post("/api/auth/logout", &json!({})).await.must_be(200);
    }
    let mut everywhere = Sweep::new(&secrets).bytes("the database", &house.postgres.dump());
    assert!(heard.bytes().len() > 1000, "what Redis was sent was heard");
    everywhere = everywhere.bytes("what Redis was sent", &heard.bytes());
    for instance in &house.instances {
        for path in SAID {
            let answer = instance.client().get(&instance.url(path)).await;
            everywhere = everywhere.bytes(path, &answer.body);
        }
        everywhere = everywhere
            .bytes("stderr", &instance.stderr().bytes())
            .bytes("stdout", &instance.stdout().bytes())
            .folder(&instance.data_dir());
    }
    everywhere.assert_clean();
    house.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_79_a_backup_shows_no_secret() {
    let network = FaultNetwork::start().await;
    let server = BowerbirdProcess::start(
        ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird"))
            .on(&network)
            .env("BOWERBIRD_COOKIE_SECRET", "canary-cookie-secret-0123456789-abcdefghijk")
            .env("BOWERBIRD_ENCRYPTION_KEY", "ca9a5ecafebabe00112233445566778899aabbccddeeff001122334455667788"),
    )
    .await;
    network.add_account("alice.test");
    let mut visitor = server.visitor();
    assert_eq!(visitor.login("alice.test").await.status, 303);
    network.expire_all_access_tokens();
    visitor.get(SESSION).await.must_be(200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.sqlite");
    let made = server.command(&["backup", file.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let minted = network.canaries().into_iter().map(|canary| canary.value);
    let secrets: Vec<String> = minted.chain(visitor.seal()).chain(server.given_secrets()).collect();
    Sweep::new(secrets.iter().filter(|text| text.len() >= 8))
        .folder(folder.path())
        .bytes("stdout", &made.stdout)
        .bytes("stderr", &made.stderr)
        .assert_clean();
}
