//! The devices of an account: who is shown which, and who signs whom out.

use bowerbird_core::AccountId;
use bowerbird_testkit::actors::Visitor;
use bowerbird_testkit::fault::FaultAccount;
use bowerbird_testkit::http_client::TestRequest;
use serde_json::{Value, json};

use crate::support::{House, Must as _, hidden, signed_in};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1";
const GET_SESSION: &str = "/xrpc/com.atproto.server.getSession";

/// Signs in, on the visitor's device when it has a session already.
async fn sign_in(visitor: &mut Visitor, account: &FaultAccount, agent: &str) {
    let page = visitor.start_login(&account.handle).await;
    let callback = visitor.authorize(&page).await;
    let request = TestRequest::get(&callback).header("user-agent", agent).header("sec-fetch-site", "cross-site");
    visitor.send(request).await.must_be(303);
}

async fn device_of(house: &House, account: &FaultAccount, agent: &str) -> Visitor {
    let mut visitor = house.visitor();
    sign_in(&mut visitor, account, agent).await;
    visitor
}

async fn list(visitor: &mut Visitor) -> Vec<Value> {
    let body = visitor.get("/api/devices").await.expect_status(200).json();
    let devices = body["devices"].as_array().unwrap().clone();
    assert_eq!(body["total"], devices.len());
    devices
}

/// The name by which the visitor's device is listed.
async fn own_id(visitor: &mut Visitor) -> String {
    let devices = list(visitor).await;
    assert_eq!(devices[0]["current"], true, "{devices:?}");
    devices[0]["id"].as_str().unwrap().to_owned()
}

