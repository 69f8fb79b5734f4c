//! Rows 67–74: what an app can and cannot do through the proxy, by raw sockets where no client would send it.

use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::{FaultNetwork, Misbehave, Reply, endpoint};
use bowerbird_testkit::http_client::TestRequest;
use serde_json::{Value, json};

use crate::support::{House, Must as _};

const ECHO: &str = "/xrpc/app.example.echo";
const SESSION: &str = "/xrpc/com.atproto.server.getSession";

/// At least 200 targets that try to reach something else than one method.
fn escapes(house: &House) -> Vec<String> {
    let own = house.server.host();
    let mut targets = Vec::new();
    let climbs = ["..", "%2e%2e", "%2E.", ".%2e", "..;", "%252e%252e", "%c0%ae%c0%ae", "..%00", "\u{ff0e}\u{ff0e}"];
    let slashes = ["/", "%2f", "%2F", "%5c", "\\", "%252f", "//", ";/", "%c0%af"];
    for climb in climbs {
        for slash in slashes {
            targets.push(format!("/xrpc/{climb}{slash}oauth{slash}token"));
            targets.push(format!("/xrpc/app.example.echo{slash}{climb}{slash}com.atproto.server.deleteAccount"));
        }
    }
    let suffixes = [
        "/",
        "//",
        "/x",
        "%2fx",
        "%3fx",
        "%23",
        ";x=1",
        ";",
        ":443",
        "@evil.example",
        "%40evil.example",
        "%00",
        "%20",
        "%0d%0aX:%20y",
        "%0a",
        "%09",
        "*",
        "..",
        ".",
        "%2e",
        "!",
        "$",
        "&a=b",
        "~",
        "%",
        "%zz",
        "\\",
        "\\..\\x",
        "é",
        "%c3%a9",
        "|",
        "^",
        "`",
        "{}",
        "<x>",
        "\"",
        "'",
        "--",
        ".-a",
        ".a-",
        ".1a",
    ];
    targets.extend(suffixes.iter().map(|suffix| format!("/xrpc/app.example.echo{suffix}")));
    let names = [
        "",
        "/",
        "echo",
        "app.echo",
        "app..echo",
        ".app.example.echo",
        "/app.example.echo",
        "//evil.example/x",
        "http://evil.example/x",
        "https:evil.example",
        "@evil.example",
        "evil.example@x.y",
        "_health",
        "-a.b.c",
        "a-.b.c",
        "1.b.c1-",
        "app.example.*",
        "app.example.echo#x",
        "%61pp.example.echo",
        "app%2eexample%2eecho",
        "app.example.ech%6f",
        "localhost:1/app.example.echo",
        "[::1].b.c",
        "app example echo",
    ];
    targets.extend(names.iter().map(|name| format!("/xrpc/{name}")));
    targets.push(format!("/xrpc/{}", "a".repeat(400)));
    targets.push(format!("/xrpc/app.example.{}", "a".repeat(64)));
    targets.push(format!("http://evil.example{ECHO}"));
    targets.push(format!("https://{own}@evil.example{ECHO}"));
    targets.push(format!("http://{own}.evil.example{ECHO}"));
    targets.push(format!("//evil.example{ECHO}"));
    targets.push(format!("{ECHO}\r\nX-Injected: 1"));
    targets
}

