//! The library face: its error cases (C-013, C-014, C-015, C-020), its stores, and the binding to a browser.

use std::sync::Arc;
use std::time::Duration;

use bowerbird_atproto::{OAuthClient, OAuthClientPorts, OAuthError, SessionStore, StateStore};
use bowerbird_core::memory::MemoryStores;
use bowerbird_core::ports::Clock;
use bowerbird_core::testing::FixedKeys;
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::TransportPolicy;
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, Reply, endpoint};
use bowerbird_testkit::http_client::TestClient;
use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;
use url::Url;

pub(crate) struct Library {
    pub(crate) network: FaultNetwork,
    stores: bowerbird_core::ports::Stores,
}

impl Library {
    pub(crate) async fn start() -> Self {
        Self { network: FaultNetwork::start().await, stores: MemoryStores::new() }
    }

    /// A client as a program makes it at its start; the stores outlive it.
    pub(crate) fn client(&self) -> OAuthClient {
        self.client_at(Arc::new(SystemClock::new()))
    }

    /// Keeps logins under way in another store.
    pub(crate) fn use_states(&mut self, states: Arc<dyn StateStore>) {
        self.stores.authorization_requests = states;
    }

    /// The same with a clock of the test's own.
    pub(crate) fn client_at(&self, clock: Arc<dyn Clock>) -> OAuthClient {
        let hosts = self.network.egress_allow();
        let egress_allow = hosts.split(',').map(|host| host.parse().unwrap()).collect();
        let net = NetConfig { egress_allow, dns_servers: vec![self.network.dns().address()], ..NetConfig::default() };
        let net = NetClient::new(net, clock.clone()).unwrap();
        let (plc, pds) = (self.network.plc().server().origin(), self.network.pds().origin().to_owned());
        OAuthClient::builder(Url::parse("http://127.0.0.1:5000").unwrap())
            .unwrap()
            .scope("atproto transition:generic")
            .callback_path("/callback")
            .state_store(Arc::clone(&self.stores.authorization_requests))
            .session_store(SessionStore::of(&self.stores), Arc::new(FixedKeys::one()))
            .configure(|config| {
                config.plc_url = plc.parse().unwrap();
                config.handle_resolver_url = Some(pds.parse().unwrap());
                config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
            })
            .build(OAuthClientPorts { http: net.clone(), dns: net, clock, entropy: Arc::new(OsEntropy) })
            .unwrap()
    }
}

