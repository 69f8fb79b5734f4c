//! Seals and cookies: rows 50–58 and 61.

use bowerbird_core::ports::Clock as _;
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{DeviceSessionId, Did};
use bowerbird_net::{OsEntropy, SystemClock};
use bowerbird_testkit::http_client::TestRequest;
use bowerbird_vault::SealPayload;
use std::time::Duration;

use crate::support::{House, Must as _, SECRETS, ring};

const INVALID: &str = r#"{"valid":false,"error":"Session invalid or expired","reason":"session_invalid"}"#;

async fn with_bearer(house: &House, seal: &str) -> (u16, String) {
    let request = TestRequest::get(&house.url("/api/auth/session")).header("authorization", &format!("Bearer {seal}"));
    let answer = house.client().send(request).await;
    (answer.status, answer.text())
}

async fn with_cookie(house: &House, cookie: &str) -> bowerbird_testkit::http_client::Answer {
    house.client().send(TestRequest::get(&house.url("/api/auth/session")).header("cookie", cookie)).await
}

#[tokio::test]
async fn row_50_every_flipped_bit_is_noticed() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let authenticated = seal.strip_suffix("~2").unwrap().len();
    assert_eq!(with_bearer(&house, &seal).await.0, 200);
    let mut tasks = Vec::new();
    for bit in 0..authenticated * 8 {
        let mut bytes = seal.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // What is no header value is refused by every HTTP client; what is no seal must be refused by us.
        let Some(text) = String::from_utf8(bytes).ok().filter(|text| text.bytes().all(|b| (0x21..0x7f).contains(&b)))
        else {
            continue;
        };
        tasks.push(text);
    }
    assert!(tasks.len() > 1000);
    for text in tasks {
        let (status, body) = with_bearer(&house, &text).await;
        assert_eq!((status, body.as_str()), (401, INVALID), "{text}");
    }
}

#[tokio::test]
async fn row_51_what_is_no_seal_is_refused() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let cut = &seal[..seal.len() / 2];
    let old = seal.replacen("Fe26.2", "Fe26.1", 1);
    let junk = "x".repeat(5000);
    for bad in [cut, &old, &junk, "~2", "*******", "Fe26.2*******~2", "null", "{}"] {
        assert_eq!(with_bearer(&house, bad).await, (401, INVALID.to_owned()), "{bad}");
        let answer = with_cookie(&house, &format!("sid={bad}")).await.expect_status(401);
        assert!(answer.header("set-cookie").unwrap().starts_with("sid=; Max-Age=0"), "the bad cookie is taken away");
    }
    with_cookie(&house, "sid=").await.must_be(401);
    with_cookie(&house, "sid=\u{fc}\u{ff}").await.must_be(401);
    let huge =
        TestRequest::get(&house.url("/api/auth/session")).header("cookie", &format!("sid={}", "x".repeat(1_000_000)));
    let answer = house.client().try_send(huge).await;
    assert!(answer.is_err() || answer.unwrap().status == 431);
}

#[tokio::test]
async fn rows_52_and_53_old_secrets_open_and_expired_seals_do_not() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let visitor = house.visitor_as(&alice).await;
    let now = SystemClock::new().now();
    let sid = ring(&SECRETS).open(&visitor.seal().unwrap(), now).unwrap().payload.sid;
    let payload = SealPayload { did: Did::parse(&alice.did).unwrap(), sid, created_at: now, last_accessed: now };
    let hour = Duration::from_hours(1);

    let by_older = ring(&SECRETS[1..]).seal(&payload, hour, now, &OsEntropy);
    let answer = with_cookie(&house, &format!("sid={}", by_older.expose())).await.expect_status(200);
    let renewed = answer.header("set-cookie").unwrap();
    assert!(renewed.starts_with("sid=Fe26.2*2*"), "sealed again with the newest: {renewed}");

    let by_stranger = ring(&["a-secret-that-was-never-listed-here-01"]).seal(&payload, hour, now, &OsEntropy);
    assert_eq!(with_bearer(&house, by_stranger.expose()).await.0, 401);

    let ring = ring(&SECRETS);
    let expired = ring.seal(&payload, hour, now.plus_seconds(-3600 - 90), &OsEntropy);
    assert_eq!(with_bearer(&house, expired.expose()).await, (401, INVALID.to_owned()));
    let within_skew = ring.seal(&payload, hour, now.plus_seconds(-3600 - 30), &OsEntropy);
    assert_eq!(with_bearer(&house, within_skew.expose()).await.0, 200);

    let nobody = SealPayload { sid: DeviceSessionId::random(&SeededEntropy::new(3)), ..payload };
    let of_nobody = ring.seal(&nobody, hour, now, &OsEntropy);
    assert_eq!(with_bearer(&house, of_nobody.expose()).await, (401, INVALID.to_owned()));
}

