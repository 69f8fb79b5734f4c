//! The pages for apps and windows, and what the domain says of its apps: rows A-001, A-034, A-036 to A-038.

use bowerbird_server::HandoffMode;
use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::Decision;
use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::injections::{SCRIPTS, tags};
use url::form_urlencoded;

use crate::support::{House, Must as _, Plan, hidden};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The nonce of the policy, which the page's one script must carry.
fn nonce(answer: &Answer) -> String {
    let policy = answer.header("content-security-policy").unwrap();
    let (_, rest) = policy.split_once("script-src 'nonce-").unwrap_or_else(|| panic!("{policy}"));
    assert!(!policy.contains("unsafe") && policy.contains("connect-src 'self'"), "{policy}");
    rest.split_once('\'').unwrap().0.to_owned()
}

fn data(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("data-{name}=\"")).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn the_page_that_an_app_opens_has_what_is_documented() {
    let house = House::open_public().await;
    let mut visitor = house.visitor();
    let answer = visitor.get(&format!("/mobile-auth?{}", query(&[("handle", "alice.test")]))).await.expect_status(200);
    let page = answer.text();
    for text in [
        "Sign in to Bower",
        "Connect with your Bluesky account",
        "Bluesky Handle",
        "placeholder=\"alice.bsky.social\"",
        "autocomplete=\"username\"",
        "Sign in with Bluesky",
        "Powered by AT Protocol",
        "role=\"alert\" hidden",
        "value=\"alice.test\"",
        "width=\"160\"",
    ] {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
    let first = nonce(&answer);
    assert!(
        page.contains(&format!("<script nonce=\"{first}\" src=\"/assets/")) && page.matches("<script").count() == 1
    );
    assert!(!page.contains("onsubmit") && !page.contains("http://") && !page.contains("fonts"), "{page}");
    let again = visitor.get("/mobile-auth").await;
    assert_ne!(nonce(&again), first, "a nonce is for one answer");
    let (_, path) = page.split_once(" src=\"").unwrap();
    let script = visitor.get(path.split_once('"').unwrap().0).await.expect_status(200);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
    for text in
        ["Please enter your Bluesky handle", "Login failed. Please check your handle and try again.", "Signing in..."]
    {
        assert!(script.text().contains(text), "{text}");
    }
}

#[tokio::test]
async fn the_page_works_without_its_script() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let wish = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256"), ("redirect_uri", "limit://auth")];
    let page = visitor.get(&format!("/mobile-auth?{}", query(&wish))).await.expect_status(200).text();
    let mut fields = vec![("handle", "alice.test".to_owned())];
    for name in ["mobile", "code_challenge", "code_challenge_method", "redirect_uri"] {
        fields.push((name, hidden(&page, name)));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let begun = visitor.submit("/login", &fields).await.expect_status(303);
    let callback = visitor.authorize(begun.location()).await;
    let end = visitor.finish_login(&callback).await.expect_status(302);
    assert!(end.location().starts_with("limit://auth?code="), "{}", end.location());

    // A mistake leads back to the page, with everything that the app said.
    let mut wrong = fields.clone();
    wrong[0] = ("handle", "nobody.test");
    let failed = visitor.submit("/login", &wrong).await.expect_status(400).text();
    let (_, link) = failed.split_once("class=\"button\" href=\"").unwrap();
    let link = link.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#38;", "&");
    let back = visitor.get(&link).await.expect_status(200).text();
    assert!(back.contains("value=\"nobody.test\""));
    assert_eq!(hidden(&back, "code_challenge"), CHALLENGE);
}

#[tokio::test]
async fn an_older_link_of_an_app_gets_what_it_knows() {
    let house = House::open().await;
    house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let begun = visitor.get("/login?handle=alice.test&mobile=true").await.expect_status(302);
    let callback = visitor.authorize(begun.location()).await;
    let end = visitor.finish_login(&callback).await.expect_status(302);
    assert!(end.location().starts_with("app://auth-callback?session_token=Fe26.2"));

    let strict = House::build(Plan { handoff: HandoffMode::Code, ..Plan::default() }).await;
    let mut visitor = strict.visitor();
    for path in ["/login?handle=alice.test&mobile=true", "/mobile-auth"] {
        let answer = visitor.get(path).await.expect_status(400);
        assert_eq!(answer.header("bowerbird-error"), Some("challenge_invalid"), "said before anybody signs in: {path}");
    }
}

#[tokio::test]
async fn row_63_the_page_refuses_foreign_addresses_and_row_64_says_who_sent_you() {
    let house = House::open().await;
    let mut visitor = house.visitor();
    for address in ["evil://auth", "javascript:alert(1)", "limit://auth/"] {
        let wish = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256"), ("redirect_uri", address)];
        for path in ["/mobile-auth?", "/login?handle=alice.test&mobile=true&"] {
            let answer = visitor.get(&format!("{path}{}", query(&wish))).await.expect_status(400);
            assert_eq!(answer.header("bowerbird-error"), Some("redirect_not_registered"), "{address}");
        }
    }
    assert_eq!(house.sent(), Vec::<String>::new());
    let open = async |site: &str| {
        let request = TestRequest::get(&house.url("/mobile-auth?handle=alice.test")).header("sec-fetch-site", site);
        house.client().send(request).await.expect_status(200).text()
    };
    assert!(open("cross-site").await.contains("Another site sent you here"));
    assert!(!open("none").await.contains("Another site sent you here"));
}

#[tokio::test]
async fn row_78_what_is_in_the_link_adds_no_element() {
    let house = House::open().await;
    let page = async |handle: &str| {
        house.client().get(&house.url(&format!("/mobile-auth?{}", query(&[("handle", handle)])))).await.text()
    };
    let plain = page("alice.test").await;
    for script in SCRIPTS {
        assert_eq!(tags(&page(script).await), tags(&plain), "{script}");
    }
}

#[tokio::test]
async fn a_window_tells_the_page_that_opened_it_at_its_own_origin() {
    let listed = "https://pwa.example";
    let house = House::build(Plan { cors_origins: vec![listed.to_owned()], ..Plan::default() }).await;
    let alice = house.network.add_account("alice.test");
    let own = house.base_url.clone();
    for (wish, origin) in [(String::new(), own.as_str()), (format!("&{}", query(&[("origin", listed)])), listed)] {
        let mut visitor = house.visitor();
        let begun = visitor.get(&format!("/login?handle=alice.test&pwa=true{wish}")).await.expect_status(302);
        assert_eq!(begun.header("cross-origin-opener-policy"), Some("unsafe-none"));
        let callback = visitor.authorize(begun.location()).await;
        let end = visitor.finish_login(&callback).await.expect_status(200);
        assert_eq!(end.header("cross-origin-opener-policy"), Some("unsafe-none"));
        let page = end.text();
        let nonce = nonce(&end);
        assert!(page.contains(&format!("<script nonce=\"{nonce}\"")));
        assert_eq!((data(&page, "origin"), data(&page, "success")), (origin.to_owned(), "true".to_owned()));
        assert_eq!((data(&page, "did"), data(&page, "handle")), (alice.did.clone(), "alice.test".to_owned()));
        assert!(!page.contains("Fe26."), "the session is in the cookie alone");
        let cookies = end.header_all("set-cookie");
        assert!(cookies.iter().any(|cookie| cookie.starts_with("sid=Fe26.2")), "{cookies:?}");
        // For a page of another origin the browser keeps it too, where no script reads it.
        let kept: Vec<_> = cookies.iter().filter(|cookie| cookie.starts_with("window=")).collect();
        assert_eq!(kept.len(), usize::from(origin == listed), "{cookies:?}");
        assert!(kept.iter().all(|cookie| cookie.ends_with("; Max-Age=600; Path=/; HttpOnly; SameSite=Lax")));
        visitor.session().await.must_be(200);
    }
    let mut visitor = house.visitor();
    for foreign in ["https://evil.example", "*", "null", "https://pwa.example.evil.example", "https://pwa.example/", ""]
    {
        let answer = visitor.get(&format!("/login?handle=alice.test&pwa=true&{}", query(&[("origin", foreign)]))).await;
        if foreign.is_empty() {
            assert_eq!(answer.status, 302, "an empty one counts as none");
        } else {
            assert_eq!(
                (answer.status, answer.header("bowerbird-error")),
                (400, Some("origin_not_listed")),
                "{foreign}"
            );
        }
    }
    house.network.authorization_server().decide(Decision::Deny);
    let begun = visitor.get("/login?handle=alice.test&pwa=true").await.expect_status(302);
    let callback = visitor.authorize(begun.location()).await;
    let end = visitor.finish_login(&callback).await.expect_status(200);
    assert_eq!(
        (data(&end.text(), "success"), data(&end.text(), "error")),
        ("false".to_owned(), "access_denied".to_owned())
    );
    assert_eq!(end.header("set-cookie"), None, "on one origin it is in the storage");
    visitor.get("/login?handle=alice.test&pwa=true&mobile=true").await.must_be(400);
}

/// Row A-036, where the window was cut off from the page that opened it.
#[tokio::test]
async fn a_page_that_no_window_can_tell_asks_and_no_other_page_is_answered() {
    let listed = "https://pwa.example";
    let cors_origins = vec![listed.to_owned(), "https://other.example".to_owned()];
    let house = House::build(Plan { cors_origins, ..Plan::default() }).await;
    let alice = house.network.add_account("alice.test");
    let ask = async |visitor: &mut Visitor, origin: Option<&str>| {
        let request = TestRequest::get(&visitor.url("/api/auth/window-end"));
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        visitor.send(request).await
    };
    for denied in [true, false] {
        let mut visitor = house.visitor();
        ask(&mut visitor, Some(listed)).await.must_be(204);
        let decision = if denied { Decision::Deny } else { Decision::Approve };
        house.network.authorization_server().decide(decision);
        let begun = visitor.get(&format!("/login?handle=alice.test&pwa=true&{}", query(&[("origin", listed)]))).await;
        ask(&mut visitor, Some(listed)).await.must_be(204);
        let callback = visitor.authorize(begun.location()).await;
        visitor.finish_login(&callback).await.must_be(200);
        // Another page, one of the list as well, a picture's address, our own page: none of them, and it stays.
        let foreign = [Some("https://evil.example"), Some("https://other.example"), Some("null"), None];
        for other in foreign.into_iter().chain([Some(house.base_url.as_str())]) {
            let answer = ask(&mut visitor, other).await.expect_status(204);
            assert_eq!(answer.header("set-cookie"), None, "{other:?}");
        }
        let answer = ask(&mut visitor, Some(listed)).await.expect_status(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(listed));
        let body = answer.json();
        assert_eq!((&body["type"], &body["success"]), (&"oauth-callback".into(), &(!denied).into()), "{body}");
        assert!(body["timestamp"].as_i64().unwrap() > 1_767_225_600_000);
        let told = if denied { ("error", "access_denied") } else { ("did", &*alice.did) };
        assert_eq!(body[told.0], told.1, "{body}");
        assert!(!body.to_string().contains("Fe26."), "{body}");
        ask(&mut visitor, Some(listed)).await.must_be(204);
        let request = TestRequest::new("HEAD", &visitor.url("/api/auth/window-end"));
        visitor.send(request).await.must_be(405);
    }
    // Whatever is planted there says nothing, or what it says decides nothing.
    for planted in ["x", "", "e30", "eyJvcmlnaW4iOiJodHRwczovL3B3YS5leGFtcGxlIn0", &"A".repeat(5000)] {
        let request = TestRequest::get(&house.url("/api/auth/window-end")).header("origin", listed);
        let request = request.header("cookie", &format!("window={planted}"));
        house.client().send(request).await.must_be(204);
    }
}

#[tokio::test]
async fn an_account_that_moved_while_its_person_signed_in_is_asked_at_its_new_server() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor();
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    house.network.move_account(&alice.did, &house.evil_pds);
    let sent = visitor.finish_login(&callback).await.expect_status(302);
    assert_eq!(sent.location(), "/login?handle=alice.test");
    assert_eq!(
        house.network.authorization_server().live_grants(&alice.did),
        0,
        "what the old server gave was given back"
    );
    let page = visitor.get(sent.location()).await.expect_status(302);
    assert!(page.location().starts_with(house.evil.issuer()), "at its new server: {}", page.location());
    let callback = visitor.authorize(page.location()).await;
    visitor.finish_login(&callback).await.must_be(303);
    assert_eq!(visitor.session().await.json()["did"], alice.did.as_str());

    // Not a second time: nobody goes round in circles.
    let page = visitor.start_login("alice.test").await;
    let callback = visitor.authorize(&page).await;
    house.network.move_account(&alice.did, &house.network.pds());
    let refused = visitor.finish_login(&callback).await.expect_status(403);
    assert_eq!(refused.header("bowerbird-error"), Some("issuer_mismatch"));
}

