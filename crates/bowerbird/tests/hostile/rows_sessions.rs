//! Rows 4 and 50–58: seals, cookies and bearers.

use std::time::Duration;

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::FaultNetwork;
use bowerbird_testkit::http_client::{Answer, TestRequest};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{House, Must as _, options};

/// Checks a session by cookie, without a jar.
async fn by_cookie(house: &House, cookies: &str) -> Answer {
    let request = TestRequest::get(&house.server.url("/api/auth/session")).header("cookie", cookies);
    house.server.client().send(request).await
}

async fn by_bearer(house: &House, seal: &str) -> Answer {
    house.server.app(seal).get("/api/auth/session").await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_04_a_planted_session_is_dead_after_the_login() {
    let house = House::open().await;
    let (alice, mallory) = (house.network.add_account("alice.test"), house.network.add_account("mallory.test"));
    let attacker = house.signed_in(&mallory).await;
    let planted = attacker.seal().unwrap();
    // The victim's browser holds the attacker's cookie and signs in.
    let mut victim = house.server.visitor();
    victim.jar = attacker.jar.clone();
    house.add(&mut victim, &alice).await;
    assert_ne!(victim.seal().unwrap(), planted);
    by_cookie(&house, &format!("sid={planted}")).await.must_refuse(401, "session_invalid");
    by_bearer(&house, &planted).await.must_refuse(401, "session_invalid");
    assert_eq!(victim.session().await.expect_status(200).json()["did"], alice.did.as_str());
    // A value that nobody sealed is no name for a session either.
    let mut fresh = house.server.visitor();
    let callback = house.approved(&mut fresh, &alice.did).await;
    let request = TestRequest::get(&callback).header("sec-fetch-site", "cross-site");
    let login = fresh.jar.get("login").unwrap().value.clone();
    let answer = fresh.send(request.header("cookie", &format!("sid=chosen-by-attacker; login={login}"))).await;
    answer.must_be(303);
    assert_ne!(fresh.seal().unwrap(), "chosen-by-attacker");
    by_cookie(&house, "sid=chosen-by-attacker").await.must_refuse(401, "session_invalid");
    house.assert_sound().await;
}

/// Sends many session checks over one connection and returns their statuses.
async fn statuses(address: std::net::SocketAddr, host: String, seals: Vec<Vec<u8>>) -> Vec<u16> {
    #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
    let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let count = seals.len();
    let writer = tokio::spawn(async move {
        for seal in seals {
            let mut request = format!("GET /api/auth/session HTTP/1.1\r\nHost: {host}\r\nCookie: sid=").into_bytes();
            request.extend_from_slice(&seal);
            request.extend_from_slice(b"\r\n\r\n");
            writing.write_all(&request).await.unwrap();
        }
        writing
    });
    let (mut text, mut found) = (Vec::new(), Vec::new());
    let mut piece = vec![0; 64 * 1024];
    while found.len() < count {
        let read = reading.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "the connection ended after {} answers: {}", found.len(), String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..read]);
        while let Some((status, end)) = first_answer(&text) {
            found.push(status);
            text.drain(..end);
        }
    }
    writer.await.unwrap();
    found
}

