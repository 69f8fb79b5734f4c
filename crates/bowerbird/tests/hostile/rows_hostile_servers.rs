//! Rows 19–31: authorization servers, PDSes and directories that lie, through the whole program.

use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, endpoint};
use serde_json::{Value, json};

use crate::support::{House, Must as _, refused};

const AS_METADATA: &str = endpoint::AUTHORIZATION_SERVER;
const SESSION: &str = "/xrpc/com.atproto.server.getSession";

#[tokio::test(flavor = "multi_thread")]
async fn row_19_an_evil_server_cannot_take_over_an_account() {
    let network = FaultNetwork::start().await;
    let (evil_pds, evil) = network.add_self_hosted();
    let house = House::on(network).await;
    let alice = house.network.add_account("alice.test");
    let mallory = house.network.add_account_at(&evil_pds, "mallory.test");
    let mut victim = house.signed_in(&alice).await;
    evil.approve_as(&alice.did);
    for identifier in [evil.issuer(), &mallory.did, &mallory.handle] {
        house.network.clear_logs();
        assert_eq!(house.refused_end(identifier).await, refused(403, "issuer_mismatch"), "{identifier}");
        assert!(house.network.plc().lookups(&alice.did) >= 1, "the walk is not made from memory");
        assert_eq!(evil.server().count(endpoint::REVOKE).min(1), 1, "what was issued is given back");
    }
    assert_eq!(house.accounts(), [(alice.did.clone(), "ok".to_owned())], "only the victim's own account");
    house.network.ledger().assert_no_strangers_secrets_at(evil.issuer());
    let answer = victim.get(SESSION).await.expect_status(200);
    assert_eq!(answer.json()["did"], alice.did.as_str(), "the victim's session is unchanged");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_repair_link_does_not_overwrite_another_account() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let server = house.network.authorization_server();
    let mut visitor = house.signed_in(&alice).await;
    let own = visitor.get("/api/accounts").await.expect_status(200).json()["accounts"][0]["id"].clone();
    let link = format!("/login/repair/{}", own.as_str().unwrap());
    server.approve_as(&bob.did);
    let page = house.open_page(&mut visitor, &link).await;
    let callback = visitor.authorize(page.location()).await;
    visitor.finish_login(&callback).await.must_refuse(403, "account_mismatch");
    assert_eq!(house.accounts(), [(alice.did.clone(), "ok".to_owned())]);
    assert_eq!((server.live_grants(&bob.did), server.live_grants(&alice.did)), (0, 1));
    let session = visitor.session().await.expect_status(200);
    assert_eq!(session.json()["did"], alice.did.as_str());
    let answer = visitor.get(SESSION).await.expect_status(200);
    assert_eq!(answer.json()["did"], alice.did.as_str());
    house.assert_sound().await;
}

