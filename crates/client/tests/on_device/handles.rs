//! Handles, asked by the device itself: by https, by DNS over https, by a server that is not believed.

use bowerbird_client::{AccountManager, KitError, OnDevice, Settings};
use bowerbird_testkit::fault::FaultNetwork;
use bytes::Bytes;
use http::Response;

use crate::world::{REDIRECT, SCOPE, World, code, ports};

const RESOLVER: &str = "https://dns.example.com/dns-query";

/// An app that asks nobody but the handle itself and, if told so, DNS over https.
fn native(world: &World, dns: bool) -> AccountManager {
    let network: &FaultNetwork = &world.network;
    let hosts = network.egress_allow();
    let hosts: Vec<&str> = hosts.split(',').collect();
    let app = OnDevice::for_development(REDIRECT, SCOPE).unwrap().with_local_servers(&hosts).unwrap();
    let mut app = app.with_plc_directory(network.plc().server().origin()).unwrap();
    if dns {
        app = app.with_dns_over_https(RESOLVER).unwrap();
    }
    let settings = Settings::without_server("com.app").unwrap().with_on_device(app);
    AccountManager::open(settings, ports(&world.tap, &world.store, &world.calm)).unwrap()
}

fn says(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder().status(status).body(body.into()).unwrap()
}

/// An answer of DNS with these texts at `_atproto.alice.test`.
fn dns(texts: &[&str]) -> Response<Bytes> {
    let mut message = b"\0\0\x81\x80\0\x01\0\0\0\0\0\0\x08_atproto\x05alice\x04test\0\0\x10\0\x01".to_vec();
    message[7] = u8::try_from(texts.len()).unwrap();
    for text in texts {
        let length = u8::try_from(text.len()).unwrap();
        message.extend_from_slice(b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0");
        message.extend_from_slice(&[length + 1, length]);
        message.extend_from_slice(text.as_bytes());
    }
    says(200, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_handles_own_host() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    let manager = native(&world, false);
    world.tap.answer("https://alice.test/.well-known/atproto-did", says(200, format!("{}\n", alice.did)));
    assert_eq!(manager.begin_sign_in_on_device("alice.test").unwrap().handle.as_deref(), Some("alice.test"));
    for (status, body) in [(404, alice.did.clone()), (200, "<!doctype html>".into()), (302, alice.did.clone())] {
        world.tap.answer("https://alice.test/.well-known/atproto-did", says(status, body));
        assert_eq!(code(&manager.begin_sign_in_on_device("alice.test").unwrap_err()), "handle_not_found", "{status}");
    }
    // Nobody answers: that may be the device's own network.
    let gone = manager.begin_sign_in_on_device("nobody.test").unwrap_err();
    assert!(matches!(gone, KitError::Offline(_)), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_dns_over_https() {
    let world = World::new().await;
    let (alice, bob) = (world.account("alice.test"), world.account("bob.test"));
    let manager = native(&world, true);
    let record = format!("did={}", alice.did);
    world.tap.answer(RESOLVER, dns(&["v=spf1 -all", &record]));
    assert!(manager.begin_sign_in_on_device("alice.test").is_ok());
    assert!(!world.tap.sent().iter().any(|to| to.contains("alice.test")), "the host is not asked then");

    world.tap.answer(RESOLVER, dns(&[&record, &format!("did={}", bob.did)]));
    assert_eq!(code(&manager.begin_sign_in_on_device("alice.test").unwrap_err()), "handle_ambiguous");

    // No record, and the host is silent: the network is there, so the handle is nobody's.
    world.tap.answer(RESOLVER, dns(&[]));
    assert_eq!(code(&manager.begin_sign_in_on_device("alice.test").unwrap_err()), "handle_not_found");
    // A resolver that fails says nothing; the host may.
    world.tap.answer(RESOLVER, says(503, ""));
    world.tap.answer("https://alice.test/", says(200, alice.did.clone()));
    assert!(manager.begin_sign_in_on_device("alice.test").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_must_be_claimed_back_whoever_says_whose_it_is() {
    let world = World::new().await;
    let (alice, bob) = (world.account("alice.test"), world.account("bob.test"));
    // The server that is asked first points Alice's handle to Bob; the handle's own host says the truth.
    world.network.point_handle_to("alice.test", &bob.did);
    world.tap.answer("https://alice.test/", says(200, alice.did.clone()));
    world.manager.begin_sign_in_on_device("alice.test").unwrap();
    assert!(world.tap.sent().contains(&"https://alice.test/.well-known/atproto-did".to_owned()));
    // All say Bob, who does not claim it.
    world.tap.answer("https://alice.test/", says(200, bob.did.clone()));
    assert_eq!(code(&world.manager.begin_sign_in_on_device("alice.test").unwrap_err()), "handle_not_claimed");
    // By DID it works, and the handle that does not hold is not shown.
    let account = world.sign_in(&alice.did).await;
    assert_eq!((account.did.as_str(), account.handle.as_str()), (alice.did.as_str(), "handle.invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_are_not_there_and_addresses_that_are_not_allowed() {
    let world = World::new().await;
    let alice = world.account("alice.test");
    for (who, expected) in [
        ("not a handle", "invalid_identifier"),
        ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "account_not_found"),
        ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", "did_unsupported"),
        ("did:web:localhost%3A1", "did_unsupported"),
        ("http://router.example", "address_not_allowed"),
        ("https://192.168.0.1", "address_not_allowed"),
        ("https://printer.local", "address_not_allowed"),
    ] {
        assert_eq!(code(&world.manager.begin_sign_in_on_device(who).unwrap_err()), expected, "{who}");
    }
    world.tap.clear();
    for pds in ["https://192.168.0.1", "https://printer.local", "http://pds.example.com", "https://pds.example.com/x"] {
        let document = serde_json::json!({"id": alice.did, "alsoKnownAs": ["at://alice.test"],
            "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}]});
        let plc = format!("{}/{}", world.network.plc().server().origin(), alice.did);
        world.tap.answer(&plc, says(200, document.to_string()));
        let refused = world.manager.begin_sign_in_on_device(&alice.did).unwrap_err();
        assert!(matches!(code(&refused), "document_not_usable" | "address_not_allowed"), "{pds}: {refused:?}");
    }
    let own = world.network.plc().server().origin().to_owned();
    assert!(
        world.tap.sent().iter().all(|to| to.starts_with(&own)),
        "nobody there was spoken to: {:?}",
        world.tap.sent()
    );
}