#[tokio::test(flavor = "multi_thread")]
async fn row_67_no_path_reaches_anything_but_one_method() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    house.network.clear_logs();
    let targets = escapes(&house);
    assert!(targets.len() >= 200, "{}", targets.len());
    for target in &targets {
        let host = house.server.host();
        let head = format!("Host: {host}\r\nAuthorization: Bearer {seal}\r\nConnection: close\r\n\r\n");
        let answer = house.raw(format!("GET {target} HTTP/1.1\r\n{head}").as_bytes()).await;
        let status = answer.status();
        // A line break ends the target, a fragment is no part of it: what is left of these is a good request.
        let passes = target.contains("\r\n") || target.contains('#');
        let refused = matches!(status, Some(400 | 404 | 414 | 421)) || (status.is_none() && answer.closed);
        assert!(refused || (passes && status == Some(200)), "{target}: {}", answer.text());
        assert!(answer.answers() <= 1, "{target}: {}", answer.text());
    }
    let reached = house.network.pds().server().log().all();
    for call in &reached {
        assert_eq!(call.path(), ECHO, "{}", call.target);
        assert_eq!(call.header("x-injected"), None);
    }
    assert!(reached.len() <= 2, "{} of them reached the PDS", reached.len());
    let elsewhere = house.network.requests().len() - reached.len();
    assert_eq!(elsewhere, 0, "and none reached anybody else");
    // A query goes on as it is, and stays a query.
    let app = house.server.app(&seal);
    let query = "q=..%2f..%2foauth&u=//evil.example&h=%23x&p=a%3Fb";
    let echoed = app.get(&format!("{ECHO}?{query}")).await.expect_status(200).json();
    assert_eq!(echoed["target"], format!("{ECHO}?{query}"));
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_68_and_69_nothing_of_a_clients_headers_steers_the_server() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let seal = visitor.seal().unwrap();
    let raw = format!(
        "POST {ECHO} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {seal}\r\nConnection: authorization, dpop, x-evil\r\n\
         DPoP: client\r\nCookie: other=1\r\nX-Evil: 1\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: evil.example\r\n\
         X_Forwarded_User: root\r\nForwarded: for=10.0.0.1\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\
         Proxy-Authorization: Basic eA==\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nKeep-Alive: 1\r\n\
         Origin: https://evil.example\r\nReferer: https://evil.example/\r\nX-HTTP-Method-Override: DELETE\r\n\
         Accept-Language: de\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        house.server.host()
    );
    let answer = house.raw(raw.as_bytes()).await;
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    let call = house.network.pds().server().log().last(ECHO).unwrap();
    let mut names: Vec<&str> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept-language", "authorization", "content-length", "content-type", "dpop", "host", "user-agent"]
    );
    assert!(call.header("authorization").unwrap().starts_with("DPoP CANARY-AT-"));
    assert_ne!(call.header("dpop"), Some("client"));
    assert!(!call.transcript().contains("Fe26."), "the seal stays here");

    // And nothing of the server's steers the browser.
    for method in ["app.example.hostile", "app.example.html"] {
        let answer = visitor.get(&format!("/xrpc/{method}")).await.expect_status(200);
        for name in [
            "set-cookie",
            "location",
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "strict-transport-security",
            "clear-site-data",
            "service-worker-allowed",
            "refresh",
            "link",
            "dpop-nonce",
            "www-authenticate",
        ] {
            assert_eq!(answer.header(name), None, "{name} of {method}");
        }
        assert_eq!(answer.header_all("content-security-policy"), ["sandbox; default-src 'none'"]);
    }
    assert_eq!(visitor.seal(), Some(seal), "no cookie was planted");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_36_a_redirect_of_the_pds_takes_no_credential_along() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let canary = house.network.canary().origin();
    for status in [301, 302, 303, 307, 308, 300, 304] {
        house.network.pds().server().misbehave(endpoint::XRPC, Misbehave::redirect(status, &canary));
        visitor.get("/xrpc/app.bsky.feed.getTimeline").await.must_refuse(502, "upstream_failed");
        house.network.pds().server().behave();
    }
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_71_what_a_pds_serves_never_runs_here() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    let pds = house.network.pds();
    for (cid, kind) in [("xml", "application/xml"), ("js", "text/javascript"), ("pdf", "application/pdf"), ("none", "")]
    {
        pds.put_blob(cid, Reply::text(200, kind, "<x/>"));
    }
    for cid in ["html", "svg", "xml", "js", "pdf", "none"] {
        let path = format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", alice.did);
        let answer = visitor.get(&path).await.expect_status(200);
        assert_eq!(answer.header("content-disposition"), Some("attachment"), "{cid}");
        assert_eq!(answer.header_all("content-security-policy"), ["sandbox; default-src 'none'"], "{cid}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{cid}");
        assert_eq!(answer.header("set-cookie"), None, "{cid}");
    }
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_72_dangerous_methods_and_services_reach_nobody() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.server.app(&house.signed_in(&alice).await.seal().unwrap());
    house.network.clear_logs();
    for method in [
        "com.atproto.server.deleteAccount",
        "com.atproto.server.createAppPassword",
        "com.atproto.server.getServiceAuth",
        "com.atproto.server.DELETEACCOUNT",
        "com.atproto.identity.updateHandle",
        "com.atproto.identity.signPlcOperation",
        "com.atproto.admin.deleteAccount",
        "com.atproto.repo.importRepo",
        "com.atproto.server.refreshSession",
    ] {
        app.get(&format!("/xrpc/{method}")).await.must_refuse(403, "method_denied");
        app.post(&format!("/xrpc/{method}"), &json!({})).await.must_refuse(403, "method_denied");
    }
    for (service, status, code) in [
        ("did:web:evil.example#bsky_appview", 403, "service_denied"),
        ("did:web:api.bsky.app.evil.example#bsky_appview", 403, "service_denied"),
        ("did:web:127.0.0.1#x", 403, "service_denied"),
        ("did:web:api.bsky.app", 400, "invalid_request"),
        ("did:web:api.bsky.app#a#b", 400, "invalid_request"),
        ("nonsense", 400, "invalid_request"),
    ] {
        let request = TestRequest::get(&app.url(ECHO)).header("atproto-proxy", service);
        app.send(request).await.must_refuse(status, code);
    }
    assert!(house.network.requests().is_empty(), "none of them went out");
    let request = TestRequest::get(&app.url(ECHO)).header("atproto-proxy", "did:web:api.bsky.app#bsky_appview");
    app.send(request).await.must_be(200);
    house.assert_sound().await;
}