#[tokio::test]
async fn row_54_a_copied_seal_dies_with_its_device() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    let thief = house.app_of(&visitor);
    thief.get("/api/auth/session").await.must_be(200);
    visitor.post("/api/auth/logout", &serde_json::json!({})).await.must_be(200);
    assert_eq!(thief.get("/api/auth/session").await.expect_status(401).text(), INVALID);
    thief.get("/api/accounts").await.must_be(401);
    assert_eq!(visitor.jar.get("sid"), None);
    house.wait_for_grants(&alice, 0).await;
}

#[tokio::test]
async fn row_55_other_blobs_of_ours_are_no_sessions() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let visitor = house.visitor_as(&alice).await;
    let now = SystemClock::new().now();
    let other = ring(&SECRETS).for_purpose("something else");
    let payload = format!(r#"{{"did":"{}","sid":"{}","createdAt":1,"lastAccessed":1}}"#, alice.did, "0".repeat(32));
    let blob = other.seal(payload.as_bytes(), Duration::from_mins(1), now, &OsEntropy);
    assert_eq!(with_bearer(&house, blob.expose()).await.0, 401);
    let binding = visitor.jar.get("login").unwrap().value.clone();
    assert_eq!(with_bearer(&house, &binding).await.0, 401);
}

#[tokio::test]
async fn row_56_the_cookie_is_bound_to_this_host() {
    let house = House::open_public().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    let answer = visitor.finish_login(&callback).await.expect_status(303);
    let cookie = answer.header("set-cookie").unwrap();
    let attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
    assert!(cookie.starts_with("__Host-sid=Fe26.2*"), "{cookie}");
    assert_eq!(attributes, ["Max-Age=604800", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"]);
    let login = visitor.jar.get("__Host-login").unwrap();
    assert!(login.secure && login.http_only && login.host_only && login.same_site == "lax" && login.path == "/");
    assert_eq!(visitor.session().await.expect_status(200).json()["did"], alice.did.as_str());
    assert!(answer.header("strict-transport-security").is_some());
}

#[tokio::test]
async fn row_57_two_sid_cookies_are_refused() {
    let house = House::open_public().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    for cookie in [format!("sid={seal}; sid={seal}"), format!("__Host-sid={seal}; a=b; __Host-sid=x")] {
        let answer = with_cookie(&house, &cookie).await.expect_status(400);
        assert_eq!(answer.header("bowerbird-error"), Some("duplicate_cookie"));
        assert_eq!(answer.header("set-cookie"), None);
    }
    // What a sub-domain plants does not win over the cookie that only this host can set.
    with_cookie(&house, &format!("sid=planted; __Host-sid={seal}")).await.must_be(200);
    with_cookie(&house, &format!("sid={seal}; __Host-sid=planted")).await.must_be(401);
}

#[tokio::test]
async fn decision_6_a_client_that_sends_sid_is_answered_under_sid() {
    let house = House::open_public().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let answer = with_cookie(&house, &format!("sid={seal}")).await.expect_status(200);
    let cookies = answer.header_all("set-cookie");
    assert_eq!(cookies.len(), 1);
    assert!(cookies[0].starts_with("sid=Fe26.2*") && cookies[0].contains("; Secure"), "{cookies:?}");
    let answer = with_cookie(&house, &format!("__Host-sid={seal}")).await.expect_status(200);
    assert!(answer.header("set-cookie").unwrap().starts_with("__Host-sid=Fe26.2*"));
}

#[tokio::test]
async fn row_58_cookie_and_bearer_must_agree() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let (of_alice, of_bob) =
        (house.visitor_as(&alice).await.seal().unwrap(), house.visitor_as(&bob).await.seal().unwrap());
    let both = async |cookie: &str, bearer: &str| {
        let request = TestRequest::get(&house.url("/api/auth/session"))
            .header("cookie", &format!("sid={cookie}"))
            .header("authorization", &format!("Bearer {bearer}"));
        house.client().send(request).await
    };
    for (cookie, bearer) in [(&of_alice, &of_bob), (&of_bob, &of_alice)] {
        let answer = both(cookie, bearer).await.expect_status(400);
        assert_eq!(answer.header("bowerbird-error"), Some("ambiguous_credentials"));
    }
    both(&of_alice, "stale").await.must_be(400);
    assert_eq!(both(&of_alice, &of_alice).await.expect_status(200).json()["did"], alice.did.as_str());
}

#[tokio::test]
async fn row_61_a_seal_in_an_address_is_refused() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.visitor_as(&alice).await.seal().unwrap();
    let encoded: String = url::form_urlencoded::byte_serialize(seal.as_bytes()).collect();
    for (method, path) in bowerbird_server::operations() {
        let path = path.replace(['{', '}'], "x");
        for target in
            [format!("{path}?sid={seal}"), format!("{path}?session_token={encoded}"), format!("{path}/{seal}")]
        {
            let answer = house.client().send(TestRequest::new(method.as_str(), &house.url(&target))).await;
            assert_eq!(answer.status, 400, "{method} {target}");
            assert_eq!(answer.header("bowerbird-error"), Some("seal_in_url"));
        }
    }
    let answer = house.client().get(&house.url(&format!("/api/auth/session?token={}", &seal[6..]))).await;
    assert_eq!(answer.status, 401, "and whatever else is in a query is never taken for one");
}

