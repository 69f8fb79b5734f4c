//! Row 73: all pairs of three tenants over every operation of the OpenAPI document. An operation without a line here fails
//! the test, and so does one that names an account in a way that no line asks by.

use std::collections::BTreeSet;

use bowerbird_core::AccountId;
use bowerbird_testkit::actors::{App, Visitor};
use bowerbird_testkit::fault::FaultAccount;
use bowerbird_testkit::http_client::TestRequest;
use http::Method;
use serde_json::{Value, json};

use crate::support::{House, Must as _};

/// How an operation is asked, and what it may answer when it is asked about somebody else's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    /// The path has an account's id or DID: 404.
    AccountInPath,
    /// `Bowerbird-Account` has it: 404.
    AccountInHeader,
    /// The field `account` of a form has it: 404.
    AccountInForm,
    /// The path has a device's id: 404.
    DeviceInPath,
    /// The field `device` of a form has it: 404.
    DeviceInForm,
    /// It names nobody: whatever it answers, nothing of somebody else is in it.
    AboutOneself,
    /// It names nobody and ends something of its own: that of somebody else goes on.
    EndsOwn,
    /// What is asked stays open and is followed where that is tested.
    Elsewhere(&'static str),
}

use Asked::{
    AboutOneself, AccountInForm, AccountInHeader, AccountInPath, DeviceInForm, DeviceInPath, Elsewhere, EndsOwn,
};

const CASES: &[(&str, &str, Asked)] = &[
    ("GET", "/", AboutOneself),
    ("GET", "/login", AboutOneself),
    ("POST", "/login", AboutOneself),
    ("GET", "/login/repair/{account_id}", AccountInPath),
    ("POST", "/accounts/add", AboutOneself),
    ("POST", "/accounts/app-password", AboutOneself),
    ("POST", "/accounts/switch", AccountInForm),
    ("POST", "/accounts/remove", AccountInForm),
    ("POST", "/sign-out", EndsOwn),
    ("GET", "/devices", AboutOneself),
    ("POST", "/devices/sign-out", DeviceInForm),
    ("POST", "/devices/sign-out-others", EndsOwn),
    ("POST", "/devices/sign-out-all", EndsOwn),
    ("GET", "/security", AboutOneself),
    ("GET", "/docs", AboutOneself),
    ("GET", "/assets/{file}", AboutOneself),
    ("GET", "/favicon.svg", AboutOneself),
    ("GET", "/.well-known/apple-app-site-association", AboutOneself),
    ("GET", "/.well-known/assetlinks.json", AboutOneself),
    ("GET", "/mobile-auth", AboutOneself),
    ("POST", "/mobile-auth/decline", AboutOneself),
    ("GET", "/api/auth/window-end", AboutOneself),
    ("POST", "/api/auth/mobile-start", AboutOneself),
    ("POST", "/api/auth/start", AboutOneself),
    ("POST", "/api/auth/tokens", AboutOneself),
    ("GET", "/mobile/refresh-token", AboutOneself),
    ("POST", "/mobile/refresh-token", AboutOneself),
    ("GET", "/api/auth/session", AboutOneself),
    ("GET", "/validate-session", AboutOneself),
    ("POST", "/api/auth/logout", EndsOwn),
    ("GET", "/api/accounts", AboutOneself),
    ("POST", "/api/accounts", AboutOneself),
    ("POST", "/api/accounts/app-password", AboutOneself),
    ("POST", "/api/accounts/{id}/activate", AccountInPath),
    ("GET", "/api/accounts/{id}", AccountInPath),
    ("DELETE", "/api/accounts/{id}", AccountInPath),
    ("GET", "/api/accounts/{id}/avatar", AccountInPath),
    ("GET", "/api/devices", AccountInHeader),
    ("GET", "/api/devices", AboutOneself),
    ("POST", "/api/devices/sign-out", AccountInHeader),
    ("POST", "/api/devices/sign-out", EndsOwn),
    ("DELETE", "/api/devices/{device}", DeviceInPath),
    ("DELETE", "/api/devices/{device}", AccountInHeader),
    ("GET", "/api/security-events", AccountInHeader),
    ("GET", "/api/security-events", AboutOneself),
    ("GET", "/api/tokens/health", AccountInHeader),
    ("GET", "/api/tokens/health", AboutOneself),
    ("GET", "/api/events", Elsewhere("the program's tests of alerts")),
    ("GET", "/xrpc/{nsid}", AccountInHeader),
    ("GET", "/xrpc/{nsid}", AboutOneself),
    ("POST", "/xrpc/{nsid}", AccountInHeader),
    ("POST", "/xrpc/{nsid}", AboutOneself),
    ("GET", "/oauth/callback", AboutOneself),
    ("GET", "/oauth-client-metadata.json", AboutOneself),
    ("GET", "/oauth/jwks.json", AboutOneself),
    ("GET", "/health", AboutOneself),
    ("GET", "/ready", AboutOneself),
    ("GET", "/openapi.json", AboutOneself),
];