/// The status of the answer at the start of some bytes, and where it ends.
fn first_answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length: usize = text.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    (bytes.len() >= head + length).then_some((status, head + length))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_50_no_flipped_bit_of_a_seal_passes() {
    const SEALS: usize = 200;
    const FLIPS_EACH: usize = 100;
    let house = House::open().await;
    let accounts: Vec<_> = (0..SEALS).map(|n| house.network.add_account(&format!("person{n}.test"))).collect();
    let logins = futures_util::stream::iter(&accounts).map(|account| house.signed_in(account)).buffer_unordered(8);
    let seals: Vec<String> = logins.map(|visitor| visitor.seal().unwrap()).collect().await;
    let (address, host) = (house.server.address(), house.server.host());
    let mut connections = tokio::task::JoinSet::new();
    for (number, seal) in seals.iter().enumerate() {
        let bytes = seal.as_bytes();
        // Over all seals every byte and every bit has its turn, several times.
        let flipped = (0..FLIPS_EACH).map(|flip| {
            let place = (number * 37 + flip * bytes.len() / FLIPS_EACH) % bytes.len();
            let mut bent = bytes.to_vec();
            bent[place] ^= 1 << ((number + flip) % 8);
            if bent[place] < b' ' || bent[place] == 0x7f || matches!(bent[place], b';' | b' ' | b'=' | b'\t') {
                bent[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            }
            bent
        });
        connections.spawn(statuses(address, host.clone(), flipped.collect()));
        if connections.len() >= 8 {
            assert_all_refused(&connections.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(answered) = connections.join_next().await {
        assert_all_refused(&answered.unwrap());
    }
    by_cookie(&house, &format!("sid={}", seals[0])).await.must_be(200);
    house.assert_sound().await;
}

fn assert_all_refused(statuses: &[u16]) {
    assert!(statuses.iter().all(|&status| status == 401), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_51_what_is_no_seal_is_refused() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    let parts: Vec<&str> = seal.split('*').collect();
    let mut odd: Vec<Vec<u8>> = (0..seal.len()).step_by(7).map(|end| seal.as_bytes()[..end].to_vec()).collect();
    odd.extend((0..parts.len()).map(|gone| {
        let left: Vec<&str> = parts.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, part)| *part).collect();
        left.join("*").into_bytes()
    }));
    odd.extend([
        seal.replacen("Fe26.2", "Fe26.1", 1).into_bytes(),
        format!("{seal}{seal}").into_bytes(),
        format!("{seal}~9").into_bytes(),
        b"\xff\xfe\x80".to_vec(),
        "é".as_bytes().to_vec(),
        vec![b'*'; 30_000],
        vec![b'A'; 50_000],
    ]);
    assert_all_refused(&statuses(house.server.address(), house.server.host(), odd).await);
    // Larger than a head may be: refused before it is looked at.
    let giant = format!("sid={}", "A".repeat(1024 * 1024));
    let raw = format!("GET /api/auth/session HTTP/1.1\r\nHost: {}\r\nCookie: {giant}\r\n\r\n", house.server.host());
    let answer = house.raw(raw.as_bytes()).await;
    assert!(answer.closed && matches!(answer.status(), Some(431) | None), "{:?}", answer.status());
    by_cookie(&house, &format!("sid={seal}")).await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_52_an_older_secret_opens_until_it_is_removed() {
    const OLD: &str = "the-old-cookie-secret-0123456789-0123456789";
    const NEW: &str = "the-new-cookie-secret-0123456789-0123456789";
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let first = options(&network).env("BOWERBIRD_COOKIE_SECRET", OLD);
    let mut house = House::with(network, first.clone()).await;
    let mut visitor = house.signed_in(&alice).await;
    let old = visitor.seal().unwrap();
    house.server.restart_with(first.clone().env("BOWERBIRD_COOKIE_SECRET", &format!("{NEW},{OLD}"))).await;
    visitor.session().await.must_be(200);
    let renewed = visitor.seal().unwrap();
    assert_ne!(renewed, old, "sealed anew");
    house.server.restart_with(first.env("BOWERBIRD_COOKIE_SECRET", NEW)).await;
    by_cookie(&house, &format!("sid={old}")).await.must_refuse(401, "session_invalid");
    by_cookie(&house, &format!("sid={renewed}")).await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_54_a_copied_seal_is_dead_within_a_second_of_the_logout_everywhere() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let shared = options(&house.network).data_of(&house.server).env("BOWERBIRD_BASE_URL", &house.server.base_url());
    let second = bowerbird_testkit::server::BowerbirdProcess::start(shared).await;
    let there = bowerbird_testkit::http_client::TestClient::new().with_host(&house.server.host(), second.address());
    let copy = visitor.seal().unwrap();
    let check = async || {
        let request = TestRequest::get(&house.server.url("/api/auth/session")).header("cookie", &format!("sid={copy}"));
        there.send(request).await
    };
    check().await.must_be(200);
    visitor.post("/api/auth/logout", &serde_json::json!({})).await.must_be(200);
    by_cookie(&house, &format!("sid={copy}")).await.must_refuse(401, "session_invalid");
    by_bearer(&house, &copy).await.must_refuse(401, "session_invalid");
    // At the other instance after a second at the latest; the margin is for a busy machine.
    let dead = tokio::time::timeout(Duration::from_millis(1500), async {
        while check().await.status != 401 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    dead.await.expect("the copied seal still works at the other instance");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_55_other_blobs_of_ours_are_no_sessions() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let seal = visitor.seal().unwrap();
    let page = visitor.get("/").await.expect_status(200).text();
    let csrf = page.split("name=\"csrf\"").nth(1).and_then(|rest| rest.split("value=\"").nth(1)).unwrap();
    let csrf = csrf.split('"').next().unwrap().to_owned();
    let callback = house.approved(&mut visitor, &alice.did).await;
    let login = visitor.jar.get("login").unwrap().value.clone();
    let parsed = url::Url::parse(&callback).unwrap();
    let part = |name: &str| parsed.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let (state, code) = (part("state"), part("code"));
    for blob in [&csrf, &login, &state, &code] {
        by_cookie(&house, &format!("sid={blob}")).await.must_refuse(401, "session_invalid");
        by_bearer(&house, blob).await.must_refuse(401, "session_invalid");
    }
    // And a seal is neither a state nor a login cookie nor a form's token.
    let mut other = house.server.visitor();
    let forged = crate::support::with_param(&callback, "state", Some(&login));
    other.finish_login(&forged).await.must_refuse(400, "invalid_state");
    let request = TestRequest::get(&callback).header("cookie", &format!("login={seal}"));
    house.server.client().send(request).await.must_refuse(400, "login_session_mismatch");
    visitor.submit("/sign-out", &[("csrf", &seal)]).await.must_refuse(403, "form_expired");
    visitor.submit("/sign-out", &[("csrf", &login)]).await.must_refuse(403, "form_expired");
    visitor.session().await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_56_and_57_the_cookie_is_narrow_and_a_second_one_is_refused() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let public = options(&network).public_url("https://bower.home.arpa");
    let house = House::with(network, public).await;
    let front = house.server.front();
    house.network.map_host("https://bower.home.arpa", front.origin());
    let mut visitor = house.signed_in(&alice).await;
    let cookie = visitor.jar.get("__Host-sid").unwrap().clone();
    assert!(cookie.secure && cookie.http_only && cookie.host_only, "{cookie:?}");
    assert_eq!((cookie.same_site.as_str(), cookie.path.as_str()), ("lax", "/"));
    assert!(visitor.jar.get("sid").is_none());
    let seal = cookie.value.clone();
    for twice in [format!("__Host-sid={seal}; __Host-sid={seal}"), format!("__Host-sid=x; __Host-sid={seal}")] {
        by_cookie(&house, &twice).await.must_refuse(400, "duplicate_cookie");
    }
    // A sub-domain can plant `sid`, never `__Host-sid`: the latter wins.
    let tossed = by_cookie(&house, &format!("sid=planted; __Host-sid={seal}")).await.expect_status(200);
    assert_eq!(tossed.json()["did"], alice.did.as_str());
    visitor.session().await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_57_and_58_two_credentials_are_refused_unless_they_agree() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let hers = house.signed_in(&alice).await.seal().unwrap();
    let his = house.signed_in(&bob).await.seal().unwrap();
    by_cookie(&house, &format!("sid={hers}; sid={his}")).await.must_refuse(400, "duplicate_cookie");
    by_cookie(&house, &format!("sid={hers}; a=b; sid={hers}")).await.must_refuse(400, "duplicate_cookie");
    house.network.clear_logs();
    let both = async |path: &str, cookie: &str, bearer: &str| {
        let request = TestRequest::get(&house.server.url(path)).header("cookie", &format!("sid={cookie}"));
        house.server.client().send(request.header("authorization", &format!("Bearer {bearer}"))).await
    };
    for path in ["/api/auth/session", "/api/accounts", "/xrpc/com.atproto.server.getSession", "/validate-session"] {
        both(path, &hers, &his).await.must_refuse(400, "ambiguous_credentials");
        both(path, &his, &hers).await.must_refuse(400, "ambiguous_credentials");
        both(path, &hers, "nonsense").await.must_refuse(400, "ambiguous_credentials");
        both(path, &hers, &hers).await.must_be(200);
    }
    let shown = house.network.pds().calls("com.atproto.server.getSession");
    assert_eq!(shown, 1, "only the one call without doubt went out");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_53_an_expired_session_is_over() {
    // The shortest life that the program takes is five minutes, so the end itself is proved at the room's own tests;
    // here, that the cookie and the answer agree on it.
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let short = options(&network).env("BOWERBIRD_SESSION_TTL", "300");
    let house = House::with(network, short).await;
    let mut visitor: Visitor = house.signed_in(&alice).await;
    let answer = visitor.session().await.expect_status(200);
    assert!(answer.header_all("set-cookie")[0].contains("Max-Age=300;"), "{answer:?}");
    house.assert_sound().await;
}
