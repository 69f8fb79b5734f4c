//! Rows 1–3 and 5–11: beginning and ending a login. Whose answer it is gets settled before a code is used.

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{CanaryKind, Decision, FaultNetwork, Misbehave, Verdict, endpoint};
use bowerbird_testkit::http_client::TestClient;
use bowerbird_testkit::server::BowerbirdProcess;
use serde_json::json;

use crate::support::{House, Must as _, options, refusal, refused, with_param};

/// How often a code was shown to any authorization server.
fn codes_shown(network: &FaultNetwork) -> usize {
    network.ledger().presented(CanaryKind::Code).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_a_forged_state_brings_no_outbound_call() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.server.visitor();
    let callback = house.approved(&mut visitor, &alice.did).await;
    house.network.clear_logs();
    let path = |query: &str| format!("/oauth/callback?{query}");
    for odd in [
        with_param(&callback, "state", Some("forged")),
        with_param(&callback, "state", Some("")),
        with_param(&callback, "state", None),
        path(""),
        path("code=x&state=%00&iss=x"),
        path("error=access_denied&state=forged"),
    ] {
        let answer = visitor.get(&odd).await;
        let (status, code) = refusal(&answer);
        assert!(status == 400 && matches!(code.as_str(), "invalid_state" | "invalid_request"), "{odd}: {code}");
    }
    assert!(house.network.requests().is_empty(), "a forged callback makes us call nobody");
    assert_eq!((codes_shown(&house.network), house.accounts()), (0, Vec::new()));
    // What was forged did not burn the true one.
    visitor.finish_login(&callback).await.must_be(303);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_fifty_callbacks_at_two_processes_redeem_one_code() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    // A second instance behind the same address: same database, same base URL.
    let both = options(&house.network).data_of(&house.server).env("BOWERBIRD_BASE_URL", &house.server.base_url());
    let second = BowerbirdProcess::start(both).await;
    let mut first = house.server.visitor();
    let callback = house.approved(&mut first, &alice.did).await;
    let mut other = Visitor::new(TestClient::new().with_host(&house.server.host(), second.address()), &first.url(""));
    other.jar = first.jar.clone();

    let mut callbacks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (mut visitor, callback) = (if number % 2 == 0 { first.clone() } else { other.clone() }, callback.clone());
        callbacks.spawn(async move { visitor.finish_login(&callback).await.status });
    }
    let statuses = callbacks.join_all().await;
    assert_eq!(statuses.iter().filter(|&&status| status == 303).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 303 | 400)), "{statuses:?}");
    let shown = house.network.ledger().presented(CanaryKind::Code);
    let accepted = shown.iter().filter(|code| code.verdict == Verdict::Accepted).count();
    assert_eq!(accepted, 1, "one redemption");
    assert!(shown.len() <= 2, "and at most its nonce challenge: {shown:?}");
    assert_eq!(house.network.authorization_server().live_grants(&alice.did), 1);
    assert!(!second.stderr().text().contains("panicked"));
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_another_browser_neither_ends_nor_burns_a_login() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut attacker = house.server.visitor();
    let callback = house.approved(&mut attacker, &alice.did).await;
    let mut fresh = house.server.visitor();
    let mut busy = house.server.visitor();
    house.start(&mut busy, &alice.did).await.must_be(302);
    for victim in [&mut fresh, &mut busy] {
        let answer = victim.finish_login(&callback).await;
        assert_eq!(refusal(&answer), refused(400, "login_session_mismatch"));
        assert_eq!(victim.seal(), None);
    }
    assert_eq!((codes_shown(&house.network), house.accounts()), (0, Vec::new()));
    attacker.finish_login(&callback).await.must_be(303);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_05_and_06_an_answer_of_an_unnamed_or_other_issuer_brings_no_token_call() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    let slashed = format!("{}/", server.issuer());
    for (rule, code) in [
        (Misbehave::redirect_without("iss"), "iss_missing"),
        (Misbehave::redirect_with("iss", "https://evil.example"), "iss_mismatch"),
        (Misbehave::redirect_with("iss", &slashed), "iss_mismatch"),
        (Misbehave::redirect_with("iss", &server.issuer().to_uppercase()), "iss_mismatch"),
    ] {
        server.server().misbehave(endpoint::AUTHORIZE, rule);
        assert_eq!(house.refused_end(&alice.did).await, refused(400, code));
        server.server().behave();
    }
    assert_eq!((server.token_calls(), codes_shown(&house.network), house.accounts()), (0, 0, Vec::new()));
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_07_an_evil_server_cannot_send_a_code_to_an_honest_one() {
    let network = FaultNetwork::start().await;
    let (_, honest) = network.add_self_hosted();
    let house = House::on(network).await;
    let mallory = house.network.add_account("mallory.test");
    let evil = house.network.authorization_server();
    for member in
        ["token_endpoint", "authorization_endpoint", "pushed_authorization_request_endpoint", "revocation_endpoint"]
    {
        let patch = json!({member: format!("{}/oauth/token", honest.issuer())});
        evil.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
        assert_eq!(house.refused_start(&mallory.did).await, refused(502, "as_metadata_invalid"), "{member}");
        evil.server().behave();
    }
    assert!(honest.server().log().is_empty(), "the honest server heard nothing");
    house.network.ledger().assert_nothing_sighted_at(honest.issuer());
    assert_eq!((house.network.ledger().minted(CanaryKind::Code), house.accounts()), (0, Vec::new()));
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_08_a_code_of_another_flow_signs_nobody_in() {
    let house = House::open().await;
    let (alice, mallory) = (house.network.add_account("alice.test"), house.network.add_account("mallory.test"));
    let (mut victim, mut attacker) = (house.server.visitor(), house.server.visitor());
    let victims = house.approved(&mut victim, &alice.did).await;
    let attackers = house.approved(&mut attacker, &mallory.did).await;
    let parsed = url::Url::parse(&victims).unwrap();
    let code = parsed.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned();
    let answer = attacker.finish_login(&with_param(&attackers, "code", Some(&code))).await;
    assert_eq!(refusal(&answer), refused(400, "token_exchange_failed"));
    assert_eq!((attacker.seal(), house.accounts()), (None, Vec::new()));
    let verdicts: Vec<Verdict> =
        house.network.ledger().presented(CanaryKind::Code).iter().map(|shown| shown.verdict).collect();
    assert!(!verdicts.contains(&Verdict::Accepted), "{verdicts:?}");
    house.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_a_server_without_s256_gets_no_request() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    for methods in [json!(["plain"]), json!([]), json!(null), json!(["s256"])] {
        let patch = json!({"code_challenge_methods_supported": methods});
        server.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(patch));
        assert_eq!(house.refused_start(&alice.did).await, refused(502, "as_unsupported"), "{methods}");
        server.server().behave();
    }
    assert_eq!(server.server().count(endpoint::PAR), 0);
    // Each login has a verifier of its own, long enough, that is sent once and to the token endpoint alone.
    for _ in 0..3 {
        house.signed_in(&alice).await;
    }
    let verifiers: Vec<String> = server
        .server()
        .log()
        .at(endpoint::TOKEN)
        .iter()
        .filter_map(|call| call.form().remove("code_verifier"))
        .collect();
    let different: std::collections::HashSet<&String> = verifiers.iter().collect();
    assert!(different.len() == 3 && verifiers.iter().all(|verifier| verifier.len() >= 43));
    for call in server.server().log().at(endpoint::PAR) {
        assert!(!call.form().contains_key("code_verifier"));
        assert!(verifiers.iter().all(|verifier| !call.transcript().contains(verifier.as_str())));
    }
    let log = house.server.stderr().text();
    assert!(verifiers.iter().all(|verifier| !log.contains(verifier.as_str())), "a verifier was logged");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_10_hostile_words_of_a_server_stay_words() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    let words = [
        "<script>alert(1)</script>".to_owned(),
        "\"><img src=x onerror=alert(1)>".to_owned(),
        "a\r\nSet-Cookie: sid=planted\r\n\r\n<svg onload=alert(1)>".to_owned(),
        "\u{202e}gnp.exe\u{0}\u{1b}[31m{{7*7}}${7*7}</textarea></title><b>".to_owned(),
        "x".repeat(10_000),
    ];
    for description in &words {
        for error in ["invalid_scope", "<b>own</b>", "access_denied"] {
            server.decide(Decision::Fail(error.to_owned(), description.clone()));
            let mut visitor = house.server.visitor();
            let callback = house.approved(&mut visitor, &alice.did).await;
            let answer = visitor.finish_login(&callback).await;
            assert_eq!(answer.status, 400, "{error} {description}");
            let page = answer.text();
            for bad in ["<script>alert", "<img src=x", "<svg onload", "<b>own", "</title><b>", "\u{1b}", "\u{202e}"] {
                assert!(!page.contains(bad), "{bad} in {page}");
            }
            assert!(!page.contains(&"x".repeat(201)), "at most 200 characters of it");
            assert_eq!(answer.header_all("set-cookie"), Vec::<&str>::new());
            let again = visitor.finish_login(&callback).await;
            assert_eq!(refusal(&again), refused(400, "invalid_state"), "the login is over");
        }
    }
    server.decide(Decision::Approve);
    let mut visitor = house.server.visitor();
    let callback = house.approved(&mut visitor, &alice.did).await;
    let answer = visitor.finish_login(&format!("{callback}&error=access_denied")).await;
    assert_eq!(refusal(&answer), refused(400, "invalid_request"));
    assert_eq!((server.token_calls(), codes_shown(&house.network), house.accounts()), (0, 0, Vec::new()));
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_repeated_and_wrapped_parameters_are_refused() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.server.visitor();
    let callback = house.approved(&mut visitor, &alice.did).await;
    house.network.clear_logs();
    for added in
        ["state=x", "code=x", "iss=x", "code%5B%5D=x", "state%5B0%5D=x", "response=eyJhbGciOiJub25lIn0.e30.", "state="]
    {
        let answer = visitor.get(&format!("{callback}&{added}")).await;
        assert_eq!(refusal(&answer), refused(400, "invalid_request"), "{added}");
        assert_eq!(visitor.seal(), None);
    }
    assert!(house.network.requests().is_empty(), "nobody was called");
    visitor.finish_login(&callback).await.must_be(303);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_logins_of_one_account_side_by_side_do_not_take_each_other_down() {
    const SIDE_BY_SIDE: usize = 16;
    let house = House::open().await;
    for number in 0..6 {
        let account = house.network.add_account(&format!("new{number}.test"));
        let logins = (0..SIDE_BY_SIDE).map(async |_| {
            let mut visitor = house.server.visitor();
            let callback = house.approved(&mut visitor, &account.did).await;
            (visitor, callback)
        });
        let ready = futures_util::future::join_all(logins).await;
        let ends = ready.into_iter().map(async |(mut visitor, callback)| {
            let status = visitor.finish_login(&callback).await.status;
            (visitor, status)
        });
        let ended = futures_util::future::join_all(ends).await;
        let statuses: Vec<u16> = ended.iter().map(|(_, status)| *status).collect();
        // Each has spent a code, so each must end well; and what the others have stored must stay.
        assert!(statuses.iter().all(|status| *status == 303), "{statuses:?}");
        for (mut visitor, _) in ended {
            visitor.session().await.must_be(200);
        }
    }
    let accounts = house.accounts();
    assert!(accounts.len() == 6 && accounts.iter().all(|(_, status)| status == "ok"), "{accounts:?}");
    house.assert_sound().await;
}