#[tokio::test]
async fn a_cookie_from_the_jar_of_an_older_contract_keeps_its_own_life() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let visitor = house.visitor_as(&alice).await;
    let app = house.app_of(&visitor);
    let answer = app.get("/api/auth/session").await.expect_status(200);
    assert_eq!(answer.header("set-cookie"), None, "a bearer is given no cookie");
}

#[tokio::test]
async fn a_burst_of_checks_makes_one_seal() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let record = bowerbird_testkit::fault::profile_record("Alice", None, "image/png");
    house.network.pds().put_record(&alice.did, "app.bsky.actor.profile", "self", record);
    let mut visitor = house.visitor_as(&alice).await;
    // The profile arrives in the background, and with it a new answer: the burst begins after it.
    let first = bowerbird_testkit::real::eventually("the profile", async || {
        let answer = visitor.session().await;
        if answer.json()["displayName"] == "Alice" { Ok(answer) } else { Err(answer.json()) }
    })
    .await;
    assert!(first.header("set-cookie").is_some(), "each answer extends the session");
    for _ in 0..20 {
        let next = visitor.session().await;
        assert_eq!(next.header("set-cookie"), first.header("set-cookie"));
        assert_eq!(next.body, first.body);
    }
    // Switching drops it at once.
    let bob = house.network.add_account("bob.test");
    visitor.login("bob.test").await.must_be(303);
    assert_eq!(visitor.session().await.json()["did"], bob.did.as_str());
    let id = house.id_of(&alice).await;
    visitor.post(&format!("/api/accounts/{id}/activate"), &serde_json::json!({})).await.must_be(200);
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());
}
