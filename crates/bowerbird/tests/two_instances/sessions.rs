//! Sessions that any instance answers for, and sign-outs that count everywhere within a second, whatever Redis does.

use std::time::Duration;

use bowerbird_testkit::http_client::TestRequest;
use serde_json::json;

use crate::behind_one_name::{Installation, Must as _, alive_for, stopwatch};

/// A sign-out must count everywhere within this.
const BOUND: Duration = Duration::from_secs(1);
const TABLES: &str = "accounts, device_sessions, device_accounts";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_may_begin_at_one_instance_and_end_at_another() {
    let Some(house) = Installation::open().await else { return };
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.instances[0].visitor();
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    let mut visitor = house.sent_to(1, &visitor);
    let answer = visitor.finish_login(&callback).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    for instance in [0, 1] {
        let session = house.sent_to(instance, &visitor).session().await.expect_status(200).json();
        assert_eq!(session["did"], alice.did.as_str());
    }
    // Nobody else takes it up: it was taken once, for all instances.
    let answer = house.sent_to(0, &visitor).finish_login(&callback).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    house.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_begins_at_one_instance_and_exchanges_at_another() {
    let Some(house) = Installation::open().await else { return };
    let alice = house.network.add_account("alice.test");
    let post = async |instance: usize, path: &str, body: &serde_json::Value| {
        let server = &house.instances[instance];
        server.client().send(TestRequest::post_json(&server.url(path), body)).await
    };
    let begun = post(0, "/api/auth/start", &json!({"handle": "alice.test"})).await.expect_status(200).json();
    let callback = house.instances[0].visitor().authorize(begun["authUrl"].as_str().unwrap()).await;
    let end = house.instances[1].client().get(&house.instances[1].url(&path_of(&callback))).await.expect_status(302);
    let code = end.location().split_once("?code=").unwrap().1.to_owned();
    // Of many exchanges at both, one works.
    let body = json!({"code": code});
    let exchanges = (0..20).map(|number| post(number % 2, "/api/auth/tokens", &body));
    let answers = futures_util::future::join_all(exchanges).await;
    let worked: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(worked.len(), 1);
    let tokens = worked[0].json();
    assert_eq!(tokens["did"], alice.did.as_str());
    // Everybody who shows one refresh string gets one successor, wherever.
    let body = json!({"refreshToken": tokens["refreshToken"]});
    let renewals = (0..20).map(|number| post(number % 2, "/api/auth/tokens", &body));
    let answers = futures_util::future::join_all(renewals).await;
    let successors: Vec<_> =
        answers.into_iter().map(|answer| answer.expect_status(200).json()["refreshToken"].clone()).collect();
    assert!(successors.iter().all(|successor| *successor == successors[0]));
    house.assert_sound();
}

/// Path and query: the instances share one address, and are reached by their own.
fn path_of(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_instance_answers_without_reading_a_row() {
    let Some(house) = Installation::open().await else { return };
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(0, "alice.test").await;
    visitor.session().await.must_be(200);
    let cold = house.cold().await;
    let mut there = cold.visitor();
    there.jar = visitor.jar.clone();

    // Whoever reads these tables now waits.
    let lock = house.postgres.lock(TABLES).await;
    let begun = stopwatch();
    let session = there.session().await.expect_status(200).json();
    assert_eq!(session["did"], alice.did.as_str());
    // And it goes on, later than a row is trusted.
    tokio::time::sleep(BOUND + Duration::from_millis(200)).await;
    there.session().await.must_be(200);
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waited: {:?}", begun.elapsed());
    drop(lock);

    // The lock is what it seems: without copies the row is waited for.
    assert_eq!(house.redis.command(&["FLUSHALL"]), "OK");
    let colder = house.cold().await;
    let mut there = colder.visitor();
    there.jar = visitor.jar.clone();
    let lock = house.postgres.lock(TABLES).await;
    let waiting = tokio::spawn(async move { there.session().await.status });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiting.is_finished(), "without a copy the row is read");
    drop(lock);
    assert_eq!(waiting.await.unwrap(), 200);
    house.assert_sound();
}

#[expect(clippy::print_stdout, reason = "the figures, for whoever runs this test alone")]
fn show(figures: &str) {
    println!("a sign-out counted elsewhere after: {figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_54_a_sign_out_counts_everywhere_within_a_second_whatever_redis_does() {
    let Some(mut house) = Installation::open().await else { return };
    let cases = ["healthy", "flushed", "old copies back", "killed", "frozen", "restarted"];
    let mut shown = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        let handle = format!("person{number}.test");
        house.network.add_account(&handle);
        let mut here = house.signed_in(0, &handle).await;
        let mut there = house.sent_to(1, &here);
        for _ in 0..3 {
            here.session().await.must_be(200);
            there.session().await.must_be(200);
        }
        let copies = house.redis.everything();
        match case {
            "flushed" => assert_eq!(house.redis.command(&["FLUSHALL"]), "OK"),
            "killed" => house.redis.kill(),
            "frozen" => house.redis.freeze(),
            _ => {}
        }
        let left = here.post("/api/auth/logout", &json!({})).await;
        let begun = stopwatch();
        assert_eq!(left.status, 200, "{case}: {}", left.text());
        assert_eq!(house.sent_to(0, &there).session().await.status, 401, "{case}: at once where it was made");
        match case {
            // As after a restart from an older file, or a put that came late: the copy of before is there again.
            "old copies back" => {
                for (key, value) in &copies {
                    house.redis.put(key, value);
                }
            }
            "restarted" => house.redis.restart().await,
            _ => {}
        }
        let alive = alive_for(&mut there, begun).await;
        assert!(alive < BOUND, "{case}: alive for {alive:?}");
        shown.push(format!("{case} {} ms", alive.as_millis()));
        // An instance that knows nothing does not believe an old copy either.
        if case == "old copies back" {
            let cold = house.cold().await;
            let mut colder = cold.visitor();
            colder.jar = there.jar.clone();
            assert_eq!(colder.session().await.status, 401, "{case}");
        }
        match case {
            "killed" => house.redis.restart().await,
            "frozen" => house.redis.thaw(),
            _ => {}
        }
    }
    show(&shown.join(", "));
    house.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_without_redis_answer_and_sign_out_too() {
    let Some(house) = Installation::with(|options| options.env("BOWERBIRD_REDIS_URL", "")).await else { return };
    house.network.add_account("alice.test");
    let mut here = house.signed_in(0, "alice.test").await;
    let mut there = house.sent_to(1, &here);
    there.session().await.must_be(200);
    here.post("/api/auth/logout", &json!({})).await.must_be(200);
    let alive = alive_for(&mut there, stopwatch()).await;
    assert!(alive < BOUND, "alive for {alive:?}");
    assert!(house.redis.everything().is_empty());
    house.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_54_a_device_that_another_one_signs_out_is_out_at_every_instance() {
    let Some(house) = Installation::open().await else { return };
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut laptop = house.signed_in(0, "alice.test").await;
    let phone = house.signed_in(1, "alice.test").await;
    // And a tablet that two people share.
    let mut tablet = house.signed_in(1, "bob.test").await;
    tablet.login("alice.test").await.must_be(303);
    let (mut phone, mut tablet) = (house.sent_to(1, &phone), house.sent_to(1, &tablet));
    phone.session().await.must_be(200);
    assert_eq!(tablet.session().await.json()["did"], alice.did.as_str());

    let ended = laptop.post("/api/devices/sign-out", &json!({"which": "others"})).await.expect_status(200).json();
    let begun = stopwatch();
    assert_eq!(ended["ended"], 2);
    let alive = alive_for(&mut phone, begun).await;
    assert!(alive < BOUND, "alive for {alive:?}");
    let mut active = tablet.session().await.expect_status(200).json();
    while active["did"] != bob.did.as_str() && begun.elapsed() < BOUND * 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        active = tablet.session().await.expect_status(200).json();
    }
    assert!(begun.elapsed() < BOUND, "Alice was on the tablet for {:?}", begun.elapsed());
    assert_eq!(active["did"], bob.did.as_str(), "and Bob is there still");
    laptop.session().await.must_be(200);
    // What happened is in her history, at whichever instance it is read.
    let history = house.sent_to(1, &laptop).get("/api/security-events").await.expect_status(200).json();
    let kinds: Vec<_> = history["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "signed_out_remotely").count(), 2, "{kinds:?}");
    house.assert_sound();
}
