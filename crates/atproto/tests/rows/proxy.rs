//! Rows 36, 67–69, 71 and 72: calls to the account's own server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowerbird_atproto::{AllowedServices, ProxyError};
use bowerbird_core::ports::{BoxError, StreamBody, full_body};
use bowerbird_testkit::fault::{CanaryKind, FaultNetwork, Misbehave, Reply, endpoint};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody as Frames};
use serde_json::{Value, json};

use crate::world::{World, whole};

const ECHO: &str = "app.example.echo";

async fn signed_in() -> (World, bowerbird_atproto::FinishedLogin) {
    let world = World::start().await;
    world.network.add_account("alice.test");
    let login = world.sign_in("alice.test").await;
    (world, login)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_no_redirect_is_followed_and_no_token_leaves_its_origin() {
    let (world, login) = signed_in().await;
    let canary = format!("{}/xrpc/x", world.network.canary().origin());
    for status in [301, 302, 303, 307, 308, 304] {
        world.network.pds().server().misbehave(endpoint::XRPC, Misbehave::redirect(status, &canary));
        let error = world.get(&login, ECHO).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("upstream_failed", 502), "{status}");
        world.network.pds().server().behave();
    }
    // The account moves; the token stays with the server that it was issued for.
    let network = FaultNetwork::start().await;
    let (elsewhere, _) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let login = world.sign_in("alice.test").await;
    world.network.move_account(&alice.did, &elsewhere);
    let _answer = world.get(&login, ECHO).await;
    world.network.ledger().assert_nothing_sighted_at(elsewhere.origin());
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_67_the_target_is_built_from_parts() {
    let (world, login) = signed_in().await;
    for target in [
        "/xrpc/../admin?a=1",
        "/anything/at/all?a=1",
        "http://evil.example/xrpc/x?a=1",
        "/xrpc/app.example.echo;x?a=1",
        "/%2e%2e/%2e%2e/?a=1",
        "//evil.example/?a=1",
    ] {
        let request = Request::get(target).body(full_body("")).unwrap();
        let answer = whole(world.call(&login, ECHO, request).await.unwrap()).await;
        let seen: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(seen["target"], "/xrpc/app.example.echo?a=1", "{target}");
    }
    let query = "a=%2e%2e%2f&b=https://evil.example/%23&c=%0d%0a&uris=at://x&uris=at://y";
    let request = Request::get(format!("/?{query}")).body(full_body("")).unwrap();
    let answer = whole(world.call(&login, ECHO, request).await.unwrap()).await;
    let seen: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(seen["target"], format!("/xrpc/app.example.echo?{query}"), "the query goes on as it is");
    let paths: Vec<String> =
        world.network.pds().server().log().all().iter().map(|request| request.path().to_owned()).collect();
    assert!(paths.iter().filter(|path| path.starts_with("/xrpc/app")).all(|path| path == "/xrpc/app.example.echo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_68_and_69_headers_pass_by_name_only() {
    let (world, login) = signed_in().await;
    let mut request = Request::get("/");
    for (name, value) in [
        ("authorization", "Bearer CANARY-CLIENT"),
        ("dpop", "CANARY-CLIENT"),
        ("cookie", "sid=CANARY-CLIENT"),
        ("connection", "authorization"),
        ("x-forwarded-for", "CANARY-CLIENT"),
        ("x_forwarded_user", "CANARY-CLIENT"),
        ("forwarded", "for=CANARY-CLIENT"),
        ("x-original-url", "/CANARY-CLIENT"),
        ("proxy-authorization", "CANARY-CLIENT"),
        ("bowerbird-account", "CANARY-CLIENT"),
        ("origin", "https://CANARY-CLIENT.example"),
        ("user-agent", "CANARY-CLIENT"),
        ("accept-language", "de"),
        ("atproto-accept-labelers", "did:plc:ar7c4by46qjdydhdevvrndac;redact"),
        ("atproto-proxy", "did:web:api.bsky.app#bsky_appview"),
        ("x-bsky-topics", "birds"),
    ] {
        request = request.header(name, value);
    }
    let answer = whole(world.call(&login, ECHO, request.body(full_body("")).unwrap()).await.unwrap()).await;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(!text.contains("CANARY-CLIENT"), "{text}");
    let seen: Value = serde_json::from_slice(answer.body()).unwrap();
    let value_of = |name: &str| {
        let headers = seen["headers"].as_array().unwrap().iter();
        let values: Vec<&str> = headers.filter(|h| h[0] == name).map(|h| h[1].as_str().unwrap()).collect();
        values.join("|")
    };
    assert_eq!(value_of("accept-language"), "de");
    assert_eq!(value_of("atproto-proxy"), "did:web:api.bsky.app#bsky_appview");
    assert_eq!(value_of("atproto-accept-labelers"), "did:plc:ar7c4by46qjdydhdevvrndac;redact");
    assert_eq!(value_of("x-bsky-topics"), "birds");
    assert!(value_of("authorization").starts_with("DPoP CANARY-AT-"));

    let hostile = world.get(&login, "app.example.hostile").await.unwrap();
    let names: Vec<&str> = hostile.headers().keys().map(http::HeaderName::as_str).collect();
    for forbidden in [
        "set-cookie",
        "location",
        "access-control-allow-origin",
        "strict-transport-security",
        "clear-site-data",
        "service-worker-allowed",
        "refresh",
        "link",
        "dpop-nonce",
        "www-authenticate",
    ] {
        assert!(!names.contains(&forbidden), "{forbidden}");
    }
    assert_eq!(hostile.headers()["content-security-policy"], "sandbox; default-src 'none'");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_71_pages_of_a_pds_do_not_run_here() {
    let (world, login) = signed_in().await;
    for (cid, inline) in [("html", false), ("svg", false), ("png", true)] {
        let request = Request::get(format!("/?did={}&cid={cid}", login.account.did)).body(full_body("")).unwrap();
        let answer = world.call(&login, "com.atproto.sync.getBlob", request).await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{cid}");
        assert_eq!(headers["content-security-policy"], "sandbox; default-src 'none'", "{cid}");
        assert_eq!(headers.get("content-disposition").is_none(), inline, "{cid}");
    }
    let page = world.get(&login, "app.example.html").await.unwrap();
    assert_eq!(page.headers()["content-disposition"], "attachment");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_72_dangerous_methods_and_strange_services_are_refused_here() {
    let (world, login) = signed_in().await;
    world.network.clear_logs();
    for nsid in [
        "com.atproto.server.deleteAccount",
        "com.atproto.server.DELETEACCOUNT",
        "com.atproto.server.createAppPassword",
        "com.atproto.server.getServiceAuth",
        "com.atproto.identity.signPlcOperation",
        "com.atproto.admin.deleteAccount",
    ] {
        let error = world.get(&login, nsid).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("method_denied", 403), "{nsid}");
    }
    for (service, code, status) in [
        ("did:web:evil.example#bsky_appview", "service_denied", 403),
        ("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz#atproto_labeler", "service_denied", 403),
        ("did:web:api.bsky.app", "invalid_request", 400),
        ("nonsense", "invalid_request", 400),
        ("", "invalid_request", 400),
    ] {
        let request = Request::get("/").header("atproto-proxy", service).body(full_body("")).unwrap();
        let error = world.call(&login, ECHO, request).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), (code, status), "{service}");
    }
    let two = Request::get("/")
        .header("atproto-proxy", "did:web:api.bsky.app#bsky_appview")
        .header("atproto-proxy", "did:web:evil.example#x")
        .body(full_body(""))
        .unwrap();
    assert_eq!(world.call(&login, ECHO, two).await.unwrap_err().code(), "invalid_request");
    for method in [Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH] {
        let request = Request::builder().method(method).uri("/").body(full_body("")).unwrap();
        let error = world.call(&login, ECHO, request).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("method_not_allowed", 405));
    }
    assert!(world.network.requests().is_empty(), "nothing was sent anywhere");
    let any = World::on(FaultNetwork::start().await, |config| config.proxy.services = AllowedServices::Any);
    any.network.add_account("alice.test");
    let login = any.sign_in("alice.test").await;
    let request = Request::get("/").header("atproto-proxy", "did:web:any.example#x").body(full_body("")).unwrap();
    assert_eq!(any.call(&login, ECHO, request).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_server_go_through_as_they_are() {
    let (world, login) = signed_in().await;
    let body = json!({"repo": login.account.did, "collection": "app.example.note", "record": {"text": "hi"}});
    let request =
        Request::post("/").header("content-type", "application/json").body(full_body(body.to_string())).unwrap();
    let answer = world.call(&login, "com.atproto.repo.createRecord", request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
        (200, "application/json; charset=utf-8")
    );
    assert_eq!(world.network.pds().record_keys(login.account.did.as_str(), "app.example.note").len(), 1);
    let unknown = world.get(&login, "app.example.unknown").await.unwrap();
    assert_eq!(unknown.status(), 501);
    let limited =
        Reply::xrpc_error(429, "RateLimitExceeded", "x").with("RateLimit-Remaining", "0").with("Retry-After", "7");
    world.network.pds().server().misbehave(endpoint::XRPC, Misbehave::Instead(limited));
    let limited = world.get(&login, ECHO).await.unwrap();
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &http::HeaderValue::from_static("7"))
    );
    world.network.pds().server().behave();
    let forbidden = Reply::xrpc_error(401, "SomethingElse", "x");
    world.network.pds().server().misbehave(endpoint::XRPC, Misbehave::Instead(forbidden));
    assert_eq!(world.get(&login, ECHO).await.unwrap().status(), 401, "a 401 that is not about our token is theirs");
    assert_eq!(world.shown(CanaryKind::RefreshToken), 0);
    world.network.pds().server().go_down();
    assert!(matches!(world.get(&login, ECHO).await, Err(ProxyError::Upstream(_))));
}

/// A body of unknown length that counts the pieces that were taken from it.
fn streamed(pieces: usize, taken: &Arc<AtomicUsize>) -> StreamBody {
    let taken = Arc::clone(taken);
    let pieces = futures_util::stream::iter(0..pieces).map(move |_| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; 64 * 1024])))
    });
    Frames::new(pieces).map_err(|never| -> BoxError { match never {} }).boxed_unsync()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_streamed_once_behind_a_fresh_nonce() {
    let (world, login) = signed_in().await;
    let pds = world.network.pds();
    // A nonce of a moment ago that is no longer good, and an access token that has ended.
    assert_eq!(world.get(&login, ECHO).await.unwrap().status(), 200);
    pds.renew_nonces();
    world.network.expire_all_access_tokens();
    let taken = Arc::new(AtomicUsize::new(0));
    let upload = || Request::post("/").header("content-type", "video/mp4").body(streamed(320, &taken)).unwrap();
    let refused = world.call(&login, "com.atproto.repo.uploadBlob", upload()).await.unwrap_err();
    // The nonce was young, so that it was tried. The body cannot be sent again by us, and the server may have hung up.
    assert!(matches!(refused.code(), "try_later" | "upstream_failed"), "{refused:?}");
    assert!(pds.uploads().is_empty());
    // The app's own second try looks at nonce and token first.
    let answer = world.call(&login, "com.atproto.repo.uploadBlob", upload()).await;
    assert_eq!(answer.unwrap().status(), 200);
    let uploads = pds.uploads();
    assert_eq!((uploads.len(), uploads.last().unwrap().bytes), (1, 320 * 64 * 1024));
    world.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_upload_is_warmed_up() {
    let (world, login) = signed_in().await;
    let pds = world.network.pds();
    let fresh = world.second_instance();
    let taken = Arc::new(AtomicUsize::new(0));
    let request = Request::post("/").header("content-type", "video/mp4").body(streamed(16, &taken)).unwrap();
    let nsid = bowerbird_core::Nsid::parse("com.atproto.repo.uploadBlob").unwrap();
    let call = bowerbird_atproto::ProxyCall { account: Arc::new(login.account.clone()), nsid, request };
    assert_eq!(fresh.proxy.call(call).await.unwrap().status(), 200);
    assert_eq!(pds.calls("com.atproto.repo.uploadBlob"), 1, "the body went once");
    assert_eq!(pds.calls("com.atproto.server.getSession"), 2, "the nonce came before it");
    assert_eq!(taken.load(Ordering::Relaxed), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_its_senders_fault() {
    let (world, login) = signed_in().await;
    let pds = world.network.pds();
    for (pieces, known) in [(4, None), (0, None), (1, Some(100))] {
        let whole = (0..pieces).map(|_| Ok(Frame::data(Bytes::from(vec![7; 50]))));
        let broken = std::iter::once(Err::<_, BoxError>("the client sent nonsense".into()));
        let body = Frames::new(futures_util::stream::iter(whole.chain(broken)));
        let body = match known {
            Some(length) => Announced { body, length }.boxed_unsync(),
            None => body.boxed_unsync(),
        };
        let request = Request::post("/").header("content-type", "video/mp4").body(body).unwrap();
        let error = world.call(&login, "com.atproto.repo.uploadBlob", request).await.unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), ("body_unreadable", 400), "{pieces} pieces");
    }
    assert!(pds.uploads().is_empty(), "a part was not taken for the whole");
    assert_eq!(world.get(&login, ECHO).await.unwrap().status(), 200);
    world.network.assert_clean();
}

/// A body that says how long it will be.
struct Announced<B> {
    body: B,
    length: u64,
}

impl<B: http_body::Body + Unpin> http_body::Body for Announced<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        std::pin::Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.length)
    }
}