fn handles(device: &Value) -> Vec<&str> {
    device["accounts"].as_array().unwrap().iter().map(|account| account["handle"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_devices_of_an_account_are_listed_with_what_is_known_of_them() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut laptop = device_of(&house, &alice, FIREFOX).await;
    let mut phone = device_of(&house, &alice, IPHONE).await;
    let _script = device_of(&house, &alice, "curl/8.5.0").await;
    let devices = list(&mut laptop).await;
    let brief: Vec<_> = devices
        .iter()
        .map(|device| (device["name"].clone(), device.get("platform").cloned(), device["current"].clone()))
        .collect();
    assert_eq!(brief[0], (json!("Firefox on Linux"), Some(json!("Linux")), json!(true)));
    assert!(brief.contains(&(json!("Safari on iPhone"), Some(json!("iPhone")), json!(false))), "{brief:?}");
    assert!(brief.contains(&(json!("Unknown device"), None, json!(false))), "{brief:?}");
    assert_eq!(brief.len(), 3);
    for device in &devices {
        assert_eq!(handles(device), ["alice.test"]);
        assert_eq!(device["accounts"][0]["id"], house.id_of(&alice).await);
        assert!(device["lastSeenAt"].as_i64().unwrap() >= device["signedInAt"].as_i64().unwrap(), "{device}");
        assert!(device["signedInAt"].as_i64().unwrap() > 1_700_000_000_000, "{device}");
    }
    // Each calls the same device by the same name, and no device's own name is shown to anybody.
    let ids = |devices: &[Value]| {
        let mut ids: Vec<_> = devices.iter().map(|device| device["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&devices), ids(&list(&mut phone).await));
    let account = AccountId::parse(&house.id_of(&alice).await).unwrap();
    let text = laptop.get("/api/devices").await.text() + &laptop.get("/devices").await.text();
    for device in house.stores.device_sessions.list_for_account(account, house.clock.now()).await.unwrap() {
        assert!(!text.contains(device.id.as_str()));
    }
}

#[tokio::test]
async fn one_device_signs_another_out_and_the_other_seal_is_dead_at_once() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut laptop = device_of(&house, &alice, FIREFOX).await;
    let mut phone = device_of(&house, &alice, IPHONE).await;
    let stolen = house.app_of(&phone);
    let phones_id = own_id(&mut phone).await;
    laptop.delete(&format!("/api/devices/{phones_id}")).await.must_be(200);
    // The seal that was copied from it, too; and the row that another device still listed.
    assert_eq!(stolen.get("/api/auth/session").await.status, 401);
    assert_eq!(stolen.get(GET_SESSION).await.status, 401);
    phone.session().await.must_be(401);
    assert_eq!(list(&mut laptop).await.len(), 1);
    let again = laptop.delete(&format!("/api/devices/{phones_id}")).await.expect_status(404);
    assert_eq!(again.header("bowerbird-error"), Some("device_not_found"));
    laptop.get(GET_SESSION).await.must_be(200);
    house.wait_for_grants(&alice, 1).await;

    // Its own device by its name is signing out: the cookie goes, and the last one out gives the grant back.
    let own = own_id(&mut laptop).await;
    laptop.delete(&format!("/api/devices/{own}")).await.must_be(200);
    assert_eq!(laptop.jar.get("sid"), None);
    house.wait_for_grants(&alice, 0).await;
    house.network.assert_clean();
}

#[tokio::test]
async fn all_other_devices_or_all_are_signed_out_in_one_call() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut laptop = device_of(&house, &alice, FIREFOX).await;
    let mut others = vec![device_of(&house, &alice, IPHONE).await, device_of(&house, &alice, IPHONE).await];
    let body = laptop.post("/api/devices/sign-out", &json!({"which": "others"})).await.expect_status(200).json();
    assert_eq!(body, json!({"success": true, "ended": 2}));
    for other in &mut others {
        other.session().await.must_be(401);
    }
    laptop.get(GET_SESSION).await.must_be(200);
    house.wait_for_grants(&alice, 1).await;
    let none = laptop.post("/api/devices/sign-out", &json!({"which": "others"})).await.expect_status(200).json();
    assert_eq!(none["ended"], 0);

    let mut phone = device_of(&house, &alice, IPHONE).await;
    for bad in [json!({}), json!({"which": "some"}), json!([])] {
        laptop.post("/api/devices/sign-out", &bad).await.must_be(400);
    }
    let body = laptop.post("/api/devices/sign-out", &json!({"which": "all"})).await.expect_status(200).json();
    assert_eq!(body["ended"], 2);
    assert_eq!(laptop.jar.get("sid"), None);
    phone.session().await.must_be(401);
    house.wait_for_grants(&alice, 0).await;
    house.network.assert_clean();
}

/// A tablet of two people, and each of them with a phone.
struct Family {
    house: House,
    alice: FaultAccount,
    bob: FaultAccount,
    tablet: Visitor,
    alices_phone: Visitor,
    bobs_phone: Visitor,
}

async fn family() -> Family {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut tablet = device_of(&house, &bob, FIREFOX).await;
    sign_in(&mut tablet, &alice, FIREFOX).await;
    let alices_phone = device_of(&house, &alice, IPHONE).await;
    let bobs_phone = device_of(&house, &bob, IPHONE).await;
    Family { house, alice, bob, tablet, alices_phone, bobs_phone }
}

#[tokio::test]
async fn a_shared_device_shows_each_person_only_what_is_theirs() {
    let Family { house, alice, bob, mut tablet, mut alices_phone, .. } = family().await;
    let devices = list(&mut alices_phone).await;
    assert_eq!(devices.len(), 2, "her phone and the tablet, not his phone: {devices:?}");
    assert!(devices.iter().all(|device| handles(device) == ["alice.test"]), "{devices:?}");
    let text = alices_phone.get("/devices").await.text() + &alices_phone.get("/api/devices").await.text();
    let bobs_id = house.id_of(&bob).await;
    for hidden in ["bob.test", bob.did.as_str(), bobs_id.as_str()] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    // The tablet came to her when she signed in there, not when it was first used.
    let account = AccountId::parse(&house.id_of(&alice).await).unwrap();
    let held = house.stores.device_sessions.list_for_account(account, house.clock.now()).await.unwrap();
    let shared = held.iter().find(|device| device.accounts.len() == 2).unwrap();
    let added = shared.accounts.iter().find(|entry| entry.account == account).unwrap().added_at;
    let listed = devices.iter().find(|device| device["name"] == "Firefox on Linux").unwrap();
    assert_eq!(listed["signedInAt"], added.as_millis());

    // On the tablet both are at home, and one can be asked for.
    assert_eq!(list(&mut tablet).await.len(), 3);
    let request = tablet.from_own_page(TestRequest::get(&house.url("/api/devices")));
    let narrowed = tablet.send(request.header("bowerbird-account", &bob.did)).await.expect_status(200).json();
    let narrowed = narrowed["devices"].as_array().unwrap();
    assert_eq!(narrowed.len(), 2);
    assert!(narrowed.iter().all(|device| handles(device) == ["bob.test"]), "{narrowed:?}");
}

#[tokio::test]
async fn signing_a_shared_device_out_leaves_the_other_person_signed_in_there() {
    let Family { house, alice, bob, mut tablet, mut alices_phone, mut bobs_phone } = family().await;
    let (tablets_id, bobs_phones_id) = (own_id(&mut tablet).await, own_id(&mut bobs_phone).await);
    // Not hers to end.
    let refused = alices_phone.delete(&format!("/api/devices/{bobs_phones_id}")).await.expect_status(404);
    assert_eq!(refused.header("bowerbird-error"), Some("device_not_found"));
    bobs_phone.session().await.must_be(200);

    alices_phone.delete(&format!("/api/devices/{tablets_id}")).await.must_be(200);
    assert_eq!(signed_in(&mut tablet).await, ["bob.test"], "he is still there, with the same seal");
    assert_eq!(tablet.session().await.json()["did"], bob.did.as_str(), "and active");
    tablet.get(GET_SESSION).await.must_be(200);
    let request = tablet.from_own_page(TestRequest::get(&house.url(GET_SESSION)));
    tablet.send(request.header("bowerbird-account", &alice.did)).await.must_be(404);
    alices_phone.get(GET_SESSION).await.must_be(200);
    house.wait_for_grants(&alice, 1).await;
    house.wait_for_grants(&bob, 1).await;
    house.network.assert_clean();
}

#[tokio::test]
async fn signing_out_everywhere_is_of_the_accounts_here_and_of_no_other() {
    let Family { house, alice, bob, mut tablet, mut alices_phone, mut bobs_phone } = family().await;
    let body = alices_phone.post("/api/devices/sign-out", &json!({"which": "all"})).await.expect_status(200).json();
    assert_eq!(body["ended"], 2);
    assert_eq!(signed_in(&mut tablet).await, ["bob.test"]);
    bobs_phone.session().await.must_be(200);
    house.wait_for_grants(&alice, 0).await;
    house.wait_for_grants(&bob, 1).await;

    // From the tablet, for one of two accounts: the device stays with the other one, and keeps its cookie.
    sign_in(&mut tablet, &alice, FIREFOX).await;
    let body = json!({"which": "all"});
    let request = TestRequest::post_json(&house.url("/api/devices/sign-out"), &body);
    let request = tablet.from_own_page(request).header("bowerbird-account", &bob.did);
    tablet.send(request).await.must_be(200);
    assert_eq!(signed_in(&mut tablet).await, ["alice.test"]);
    bobs_phone.session().await.must_be(401);
    house.wait_for_grants(&bob, 0).await;
    house.network.assert_clean();
}

#[tokio::test]
async fn the_buttons_of_the_page_sign_devices_out_without_script() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let mut laptop = device_of(&house, &alice, FIREFOX).await;
    let mut phone = device_of(&house, &alice, IPHONE).await;
    let mut tablet = device_of(&house, &alice, IPHONE).await;
    let page = laptop.get("/devices").await.expect_status(200).text();
    assert!(page.contains("Firefox on Linux") && page.contains("This device") && page.contains("Safari on iPhone"));
    let csrf = hidden(&page, "csrf");
    let phones_id = own_id(&mut phone).await;

    laptop.submit("/devices/sign-out", &[("device", &phones_id)]).await.must_be(403);
    phone.session().await.must_be(200);
    let fields = [("csrf", csrf.as_str()), ("device", phones_id.as_str())];
    let answer = laptop.submit("/devices/sign-out", &fields).await.expect_status(303);
    assert_eq!(answer.location(), "/devices");
    phone.session().await.must_be(401);
    let gone = laptop.submit("/devices/sign-out", &fields).await.expect_status(404);
    assert!(gone.text().contains("device_not_found") && gone.text().contains("href=\"/devices\""), "{}", gone.text());

    laptop.submit("/devices/sign-out-others", &[("csrf", &csrf)]).await.must_be(303);
    tablet.session().await.must_be(401);
    assert!(laptop.get("/devices").await.text().contains("There is no other device."));
    let answer = laptop.submit("/devices/sign-out-all", &[("csrf", &csrf)]).await.expect_status(303);
    assert_eq!((answer.location(), laptop.jar.get("sid")), ("/", None));
    house.wait_for_grants(&alice, 0).await;
    // Signed out, the page asks for a sign-in and leads back.
    let page = laptop.get("/devices").await.expect_status(200).text();
    assert!(page.contains("Your handle"), "{page}");
    assert_eq!(hidden(&page, "redirect"), "/devices");
}

#[tokio::test]
async fn two_devices_that_refresh_and_leave_at_once_hurt_nobody() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    for round in 0..8 {
        let (phone, laptop) = (house.visitor_as(&alice).await, house.visitor_as(&alice).await);
        let third = if round % 2 == 0 { Some(house.visitor_as(&alice).await) } else { None };
        house.network.expire_all_access_tokens();
        let (phone_app, laptop_app) = (house.app_of(&phone), house.app_of(&laptop));
        let (mut leaving_phone, mut leaving_laptop) = (phone, laptop);
        let nothing = json!({});
        let (a, b, c, d) = tokio::join!(
            phone_app.get(GET_SESSION),
            laptop_app.get(GET_SESSION),
            leaving_phone.post("/api/auth/logout", &nothing),
            leaving_laptop.post("/api/auth/logout", &nothing),
        );
        // A call that was on its way is answered, or finds that it is over; never a fault of ours.
        for answer in [&a, &b] {
            assert!(matches!(answer.status, 200 | 401), "round {round}: {} {}", answer.status, answer.text());
        }
        assert_eq!((c.status, d.status), (200, 200));
        for app in [&phone_app, &laptop_app] {
            assert_eq!(app.get("/api/auth/session").await.status, 401, "round {round}: a copied seal is dead");
        }
        match third {
            Some(mut third) => {
                house.wait_for_grants(&alice, 1).await;
                third.get(GET_SESSION).await.must_be(200);
                third.post("/api/auth/logout", &nothing).await.must_be(200);
                house.wait_for_grants(&alice, 0).await;
            }
            None => house.wait_for_grants(&alice, 0).await,
        }
    }
    house.network.assert_clean();
}

#[tokio::test]
async fn two_devices_that_sign_each_other_out_at_once_are_both_out() {
    let house = House::open().await;
    let alice = house.network.add_account("alice.test");
    let (mut phone, mut laptop) = (house.visitor_as(&alice).await, house.visitor_as(&alice).await);
    let (seals, all) = ([house.app_of(&phone), house.app_of(&laptop)], json!({"which": "all"}));
    let (one, two) =
        tokio::join!(phone.post("/api/devices/sign-out", &all), laptop.post("/api/devices/sign-out", &all));
    for answer in [one, two] {
        assert!(matches!(answer.status, 200 | 401), "{} {}", answer.status, answer.text());
    }
    for seal in seals {
        assert_eq!(seal.get("/api/auth/session").await.status, 401);
    }
    house.wait_for_grants(&alice, 0).await;
    house.network.assert_clean();
}