/// The ways to ask that an operation's documentation shows.
fn documented(path: &str, operation: &Value) -> Vec<Asked> {
    let mut ways = Vec::new();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    for parameter in parameters {
        match (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap()) {
            ("path", "id" | "account_id") => ways.push(AccountInPath),
            ("path", "device") => ways.push(DeviceInPath),
            ("header", name) if name.eq_ignore_ascii_case("bowerbird-account") => ways.push(AccountInHeader),
            ("path", "nsid" | "file") | ("query" | "header", _) => {}
            (place, name) => panic!("what does {name:?} in the {place} of {path} name? Say so here"),
        }
    }
    let form = operation["requestBody"]["content"]["application/x-www-form-urlencoded"].is_object();
    let body = operation["requestBody"]["description"].as_str().unwrap_or_default();
    if form && body.contains("`account`") {
        ways.push(AccountInForm);
    }
    if form && body.contains("`device`") {
        ways.push(DeviceInForm);
    }
    ways
}

#[test]
fn row_73_every_operation_of_the_document_has_its_lines() {
    let document = serde_json::to_value(bowerbird_server::openapi()).unwrap();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let lines: Vec<Asked> =
                CASES.iter().filter(|case| (case.0, case.1) == (&*method, path)).map(|case| case.2).collect();
            assert!(!lines.is_empty(), "{method} {path} has no line in the table of isolation");
            for way in documented(path, operation) {
                assert!(lines.contains(&way), "{method} {path} can be asked {way:?}, and no line does so");
            }
            operations.insert((method, path.clone()));
        }
    }
    for (method, path, _) in CASES {
        let known = operations.contains(&((*method).to_owned(), (*path).to_owned()));
        assert!(known, "there is no {method} {path}");
    }
}

struct Tenant {
    account: FaultAccount,
    visitor: Visitor,
    id: String,
    /// The id of their own device, as their list shows it.
    device: String,
    /// What tells of them in an answer to somebody else.
    marks: Vec<String>,
}

impl Tenant {
    async fn arrive(house: &House, name: &str) -> Self {
        let account = house.network.add_account(name);
        let mut visitor = house.visitor_as(&account).await;
        let id = house.id_of(&account).await;
        let devices = visitor.get("/api/devices").await.expect_status(200).json();
        let device = devices["devices"][0]["id"].as_str().unwrap().to_owned();
        let held = house.stores.device_sessions.list_for_account(AccountId::parse(&id).unwrap(), house.clock.now());
        let own_name = held.await.unwrap()[0].id.to_string();
        let marks = vec![account.did.clone(), account.handle.clone(), id.clone(), device.clone(), own_name];
        Self { account, visitor, id, device, marks }
    }

    /// On how many devices they are, which must be at least this one.
    async fn devices(&mut self, about: &str) -> u64 {
        let session = self.visitor.session().await;
        assert_eq!(session.status, 200, "{} after {about}", self.account.handle);
        assert_eq!(session.json()["did"], self.account.did.as_str());
        self.visitor.get("/api/devices").await.expect_status(200).json()["total"].as_u64().unwrap()
    }
}

/// A request as a line asks it, with a name of an account or a device in its place.
fn request(app: &App, (method, path, asked): (&str, &str, Asked), name: &str) -> TestRequest {
    let in_path = matches!(asked, AccountInPath | DeviceInPath);
    let target = path
        .replace("{nsid}", "com.atproto.server.getSession")
        .replace("{file}", "none.css")
        .replace("{id}", if in_path { name } else { "x" })
        .replace("{account_id}", if in_path { name } else { "x" })
        .replace("{device}", if in_path { name } else { "x" });
    let url = app.url(&target);
    let is_form = path == "/login" || !path.starts_with("/api/") && !path.starts_with("/xrpc/");
    let request = match method {
        "POST" if asked == AccountInForm => TestRequest::post_form(&url, &[("account", name)]),
        "POST" if asked == DeviceInForm => TestRequest::post_form(&url, &[("device", name)]),
        "POST" if is_form => TestRequest::post_form(&url, &[]),
        "POST" if path == "/api/devices/sign-out" => TestRequest::post_json(&url, &json!({"which": "all"})),
        "POST" if path.starts_with("/api/accounts") && !path.contains('{') => {
            TestRequest::post_json(&url, &json!({"handle": "x", "identifier": "x", "password": "x"}))
        }
        _ => TestRequest::new(method, &url),
    };
    if asked == AccountInHeader { request.header("bowerbird-account", name) } else { request }
}