/// The id of the account that a device shows as its own.
async fn own_id(visitor: &mut Visitor) -> String {
    let list = visitor.get("/api/accounts").await.expect_status(200).json();
    list["accounts"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_73_nobody_reaches_an_account_of_another_device() {
    let house = House::open().await;
    let names = ["alice.test", "bob.test", "carla.test"];
    let accounts: Vec<_> = names.iter().map(|name| house.network.add_account(name)).collect();
    let (mut visitors, mut ids) = (Vec::new(), Vec::new());
    for account in &accounts {
        let mut visitor = house.signed_in(account).await;
        ids.push(own_id(&mut visitor).await);
        visitors.push(visitor);
    }
    let before = house.accounts();
    house.network.clear_logs();
    for (who, visitor) in visitors.iter_mut().enumerate() {
        for whose in (0..3).filter(|whose| *whose != who) {
            let (id, did, handle) = (&ids[whose], &accounts[whose].did, &accounts[whose].handle);
            for name in [id, did, handle, &id.to_uppercase(), &did.to_uppercase()] {
                let request = TestRequest::get(&visitor.url(SESSION)).header("bowerbird-account", name);
                visitor.send(request).await.must_refuse(404, "account_not_found");
                let request = TestRequest::post_json(&visitor.url("/xrpc/com.atproto.repo.createRecord"), &json!({}));
                let request = visitor.from_own_page(request).header("bowerbird-account", name);
                visitor.send(request).await.must_refuse(404, "account_not_found");
                visitor.post(&format!("/api/accounts/{name}/activate"), &json!({})).await.must_be(404);
                visitor.delete(&format!("/api/accounts/{name}")).await.must_be(404);
                visitor.get(&format!("/api/accounts/{name}/avatar")).await.must_be(404);
                let form = [("account", name.as_str()), ("id", name.as_str()), ("csrf", "x")];
                assert!(visitor.submit("/accounts/switch", &form).await.status >= 400);
                assert!(visitor.submit("/accounts/remove", &form).await.status >= 400);
            }
            let list = visitor.get("/api/accounts").await.expect_status(200).text();
            assert!(!list.contains(id.as_str()) && !list.contains(did.as_str()), "{list}");
        }
        let answer = visitor.get("/api/accounts/00000000-0000-4000-8000-000000000000/avatar").await;
        answer.must_be(404);
    }
    assert!(house.network.requests().is_empty(), "no call went out for anybody");
    assert_eq!(house.accounts(), before, "every account is as it was");
    for (visitor, account) in visitors.iter_mut().zip(&accounts) {
        let answer = visitor.get(SESSION).await.expect_status(200);
        assert_eq!(answer.json()["did"], account.did.as_str());
    }
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_74_one_device_leaves_and_the_other_stays() {
    let network = FaultNetwork::start().await;
    let house = House::on(network).await;
    let alice = house.network.add_account("alice.test");
    let server = house.network.authorization_server();
    let (mut home, mut away) = (house.signed_in(&alice).await, house.signed_in(&alice).await);
    home.post("/api/auth/logout", &json!({})).await.must_be(200);
    home.session().await.must_be(401);
    away.get(SESSION).await.must_be(200);
    assert_eq!(server.live_grants(&alice.did), 1);
    away.post("/api/auth/logout", &json!({})).await.must_be(200);
    house.until("the last one out gives the grant back", || server.live_grants(&alice.did) == 0).await;
    let statuses: Vec<String> = house.accounts().into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["signed out"]);
    let after: Value = away.get(SESSION).await.json();
    assert_eq!(after["code"], "SESSION_EXPIRED");
    house.assert_sound().await;
}
