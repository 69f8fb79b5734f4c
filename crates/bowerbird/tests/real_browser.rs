//! Our own pages in a real Chromium, with the real PDS' pages behind them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowerbird_testkit::fault::endpoint;
use bowerbird_testkit::http_client::TestRequest;
use bowerbird_testkit::real::{NetworkOptions, RealAccount, RealNetwork};
use bowerbird_testkit::server::{BowerbirdProcess, ServerOptions};
use serde_json::{Value, json};

/// A picture of eight by eight pixels.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAHElEQVR42mPoWvIfjtQ9T8IRAxUlkDnIiqgoAQBbXmzBwp+qEgAAAABJRU5ErkJggg==";
const PAGES: [&str; 14] = [
    "1-signed-out",
    "2-unknown-handle",
    "3-denied",
    "4-signed-in",
    "5-two-accounts",
    "6-needs-reauth",
    "7-docs",
    "8-not-found",
    "9-app-password-form",
    "10-main-password",
    "11-app-password",
    "12-security",
    "13-devices",
    "14-sign-out-everywhere",
];

#[tokio::test]
async fn real_browser_goes_through_every_page() {
    if !RealNetwork::available() || !RealNetwork::chromium_available() {
        return;
    }
    let network = RealNetwork::start(NetworkOptions::default()).await;
    let options = ServerOptions::new(env!("CARGO_BIN_EXE_bowerbird")).on_real(&network);
    let server = BowerbirdProcess::start(options.env("BOWERBIRD_APP_PASSWORDS", "true")).await;
    let (alice, bob) = (network.account("alice.test").clone(), network.account("bob.test").clone());
    give_profile(&network, &server, &alice).await;
    network.clear_log().await;
    let pictures = pictures_folder();
    let seen = network.drive_pages(&server.base_url(), &pictures, [&alice, &bob]).await;

    check_what_chromium_saw(&seen, &pictures);

    // What a person reads.
    let step = |name: &str| seen["steps"][name].clone();
    let reads = |name: &str, texts: &[&str]| {
        for text in texts {
            assert!(
                step(name)["text"].as_str().unwrap().contains(text),
                "{name} lacks {text:?}: {}",
                step(name)["text"]
            );
        }
    };
    let home = format!("{}/", server.base_url());
    reads("signedOut", &["Sign in", "Your password stays there", "Your handle"]);
    reads("unknownHandle", &["nobody-of-that-name.test", "Your handle"]);
    reads("denied", &["Access was refused", "access_denied", "Your handle"]);
    reads(
        "signedIn",
        &[
            "Accounts",
            "Active Account",
            "All Accounts",
            "Add Account",
            "Alice Bower",
            "@alice.test",
            &alice.did,
            network.pds(),
            "Signed in until",
        ],
    );
    assert_eq!(
        (step("signedIn")["url"].as_str(), step("added")["url"].as_str()),
        (Some(home.as_str()), Some(home.as_str()))
    );
    assert_eq!(step("signedIn")["pictures"], json!([true, true]));
    reads("added", &["@alice.test", "@bob.test", &bob.did]);
    reads("switched", &["@bob.test", &alice.did]);
    reads("removed", &[&alice.did]);
    assert!(!step("removed")["text"].as_str().unwrap().contains("bob.test"));
    reads("mainPassword", &["app_password_required", "main password", "Handle or DID"]);
    assert_eq!(seen["passwordsKept"], json!([""]), "the form comes back without the password");
    reads("byAppPassword", &["@bob.test", "an app password", "Upgrade to OAuth"]);
    assert!(seen["upgradeLeadsTo"].as_str().unwrap().starts_with("/login/repair/"), "{}", seen["upgradeLeadsTo"]);
    assert!(!step("removedAgain")["text"].as_str().unwrap().contains("bob.test"));
    assert_eq!(seen["callAfterTheEnd"], 401);
    reads("needsReauth", &["Sign in again", "@alice.test"]);
    assert!(!step("repaired")["text"].as_str().unwrap().contains("Sign in again"));
    reads(
        "security",
        &["A new sign-in is needed", "Access was withdrawn", "Signed in", "Chrome on Linux", "Sign that device out"],
    );
    reads(
        "devices",
        &["Chrome on Linux", "This device", "In use now", "Safari on iPhone", "Firefox on Linux", "@alice.test"],
    );
    assert!(!step("deviceSignedOut")["text"].as_str().unwrap().contains("Safari on iPhone"));
    reads("deviceSignedOut", &["Firefox on Linux", "This device"]);
    reads("othersSignedOut", &["Chrome on Linux", "There is no other device."]);
    reads("notFound", &["not_found"]);
    reads("docs", &["/api/auth/session", "/xrpc/{nsid}"]);
    reads("signedOutAgain", &["Your handle"]);
    assert_eq!(
        step("signedOutAgain")["cookies"].as_array().unwrap().iter().filter(|cookie| cookie["name"] == "sid").count(),
        0
    );
    for name in ["addLeadsTo", "signInLeadsTo"] {
        assert!(seen["withoutScript"][name].as_str().unwrap().starts_with(network.issuer()), "{seen}");
    }

    // What the PDS saw: one exchange for each consent, two of them on other devices (one more by the profile's login, before its log was cleared),
    // a refused refresh, and every grant given back.
    let exchanges = network.statuses(endpoint::TOKEN, 6).await;
    assert_eq!(exchanges.iter().filter(|status| **status == 200).count(), 5, "{exchanges:?}");
    network.await_grants(&bob.did, 0).await;
    assert!(!server.stderr().text().contains("panicked"), "{}", server.stderr().text());
}

