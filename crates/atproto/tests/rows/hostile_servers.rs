//! Rows 19 and 21–29, 32, 33, 37: hostile servers, directories and handles.

use bowerbird_core::Handle;
use bowerbird_oauth::{PrivateJwkSet, SigningKey, TransportPolicy};
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, Pds, endpoint};
use serde_json::{Value, json};

use crate::world::{World, login};

const AS_METADATA: &str = endpoint::AUTHORIZATION_SERVER;

#[tokio::test(flavor = "multi_thread")]
async fn row_19_evil_server_cannot_claim_a_victims_did() {
    let network = FaultNetwork::start().await;
    let (evil_pds, evil) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let mallory = world.network.add_account_at(&evil_pds, "mallory.test");
    let victims = world.sign_in("alice.test").await;
    evil.approve_as(&alice.did);
    // Begun with the evil server's address, and begun with an account that lives there.
    for identifier in [evil.issuer(), &mallory.did] {
        world.network.clear_logs();
        let (code, status) = world.refused_end(identifier).await;
        assert_eq!((code.as_str(), status), ("issuer_mismatch", 403), "{identifier}");
        assert_eq!(world.network.plc().lookups(&alice.did), 1, "the walk is not made from memory");
    }
    assert_eq!(world.accounts().await, 1);
    assert_eq!(evil.live_grants(&alice.did), 1, "what was issued is revoked, and only that");
    world.network.ledger().assert_no_strangers_secrets_at(evil.issuer());
    assert_eq!(world.get(&victims, "com.atproto.server.getSession").await.unwrap().status(), 200);
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_subjects_that_are_no_dids() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    for sub in [
        Value::Null,
        json!(""),
        json!("alice.test"),
        json!(7),
        json!("did:plc:a\r\nx"),
        json!(format!("did:plc:{}", "a".repeat(5000))),
    ] {
        server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"sub": sub})));
        let (code, status) = world.refused_end(&alice.did).await;
        assert_eq!((code.as_str(), status), ("as_response_invalid", 502), "{sub}");
        server.server().behave();
    }
    assert_eq!((world.accounts().await, server.live_grants(&alice.did)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_and_23_metadata_must_be_the_issuers_own_and_https() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    let issuer = server.issuer();
    let odd_issuers = [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        format!("{issuer}/x"),
        "https://evil.example".into(),
        String::new(),
    ];
    let mut patches: Vec<Value> = odd_issuers.iter().map(|odd| json!({"issuer": odd})).collect();
    patches.push(json!({"issuer": null}));
    for member in ["token_endpoint", "pushed_authorization_request_endpoint", "revocation_endpoint"] {
        for bad in
            ["http://evil.example/x", "https://127.0.0.1/x", "https://u:p@evil.example/", "https://evil.example/#x"]
        {
            patches.push(json!({member: bad}));
        }
    }
    for patch in patches {
        server.server().misbehave(AS_METADATA, Misbehave::merge(patch.clone()));
        assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502), "{patch}");
        server.server().behave();
    }
    assert_eq!(server.server().count(endpoint::PAR), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_24_and_25_pds_and_server_must_name_each_other() {
    let network = FaultNetwork::start_with_entryway().await;
    let (_, other) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let pds = world.network.pds();
    let server = world.network.authorization_server();
    for patch in [
        json!({"authorization_servers": []}),
        json!({"authorization_servers": null}),
        json!({"authorization_servers": [server.issuer(), other.issuer()]}),
        json!({"authorization_servers": "x"}),
        json!({"resource": other.issuer()}),
        json!({"resource": format!("{}/", pds.origin())}),
        json!({"resource": null}),
    ] {
        pds.server().misbehave(endpoint::PROTECTED_RESOURCE, Misbehave::merge(patch.clone()));
        assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502), "{patch}");
        pds.server().behave();
    }
    let patch = json!({"protected_resources": ["https://somebody-else.example"]});
    server.server().misbehave(AS_METADATA, Misbehave::merge(patch));
    assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502));
    assert_eq!(server.server().count(endpoint::PAR) + other.server().count(endpoint::PAR), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_odd_documents_and_redirects_are_refused() {
    for (path, member) in [(AS_METADATA, "issuer"), (endpoint::PROTECTED_RESOURCE, "resource")] {
        // A world for each, since a good document would be remembered.
        let world = World::start().await;
        let alice = world.network.add_account("alice.test");
        let pds = world.network.pds();
        let canary = format!("{}/", world.network.canary().origin());
        for odd in [
            Misbehave::redirect(302, &canary),
            Misbehave::redirect(307, pds.origin()),
            Misbehave::html(),
            Misbehave::header("Content-Type", "text/html"),
            Misbehave::duplicate_key(member, &json!("https://evil.example")),
            Misbehave::deep_json(10_000),
            Misbehave::json_text("nonsense"),
            Misbehave::status(500),
        ] {
            let named = format!("{path} {odd:?}");
            pds.server().misbehave(path, odd);
            assert_eq!(world.refused_start(&alice.did).await, ("as_metadata_invalid", 502), "{named}");
            pds.server().behave();
        }
        world.network.canary().assert_untouched();
        assert_eq!(pds.server().count(endpoint::PAR), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_27_only_dpop_tokens_are_taken() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    for token_type in [json!("Bearer"), json!(null), json!("")] {
        server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"token_type": token_type})));
        let (code, status) = world.refused_end(&alice.did).await;
        assert_eq!((code.as_str(), status), ("dpop_required", 502));
        server.server().behave();
    }
    assert_eq!((world.accounts().await, server.live_grants(&alice.did)), (0, 0));
    server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"token_type": "dpop"})));
    assert_eq!(world.sign_in(&alice.did).await.account.did.as_str(), alice.did);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_the_scope_is_stored_as_granted() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    for lacking in ["transition:generic", "", "ATPROTO", "atprotox"] {
        server.grant_scope(Some(lacking));
        let (code, status) = world.refused_end(&alice.did).await;
        assert_eq!((code.as_str(), status), ("scope_missing", 502), "{lacking}");
        assert_eq!(server.live_grants(&alice.did), 0, "what was issued is revoked");
    }
    for granted in ["atproto", "atproto transition:generic repo:app.example.post?action=create future:thing"] {
        server.grant_scope(Some(granted));
        let login = world.sign_in(&alice.did).await;
        assert_eq!(login.granted_scope, granted);
        let standing = world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap();
        assert_eq!(standing.scope, granted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_lives_are_clamped_and_giants_refused() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let server = world.network.authorization_server();
    for (expires_in, life) in
        [(json!(null), 300), (json!(-5), 300), (json!(1e18), 86_400), (json!(60), 60), (json!("120"), 120)]
    {
        server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"expires_in": expires_in})));
        let before = bowerbird_core::ports::Clock::now(world.clock.as_ref());
        let login = world.sign_in(&alice.did).await;
        let standing = world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap();
        let stored = standing.expires_at.millis_since(before);
        assert!((life * 1000..life * 1000 + 5000).contains(&stored), "{expires_in}: {stored}");
        server.server().behave();
    }
    server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"access_token": "x".repeat(1_000_000)})));
    let (_, status) = world.refused_end(&alice.did).await;
    assert_eq!(status, 502);
    server.server().behave();
    server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"access_token": "x".repeat(20_000)})));
    assert_eq!(world.refused_end(&alice.did).await, ("as_response_invalid".to_owned(), 502));
    server.server().behave();
    server.server().misbehave(endpoint::TOKEN, Misbehave::merge(json!({"refresh_token": null})));
    let login = world.sign_in(&alice.did).await;
    assert!(world.atproto.vault.open(login.connection.id).await.unwrap().unwrap().refresh_token.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_handle_is_shown_only_when_it_points_back() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let mallory = world.network.add_account("mallory.test");
    // The handle's own side names an account that does not claim it: nobody signs in by that handle.
    world.network.point_handle_to("alice.test", &mallory.did);
    assert_eq!(world.refused_start("alice.test").await, ("invalid_handle", 400));
    assert_eq!(world.network.pds().server().count(endpoint::PAR), 0);
    // The account itself goes on by DID, without its name.
    let login = world.sign_in(&alice.did).await;
    assert_eq!((login.account.did.as_str(), login.account.handle.as_str()), (alice.did.as_str(), Handle::INVALID));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_33_documents_must_name_one_usable_pds_that_is_not_this_server() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    let pds = network.pds();
    let world = World::on(network, |_| ());
    let plc = world.network.plc();
    let good = plc.document(&alice.did);
    let service = |id: &str, kind: &str, endpoint: &str| json!({"id": id, "type": kind, "serviceEndpoint": endpoint});
    let refused = async |services: Value| {
        let mut document = good.clone();
        document["service"] = services;
        plc.set_document(&alice.did, Some(document));
        world.refused_start(&alice.did).await
    };
    let kind = "AtprotoPersonalDataServer";
    let wrong_type = json!([service("#atproto_pds", "Other", pds.origin())]);
    assert_eq!(refused(wrong_type).await, ("identity_unresolvable", 502));
    assert_eq!(refused(json!([])).await, ("identity_unresolvable", 502));
    let own = json!([service("#atproto_pds", kind, "http://127.0.0.1:8080")]);
    assert_eq!(refused(own).await.1, 502);
    let path = json!([service("#atproto_pds", kind, &format!("{}/x", pds.origin()))]);
    assert_eq!(refused(path).await, ("identity_unresolvable", 502));
    assert_eq!(
        world.network.requests().iter().filter(|request| request.path() != format!("/{}", alice.did)).count(),
        0
    );
    // Two of the right type: the first one counts.
    let mut document = good.clone();
    document["service"] = json!([
        service("#x", "Other", "https://evil.example"),
        service("#atproto_pds", kind, pds.origin()),
        service("#atproto_pds", kind, "https://evil.example")
    ]);
    plc.set_document(&alice.did, Some(document));
    assert_eq!(world.sign_in(&alice.did).await.account.pds, pds.origin());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_33_this_server_as_pds_is_refused_by_name() {
    let network = FaultNetwork::start().await;
    let alice = network.add_account("alice.test");
    // This server's own address is one that plain http is allowed for, so that nothing else refuses it first.
    let own = network.pds().origin().replace("localhost", "127.0.0.1");
    let hosts = format!("{},{}", network.egress_allow(), own.replace("http://", ""));
    let world = World::on(network, |config| {
        config.base_url = own.parse().unwrap();
        config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
    });
    let mut document = world.network.plc().document(&alice.did);
    document["service"][0]["serviceEndpoint"] = json!(own);
    world.network.plc().set_document(&alice.did, Some(document));
    assert_eq!(world.refused_start(&alice.did).await, ("pds_not_allowed", 502));
    assert_eq!(world.refused_start(&own).await, ("address_not_allowed", 400));
    assert_eq!(world.network.pds().server().count(endpoint::PROTECTED_RESOURCE), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_assertions_are_for_the_issuer_short_and_single() {
    let network = FaultNetwork::start().await;
    let client_key = SigningKey::from_scalar(&[9; 32]).unwrap().with_kid("k1");
    let keys = PrivateJwkSet::new(vec![client_key]).unwrap();
    let world = World::on(network, |config| {
        config.base_url = "https://bff.home.arpa".parse().unwrap();
        config.client_keys = Some(keys.clone());
    });
    let mut metadata: Value = serde_json::from_slice(&world.atproto.client.metadata_json()).unwrap();
    metadata["jwks"] = serde_json::from_slice(&world.atproto.client.jwks_json()).unwrap();
    world.network.register_client(world.atproto.client.client_id(), metadata);
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in(&alice.did).await;
    let present = world.atproto.vault.standing(login.connection.id).await.unwrap().unwrap().generation;
    world.atproto.vault.checkout_newer(login.connection.id, present).await.unwrap();
    let pds: Pds = world.network.pds();
    let mut seen = std::collections::HashSet::new();
    for path in [endpoint::PAR, endpoint::TOKEN] {
        for request in pds.server().log().at(path) {
            if request.form().is_empty() {
                continue;
            }
            let claims = request.client_assertion_claims();
            assert_eq!(claims["aud"], pds.origin(), "the issuer, and nobody else");
            assert_eq!(claims["iss"], world.atproto.client.client_id());
            assert_eq!(claims["sub"], claims["iss"]);
            let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            assert!((1..=60).contains(&life));
            assert!(seen.insert(claims["jti"].to_string()), "an assertion came twice");
            assert!(seen.insert(request.dpop_claims()["jti"].to_string()), "a proof came twice");
        }
    }
    assert!(seen.len() >= 6);
    let opened = world.atproto.vault.open(login.connection.id).await.unwrap().unwrap();
    assert_eq!(opened.client_kid.as_deref(), Some("k1"));
    assert_ne!(opened.dpop_key.as_ref().unwrap().thumbprint(), keys.newest().thumbprint(), "two keys for two purposes");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 1);
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_may_be_limited_to_a_list() {
    let network = FaultNetwork::start().await;
    let world = World::on(network, |config| config.allowed_pds = vec!["bsky.social".into()]);
    let alice = world.network.add_account("alice.test");
    assert_eq!(world.refused_start(&alice.did).await, ("pds_not_allowed", 403));
    let error = world.start_login(world.network.pds().origin()).await.unwrap_err();
    assert_eq!(error.to_string(), "Only Bluesky accounts (bsky.social PDS) are supported.");
    assert_eq!(world.network.pds().server().count(endpoint::PAR), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_can_be_made_where_the_server_offers_it() {
    let world = World::start().await;
    let server = world.network.authorization_server();
    let create = || {
        let mut request = login(server.issuer());
        request.prompt = Some(bowerbird_oauth::Prompt::Create);
        world.atproto.logins.start(request)
    };
    create().await.unwrap();
    assert_eq!(server.server().log().last(endpoint::PAR).unwrap().form()["prompt"], "create");
    let other = World::start().await;
    let patch = json!({"prompt_values_supported": ["none", "login"]});
    let server = other.network.authorization_server();
    server.server().misbehave(AS_METADATA, Misbehave::merge(patch));
    let mut request = login(server.issuer());
    request.prompt = Some(bowerbird_oauth::Prompt::Create);
    assert_eq!(other.atproto.logins.start(request).await.unwrap_err().code(), "as_unsupported");
    assert_eq!(server.server().count(endpoint::PAR), 0);
}
