//! The library face at a real PDS: `OAuthClient` in a program that is no server of this kind.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_atproto::{OAuthClient, OAuthClientPorts, OAuthError, SessionStore};
use bowerbird_core::SecretBytes;
use bowerbird_core::ports::{KeyEncryptionKey, KeyProvider, KeyProviderError};
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use bowerbird_oauth::TransportPolicy;
use bowerbird_storage_sql::SqlStores;
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use http::Method;
use url::Url;

const DESCRIBE_REPO: &str = "/xrpc/com.atproto.repo.describeRepo";
const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";

#[tokio::test]
async fn real_library_signs_in_calls_refreshes_and_revokes() {
    if !RealNetwork::available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;

    // Sessions in memory.
    let (alice, bob) = (network.account("alice.test").clone(), network.account("bob.test").clone());
    whole_life(&network, &client(&network, None), &alice).await;

    // Sessions in SQL: they outlive the program.
    let folder = tempfile::tempdir().unwrap();
    let stores = open(folder.path()).await;
    whole_life(&network, &client(&network, Some(&stores)), &bob).await;
    let session = sign_in(&network, &client(&network, Some(&stores)), &bob).await;
    stores.close().await;
    let stores = open(folder.path()).await;
    let client = client(&network, Some(&stores));
    let found = client.session(session.did()).await.unwrap().unwrap();
    assert_eq!(found, session);
    let own = format!("{}{GET_SESSION}", found.pds_url());
    let answer = client.make_authenticated_request(&found, Method::GET, &own).await.unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap()["did"], bob.did.as_str());

    // A grant that its owner ended: told once, then nothing is sent any more.
    network.revoke_all(&bob.did).await;
    network.clear_log().await;
    let gone = client.make_authenticated_request(&found, Method::GET, &own).await.unwrap_err();
    assert!(matches!(gone, OAuthError::NeedsReauth(_)), "{gone}");
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, [400]);
    network.clear_log().await;
    assert!(matches!(client.refresh_session(&found).await, Err(OAuthError::NeedsReauth(_))));
    assert!(network.log(endpoint::TOKEN).await.is_empty());
    stores.close().await;
}

/// From the login to the sign-out, with what the PDS saw of it.
async fn whole_life(network: &RealNetwork, client: &OAuthClient, account: &RealAccount) {
    let session = sign_in(network, client, account).await;
    assert_eq!((session.did().as_str(), session.handle()), (account.did.as_str(), account.handle.as_str()));
    assert_eq!((session.pds_url(), session.scope()), (network.pds(), "atproto transition:generic"));
    assert_eq!(network.await_grants(&account.did, 1).await.len(), 1);

    let url = format!("{}{DESCRIBE_REPO}?repo={}", session.pds_url(), session.did());
    let answer = client.make_authenticated_request(&session, Method::GET, &url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap()["handle"], account.handle.as_str());

    // A token goes nowhere but to the account's own server.
    network.clear_log().await;
    for elsewhere in [format!("{}/x", network.plc()), "https://pds.example/xrpc/x".to_owned(), "nonsense".to_owned()] {
        let refused = client.make_authenticated_request(&session, Method::GET, &elsewhere).await.unwrap_err();
        assert!(refused.to_string().starts_with("Unsafe URL"), "{refused}");
    }

    let session = client.refresh_session(&session).await.unwrap();
    assert_eq!(network.statuses(endpoint::TOKEN, 1).await, [200]);
    let own = format!("{}{GET_SESSION}", session.pds_url());
    let answer = client.make_authenticated_request(&session, Method::GET, &own).await.unwrap();
    assert_eq!((answer.status().as_u16(), network.statuses(GET_SESSION, 1).await), (200, vec![200]));

    client.revoke_session(&session).await.unwrap();
    network.await_grants(&account.did, 0).await;
    assert!(network.statuses("/oauth/revoke", 1).await.ends_with(&[200]));
    assert!(client.session(session.did()).await.unwrap().is_none());
    network.clear_log().await;
    let ended = client.make_authenticated_request(&session, Method::GET, &own).await.unwrap_err();
    assert!(matches!(ended, OAuthError::SessionNotFound), "{ended}");
    assert!(network.log("/").await.is_empty(), "nothing is sent for a session that is over");
}

/// A login by the two calls of the library, with the person's browser between them.
async fn sign_in(
    network: &RealNetwork,
    client: &OAuthClient,
    account: &RealAccount,
) -> bowerbird_atproto::OAuthSession {
    let (url, state) = client.start_authorization(&account.handle, None).await.unwrap();
    let callback = network.browser().approve(url.as_str(), account).await;
    let callback = Url::parse(&callback).unwrap();
    assert_eq!(callback.as_str().split('?').next(), Some("http://127.0.0.1:5000/callback"));
    let named = |name: &str| callback.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let (code, returned, iss) = (named("code"), named("state"), named("iss"));
    assert_eq!((returned.as_str(), iss.as_str()), (state.expose(), network.issuer()));
    let session = client.handle_callback(&code, &returned, Some(&iss)).await.unwrap();
    let again = client.handle_callback(&code, &returned, Some(&iss)).await.unwrap_err();
    assert_eq!(again.to_string(), "Invalid or expired state parameter");
    session
}

fn client(network: &RealNetwork, stores: Option<&SqlStores>) -> OAuthClient {
    let clock = Arc::new(SystemClock::new());
    let hosts = network.egress_allow();
    let config = NetConfig {
        egress_allow: hosts.split(',').map(|host| host.parse().unwrap()).collect(),
        ..NetConfig::default()
    };
    let net = NetClient::new(config, clock.clone()).unwrap();
    let ports = OAuthClientPorts { http: net.clone(), dns: net, clock, entropy: Arc::new(OsEntropy) };
    let base_url: Url = "http://127.0.0.1:5000".parse().unwrap();
    let mut builder = OAuthClient::builder(base_url)
        .unwrap()
        .scope("atproto transition:generic")
        .callback_path("/callback")
        .configure(|config| {
            config.plc_url = network.plc().parse().unwrap();
            config.handle_resolver_url = Some(network.pds().parse().unwrap());
            config.transport = TransportPolicy::with_plain_http(hosts.split(',').map(str::to_owned));
        });
    if let Some(stores) = stores {
        let stores = stores.stores();
        builder = builder
            .state_store(Arc::clone(&stores.authorization_requests))
            .session_store(SessionStore::of(&stores), Arc::new(OneKey));
    }
    builder.build(ports).unwrap()
}

async fn open(folder: &Path) -> SqlStores {
    SqlStores::open(&format!("sqlite:{}", folder.join("sessions.sqlite").display())).await.unwrap()
}

/// A key that outlives the program, as one from its configuration would.
struct OneKey;

#[async_trait]
impl KeyProvider for OneKey {
    async fn active(&self) -> Result<KeyEncryptionKey, KeyProviderError> {
        Ok(KeyEncryptionKey { id: "one".to_owned(), key: SecretBytes::new([7; 32]) })
    }

    async fn find(&self, id: &str) -> Result<Option<KeyEncryptionKey>, KeyProviderError> {
        if id == "one" { self.active().await.map(Some) } else { Ok(None) }
    }
}