#[tokio::test]
async fn row_73_nobody_reaches_an_account_or_a_device_of_somebody_else() {
    let house = House::open().await;
    let mut tenants = Vec::new();
    for name in ["alice.test", "bob.test", "carla.test"] {
        tenants.push(Tenant::arrive(&house, name).await);
    }
    // And a device that all three share.
    let mut shared = house.visitor();
    for tenant in &tenants {
        shared.login(&tenant.account.handle).await.must_be(303);
        // The second sign-in gives the grant of the first one back, in the background.
        house.wait_for_grants(&tenant.account, 1).await;
    }
    house.network.clear_logs();
    let mut refused = 0;
    for (asking, other) in pairs() {
        let app = house.app_of(&tenants[asking].visitor);
        let (other, who) = (&tenants[other], &tenants[asking].account.handle);
        for case in CASES {
            let (code, names) = match case.2 {
                AccountInPath | AccountInHeader | AccountInForm => (
                    "account_not_found",
                    vec![
                        &*other.id,
                        &other.account.did,
                        "6f9619ff-8b86-4011-b42d-00c04fc964ff",
                        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
                    ],
                ),
                DeviceInPath | DeviceInForm => {
                    ("device_not_found", vec![&*other.device, &*other.marks[4], "AAAAAAAAAAAAAAAAAAAAAA", "x"])
                }
                AboutOneself | EndsOwn | Elsewhere(_) => continue,
            };
            for name in names {
                let answer = app.send(request(&app, *case, name)).await;
                let text = answer.text();
                assert_eq!(answer.status, 404, "{case:?} of {name} as {who}: {text}");
                assert_eq!(answer.header("bowerbird-error"), Some(code), "{case:?}");
                assert!(!other.marks.iter().any(|mark| text.contains(mark)), "{case:?} as {who}: {text}");
                refused += 1;
            }
        }
    }
    let naming = CASES.iter().filter(|case| !matches!(case.2, AboutOneself | EndsOwn | Elsewhere(_))).count();
    assert_eq!(refused, 3 * 2 * 4 * naming);
    assert_eq!(house.sent(), Vec::<String>::new(), "nothing was sent for any of them");

    for asking in 0..tenants.len() {
        let app = house.app_of(&tenants[asking].visitor);
        for case in CASES.iter().filter(|case| case.2 == AboutOneself) {
            let answer = app.send(request(&app, *case, "")).await;
            let text = answer.text() + &format!("{:?}", answer.headers);
            for other in tenants.iter().filter(|other| other.account.did != tenants[asking].account.did) {
                let told = other.marks.iter().find(|mark| text.contains(mark.as_str()));
                assert_eq!(told, None, "{case:?} as {}: {text}", tenants[asking].account.handle);
            }
        }
    }
    for tenant in &mut tenants {
        assert_eq!(tenant.devices("all that").await, 2, "their own and the shared one");
    }

    // What ends something of one's own ends nothing of the others, not even on the device that they share.
    for asking in 0..tenants.len() {
        for case in CASES.iter().filter(|case| case.2 == EndsOwn) {
            let fresh = house.visitor_as(&tenants[asking].account).await;
            let others: Vec<usize> = (0..tenants.len()).filter(|other| *other != asking).collect();
            let mut before = Vec::new();
            for other in &others {
                before.push(tenants[*other].devices("the case before").await);
            }
            let app = house.app_of(&fresh);
            let answer = app.send(request(&app, *case, "")).await;
            assert!(answer.status < 400, "{case:?}: {} {}", answer.status, answer.text());
            for (other, before) in others.iter().zip(before) {
                assert_eq!(tenants[*other].devices(case.1).await, before, "{case:?}");
            }
            // Whatever it ended of the one who asked comes back for the next case.
            let account = tenants[asking].account.clone();
            if tenants[asking].visitor.session().await.status != 200 {
                tenants[asking].visitor = house.visitor_as(&account).await;
            }
            let on_shared = shared.get("/api/accounts").await.expect_status(200).json();
            if on_shared["accounts"].as_array().unwrap().len() < tenants.len() {
                shared.login(&account.handle).await.must_be(303);
            }
        }
    }
    house.network.assert_clean();
}

/// Every ordered pair of the three.
fn pairs() -> Vec<(usize, usize)> {
    (0..3)
        .flat_map(|asking| (0..3).map(move |other| (asking, other)))
        .filter(|(asking, other)| asking != other)
        .collect()
}

#[tokio::test]
async fn the_header_chooses_among_the_accounts_of_the_device() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    visitor.login("bob.test").await.must_be(303);
    let app = house.app_of(&visitor);
    let whoami = async |account: Option<&str>| {
        let mut request = TestRequest::get(&app.url("/xrpc/com.atproto.server.getSession"));
        if let Some(account) = account {
            request = request.header("bowerbird-account", account);
        }
        app.send(request).await.expect_status(200).json()["did"].as_str().unwrap().to_owned()
    };
    assert_eq!(whoami(None).await, bob.did);
    assert_eq!(whoami(Some(&alice.did)).await, alice.did);
    assert_eq!(whoami(Some(&house.id_of(&alice).await)).await, alice.did);
    assert_eq!(whoami(None).await, bob.did, "choosing is not switching");
    let twice = TestRequest::new(Method::GET.as_str(), &app.url("/xrpc/com.atproto.server.getSession"))
        .header("bowerbird-account", &alice.did)
        .header("bowerbird-account", &bob.did);
    app.send(twice).await.must_be(400);
}