pub(crate) async fn callback_of(authorize: &Url) -> Url {
    let answer = TestClient::new().get(authorize.as_str()).await;
    Url::parse(answer.header("location").unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_outlive_the_program_in_its_stores() {
    let library = Library::start().await;
    let alice = library.network.add_account("alice.test");
    let client = library.client();
    let (url, _) = client.start_authorization("@Alice.test ", None).await.unwrap();
    let back = callback_of(&url).await;
    assert_eq!(back.path(), "/callback");
    let restarted = library.client();
    let session = restarted.handle_callback_query(back.query().unwrap()).await.unwrap();
    let again = library.client();
    let found = again.session(session.did()).await.unwrap().unwrap();
    assert_eq!(found, session);
    assert_eq!((found.handle(), found.pds_url()), ("alice.test", library.network.pds().origin()));
    let note = json!({"repo": alice.did, "collection": "app.example.note", "record": {"text": "hi"}});
    let request = Request::post(format!("{}/xrpc/com.atproto.repo.createRecord", found.pds_url()))
        .header("content-type", "application/json")
        .body(Bytes::from(note.to_string()))
        .unwrap();
    assert_eq!(again.send_authenticated(&found, request).await.unwrap().status(), 200);
    // Refreshing can be asked for, and is automatic in every call.
    again.refresh_session(&found).await.unwrap();
    let url = format!("{}/xrpc/com.atproto.server.getSession", found.pds_url());
    let answer = again.make_authenticated_request(&found, Method::GET, &url).await.unwrap();
    assert_eq!(answer.status(), 200);
    again.revoke_session(&found).await.unwrap();
    assert_eq!(library.network.authorization_server().live_grants(&alice.did), 0);
    assert!(again.session(found.did()).await.unwrap().is_none());
    let gone = again.make_authenticated_request(&found, Method::GET, &url).await.unwrap_err();
    assert_eq!((gone.to_string().as_str(), gone.status().as_u16()), ("Session not found", 401));
    assert!(matches!(again.refresh_session(&found).await, Err(OAuthError::SessionNotFound)));
    library.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn c_013_and_014_states_and_accounts_that_do_not_fit() {
    let library = Library::start().await;
    let alice = library.network.add_account("alice.test");
    let bob = library.network.add_account("bob.test");
    let client = library.client();
    let forged = client.handle_callback("code", "forged", Some("https://as.test")).await.unwrap_err();
    assert_eq!(forged.to_string(), "Invalid or expired state parameter");
    assert_eq!(forged.status().as_u16(), 400);
    library.network.authorization_server().approve_as(&bob.did);
    let (url, _) = client.start_authorization("alice.test", None).await.unwrap();
    let mismatch = client.handle_callback_query(callback_of(&url).await.query().unwrap()).await.unwrap_err();
    let sentence = format!("DID mismatch in token: expected {}, got {}", alice.did, bob.did);
    assert_eq!((mismatch.to_string(), mismatch.status().as_u16()), (sentence, 403));
    let (url, state) = client.start_authorization("alice.test", None).await.unwrap();
    let _back = callback_of(&url).await;
    let issuer = library.network.authorization_server().issuer().to_owned();
    let other = client.handle_callback("code", state.expose(), Some("https://evil.test")).await.unwrap_err();
    assert_eq!(other.to_string(), format!("Issuer mismatch: expected {issuer}, got https://evil.test"));
    assert!(client.start_authorization("", None).await.is_err());
    assert!(
        client
            .start_authorization("nobody.test", None)
            .await
            .unwrap_err()
            .to_string()
            .starts_with("Failed to resolve handle: ")
    );
    let server = library.network.pds();
    server.server().misbehave(endpoint::PAR, Misbehave::oauth_error(400, "invalid_request", "no"));
    let refused = client.start_authorization("alice.test", None).await.unwrap_err();
    assert!(refused.to_string().starts_with("PAR request failed: "), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c_015_a_pds_that_fails_is_named_and_tokens_go_nowhere_else() {
    let library = Library::start().await;
    library.network.add_account("alice.test");
    let client = library.client();
    let (url, _) = client.start_authorization("alice.test", None).await.unwrap();
    let session = client.handle_callback_query(callback_of(&url).await.query().unwrap()).await.unwrap();
    let canary = library.network.canary().origin();
    for elsewhere in [
        format!("{canary}/xrpc/com.atproto.server.getSession"),
        session.pds_url().replace("http://", "http://user@"),
        format!("{}.evil.test/xrpc/x", session.pds_url()),
        session.pds_url().replace("localhost", "127.0.0.1"),
        "javascript:alert(1)".to_owned(),
        "/xrpc/com.atproto.server.getSession".to_owned(),
    ] {
        let error = client.make_authenticated_request(&session, Method::GET, &elsewhere).await.unwrap_err();
        assert!(error.to_string().starts_with("Unsafe URL: "), "{elsewhere}: {error}");
    }
    library.network.canary().assert_untouched();
    assert_eq!(library.network.ledger().presented(CanaryKind::AccessToken).len(), 0);
    let url = format!("{}/xrpc/com.atproto.server.getSession", session.pds_url());
    library.network.pds().server().go_down();
    let error = client.make_authenticated_request(&session, Method::GET, &url).await.unwrap_err();
    assert!(error.to_string().starts_with("PDS request failed: "), "{error}");
    assert_eq!(error.status().as_u16(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_bound_to_a_browser_ends_there_only() {
    let library = Library::start().await;
    library.network.add_account("alice.test");
    let client = library.client();
    let (url, _) = client.for_browser("cookie-a").start_authorization("alice.test", None).await.unwrap();
    let back = callback_of(&url).await;
    let query = back.query().unwrap();
    for other in [client.clone(), client.for_browser("cookie-b")] {
        let error = other.handle_callback_query(query).await.unwrap_err();
        assert!(matches!(&error, OAuthError::Finish(error) if error.code() == "login_session_mismatch"), "{error}");
    }
    assert!(client.for_browser("cookie-a").handle_callback_query(query).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_sign_out_overtakes_says_that_it_is_over() {
    const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";
    let library = Library::start().await;
    library.network.add_account("alice.test");
    let client = library.client();
    let (url, _) = client.start_authorization("alice.test", None).await.unwrap();
    let session = client.handle_callback_query(callback_of(&url).await.query().unwrap()).await.unwrap();
    let url = format!("{}{GET_SESSION}", session.pds_url());
    let refused = || {
        let body = json!({"error": "invalid_token", "message": "the token has ended"});
        Misbehave::Instead(Reply::json(401, &body).with("WWW-Authenticate", "DPoP error=\"invalid_token\""))
    };
    // Both tokens are refused; the second one slowly, and the account signs out meanwhile.
    let pds = library.network.pds();
    pds.server().misbehave_times(GET_SESSION, 1, refused());
    pds.server().misbehave(GET_SESSION, Misbehave::DelayBefore(Duration::from_secs(1)));
    pds.server().misbehave(GET_SESSION, refused());
    let before = library.network.authorization_server().token_calls();
    let call = client.make_authenticated_request(&session, Method::GET, &url);
    let sign_out = async {
        while library.network.authorization_server().token_calls() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.revoke_session(&session).await.unwrap();
    };
    let (answer, ()) = tokio::join!(call, sign_out);
    let error = answer.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.status().as_u16()), ("Session not found", 401));
    library.network.assert_clean();
}
