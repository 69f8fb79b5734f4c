//! The proxy at the door: rows 67 to 72 as a client sees them.

use bowerbird_testkit::fault::{Misbehave, Reply};
use bowerbird_testkit::http_client::{TestRequest, send_raw};
use std::time::Duration;

use crate::support::{House, Must as _};

#[tokio::test]
async fn a_call_reaches_the_accounts_own_server_signed() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    let answer = app.get("/xrpc/com.atproto.server.getSession").await.expect_status(200);
    assert_eq!(answer.json()["did"], alice.did.as_str());
    let sent = house.network.pds().server().log().last("/xrpc/com.atproto.server.getSession").unwrap();
    assert!(sent.header("authorization").unwrap().starts_with("DPoP "));
    assert_eq!(sent.dpop_claims()["htm"], "GET");
    house.network.assert_clean();
}

#[tokio::test]
async fn row_67_only_method_names_become_paths() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut payloads: Vec<String> = Vec::new();
    let bits = [
        "..",
        "%2e%2e",
        "%252e%252e",
        ".%2e",
        "..;",
        "%2f",
        "%252f",
        "%5c",
        ";x",
        "@evil.example",
        ":80",
        "%00",
        "%0d%0a",
        "%09",
        "~",
        "!",
        "$",
        "*",
        "'",
    ];
    for bit in bits {
        for shape in [
            "X",
            "X/a.b.c",
            "a.b.cX",
            "aX.b.c",
            "a.b.c/X",
            "a.b.c%2fX",
            "a.b.c;X",
            "X.a.b.c",
            "a.X.c",
            "/X/a.b.c",
            "a.b.c//X",
        ] {
            payloads.push(shape.replace('X', bit));
        }
    }
    payloads.extend(
        [
            "",
            "/",
            "a",
            "a.b",
            "a..b",
            ".a.b.c",
            "a.b.c.",
            "a.b.3",
            "1.b.c",
            "a.b.c-d",
            "a_b.c.d",
            "-a.b.c",
            "a.b.c/d",
            "http://evil.example/a.b.c",
        ]
        .map(str::to_owned),
    );
    assert!(payloads.len() >= 200);
    // As raw bytes, which no library repairs on the way.
    let seal = app_seal(&house, &alice).await;
    house.network.clear_logs();
    for payload in payloads.iter().map(String::as_str).chain(["..\\a.b.c", "\\a.b.c", "../a.b.c"]) {
        let host = house.address;
        let request = format!(
            "GET /xrpc/{payload} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {seal}\r\nConnection: close\r\n\r\n"
        );
        let answer =
            send_raw(house.address, &[request.as_bytes()], Duration::ZERO, Duration::from_secs(5)).await.unwrap();
        assert!(matches!(answer.status(), Some(400 | 404)), "{payload}: {}", answer.text());
    }
    assert_eq!(house.sent(), Vec::<String>::new());
}

async fn app_seal(house: &House, account: &bowerbird_testkit::fault::FaultAccount) -> String {
    house.visitor_as(account).await.seal().unwrap()
}

#[tokio::test]
async fn rows_68_and_69_only_listed_headers_pass_either_way() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    let server = house.network.pds().server().clone();
    let path = "/xrpc/app.bsky.feed.getTimeline";
    let reply = Reply::json(200, &serde_json::json!({}))
        .with("set-cookie", "sid=planted")
        .with("access-control-allow-origin", "*")
        .with("strict-transport-security", "max-age=0")
        .with("x-powered-by", "evil")
        .with("atproto-repo-rev", "3k");
    server.misbehave(path, Misbehave::Instead(reply));
    let mut request = visitor.from_own_page(TestRequest::get(&house.url(path)));
    for (name, value) in [
        ("dpop", "client-proof"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x_forwarded_user", "root"),
        ("x-original-url", "/admin"),
        ("proxy-authorization", "Basic x"),
        ("connection", "authorization"),
        ("bowerbird-account", &alice.did),
        ("atproto-accept-labelers", "did:plc:labeler"),
        ("accept-language", "de"),
    ] {
        request = request.header(name, value);
    }
    let answer = visitor.send(request).await.expect_status(200);
    for gone in ["set-cookie", "access-control-allow-origin", "x-powered-by"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("strict-transport-security"), None, "ours alone, and not on http");
    assert_eq!(answer.header("atproto-repo-rev"), Some("3k"));

    let sent = server.log().last(path).unwrap();
    for gone in [
        "cookie",
        "x-forwarded-for",
        "x_forwarded_user",
        "x-original-url",
        "proxy-authorization",
        "bowerbird-account",
        "bowerbird-csrf",
        "origin",
        "referer",
        "sec-fetch-site",
    ] {
        assert_eq!(sent.header(gone), None, "{gone}");
    }
    assert_eq!(sent.header_all("dpop").len(), 1);
    assert_ne!(sent.header("dpop"), Some("client-proof"));
    assert_eq!(sent.header("atproto-accept-labelers"), Some("did:plc:labeler"));
}

#[tokio::test]
async fn row_71_a_page_from_a_server_does_not_run_in_our_origin() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    for kind in ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml"] {
        let reply = Reply::text(200, kind, &b"<script>alert(1)</script>"[..]);
        house.network.pds().server().misbehave_times("/xrpc/com.atproto.sync.getBlob", 1, Misbehave::Instead(reply));
        let answer = visitor.get("/xrpc/com.atproto.sync.getBlob?did=x&cid=y").await.expect_status(200);
        assert_eq!(answer.header_all("x-content-type-options"), ["nosniff"], "{kind}");
        let policy = answer.header_all("content-security-policy");
        assert!(
            policy.len() == 1 && policy[0].contains("sandbox") && policy[0].contains("default-src 'none'"),
            "{policy:?}"
        );
        assert!(answer.header("content-disposition").unwrap().starts_with("attachment"), "{kind}");
    }
}

#[tokio::test]
async fn row_72_dangerous_methods_and_services_are_denied() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    house.network.clear_logs();
    for nsid in [
        "com.atproto.server.deleteAccount",
        "com.atproto.server.createAppPassword",
        "com.atproto.server.getServiceAuth",
        "com.atproto.identity.updateHandle",
    ] {
        let answer = app.post(&format!("/xrpc/{nsid}"), &serde_json::json!({})).await.expect_status(403);
        assert_eq!(answer.json()["error"], "method_denied", "{nsid}");
    }
    let request =
        TestRequest::get(&app.url("/xrpc/app.bsky.feed.getTimeline")).header("atproto-proxy", "did:web:evil.example#x");
    assert_eq!(app.send(request).await.expect_status(403).json()["error"], "service_denied");
    assert_eq!(house.sent(), Vec::<String>::new());
}

#[tokio::test]
async fn bodies_pass_through_in_both_directions() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    let blob: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let request = TestRequest::new("POST", &app.url("/xrpc/com.atproto.repo.uploadBlob"))
        .header("content-type", "image/png")
        .body(blob.clone());
    app.send(request).await.must_be(200);
    let uploads = house.network.pds().uploads();
    assert_eq!(uploads.len(), 1);
    house.network.assert_clean();
}

#[tokio::test]
async fn other_methods_are_no_calls() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.app_of(&house.visitor_as(&alice).await);
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = app.send(TestRequest::new(method, &app.url("/xrpc/com.atproto.server.getSession"))).await;
        assert_eq!(answer.status, 405, "{method}");
    }
}