/// A lie in a document, and what a login answers to it.
type Lie = (&'static str, &'static str, Misbehave, (u16, &'static str));

fn merge(patch: Value) -> Misbehave {
    Misbehave::merge(patch)
}

/// Rows 22–26: each lie stands in a document that a login reads before it sends anything of its own.
fn lies_about(pds: &str, issuer: &str, other: &str, canary: &str) -> Vec<Lie> {
    const RESOURCE: &str = endpoint::PROTECTED_RESOURCE;
    const INVALID: (u16, &str) = (502, "as_metadata_invalid");
    let mut lies: Vec<Lie> = Vec::new();
    // A good document is remembered: the lies of the first one that is read come first.
    for patch in [
        json!({"authorization_servers": []}),
        json!({"authorization_servers": null}),
        json!({"authorization_servers": [issuer, other]}),
        json!({"authorization_servers": ["http://evil.example"]}),
        json!({"resource": other}),
        json!({"resource": format!("{pds}/")}),
        json!({"resource": null}),
    ] {
        lies.push(("24, 25", RESOURCE, merge(patch), INVALID));
    }
    for odd in odd_documents("resource", canary) {
        lies.push(("26", RESOURCE, odd, INVALID));
    }
    lies.push(("43", RESOURCE, Misbehave::endless_body(8 * 1024 * 1024), (502, "as_unreachable")));
    for odd in [format!("{issuer}/"), issuer.to_uppercase(), format!("{issuer}/x"), "https://evil.example".to_owned()] {
        lies.push(("22", AS_METADATA, merge(json!({"issuer": odd})), INVALID));
    }
    for member in ["token_endpoint", "pushed_authorization_request_endpoint", "authorization_endpoint"] {
        for bad in ["http://evil.example/x", "https://10.0.0.1/x", "https://u:p@evil.example/", "javascript:alert(1)"] {
            lies.push(("16, 23", AS_METADATA, merge(json!({member: bad})), INVALID));
        }
    }
    lies.push(("43", AS_METADATA, Misbehave::endless_body(8 * 1024 * 1024), (502, "as_unreachable")));
    for odd in odd_documents("issuer", canary) {
        lies.push(("26", AS_METADATA, odd, INVALID));
    }
    // The document is good in itself and is remembered for a while: nothing can come after it.
    lies.push(("25", AS_METADATA, merge(json!({"protected_resources": ["https://other.example"]})), INVALID));
    lies
}

fn odd_documents(member: &str, canary: &str) -> Vec<Misbehave> {
    vec![
        Misbehave::redirect(302, canary),
        Misbehave::redirect(307, canary),
        Misbehave::html(),
        Misbehave::header("Content-Type", "text/html"),
        Misbehave::duplicate_key(member, &json!("https://evil.example")),
        Misbehave::deep_json(10_000),
        Misbehave::json_text("nonsense"),
        Misbehave::status(500),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_22_to_26_a_lie_in_a_document_ends_the_login_before_it_begins() {
    let network = FaultNetwork::start_with_entryway().await;
    let (_, other) = network.add_self_hosted();
    let house = House::on(network).await;
    let alice = house.network.add_account("alice.test");
    let (pds, server) = (house.network.pds(), house.network.authorization_server());
    let canary = format!("{}/", house.network.canary().origin());
    let lies = lies_about(pds.origin(), server.issuer(), other.issuer(), &canary);
    assert!(lies.len() >= 40);
    for (row, path, lie, (status, code)) in lies {
        let named = format!("row {row}: {path}: {lie:?}");
        let host = if path == AS_METADATA { server.server() } else { pds.server() };
        host.misbehave(path, lie);
        assert_eq!(house.refused_start(&alice.did).await, refused(status, code), "{named}");
        host.behave();
    }
    assert_eq!(server.server().count(endpoint::PAR) + other.server().count(endpoint::PAR), 0);
    assert_eq!((server.token_calls(), house.network.ledger().minted(CanaryKind::Code)), (0, 0));
    assert_eq!(house.accounts(), []);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_21_27_28_and_29_a_token_answer_that_must_not_be_used_stores_nothing() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    let long = format!("did:plc:{}", "a".repeat(5000));
    for (row, lie, code) in [
        ("21", merge(json!({"sub": null})), "as_response_invalid"),
        ("21", merge(json!({"sub": "alice.test"})), "as_response_invalid"),
        ("21", merge(json!({"sub": 7})), "as_response_invalid"),
        ("21", merge(json!({"sub": "did:plc:a\r\nSet-Cookie: x"})), "as_response_invalid"),
        ("21", merge(json!({"sub": long})), "as_response_invalid"),
        ("27", merge(json!({"token_type": "Bearer"})), "dpop_required"),
        ("27", merge(json!({"token_type": null})), "dpop_required"),
        ("28", merge(json!({"scope": "transition:generic"})), "scope_missing"),
        ("28", merge(json!({"scope": ""})), "scope_missing"),
        ("29", merge(json!({"access_token": "x".repeat(1024 * 1024)})), "as_unreachable"),
        ("29", Misbehave::truncate(40), "as_unreachable"),
        ("26", Misbehave::html(), "as_response_invalid"),
        ("26", Misbehave::status_after(500), "token_exchange_failed"),
    ] {
        server.server().misbehave(endpoint::TOKEN, lie.clone());
        let (status, found) = house.refused_end(&alice.did).await;
        assert_eq!((status, found.as_str()), (502, code), "row {row}: {lie:?}");
        server.server().behave();
    }
    assert_eq!(house.accounts(), []);
    // What is odd but harmless is taken: a lower-case scheme, no life, a huge life, fewer permissions.
    for harmless in [json!({"token_type": "dpop"}), json!({"expires_in": null}), json!({"expires_in": 1e18})] {
        server.server().misbehave(endpoint::TOKEN, merge(harmless));
        house.signed_in(&alice).await;
        server.server().behave();
    }
    server.grant_scope(Some("atproto"));
    house.signed_in(&alice).await.get(SESSION).await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_30_a_server_that_wants_a_new_nonce_every_time_gets_two_requests() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    let mut visitor = house.signed_in(&alice).await;
    let accounts = house.accounts();

    server.server().misbehave(endpoint::PAR, Misbehave::ChallengeNonce);
    house.network.clear_logs();
    assert_eq!(house.refused_start(&alice.did).await, refused(502, "dpop_nonce_loop"));
    assert_eq!(server.server().count(endpoint::PAR), 2);
    server.server().behave();

    server.server().misbehave(endpoint::TOKEN, Misbehave::ChallengeNonce);
    house.network.clear_logs();
    assert_eq!(house.refused_end(&alice.did).await, refused(502, "dpop_nonce_loop"));
    assert_eq!(server.token_calls(), 2);
    server.server().behave();

    server.server().misbehave(endpoint::XRPC, Misbehave::ChallengeNonce);
    house.network.clear_logs();
    visitor.get("/xrpc/app.bsky.feed.getTimeline").await.must_refuse(502, "dpop_nonce_loop");
    assert_eq!(house.network.pds().calls("app.bsky.feed.getTimeline"), 2);
    assert!(house.network.ledger().presented(CanaryKind::RefreshToken).is_empty(), "no refresh was tried");
    server.server().behave();
    assert_eq!(house.accounts(), accounts, "the store is unchanged");
    visitor.get(SESSION).await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_odd_nonces_are_never_sent_back() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    let mut visitor = house.signed_in(&alice).await;
    let giant = "n".repeat(10 * 1024);
    for odd in [giant.as_bytes(), b"a b", b"a\"b", b"\xff\xfe", b"", b"ok\r\nX-Injected: 1"] {
        for path in [endpoint::PAR, endpoint::XRPC] {
            server.renew_nonces();
            server.server().misbehave(path, Misbehave::header("DPoP-Nonce", odd));
        }
        house.network.clear_logs();
        let mut other = house.server.visitor();
        let begun = house.start(&mut other, &alice.did).await;
        let called = visitor.get("/xrpc/app.bsky.feed.getTimeline").await;
        assert!(matches!((begun.status, called.status), (302 | 502, 200 | 401 | 502)), "{begun:?} {called:?}");
        let requests = server.server().log().all();
        assert!(requests.iter().all(|request| request.header("x-injected").is_none()));
        for claims in requests.iter().map(bowerbird_testkit::fault::RecordedRequest::dpop_claims) {
            let Some(nonce) = claims["nonce"].as_str() else { continue };
            let plain = nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            assert!((1..=256).contains(&nonce.len()) && plain, "{nonce:?}");
        }
        server.server().behave();
    }
    visitor.get(SESSION).await.must_be(200);
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_refresh_token_is_not_shown_to_the_server_that_an_account_was_moved_to() {
    let network = FaultNetwork::start().await;
    let (thief_pds, thief) = network.add_self_hosted();
    let house = House::on(network).await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let minted = house.network.ledger().canaries().len();
    house.network.move_account(&alice.did, &thief_pds);
    house.network.expire_all_access_tokens();
    for _ in 0..3 {
        let answer = visitor.get(SESSION).await;
        answer.must_refuse(401, "needs_reauth");
        assert_eq!(answer.json()["reason"], "issuer_changed");
        assert!(answer.json()["repairUrl"].as_str().unwrap().starts_with(&house.server.url("/login/repair/")));
    }
    assert_eq!(thief.token_calls(), 0);
    house.network.ledger().assert_nothing_sighted_at(thief.issuer());
    assert!(house.network.ledger().presented(CanaryKind::RefreshToken).is_empty(), "it was shown to nobody");
    assert_eq!(house.network.ledger().canaries().len(), minted, "and nothing new came");
    assert_eq!(
        house.accounts(),
        [(alice.did.clone(), "needs sign-in (issuer_changed)".to_owned())],
        "nothing is deleted"
    );
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_refresh_answer_for_somebody_else_is_kept_and_not_used() {
    for (lie, reason) in [
        (json!({"sub": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"}), "subject_mismatch"),
        (json!({"sub": null}), "subject_mismatch"),
        (json!({"scope": "transition:generic"}), "scope_lost"),
        (json!({"token_type": "Bearer"}), "scope_lost"),
    ] {
        let house = House::open().await;
        let alice = house.network.add_account("alice.test");
        let server = house.network.authorization_server();
        let mut visitor = house.signed_in(&alice).await;
        house.network.expire_all_access_tokens();
        server.server().misbehave(endpoint::TOKEN, merge(lie));
        house.network.clear_logs();
        for _ in 0..3 {
            let answer = visitor.get(SESSION).await;
            answer.must_refuse(401, "needs_reauth");
            assert_eq!(answer.json()["reason"], reason);
        }
        assert_eq!(server.token_calls(), 1, "one refresh, whose answer is in quarantine");
        assert_eq!(house.network.pds().calls("com.atproto.server.getSession"), 1, "the new token is never used");
        assert_eq!(house.accounts(), [(alice.did.clone(), format!("needs sign-in ({reason})"))]);
        // A repair makes it whole again.
        server.server().behave();
        let repair = visitor.get(SESSION).await.json()["repairUrl"].as_str().unwrap().to_owned();
        let page = house.open_page(&mut visitor, &repair).await;
        let callback = visitor.authorize(page.location()).await;
        visitor.finish_login(&callback).await.must_be(303);
        visitor.get(SESSION).await.must_be(200);
        house.assert_sound().await;
    }
}