/// Nothing to complain about, nothing from elsewhere, no page wider than a phone, no script, and no cookie that a script reads.
fn check_what_chromium_saw(seen: &Value, pictures: &Path) {
    for name in ["complaints", "foreign", "overflows"] {
        assert_eq!(seen[name], json!([]), "{name}");
    }
    for page in PAGES {
        for form in ["wide-light", "wide-dark", "phone-light", "phone-dark"] {
            let picture = pictures.join(format!("{page}-{form}.png"));
            assert!(std::fs::metadata(&picture).unwrap().len() > 3000, "{}", picture.display());
        }
    }
    for (name, step) in seen["steps"].as_object().unwrap() {
        assert_eq!(
            (&step["scripts"], &step["styled"], &step["readableCookies"]),
            (&0.into(), &1.into(), &"".into()),
            "{name}"
        );
        let loaded = step["pictures"].as_array().unwrap();
        assert!(loaded.iter().all(|loaded| loaded == true), "a picture of {name} does not load");
        let known = |cookie: &Value| ["sid", "bb-login", "login"].contains(&cookie["name"].as_str().unwrap());
        let cookies = step["cookies"].as_array().unwrap();
        assert!(cookies.iter().all(|cookie| cookie["httpOnly"] == true && known(cookie)), "{name}: {cookies:?}");
    }
}

/// Gives an account a name and a picture, through the server: a blob and a record.
async fn give_profile(network: &RealNetwork, server: &BowerbirdProcess, account: &RealAccount) {
    let mut visitor = server.visitor();
    let _home = visitor.login_at_real(&network.browser(), account).await.expect_status(303);
    let upload = TestRequest::new("POST", &visitor.url("/xrpc/com.atproto.repo.uploadBlob"))
        .header("content-type", "image/png")
        .body(STANDARD.decode(PICTURE).unwrap());
    let upload = visitor.from_own_page(upload);
    let blob = visitor.send(upload).await.expect_status(200).json()["blob"].clone();
    let record = json!({"$type": "app.bsky.actor.profile", "displayName": "Alice Bower", "avatar": blob});
    let body = json!({"repo": account.did, "collection": "app.bsky.actor.profile", "rkey": "self", "record": record});
    let _put = visitor.post("/xrpc/com.atproto.repo.putRecord", &body).await.expect_status(200);
    let _signed_out = visitor.post("/api/auth/logout", &Value::Null).await.expect_status(200);
    network.await_grants(&account.did, 0).await;
}

/// `target/screenshots`, beside the folder of the build.
fn pictures_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots")
}
