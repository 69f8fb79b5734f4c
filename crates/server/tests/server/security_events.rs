//! The history of an account, as its person reads it.

use bowerbird_core::ports::NewAccount;
use bowerbird_core::{AccountId, Did, NeedsReauth, NoticeId, SecurityEvent, SecurityEventKind};
use bowerbird_net::OsEntropy;
use serde_json::{Value, json};

use crate::support::{House, Must as _};

fn types(body: &Value) -> Vec<&str> {
    body["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn sign_ins_and_sign_outs_are_written_down_for_the_account_that_they_are_of() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut laptop = house.visitor_as(&alice).await;
    let mut phone = house.visitor_as(&alice).await;
    laptop.login("bob.test").await.must_be(303);
    let id = house.id_of(&alice).await;

    phone.post("/api/devices/sign-out", &json!({"which": "others"})).await.must_be(200);
    let seen = phone.get("/api/security-events").await.expect_status(200).json();
    assert_eq!(types(&seen), ["signed_out_remotely", "signed_in", "signed_in"]);
    let latest = &seen["events"][0];
    assert_eq!((&latest["accountId"], &latest["deviceName"]), (&json!(id), &json!("Unknown device")), "{latest}");
    assert_eq!((&latest["byDevice"], latest.get("reason")), (&json!("Unknown device"), None), "{latest}");
    assert!(seen["events"][1].get("byDevice").is_none() && seen.get("next").is_none(), "{seen}");
    assert!(!seen.to_string().contains(&house.id_of(&bob).await));

    // Bob's are shown where he is signed in, and not those of Alice, who has left.
    let seen = laptop.get("/api/security-events").await.expect_status(200).json();
    assert_eq!(types(&seen), ["signed_in"]);
    laptop.post("/api/auth/logout", &json!({})).await.must_be(200);
    laptop.get("/api/security-events").await.must_be(401);
    laptop.login("bob.test").await.must_be(303);
    let seen = laptop.get("/api/security-events").await.expect_status(200).json();
    assert_eq!(types(&seen), ["signed_in", "signed_out", "signed_in"]);
}

/// Writes events into the history of an account.
async fn note(house: &House, account: AccountId, kind: SecurityEventKind, number: i64) {
    let event = SecurityEvent {
        id: NoticeId::random(&OsEntropy),
        account,
        at: house.clock.now().plus_seconds(-number),
        kind,
        device_name: format!("Device {number}"),
        by_device: String::new(),
    };
    house.stores.security_events.note(&[event]).await.unwrap();
}

#[tokio::test]
async fn the_history_comes_in_pages_that_leave_nothing_out() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    visitor.login("bob.test").await.must_be(303);
    for account in [&alice, &bob] {
        let id = AccountId::parse(&house.id_of(account).await).unwrap();
        for number in 1..=60 {
            note(&house, id, SecurityEventKind::SignedOut, number).await;
        }
    }
    let (mut names, mut pages, mut path) = (Vec::new(), Vec::new(), "/api/security-events".to_owned());
    loop {
        let body = visitor.get(&path).await.expect_status(200).json();
        let events = body["events"].as_array().unwrap();
        pages.push(events.len());
        names.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        let Some(next) = body["next"].as_str() else { break };
        path = format!("/api/security-events?before={next}");
    }
    assert_eq!(pages, [50, 50, 22]);
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "none is there twice");
    for bad in ["1", "x.y", "-1.6f9619ff-8b86-4011-b42d-00c04fc964ffx"] {
        visitor.get(&format!("/api/security-events?before={bad}")).await.must_be(400);
    }

    let page = visitor.get("/security").await.expect_status(200).text();
    assert!(page.contains("@alice.test") && page.contains("@bob.test") && page.contains("Device 1<"), "{page}");
    let next = page.split_once("/security?before=").unwrap().1.split_once('"').unwrap().0.to_owned();
    let older = visitor.get(&format!("/security?before={next}")).await.expect_status(200).text();
    assert!(older.contains("Device 40<") && !older.contains("Device 1<") && older.contains(">Latest<"), "{older}");
    visitor.get("/security?before=1").await.must_be(400);
}

#[tokio::test]
async fn the_page_says_what_happened_in_words() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut visitor = house.visitor_as(&alice).await;
    let id = AccountId::parse(&house.id_of(&alice).await).unwrap();
    for (number, kind) in [
        SecurityEventKind::NeedsReauth(NeedsReauth::Revoked),
        SecurityEventKind::OutcomeUnknown,
        SecurityEventKind::Recovered,
        SecurityEventKind::SignedOutRemotely,
    ]
    .into_iter()
    .enumerate()
    {
        note(&house, id, kind, i64::try_from(number).unwrap() + 1).await;
    }
    let body = visitor.get("/api/security-events").await.json();
    assert_eq!(body["events"][1]["reason"], "revoked", "{body}");
    let page = visitor.get("/security").await.text();
    for words in [
        "A new sign-in is needed",
        "Access was withdrawn or has ended",
        "Access in doubt",
        "Access works again",
        "Signed out from another device",
        "a few minutes ago",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("@alice.test"), "with one account it goes without saying: {page}");
    // Somebody else's device names are text, nothing more.
    let stranger = NewAccount {
        id: AccountId::random(&OsEntropy),
        did: Did::parse("did:web:n1.example.com").unwrap(),
        handle: "n1.example.com".to_owned(),
        pds: "https://pds.example.com".to_owned(),
        now: house.clock.now(),
    };
    let stranger = house.stores.accounts.sign_in(stranger).await.unwrap().id;
    note(&house, stranger, SecurityEventKind::SignedIn, 777).await;
    assert!(!visitor.get("/security").await.text().contains("Device 777"));
    assert!(!visitor.get("/api/security-events").await.text().contains("Device 777"));
}