#[tokio::test]
async fn the_domain_says_which_apps_are_its_own() {
    let fingerprint = "14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5";
    let house = House::build(Plan {
        public: true,
        app_addresses: vec!["https://bower.example/auth-callback", "app://auth-callback", "https://other.example/x"],
        domain_apps: Some((fingerprint, "ABCDE12345.org.example.app")),
        ..Plan::default()
    })
    .await;
    let get = async |path: &str| {
        let answer = house.client().get(&house.url(path)).await.expect_status(200);
        assert_eq!(answer.header("content-type"), Some("application/json"), "no redirect, no other type");
        answer.text()
    };
    insta::assert_snapshot!(get("/.well-known/assetlinks.json").await, @r#"[{"relation":["delegate_permission/common.handle_all_urls"],"target":{"namespace":"android_app","package_name":"org.example.app","sha256_cert_fingerprints":["14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5"]}}]"#);
    insta::assert_snapshot!(get("/.well-known/apple-app-site-association").await, @r#"{"applinks":{"details":[{"appIDs":["ABCDE12345.org.example.app"],"components":[{"/":"/auth-callback","comment":"the end of a sign-in"}]}]},"webcredentials":{"apps":["ABCDE12345.org.example.app"]}}"#);
    // An app link is given codes only.
    let body = serde_json::json!({"handle": "alice.test", "code_challenge": CHALLENGE});
    let answer = house.client().send(TestRequest::post_json(&house.url("/api/auth/mobile-start"), &body)).await;
    assert_eq!((answer.status, answer.header("bowerbird-error")), (400, Some("challenge_invalid")));
}
