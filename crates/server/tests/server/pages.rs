//! Pages: row 78 (text from elsewhere does nothing), and row 79 as far as answers go.

use bowerbird_testkit::http_client::TestRequest;
use bowerbird_testkit::injections::{SCRIPTS, tags};
use bowerbird_testkit::sweep::Sweep;

use crate::support::{House, Must as _};

#[tokio::test]
async fn row_78_what_is_typed_adds_nothing_to_a_page() {
    let house = House::open().await;
    assert!(SCRIPTS.len() >= 60, "{}", SCRIPTS.len());
    let mut visitor = house.visitor();
    let mut plain = None;
    for text in std::iter::once(&"alice").chain(SCRIPTS) {
        let answer = visitor.try_start_login(text).await.expect_status(400);
        let found = tags(&answer.text());
        let expected = plain.get_or_insert_with(|| found.clone());
        assert_eq!(&found, expected, "{text:?} changed the page:\n{}", answer.text());
    }
}

#[tokio::test]
async fn pages_need_no_script_and_can_be_used_by_everybody() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut nobody = house.visitor();
    let mut visitor = house.visitor_as(&alice).await;
    for page in [
        nobody.get("/").await,
        nobody.get("/login").await,
        visitor.get("/").await,
        nobody.get("/docs").await,
        visitor.get("/devices").await,
        visitor.get("/security").await,
    ] {
        let text = page.text();
        assert!(text.starts_with("<!doctype html>\n<html lang=\"en\">"), "{text}");
        assert!(text.contains("name=\"viewport\"") && text.contains("<main id=\"main\"") && text.contains("<h1>"));
        assert!(!text.contains("<script") && !text.contains("style=\"") && !text.contains(" onclick"));
        for input in text.split("<input ").skip(1).filter(|input| input.contains("type=\"text\"")) {
            let id = input.split_once("id=\"").unwrap().1.split_once('"').unwrap().0;
            assert!(text.contains(&format!("<label for=\"{id}\"")), "no label for {id}");
        }
        assert_eq!(text.matches("<form").count(), text.matches("method=\"post\"").count());
    }
    let css = nobody.get("/").await.text();
    let path = css.split_once("rel=\"stylesheet\" href=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let sheet = nobody.get(&path).await.expect_status(200);
    assert!(sheet.header("cache-control").unwrap().contains("immutable"));
    assert!(sheet.text().contains("prefers-color-scheme: dark"));
    nobody.get("/assets/other.css").await.must_be(404);
}

#[tokio::test]
async fn row_79_no_answer_holds_a_secret() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    let mut answers = Vec::new();
    for (method, path) in bowerbird_server::operations() {
        let path = path.replace("{nsid}", "com.atproto.repo.describeRepo").replace("{id}", &alice.did);
        // The stream of events has no end; what it says is searched where it is followed (the program's tests of alerts).
        let ends = !path.contains("logout") && !path.contains("sign-out") && path != "/api/events";
        if ends && method == "GET" {
            answers.push((path.clone(), visitor.get(&path).await));
        }
    }
    answers.push(("logout".to_owned(), visitor.post("/api/auth/logout", &serde_json::json!({})).await));
    let mut sweep = Sweep::new(house.network.canaries().iter().map(|canary| canary.value.clone()));
    for (path, answer) in &answers {
        sweep = sweep.bytes(path, &answer.body);
        for (name, value) in &answer.headers {
            sweep = sweep.bytes(&format!("{path} {name}"), value.as_bytes());
        }
    }
    sweep.assert_clean();
}

#[tokio::test]
async fn a_picture_is_served_from_our_origin_and_only_as_a_picture() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let pds = house.network.pds();
    let png = bowerbird_testkit::fault::Reply::text(200, "image/png", &b"\x89PNG\r\n"[..]);
    pds.put_blob("bafkreigood", png);
    pds.put_record(
        &alice.did,
        "app.bsky.actor.profile",
        "self",
        bowerbird_testkit::fault::profile_record("Alice", Some("bafkreigood"), "image/png"),
    );
    let mut visitor = house.visitor_as(&alice).await;
    let path = format!("/api/accounts/{}/avatar", house.id_of(&alice).await);
    let mut picture = visitor.get(&path).await;
    for _ in 0..100 {
        if picture.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        picture = visitor.get(&path).await;
    }
    let picture = picture.expect_status(200);
    assert_eq!(picture.header("content-type"), Some("image/png"));
    assert_eq!(picture.header("cache-control"), Some("private, max-age=3600"));
    pds.put_blob(
        "bafkreigood",
        bowerbird_testkit::fault::Reply::text(200, "image/svg+xml", &b"<svg onload=alert(1)>"[..]),
    );
    visitor.get(&path).await.must_be(404);
    let anonymous = house.client().send(TestRequest::get(&house.url(&path))).await;
    assert_eq!(anonymous.status, 401);
}
